//! Score distributions as inline SVG bars, with a logarithmic count axis.
//!
//! The drawing stretches to the width of the page; so that text does not stretch with it, labels
//! are given as numbers for the page to place around it.

use std::fmt::Write as _;

use lazaretto_core::report::Histogram;

use crate::wording;

/// Height of the drawing in its own units; its width is the number of bins.
const HEIGHT: f64 = 100.0;
/// Most bins that are drawn; more would be thinner than a pixel.
const MAX_BINS: usize = 400;

/// A drawing and what stands around it.
#[derive(Clone, Debug)]
pub(crate) struct Chart {
    /// The drawing, made of our own numbers only.
    pub(crate) svg: String,
    /// Labels of the count axis: text and height in percent.
    pub(crate) ticks: Vec<(String, String)>,
    /// Labels of the score axis, left to right.
    pub(crate) scores: [String; 3],
    /// What the drawing shows, in a sentence.
    pub(crate) summary: String,
}

/// The drawing of `histogram`, or nothing when it holds no records.
pub(crate) fn chart(histogram: &Histogram) -> Option<Chart> {
    let counts = &histogram.counts[..histogram.counts.len().min(MAX_BINS)];
    let highest = counts
        .iter()
        .copied()
        .max()
        .filter(|highest| *highest > 0)?;
    let held = |bin: usize| {
        histogram
            .quarantined
            .get(bin)
            .copied()
            .unwrap_or(0)
            .min(counts[bin])
    };
    let height = |count: u64| HEIGHT * (count as f64).ln_1p() / (highest as f64).ln_1p();
    let width = (histogram.max - histogram.min) / histogram.counts.len() as f64;

    let mut svg = format!(
        "<svg viewBox=\"0 0 {} {HEIGHT}\" preserveAspectRatio=\"none\" aria-hidden=\"true\" \
         focusable=\"false\">",
        counts.len()
    );
    let mut ticks = Vec::new();
    for power in decades(highest) {
        let y = height(power);
        let _ = write!(
            svg,
            "<line class=\"grid\" x1=\"0\" x2=\"{}\" y1=\"{:.2}\" y2=\"{:.2}\"/>",
            counts.len(),
            HEIGHT - y,
            HEIGHT - y
        );
        ticks.push((wording::count(power), format!("{y:.2}")));
    }
    for (bin, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        let low = histogram.min + width * bin as f64;
        let _ = write!(
            svg,
            "<g><title>{} to {}: {}, {} held back</title>",
            wording::number(rounded(low, width)),
            wording::number(rounded(low + width, width)),
            wording::counted(*count, "record"),
            wording::count(held(bin))
        );
        bar(&mut svg, "all", bin, height(*count));
        bar(&mut svg, "held", bin, height(held(bin)));
        svg.push_str("</g>");
    }
    svg.push_str("</svg>");
    let middle = f64::midpoint(histogram.min, histogram.max);
    Some(Chart {
        svg,
        ticks,
        scores: [histogram.min, middle, histogram.max]
            .map(|edge| wording::number(rounded(edge, width))),
        summary: summary(histogram, counts, width),
    })
}

fn bar(svg: &mut String, class: &str, bin: usize, height: f64) {
    if height > 0.0 {
        let _ = write!(
            svg,
            "<rect class=\"{class}\" x=\"{}\" y=\"{:.2}\" width=\"0.86\" height=\"{height:.2}\"/>",
            bin as f64 + 0.07,
            HEIGHT - height
        );
    }
}

/// 1, 10, 100, … up to `highest`; every other one when there are many.
fn decades(highest: u64) -> Vec<u64> {
    let powers: Vec<u64> = (0..20)
        .map_while(|exponent| 10u64.checked_pow(exponent))
        .take_while(|power| *power <= highest)
        .collect();
    let step = powers.len().div_ceil(5).max(1);
    powers.into_iter().step_by(step).collect()
}

/// `edge` without the digits that are noise at this bin width.
fn rounded(edge: f64, width: f64) -> f64 {
    let unit = 10f64.powf((width.abs() / 10.0).log10().floor());
    let value = (edge / unit).round() * unit;
    if value.is_finite() { value } else { edge }
}

fn summary(histogram: &Histogram, counts: &[u64], width: f64) -> String {
    let total: u64 = counts.iter().sum();
    let held: u64 = histogram.quarantined.iter().sum();
    let mut seen = 0;
    let median = counts.iter().position(|count| {
        seen += count;
        seen * 2 >= total
    });
    let low = histogram.min + width * median.unwrap_or(0) as f64;
    format!(
        "{}, {} of them held back; median between {} and {}",
        wording::counted(total, "record"),
        wording::count(held),
        wording::number(rounded(low, width)),
        wording::number(rounded(low + width, width))
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(counts: &[u64], quarantined: &[u64]) -> Histogram {
        Histogram {
            min: 0.0,
            max: 1.0,
            counts: counts.to_vec(),
            quarantined: quarantined.to_vec(),
        }
    }

    #[test]
    fn each_filled_bin_has_a_bar_and_held_records_another() {
        let chart = chart(&histogram(&[999, 0, 3, 2], &[0, 0, 0, 2])).unwrap();
        assert_eq!(chart.svg.matches("class=\"all\"").count(), 3);
        assert_eq!(chart.svg.matches("class=\"held\"").count(), 1);
        assert!(
            chart.svg.contains("0.75 to 1: 2 records, 2 held back"),
            "{}",
            chart.svg
        );
        assert_eq!(
            chart.summary,
            "1,004 records, 2 of them held back; median between 0 and 0.25"
        );
        assert_eq!(chart.scores, ["0", "0.5", "1"]);
        assert_eq!(chart.ticks[0].0, "1");
        assert_eq!(chart.ticks.len(), 3);
    }

    #[test]
    fn empty_and_broken_histograms_draw_nothing_or_something_without_panic() {
        assert!(chart(&histogram(&[], &[])).is_none());
        assert!(chart(&histogram(&[0, 0], &[0, 0])).is_none());
        let mut broken = histogram(&[1, u64::MAX / 2], &[9]);
        broken.min = f64::NAN;
        broken.max = f64::INFINITY;
        let drawn = chart(&broken).unwrap();
        assert!(!drawn.svg.contains("NaN"), "{}", drawn.svg);
        let narrow = Histogram {
            max: 0.0,
            ..histogram(&[5], &[0])
        };
        assert!(!chart(&narrow).unwrap().svg.contains("NaN"));
    }
}
