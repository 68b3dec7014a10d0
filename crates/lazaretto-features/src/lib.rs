//! The shared intermediates of a scan, which the engine computes once for all detectors.
//!
//! [`tokenize`] works in both passes. Everything else is learned in the fit pass from one bounded
//! sample of the records ([`FeatureFit`]: keyed, mergeable, the same on any partitioning) and
//! applied in the score pass ([`FeatureModel`]): dense features, the reference set with its
//! nearest neighbours, out-of-fold class probabilities and the text classifier. All of it is
//! deterministic at any number of threads: work is parallel over rows, folds or columns of a
//! result, never over the terms of a sum.
//!
//! [`QuantileSketch`] is for detectors that need the distribution of all values of a column.
//!
//! What is absent on purpose: reading, detecting, and models that need a download.

mod boost;
mod classes;
mod dense;
mod everyone;
mod fit;
pub mod guide;
pub mod indicators;
mod linear;
mod model;
pub mod moments;
mod neighbors;
mod ngrams;
mod payload;
pub mod quantiles;
mod sample;
pub mod settings;
mod soft_labels;
mod store;
pub mod tokens;

pub use everyone::VectorPlan;
pub use fit::{FeatureFit, fit_roles, score_roles};
pub use guide::Guide;
pub use indicators::IndicatorModels;
pub use model::FeatureModel;
pub use moments::Moments;
pub use neighbors::NeighborSearch;
pub use quantiles::QuantileSketch;
pub use settings::{FeatureSettings, SearchMethod};
pub use soft_labels::{SoftLabelModel, SoftLabelRows};
pub use store::{Precision, VectorStore, VectorWriter};
pub use tokens::{hash_word, tokenize};
