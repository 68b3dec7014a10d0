//! The dip of a distribution: how far it is from every one that has a single mode.

/// A distribution function that is linear between its points.
#[derive(Clone, Debug)]
pub(crate) struct Steps {
    /// Strictly ascending places.
    places: Vec<f64>,
    /// Its values there, from 0 to 1.
    values: Vec<f64>,
}

impl Steps {
    /// The distribution of ascending `scores`. Equal ones are spread evenly over the room between
    /// their neighbours, so that rounding alone makes no modes; `None` with fewer than three
    /// different ones.
    pub(crate) fn of_sorted(scores: &[f64]) -> Option<Self> {
        let runs: Vec<&[f64]> = scores.chunk_by(|left, right| left >= right).collect();
        if runs.len() < 3 {
            return None;
        }
        let middle = |idx: usize| f64::midpoint(runs[idx][0], runs[idx + 1][0]);
        let last = runs.len() - 1;
        let mut places = vec![2.0 * runs[0][0] - middle(0)];
        places.extend((0..last).map(middle));
        places.push(2.0 * runs[last][0] - middle(last - 1));
        let (mut values, mut below) = (vec![0.0], 0);
        for run in &runs {
            below += run.len();
            values.push(below as f64 / scores.len() as f64);
        }
        // Neighbours that differ in their last bits can share a middle.
        let distinct = places.windows(2).all(|pair| pair[0] < pair[1]);
        distinct.then_some(Self { places, values })
    }

    /// The dip (Hartigan & Hartigan 1985, Annals of Statistics 13): the least, over all unimodal
    /// distributions, of the largest difference to one of them. 0 for a unimodal distribution, at
    /// most 1/4. A fraction `m` of the mass in a narrow mode far from all others makes about `m / 2`.
    ///
    /// Takes their way: the convex minorant and the concave majorant of what may be the mode, which
    /// shrinks to where the two are farthest apart, until nothing is gained.
    pub(crate) fn dip(&self) -> f64 {
        let (mut low, mut high) = (0, self.places.len() - 1);
        let mut twice = 0.0_f64;
        loop {
            let minorant = self.hull(low, high, |cross| cross >= 0.0);
            let majorant = self.hull(low, high, |cross| cross <= 0.0);
            let mut farthest = (0.0, low);
            for &point in minorant.iter().chain(&majorant) {
                let gap = self.on(&majorant, point) - self.on(&minorant, point);
                if gap > farthest.0 {
                    farthest = (gap, point);
                }
            }
            let (gap, point) = farthest;
            if gap <= twice {
                return twice / 2.0;
            }
            let (left, right) = if minorant.contains(&point) {
                let right = majorant.iter().find(|&&other| other >= point);
                (point, right.copied().unwrap_or(high))
            } else {
                let left = minorant.iter().rfind(|&&other| other <= point);
                (left.copied().unwrap_or(low), point)
            };
            let before = (low..=left).map(|at| self.values[at] - self.on(&minorant, at));
            let after = (right..=high).map(|at| self.on(&majorant, at) - self.values[at]);
            twice = before.chain(after).fold(twice, f64::max);
            if gap <= twice || (left, right) == (low, high) || left >= right {
                return twice / 2.0;
            }
            (low, high) = (left, right);
        }
    }

    /// The points of the hull over `low..=high`: a corner is left out where the turn at it, as a cross
    /// product, is one that `outside` takes.
    fn hull(&self, low: usize, high: usize, outside: impl Fn(f64) -> bool) -> Vec<usize> {
        let mut hull = vec![low];
        for next in low + 1..=high {
            while let [.., before, corner] = hull[..] {
                let run = self.places[corner] - self.places[before];
                let rise = self.values[corner] - self.values[before];
                let cross = rise * (self.places[next] - self.places[before])
                    - (self.values[next] - self.values[before]) * run;
                if !outside(cross) {
                    break;
                }
                hull.pop();
            }
            hull.push(next);
        }
        hull
    }

    /// The value of a hull at point `at`.
    fn on(&self, hull: &[usize], at: usize) -> f64 {
        let after = hull.partition_point(|&point| point < at);
        let right = hull[after.min(hull.len() - 1)];
        if right == at || after == 0 {
            return self.values[right];
        }
        let left = hull[after - 1];
        let share =
            (self.places[at] - self.places[left]) / (self.places[right] - self.places[left]);
        self.values[left] + share * (self.values[right] - self.values[left])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dip(places: &[f64], values: &[f64]) -> f64 {
        let steps = Steps {
            places: places.to_vec(),
            values: values.to_vec(),
        };
        steps.dip()
    }

    #[test]
    fn it_is_the_distance_to_the_nearest_unimodal_distribution() {
        // By linear programming over all unimodal functions (scipy 1.17, HiGHS).
        let cases: [(&[f64], &[f64], f64); 5] = [
            (&[0.0, 1.0, 3.0, 4.0], &[0.0, 0.5, 0.5, 1.0], 0.166_67),
            (&[0.0, 1.0, 5.0, 6.0], &[0.0, 0.5, 0.5, 1.0], 0.2),
            (&[0.0, 1.0, 5.0, 6.0], &[0.0, 0.8, 0.8, 1.0], 0.08),
            (&[0.0, 1.0, 2.0, 3.0], &[0.0, 0.1, 0.9, 1.0], 0.0),
            (
                &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0],
                &[0.0, 0.3, 0.35, 0.4, 0.9, 1.0],
                0.083_33,
            ),
        ];
        for (places, values, expected) in cases {
            let found = dip(places, values);
            assert!((found - expected).abs() < 1e-5, "{found} for {expected}");
        }
    }

    #[test]
    fn rounding_makes_no_modes() {
        let rounded: Vec<f64> = (0..1000).map(|idx| f64::from(idx / 100)).collect();
        assert!(Steps::of_sorted(&rounded).unwrap().dip() < 1e-9);
        assert!(Steps::of_sorted(&[1.0; 50]).is_none());
    }
}
