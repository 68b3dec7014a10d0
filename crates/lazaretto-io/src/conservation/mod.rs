//! Proof from the written files alone that nothing was lost, added or changed.
//!
//! `scores/` lists every record of the input in order, with its verdict and the hash of its
//! values as they were read for scoring. This module walks that list and the files of `clean/`,
//! `quarantine/` and `unscanned/` side by side: each folder must hold exactly the records with
//! its verdict, in order, and their values, hashed again, must give the listed hashes. Files
//! that were taken over whole are compared by digest. The readers here share no code with the
//! writers or with the batches of the scan.

mod rows;
mod scores;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use lazaretto_core::Verdict;
use lazaretto_core::report::Counts;
use rayon::prelude::*;

use self::rows::{RowSource, Rows};
use self::scores::Scores;
use crate::dataset::{Dataset, Unit};
use crate::decode::guard;
use crate::discover::{Format, digest_file};
use crate::error::IoError;
use crate::run_folder::files_below;
use crate::split::reasons::reasons_path;

/// What the check counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Conservation {
    /// Records and files by verdict, counted in what was written.
    pub counts: Counts,
    /// Files of `clean/` with the input's bytes.
    pub copied_files: u64,
}

/// Number of records by verdict.
#[derive(Clone, Copy, Debug, Default)]
struct Tally([u64; 3]);

impl Tally {
    fn of(&self, verdict: Verdict) -> u64 {
        self.0[verdict as usize]
    }

    fn add(&mut self, verdict: Verdict) {
        self.0[verdict as usize] += 1;
    }

    fn plus(self, other: Self) -> Self {
        Self(std::array::from_fn(|idx| self.0[idx] + other.0[idx]))
    }
}

/// Checks a staged or committed run folder against `dataset`, on all threads.
///
/// # Errors
/// [`IoError::Conservation`] naming the file and the first row that differs;
/// [`IoError::Storage`] when something cannot be read back.
pub fn check_conservation(dataset: &Dataset, run: &Path) -> Result<Conservation, IoError> {
    let scores = Scores::open(run)?;
    if scores.rows() != dataset.n_rows() {
        return Err(difference(
            "scores",
            None,
            format!(
                "{} rows for {} records of the input",
                scores.rows(),
                dataset.n_rows()
            ),
        ));
    }
    let check = Check {
        dataset,
        run,
        scores,
    };
    let outcomes: Vec<FileOutcome> = (0..dataset.files().len())
        .into_par_iter()
        .map(|file| check.file(file))
        .collect::<Result<_, _>>()?;
    check.listing(&outcomes)?;
    let mut conservation = Conservation::default();
    let counts = &mut conservation.counts;
    counts.files = outcomes.len() as u64;
    for outcome in &outcomes {
        counts.pass += outcome.tally.of(Verdict::Pass);
        counts.quarantine += outcome.tally.of(Verdict::Quarantine);
        counts.unscanned += outcome.tally.of(Verdict::Unscanned);
        counts.unscanned_files += u64::from(outcome.whole_unscanned);
        conservation.copied_files += u64::from(outcome.copied);
    }
    counts.records = counts.pass + counts.quarantine + counts.unscanned;
    Ok(conservation)
}

/// The records by verdict that `scores/` of the run folder `run` lists; files are not counted.
///
/// # Errors
/// [`IoError::Conservation`] when `scores/` does not decode.
pub(crate) fn listed_counts(run: &Path) -> Result<Counts, IoError> {
    // What is read here may be anybody's; a decoder that panics must not end the process.
    let tally = guard(|| {
        Scores::open(run)
            .and_then(|scores| scores.verdicts())
            .map_err(|error| error.to_string())
    })
    .map_err(|reason| difference("scores", None, reason))?;
    Ok(Counts {
        records: tally.0.iter().sum(),
        pass: tally.of(Verdict::Pass),
        quarantine: tally.of(Verdict::Quarantine),
        unscanned: tally.of(Verdict::Unscanned),
        ..Counts::default()
    })
}

/// The [`IoError::Conservation`] about `file`.
fn difference(file: &str, row: Option<u64>, detail: impl Into<String>) -> IoError {
    IoError::Conservation {
        file: file.to_owned(),
        location: row.map_or_else(String::new, |row| format!(" at row {row}")),
        detail: detail.into(),
    }
}

struct Check<'a> {
    dataset: &'a Dataset,
    run: &'a Path,
    scores: Scores,
}

/// What was found about one input file.
#[derive(Default)]
struct FileOutcome {
    tally: Tally,
    copied: bool,
    whole_unscanned: bool,
    /// Files of the run folder that belong to it.
    written: Vec<String>,
}

/// Consecutive records, and where those of each verdict begin in their folder's file.
struct Stretch {
    ordinals: std::ops::Range<u64>,
    /// Position of the first of them in the input file, for messages.
    row: u64,
    before: Tally,
    within: Tally,
}

impl Check<'_> {
    fn file(&self, file: usize) -> Result<FileOutcome, IoError> {
        let open = &self.dataset.files()[file];
        let relative = &open.input.relative;
        if open.rows.is_none() {
            let kept = format!("unscanned/{relative}");
            self.same_bytes(file, &kept)?;
            return Ok(FileOutcome {
                whole_unscanned: true,
                written: vec![kept],
                ..FileOutcome::default()
            });
        }
        let units = self.dataset.units_of(file);
        let tallies: Vec<Tally> = units
            .par_iter()
            .map(|unit| self.scores.tally(unit, relative))
            .collect::<Result<_, _>>()?;
        let tally = tallies
            .iter()
            .fold(Tally::default(), |sum, tally| sum.plus(*tally));
        let mut outcome = FileOutcome {
            tally,
            ..FileOutcome::default()
        };
        if tally.of(Verdict::Quarantine) + tally.of(Verdict::Unscanned) == 0 {
            let copy = format!("clean/{relative}");
            self.same_bytes(file, &copy)?;
            outcome.copied = true;
            outcome.written.push(copy);
            return Ok(outcome);
        }
        // A unit without one judged record may not decode, so the whole file was kept.
        outcome.whole_unscanned = units
            .iter()
            .zip(&tallies)
            .any(|(unit, tally)| tally.of(Verdict::Unscanned) == unit.rows);
        if outcome.whole_unscanned {
            let kept = format!("unscanned/{relative}");
            self.same_bytes(file, &kept)?;
            outcome.written.push(kept);
        }
        let sources = self.sources(file, &mut outcome)?;
        stretches(units, &tallies, open.input.format == Format::Parquet)
            .par_iter()
            .try_for_each(|stretch| self.stretch(relative, &sources, stretch))?;
        Ok(outcome)
    }

    /// Opens the files that hold records of `file`, and checks their lengths and schemas.
    fn sources(
        &self,
        file: usize,
        outcome: &mut FileOutcome,
    ) -> Result<BTreeMap<Verdict, RowSource>, IoError> {
        let input = &self.dataset.files()[file].input;
        let mut sources = BTreeMap::new();
        for verdict in [Verdict::Pass, Verdict::Quarantine, Verdict::Unscanned] {
            let rows = outcome.tally.of(verdict);
            if rows == 0 || (verdict == Verdict::Unscanned && outcome.whole_unscanned) {
                continue;
            }
            let path = match verdict {
                Verdict::Pass => format!("clean/{}", input.relative),
                Verdict::Unscanned => format!("unscanned/{}", input.relative),
                Verdict::Quarantine
                    if input.format.is_text()
                        || (input.format == Format::ArrowIpc
                            && self.dataset.keys().quarantine.is_some()) =>
                {
                    format!("quarantine/{}.parquet", input.relative)
                }
                Verdict::Quarantine => format!("quarantine/{}", input.relative),
            };
            let own = self
                .dataset
                .reader(file)
                .map_or(self.dataset.schema(), |reader| reader.schema());
            let source = RowSource::open(
                &below(self.run, &path),
                input,
                verdict == Verdict::Quarantine,
                own,
                self.dataset.schema(),
                self.dataset.keys(),
            )
            .map_err(|reason| difference(&path, None, reason))?;
            if let Some(found) = source.rows()
                && found != rows
            {
                return Err(difference(
                    &path,
                    None,
                    format!("{found} records where {rows} belong"),
                ));
            }
            outcome.written.push(path);
            sources.insert(verdict, source);
        }
        Ok(sources)
    }

    /// Walks the list and the files side by side.
    fn stretch(
        &self,
        relative: &str,
        sources: &BTreeMap<Verdict, RowSource>,
        stretch: &Stretch,
    ) -> Result<(), IoError> {
        let mut streams = sources
            .iter()
            .map(|(verdict, source)| {
                let start = stretch.before.of(*verdict);
                let rows = source
                    .read(start..start + stretch.within.of(*verdict))
                    .map_err(|reason| difference(relative, Some(stretch.row), reason))?;
                Ok((*verdict, rows))
            })
            .collect::<Result<BTreeMap<Verdict, Rows>, IoError>>()?;
        let mut row = stretch.row;
        self.scores.walk(stretch.ordinals.clone(), |listed| {
            self.dataset.check_cancelled()?;
            if let Some(stream) = streams.get_mut(&listed.verdict) {
                let found = stream
                    .next()
                    .map_err(|reason| difference(relative, Some(row), reason))?
                    .ok_or_else(|| {
                        let detail = format!("missing where verdict `{}` goes", listed.verdict);
                        difference(relative, Some(row), detail)
                    })?;
                listed
                    .compare(&found)
                    .map_err(|detail| difference(relative, Some(row), detail))?;
            }
            row += 1;
            Ok(())
        })?;
        for (verdict, stream) in &mut streams {
            let more = stream
                .next()
                .map_err(|reason| difference(relative, Some(row), reason))?;
            if more.is_some() {
                let detail = format!("more records than belong where verdict `{verdict}` goes");
                return Err(difference(relative, None, detail));
            }
        }
        Ok(())
    }

    fn same_bytes(&self, file: usize, path: &str) -> Result<(), IoError> {
        let input = &self.dataset.files()[file].input;
        let full = below(self.run, path);
        if !full.is_file() {
            return Err(difference(path, None, "it is missing"));
        }
        if digest_file(&full)?.1 != input.digest {
            return Err(difference(
                path,
                None,
                "its bytes are not those of the input",
            ));
        }
        Ok(())
    }

    /// Compares the files that are there with those that belong there.
    fn listing(&self, outcomes: &[FileOutcome]) -> Result<(), IoError> {
        let expected: BTreeSet<&str> = outcomes
            .iter()
            .flat_map(|outcome| outcome.written.iter().map(String::as_str))
            .collect();
        for folder in ["clean", "quarantine", "unscanned"] {
            let path = self.run.join(folder);
            if !path.is_dir() {
                continue;
            }
            for (relative, _) in files_below(&path)? {
                let found = format!("{folder}/{relative}");
                if !expected.contains(found.as_str()) && found != reasons_path(self.dataset) {
                    return Err(difference(&found, None, "it does not belong there"));
                }
            }
        }
        Ok(())
    }
}

/// Parts that are compared independently: units where files can be read from any row, else the
/// whole file.
fn stretches(units: &[Unit], tallies: &[Tally], by_unit: bool) -> Vec<Stretch> {
    let mut stretches: Vec<Stretch> = Vec::new();
    let mut before = Tally::default();
    for (unit, tally) in units.iter().zip(tallies) {
        let end = unit.first_row + unit.rows;
        match stretches.last_mut() {
            Some(whole) if !by_unit => {
                whole.ordinals.end = end;
                whole.within = whole.within.plus(*tally);
            }
            _ => stretches.push(Stretch {
                ordinals: unit.first_row..end,
                row: unit.row_in_file,
                before,
                within: *tally,
            }),
        }
        before = before.plus(*tally);
    }
    stretches
}

fn below(run: &Path, relative: &str) -> PathBuf {
    relative
        .split('/')
        .fold(run.to_owned(), |path, part| path.join(part))
}
