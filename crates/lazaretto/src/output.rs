//! The only module that writes to the standard streams.

use std::io::{IsTerminal as _, Write as _};
use std::path::Path;

use lazaretto_patterns::redact;

/// Writes `text` to standard output. A closed pipe (`| head`) is no error.
pub(crate) fn print(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes());
    let _ = stdout.flush();
}

/// Writes a line to standard error. Names and values from data stand in messages, so control and bidi
/// characters are spelt out and secrets masked here, whoever wrote the message. A line break inside is
/// from data too: what would follow it on a line of its own could pass for one of ours.
pub(crate) fn error_line(text: &str) {
    let mut stderr = std::io::stderr().lock();
    let _ = writeln!(stderr, "{}", lazaretto_report::terminal(&redact(text)));
}

/// The same for a text whose line breaks are meant.
pub(crate) fn error_lines(text: &str) {
    // Before it is cut into lines: a key in PEM has several, and none of them alone is known as one.
    let text = redact(text);
    let mut stderr = std::io::stderr().lock();
    for line in text.lines() {
        let _ = writeln!(stderr, "{}", lazaretto_report::terminal(line));
    }
}

/// A path as it may be printed: names of files can act on a terminal.
pub(crate) fn shown(path: &Path) -> String {
    lazaretto_report::terminal(&path.to_string_lossy())
}

/// Whether standard output takes colours.
pub(crate) fn colored() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

/// Columns of `rows` padded to equal width, two blanks between them.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let n_columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..n_columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::from("  ");
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', width - cell.chars().count() + 2));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
