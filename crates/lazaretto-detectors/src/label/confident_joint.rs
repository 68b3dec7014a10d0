//! The confident joint: which labels the content contradicts, counted per pair of classes.

use lazaretto_core::detector::DataFacts;
use lazaretto_core::{Action, Finding, Severity};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use statrs::distribution::{Binomial, DiscreteCDF};

/// Contradictions kept at most; beyond it the clearest stay. 24 MB.
const CAPACITY: usize = 1_000_000;

/// Pairs of classes that confuse naturally are seldom lopsided beyond three to one; this is the
/// share of one direction that the test takes for ordinary.
const NATURAL_SHARE: f64 = 0.75;

/// A pair is called one-way below this corrected p-value.
const ONE_WAY_LEVEL: f64 = 0.01;

/// Records listed in the summary, the clearest first; the scores have the rest.
const SUMMARY_RECORDS: usize = 1000;

/// A record whose most probable class is not its label.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Contradiction {
    /// Dataset-wide ordinal.
    pub(crate) ordinal: u64,
    /// Class index of its label.
    pub(crate) label: u32,
    /// Its most probable class.
    pub(crate) looks_like: u32,
    /// Probability of its label.
    pub(crate) on_label: f32,
    /// Probability of its most probable class.
    pub(crate) on_other: f32,
}

impl Contradiction {
    /// How clear it is; ties are broken by ordinal to keep the selection the same everywhere.
    fn clearness(&self) -> f32 {
        self.on_other - self.on_label
    }
}

/// Evidence of the score pass, of bounded size. Thresholds depend on all records, so candidates
/// are kept and counted at the end.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ConfidentJoint {
    /// Judged records with each label.
    counts: Vec<u64>,
    /// Sum of the probability of the own label, in units of 2⁻³², so that the order of addition
    /// does not matter.
    self_confidence: Vec<u64>,
    contradictions: Vec<Contradiction>,
    /// Contradictions dropped for room.
    dropped: u64,
}

impl ConfidentJoint {
    /// No evidence about `n_classes` classes.
    pub(crate) fn new(n_classes: usize) -> Self {
        Self {
            counts: vec![0; n_classes],
            self_confidence: vec![0; n_classes],
            contradictions: Vec::new(),
            dropped: 0,
        }
    }

    /// Counts a record labelled `label` to which the model gives probability `on_label` for it.
    pub(crate) fn add_label(&mut self, label: usize, on_label: f32) {
        /// 2³².
        const UNITS: f64 = 4_294_967_296.0;
        self.counts[label] += 1;
        #[expect(clippy::cast_sign_loss, reason = "clamped to 0..=1 first")]
        let units = (f64::from(on_label.clamp(0.0, 1.0)) * UNITS) as u64;
        self.self_confidence[label] += units;
    }

    /// Adds a record whose most probable class is not its label.
    pub(crate) fn add_contradiction(&mut self, contradiction: Contradiction) {
        self.contradictions.push(contradiction);
        if self.contradictions.len() >= 2 * CAPACITY {
            self.trim();
        }
    }

    /// Adds the evidence of another partition.
    pub(crate) fn merge(&mut self, later: Self) {
        for (sum, count) in self.counts.iter_mut().zip(later.counts) {
            *sum += count;
        }
        for (sum, units) in self.self_confidence.iter_mut().zip(later.self_confidence) {
            *sum += units;
        }
        self.dropped += later.dropped;
        self.contradictions.extend(later.contradictions);
        if self.contradictions.len() >= 2 * CAPACITY {
            self.trim();
        }
    }

    /// Keeps the clearest contradictions.
    fn trim(&mut self) {
        if self.contradictions.len() > CAPACITY {
            self.sort();
            self.dropped += (self.contradictions.len() - CAPACITY) as u64;
            self.contradictions.truncate(CAPACITY);
        }
    }

    fn sort(&mut self) {
        self.contradictions.sort_unstable_by(|a, b| {
            b.clearness()
                .total_cmp(&a.clearness())
                .then(a.ordinal.cmp(&b.ordinal))
        });
    }

    /// Mean probability that records of each class get for their own label: `t_j` in equation 2
    /// of the paper. 1 for classes without records.
    fn thresholds(&self) -> Vec<f64> {
        self.counts
            .iter()
            .zip(&self.self_confidence)
            .map(|(&count, &units)| match count {
                0 => 1.0,
                _ => units as f64 / 4_294_967_296.0 / count as f64,
            })
            .collect()
    }

    /// The one-way pairs of classes, surest first, then a summary of all contradicted labels.
    pub(crate) fn findings(
        mut self,
        detector: &str,
        facts: &DataFacts,
        min_pair_records: u64,
    ) -> Vec<Finding> {
        self.trim();
        self.sort();
        let thresholds = self.thresholds();
        let confident: Vec<Contradiction> = self
            .contradictions
            .iter()
            .filter(|c| f64::from(c.on_other) >= thresholds[c.looks_like as usize])
            .copied()
            .collect();
        let pairs = pairs(&confident);
        let n_classes = self.counts.iter().filter(|&&count| count > 0).count();
        let n_tests = (n_classes * n_classes.saturating_sub(1)).max(1) as f64;
        let mut findings: Vec<Finding> = pairs
            .iter()
            .filter(|pair| pair.records.len() as u64 >= min_pair_records)
            .filter_map(|pair| one_way(detector, pair, &pairs, facts, n_tests))
            .collect();
        findings.sort_by(|a, b| a.p_value.total_cmp(&b.p_value));
        findings.extend(self.summary(detector, facts, &confident, &pairs, min_pair_records));
        findings
    }

    /// One finding about all contradicted labels. It states an amount and tests nothing, so it
    /// carries a p-value of 1.
    fn summary(
        &self,
        detector: &str,
        facts: &DataFacts,
        confident: &[Contradiction],
        pairs: &[Pair],
        min_pair_records: u64,
    ) -> Option<Finding> {
        if (confident.len() as u64) < min_pair_records.max(1) {
            return None;
        }
        let judged: u64 = self.counts.iter().sum();
        let share = confident.len() as f64 / judged.max(1) as f64;
        let title = format!(
            "{} of {judged} labels ({:.1} %) are confidently contradicted by the content",
            confident.len(),
            100.0 * share
        );
        let mut largest: Vec<&Pair> = pairs.iter().collect();
        largest.sort_by_key(|pair| std::cmp::Reverse(pair.records.len()));
        let largest: Vec<Value> = largest
            .iter()
            .take(10)
            .map(|pair| {
                json!({
                    "label": class_name(facts, pair.label),
                    "looks_like": class_name(facts, pair.looks_like),
                    "records": pair.records.len(),
                })
            })
            .collect();
        let records = confident.iter().take(SUMMARY_RECORDS);
        Some(
            Finding::new(
                detector,
                "label-noise",
                Severity::Info,
                Action::Review,
                title,
                1.0,
            )
            .with_records(records.map(|c| c.ordinal).collect())
            .with_evidence("contradicted", confident.len())
            .with_evidence("judged", judged)
            .with_evidence("listed_at_most", SUMMARY_RECORDS)
            .with_evidence("dropped_for_room", self.dropped)
            .with_evidence("largest_pairs", largest),
        )
    }
}

/// The confidently contradicted records with one label that look like one other class.
struct Pair {
    label: u32,
    looks_like: u32,
    records: Vec<u64>,
}

fn pairs(confident: &[Contradiction]) -> Vec<Pair> {
    let mut sorted: Vec<&Contradiction> = confident.iter().collect();
    sorted.sort_unstable_by_key(|c| (c.label, c.looks_like, c.ordinal));
    sorted
        .chunk_by(|a, b| (a.label, a.looks_like) == (b.label, b.looks_like))
        .map(|group| Pair {
            label: group[0].label,
            looks_like: group[0].looks_like,
            records: group.iter().map(|c| c.ordinal).collect(),
        })
        .collect()
}

fn class_name(facts: &DataFacts, class: u32) -> String {
    match facts.classes.get(class as usize) {
        Some(name) => name.clone(),
        None => class.to_string(),
    }
}

/// A finding when far more records labelled `a` look like `b` than the other way round.
///
/// Under natural confusion the larger direction has a share of at most [`NATURAL_SHARE`]; the
/// p-value is the binomial tail at that share, times the number of ordered pairs.
fn one_way(
    detector: &str,
    pair: &Pair,
    pairs: &[Pair],
    facts: &DataFacts,
    n_tests: f64,
) -> Option<Finding> {
    let forward = pair.records.len() as u64;
    let reverse = pairs
        .iter()
        .find(|other| other.label == pair.looks_like && other.looks_like == pair.label)
        .map_or(0, |other| other.records.len() as u64);
    let natural = Binomial::new(NATURAL_SHARE, forward + reverse).ok()?;
    let p_value = (natural.sf(forward.saturating_sub(1)) * n_tests).min(1.0);
    if p_value > ONE_WAY_LEVEL {
        return None;
    }
    let label = class_name(facts, pair.label);
    let looks_like = class_name(facts, pair.looks_like);
    let title = format!(
        "{forward} records labelled `{label}` look like `{looks_like}`, {reverse} the other way \
         round"
    );
    let mut finding = Finding::new(
        detector,
        "one-way-relabelling",
        Severity::Medium,
        // Clean news data has natural one-way pairs, so this never holds records back by itself.
        Action::Review,
        title,
        p_value,
    )
    .with_records(pair.records.clone())
    .with_evidence("label", label.clone())
    .with_evidence("looks_like", looks_like)
    .with_evidence("other_way_round", reverse)
    .with_evidence("natural_share", NATURAL_SHARE);
    finding.target_class = Some(label);
    Some(finding)
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "exact by construction")]
mod tests {
    use super::*;

    fn facts() -> DataFacts {
        DataFacts {
            classes: ["a", "b", "c"].map(String::from).to_vec(),
            ..DataFacts::default()
        }
    }

    /// 100 well-labelled records per class at `p[label] = 0.9`, and contradictions on top.
    fn joint(contradictions: &[(u32, u32, usize)]) -> ConfidentJoint {
        let mut joint = ConfidentJoint::new(3);
        for record in 0..300 {
            joint.add_label(record % 3, 0.9);
        }
        let mut ordinal = 300;
        for &(label, looks_like, n) in contradictions {
            for _ in 0..n {
                joint.add_label(label as usize, 0.05);
                joint.add_contradiction(Contradiction {
                    ordinal,
                    label,
                    looks_like,
                    on_label: 0.05,
                    on_other: 0.94,
                });
                ordinal += 1;
            }
        }
        joint
    }

    #[test]
    fn a_one_way_pair_is_found_with_its_records_and_direction() {
        let findings = joint(&[(1, 0, 37), (0, 1, 1), (2, 0, 8), (0, 2, 9)]).findings(
            "confident-learning",
            &facts(),
            10,
        );
        assert_eq!(findings.len(), 2, "{findings:?}");
        assert_eq!(
            findings[0].title,
            "37 records labelled `b` look like `a`, 1 the other way round"
        );
        assert_eq!(findings[0].records, (300..337).collect::<Vec<u64>>());
        assert_eq!(findings[0].target_class.as_deref(), Some("b"));
        // scipy 1.16: binom.sf(36, 38, 0.75) × 6 pairs = 0.00145
        assert!(
            (findings[0].p_value - 0.001_46).abs() < 5e-5,
            "{}",
            findings[0].p_value
        );
        assert_eq!(findings[1].kind, "label-noise");
        assert_eq!(findings[1].p_value, 1.0);
    }

    #[test]
    fn mutual_confusion_only_makes_the_summary() {
        let findings =
            joint(&[(1, 0, 30), (0, 1, 24)]).findings("confident-learning", &facts(), 10);
        let kinds: Vec<_> = findings.iter().map(|f| f.kind.as_str()).collect();
        assert_eq!(kinds, ["label-noise"]);
        assert!(findings.iter().all(|f| f.action == Action::Review));
    }

    #[test]
    fn records_below_the_threshold_of_the_other_class_do_not_count() {
        let mut joint = joint(&[]);
        for ordinal in 0..50 {
            joint.add_label(1, 0.4);
            joint.add_contradiction(Contradiction {
                ordinal,
                label: 1,
                looks_like: 0,
                on_label: 0.4,
                on_other: 0.6,
            });
        }
        assert_eq!(joint.findings("confident-learning", &facts(), 10), []);
    }

    #[test]
    fn partitions_merge_to_the_same_findings() {
        let whole = joint(&[(1, 0, 37), (2, 0, 12)]);
        let mut parts = ConfidentJoint::new(3);
        let mut later = whole.clone();
        let mut earlier = ConfidentJoint::new(3);
        earlier.contradictions = later.contradictions.split_off(20);
        parts.merge(earlier);
        parts.merge(later);
        assert_eq!(
            parts.findings("confident-learning", &facts(), 10),
            whole.findings("confident-learning", &facts(), 10)
        );
    }
}
