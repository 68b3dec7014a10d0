//! The column chunks of a Parquet file: where the footer puts them, and what the headers of their
//! pages promise. Pages themselves are neither read nor unpacked.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use parquet::basic::Type;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};
use parquet::file::page_index::offset_index::OffsetIndexMetaData;

use super::believable;
use super::limits::{HeaderLimits, bytes};
use super::page_header::{self, Malformed, PageHeader, PageKind};
use crate::decode::LEAST_BATCH_ROWS;

/// Bytes that are read for a header at first. Most have 20 to 100; statistics can be long.
const USUAL_HEADER: u64 = 512;
/// Where the format's own readers give up as well.
const LARGEST_HEADER: u64 = 16 << 20;
/// Pages without a value that a column chunk may have.
const EMPTY_PAGES: u64 = 1_024;
/// The magic and the length of the footer at the end of a file; the magic at its start.
const TAIL: u64 = 8;
const HEAD: u64 = 4;

/// What is known about the column chunks of a file.
#[derive(Debug)]
pub(crate) struct ChunkChecks {
    /// Of each row group, what is wrong with the places of its chunks.
    places: Vec<Option<String>>,
    file_bytes: u64,
    /// What was wrong with the pages of a chunk, by row group and column, of those looked through.
    pages: Mutex<BTreeMap<(usize, usize), Option<String>>>,
}

impl ChunkChecks {
    /// Looks at the places that `metadata` gives to the chunks of a file of `file_bytes`.
    pub(crate) fn new(metadata: &ParquetMetaData, file_bytes: u64) -> Self {
        Self {
            places: places(metadata, file_bytes),
            file_bytes,
            pages: Mutex::default(),
        }
    }

    /// Sees that the chunks of columns `leaves` of row group `group` may be decoded.
    ///
    /// # Errors
    /// What one of them promises, and the limit that it is beyond.
    pub(crate) fn check(
        &self,
        file: &mut File,
        metadata: &ParquetMetaData,
        group: usize,
        leaves: impl Iterator<Item = usize>,
        limits: &HeaderLimits,
    ) -> Result<(), String> {
        if let Some(problem) = &self.places[group] {
            return Err(problem.clone());
        }
        let row_group = metadata.row_group(group);
        let rows = u64::try_from(row_group.num_rows()).unwrap_or(0);
        for leaf in leaves {
            let known = self.pages().get(&(group, leaf)).cloned();
            let problem = known.unwrap_or_else(|| {
                let chunk = row_group.column(leaf);
                let index = metadata.offset_index().and_then(|groups| groups.get(group));
                let index = index.and_then(|columns| columns.get(leaf));
                let values = u64::try_from(chunk.num_values()).unwrap_or(0);
                let problem = believable("values", values, self.file_bytes, limits)
                    .and_then(|()| walk(file, chunk, index, rows, limits))
                    .err();
                let problem = problem.map(|problem| of_column(chunk, &problem));
                self.pages().insert((group, leaf), problem.clone());
                problem
            });
            problem.map_or(Ok(()), Err)?;
        }
        Ok(())
    }

    fn pages(&self) -> std::sync::MutexGuard<'_, BTreeMap<(usize, usize), Option<String>>> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn of_column(chunk: &ColumnChunkMetaData, problem: &str) -> String {
    format!("column `{}`: {problem}", chunk.column_path().string())
}

/// Of each row group, what is wrong with the places of its chunks.
fn places(metadata: &ParquetMetaData, file_bytes: u64) -> Vec<Option<String>> {
    let mut problems = vec![None; metadata.num_row_groups()];
    let mut ranges = Vec::new();
    for (group, row_group) in metadata.row_groups().iter().enumerate() {
        for (leaf, chunk) in row_group.columns().iter().enumerate() {
            match place(chunk, row_group.num_rows(), file_bytes) {
                Ok(range) if range.is_empty() => {}
                Ok(range) => ranges.push((range.start, range.end, group, leaf)),
                Err(problem) if problems[group].is_none() => {
                    problems[group] = Some(of_column(chunk, &problem));
                }
                Err(_) => {}
            }
        }
    }
    ranges.sort_unstable();
    let mut furthest: Option<(u64, usize, usize)> = None;
    for (start, end, group, leaf) in ranges {
        if let Some((_, other_group, other)) = furthest.filter(|&(before, ..)| start < before) {
            // Which of the two lies cannot be told.
            let name = |group, leaf| {
                let chunk: &ColumnChunkMetaData = metadata.row_group(group).column(leaf);
                chunk.column_path().string()
            };
            let problem = format!(
                "column `{}` of row group {other_group} and column `{}` of row group {group} share bytes of the file",
                name(other_group, other),
                name(group, leaf)
            );
            for group in [group, other_group] {
                problems[group].get_or_insert(problem.clone());
            }
        }
        if furthest.is_none_or(|(before, ..)| end > before) {
            furthest = Some((end, group, leaf));
        }
    }
    problems
}

/// Where a chunk lies.
fn place(chunk: &ColumnChunkMetaData, rows: i64, file_bytes: u64) -> Result<Range<u64>, String> {
    if chunk.file_path().is_some_and(|path| !path.is_empty()) {
        return Err("its values lie in another file".to_owned());
    }
    let start = chunk.dictionary_page_offset();
    let start = start.unwrap_or(chunk.data_page_offset());
    let (Ok(start), Ok(length), Ok(values)) = (
        u64::try_from(start),
        u64::try_from(chunk.compressed_size()),
        u64::try_from(chunk.num_values()),
    ) else {
        return Err("its place, size or number of values is negative".to_owned());
    };
    if length == 0 && values == 0 {
        return Ok(0..0);
    }
    let end = start.saturating_add(length);
    if start < HEAD || end > file_bytes.saturating_sub(TAIL) {
        return Err(format!(
            "bytes {start} to {end} lie outside of the file, which has {file_bytes}"
        ));
    }
    // Whoever decodes goes by the rows: values that the footer does not speak of would not be looked at.
    let fits = match chunk.column_descr().max_rep_level() {
        0 => chunk.num_values() == rows,
        _ => chunk.num_values() >= rows,
    };
    if !fits {
        return Err(format!("it promises {values} values in {rows} rows"));
    }
    Ok(start..end)
}

/// Looks through the headers of the pages of a chunk.
fn walk(
    file: &mut File,
    chunk: &ColumnChunkMetaData,
    index: Option<&OffsetIndexMetaData>,
    rows: u64,
    limits: &HeaderLimits,
) -> Result<(), String> {
    // Encrypted headers and indices tell nothing; they were made by somebody with the key.
    if chunk.crypto_metadata().is_some() {
        return Ok(());
    }
    let (mut position, length) = chunk.byte_range();
    let end = position + length;
    let promised = u64::try_from(chunk.num_values()).unwrap_or(0);
    let mut seen = Seen::default();
    let mut data_pages = Vec::new();
    // A repeated value may go on in the next page, so that decoders look at it.
    let repeated = chunk.column_descr().max_rep_level() > 0;
    while position < end && (repeated || seen.values < promised) {
        let (header, header_bytes) = header_at(file, position..end)
            .map_err(|problem| format!("{problem} at byte {position}"))?;
        let start = position + header_bytes;
        limits
            .unpacking(header.stored, header.unpacked)
            .map_err(|problem| format!("the page at byte {position} {problem}"))?;
        if header.stored > end - start {
            return Err(format!(
                "the page at byte {position} goes on for {}, beyond the end of its column chunk",
                bytes(header.stored)
            ));
        }
        seen.add(&header, chunk, promised, rows)
            .map_err(|problem| format!("the page at byte {position} {problem}"))?;
        let next = start + header.stored;
        if header.kind == PageKind::Data {
            data_pages.push((position, next - position));
        }
        position = next;
    }
    if let Some(index) = index {
        check_index(index, &data_pages, rows)?;
    }
    at_once(chunk, &seen, rows, limits)
}

/// Decoders go where an offset index says, so it must say what is there.
fn check_index(
    index: &OffsetIndexMetaData,
    data_pages: &[(u64, u64)],
    rows: u64,
) -> Result<(), String> {
    let locations = index.page_locations();
    let listed = locations.iter().map(|page| {
        let bytes = u64::try_from(page.compressed_page_size);
        Some((u64::try_from(page.offset).ok()?, bytes.ok()?))
    });
    let firsts: Vec<i64> = locations.iter().map(|page| page.first_row_index).collect();
    let in_order = firsts.first().is_none_or(|&first| first == 0)
        && firsts.is_sorted()
        && firsts
            .last()
            .is_none_or(|&last| u64::try_from(last).is_ok_and(|last| last <= rows));
    if in_order && listed.eq(data_pages.iter().map(|&page| Some(page))) {
        return Ok(());
    }
    Err("its offset index does not list its pages".to_owned())
}

/// The header of the page at the start of `range`, and its length.
fn header_at(file: &mut File, range: Range<u64>) -> Result<(PageHeader, u64), String> {
    let mut wanted = USUAL_HEADER;
    let mut buffer = Vec::new();
    loop {
        let most = wanted.min(range.end - range.start);
        buffer.clear();
        file.seek(SeekFrom::Start(range.start))
            .and_then(|_| file.take(most).read_to_end(&mut buffer))
            .map_err(|error| error.to_string())?;
        match page_header::read(&buffer) {
            Ok((header, length)) => return Ok((header, length as u64)),
            Err(Malformed::Unfinished) if most == wanted && wanted < LARGEST_HEADER => wanted *= 8,
            Err(Malformed::Unfinished) => return Err("a page header without end".to_owned()),
            Err(Malformed::Wrong(problem)) => return Err(problem.to_owned()),
        }
    }
}

/// What the pages of a chunk promise so far.
#[derive(Default)]
struct Seen {
    values: u64,
    empty: u64,
    /// Values and bytes of the dictionary.
    dictionary: Option<(u64, u64)>,
    /// Values that are in the dictionary and not null; `None` once that is not told.
    from_dictionary: Option<u64>,
}

impl Seen {
    fn add(
        &mut self,
        page: &PageHeader,
        chunk: &ColumnChunkMetaData,
        promised: u64,
        rows: u64,
    ) -> Result<(), String> {
        if page.levels > page.stored.min(page.unpacked) {
            return Err("has levels that do not fit into it".to_owned());
        }
        match page.kind {
            PageKind::Dictionary => {
                let least = page.values.saturating_mul(least_bytes(chunk));
                if least > page.unpacked {
                    return Err(format!(
                        "is a dictionary of {} values in {}",
                        page.values,
                        bytes(page.unpacked)
                    ));
                }
                if self.dictionary.is_some() || self.values > 0 {
                    return Err("is a dictionary that does not come first".to_owned());
                }
                self.dictionary = Some((page.values, page.unpacked));
                self.from_dictionary = Some(0);
            }
            PageKind::Data => {
                if page.values > promised - self.values {
                    return Err(format!(
                        "promises {} values, of which its row group has {}",
                        page.values,
                        promised - self.values
                    ));
                }
                // The first layout tells nulls in statistics alone, which decoders do not read.
                let nulls = page.nulls.filter(|_| page.rows.is_some()).unwrap_or(0);
                if page.rows.unwrap_or(0) > rows || nulls > page.values {
                    return Err("promises more rows or nulls than there can be".to_owned());
                }
                self.values += page.values;
                self.empty += u64::from(page.values == 0);
                if page.indices {
                    let required = chunk.column_descr().max_def_level() == 0;
                    let nulls = if required { Some(0) } else { page.nulls };
                    self.from_dictionary = self
                        .from_dictionary
                        .zip(nulls)
                        .map(|(sum, nulls)| sum + page.values.saturating_sub(nulls));
                }
            }
            PageKind::Other => self.empty += 1,
        }
        if self.empty > EMPTY_PAGES {
            return Err("is one of very many without a value".to_owned());
        }
        Ok(())
    }
}

/// Bytes that a value takes at least in a dictionary.
fn least_bytes(chunk: &ColumnChunkMetaData) -> u64 {
    match chunk.column_type() {
        Type::BOOLEAN => 0,
        Type::INT32 | Type::FLOAT | Type::BYTE_ARRAY => 4,
        Type::INT64 | Type::DOUBLE => 8,
        Type::INT96 => 12,
        Type::FIXED_LEN_BYTE_ARRAY => {
            u64::try_from(chunk.column_descr().type_length()).unwrap_or(0)
        }
    }
}

/// Sees that as many values as are decoded together fit into memory. A dictionary says a long value
/// once, and a few bytes repeat it as often as they like.
fn at_once(
    chunk: &ColumnChunkMetaData,
    seen: &Seen,
    rows: u64,
    limits: &HeaderLimits,
) -> Result<(), String> {
    if chunk.column_type() != Type::BYTE_ARRAY {
        return Ok(());
    }
    let told = chunk.unencoded_byte_array_data_bytes();
    let (value_bytes, values) = match (told, seen.dictionary, seen.from_dictionary) {
        (Some(told), ..) => (u64::try_from(told).unwrap_or(0) / rows.max(1), rows),
        (None, Some((values, size)), Some(used)) => (size / values.max(1), used),
        _ => return Ok(()),
    };
    let together = values.min(LEAST_BATCH_ROWS);
    if value_bytes.saturating_mul(together) > limits.memory {
        return Err(format!(
            "its values have {} each, so that {together} of them take more than {} (`decoding.memory`)",
            bytes(value_bytes),
            bytes(limits.memory)
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use parquet::file::page_index::offset_index::PageLocation;
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
    use parquet::arrow::ArrowWriter;
    use parquet::basic::{BrotliLevel, Compression, Encoding, GzipLevel, ZstdLevel};
    use parquet::file::metadata::{ColumnChunkMetaDataBuilder, ParquetMetaDataReader};
    use parquet::file::properties::{WriterProperties, WriterPropertiesBuilder, WriterVersion};

    use super::*;

    type Lie = fn(ColumnChunkMetaDataBuilder, i64) -> ColumnChunkMetaDataBuilder;

    /// Row groups of 200, 200 and 100 records with three columns.
    fn file(properties: WriterPropertiesBuilder) -> (File, ParquetMetaData) {
        let numbers = Int64Array::from_iter_values(0..500);
        let words: StringArray = (0..500)
            .map(|row| Some(format!("word {}", row % 9)))
            .collect();
        let sparse: StringArray = (0..500)
            .map(|row| (row % 4 == 0).then(|| format!("{row} of many")))
            .collect();
        let batch = RecordBatch::try_from_iter([
            ("numbers", Arc::new(numbers) as ArrayRef),
            ("words", Arc::new(words) as ArrayRef),
            ("sparse", Arc::new(sparse) as ArrayRef),
        ])
        .unwrap();
        let properties = properties
            .set_max_row_group_row_count(Some(200))
            .set_data_page_row_count_limit(30)
            .set_write_batch_size(10)
            .build();
        let mut file = tempfile::tempfile().unwrap();
        let own = file.try_clone().unwrap();
        let mut writer = ArrowWriter::try_new(own, batch.schema(), Some(properties)).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        file.seek(SeekFrom::Start(0)).unwrap();
        let metadata = ParquetMetaDataReader::new()
            .parse_and_finish(&file)
            .unwrap();
        (file, metadata)
    }

    fn check(file: &mut File, metadata: &ParquetMetaData, limits: &HeaderLimits) -> Vec<String> {
        let checks = ChunkChecks::new(metadata, file.metadata().unwrap().len());
        let groups = 0..metadata.num_row_groups();
        let outcomes = groups.map(|group| checks.check(file, metadata, group, 0..3, limits));
        outcomes.filter_map(Result::err).collect()
    }

    #[test]
    fn what_writers_write_passes() {
        for codec in [
            Compression::UNCOMPRESSED,
            Compression::SNAPPY,
            Compression::GZIP(GzipLevel::default()),
            Compression::BROTLI(BrotliLevel::default()),
            Compression::LZ4_RAW,
            Compression::ZSTD(ZstdLevel::default()),
        ] {
            for version in [WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0] {
                for encoding in [
                    None,
                    Some(Encoding::PLAIN),
                    Some(Encoding::DELTA_BYTE_ARRAY),
                ] {
                    let properties = WriterProperties::builder()
                        .set_compression(codec)
                        .set_writer_version(version)
                        .set_dictionary_enabled(encoding.is_none());
                    let properties = match encoding {
                        Some(encoding) => properties
                            .set_column_encoding("words".into(), encoding)
                            .set_column_encoding("sparse".into(), encoding),
                        None => properties,
                    };
                    let (mut file, metadata) = file(properties);
                    let problems = check(&mut file, &metadata, &HeaderLimits::default());
                    assert!(problems.is_empty(), "{codec:?} {version:?}: {problems:?}");
                }
            }
        }
    }

    #[test]
    fn limits_are_those_of_pages_dictionaries_and_values_read_together() {
        let (mut file, metadata) = file(WriterProperties::builder());
        let usual = HeaderLimits::default();
        for (limits, expected) in [
            (HeaderLimits { page: 90, ..usual }, "`decoding.max_page`"),
            (
                HeaderLimits {
                    memory: 500,
                    ..usual
                },
                "of them take more than 500 bytes",
            ),
        ] {
            let problems = check(&mut file, &metadata, &limits);
            assert_eq!(problems.len(), 3);
            assert!(problems[0].contains(expected), "{}", problems[0]);
        }
    }

    #[test]
    fn footers_that_lie_about_a_chunk_cost_its_row_group() {
        let (mut file, metadata) = file(WriterProperties::builder());
        let elsewhere = metadata.row_group(0).column(1).byte_range().0 as i64 + 1;
        let lies: [(Lie, &[&str]); 6] = [
            (
                |chunk, _| chunk.set_total_compressed_size(1 << 40),
                &["column `words`: bytes", "outside of the file"],
            ),
            (
                |chunk, _| {
                    chunk
                        .set_data_page_offset(-4)
                        .set_dictionary_page_offset(None)
                },
                &["column `words`", "negative"],
            ),
            (
                |chunk, _| chunk.set_num_values(201),
                &["promises 201 values in 200 rows"],
            ),
            (
                |chunk, _| chunk.set_file_path("elsewhere".to_owned()),
                &["in another file"],
            ),
            // Decoders go by the rows, and would read pages that nobody looked at.
            (
                |chunk, _| chunk.set_num_values(0),
                &["promises 0 values in 200 rows"],
            ),
            (
                |chunk, at| chunk.set_dictionary_page_offset(Some(at)),
                &["column `words` of row group 0 and column `words` of row group 1 share"],
            ),
        ];
        for (lie, expected) in lies {
            let mut groups = metadata.row_groups().to_vec();
            let mut chunks = groups[1].columns().to_vec();
            let lying = lie(chunks[1].clone().into_builder(), elsewhere).build();
            chunks[1] = lying.unwrap();
            let group = groups[1].clone().into_builder();
            groups[1] = group.set_column_metadata(chunks).build().unwrap();
            let lying = metadata
                .clone()
                .into_builder()
                .set_row_groups(groups)
                .build();
            let problems = check(&mut file, &lying, &HeaderLimits::default());
            // Of two chunks in one place either may lie.
            let least = if expected[0].contains("share") { 2 } else { 1 };
            assert!(
                problems.len() >= least && problems.len() < 3,
                "{problems:?}"
            );
            for words in expected {
                assert!(problems[0].contains(words), "{words} not in {problems:?}");
            }
        }
    }

    #[test]
    fn an_offset_index_lists_what_is_there() {
        let index = |pages: &[(i64, i32, i64)]| OffsetIndexMetaData {
            page_locations: pages
                .iter()
                .map(
                    |&(offset, compressed_page_size, first_row_index)| PageLocation {
                        offset,
                        compressed_page_size,
                        first_row_index,
                    },
                )
                .collect(),
            unencoded_byte_array_data_bytes: None,
        };
        let there = [(4, 100), (104, 50)];
        let good = index(&[(4, 100, 0), (104, 50, 70)]);
        check_index(&good, &there, 100).unwrap();
        for lie in [
            &[(4, 100, 0)][..],
            &[],
            // One page again and again, bytes of another column, rows in another order or that are not there.
            &[(4, 100, 0), (4, 100, 70)],
            &[(4, 100, 0), (104, 50, 70), (104, 50, 90)],
            &[(4, 100, 0), (904, 50, 70)],
            &[(4, 100, 0), (104, 51, 70)],
            &[(4, 100, 1), (104, 50, 70)],
            &[(4, 100, 0), (104, 50, 101)],
            &[(-4, 100, 0), (104, 50, 70)],
        ] {
            check_index(&index(lie), &there, 100).unwrap_err();
        }
    }
}
