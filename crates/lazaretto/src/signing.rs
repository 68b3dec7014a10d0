//! Where the private key comes from: never from an argument, which every process of the machine can read.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use lazaretto_proof::SecretKey;
use zeroize::Zeroizing;

use crate::output::error_line;

/// Holds the key itself, as PEM.
const KEY_VARIABLE: &str = "LAZARETTO_SIGNING_KEY";
/// Holds the path of the key.
const FILE_VARIABLE: &str = "LAZARETTO_SIGNING_KEY_FILE";

/// The key to sign with: `None` when neither `sign` nor the pipeline, by naming a file, asks for a signature.
pub(crate) fn key(sign: bool, in_pipeline: Option<&str>) -> Result<Option<Arc<SecretKey>>> {
    if !sign && in_pipeline.is_none() {
        return Ok(None);
    }
    let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    if let Some(pem) = variable(KEY_VARIABLE).map(Zeroizing::new) {
        let key = SecretKey::from_pem(&pem).context(format!("use `{KEY_VARIABLE}`"))?;
        return Ok(Some(Arc::new(key)));
    }
    let in_environment = variable(FILE_VARIABLE);
    let Some(path) = in_environment.as_deref().or(in_pipeline) else {
        bail!(
            "sign the run: no key is given by `{KEY_VARIABLE}`, `{FILE_VARIABLE}` or the pipeline's `signing_key_file`"
        );
    };
    let pem = std::fs::read_to_string(path).with_context(|| match &in_environment {
        // Not its value: somebody will put the key itself there.
        Some(_) => format!("read the key that `{FILE_VARIABLE}` names"),
        None => format!("read the key `{path}`"),
    })?;
    let key = SecretKey::from_pem(&Zeroizing::new(pem))?;
    warn_of_readers(Path::new(path));
    Ok(Some(Arc::new(key)))
}

#[cfg(unix)]
fn warn_of_readers(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::metadata(path).map_or(0, |metadata| metadata.permissions().mode());
    if mode & 0o077 != 0 {
        error_line(&format!(
            "warning: others can read the private key `{}`; `chmod 600` it",
            path.display()
        ));
    }
}

#[cfg(not(unix))]
fn warn_of_readers(_path: &Path) {}
