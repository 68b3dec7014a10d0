//! Which keys count, and when: one or more public keys in PEM, or a TOML file that also says since when and
//! until when. Keys are rotated by listing the old and the new one for a while.
//!
//! ```toml
//! [[key]]
//! name = "release 2026"
//! not_before = 2026-01-01
//! not_after = 2026-12-31
//! public_key = """
//! -----BEGIN PUBLIC KEY-----
//! MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=
//! -----END PUBLIC KEY-----
//! """
//! ```
//!
//! The dates are compared with the day of the check, not with a date that the signer states: whoever
//! steals a key can state any date.

use std::fmt;

use serde::Deserialize;

use crate::error::ProofError;
use crate::key::PublicKey;

/// A day of the Gregorian calendar, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Day {
    year: i64,
    month: u8,
    /// From 1.
    of_month: u8,
}

impl Day {
    /// The day that `seconds` since 1970-01-01T00:00:00 UTC fall on.
    ///
    /// ```
    /// assert_eq!(lazaretto_proof::Day::of_unix_time(1_772_496_000).to_string(), "2026-03-03");
    /// ```
    #[must_use]
    pub fn of_unix_time(seconds: u64) -> Self {
        // Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", civil_from_days.
        let days = (seconds / 86_400) as i64 + 719_468;
        let era = days.div_euclid(146_097);
        let day_of_era = days.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let month = (shifted_month + 2) % 12 + 1;
        Self {
            year: year_of_era + era * 400 + i64::from(month <= 2),
            month: month as u8,
            of_month: (day_of_year - (153 * shifted_month + 2) / 5 + 1) as u8,
        }
    }
}

impl fmt::Display for Day {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{:04}-{:02}-{:02}",
            self.year, self.month, self.of_month
        )
    }
}

/// A key that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TrustedKey {
    pub(crate) key: PublicKey,
    id: String,
    not_before: Option<Day>,
    not_after: Option<Day>,
}

impl TrustedKey {
    /// Why it does not count on day `today`.
    pub(crate) fn outside(&self, today: Option<Day>) -> Option<String> {
        let today = today?;
        match (self.not_before, self.not_after) {
            (Some(start), _) if today < start => Some(format!("counts from {start} on")),
            (_, Some(end)) if today > end => Some(format!("counted until {end}")),
            _ => None,
        }
    }
}

/// Keys that count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    keys: Vec<TrustedKey>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TrustFile {
    key: Vec<KeyEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyEntry {
    public_key: String,
    #[serde(default)]
    name: String,
    not_before: Option<toml::value::Datetime>,
    not_after: Option<toml::value::Datetime>,
}

impl Trust {
    /// Reads public keys: PEM texts one after the other, or a TOML file.
    ///
    /// # Errors
    /// [`ProofError::Trust`] or [`ProofError::Key`] when a key cannot be used, and when there is none.
    pub fn parse(text: &str) -> Result<Self, ProofError> {
        let keys = if text.trim_start().starts_with("-----BEGIN") {
            from_pem(text)?
        } else {
            from_toml(text)?
        };
        if keys.is_empty() {
            return Err(ProofError::Trust("there is none".to_owned()));
        }
        Ok(Self { keys })
    }

    /// Adds the keys of `other`. A key that is in both counts while either says so.
    pub fn extend(&mut self, other: Self) {
        self.keys.extend(other.keys);
    }

    /// Ids of the keys.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|key| key.id.as_str())
    }

    /// The key with this id; of several entries the one with the latest end.
    pub(crate) fn find(&self, id: &str) -> Option<&TrustedKey> {
        let named = self.keys.iter().filter(|key| key.id == id);
        named.max_by_key(|key| (key.not_after.is_none(), key.not_after))
    }
}

fn from_pem(text: &str) -> Result<Vec<TrustedKey>, ProofError> {
    const BEGIN: &str = "-----BEGIN";
    let blocks = text.split(BEGIN).skip(1);
    blocks
        .map(|block| trusted(&format!("{BEGIN}{block}"), None, None))
        .collect()
}

fn from_toml(text: &str) -> Result<Vec<TrustedKey>, ProofError> {
    let file: TrustFile =
        toml::from_str(text).map_err(|error| ProofError::Trust(error.message().to_owned()))?;
    let entries = file.key.iter();
    entries
        .map(|entry| {
            let day = |date: &Option<toml::value::Datetime>| {
                let Some(date) = date else { return Ok(None) };
                match (date.date, date.time) {
                    (Some(date), None) => Ok(Some(Day {
                        year: i64::from(date.year),
                        month: date.month,
                        of_month: date.day,
                    })),
                    _ => Err(ProofError::Trust(format!(
                        "`{date}` of key `{}` is no day, expected one like 2026-12-31",
                        entry.name
                    ))),
                }
            };
            trusted(
                &entry.public_key,
                day(&entry.not_before)?,
                day(&entry.not_after)?,
            )
        })
        .collect()
}

fn trusted(
    pem: &str,
    not_before: Option<Day>,
    not_after: Option<Day>,
) -> Result<TrustedKey, ProofError> {
    let key = PublicKey::from_pem(pem)?;
    Ok(TrustedKey {
        id: key.id()?,
        key,
        not_before,
        not_after,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Envelope, SecretKey, Statement};

    fn day(text: &str) -> Day {
        let parts: Vec<i64> = text.split('-').map(|part| part.parse().unwrap()).collect();
        Day {
            year: parts[0],
            month: parts[1] as u8,
            of_month: parts[2] as u8,
        }
    }

    #[test]
    fn days_are_those_of_the_calendar() {
        // By `date -u -d @N +%F` of coreutils.
        for (seconds, expected) in [
            (0, "1970-01-01"),
            (951_782_399, "2000-02-28"),
            (951_782_400, "2000-02-29"),
            (951_868_800, "2000-03-01"),
            (1_798_761_599, "2026-12-31"),
            (1_798_761_600, "2027-01-01"),
            (4_107_542_400, "2100-03-01"),
        ] {
            assert_eq!(Day::of_unix_time(seconds).to_string(), expected);
        }
    }

    #[test]
    fn a_key_counts_between_its_days() {
        let key = SecretKey::generate().unwrap();
        let pem = key.public().to_pem().unwrap();
        let file = format!(
            "[[key]]\nname = \"old\"\nnot_before = 2026-01-01\nnot_after = 2026-12-31\npublic_key = \"\"\"\n{pem}\"\"\"\n"
        );
        let trust = Trust::parse(&file).unwrap();
        let statement = Statement::new("x", serde_json::Value::Null);
        let envelope = Envelope::sign(&statement, &[&key]).unwrap();
        for (today, counts) in [
            ("2025-12-31", false),
            ("2026-01-01", true),
            ("2026-12-31", true),
            ("2027-01-01", false),
        ] {
            let checked = envelope.verify(&trust, Some(day(today)));
            assert_eq!(checked.is_ok(), counts, "{today}: {checked:?}");
        }
        assert!(envelope.verify(&trust, None).is_ok());
        // Prolonged by another file.
        let mut longer = trust;
        longer.extend(Trust::parse(&file.replace("2026-12-31", "2027-06-30")).unwrap());
        assert!(envelope.verify(&longer, Some(day("2027-01-01"))).is_ok());
    }

    #[test]
    fn what_is_no_trust_file_is_told() {
        for (text, expected) in [
            ("", "missing field `key`"),
            ("key = []", "there is none"),
            ("[[key]]\nname = \"x\"", "public_key"),
            ("[[key]]\npublic_key = \"\"\nexpires = 1", "expires"),
            (
                "-----BEGIN PUBLIC KEY-----\n!!\n-----END PUBLIC KEY-----",
                "public key",
            ),
        ] {
            let error = Trust::parse(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
