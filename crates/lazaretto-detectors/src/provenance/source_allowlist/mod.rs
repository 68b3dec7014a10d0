//! `source-allowlist`: records from sources that nobody vouches for, or that are blocked.

mod host;

use std::collections::BTreeMap;

use arrow::array::Array as _;
use lazaretto_core::{
    Action, Batch, DataFacts, Detector, DetectorSpec, Family, Finding, FitContext, NotApplicable,
    ParamProblem, Params, Provenance, Role, ScoreKind, Severity, Shared, SourceList, Standing,
    Treatment,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Stated p-value: the list says so.
const P_VALUE: f64 = 1e-12;
/// Records that a finding lists when they are not held back; of more it tells the number alone.
const MAX_LISTED: u64 = 10_000;
/// Names that are counted one by one.
const MAX_NAMES: usize = 10_000;
/// Names beyond them.
const OTHERS: &str = "(others)";
/// Where nothing is said about the source.
const NONE: &str = "(none)";
/// Findings about blocked sources, one each.
const MAX_BLOCKED: usize = 50;
/// Names that a finding quotes.
const MAX_QUOTED: usize = 5;

/// Finds records whose source is blocked or unknown, by a list given with `--allowlist FILE`.
///
/// # What it finds
/// Records whose source, web address or file is blocked by the list, or not on it.
///
/// # Why it matters
/// Poison has to come from somewhere. Where the sources of a dataset are agreed on, a record from elsewhere
/// needs no other sign against it.
///
/// # How it works
/// The list is TOML or JSON:
/// ```toml
/// unknown = "review"          # allow, review (default), fail, quarantine
///
/// [trusted]
/// sources = ["curated", "partner-*"]      # values of the source column; * and ? match
/// domains = ["wikipedia.org"]             # hosts of the url column, subdomains included
/// files = [{ pattern = "2026/*.parquet", sha256 = ["9f86d0…"] }]
///
/// [blocked]
/// action = "quarantine"       # review, fail, quarantine (default)
/// sources = ["mirror-7"]
/// ```
/// - Of sources, domains and files those are asked for which the list has entries; a record is as good as the
///   worst of the answers. Whoever vouches for sources alone says nothing about domains.
/// - A file with digests is trusted when its content has one of them, else it is unknown.
/// - The host of an address is what a browser would ask: `https://trusted.org@evil.example` is from `evil.example`.
/// - The list may be signed (`lazaretto sign FILE` writes `FILE.dsse.json`). With `--trusted-key` it must be, and
///   a run with a list that is not ends before anything is scanned.
///
/// # Parameters
/// None: the list says what becomes of the records.
///
/// # False positives
/// Sources that the list forgot. `unknown = "review"` shows them and lets them pass.
///
/// # Limits
/// A record's source is what the record says: without digests or signatures at the source it can be forged. Of
/// more than 65,536 sources the last in alphabetical order are unknown.
///
/// # Example
/// "`sources.toml` blocks source `mirror-7`: 120 records"
///
/// # References
/// - OWASP Top 10 for LLM Applications, LLM04: vet data vendors, track origins of data.
/// - Carlini et al.: Poisoning Web-Scale Training Datasets is Practical, IEEE S&P 2024, arXiv 2302.10149.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SourceAllowlistParams {}

impl Params for SourceAllowlistParams {
    fn problems(&self) -> Vec<ParamProblem> {
        Vec::new()
    }
}

/// The detector; see [`SourceAllowlistParams`].
#[derive(Clone, Debug)]
pub struct SourceAllowlist {}

/// What of a record the list spoke about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Kind {
    Source,
    Domain,
    File,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Domain => "domain",
            Self::File => "file",
        }
    }
}

/// Records of one name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Tally {
    n_records: u64,
    /// Ascending; cut after [`MAX_LISTED`] where they are not held back.
    records: Vec<u64>,
}

/// Records from blocked and unknown sources, by name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Outsiders {
    tallies: BTreeMap<(Standing, Kind, String), Tally>,
}

/// The list, with the files it speaks about.
#[derive(Debug)]
pub struct Listed {
    list: SourceList,
    provenance: Provenance,
    sources: Vec<String>,
}

impl Listed {
    /// The worst that the list says about a row, about what, and its name.
    fn judge(&self, batch: &Batch<'_>, row_idx: usize) -> (Standing, Kind, String) {
        let mut worst = (Standing::Trusted, Kind::Source, String::new());
        let mut consider = |standing, kind, name: &dyn Fn() -> String| {
            if standing > worst.0 {
                worst = (standing, kind, name());
            }
        };
        if let Some(standings) = &self.list.sources {
            let source = batch.sources.map_or(u32::MAX, |sources| sources[row_idx]) as usize;
            let standing = standings.get(source).copied().unwrap_or(Standing::Unknown);
            let name = || {
                let name = self.sources.get(source);
                name.cloned().unwrap_or_else(|| NONE.to_owned())
            };
            consider(standing, Kind::Source, &name);
        }
        if let Some(domains) = &self.list.domains {
            let urls = batch.derived.urls.iter();
            let mut any = false;
            for url in urls.filter(|urls| urls.is_valid(row_idx)) {
                any = true;
                let host = host::host(url.value(row_idx));
                let standing = host
                    .as_deref()
                    .map_or(Standing::Unknown, |host| host::standing(domains, host));
                let name = || host.clone().unwrap_or_else(|| NONE.to_owned());
                consider(standing, Kind::Domain, &name);
            }
            if !any {
                consider(Standing::Unknown, Kind::Domain, &|| NONE.to_owned());
            }
        }
        if let Some(standings) = &self.list.files {
            let file = self.provenance.file_of(batch.ordinal(row_idx));
            let standing = file.and_then(|file| standings.get(file).copied());
            let name = || {
                let file = file.and_then(|file| self.provenance.files.get(file));
                file.map_or_else(|| NONE.to_owned(), |file| file.path.clone())
            };
            consider(standing.unwrap_or(Standing::Unknown), Kind::File, &name);
        }
        worst
    }

    fn treatment(&self, standing: Standing) -> Treatment {
        match standing {
            Standing::Trusted => Treatment::Allow,
            Standing::Unknown => self.list.unknown,
            Standing::Blocked => self.list.blocked,
        }
    }
}

impl Detector for SourceAllowlist {
    type Params = SourceAllowlistParams;
    type State = ();
    type Model = Listed;
    type Evidence = Outsiders;

    const SPEC: DetectorSpec = DetectorSpec {
        id: "source-allowlist",
        family: Family::Source,
        summary: "records from sources that a given list blocks or does not know",
        score_kind: ScoreKind::Rule,
        by_default: true,
        fit_roles: &[],
        score_roles: &[Role::Source, Role::Url],
        intermediates: &[],
        state_bytes_per_row: 0,
        taxonomy: &["AML.T0019", "AML.T0020", "LLM04:2025"],
        state_version: 1,
    };

    fn new(_params: Self::Params) -> Self {
        Self {}
    }

    fn applies(&self, facts: &DataFacts) -> Result<(), NotApplicable> {
        match &facts.provenance.sources {
            None => Err(NotApplicable::new("no list of sources (`--allowlist`)")),
            Some(list)
                if list.sources.is_none() && list.files.is_none() && list.domains.is_none() =>
            {
                Err(NotApplicable::new(
                    "the list of sources speaks about no column or file here",
                ))
            }
            Some(_) => Ok(()),
        }
    }

    fn start(&self, _context: &FitContext) -> Self::State {}

    fn fit(&self, _context: &FitContext, (): &mut Self::State, _batch: &Batch<'_>) {}

    fn merge(&self, _context: &FitContext, (): &mut Self::State, (): Self::State) {}

    fn model(
        &self,
        context: &FitContext,
        (): Self::State,
        _shared: &Shared,
    ) -> Result<Self::Model, NotApplicable> {
        self.applies(&context.facts)?;
        let provenance = context.facts.provenance.clone();
        let list = provenance.sources.clone();
        Ok(Listed {
            list: list.ok_or_else(|| NotApplicable::new("no list of sources"))?,
            provenance,
            sources: context.facts.sources.clone(),
        })
    }

    fn start_evidence(&self, _model: &Self::Model) -> Self::Evidence {
        Outsiders::default()
    }

    fn score(
        &self,
        model: &Self::Model,
        _shared: &Shared,
        batch: &Batch<'_>,
        evidence: &mut Self::Evidence,
    ) -> Vec<f32> {
        (0..batch.n_rows())
            .map(|row_idx| {
                let (standing, kind, name) = model.judge(batch, row_idx);
                let treatment = model.treatment(standing);
                if treatment == Treatment::Allow {
                    return 0.0;
                }
                let ordinal = batch.ordinal(row_idx);
                let tally = evidence.tally(standing, kind, name);
                tally.n_records += 1;
                if treatment == Treatment::Quarantine || tally.records.len() as u64 <= MAX_LISTED {
                    tally.records.push(ordinal);
                }
                if standing == Standing::Blocked {
                    1.0
                } else {
                    0.5
                }
            })
            .collect()
    }

    fn merge_evidence(&self, evidence: &mut Self::Evidence, later: Self::Evidence) {
        for ((standing, kind, name), later) in later.tallies {
            let tally = evidence.tally(standing, kind, name);
            tally.n_records += later.n_records;
            tally.records.extend(later.records);
        }
    }

    fn finish(
        &self,
        model: &Self::Model,
        _shared: &Shared,
        evidence: Self::Evidence,
    ) -> Vec<Finding> {
        let mut blocked: BTreeMap<Kind, Vec<(String, Tally)>> = BTreeMap::new();
        let mut unknown = blocked.clone();
        for ((standing, kind, name), tally) in evidence.tallies {
            let group = match standing {
                Standing::Blocked => &mut blocked,
                Standing::Trusted | Standing::Unknown => &mut unknown,
            };
            group.entry(kind).or_default().push((name, tally));
        }
        let mut findings = Vec::new();
        for (kind, mut named) in blocked {
            most_first(&mut named);
            let rest = named.split_off(named.len().min(MAX_BLOCKED));
            for one in named {
                findings.extend(finding(model, Standing::Blocked, kind, vec![one]));
            }
            findings.extend(finding(model, Standing::Blocked, kind, rest));
        }
        for (kind, mut named) in unknown {
            most_first(&mut named);
            findings.extend(finding(model, Standing::Unknown, kind, named));
        }
        findings
    }
}

impl Outsiders {
    fn tally(&mut self, standing: Standing, kind: Kind, name: String) -> &mut Tally {
        let key = (standing, kind, name);
        let key = if self.tallies.len() < MAX_NAMES || self.tallies.contains_key(&key) {
            key
        } else {
            (standing, kind, OTHERS.to_owned())
        };
        self.tallies.entry(key).or_default()
    }
}

fn most_first(named: &mut [(String, Tally)]) {
    named.sort_by(|left, right| {
        right
            .1
            .n_records
            .cmp(&left.1.n_records)
            .then_with(|| left.0.cmp(&right.0))
    });
}

/// The finding about the records of `named`, most first; `None` when there are none.
fn finding(
    model: &Listed,
    standing: Standing,
    kind: Kind,
    named: Vec<(String, Tally)>,
) -> Option<Finding> {
    let (action, severity) = match model.treatment(standing) {
        Treatment::Allow => return None,
        Treatment::Review => (Action::Review, Severity::Medium),
        Treatment::Fail => (Action::Fail, Severity::High),
        Treatment::Quarantine => (Action::Quarantine, Severity::High),
    };
    let n_records: u64 = named.iter().map(|(_, tally)| tally.n_records).sum();
    let word = kind.word();
    let list = &model.list.name;
    let title = match (standing, named.as_slice()) {
        (_, []) => return None,
        (Standing::Blocked, [(name, _)]) => {
            format!("`{list}` blocks {word} `{name}`: {n_records} record(s)")
        }
        (Standing::Blocked, more) => {
            format!(
                "`{list}` blocks {} more {word}s: {n_records} record(s)",
                more.len()
            )
        }
        (_, names) => {
            let quoted = names.iter().take(MAX_QUOTED);
            let quoted: Vec<String> = quoted
                .map(|(name, tally)| format!("`{name}` ({})", tally.n_records))
                .collect();
            let more = match names.len().saturating_sub(MAX_QUOTED) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            format!(
                "{n_records} record(s) are from {word}s that `{list}` does not know: {}{more}",
                quoted.join(", ")
            )
        }
    };
    let kind_of_finding = match standing {
        Standing::Blocked => "blocked-source",
        Standing::Trusted | Standing::Unknown => "unknown-source",
    };
    let names: Vec<&str> = named
        .iter()
        .take(MAX_BLOCKED)
        .map(|(name, _)| name.as_str())
        .collect();
    let finding = Finding::new(
        "source-allowlist",
        kind_of_finding,
        severity,
        action,
        title,
        P_VALUE,
    )
    .with_evidence("list", list.as_str())
    .with_evidence("listed_records", n_records)
    .with_evidence(&format!("{word}s"), names);
    let listed = action == Action::Quarantine || n_records <= MAX_LISTED;
    let records = named.into_iter().flat_map(|(_, tally)| tally.records);
    Some(finding.with_records(if listed {
        records.collect()
    } else {
        Vec::new()
    }))
}

#[cfg(test)]
mod tests;
