//! Which records of a group are most likely flipped: a local false-discovery rate within the group.

/// Width of a bin of log odds against the label.
const WIDTH: f32 = 0.125;
/// Bins: log odds from −16 to 16, those beyond in the outermost.
const BINS: usize = 256;
/// Records that the estimate of a class borrows from all classes of the group.
const BORROWED: f64 = 20.0;
/// Rounds of expectation maximisation.
const ROUNDS: usize = 200;

/// Records of a group, or of a dataset, by class and log odds against the label.
#[derive(Clone, Debug)]
pub(super) struct LogOdds {
    classes: Vec<[u64; BINS]>,
    /// Classes of the dataset, whether they are told apart here or not.
    n_labels: usize,
}

fn bin(log_odds: f32) -> usize {
    let place = (log_odds / WIDTH).floor() + (BINS / 2) as f32;
    #[expect(clippy::cast_sign_loss, reason = "clamped to the bins")]
    let bin = place.clamp(0.0, (BINS - 1) as f32) as usize;
    bin
}

impl LogOdds {
    /// Nothing yet, of `n_classes` that are told apart; the dataset has `n_labels`.
    pub(super) fn new(n_classes: usize, n_labels: usize) -> Self {
        Self {
            classes: vec![[0; BINS]; n_classes],
            n_labels: n_labels.max(2),
        }
    }

    pub(super) fn add(&mut self, class: usize, log_odds: f32) {
        if let Some(bins) = self.classes.get_mut(class) {
            bins[bin(log_odds)] += 1;
        }
    }

    fn without(&self, group: &Self) -> Self {
        let mut others = self.clone();
        for (bins, group) in others.classes.iter_mut().zip(&group.classes) {
            for (bin, group) in bins.iter_mut().zip(group) {
                *bin = bin.saturating_sub(*group);
            }
        }
        others
    }
}

/// The bins of each class whose records are held back.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Flipped {
    /// By class, the lowest log odds of a record to hold back.
    from: Vec<Option<usize>>,
    /// Estimated share of flipped records in the group.
    pub(super) share: f64,
    /// Estimated share of honest records among those held back.
    pub(super) ordinary: f64,
    /// Number of records held back, by class.
    pub(super) records: Vec<u64>,
}

impl Flipped {
    /// Whether a record of the group is held back.
    pub(super) fn holds(&self, class: usize, log_odds: f32) -> bool {
        let from = self.from.get(class).copied().flatten();
        from.is_some_and(|from| bin(log_odds) >= from)
    }

    /// Estimates which records of `group` are flipped, by what `all` of the dataset (the group included) score; `None`
    /// where none can be held back with at most `ordinary_share` of honest ones.
    ///
    /// Honest records of a class score as those of the other groups do. A flipped record was an honest one of another
    /// class. With two classes its log odds are the mirror image of what they were; with more the probability that was left
    /// is shared evenly among the other labels, which is cautious where one of them had most of it.
    pub(super) fn estimate(all: &LogOdds, group: &LogOdds, ordinary_share: f64) -> Option<Self> {
        let others = all.without(group);
        let n_classes = group.classes.len();
        let ratios: Vec<[f64; BINS]> = (0..n_classes)
            .map(|class| likelihood_ratios(&others, class))
            .collect();
        let pooled = fit(group.classes.iter().zip(&ratios), None);
        let shares: Vec<f64> = (0..n_classes)
            .map(|class| {
                let own = group.classes.get(class..=class).unwrap_or_default();
                fit(own.iter().zip(&ratios[class..=class]), Some(pooled))
            })
            .collect();
        let mut cells: Vec<(f64, usize, usize, u64)> = Vec::new();
        for (class, bins) in group.classes.iter().enumerate() {
            for (place, &number) in bins.iter().enumerate() {
                let honest = 1.0 - posterior(shares[class], ratios[class][place]);
                cells.push((honest, class, place, number));
            }
        }
        // Surest first; within a class that is also from the highest log odds down.
        cells.sort_by(|a, b| (a.0.total_cmp(&b.0)).then_with(|| (b.2, b.1).cmp(&(a.2, a.1))));
        let (mut honest, mut held) = (0.0, 0);
        let mut best = (0, 0.0);
        for (rank, &(of_cell, _, _, number)) in cells.iter().enumerate() {
            honest += of_cell * number as f64;
            held += number;
            if of_cell > 0.5 + ordinary_share / 2.0 {
                break;
            }
            if held > 0 && honest <= ordinary_share * held as f64 {
                best = (rank + 1, honest / held as f64);
            }
        }
        let mut flipped = Self {
            from: vec![None; n_classes],
            share: shares
                .iter()
                .zip(&group.classes)
                .map(|(share, bins)| share * bins.iter().sum::<u64>() as f64)
                .sum::<f64>()
                / group.classes.iter().flatten().sum::<u64>().max(1) as f64,
            ordinary: best.1,
            records: vec![0; n_classes],
        };
        for &(_, class, place, number) in &cells[..best.0] {
            let from = &mut flipped.from[class];
            *from = Some(from.map_or(place, |from| from.min(place)));
            flipped.records[class] += number;
        }
        (flipped.records.iter().sum::<u64>() > 0).then_some(flipped)
    }
}

fn posterior(share: f64, ratio: f64) -> f64 {
    let odds = share * ratio;
    odds / (odds + (1.0 - share)).max(f64::MIN_POSITIVE)
}

/// The bin of a record that gets another label, by its bin under the one it had.
fn mirrored(place: usize, n_labels: usize) -> usize {
    let log_odds = (place as f64 - (BINS / 2) as f64 + 0.5) * f64::from(WIDTH);
    let left = 1.0 / (1.0 + (-log_odds).exp());
    let share = left / (n_labels - 1) as f64;
    bin(((1.0 - share) / share).ln() as f32)
}

/// How many times likelier each bin is for a flipped record of a class than for an honest one, which rises with
/// the log odds: the share of flipped ones at even odds, made to rise by pooling adjacent violators.
fn likelihood_ratios(others: &LogOdds, class: usize) -> [f64; BINS] {
    let honest = others.classes[class];
    let mut flipped = [0_u64; BINS];
    for (other, bins) in others.classes.iter().enumerate() {
        // With one class, or classes too many to be told apart, the mirror image is of all.
        if other != class || others.classes.len() == 1 {
            for (place, number) in bins.iter().enumerate() {
                flipped[mirrored(place, others.n_labels)] += number;
            }
        }
    }
    let [n_honest, n_flipped] = [&honest, &flipped].map(|bins| bins.iter().sum::<u64>() as f64);
    let weights: Vec<(f64, f64)> = honest
        .iter()
        .zip(&flipped)
        .map(|(&honest, &flipped)| {
            // Half a record where there is none.
            let honest = (honest as f64 + 0.5 / BINS as f64) / (n_honest + 0.5);
            let flipped = (flipped as f64 + 0.5 / BINS as f64) / (n_flipped + 0.5);
            (flipped, honest + flipped)
        })
        .collect();
    let mut blocks: Vec<(f64, f64, usize)> = Vec::new();
    for (flipped, both) in weights {
        blocks.push((flipped, both, 1));
        while let [.., before, last] = blocks.as_slice()
            && before.0 * last.1 >= last.0 * before.1
        {
            let merged = (before.0 + last.0, before.1 + last.1, before.2 + last.2);
            blocks.truncate(blocks.len() - 2);
            blocks.push(merged);
        }
    }
    let mut ratios = [1.0; BINS];
    let shares = blocks.iter().flat_map(|&(flipped, both, n)| {
        let honest = (both - flipped).max(f64::MIN_POSITIVE);
        std::iter::repeat_n(flipped / honest, n)
    });
    for (ratio, share) in ratios.iter_mut().zip(shares) {
        *ratio = share;
    }
    ratios
}

/// Share of flipped records by expectation maximisation, drawn to `prior` by [`BORROWED`] records.
fn fit<'a>(
    parts: impl Iterator<Item = (&'a [u64; BINS], &'a [f64; BINS])>,
    prior: Option<f64>,
) -> f64 {
    let cells: Vec<(f64, f64)> = parts
        .flat_map(|(bins, ratios)| bins.iter().zip(ratios))
        .filter(|(number, _)| **number > 0)
        .map(|(&number, &ratio)| (number as f64, ratio))
        .collect();
    let total: f64 = cells.iter().map(|(number, _)| number).sum();
    let borrowed = prior.map_or(0.0, |_| BORROWED);
    let from_prior = borrowed * prior.unwrap_or(0.0);
    let mut share = prior.unwrap_or(0.2);
    for _ in 0..ROUNDS {
        let flipped = cells
            .iter()
            .map(|&(number, ratio)| number * posterior(share, ratio))
            .sum::<f64>();
        share = ((flipped + from_prior) / (total + borrowed).max(1.0)).clamp(0.0, 0.999);
    }
    share
}

#[cfg(test)]
mod tests {
    use lazaretto_testkit::seed::{normal, stream};
    use rand::Rng as _;

    use super::*;

    /// A record of two classes with honest log odds: probability of class 1 by a logistic law, label drawn from it.
    fn record(rng: &mut impl rand::Rng) -> (usize, f32) {
        let for_one = 2.5 * normal(rng) - 1.0;
        let label = usize::from(rng.gen_bool(1.0 / (1.0 + (-for_one).exp())));
        let against = if label == 1 { -for_one } else { for_one };
        (label, against as f32)
    }

    /// 20,000 records elsewhere and a group of 2,000 with this share of flips; true shares of what is held back.
    fn held(seed: u64, share: f64, one_way: bool) -> Option<(f64, f64, Flipped)> {
        let mut rng = stream(seed, "flips");
        let (mut all, mut group) = (LogOdds::new(2, 2), LogOdds::new(2, 2));
        let mut records = Vec::new();
        for row in 0..22_000 {
            let (mut label, mut against) = record(&mut rng);
            if row < 2_000 {
                let flipped = rng.gen_bool(share) && !(one_way && label == 1);
                if flipped {
                    (label, against) = (1 - label, -against);
                }
                group.add(label, against);
                records.push((label, against, flipped));
            }
            all.add(label, against);
        }
        let found = Flipped::estimate(&all, &group, 0.17)?;
        let held: Vec<_> = records.iter().filter(|r| found.holds(r.0, r.1)).collect();
        assert_eq!(held.len() as u64, found.records.iter().sum::<u64>());
        let right = held.iter().filter(|r| r.2).count() as f64;
        let flips = records.iter().filter(|r| r.2).count() as f64;
        let precision = right / held.len() as f64;
        // The best that a threshold of the log odds could do at this precision.
        records.sort_by(|a, b| b.1.total_cmp(&a.1));
        let (mut hits, mut best) = (0.0, 0.0);
        for (rank, record) in records.iter().enumerate() {
            hits += f64::from(u8::from(record.2));
            if hits >= precision * (rank + 1) as f64 {
                best = hits;
            }
        }
        assert!(right >= 0.9 * best, "{seed}: {right} of {best}");
        Some((right / flips, precision, found))
    }

    #[test]
    fn the_share_of_flips_and_of_honest_records_held_is_estimated() {
        for (seed, share, one_way) in [
            (1, 0.3, false),
            (2, 0.15, false),
            (3, 0.3, true),
            (4, 0.6, true),
        ] {
            let (recall, precision, found) = held(seed, share, one_way).unwrap();
            assert!((0.76..=0.92).contains(&precision), "{seed}: {precision}");
            assert!(
                (1.0 - found.ordinary - precision).abs() < 0.07,
                "{seed}: {found:?}"
            );
            assert!(recall > 0.25, "{seed}: recall {recall}, {precision}");
            let flips = if one_way { 0.64 * share } else { share };
            assert!((found.share - flips).abs() < 0.05, "{seed}: {found:?}");
        }
    }

    #[test]
    fn an_honest_group_has_hardly_a_record_to_hold_back() {
        for seed in 0..4 {
            let found = held(seed, 0.0, false);
            let records = found.map_or(0, |(_, _, found)| found.records.iter().sum());
            assert!(records <= 20, "{seed}: {records}");
        }
    }

    #[test]
    fn another_label_of_two_turns_the_log_odds_round() {
        assert!((0..BINS).all(|place| mirrored(place, 2) == BINS - 1 - place));
        // 9 to 1 for one of four classes leaves a thirtieth for each other.
        let place = bin(-(9.0_f32.ln()));
        assert!(mirrored(place, 4).abs_diff(bin(29.0_f32.ln())) <= 1);
    }

    #[test]
    fn more_classes_than_two_are_judged_with_caution() {
        for seed in 0..3 {
            let mut rng = stream(seed, "classes");
            let (mut all, mut group) = (LogOdds::new(4, 4), LogOdds::new(4, 4));
            let mut records = Vec::new();
            for row in 0..22_000 {
                let weights: [f64; 4] = std::array::from_fn(|_| (2.0 * normal(&mut rng)).exp());
                let total: f64 = weights.iter().sum();
                let mut draw = total * rng.r#gen::<f64>();
                let mut label = 0;
                while label < 3 && draw > weights[label] {
                    draw -= weights[label];
                    label += 1;
                }
                let flipped = row < 2_000 && rng.gen_bool(0.3);
                if flipped {
                    label = (label + rng.gen_range(1..4)) % 4;
                }
                let against = ((total - weights[label]) / weights[label]).ln() as f32;
                all.add(label, against);
                if row < 2_000 {
                    group.add(label, against);
                    records.push((label, against, flipped));
                }
            }
            let found = Flipped::estimate(&all, &group, 0.17).unwrap();
            let held: Vec<_> = records.iter().filter(|r| found.holds(r.0, r.1)).collect();
            let right = held.iter().filter(|r| r.2).count() as f64;
            assert!(
                right >= 0.78 * held.len() as f64,
                "{seed}: {right} of {}",
                held.len()
            );
            assert!(right >= 200.0, "{seed}: {right} of {}", held.len());
        }
    }

    #[test]
    fn likelihood_ratios_rise() {
        let mut rng = stream(5, "ratios");
        let mut all = LogOdds::new(2, 2);
        for _ in 0..3_000 {
            let (label, against) = record(&mut rng);
            all.add(label, against);
        }
        let ratios = likelihood_ratios(&all, 0);
        assert!(ratios.windows(2).all(|two| two[0] <= two[1]));
        assert!(ratios[BINS / 2 - 24] < 0.3 && ratios[BINS / 2 + 24] > 3.0);
    }
}
