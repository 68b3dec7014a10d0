//! Progress on standard error: a bar on a terminal, plain lines in a log, nothing when quiet.

use std::io::IsTerminal as _;
use std::sync::Mutex;

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use lazaretto_engine::Progress;

use crate::arguments::Verbosity;
use crate::output::error_line;

/// Shows the progress of a scan.
pub(crate) struct Display {
    verbosity: Verbosity,
    bar: Option<ProgressBar>,
    bytes: Mutex<Bytes>,
}

#[derive(Default)]
struct Bytes {
    done: u64,
    total: u64,
}

impl Display {
    pub(crate) fn new(verbosity: Verbosity) -> Self {
        let bar = (verbosity > Verbosity::Quiet && std::io::stderr().is_terminal())
            .then(ProgressBar::new_spinner);
        Self {
            verbosity,
            bar,
            bytes: Mutex::default(),
        }
    }

    /// Takes the bar off the terminal.
    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn bytes(&self, change: impl FnOnce(&mut Bytes)) -> String {
        let mut bytes = self
            .bytes
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        change(&mut bytes);
        if bytes.total == 0 {
            return String::new();
        }
        format!(
            "{}/{}",
            HumanBytes(bytes.done.min(bytes.total)),
            HumanBytes(bytes.total)
        )
    }
}

impl Progress for Display {
    fn phase(&self, name: &str, rows: u64, bytes: u64) {
        let shown = self.bytes(|state| {
            *state = Bytes {
                done: 0,
                total: bytes,
            }
        });
        match &self.bar {
            Some(bar) => {
                let template = if rows > 0 {
                    "{spinner} {prefix:28} {bar:28} {percent:>3}%  {human_pos} records  {per_sec}  {msg}  {eta} left"
                } else {
                    "{spinner} {prefix}"
                };
                if let Ok(style) = ProgressStyle::with_template(template) {
                    bar.set_style(style);
                }
                bar.reset();
                bar.set_length(rows);
                bar.set_prefix(name.to_owned());
                bar.set_message(shown);
                bar.enable_steady_tick(std::time::Duration::from_millis(120));
            }
            None if self.verbosity > Verbosity::Quiet => {
                let size = if bytes > 0 {
                    format!(" ({rows} records, {})", HumanBytes(bytes))
                } else {
                    String::new()
                };
                error_line(&format!("lazaretto: {name}{size}"));
            }
            None => {}
        }
    }

    fn advance(&self, rows: u64, bytes: u64) {
        let shown = self.bytes(|state| state.done += bytes);
        if let Some(bar) = &self.bar {
            bar.set_message(shown);
            bar.inc(rows);
        }
    }

    fn warn(&self, message: &str) {
        if self.verbosity == Verbosity::Quiet {
            return;
        }
        match &self.bar {
            Some(bar) => bar.suspend(|| error_line(&format!("warning: {message}"))),
            None => error_line(&format!("warning: {message}")),
        }
    }
    fn note(&self, message: &str) {
        if self.verbosity == Verbosity::Quiet {
            return;
        }
        match &self.bar {
            Some(bar) => bar.suspend(|| error_line(&format!("lazaretto: {message}"))),
            None => error_line(&format!("lazaretto: {message}")),
        }
    }
}
