//! Writes each format of the sample report to a folder, to look at while working on the reports:
//! `cargo run --release -p lazaretto-report --example sample -- FOLDER`.

use std::path::PathBuf;
use std::{env, fs, io};

#[path = "../src/sample/mod.rs"]
mod sample;

fn main() -> io::Result<()> {
    let folder = env::args_os()
        .nth(1)
        .map_or_else(env::temp_dir, PathBuf::from);
    fs::create_dir_all(&folder)?;
    let report = sample::report();
    for (name, text) in [
        ("report.json", lazaretto_report::json(&report)),
        ("report.html", lazaretto_report::html(&report)),
        (
            "quiet.html",
            lazaretto_report::html(&sample::quiet_report()),
        ),
        ("report.md", lazaretto_report::markdown(&report)),
        ("report.sarif", lazaretto_report::sarif(&report)),
        ("junit.xml", lazaretto_report::junit(&report)),
        ("summary.txt", lazaretto_report::human(&report, false)),
    ] {
        fs::write(folder.join(name), text)?;
    }
    Ok(())
}
