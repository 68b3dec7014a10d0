//! `lazaretto keygen`: a pair of keys that sign runs.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Args;
use lazaretto_proof::SecretKey;

use crate::arguments::Verbosity;
use crate::output::{print, shown};

#[derive(Args, Debug)]
pub(crate) struct KeygenOptions {
    /// Name of the pair: the private key goes to NAME.key, readable by its owner alone, the public one to
    /// NAME.pub. Neither may exist.
    #[arg(long, value_name = "NAME")]
    out: PathBuf,
}

pub(crate) fn run(options: &KeygenOptions, verbosity: Verbosity) -> Result<ExitCode> {
    let key = SecretKey::generate()?;
    let public = key.public();
    let [secret_path, public_path] = ["key", "pub"].map(|end| with_end(&options.out, end));
    let pem = key.to_pem()?;
    write_new(&secret_path, pem.as_bytes(), 0o600)?;
    if let Err(error) = write_new(&public_path, public.to_pem()?.as_bytes(), 0o644) {
        // Half a pair would be in the way of the next attempt.
        let _ = std::fs::remove_file(&secret_path);
        return Err(error);
    }
    if verbosity > Verbosity::Quiet {
        print(&format!(
            "key {}\nprivate: {} (keep it secret: LAZARETTO_SIGNING_KEY_FILE={})\npublic:  {} (give it to those who verify)\n",
            public.id()?,
            shown(&secret_path),
            shown(&secret_path),
            shown(&public_path)
        ));
    }
    Ok(ExitCode::SUCCESS)
}

fn with_end(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(end);
    PathBuf::from(name)
}

/// Writes a file that must not exist.
fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    create_new(path, mode)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .with_context(|| format!("write `{}`", path.display()))
}

#[cfg(unix)]
fn create_new(path: &Path, mode: u32) -> std::io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
}

#[cfg(not(unix))]
fn create_new(path: &Path, _mode: u32) -> std::io::Result<File> {
    OpenOptions::new().write(true).create_new(true).open(path)
}
