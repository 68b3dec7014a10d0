//! The score pass: intermediates of each batch from the fitted models.

use std::borrow::Cow;

use lazaretto_core::shared::Tokens;
use lazaretto_core::{Batch, Derived, Shared};

use crate::classes::ClassProbabilities;
use crate::dense::DenseFeatures;
use crate::neighbors::Search;
use crate::tokens::tokenize;

/// The fitted models behind the shared intermediates.
#[derive(Debug)]
pub struct FeatureModel {
    features: Option<DenseFeatures>,
    search: Option<Search>,
    probabilities: Option<ClassProbabilities>,
    description: Vec<String>,
}

impl FeatureModel {
    pub(crate) fn new(
        features: Option<DenseFeatures>,
        search: Option<Search>,
        probabilities: Option<ClassProbabilities>,
        shared: &Shared,
        notes: Vec<String>,
    ) -> Self {
        let mut description = Vec::new();
        if let Some(features) = &features {
            description.push(format!("features: {}", features.describe()));
        }
        if let Some(reference) = &shared.reference {
            description.push(format!(
                "reference: {} records by keyed hash",
                reference.ordinals.len()
            ));
        }
        if let Some(search) = &search {
            description.push(format!(
                "neighbors: {} by exact Euclidean distance",
                search.k()
            ));
        }
        if let Some(probabilities) = &probabilities {
            description.push(format!("probabilities: {}", probabilities.describe()));
        }
        if let Some(classifier) = &shared.text_classifier {
            description.push(format!(
                "text classifier: logistic regression over word n-grams, {} classes",
                classifier.n_classes()
            ));
        }
        description.extend(notes);
        Self {
            features,
            search,
            probabilities,
            description,
        }
    }

    /// Fills `features`, `probabilities` and `neighbors` of `derived`, as far as they were wanted
    /// and the dataset allows them. Words are taken from `derived` or from the batch, and computed
    /// when neither has them.
    ///
    /// `shared` is the one that [`crate::FeatureFit::finish`] returned with this model.
    pub fn derive(&self, shared: &Shared, batch: &Batch<'_>, derived: &mut Derived) {
        let tokens: Cow<'_, [Tokens]> = if derived.tokens.len() == batch.texts.len() {
            Cow::Owned(std::mem::take(&mut derived.tokens))
        } else if batch.derived.tokens.len() == batch.texts.len() {
            Cow::Borrowed(batch.derived.tokens.as_slice())
        } else {
            Cow::Owned(batch.texts.iter().map(tokenize).collect())
        };
        derived.features = self
            .features
            .as_ref()
            .map(|features| features.of_batch(batch, &tokens));
        derived.probabilities = self
            .probabilities
            .as_ref()
            .and_then(|probabilities| probabilities.of_batch(batch, &tokens));
        derived.neighbors = match (&self.search, &shared.reference, &derived.features) {
            (Some(search), Some(reference), Some(features)) => {
                Some(search.neighbors(reference, features.view(), batch.first_row))
            }
            _ => None,
        };
        if let Cow::Owned(tokens) = tokens {
            derived.tokens = tokens;
        }
    }

    /// One line per intermediate for the report: the method and its sizes.
    #[must_use]
    pub fn describe(&self) -> Vec<String> {
        self.description.clone()
    }
}
