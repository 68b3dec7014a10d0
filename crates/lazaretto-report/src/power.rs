//! The spike test as all reports write it.

use lazaretto_core::report::{PowerAttack, PowerReport};

use crate::wording::{count, counted, percent};

/// A table of shares held back.
pub(crate) struct Power<'a> {
    /// What was done and what it does not say.
    pub(crate) sentence: String,
    /// Numbers of records planted, ascending.
    pub(crate) sizes: Vec<u64>,
    /// The attacks that were measured.
    pub(crate) rows: Vec<PowerRow<'a>>,
    /// Attacks that were not, with the reason.
    pub(crate) not_measured: String,
}

/// An attack.
pub(crate) struct PowerRow<'a> {
    pub(crate) id: &'a str,
    pub(crate) planted: &'a str,
    /// Share held back by size.
    pub(crate) cells: Vec<String>,
}

impl<'a> Power<'a> {
    pub(crate) fn new(power: &'a PowerReport) -> Self {
        let results = power.attacks.iter().flat_map(|attack| &attack.results);
        let mut sizes: Vec<u64> = results.clone().map(|result| result.size).collect();
        sizes.sort_unstable();
        sizes.dedup();
        let others = results.map(|result| result.others_held).max().unwrap_or(0);
        let cell = |attack: &PowerAttack, size: u64| {
            let result = attack.results.iter().find(|result| result.size == size);
            result.map_or_else(
                || "–".to_owned(),
                |result| percent(result.held, result.size),
            )
        };
        let measured = power.attacks.iter().filter(|a| !a.results.is_empty());
        let rows = measured.map(|attack| PowerRow {
            id: &attack.id,
            planted: &attack.planted,
            cells: sizes.iter().map(|&size| cell(attack, size)).collect(),
        });
        let reasons: Vec<String> = power
            .attacks
            .iter()
            .filter_map(|attack| {
                let reason = attack.not_measured.as_ref()?;
                Some(format!("{} ({reason})", attack.id))
            })
            .collect();
        Self {
            sentence: format!(
                "Attacks were planted in a sample of {} of the {} that passed (seed {}) and scanned with the same settings; at most {} of the others were held back. This speaks of these attacks in a sample of this size, not of any other.",
                counted(power.records, "record"),
                count(power.of),
                power.seed,
                count(others)
            ),
            rows: rows.collect(),
            sizes,
            not_measured: reasons.join(", "),
        }
    }

    /// One line for an attack: `trigger-word: 40 % of 10, 100 % of 25`.
    pub(crate) fn line(&self, row: &PowerRow<'_>) -> String {
        let cells = row.cells.iter().zip(&self.sizes);
        let cells: Vec<String> = cells
            .filter(|(cell, _)| *cell != "–")
            .map(|(cell, size)| format!("{cell} of {}", count(*size)))
            .collect();
        format!("{}: {}", row.id, cells.join(", "))
    }
}
