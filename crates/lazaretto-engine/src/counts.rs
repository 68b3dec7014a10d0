//! How the records of a group are spread over classes, sources and time.

use std::collections::BTreeMap;
use std::io;

use arrow::array::TimestampMicrosecondArray;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use lazaretto_core::NO_TIME;
use lazaretto_core::report::GroupCount;

use crate::spill::Spill;

/// Sources, files and classes listed.
pub(crate) const MAX_GROUPS: usize = 50;

/// Counts over the records of one group.
#[derive(Debug, Default)]
pub(crate) struct GroupCounts {
    /// Records by class.
    pub(crate) labels: BTreeMap<u32, u64>,
    /// Records by source.
    pub(crate) sources: BTreeMap<u32, u64>,
    /// First and last time, in microseconds since 1970.
    pub(crate) times: Option<(i64, i64)>,
}

impl GroupCounts {
    /// Counts the records with these ordinals.
    ///
    /// # Errors
    /// When the spilled records cannot be read.
    pub(crate) fn of(records: impl IntoIterator<Item = u64>, spill: &Spill) -> io::Result<Self> {
        let mut counts = Self::default();
        for ordinal in records {
            let block = spill.range(ordinal, 1)?;
            let Some((_, row)) = block.rows().next() else {
                continue;
            };
            *counts.labels.entry(row.label).or_default() += 1;
            *counts.sources.entry(row.source).or_default() += 1;
            if row.time != NO_TIME {
                let (first, last) = counts.times.unwrap_or((row.time, row.time));
                counts.times = Some((first.min(row.time), last.max(row.time)));
            }
        }
        Ok(counts)
    }
}

/// Counts by index as counts by name, most records first; bounded in number.
pub(crate) fn grouped(counts: &BTreeMap<u32, u64>, names: &[String]) -> Vec<GroupCount> {
    let mut groups: Vec<GroupCount> = counts
        .iter()
        .filter_map(|(&idx, &records)| {
            let name = match names.get(idx as usize) {
                Some(name) => name.clone(),
                None if names.is_empty() => return None,
                None => "(none)".to_owned(),
            };
            Some(GroupCount { name, records })
        })
        .collect();
    groups.sort_by_key(|group| std::cmp::Reverse(group.records));
    groups.truncate(MAX_GROUPS);
    groups
}

/// A time in microseconds since 1970 as text.
pub(crate) fn time_text(microseconds: i64) -> String {
    let array = TimestampMicrosecondArray::from(vec![microseconds]);
    let options = FormatOptions::new().with_display_error(true);
    ArrayFormatter::try_new(&array, &options)
        .map(|formatter| formatter.value(0).to_string())
        .unwrap_or_default()
}
