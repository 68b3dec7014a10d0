//! What the templates may do with a value. All return finished, inert HTML or plain numbers.

#![expect(
    clippy::inline_always,
    clippy::unnecessary_wraps,
    clippy::unused_self,
    unreachable_pub,
    reason = "`filter_fn` asks for results and generates the rest"
)]

use std::fmt::Display;

use askama::filters::Safe;
use askama::{Result, Values, filter_fn};

use crate::inert;
use crate::wording::{self, MAX_NAME};

/// Longest sentence, in characters.
const MAX_TEXT: usize = 600;

/// A number, or a reference to one: templates hand over either.
pub(super) trait Plain<T> {
    /// The number.
    fn plain(&self) -> T;
}

impl Plain<Self> for u64 {
    fn plain(&self) -> Self {
        *self
    }
}

impl Plain<Self> for f64 {
    fn plain(&self) -> Self {
        *self
    }
}

impl<T, P: Plain<T>> Plain<T> for &P {
    fn plain(&self) -> T {
        (**self).plain()
    }
}

/// A name from the data, shortened, with hidden characters in styled elements.
#[filter_fn]
pub(super) fn name(value: impl Display, _: &dyn Values) -> Result<Safe<String>> {
    Ok(Safe(inert::html(&inert::shorten(
        &value.to_string(),
        MAX_NAME,
    ))))
}

/// A value of a record, long enough to read.
#[filter_fn]
pub(super) fn text(value: impl Display, _: &dyn Values) -> Result<Safe<String>> {
    Ok(Safe(inert::html(&inert::shorten(
        &value.to_string(),
        MAX_TEXT,
    ))))
}

/// A sentence of ours: what stands between backticks is from the data and becomes code.
#[filter_fn]
pub(super) fn sentence(value: impl Display, _: &dyn Values) -> Result<Safe<String>> {
    let value = value.to_string();
    let mut out = String::new();
    for (data, part) in wording::quoted(&inert::shorten(&value, MAX_TEXT)) {
        let part = inert::html(&inert::shorten(
            part,
            if data { MAX_NAME } else { MAX_TEXT },
        ));
        if data {
            out.push_str("<code>");
            out.push_str(&part);
            out.push_str("</code>");
        } else {
            out.push_str(&part);
        }
    }
    Ok(Safe(out))
}

/// A count with separators.
#[filter_fn]
pub(super) fn count(value: impl Plain<u64>, _: &dyn Values) -> Result<String> {
    Ok(wording::count(value.plain()))
}

/// A size in bytes.
#[filter_fn]
pub(super) fn bytes(value: impl Plain<u64>, _: &dyn Values) -> Result<String> {
    Ok(wording::bytes(value.plain()))
}

/// A p-value or q-value, with a power of ten in superscript.
#[filter_fn]
pub(super) fn p_value(value: impl Plain<f64>, _: &dyn Values) -> Result<Safe<String>> {
    let plain = inert::html(&wording::p_value(value.plain()));
    Ok(Safe(match plain.split_once("e-") {
        Some((mantissa, exponent)) => {
            format!("{mantissa}&#8239;×&#8239;10<sup>−{exponent}</sup>")
        }
        None => plain,
    }))
}

/// Text that is part of a shortened whole already.
#[filter_fn]
pub(super) fn piece(value: impl Display, _: &dyn Values) -> Result<Safe<String>> {
    Ok(Safe(inert::html(&value.to_string())))
}

/// A shortened name as plain text, which the escaper of the templates makes fit for attributes.
#[filter_fn]
pub(super) fn short(value: impl Display, _: &dyn Values) -> Result<String> {
    Ok(inert::shorten(&value.to_string(), MAX_NAME).into_owned())
}

/// A word for a class name: letters only.
#[filter_fn]
pub(super) fn word(value: impl Display, _: &dyn Values) -> Result<String> {
    let mut word = value.to_string();
    word.retain(|letter| letter.is_ascii_alphabetic());
    Ok(word)
}
