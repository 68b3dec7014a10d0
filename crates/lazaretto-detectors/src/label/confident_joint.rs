//! The confident joint: which labels the content contradicts, counted per pair of classes.

use lazaretto_core::detector::DataFacts;
use lazaretto_core::{Action, Finding, Severity};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use statrs::distribution::{Binomial, DiscreteCDF, Poisson};

use crate::label::opinion::{JudgedClasses, Opinion};

/// Contradictions kept at most; beyond it the clearest stay. 24 MB.
const CAPACITY: usize = 1_000_000;

/// Pairs of classes that confuse naturally are seldom lopsided beyond three to one; this is the
/// share of one direction that the test takes for ordinary.
const NATURAL_SHARE: f64 = 0.75;

/// A pair is called one-way below this corrected p-value.
const ONE_WAY_LEVEL: f64 = 0.01;

/// Ordered pairs of classes from which on the others show what is ordinary: five classes.
const MIN_OTHERS: f64 = 20.0;

/// A pair that is compared with the others has to be lopsided itself below this p-value.
const LOPSIDED_LEVEL: f64 = 0.05;

/// Records listed in the summary, the clearest first; the scores have the rest.
const SUMMARY_RECORDS: usize = 1000;

/// Pairs that the summary names, the most one-sided first.
const MOST_PAIRS: usize = 3;

/// Standard deviations by which one direction has to outweigh the other to be named.
const LEAST_EXCESS: f64 = 2.0;

/// A record whose most probable class is not its label.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Contradiction {
    /// Dataset-wide ordinal.
    pub(crate) ordinal: u64,
    /// Class index of its label.
    pub(crate) label: u32,
    /// Its most probable class.
    pub(crate) looks_like: u32,
    /// Index of its source, `u32::MAX` without one.
    pub(crate) source: u32,
    /// Probability of its label.
    pub(crate) on_label: f32,
    /// Probability of its most probable class.
    pub(crate) on_other: f32,
}

impl Contradiction {
    /// How clear it is; ties are broken by ordinal to keep the selection the same everywhere.
    pub(crate) fn clearness(&self) -> f32 {
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

    /// Adds what the model says about the label of record `ordinal`, from `source`.
    pub(crate) fn add(
        &mut self,
        opinion: &Opinion,
        classes: &JudgedClasses,
        ordinal: u64,
        source: u32,
    ) {
        self.add_label(opinion.label, opinion.on_label);
        if opinion.on_other > opinion.on_label && classes.contains(opinion.best_other) {
            self.add_contradiction(Contradiction {
                ordinal,
                label: opinion.label as u32,
                looks_like: opinion.best_other as u32,
                source,
                on_label: opinion.on_label,
                on_other: opinion.on_other,
            });
        }
    }

    /// Counts a record labelled `label` to which the model gives probability `on_label` for it.
    fn add_label(&mut self, label: usize, on_label: f32) {
        /// 2³².
        const UNITS: f64 = 4_294_967_296.0;
        self.counts[label] += 1;
        #[expect(clippy::cast_sign_loss, reason = "clamped to 0..=1 first")]
        let units = (f64::from(on_label.clamp(0.0, 1.0)) * UNITS) as u64;
        self.self_confidence[label] += units;
    }

    /// Adds a record whose most probable class is not its label.
    fn add_contradiction(&mut self, contradiction: Contradiction) {
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

    /// All contradictions that were kept, the clearest first.
    pub(crate) fn clearest_first(&mut self) -> &[Contradiction] {
        self.trim();
        self.sort();
        &self.contradictions
    }

    /// The contradictions whose other class reaches its threshold, the clearest first.
    fn confident(&mut self) -> Vec<Contradiction> {
        let thresholds = self.thresholds();
        let reaches = |c: &&Contradiction| {
            let threshold = thresholds.get(c.looks_like as usize);
            threshold.is_some_and(|&threshold| f64::from(c.on_other) >= threshold)
        };
        self.clearest_first()
            .iter()
            .filter(reaches)
            .copied()
            .collect()
    }

    /// The one-way pairs of classes, surest first.
    pub(crate) fn one_way_findings(
        &mut self,
        detector: &str,
        facts: &DataFacts,
        min_pair_records: u64,
    ) -> Vec<Finding> {
        let pairs = pairs(&self.confident());
        let n_classes = self.counts.iter().filter(|&&count| count > 0).count();
        let n_tests = (n_classes * n_classes.saturating_sub(1)).max(1) as f64;
        let mut findings: Vec<Finding> = pairs
            .iter()
            .filter(|pair| pair.records.len() as u64 >= min_pair_records)
            .filter_map(|pair| one_way(detector, pair, &pairs, facts, &self.counts, n_tests))
            .collect();
        findings.sort_by(|a, b| a.p_value.total_cmp(&b.p_value));
        findings
    }

    /// A summary of all contradicted labels, if there are `min_pair_records` of them.
    pub(crate) fn noise_finding(
        &mut self,
        detector: &str,
        facts: &DataFacts,
        min_pair_records: u64,
    ) -> Option<Finding> {
        let confident = self.confident();
        self.summary(
            detector,
            facts,
            &confident,
            &pairs(&confident),
            min_pair_records,
        )
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
            "{} of {judged} labels ({:.1} %) are confidently contradicted by the content{}",
            confident.len(),
            100.0 * share,
            most_one_sided(pairs, facts)
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
                    "other_way_round": reverse_of(pair, pairs),
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

/// The pairs that occur, ascending by both classes.
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

pub(crate) fn class_name(facts: &DataFacts, class: u32) -> String {
    match facts.classes.get(class as usize) {
        Some(name) => name.clone(),
        None => class.to_string(),
    }
}

/// Confidently contradicted records the other way round.
fn reverse_of(pair: &Pair, pairs: &[Pair]) -> u64 {
    let key = (pair.looks_like, pair.label);
    let reverse = pairs.binary_search_by_key(&key, |other| (other.label, other.looks_like));
    reverse.map_or(0, |place| pairs[place].records.len() as u64)
}

/// The pairs of classes in which one direction outweighs the other most, in words: `; most one-sided:
/// 20 labelled `2` look like `1` (2 the other way round)`. It says where to look and tests nothing,
/// because natural confusion can be one-sided as well.
fn most_one_sided(pairs: &[Pair], facts: &DataFacts) -> String {
    let mut sided: Vec<(f64, &Pair, u64)> = pairs
        .iter()
        .map(|pair| {
            let (forward, reverse) = (pair.records.len() as f64, reverse_of(pair, pairs));
            let excess = forward - reverse as f64;
            (excess / (forward + reverse as f64).sqrt(), pair, reverse)
        })
        .filter(|&(excess, ..)| excess >= LEAST_EXCESS)
        .collect();
    // Equal ones stay in the order of their classes.
    sided.sort_by(|a, b| b.0.total_cmp(&a.0));
    let named: Vec<String> = sided
        .iter()
        .take(MOST_PAIRS)
        .map(|(_, pair, reverse)| {
            format!(
                "{} labelled `{}` look like `{}` ({reverse} the other way round)",
                pair.records.len(),
                class_name(facts, pair.label),
                class_name(facts, pair.looks_like)
            )
        })
        .collect();
    if named.is_empty() {
        return String::new();
    }
    format!("; most one-sided: {}", named.join(", "))
}

/// A finding when far more records labelled `a` look like `b` than the other way round.
///
/// Under natural confusion the larger direction has a share of at most [`NATURAL_SHARE`], and
/// noise that hits every record alike makes as many times more of them as there are more records
/// that look like `b`. The p-value is the binomial tail at the share that follows from both, times
/// the number of ordered pairs.
///
/// With enough classes the other pairs show how much confusion is ordinary, too: a pair that the
/// binomial tail alone does not clear, but that has far more records than the largest of them, by a
/// Poisson law, is one-way as well.
fn one_way(
    detector: &str,
    pair: &Pair,
    pairs: &[Pair],
    facts: &DataFacts,
    counts: &[u64],
    n_tests: f64,
) -> Option<Finding> {
    let forward = pair.records.len() as u64;
    let reverse = reverse_of(pair, pairs);
    let size = |class: u32| counts.get(class as usize).copied().unwrap_or(0).max(1) as f64;
    let odds =
        NATURAL_SHARE / (1.0 - NATURAL_SHARE) * (size(pair.looks_like) / size(pair.label)).max(1.0);
    let natural_share = odds / (1.0 + odds);
    let natural = Binomial::new(natural_share, forward + reverse).ok()?;
    let lopsided = natural.sf(forward.saturating_sub(1));
    let compares = n_tests >= MIN_OTHERS;
    let beyond_others = if compares && lopsided <= LOPSIDED_LEVEL {
        let mine = |class: u32| class == pair.label || class == pair.looks_like;
        let others = pairs
            .iter()
            .filter(|other| !(mine(other.label) && mine(other.looks_like)));
        let largest = others.map(|other| other.records.len()).max().unwrap_or(0);
        let ordinary = Poisson::new(1.0 + largest as f64).ok()?;
        ordinary.sf(forward.saturating_sub(1))
    } else {
        1.0
    };
    let n_tests = if compares { 2.0 * n_tests } else { n_tests };
    let p_value = (lopsided.min(beyond_others) * n_tests).min(1.0);
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
    .with_evidence("natural_share", natural_share);
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
                    source: u32::MAX,
                    on_label: 0.05,
                    on_other: 0.94,
                });
                ordinal += 1;
            }
        }
        joint
    }

    /// All findings about pairs, then the summary.
    fn all_findings(mut joint: ConfidentJoint) -> Vec<Finding> {
        let mut findings = joint.one_way_findings("label-shift", &facts(), 10);
        findings.extend(joint.noise_finding("confident-learning", &facts(), 10));
        findings
    }

    #[test]
    fn a_one_way_pair_is_found_with_its_records_and_direction() {
        let findings = all_findings(joint(&[(1, 0, 37), (0, 1, 1), (2, 0, 45), (0, 2, 45)]));
        assert_eq!(findings.len(), 2, "{findings:?}");
        assert_eq!(
            findings[0].title,
            "37 records labelled `b` look like `a`, 1 the other way round"
        );
        assert_eq!(findings[0].records, (300..337).collect::<Vec<u64>>());
        assert_eq!(findings[0].target_class.as_deref(), Some("b"));
        // scipy 1.16: binom.sf(36, 38, s) × 6 pairs, with s / (1 − s) = 3 × 146 / 137
        assert!(
            (findings[0].p_value - 0.002_494).abs() < 5e-6,
            "{}",
            findings[0].p_value
        );
        assert_eq!(findings[1].kind, "label-noise");
        assert_eq!(findings[1].p_value, 1.0);
        let pair = "; most one-sided: 37 labelled `b` look like `a` (1 the other way round)";
        assert!(findings[1].title.ends_with(pair), "{}", findings[1].title);
    }

    #[test]
    fn mutual_confusion_only_makes_the_summary() {
        let findings = all_findings(joint(&[(1, 0, 30), (0, 1, 24)]));
        let kinds: Vec<_> = findings.iter().map(|f| f.kind.as_str()).collect();
        assert_eq!(kinds, ["label-noise"]);
        assert!(findings.iter().all(|f| f.action == Action::Review));
    }

    #[test]
    fn even_noise_in_classes_of_different_sizes_is_not_one_way() {
        let mut joint = joint(&[(1, 0, 120), (0, 1, 12)]);
        for _ in 0..1000 {
            joint.add_label(0, 0.9);
        }
        let findings = all_findings(joint);
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert_eq!(findings[0].kind, "label-noise");
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
                source: u32::MAX,
                on_label: 0.4,
                on_other: 0.6,
            });
        }
        assert_eq!(all_findings(joint), []);
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
        assert_eq!(all_findings(parts), all_findings(whole));
    }
}
