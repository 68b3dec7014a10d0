//! The groups whose records are compared: sources, files, partitions, times, and pairs of them.

use std::collections::{BTreeMap, BTreeSet};

use lazaretto_core::NO_TIME;

use crate::counts::time_text;

/// A record without a group of a kind.
pub(super) const NONE: u32 = u32::MAX;
/// Most stretches of time.
const MAX_TIMES: i64 = 400;
/// Fewest stretches that are worth comparing.
const MIN_TIMES: i64 = 5;
/// Groups of each kind that enter into pairs, the largest, and pairs in all.
const MAX_PAIRED: usize = 256;
const MAX_PAIRS: usize = 1 << 16;
const HOUR: i64 = 3_600_000_000;
const DAY: i64 = 24 * HOUR;
/// The first Monday after 1970-01-01, in days.
const MONDAY: i64 = 4;

/// Lengths of stretches of time, the shortest first, and where one begins.
const UNITS: [(i64, i64, &str); 4] = [
    (HOUR, 0, "the hour from"),
    (DAY, 0, "the day"),
    (7 * DAY, MONDAY * DAY, "the week from"),
    (28 * DAY, MONDAY * DAY, "the four weeks from"),
];

/// Groups of one kind.
#[derive(Debug)]
pub(super) struct Kind {
    /// What a group is called, with its name: `source`, `file`, `partition month`.
    what: String,
    names: Vec<String>,
    of: Of,
}

#[derive(Debug)]
enum Of {
    Source,
    /// The group of each file.
    File(Vec<u32>),
    /// The group of each record.
    Record(Vec<u32>),
    Time {
        first: i64,
        length: i64,
    },
}

/// Where and when a record is from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) ordinal: u64,
    pub(super) file: usize,
    pub(super) source: u32,
    pub(super) time: i64,
}

/// A column of sources beside the one with that role.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Values {
    /// Its name.
    pub(super) column: String,
    pub(super) names: Vec<String>,
    /// The value of each record, by its place among the names.
    pub(super) of_records: Vec<u32>,
}

/// Stretches of time between two moments, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Calendar {
    first: i64,
    length: i64,
    number: i64,
    words: &'static str,
}

impl Calendar {
    /// The shortest unit of which there are not too many from `first` to `last`.
    pub(super) fn of(first: i64, last: i64) -> Option<Self> {
        UNITS.into_iter().find_map(|(length, origin, words)| {
            let floor = |time: i64| (time - origin).div_euclid(length);
            let number = floor(last) - floor(first) + 1;
            (MIN_TIMES..=MAX_TIMES).contains(&number).then_some(Self {
                first: floor(first) * length + origin,
                length,
                number,
                words,
            })
        })
    }

    fn name(self, idx: i64) -> String {
        let text = time_text(self.first + idx * self.length);
        let text = match self.length {
            HOUR => text.get(..16).unwrap_or(&text),
            _ => text.get(..10).unwrap_or(&text),
        };
        format!("{} {text}", self.words)
    }
}

/// All kinds of groups of a dataset, and all pairs of kinds.
#[derive(Debug, Default)]
pub(super) struct Groups {
    kinds: Vec<Kind>,
    pairs: Vec<Pair>,
}

/// Pairs of groups of two kinds, of the largest of each.
#[derive(Debug)]
struct Pair {
    kinds: [usize; 2],
    /// Place of each group of each kind among the largest.
    places: [Vec<u32>; 2],
    /// The largest groups of each kind.
    largest: [Vec<u32>; 2],
    /// Number of the first pair among all groups.
    first: usize,
}

impl Groups {
    /// The kinds with more than one group. `files` are their paths with the values of their partitions, `others`
    /// further columns of sources.
    pub(super) fn new(
        sources: &[String],
        files: &[(String, Vec<(String, String)>)],
        others: Vec<Values>,
        calendar: Option<Calendar>,
    ) -> Self {
        let mut kinds = Vec::new();
        if sources.len() > 1 {
            kinds.push(Kind {
                what: "source".to_owned(),
                names: sources.to_vec(),
                of: Of::Source,
            });
        }
        if files.len() > 1 {
            kinds.push(Kind {
                what: "file".to_owned(),
                names: files.iter().map(|(path, _)| path.clone()).collect(),
                of: Of::File((0..).take(files.len()).collect()),
            });
        }
        kinds.extend(partitions(files));
        kinds.extend(others.into_iter().map(|values| Kind {
            what: values.column,
            names: values.names,
            of: Of::Record(values.of_records),
        }));
        if let Some(calendar) = calendar {
            kinds.push(Kind {
                what: String::new(),
                names: (0..calendar.number).map(|idx| calendar.name(idx)).collect(),
                of: Of::Time {
                    first: calendar.first,
                    length: calendar.length,
                },
            });
        }
        Self {
            kinds,
            pairs: Vec::new(),
        }
    }

    /// Number of groups, pairs not counted.
    pub(super) fn n_single(&self) -> usize {
        self.kinds.iter().map(|kind| kind.names.len()).sum()
    }

    pub(super) fn n_all(&self) -> usize {
        let last = self.pairs.last();
        last.map_or(self.n_single(), |pair| pair.first + pair.number())
    }

    /// Adds pairs of kinds, given the number of records of each group. Kinds of which one follows from the other make
    /// no pairs: partitions from files.
    pub(super) fn add_pairs(&mut self, sizes: &[u64]) {
        let of_files = |kind: usize| matches!(self.kinds[kind].of, Of::File(_));
        let all = (0..self.kinds.len()).flat_map(|left| (0..left).map(move |right| [right, left]));
        let combined: Vec<[usize; 2]> = all
            .filter(|&[left, right]| !(of_files(left) && of_files(right)))
            .collect();
        let each = MAX_PAIRS / combined.len().max(1);
        let most = each.isqrt().min(MAX_PAIRED);
        let mut first = self.n_single();
        for kinds in combined {
            let mut pair = Pair {
                kinds,
                places: kinds.map(|kind| vec![NONE; self.kinds[kind].names.len()]),
                largest: kinds.map(|kind| self.largest(kind, sizes, most)),
                first,
            };
            for (places, largest) in pair.places.iter_mut().zip(&pair.largest) {
                for (&group, place) in largest.iter().zip(0..) {
                    places[group as usize] = place;
                }
            }
            first += pair.number();
            self.pairs.push(pair);
        }
    }

    fn offset(&self, kind: usize) -> usize {
        self.kinds[..kind].iter().map(|kind| kind.names.len()).sum()
    }

    fn largest(&self, kind: usize, sizes: &[u64], most: usize) -> Vec<u32> {
        let offset = self.offset(kind);
        let mut groups: Vec<u32> = (0..).take(self.kinds[kind].names.len()).collect();
        groups.sort_by_key(|&group| std::cmp::Reverse(sizes[offset + group as usize]));
        groups.truncate(most);
        groups.sort_unstable();
        groups
    }

    /// Calls `each` with every group of a record, pairs included.
    pub(super) fn each(&self, record: &Place, mut each: impl FnMut(usize)) {
        // Kinds are few: source, file, time and the keys of partitions.
        let mut within = [NONE; 16];
        let mut offset = 0;
        for (kind, within) in self.kinds.iter().zip(&mut within) {
            *within = kind.group(record);
            if *within != NONE {
                each(offset + *within as usize);
            }
            offset += kind.names.len();
        }
        for pair in &self.pairs {
            let place = |side: usize| {
                let group = within.get(pair.kinds[side]).copied().unwrap_or(NONE);
                pair.places[side]
                    .get(group as usize)
                    .copied()
                    .unwrap_or(NONE)
            };
            let (left, right) = (place(0), place(1));
            if left != NONE && right != NONE {
                each(pair.first + left as usize * pair.largest[1].len() + right as usize);
            }
        }
    }

    /// Ranges of groups of one kind, with whether they are pairs.
    pub(super) fn families(&self) -> Vec<std::ops::Range<usize>> {
        let mut families = Vec::new();
        let mut offset = 0;
        for kind in &self.kinds {
            families.push(offset..offset + kind.names.len());
            offset += kind.names.len();
        }
        let pairs = self.pairs.iter();
        families.extend(pairs.map(|pair| pair.first..pair.first + pair.number()));
        families
    }

    /// The two groups of a pair; `None` of a group that is none.
    pub(super) fn parts(&self, group: usize) -> Option<[usize; 2]> {
        let (pair, [left, right]) = self.in_pair(group)?;
        Some([
            self.offset(pair.kinds[0]) + pair.largest[0][left] as usize,
            self.offset(pair.kinds[1]) + pair.largest[1][right] as usize,
        ])
    }

    fn in_pair(&self, group: usize) -> Option<(&Pair, [usize; 2])> {
        let pair = self
            .pairs
            .iter()
            .find(|pair| group >= pair.first && group < pair.first + pair.number())?;
        let place = group - pair.first;
        let width = pair.largest[1].len();
        Some((pair, [place / width, place % width]))
    }

    /// The group in words: ``source `a` ``, ``the week from 2026-03-02``, ``source `a` in the week from
    /// 2026-03-02``.
    pub(super) fn in_words(&self, group: usize) -> String {
        if let Some([left, right]) = self.parts(group) {
            return format!("{} in {}", self.in_words(left), self.in_words(right));
        }
        let mut offset = 0;
        for kind in &self.kinds {
            if let Some(name) = kind.names.get(group - offset) {
                return if kind.what.is_empty() {
                    name.clone()
                } else {
                    format!("{} `{name}`", kind.what)
                };
            }
            offset += kind.names.len();
        }
        String::new()
    }

    /// The source that a group is, or is in.
    pub(super) fn source(&self, group: usize) -> Option<&str> {
        let single = self.parts(group).map_or(group, |[left, _]| left);
        let kind = self
            .kinds
            .first()
            .filter(|kind| matches!(kind.of, Of::Source))?;
        kind.names.get(single).map(String::as_str)
    }
}

impl Pair {
    fn number(&self) -> usize {
        self.largest[0].len() * self.largest[1].len()
    }
}

impl Kind {
    fn group(&self, record: &Place) -> u32 {
        let group = match &self.of {
            Of::Source => record.source,
            Of::File(groups) => groups.get(record.file).copied().unwrap_or(NONE),
            Of::Record(groups) => groups.get(record.ordinal as usize).copied().unwrap_or(NONE),
            Of::Time { .. } if record.time == NO_TIME => NONE,
            Of::Time { first, length } => {
                let idx = record.time.saturating_sub(*first).div_euclid(*length);
                u32::try_from(idx).unwrap_or(NONE)
            }
        };
        if (group as usize) < self.names.len() {
            group
        } else {
            NONE
        }
    }
}

/// One kind per partition key with more than one value; each value has one file or more, and one that has just
/// one each says nothing that the files do not.
fn partitions(files: &[(String, Vec<(String, String)>)]) -> Vec<Kind> {
    /// Keys that are looked at.
    const MAX_KEYS: usize = 8;
    let keys: BTreeSet<&str> = files
        .iter()
        .flat_map(|(_, values)| values.iter().map(|(key, _)| key.as_str()))
        .collect();
    let kind = |key: &str| {
        let value = |values: &[(String, String)]| {
            let value = values.iter().find(|(other, _)| other == key);
            value.map(|(_, value)| value.clone())
        };
        let by_file: Vec<Option<String>> = files.iter().map(|(_, values)| value(values)).collect();
        let names: BTreeSet<String> = by_file.iter().flatten().cloned().collect();
        let places: BTreeMap<&String, u32> = names.iter().zip(0..).collect();
        let groups = by_file.iter().map(|value| {
            let place = value.as_ref().and_then(|value| places.get(value));
            place.copied().unwrap_or(NONE)
        });
        let groups = groups.collect();
        (names.len() > 1 && names.len() < files.len()).then(|| Kind {
            what: format!("partition {key}"),
            names: names.iter().cloned().collect(),
            of: Of::File(groups),
        })
    };
    keys.into_iter().take(MAX_KEYS).filter_map(kind).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-03-02T00:00:00Z, a Monday.
    const MARCH: i64 = 1_772_409_600_000_000;

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|idx| format!("n{idx}")).collect()
    }

    fn place(file: usize, source: u32, time: i64) -> Place {
        Place {
            ordinal: 1,
            file,
            source,
            time,
        }
    }

    fn groups_of(groups: &Groups, file: usize, source: u32, time: i64) -> Vec<String> {
        let mut found = Vec::new();
        groups.each(&place(file, source, time), |group| {
            found.push(groups.in_words(group));
        });
        found
    }

    #[test]
    fn a_record_is_in_a_group_of_each_kind_and_of_each_pair() {
        let partition = |value: &str| vec![("lang".to_owned(), value.to_owned())];
        let files = [
            ("a".to_owned(), partition("en")),
            ("b".to_owned(), partition("en")),
            ("c".to_owned(), partition("de")),
        ];
        let calendar = Calendar::of(MARCH, MARCH + 100 * DAY).unwrap();
        let mut groups = Groups::new(&names(2), &files, Vec::new(), Some(calendar));
        let sizes = vec![1; groups.n_single()];
        groups.add_pairs(&sizes);
        assert_eq!(
            groups_of(&groups, 1, 0, MARCH + 9 * DAY + HOUR),
            [
                "source `n0`",
                "file `b`",
                "partition lang `en`",
                "the day 2026-03-11",
                "source `n0` in file `b`",
                "source `n0` in partition lang `en`",
                "source `n0` in the day 2026-03-11",
                "file `b` in the day 2026-03-11",
                "partition lang `en` in the day 2026-03-11",
            ]
        );
        assert_eq!(
            groups_of(&groups, 2, NONE, NO_TIME),
            ["file `c`", "partition lang `de`"]
        );
        let mut numbers = Vec::new();
        groups.each(&place(2, 1, MARCH), |group| numbers.push(group));
        assert!(numbers.iter().all(|&group| group < groups.n_all()));
        let families = groups.families();
        assert_eq!(families.last().unwrap().end, groups.n_all());
        assert!(families.windows(2).all(|two| two[0].end == two[1].start));
        assert_eq!(groups.source(numbers[4]), Some("n1"));
        assert_eq!(groups.source(numbers[1]), None);
    }

    #[test]
    fn only_the_largest_groups_enter_into_pairs() {
        let calendar = Calendar::of(MARCH, MARCH + 50 * DAY);
        let mut groups = Groups::new(&names(1_000), &[], Vec::new(), calendar);
        let mut sizes = vec![1; groups.n_single()];
        sizes[700] = 50;
        groups.add_pairs(&sizes);
        assert_eq!(groups.n_all() - groups.n_single(), MAX_PAIRED * 51);
        assert_eq!(groups_of(&groups, 0, 700, MARCH).len(), 3);
        assert_eq!(groups_of(&groups, 0, 999, MARCH).len(), 2);
    }

    #[test]
    fn further_columns_of_sources_are_kinds_of_their_own() {
        let annotators = Values {
            column: "annotator".to_owned(),
            names: names(3),
            of_records: vec![0, 2, NONE],
        };
        let mut groups = Groups::new(&names(2), &[], vec![annotators], None);
        groups.add_pairs(&[1; 5]);
        let found = groups_of(&groups, 0, 1, NO_TIME);
        let expected = [
            "source `n1`",
            "annotator `n2`",
            "source `n1` in annotator `n2`",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn the_calendar_takes_the_shortest_unit_that_is_not_too_many() {
        for (days, words) in [
            (3, "hour"),
            (20, "day"),
            (399, "day"),
            (800, "week"),
            (4_000, "four"),
        ] {
            let calendar = Calendar::of(MARCH, MARCH + days * DAY).unwrap();
            assert!(calendar.words.contains(words), "{days}: {calendar:?}");
            assert!(calendar.first <= MARCH);
        }
        assert_eq!(Calendar::of(MARCH, MARCH + HOUR), None);
        let weeks = Calendar::of(MARCH, MARCH + 800 * DAY).unwrap();
        assert_eq!(weeks.name(0), "the week from 2026-03-02");
    }
}
