//! Long repetitions of a few characters, which attacks use to push instructions out of sight.

use std::ops::Range;

/// Longest repeated unit, in bytes.
const MAX_PERIOD: usize = 16;
/// Bytes and repetitions of a flood.
const MIN_BYTES: usize = 160;
const MIN_REPEATS: usize = 30;
/// Distance of the places that are looked at; a flood holds at least one of them with room.
const STRIDE: usize = 64;

/// The first flood of `text` that is no line, table, row of numbers or laughter.
pub(super) fn flood(text: &str) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    let mut at = STRIDE / 2;
    while at + 2 * MAX_PERIOD <= bytes.len() {
        let period = (1..=MAX_PERIOD).find(|period| {
            bytes[at..at + MAX_PERIOD] == bytes[at + period..at + period + MAX_PERIOD]
        });
        if let Some(period) = period {
            let run = extend(bytes, at, period);
            if run.len() >= MIN_BYTES.max(period * MIN_REPEATS)
                && is_strange(&text.as_bytes()[run.clone()], period)
            {
                let mut run = run;
                while !text.is_char_boundary(run.start) {
                    run.start += 1;
                }
                while !text.is_char_boundary(run.end) {
                    run.end -= 1;
                }
                return Some(run);
            }
            at = run.end.max(at);
        }
        at += STRIDE;
    }
    None
}

fn extend(bytes: &[u8], at: usize, period: usize) -> Range<usize> {
    let same = |place: usize| bytes[place] == bytes[place + period];
    let start = (0..at)
        .rev()
        .take_while(|&place| same(place))
        .last()
        .unwrap_or(at);
    let ahead = (at..bytes.len() - period)
        .take_while(|&place| same(place))
        .count();
    start..at + ahead + period
}

/// Whether the repeated unit is something that nobody repeats for a purpose: single letters beyond
/// ASCII, pictographs, brackets that open nothing.
fn is_strange(run: &[u8], period: usize) -> bool {
    let unit = &run[..period];
    let brackets = unit.iter().filter(|b| b"()[]{}<>".contains(b)).count();
    let closing = unit.iter().filter(|b| b")]}>".contains(b)).count();
    let wide = unit.iter().any(|&b| b >= 0x80);
    let spaced = unit.contains(&b' ');
    let drawn = unit.starts_with(&[0xe2]) || unit.contains(&0xe2);
    (wide && spaced && !drawn) || (spaced && brackets >= 2 && closing * 2 > brackets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floods_of_strange_units_are_found_with_their_place() {
        for unit in ["ö ", "👽 ", ") ] } "] {
            let text = format!("Data\n{}\nEnd", unit.repeat(90));
            let found = flood(&text).unwrap_or_else(|| panic!("{unit}"));
            assert!(found.start >= 4 && found.end <= text.len() - 3, "{found:?}");
            assert!(found.len() >= unit.len() * 85, "{found:?}");
        }
    }

    #[test]
    fn lines_tables_numbers_and_short_repetitions_pass() {
        for unit in [
            "-", "=", "0, ", "| ", "ha ", "na na ", "+----", ". ", "[ ] ", "() ", "\n", " ", "─",
            "1 0 ",
        ] {
            assert_eq!(flood(&unit.repeat(300)), None, "{unit}");
        }
        assert_eq!(flood(&"ö ".repeat(20)), None);
        assert_eq!(flood("short"), None);
    }
}
