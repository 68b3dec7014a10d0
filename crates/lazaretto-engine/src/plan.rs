//! Which detectors run, and what they need.

use std::collections::BTreeSet;

use lazaretto_core::report::DetectorStatus;
use lazaretto_core::{DataFacts, DetectorSpec, DynDetector, Intermediate, Role, ScoreKind};
use lazaretto_detectors::REGISTRY;
use serde_json::Value;

use crate::assemble::Wanted;
use crate::error::EngineError;
use crate::pipeline::Problem;
use crate::settings::Settings;
use crate::trusted::compared;

/// A detector that runs.
pub struct Planned {
    /// The detector.
    pub detector: Box<dyn DynDetector>,
    /// Its parameters, defaults included.
    pub parameters: Value,
}

/// A detector that does not run, and why.
#[derive(Clone, Debug)]
pub struct PassedOver {
    /// Its id.
    pub id: &'static str,
    /// Left out by the user, or not applicable.
    pub status: DetectorStatus,
    /// The reason.
    pub reason: String,
}

/// Which detectors run on a dataset.
pub struct Plan {
    /// Those that run, sorted by id.
    pub detectors: Vec<Planned>,
    /// Those that do not.
    pub passed_over: Vec<PassedOver>,
    /// Shared intermediates that are needed.
    pub intermediates: BTreeSet<Intermediate>,
}

impl Plan {
    /// Plans a scan of a dataset with `facts`.
    ///
    /// # Errors
    /// When a detector's parameters cannot be used or no detector applies.
    pub fn new(facts: &DataFacts, settings: &Settings) -> Result<Self, EngineError> {
        let mut plan = Self {
            detectors: Vec::new(),
            passed_over: Vec::new(),
            intermediates: BTreeSet::new(),
        };
        for registration in REGISTRY {
            let id = registration.spec.id;
            let given = settings.parameters.get(id).cloned().unwrap_or(Value::Null);
            let detector = registration.build(&given).map_err(|problems| {
                let key = |field: &str| format!("parameters.{id}.{field}");
                EngineError::Pipeline {
                    origin: settings.pipeline.clone(),
                    problems: problems
                        .into_iter()
                        .map(|problem| Problem::new(key(&problem.field), problem.to_string()))
                        .collect(),
                }
            })?;
            let outcome = match selected(registration.spec, settings) {
                Err(reason) => Err((DetectorStatus::Skipped, reason)),
                Ok(()) => detector
                    .applies(facts)
                    .map_err(|not| (DetectorStatus::NotApplicable, not.reason)),
            };
            match outcome {
                Ok(()) => plan.detectors.push(Planned {
                    parameters: with_defaults(registration.defaults(), given),
                    detector,
                }),
                Err((status, reason)) => plan.passed_over.push(PassedOver { id, status, reason }),
            }
        }
        if plan.detectors.is_empty() {
            let reasons = plan.passed_over.into_iter();
            return Err(EngineError::NoDetector {
                reasons: reasons
                    .map(|over| (over.id.to_owned(), over.reason))
                    .collect(),
            });
        }
        for planned in &plan.detectors {
            plan.intermediates
                .extend(planned.detector.spec().intermediates);
        }
        let searched = [Intermediate::Neighbors, Intermediate::AllNeighbors];
        if searched
            .iter()
            .any(|wanted| plan.intermediates.contains(wanted))
        {
            plan.intermediates
                .extend([Intermediate::Features, Intermediate::Reference]);
        }
        Ok(plan)
    }

    /// What the fit pass reads.
    pub(crate) fn fit_wanted(&self, facts: &DataFacts) -> Wanted {
        let mut roles: BTreeSet<Role> = self
            .detectors
            .iter()
            .flat_map(|planned| planned.detector.spec().fit_roles)
            .copied()
            .collect();
        roles.extend(lazaretto_features::fit_roles(&self.intermediates, facts));
        self.wanted(&roles, |spec| !spec.fit_roles.is_empty(), facts)
    }

    /// What the score pass reads.
    pub(crate) fn score_wanted(&self, facts: &DataFacts) -> Wanted {
        let mut roles: BTreeSet<Role> = self
            .detectors
            .iter()
            .flat_map(|planned| planned.detector.spec().score_roles)
            .copied()
            .collect();
        roles.extend(lazaretto_features::fit_roles(&self.intermediates, facts));
        roles.extend([Role::Label, Role::Source, Role::Time]);
        self.wanted(&roles, |_| true, facts)
    }

    /// What the pass reads that gathers the features of all records.
    pub(crate) fn gather_wanted(facts: &DataFacts) -> Wanted {
        let mut intermediates = BTreeSet::from([Intermediate::Features]);
        let mut roles: BTreeSet<Role> = lazaretto_features::fit_roles(&intermediates, facts)
            .into_iter()
            .collect();
        roles.insert(Role::Label);
        if facts.has_text() && facts.embedding_dim.is_none() {
            intermediates.insert(Intermediate::Tokens);
        }
        Wanted::new(&roles, &intermediates)
    }

    /// What is read of trusted records: what their intermediates are made from.
    pub(crate) fn trusted_wanted(&self, facts: &DataFacts) -> Wanted {
        let mut roles: BTreeSet<Role> = lazaretto_features::score_roles(&self.intermediates, facts)
            .into_iter()
            .collect();
        roles.insert(Role::Label);
        self.wanted(&roles, |_| false, facts)
    }

    /// What is read of trusted records to score them: of all roles that they must have.
    pub(crate) fn trusted_score_wanted(&self, facts: &DataFacts) -> Wanted {
        let specs = self.detectors.iter().map(|planned| planned.detector.spec());
        let roles = specs.flat_map(|spec| spec.score_roles).copied();
        let mut roles: BTreeSet<Role> = roles.filter(|&role| compared(role)).collect();
        roles.extend(lazaretto_features::fit_roles(&self.intermediates, facts));
        roles.insert(Role::Label);
        let scored = |spec: &DetectorSpec| spec.score_kind == ScoreKind::Statistical;
        self.wanted(&roles, scored, facts)
    }

    fn wanted(
        &self,
        roles: &BTreeSet<Role>,
        in_pass: impl Fn(&DetectorSpec) -> bool,
        facts: &DataFacts,
    ) -> Wanted {
        let mut intermediates: BTreeSet<Intermediate> = self
            .detectors
            .iter()
            .map(|planned| planned.detector.spec())
            .filter(|spec| in_pass(spec))
            .flat_map(|spec| spec.intermediates)
            .copied()
            .collect();
        // Text features and classifiers are made from words.
        let from_words = [
            Intermediate::Features,
            Intermediate::Neighbors,
            Intermediate::AllNeighbors,
            Intermediate::Probabilities,
            Intermediate::Reference,
            Intermediate::TextClassifier,
        ];
        if facts.has_text()
            && from_words
                .iter()
                .any(|intermediate| self.intermediates.contains(intermediate))
        {
            intermediates.insert(Intermediate::Tokens);
        }
        Wanted::new(roles, &intermediates)
    }
}

fn selected(spec: &DetectorSpec, settings: &Settings) -> Result<(), String> {
    let among = |list: &[String]| list.iter().any(|id| id == spec.id);
    if among(&settings.skip) {
        Err("left out by `skip`".to_owned())
    } else if among(&settings.also) || among(&settings.only) {
        Ok(())
    } else if !settings.only.is_empty() {
        Err("not among `only`".to_owned())
    } else if spec.by_default {
        Ok(())
    } else {
        Err(format!("runs on request: `--also {}`", spec.id))
    }
}

fn with_defaults(mut defaults: Value, given: Value) -> Value {
    if let (Value::Object(defaults), Value::Object(given)) = (&mut defaults, given) {
        defaults.extend(given);
    }
    defaults
}
