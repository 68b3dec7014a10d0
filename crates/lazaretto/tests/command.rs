//! The command answers at all. Because Cargo builds a package's binaries for its integration tests,
//! this file is also what makes `cargo test --workspace` build the command that `tests/` runs.

use std::process::Command;

#[test]
fn the_version_is_printed() {
    let output = Command::new(env!("CARGO_BIN_EXE_lazaretto"))
        .arg("--version")
        .output()
        .unwrap();
    assert!(output.status.success());
    let expected = format!("lazaretto {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
}
