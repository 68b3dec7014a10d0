//! The contract between a detector and the engine that runs it.
//!
//! A scan reads the data twice. In the *fit* pass every partition gets a [`Detector::State`];
//! states merge in partition order. The merged state becomes a [`Detector::Model`]. In the
//! *score* pass the model gives each record a score and may gather [`Detector::Evidence`], which
//! merges in partition order too and ends as [`Finding`]s. States and evidence are plain
//! serialisable values, so a partition can be handled by another thread, process or machine.

use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::batch::Batch;
use crate::finding::Finding;
use crate::params::Params;
use crate::provenance::Provenance;
use crate::role::Role;
use crate::shared::Shared;

/// The kind of sign a detector looks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Family {
    /// Outlying numeric or categorical values.
    Tabular,
    /// Outlying or suspiciously tight vectors.
    Embedding,
    /// Labels that the content contradicts.
    Label,
    /// Phrases that steer a label.
    TextTrigger,
    /// Manipulated characters.
    TextSurface,
    /// Repeated content.
    Duplicates,
    /// Prompts that change what is answered.
    Response,
    /// Instructions to a model where data should be.
    Injection,
    /// Content that a model must not learn: secrets, personal data, evaluation sets.
    Leakage,
    /// Records that are not what is recorded about them, and sources that stand out.
    Source,
}

impl Family {
    /// The word used in reports and in the reference.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Tabular => "tabular",
            Self::Embedding => "embedding",
            Self::Label => "label",
            Self::TextTrigger => "text-trigger",
            Self::TextSurface => "text-surface",
            Self::Duplicates => "duplicates",
            Self::Response => "response",
            Self::Injection => "injection",
            Self::Leakage => "leakage",
            Self::Source => "source",
        }
    }
}

/// Something the engine computes once for all detectors that declare it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Intermediate {
    /// [`crate::Derived::tokens`], in both passes.
    Tokens,
    /// [`crate::Derived::content_hashes`], in both passes.
    ContentHashes,
    /// [`crate::Derived::features`], in the score pass.
    Features,
    /// [`Shared::reference`], in the score pass.
    Reference,
    /// [`crate::Derived::neighbors`], in the score pass; implies the two above.
    Neighbors,
    /// [`crate::Derived::all_neighbors`] and [`Shared::neighbor_base`], in the score pass; implies
    /// features and the reference set.
    AllNeighbors,
    /// [`crate::Derived::probabilities`], in the score pass.
    Probabilities,
    /// [`Shared::text_classifier`], in the score pass.
    TextClassifier,
    /// [`Shared::trusted`], in the score pass of a run that was given trusted records. Which of
    /// its intermediates they have is what the other declared ones say.
    Trusted,
    /// [`Shared::evaluation`], from the model on, of a run that was given evaluation files.
    Evaluation,
}

/// What a detector's per-record score means, which decides how it becomes a p-value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScoreKind {
    /// Any real number, higher is more suspicious; calibrated against the bulk of the scores.
    Statistical,
    /// A degree in `0..=1` that is 0 for ordinary records; only its findings decide.
    Rule,
}

/// The fixed facts about a detector.
#[derive(Clone, Copy, Debug)]
pub struct DetectorSpec {
    /// Its name on the command line, in pipelines and in reports; kebab-case.
    pub id: &'static str,
    /// Its family.
    pub family: Family,
    /// One line for lists, without a full stop.
    pub summary: &'static str,
    /// What its scores mean.
    pub score_kind: ScoreKind,
    /// Whether a run that does not name its detectors includes it. Detectors that a better one
    /// covers, or that only a special question needs, run on request.
    pub by_default: bool,
    /// Roles whose columns it reads in the fit pass (empty: it needs no fit pass).
    pub fit_roles: &'static [Role],
    /// Roles whose columns it reads in the score pass.
    pub score_roles: &'static [Role],
    /// Shared intermediates that it uses.
    pub intermediates: &'static [Intermediate],
    /// Bytes of state it keeps per record of the dataset, 0 when its state is bounded.
    pub state_bytes_per_row: usize,
    /// Taxonomy tags, see [`crate::taxonomy`].
    pub taxonomy: &'static [&'static str],
    /// Version of the bytes of its state and evidence; bump when they change.
    pub state_version: u32,
}

/// A column of the dataset as detectors and reports know it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ColumnFacts {
    /// Its name.
    pub name: String,
    /// Its Arrow type, as text.
    pub data_type: String,
    /// The part it plays.
    pub role: Role,
    /// Why it has that role, in words.
    pub reason: String,
}

/// What is known about the dataset before the fit pass.
#[derive(Clone, Debug, Default, Serialize)]
pub struct DataFacts {
    /// Number of records.
    pub n_rows: u64,
    /// Number of files.
    pub n_files: u64,
    /// All columns, in schema order.
    pub columns: Vec<ColumnFacts>,
    /// Class names in index order (ClassLabel names where the schema has them, else the sorted
    /// distinct values).
    pub classes: Vec<String>,
    /// Number of records of each class.
    pub class_counts: Vec<u64>,
    /// Source names in index order, sorted.
    pub sources: Vec<String>,
    /// Names of the text fields, in the order of [`Batch::texts`].
    pub text_fields: Vec<String>,
    /// Names of the numeric columns, in the order of [`Batch::numeric`].
    pub numeric_columns: Vec<String>,
    /// Names of the categorical columns, in the order of [`Batch::categorical`].
    pub categorical_columns: Vec<String>,
    /// Length of the embedding vectors, if there is an embedding column or an embedder makes them.
    pub embedding_dim: Option<usize>,
    /// Whether the embedding is no column: an embedder makes it of the texts.
    pub embedded_texts: bool,
    /// Length of the probability vectors, if there is a probabilities column.
    pub probabilities_dim: Option<usize>,
    /// Number of records given as known to be good; they are not among `n_rows`.
    pub trusted_rows: u64,
    /// Number of records of the evaluation files; they are not among `n_rows`.
    pub evaluation_rows: u64,
    /// Files, and what is recorded about them.
    pub provenance: Provenance,
}

impl DataFacts {
    /// Whether there are labels of at least two classes.
    #[must_use]
    pub fn has_labels(&self) -> bool {
        self.classes.len() >= 2
    }

    /// Whether at least one text field exists.
    #[must_use]
    pub fn has_text(&self) -> bool {
        !self.text_fields.is_empty()
    }

    /// Whether dense features can be computed: an embedding, a text or a numeric column.
    #[must_use]
    pub fn has_features(&self) -> bool {
        self.embedding_dim.is_some() || self.has_text() || !self.numeric_columns.is_empty()
    }
}

/// Why a detector does not run, for the report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NotApplicable {
    /// A lower-case fragment without a full stop: `no label column`.
    pub reason: String,
}

impl NotApplicable {
    /// Not applicable because of `reason`.
    pub fn new(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
        }
    }
}

/// What a detector may know while it fits.
#[derive(Clone, Debug)]
pub struct FitContext {
    /// Facts about the dataset.
    pub facts: Arc<DataFacts>,
    /// Seed of the run; all chance is derived from it and from record keys.
    pub seed: u64,
    /// Bytes that the detector's merged state may take.
    pub memory_bytes: usize,
}

/// One way of looking for poison. See the module documentation for the life of a detector.
pub trait Detector: Send + Sync + Sized + 'static {
    /// Its parameters, whose documentation is the detector's user documentation.
    type Params: Params;
    /// Mergeable state of the fit pass. `()` for detectors that need none.
    type State: Serialize + DeserializeOwned + Send + 'static;
    /// What the score pass needs.
    type Model: Send + Sync + 'static;
    /// Mergeable evidence of the score pass. `()` for detectors without findings.
    type Evidence: Serialize + DeserializeOwned + Send + 'static;

    /// The fixed facts.
    const SPEC: DetectorSpec;

    /// The detector with parameters whose [`Params::problems`] is empty.
    fn new(params: Self::Params) -> Self;

    /// Whether it can say anything about this dataset.
    ///
    /// # Errors
    /// The reason why not, which the report shows.
    fn applies(&self, facts: &DataFacts) -> Result<(), NotApplicable>;

    /// An empty state.
    fn start(&self, context: &FitContext) -> Self::State;

    /// Adds a batch to the state of its partition; batches come in order.
    fn fit(&self, context: &FitContext, state: &mut Self::State, batch: &Batch<'_>);

    /// Adds the state of a later partition; called in partition order.
    fn merge(&self, context: &FitContext, state: &mut Self::State, later: Self::State);

    /// Turns the merged state into a model.
    ///
    /// # Errors
    /// The reason why the data does not allow one (an abstention, shown in the report).
    fn model(
        &self,
        context: &FitContext,
        state: Self::State,
        shared: &Shared,
    ) -> Result<Self::Model, NotApplicable>;

    /// Empty evidence.
    fn start_evidence(&self, model: &Self::Model) -> Self::Evidence;

    /// Scores each record of the batch, higher is more suspicious; NaN where it has nothing to
    /// say. Gathers evidence for findings along the way.
    fn score(
        &self,
        model: &Self::Model,
        shared: &Shared,
        batch: &Batch<'_>,
        evidence: &mut Self::Evidence,
    ) -> Vec<f32>;

    /// Adds the evidence of a later partition; called in partition order.
    fn merge_evidence(&self, evidence: &mut Self::Evidence, later: Self::Evidence);

    /// Turns the merged evidence into findings, the most convincing first.
    fn finish(
        &self,
        model: &Self::Model,
        shared: &Shared,
        evidence: Self::Evidence,
    ) -> Vec<Finding>;
}
