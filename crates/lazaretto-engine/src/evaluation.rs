//! Evaluation sets: read beside the dataset, so that what a model is tested on is not what it is
//! trained on.

use arrow::array::{Array, ArrayRef, AsArray as _, LargeStringArray};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use lazaretto_core::{Evaluation, EvaluationText, TextField, TextPart};
use lazaretto_features::tokenize;
use lazaretto_io::{Dataset, OpenOptions};
use lazaretto_patterns::redact;

use crate::assemble::strings;
use crate::beside;
use crate::error::EngineError;
use crate::scan::unreadable;
use crate::settings::Settings;

/// Characters of a text that a report may show.
const EXCERPT_CHARS: usize = 80;
/// Characters of a text among which secrets are looked for: more than what is shown, since one may go
/// on beyond it.
const MASKED_CHARS: usize = 4000;
/// Bytes of memory that a text takes besides its words.
const TEXT_BYTES: usize = 160;

/// Opens the files of `settings.evaluation`; `None` when there are none.
///
/// # Errors
/// When a file is missing, cannot be read in full or does not fit the others, and when there is no
/// record.
pub(crate) fn open(
    settings: &Settings,
    options: OpenOptions,
) -> Result<Option<Dataset>, EngineError> {
    if settings.evaluation.is_empty() {
        return Ok(None);
    }
    beside::open(&settings.evaluation, options, refuse).map(Some)
}

fn refuse(file: String, problems: Vec<String>) -> EngineError {
    EngineError::Evaluation { file, problems }
}

/// Reads all texts of the files, wherever they stand: columns of strings, and strings inside lists
/// and structs.
///
/// # Errors
/// When a file does not decode, has no text, or its texts need more than `max_bytes`.
pub(crate) fn gather(files: &Dataset, max_bytes: u64) -> Result<Evaluation, EngineError> {
    let mut evaluation = Evaluation {
        files: files
            .files()
            .iter()
            .map(|file| file.input.relative.clone())
            .collect(),
        texts: Vec::new(),
    };
    let mut bytes = 0;
    for (idx, unit) in files.units().iter().enumerate() {
        let input = &files.files()[unit.file].input;
        let bad = |error: &ArrowError| unreadable(&input.relative, unit.row_group, error);
        let of_file = files.units().iter().find(|other| other.file == unit.file);
        let mut first = unit.first_row - of_file.map_or(0, |other| other.first_row);
        for batch in files.batches(idx, None)? {
            let batch = batch?;
            let mut texts = Vec::new();
            for column in batch.columns() {
                let mut values = vec![String::new(); batch.num_rows()];
                collect(column, &|row| Some(row), &mut values).map_err(|error| bad(&error))?;
                texts.extend(of_column(values, unit.file as u32, first));
            }
            texts.sort_by_key(|text| text.row);
            bytes += texts
                .iter()
                .map(|text| TEXT_BYTES + 8 * text.words.len())
                .sum::<usize>();
            if bytes as u64 > max_bytes {
                let problem =
                    format!("its texts need more than the {max_bytes} bytes they may take");
                return Err(refuse(input.relative.clone(), vec![problem]));
            }
            evaluation.texts.extend(texts);
            first += batch.num_rows() as u64;
        }
    }
    if evaluation.texts.is_empty() {
        let problem = "no column of it has text".to_owned();
        return Err(refuse(files.name().to_owned(), vec![problem]));
    }
    Ok(evaluation)
}

/// The texts of one column; rows without words have none.
fn of_column(values: Vec<String>, file: u32, first: u64) -> Vec<EvaluationText> {
    let field = TextField {
        name: String::new(),
        part: TextPart::Text,
        values: LargeStringArray::from_iter_values(values),
    };
    let tokens = tokenize(&field);
    (0..field.values.len())
        .filter(|&row| !tokens.row(row).is_empty())
        .map(|row| EvaluationText {
            file,
            row: first + row as u64,
            words: tokens.row(row).to_vec(),
            excerpt: excerpt(field.values.value(row)),
        })
        .collect()
}

/// The beginning of a text as it may be shown: masked before it is cut, so that no secret is cut in two.
fn excerpt(text: &str) -> String {
    let head: String = text.chars().take(MASKED_CHARS).collect();
    redact(&head).chars().take(EXCERPT_CHARS).collect()
}

/// Appends every string in `array` to the text of the record that `record_of` gives for its index.
fn collect(
    array: &ArrayRef,
    record_of: &dyn Fn(usize) -> Option<usize>,
    texts: &mut [String],
) -> Result<(), ArrowError> {
    match array.data_type() {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Dictionary(_, _) => {
            for (idx, value) in strings(array)?.iter().enumerate() {
                if let (Some(record), Some(value)) = (record_of(idx), value) {
                    let text = &mut texts[record];
                    if !text.is_empty() {
                        text.push('\n');
                    }
                    text.push_str(value);
                }
            }
            Ok(())
        }
        DataType::Struct(_) => {
            let mut columns = array.as_struct().columns().iter();
            columns.try_for_each(|column| collect(column, record_of, texts))
        }
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            let mut owners = vec![None; list.values().len()];
            for row in 0..list.len() {
                let [start, end] = [row, row + 1].map(|idx| list.value_offsets()[idx] as usize);
                owners[start..end].fill(record_of(row));
            }
            collect(list.values(), &|idx| owners[idx], texts)
        }
        // Numbers and dates are no text.
        _ => Ok(()),
    }
}
