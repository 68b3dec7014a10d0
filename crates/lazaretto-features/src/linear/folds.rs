//! Which model scores which record.

use rayon::prelude::*;

/// The fold of a record: from the upper half of its key, because the reference set is chosen by
/// the smallest keys and the two choices must not depend on each other.
///
/// The reference set takes the smallest keys of all, so their upper bits are small numbers, but
/// their remainder is still uniform.
pub(crate) fn fold_of(key: u64, folds: usize) -> usize {
    ((key >> 32) % folds.max(1) as u64) as usize
}

/// Calls `fit` with the rows outside of each fold, `at_once` folds in parallel (at least one); the
/// models in fold order.
pub(crate) fn fit_folds<M: Send>(
    keys: &[u64],
    folds: usize,
    at_once: usize,
    fit: impl Fn(&[usize]) -> M + Sync,
) -> Vec<M> {
    let fit_fold = |&fold: &usize| {
        let chosen: Vec<usize> = (0..keys.len())
            .filter(|&idx| fold_of(keys[idx], folds) != fold)
            .collect();
        fit(&chosen)
    };
    let all: Vec<usize> = (0..folds).collect();
    let mut models = Vec::with_capacity(folds);
    for some in all.chunks(at_once.max(1)) {
        models.par_extend(some.par_iter().map(fit_fold));
    }
    models
}
