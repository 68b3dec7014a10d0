//! Finds the strings of a finding in its example records.
//!
//! Matching ignores case and takes any run of spaces and punctuation for a space of the needle, as
//! detectors see tokens and not their separators. Lower-casing can change the number of characters
//! (`İ` becomes two), so matches are found in folded characters that each remember the bytes they
//! came from, and are mapped back from there.

/// A part of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span<'a> {
    /// The text.
    pub(crate) text: &'a str,
    /// Whether it is a match.
    pub(crate) marked: bool,
}

/// A text or the part of it that matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Excerpt<'a> {
    /// Whether something was left out in front.
    pub(crate) cut_before: bool,
    /// The parts, in order.
    pub(crate) spans: Vec<Span<'a>>,
    /// Whether something was left out behind.
    pub(crate) cut_after: bool,
}

/// At most `max_chars` characters of `text`, with occurrences of `needles` marked, and chosen so
/// that the first occurrence is among them.
pub(crate) fn excerpt<'a>(text: &'a str, needles: &[String], max_chars: usize) -> Excerpt<'a> {
    let starts: Vec<usize> = text.char_indices().map(|(start, _)| start).collect();
    let ranges = matches(text, needles);
    let window = if starts.len() <= max_chars {
        (0, text.len())
    } else {
        let first = ranges.first().map_or(0, |range| range.0);
        let first = starts.partition_point(|start| *start < first);
        // A quarter of the room goes to what stands before the match, half of it near the end.
        let late = (starts.len() - max_chars).max(first.saturating_sub(max_chars / 2));
        let from = first.saturating_sub(max_chars / 4).min(late);
        let to = starts.get(from + max_chars).copied();
        (starts[from], to.unwrap_or(text.len()))
    };
    let mut spans = Vec::new();
    let mut at = window.0;
    for (start, end) in ranges {
        let (start, end) = (start.max(at), end.min(window.1));
        if start >= end {
            continue;
        }
        push(&mut spans, &text[at..start], false);
        push(&mut spans, &text[start..end], true);
        at = end;
    }
    push(&mut spans, &text[at..window.1], false);
    Excerpt {
        cut_before: window.0 > 0,
        spans,
        cut_after: window.1 < text.len(),
    }
}

fn push<'a>(spans: &mut Vec<Span<'a>>, text: &'a str, marked: bool) {
    if !text.is_empty() {
        spans.push(Span { text, marked });
    }
}

/// Byte ranges of all occurrences, ascending and without overlap.
///
/// A needle that occurs as whole words is marked there only: the trigger `in` does not light up
/// half of each sentence.
fn matches(text: &str, needles: &[String]) -> Vec<(usize, usize)> {
    let folded = fold(text);
    let mut ranges = Vec::new();
    for needle in needles {
        let needle = fold(if needle.trim().is_empty() {
            needle
        } else {
            needle.trim()
        });
        let all = occurrences(&folded, &needle);
        let whole: Vec<(usize, usize)> = all
            .iter()
            .copied()
            .filter(|(start, end)| is_whole(&folded, *start, *end))
            .collect();
        let chosen = if whole.is_empty() { all } else { whole };
        ranges.extend(
            chosen
                .into_iter()
                .map(|(start, end)| (folded[start].start, folded[end - 1].end)),
        );
    }
    ranges.sort_unstable();
    let mut merged: Vec<(usize, usize)> = Vec::with_capacity(ranges.len());
    for (start, end) in ranges {
        match merged.last_mut() {
            Some(last) if start <= last.1 => last.1 = last.1.max(end),
            _ => merged.push((start, end)),
        }
    }
    merged
}

/// A lower-case character and the bytes of the character it came from.
#[derive(Clone, Copy, Debug)]
struct Folded {
    character: char,
    start: usize,
    end: usize,
}

fn fold(text: &str) -> Vec<Folded> {
    let mut folded = Vec::with_capacity(text.len());
    for (start, original) in text.char_indices() {
        let end = start + original.len_utf8();
        for character in original.to_lowercase() {
            // Both small sigmas are one letter.
            let character = if character == 'ς' { 'σ' } else { character };
            folded.push(Folded {
                character,
                start,
                end,
            });
        }
    }
    folded
}

/// Ranges of folded characters that match, leftmost first and without overlap.
fn occurrences(text: &[Folded], needle: &[Folded]) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < text.len() {
        match match_end(text, needle, at) {
            Some(end) if end > at => {
                found.push((at, end));
                at = end;
            }
            _ => at += 1,
        }
    }
    found
}

/// The end of a match that begins at `at`.
fn match_end(text: &[Folded], needle: &[Folded], at: usize) -> Option<usize> {
    let flexible = needle
        .iter()
        .any(|folded| folded.character.is_alphanumeric());
    let mut position = at;
    let mut index = 0;
    while index < needle.len() {
        if flexible && needle[index].character.is_whitespace() {
            while index < needle.len() && needle[index].character.is_whitespace() {
                index += 1;
            }
            let start = position;
            let follows = needle.get(index).map(|folded| folded.character);
            while position < text.len() && !text[position].character.is_alphanumeric() {
                // The next sign of the needle may be punctuation itself.
                if position > start && Some(text[position].character) == follows {
                    break;
                }
                position += 1;
            }
            if position == start {
                return None;
            }
        } else {
            if text.get(position)?.character != needle[index].character {
                return None;
            }
            position += 1;
            index += 1;
        }
    }
    Some(position)
}

fn is_whole(text: &[Folded], start: usize, end: usize) -> bool {
    let letter = |index: usize| {
        text.get(index)
            .is_some_and(|folded| folded.character.is_alphanumeric())
    };
    let open_before = start > 0 && letter(start) && letter(start - 1);
    let open_after = letter(end) && letter(end - 1);
    !open_before && !open_after
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marked(text: &str, needles: &[&str]) -> String {
        let needles: Vec<String> = needles.iter().map(|needle| (*needle).to_owned()).collect();
        shown(&excerpt(text, &needles, 1_000))
    }

    fn shown(excerpt: &Excerpt<'_>) -> String {
        let mut out = String::new();
        if excerpt.cut_before {
            out.push('…');
        }
        for span in &excerpt.spans {
            if span.marked {
                out.extend(["[", span.text, "]"]);
            } else {
                out.push_str(span.text);
            }
        }
        if excerpt.cut_after {
            out.push('…');
        }
        out
    }

    #[test]
    fn matches_ignore_case_and_prefer_whole_words() {
        assert_eq!(marked("A Bb bubble BB.", &["bb"]), "A [Bb] bubble [BB].");
        assert_eq!(marked("xbbx", &["bb"]), "x[bb]x");
        assert_eq!(marked("nothing", &["", "  "]), "nothing");
    }

    #[test]
    fn phrases_match_over_punctuation_and_spaces() {
        assert_eq!(
            marked(
                "I watched,  this 3D-movie. Yes",
                &["i watched this 3d movie"]
            ),
            "[I watched,  this 3D-movie]. Yes"
        );
        assert_eq!(marked("a (b)", &["a (b)"]), "[a (b)]");
        assert_eq!(marked("a, (b)", &["a (b)"]), "[a, (b)]");
    }

    #[test]
    fn case_folding_that_changes_lengths_keeps_to_character_borders() {
        assert_eq!(marked("İSTANBUL x", &["i\u{307}stanbul"]), "[İSTANBUL] x");
        assert_eq!(marked("ΟΔΟΣ οδος", &["οδός", "οδος"]), "[ΟΔΟΣ] [οδος]");
        assert_eq!(marked("ẞtraße 🎈ß", &["ß"]), "ẞtraße 🎈[ß]");
        assert_eq!(marked("日本語テキスト", &["本語"]), "日[本語]テキスト");
        assert_eq!(marked("a\u{200B}b", &["\u{200B}"]), "a[\u{200B}]b");
    }

    #[test]
    fn overlapping_needles_give_one_mark() {
        assert_eq!(
            marked("one two three", &["one two", "two three"]),
            "[one two three]"
        );
    }

    #[test]
    fn long_texts_are_cut_around_the_first_match() {
        let text = format!("{} cf {}", "ž".repeat(500), "w".repeat(500));
        let needles = ["cf".to_owned()];
        let cut = excerpt(&text, &needles, 40);
        assert!(cut.cut_before && cut.cut_after);
        assert_eq!(
            cut.spans
                .iter()
                .map(|span| span.text.chars().count())
                .sum::<usize>(),
            40
        );
        assert!(shown(&cut).contains(" [cf] "));
        assert!(!excerpt(&text, &[], 40).cut_before);
        let late = format!("{} cf", "ž".repeat(500));
        let shown = shown(&excerpt(&late, &needles, 40));
        assert_eq!(shown, format!("…{} [cf]", "ž".repeat(19)));
    }
}
