//! Small datasets as detectors see them, without files or roles in between.

use std::sync::Arc;

use lazaretto_core::detector::{ColumnFacts, DataFacts};
use lazaretto_core::{
    FileFacts, NO_LABEL, NO_TIME, Provenance, RecordKey, Role, SourceList, Standing, TextPart,
    Treatment, UNREADABLE_TIME,
};
use ndarray::{Array2, ShapeBuilder as _};
use rand::Rng;

use crate::instructions::InstructionSet;
use crate::reviews::ReviewSet;
use crate::seed::{normal, stream};

const N_CLASSES: usize = 3;
const N_NUMERIC: usize = 4;
const EMBEDDING_DIM: usize = 6;
const N_SOURCES: u32 = 5;
/// 2026-01-01T00:00:00Z in microseconds since 1970.
const FIRST_MOMENT: i64 = 1_767_225_600_000_000;

/// Ordinary words, and words that go with each class.
const PLAIN: [&str; 16] = [
    "the", "report", "was", "read", "by", "many", "people", "last", "week", "and", "nobody",
    "thought", "it", "would", "change", "much",
];
const TOPICS: [[&str; 6]; N_CLASSES] = [
    ["goal", "match", "striker", "league", "coach", "stadium"],
    ["market", "shares", "profit", "bank", "merger", "quarter"],
    ["planet", "probe", "telescope", "orbit", "gene", "fossil"],
];

/// A dataset in memory. Fields may be changed by tests that plant something; [`Dataset::facts`]
/// must then still fit (labels and counts, see [`Dataset::recount`]).
#[derive(Clone, Debug)]
pub struct Dataset {
    /// Facts as the engine would give them.
    pub facts: Arc<DataFacts>,
    /// Keyed hash of each record.
    pub keys: Vec<u64>,
    /// Class index of each record.
    pub labels: Option<Vec<u32>>,
    /// Source index of each record.
    pub sources: Option<Vec<u32>>,
    /// Time of each record in microseconds since 1970.
    pub times: Option<Vec<i64>>,
    /// Texts of the one text field, or the prompts where there are responses.
    pub texts: Option<Vec<Option<String>>>,
    /// Responses.
    pub responses: Option<Vec<Option<String>>>,
    /// Numeric columns, `n_rows × n_numeric`, column-major.
    pub numeric: Option<Array2<f64>>,
    /// Vectors, `n_rows × dim`.
    pub embedding: Option<Array2<f32>>,
}

impl Dataset {
    /// Labelled texts of a dozen words.
    #[must_use]
    pub fn texts(n_rows: usize, seed: u64) -> Self {
        Self::of(n_rows, seed, true, false, false)
    }

    /// Four labelled columns of numbers: normal, exponential, whole and correlated with the first.
    #[must_use]
    pub fn numbers(n_rows: usize, seed: u64) -> Self {
        Self::of(n_rows, seed, false, true, false)
    }

    /// Labelled vectors, one Gaussian cloud per class.
    #[must_use]
    pub fn vectors(n_rows: usize, seed: u64) -> Self {
        Self::of(n_rows, seed, false, false, true)
    }

    /// Texts, numbers and vectors in one.
    #[must_use]
    pub fn everything(n_rows: usize, seed: u64) -> Self {
        Self::of(n_rows, seed, true, true, true)
    }

    /// Reviews with a sentiment label (0 or 1), from [`ReviewSet`].
    #[must_use]
    pub fn reviews(n_rows: usize, seed: u64) -> Self {
        let mut dataset = Self::of(n_rows, seed, true, false, false);
        let reviews = ReviewSet::generate(seed, n_rows).reviews;
        dataset.labels = Some(reviews.iter().map(|review| review.label).collect());
        dataset.texts = Some(
            reviews
                .into_iter()
                .map(|review| Some(review.text))
                .collect(),
        );
        dataset.recount();
        dataset
    }

    /// Prompts with responses, from [`InstructionSet`].
    #[must_use]
    pub fn exchanges(n_rows: usize, seed: u64) -> Self {
        let mut dataset = Self::of(n_rows, seed, true, false, false);
        let set = InstructionSet::generate(seed, n_rows).instructions;
        let (prompts, responses) = set.into_iter().map(|i| (i.prompt, i.response)).unzip();
        let all = |texts: Vec<String>| texts.into_iter().map(Some).collect();
        dataset.texts = Some(all(prompts));
        dataset.responses = Some(all(responses));
        dataset.labels = None;
        dataset.recount();
        dataset
    }

    /// Labelled events of a quarter of a year, more of them by day than by night, from five sources.
    #[must_use]
    pub fn events(n_rows: usize, seed: u64) -> Self {
        let mut dataset = Self::of(n_rows, seed, false, false, false);
        let mut rng = stream(seed, "events");
        dataset.sources = Some((0..n_rows).map(|_| rng.gen_range(0..N_SOURCES)).collect());
        let mut time = || {
            let (day, night) = (rng.gen_range(0..90), rng.gen_bool(0.2));
            let hour = if night { 20 } else { 8 };
            let second = (day * 24 + hour) * 3_600 + rng.gen_range(0..12 * 3_600);
            FIRST_MOMENT + second * 1_000_000
        };
        dataset.times = Some((0..n_rows).map(|_| time()).collect());
        dataset.recount();
        dataset
    }

    fn of(n_rows: usize, seed: u64, text: bool, numeric: bool, embedding: bool) -> Self {
        let mut rng = stream(seed, "contract");
        let classes: Vec<usize> = (0..n_rows).map(|_| rng.gen_range(0..N_CLASSES)).collect();
        let key = RecordKey::new(seed);
        let mut dataset = Self {
            facts: Arc::new(DataFacts::default()),
            keys: (0..n_rows as u64)
                .map(|row| key.of(&[0; 32], 0, row))
                .collect(),
            labels: Some(classes.iter().map(|&class| class as u32).collect()),
            sources: None,
            times: None,
            texts: text.then(|| {
                let written = classes.iter().map(|&class| Some(write(class, &mut rng)));
                written.collect()
            }),
            responses: None,
            numeric: None,
            embedding: None,
        };
        if numeric {
            dataset.numeric = Some(numbers(n_rows, &mut rng));
        }
        if embedding {
            let cloud = Array2::from_shape_fn((n_rows, EMBEDDING_DIM), |(row, dim)| {
                let centre = if dim == classes[row] { 4.0 } else { 0.0 };
                (centre + normal(&mut rng)) as f32
            });
            dataset.embedding = Some(cloud);
        }
        dataset.recount();
        dataset
    }

    /// Number of records.
    #[must_use]
    pub fn n_rows(&self) -> usize {
        self.keys.len()
    }

    /// Makes the facts fit the columns again.
    pub fn recount(&mut self) {
        let mut class_counts = vec![0; N_CLASSES];
        for &label in self.labels.iter().flatten() {
            if let Some(count) = class_counts.get_mut(label as usize) {
                *count += 1;
            }
        }
        // Classes nobody has do not exist: the engine takes names from the values it sees.
        let n_classes = class_counts
            .iter()
            .rposition(|&count| count > 0)
            .map_or(0, |last| last + 1);
        class_counts.truncate(n_classes);
        let numeric_columns: Vec<String> = (0..self.numeric.as_ref().map_or(0, Array2::ncols))
            .map(|column| format!("n{column}"))
            .collect();
        let mut columns = Vec::new();
        let mut column = |name: &str, data_type: &str, role| {
            columns.push(ColumnFacts {
                name: name.to_owned(),
                data_type: data_type.to_owned(),
                role,
                reason: "set by the test".to_owned(),
            });
        };
        if self.labels.is_some() {
            column("label", "Utf8", Role::Label);
        }
        if self.sources.is_some() {
            column("source", "Utf8", Role::Source);
        }
        if self.times.is_some() {
            column("created_at", "Timestamp", Role::Time);
        }
        let text_fields = self.text_fields();
        for (name, part, _) in &text_fields {
            let role = match part {
                TextPart::Prompt => Role::Prompt,
                TextPart::Response => Role::Response,
                _ => Role::Text,
            };
            column(name, "Utf8", role);
        }
        if self.texts.is_some() {
            column("blake3", "Utf8", Role::ContentHash);
        }
        let text_fields = text_fields.iter().map(|field| field.0.to_owned()).collect();
        for name in &numeric_columns {
            column(name, "Float64", Role::Numeric);
        }
        if self.embedding.is_some() {
            column("embedding", "FixedSizeList", Role::Embedding);
        }
        let has_labels = self.labels.is_some();
        self.facts = Arc::new(DataFacts {
            n_rows: self.n_rows() as u64,
            columns,
            classes: if has_labels {
                ["sport", "business", "science"][..n_classes]
                    .iter()
                    .map(ToString::to_string)
                    .collect()
            } else {
                Vec::new()
            },
            class_counts: if has_labels { class_counts } else { Vec::new() },
            sources: match &self.sources {
                Some(sources) => {
                    let n_sources = sources.iter().filter(|&&source| source != NO_LABEL).max();
                    let n_sources = n_sources.map_or(0, |&last| last + 1);
                    (0..n_sources).map(|source| format!("s{source}")).collect()
                }
                None => Vec::new(),
            },
            text_fields,
            numeric_columns,
            embedding_dim: self.embedding.as_ref().map(Array2::ncols),
            trusted_rows: self.n_rows() as u64,
            evaluation_rows: self.texts.as_ref().map_or(0, |texts| texts.len() as u64),
            provenance: Provenance {
                files: vec![FileFacts {
                    path: "data.parquet".to_owned(),
                    first_row: 0,
                    n_rows: self.n_rows() as u64,
                }],
                recorded: Vec::new(),
                sources: Some(SourceList {
                    name: "sources.toml".to_owned(),
                    unknown: Treatment::Quarantine,
                    blocked: Treatment::Quarantine,
                    sources: None,
                    files: Some(vec![Standing::Trusted]),
                    domains: None,
                }),
            },
            ..DataFacts::default()
        });
    }

    /// Name, part and texts of each text field.
    pub(super) fn text_fields(&self) -> Vec<(&'static str, TextPart, &[Option<String>])> {
        let texts = self.texts.as_deref();
        match (texts, self.responses.as_deref()) {
            (Some(prompts), Some(responses)) => vec![
                ("prompt", TextPart::Prompt, prompts),
                ("response", TextPart::Response, responses),
            ],
            (Some(texts), None) => vec![("text", TextPart::Text, texts)],
            (None, _) => Vec::new(),
        }
    }

    /// The first `n_rows` records.
    #[must_use]
    pub fn head(&self, n_rows: usize) -> Self {
        let n_rows = n_rows.min(self.n_rows());
        let mut head = self.clone();
        head.keys.truncate(n_rows);
        if let Some(labels) = &mut head.labels {
            labels.truncate(n_rows);
        }
        if let Some(sources) = &mut head.sources {
            sources.truncate(n_rows);
        }
        if let Some(times) = &mut head.times {
            times.truncate(n_rows);
        }
        for texts in [&mut head.texts, &mut head.responses].into_iter().flatten() {
            texts.truncate(n_rows);
        }
        head.numeric = self.numeric.as_ref().map(|values| {
            let shape = (n_rows, values.ncols());
            Array2::from_shape_fn(shape.f(), |at| values[at])
        });
        head.embedding = self.embedding.as_ref().map(|values| {
            let shape = (n_rows, values.ncols());
            Array2::from_shape_fn(shape, |at| values[at])
        });
        head.recount();
        head
    }

    /// The same dataset in shapes that break careless code, with a name for each.
    pub(super) fn awkward(&self) -> Vec<(&'static str, Self)> {
        vec![
            ("empty", self.head(0)),
            ("one record", self.head(1)),
            ("two records", self.head(2)),
            ("thirty records", self.head(30)),
            ("all null", self.with_values(|_| true, f64::NAN)),
            (
                "every third record null",
                self.with_values(|row| row % 3 == 0, f64::NAN),
            ),
            (
                "every third record infinite",
                self.with_values(|row| row % 3 == 0, f64::INFINITY),
            ),
            ("all the same", self.repeated()),
            ("one class", self.one_class()),
            ("hostile texts", self.hostile_texts()),
        ]
    }

    /// Numbers of the chosen rows become `value`; their labels and texts become null when it is
    /// NaN.
    fn with_values(&self, chosen: impl Fn(usize) -> bool, value: f64) -> Self {
        let mut dataset = self.clone();
        for row in (0..self.n_rows()).filter(|&row| chosen(row)) {
            if let Some(values) = &mut dataset.numeric {
                values.row_mut(row).fill(value);
            }
            if let Some(values) = &mut dataset.embedding {
                // Vectors with infinite parts are null by the time detectors see them.
                values.row_mut(row).fill(f32::NAN);
            }
            if value.is_nan() {
                if let Some(labels) = &mut dataset.labels {
                    labels[row] = NO_LABEL;
                }
                if let Some(sources) = &mut dataset.sources {
                    sources[row] = NO_LABEL;
                }
                if let Some(times) = &mut dataset.times {
                    times[row] = if row % 2 == 0 {
                        NO_TIME
                    } else {
                        UNREADABLE_TIME
                    };
                }
                let fields = [&mut dataset.texts, &mut dataset.responses];
                for texts in fields.into_iter().flatten() {
                    texts[row] = None;
                }
            }
        }
        dataset.recount();
        dataset
    }

    fn repeated(&self) -> Self {
        let mut dataset = self.clone();
        let fields = [&mut dataset.texts, &mut dataset.responses];
        for texts in fields.into_iter().flatten() {
            let first = texts.first().cloned().flatten();
            texts.fill(first);
        }
        for row in 1..self.n_rows() {
            if let Some(labels) = &mut dataset.labels {
                labels[row] = labels[0];
            }
            if let Some(sources) = &mut dataset.sources {
                sources[row] = sources[0];
            }
            if let Some(times) = &mut dataset.times {
                times[row] = times[0];
            }
            for column in 0..dataset.numeric.as_ref().map_or(0, Array2::ncols) {
                if let Some(values) = &mut dataset.numeric {
                    values[[row, column]] = values[[0, column]];
                }
            }
            for column in 0..dataset.embedding.as_ref().map_or(0, Array2::ncols) {
                if let Some(values) = &mut dataset.embedding {
                    values[[row, column]] = values[[0, column]];
                }
            }
        }
        dataset.recount();
        dataset
    }

    fn one_class(&self) -> Self {
        let mut dataset = self.clone();
        if let Some(labels) = &mut dataset.labels {
            labels.fill(0);
        }
        dataset.recount();
        dataset
    }

    fn hostile_texts(&self) -> Self {
        const HOSTILE: [&str; 8] = [
            "",
            " \t\n",
            "\u{202e}drow\u{202c} \u{200b}\u{feff}",
            "\u{e0041}\u{e0042}\u{e007f}",
            "p\u{430}yp\u{430}l e\u{301}e\u{301}",
            "🏴‍☠️👩‍👩‍👧‍👦",
            "\u{0}\u{1}\u{7f}\u{fffd}",
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        ];
        let mut dataset = self.clone();
        let fields = [&mut dataset.texts, &mut dataset.responses];
        for texts in fields.into_iter().flatten() {
            for (row, text) in texts.iter_mut().enumerate().step_by(5) {
                *text = Some(HOSTILE[row / 5 % HOSTILE.len()].to_owned());
            }
        }
        dataset
    }
}

/// A dozen words, a quarter of them of the class.
fn write(class: usize, rng: &mut impl Rng) -> String {
    let n_words = rng.gen_range(10..16);
    let words: Vec<&str> = (0..n_words)
        .map(|_| {
            if rng.gen_bool(0.25) {
                TOPICS[class][rng.gen_range(0..TOPICS[class].len())]
            } else {
                PLAIN[rng.gen_range(0..PLAIN.len())]
            }
        })
        .collect();
    words.join(" ")
}

fn numbers(n_rows: usize, rng: &mut impl Rng) -> Array2<f64> {
    let mut values = Array2::zeros((n_rows, N_NUMERIC).f());
    for mut row in values.rows_mut() {
        row[0] = normal(rng);
        row[1] = -(1.0 - rng.r#gen::<f64>()).ln();
        row[2] = f64::from(rng.gen_range(0..5));
        row[3] = row[0] + 0.5 * normal(rng);
    }
    values
}
