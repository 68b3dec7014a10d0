//! Per-record results on disk, between the score pass and the verdicts.
//!
//! Fixed-width rows in dataset order, so that memory does not grow with the dataset and a record
//! is found by its ordinal. The files live in the run's scratch folder and are never committed.
//!
//! Rows are read back in blocks, a few of them at a time on all threads; what is made of them is
//! handed over in order, so that the number of threads leaves no trace.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::ops::Range;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use lazaretto_core::{NO_LABEL, NO_TIME, RowHash};
use rayon::prelude::*;

/// Hash, label, source, time.
const FIXED: usize = 32 + 4 + 4 + 8;
/// Rows of a block.
pub(crate) const BLOCK_ROWS: u64 = 16_384;

/// What the score pass found about one record.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Row<'s> {
    pub(crate) hash: RowHash,
    pub(crate) label: u32,
    pub(crate) source: u32,
    /// Microseconds since 1970, or [`NO_TIME`].
    pub(crate) time: i64,
    /// Score of each detector, NaN where it has nothing to say.
    pub(crate) scores: &'s [f32],
}

impl<'s> Row<'s> {
    /// The row of a record that could not be read; `scores` are NaN.
    pub(crate) fn unread(scores: &'s [f32]) -> Self {
        Self {
            hash: RowHash([0; 32]),
            label: NO_LABEL,
            source: NO_LABEL,
            time: NO_TIME,
            scores,
        }
    }

    /// Appends the row's bytes.
    pub(crate) fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.hash.0);
        bytes.extend_from_slice(&self.label.to_le_bytes());
        bytes.extend_from_slice(&self.source.to_le_bytes());
        bytes.extend_from_slice(&self.time.to_le_bytes());
        for score in self.scores {
            bytes.extend_from_slice(&score.to_le_bytes());
        }
    }

    fn decode(bytes: &[u8], scores: &'s [f32]) -> Self {
        Self {
            hash: RowHash(array(bytes, 0)),
            label: u32::from_le_bytes(array(bytes, 32)),
            source: u32::from_le_bytes(array(bytes, 36)),
            time: i64::from_le_bytes(array(bytes, 40)),
            scores,
        }
    }
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&bytes[at..at + N]);
    array
}

/// Consecutive rows in memory.
pub(crate) struct Block {
    first: u64,
    width: usize,
    bytes: Vec<u8>,
    /// Scores of all rows, one after the other.
    scores: Vec<f32>,
}

impl Block {
    fn new(first: u64, width: usize, bytes: Vec<u8>) -> Self {
        let scores = bytes
            .chunks_exact(width)
            .flat_map(|row| row[FIXED..].chunks_exact(4))
            .map(|score| f32::from_le_bytes(array(score, 0)))
            .collect();
        Self {
            first,
            width,
            bytes,
            scores,
        }
    }

    /// Every ordinal in order, and its row.
    pub(crate) fn rows(&self) -> impl ExactSizeIterator<Item = (u64, Row<'_>)> {
        let n_detectors = (self.width - FIXED) / 4;
        let rows = self.bytes.chunks_exact(self.width).enumerate();
        rows.map(move |(idx, bytes)| {
            let scores = &self.scores[idx * n_detectors..(idx + 1) * n_detectors];
            (self.first + idx as u64, Row::decode(bytes, scores))
        })
    }
}

/// A file that threads read and write at places of their own.
struct Places(Mutex<File>);

impl Places {
    fn create(path: &Path) -> io::Result<Self> {
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(path)?;
        Ok(Self(Mutex::new(file)))
    }

    /// What is there already, to be read and written.
    fn open(path: &Path) -> io::Result<Self> {
        let file = File::options().read(true).write(true).open(path)?;
        Ok(Self(Mutex::new(file)))
    }

    /// Makes what was written durable.
    fn sync(&self) -> io::Result<()> {
        let file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        file.sync_data()
    }

    fn write(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(at))?;
        file.write_all(bytes)
    }

    fn read(&self, at: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(at))?;
        file.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn length(&self) -> io::Result<u64> {
        let file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(file.metadata()?.len())
    }
}

/// Calls `work` with ranges that cut `0..n_rows` into blocks, on all threads, and `take` with what
/// it made of each, in order.
fn in_blocks<T: Send>(
    n_rows: u64,
    work: impl Fn(Range<u64>) -> io::Result<T> + Sync,
    mut take: impl FnMut(u64, T) -> io::Result<()>,
) -> io::Result<()> {
    let starts: Vec<u64> = (0..n_rows).step_by(BLOCK_ROWS as usize).collect();
    // Few enough that what waits for its turn stays small.
    let wave = 4 * rayon::current_num_threads();
    for starts in starts.chunks(wave) {
        let made: Vec<T> = starts
            .par_iter()
            .map(|&start| work(start..(start + BLOCK_ROWS).min(n_rows)))
            .collect::<io::Result<_>>()?;
        for (&start, made) in starts.iter().zip(made) {
            take(start, made)?;
        }
    }
    Ok(())
}

/// Rows being written, from any thread, each at its place: nothing waits in memory for its turn.
pub(crate) struct SpillWriter {
    places: Places,
    width: usize,
    settled: Mutex<Settled>,
}

/// The first rows, which will not be written again.
#[derive(Default)]
struct Settled {
    rows: u64,
    hasher: blake3::Hasher,
}

impl SpillWriter {
    pub(crate) fn create(path: &Path, n_detectors: usize) -> io::Result<Self> {
        Ok(Self::of(Places::create(path)?, n_detectors))
    }

    /// Goes on with the rows of a pass that was cut short.
    pub(crate) fn reopen(path: &Path, n_detectors: usize) -> io::Result<Self> {
        Ok(Self::of(Places::open(path)?, n_detectors))
    }

    fn of(places: Places, n_detectors: usize) -> Self {
        Self {
            places,
            width: FIXED + 4 * n_detectors,
            settled: Mutex::default(),
        }
    }

    /// Makes all rows durable and gives the digest of the first `n_rows`, which are not written from now on.
    /// Each of them is read once, however often this is called with growing numbers.
    pub(crate) fn settled(&self, n_rows: u64) -> io::Result<[u8; 32]> {
        self.places.sync()?;
        let mut settled = self.settled.lock().unwrap_or_else(PoisonError::into_inner);
        while settled.rows < n_rows {
            let rows = (n_rows - settled.rows).min(BLOCK_ROWS);
            let at = settled.rows * self.width as u64;
            let bytes = self.places.read(at, rows as usize * self.width)?;
            settled.hasher.update(&bytes);
            settled.rows += rows;
        }
        Ok(*settled.hasher.finalize().as_bytes())
    }

    /// Writes encoded rows, the first of which has ordinal `first`.
    pub(crate) fn write(&self, first: u64, rows: &[u8]) -> io::Result<()> {
        self.places.write(first * self.width as u64, rows)
    }

    pub(crate) fn finish(self) -> io::Result<Spill> {
        let n_rows = self.places.length()? / self.width as u64;
        Ok(Spill {
            places: self.places,
            width: self.width,
            n_rows,
        })
    }
}

/// Rows to read back.
pub(crate) struct Spill {
    places: Places,
    width: usize,
    n_rows: u64,
}

impl Spill {
    pub(crate) fn n_rows(&self) -> u64 {
        self.n_rows
    }

    /// Calls `work` with all rows in blocks, on all threads, and `take` with the ordinal of the
    /// first row of each block and what was made of it, in order.
    pub(crate) fn each_block<T: Send>(
        &self,
        work: impl Fn(&Block) -> T + Sync,
        take: impl FnMut(u64, T) -> io::Result<()>,
    ) -> io::Result<()> {
        in_blocks(
            self.n_rows,
            |rows| Ok(work(&self.range(rows.start, rows.end - rows.start)?)),
            take,
        )
    }

    /// All finite scores of each of these detectors, thinned to at most `limit` by taking every k-th
    /// record. Reads every row once.
    pub(crate) fn scores(&self, detectors: &[usize], limit: u64) -> io::Result<Vec<Vec<f32>>> {
        let step = self.n_rows.div_ceil(limit.max(1)).max(1);
        let of_block = |rows: Range<u64>| {
            let length = (rows.end - rows.start) as usize * self.width;
            let bytes = self.places.read(rows.start * self.width as u64, length)?;
            let mut scores = vec![Vec::new(); detectors.len()];
            let taken = rows.zip(bytes.chunks_exact(self.width));
            for (_, row) in taken.filter(|(ordinal, _)| ordinal % step == 0) {
                for (scores, &detector) in scores.iter_mut().zip(detectors) {
                    let score = f32::from_le_bytes(array(row, FIXED + 4 * detector));
                    if score.is_finite() {
                        scores.push(score);
                    }
                }
            }
            Ok(scores)
        };
        let room = (self.n_rows / step) as usize + 1;
        let mut scores: Vec<Vec<f32>> =
            detectors.iter().map(|_| Vec::with_capacity(room)).collect();
        in_blocks(self.n_rows, of_block, |_, some| {
            for (scores, some) in scores.iter_mut().zip(some) {
                scores.extend(some);
            }
            Ok(())
        })?;
        Ok(scores)
    }

    /// The `n_rows` rows from `first` on.
    pub(crate) fn range(&self, first: u64, n_rows: u64) -> io::Result<Block> {
        let width = self.width as u64;
        let bytes = self.places.read(first * width, (n_rows * width) as usize)?;
        Ok(Block::new(first, self.width, bytes))
    }
}

/// One number per record, on disk like [`Spill`].
pub(crate) struct Numbers {
    places: Places,
    n_rows: u64,
}

impl Numbers {
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        Ok(Self {
            places: Places::create(path)?,
            n_rows: 0,
        })
    }

    /// Appends the numbers of the next records.
    pub(crate) fn extend(&mut self, numbers: &[f64]) -> io::Result<()> {
        let bytes: Vec<u8> = numbers
            .iter()
            .flat_map(|number| number.to_le_bytes())
            .collect();
        self.places.write(8 * self.n_rows, &bytes)?;
        self.n_rows += numbers.len() as u64;
        Ok(())
    }

    /// The numbers of the `n_rows` records from `first` on.
    pub(crate) fn range(&self, first: u64, n_rows: u64) -> io::Result<Vec<f64>> {
        let bytes = self.places.read(8 * first, 8 * n_rows as usize)?;
        let numbers = bytes.chunks_exact(8);
        Ok(numbers
            .map(|number| f64::from_le_bytes(array(number, 0)))
            .collect())
    }

    /// As [`Spill::each_block`].
    pub(crate) fn each_block<T: Send>(
        &self,
        work: impl Fn(&[f64]) -> T + Sync,
        take: impl FnMut(u64, T) -> io::Result<()>,
    ) -> io::Result<()> {
        in_blocks(
            self.n_rows,
            |rows| Ok(work(&self.range(rows.start, rows.end - rows.start)?)),
            take,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back_in_order_and_by_ordinal() {
        let folder = tempfile::tempdir().unwrap();
        let writer = SpillWriter::create(&folder.path().join("scores"), 2).unwrap();
        // Later rows may come first.
        for part in [3..5, 0..3_u8] {
            let mut bytes = Vec::new();
            for row in part.clone() {
                Row {
                    hash: RowHash([row; 32]),
                    label: u32::from(row),
                    source: 7,
                    time: -i64::from(row),
                    scores: &[f32::from(row), f32::NAN],
                }
                .encode(&mut bytes);
            }
            writer.write(part.start.into(), &bytes).unwrap();
        }
        let spill = writer.finish().unwrap();
        assert_eq!(spill.n_rows(), 5);
        let block = spill.range(3, 1).unwrap();
        let (ordinal, row) = block.rows().next().unwrap();
        assert_eq!((ordinal, row.hash, row.label), (3, RowHash([3; 32]), 3));
        assert!((row.scores[0] - 3.0).abs() < f32::EPSILON && row.scores[1].is_nan());
        let both = spill.scores(&[1, 0], 100).unwrap();
        assert!(both[0].is_empty());
        assert_eq!(both[1], [0.0, 1.0, 2.0, 3.0, 4.0]);
        assert_eq!(spill.scores(&[0], 3).unwrap(), [[0.0, 2.0, 4.0]]);
    }

    #[test]
    fn the_digest_of_settled_rows_is_the_same_in_whatever_steps() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows");
        let n_rows = BLOCK_ROWS + 5;
        let row = |idx: u64| {
            let mut bytes = Vec::new();
            let unread = Row::unread(&[f32::NAN]);
            Row {
                hash: RowHash([(idx % 251) as u8; 32]),
                ..unread
            }
            .encode(&mut bytes);
            bytes
        };
        let writer = SpillWriter::create(&path, 1).unwrap();
        let rows: Vec<u8> = (0..n_rows).flat_map(row).collect();
        writer.write(0, &rows).unwrap();
        let first = writer.settled(7).unwrap();
        let all = writer.settled(n_rows).unwrap();
        drop(writer);
        let again = SpillWriter::reopen(&path, 1).unwrap();
        assert_eq!(again.settled(7).unwrap(), first);
        again.write(9, &row(10)).unwrap();
        assert_ne!(again.settled(n_rows).unwrap(), all);
        let again = SpillWriter::reopen(&path, 1).unwrap();
        again.write(9, &row(9)).unwrap();
        assert_eq!(again.settled(n_rows).unwrap(), all);
        assert!(again.settled(n_rows + 1).is_err(), "there are no more rows");
    }

    #[test]
    fn blocks_come_in_order_at_any_number_of_threads() {
        let folder = tempfile::tempdir().unwrap();
        let n_rows = 11 * BLOCK_ROWS + 3;
        let mut numbers = Numbers::create(&folder.path().join("numbers")).unwrap();
        for part in (0..n_rows).collect::<Vec<_>>().chunks(9_999) {
            let part: Vec<f64> = part.iter().map(|&row| row as f64).collect();
            numbers.extend(&part).unwrap();
        }
        for threads in [1, 3] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
            let mut seen = Vec::new();
            pool.build().unwrap().install(|| {
                let keep = |first: u64, some: Vec<f64>| {
                    assert_eq!(first, seen.len() as u64);
                    seen.extend(some);
                    Ok(())
                };
                numbers.each_block(<[f64]>::to_vec, keep).unwrap();
            });
            assert_eq!(seen.len() as u64, n_rows);
            assert!(seen.windows(2).all(|pair| pair[0] < pair[1]));
        }
    }
}
