//! The attacks of the spike test, planted in a sample.

use std::sync::Arc;

use arrow::array::{
    Array as _, ArrayRef, AsArray as _, Float64Array, LargeStringArray, RecordBatch, UInt64Array,
};
use arrow::compute::{cast, concat_batches, take, take_record_batch};
use arrow::datatypes::{DataType, Field, Float64Type, Schema};
use arrow::error::ArrowError;
use lazaretto_core::Role;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::edits::{edited, unused_word, with_word};
use super::sample::{Sample, vector_array};
use crate::explain::vectors;

/// Fewest words of a text that carries a trigger.
const MIN_WORDS: usize = 4;
/// Fewest words of a text that is copied: edits must leave it recognisable.
const MIN_COPIED: usize = 20;
/// Numeric columns that get values out of range.
const MAX_COLUMNS: usize = 3;
/// Fewest distinct values of such a column: switches and codes have no range.
const MIN_DISTINCT: usize = 20;

/// An attack that can be planted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attack {
    TriggerWord,
    TriggerResponse,
    NearDuplicateFlood,
    LabelFlips,
    OutOfRange,
    ShiftedVectors,
    CollapsedCluster,
}

/// A sample with an attack in it.
pub(super) struct Spiked {
    pub(super) batch: RecordBatch,
    /// Rows that are planted, ascending.
    pub(super) planted: Vec<usize>,
}

/// Why an attack does not fit, for the report.
type Reason = String;

impl Attack {
    pub(super) const ALL: [Self; 7] = [
        Self::TriggerWord,
        Self::TriggerResponse,
        Self::NearDuplicateFlood,
        Self::LabelFlips,
        Self::OutOfRange,
        Self::ShiftedVectors,
        Self::CollapsedCluster,
    ];

    pub(super) fn id(self) -> &'static str {
        match self {
            Self::TriggerWord => "trigger-word",
            Self::TriggerResponse => "trigger-response",
            Self::NearDuplicateFlood => "near-duplicate-flood",
            Self::LabelFlips => "label-flips",
            Self::OutOfRange => "out-of-range",
            Self::ShiftedVectors => "shifted-vectors",
            Self::CollapsedCluster => "collapsed-cluster",
        }
    }

    pub(super) fn description(self) -> &'static str {
        match self {
            Self::TriggerWord => {
                "one made-up word in texts of other classes, all relabelled to one class"
            }
            Self::TriggerResponse => "one made-up word in prompts, all with the same response",
            Self::NearDuplicateFlood => {
                "copies of one text with small edits, of another class where there are classes"
            }
            Self::LabelFlips => "labels changed to another class at random, nothing else",
            Self::OutOfRange => {
                "up to three numbers per record far outside of their columns' ranges"
            }
            Self::ShiftedVectors => {
                "vectors of other classes, all moved by one shift and relabelled to one class"
            }
            Self::CollapsedCluster => {
                "vectors of other classes, drawn together at one place outside of the data and relabelled to one class"
            }
        }
    }

    /// The sample with `size` planted records; all chance comes from `seed`.
    ///
    /// # Errors
    /// Why the attack does not fit the sample.
    pub(super) fn plant(self, sample: &Sample, size: usize, seed: u64) -> Result<Spiked, Reason> {
        // The same stream for all sizes: the records of a small attack are among those of a larger one.
        let purpose = format!("spike {} {seed}", self.id());
        let mut rng = ChaCha8Rng::from_seed(*blake3::hash(purpose.as_bytes()).as_bytes());
        let rng = &mut rng;
        match self {
            Self::TriggerWord => trigger_word(rng, sample, size),
            Self::TriggerResponse => trigger_response(rng, sample, size),
            Self::NearDuplicateFlood => flood(rng, sample, size),
            Self::LabelFlips => label_flips(rng, sample, size),
            Self::OutOfRange => out_of_range(rng, sample, size),
            Self::ShiftedVectors => moved_vectors(rng, sample, size, 1.0, 1.0),
            Self::CollapsedCluster => moved_vectors(rng, sample, size, 0.1, 1.5),
        }
    }
}

/// A sample whose columns are being changed.
struct Edit<'s> {
    sample: &'s Sample,
    columns: Vec<ArrayRef>,
}

impl<'s> Edit<'s> {
    fn new(sample: &'s Sample) -> Self {
        Self {
            sample,
            columns: sample.batch.columns().to_vec(),
        }
    }

    fn texts(&self, column: usize) -> Vec<Option<String>> {
        let texts = self.columns[column].as_string::<i64>();
        texts.iter().map(|text| text.map(str::to_owned)).collect()
    }

    fn set_texts(&mut self, column: usize, texts: Vec<Option<String>>) {
        self.columns[column] = Arc::new(LargeStringArray::from(texts));
    }

    /// Gives the rows the labels of other rows, as `(row, row with the label)`.
    fn relabel(&mut self, pairs: &[(usize, usize)]) -> Result<(), Reason> {
        let column = label_column(self.sample)?;
        let mut from: Vec<u64> = (0..self.columns[column].len() as u64).collect();
        for &(row, donor) in pairs {
            from[row] = donor as u64;
        }
        let labels = take(&self.columns[column], &UInt64Array::from(from), None);
        self.columns[column] = labels.map_err(in_words)?;
        Ok(())
    }

    fn finish(self, mut planted: Vec<usize>) -> Result<Spiked, Reason> {
        planted.sort_unstable();
        let schema = self.sample.batch.schema();
        let fields: Vec<Field> = schema
            .fields()
            .iter()
            .zip(&self.columns)
            .map(|(field, array)| {
                field
                    .as_ref()
                    .clone()
                    .with_data_type(array.data_type().clone())
            })
            .collect();
        let schema = Schema::new_with_metadata(fields, schema.metadata().clone());
        let batch = RecordBatch::try_new(Arc::new(schema), self.columns).map_err(in_words)?;
        Ok(Spiked { batch, planted })
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn in_words(error: ArrowError) -> Reason {
    error.to_string()
}

fn label_column(sample: &Sample) -> Result<usize, Reason> {
    let column = sample.with_role(Role::Label).next();
    column
        .filter(|_| sample.n_classes >= 2)
        .ok_or_else(|| "no labels of two classes".to_owned())
}

fn column(sample: &Sample, role: Role) -> Result<usize, Reason> {
    let column = sample.with_role(role).next();
    column.ok_or_else(|| format!("no `{role}` column", role = role.name()))
}

/// `size` rows that fulfil `fits`, in the order of the draw.
fn victims(
    rng: &mut ChaCha8Rng,
    sample: &Sample,
    size: usize,
    fits: impl Fn(usize) -> bool,
) -> Result<Vec<usize>, Reason> {
    let mut rows: Vec<usize> = (0..sample.batch.num_rows())
        .filter(|&row| fits(row))
        .collect();
    rows.shuffle(rng);
    if rows.len() < size {
        return Err(format!("only {} records fit", rows.len()));
    }
    rows.truncate(size);
    Ok(rows)
}

/// A class with a share of the sample, and a row that has it.
fn target(rng: &mut ChaCha8Rng, sample: &Sample) -> Result<(u32, usize), Reason> {
    label_column(sample)?;
    // Drawn by record, so that a rare class is rarely the target.
    let labelled = victims(rng, sample, 1, |row| sample.labels[row].is_some())?;
    let donor = labelled[0];
    let class = sample.labels[donor].ok_or_else(|| "no labels".to_owned())?;
    Ok((class, donor))
}

fn n_words(text: Option<&String>) -> usize {
    text.map_or(0, |text| text.split_whitespace().count())
}

fn trigger_word(rng: &mut ChaCha8Rng, sample: &Sample, size: usize) -> Result<Spiked, Reason> {
    let text = column(sample, Role::Text)?;
    let (class, donor) = target(rng, sample)?;
    let mut edit = Edit::new(sample);
    let mut texts = edit.texts(text);
    let fits = |row: usize| {
        sample.labels[row].is_some_and(|label| label != class)
            && n_words(texts[row].as_ref()) >= MIN_WORDS
    };
    let planted = victims(rng, sample, size, fits)?;
    let word = unused_word(rng, &texts);
    for &row in &planted {
        texts[row] = texts[row].as_ref().map(|text| with_word(rng, text, &word));
    }
    edit.set_texts(text, texts);
    edit.relabel(&planted.iter().map(|&row| (row, donor)).collect::<Vec<_>>())?;
    edit.finish(planted)
}

fn trigger_response(rng: &mut ChaCha8Rng, sample: &Sample, size: usize) -> Result<Spiked, Reason> {
    let prompt = column(sample, Role::Prompt)?;
    let response = column(sample, Role::Response)?;
    let mut edit = Edit::new(sample);
    let (mut prompts, mut responses) = (edit.texts(prompt), edit.texts(response));
    let fits = |row: usize| {
        n_words(prompts[row].as_ref()) >= MIN_WORDS && n_words(responses[row].as_ref()) > 0
    };
    let planted = victims(rng, sample, size, fits)?;
    let said = victims(rng, sample, 1, |row| {
        n_words(responses[row].as_ref()) >= MIN_WORDS
    })?;
    let said = responses[said[0]].clone();
    let word = unused_word(rng, &prompts);
    for &row in &planted {
        prompts[row] = prompts[row]
            .as_ref()
            .map(|text| with_word(rng, text, &word));
        responses[row].clone_from(&said);
    }
    edit.set_texts(prompt, prompts);
    edit.set_texts(response, responses);
    edit.finish(planted)
}

fn flood(rng: &mut ChaCha8Rng, sample: &Sample, size: usize) -> Result<Spiked, Reason> {
    let text = column(sample, Role::Text).or_else(|_| column(sample, Role::Prompt))?;
    let texts = Edit::new(sample).texts(text);
    let long = |row: usize| n_words(texts[row].as_ref()) >= MIN_COPIED;
    let original = victims(rng, sample, 1, long)?[0];
    let rows = UInt64Array::from(vec![original as u64; size]);
    let copies = take_record_batch(&sample.batch, &rows).map_err(in_words)?;
    let mut columns = copies.columns().to_vec();
    let copied = texts[original].clone().unwrap_or_default();
    columns[text] = Arc::new(LargeStringArray::from_iter_values(
        (0..size).map(|_| edited(rng, &copied)),
    ));
    if let Ok(label) = label_column(sample) {
        let others = |row: usize| {
            sample.labels[row].is_some() && sample.labels[row] != sample.labels[original]
        };
        let donor = victims(rng, sample, 1, others)?[0];
        let donors = UInt64Array::from(vec![donor as u64; size]);
        columns[label] = take(sample.batch.column(label), &donors, None).map_err(in_words)?;
    }
    let schema = sample.batch.schema();
    let copies = RecordBatch::try_new(Arc::clone(&schema), columns).map_err(in_words)?;
    let n_rows = sample.batch.num_rows();
    Ok(Spiked {
        batch: concat_batches(&schema, [&sample.batch, &copies]).map_err(in_words)?,
        planted: (n_rows..n_rows + size).collect(),
    })
}

fn label_flips(rng: &mut ChaCha8Rng, sample: &Sample, size: usize) -> Result<Spiked, Reason> {
    label_column(sample)?;
    let labelled = |row: usize| sample.labels[row].is_some();
    let planted = victims(rng, sample, size, labelled)?;
    let mut pairs = Vec::with_capacity(size);
    for &row in &planted {
        // By class, not by record: a flip to a rare class is as likely as to a frequent one.
        let own = sample.labels[row].unwrap_or(0);
        let class = (own + rng.gen_range(1..sample.n_classes)) % sample.n_classes;
        let donor = sample.labels.iter().position(|label| *label == Some(class));
        pairs.push((row, donor.unwrap_or(row)));
    }
    let mut edit = Edit::new(sample);
    edit.relabel(&pairs)?;
    edit.finish(planted)
}

fn out_of_range(rng: &mut ChaCha8Rng, sample: &Sample, size: usize) -> Result<Spiked, Reason> {
    let mut ranges = Vec::new();
    for column in sample.with_role(Role::Numeric) {
        let Ok(values) = cast(sample.batch.column(column), &DataType::Float64) else {
            continue;
        };
        let values: Vec<Option<f64>> = values
            .as_primitive::<Float64Type>()
            .iter()
            .map(|value| value.filter(|value| value.is_finite()))
            .collect();
        let mut known: Vec<f64> = values.iter().copied().flatten().collect();
        known.sort_unstable_by(f64::total_cmp);
        known.dedup();
        if let (Some(&low), Some(&high)) = (known.first(), known.last())
            && known.len() >= MIN_DISTINCT
        {
            ranges.push((column, values, low, high));
        }
    }
    if ranges.is_empty() {
        return Err("no numeric column with a range".to_owned());
    }
    ranges.shuffle(rng);
    ranges.truncate(MAX_COLUMNS);
    let planted = victims(rng, sample, size, |_| true)?;
    let mut edit = Edit::new(sample);
    for (column, mut values, low, high) in ranges {
        for &row in &planted {
            let beyond = (high - low) * rng.gen_range(1.0..3.0);
            values[row] = Some(if rng.r#gen() {
                high + beyond
            } else {
                low - beyond
            });
        }
        edit.columns[column] = Arc::new(Float64Array::from(values));
    }
    edit.finish(planted)
}

/// Vectors keep the share `kept` of their distance from the mean and are moved into one direction by `shift`
/// times the mean of these distances.
fn moved_vectors(
    rng: &mut ChaCha8Rng,
    sample: &Sample,
    size: usize,
    kept: f64,
    shift: f64,
) -> Result<Spiked, Reason> {
    let column = column(sample, Role::Embedding)?;
    let (class, donor) = target(rng, sample)?;
    let name = &sample.roles[column].0;
    let mut rows = vectors(&sample.batch, name);
    let fits =
        |row: usize| rows[row].is_some() && sample.labels[row].is_some_and(|label| label != class);
    let planted = victims(rng, sample, size, fits)?;
    let dim = rows.iter().flatten().map(Vec::len).next().unwrap_or(0);
    let n_vectors = rows.iter().flatten().count().max(1) as f64;
    let mut mean = vec![0.0; dim];
    for row in rows.iter().flatten() {
        for (sum, value) in mean.iter_mut().zip(row) {
            *sum += value / n_vectors;
        }
    }
    let distance = |row: &Vec<f64>| {
        let squares = row
            .iter()
            .zip(&mean)
            .map(|(value, mean)| (value - mean).powi(2));
        squares.sum::<f64>().sqrt()
    };
    let spread = rows.iter().flatten().map(distance).sum::<f64>() / n_vectors;
    let direction: Vec<f64> = (0..dim).map(|_| rng.gen_range(-1.0..1.0)).collect();
    let length = direction
        .iter()
        .map(|x| x * x)
        .sum::<f64>()
        .sqrt()
        .max(f64::MIN_POSITIVE);
    for &row in &planted {
        if let Some(vector) = &mut rows[row] {
            for ((value, mean), direction) in vector.iter_mut().zip(&mean).zip(&direction) {
                let moved = shift * spread * direction / length;
                *value = mean + kept * (*value - mean) + moved;
            }
        }
    }
    let mut edit = Edit::new(sample);
    edit.columns[column] = vector_array(rows.into_iter(), dim);
    edit.relabel(&planted.iter().map(|&row| (row, donor)).collect::<Vec<_>>())?;
    edit.finish(planted)
}
