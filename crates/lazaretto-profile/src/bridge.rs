//! Arrow arrays as polars series, through the C data interface and without a copy.
//!
//! Both libraries implement the same C structures, under types of their own. This module is the
//! one place where one is taken for the other.
#![expect(
    unsafe_code,
    reason = "the Arrow C data interface is a foreign-function interface"
)]

use arrow::array::{Array, ArrayRef};
use arrow::ffi::{FFI_ArrowArray, FFI_ArrowSchema, to_ffi};
use polars::prelude::Series;
use polars_arrow::ffi::{ArrowArray, ArrowSchema, import_array_from_c, import_field_from_c};

use crate::ProfileError;

/// The arrays `chunks`, which must have one type, as a series of as many chunks.
///
/// Fixed-width numbers and string views share their memory with the arrays; the series keeps it
/// alive.
///
/// # Errors
/// When a type has no counterpart in polars as built here; see [`crate::portable`] for those that
/// have.
pub(crate) fn series(name: &str, chunks: &[ArrayRef]) -> Result<Series, ProfileError> {
    let imported = chunks
        .iter()
        .map(|chunk| import(name, chunk))
        .collect::<Result<Vec<_>, _>>()?;
    Series::from_arrow_chunks(name.into(), imported).map_err(|source| polars_error(name, source))
}

fn import(
    name: &str,
    array: &ArrayRef,
) -> Result<Box<dyn polars_arrow::array::Array>, ProfileError> {
    let (array, schema) = to_ffi(&array.to_data()).map_err(|source| ProfileError::Arrow {
        column: name.to_owned(),
        source,
    })?;
    // SAFETY: both types are `repr(C)` and spell out the same structure of the C data interface;
    // transmute checks that their sizes agree. Each has a `Drop` that calls the `release` callback
    // of the producer, and transmute moves the value, so that it is called once.
    let (array, schema) = unsafe {
        (
            std::mem::transmute::<FFI_ArrowArray, ArrowArray>(array),
            std::mem::transmute::<FFI_ArrowSchema, ArrowSchema>(schema),
        )
    };
    // SAFETY: `to_ffi` made both from one valid array, so they are valid and belong together. The
    // schema outlives the call, and the imported array owns what it points to.
    let imported = unsafe {
        import_field_from_c(&schema).and_then(|field| import_array_from_c(array, field.dtype))
    };
    imported.map_err(|source| polars_error(name, source))
}

pub(crate) fn polars_error(column: &str, source: polars::error::PolarsError) -> ProfileError {
    ProfileError::Polars {
        column: column.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Float32Array, Float64Array, Int64Array, LargeStringArray, StringViewArray};

    use super::*;

    #[test]
    fn floats_keep_their_memory() {
        let doubles = Float64Array::from(vec![1.5, -2.0, f64::NAN]);
        let address = doubles.values().as_ptr();
        let imported = series("doubles", &[Arc::new(doubles) as ArrayRef]).unwrap();
        let values = imported.f64().unwrap().cont_slice().unwrap();
        assert_eq!(values.as_ptr(), address);
        assert_eq!(values[..2], [1.5, -2.0]);

        let floats = Float32Array::from(vec![1.0, 2.0, 3.0]).slice(1, 2);
        let address = floats.values().as_ptr();
        let imported = series("floats", &[Arc::new(floats) as ArrayRef]).unwrap();
        let values = imported.f32().unwrap().cont_slice().unwrap();
        assert_eq!((values.as_ptr(), values), (address, &[2.0, 3.0][..]));
    }

    #[test]
    fn string_views_keep_their_memory() {
        let text = "a text that is too long to live inside of a view";
        let views = StringViewArray::from(vec![Some(text), None, Some("short")]);
        let address = views.value(0).as_ptr();
        let imported = series("views", &[Arc::new(views) as ArrayRef]).unwrap();
        let strings = imported.str().unwrap();
        assert_eq!(strings.get(0).map(str::as_ptr), Some(address));
        assert_eq!(
            strings.iter().collect::<Vec<_>>(),
            [Some(text), None, Some("short")]
        );
    }

    #[test]
    fn memory_lives_as_long_as_the_series_and_is_released_once() {
        let array: ArrayRef = Arc::new(Int64Array::from((0..1_000).collect::<Vec<i64>>()));
        let Some(buffer) = array.to_data().buffers().first().cloned() else {
            panic!("an array without a buffer");
        };
        let before = buffer.strong_count();
        let imported = series("numbers", &[Arc::clone(&array)]).unwrap();
        assert!(buffer.strong_count() > before);
        drop(array);
        assert_eq!(imported.i64().unwrap().get(999), Some(999));
        drop(imported);
        assert_eq!(buffer.strong_count(), 1);
    }

    #[test]
    fn chunks_offsets_and_nulls_survive() {
        let whole = LargeStringArray::from(vec![Some("a"), None, Some("b"), Some("c")]);
        let chunks: [ArrayRef; 2] = [Arc::new(whole.slice(1, 2)), Arc::new(whole.slice(3, 1))];
        let imported = series("strings", &chunks).unwrap();
        assert_eq!(
            imported.str().unwrap().iter().collect::<Vec<_>>(),
            [None, Some("b"), Some("c")]
        );
        assert_eq!(imported.null_count(), 1);
    }
}
