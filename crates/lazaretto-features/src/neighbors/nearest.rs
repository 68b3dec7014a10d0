//! The nearest records of one query while the search runs.

/// The `keep` smallest (squared distance, index) pairs seen so far.
#[derive(Clone, Debug)]
pub(super) struct Nearest {
    keep: usize,
    /// Ascending.
    found: Vec<(f64, u32)>,
    /// No record beyond this squared distance can be among the nearest.
    bound: f64,
}

impl Nearest {
    /// `keep` must not be 0.
    pub(super) fn new(keep: usize) -> Self {
        Self {
            keep,
            found: Vec::with_capacity(keep + 1),
            bound: f64::INFINITY,
        }
    }

    /// Starts again, knowing that `keep` records lie within what was found.
    pub(super) fn restart(&mut self) {
        if self.is_full() {
            self.bound = self.worst();
        }
        self.found.clear();
    }

    /// Whether a record may come in; see [`Self::bound`].
    pub(super) fn offer(&mut self, square: f64, idx: u32) {
        if square.is_nan() || (self.is_full() && (square, idx) >= self.last()) {
            return;
        }
        let place = self
            .found
            .partition_point(|&(other, other_idx)| (other, other_idx) < (square, idx));
        self.found.insert(place, (square, idx));
        self.found.truncate(self.keep);
    }

    /// The squared distance beyond which no record comes in; negative when none can that has a
    /// higher index than those seen.
    pub(super) fn bound(&self) -> f64 {
        if !self.is_full() {
            self.bound
        } else if self.worst() <= 0.0 {
            -1.0
        } else {
            self.worst()
        }
    }

    /// Ascending.
    pub(super) fn found(&self) -> &[(f64, u32)] {
        &self.found
    }

    fn is_full(&self) -> bool {
        self.found.len() == self.keep
    }

    fn last(&self) -> (f64, u32) {
        self.found.last().copied().unwrap_or((f64::INFINITY, 0))
    }

    fn worst(&self) -> f64 {
        self.last().0
    }
}
