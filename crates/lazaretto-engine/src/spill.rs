//! Per-record results on disk, between the score pass and the verdicts.
//!
//! Fixed-width rows in dataset order, so that memory does not grow with the dataset and a record
//! is found by its ordinal. The file lives in the run's scratch folder and is never committed.

use std::fs::File;
use std::io::{self, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use lazaretto_core::{NO_LABEL, RowHash};

/// Hash, label, source, time.
const FIXED: usize = 32 + 4 + 4 + 8;
/// Time of a record without one.
pub(crate) const NO_TIME: i64 = i64::MIN;

/// What the score pass found about one record.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    pub(crate) hash: RowHash,
    pub(crate) label: u32,
    pub(crate) source: u32,
    /// Microseconds since 1970, or [`NO_TIME`].
    pub(crate) time: i64,
    /// Score of each detector, NaN where it has nothing to say.
    pub(crate) scores: Vec<f32>,
}

impl Row {
    /// The row of a record that could not be read.
    pub(crate) fn unread(n_detectors: usize) -> Self {
        Self {
            hash: RowHash([0; 32]),
            label: NO_LABEL,
            source: NO_LABEL,
            time: NO_TIME,
            scores: vec![f32::NAN; n_detectors],
        }
    }

    /// Appends the row's bytes.
    pub(crate) fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.hash.0);
        bytes.extend_from_slice(&self.label.to_le_bytes());
        bytes.extend_from_slice(&self.source.to_le_bytes());
        bytes.extend_from_slice(&self.time.to_le_bytes());
        for score in &self.scores {
            bytes.extend_from_slice(&score.to_le_bytes());
        }
    }

    fn decode(bytes: &[u8]) -> Self {
        let four = |at: usize| {
            let mut word = [0; 4];
            word.copy_from_slice(&bytes[at..at + 4]);
            word
        };
        let mut hash = [0; 32];
        hash.copy_from_slice(&bytes[..32]);
        let mut time = [0; 8];
        time.copy_from_slice(&bytes[40..48]);
        Self {
            hash: RowHash(hash),
            label: u32::from_le_bytes(four(32)),
            source: u32::from_le_bytes(four(36)),
            time: i64::from_le_bytes(time),
            scores: (FIXED..bytes.len())
                .step_by(4)
                .map(|at| f32::from_le_bytes(four(at)))
                .collect(),
        }
    }
}

/// Rows being written, from any thread, each at its place: nothing waits in memory for its turn.
pub(crate) struct SpillWriter {
    file: Mutex<File>,
    width: usize,
}

impl SpillWriter {
    pub(crate) fn create(path: &Path, n_detectors: usize) -> io::Result<Self> {
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(path)?;
        Ok(Self {
            file: Mutex::new(file),
            width: FIXED + 4 * n_detectors,
        })
    }

    /// Writes encoded rows, the first of which has ordinal `first`.
    pub(crate) fn write(&self, first: u64, rows: &[u8]) -> io::Result<()> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(first * self.width as u64))?;
        file.write_all(rows)
    }

    pub(crate) fn finish(self) -> io::Result<Spill> {
        let file = self
            .file
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        let n_rows = file.metadata()?.len() / self.width as u64;
        Ok(Spill {
            file,
            width: self.width,
            n_rows,
        })
    }
}

/// Rows to read back.
pub(crate) struct Spill {
    file: File,
    width: usize,
    n_rows: u64,
}

impl Spill {
    pub(crate) fn n_rows(&self) -> u64 {
        self.n_rows
    }

    /// Calls `each` with every ordinal in order and its row.
    pub(crate) fn for_each(&mut self, mut each: impl FnMut(u64, Row)) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(0))?;
        let mut reader = BufReader::with_capacity(1 << 20, &self.file);
        let mut bytes = vec![0; self.width];
        for ordinal in 0..self.n_rows {
            reader.read_exact(&mut bytes)?;
            each(ordinal, Row::decode(&bytes));
        }
        Ok(())
    }

    /// All finite scores of detector `detector`, thinned to at most `limit` by taking every k-th.
    pub(crate) fn scores(&mut self, detector: usize, limit: u64) -> io::Result<Vec<f32>> {
        let step = self.n_rows.div_ceil(limit.max(1)).max(1);
        let at = FIXED + 4 * detector;
        let mut scores = Vec::with_capacity((self.n_rows / step) as usize + 1);
        self.file.seek(SeekFrom::Start(0))?;
        let mut reader = BufReader::with_capacity(1 << 20, &self.file);
        let mut bytes = vec![0; self.width];
        for ordinal in 0..self.n_rows {
            reader.read_exact(&mut bytes)?;
            if ordinal % step == 0 {
                let mut word = [0; 4];
                word.copy_from_slice(&bytes[at..at + 4]);
                let score = f32::from_le_bytes(word);
                if score.is_finite() {
                    scores.push(score);
                }
            }
        }
        Ok(scores)
    }

    /// The `n_rows` rows from `first` on.
    pub(crate) fn range(&mut self, first: u64, n_rows: u64) -> io::Result<Vec<Row>> {
        self.file.seek(SeekFrom::Start(first * self.width as u64))?;
        let mut bytes = vec![0; self.width * n_rows as usize];
        self.file.read_exact(&mut bytes)?;
        Ok(bytes.chunks_exact(self.width).map(Row::decode).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back_in_order_and_by_ordinal() {
        let folder = std::env::temp_dir().join(format!("lazaretto-spill-{}", std::process::id()));
        let rows: Vec<Row> = (0..5_u8)
            .map(|row| Row {
                hash: RowHash([row; 32]),
                label: u32::from(row),
                source: 7,
                time: -i64::from(row),
                scores: vec![f32::from(row), f32::NAN],
            })
            .collect();
        let writer = SpillWriter::create(&folder, 2).unwrap();
        // Later rows may come first.
        for part in [3..5, 0..3] {
            let mut bytes = Vec::new();
            for row in &rows[part.clone()] {
                row.encode(&mut bytes);
            }
            writer.write(part.start as u64, &bytes).unwrap();
        }
        let mut spill = writer.finish().unwrap();
        assert_eq!(spill.n_rows(), 5);
        assert_eq!(spill.range(3, 1).unwrap()[0].hash, rows[3].hash);
        assert_eq!(spill.scores(0, 100).unwrap(), [0.0, 1.0, 2.0, 3.0, 4.0]);
        assert_eq!(spill.scores(0, 3).unwrap(), [0.0, 2.0, 4.0]);
        assert!(spill.scores(1, 100).unwrap().is_empty());
        let mut seen = Vec::new();
        spill
            .for_each(|ordinal, row| seen.push((ordinal, row.time)))
            .unwrap();
        assert_eq!(seen, [(0, 0), (1, -1), (2, -2), (3, -3), (4, -4)]);
        std::fs::remove_file(folder).unwrap();
    }
}
