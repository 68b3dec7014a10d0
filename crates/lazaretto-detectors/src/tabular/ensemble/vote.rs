//! How the members' scores become one, without labels.

use crate::tabular::ensemble::members::{Kind, Member};
use crate::tabular::ensemble::surprise::Surprise;

/// One family of members, its scale and its weight.
#[derive(Debug)]
struct Family {
    /// Positions of its members.
    members: Vec<usize>,
    /// Distribution of the mean surprise of its members.
    surprise: Surprise,
    weight: f32,
}

/// The scales and weights, learned from the scores of the sample.
#[derive(Debug)]
pub(crate) struct Vote {
    members: Vec<Surprise>,
    /// The families that look at the same thing, the record's place among the others.
    families: Vec<Family>,
    /// Distribution of their weighted mean, and the family that looks at something else.
    pairs: Option<(Surprise, Family)>,
}

impl Vote {
    /// Learns from the raw scores of the sample, one vector per member.
    pub(crate) fn fit(members: &[Member], raw: &[Vec<f32>]) -> Self {
        let surprises: Vec<Surprise> = raw.iter().map(|scores| Surprise::fit(scores)).collect();
        let mut kinds: Vec<Kind> = members.iter().map(Member::kind).collect();
        kinds.sort_unstable();
        kinds.dedup();
        let mut votes = Vec::new();
        let mut families: Vec<(Kind, Family)> = Vec::new();
        for kind in kinds {
            let positions: Vec<usize> = (0..members.len())
                .filter(|&idx| members[idx].kind() == kind)
                .collect();
            let means = mean_surprises(&surprises, &positions, raw);
            let surprise = Surprise::fit(&means);
            votes.push(
                means
                    .iter()
                    .map(|&mean| surprise.of(mean))
                    .collect::<Vec<f32>>(),
            );
            families.push((
                kind,
                Family {
                    members: positions,
                    surprise,
                    weight: 1.0,
                },
            ));
        }
        let pairs = match families.last() {
            Some((Kind::Pairs, _)) if families.len() > 1 => families.pop(),
            _ => None,
        };
        let mut families: Vec<Family> = families.into_iter().map(|(_, family)| family).collect();
        let weights = agreement(&votes[..families.len()]);
        for (family, weight) in families.iter_mut().zip(weights) {
            family.weight = weight;
        }
        let mut vote = Self {
            members: surprises,
            families,
            pairs: None,
        };
        if let Some((_, family)) = pairs {
            let mut means = vec![0.0; raw.first().map_or(0, Vec::len)];
            vote.combine(raw, &mut means);
            vote.pairs = Some((Surprise::fit(&means), family));
        }
        vote
    }

    /// The score of each record: the weighted mean surprise of the families; with pairs, the
    /// logarithm of the harmonic mean of both probabilities (Wilson 2019), which is about the
    /// smaller of them: what only one of the two can see must not be averaged away.
    pub(crate) fn combine(&self, raw: &[Vec<f32>], scores: &mut [f32]) {
        scores.fill(0.0);
        let total: f32 = self.families.iter().map(|family| family.weight).sum();
        for family in &self.families {
            let means = mean_surprises(&self.members, &family.members, raw);
            for (score, mean) in scores.iter_mut().zip(means) {
                *score += family.weight * family.surprise.of(mean) / total;
            }
        }
        if let Some((surprise, family)) = &self.pairs {
            let means = mean_surprises(&self.members, &family.members, raw);
            for (score, mean) in scores.iter_mut().zip(means) {
                let (left, right) = (surprise.of(*score), family.surprise.of(mean));
                let (less, more) = (left.min(right), left.max(right));
                *score = more + (less - more).exp().ln_1p() - std::f32::consts::LN_2;
            }
        }
    }
}

/// The mean surprise over some members, for each record.
fn mean_surprises(surprises: &[Surprise], members: &[usize], raw: &[Vec<f32>]) -> Vec<f32> {
    let n_rows = raw.first().map_or(0, Vec::len);
    let mut means = vec![0.0; n_rows];
    for &member in members {
        for (mean, &score) in means.iter_mut().zip(&raw[member]) {
            *mean += surprises[member].of(score) / members.len() as f32;
        }
    }
    means
}

/// The weight of each family: the square of its mean correlation with the others, so that one
/// that contradicts the rest is not heard (the idea of SELECT: Rayana & Akoglu 2016), relative to
/// the largest.
fn agreement(votes: &[Vec<f32>]) -> Vec<f32> {
    if votes.len() < 3 {
        return vec![1.0; votes.len()];
    }
    let squared = |idx: usize| {
        let others = (0..votes.len()).filter(|&other| other != idx);
        let sum: f32 = others
            .map(|other| correlation(&votes[idx], &votes[other]))
            .sum();
        (sum / (votes.len() - 1) as f32).max(0.0).powi(2)
    };
    let weights: Vec<f32> = (0..votes.len()).map(squared).collect();
    let most = weights.iter().copied().fold(0.0, f32::max);
    if most > 0.0 {
        weights.iter().map(|weight| weight / most).collect()
    } else {
        vec![1.0; votes.len()]
    }
}

/// Pearson's correlation; 0 when one of them is constant.
fn correlation(left: &[f32], right: &[f32]) -> f32 {
    let n = left.len().max(1) as f64;
    let mean = |values: &[f32]| values.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
    let (left_mean, right_mean) = (mean(left), mean(right));
    let (mut both, mut of_left, mut of_right) = (0.0, 0.0, 0.0);
    for (&l, &r) in left.iter().zip(right) {
        let (l, r) = (f64::from(l) - left_mean, f64::from(r) - right_mean);
        both += l * r;
        of_left += l * l;
        of_right += r * r;
    }
    let scale = (of_left * of_right).sqrt();
    if scale > 0.0 {
        (both / scale) as f32
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn correlation_of_known_values() {
        assert!((correlation(&[1.0, 2.0, 3.0], &[2.0, 4.0, 6.0]) - 1.0).abs() < 1e-6);
        assert!((correlation(&[1.0, 2.0, 3.0], &[3.0, 2.0, 1.0]) + 1.0).abs() < 1e-6);
        assert!(correlation(&[1.0, 1.0], &[0.0, 5.0]).abs() < 1e-6);
    }
}
