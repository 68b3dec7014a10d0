//! Tells rustc of the condition that `cargo fuzz` sets.

#[expect(clippy::print_stdout, reason = "how a build script speaks")]
fn main() {
    println!("cargo::rustc-check-cfg=cfg(fuzzing)");
    println!("cargo::rerun-if-changed=build.rs");
}
