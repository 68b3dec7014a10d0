//! Infers the kinds of the columns of a block.

use arrow::array::timezone::Tz;
use csv_core::{ReadRecordResult, ReaderBuilder};

use super::blocks::BadRecord;
use crate::decode::kind::{Kind, KindOfJson};
use crate::decode::records::delimiter;
use crate::discover::Format;

/// Kinds of the keys of all objects.
pub(super) fn infer_json(bytes: &[u8]) -> Result<Vec<(String, Kind)>, BadRecord> {
    let mut common = Kind::Object(Vec::new());
    let mut offset = 0;
    for line in bytes.split_inclusive(|&byte| byte == b'\n') {
        if !line.trim_ascii().is_empty() {
            merge_line(&mut common, line).map_err(|reason| BadRecord { offset, reason })?;
        }
        offset += line.len() as u64;
    }
    Ok(match common {
        Kind::Object(fields) => fields,
        _ => Vec::new(),
    })
}

fn merge_line(common: &mut Kind, line: &[u8]) -> Result<(), String> {
    let KindOfJson(kind) =
        serde_json::from_slice(line).map_err(|error| format!("not a JSON object: {error}"))?;
    if !matches!(kind, Kind::Object(_)) {
        return Err(format!("{kind} where an object is needed"));
    }
    common.merge(kind).map_err(|conflict| conflict.to_string())
}

/// Kinds of the fields under the header `columns`.
pub(super) fn infer_csv(
    bytes: &[u8],
    format: Format,
    columns: &[(String, Kind)],
) -> Result<Vec<(String, Kind)>, BadRecord> {
    let bad = |offset: usize, reason: &str| BadRecord {
        offset: offset as u64,
        reason: reason.to_owned(),
    };
    let zone: Tz = "+00:00".parse().map_err(|_| bad(0, "no time zone"))?;
    let mut columns = columns.to_vec();
    let mut reader = ReaderBuilder::new().delimiter(delimiter(format)).build();
    let mut output = vec![0; 64 << 10];
    let mut ends = vec![0; columns.len() + 1];
    reader.read_record(b"\n", &mut output, &mut ends);
    let (mut rest, mut written, mut fields, mut start) = (bytes, 0, 0, 0);
    loop {
        let (result, read, wrote, ended) =
            reader.read_record(rest, &mut output[written..], &mut ends[fields..]);
        rest = &rest[read..];
        written += wrote;
        fields += ended;
        match result {
            ReadRecordResult::OutputFull => output.resize(output.len() * 2, 0),
            // Cannot be: the fields were counted when the file was cut.
            ReadRecordResult::OutputEndsFull => return Err(bad(start, "too many fields")),
            ReadRecordResult::InputEmpty => {}
            ReadRecordResult::End => return Ok(columns),
            ReadRecordResult::Record => {
                observe_fields(&mut columns, &output[..written], &ends[..fields], zone)
                    .ok_or_else(|| bad(start, "not UTF-8"))?;
                (written, fields) = (0, 0);
                start = bytes.len() - rest.len();
            }
        }
    }
}

/// Widens the kinds of `columns` by the fields of one record; `None` when it is not UTF-8.
fn observe_fields(
    columns: &mut [(String, Kind)],
    record: &[u8],
    ends: &[usize],
    zone: Tz,
) -> Option<()> {
    let text = std::str::from_utf8(record).ok()?;
    let mut start = 0;
    for ((_, kind), &end) in columns.iter_mut().zip(ends) {
        kind.observe(text.get(start..end)?, zone);
        start = end;
    }
    Some(())
}
