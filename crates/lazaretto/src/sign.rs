//! `lazaretto sign`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Args;
use lazaretto_engine::sign_run;
use lazaretto_engine::source_list::{envelope_path, statement_about};
use lazaretto_io::manifest::{ENVELOPE_NAME, FILE_NAME};
use lazaretto_proof::{Envelope, SecretKey};

use crate::arguments::Verbosity;
use crate::output::{print, shown};
use crate::signing;

#[derive(Args, Debug)]
pub(crate) struct SignOptions {
    /// A run folder (the signature goes to `manifest.dsse.json` in it) or a list of sources (to
    /// `PATH.dsse.json`). The key is taken as in `scan --sign`.
    #[arg(value_name = "PATH")]
    path: PathBuf,
}

pub(crate) fn run(options: &SignOptions, verbosity: Verbosity) -> Result<ExitCode> {
    let path = &options.path;
    let Some(key) = signing::key(true, None)? else {
        return Ok(ExitCode::SUCCESS);
    };
    let (envelope, to) = if path.is_dir() {
        (sign_run(path, &key)?, path.join(ENVELOPE_NAME))
    } else {
        (sign_list(path, &key)?, envelope_path(path))
    };
    replace(&to, &envelope.to_bytes())?;
    if verbosity > Verbosity::Quiet {
        print(&format!(
            "signed by key {}: {}\n",
            key.public().id()?,
            shown(&to)
        ));
    }
    Ok(ExitCode::SUCCESS)
}

fn sign_list(path: &Path, key: &SecretKey) -> Result<Envelope> {
    let bytes = fs::read(path).with_context(|| format!("read `{}`", path.display()))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let statement = statement_about(&name, &bytes);
    // What others signed stays, as long as it is about the same content.
    if let Ok(earlier) = fs::read(envelope_path(path))
        && let Ok(mut envelope) = Envelope::parse(&earlier)
        && envelope.unverified_statement()? == statement
    {
        envelope.countersign(key)?;
        return Ok(envelope);
    }
    Ok(Envelope::sign(&statement, &[key])?)
}

/// Writes a file whole or not at all, with the permissions of what it replaces.
fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let written = write_like(&partial, bytes, path).and_then(|()| fs::rename(&partial, path));
    if written.is_err() {
        // Left over at worst.
        let _ = fs::remove_file(&partial);
    }
    written.with_context(|| format!("write `{}`", path.display()))
}

/// Writes `bytes` durably, with the permissions of the file `like`, or else of the manifest beside it.
fn write_like(path: &Path, bytes: &[u8], like: &Path) -> std::io::Result<()> {
    fs::write(path, bytes)?;
    let manifest = like.with_file_name(FILE_NAME);
    let permissions = [like, &manifest]
        .iter()
        .find_map(|path| Some(fs::metadata(path).ok()?.permissions()));
    if let Some(permissions) = permissions {
        fs::set_permissions(path, permissions)?;
    }
    fs::File::open(path)?.sync_all()
}
