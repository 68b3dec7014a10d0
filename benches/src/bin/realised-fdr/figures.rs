//! Averages over repetitions, as lines of a table.

use std::collections::BTreeMap;

use lazaretto_engine::calibrate::Diagnosis;

use crate::run::Repetition;

/// One kind of data at one level of poison.
pub(crate) struct Cell {
    /// Mean of held clean over held, 0 where nothing is held: the false-discovery rate.
    fdr: f64,
    /// Half of its 95 % interval.
    fdr_error: f64,
    /// Mean share of the poison that is held.
    power: Option<f64>,
    /// Mean share of the clean records that are held.
    false_positives: f64,
    /// Share of runs that hold a clean record.
    any_false: f64,
    /// Share of runs that hold anything.
    any: f64,
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let n = values.len().max(1) as f64;
    values.sum::<f64>() / n
}

fn proportion(repetition: &Repetition) -> f64 {
    let [clean, poison] = repetition.held;
    clean as f64 / (clean + poison).max(1) as f64
}

impl Cell {
    pub(crate) fn of(repetitions: &[Repetition]) -> Self {
        let each = repetitions.iter();
        let fdr = mean(each.clone().map(proportion));
        let variance = mean(each.clone().map(|run| (proportion(run) - fdr).powi(2)));
        let share = |is: fn(&Repetition) -> bool| mean(each.clone().map(|run| f64::from(is(run))));
        Self {
            fdr,
            fdr_error: 1.96 * (variance / repetitions.len().max(1) as f64).sqrt(),
            power: repetitions.iter().all(|run| run.poison > 0).then(|| {
                mean(
                    each.clone()
                        .map(|run| run.held[1] as f64 / run.poison as f64),
                )
            }),
            false_positives: mean(
                each.clone()
                    .map(|run| run.held[0] as f64 / run.clean as f64),
            ),
            any_false: share(|run| run.held[0] > 0),
            any: share(|run| run.held != [0, 0]),
        }
    }

    pub(crate) fn header() -> String {
        format!(
            "{:16} {:>6} {:>14} {:>8} {:>11} {:>10} {:>9}",
            "data", "poison", "realised FDR", "power", "clean held", "any false", "any held"
        )
    }

    pub(crate) fn row(&self, kind: &str, level: &str) -> String {
        let percent = |share: f64| format!("{:.1} %", 100.0 * share);
        let optional = |share: Option<f64>| share.map_or_else(|| "-".to_owned(), percent);
        format!(
            "{kind:16} {level:>6} {:>14} {:>8} {:>11} {:>10} {:>9}",
            format!("{:.1} ± {:.1} %", 100.0 * self.fdr, 100.0 * self.fdr_error),
            optional(self.power),
            format!("{:.2} %", 100.0 * self.false_positives),
            percent(self.any_false),
            percent(self.any),
        )
    }
}

pub(crate) fn null_header() -> String {
    format!(
        "{:16} {:>6} {:24} {:>24} {:>10} {:>8} {:>6}",
        "data", "poison", "detector", "p of the clean upper 1 %", "calibrated", "bimodal", "ties"
    )
}

/// For each statistical detector: the median p-value that its bulk null gives to the upper 1 % of the clean
/// records, with the 5 % and 95 % quantiles over the repetitions; and how often the null fits, is found
/// to be of several modes, or has too many equal scores.
pub(crate) fn null_rows(kind: &str, level: &str, repetitions: &[Repetition]) -> Vec<String> {
    let mut by_detector = BTreeMap::<&str, Vec<(f64, Option<Diagnosis>)>>::new();
    for null in repetitions.iter().flat_map(|run| &run.nulls) {
        let nulls = by_detector.entry(&null.detector).or_default();
        nulls.push((null.p_value, null.diagnosis));
    }
    let row = |(detector, mut nulls): (&str, Vec<(f64, Option<Diagnosis>)>)| {
        nulls.sort_by(|left, right| left.0.total_cmp(&right.0));
        let at = |share: f64| 100.0 * nulls[(share * (nulls.len() - 1) as f64) as usize].0;
        let share = |is: fn(Option<Diagnosis>) -> bool| {
            let count = nulls.iter().filter(|null| is(null.1)).count();
            format!("{:.0} %", 100.0 * count as f64 / nulls.len() as f64)
        };
        format!(
            "{kind:16} {level:>6} {detector:24} {:>24} {:>10} {:>8} {:>6}",
            format!("{:.1} % ({:.1} to {:.1})", at(0.5), at(0.05), at(0.95)),
            share(|diagnosis| diagnosis.is_none()),
            share(|diagnosis| matches!(
                diagnosis,
                Some(Diagnosis::Bimodal(_) | Diagnosis::UpperGroup(_) | Diagnosis::Misfit(_))
            )),
            share(|diagnosis| matches!(diagnosis, Some(Diagnosis::Ties | Diagnosis::TooFew))),
        )
    };
    by_detector.into_iter().map(row).collect()
}
