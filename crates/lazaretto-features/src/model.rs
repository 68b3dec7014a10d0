//! The score pass: intermediates of each batch from the fitted models.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use lazaretto_core::shared::Tokens;
use lazaretto_core::{Batch, Derived, Neighbors, Shared};
use ndarray::{Array2, ArrayView1, Axis};

use crate::classes::ClassProbabilities;
use crate::dense::DenseFeatures;
use crate::everyone::{Everyone, VectorPlan, exact_note, look_up, own_indices};
use crate::neighbors::NeighborSearch;
use crate::payload::Plan;
use crate::settings::FeatureSettings;
use crate::store::VectorStore;
use crate::tokens::tokenize;

/// The fitted models behind the shared intermediates.
#[derive(Debug)]
pub struct FeatureModel {
    parts: Parts,
    everyone: Everyone,
    k: usize,
    description: Vec<String>,
}

/// What the fit pass came to.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) plan: Plan,
    pub(crate) features: Option<DenseFeatures>,
    /// Among the reference set.
    pub(crate) search: Option<NeighborSearch>,
    /// What it takes to search among all records instead.
    pub(crate) vectors: Option<VectorPlan>,
    pub(crate) probabilities: Option<ClassProbabilities>,
    pub(crate) notes: Vec<String>,
}

impl FeatureModel {
    pub(crate) fn new(parts: Parts, shared: &Shared, settings: &FeatureSettings) -> Self {
        Self {
            description: describe(&parts, shared),
            parts,
            everyone: Everyone::Reference,
            k: settings.neighbors,
        }
    }

    /// What it takes to search for neighbours among all records; `None` where the reference set
    /// is enough, or all that can be afforded. Without [`Self::search_all`], the reference set is
    /// searched.
    #[must_use]
    pub fn all_vectors(&self) -> Option<&VectorPlan> {
        self.parts.vectors.as_ref()
    }

    /// The dense features of a batch, to be gathered.
    #[must_use]
    pub fn features_of(&self, batch: &Batch<'_>) -> Option<Array2<f32>> {
        let features = self.parts.features.as_ref()?;
        Some(features.of_batch(batch, &words_of(batch)))
    }

    /// Searches among all records from here on, given the vectors that [`Self::all_vectors`] asked
    /// for and the class index of every record. Setting `stop` ends the search early; what was
    /// found then is not complete and must not be used.
    pub fn search_all(
        &mut self,
        shared: &mut Shared,
        vectors: VectorStore,
        labels: Vec<u32>,
        stop: &Arc<AtomicBool>,
    ) {
        if let (Some(plan), Some(reference)) = (&self.parts.vectors, &shared.reference) {
            let strangers = shared.facts.trusted_rows > 0;
            let (everyone, base, note) =
                Everyone::new(plan, vectors, labels, reference, self.k, strangers, stop);
            self.everyone = everyone;
            for line in &mut self.description {
                if line.starts_with(NEIGHBORS) {
                    *line = format!("{NEIGHBORS}{note}");
                }
            }
            shared.neighbor_base = Some(base);
        }
    }

    /// Fills `features`, `probabilities` and `neighbors` of `derived`, as far as they were wanted
    /// and the dataset allows them. Words are taken from `derived` or from the batch, and computed
    /// when neither has them.
    ///
    /// `shared` is the one that [`crate::FeatureFit::finish`] returned with this model.
    pub fn derive(&self, shared: &Shared, batch: &Batch<'_>, derived: &mut Derived) {
        self.derive_apart(batch, derived);
        derived.all_neighbors = self.all_neighbors(shared, batch, derived);
        derived.neighbors = self.reference_neighbors(shared, batch, derived);
    }

    /// [`Self::derive`] without neighbours: what can be said about a record apart from all others,
    /// which is all there is to say about records that are not part of the dataset.
    pub fn derive_apart(&self, batch: &Batch<'_>, derived: &mut Derived) {
        let tokens = if derived.tokens.len() == batch.texts.len() {
            Cow::Owned(std::mem::take(&mut derived.tokens))
        } else {
            words_of(batch)
        };
        let parts = &self.parts;
        derived.features = parts
            .features
            .as_ref()
            .map(|features| features.of_batch(batch, &tokens));
        derived.probabilities = parts
            .probabilities
            .as_ref()
            .and_then(|probabilities| probabilities.of_batch(batch, &tokens));
        if let Cow::Owned(tokens) = tokens {
            derived.tokens = tokens;
        }
    }

    fn reference_neighbors(
        &self,
        shared: &Shared,
        batch: &Batch<'_>,
        derived: &Derived,
    ) -> Option<Neighbors> {
        if !self.parts.plan.neighbors {
            return None;
        }
        if matches!(self.everyone, Everyone::Reference) && derived.all_neighbors.is_some() {
            return derived.all_neighbors.clone();
        }
        let (features, reference) = (derived.features.as_ref()?, shared.reference.as_ref()?);
        let own = own_indices(&reference.ordinals, batch);
        let search = self.parts.search.as_ref()?;
        Some(search.find(features.view(), &own))
    }

    fn all_neighbors(
        &self,
        shared: &Shared,
        batch: &Batch<'_>,
        derived: &Derived,
    ) -> Option<Neighbors> {
        if !self.parts.plan.all_neighbors {
            return None;
        }
        let features = derived.features.as_ref()?;
        let base = shared.neighbor_base.as_ref()?;
        let own = own_indices(&base.ordinals, batch);
        match (&self.everyone, &base.neighbors) {
            (Everyone::Index(index), _) => Some(index.find(features.view(), &own)),
            (Everyone::Known(None), Some(known)) => Some(look_up(known, &own)),
            (Everyone::Known(Some(search)), Some(known)) => {
                Some(known_or_found(known, search, features, &own))
            }
            (Everyone::Reference, Some(known)) => {
                let search = self.parts.search.as_ref()?;
                Some(known_or_found(known, search, features, &own))
            }
            (_, None) => Some(self.parts.search.as_ref()?.find(features.view(), &own)),
        }
    }

    /// One line per intermediate for the report: the method and its sizes.
    #[must_use]
    pub fn describe(&self) -> Vec<String> {
        self.description.clone()
    }
}

/// Begins the line of the report that says how neighbours are found.
const NEIGHBORS: &str = "neighbors: ";

fn describe(parts: &Parts, shared: &Shared) -> Vec<String> {
    let mut description = Vec::new();
    if let Some(features) = &parts.features {
        description.push(format!("features: {}", features.describe()));
    }
    if let Some(reference) = &shared.reference {
        description.push(format!(
            "reference: {} records by keyed hash",
            reference.ordinals.len()
        ));
    }
    if let Some(search) = &parts.search {
        let note = exact_note(search.k(), search.n_usable(), "the reference's");
        description.push(format!("{NEIGHBORS}{note}"));
    }
    if let Some(probabilities) = &parts.probabilities {
        description.push(format!("probabilities: {}", probabilities.describe()));
    }
    if let Some(classifier) = &shared.text_classifier {
        description.push(format!(
            "text classifier: logistic regression over word n-grams, {} classes",
            classifier.n_classes()
        ));
    }
    description.extend(parts.notes.iter().cloned());
    description
}

/// The neighbours of records of the base from those known in advance, and of others by a search of it.
fn known_or_found(
    known: &Neighbors,
    search: &NeighborSearch,
    features: &Array2<f32>,
    own: &[u32],
) -> Neighbors {
    let mut neighbors = look_up(known, own);
    let others: Vec<usize> = (0..own.len())
        .filter(|&row| own[row] == u32::MAX && has_features(features.row(row)))
        .collect();
    if !others.is_empty() {
        let rows = features.select(Axis(0), &others);
        let none = vec![u32::MAX; others.len()];
        neighbors.insert(&others, &search.find(rows.view(), &none));
    }
    neighbors
}

fn has_features(row: ArrayView1<'_, f32>) -> bool {
    row.first().is_some_and(|value| !value.is_nan())
}

/// The words of a batch, computed if it does not have them.
fn words_of<'a>(batch: &Batch<'a>) -> Cow<'a, [Tokens]> {
    if batch.derived.tokens.len() == batch.texts.len() {
        Cow::Borrowed(batch.derived.tokens.as_slice())
    } else {
        Cow::Owned(batch.texts.iter().map(tokenize).collect())
    }
}
