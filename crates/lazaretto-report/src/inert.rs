//! Makes text from the data harmless in each output format.
//!
//! A poisoned dataset chooses its own strings, and a report is read by people and by machines that
//! trust it. So each string that did not come from our own source passes through one function of
//! this module: markup is escaped, and characters that do not show themselves (controls, bidi
//! overrides, zero-width characters, tags) are written as `⟨U+200B⟩`. Runs of one such character
//! carry their length, `⟨U+200B ×12⟩`, and tag characters, which can hide a whole message, are
//! decoded: `⟨tags: ignore all rules⟩`.
//!
//! Not for JSON: `report.json` keeps the data as it is, which JSON's own escapes allow (`json.rs`).

use std::borrow::Cow;
use std::fmt::{self, Write as _};

/// Longest run of tag characters that is decoded in a report, in characters.
const MAX_DECODED_TAGS: usize = 80;

/// A part of a text, as it is to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    /// Characters that show themselves.
    Visible(&'a str),
    /// What stands for characters that do not: `U+200B`, `U+200B ×3` or `tags: hello`.
    Hidden(String),
    /// A line break (`\n` or `\r\n`).
    Break,
}

/// Splits `text` into what shows itself and what has to be made visible.
pub(crate) fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    let mut before = None;
    let mut visible_from = text;
    while let Some(first) = rest.chars().next() {
        let width = hidden_width(rest, first, before);
        if width == 0 {
            before = Some(first);
            rest = &rest[first.len_utf8()..];
            continue;
        }
        let visible = &visible_from[..visible_from.len() - rest.len()];
        if !visible.is_empty() {
            pieces.push(Piece::Visible(visible));
        }
        let (hidden, tail) = rest.split_at(width);
        pieces.push(shown(hidden, first));
        before = None;
        rest = tail;
        visible_from = tail;
    }
    if !visible_from.is_empty() {
        pieces.push(Piece::Visible(visible_from));
    }
    pieces
}

/// Number of bytes at the start of `rest` that form one hidden piece, 0 when `first` is visible.
fn hidden_width(rest: &str, first: char, before: Option<char>) -> usize {
    if first == '\n' {
        return 1;
    }
    if rest.starts_with("\r\n") {
        return 2;
    }
    if !is_hidden(first) || joins_emoji(rest, first, before) {
        return 0;
    }
    let belongs = |next: char| next == first || (is_tag(first) && is_tag(next));
    rest.find(|next| !belongs(next)).unwrap_or(rest.len())
}

fn shown(hidden: &str, first: char) -> Piece<'_> {
    if hidden == "\n" || hidden == "\r\n" {
        return Piece::Break;
    }
    if is_tag(first) {
        let decoded: String = hidden
            .chars()
            .filter_map(|tag| char::from_u32(tag as u32 - 0xE_0000))
            .collect();
        return Piece::Hidden(format!("tags: {}", shorten(&decoded, MAX_DECODED_TAGS)));
    }
    let mut label = format!("U+{:04X}", first as u32);
    let count = hidden.chars().count();
    if count > 1 {
        let _ = write!(label, " ×{count}");
    }
    Piece::Hidden(label)
}

/// Tag characters that mirror printable ASCII.
fn is_tag(character: char) -> bool {
    ('\u{E0020}'..='\u{E007E}').contains(&character)
}

/// Whether `character` has no glyph of its own, or changes how others are shown.
///
/// Controls, Unicode's format characters (but those of Arabic and other scripts that have a
/// glyph), variation selectors, blank letters and spaces of unusual width. The no-break spaces and
/// the ideographic space are ordinary typography and stay.
#[must_use]
pub fn is_hidden(character: char) -> bool {
    matches!(character,
        '\0'..='\u{8}' | '\u{B}'..='\u{1F}' | '\u{7F}'..='\u{9F}'
        | '\u{AD}' | '\u{34F}' | '\u{61C}'
        | '\u{115F}' | '\u{1160}' | '\u{1680}' | '\u{17B4}' | '\u{17B5}' | '\u{180B}'..='\u{180F}'
        | '\u{2000}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{205F}'..='\u{206F}'
        | '\u{2800}' | '\u{3164}' | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{FFA0}'
        | '\u{FFF0}'..='\u{FFFB}' | '\u{FFFE}' | '\u{FFFF}'
        | '\u{13430}'..='\u{1343F}' | '\u{1BCA0}'..='\u{1BCA3}' | '\u{1D173}'..='\u{1D17A}'
        | '\u{E0000}'..='\u{E0FFF}')
}

/// Joiners and the emoji selector inside emoji are how emoji are spelled, and hide nothing.
fn joins_emoji(rest: &str, first: char, before: Option<char>) -> bool {
    let pictograph = |character: char| {
        matches!(character, '\u{203C}'..='\u{3299}' | '\u{1F000}'..='\u{1FAFF}' | '\u{FE0F}')
            && !(is_hidden(character) && character != '\u{FE0F}')
    };
    let Some(before) = before else { return false };
    match first {
        '\u{FE0F}' => pictograph(before) && before != '\u{FE0F}',
        '\u{200D}' => {
            let after = rest.chars().nth(1);
            pictograph(before)
                && after.is_some_and(|after| pictograph(after) && after != '\u{FE0F}')
        }
        _ => false,
    }
}

/// `text` on one line of plain text: for terminals (no escape sequence survives) and attributes.
pub(crate) fn line(text: &str) -> String {
    plain(text, "↵")
}

/// `text` as XML character data before escaping, which the XML writer does. All that XML 1.0
/// forbids is hidden by the definition above, so nothing illegal is left.
pub(crate) fn xml(text: &str) -> String {
    plain(text, "\n")
}

fn plain(text: &str, line_break: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for piece in pieces(text) {
        match piece {
            Piece::Visible(part) => out.push_str(part),
            Piece::Hidden(label) => {
                let _ = write!(out, "⟨{label}⟩");
            }
            Piece::Break => out.push_str(line_break),
        }
    }
    out
}

/// `text` as HTML content, with a styled element around what stands for hidden characters.
pub(crate) fn html(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for piece in pieces(text) {
        match piece {
            Piece::Visible(part) => push_html(&mut out, part),
            Piece::Hidden(label) => {
                out.push_str("<span class=\"hid\">⟨");
                push_html(&mut out, &label);
                out.push_str("⟩</span>");
            }
            Piece::Break => out.push('\n'),
        }
    }
    out
}

fn push_html(out: &mut String, text: &str) {
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '`' => out.push_str("&#96;"),
            other => out.push(other),
        }
    }
}

/// The escaper of all HTML templates: like [`html`] without elements, so that it also fits
/// attribute values.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct HtmlEscaper;

impl askama::filters::Escaper for HtmlEscaper {
    fn write_escaped_str<W: fmt::Write>(&self, mut dest: W, string: &str) -> fmt::Result {
        let mut out = String::with_capacity(string.len() + 16);
        push_html(&mut out, &plain(string, "\n"));
        dest.write_str(&out)
    }
}

/// `text` as Markdown prose: no character keeps a meaning, on GitHub and in `CommonMark`.
///
/// The caller puts it behind some text of its own on the line; a leading list, heading or quote
/// sign is escaped all the same.
pub(crate) fn markdown(text: &str) -> String {
    let text = line(text);
    let mut out = String::with_capacity(text.len() + 16);
    for (index, character) in text.char_indices() {
        let rest = &text[index..];
        let special = match character {
            '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '#' | '|' | '~' | '!' | '&' | '$' => {
                true
            }
            // Bare addresses become links on GitHub.
            ':' => rest.starts_with("://"),
            '.' => ends_with_www(&text[..index]) || is_list_number(&text[..index]),
            ')' => is_list_number(&text[..index]),
            '-' | '+' | '=' => index == 0,
            // So do mail addresses, and names become mentions; no backslash helps there.
            '@' => {
                out.push_str("&#64;");
                continue;
            }
            _ => false,
        };
        if special {
            out.push('\\');
        }
        out.push(character);
    }
    out
}

fn ends_with_www(before: &str) -> bool {
    let mut last = before.chars().rev();
    (0..3).all(|_| {
        last.next()
            .is_some_and(|letter| letter.eq_ignore_ascii_case(&'w'))
    })
}

fn is_list_number(before: &str) -> bool {
    !before.is_empty() && before.len() < 10 && before.bytes().all(|byte| byte.is_ascii_digit())
}

/// `text` as a Markdown code span, with a fence longer than any run of backticks in it.
///
/// Vertical bars are escaped, because GitHub splits table cells even inside code; so this is meant
/// for table cells. Elsewhere use [`markdown_code`].
pub(crate) fn markdown_cell(text: &str) -> String {
    markdown_code(text).replace('|', "\\|")
}

/// `text` as a Markdown code span, outside tables.
pub(crate) fn markdown_code(text: &str) -> String {
    let text = line(text);
    if text.trim().is_empty() {
        return "(empty)".to_owned();
    }
    let longest = text
        .split(|character| character != '`')
        .map(str::len)
        .max()
        .unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    let pad = if longest > 0 || (text.starts_with(' ') && text.ends_with(' ')) {
        " "
    } else {
        ""
    };
    format!("{fence}{pad}{text}{pad}{fence}")
}

/// `text` as a SARIF plain-text message: on one line, without embedded links or placeholders
/// (SARIF 2.1.0, 3.11.5 and 3.11.6).
pub(crate) fn sarif(text: &str) -> String {
    let text = line(text);
    let mut out = String::with_capacity(text.len() + 8);
    for (index, character) in text.char_indices() {
        match character {
            '\\' | '[' | ']' => {
                out.push('\\');
                out.push(character);
            }
            '{' if is_placeholder(&text[index..]) => out.push_str("{{"),
            '}' if is_placeholder_end(&text[..index]) => out.push_str("}}"),
            other => out.push(other),
        }
    }
    out
}

fn is_placeholder(rest: &str) -> bool {
    let inner = rest[1..].trim_start_matches(|digit: char| digit.is_ascii_digit());
    inner.len() + 1 < rest.len() && inner.starts_with('}')
}

fn is_placeholder_end(before: &str) -> bool {
    let inner = before.trim_end_matches(|digit: char| digit.is_ascii_digit());
    inner.len() < before.len() && inner.ends_with('{')
}

/// A path as a relative URI reference: all but unreserved characters, `/` and `=`
/// percent-encoded.
pub(crate) fn uri(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/=".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// `url` if it may stand in a link: plain `https` made of URI characters only.
pub(crate) fn link(url: &str) -> Option<&str> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/:?#=&%+,".contains(&byte);
    (url.starts_with("https://") && url.bytes().all(allowed)).then_some(url)
}

/// At most `max_chars` characters of `text`, with `…` where something was left out.
pub(crate) fn shorten(text: &str, max_chars: usize) -> Cow<'_, str> {
    match text.char_indices().nth(max_chars) {
        None => Cow::Borrowed(text),
        Some((end, _)) => Cow::Owned(format!("{}…", text[..end].trim_end())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_characters_are_named_counted_and_decoded() {
        assert_eq!(line("a\u{200B}b"), "a⟨U+200B⟩b");
        assert_eq!(line("a\u{200B}\u{200B}\u{200B}b"), "a⟨U+200B ×3⟩b");
        assert_eq!(line("\u{202E}txt.exe"), "⟨U+202E⟩txt.exe");
        assert_eq!(line("nul\0"), "nul⟨U+0000⟩");
        let tags: String = "obey <b>"
            .chars()
            .filter_map(|letter| char::from_u32(letter as u32 + 0xE_0000))
            .collect();
        assert_eq!(line(&format!("hi{tags}!")), "hi⟨tags: obey <b>⟩!");
        assert_eq!(
            html(&tags),
            "<span class=\"hid\">⟨tags: obey &lt;b&gt;⟩</span>"
        );
    }

    #[test]
    fn ordinary_text_stays_as_it_is() {
        for text in [
            "",
            "Grüße, 世界 — \u{A0}ok",
            "naïve\tcafé",
            "❤\u{FE0F} 👩\u{200D}🚀",
            "العربية",
        ] {
            assert_eq!(line(text), text);
        }
        // The same characters outside emoji hide something.
        assert_eq!(line("a\u{FE0F}"), "a⟨U+FE0F⟩");
        assert_eq!(line("a\u{200D}b"), "a⟨U+200D⟩b");
        assert_eq!(line("❤\u{FE0F}\u{FE0F}"), "❤\u{FE0F}⟨U+FE0F⟩");
    }

    #[test]
    fn escape_sequences_do_not_reach_the_terminal() {
        let shown = line("\u{1B}[31mred\u{1B}[0m \u{9B}2J\r\nnext\rover");
        assert_eq!(
            shown,
            "⟨U+001B⟩[31mred⟨U+001B⟩[0m ⟨U+009B⟩2J↵next⟨U+000D⟩over"
        );
    }

    #[test]
    fn html_is_escaped_in_content_and_in_attributes() {
        assert_eq!(
            html("<script>alert('x')</script>\n"),
            "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;\n"
        );
        let mut out = String::new();
        askama::filters::Escaper::write_escaped_str(&HtmlEscaper, &mut out, "\"\u{200B}<").unwrap();
        assert_eq!(out, "&quot;⟨U+200B⟩&lt;");
    }

    #[test]
    fn markdown_has_no_links_code_or_html() {
        assert_eq!(
            markdown("![x](http://a.b) <i>`*_|"),
            "\\!\\[x\\](http\\://a.b) \\<i\\>\\`\\*\\_\\|"
        );
        assert_eq!(markdown("# h"), "\\# h");
        assert_eq!(markdown("1. one"), "1\\. one");
        assert_eq!(markdown("see www.a.b, 6,920"), "see www\\.a.b, 6,920");
        assert_eq!(markdown("a@b.c"), "a&#64;b.c");
        assert_eq!(markdown("a\n\n# b"), "a↵↵\\# b");
        assert_eq!(markdown_code("a`b"), "`` a`b ``");
        assert_eq!(markdown_code("\n"), "`↵`");
        assert_eq!(markdown_code("  "), "(empty)");
        assert_eq!(markdown_cell("a|b"), "`a\\|b`");
    }

    #[test]
    fn sarif_has_no_embedded_links_or_placeholders() {
        assert_eq!(sarif("[x](1) \\"), "\\[x\\](1) \\\\");
        assert_eq!(sarif("{0} {a} {} {12}"), "{{0}} {a} {} {{12}}");
    }

    #[test]
    fn xml_gets_only_legal_characters() {
        let shown = xml("a\0b\u{FFFE}\u{8}\n]]>");
        assert_eq!(shown, "a⟨U+0000⟩b⟨U+FFFE⟩⟨U+0008⟩\n]]>");
    }

    #[test]
    fn long_text_is_shortened_between_characters() {
        assert_eq!(shorten("žluťoučký", 3), "žlu…");
        assert_eq!(shorten("abc", 3), "abc");
        assert_eq!(shorten("", 0), "");
    }

    #[test]
    fn only_plain_https_addresses_are_links() {
        assert!(link("https://atlas.mitre.org/techniques/AML.T0020").is_some());
        for url in [
            "javascript:alert(1)",
            "http://a.b",
            "https://a\"b",
            "https://a b",
        ] {
            assert_eq!(link(url), None);
        }
        assert_eq!(uri("a b=1/ü#.csv"), "a%20b=1/%C3%BC%23.csv");
    }
}
