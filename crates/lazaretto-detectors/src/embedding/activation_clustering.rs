//! `activation-clustering`: classes that fall into a large and a small cluster.

use lazaretto_core::{
    Action, Batch, DataFacts, Detector, DetectorSpec, Family, Finding, FitContext, NotApplicable,
    ParamProblem, Params, Role, ScoreKind, Severity, Shared, params::Checks,
};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::embedding::class_sample::{ClassSample, SampledClass, needs_labelled_vectors};
use crate::embedding::class_split::{ClassSplit, MIDDLE, MIN_RECORDS};
use crate::embedding::two_means::distance;

/// Part of the other classes that may be split as deeply as the class of a finding.
const EXCEPTIONS: f64 = 0.05;
/// Another class with a valley at least this unlikely is split as well.
const ALSO_SPLIT: f64 = 0.05;
/// Rows scored together.
const BLOCK_ROWS: usize = 1024;
/// Most values sampled of one class.
const MAX_VALUES: usize = 1 << 22;

/// Splits each class into two clusters and asks whether the smaller one stands apart.
///
/// # What it finds
/// Classes with a second, clearly smaller cluster of vectors with a gap before it, in data whose
/// other classes have none: the picture of a backdoor in the activations of a network.
///
/// # Why it matters
/// A network that learned a trigger gives a class for two reasons, the class itself and the
/// trigger, and its last layers show them as two clusters. It runs on request: `scan`,
/// `class-collision` and `tight-cluster` run by default, need no gap and tell planted groups from
/// natural ones, which this method cannot.
///
/// # How it works
/// The vectors of a class, at most `sample` chosen by keyed hash, are divided in two halves by
/// their keys. Each half is reduced to its `components` principal components and split by 2-means,
/// started from both ends of every component. Of the solutions whose smaller cluster holds at most
/// `max_share`, the one with the deepest valley along the line between the centres counts. The
/// *other* half, which the split has not seen, is then projected onto that line: a distribution
/// with one mode, however heavy its tails, has at least as many records half-way (0.35 to 0.65) as
/// around the smaller centre (0.85 to 1.15). A one-sided binomial test, with the larger p-value of
/// the two halves, corrected for the number of classes, says whether there is a second mode.
/// For a finding the valley must also be deeper than those of the other classes (the test is
/// repeated with the deepest one's rate in place of one half), and no other class may be split
/// significantly itself, but for one in twenty.
///
/// The score is the position along the line towards the smaller cluster in robust standard
/// deviations of the class. What exceeds 2 counts in proportion to the depth of the valley, from
/// 0 for none to 1 for a gap, so that only records of a separate cluster score higher than that.
///
/// The paper calls the smaller of two clusters poison when it holds less than some share, or by its
/// silhouette; on clean data that takes a third of many classes, because 2-means splits anything.
/// It reduces by independent components, whose result depends on a random start, which may not
/// converge, and which give noise the scale of the signal; principal components keep distances.
///
/// # Parameters
/// - `components` (10): principal components of a class that are clustered.
/// - `max_share` (0.35): largest part of a class that counts as the smaller cluster.
/// - `alpha` (0.001): largest corrected p-value of a finding.
/// - `sample` (4096): records of a class that are clustered; fewer of vectors longer than 1024
///   numbers, and when the memory of the run does not hold that many.
///
/// # False positives
/// A natural subgroup of one class (handwritten ones with a base line, one odd sensor) looks the
/// same as a backdoor here. Findings therefore ask for a review and hold nothing back. Their
/// evidence names the class whose mean is nearest to the cluster: another class than its own is a
/// sign of relabelled records.
///
/// # Limits
/// The shift must exceed the natural spread along the main components, and the cluster must have
/// about ten records in each half of the sample. Poison of more than `max_share` is taken for the
/// class; attacks on several classes at once hide each other. Classes with fewer than 40 vectors
/// get no scores, and it abstains when there is no larger one; records without a vector or a label
/// get none.
///
/// # Example
/// Last-layer activations of 5,000 `stop` signs, 250 of them with a sticker: one finding, "250 of
/// the 5000 records labelled `stop` form a cluster apart from the rest of the class".
/// ```toml
/// [parameters.activation-clustering]
/// max_share = 0.2
/// ```
///
/// # References
/// - Chen, Carvalho, Baracaldo, Ludwig, Edwards, Lee, Molloy, Srivastava: Detecting backdoor attacks
///   on deep neural networks by activation clustering, 2018, <https://arxiv.org/abs/1811.03728>.
/// - Hartigan, Hartigan: The dip test of unimodality, Annals of Statistics 1985, for the idea of a
///   null of all distributions with one mode.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ActivationClusteringParams {
    /// Principal components of a class that are clustered, 1 to 64.
    pub components: u32,
    /// Largest part of a class that counts as the smaller cluster, 0.01 to 0.5.
    pub max_share: f64,
    /// Largest corrected p-value of a finding, above 0 up to 0.5.
    pub alpha: f64,
    /// Most records of a class that are clustered, 64 to 65536.
    pub sample: u32,
}

impl Default for ActivationClusteringParams {
    fn default() -> Self {
        Self {
            components: 10,
            max_share: 0.35,
            alpha: 0.001,
            sample: 4096,
        }
    }
}

impl Params for ActivationClusteringParams {
    fn problems(&self) -> Vec<ParamProblem> {
        let mut checks = Checks::default();
        checks
            .range("components", self.components, 1..=64)
            .range("max_share", self.max_share, 0.01..=0.5)
            .range("alpha", self.alpha, f64::MIN_POSITIVE..=0.5)
            .range("sample", self.sample, 64..=65_536);
        checks.finish()
    }
}

/// The detector; see [`ActivationClusteringParams`].
#[derive(Clone, Debug)]
pub struct ActivationClustering {
    params: ActivationClusteringParams,
}

/// The two clusters of each class; `None` for classes that are too small or do not vary.
#[derive(Debug)]
pub struct ActivationModel {
    classes: Vec<Option<ClassSplit>>,
    /// Classes with a finding, still without its records.
    findings: Vec<(usize, Finding)>,
}

impl ActivationClustering {
    /// The findings, still without records, by class.
    fn judge(&self, facts: &DataFacts, classes: &[Option<ClassSplit>]) -> Vec<(usize, Finding)> {
        let known = || {
            let classes = classes.iter().enumerate();
            classes.filter_map(|(class, split)| Some((class, split.as_ref()?)))
        };
        let tried = known().count();
        let exceptions = (EXCEPTIONS * tried.saturating_sub(1) as f64) as usize;
        let also_split = known().filter(|(_, split)| split.p_value(0.5) <= ALSO_SPLIT);
        if also_split.count() > exceptions + 1 {
            return Vec::new();
        }
        let judged = known().filter_map(|(class, split)| {
            if split.p_value(0.5) * tried as f64 > self.params.alpha {
                return None;
            }
            let others = || known().filter(move |&(other, _)| other != class);
            let mut rates: Vec<f64> = others().map(|(_, other)| other.both().rate()).collect();
            rates.sort_unstable_by(|a, b| b.total_cmp(a));
            let usual = rates.get(exceptions).copied().unwrap_or(0.5).max(0.5);
            let p_value = (split.p_value(usual) * tried as f64).min(1.0);
            if p_value > self.params.alpha {
                return None;
            }
            let to_own = distance(&split.small, &split.large);
            let nearest = others()
                .map(|(other, split)| (distance(&split.small, &split.mean), other))
                .filter(|&(distance, _)| distance < to_own)
                .min_by(|a, b| a.0.total_cmp(&b.0));
            let name = facts.classes.get(nearest.map_or(class, |(_, other)| other));
            let mut finding = Finding::new(
                Self::SPEC.id,
                "second-cluster",
                Severity::Medium,
                Action::Review,
                String::new(),
                p_value,
            )
            .with_evidence("valley_depth", split.both().depth())
            .with_evidence("usual_valley_depth", 2.0 * usual - 1.0)
            .with_evidence("sampled_share", split.share)
            .with_evidence("nearest_class", name.cloned().unwrap_or_default());
            finding.target_class = facts.classes.get(class).cloned();
            Some((class, finding))
        });
        judged.collect()
    }
}

impl Detector for ActivationClustering {
    type Params = ActivationClusteringParams;
    type State = ClassSample;
    type Model = ActivationModel;
    /// Ordinals of the records of the smaller cluster of each class with a finding.
    type Evidence = Vec<Vec<u64>>;

    const SPEC: DetectorSpec = DetectorSpec {
        id: "activation-clustering",
        family: Family::Embedding,
        summary: "classes that fall into a large and a small cluster",
        score_kind: ScoreKind::Statistical,
        by_default: false,
        fit_roles: &[Role::Embedding, Role::Label],
        score_roles: &[Role::Embedding, Role::Label],
        intermediates: &[],
        state_bytes_per_row: 0,
        taxonomy: &["AML.T0018", "AML.T0020", "LLM04:2025", "NISTAML.023"],
        state_version: 1,
    };

    fn new(params: Self::Params) -> Self {
        Self { params }
    }

    fn applies(&self, facts: &DataFacts) -> Result<(), NotApplicable> {
        needs_labelled_vectors(facts)
    }

    fn start(&self, context: &FitContext) -> Self::State {
        let dim = context.facts.embedding_dim.unwrap_or(1).max(1);
        let affordable = (MAX_VALUES / dim).max(MIN_RECORDS);
        ClassSample::new(context, affordable.min(self.params.sample as usize))
    }

    fn fit(&self, _context: &FitContext, state: &mut Self::State, batch: &Batch<'_>) {
        state.insert(batch);
    }

    fn merge(&self, _context: &FitContext, state: &mut Self::State, later: Self::State) {
        state.merge(later);
    }

    fn model(
        &self,
        context: &FitContext,
        state: Self::State,
        _shared: &Shared,
    ) -> Result<Self::Model, NotApplicable> {
        let classes = state.into_classes();
        let largest = classes.iter().map(SampledClass::len).max().unwrap_or(0);
        if largest < MIN_RECORDS {
            return Err(NotApplicable::new(format!(
                "at most {largest} vectors in a class, at least {MIN_RECORDS} are needed"
            )));
        }
        let components = self.params.components as usize;
        let classes: Vec<Option<ClassSplit>> = classes
            .into_par_iter()
            .map(|class| ClassSplit::of(&class, components, self.params.max_share))
            .collect();
        Ok(ActivationModel {
            findings: self.judge(&context.facts, &classes),
            classes,
        })
    }

    fn start_evidence(&self, model: &Self::Model) -> Self::Evidence {
        vec![Vec::new(); model.findings.len()]
    }

    fn score(
        &self,
        model: &Self::Model,
        _shared: &Shared,
        batch: &Batch<'_>,
        evidence: &mut Self::Evidence,
    ) -> Vec<f32> {
        let Some(vectors) = batch.embedding else {
            return vec![f32::NAN; batch.n_rows()];
        };
        let split_of = |row_idx: usize| {
            let class = batch.label(row_idx)? as usize;
            Some((class, model.classes.get(class)?.as_ref()?))
        };
        let positions: Vec<f64> = (0..batch.n_rows())
            .into_par_iter()
            .with_min_len(BLOCK_ROWS)
            .map(|row_idx| {
                let row = vectors.row(row_idx);
                let position = split_of(row_idx)
                    .and_then(|(_, split)| Some(split.line.position(row.as_slice()?)));
                position.unwrap_or(f64::NAN)
            })
            .collect();
        let mut scores = vec![f32::NAN; positions.len()];
        for (row_idx, (score, &position)) in scores.iter_mut().zip(&positions).enumerate() {
            let Some((class, split)) = split_of(row_idx).filter(|_| position.is_finite()) else {
                continue;
            };
            *score = split.score(position);
            let found = model.findings.iter().position(|&(of, _)| of == class);
            if let Some(records) = found
                .filter(|_| position >= MIDDLE)
                .and_then(|found| evidence.get_mut(found))
            {
                records.push(batch.ordinal(row_idx));
            }
        }
        scores
    }

    fn merge_evidence(&self, evidence: &mut Self::Evidence, later: Self::Evidence) {
        for (records, later) in evidence.iter_mut().zip(later) {
            records.extend(later);
        }
    }

    fn finish(
        &self,
        model: &Self::Model,
        _shared: &Shared,
        evidence: Self::Evidence,
    ) -> Vec<Finding> {
        let found = model.findings.iter().zip(evidence);
        let mut findings: Vec<Finding> = found
            .filter(|(_, records)| !records.is_empty())
            .map(|((_, finding), records)| {
                let mut finding = finding.clone().with_records(records);
                finding.title = format!(
                    "{} records labelled `{}` form a cluster apart from the rest of the class",
                    finding.records.len(),
                    finding.target_class.as_deref().unwrap_or_default(),
                );
                finding
            })
            .collect();
        findings.sort_by(|a, b| a.p_value.total_cmp(&b.p_value));
        findings
    }
}
