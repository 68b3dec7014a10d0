use std::fs::{self, File};
use std::io::{Read, Write};

use arrow::array::Array;
use arrow::array::cast::AsArray;
use arrow::datatypes::{DataType, Int64Type};
use lazaretto_io::{Dataset, check_conservation};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::support::{Place, every_third, read_all, run};

fn types(dataset: &Dataset) -> Vec<(String, String)> {
    dataset
        .schema()
        .fields()
        .iter()
        .map(|field| (field.name().clone(), field.data_type().to_string()))
        .collect()
}

#[test]
fn csv_records_move_byte_for_byte() {
    let place = Place::new();
    let mark = "\u{feff}";
    let records = [
        "1,\"a, \"\"b\"\"\r\nc\",0.50\r\n",
        "2,plain,1\r\n",
        "\r\n3,,2.25\r\n",
        "4,\"x\ny\",\r\n",
        "5,last,9",
    ];
    let text = format!("{mark}id,text,value\r\n{}", records.concat());
    fs::write(place.data().join("x.csv"), &text).unwrap();
    let dataset = place.open();
    assert_eq!(
        types(&dataset),
        [("id", "Int64"), ("text", "Utf8"), ("value", "Float64")]
            .map(|(name, kind)| (name.to_owned(), kind.to_owned()))
    );
    let batch = read_all(&dataset).remove(0);
    assert_eq!(batch.column(1).as_string::<i32>().value(0), "a, \"b\"\r\nc");
    let (folder, counts) = run(&dataset, &place.out(), every_third);
    assert_eq!((counts[0].pass, counts[0].quarantine), (3, 2));
    let clean = fs::read_to_string(folder.path().join("clean/x.csv")).unwrap();
    assert_eq!(
        clean,
        format!(
            "{mark}id,text,value\r\n{}{}{}",
            records[0], records[2], records[3]
        )
    );
    let file = File::open(folder.path().join("quarantine/x.csv.parquet")).unwrap();
    let held = ParquetRecordBatchReaderBuilder::try_new(file)
        .unwrap()
        .build()
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    assert_eq!(held.column(0).as_primitive::<Int64Type>().values(), &[2, 5]);
    let notes = held.column_by_name("_lazaretto").unwrap().as_struct();
    let raw = notes.column_by_name("raw").unwrap().as_binary::<i32>();
    assert_eq!(raw.value(0), records[1].as_bytes());
    assert_eq!(raw.value(1), records[4].as_bytes());
    check_conservation(&dataset, folder.path()).unwrap();
}

#[test]
fn compressed_text_comes_out_compressed() {
    for (name, gzip) in [("x.tsv.gz", true), ("x.tsv.zst", false)] {
        let place = Place::new();
        let path = place.data().join(name);
        let body: String = (0..1000)
            .map(|row| format!("{row}\tword {row}\n"))
            .collect();
        let text = format!("id\ttext\n{body}");
        let file = File::create(&path).unwrap();
        if gzip {
            let mut encoder = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
            encoder.write_all(text.as_bytes()).unwrap();
            encoder.finish().unwrap();
        } else {
            let mut encoder = zstd::stream::write::Encoder::new(file, 1).unwrap();
            encoder.write_all(text.as_bytes()).unwrap();
            encoder.finish().unwrap();
        }
        let dataset = place.open();
        assert_eq!(dataset.n_rows(), 1000);
        let (folder, _) = run(&dataset, &place.out(), every_third);
        check_conservation(&dataset, folder.path()).unwrap();
        let clean = File::open(folder.path().join("clean").join(name)).unwrap();
        let mut read = String::new();
        if gzip {
            flate2::read::GzDecoder::new(clean)
                .read_to_string(&mut read)
                .unwrap();
        } else {
            zstd::stream::read::Decoder::new(clean)
                .unwrap()
                .read_to_string(&mut read)
                .unwrap();
        }
        assert!(read.starts_with("id\ttext\n0\tword 0\n2\tword 2\n3\tword 3\n5\t"));
        assert_eq!(read.lines().count(), 1 + 667);
        drop(dataset);
        assert_eq!(
            fs::read_dir(place.scratch()).unwrap().count(),
            0,
            "no copy is left"
        );
    }
}

#[test]
fn large_text_is_cut_into_units_at_records() {
    let place = Place::new();
    let filler = "long text with, commas and \"\"quotes\"\"\nand lines ".repeat(40);
    let text: String = std::iter::once("id,text\n".to_owned())
        .chain((0..12_000).map(|row| format!("{row},\"{filler}{row}\"\n")))
        .collect();
    fs::write(place.data().join("x.csv"), &text).unwrap();
    let dataset = place.open();
    assert!(dataset.units().len() >= 2);
    let mut expected = 0;
    for batch in read_all(&dataset) {
        for id in batch.column(0).as_primitive::<Int64Type>().values() {
            assert_eq!(*id, expected);
            expected += 1;
        }
    }
    assert_eq!(expected, 12_000);
    let (folder, _) = run(&dataset, &place.out(), every_third);
    check_conservation(&dataset, folder.path()).unwrap();
}

#[test]
fn json_lines_keep_nested_values_and_types_widen_over_files() {
    let place = Place::new();
    let chat = r#"{"id":1,"messages":[{"role":"user","content":"hi"}],"score":1,"none":null}"#;
    let other = r#"{"id":2,"messages":[],"score":0.5,"extra":{"a":[1,2]}}"#;
    fs::write(
        place.data().join("a.jsonl"),
        format!("{chat}\n\n{chat}\n{chat}"),
    )
    .unwrap();
    fs::write(place.data().join("b.jsonl"), format!("{other}\n")).unwrap();
    let dataset = place.open();
    let schema = dataset.schema();
    assert_eq!(
        schema.field_with_name("score").unwrap().data_type(),
        &DataType::Float64
    );
    assert!(matches!(
        schema.field_with_name("extra").unwrap().data_type(),
        DataType::Struct(_)
    ));
    let names: Vec<_> = schema
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .collect();
    assert_eq!(
        names,
        ["id", "messages", "score", "none", "extra"],
        "order of occurrence"
    );
    assert_eq!(dataset.n_rows(), 4);
    let (folder, _) = run(&dataset, &place.out(), every_third);
    assert_eq!(
        fs::read_to_string(folder.path().join("clean/a.jsonl")).unwrap(),
        format!("{chat}\n{chat}")
    );
    assert_eq!(
        fs::read(folder.path().join("clean/b.jsonl")).unwrap(),
        fs::read(place.data().join("b.jsonl")).unwrap()
    );
    check_conservation(&dataset, folder.path()).unwrap();
}

#[test]
fn csv_types_widen_over_files() {
    let place = Place::new();
    fs::write(place.data().join("a.csv"), "a,b\n1,\n2,\n").unwrap();
    fs::write(place.data().join("b.csv"), "b,a\n2024-01-01,1.5\n").unwrap();
    let dataset = place.open();
    assert_eq!(
        types(&dataset),
        [("a", "Float64"), ("b", "Date32")].map(|(name, kind)| (name.to_owned(), kind.to_owned()))
    );
    let batches = read_all(&dataset);
    assert_eq!(batches[0].column(1).null_count(), 2);
    assert_eq!(batches[1].column(1).null_count(), 0);
    let (folder, _) = run(&dataset, &place.out(), every_third);
    check_conservation(&dataset, folder.path()).unwrap();
}

#[test]
fn text_formats_mix_and_what_a_file_lacks_is_null() {
    let place = Place::new();
    fs::write(place.data().join("a.csv"), "a,b\n1,x\n2,y\n").unwrap();
    fs::write(
        place.data().join("b.jsonl"),
        "{\"b\":\"z\",\"c\":[1],\"a\":3}\n{}\n",
    )
    .unwrap();
    let dataset = place.open();
    let batches = read_all(&dataset);
    let names: Vec<_> = dataset
        .schema()
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .collect();
    assert_eq!(names, ["a", "b", "c"]);
    assert_eq!(batches[0].column(2).null_count(), 2);
    assert_eq!(batches[1].column(0).as_primitive::<Int64Type>().value(0), 3);
    let (folder, _) = run(&dataset, &place.out(), every_third);
    check_conservation(&dataset, folder.path()).unwrap();
}
