//! What each column is for, told by the user or inferred from name, type and content.
//!
//! The first rule that fits decides; the reason is kept in words and shown to the user. Content is
//! judged on a sample of at most about 5,000 records from units spread over the dataset.
//!
//! | role | rule |
//! |---|---|
//! | any | given by the user (also ends the inference of that role) |
//! | other | a Hive partition value: constant within a file, so no feature |
//! | label | Hugging Face `ClassLabel` |
//! | image | Hugging Face `Image`, or a column of bytes (or bytes and path) named like one |
//! | messages | a list of `{role, content}` or `{from, value}` |
//! | id | named `row_id`, `id`, `uuid`, `idx`, … or `*_id`, and every value of the sample different |
//! | probabilities | named `pred_probs`, `probabilities`, …: lists of numbers that add up to 1 |
//! | embedding | named `embedding`, `vector`, `features`, … or the only such column: lists of floats, nine in ten of one length |
//! | label | named `label`, `target`, `class`, `category`, `y`, `sentiment`, …: few distinct values, no fractions |
//! | content_hash | named `sha256`, `md5`, `checksum`, …: hexadecimal digests |
//! | url | named `url`, `uri`, …, or nearly all values start with `http` |
//! | source | named `source`, `contributor`, `annotator`, `author`, …: short values that repeat; others of these names beside it are `other` |
//! | time | named `created_at`, `timestamp`, `date`, …: times, dates or epoch numbers; else the first timestamp |
//! | prompt, response | `prompt`, `instruction`, `question`, `input`, … with `response`, `output`, `completion`, `answer`, `chosen`, `rejected`, … or beside chat turns, or `chosen` with `rejected`; without a counterpart they are text |
//! | text | named `text`, `review`, `title`, …, or long strings with spaces; lists of strings named `dialogue`, `turns`, … |
//! | categorical | strings that repeat |
//! | numeric | numbers, booleans, dates |
//! | other | the rest |

mod given;
mod hugging_face;
mod names;
mod rules;
mod sample;

use arrow::datatypes::{DataType, Schema};
use lazaretto_core::Role;
use lazaretto_core::detector::ColumnFacts;

use self::hugging_face::Features;
use self::sample::ColumnSample;
use crate::dataset::Dataset;
use crate::error::IoError;

/// Whether a column is named as those that say where a record, or the person who gave it, comes from, whatever its role.
///
/// ```
/// assert!(lazaretto_io::names_a_source("Annotator_ID"));
/// assert!(!lazaretto_io::names_a_source("age"));
/// ```
#[must_use]
pub fn names_a_source(column: &str) -> bool {
    names::SOURCE.contains(&column.to_lowercase().as_str())
}

/// Columns whose role the user gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GivenRoles {
    /// The column that names the record.
    pub id: Option<String>,
    /// The class column.
    pub label: Option<String>,
    /// The embedding column.
    pub embedding: Option<String>,
    /// The class-probabilities column.
    pub probabilities: Option<String>,
    /// The source column.
    pub source: Option<String>,
    /// The time column.
    pub time: Option<String>,
    /// Text columns.
    pub text: Vec<String>,
    /// The prompt column.
    pub prompt: Option<String>,
    /// The response column.
    pub response: Option<String>,
    /// Any other column with its role.
    pub other: Vec<(String, Role)>,
}

/// What each column is for.
#[derive(Clone, Debug)]
pub struct RolePlan {
    /// Parallel to [`Dataset::full_schema`].
    pub columns: Vec<ColumnFacts>,
    /// ClassLabel names of the label column, by class index, where the schema has them.
    pub class_names: Option<Vec<String>>,
}

impl RolePlan {
    /// Index of the first column with `role`.
    #[must_use]
    pub fn column(&self, role: Role) -> Option<usize> {
        self.columns.iter().position(|column| column.role == role)
    }

    /// Indices of all columns with `role`, ascending.
    #[must_use]
    pub fn columns(&self, role: Role) -> Vec<usize> {
        (0..self.columns.len())
            .filter(|&column| self.columns[column].role == role)
            .collect()
    }
}

/// Roles that at most one column has.
const SINGLE: [Role; 6] = [
    Role::Id,
    Role::Label,
    Role::Embedding,
    Role::Probabilities,
    Role::Source,
    Role::Time,
];

/// Assigns a role to every column of [`Dataset::full_schema`].
///
/// # Errors
/// Every problem at once: unknown columns (with the closest existing name), columns of a type
/// that cannot play the role that was asked for, columns with two roles, and a sample that does
/// not decode (only when no unit at all does).
pub fn assign_roles(dataset: &Dataset, given: &GivenRoles) -> Result<RolePlan, Vec<IoError>> {
    let schema = dataset.full_schema();
    let mut roles: Vec<Option<(Role, String)>> = vec![None; schema.fields().len()];
    let told = given::apply(schema, given, &mut roles)?;
    let samples = sample::take(dataset).map_err(|error| vec![error])?;
    let features = Features::of(schema);
    let n_own = dataset.schema().fields().len();
    let mut columns = Columns {
        schema,
        n_own,
        samples: &samples,
        features: &features,
        told,
        roles,
    };
    rules::infer(&mut columns);
    let facts: Vec<ColumnFacts> = schema
        .fields()
        .iter()
        .zip(columns.roles)
        .map(|(field, role)| {
            let (role, reason) =
                role.unwrap_or_else(|| (Role::Other, format!("{} values", field.data_type())));
            ColumnFacts {
                name: field.name().clone(),
                data_type: field.data_type().to_string(),
                role,
                reason,
            }
        })
        .collect();
    let class_names = facts
        .iter()
        .position(|column| column.role == Role::Label)
        .filter(|&label| schema.field(label).data_type().is_integer())
        .and_then(|label| features.class_names(schema.field(label).name()));
    Ok(RolePlan {
        columns: facts,
        class_names,
    })
}

/// Reads the features of a Hugging Face dataset in the metadata of `schema`.
pub(crate) fn read_features(schema: &Schema, column: &str) {
    let features = Features::of(schema);
    let names = features.class_names(column);
    assert!(names.is_none() || features.kind(column) == Some("ClassLabel"));
}

/// Columns on their way to a role.
struct Columns<'a> {
    schema: &'a Schema,
    /// Number of columns before those from partitions.
    n_own: usize,
    samples: &'a [ColumnSample],
    features: &'a Features,
    /// Roles that the user gave; they are not inferred.
    told: Vec<Role>,
    roles: Vec<Option<(Role, String)>>,
}

impl Columns<'_> {
    /// Columns without a role.
    fn open(&self) -> Vec<usize> {
        (0..self.roles.len())
            .filter(|&column| self.roles[column].is_none())
            .collect()
    }

    fn name(&self, column: usize) -> String {
        self.schema.field(column).name().to_lowercase()
    }

    fn data_type(&self, column: usize) -> &DataType {
        self.schema.field(column).data_type()
    }

    fn sample(&self, column: usize) -> &ColumnSample {
        &self.samples[column]
    }

    /// Whether `role` is still to be given to a column.
    fn wanted(&self, role: Role) -> bool {
        let taken = SINGLE.contains(&role)
            && self
                .roles
                .iter()
                .flatten()
                .any(|(assigned, _)| *assigned == role);
        !taken && !self.told.contains(&role)
    }

    fn assign(&mut self, column: usize, role: Role, reason: impl Into<String>) {
        self.roles[column] = Some((role, reason.into()));
    }
}
