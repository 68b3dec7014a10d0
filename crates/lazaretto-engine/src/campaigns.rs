//! Findings that have one cause, as one campaign.
//!
//! A person acts on causes: one trigger that three detectors saw, one contributor, one night. Two
//! findings that hold records back are linked when they share records or lie in one cluster of near
//! duplicates or vectors, name the same trigger, are triggers of one kind for one class, or come from one
//! source or one short time; what is linked in any number of steps is a campaign. Findings for review join a campaign but never make one, so
//! that data without a finding that holds has no campaign.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;

use lazaretto_core::report::{CampaignReport, DetectorEvidence, FindingReport, GroupReport};
use lazaretto_core::{Action, Finding, Verdict};
use statrs::distribution::{Binomial, DiscreteCDF as _};

use crate::counts::{GroupCounts, grouped, time_text};
use crate::judge::finding_id;
use crate::spill::Spill;

/// Findings that are compared with each other; the report shows no more either.
const MAX_FINDINGS: usize = 500;
/// Findings that are counted for one record.
const MAX_PER_RECORD: usize = 32;
/// Least share of the smaller finding's records that the other must have too.
const SHARED: f64 = 0.5;
/// Least share of a finding's records that come from the source it is put down to.
const FROM_SOURCE: f64 = 0.8;
/// Largest chance, over all sources, that a finding's records come from one source so often.
const SOURCE_CHANCE: f64 = 1e-3;
/// Largest share of the dataset's records in a time that counts as short.
const SHORT_TIME: f64 = 0.05;
/// Fewest records from which a source or a time is read.
const MIN_RECORDS: usize = 5;
/// Triggers that a title names.
const MAX_NAMES: usize = 6;
/// Detectors whose findings are clusters: records that are alike, as texts or as vectors. Also where such a finding is
/// only for review, others that lie in it have one cause.
const CLUSTERS: [&str; 7] = [
    "activation-clustering",
    "class-collision",
    "exact-duplicates",
    "near-duplicates",
    "ood-cluster",
    "semantic-duplicates",
    "tight-cluster",
];
/// Shortest trigger that links findings by its name alone, in characters.
const MIN_TRIGGER: usize = 3;

/// Why two findings have one cause.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Link {
    /// They share most records of the smaller one.
    Records,
    /// Most records of each lie in one cluster, which this detector found.
    Cluster(String),
    /// They name the same string.
    Trigger(String),
    /// They are of one kind and aim at one class.
    Aim(String),
    /// Their records come from one source.
    Source(String),
    /// Their records come from one short time.
    Time,
}

impl Link {
    fn in_words(&self) -> String {
        match self {
            Self::Records => "the same records".to_owned(),
            Self::Cluster(detector) => format!("one cluster of `{detector}`"),
            Self::Trigger(trigger) => format!("the trigger `{trigger}`"),
            Self::Aim(class) => format!("one kind of evidence for class `{class}`"),
            Self::Source(source) => format!("source `{source}`"),
            Self::Time => "one short time".to_owned(),
        }
    }
}

/// What the dataset is like, to tell a source or a time that is special.
pub(crate) struct Background<'a> {
    /// Number of records that were judged.
    pub(crate) n_records: u64,
    pub(crate) sources: &'a [GroupReport],
    /// Times of a sample of the records in microseconds, ascending.
    pub(crate) times: &'a [i64],
}

/// Findings with one cause.
#[derive(Debug, Default)]
pub(crate) struct Campaign {
    /// Positions of its findings in report order, ascending.
    findings: Vec<usize>,
    links: BTreeSet<Link>,
    /// Number of records of its findings that hold records back.
    n_records: u64,
    held: u64,
    counts: GroupCounts,
}

/// A finding with what is known about its records.
struct Node<'a> {
    finding: &'a Finding,
    source: Option<&'a str>,
    /// First and last time, where they are close together.
    time: Option<(i64, i64)>,
    triggers: BTreeSet<String>,
}

impl<'a> Node<'a> {
    fn new(finding: &'a Finding, counts: &GroupCounts, background: &Background<'a>) -> Self {
        let triggers = finding.highlight.iter().map(|text| text.to_lowercase());
        Self {
            finding,
            source: background.source_of(counts, finding.records.len()),
            time: counts
                .times
                .filter(|span| finding.records.len() >= MIN_RECORDS && background.is_short(*span)),
            triggers: triggers
                .filter(|text| text.chars().count() >= MIN_TRIGGER)
                .collect(),
        }
    }

    fn holds(&self) -> bool {
        self.finding.action == Action::Quarantine
    }

    /// What links two findings that share `shared` records.
    fn links(&self, other: &Self, shared: u64) -> Vec<Link> {
        let mut links = Vec::new();
        let smaller = self.finding.records.len().min(other.finding.records.len());
        if shared > 0 && shared as f64 >= SHARED * smaller as f64 {
            links.push(Link::Records);
        }
        if !(self.holds() && other.holds()) {
            return links;
        }
        let same = self.triggers.intersection(&other.triggers).next();
        links.extend(same.map(|trigger| Link::Trigger(trigger.clone())));
        let alike = |finding: &'a Finding| (&finding.detector, &finding.kind);
        if alike(self.finding) == alike(other.finding)
            && self.finding.target_class == other.finding.target_class
        {
            let aim = self.finding.target_class.clone();
            links.extend(aim.map(Link::Aim));
        }
        if let (Some(mine), Some(theirs)) = (self.source, other.source)
            && mine == theirs
        {
            links.push(Link::Source(mine.to_owned()));
        }
        if let (Some(mine), Some(theirs)) = (self.time, other.time)
            && mine.0 <= theirs.1
            && theirs.0 <= mine.1
        {
            links.push(Link::Time);
        }
        links
    }
}

impl<'a> Background<'a> {
    /// The source that records counted in `counts` come from, if that is no chance.
    fn source_of(&self, counts: &GroupCounts, n_records: usize) -> Option<&'a str> {
        if n_records < MIN_RECORDS {
            return None;
        }
        let (&idx, &from) = counts.sources.iter().max_by_key(|&(_, &records)| records)?;
        let source = self.sources.get(idx as usize)?;
        if (from as f64) < FROM_SOURCE * n_records as f64 {
            return None;
        }
        let base = source.records as f64 / self.n_records.max(1) as f64;
        let binomial = Binomial::new(base.clamp(0.0, 1.0), n_records as u64).ok()?;
        let chance = binomial.sf(from.saturating_sub(1)) * self.sources.len() as f64;
        (chance <= SOURCE_CHANCE).then_some(&source.name)
    }

    /// Whether few records of the dataset lie in a span of time.
    fn is_short(&self, (first, last): (i64, i64)) -> bool {
        let before = self.times.partition_point(|&time| time < first);
        let until = self.times.partition_point(|&time| time <= last);
        !self.times.is_empty() && (until - before) as f64 <= SHORT_TIME * self.times.len() as f64
    }
}

/// Number of records that two findings share, by their positions; none is left out.
fn shared_records(findings: &[Finding]) -> BTreeMap<(usize, usize), u64> {
    let mut members: Vec<(u64, usize)> = Vec::new();
    for (idx, finding) in findings.iter().enumerate() {
        members.extend(finding.records.iter().map(|&ordinal| (ordinal, idx)));
    }
    members.sort_unstable();
    let mut shared = BTreeMap::new();
    for of_record in members.chunk_by(|left, right| left.0 == right.0) {
        let of_record = &of_record[..of_record.len().min(MAX_PER_RECORD)];
        for (place, &(_, left)) in of_record.iter().enumerate() {
            for &(_, right) in &of_record[place + 1..] {
                *shared.entry((left, right)).or_default() += 1;
            }
        }
    }
    shared
}

/// The campaigns among `findings`, which are in report order with the counts of their records.
///
/// # Errors
/// When the spilled records cannot be read.
pub(crate) fn campaigns(
    findings: &[Finding],
    counts: &[GroupCounts],
    background: &Background<'_>,
    verdicts: &[Verdict],
    spill: &Spill,
) -> io::Result<Vec<Campaign>> {
    let findings = &findings[..findings.len().min(counts.len()).min(MAX_FINDINGS)];
    let nodes: Vec<Node<'_>> = findings
        .iter()
        .zip(counts)
        .map(|(finding, counts)| Node::new(finding, counts, background))
        .collect();
    let mut campaigns = linked(&nodes, &shared_records(findings));
    for campaign in &mut campaigns {
        // What is for review adds evidence, not records.
        let members = campaign.findings.iter().map(|&idx| &findings[idx]);
        let holding = members.filter(|finding| finding.action == Action::Quarantine);
        let records: BTreeSet<u64> = holding
            .flat_map(|finding| finding.records.iter().copied())
            .collect();
        campaign.n_records = records.len() as u64;
        let held =
            |ordinal: &&u64| verdicts.get(**ordinal as usize).copied() == Some(Verdict::Quarantine);
        campaign.held = records.iter().filter(held).count() as u64;
        campaign.counts = GroupCounts::of(records, spill)?;
    }
    Ok(campaigns)
}

/// For each finding, those for review that are a cluster in which most of its records lie.
fn clusters_of(nodes: &[Node<'_>], shared: &BTreeMap<(usize, usize), u64>) -> Vec<BTreeSet<usize>> {
    let mut clusters = vec![BTreeSet::new(); nodes.len()];
    for (&(left, right), &shared) in shared {
        for (one, other) in [(left, right), (right, left)] {
            let cluster = &nodes[other];
            let is_cluster = CLUSTERS.contains(&cluster.finding.detector.as_str());
            let size = nodes[one].finding.records.len() as f64;
            // One that holds records back is linked as any finding that shares records.
            if is_cluster && !cluster.holds() && shared as f64 >= SHARED * size {
                clusters[one].insert(other);
            }
        }
    }
    clusters
}

/// Groups of linked findings, by their first finding.
fn linked(nodes: &[Node<'_>], shared: &BTreeMap<(usize, usize), u64>) -> Vec<Campaign> {
    let clusters = clusters_of(nodes, shared);
    let links = |left: usize, right: usize| {
        let pair = (left.min(right), left.max(right));
        let shared = shared.get(&pair).copied().unwrap_or(0);
        let mut links = nodes[left].links(&nodes[right], shared);
        if nodes[left].holds() && nodes[right].holds() {
            let both = clusters[left].intersection(&clusters[right]).next();
            links.extend(both.map(|&idx| Link::Cluster(nodes[idx].finding.detector.clone())));
        }
        links
    };
    let mut taken = vec![false; nodes.len()];
    let mut campaigns = Vec::new();
    for (first, node) in nodes.iter().enumerate() {
        if taken[first] || !node.holds() {
            continue;
        }
        taken[first] = true;
        let mut campaign = Campaign::default();
        let mut waiting = VecDeque::from([first]);
        while let Some(idx) = waiting.pop_front() {
            campaign.findings.push(idx);
            for other in 0..nodes.len() {
                if taken[other] || !nodes[other].holds() {
                    continue;
                }
                let links = links(idx, other);
                if !links.is_empty() {
                    taken[other] = true;
                    campaign.links.extend(links);
                    waiting.push_back(other);
                }
            }
        }
        campaigns.push(campaign);
    }
    // What is only for review joins the first campaign that it shares records with.
    for (idx, node) in nodes.iter().enumerate() {
        if node.holds() {
            continue;
        }
        let joined = campaigns.iter_mut().find(|campaign: &&mut Campaign| {
            let mut members = campaign.findings.iter();
            members.any(|&member| nodes[member].holds() && !links(idx, member).is_empty())
        });
        if let Some(campaign) = joined {
            campaign.findings.push(idx);
            campaign.links.insert(Link::Records);
        }
    }
    for campaign in &mut campaigns {
        campaign.findings.sort_unstable();
    }
    campaigns
}

/// A campaign for the report. `findings` are those of the report.
pub(crate) fn report(
    place: usize,
    campaign: &Campaign,
    findings: &[FindingReport],
    background: &Background<'_>,
    [classes, sources]: [&[String]; 2],
) -> CampaignReport {
    let members: Vec<&FindingReport> = campaign
        .findings
        .iter()
        .filter_map(|&idx| findings.get(idx))
        .collect();
    let holding = || {
        let members = members.iter().copied();
        members.filter(|finding| finding.action == Action::Quarantine)
    };
    let p_value = holding().map(|finding| finding.p_value).fold(1.0, f64::min);
    let mut taxonomy: Vec<String> = members.iter().flat_map(|f| f.taxonomy.clone()).collect();
    taxonomy.sort_unstable();
    taxonomy.dedup();
    let mut aims: Vec<&String> = holding().filter_map(|f| f.target_class.as_ref()).collect();
    aims.sort_unstable();
    aims.dedup();
    let target_class = match aims.as_slice() {
        [aim] => Some((*aim).clone()),
        _ => None,
    };
    let source = background.source_of(&campaign.counts, campaign.n_records as usize);
    let cause = Cause {
        members: &members,
        n_records: campaign.n_records,
        target_class: target_class.as_deref(),
        source,
        time: campaign.counts.times.filter(|span| {
            campaign.n_records as usize >= MIN_RECORDS && background.is_short(*span)
        }),
    };
    CampaignReport {
        id: format!("C{:03}", place + 1),
        title: cause.title(),
        severity: holding()
            .map(|finding| finding.severity)
            .max()
            .unwrap_or(lazaretto_core::Severity::Info),
        // The strongest of all findings of the run, any of which could have stood alone.
        confidence: (1.0 - p_value * findings.len() as f64).clamp(0.0, 1.0 - f64::EPSILON),
        n_records: campaign.n_records,
        held: campaign.held,
        suggestion: cause.suggestion(),
        labels: grouped(&campaign.counts.labels, classes),
        sources: grouped(&campaign.counts.sources, sources),
        time_span: campaign
            .counts
            .times
            .map(|(first, last)| (time_text(first), time_text(last))),
        links: campaign.links.iter().map(Link::in_words).collect(),
        findings: campaign
            .findings
            .iter()
            .map(|&idx| finding_id(idx))
            .collect(),
        detectors: evidence(&members),
        taxonomy,
        target_class,
    }
}

fn evidence(members: &[&FindingReport]) -> Vec<DetectorEvidence> {
    let mut by_detector = BTreeMap::<&str, DetectorEvidence>::new();
    for finding in members {
        let entry = by_detector
            .entry(&finding.detector)
            .or_insert_with(|| DetectorEvidence {
                id: finding.detector.clone(),
                findings: 0,
                records: 0,
                p_value: 1.0,
            });
        entry.findings += 1;
        entry.records += finding.n_records;
        entry.p_value = entry.p_value.min(finding.p_value);
    }
    let mut evidence: Vec<DetectorEvidence> = by_detector.into_values().collect();
    evidence.sort_by(|left, right| left.p_value.total_cmp(&right.p_value));
    evidence
}

/// What the words about a campaign are made from.
struct Cause<'a> {
    members: &'a [&'a FindingReport],
    n_records: u64,
    target_class: Option<&'a str>,
    source: Option<&'a str>,
    /// First and last time, where they are close together.
    time: Option<(i64, i64)>,
}

impl Cause<'_> {
    fn title(&self) -> String {
        let Some(lead) = self.members.first() else {
            return String::new();
        };
        if self.members.len() == 1 {
            return lead.title.clone();
        }
        let mut detectors: Vec<&str> = self.members.iter().map(|f| f.detector.as_str()).collect();
        detectors.sort_unstable();
        detectors.dedup();
        let mut title = format!(
            "{} findings of {} about {} records",
            self.members.len(),
            listed(&detectors),
            self.n_records
        );
        if let Some(source) = self.source {
            title.push_str(&format!(", most of them from source `{source}`"));
        }
        if let Some(class) = self.target_class {
            title.push_str(&format!(", aimed at class `{class}`"));
        }
        if let Some((first, last)) = self.time {
            let [first, last] = [first, last].map(time_text);
            title.push_str(&format!(", all between {first} and {last}"));
        }
        let names = self.names();
        if names.is_empty() {
            format!("{title}; the strongest: {}", lead.title)
        } else {
            format!("{title}: {}", names.join(", "))
        }
    }

    /// What findings of one kind name, if each of those that hold records back names something.
    fn names(&self) -> Vec<String> {
        let members = self.members.iter();
        let holding: Vec<_> = members
            .filter(|finding| finding.action == Action::Quarantine)
            .collect();
        let one_kind = holding
            .windows(2)
            .all(|two| (&two[0].detector, &two[0].kind) == (&two[1].detector, &two[1].kind));
        let names = holding.iter().map(|finding| finding.highlight.first());
        let named: Option<Vec<&String>> = names.collect();
        match named {
            Some(names) if names.len() > 1 && one_kind => {
                let mut quoted: Vec<String> =
                    names.iter().map(|name| format!("`{name}`")).collect();
                if quoted.len() > MAX_NAMES {
                    let more = quoted.len() - MAX_NAMES;
                    quoted.truncate(MAX_NAMES);
                    quoted.push(format!("and {more} more"));
                }
                quoted
            }
            _ => Vec::new(),
        }
    }

    /// What to do next. It depends on what was found, never on how the data reads.
    fn suggestion(&self) -> String {
        let any = |detectors: &[&str]| {
            let mut members = self.members.iter();
            members.any(|finding| detectors.contains(&finding.detector.as_str()))
        };
        let mut steps = Vec::new();
        if let Some(source) = self.source {
            steps.push(format!(
                "look at everything that source `{source}` contributed before using any of it"
            ));
        }
        if any(&["time-burst"]) {
            steps.push(
                "compare with a snapshot from before, and see whether the edits were reverted since"
                    .to_owned(),
            );
        }
        if any(&["content-hash"]) {
            steps.push("fetch the content again where its hash was recorded".to_owned());
        }
        if any(&["prompt-injection", "jailbreak", "hidden-text"]) {
            steps.push("keep the texts away from models and agents that read them".to_owned());
        }
        if any(&["secrets", "personal-data"]) {
            steps.push(
                "revoke what was leaked, and have the record removed where it came from".to_owned(),
            );
        }
        if any(&["text-trigger", "tabular-trigger", "response-trigger"]) {
            steps.push(
                "search other datasets for the trigger, and test models that were trained on this one with it"
                    .to_owned(),
            );
        }
        if any(&[
            "exact-duplicates",
            "near-duplicates",
            "tight-cluster",
            "semantic-duplicates",
        ]) {
            steps.push("keep one copy of each record".to_owned());
        }
        if any(&[
            "confident-learning",
            "knn-label-disagreement",
            "label-shift",
            "probe-influence",
            "source-enrichment",
        ]) {
            steps.push("have the labels of these records given anew".to_owned());
        }
        if steps.is_empty() {
            steps.push("train without these records until a person has seen them".to_owned());
        }
        steps.join("; ")
    }
}

fn listed(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [rest @ .., last] => format!("{} and {last}", rest.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use lazaretto_core::Severity;

    use super::*;

    fn finding(detector: &str, records: std::ops::Range<u64>, aim: Option<&str>) -> Finding {
        let mut finding = Finding::new(
            detector,
            "kind",
            Severity::High,
            Action::Quarantine,
            "title".to_owned(),
            1e-6,
        )
        .with_records(records.collect());
        finding.target_class = aim.map(str::to_owned);
        finding
    }

    fn sources() -> Vec<GroupReport> {
        ["a", "b", "c", "d"]
            .map(|name| GroupReport {
                name: name.to_owned(),
                records: 250,
                quarantined: 0,
            })
            .to_vec()
    }

    /// Groups of positions of `findings`, whose records all come from the source given with each.
    fn groups(
        findings: &[(Finding, Option<u32>)],
        times: &[Option<(i64, i64)>],
    ) -> Vec<Vec<usize>> {
        let sources = sources();
        let all_times: Vec<i64> = (0..1_000).collect();
        let background = Background {
            n_records: 1_000,
            sources: &sources,
            times: &all_times,
        };
        let list: Vec<Finding> = findings
            .iter()
            .map(|(finding, _)| finding.clone())
            .collect();
        let counts: Vec<GroupCounts> = findings
            .iter()
            .enumerate()
            .map(|(idx, (finding, source))| {
                let n = finding.records.len() as u64;
                let mut counts = GroupCounts::default();
                match source {
                    Some(source) => drop(counts.sources.insert(*source, n)),
                    None => counts.sources.extend((0..4).map(|source| (source, n / 4))),
                }
                counts.times = times.get(idx).copied().flatten();
                counts
            })
            .collect();
        let nodes: Vec<Node<'_>> = list
            .iter()
            .zip(&counts)
            .map(|(finding, counts)| Node::new(finding, counts, &background))
            .collect();
        linked(&nodes, &shared_records(&list))
            .into_iter()
            .map(|campaign| campaign.findings)
            .collect()
    }

    #[test]
    fn findings_about_the_same_records_are_one_campaign_and_others_are_not() {
        let findings = [
            (finding("x", 0..40, Some("1")), None),
            (finding("y", 10..60, None), None),
            (finding("z", 50..200, None), None),
            (finding("z", 300..340, None), None),
        ];
        // The third shares ten of fifty records with the second.
        assert_eq!(groups(&findings, &[]), [vec![0, 1], vec![2], vec![3]]);
    }

    #[test]
    fn findings_in_one_cluster_are_one_campaign_also_where_the_cluster_is_for_review() {
        let mut cluster = finding("near-duplicates", 0..200, None);
        cluster.action = Action::Review;
        let mut other = cluster.clone();
        other.detector = "label-shift".to_owned();
        let findings = |cluster: &Finding| {
            [
                (finding("x", 0..40, None), None),
                (finding("y", 100..140, None), None),
                // A tenth of it lies in the cluster.
                (finding("z", 190..290, None), None),
                (cluster.clone(), None),
            ]
        };
        assert_eq!(groups(&findings(&cluster), &[]), [vec![0, 1, 3], vec![2]]);
        assert_eq!(
            groups(&findings(&other), &[]),
            [vec![0, 3], vec![1], vec![2]]
        );
    }

    #[test]
    fn triggers_of_one_class_are_one_campaign() {
        let findings = [
            (finding("x", 0..40, Some("1")), None),
            (finding("x", 40..80, Some("1")), None),
            (finding("x", 80..120, Some("0")), None),
            (finding("y", 120..160, Some("1")), None),
        ];
        assert_eq!(groups(&findings, &[]), [vec![0, 1], vec![2], vec![3]]);
    }

    #[test]
    fn a_source_links_only_what_it_is_behind() {
        let findings = [
            (finding("x", 0..40, None), Some(1)),
            (finding("y", 40..80, None), Some(1)),
            (finding("z", 80..120, None), None),
            (finding("z", 120..123, None), Some(1)),
        ];
        assert_eq!(groups(&findings, &[]), [vec![0, 1], vec![2], vec![3]]);
    }

    #[test]
    fn short_times_that_overlap_link_and_long_ones_do_not() {
        let findings = ["u", "v", "w", "x"].map(|name| {
            let start = u64::from(name.as_bytes()[0]) * 50;
            (finding(name, start..start + 40, None), None)
        });
        let times = [
            Some((100, 110)),
            Some((105, 120)),
            Some((0, 900)),
            Some((500, 520)),
        ];
        assert_eq!(groups(&findings, &times), [vec![0, 1], vec![2], vec![3]]);
    }

    #[test]
    fn findings_for_review_join_and_never_make_a_campaign() {
        let mut review = finding("r", 0..30, None);
        review.action = Action::Review;
        let mut alone = finding("s", 500..530, None);
        alone.action = Action::Review;
        let holding = (finding("x", 10..30, None), None);
        let findings = [(review.clone(), None), holding, (alone.clone(), None)];
        assert_eq!(groups(&findings, &[]), [vec![0, 1]]);
        assert!(groups(&[(review, None), (alone, None)], &[]).is_empty());
    }
}
