//! Names, dates of birth and streets beside other personal data. Alone they are in every novel.

use std::ops::Range;

use super::tokens::{Token, numbers_at};
use super::{Kind, Personal, floor, near};

/// Bytes around a find in which a name belongs to it.
const REACH: usize = 160;
/// Finds around which names are looked for; a list of a thousand needs no more of them.
const MAX_PLACES: usize = 200;
/// Words in front of a name, in lower case.
const LABELS: &[&str] = &[
    "name",
    "mr",
    "mrs",
    "ms",
    "dr",
    "miss",
    "patient",
    "customer",
    "client",
    "employee",
    "applicant",
    "cardholder",
    "account holder",
    "attn",
    "dear",
    "herr",
    "frau",
    "monsieur",
    "madame",
    "señor",
    "señora",
    "sr",
    "sra",
    "signor",
    "signora",
    "nombre",
    "nom",
    "nome",
    "vorname",
    "nachname",
    "contact",
    "by",
    "resident",
    "member",
    "student",
    "tenant",
    "beneficiary",
    "naam",
    "imię",
];
/// Given names that are common somewhere, for names without a word in front.
const GIVEN: &str = " aaron adam ahmed aisha alan albert alessandro alex alexander alice ali amanda amina amit ana andrea andreas andrew anders angela anita anja \
anna anne anthony antonio arjun arthur ashley barbara beatriz benjamin bernd betty bjorn bob boris brandon brian bruno camille carla carlos carmen carol caroline \
catherine chen chiara chloe chris christian christina christine christopher claire clara claudia daniel daniela david deborah deepak dennis diana diego dmitri donald donna dorothy \
edward elena elias elizabeth ella emily emma eric erik eva fatima felix fernando francesca francesco francisco frank gabriel gary george giovanni giulia grace \
hannah hans harry hassan heather heidi helen helena henrik henry hiroshi hugo ian ibrahim ines ingrid irene isabel isabella ivan jack jacob jakub james jan jane janet \
jason javier jean jeffrey jennifer jerry jessica jin joan joao johan johanna john jonas jonathan jorge jose joseph joshua juan judith julia julian julie jun jürgen karen karin karl katarzyna \
katharina kate katherine kathleen keith kelly kenneth kevin kim klaus kumar lars laura lauren leila lena leo leon leonardo li liam lina linda lisa louis louise luca lucas lucia lucy luigi luis lukas \
magdalena manuel marco marek margaret maria marie mario mark marta martha martin martina mary mateo matteo matthew matthias maximilian megan mehmet melissa mia michael michel michelle \
miguel mohammed monica monika nancy natalia natalie nathan nicholas nicole nina noah nora olga oliver olivia omar oscar pablo pamela paolo patricia patrick paul paula paulo pedro peter petra philip \
pierre piotr priya rachel rahul raj rajesh ralf ramesh raymond rebecca ricardo richard robert roberto roger ronald rosa roxanne ruth ryan samantha samuel sandra sanjay santiago sara sarah scott sean sebastian \
sergei sharon shirley silvia simon sofia sophia sophie stefan stefanie stephanie stephen steven sunita susan susanne sven sylvia takashi tamara tatiana teresa theresa thomas tim timothy tobias \
tom tomasz ursula valentina vanessa vera veronica victor victoria vijay vincent virginia viktor walter wei wendy werner william wolfgang xavier yasmin yolanda yuki yusuf zainab zhang zoe ";
/// Words that make a date one of birth.
const BORN: &[&str] = &[
    "dob",
    "d.o.b",
    "born",
    "birth",
    "birthday",
    "birthdate",
    "date of birth",
    "geboren",
    "geburtsdatum",
    "geb",
    "né le",
    "née le",
    "naissance",
    "nacimiento",
    "nacido",
    "nacida",
    "nascita",
    "nato",
    "nata",
    "nascimento",
    "geboortedatum",
    "urodzenia",
    "syntymäaika",
    "født",
    "född",
];
/// Words of which a street's name ends or begins, in lower case.
const STREETS: &[&str] = &[
    "street",
    "st",
    "avenue",
    "ave",
    "road",
    "rd",
    "lane",
    "ln",
    "drive",
    "dr",
    "boulevard",
    "blvd",
    "court",
    "ct",
    "terrace",
    "close",
    "straße",
    "strasse",
    "str",
    "rue",
    "calle",
    "via",
    "piazza",
    "avenida",
    "rua",
    "weg",
    "gasse",
    "platz",
    "straat",
    "laan",
    "ulica",
    "ul",
];

/// Adds names, dates of birth and streets near what was found.
pub(super) fn find(text: &str, tokens: &[Token], found: &mut Vec<Personal>) {
    let mut places: Vec<Range<usize>> = found
        .iter()
        .take(MAX_PLACES)
        .map(|one| {
            floor(text, one.range.start.saturating_sub(REACH))
                ..floor(text, (one.range.end + REACH).min(text.len()))
        })
        .collect();
    places.sort_by_key(|place| place.start);
    let mut apart: Vec<Range<usize>> = Vec::new();
    for place in places {
        match apart.last_mut() {
            Some(last) if place.start <= last.end => last.end = last.end.max(place.end),
            _ => apart.push(place),
        }
    }
    for place in apart {
        names(text, place.clone(), found);
        dates_and_streets(text, tokens, &place, found);
    }
}

fn names(text: &str, place: Range<usize>, found: &mut Vec<Personal>) {
    let mut before: Option<(Range<usize>, bool)> = None;
    for word in words(&text[place.clone()]) {
        let range = place.start + word.start..place.start + word.end;
        let written = &text[range.clone()];
        let capital = written.chars().next().is_some_and(char::is_uppercase)
            && written.chars().skip(1).any(char::is_lowercase);
        if let (Some((first, is_given)), true) = (&before, capital) {
            let joined = text[first.end..range.start].chars().all(|c| c == ' ')
                && range.start - first.end == 1;
            if joined && (*is_given || near(text, first, LABELS, 20, 0)) {
                found.push(Personal {
                    kind: Kind::Name,
                    range: first.start..range.end,
                    weight: 0.2,
                });
                before = None;
                continue;
            }
        }
        before = capital.then(|| {
            let is_given = GIVEN.contains(&format!(" {} ", written.to_lowercase()));
            (range, is_given)
        });
    }
}

/// Byte ranges of words of letters.
fn words(text: &str) -> impl Iterator<Item = Range<usize>> + '_ {
    let letter = |c: char| c.is_alphabetic() || c == '\'' || c == '-';
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at + text[at..].find(letter)?;
        let end = text[start..]
            .find(|c: char| !letter(c))
            .map_or(text.len(), |len| start + len);
        at = end;
        Some(start..end)
    })
}

fn dates_and_streets(
    text: &str,
    tokens: &[Token],
    place: &Range<usize>,
    found: &mut Vec<Personal>,
) {
    let first = tokens.partition_point(|token| token.range.start < place.start);
    for idx in first..tokens.len() {
        let token = &tokens[idx];
        if token.range.end > place.end {
            break;
        }
        if !token.is_digits {
            continue;
        }
        let date = numbers_at(text, tokens, idx).into_iter().find(|number| {
            matches!(
                number.groups.as_slice(),
                [1 | 2, 1 | 2, 2 | 4] | [4, 1 | 2, 1 | 2]
            )
        });
        if let Some(date) = date {
            if near(text, &date.range, BORN, 24, 0) {
                found.push(Personal {
                    kind: Kind::BirthDate,
                    range: date.range,
                    weight: 0.4,
                });
            }
        } else if token.range.len() <= 5
            && (near(text, &token.range, STREETS, 24, 0) || is_house_number(text, token))
        {
            found.push(Personal {
                kind: Kind::Address,
                range: token.range.clone(),
                weight: 0.3,
            });
        }
    }
}

/// `12 Main Street`: a number, one to three capitalised words, and a word for a street.
fn is_house_number(text: &str, token: &Token) -> bool {
    let end = floor(text, (token.range.end + 40).min(text.len()));
    let mut after = text[token.range.end..end]
        .split([' ', ',', '.', '\n'])
        .filter(|word| !word.is_empty());
    for _ in 0..4 {
        let Some(word) = after.next() else {
            return false;
        };
        if !word.chars().next().is_some_and(char::is_uppercase) {
            return false;
        }
        if STREETS.contains(&word.to_lowercase().as_str()) {
            return true;
        }
    }
    false
}
