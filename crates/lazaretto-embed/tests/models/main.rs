//! Models from folders: synthetic ones that the tests write, and real ones where the environment names
//! them (`.ci/embed` does).

#![cfg(any(feature = "static", feature = "onnx"))]
#![expect(clippy::unwrap_used, reason = "a test says no by panicking")]
#![expect(
    clippy::print_stdout,
    reason = "a test that is skipped or measures says so"
)]

#[cfg(feature = "onnx")]
mod onnx_models;
#[cfg(feature = "static")]
mod static_models;
mod synthetic;
