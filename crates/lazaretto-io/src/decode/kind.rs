//! Types of values in text formats, inferred over whole files and merged over datasets.

use std::fmt;
use std::sync::Arc;

use arrow::array::timezone::Tz;
use arrow::compute::kernels::cast_utils::{Parser, string_to_datetime};
use arrow::datatypes::{DataType, Date32Type, Field, Fields, Float64Type, Int64Type, TimeUnit};
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

/// What all values seen so far have in common. `Null ⊂` everything, `Int ⊂ Float`,
/// `Date ⊂ Time`, and every scalar `⊂ Text`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Kind {
    /// Nothing but nulls.
    Null,
    /// Booleans.
    Bool,
    /// 64-bit integers.
    Int,
    /// Numbers.
    Float,
    /// Calendar days (CSV only).
    Date,
    /// Points in time (CSV only).
    Time,
    /// Anything that is one value.
    Text,
    /// Lists (JSON only).
    List(Box<Kind>),
    /// Objects, keys in the order of their first occurrence (JSON only).
    Object(Vec<(String, Kind)>),
}

/// Two values at the same place that no type holds both of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Conflict {
    /// The place, like `messages[].content`.
    pub(crate) place: String,
    /// What is there in the value merged in.
    pub(crate) found: String,
    /// What was there before.
    pub(crate) expected: String,
}

impl Conflict {
    fn below(mut self, parent: &str) -> Self {
        let dot = if self.place.is_empty() || self.place.starts_with('[') {
            ""
        } else {
            "."
        };
        self.place = format!("{parent}{dot}{}", self.place);
        self
    }
}

impl fmt::Display for Conflict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "`{}` is {} here and {} before",
            self.place, self.found, self.expected
        )
    }
}

impl Kind {
    /// Merges `other` in.
    pub(crate) fn merge(&mut self, other: Self) -> Result<(), Conflict> {
        match (&mut *self, other) {
            (_, Self::Null) => Ok(()),
            (Self::List(item), Self::List(other)) => {
                item.merge(*other).map_err(|conflict| conflict.below("[]"))
            }
            (Self::Object(fields), Self::Object(others)) => others
                .into_iter()
                .enumerate()
                .try_for_each(|(idx, (name, kind))| merge_field(fields, idx, name, kind)),
            (Self::Null, other) => {
                *self = other;
                Ok(())
            }
            (mine, other) if mine.is_scalar() && other.is_scalar() => {
                *mine = mine.common_scalar(&other);
                Ok(())
            }
            (mine, other) => Err(Conflict {
                place: String::new(),
                found: other.to_string(),
                expected: mine.to_string(),
            }),
        }
    }

    fn is_scalar(&self) -> bool {
        !matches!(self, Self::List(_) | Self::Object(_))
    }

    fn common_scalar(&self, other: &Self) -> Self {
        match (self, other) {
            (left, right) if left == right => left.clone(),
            (Self::Int, Self::Float) | (Self::Float, Self::Int) => Self::Float,
            (Self::Date, Self::Time) | (Self::Time, Self::Date) => Self::Time,
            _ => Self::Text,
        }
    }

    /// The Arrow type that holds all values of this kind.
    pub(crate) fn data_type(&self) -> DataType {
        match self {
            Self::Null => DataType::Null,
            Self::Bool => DataType::Boolean,
            Self::Int => DataType::Int64,
            Self::Float => DataType::Float64,
            Self::Date => DataType::Date32,
            Self::Time => DataType::Timestamp(TimeUnit::Microsecond, None),
            Self::Text => DataType::Utf8,
            Self::List(item) => {
                DataType::List(Arc::new(Field::new("item", item.data_type(), true)))
            }
            Self::Object(fields) => DataType::Struct(arrow_fields(fields)),
        }
    }

    /// Widens the kind of a CSV column by one more non-empty value. A value is tested only
    /// against kinds that the column can still be, so a column of one type costs one parse.
    pub(crate) fn observe(&mut self, value: &str, zone: Tz) {
        if value.is_empty() || *self == Self::Text {
            return;
        }
        let first = value.as_bytes()[0];
        let numeric = first.is_ascii_digit() || matches!(first, b'-' | b'+' | b'.');
        let seen = match self {
            Self::Int | Self::Float | Self::Null if numeric && is_integer(value) => Self::Int,
            Self::Int | Self::Float | Self::Null if is_float(value) => Self::Float,
            Self::Date | Self::Time | Self::Null if first.is_ascii_digit() => {
                if value.len() == 10 && Date32Type::parse(value).is_some() && value.contains('-') {
                    Self::Date
                } else if value.len() > 10 && string_to_datetime(&zone, value).is_ok() {
                    Self::Time
                } else {
                    Self::Text
                }
            }
            Self::Bool | Self::Null
                if value.eq_ignore_ascii_case("true") || value.eq_ignore_ascii_case("false") =>
            {
                Self::Bool
            }
            _ => Self::Text,
        };
        *self = if *self == Self::Null {
            seen
        } else {
            self.common_scalar(&seen)
        };
    }
}

/// A leading zero is significant (postal codes, phone numbers), so `007` is text.
fn is_integer(value: &str) -> bool {
    let digits = value.strip_prefix('-').unwrap_or(value);
    (digits.len() == 1 || !digits.starts_with('0')) && Int64Type::parse(value).is_some()
}

/// `nan` and `inf` count; padded numbers and integers beyond 64 bits do not, they are names.
fn is_float(value: &str) -> bool {
    let digits = value.trim_start_matches(['-', '+']).as_bytes();
    let padded = digits.len() > 1 && digits[0] == b'0' && digits[1].is_ascii_digit();
    !padded && !digits.iter().all(u8::is_ascii_digit) && Float64Type::parse(value).is_some()
}

/// Merges a key of an object; `idx` is where the key stands in the other object, which is where
/// it stands here too when the objects are alike.
fn merge_field(
    fields: &mut Vec<(String, Kind)>,
    idx: usize,
    name: String,
    kind: Kind,
) -> Result<(), Conflict> {
    let found = match fields.get(idx) {
        Some((mine, _)) if *mine == name => Some(idx),
        _ => fields.iter().position(|(mine, _)| *mine == name),
    };
    if let Some(found) = found {
        let merged = fields[found].1.merge(kind);
        merged.map_err(|conflict| conflict.below(&name))
    } else {
        fields.push((name, kind));
        Ok(())
    }
}

/// The Arrow fields of named kinds, all nullable.
pub(crate) fn arrow_fields(fields: &[(String, Kind)]) -> Fields {
    fields
        .iter()
        .map(|(name, kind)| Field::new(name, kind.data_type(), true))
        .collect()
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Null => "null",
            Self::Bool => "a boolean",
            Self::Int => "an integer",
            Self::Float => "a number",
            Self::Date => "a date",
            Self::Time => "a time",
            Self::Text => "a string",
            Self::List(_) => "a list",
            Self::Object(_) => "an object",
        })
    }
}

/// The kind of a JSON value, read without building the value.
pub(crate) struct KindOfJson(pub(crate) Kind);

impl<'de> Deserialize<'de> for KindOfJson {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(KindVisitor).map(Self)
    }
}

struct KindVisitor;

impl<'de> Visitor<'de> for KindVisitor {
    type Value = Kind;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Kind, E> {
        Ok(Kind::Bool)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Kind, E> {
        Ok(Kind::Int)
    }

    fn visit_u64<E>(self, value: u64) -> Result<Kind, E> {
        Ok(if i64::try_from(value).is_ok() {
            Kind::Int
        } else {
            Kind::Float
        })
    }

    fn visit_f64<E>(self, _: f64) -> Result<Kind, E> {
        Ok(Kind::Float)
    }

    fn visit_str<E>(self, _: &str) -> Result<Kind, E> {
        Ok(Kind::Text)
    }

    fn visit_unit<E>(self) -> Result<Kind, E> {
        Ok(Kind::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Kind, A::Error> {
        let mut common = Kind::Null;
        while let Some(KindOfJson(item)) = items.next_element::<KindOfJson>()? {
            common
                .merge(item)
                .map_err(|conflict| A::Error::custom(conflict.below("[]")))?;
        }
        Ok(Kind::List(Box::new(common)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Kind, A::Error> {
        let mut fields: Vec<(String, Kind)> = Vec::new();
        while let Some((name, KindOfJson(kind))) = entries.next_entry::<String, KindOfJson>()? {
            let idx = fields.len();
            merge_field(&mut fields, idx, name, kind).map_err(A::Error::custom)?;
        }
        Ok(Kind::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(values: &[&str]) -> Kind {
        let zone: Tz = "+00:00".parse().unwrap();
        let mut kind = Kind::Null;
        for value in values {
            kind.observe(value, zone);
        }
        kind
    }

    #[test]
    fn csv_columns_get_the_narrowest_type_that_holds_every_value() {
        assert_eq!(column(&["", ""]), Kind::Null);
        assert_eq!(column(&["1", "", "-20"]), Kind::Int);
        assert_eq!(column(&["1", "2.5", "1e-3"]), Kind::Float);
        assert_eq!(column(&["2.5", "nan"]), Kind::Float);
        assert_eq!(column(&["nan", "2"]), Kind::Float);
        assert_eq!(column(&["true", "False"]), Kind::Bool);
        assert_eq!(column(&["2024-02-29"]), Kind::Date);
        assert_eq!(column(&["2024-02-29", "2024-02-29T12:00:00Z"]), Kind::Time);
        assert_eq!(column(&["00501", "10001"]), Kind::Text);
        assert_eq!(column(&["99999999999999999999"]), Kind::Text);
        assert_eq!(column(&["1", "true"]), Kind::Text);
        assert_eq!(column(&["2024-02-31x"]), Kind::Text);
    }

    #[test]
    fn json_kinds_merge_and_conflicts_say_where() {
        let of = |json: &str| serde_json::from_str::<KindOfJson>(json).unwrap().0;
        let mut kind = of(r#"{"b": 1, "a": [{"x": null}], "c": "t"}"#);
        kind.merge(of(r#"{"b": 1.5, "a": [{"x": true}], "d": 1}"#))
            .unwrap();
        assert_eq!(
            kind.data_type().to_string(),
            of(r#"{"b": 0.5, "a": [{"x": true}], "c": "", "d": 0}"#)
                .data_type()
                .to_string()
        );
        let conflict = kind.merge(of(r#"{"a": [{"x": {}}]}"#)).unwrap_err();
        assert_eq!(
            conflict.to_string(),
            "`a[].x` is an object here and a boolean before"
        );
    }
}
