//! A large numeric table for benches, written without ever being in memory as a whole.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float32Array, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use parquet::arrow::ArrowWriter;
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use crate::files::{TestkitError, parquet_properties};
use crate::seed::{normal, stream};

/// Rows per row group.
pub const ROW_GROUP_ROWS: usize = 131_072;

/// Hidden causes that the columns share, so that they correlate.
const N_FACTORS: usize = 6;

/// Share of records with a few values far out.
const OUTLIERS: f64 = 0.005;

/// Writes a Parquet file with `row_id` and `columns` correlated float32 columns `f0`, `f1`, …,
/// every fourth one skewed, half a percent of the rows outlying in up to four columns.
///
/// Returns the row ids of the outliers, ascending. Peak memory is that of one row group.
///
/// # Errors
/// When the file cannot be written.
pub fn big_table(
    path: &Path,
    rows: usize,
    columns: usize,
    seed: u64,
) -> Result<Vec<u64>, TestkitError> {
    let mut fields = vec![Field::new("row_id", DataType::Int64, false)];
    fields.extend((0..columns).map(|k| Field::new(format!("f{k}"), DataType::Float32, false)));
    let schema = Arc::new(Schema::new(fields));
    let file = File::create(path).map_err(|source| TestkitError::File {
        path: path.display().to_string(),
        source,
    })?;
    let properties = parquet_properties(ROW_GROUP_ROWS)?;
    let mut writer = ArrowWriter::try_new(file, Arc::clone(&schema), Some(properties))?;

    let mut rng = stream(seed, "big-table");
    let loadings: Vec<f32> = (0..columns * N_FACTORS)
        .map(|_| normal(&mut rng) as f32)
        .collect();
    let mut outliers = Vec::new();
    for first_row in (0..rows).step_by(ROW_GROUP_ROWS) {
        let n_rows = ROW_GROUP_ROWS.min(rows - first_row);
        let mut values = vec![Vec::with_capacity(n_rows); columns];
        for row in first_row..first_row + n_rows {
            if write_row(&mut rng, &loadings, &mut values) {
                outliers.push(row as u64);
            }
        }
        let row_ids = Int64Array::from_iter_values((0..).skip(first_row).take(n_rows));
        let mut arrays: Vec<ArrayRef> = vec![Arc::new(row_ids)];
        arrays.extend(
            values
                .into_iter()
                .map(|column| Arc::new(Float32Array::from(column)) as ArrayRef),
        );
        writer.write(&RecordBatch::try_new(Arc::clone(&schema), arrays)?)?;
    }
    writer.close()?;
    Ok(outliers)
}

/// Appends one row to the columns; whether it is an outlier.
fn write_row(rng: &mut ChaCha8Rng, loadings: &[f32], columns: &mut [Vec<f32>]) -> bool {
    let factors: [f32; N_FACTORS] = std::array::from_fn(|_| bell(rng));
    for (k, (column, loading)) in columns
        .iter_mut()
        .zip(loadings.chunks(N_FACTORS))
        .enumerate()
    {
        let shared: f32 = factors.iter().zip(loading).map(|(a, b)| a * b).sum();
        let value = shared + 0.7 * bell(rng);
        column.push(if k % 4 == 0 {
            (value / 4.0).exp()
        } else {
            value
        });
    }
    let outlying = !columns.is_empty() && rng.gen_bool(OUTLIERS);
    if outlying {
        for _ in 0..4 {
            let column = rng.gen_range(0..columns.len());
            if let Some(value) = columns[column].last_mut() {
                *value = *value * 4.0 + 8.0 * value.signum();
            }
        }
    }
    outlying
}

/// About normal: the sum of four uniforms, scaled to unit variance. Thirty million exact normal
/// draws would take longer than the scan that a bench wants to time.
fn bell(rng: &mut ChaCha8Rng) -> f32 {
    let bits: [u32; 2] = [rng.r#gen(), rng.r#gen()];
    let sum: u32 = bits.iter().map(|bits| (bits & 0xffff) + (bits >> 16)).sum();
    (sum as f32 / 65_536.0 - 2.0) * 1.732
}

#[cfg(test)]
mod tests {
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    use super::*;

    #[test]
    fn rows_columns_and_row_groups_are_as_asked() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let outliers = big_table(file.path(), 150_000, 3, 1).unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(file.reopen().unwrap()).unwrap();
        let metadata = reader.metadata().file_metadata();
        assert_eq!(metadata.num_rows(), 150_000);
        assert_eq!(reader.schema().fields().len(), 4);
        assert_eq!(reader.metadata().num_row_groups(), 2);
        assert!((600..900).contains(&outliers.len()), "{}", outliers.len());
    }

    #[test]
    fn a_path_that_cannot_be_written_is_named() {
        let error = big_table(Path::new("/nowhere/at/all.parquet"), 1, 1, 1).unwrap_err();
        assert!(error.to_string().contains("/nowhere/at/all.parquet"));
    }
}
