//! Writes the seeds of the corpus: small files of every format, whole and damaged, and texts of
//! every kind. Files are named by their content; what fuzzing has added is left as it is.

mod columnar;
mod texts;

use std::error::Error;
use std::path::Path;

use lazaretto_testkit::damage::{Footer, damaged};

/// Files of a target.
type Seeds = Vec<Vec<u8>>;

#[expect(clippy::print_stdout, reason = "a command")]
fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let every_type = columnar::every_type()?;
    let reviews = columnar::reviews()?;
    let lines = columnar::columns_of_text(&reviews)?;
    let parquet = [
        columnar::parquet_files(&every_type)?,
        columnar::parquet_files(&reviews)?,
    ]
    .concat();
    let arrow_file = [
        columnar::arrow_files(&every_type)?,
        columnar::arrow_files(&reviews)?,
    ]
    .concat();
    let arrow_stream = [
        columnar::arrow_streams(&every_type)?,
        columnar::arrow_streams(&reviews)?,
    ]
    .concat();
    let headers = [&parquet[..2], &arrow_file[..2], &arrow_stream[..1]].concat();
    let sets = [
        ("arrow_file", with_damaged(&arrow_file, Footer::Arrow)),
        ("wire", columnar::conversations(&arrow_stream)),
        ("arrow_stream", with_damaged(&arrow_stream, Footer::None)),
        ("compressed", texts::compressed_files(&lines)?),
        ("csv", texts::csv_files(&lines)?),
        ("encodings", texts::hidden_texts()),
        ("headers", with_damaged(&headers, Footer::None)),
        ("json_lines", texts::json_files()),
        ("metadata", texts::descriptions()),
        ("parquet", with_damaged(&parquet, Footer::Parquet)),
        ("pipeline", texts::pipelines()),
        ("proof", texts::proofs()),
    ];
    for (target, seeds) in sets {
        let folder = root.join(target);
        std::fs::create_dir_all(&folder)?;
        for seed in &seeds {
            let name = blake3::hash(seed).to_hex();
            std::fs::write(folder.join(&name[..16]), seed)?;
        }
        println!("{target}: {} seeds", seeds.len());
    }
    Ok(())
}

/// `files` and three damaged copies of each; all copies together have every kind of damage.
fn with_damaged(files: &[Vec<u8>], footer: Footer) -> Seeds {
    let copies = files.iter().enumerate().flat_map(|(number, file)| {
        let first = number as u64 * 4;
        (0..3).map(move |kind| damaged(file, footer, first + kind * 3))
    });
    files.iter().cloned().chain(copies).collect()
}
