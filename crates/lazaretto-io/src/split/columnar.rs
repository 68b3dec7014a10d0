//! Splits Parquet: row group by row group, the columns of each on all threads.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::compute::filter;
use arrow::datatypes::SchemaRef;
use lazaretto_core::Verdict;
use parquet::arrow::ArrowSchemaConverter;
use parquet::arrow::arrow_writer::{ArrowColumnChunk, ArrowWriterOptions};
use parquet::basic::Encoding;
use parquet::encryption::encrypt::FileEncryptionProperties;
use parquet::errors::ParquetError;
use parquet::file::metadata::{KeyValue, ParquetMetaData};
use parquet::file::properties::{WriterProperties, WriterPropertiesBuilder};
use parquet::schema::types::SchemaDescriptor;
use rayon::prelude::*;

use super::evidence::{evidence, with_evidence};
use super::{FilePlan, LiveRange, folder};
use crate::decode::parquet::ParquetFile;
use crate::encryption::EncryptionKeys;
use crate::error::IoError;
use crate::parquet_sink::{ColumnSink, ParquetSink, encode_error};
use crate::run_folder::RunFolder;

/// Key under which writers keep the Arrow schema.
const ARROW_SCHEMA: &str = "ARROW:schema";
/// Records whose evidence is built at a time.
const NOTES: usize = 8192;

/// Few, because each share opens the file; but several, because the encoders of a share's columns
/// are all at work at once, and their dictionaries take more memory than the values.
const SHARES_PER_THREAD: usize = 4;

/// One file that is being written.
struct Output {
    verdict: Verdict,
    sink: ParquetSink,
}

pub(super) fn split(
    plan: &FilePlan<'_>,
    input: &ParquetFile,
    run: &RunFolder,
) -> Result<(), IoError> {
    let mut outputs = plan
        .outputs()
        .into_iter()
        .map(|verdict| {
            let path = run.target(&format!("{}/{}", folder(verdict), plan.relative()))?;
            let keys = plan.dataset.keys();
            let (schema, options) = if verdict == Verdict::Quarantine {
                quarantine_options(input, keys)
            } else {
                same_options(input, keys)
            }
            .map_err(|error| encode_error(&path, error))?;
            let sink = ParquetSink::create(&path, &schema, options)?;
            Ok(Output { verdict, sink })
        })
        .collect::<Result<Vec<_>, IoError>>()?;
    let ranges = plan.live_ranges();
    for group in ranges.chunk_by(|left, right| left.group == right.group) {
        split_group(plan, input, group, &mut outputs)?;
    }
    outputs
        .into_iter()
        .try_for_each(|output| output.sink.close())
}

/// The columns that one thread takes through a row group.
struct Share {
    columns: Vec<usize>,
    /// For each output the encoders of these columns.
    sinks: Vec<Vec<ColumnSink>>,
}

fn split_group(
    plan: &FilePlan<'_>,
    input: &ParquetFile,
    ranges: &[LiveRange],
    outputs: &mut [Output],
) -> Result<(), IoError> {
    let counts: Vec<u64> = outputs
        .iter()
        .map(|output| count(plan, ranges, output.verdict))
        .collect();
    let n_columns = input.schema().fields().len();
    let shares = SHARES_PER_THREAD * rayon::current_num_threads();
    let per_share = n_columns.div_ceil(shares).max(1);
    let mut shares: Vec<Share> = (0..n_columns)
        .collect::<Vec<_>>()
        .chunks(per_share)
        .map(|columns| Share {
            columns: columns.to_vec(),
            sinks: Vec::new(),
        })
        .collect();
    let mut evidence_sink = None;
    for (output, &count) in outputs.iter().zip(&counts) {
        let mut sinks = output.sink.start_group()?.into_iter();
        for share in &mut shares {
            let own = sinks.by_ref().take(share.columns.len()).collect();
            // Without a record here, the row group does not exist in this output.
            share.sinks.push(if count > 0 { own } else { Vec::new() });
        }
        if output.verdict == Verdict::Quarantine && count > 0 {
            evidence_sink = sinks.next();
        }
    }
    let verdicts: Vec<Verdict> = outputs.iter().map(|output| output.verdict).collect();
    let (encoded, noted) = rayon::join(
        || {
            shares
                .into_par_iter()
                .map(|share| split_share(plan, ranges, &verdicts, share))
                .collect::<Result<Vec<_>, IoError>>()
        },
        || {
            evidence_sink
                .map(|sink| encode_evidence(plan, ranges, sink))
                .transpose()
        },
    );
    let (mut encoded, mut noted) = (encoded?, noted?);
    for (idx, (output, &count)) in outputs.iter_mut().zip(&counts).enumerate() {
        if count == 0 {
            continue;
        }
        let mut chunks: Vec<ArrowColumnChunk> = encoded
            .iter_mut()
            .flat_map(|share| std::mem::take(&mut share[idx]))
            .collect();
        if output.verdict == Verdict::Quarantine {
            chunks.extend(noted.take().into_iter().flatten());
        }
        output.sink.append_group(chunks)?;
    }
    Ok(())
}

fn count(plan: &FilePlan<'_>, ranges: &[LiveRange], verdict: Verdict) -> u64 {
    ordinals(ranges)
        .filter(|&ordinal| plan.decisions.verdict(ordinal) == verdict)
        .count() as u64
}

fn ordinals(ranges: &[LiveRange]) -> impl Iterator<Item = u64> + '_ {
    ranges
        .iter()
        .flat_map(|range| range.ordinal..range.ordinal + range.rows)
}

/// Takes some columns through a row group; the encoded chunks of each output.
fn split_share(
    plan: &FilePlan<'_>,
    ranges: &[LiveRange],
    verdicts: &[Verdict],
    mut share: Share,
) -> Result<Vec<Vec<ArrowColumnChunk>>, IoError> {
    let failed = |error: ParquetError| encode_error(plan.relative().as_ref(), error);
    for range in ranges {
        let rows = range.first_row..range.first_row + range.rows;
        let batches =
            plan.dataset
                .raw_batches(plan.file, range.group, rows, Some(&share.columns))?;
        let mut ordinal = range.ordinal;
        for batch in batches {
            plan.dataset.check_cancelled()?;
            let batch =
                batch.map_err(|reason| plan.dataset.unreadable(plan.file, range.group, reason))?;
            for (&verdict, sinks) in verdicts.iter().zip(&mut share.sinks) {
                let mask = plan.mask(verdict, ordinal, batch.num_rows());
                if mask.true_count() == 0 {
                    continue;
                }
                for (column, sink) in batch.columns().iter().zip(sinks) {
                    filter(column, &mask)
                        .map_err(ParquetError::from)
                        .and_then(|kept: ArrayRef| sink.write(&kept))
                        .map_err(failed)?;
                }
            }
            ordinal += batch.num_rows() as u64;
        }
    }
    share
        .sinks
        .into_iter()
        .map(|sinks| {
            let closed: Result<Vec<_>, _> = sinks.into_iter().map(ColumnSink::close).collect();
            closed.map(|chunks| chunks.into_iter().flatten().collect())
        })
        .collect::<Result<_, _>>()
        .map_err(failed)
}

fn encode_evidence(
    plan: &FilePlan<'_>,
    ranges: &[LiveRange],
    mut sink: ColumnSink,
) -> Result<Vec<ArrowColumnChunk>, IoError> {
    let failed = |error: ParquetError| encode_error(plan.relative().as_ref(), error);
    let held: Vec<u64> = ordinals(ranges)
        .filter(|&ordinal| plan.decisions.verdict(ordinal) == Verdict::Quarantine)
        .collect();
    for some in held.chunks(NOTES) {
        let notes: Vec<_> = some
            .iter()
            .map(|&ordinal| plan.decisions.note(ordinal))
            .collect();
        evidence(&notes, None)
            .map_err(ParquetError::from)
            .and_then(|column| sink.write(&column))
            .map_err(failed)?;
    }
    sink.close().map_err(failed)
}

/// Options that make the output look like the input: codecs, dictionaries, encodings, sort order,
/// and all key-value metadata, the Arrow schema among it.
fn same_options(
    input: &ParquetFile,
    keys: &EncryptionKeys,
) -> Result<(SchemaRef, ArrowWriterOptions), ParquetError> {
    let metadata = input.metadata();
    let schema = input.schema();
    let own = metadata.file_metadata().schema_descr();
    let converted = ArrowSchemaConverter::new().convert(schema).ok();
    // The input's own schema keeps names of list elements, field ids and logical types. It cannot
    // be used where our encoder would lay out the column differently (INT96, two-level lists).
    let keeps = converted
        .as_ref()
        .is_none_or(|other| same_layout(own, other));
    let descriptor = match converted {
        Some(converted) if !keeps => converted,
        _ => own.clone(),
    };
    let pairs = metadata.file_metadata().key_value_metadata().cloned();
    // What was encrypted must not end up on a disk in clear.
    let encryption = match (input.encryption(), &keys.inputs) {
        (Some(like), Some(keys)) => Some(keys.encryption(&like.renamed(own, &descriptor))?),
        _ => None,
    };
    let mut properties =
        properties(metadata, &descriptor, encryption).set_key_value_metadata(pairs);
    if let Some(group) = metadata.row_groups().first() {
        properties = properties.set_sorting_columns(group.sorting_columns().cloned());
    }
    let options = ArrowWriterOptions::new()
        .with_properties(properties.build())
        .with_skip_arrow_metadata(true)
        .with_parquet_schema(descriptor);
    Ok((schema.clone(), options))
}

fn quarantine_options(
    input: &ParquetFile,
    keys: &EncryptionKeys,
) -> Result<(SchemaRef, ArrowWriterOptions), ParquetError> {
    let metadata = input.metadata();
    let schema = with_evidence(input.schema(), false);
    let pairs: Option<Vec<KeyValue>> = metadata.file_metadata().key_value_metadata().map(|pairs| {
        pairs
            .iter()
            .filter(|pair| pair.key != ARROW_SCHEMA)
            .cloned()
            .collect()
    });
    let descriptor = ArrowSchemaConverter::new()
        .convert(input.schema())
        .unwrap_or_else(|_| metadata.file_metadata().schema_descr().clone());
    let encryption = keys.quarantine_encryption(input.encryption())?;
    let properties = properties(metadata, &descriptor, encryption).set_key_value_metadata(pairs);
    let options = ArrowWriterOptions::new().with_properties(properties.build());
    Ok((schema, options))
}

/// Whether values encode the same way under both schemas.
fn same_layout(left: &SchemaDescriptor, right: &SchemaDescriptor) -> bool {
    left.num_columns() == right.num_columns()
        && left
            .columns()
            .iter()
            .zip(right.columns())
            .all(|(left, right)| {
                left.physical_type() == right.physical_type()
                    && left.max_def_level() == right.max_def_level()
                    && left.max_rep_level() == right.max_rep_level()
                    && left.type_length() == right.type_length()
            })
}

/// Per-column settings as in the first row group of the input, for leaves named by `descriptor`.
fn properties(
    metadata: &ParquetMetaData,
    descriptor: &SchemaDescriptor,
    encryption: Option<Arc<FileEncryptionProperties>>,
) -> WriterPropertiesBuilder {
    let mut builder = WriterProperties::builder()
        .set_created_by(format!("lazaretto {}", env!("CARGO_PKG_VERSION")))
        .set_max_row_group_row_count(None)
        .set_compression(parquet::basic::Compression::ZSTD(
            parquet::basic::ZstdLevel::default(),
        ));
    // The `parquet` crate writes Bloom filters in clear, from which values can be guessed.
    let in_clear = encryption.is_none();
    if let Some(encryption) = encryption {
        builder = builder.with_file_encryption_properties(encryption);
    }
    let Some(group) = metadata.row_groups().first() else {
        return builder;
    };
    for (column, leaf) in group.columns().iter().zip(descriptor.columns()) {
        let path = leaf.path();
        let dictionary = column.dictionary_page_offset().is_some();
        builder = builder
            .set_column_compression(path.clone(), column.compression())
            .set_column_dictionary_enabled(path.clone(), dictionary)
            .set_column_bloom_filter_enabled(
                path.clone(),
                in_clear && column.bloom_filter_offset().is_some(),
            );
        let fallback = column.encodings().find(|encoding| {
            matches!(
                encoding,
                Encoding::DELTA_BINARY_PACKED
                    | Encoding::DELTA_BYTE_ARRAY
                    | Encoding::DELTA_LENGTH_BYTE_ARRAY
                    | Encoding::BYTE_STREAM_SPLIT
            )
        });
        if let Some(encoding) = fallback {
            builder = builder.set_column_encoding(path.clone(), encoding);
        }
    }
    builder
}
