use std::fs::{self, File};
use std::io::BufReader;

use arrow::array::cast::AsArray;
use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::{concat_batches, filter_record_batch};
use arrow::ipc::CompressionType;
use arrow::ipc::reader::{FileReader, StreamReader};
use arrow::ipc::writer::{FileWriter, IpcWriteOptions, StreamWriter};
use lazaretto_core::Verdict;
use lazaretto_io::check_conservation;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;

use crate::support::{Place, batch, every_third, open_with, read_all, run, schema, write_parquet};

fn kept(batches: &[RecordBatch], keep: impl Fn(usize) -> bool) -> RecordBatch {
    let all = concat_batches(&batches[0].schema(), batches).unwrap();
    let mask: BooleanArray = (0..all.num_rows()).map(|row| Some(keep(row))).collect();
    filter_record_batch(&all, &mask).unwrap()
}

#[test]
fn rewritten_parquet_keeps_everything_but_the_held_records() {
    let place = Place::new();
    let batches = [batch(0, 50), batch(50, 1), batch(51, 40)];
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_column_compression(ColumnPath::from("text"), Compression::SNAPPY)
        .set_key_value_metadata(Some(vec![KeyValue::new(
            "pandas".to_owned(),
            "{}".to_owned(),
        )]))
        .build();
    write_parquet(&place.data().join("a/b.parquet"), &batches, properties);
    let dataset = place.open();
    assert_eq!(dataset.n_rows(), 91);
    assert_eq!(dataset.units().len(), 3);
    let (folder, counts) = run(&dataset, &place.out(), every_third);
    assert_eq!((counts[0].pass, counts[0].quarantine), (61, 30));

    let open = |name: &str| {
        let file = File::open(folder.path().join(name)).unwrap();
        ParquetRecordBatchReaderBuilder::try_new(file).unwrap()
    };
    let clean = open("clean/a/b.parquet");
    let input = File::open(place.data().join("a/b.parquet")).unwrap();
    let input = ParquetRecordBatchReaderBuilder::try_new(input).unwrap();
    assert_eq!(clean.schema(), input.schema(), "metadata included");
    assert_eq!(
        clean.parquet_schema().root_schema(),
        input.parquet_schema().root_schema()
    );
    let groups: Vec<i64> = clean
        .metadata()
        .row_groups()
        .iter()
        .map(parquet::file::metadata::RowGroupMetaData::num_rows)
        .collect();
    assert_eq!(groups, [33, 1, 27]);
    let codec = |column: usize| clean.metadata().row_group(0).column(column).compression();
    assert!(matches!(codec(0), Compression::ZSTD(_)));
    assert_eq!(codec(1), Compression::SNAPPY);
    let pairs = clean
        .metadata()
        .file_metadata()
        .key_value_metadata()
        .unwrap();
    let keys: Vec<&str> = pairs.iter().map(|pair| pair.key.as_str()).collect();
    assert_eq!(keys.iter().filter(|key| **key == "pandas").count(), 1);
    assert_eq!(keys.iter().filter(|key| **key == "ARROW:schema").count(), 1);
    let read: Vec<_> = clean.build().unwrap().map(Result::unwrap).collect();
    let read = concat_batches(&read[0].schema(), &read).unwrap();
    assert_eq!(read.columns(), kept(&batches, |row| row % 3 != 1).columns());

    let held: Vec<_> = open("quarantine/a/b.parquet")
        .build()
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let held = concat_batches(&held[0].schema(), &held).unwrap();
    let notes = held.column_by_name("_lazaretto").unwrap().as_struct();
    assert_eq!(
        notes
            .column_by_name("record_id")
            .unwrap()
            .as_string::<i32>()
            .value(1),
        "record-4"
    );
    let findings = notes.column_by_name("findings").unwrap().as_list::<i32>();
    assert_eq!(findings.value(0).as_string::<i32>().value(0), "F001");
    let own: Vec<usize> = (0..schema().fields().len()).collect();
    let columns = held.project(&own).unwrap();
    assert_eq!(
        columns.columns(),
        kept(&batches, |row| row % 3 == 1).columns()
    );

    let conservation = check_conservation(&dataset, folder.path()).unwrap();
    assert_eq!(conservation.counts.pass, 61);
    assert_eq!(conservation.counts.quarantine, 30);
    assert_eq!(conservation.copied_files, 0);
}

#[test]
fn a_file_without_held_records_is_the_same_file() {
    let place = Place::new();
    for (name, start) in [("x.parquet", 0), ("y.parquet", 10)] {
        let properties = WriterProperties::builder().build();
        write_parquet(&place.data().join(name), &[batch(start, 10)], properties);
    }
    let dataset = place.open();
    let held = |ordinal: u64| {
        if ordinal >= 15 {
            Verdict::Quarantine
        } else {
            Verdict::Pass
        }
    };
    let (folder, counts) = run(&dataset, &place.out(), held);
    assert!(counts[0].copied && !counts[1].copied);
    assert_eq!(
        fs::read(folder.path().join("clean/x.parquet")).unwrap(),
        fs::read(place.data().join("x.parquet")).unwrap()
    );
    assert!(!folder.path().join("quarantine/x.parquet").exists());
    let conservation = check_conservation(&dataset, folder.path()).unwrap();
    assert_eq!(conservation.copied_files, 1);
    assert_eq!(conservation.counts.records, 20);
}

#[test]
fn a_large_row_group_is_read_in_parts_and_stays_one_row_group() {
    let place = Place::new();
    let rows = 600_000;
    let column = arrow::array::Float32Array::from_iter_values((0..rows).map(|row| row as f32));
    let batch = RecordBatch::try_from_iter([("f0", std::sync::Arc::new(column) as _)]).unwrap();
    write_parquet(
        &place.data().join("x.parquet"),
        &[batch],
        WriterProperties::builder().build(),
    );
    let dataset = open_with(&place.data(), &place.scratch(), 1 << 16).unwrap();
    let units = dataset.units();
    assert!(units.len() > 1, "all threads have something to read");
    assert!(units.iter().all(|unit| unit.row_group == 0));
    let mut expected = 0_u32;
    for batch in read_all(&dataset) {
        assert!(batch.num_rows() <= 16_384, "batches follow the target size");
        for value in batch
            .column(0)
            .as_primitive::<arrow::datatypes::Float32Type>()
            .values()
        {
            assert_eq!(*value, expected as f32);
            expected += 1;
        }
    }
    assert_eq!(expected, rows);
    let held = |ordinal: u64| {
        if ordinal == 300_000 {
            Verdict::Quarantine
        } else {
            Verdict::Pass
        }
    };
    let (folder, counts) = run(&dataset, &place.out(), held);
    assert_eq!(counts[0].quarantine, 1);
    let clean = File::open(folder.path().join("clean/x.parquet")).unwrap();
    let clean = ParquetRecordBatchReaderBuilder::try_new(clean).unwrap();
    assert_eq!(clean.metadata().num_row_groups(), 1);
    assert_eq!(
        clean.metadata().row_group(0).num_rows(),
        i64::from(rows) - 1
    );
    check_conservation(&dataset, folder.path()).unwrap();
}

#[test]
fn output_bytes_do_not_depend_on_the_number_of_threads() {
    let place = Place::new();
    let batches = [batch(0, 500), batch(500, 500)];
    write_parquet(
        &place.data().join("x.parquet"),
        &batches,
        WriterProperties::builder().build(),
    );
    let outputs: Vec<_> = [1, 2, 4]
        .into_iter()
        .map(|threads| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            pool.install(|| {
                let dataset = place.open();
                let (folder, _) = run(&dataset, &place.out(), every_third);
                folder.outputs([]).unwrap()
            })
        })
        .collect();
    assert_eq!(outputs[0].len(), 3);
    assert_eq!(outputs[0], outputs[1]);
    assert_eq!(outputs[0], outputs[2]);
}

#[test]
fn projection_reads_columns_in_the_order_of_the_schema() {
    let place = Place::new();
    write_parquet(
        &place.data().join("split=train%2F1/x.parquet"),
        &[batch(0, 20)],
        WriterProperties::builder().build(),
    );
    let dataset = place.open();
    let full = dataset.full_schema();
    assert_eq!(full.fields().len(), schema().fields().len() + 1);
    let partition = full.fields().len() - 1;
    let batch = dataset
        .batches(0, Some(&[2, 7, partition]))
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    let names: Vec<_> = batch
        .schema()
        .fields()
        .iter()
        .map(|field| field.name().clone())
        .collect();
    assert_eq!(names, ["label", "nested", "split"]);
    assert_eq!(batch.column(2).as_string::<i32>().value(3), "train/1");
    let empty = dataset
        .batches(0, Some(&[]))
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    assert_eq!((empty.num_rows(), empty.num_columns()), (20, 0));
}

#[test]
fn arrow_files_and_streams_keep_layout_compression_and_batches() {
    for stream in [false, true] {
        let place = Place::new();
        let path = place.data().join("x.arrow");
        let options = IpcWriteOptions::default()
            .try_with_compression(Some(CompressionType::ZSTD))
            .unwrap();
        let batches = [batch(0, 30), batch(30, 12)];
        // One dictionary for all batches, as a file needs.
        let all = concat_batches(&schema(), &batches).unwrap();
        let file = File::create(&path).unwrap();
        if stream {
            let mut writer = StreamWriter::try_new_with_options(file, &schema(), options).unwrap();
            writer.write(&batches[0]).unwrap();
            writer.write(&batches[1]).unwrap();
            writer.finish().unwrap();
        } else {
            let mut writer = FileWriter::try_new_with_options(file, &schema(), options).unwrap();
            writer.write(&all.slice(0, 30)).unwrap();
            writer.write(&all.slice(30, 12)).unwrap();
            writer.finish().unwrap();
        }
        let dataset = place.open();
        assert_eq!(dataset.units().len(), 2);
        let (folder, counts) = run(&dataset, &place.out(), every_third);
        assert_eq!(counts[0].quarantine, 14);
        let clean = BufReader::new(File::open(folder.path().join("clean/x.arrow")).unwrap());
        let read: Vec<RecordBatch> = if stream {
            StreamReader::try_new(clean, None)
                .unwrap()
                .map(Result::unwrap)
                .collect()
        } else {
            FileReader::try_new(clean, None)
                .unwrap()
                .map(Result::unwrap)
                .collect()
        };
        assert_eq!(read[0].schema(), schema());
        assert_eq!(
            read.iter().map(RecordBatch::num_rows).collect::<Vec<_>>(),
            [20, 8]
        );
        assert_eq!(
            concat_batches(&schema(), &read).unwrap(),
            kept(&batches, |row| row % 3 != 1)
        );
        check_conservation(&dataset, folder.path()).unwrap();
        let again = lazaretto_io::discover(&[folder.path().join("clean").display().to_string()]);
        assert_eq!(again.unwrap().files.len(), 1);
    }
}
