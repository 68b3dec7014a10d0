//! The exact test of whether a group has more of something than the rest.

use statrs::function::factorial::ln_binomial;

/// Chance that `drawn` records out of `population`, `marked` of which are marked, hold `found` marked
/// ones or more: the upper tail of the hypergeometric law, which is Fisher's exact test of one side.
///
/// Counts beyond what is possible (`found > drawn`, `drawn > population`) have chance 0.
///
/// ```
/// use lazaretto_detectors::provenance::enriched::upper_tail;
/// // Both of two marked cards among the first two of four: 1 / 6.
/// assert!((upper_tail(4, 2, 2, 2) - 1.0 / 6.0).abs() < 1e-12);
/// ```
#[must_use]
pub fn upper_tail(population: u64, marked: u64, drawn: u64, found: u64) -> f64 {
    if found == 0 {
        return 1.0;
    }
    if marked > population || drawn > population || found > marked.min(drawn) {
        return 0.0;
    }
    let least = (drawn + marked).saturating_sub(population);
    if found <= least {
        return 1.0;
    }
    let first = ln_binomial(marked, found) + ln_binomial(population - marked, drawn - found)
        - ln_binomial(population, drawn);
    // Each term from the one before; above the mode they only fall.
    let (mut term, mut sum) = (1.0, 1.0);
    for idx in found..marked.min(drawn) {
        let up = (marked - idx) as f64 * (drawn - idx) as f64;
        let down = (idx + 1) as f64 * (population + idx + 1 - marked - drawn) as f64;
        term *= up / down;
        sum += term;
        if term < sum * 1e-17 {
            break;
        }
    }
    (first.exp() * sum).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tails_agree_with_another_library() {
        // scipy 1.17: hypergeom.sf(found - 1, population, marked, drawn)
        for (counts, expected) in [
            ([32_537, 1_600, 1_609, 120], 3.612_021_954_450_48e-6),
            ([1_000, 50, 40, 6], 0.011_979_038_480_167_77),
            ([1_000, 50, 40, 2], 0.606_321_121_265_004_1),
            ([60, 50, 40, 31], 0.988_756_926_367_251_3),
        ] {
            let [population, marked, drawn, found] = counts;
            let p = upper_tail(population, marked, drawn, found);
            assert!((p / expected - 1.0).abs() < 1e-6, "{counts:?}: {p}");
        }
        assert!(upper_tail(200_000, 4_000, 900, 400) < 1e-300);
    }

    #[test]
    fn impossible_and_certain_counts() {
        assert!(upper_tail(10, 3, 4, 5) == 0.0);
        assert!(upper_tail(10, 3, 20, 2) == 0.0);
        assert!((upper_tail(10, 3, 4, 0) - 1.0).abs() < f64::EPSILON);
        assert!((upper_tail(10, 8, 9, 7) - 1.0).abs() < f64::EPSILON);
    }
}
