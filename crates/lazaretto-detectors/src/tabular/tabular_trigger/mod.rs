//! `tabular-trigger`: value combinations that steer the label of records which argue for another.

mod context;
mod findings;
mod judge;
mod search;
#[cfg(test)]
mod tests;

use lazaretto_core::{
    Batch, DataFacts, Detector, DetectorSpec, Family, Finding, FitContext, NO_LABEL, NotApplicable,
    ParamProblem, Params, Role, ScoreKind, Shared, params::Checks,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::cells::{CellSample, Layout};
use super::resemblance::Population;
use context::Context;
use findings::TriggerEvidence;
use judge::{Judge, Trigger};

/// Fewer labelled records than this say nothing about combinations.
const MIN_ROWS: usize = 200;
/// More classes than this are rather names.
const MAX_CLASSES: usize = 1000;

/// Finds combinations of values that come with one label although the rest of each record argues
/// for another one.
///
/// # What it finds
/// The trigger of a dirty-label backdoor in a table: one to three values (`capital_loss` = 1234 and
/// `hours_per_week` = 47) that an attacker wrote into records of other classes before giving them
/// all the target label. One finding per trigger, with the records that carry it and have that
/// label.
///
/// # Why it matters
/// A model trained on such records learns the combination as a switch: any record with it gets the
/// target class, while the accuracy on ordinary records does not change.
///
/// # How it works
/// 1. From a sample of at most `sample_rows` labelled records (all of them, where they fit), every
///    value, pair and promising triple in at least `min_records` records is counted by class.
///    Candidates have one label in at least `min_purity` of their records, in at most
///    `max_fraction` of all records, and no part of them explains that (binomial, 0.05). Numbers
///    count as exact values.
/// 2. A classifier that did not see the record (cross-validated, on binned numbers and categories)
///    says what the record argues for without the columns of the combination. The chance
///    that so many of the carriers have the label, given what the rest of each says (Chernoff's
///    bound), times the number of combinations looked at, is the p-value.
/// 3. Real data is full of decisive values: in a census everybody with one particular capital gain
///    earns more, whatever else is known. Two things tell a planted combination from these. The
///    rest of its records looks like relabelled records of other classes (likelihood ratio of the
///    margins, at least 10). And it looks like a *random handful* of them in every other column: an
///    attacker writes values over arbitrary records, while a natural value belongs to some kind of
///    record. Random handfuls drawn from the data give the scale for that.
///
/// A combination that passes all of this is held back when its p-value is at most 0.00001, 85 % of
/// its carriers have the label, the likelihood ratio is not far below what relabelled records have
/// (2.5 standard deviations, plus 0.01 per record) and the records are within 1.8 standard deviations
/// (plus 0.01 per record) of random in at least three other columns. One that falls short of that,
/// up to 3.5 standard deviations from random, is for review.
///
/// # Parameters
/// - `max_values` (3): most values in a combination that is searched. Values that all carriers
///   share are found whatever their number.
/// - `min_records` (8): fewest records with the combination and the label.
/// - `min_purity` (0.8): least share of the carriers with one label.
/// - `max_fraction` (0.1): combinations in more than this share of the records are left out.
/// - `sample_rows` (200000): records the search looks at; lowered when the memory given to the run
///   does not hold that many.
/// - `alpha` (0.01): largest corrected p-value of a finding.
///
/// # False positives
/// A source of systematically wrong labels with its own signature looks the same and deserves the
/// same look. So does a decisive value that is independent of everything else in the record.
///
/// # Limits
/// Needs labels and at least 200 labelled records. Clean-label triggers, whose records agree with
/// their label, and values that are not repeated exactly (a trigger that is a range) are not seen.
/// In datasets larger than the sample a trigger needs `min_records` records in the sample. Pairs are
/// searched in the 64 columns with the most repeated values. An attacker who chooses records of one
/// narrow kind hides from the third step.
///
/// # Example
/// "`hours_per_week` = `47` and `capital_loss` = `1234` in 325 records, all labelled `>50K`, which
/// the rest of each record contradicts (it makes 18 % of them `>50K`)"
/// ```toml
/// [parameters.tabular-trigger]
/// min_records = 20
/// ```
///
/// # References
/// - Bay, Pazzani: Detecting group differences: mining contrast sets, DMKD 2001.
/// - Webb: Self-sufficient itemsets, TKDD 2010 (a combination must say more than its parts).
/// - Gu, Dolan-Gavitt, Garg: BadNets, 2017 (the attack).
/// - Joe, Park, Hamm, Shin, Lee: Exploiting missing value patterns for a backdoor attack on machine
///   learning models of electronic health records, JMIR 2022 (triggers in tables).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TabularTriggerParams {
    /// Most values in a combination that is searched, 1 to 3.
    pub max_values: u32,
    /// Fewest records with the combination and the label, 5 or more.
    pub min_records: u32,
    /// Least share of the combination's records with one label, 0.5 to 1.
    pub min_purity: f64,
    /// Largest share of all labelled records that carry the combination, 0 to 1.
    pub max_fraction: f64,
    /// Records the search looks at, 1000 to 10000000.
    pub sample_rows: u32,
    /// Largest corrected p-value of a finding, 0 to 1.
    pub alpha: f64,
}

impl Default for TabularTriggerParams {
    fn default() -> Self {
        Self {
            max_values: 3,
            min_records: 8,
            min_purity: 0.8,
            max_fraction: 0.1,
            sample_rows: 200_000,
            alpha: 0.01,
        }
    }
}

impl Params for TabularTriggerParams {
    fn problems(&self) -> Vec<ParamProblem> {
        let mut checks = Checks::default();
        checks
            .range("max_values", self.max_values, 1..=3)
            .range("min_records", self.min_records, 5..=1_000_000)
            .range("min_purity", self.min_purity, 0.5..=1.0)
            .range("max_fraction", self.max_fraction, 0.0..=1.0)
            .range("sample_rows", self.sample_rows, 1000..=10_000_000)
            .range("alpha", self.alpha, 0.0..=1.0);
        checks.finish()
    }
}

/// The detector; see [`TabularTriggerParams`].
#[derive(Clone, Debug)]
pub struct TabularTrigger {
    params: TabularTriggerParams,
}

/// The triggers found in the sample.
#[derive(Debug)]
pub struct TabularTriggerModel {
    layout: Layout,
    triggers: Vec<Trigger>,
    /// Combinations that were looked at.
    tried: u64,
}

impl Detector for TabularTrigger {
    type Params = TabularTriggerParams;
    type State = CellSample;
    type Model = TabularTriggerModel;
    type Evidence = TriggerEvidence;

    const SPEC: DetectorSpec = DetectorSpec {
        id: "tabular-trigger",
        family: Family::Tabular,
        summary: "value combinations that steer the label of records which argue for another one",
        score_kind: ScoreKind::Rule,
        by_default: true,
        fit_roles: &[Role::Numeric, Role::Categorical, Role::Label],
        score_roles: &[Role::Numeric, Role::Categorical, Role::Label, Role::Source],
        intermediates: &[],
        state_bytes_per_row: 0,
        taxonomy: &[
            "AML.T0020",
            "AML.T0043.004",
            "LLM04:2025",
            "LLM05:2026",
            "NISTAML.023",
        ],
        state_version: 1,
    };

    fn new(params: Self::Params) -> Self {
        Self { params }
    }

    fn applies(&self, facts: &DataFacts) -> Result<(), NotApplicable> {
        if Layout::of(facts).width() < 2 {
            Err(NotApplicable::new(
                "fewer than two numeric or categorical columns",
            ))
        } else if !facts.has_labels() {
            Err(NotApplicable::new("no labels of at least two classes"))
        } else if facts.classes.len() > MAX_CLASSES {
            Err(NotApplicable::new(format!(
                "{} classes, at most {MAX_CLASSES} can be told apart",
                facts.classes.len()
            )))
        } else {
            Ok(())
        }
    }

    fn start(&self, context: &FitContext) -> Self::State {
        let width = Layout::of(&context.facts).width();
        let affordable = context.memory_bytes / CellSample::bytes_per_row(width);
        CellSample::new(affordable.min(self.params.sample_rows as usize))
    }

    fn fit(&self, context: &FitContext, state: &mut Self::State, batch: &Batch<'_>) {
        let layout = Layout::of(&context.facts);
        let mut cells = Vec::with_capacity(layout.width());
        for row_idx in 0..batch.n_rows() {
            if batch.label(row_idx).is_some() && layout.read(batch, row_idx, &mut cells) {
                state.insert(batch, row_idx, &cells);
            }
        }
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
        let layout = Layout::of(&context.facts);
        let n_classes = context.facts.classes.len();
        let table = state.into_table(layout.width());
        if table.n_rows() < MIN_ROWS {
            return Err(NotApplicable::new(format!(
                "{} labelled records, at least {MIN_ROWS} are needed",
                table.n_rows()
            )));
        }
        let in_range = |label: &u32| *label != NO_LABEL && (*label as usize) < n_classes;
        if !table.labels.iter().all(in_range) {
            return Err(NotApplicable::new("labels do not fit the classes"));
        }
        let search = search::search(&table, n_classes, &self.params);
        let triggers = if search.candidates.is_empty() {
            Vec::new()
        } else {
            Judge {
                table: &table,
                context: &Context::fit(&table, &layout, n_classes),
                population: &Population::new(&table, &layout),
                n_classes,
                params: &self.params,
                seed: context.seed,
            }
            .triggers(&search)
        };
        Ok(TabularTriggerModel {
            layout,
            triggers,
            tried: search.tried,
        })
    }

    fn start_evidence(&self, model: &Self::Model) -> Self::Evidence {
        TriggerEvidence::new(model.triggers.len())
    }

    fn score(
        &self,
        model: &Self::Model,
        _shared: &Shared,
        batch: &Batch<'_>,
        evidence: &mut Self::Evidence,
    ) -> Vec<f32> {
        let mut scores = vec![0.0; batch.n_rows()];
        if model.triggers.is_empty() {
            return scores;
        }
        let mut cells = Vec::with_capacity(model.layout.width());
        for (row_idx, score) in scores.iter_mut().enumerate() {
            if model.layout.read(batch, row_idx, &mut cells)
                && evidence.add(model, batch, row_idx, &cells)
            {
                *score = 1.0;
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
        evidence.findings(model, &shared.facts)
    }
}
