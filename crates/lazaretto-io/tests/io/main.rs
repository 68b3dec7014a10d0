//! Whole-path tests: files on disk in, run folder out.

mod columnar; // Parquet and Arrow IPC: what a rewrite keeps
mod damage; // what cannot be read, and what does not fit
mod discovery; // which files are found
mod proof; // conservation notices every kind of tampering
mod roles; // what columns are for
mod support; // data, a run without an engine
mod text; // CSV, TSV, JSON lines
