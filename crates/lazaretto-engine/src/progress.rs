//! How a scan tells what it is doing; the command decides whether and how to show it.

/// Receives the progress of a scan. Calls come from several threads.
pub trait Progress: Sync {
    /// A new phase begins that will go over `rows` records and `bytes` bytes of input.
    fn phase(&self, name: &str, rows: u64, bytes: u64);
    /// Part of the phase is done.
    fn advance(&self, rows: u64, bytes: u64);
    /// Something the user should know at once, such as an unreadable file.
    fn warn(&self, message: &str);
    /// Something the user will want to know, and that is as it should be.
    fn note(&self, message: &str);
}

/// Shows nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn phase(&self, _name: &str, _rows: u64, _bytes: u64) {}
    fn advance(&self, _rows: u64, _bytes: u64) {}
    fn warn(&self, _message: &str) {}
    fn note(&self, _message: &str) {}
}
