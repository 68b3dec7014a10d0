//! Columnar files, and what decoders send.

use std::error::Error;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Decimal128Array, DictionaryArray, Float32Array, Int64Array,
    LargeBinaryArray, ListArray, NullArray, RecordBatch, StringArray, StringViewArray, StructArray,
    TimestampMillisecondArray,
};
use arrow::datatypes::{DataType, Float32Type, Int8Type, Schema};
use arrow::error::ArrowError;
use arrow::ipc::CompressionType;
use arrow::ipc::writer::{FileWriter, IpcWriteOptions, StreamWriter};
use lazaretto_testkit::hugging_face::{Feature, metadata};
use lazaretto_testkit::{ReviewSet, TestkitError};
use parquet::arrow::ArrowWriter;
use parquet::basic::{BrotliLevel, Compression, Encoding, GzipLevel, ZstdLevel};
use parquet::file::properties::{WriterProperties, WriterVersion};

use super::Seeds;

/// Reviews as a dataset of Hugging Face.
pub(crate) fn reviews() -> Result<RecordBatch, TestkitError> {
    Ok(ReviewSet::generate(1, 12).to_record_batch()?)
}

/// Their columns that text formats hold too.
pub(crate) fn columns_of_text(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let schema = batch.schema();
    let fields = schema.fields().iter().enumerate();
    let plain = fields.filter(|(_, field)| {
        let data_type = field.data_type();
        data_type.is_integer() || *data_type == DataType::Utf8
    });
    batch.project(&plain.map(|(column, _)| column).collect::<Vec<_>>())
}

/// A few records of columns of many types.
pub(crate) fn every_type() -> Result<RecordBatch, Box<dyn Error>> {
    let numbers = Int64Array::from(vec![Some(1), None, Some(-3), Some(i64::MAX), Some(0)]);
    let words = ["one", "two", "", "a longer text of some words", "two"];
    let kinds: DictionaryArray<Int8Type> = words.into_iter().collect();
    let vectors = ListArray::from_iter_primitive::<Float32Type, _, _>([
        Some(vec![Some(0.5), Some(-1.0)]),
        None,
        Some(vec![]),
        Some(vec![None, Some(f32::NAN)]),
        Some(vec![Some(2.0)]),
    ]);
    let times = TimestampMillisecondArray::from(vec![0, 1, 2, 3, 4]).with_timezone("+02:00");
    let prices = Decimal128Array::from(vec![1, 2, 3, 4, 5]).with_precision_and_scale(20, 2)?;
    let inner: ArrayRef = Arc::new(Float32Array::from(vec![1.0, 2.0, 3.0, 4.0, 5.0]));
    let flags: ArrayRef = Arc::new(BooleanArray::from(vec![true, false, true, true, false]));
    let nested = StructArray::try_from(vec![("x", inner), ("flag", flags)])?;
    let images = LargeBinaryArray::from(vec![b"PNG".as_slice(); 5]);
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("number", Arc::new(numbers)),
        ("text", Arc::new(StringArray::from(words.to_vec()))),
        ("view", Arc::new(StringViewArray::from(words.to_vec()))),
        ("kind", Arc::new(kinds)),
        ("embedding", Arc::new(vectors)),
        ("time", Arc::new(times)),
        ("price", Arc::new(prices)),
        ("nested", Arc::new(nested)),
        ("image", Arc::new(images)),
        ("nothing", Arc::new(NullArray::new(5))),
    ];
    let columns = columns.into_iter();
    let batch = RecordBatch::try_from_iter_with_nullable(
        columns.map(|(name, column)| (name, column, true)),
    )?;
    let features = metadata(&[
        ("number", Feature::ClassLabel(&["good", "bad"])),
        ("embedding", Feature::Vector(2)),
    ]);
    let schema = Schema::new_with_metadata(batch.schema().fields().clone(), features);
    Ok(batch.with_schema(Arc::new(schema))?)
}

/// One file for each codec, with the encodings and structures that writers have.
pub(crate) fn parquet_files(batch: &RecordBatch) -> Result<Seeds, Box<dyn Error>> {
    let codecs = [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::GZIP(GzipLevel::default()),
        Compression::BROTLI(BrotliLevel::default()),
        Compression::LZ4_RAW,
        Compression::ZSTD(ZstdLevel::default()),
    ];
    let mut files = Seeds::new();
    for (number, codec) in codecs.into_iter().enumerate() {
        let builder = WriterProperties::builder()
            .set_compression(codec)
            .set_max_row_group_row_count(Some(3 + number * 2))
            .set_dictionary_enabled(number % 2 == 0)
            .set_data_page_row_count_limit(2);
        let builder = match number {
            1 => builder.set_column_encoding("text".into(), Encoding::DELTA_BYTE_ARRAY),
            3 => builder
                .set_writer_version(WriterVersion::PARQUET_2_0)
                .set_column_encoding("text".into(), Encoding::DELTA_LENGTH_BYTE_ARRAY),
            4 => builder.set_writer_version(WriterVersion::PARQUET_2_0),
            _ => builder,
        };
        let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(builder.build()))?;
        writer.write(batch)?;
        files.push(writer.into_inner()?);
    }
    Ok(files)
}

fn ipc_options() -> Result<[IpcWriteOptions; 3], Box<dyn Error>> {
    let of = |codec| IpcWriteOptions::default().try_with_compression(codec);
    Ok([
        of(None)?,
        of(Some(CompressionType::LZ4_FRAME))?,
        of(Some(CompressionType::ZSTD))?,
    ])
}

/// Arrow files of two batches.
pub(crate) fn arrow_files(batch: &RecordBatch) -> Result<Seeds, Box<dyn Error>> {
    let mut files = Seeds::new();
    for options in ipc_options()? {
        let mut writer = FileWriter::try_new_with_options(Vec::new(), &batch.schema(), options)?;
        writer.write(&batch.slice(0, 3))?;
        writer.write(&batch.slice(3, 2))?;
        files.push(writer.into_inner()?);
    }
    Ok(files)
}

/// Arrow streams of two batches.
pub(crate) fn arrow_streams(batch: &RecordBatch) -> Result<Seeds, Box<dyn Error>> {
    let mut files = Seeds::new();
    for options in ipc_options()? {
        let mut writer = StreamWriter::try_new_with_options(Vec::new(), &batch.schema(), options)?;
        writer.write(&batch.slice(0, 3))?;
        writer.write(&batch.slice(3, 2))?;
        files.push(writer.into_inner()?);
    }
    Ok(files)
}

/// What a decoder sends: its level, answers, a stream in pieces, an error.
pub(crate) fn conversations(streams: &[Vec<u8>]) -> Seeds {
    let frame = |tag: u8, payload: &[u8]| {
        let length = (payload.len() as u64).to_le_bytes();
        [&[tag], length.as_slice(), payload].concat()
    };
    let level = br#"{"resources":true,"files":true,"system_calls":false}"#;
    let cut = br#"{"Cut":{"prefix":[97,10],"names":["a"],"blocks":[]}}"#;
    let kinds = br#"{"Kinds":[["a",{"List":{"Object":[["b","Int"]]}}],["c","Text"]]}"#;
    let answers = [
        frame(b'L', level),
        frame(b'A', br#""Done""#),
        frame(b'A', cut),
        frame(b'A', kinds),
        frame(b'E', b"the footer does not parse"),
    ];
    let mut seeds = vec![answers.concat()];
    for stream in streams {
        let pieces = stream.chunks(stream.len() / 3 + 1);
        let pieces: Vec<u8> = pieces.flat_map(|piece| frame(b'S', piece)).collect();
        seeds.push([frame(b'L', level), pieces, frame(b'Z', b"")].concat());
    }
    seeds
}
