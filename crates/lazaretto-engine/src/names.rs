//! What records are called: by their id column, or by where they stand.

use arrow::array::AsArray as _;
use arrow::datatypes::{DataType, Int64Type};

use crate::error::EngineError;
use crate::scan::{Scan, hex, unreadable};

/// The name of a record, as `scores/` has it.
#[derive(Clone, Debug)]
pub(crate) enum Name {
    Integer(i64),
    Text(String),
}

impl std::fmt::Display for Name {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Integer(id) => write!(formatter, "{id}"),
            Self::Text(id) => formatter.write_str(id),
        }
    }
}

/// Names of the records of one unit.
pub(crate) struct RecordNames {
    integers: Option<Vec<Option<i64>>>,
    texts: Option<Vec<Option<String>>>,
    prefix: String,
    integer_ids: bool,
    row_in_group: u64,
}

impl RecordNames {
    /// Reads the id column of a unit; integers stay integers where `integer_ids` says so.
    pub(crate) fn of_unit(
        scan: &Scan<'_>,
        integer_ids: bool,
        unit: usize,
    ) -> Result<Self, EngineError> {
        let unread = scan.unscanned.contains_key(&unit);
        let place = scan.dataset.units()[unit];
        let file = &scan.dataset.files()[place.file].input;
        let mut names = Self {
            integers: None,
            texts: None,
            // Without an id column a record is named by where it stands.
            prefix: format!("{}:{}", &hex(&file.digest)[..16], place.row_group),
            integer_ids,
            row_in_group: place.row_in_group,
        };
        let Some(id) = scan.assembler.layout.id.filter(|_| !unread) else {
            return Ok(names);
        };
        let describe = |error| unreadable(&file.relative, place.row_group, &error);
        let (mut integers, mut texts) = (Vec::new(), Vec::new());
        for batch in scan.dataset.batches(unit, Some(&[id]))? {
            let batch = batch?;
            let column = batch.column(0);
            if integer_ids {
                let column = arrow::compute::cast(column, &DataType::Int64).map_err(describe)?;
                integers.extend(column.as_primitive::<Int64Type>().iter());
            } else {
                let column = crate::assemble::strings(column).map_err(describe)?;
                texts.extend(column.iter().map(|id| id.map(str::to_owned)));
            }
        }
        names.integers = integer_ids.then_some(integers);
        names.texts = (!integer_ids).then_some(texts);
        Ok(names)
    }

    pub(crate) fn row_in_group(&self, row_idx: u64) -> u64 {
        self.row_in_group + row_idx
    }

    pub(crate) fn name(&self, row_idx: u64) -> Name {
        let row = row_idx as usize;
        if self.integer_ids {
            // A record without an id in an integer column cannot borrow another's.
            let id = self
                .integers
                .as_ref()
                .and_then(|ids| ids.get(row).copied().flatten());
            return Name::Integer(id.unwrap_or(i64::MIN));
        }
        let id = self
            .texts
            .as_ref()
            .and_then(|ids| ids.get(row).cloned().flatten());
        Name::Text(id.unwrap_or_else(|| format!("{}:{}", self.prefix, self.row_in_group(row_idx))))
    }
}
