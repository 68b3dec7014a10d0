//! Whole-path tests: files on disk in, run folder out.
#![expect(
    clippy::unwrap_used,
    clippy::cast_sign_loss,
    clippy::float_cmp,
    clippy::format_collect,
    reason = "tests: helpers may unwrap, and generated values are small and exact"
)]

mod columnar; // Parquet and Arrow IPC: what a rewrite keeps
mod damage; // what cannot be read, and what does not fit
mod discovery; // which files are found
#[cfg(unix)]
mod isolation; // decoders that misbehave
mod proof; // conservation notices every kind of tampering
mod recorded; // digests beside the data
mod roles; // what columns are for
mod support; // data, a run without an engine
mod text; // CSV, TSV, JSON lines
