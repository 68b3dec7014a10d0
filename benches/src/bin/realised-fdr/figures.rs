//! Averages over repetitions, as lines of a table.

use std::collections::BTreeMap;

use crate::run::Repetition;

/// One kind of data at one level of poison.
pub(crate) struct Cell {
    /// Mean of held clean over held, 0 where nothing is held: the false-discovery rate.
    fdr: f64,
    /// Half of its 95 % interval.
    fdr_error: f64,
    /// The same over the runs in which every null fits.
    fdr_calibrated: Option<f64>,
    calibrated: f64,
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
        let calibrated: Vec<&Repetition> = each.clone().filter(|run| run.calibrated).collect();
        let share = |is: fn(&Repetition) -> bool| mean(each.clone().map(|run| f64::from(is(run))));
        Self {
            fdr,
            fdr_error: 1.96 * (variance / repetitions.len().max(1) as f64).sqrt(),
            fdr_calibrated: (!calibrated.is_empty())
                .then(|| mean(calibrated.iter().map(|run| proportion(run)))),
            calibrated: share(|run| run.calibrated),
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
            "{:16} {:>6} {:>16} {:>15} {:>10} {:>7} {:>9} {:>10} {:>9}",
            "data",
            "poison",
            "realised FDR",
            "FDR calibrated",
            "calibrated",
            "power",
            "clean held",
            "any false",
            "any held"
        )
    }

    pub(crate) fn row(&self, kind: &str, level: &str) -> String {
        let percent = |share: f64| format!("{:.1} %", 100.0 * share);
        let optional = |share: Option<f64>| share.map_or_else(|| "-".to_owned(), percent);
        format!(
            "{kind:16} {level:>6} {:>16} {:>15} {:>10} {:>7} {:>10} {:>10} {:>9}",
            format!("{:.1} ± {:.1} %", 100.0 * self.fdr, 100.0 * self.fdr_error),
            optional(self.fdr_calibrated),
            percent(self.calibrated),
            optional(self.power),
            format!("{:.2} %", 100.0 * self.false_positives),
            percent(self.any_false),
            percent(self.any),
        )
    }
}

pub(crate) fn null_header() -> String {
    format!(
        "{:16} {:>6} {:24} {:>28} {:>10}",
        "data", "poison", "detector", "p of the clean upper 1 %", "calibrated"
    )
}

/// For each statistical detector: the median p-value of the clean upper 1 % as a multiple of 1 %, with the
/// 5 % and 95 % quantiles over the repetitions, and how often the null was found to fit.
pub(crate) fn null_rows(kind: &str, level: &str, repetitions: &[Repetition]) -> Vec<String> {
    let mut by_detector = BTreeMap::<&str, (Vec<f64>, usize)>::new();
    for null in repetitions.iter().flat_map(|run| &run.nulls) {
        let (inflation, calibrated) = by_detector.entry(&null.detector).or_default();
        inflation.push(null.inflation);
        *calibrated += usize::from(null.calibrated);
    }
    let row = |(detector, (mut inflation, calibrated)): (&str, (Vec<f64>, usize))| {
        inflation.sort_unstable_by(f64::total_cmp);
        let at = |share: f64| inflation[(share * (inflation.len() - 1) as f64) as usize];
        format!(
            "{kind:16} {level:>6} {detector:24} {:>28} {:>10}",
            format!("{:.2} % ({:.2} to {:.2})", at(0.5), at(0.05), at(0.95)),
            format!(
                "{:.0} %",
                100.0 * calibrated as f64 / inflation.len() as f64
            ),
        )
    };
    by_detector.into_iter().map(row).collect()
}
