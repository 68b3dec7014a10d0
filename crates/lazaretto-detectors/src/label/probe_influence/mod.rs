//! `probe-influence`: records that would make a model of the trusted records worse.

mod excess;
mod probe;
mod scale;

use lazaretto_core::{
    Batch, DataFacts, Detector, DetectorSpec, Family, Finding, FitContext, Intermediate, NO_LABEL,
    NotApplicable, ParamProblem, Params, Role, ScoreKind, Shared, params::Checks,
};
use ndarray::{Array2, ArrayView1, Axis};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::excess::{Excess, HeldOut};
use self::probe::{Influence, Labelled, Probe};
use self::scale::Scaled;

/// With fewer labelled records of the dataset than this there is no probe.
const MIN_ROWS: usize = 50;

/// More classes than this are names.
const MAX_CLASSES: usize = 1000;

/// Scores each record by how much training on it would raise a linear model's loss on the
/// trusted records.
///
/// # What it finds
/// Records whose labels teach what the trusted records contradict: flipped labels, classes and
/// regions that were relabelled together, dirty-label backdoors. It needs trusted records
/// (`--trusted FILE`), a few hundred with labels.
///
/// # Why it matters
/// Whoever relabels half of a class changes what the dataset says about itself: a model of the
/// dataset then agrees with the poison. A small set of records that somebody has checked does not.
///
/// # How it works
/// A linear probe is fitted by least squares with a ridge to the reference set: dense features on
/// one scale against indicators of the class. In closed form, weight on a record `(x, y)` moves
/// the probe by `−H⁻¹ g`, with `H` the matrix of the equations and `g = x (Wᵀx − y)ᵀ` the record's
/// gradient, and the mean trusted loss by `−⟨G, H⁻¹ g⟩`, with `G` its gradient: the influence of
/// Koh and Liang, and what RONI asks by training again for every record. The score is the mean of
/// this over the path from the class shares alone (`W = 0`) to the fit. At its end the trusted
/// gradient is little more than the chance of the trusted sample; at its beginning it is the
/// whole of what the trusted records have to teach. Higher is worse: 0 is a record that leaves the
/// trusted loss as it is, and score divided by the number of records is the squared error (half
/// the sum over classes) that one record adds. Means of the trusted features and class shares are
/// taken out, so that trusted records may have another class balance than the dataset.
///
/// Measured with 1000 trusted records (200 of the digits), area under the ROC curve and average
/// precision, beside those of `confident-learning`: half of one class of digits relabelled 1.00
/// and 0.97 (0.93 and 0.30), a strong backdoor in digits 0.98 and 0.62 (0.67 and 0.07), half of
/// the positive movie reviews relabelled 0.72 and 0.45 (0.52 and 0.29), half of the high incomes of
/// a census relabelled 0.86 and 0.46 (0.79 and 0.23). Labels flipped at random are for
/// `confident-learning`: digits 0.98 and 0.81 (1.00 and 0.99), census 0.77 and 0.41 (0.94 and
/// 0.64).
///
/// Half of the trusted records are then held out of the yardstick and scored like the dataset's.
/// Where both are drawn alike, the number of held-out ones among the highest scores of a class is
/// hypergeometric, whatever the features and the scores are like. A class with more of its records
/// above the highest, the upper 5 % or the upper 20 % of the held-out scores than that allows,
/// after correction for all classes and the three levels, makes a finding. Texts without an
/// embedding are not compared: their features are learned from the words of the dataset, and say
/// less about records that were not among them.
///
/// # Parameters
/// - `ridge` (1.0): ridge in units of the mean variance of a feature. More makes less of what the
///   features have in common.
/// - `min_trusted` (50): labelled trusted records that are needed.
/// - `min_class_trusted` (5): trusted records that a class needs for its records to be scored.
/// - `finding_p` (0.001): largest corrected p-value of a finding about a class.
///
/// # False positives
/// Hard records of a class lie where the trusted records of another one lie, and get high scores
/// like flipped ones. Trusted records that are chosen otherwise than the dataset (other years,
/// easy cases only) make all records of what they leave out look harmful. Findings about classes
/// therefore ask for a review and hold nothing back.
///
/// # Limits
/// A linear probe sees what is linear in the features, and poison that does not move the trusted
/// records cannot be seen at all: a backdoor whose trigger they never carry shows only by its
/// wrong labels, and clean-label poison not at all. Trusted records that were poisoned too turn
/// the score around. It abstains without trusted records, with fewer than 50 labelled reference
/// records, beyond 1000 classes, and where trusted labels or features do not vary.
///
/// # Example
/// `lazaretto scan data/ --trusted checked.parquet --out run`
/// ```toml
/// trusted = ["checked.parquet"]
///
/// [parameters.probe-influence]
/// min_trusted = 200
/// ```
///
/// # References
/// - Koh, Liang: Understanding black-box predictions via influence functions, ICML 2017,
///   <https://arxiv.org/abs/1703.04730>, equation 2.
/// - Nelson et al.: Exploiting machine learning to subvert your spam filter, LEET 2008 (Reject On
///   Negative Impact).
/// - Pruthi, Liu, Kale, Sundararajan: Estimating training data influence by tracing gradient
///   descent, `NeurIPS` 2020, <https://arxiv.org/abs/2002.08484>, for the path.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ProbeInfluenceParams {
    /// Ridge of the probe in units of the mean variance of a feature, 0.001 to 1000.
    pub ridge: f64,
    /// Labelled trusted records that are needed, 2 to 20000.
    pub min_trusted: u32,
    /// Trusted records that a class needs for its records to be scored, 1 to 20000.
    pub min_class_trusted: u32,
    /// Largest corrected p-value of a finding about a class, 0 (none) to 0.05.
    pub finding_p: f64,
}

impl Default for ProbeInfluenceParams {
    fn default() -> Self {
        Self {
            ridge: 1.0,
            min_trusted: 50,
            min_class_trusted: 5,
            finding_p: 0.001,
        }
    }
}

impl Params for ProbeInfluenceParams {
    fn problems(&self) -> Vec<ParamProblem> {
        let mut checks = Checks::default();
        checks
            .range("ridge", self.ridge, 1e-3..=1e3)
            .range("min_trusted", self.min_trusted, 2..=20_000)
            .range("min_class_trusted", self.min_class_trusted, 1..=20_000)
            .range("finding_p", self.finding_p, 0.0..=0.05);
        checks.finish()
    }
}

/// The detector; see [`ProbeInfluenceParams`].
#[derive(Clone, Debug)]
pub struct ProbeInfluence {
    params: ProbeInfluenceParams,
}

/// What the score pass needs.
#[derive(Debug)]
pub struct InfluenceModel {
    scale: Scaled,
    influence: Influence,
    /// Whether there are enough trusted records of each class.
    judged: Vec<bool>,
    held_out: Option<HeldOut>,
}

impl Detector for ProbeInfluence {
    type Params = ProbeInfluenceParams;
    type State = ();
    type Model = InfluenceModel;
    type Evidence = Excess;

    const SPEC: DetectorSpec = DetectorSpec {
        id: "probe-influence",
        family: Family::Label,
        summary: "records that make a model of the trusted records worse",
        score_kind: ScoreKind::Statistical,
        by_default: true,
        fit_roles: &[],
        score_roles: &[Role::Label],
        intermediates: &[
            Intermediate::Features,
            Intermediate::Reference,
            Intermediate::Trusted,
        ],
        state_bytes_per_row: 0,
        taxonomy: &["AML.T0020", "AML.T0059", "LLM04:2025", "NISTAML.013"],
        state_version: 1,
    };

    fn new(params: Self::Params) -> Self {
        Self { params }
    }

    fn applies(&self, facts: &DataFacts) -> Result<(), NotApplicable> {
        if facts.trusted_rows == 0 {
            return Err(NotApplicable::new(
                "no trusted records: give them with `--trusted`",
            ));
        }
        if !facts.has_labels() {
            return Err(NotApplicable::new(
                "no label column with at least two classes",
            ));
        }
        if !facts.has_features() {
            return Err(NotApplicable::new("no embedding, text or numeric column"));
        }
        if facts.classes.len() > MAX_CLASSES {
            return Err(NotApplicable::new(format!(
                "{} classes are more than {MAX_CLASSES}",
                facts.classes.len()
            )));
        }
        Ok(())
    }

    fn start(&self, _context: &FitContext) -> Self::State {}

    fn fit(&self, _context: &FitContext, _state: &mut Self::State, _batch: &Batch<'_>) {}

    fn merge(&self, _context: &FitContext, _state: &mut Self::State, _later: Self::State) {}

    fn model(
        &self,
        context: &FitContext,
        _state: Self::State,
        shared: &Shared,
    ) -> Result<Self::Model, NotApplicable> {
        let n_classes = context.facts.classes.len();
        let reference = shared
            .reference
            .as_ref()
            .map(|reference| Rows::of(&reference.features, &reference.labels, n_classes))
            .ok_or_else(|| NotApplicable::new("no reference records"))?;
        if reference.labels.len() < MIN_ROWS {
            return Err(NotApplicable::new(format!(
                "{} labelled records with features in the reference set, at least {MIN_ROWS} are \
                 needed",
                reference.labels.len()
            )));
        }
        let trusted = shared.trusted.as_ref().and_then(|trusted| {
            let features = trusted.features.as_ref()?;
            Some((
                Rows::of(features, &trusted.labels, n_classes),
                &trusted.keys,
            ))
        });
        let (trusted, keys) = trusted
            .ok_or_else(|| NotApplicable::new("no trusted records: give them with `--trusted`"))?;
        let judged = self.judged_classes(&trusted.labels, n_classes)?;
        let scale = Scaled::of(reference.features.view())
            .ok_or_else(|| NotApplicable::new("no feature varies in the reference set"))?;
        let probe = Probe::fit(reference.labelled(), scale, n_classes, self.params.ridge)
            .ok_or_else(|| NotApplicable::new("the equations of the probe cannot be solved"))?;
        let influence = probe
            .influence(trusted.labelled())
            .ok_or_else(|| NotApplicable::new("the trusted features are too large"))?;
        // Features of a text are learned from the dataset's own words and say more about its
        // records than about others, which the comparison would take for harm.
        let facts = &context.facts;
        let learned = facts.embedding_dim.is_none() && facts.has_text();
        let held_out = (!learned)
            .then(|| held_out(&probe, &trusted, keys))
            .flatten();
        Ok(InfluenceModel {
            influence,
            judged,
            held_out,
            scale: probe.into_scale(),
        })
    }

    fn start_evidence(&self, model: &Self::Model) -> Self::Evidence {
        Excess::new(model.judged.len())
    }

    fn score(
        &self,
        model: &Self::Model,
        _shared: &Shared,
        batch: &Batch<'_>,
        evidence: &mut Self::Evidence,
    ) -> Vec<f32> {
        let mut scores = vec![f32::NAN; batch.n_rows()];
        let Some(features) = &batch.derived.features else {
            return scores;
        };
        let mut scaled = vec![0.0; model.scale.dim()];
        for (row_idx, score) in scores.iter_mut().enumerate() {
            let judged = |class: &usize| model.judged.get(*class).copied().unwrap_or(false);
            let class = batch.label(row_idx).map(|label| label as usize);
            let row = features.row(row_idx);
            if let Some(class) = class.filter(judged)
                && complete(row)
            {
                model.scale.apply(row, &mut scaled);
                *score = model.influence.of(&scaled, class) as f32;
                if let Some(held_out) = &model.held_out {
                    evidence.add(held_out, batch.ordinal(row_idx), &scaled, class);
                }
            }
        }
        scores
    }

    fn merge_evidence(&self, evidence: &mut Self::Evidence, later: Self::Evidence) {
        evidence.merge(later);
    }

    fn finish(
        &self,
        model: &Self::Model,
        shared: &Shared,
        evidence: Self::Evidence,
    ) -> Vec<Finding> {
        let Some(held_out) = &model.held_out else {
            return Vec::new();
        };
        let max_p = self.params.finding_p;
        evidence.findings(Self::SPEC.id, held_out, &shared.facts, max_p)
    }
}

impl ProbeInfluence {
    /// Which classes have enough trusted records.
    fn judged_classes(&self, labels: &[u32], n_classes: usize) -> Result<Vec<bool>, NotApplicable> {
        let least = self.params.min_trusted as usize;
        if labels.len() < least {
            return Err(NotApplicable::new(format!(
                "{} labelled trusted records with features, at least {least} are needed",
                labels.len()
            )));
        }
        let mut counts = vec![0_u32; n_classes];
        for &label in labels {
            counts[label as usize] += 1;
        }
        let least = self.params.min_class_trusted;
        let judged: Vec<bool> = counts.iter().map(|&count| count >= least).collect();
        let n_judged = judged.iter().filter(|&&judged| judged).count();
        if n_judged < 2 {
            return Err(NotApplicable::new(format!(
                "{n_judged} of {n_classes} classes have at least {least} trusted records, two are \
                 needed"
            )));
        }
        Ok(judged)
    }
}

/// Scores half of the trusted records with the other half as the yardstick; `None` where that
/// leaves nothing to compare with. Keys say which half, so that the order of a file does not.
fn held_out(probe: &Probe, trusted: &Rows, keys: &[u64]) -> Option<HeldOut> {
    let half = |wanted: u64| -> Vec<usize> {
        (0..trusted.labels.len())
            .filter(|&row| keys[trusted.places[row]] & 1 == wanted)
            .collect()
    };
    let yardstick = trusted.select(&half(0));
    let n_classes = probe.n_classes();
    let mut held_out = HeldOut::new(probe.influence(yardstick.labelled())?, n_classes);
    let mut scaled = vec![0.0; probe.scale().dim()];
    for row in half(1) {
        probe.scale().apply(trusted.features.row(row), &mut scaled);
        held_out.see(&scaled, trusted.labels[row] as usize);
    }
    held_out.finish()
}

fn complete(row: ArrayView1<'_, f32>) -> bool {
    !row.iter().any(|value| value.is_nan())
}

/// Records that have features and a known label.
struct Rows {
    features: Array2<f32>,
    labels: Vec<u32>,
    /// Where each stood among the given records.
    places: Vec<usize>,
}

impl Rows {
    /// Those of `features` and `labels` below `n_classes`.
    fn of(features: &Array2<f32>, labels: &[u32], n_classes: usize) -> Self {
        let places: Vec<usize> = (0..labels.len().min(features.nrows()))
            .filter(|&row| {
                let known = labels[row] != NO_LABEL && (labels[row] as usize) < n_classes;
                known && complete(features.row(row))
            })
            .collect();
        Self {
            features: features.select(Axis(0), &places),
            labels: places.iter().map(|&row| labels[row]).collect(),
            places,
        }
    }

    fn select(&self, rows: &[usize]) -> Self {
        Self {
            features: self.features.select(Axis(0), rows),
            labels: rows.iter().map(|&row| self.labels[row]).collect(),
            places: rows.iter().map(|&row| self.places[row]).collect(),
        }
    }

    fn labelled(&self) -> Labelled<'_> {
        Labelled {
            features: self.features.view(),
            labels: &self.labels,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use lazaretto_core::shared::Reference;
    use lazaretto_core::{Derived, Trusted};
    use rand::{Rng as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    const DIM: usize = 6;

    /// Clouds of three classes with their labels.
    fn clouds(n_rows: usize, seed: u64) -> (Array2<f32>, Vec<u32>) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let labels: Vec<u32> = (0..n_rows).map(|_| rng.gen_range(0..3)).collect();
        let features = Array2::from_shape_fn((n_rows, DIM), |(row, column)| {
            let centre = if column as u32 == labels[row] {
                3.0
            } else {
                0.0
            };
            centre + rng.gen_range(-1.5..1.5)
        });
        (features, labels)
    }

    fn shared(data: &(Array2<f32>, Vec<u32>), trusted: Option<&(Array2<f32>, Vec<u32>)>) -> Shared {
        let ordinals = |n_rows: usize| (0..n_rows as u64).collect::<Vec<u64>>();
        Shared {
            facts: Arc::new(DataFacts {
                n_rows: data.1.len() as u64,
                classes: ["a", "b", "c"].map(str::to_owned).to_vec(),
                embedding_dim: Some(DIM),
                trusted_rows: trusted.map_or(0, |trusted| trusted.1.len() as u64),
                ..DataFacts::default()
            }),
            seed: 0,
            reference: Some(Reference {
                features: data.0.clone(),
                labels: data.1.clone(),
                ordinals: ordinals(data.1.len()),
                keys: ordinals(data.1.len()),
            }),
            neighbor_base: None,
            text_classifier: None,
            evaluation: None,
            trusted: trusted.map(|trusted| Trusted {
                ordinals: ordinals(trusted.1.len()),
                keys: ordinals(trusted.1.len()),
                labels: trusted.1.clone(),
                features: Some(trusted.0.clone()),
                probabilities: None,
            }),
        }
    }

    fn scores(
        data: &(Array2<f32>, Vec<u32>),
        trusted: &(Array2<f32>, Vec<u32>),
    ) -> Result<Vec<f32>, NotApplicable> {
        judged(data, trusted).map(|(scores, _)| scores)
    }

    fn judged(
        data: &(Array2<f32>, Vec<u32>),
        trusted: &(Array2<f32>, Vec<u32>),
    ) -> Result<(Vec<f32>, Vec<Finding>), NotApplicable> {
        let detector = ProbeInfluence::new(ProbeInfluenceParams::default());
        let shared = shared(data, Some(trusted));
        detector.applies(&shared.facts)?;
        let context = FitContext {
            facts: Arc::clone(&shared.facts),
            seed: 0,
            memory_bytes: 1 << 20,
        };
        let model = detector.model(&context, (), &shared)?;
        let derived = Derived {
            features: Some(data.0.clone()),
            ..Derived::default()
        };
        let keys = vec![0; data.1.len()];
        let batch = Batch {
            first_row: 0,
            keys: &keys,
            labels: Some(&data.1),
            sources: None,
            times: None,
            texts: &[],
            numeric: None,
            categorical: &[],
            embedding: None,
            given_probabilities: None,
            derived: &derived,
        };
        let mut evidence = detector.start_evidence(&model);
        let scores = detector.score(&model, &shared, &batch, &mut evidence);
        Ok((scores, detector.finish(&model, &shared, evidence)))
    }

    #[test]
    fn most_of_a_class_relabelled_is_what_trusted_records_object_to() {
        let (features, truth) = clouds(600, 1);
        let mut labels = truth.clone();
        // Two thirds of the first class: whoever asks the dataset itself is told they are right.
        let mut relabelled = vec![false; 600];
        let of_first = (0..600).filter(|&row| truth[row] == 0);
        for row in of_first
            .enumerate()
            .filter(|(nth, _)| nth % 3 > 0)
            .map(|(_, row)| row)
        {
            labels[row] = 1;
            relabelled[row] = true;
        }
        let (scores, findings) = judged(&(features, labels), &clouds(200, 2)).unwrap();
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert_eq!(findings[0].target_class.as_deref(), Some("b"));
        assert_eq!(findings[0].action, lazaretto_core::Action::Review);
        let n_relabelled = relabelled.iter().filter(|&&relabelled| relabelled).count();
        let mut order: Vec<usize> = (0..600).collect();
        order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
        let first = &order[..n_relabelled];
        let hits = first.iter().filter(|&&row| relabelled[row]).count();
        assert!(
            hits * 10 >= n_relabelled * 9,
            "{hits} of {n_relabelled} relabelled records come first"
        );
    }

    #[test]
    fn clean_data_make_no_finding() {
        for seed in 0..40 {
            let (_, findings) = judged(&clouds(600, 100 + seed), &clouds(200, seed)).unwrap();
            assert!(findings.is_empty(), "seed {seed}: {findings:?}");
        }
    }

    #[test]
    fn abstains_with_the_reason() {
        let data = clouds(200, 3);
        let reason = |data: &_, trusted: &_| scores(data, trusted).unwrap_err().reason;
        assert!(reason(&data, &clouds(0, 1)).contains("--trusted"));
        assert!(reason(&data, &clouds(20, 1)).starts_with("20 labelled trusted records"));
        let (features, _) = clouds(100, 1);
        let one_class = (features, vec![2; 100]);
        assert!(reason(&data, &one_class).starts_with("1 of 3 classes"));
        let constant = (Array2::zeros((200, DIM)), data.1.clone());
        assert!(reason(&constant, &clouds(100, 1)).starts_with("no feature varies"));
        assert!(reason(&clouds(10, 1), &clouds(100, 1)).starts_with("10 labelled records"));
    }

    #[test]
    fn classes_without_trusted_records_get_no_scores() {
        let data = clouds(300, 4);
        let (features, mut labels) = clouds(300, 5);
        for label in &mut labels {
            *label = (*label).min(1);
        }
        let scores = scores(&data, &(features, labels)).unwrap();
        for (score, label) in scores.iter().zip(&data.1) {
            assert_eq!(score.is_nan(), *label == 2);
        }
    }
}
