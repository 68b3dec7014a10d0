//! Where the keys of encrypted files come from: the environment, or a program that knows them.

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, anyhow, bail};
use lazaretto_engine::pipeline::{EncryptionOptions, KeySource};
use lazaretto_io::{AesKey, EncryptionKeys, InputKeys};
use zeroize::Zeroizing;

/// Holds the key of `quarantine/` where no pipeline says otherwise.
pub(crate) const QUARANTINE_VARIABLE: &str = "LAZARETTO_QUARANTINE_KEY";
/// Holds the key of encrypted input where no pipeline says otherwise.
const INPUT_VARIABLE: &str = "LAZARETTO_INPUT_KEY";

/// The keys to read the input with.
pub(crate) fn input_keys(options: &EncryptionOptions) -> Result<Option<InputKeys>> {
    let Some(inputs) = &options.inputs else {
        if std::env::var_os(INPUT_VARIABLE).is_none_or(|value| value.is_empty()) {
            return Ok(None);
        }
        return Ok(Some(InputKeys {
            footer: from_variable(INPUT_VARIABLE).context("get the key of the input")?,
            columns: [].into(),
            aad_prefix: None,
        }));
    };
    let columns = inputs.columns.iter();
    Ok(Some(InputKeys {
        footer: key(&inputs.footer).context("get the key `encryption.inputs.footer`")?,
        columns: columns
            .map(|(name, source)| {
                let key = key(source)
                    .with_context(|| format!("get the key `encryption.inputs.columns.{name}`"))?;
                Ok((name.clone(), key))
            })
            .collect::<Result<_>>()?,
        aad_prefix: inputs.aad_prefix.clone(),
    }))
}

/// The key of `quarantine/`, if it is to be encrypted.
pub(crate) fn quarantine_key(options: &EncryptionOptions) -> Result<Option<AesKey>> {
    let source = options.quarantine.as_ref();
    source
        .map(|source| key(source).context("get the key of `quarantine/`"))
        .transpose()
}

/// The keys to read a finished run with.
pub(crate) fn run_keys(options: &EncryptionOptions) -> Result<EncryptionKeys> {
    let in_environment =
        std::env::var_os(QUARANTINE_VARIABLE).is_some_and(|value| !value.is_empty());
    let quarantine = match quarantine_key(options)? {
        None if in_environment => {
            Some(from_variable(QUARANTINE_VARIABLE).context("get the key of `quarantine/`")?)
        }
        given => given,
    };
    Ok(EncryptionKeys {
        inputs: input_keys(options)?,
        quarantine,
    })
}

fn key(source: &KeySource) -> Result<AesKey> {
    match source {
        KeySource::Variable(name) => from_variable(name),
        KeySource::Command(words) => from_program(words),
    }
}

fn from_variable(name: &str) -> Result<AesKey> {
    // Neither error quotes the value.
    let text = match std::env::var(name) {
        Ok(text) if !text.is_empty() => Zeroizing::new(text),
        Ok(_) | Err(std::env::VarError::NotPresent) => {
            bail!("the environment variable `{name}` is not set")
        }
        Err(std::env::VarError::NotUnicode(_)) => {
            bail!("the environment variable `{name}` is not text")
        }
    };
    parsed(&text).with_context(|| format!("the environment variable `{name}`"))
}

fn from_program(words: &[String]) -> Result<AesKey> {
    let Some((program, arguments)) = words.split_first() else {
        bail!("no program");
    };
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        // What a program says of a key may hold parts of it.
        .stderr(Stdio::null())
        .output()
        .with_context(|| format!("start `{program}`, which knows the key"))?;
    let text = Zeroizing::new(output.stdout);
    if !output.status.success() {
        bail!(
            "`{program}`, which knows the key, failed ({}); run it by hand to see why",
            output.status
        );
    }
    let text = std::str::from_utf8(&text).map_err(|_| anyhow!("`{program}` printed no text"))?;
    parsed(text).with_context(|| format!("what `{program}` printed"))
}

fn parsed(text: &str) -> Result<AesKey> {
    AesKey::parse(text).map_err(|reason| anyhow!(reason))
}
