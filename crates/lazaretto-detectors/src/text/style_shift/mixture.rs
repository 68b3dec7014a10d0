//! The hidden component of a class: records that are written as no other class writes, and that
//! are about what other classes are about.
//!
//! A class that was given restyled records of other classes is a mixture of its own records and of
//! theirs. Which is which is not known, but two things are: the style of the hidden component is
//! rare in the other classes, and its content argues for one of them. Expectation maximisation
//! uses both. The M step learns the style of the suspected records against everything else,
//! out of fold; the E step suspects those whose style and content fit. Without poison nothing
//! holds the two together, and the component dies out.

use lazaretto_features::{SoftLabelModel, SoftLabelRows};

/// Folds of the style models; a record is judged by the model that did not see it.
pub(super) const FOLDS: usize = 3;
/// Share of a class that is suspected at first.
const FIRST_SUSPECTS: f64 = 0.2;
/// Rounds of expectation maximisation; more let weak components die out.
const ROUNDS: usize = 4;
/// Steps of the solver in the first fit and in those that start from the last one.
const STEPS: [usize; 2] = [30, 12];
/// Margins beyond this say no more: one rare word must not outweigh a style.
const MAX_MARGIN: f32 = 5.0;
/// Weight of the content in the score: style orders, content only leans.
const CONTENT_IN_SCORE: f32 = 0.5;
/// Largest share of a group that may be records which merely write alike.
const FALSE_SHARE: f64 = 0.08;
/// Share of a class that its component must keep to be alive. In classes of about 3,500 texts
/// noise and random flips of 5 % of the labels keep 0.02 to 0.03, and 5 % of restyled records 0.04.
const LIVING_SHARE: f64 = 0.03;
/// How many times that of the class with the least it must be: noise leaves about the same in all.
const ABOVE_NOISE: f64 = 1.7;
/// Sizes of a group that are tried grow by this factor.
const SIZE_STEP: f64 = 1.25;

/// The fold of the record with this key. The sample takes the smallest keys, so the key is mixed
/// first.
pub(super) fn fold_of(key: u64) -> usize {
    ((key.wrapping_mul(0xd6e8_feb8_6659_fd93) >> 33) % FOLDS as u64) as usize
}

/// The score of a record: log odds of its style, less what its content says for its label.
pub(super) fn score(style: f32, margin: f32) -> f32 {
    style - CONTENT_IN_SCORE * margin.clamp(-MAX_MARGIN, MAX_MARGIN)
}

/// Whether a record whose style is that of the group belongs to it by its content too.
pub(super) fn fits(style: f32, margin: f32, threshold: f32) -> bool {
    score(style, margin) >= threshold
}

/// Records of a class and of others, all of the sample or a part of it.
pub(super) struct Problem<'a> {
    pub(super) rows: &'a SoftLabelRows,
    pub(super) keys: &'a [u64],
    /// Whether each has the label of the class.
    pub(super) own: &'a [bool],
    /// How much the content of each argues for the class, against the best other one; 0 where it
    /// says nothing.
    pub(super) margins: &'a [f32],
}

/// The style of the hidden component of one class.
#[derive(Debug)]
pub(super) struct ClassStyle {
    models: Vec<SoftLabelModel>,
    /// Log odds from which records belong to the group, infinite where there is none.
    pub(super) threshold: f32,
    /// How many thresholds were tried.
    pub(super) n_tried: usize,
    /// Share of the class's other records whose content argues for another class.
    pub(super) contradicted: f64,
    /// Share of the other classes' records whose content argues against this class.
    pub(super) contradicted_of_others: f64,
    /// Share of the other classes' records whose style would put them into the group.
    pub(super) alike_in_others: f64,
    /// Share of the class that is suspected in the end and argues for another class; 0 where what is
    /// suspected is not contradicted as often as [`Self::bar`].
    suspected: f64,
}

impl ClassStyle {
    /// Log odds that the record with this key and these features belongs to the component.
    pub(super) fn log_odds(&self, key: u64, row: &[(u32, f32)]) -> f32 {
        self.models[fold_of(key)].log_odds(row)
    }

    /// Finds the component; `min_records` is the size of the smallest group.
    pub(super) fn fit(problem: &Problem<'_>, min_records: usize) -> Self {
        let n_rows = problem.own.len();
        let mut targets: Vec<f32> = problem.own.iter().map(|&own| f32::from(own)).collect();
        let (mut models, mut style) = problem.style(&targets, None);
        let mut order: Vec<usize> = (0..n_rows).filter(|&row| problem.own[row]).collect();
        let by_score = |style: &[f32], row: usize| score(style[row], 2.0 * problem.margins[row]);
        order.sort_by(|&a, &b| by_score(&style, b).total_cmp(&by_score(&style, a)));
        let n_first = (order.len() as f64 * FIRST_SUSPECTS).ceil() as usize;
        targets.fill(0.0);
        for &row in &order[..n_first] {
            targets[row] = 1.0;
        }
        for round in 0..ROUNDS {
            let start = (round > 0).then_some(models.as_slice());
            (models, style) = problem.style(&targets, start);
            for &row in &order {
                let margin = problem.margins[row].clamp(-MAX_MARGIN, MAX_MARGIN);
                targets[row] = 1.0 / (1.0 + (margin - style[row]).exp());
            }
        }
        let mut found = Self {
            models,
            threshold: f32::INFINITY,
            n_tried: 1,
            contradicted: 0.5,
            contradicted_of_others: 0.5,
            alike_in_others: 0.0,
            suspected: 0.0,
        };
        found.find_group(problem, &style, min_records);
        let share = |of: &dyn Fn(usize) -> bool| {
            let suspected = order.iter().filter(|&&row| of(row));
            let suspected = suspected.map(|&row| f64::from(targets[row])).sum::<f64>();
            suspected / order.len().max(1) as f64
        };
        let contradicted = share(&|row| problem.margins[row] < 0.0);
        let agreeing = share(&|row| problem.margins[row] > 0.0);
        if contradicted >= found.bar() * (contradicted + agreeing) {
            found.suspected = contradicted;
        }
        found
    }

    /// Share of contradicted records half-way between the class's own and relabelled ones: a natural
    /// sub-population may well be harder to classify than the rest of its class.
    pub(super) fn bar(&self) -> f64 {
        f64::midpoint(self.contradicted, self.contradicted_of_others)
    }

    /// The largest group at the top of the class whose style is rare in the other classes, and
    /// whose less typical half and quarter still argue for other classes as their own records would.
    fn find_group(&mut self, problem: &Problem<'_>, style: &[f32], min_records: usize) {
        let (mut own, mut others): (Vec<usize>, Vec<usize>) =
            (0..style.len()).partition(|&row| problem.own[row]);
        let descending = |a: &usize, b: &usize| style[*b].total_cmp(&style[*a]);
        own.sort_by(descending);
        others.sort_by(descending);
        if others.is_empty() {
            return;
        }
        let against = |rows: &[usize]| {
            let margins = rows.iter().map(|&row| problem.margins[row]);
            contradicted_share(margins)
        };
        self.contradicted_of_others = against(&others);
        self.contradicted = against(&own);
        let mut size = min_records.max(2);
        while size <= own.len() / 2 {
            self.n_tried += 1;
            let threshold = style[own[size - 1]];
            let alike = others.partition_point(|&row| style[row] >= threshold);
            let alike_share = (alike + 1) as f64 / others.len() as f64;
            let rest = against(&own[size..]);
            let bar = f64::midpoint(rest, self.contradicted_of_others);
            let expected = alike_share * own.len() as f64;
            if expected <= FALSE_SHARE * size as f64
                && against(&own[..size]) >= bar
                && against(&own[size / 2..size]) >= bar
                && against(&own[size - size / 4..size]) >= bar
            {
                self.threshold = threshold;
                self.contradicted = rest;
                self.alike_in_others = alike as f64 / others.len() as f64;
            }
            size = (size as f64 * SIZE_STEP).ceil() as usize;
        }
    }
}

/// Whether a component of one of the classes is alive: scores of dead ones order nothing but noise.
pub(super) fn any_alive<'a>(classes: impl Iterator<Item = &'a ClassStyle> + Clone) -> bool {
    let noise = if classes.clone().count() > 1 {
        let shares = classes.clone().map(|class| class.suspected);
        shares.fold(f64::INFINITY, f64::min)
    } else {
        0.0
    };
    let least = LIVING_SHARE.max(ABOVE_NOISE * noise);
    let mut classes = classes;
    classes.any(|class| class.threshold.is_finite() || class.suspected >= least)
}

/// Share of `margins` below 0, of those that are not 0; never certain.
fn contradicted_share(margins: impl Iterator<Item = f32>) -> f64 {
    let (mut against, mut all) = (1.0, 2.0);
    for margin in margins.filter(|margin| margin.abs() > 0.0) {
        against += f64::from(u8::from(margin < 0.0));
        all += 1.0;
    }
    against / all
}

impl Problem<'_> {
    /// One model per fold for `targets`, and the log odds of every row from the model that did
    /// not see it.
    fn style(
        &self,
        targets: &[f32],
        start: Option<&[SoftLabelModel]>,
    ) -> (Vec<SoftLabelModel>, Vec<f32>) {
        let folds: Vec<usize> = self.keys.iter().map(|&key| fold_of(key)).collect();
        let steps = STEPS[usize::from(start.is_some())];
        let models: Vec<SoftLabelModel> = (0..FOLDS)
            .map(|fold| {
                let chosen: Vec<usize> = (0..folds.len()).filter(|&r| folds[r] != fold).collect();
                let start = start.map(|models| &models[fold]);
                SoftLabelModel::fit(self.rows, targets, &chosen, start, steps)
            })
            .collect();
        let style = folds.iter().enumerate();
        let style = style.map(|(row, &fold)| models[fold].log_odds(self.rows.row(row)));
        let style = style.collect();
        (models, style)
    }
}
