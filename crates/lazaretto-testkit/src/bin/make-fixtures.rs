//! Writes `fixtures/`, or with `--check` says which files there are stale.

use std::path::Path;
use std::process::ExitCode;

use lazaretto_testkit::fixtures;

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "a command")]
fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let check = match arguments.as_slice() {
        [] => false,
        [flag] if flag == "--check" => true,
        _ => {
            eprintln!("usage: make-fixtures [--check]");
            return ExitCode::from(2);
        }
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures");
    let files = match fixtures::all() {
        Ok(files) => files,
        Err(error) => {
            eprintln!("failed to make fixtures: {error}");
            return ExitCode::FAILURE;
        }
    };
    let stale = fixtures::stale(&files, &root);
    if check && !stale.is_empty() {
        eprintln!("stale: {}", stale.join(", "));
        eprintln!("hint: run `cargo run --release --bin make-fixtures`");
        return ExitCode::FAILURE;
    }
    if !check {
        if let Err(error) = fixtures::write(&files, &root) {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
        println!(
            "{} files, {} of them new or changed",
            files.len(),
            stale.len()
        );
    }
    ExitCode::SUCCESS
}
