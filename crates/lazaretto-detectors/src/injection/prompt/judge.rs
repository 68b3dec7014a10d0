//! How suspicious one record is: what its texts say, where they say it, and how they hide it.

use std::ops::Range;

use lazaretto_patterns::{Limits, PatternSet};

use super::super::evidence::{Entry, HOLD};
use super::super::mention::{
    asks_about_formats, asks_about_prompts, is_quoted, is_reported, is_subject,
};
use super::super::parts::{Part, Place, head, is_refused};
use super::super::reading::{Reading, readings};
use super::flood::flood;
use super::request::{alien_request, is_alien};

/// Bytes around the strongest sign within which others support it.
const NEAR: usize = 1_200;
/// What remains of a sign that is mentioned and not used.
const MENTIONED: f32 = 0.35;
/// What remains where the record's instruction is about prompts or chat formats.
const ABOUT: f32 = 0.4;
/// What remains of the doubt when a strong sign was hidden in an encoding.
const HIDDEN_DOUBT: f32 = 0.4;
/// Least degree of a sign that its place can make convincing, and what remains of the doubt then.
const WEAK: f32 = 0.3;
const MISPLACED_DOUBT: f32 = 0.4;
/// Degree of a second control token, or more, that opens or closes turns.
const SEVERAL_TOKENS: f32 = 0.75;

/// What a sign is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Override,
    Leak,
    Exfiltration,
    Tool,
    Forgery,
    Address,
    Force,
    Request,
    Flood,
    Goal,
    Budget,
}

/// The word in findings and what follows "N records with", in the order of [`Kind`].
pub(super) const WORDS: [(&str, &str); 11] = [
    ("instruction-override", "an instruction override"),
    (
        "prompt-leak",
        "an attempt to extract the prompt or a secret",
    ),
    ("exfiltration", "an instruction to send data away"),
    ("tool-abuse", "an instruction to act behind the user's back"),
    ("forged-delimiter", "forged delimiters or roles"),
    ("addressed-model", "data that speaks to a model"),
    ("dictated-answer", "a dictated answer"),
    (
        "alien-request",
        "a request that belongs to no task of theirs",
    ),
    ("character-flood", "a flood of repeated characters"),
    ("attack-goal", "words that attacks aim at"),
    (
        "decoding-limit",
        "encodings beyond the limits of decoding, which were not read to the end",
    ),
];
const N_KINDS: usize = WORDS.len();

impl Kind {
    fn of(name: &str) -> Option<Self> {
        Some(match name {
            "override" => Self::Override,
            "leak" => Self::Leak,
            "exfiltration" => Self::Exfiltration,
            "tool" => Self::Tool,
            "forgery" => Self::Forgery,
            "address" => Self::Address,
            "force" => Self::Force,
            "goal" => Self::Goal,
            _ => return None,
        })
    }

    /// How far a sign of this kind counts at a place.
    fn factor(self, place: Place, at_start: bool) -> f32 {
        match (place, self) {
            (Place::Instruction, Self::Override | Self::Leak) => 0.9,
            (Place::Instruction, Self::Force) => 0.4,
            (Place::Instruction, Self::Goal) => 0.3,
            // A record may begin with the header of its format.
            (Place::Instruction | Place::Text, Self::Forgery) if at_start => 0.5,
            (Place::Text, Self::Force | Self::Goal | Self::Forgery) => 0.6,
            (Place::Instruction, Self::Address)
            | (Place::Response, Self::Force | Self::Leak | Self::Address | Self::Tool) => 0.7,
            _ => 1.0,
        }
    }
}

/// A sign at its place.
#[derive(Clone, Debug)]
struct Sign {
    kind: Kind,
    degree: f32,
    part: usize,
    range: Range<usize>,
    /// Whether it could be the format of the dataset.
    is_format: bool,
    /// Whether it is quoted, reported or talked about.
    mentioned: bool,
    /// What it says and how it was hidden, if it was.
    decoded: Option<(String, String)>,
}

/// Judges records; see the module documentation.
#[derive(Clone, Debug)]
pub(super) struct Judge {
    set: PatternSet,
    kinds: Vec<Option<Kind>>,
    limits: Limits,
    requests: bool,
}

/// A judged record: what is to be kept of it, and whether it shows tokens of a chat format.
#[derive(Clone, Debug, Default)]
pub(super) struct Judged {
    pub(super) entry: Entry,
    pub(super) has_format: bool,
}

impl Judge {
    pub(super) fn new(set: PatternSet, limits: Limits, requests: bool) -> Self {
        let kinds = set.patterns().iter().map(|pattern| Kind::of(&pattern.kind));
        Self {
            kinds: kinds.collect(),
            set,
            limits,
            requests,
        }
    }

    /// The judgement on a record with the texts `parts`; degree 0 without a sign.
    pub(super) fn judge(&self, parts: &[Part<'_>]) -> Judged {
        let mut signs = Vec::new();
        for (part, text) in parts.iter().enumerate() {
            self.read(part, text, &mut signs);
        }
        if !signs.is_empty() {
            settle(parts, &mut signs);
            raise_misplaced(parts, &mut signs);
        }
        if self.requests
            && let Some(request) = alien_request(parts)
        {
            let part = parts
                .iter()
                .position(|part| range_in(part.text, request.line).is_some());
            if let Some(part) = part {
                let range = range_in(parts[part].text, request.line).unwrap_or_default();
                signs.push(Sign {
                    kind: Kind::Request,
                    degree: request.degree,
                    part,
                    range,
                    is_format: false,
                    mentioned: false,
                    decoded: None,
                });
            }
        }
        let (degree, strongest) = combined(&signs, true);
        let Some(strongest) = strongest else {
            return Judged::default();
        };
        let sign = &signs[strongest];
        Judged {
            has_format: signs.iter().any(|sign| sign.is_format),
            entry: Entry {
                kind: sign.kind as u8,
                degree,
                without_format: combined(&signs, false).0,
                refused: parts[sign.part].place != Place::Response && is_refused(parts),
                excerpt: parts[sign.part].text[sign.range.clone()].trim().to_owned(),
                decoded: sign.decoded.clone(),
                ..Entry::default()
            },
        }
    }

    /// Adds the signs of one text, as it stands and decoded.
    fn read(&self, part: usize, text: &Part<'_>, signs: &mut Vec<Sign>) {
        let (found, exhausted) = readings(&self.set, &self.limits, text.text);
        signs.extend(found.into_iter().filter_map(|found| self.sign(part, found)));
        let mut push = |kind, degree, range| {
            signs.push(Sign {
                kind,
                degree,
                part,
                range,
                is_format: false,
                mentioned: false,
                decoded: None,
            });
        };
        if exhausted {
            push(Kind::Budget, 0.45, 0..head(text.text, 80).len());
        }
        if text.place != Place::Text
            && let Some(range) = flood(text.text)
        {
            push(Kind::Flood, 0.72, range);
        }
    }

    fn sign(&self, part: usize, found: Reading) -> Option<Sign> {
        let kind = self.kinds[found.pattern]?;
        let pattern = &self.set.patterns()[found.pattern];
        let mut degree = pattern.weight as f32;
        if found.mentioned {
            degree *= MENTIONED;
        } else if found.decoded.is_some() && degree >= 0.5 {
            degree = 1.0 - (1.0 - degree) * HIDDEN_DOUBT;
        }
        Some(Sign {
            kind,
            degree,
            part,
            range: found.range,
            is_format: pattern.id == "chat-token" || pattern.id == "role-heading",
            mentioned: found.mentioned,
            decoded: found.decoded,
        })
    }
}

/// Weighs signs by their place and by whether they are used or mentioned.
fn settle(parts: &[Part<'_>], signs: &mut [Sign]) {
    let instructions = || parts.iter().filter(|part| part.place == Place::Instruction);
    let about_prompts = instructions().any(|part| asks_about_prompts(part.text));
    let about_formats = about_prompts || instructions().any(|part| asks_about_formats(part.text));
    for part_idx in 0..parts.len() {
        raise_several_tokens(parts, part_idx, signs);
    }
    for sign in signs {
        let part = &parts[sign.part];
        if matches!(sign.kind, Kind::Budget | Kind::Flood) {
            continue;
        }
        if sign.decoded.is_some() {
            if is_subject(part.text, &sign.range) {
                sign.degree *= MENTIONED;
            }
            continue;
        }
        sign.degree *= sign.kind.factor(part.place, sign.range.start < 4);
        let about = match (part.place, sign.kind) {
            (Place::Instruction, _) => false,
            (_, Kind::Forgery) => about_formats,
            _ => about_prompts,
        };
        // What attacks aim at stands in quotation marks where it is dictated.
        let mentioned = (sign.kind != Kind::Goal && is_quoted(part.text, &sign.range))
            || is_subject(part.text, &sign.range)
            || (sign.kind != Kind::Forgery && is_reported(part.text, &sign.range));
        sign.mentioned = mentioned || about;
        if mentioned {
            sign.degree *= MENTIONED;
        }
        if about {
            sign.degree *= ABOUT;
        }
    }
}

/// Raises the strongest sign, where it is weak and its line shares no word with the other texts.
fn raise_misplaced(parts: &[Part<'_>], signs: &mut [Sign]) {
    let Some(sign) = strongest(signs, true).map(|strongest| &mut signs[strongest]) else {
        return;
    };
    let part = &parts[sign.part];
    let misplaced = (WEAK..HOLD).contains(&sign.degree)
        && sign.decoded.is_none()
        && !sign.mentioned
        && matches!(part.place, Place::Data | Place::Response)
        && !matches!(sign.kind, Kind::Budget | Kind::Flood);
    if !misplaced {
        return;
    }
    let before = &part.text[..sign.range.start];
    let start = before.rfind('\n').map_or(0, |at| at + 1);
    let after = &part.text[sign.range.end..];
    let end = after
        .find('\n')
        .map_or(part.text.len(), |at| sign.range.end + at);
    let line = &part.text[start..end];
    let is_code = ["(\"", "('", ";", "{", "=", "</"]
        .iter()
        .any(|mark| line.contains(mark));
    if !is_code && is_alien(line, sign.part, parts) {
        sign.degree = 1.0 - (1.0 - sign.degree) * MISPLACED_DOUBT;
    }
}

/// Several different tokens of a chat format open and close turns, which no single one does.
fn raise_several_tokens(parts: &[Part<'_>], part: usize, signs: &mut [Sign]) {
    let text = parts[part].text;
    let is_token = |sign: &Sign| sign.part == part && sign.is_format && sign.decoded.is_none();
    let mut tokens: Vec<String> = signs
        .iter()
        .filter(|sign| is_token(sign))
        .take(64)
        .map(|sign| text[sign.range.clone()].to_lowercase())
        .collect();
    tokens.sort_unstable();
    tokens.dedup();
    if tokens.len() >= 2 {
        for sign in signs.iter_mut().filter(|sign| is_token(sign)) {
            sign.degree = sign.degree.max(SEVERAL_TOKENS);
        }
    }
}

/// The strongest sign, and the degree of all signs near it together: the probability that at least
/// one of the kinds is right, as if they were independent.
fn combined(signs: &[Sign], with_format: bool) -> (f32, Option<usize>) {
    let Some(strongest) = strongest(signs, with_format) else {
        return (0.0, None);
    };
    let anchor = &signs[strongest];
    let mut kinds = [0.0_f32; N_KINDS];
    for sign in signs.iter().filter(|sign| with_format || !sign.is_format) {
        let apart = sign.range.start.abs_diff(anchor.range.start) > NEAR;
        if sign.part == anchor.part && (!apart || sign.kind == Kind::Flood) {
            let kind = &mut kinds[sign.kind as usize];
            *kind = kind.max(sign.degree);
        }
    }
    let doubt: f32 = kinds.iter().map(|degree| 1.0 - degree).product();
    (1.0 - doubt, Some(strongest))
}

/// The strongest sign, the first of equals: they come in the order of the texts and the patterns.
fn strongest(signs: &[Sign], with_format: bool) -> Option<usize> {
    let mut best: Option<usize> = None;
    for (idx, sign) in signs.iter().enumerate() {
        let counts = with_format || !sign.is_format;
        if counts && best.is_none_or(|best| sign.degree > signs[best].degree) {
            best = Some(idx);
        }
    }
    best
}

/// Where `line`, which is part of some text, lies in `text`.
fn range_in(text: &str, line: &str) -> Option<Range<usize>> {
    let start = (line.as_ptr() as usize).checked_sub(text.as_ptr() as usize)?;
    (start + line.len() <= text.len()).then_some(start..start + line.len())
}
