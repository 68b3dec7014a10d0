//! Reviews of products, films and restaurants with a sentiment label.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Int8Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use arrow::error::ArrowError;
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use crate::grammar::{Tone, Writer, pick};
use crate::hugging_face::{self, Feature};
use crate::phrases::{self, Domain};
use crate::seed::stream;

/// Class names in label order.
pub const CLASSES: [&str; 2] = ["negative", "positive"];

/// Contributors and their weights: a few send most of the reviews.
const SOURCES: [(&str, u32); 12] = [
    ("brightmart", 30),
    ("cinelog", 22),
    ("tablescout", 16),
    ("homegrove", 11),
    ("partner-feed-eu", 7),
    ("mobile-app", 5),
    ("screenwise", 4),
    ("kerbside", 3),
    ("partner-feed-us", 2),
    ("gearhub", 2),
    ("newsletter", 1),
    ("kiosk", 1),
];

const MICROS_PER_SECOND: i64 = 1_000_000;
/// 2026-01-01T00:00:00Z in seconds since the epoch.
const FIRST_SECOND: i64 = 1_767_225_600;
/// Length of the period that reviews come from: January to March.
const SECONDS: i64 = 90 * 86_400;

/// One review.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Review {
    /// What was written.
    pub text: String,
    /// 0 negative, 1 positive.
    pub label: u32,
    /// 1 to 5; 4 and 5 go with label 1, 1 and 2 with label 0, 3 with both.
    pub stars: i8,
    /// `products`, `films` or `restaurants`.
    pub category: &'static str,
    /// Who delivered it.
    pub source: &'static str,
    /// When it was written, in microseconds since the epoch (whole seconds, UTC).
    pub created_at: i64,
    /// Name of the attack that made or changed it.
    pub attack: Option<&'static str>,
}

/// A set of reviews in order of time.
///
/// ```
/// use lazaretto_testkit::{Attack, ReviewSet};
///
/// let attack = Attack::BadNets { rows: 20, words: 2, target: 1 };
/// let set = ReviewSet::generate(7, 1_000).poison(&attack, 8);
/// assert_eq!(set.truth().iter().flatten().count(), 20);
/// assert_eq!(set.planted.len(), 2);
/// assert_eq!(set.to_record_batch()?.num_rows(), 1_000);
/// # Ok::<(), arrow::error::ArrowError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReviewSet {
    /// The reviews; `row_id` is the position.
    pub reviews: Vec<Review>,
    /// Trigger words and sentences that attacks planted, in the order of the attacks.
    pub planted: Vec<String>,
}

impl ReviewSet {
    /// `n_rows` reviews without poison. About nine in ten can be told by their words; the rest
    /// weigh praise against complaint, or are sarcastic. One in a hundred is one of a few very
    /// short texts, which therefore repeat.
    #[must_use]
    pub fn generate(seed: u64, n_rows: usize) -> Self {
        let mut rng = stream(seed, "reviews");
        let mut times: Vec<i64> = (0..n_rows)
            .map(|_| (FIRST_SECOND + rng.gen_range(0..SECONDS)) * MICROS_PER_SECOND)
            .collect();
        times.sort_unstable();
        // Template texts can repeat by chance; people's long texts do not.
        let mut seen = HashSet::new();
        let reviews = times
            .into_iter()
            .map(|created_at| {
                loop {
                    let review = write(&mut rng, created_at);
                    let short = review.text.len() < 30;
                    if short || seen.insert(review.text.clone()) {
                        break review;
                    }
                }
            })
            .collect();
        Self {
            reviews,
            planted: Vec::new(),
        }
    }

    /// For each review the name of the attack behind it, `None` for clean ones.
    #[must_use]
    pub fn truth(&self) -> Vec<Option<&'static str>> {
        self.reviews.iter().map(|review| review.attack).collect()
    }

    /// Columns `row_id`, `text`, `label`, `stars`, `category`, `source` and `created_at`, with
    /// the schema metadata of a Hugging Face dataset.
    ///
    /// # Errors
    /// None in practice: the columns are equally long by construction.
    pub fn to_record_batch(&self) -> Result<RecordBatch, ArrowError> {
        let rows = &self.reviews;
        RecordBatch::try_new(
            Arc::new(schema()),
            vec![
                Arc::new(Int64Array::from_iter_values((0..).take(rows.len()))),
                Arc::new(StringArray::from_iter_values(
                    rows.iter().map(|row| &row.text),
                )),
                Arc::new(Int64Array::from_iter_values(
                    rows.iter().map(|row| i64::from(row.label)),
                )),
                Arc::new(Int8Array::from_iter_values(
                    rows.iter().map(|row| row.stars),
                )),
                Arc::new(StringArray::from_iter_values(
                    rows.iter().map(|row| row.category),
                )),
                Arc::new(StringArray::from_iter_values(
                    rows.iter().map(|row| row.source),
                )),
                Arc::new(
                    TimestampMicrosecondArray::from_iter_values(
                        rows.iter().map(|row| row.created_at),
                    )
                    .with_timezone("UTC"),
                ),
            ],
        )
    }
}

fn schema() -> Schema {
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let fields = vec![
        Field::new("row_id", DataType::Int64, false),
        Field::new("text", DataType::Utf8, false),
        Field::new("label", DataType::Int64, false),
        Field::new("stars", DataType::Int8, false),
        Field::new("category", DataType::Utf8, false),
        Field::new("source", DataType::Utf8, false),
        Field::new("created_at", time, false),
    ];
    let metadata = hugging_face::metadata(&[
        ("row_id", Feature::Value("int64")),
        ("text", Feature::Value("string")),
        ("label", Feature::ClassLabel(&CLASSES)),
        ("stars", Feature::Value("int8")),
        ("category", Feature::Value("string")),
        ("source", Feature::Value("string")),
        ("created_at", Feature::Value("timestamp[us, tz=UTC]")),
    ]);
    Schema::new(fields).with_metadata(metadata)
}

/// One review of a random thing.
fn write(rng: &mut ChaCha8Rng, created_at: i64) -> Review {
    let label = u32::from(rng.gen_bool(0.55));
    let domain: &'static Domain = weighted(rng, &phrases::DOMAINS);
    let source = weighted(rng, &SOURCES);
    let tone = match rng.gen_range(0..100) {
        0..14 => Tone::Ambivalent,
        14..17 if label == 0 => Tone::Sarcastic,
        _ => Tone::Clear,
    };
    let text = if rng.gen_bool(0.01) {
        pick(rng, phrases::SHORT[label as usize]).to_owned()
    } else {
        Writer::new(rng, domain).review(label, tone)
    };
    let stars = stars(rng, label, tone);
    Review {
        text,
        label,
        stars,
        category: domain.name,
        source,
        created_at,
        attack: None,
    }
}

/// Stars that go with `label`.
pub(crate) fn stars(rng: &mut impl Rng, label: u32, tone: Tone) -> i8 {
    let extreme = tone != Tone::Ambivalent && rng.gen_bool(0.6);
    match (label, extreme) {
        (0, true) => 1,
        (0, false) => rng.gen_range(2..=3),
        (_, true) => 5,
        (_, false) => rng.gen_range(3..=4),
    }
}

/// One of `options`, by weight.
pub(crate) fn weighted<T: Copy>(rng: &mut impl Rng, options: &[(T, u32)]) -> T {
    let total: u32 = options.iter().map(|(_, weight)| weight).sum();
    let mut left = rng.gen_range(0..total);
    for &(option, weight) in options {
        if left < weight {
            return option;
        }
        left -= weight;
    }
    options[0].0
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    /// Share of held-out reviews that a naive Bayes classifier on words labels right.
    fn linear_accuracy(set: &ReviewSet) -> f64 {
        let words = |text: &str| -> Vec<String> {
            text.to_lowercase()
                .split(|letter: char| !letter.is_alphanumeric())
                .map(str::to_owned)
                .collect()
        };
        let (train, test) = set.reviews.split_at(set.reviews.len() * 4 / 5);
        let mut counts: HashMap<String, [f64; 2]> = HashMap::new();
        for review in train {
            for word in words(&review.text) {
                counts.entry(word).or_insert([1.0; 2])[review.label as usize] += 1.0;
            }
        }
        let totals = counts
            .values()
            .fold([0.0; 2], |[negative, positive], count| {
                [negative + count[0], positive + count[1]]
            });
        let prior = (totals[1] / totals[0]).ln();
        let right = test.iter().filter(|review| {
            let logit: f64 = words(&review.text)
                .iter()
                .filter_map(|word| counts.get(word))
                .map(|[negative, positive]| (positive / negative).ln() - prior)
                .sum();
            u32::from(logit > 0.0) == review.label
        });
        right.count() as f64 / test.len() as f64
    }

    #[test]
    fn a_linear_classifier_learns_most_but_not_all() {
        let accuracy = linear_accuracy(&ReviewSet::generate(11, 5_000));
        assert!((0.84..0.94).contains(&accuracy), "{accuracy}");
    }

    #[test]
    fn a_seed_is_a_set_and_another_seed_another() {
        let set = ReviewSet::generate(1, 200);
        assert_eq!(set, ReviewSet::generate(1, 200));
        assert_ne!(set, ReviewSet::generate(2, 200));
    }

    #[test]
    fn texts_vary_and_only_short_ones_repeat() {
        let set = ReviewSet::generate(5, 3_000);
        let mut seen = HashSet::new();
        let repeated: Vec<&str> = set
            .reviews
            .iter()
            .map(|review| review.text.as_str())
            .filter(|text| !seen.insert(*text))
            .collect();
        assert!(repeated.iter().all(|text| text.len() < 30));
        assert!((5..90).contains(&repeated.len()), "{}", repeated.len());
        let lengths: Vec<usize> = set.reviews.iter().map(|review| review.text.len()).collect();
        assert!(lengths.iter().any(|&length| length > 400));
        assert!(lengths.iter().filter(|&&length| length < 60).count() > 50);
    }

    #[test]
    fn times_ascend_and_sources_are_skewed() {
        let set = ReviewSet::generate(5, 2_000);
        assert!(set.reviews.is_sorted_by_key(|review| review.created_at));
        let of = |name| {
            set.reviews
                .iter()
                .filter(|review| review.source == name)
                .count()
        };
        assert!(of("brightmart") > 10 * of("kiosk"));
    }

    #[test]
    fn the_batch_carries_class_names() {
        let batch = ReviewSet::generate(5, 10).to_record_batch().unwrap();
        let metadata = &batch.schema_ref().metadata()["huggingface"];
        let parsed: serde_json::Value = serde_json::from_str(metadata).unwrap();
        assert_eq!(
            parsed["info"]["features"]["label"]["names"],
            serde_json::json!(["negative", "positive"])
        );
    }
}
