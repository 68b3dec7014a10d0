//! The vectors of all records, by ordinal: in memory, or in a file that is mapped.
//!
//! [`VectorWriter`] takes batches in any order from any thread, each at its place, so neither
//! threads nor partitions show in the result. Half-precision vectors stay so. Nothing of the
//! dataset is held twice: blocks are converted as they are used.

mod map;

use std::fs::File;
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::ops::Range;
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use half::f16;
use half::slice::HalfFloatSliceExt as _;
use ndarray::{Array2, ArrayView2};

use map::Mapped;

/// Vectors that a search reads block by block.
#[derive(Debug)]
pub(crate) enum Vectors {
    /// Row-major, in standard layout.
    Memory(Array2<f32>),
    /// Of all records, by ordinal.
    Stored(VectorStore),
}

impl Vectors {
    pub(crate) fn n_rows(&self) -> usize {
        match self {
            Self::Memory(rows) => rows.nrows(),
            Self::Stored(store) => store.n_rows,
        }
    }

    pub(crate) fn dim(&self) -> usize {
        match self {
            Self::Memory(rows) => rows.ncols(),
            Self::Stored(store) => store.dim,
        }
    }

    /// The rows in `range`, one after the other; in `buffer` if they have to be converted.
    pub(crate) fn block<'a>(&'a self, range: Range<usize>, buffer: &'a mut Vec<f32>) -> &'a [f32] {
        let values = range.start * self.dim()..range.end * self.dim();
        match self {
            Self::Memory(rows) => rows.as_slice().map_or(&[], |all| &all[values]),
            Self::Stored(store) => store.place.read(values, buffer),
        }
    }
}

/// How the values of a vector are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// 16 bits, for vectors that came so.
    Half,
    /// 32 bits.
    Single,
}

impl Precision {
    /// Bytes per value.
    #[must_use]
    pub fn bytes(self) -> usize {
        match self {
            Self::Half => 2,
            Self::Single => 4,
        }
    }
}

/// Vectors being gathered. Records that are never written have none.
#[derive(Debug)]
pub struct VectorWriter {
    n_rows: usize,
    dim: usize,
    precision: Precision,
    target: Target,
}

#[derive(Debug)]
enum Target {
    Half(Vec<AtomicU16>),
    Single(Vec<AtomicU32>),
    File(Mutex<File>),
}

impl VectorWriter {
    /// Room in memory for `n_rows` vectors.
    #[must_use]
    pub fn in_memory(n_rows: usize, dim: usize, precision: Precision) -> Self {
        let length = n_rows * dim;
        let target = match precision {
            Precision::Half => {
                let absent = f16::NAN.to_bits();
                Target::Half((0..length).map(|_| AtomicU16::new(absent)).collect())
            }
            Precision::Single => {
                let absent = f32::NAN.to_bits();
                Target::Single((0..length).map(|_| AtomicU32::new(absent)).collect())
            }
        };
        Self {
            n_rows,
            dim,
            precision,
            target,
        }
    }

    /// Room for `n_rows` vectors in `file`, which must be empty and must not be used by anybody
    /// else: an unlinked temporary file.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn in_file(
        mut file: File,
        n_rows: usize,
        dim: usize,
        precision: Precision,
    ) -> io::Result<Self> {
        let absent: Vec<u8> = match precision {
            Precision::Half => f16::NAN.to_le_bytes().repeat(dim),
            Precision::Single => f32::NAN.to_le_bytes().repeat(dim),
        };
        let mut writer = io::BufWriter::with_capacity(1 << 20, &mut file);
        for _ in 0..n_rows {
            writer.write_all(&absent)?;
        }
        writer.flush()?;
        drop(writer);
        Ok(Self {
            n_rows,
            dim,
            precision,
            target: Target::File(Mutex::new(file)),
        })
    }

    /// Writes the vectors of consecutive records, the first of which has ordinal `first`.
    ///
    /// # Errors
    /// When the file cannot be written, or the rows do not belong here.
    pub fn write(&self, first: u64, rows: ArrayView2<'_, f32>) -> io::Result<()> {
        let start = first as usize * self.dim;
        if rows.ncols() != self.dim || start + rows.len() > self.n_rows * self.dim {
            return Err(io::Error::other("vectors of another shape"));
        }
        let values = rows.iter().copied();
        match &self.target {
            Target::Half(places) => {
                for (place, value) in places[start..].iter().zip(values) {
                    place.store(f16::from_f32(value).to_bits(), Ordering::Relaxed);
                }
            }
            Target::Single(places) => {
                for (place, value) in places[start..].iter().zip(values) {
                    place.store(value.to_bits(), Ordering::Relaxed);
                }
            }
            Target::File(file) => {
                let bytes: Vec<u8> = match self.precision {
                    Precision::Half => values
                        .flat_map(|value| f16::from_f32(value).to_le_bytes())
                        .collect(),
                    Precision::Single => values.flat_map(f32::to_le_bytes).collect(),
                };
                let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
                let at = start * self.precision.bytes();
                file.seek(SeekFrom::Start(at as u64))?;
                file.write_all(&bytes)?;
            }
        }
        Ok(())
    }

    /// Takes back what was written of the `n_rows` records from `first` on.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn erase(&self, first: u64, n_rows: u64) -> io::Result<()> {
        let row = Array2::from_elem((1, self.dim), f32::NAN);
        (first..first + n_rows).try_for_each(|ordinal| self.write(ordinal, row.view()))
    }

    /// The vectors, to be read.
    ///
    /// # Errors
    /// When the file cannot be mapped.
    pub fn finish(self) -> io::Result<VectorStore> {
        let place = match self.target {
            Target::Half(values) => Place::Half(
                values
                    .into_iter()
                    .map(|value| f16::from_bits(value.into_inner()))
                    .collect(),
            ),
            Target::Single(values) => Place::Single(
                values
                    .into_iter()
                    .map(|value| f32::from_bits(value.into_inner()))
                    .collect(),
            ),
            Target::File(file) => {
                let file = file.into_inner().unwrap_or_else(PoisonError::into_inner);
                Place::File(Mapped::new(file)?, self.precision)
            }
        };
        Ok(VectorStore {
            n_rows: self.n_rows,
            dim: self.dim,
            place,
        })
    }
}

/// The vectors of all records, by ordinal; NaN throughout where a record has none.
#[derive(Debug)]
pub struct VectorStore {
    n_rows: usize,
    dim: usize,
    place: Place,
}

impl VectorStore {
    /// The vectors of `n_rows` records from ordinal `first` on; `None` where not all of them have a
    /// place here.
    #[must_use]
    pub fn rows(&self, first: u64, n_rows: usize) -> Option<Array2<f32>> {
        let start = usize::try_from(first).ok()?;
        let end = start
            .checked_add(n_rows)
            .filter(|&end| end <= self.n_rows)?;
        let mut buffer = Vec::new();
        let values = self
            .place
            .read(start * self.dim..end * self.dim, &mut buffer);
        Array2::from_shape_vec((n_rows, self.dim), values.to_vec()).ok()
    }
}

#[derive(Debug)]
enum Place {
    Half(Vec<f16>),
    Single(Vec<f32>),
    File(Mapped, Precision),
}

impl Place {
    fn read<'a>(&'a self, values: Range<usize>, buffer: &'a mut Vec<f32>) -> &'a [f32] {
        buffer.clear();
        match self {
            Self::Single(all) => return &all[values],
            Self::Half(all) => {
                buffer.resize(values.len(), 0.0);
                all[values].convert_to_f32_slice(buffer);
            }
            Self::File(map, Precision::Single) => {
                let (chunks, _) = map.bytes(values.start * 4..values.end * 4).as_chunks::<4>();
                buffer.extend(chunks.iter().map(|&chunk| f32::from_le_bytes(chunk)));
            }
            Self::File(map, Precision::Half) => {
                let (chunks, _) = map.bytes(values.start * 2..values.end * 2).as_chunks::<2>();
                let halves = chunks.iter().map(|&chunk| f16::from_le_bytes(chunk));
                buffer.extend(halves.map(f16::to_f32));
            }
        }
        buffer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(writer: VectorWriter) -> Vec<Vec<u32>> {
        let row = |first: f32| Array2::from_shape_fn((1, 3), |(_, column)| first + column as f32);
        // In any order; record 2 is written and taken back, record 3 never comes.
        for ordinal in [4_u8, 2, 0, 1] {
            let rows = row(f32::from(ordinal) * 0.5);
            writer.write(u64::from(ordinal), rows.view()).unwrap();
        }
        writer.erase(2, 1).unwrap();
        assert!(writer.write(4, Array2::zeros((2, 3)).view()).is_err());
        assert!(writer.write(0, Array2::zeros((1, 2)).view()).is_err());
        let store = writer.finish().unwrap();
        let rows = store.rows(3, 2).unwrap();
        assert_eq!(rows.row(1).to_vec(), [2.0, 3.0, 4.0]);
        assert!(rows.row(0).iter().all(|value| value.is_nan()));
        assert!(store.rows(4, 2).is_none() && store.rows(u64::MAX, 1).is_none());
        let store = Vectors::Stored(store);
        let mut buffer = Vec::new();
        (0..5)
            .map(|row| {
                let values = store.block(row..row + 1, &mut buffer);
                values.iter().map(|value| value.to_bits()).collect()
            })
            .collect()
    }

    #[test]
    fn memory_and_file_give_the_same_vectors() {
        for precision in [Precision::Single, Precision::Half] {
            let memory = filled(VectorWriter::in_memory(5, 3, precision));
            let file = tempfile();
            let file = filled(VectorWriter::in_file(file, 5, 3, precision).unwrap());
            assert_eq!(memory, file, "{precision:?}");
            assert_eq!(memory[4], [2.0_f32, 3.0, 4.0].map(f32::to_bits));
            for absent in [2, 3] {
                assert!(
                    memory[absent]
                        .iter()
                        .all(|&bits| f32::from_bits(bits).is_nan())
                );
            }
        }
    }

    fn tempfile() -> File {
        let name = format!("lazaretto-vectors-{:?}", std::thread::current().id());
        let path = std::env::temp_dir().join(format!("{name}-{}", std::process::id()));
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)
            .unwrap();
        // As the engine does: the open file needs no name.
        std::fs::remove_file(path).unwrap();
        file
    }
}
