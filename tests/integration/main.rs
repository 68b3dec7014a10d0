//! The command as users run it: whole datasets in, exit codes, run folders and words out.
//!
//! Nothing here looks inside: a test states what somebody at a terminal, a script or an ETL job
//! would notice, and fails when the feature behind it is removed. No test asserts a time.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot go on has failed, and one that is skipped or measures says so"
)]

// What the tests stand on: running the command, reading run folders, making datasets.
mod data;
mod harness;

// What is found, and what is left alone, on data with a known truth.
mod across;
mod bad_values;
mod bench_data;
mod budget;
mod fixtures;
mod sources;

// The promises: same bytes, nothing lost, any format, bounded memory, all or nothing.
mod conservation;
mod crashes;
mod determinism;
mod encryption;
mod formats;
mod interruption;
mod isolation;
mod memory;
mod paths;
mod proof;

// What people and programs see: columns, messages, reports, schemas, generated files.
mod canary;
mod embedder;
mod errors;
mod evaluation;
mod explain;
mod generated;
mod hostile_text;
mod inert;
mod masking;
mod policy;
mod power;
mod roles;
mod schemas;
mod trusted;
