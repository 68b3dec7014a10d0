//! How much rarer each combination of two values is than the two values alone let expect.

use rayon::prelude::*;

use crate::tabular::record_sample::{Records, Sample};
use crate::tabular::value_codes::CodedColumn;

/// Columns that are paired at most; their pairs are 1,128.
const MAX_COLUMNS: usize = 48;

/// The strengths of one pair of columns, `n_first × n_second` row by row.
#[derive(Debug)]
struct Pair {
    first: usize,
    second: usize,
    /// For a record outside the sample.
    outside: Vec<f32>,
    /// For a record of the sample, which does not count itself.
    inside: Vec<f32>,
}

/// The compiled counts of all pairs of columns.
///
/// For values `a` and `b` of two columns with `n_a`, `n_b` and `n_ab` records of `n`, the strength
/// is `max(0, ln (e + 1) − ln (n_ab + 1))` with `e = n_a n_b / n`: it is positive where the
/// combination is rarer than independence lets expect, and cannot be large where little is
/// expected. A record's score is the Euclidean norm of its strengths, so that one impossible pair
/// outweighs many slightly unusual ones.
#[derive(Debug)]
pub(crate) struct PairTable {
    columns: Vec<CodedColumn>,
    pairs: Vec<Pair>,
}

impl PairTable {
    /// Counts the sample; `None` with fewer than two columns that can be counted.
    pub(crate) fn fit(sample: &Sample, memory_bytes: usize) -> Option<Self> {
        let mut columns = CodedColumn::all(sample, MAX_COLUMNS);
        let cells = |columns: &[CodedColumn]| -> usize {
            let sizes: Vec<usize> = columns.iter().map(CodedColumn::n_codes).collect();
            let total: usize = sizes.iter().sum();
            let squares: usize = sizes.iter().map(|size| size * size).sum();
            (total * total - squares) / 2
        };
        while columns.len() > 2 && cells(&columns) * 2 * size_of::<f32>() > memory_bytes {
            columns.pop();
        }
        if columns.len() < 2 {
            return None;
        }
        let codes: Vec<Vec<u16>> = columns
            .iter()
            .map(|column| {
                let rows = 0..sample.n_rows();
                rows.map(|row| column.code_of_sampled(sample, row))
                    .collect()
            })
            .collect();
        let n_columns = columns.len();
        let all: Vec<(usize, usize)> = (0..n_columns)
            .flat_map(|first| (first + 1..n_columns).map(move |second| (first, second)))
            .collect();
        let pairs = all
            .into_par_iter()
            .map(|(first, second)| {
                let shape = (columns[first].n_codes(), columns[second].n_codes());
                Pair::count((first, second), shape, &codes[first], &codes[second])
            })
            .collect();
        Some(Self { columns, pairs })
    }

    /// The scores of the records from `first_row` of the batch on; `sampled` says of each whether
    /// it is in the sample. A record without any value gets 0 here.
    pub(crate) fn score(
        &self,
        records: &Records<'_>,
        first_row: usize,
        sampled: &[bool],
        scores: &mut [f32],
    ) {
        let rows = first_row..first_row + scores.len();
        let codes: Vec<Vec<u16>> = self
            .columns
            .iter()
            .map(|column| rows.clone().map(|row| column.code(records, row)).collect())
            .collect();
        scores.fill(0.0);
        for pair in &self.pairs {
            let width = self.columns[pair.second].n_codes();
            let values = codes[pair.first].iter().zip(&codes[pair.second]);
            for ((score, (&first, &second)), &sampled) in scores.iter_mut().zip(values).zip(sampled)
            {
                let cell = usize::from(first) * width + usize::from(second);
                *score += if sampled {
                    pair.inside[cell]
                } else {
                    pair.outside[cell]
                };
            }
        }
        for score in scores {
            *score = score.sqrt();
        }
    }
}

impl Pair {
    /// Counts two coded columns; strengths are kept squared.
    fn count(
        (first, second): (usize, usize),
        (n_first, n_second): (usize, usize),
        first_codes: &[u16],
        second_codes: &[u16],
    ) -> Self {
        let mut counts = vec![0_u32; n_first * n_second];
        let mut of_first = vec![0_u32; n_first];
        let mut of_second = vec![0_u32; n_second];
        for (&a, &b) in first_codes.iter().zip(second_codes) {
            counts[usize::from(a) * n_second + usize::from(b)] += 1;
            of_first[usize::from(a)] += 1;
            of_second[usize::from(b)] += 1;
        }
        let n = first_codes.len().max(1) as f64;
        let squared = |expected: f64, found: f64| {
            let strength = ((expected + 1.0) / (found + 1.0)).ln().max(0.0);
            (strength * strength) as f32
        };
        let mut inside = Vec::with_capacity(counts.len());
        let mut outside = Vec::with_capacity(counts.len());
        for (cell, &count) in counts.iter().enumerate() {
            let (a, b) = (cell / n_second, cell % n_second);
            let (n_a, n_b) = (f64::from(of_first[a]), f64::from(of_second[b]));
            let found = f64::from(count);
            outside.push(squared(n_a * n_b / n, found));
            let others = (n_a - 1.0).max(0.0) * (n_b - 1.0).max(0.0) / (n - 1.0).max(1.0);
            inside.push(squared(others, (found - 1.0).max(0.0)));
        }
        Self {
            first,
            second,
            outside,
            inside,
        }
    }
}

#[cfg(test)]
mod tests {
    use lazaretto_core::{Batch, Derived};

    use super::*;
    use crate::tabular::record_sample::RecordSample;

    /// 1,000 records of two categories that agree and one that does not matter; some of them
    /// contradict themselves.
    fn scores(contradicting: &[usize]) -> Vec<f32> {
        let n = 1000;
        let mut columns: Vec<Vec<u64>> = (1..=3)
            .map(|column| (0..n).map(|row| 10 + (row / column % 4) as u64).collect())
            .collect();
        columns[1] = columns[0].iter().map(|value| value * 100).collect();
        for &row in contradicting {
            columns[1][row] = if columns[1][row] == 1000 { 1100 } else { 1000 };
        }
        // Nulls are a value like others.
        columns[2][7] = 0;
        let keys: Vec<u64> = (0..n as u64).map(|row| row * 7919 % 1009).collect();
        let derived = Derived::default();
        let batch = Batch {
            first_row: 0,
            keys: &keys,
            labels: None,
            sources: None,
            times: None,
            texts: &[],
            numeric: None,
            categorical: &columns,
            embedding: None,
            given_probabilities: None,
            derived: &derived,
        };
        let mut sample = RecordSample::new(10_000, (0, 3), usize::MAX);
        sample.insert(&batch, Records::of(&batch));
        let table = PairTable::fit(&sample.finish(), 1 << 20).unwrap();
        let mut scores = vec![0.0; n];
        table.score(&Records::of(&batch), 0, &vec![true; n], &mut scores);
        scores
    }

    #[test]
    fn values_that_never_go_together_stand_out() {
        let scores = scores(&[5, 500]);
        let mut others = scores.clone();
        others[5] = 0.0;
        others[500] = 0.0;
        let most = others.iter().copied().fold(0.0, f32::max);
        assert!(scores[5] > most + 1.0 && scores[500] > most + 1.0, "{most}");
    }

    #[test]
    fn what_happens_often_is_no_contradiction() {
        let many: Vec<usize> = (0..1000).step_by(3).collect();
        let scores = scores(&many);
        assert!(scores[3] < 2.0, "{}", scores[3]);
    }
}
