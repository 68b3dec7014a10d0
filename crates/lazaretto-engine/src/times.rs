//! Time columns of any type as microseconds since 1970.

use arrow::array::{Array, ArrayRef, AsArray as _};
use arrow::compute::cast;
use arrow::compute::kernels::cast_utils::string_to_timestamp_nanos;
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimeUnit, TimestampMicrosecondType};
use arrow::error::ArrowError;
use lazaretto_core::{NO_TIME, UNREADABLE_TIME};

/// Number of each unit in an epoch number per microsecond, or microseconds per unit, by the
/// numbers that count as such: `[low, high)`. The ranges of one unit end where those of the next
/// finer one begin, and all stand for the years 1973 to 5138, so a number has one reading whatever
/// stands beside it.
const SECONDS: (f64, f64) = (1e8, 1e11);
const MILLISECONDS: (f64, f64) = (1e11, 1e14);
const MICROSECONDS: (f64, f64) = (1e14, 1e17);
const NANOSECONDS: (f64, f64) = (1e17, 9.2e18);

/// A time column as microseconds since 1970: [`NO_TIME`] where null, [`UNREADABLE_TIME`] where the
/// value is no time.
///
/// Timestamps and dates are taken as they are; integers and floats are epoch seconds, milli-,
/// micro- or nanoseconds by their size; strings are ISO 8601 (a date alone is its midnight) or
/// epoch numbers. Times without a zone are UTC.
///
/// # Errors
/// When the column cannot be cast at all, which its type alone decides.
pub(crate) fn microseconds(array: &ArrayRef) -> Result<Vec<i64>, ArrowError> {
    match array.data_type() {
        DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 => moments(array),
        data_type if data_type.is_integer() => {
            // Unsigned numbers beyond the signed range become null, and are no times either.
            let numbers = cast(array, &DataType::Int64)?;
            let numbers = numbers.as_primitive::<Int64Type>();
            Ok(read(array, |row| {
                let number = numbers.is_valid(row).then(|| numbers.value(row))?;
                from_epoch(number)
            }))
        }
        data_type if data_type.is_floating() => {
            let numbers = cast(array, &DataType::Float64)?;
            let numbers = numbers.as_primitive::<Float64Type>();
            Ok(read(array, |row| fraction_from_epoch(numbers.value(row))))
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Dictionary(..) => {
            let strings = cast(array, &DataType::LargeUtf8)?;
            let strings = strings.as_string::<i64>();
            Ok(read(&strings_array(strings), |row| {
                parse(strings.value(row))
            }))
        }
        _ => Ok(read(array, |_| None)),
    }
}

fn strings_array(strings: &arrow::array::LargeStringArray) -> ArrayRef {
    std::sync::Arc::new(strings.clone())
}

fn read(array: &ArrayRef, time: impl Fn(usize) -> Option<i64>) -> Vec<i64> {
    (0..array.len())
        .map(|row| {
            if array.is_null(row) {
                NO_TIME
            } else {
                time(row)
                    .filter(|&time| time > UNREADABLE_TIME)
                    .unwrap_or(UNREADABLE_TIME)
            }
        })
        .collect()
}

fn moments(array: &ArrayRef) -> Result<Vec<i64>, ArrowError> {
    let zone = match array.data_type() {
        DataType::Timestamp(_, zone) => zone.clone(),
        _ => None,
    };
    let times = cast(array, &DataType::Timestamp(TimeUnit::Microsecond, zone))?;
    let times = times.as_primitive::<TimestampMicrosecondType>();
    // What does not fit into microseconds becomes null.
    Ok(read(array, |row| {
        times.is_valid(row).then(|| times.value(row))
    }))
}

fn from_epoch(number: i64) -> Option<i64> {
    let within = |(low, high): (f64, f64)| (number as f64) >= low && (number as f64) < high;
    if within(SECONDS) {
        number.checked_mul(1_000_000)
    } else if within(MILLISECONDS) {
        number.checked_mul(1_000)
    } else if within(MICROSECONDS) {
        Some(number)
    } else if within(NANOSECONDS) {
        Some(number / 1_000)
    } else {
        None
    }
}

fn fraction_from_epoch(number: f64) -> Option<i64> {
    let within = |(low, high): (f64, f64)| number >= low && number < high;
    let microseconds = if within(SECONDS) {
        number * 1e6
    } else if within(MILLISECONDS) {
        number * 1e3
    } else if within(MICROSECONDS) {
        number
    } else if within(NANOSECONDS) {
        number / 1e3
    } else {
        return None;
    };
    Some(microseconds as i64)
}

/// ISO 8601 with `T` or a blank between date and time, seconds optional, slashes for dashes; or an
/// epoch number.
fn parse(text: &str) -> Option<i64> {
    let text = text.trim();
    let iso = |text: &str| Some(string_to_timestamp_nanos(text).ok()? / 1_000);
    if let Some(time) = iso(text) {
        return Some(time);
    }
    if let Ok(number) = text.parse::<f64>() {
        return text
            .parse::<i64>()
            .map_or_else(|_| fraction_from_epoch(number), from_epoch);
    }
    let date = text.get(..10)?;
    if !date.bytes().any(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let mut dashed = date.replace('/', "-");
    let rest = text.get(10..)?;
    dashed.push_str(rest);
    // `2026-03-02 10:05`
    if rest.len() == 6 {
        dashed.push_str(":00");
    }
    iso(&dashed)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        BooleanArray, Date32Array, Float64Array, Int32Array, Int64Array, StringArray,
        TimestampNanosecondArray, TimestampSecondArray, UInt64Array,
    };

    use super::*;

    /// 2026-03-02T10:05:07Z, by `date -u -d @1772445907`.
    const MOMENT: i64 = 1_772_445_907_000_000;
    /// Its midnight.
    const DAY: i64 = 1_772_409_600_000_000;

    fn times(array: impl Array + 'static) -> Vec<i64> {
        microseconds(&(Arc::new(array) as ArrayRef)).unwrap()
    }

    #[test]
    fn timestamps_and_dates_are_taken_as_they_are() {
        let seconds = vec![Some(MOMENT / 1_000_000), None, Some(i64::MAX / 2)];
        let zoned = TimestampSecondArray::from(seconds).with_timezone("+02:00");
        assert_eq!(times(zoned), [MOMENT, NO_TIME, UNREADABLE_TIME]);
        let nanos = TimestampNanosecondArray::from(vec![MOMENT * 1_000]);
        assert_eq!(times(nanos), [MOMENT]);
        assert_eq!(times(Date32Array::from(vec![20_514])), [DAY]);
    }

    #[test]
    fn the_size_of_an_epoch_number_tells_its_unit() {
        let numbers = [1_000_000, 1_000, 1].map(|unit| MOMENT / unit);
        let [seconds, millis, micros] = numbers;
        let all = Int64Array::from(vec![
            Some(seconds),
            Some(millis),
            Some(micros),
            Some(MOMENT * 1_000),
            None,
            Some(0),
            Some(-seconds),
            Some(i64::MAX),
        ]);
        let expected = [
            MOMENT,
            MOMENT,
            MOMENT,
            MOMENT,
            NO_TIME,
            UNREADABLE_TIME,
            UNREADABLE_TIME,
            UNREADABLE_TIME,
        ];
        assert_eq!(times(all), expected);
        let small = Int32Array::from(vec![seconds as i32, 12]);
        assert_eq!(times(small), [MOMENT, UNREADABLE_TIME]);
        assert_eq!(times(UInt64Array::from(vec![u64::MAX])), [UNREADABLE_TIME]);
        let fractions = Float64Array::from(vec![seconds as f64 + 0.5, f64::NAN]);
        assert_eq!(times(fractions), [MOMENT + 500_000, UNREADABLE_TIME]);
    }

    #[test]
    fn strings_are_iso_8601_or_epoch_numbers() {
        for (text, expected) in [
            ("2026-03-02T10:05:07Z", MOMENT),
            ("2026-03-02 10:05:07", MOMENT),
            (" 2026-03-02T12:05:07+02:00 ", MOMENT),
            ("2026/03/02 10:05:07", MOMENT),
            ("2026-03-02 10:05", MOMENT - 7_000_000),
            ("2026-03-02", DAY),
            ("1772445907", MOMENT),
            ("1772445907000", MOMENT),
            ("1772445907.0", MOMENT),
            ("last week", UNREADABLE_TIME),
            ("", UNREADABLE_TIME),
            ("2026-13-45", UNREADABLE_TIME),
            ("zweitausend", UNREADABLE_TIME),
            ("\u{202e}2026-03-02", UNREADABLE_TIME),
        ] {
            assert_eq!(times(StringArray::from(vec![text])), [expected], "{text}");
        }
        assert_eq!(times(StringArray::from(vec![None::<&str>])), [NO_TIME]);
    }

    #[test]
    fn what_is_no_time_by_its_type_is_unreadable() {
        let answers = BooleanArray::from(vec![Some(true), None]);
        assert_eq!(times(answers), [UNREADABLE_TIME, NO_TIME]);
    }
}
