//! Times a whole `lazaretto scan --only ecod` of a generated table, outputs included, with decoders in
//! processes of their own and in the scan's (`--trusted-input`), and on the same numbers in the same
//! minute `PyOD`'s ECOD call alone where `python3` has it.
//!
//! ```text
//! cargo build --release
//! cargo run --release -p lazaretto-benches --bin end-to-end -- [--rows N] [--columns N] [--threads N] [--pairs N]
//! ```

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use lazaretto_testkit::big_table;

/// Exit code of a scan whose policy failed: the planted outliers are meant to be found.
const POLICY_FAILED: i32 = 1;

struct Options {
    rows: usize,
    columns: usize,
    threads: usize,
    /// Scans of either kind, one after the other.
    pairs: usize,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            #[expect(clippy::print_stderr, reason = "a command")]
            {
                eprintln!("{error:#}");
            }
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stdout, reason = "a command")]
fn run() -> Result<()> {
    let options = parse(std::env::args().skip(1))?;
    let folder = tempfile::tempdir().context("failed to create a folder")?;
    let table = folder.path().join("table.parquet");
    let outliers = big_table(&table, options.rows, options.columns, 1)?;
    let bytes = std::fs::metadata(&table)?.len();
    println!(
        "table      {} rows x {} float32, {} outliers, {:.0} MB",
        options.rows,
        options.columns,
        outliers.len(),
        bytes as f64 / 1e6
    );
    let (mut apart, mut here, mut peak) = (Vec::new(), Vec::new(), String::new());
    for pair in 0..options.pairs {
        let out = |kind: &str| folder.path().join(format!("{kind}-{pair}"));
        let (seconds, of_pair) = scan(&table, &out("apart"), options.threads, &[])?;
        apart.push(seconds);
        peak = of_pair;
        here.push(scan(&table, &out("here"), options.threads, &["--trusted-input"])?.0);
    }
    let (scan, here) = (median(apart), median(here));
    println!("lazaretto  {scan:.2} s for the whole scan, peak RSS {peak}");
    println!(
        "           {here:.2} s with `--trusted-input`: isolated decoders reach {:.2} x its throughput",
        here / scan
    );
    match pyod(&table, options.threads)? {
        Some(pyod) => {
            println!("PyOD ECOD  {pyod:.2} s for the call alone");
            println!(
                "ratio      {:.2} (below 1: lazaretto is faster)",
                scan / pyod
            );
        }
        None => println!("PyOD ECOD  not measured: `python3` cannot import pyod and pyarrow"),
    }
    Ok(())
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Options> {
    let mut options = Options {
        rows: 1_000_000,
        columns: 32,
        threads: 2,
        pairs: 5,
    };
    while let Some(flag) = arguments.next() {
        let target = match flag.as_str() {
            "--rows" => &mut options.rows,
            "--columns" => &mut options.columns,
            "--threads" => &mut options.threads,
            "--pairs" => &mut options.pairs,
            _ => bail!(
                "unknown argument `{flag}`\nhint: --rows, --columns, --threads and --pairs take a number"
            ),
        };
        *target = arguments
            .next()
            .and_then(|value| value.parse().ok())
            .filter(|&number| number > 0)
            .with_context(|| format!("`{flag}` needs a number from 1 on"))?;
    }
    Ok(options)
}

/// The `lazaretto` that was built beside this program.
fn lazaretto() -> Result<PathBuf> {
    let program = std::env::current_exe()?.with_file_name("lazaretto");
    if !program.exists() {
        bail!(
            "no `{}`\nhint: run `cargo build --release` first",
            program.display()
        );
    }
    Ok(program)
}

/// The middle one; of an even number, the upper one of the two.
fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}

/// Seconds that a scan takes, and the peak of its resident memory in words.
fn scan(table: &Path, out: &Path, threads: usize, flags: &[&str]) -> Result<(f64, String)> {
    let start = Instant::now();
    let mut child = Command::new(lazaretto()?)
        .arg("scan")
        .arg(table)
        .args(["--only", "ecod", "--id", "row_id", "-q", "--threads"])
        .arg(threads.to_string())
        .arg("--out")
        .arg(out)
        .args(flags)
        .stdout(Stdio::null())
        .spawn()
        .context("failed to start the scan")?;
    let mut peak = None;
    let status = loop {
        peak = peak_rss_kib(child.id()).or(peak);
        if let Some(status) = child.try_wait()? {
            break status;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let elapsed = start.elapsed();
    if !status.success() && status.code() != Some(POLICY_FAILED) {
        bail!("the scan ended with {status}");
    }
    let peak = peak.map_or_else(
        || "unknown (needs /proc)".to_owned(),
        |kib| format!("{:.0} MiB", kib as f64 / 1024.0),
    );
    Ok((elapsed.as_secs_f64(), peak))
}

/// High-water mark of the resident memory of a running process.
fn peak_rss_kib(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Seconds of `PyOD`'s call; `None` where it is not installed.
fn pyod(table: &Path, threads: usize) -> Result<Option<f64>> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("pyod_ecod.py");
    let output = Command::new("python3")
        .arg(script)
        .arg(table)
        .arg(threads.to_string())
        .stderr(Stdio::inherit())
        .output();
    let Ok(output) = output else {
        return Ok(None);
    };
    match output.status.code() {
        Some(0) => {
            let seconds = String::from_utf8_lossy(&output.stdout).trim().to_owned();
            Ok(Some(
                seconds
                    .parse()
                    .with_context(|| format!("PyOD printed `{seconds}`"))?,
            ))
        }
        Some(3) => Ok(None),
        _ => bail!("the PyOD script ended with {}", output.status),
    }
}
