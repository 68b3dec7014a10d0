//! The scan statistic: whether a series of times has a window with far more events than its own past,
//! as its own other windows go.

/// Finest division of the whole time.
const MAX_WINDOWS: u64 = 1 << 16;
/// Coarsest division of the whole time; fewer windows are no comparison.
const MIN_WINDOWS: u64 = 32;
/// Windows before one that say what was to be expected in it.
const PAST: usize = 8;
/// Shortest window, in microseconds: one second.
const SHORTEST: i64 = 1_000_000;
/// Fewest events of a window beyond what was to be expected.
const MIN_EXCESS: f64 = 20.0;
/// Least ratio of a window's events to what was to be expected.
const MIN_RATIO: f64 = 3.0;
/// A window stands out by at least so many times the strongest of all others.
const MIN_GAP: f64 = 1.5;
/// Share of the windows from which the tail of the others is read.
const TAIL: usize = 50;
const TAIL_WINDOWS: (usize, usize) = (5, 50);
/// Shape of that tail, a generalised Pareto law of √(2 G): the largest that the calibration of scores allows,
/// and far heavier than that of counts with any constant over-dispersion.
const SHAPE: f64 = 0.2;
/// The statistic of events by chance alone is about half normal: its tail is no lighter than that.
const LEAST_EDGE: f64 = 1.0;
const LEAST_SCALE: f64 = 0.4;
/// Records of one time count no more than so many times what nine in ten other times have: a load of records
/// with one time is one event.
const LOAD: u64 = 4;

/// When the dataset begins and ends, and how fine its times are, all in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Clock {
    pub(super) first: i64,
    pub(super) last: i64,
    /// Greatest common divisor of all times.
    pub(super) resolution: i64,
}

impl Clock {
    /// The clock of ascending times; stray ones far from all others are beyond its ends.
    pub(super) fn of(times: &[i64]) -> Option<Self> {
        let (&first, &last) = (times.first()?, times.last()?);
        let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
        let (low, high) = (at(0.01), at(0.99));
        let stray = (high.saturating_sub(low)).saturating_mul(2);
        let first =
            times[times.partition_point(|&time| time < low.saturating_sub(stray))].max(first);
        let beyond = times.partition_point(|&time| time <= high.saturating_add(stray));
        let last = times[beyond.max(1) - 1].min(last);
        let resolution = times.iter().fold(0, |divisor, &time| {
            gcd(divisor, time.saturating_sub(first).unsigned_abs())
        });
        let clock = Self {
            first,
            last,
            resolution: i64::try_from(resolution).unwrap_or(1).max(1),
        };
        (last > first).then_some(clock)
    }

    fn span(self) -> i64 {
        self.last
            .saturating_sub(self.first)
            .saturating_add(self.resolution)
    }

    /// Lengths of windows, the longest first: halves of halves of the whole time, in whole steps of
    /// the resolution.
    fn lengths(self, n_events: u64) -> Vec<i64> {
        let finest = (4 * n_events).clamp(MIN_WINDOWS, MAX_WINDOWS);
        let mut lengths = Vec::new();
        let mut n_windows = MIN_WINDOWS;
        while n_windows <= finest {
            let whole = self.span() / n_windows as i64 / self.resolution * self.resolution;
            if whole < SHORTEST.max(self.resolution) {
                break;
            }
            if lengths.last() != Some(&whole) {
                lengths.push(whole);
            }
            n_windows *= 2;
        }
        lengths
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// A stretch of time with far more events than there were to be expected.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Window {
    /// Where the rate changes, to the nearest event, in microseconds.
    pub(super) start: i64,
    /// Time of its last event.
    pub(super) end: i64,
    /// Whether it ends with the dataset.
    pub(super) at_end: bool,
    /// Its events; a load of records with one time counts as few.
    pub(super) events: u64,
    pub(super) expected: f64,
    /// Corrected for the windows and lengths that were tried, not for the series.
    pub(super) p_value: f64,
}

/// Distinct times with the number of events at each.
struct Events(Vec<(i64, u64)>);

impl Events {
    fn of(times: &[i64], clock: Clock) -> Self {
        let within = times
            .iter()
            .filter(|&&time| time >= clock.first && time <= clock.last);
        let within: Vec<i64> = within.copied().collect();
        let mut events: Vec<(i64, u64)> = within
            .chunk_by(|a, b| a == b)
            .map(|same| (same[0], same.len() as u64))
            .collect();
        let mut numbers: Vec<u64> = events.iter().map(|&(_, number)| number).collect();
        numbers.sort_unstable();
        let ordinary = numbers.get(numbers.len() * 9 / 10).copied().unwrap_or(1);
        for (_, number) in &mut events {
            *number = (*number).min(LOAD * ordinary);
        }
        Self(events)
    }

    fn total(&self) -> u64 {
        self.0.iter().map(|&(_, number)| number).sum()
    }

    /// Events per window of this length, the last window first.
    fn counts(&self, clock: Clock, length: i64) -> Vec<u64> {
        let n_windows = (clock.span() + length - 1) / length;
        let mut counts = vec![0; n_windows as usize];
        for &(time, number) in &self.0 {
            counts[((clock.last - time) / length) as usize] += number;
        }
        // The first may be cut off.
        if clock.span() % length != 0 {
            counts.pop();
        }
        counts
    }

    /// The events from `start` to before `end`.
    fn between(&self, start: i64, end: i64) -> &[(i64, u64)] {
        let from = self.0.partition_point(|&(time, _)| time < start);
        let to = self.0.partition_point(|&(time, _)| time < end);
        &self.0[from..to.max(from)]
    }
}

/// The windows of ascending `times` that stand out most: one that ends with the dataset and one
/// anywhere, where there are any.
///
/// The number of events of a window is compared with that of the eight windows before it by the
/// likelihood ratio of a change of rate. How large that ratio becomes without an attack is read from
/// all other windows of the same length, so rhythms, batches and steady growth are in the null.
pub(super) fn windows(times: &[i64], clock: Clock) -> Vec<Window> {
    let events = Events::of(times, clock);
    let lengths = clock.lengths(events.total());
    let tables: Vec<(i64, Vec<u64>)> = lengths
        .iter()
        .map(|&length| (length, events.counts(clock, length)))
        .collect();
    let growth = growth(&tables);
    let n_lengths = tables.len() as f64;
    let (mut at_end, mut anywhere) = (None, None);
    for (length, counts) in &tables {
        let judged = Judged::of(counts);
        for idx in judged.candidates() {
            // Towards the end many datasets grow denser at every scale.
            let before = counts.get(idx + 1).copied().unwrap_or(0);
            if idx == 0 && (counts[0] as f64) < MIN_RATIO * growth * (before as f64).max(1.0) {
                continue;
            }
            let n_tried = if idx == 0 {
                1.0
            } else {
                judged.strengths.len() as f64
            };
            let window = Window {
                start: clock.last - (idx as i64 + 1) * length + 1,
                end: clock.last - idx as i64 * length,
                at_end: idx == 0,
                events: counts[idx],
                expected: judged.expected(idx),
                p_value: (judged.tail(idx) * n_tried * n_lengths).min(1.0),
            };
            let best: &mut Option<Window> = if idx == 0 { &mut at_end } else { &mut anywhere };
            if best.is_none_or(|best| window.p_value < best.p_value) {
                *best = Some(refined(&events, window, *length));
            }
        }
    }
    at_end.into_iter().chain(anywhere).collect()
}

/// How many times more events the last window of a length has than the one before, at most lengths:
/// the same at all of them where the rate follows a power of the age, and one at those shorter than a
/// burst.
fn growth(tables: &[(i64, Vec<u64>)]) -> f64 {
    let ratios = tables.iter().filter(|(_, counts)| counts.len() > 1);
    let mut ratios: Vec<f64> = ratios
        .filter(|(_, counts)| counts[0] + counts[1] >= 10)
        .map(|(_, counts)| counts[0] as f64 / (counts[1] as f64).max(1.0))
        .collect();
    if ratios.is_empty() {
        return 1.0;
    }
    ratios.sort_by(f64::total_cmp);
    ratios[ratios.len() / 5].max(1.0)
}

/// The windows of one length.
struct Judged<'a> {
    counts: &'a [u64],
    /// √(2 G) of each window that has a past, the last window first.
    strengths: Vec<f64>,
    sorted: Vec<f64>,
}

impl<'a> Judged<'a> {
    fn of(counts: &'a [u64]) -> Self {
        let n_judged = counts.len().saturating_sub(PAST);
        let mut judged = Self {
            counts,
            strengths: Vec::new(),
            sorted: Vec::new(),
        };
        judged.strengths = (0..n_judged).map(|idx| judged.strength(idx)).collect();
        judged.sorted.clone_from(&judged.strengths);
        judged.sorted.sort_by(|a, b| b.total_cmp(a));
        judged
    }

    fn past(&self, idx: usize) -> u64 {
        self.counts[idx + 1..=idx + PAST].iter().sum()
    }

    fn expected(&self, idx: usize) -> f64 {
        self.past(idx) as f64 / PAST as f64
    }

    /// Signed root of twice the log-likelihood ratio of "as many as before" against "more": given the
    /// sum of both, the number in the window is binomial. 0 where there are not more.
    fn strength(&self, idx: usize) -> f64 {
        let (here, past) = (self.counts[idx] as f64, self.past(idx) as f64);
        let share = 1.0 / (PAST + 1) as f64;
        let ordinary = (here + past) * share;
        if here <= ordinary {
            return 0.0;
        }
        let mut ratio = here * (here / ordinary).ln();
        if past > 0.0 {
            ratio += past * (past / (here + past - ordinary)).ln();
        }
        (2.0 * ratio.max(0.0)).sqrt()
    }

    /// Windows that may stand out.
    fn candidates(&self) -> Vec<usize> {
        let (Some(&most), Some(&next)) = (self.sorted.first(), self.sorted.get(1)) else {
            return Vec::new();
        };
        if self.strengths.len() + PAST < MIN_WINDOWS as usize - 1 || most < MIN_GAP * next {
            return Vec::new();
        }
        let found = self.strengths.iter().position(|&strength| strength >= most);
        let found = found.filter(|&idx| {
            let (here, expected) = (self.counts[idx] as f64, self.expected(idx));
            here - expected >= MIN_EXCESS && here >= MIN_RATIO * expected
        });
        found.into_iter().collect()
    }

    /// Chance of a window as strong as the strongest, `idx`, by a generalised Pareto tail fitted to the
    /// strongest others.
    fn tail(&self, idx: usize) -> f64 {
        let others = &self.sorted[1..];
        let n_tail = (others.len() / TAIL).clamp(TAIL_WINDOWS.0, TAIL_WINDOWS.1);
        let n_tail = n_tail.min(others.len());
        let tail = &others[..n_tail];
        let edge = tail.last().map_or(LEAST_EDGE, |&edge| edge.max(LEAST_EDGE));
        let excess = tail
            .iter()
            .map(|strength| (strength - edge).max(0.0))
            .sum::<f64>();
        // A mean of (1 − shape) × scale belongs to this shape.
        let scale = (excess / n_tail.max(1) as f64 / (1.0 - SHAPE)).max(LEAST_SCALE);
        let beyond = (self.strengths[idx] - edge).max(0.0) / scale;
        let share = n_tail as f64 / others.len().max(1) as f64;
        share * (1.0 + SHAPE * beyond).powf(-1.0 / SHAPE)
    }
}

/// The window cut to where the rate changes: the events with the largest likelihood ratio against the rate
/// that was to be expected, of the window and half of the one before.
fn refined(events: &Events, window: Window, length: i64) -> Window {
    let events = events.between(window.start - length / 2, window.end + 1);
    let rate = window.expected.max(0.5) / length as f64;
    let end = events.last().map_or(window.end, |&(time, _)| time);
    let (mut best, mut start) = (f64::NEG_INFINITY, window.start);
    let (mut here, mut at_best) = (0, 0);
    for &(time, number) in events.iter().rev() {
        here += number;
        let ordinary = rate * ((end - time) as f64).max(1.0);
        let ratio = here as f64 * (here as f64 / ordinary).ln() - (here as f64 - ordinary);
        if here as f64 > ordinary && ratio > best {
            (best, start, at_best) = (ratio, time, here);
        }
    }
    Window {
        start,
        end,
        events: at_best.max(1),
        expected: rate * ((end - start) as f64).max(1.0),
        ..window
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000_000;

    #[test]
    fn stray_times_are_beyond_the_clock() {
        let mut times: Vec<i64> = (0..1_000).map(|idx| idx * HOUR).collect();
        times.insert(0, -900_000 * HOUR);
        times.push(2_000_000 * HOUR);
        let clock = Clock::of(&times).unwrap();
        assert_eq!(
            clock,
            Clock {
                first: 0,
                last: 999 * HOUR,
                resolution: HOUR
            }
        );
        assert_eq!(Clock::of(&[5; 10]), None);
        assert_eq!(Clock::of(&[]), None);
    }

    #[test]
    fn a_load_at_one_time_counts_as_few_events() {
        let mut times: Vec<i64> = (0..1_000).map(|idx| idx * HOUR + idx % 7).collect();
        times.extend(vec![500 * HOUR + 3; 5_000]);
        times.sort_unstable();
        let clock = Clock::of(&times).unwrap();
        // The load has the time of another record.
        assert_eq!(Events::of(&times, clock).total(), 999 + 4);
        assert_eq!(windows(&times, clock), []);
    }

    #[test]
    fn the_start_of_a_burst_is_where_the_rate_changes() {
        // One an hour, and one a minute in the last two hours.
        let mut times: Vec<i64> = (0..4_000)
            .map(|idx| idx * HOUR + idx % 11 * 60_000_000)
            .collect();
        let burst = 3_998 * HOUR;
        times.extend((0..120).map(|idx| burst + idx * 60_000_000 + 1_000_000));
        times.sort_unstable();
        let found = windows(&times, Clock::of(&times).unwrap());
        assert!(
            found[1..].iter().all(|other| other.p_value > 0.05),
            "{found:?}"
        );
        assert!(found[0].at_end && found[0].p_value < 1e-4, "{found:?}");
        assert!((found[0].start - burst).abs() < HOUR / 4, "{found:?}");
    }
}
