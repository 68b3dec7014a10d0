//! Texts that a page or document holds and does not display.

use std::ops::Range;

/// Bytes of a concealed text that are looked at.
const MAX_BYTES: usize = 4_000;
/// White space that pushes what follows out of sight: characters in a line, lines.
const MIN_BLANKS: usize = 80;
const MIN_LINES: usize = 15;

/// How a text is kept from sight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trick {
    Comment,
    Style,
    Blank,
}

/// The concealed texts of `text`, by trick and place.
pub(super) fn concealed(text: &str) -> Vec<(Trick, Range<usize>)> {
    let mut found = Vec::new();
    if text.contains("<!--") {
        between(text, "<!--", "-->", Trick::Comment, &mut found);
    }
    if text.contains("]: #") || text.contains("]: <>") {
        markdown_comments(text, &mut found);
    }
    if text.contains("/*") && text.contains("*/") && text.contains('<') {
        between(text, "/*", "*/", Trick::Comment, &mut found);
    }
    if text.contains("</") {
        elements(text, &mut found);
    }
    blanks(text, &mut found);
    found
}

fn bounded(text: &str, range: Range<usize>) -> Range<usize> {
    let length = super::super::parts::head(&text[range.clone()], MAX_BYTES).len();
    range.start..range.start + length
}

fn between(
    text: &str,
    open: &str,
    close: &str,
    trick: Trick,
    found: &mut Vec<(Trick, Range<usize>)>,
) {
    let mut at = 0;
    while let Some(start) = text[at..].find(open).map(|place| at + place + open.len()) {
        let end = text[start..]
            .find(close)
            .map_or(text.len(), |place| start + place);
        found.push((trick, bounded(text, start..end)));
        at = end;
    }
}

/// `[//]: # (…)`, which renders as nothing.
fn markdown_comments(text: &str, found: &mut Vec<(Trick, Range<usize>)>) {
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let comment =
            line.trim_start().starts_with('[') && (line.contains("]: #") || line.contains("]: <>"));
        if comment {
            found.push((Trick::Comment, bounded(text, start..start + line.len())));
        }
        start += line.len();
    }
}

/// Elements whose own style hides them, or paints them in white or not at all.
fn elements(text: &str, found: &mut Vec<(Trick, Range<usize>)>) {
    let bytes = text.as_bytes();
    let mut at = 0;
    // Where the last search for a closing tag found none: the next ones need not try.
    let mut no_close = false;
    while let Some(open) = text[at..].find('<').map(|place| at + place) {
        at = open + 1;
        if !bytes.get(at).is_some_and(u8::is_ascii_alphabetic) {
            continue;
        }
        let Some(end) = bytes[open..].iter().take(600).position(|&b| b == b'>') else {
            continue;
        };
        let tag = super::super::parts::head(&text[open + 1..], end - 1);
        if tag.len() != end - 1 || !hides(tag) {
            continue;
        }
        let name_len = tag.bytes().take_while(u8::is_ascii_alphanumeric).count();
        let close = format!("</{}", &tag[..name_len]);
        let start = open + end + 1;
        let window = super::super::parts::head(&text[start..], 4 * MAX_BYTES);
        let inside = if no_close { None } else { window.find(&close) };
        no_close = inside.is_none() && window.len() < 4 * MAX_BYTES;
        let inside = inside.unwrap_or(window.len());
        found.push((Trick::Style, bounded(text, start..start + inside)));
        at = start + inside;
    }
}

fn hides(tag: &str) -> bool {
    let squeezed: String = tag.chars().filter(|c| !c.is_whitespace()).collect();
    let squeezed = squeezed.to_lowercase();
    let style = [
        "display:none",
        "visibility:hidden",
        "font-size:0",
        "font-size:1px",
        "opacity:0;",
        "opacity:0\"",
        "opacity:0.0",
        "left:-9",
        "text-indent:-9",
        "width:0;",
        "height:0;",
        "width:0px",
        "height:0px",
        "color:transparent",
        "clip:rect(0",
        "font-size:.0",
    ];
    let white = [
        "color:white",
        "color:#fff",
        "color:rgb(255,255,255",
        "color=\"white\"",
        "color=\"#fff",
    ];
    let painted = white.iter().any(|color| {
        squeezed
            .match_indices(color)
            .any(|(at, _)| !squeezed[..at].ends_with("background-"))
    });
    let attribute = tag.to_lowercase();
    style.iter().any(|style| squeezed.contains(style))
        || (painted && !squeezed.contains("background"))
        || attribute
            .split_ascii_whitespace()
            .skip(1)
            .any(|word| word == "hidden")
}

/// What follows a long blank.
fn blanks(text: &str, found: &mut Vec<(Trick, Range<usize>)>) {
    let bytes = text.as_bytes();
    let is_blank = |byte: u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
    let mut at = MIN_LINES - 1;
    while at < bytes.len() {
        if !is_blank(bytes[at]) {
            at += MIN_LINES;
            continue;
        }
        let back = bytes[..at]
            .iter()
            .rev()
            .take(4 * MIN_BLANKS)
            .take_while(|&&b| is_blank(b))
            .count();
        let ahead = bytes[at..].iter().take_while(|&&b| is_blank(b)).count();
        let run = &text[at - back..at + ahead];
        let lines = run.matches('\n').count();
        let end = at + ahead;
        if (lines >= MIN_LINES || (run.len() >= MIN_BLANKS && lines <= 1)) && end < bytes.len() {
            found.push((Trick::Blank, bounded(text, end..text.len())));
        }
        at = end + MIN_LINES;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<(Trick, &str)> {
        let found = concealed(text).into_iter();
        found
            .map(|(trick, range)| (trick, text[range].trim()))
            .collect()
    }

    #[test]
    fn every_trick_is_seen() {
        for (trick, text) in [
            (Trick::Comment, "<p>Hi</p><!-- secret words -->"),
            (Trick::Comment, "<p>Hi</p><!-- secret words"),
            (
                Trick::Style,
                "<div style=\"display: none\">secret words</div>",
            ),
            (
                Trick::Style,
                "a<span style='font-size:0'>secret words</span>b",
            ),
            (Trick::Style, "<p hidden>secret words</p>"),
            (Trick::Style, "<font color=\"white\">secret words</font>"),
            (
                Trick::Style,
                "<span style=\"color:#ffffff\">secret words</span>",
            ),
        ] {
            assert_eq!(texts(text), [(trick, "secret words")], "{text}");
        }
        let pushed = format!("Hi{}secret words", " ".repeat(100));
        assert_eq!(texts(&pushed), [(Trick::Blank, "secret words")]);
        let pushed = format!("Hi{}secret words", "\n".repeat(30));
        assert_eq!(texts(&pushed), [(Trick::Blank, "secret words")]);
        assert_eq!(texts("a\n[//]: # (secret words)\n").len(), 1);
    }

    #[test]
    fn what_is_displayed_is_not_concealed() {
        for text in [
            "<div style=\"color:black\">text</div>",
            "<div style=\"background-color:white\">text</div>",
            "<h1 style=\"color:white;background:#000\">text</h1>",
            "a < b and c > d",
            "fn f() {\n        indented()\n}",
            "",
        ] {
            assert!(concealed(text).is_empty(), "{text}");
        }
    }

    #[test]
    fn hostile_markup_is_read_in_linear_time() {
        for text in [
            "<!--".repeat(250_000),
            "<p hidden>".repeat(100_000),
            " \n".repeat(500_000),
            "<".repeat(1_000_000),
        ] {
            let start = std::time::Instant::now();
            let found = concealed(&text);
            let seconds = start.elapsed().as_secs_f64();
            assert!(seconds < 5.0, "{seconds} s, {} found", found.len());
        }
    }
}
