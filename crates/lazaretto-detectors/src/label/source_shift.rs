//! Sources whose labels are contradicted far more often than those of the other sources.

use lazaretto_core::detector::DataFacts;
use lazaretto_core::{Action, Finding, Severity};
use serde::{Deserialize, Serialize};
use statrs::distribution::{DiscreteCDF, NegativeBinomial};

use crate::label::confident_joint::{Contradiction, class_name};

/// Sources are told apart up to this many; records of later ones are not counted.
const MAX_SOURCES: usize = 1 << 16;
/// Sums of doubts are kept in units of 2⁻³², so that the order of addition does not matter.
const UNITS: f64 = 4_294_967_296.0;
/// Sources with fewer expected contradictions say nothing about how much sources differ.
const MIN_EXPECTED: f64 = 3.0;
/// Sources that are needed to know how much sources differ.
const MIN_SOURCES: usize = 5;
/// Honest sources differ by at least so much, as a coefficient of variation.
const NATURAL_VARIATION: f64 = 0.25;
/// A source is reported below this corrected p-value.
const REPORTED: f64 = 0.01;
/// Below this corrected p-value, and with this many times the expected number, its contradicted
/// records are held back, if there are so many other sources to compare it with.
const DOUBTLESS: f64 = 1e-6;
const DOUBTLESS_RATIO: f64 = 2.0;
const DOUBTLESS_SOURCES: usize = 8;
/// Share of the records of a finding that may be ordinary doubtful ones, by what the other sources
/// have of them.
const ORDINARY_SHARE: f64 = 0.1;

/// Probability of the likeliest class from which on the model is called sure.
const SURE: f32 = 0.75;
/// All records, and those of which the model is sure: flips among records that are easy to judge
/// stand out, and where none is easy the others have to do.
const TIERS: usize = 2;

/// Counts per source, of both tiers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SourceShift {
    tiers: [Tier; TIERS],
}

/// Counts per source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Tier {
    sources: Vec<Counts>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Counts {
    judged: u64,
    contradicted: u64,
    /// Chance of a contradiction by the model's own doubt, summed up, in [`UNITS`].
    doubt: u64,
}

impl Counts {
    fn expected(self) -> f64 {
        self.doubt as f64 / UNITS
    }

    fn ratio(self) -> f64 {
        self.contradicted as f64 / self.expected()
    }
}

impl SourceShift {
    /// Counts a record of `source`, whose likeliest class has probability `top`.
    pub(super) fn add(&mut self, source: u32, contradicted: bool, doubt: f64, top: f32) {
        let [all, sure] = &mut self.tiers;
        all.add(source as usize, contradicted, doubt);
        if top >= SURE {
            sure.add(source as usize, contradicted, doubt);
        }
    }

    /// Adds the counts of another partition.
    pub(super) fn merge(&mut self, later: &Self) {
        for (tier, later) in self.tiers.iter_mut().zip(&later.tiers) {
            tier.merge(later);
        }
    }

    /// The sources with too many contradicted labels, surest first. `contradictions` are those of
    /// the whole dataset, the clearest first.
    pub(super) fn findings(
        &self,
        detector: &str,
        facts: &DataFacts,
        contradictions: &[Contradiction],
        min_records: u64,
    ) -> Vec<Finding> {
        let [all, sure] = &self.tiers;
        let sure_ones: Vec<Contradiction> = contradictions
            .iter()
            .filter(|contradiction| contradiction.on_other >= SURE)
            .copied()
            .collect();
        let mut findings = all.findings(detector, facts, contradictions, min_records);
        findings.extend(sure.findings(detector, facts, &sure_ones, min_records));
        findings.sort_by(|(a_source, a), (b_source, b)| {
            let holds = |finding: &Finding| finding.action == Action::Quarantine;
            (a_source.cmp(b_source))
                .then(holds(b).cmp(&holds(a)))
                .then(a.p_value.total_cmp(&b.p_value))
        });
        findings.dedup_by_key(|(source, _)| *source);
        findings.sort_by(|(_, a), (_, b)| a.p_value.total_cmp(&b.p_value));
        findings.into_iter().map(|(_, finding)| finding).collect()
    }
}

impl Tier {
    fn add(&mut self, source: usize, contradicted: bool, doubt: f64) {
        if source >= MAX_SOURCES {
            return;
        }
        if self.sources.len() <= source {
            self.sources.resize(source + 1, Counts::default());
        }
        let counts = &mut self.sources[source];
        counts.judged += 1;
        counts.contradicted += u64::from(contradicted);
        #[expect(clippy::cast_sign_loss, reason = "clamped to 0..=1 first")]
        let units = (doubt.clamp(0.0, 1.0) * UNITS) as u64;
        counts.doubt += units;
    }

    fn merge(&mut self, later: &Self) {
        if self.sources.len() < later.sources.len() {
            self.sources.resize(later.sources.len(), Counts::default());
        }
        for (counts, later) in self.sources.iter_mut().zip(&later.sources) {
            counts.judged += later.judged;
            counts.contradicted += later.contradicted;
            counts.doubt += later.doubt;
        }
    }

    /// The suspicious sources and what is found about each.
    ///
    /// The model's doubt says how many contradictions the content of a source leads to expect; how
    /// many times more there are is compared between sources. The number is judged by a negative
    /// binomial law around the median source, as wide as the sources scatter.
    fn findings(
        &self,
        detector: &str,
        facts: &DataFacts,
        contradictions: &[Contradiction],
        min_records: u64,
    ) -> Vec<(usize, Finding)> {
        let comparable: Vec<f64> = self
            .sources
            .iter()
            .filter(|counts| counts.expected() >= MIN_EXPECTED)
            .map(|counts| counts.ratio())
            .collect();
        if comparable.len() < MIN_SOURCES {
            return Vec::new();
        }
        let centre = median(comparable.clone());
        if centre <= 0.0 {
            return Vec::new();
        }
        let deviations = comparable.iter().map(|r| (r / centre - 1.0).abs());
        let scatter = (1.4826 * median(deviations.collect())).max(NATURAL_VARIATION);
        let tested = |counts: &Counts| counts.contradicted >= min_records && counts.doubt > 0;
        let n_tests = self.sources.iter().filter(|counts| tested(counts)).count();
        let judge = Judge {
            detector,
            facts,
            contradictions,
            centre,
            scatter,
            n_tests: (TIERS * n_tests) as f64,
            n_others: comparable.len() - 1,
            all: self.total(),
        };
        let suspects = self.sources.iter().enumerate();
        suspects
            .filter(|(_, counts)| tested(counts))
            .filter_map(|(source, counts)| {
                Some((source, judge.finding(source, *counts, min_records)?))
            })
            .collect()
    }

    fn total(&self) -> Counts {
        let mut total = Counts::default();
        for counts in &self.sources {
            total.judged += counts.judged;
            total.contradicted += counts.contradicted;
            total.doubt += counts.doubt;
        }
        total
    }
}

struct Judge<'a> {
    detector: &'a str,
    facts: &'a DataFacts,
    contradictions: &'a [Contradiction],
    centre: f64,
    scatter: f64,
    n_tests: f64,
    n_others: usize,
    all: Counts,
}

/// The records of a source that a finding is about.
struct Listed {
    records: Vec<u64>,
    /// How many of them the other sources lead to expect.
    ordinary: f64,
    /// The most frequent pair (label, looks like) with its number.
    pair: (u32, u32, usize),
}

impl Judge<'_> {
    fn finding(&self, source: usize, counts: Counts, min_records: u64) -> Option<Finding> {
        let expected = counts.expected() * self.centre;
        // Mean m and variance m + (m × scatter)².
        let size = self.scatter.powi(-2);
        let natural = NegativeBinomial::new(size, size / (size + expected)).ok()?;
        let tail = natural.sf(counts.contradicted.saturating_sub(1));
        let p_value = (tail.max(f64::MIN_POSITIVE) * self.n_tests).min(1.0);
        if p_value.is_nan() || p_value > REPORTED {
            return None;
        }
        let ratio = counts.contradicted as f64 / expected;
        let purest = self.listed(source, counts, ORDINARY_SHARE, min_records);
        let doubtless =
            p_value <= DOUBTLESS && ratio >= DOUBTLESS_RATIO && self.n_others >= DOUBTLESS_SOURCES;
        let (action, listed) = match purest.filter(|_| doubtless) {
            Some(listed) => (Action::Quarantine, listed),
            None => (
                Action::Review,
                self.listed(source, counts, f64::INFINITY, min_records)?,
            ),
        };
        Some(self.describe(source, counts, expected, p_value, action, &listed))
    }

    /// The most clearly contradicted records of a source: as many as keep the share of those that
    /// the other sources lead to expect within `ordinary_share`.
    fn listed(
        &self,
        source: usize,
        counts: Counts,
        ordinary_share: f64,
        min_records: u64,
    ) -> Option<Listed> {
        let elsewhere = self.all.expected() - counts.expected();
        if elsewhere <= 0.0 {
            return None;
        }
        let share = counts.expected() / elsewhere;
        let (mut own, mut others) = (Vec::new(), 0_u64);
        let mut best = (0, 0.0);
        for contradiction in self.contradictions {
            if contradiction.source as usize != source {
                others += 1;
                continue;
            }
            own.push(contradiction);
            let ordinary = others as f64 * share;
            if ordinary <= ordinary_share * own.len() as f64 {
                best = (own.len(), ordinary);
            }
        }
        own.truncate(best.0);
        if (own.len() as u64) < min_records {
            return None;
        }
        let mut pairs: Vec<(u32, u32)> = own.iter().map(|c| (c.label, c.looks_like)).collect();
        pairs.sort_unstable();
        let pair = pairs
            .chunk_by(|a, b| a == b)
            .map(|group| (group[0].0, group[0].1, group.len()))
            .max_by_key(|&(label, looks_like, n)| (n, std::cmp::Reverse((label, looks_like))))?;
        Some(Listed {
            records: own.iter().map(|c| c.ordinal).collect(),
            ordinary: best.1,
            pair,
        })
    }

    fn describe(
        &self,
        source: usize,
        counts: Counts,
        expected: f64,
        p_value: f64,
        action: Action,
        listed: &Listed,
    ) -> Finding {
        let name = self.facts.sources.get(source);
        let name = name.map_or_else(|| source.to_string(), Clone::clone);
        let (label, looks_like) = (
            class_name(self.facts, listed.pair.0),
            class_name(self.facts, listed.pair.1),
        );
        let title = format!(
            "{} of {} labels from source `{name}` that can be judged are contradicted by the \
             content, {expected:.0} would be expected from the other sources; most are `{label}` \
             that look like `{looks_like}`",
            counts.contradicted, counts.judged
        );
        let severity = match action {
            Action::Quarantine | Action::Fail => Severity::High,
            Action::Review => Severity::Medium,
        };
        let kind = "source-label-shift";
        let mut finding = Finding::new(self.detector, kind, severity, action, title, p_value)
            .with_records(listed.records.clone())
            .with_evidence("source", name)
            .with_evidence("judged", counts.judged)
            .with_evidence("contradicted", counts.contradicted)
            .with_evidence("expected", expected)
            .with_evidence("scatter_of_sources", self.scatter)
            .with_evidence("listed", listed.records.len())
            .with_evidence("listed_expected", listed.ordinary)
            .with_evidence("label", label.clone())
            .with_evidence("looks_like", looks_like)
            .with_evidence("of_this_pair", listed.pair.2);
        // Flips in all directions have no target.
        if 2 * listed.pair.2 > listed.records.len() && self.facts.classes.contains(&label) {
            finding.target_class = Some(label);
        }
        finding
    }
}

/// The middle value, 0 of none.
fn median(mut values: Vec<f64>) -> f64 {
    if values.is_empty() {
        return 0.0;
    }
    let middle = values.len() / 2;
    *values.select_nth_unstable_by(middle, f64::total_cmp).1
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 20 sources of 500 records with doubt 0.1, one in `1 / rate` contradicted; of source 3 `flips`
    /// more, all of them clearer than most others.
    fn scene(rates: &[f64], flips: u64) -> (SourceShift, Vec<Contradiction>) {
        let (mut shift, mut contradictions) = (SourceShift::default(), Vec::new());
        for row in 0..500 * rates.len() as u64 {
            let source = row % rates.len() as u64;
            let within = row / rates.len() as u64;
            let natural = (within as f64 * rates[source as usize]).fract() < rates[source as usize];
            let flipped = source == 3 && !natural && within % 500 < flips;
            let on_other = if flipped || within.is_multiple_of(100) {
                0.9
            } else {
                0.6
            };
            shift.add(source as u32, natural || flipped, 0.1, on_other);
            if natural || flipped {
                contradictions.push(Contradiction {
                    ordinal: row,
                    label: 1,
                    looks_like: 0,
                    source: source as u32,
                    on_label: 1.0 - on_other,
                    on_other,
                });
            }
        }
        contradictions.sort_by(|a, b| b.clearness().total_cmp(&a.clearness()));
        (shift, contradictions)
    }

    fn facts(n_sources: usize) -> DataFacts {
        DataFacts {
            classes: ["bad", "good"].map(String::from).to_vec(),
            sources: (0..n_sources).map(|source| format!("s{source}")).collect(),
            ..DataFacts::default()
        }
    }

    fn findings(rates: &[f64], flips: u64) -> Vec<Finding> {
        let (shift, contradictions) = scene(rates, flips);
        shift.findings("label-shift", &facts(rates.len()), &contradictions, 10)
    }

    #[test]
    fn a_source_that_flips_labels_is_named_and_its_flips_are_held_back() {
        let findings = findings(&[0.1; 20], 250);
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert_eq!(findings[0].action, Action::Quarantine);
        assert!(findings[0].title.contains("source `s3`"));
        assert_eq!(findings[0].target_class.as_deref(), Some("good"));
        let own = findings[0].records.iter().filter(|&&row| row % 20 == 3);
        assert_eq!(own.count(), findings[0].records.len());
        assert!(findings[0].records.len() >= 200);
    }

    #[test]
    fn sources_of_different_quality_are_not_reported() {
        let rates: Vec<f64> = (0..20)
            .map(|source| 0.05 + 0.01 * f64::from(source))
            .collect();
        assert_eq!(findings(&rates, 0), []);
    }

    #[test]
    fn few_sources_are_no_comparison() {
        assert_eq!(findings(&[0.1; 4], 250), []);
        let few = findings(&[0.1; 6], 250);
        assert!(few.iter().all(|finding| finding.action == Action::Review));
        assert_eq!(few.len(), 1);
    }

    #[test]
    fn partitions_merge_to_the_same_counts() {
        let (whole, _) = scene(&[0.1; 20], 250);
        let mut left = SourceShift::default();
        let mut right = SourceShift::default();
        left.add(0, true, 0.25, 0.75);
        right.add(7, false, 0.5, 0.5);
        right.add(u32::MAX, true, 0.5, 0.5);
        left.merge(&right);
        let [all, sure] = &left.tiers;
        assert_eq!((all.sources.len(), sure.sources.len()), (8, 1));
        assert_eq!(all.total().judged, 2);
        let mut twice = whole.clone();
        twice.merge(&whole);
        assert_eq!(
            twice.tiers[0].total().doubt,
            2 * whole.tiers[0].total().doubt
        );
    }
}
