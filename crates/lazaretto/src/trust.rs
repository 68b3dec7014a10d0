//! Keys that vouch for runs and lists of sources.

use anyhow::{Context as _, Result};
use lazaretto_proof::{Day, Trust};

/// The keys in `files`; `None` when no file is given.
pub(crate) fn keys(files: &[String]) -> Result<Option<Trust>> {
    let mut all: Option<Trust> = None;
    for path in files {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("read the trusted key `{path}`"))?;
        let keys = Trust::parse(&text)?;
        match &mut all {
            Some(all) => all.extend(keys),
            None => all = Some(keys),
        }
    }
    Ok(all)
}

#[expect(
    clippy::disallowed_methods,
    reason = "whether a key counts depends on the day; nothing is written that does"
)]
pub(crate) fn today() -> Day {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Day::of_unix_time(now.map_or(0, |since| since.as_secs()))
}
