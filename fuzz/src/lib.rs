//! What the fuzz targets run: everything that reads what others wrote.
//!
//! A target takes bytes and returns, whatever the bytes are. What is not accepted ends in a panic,
//! an abort, a hang or a lack of memory, which libFuzzer and the test over the corpus take for a
//! finding. One thing is accepted: a panic of a *foreign* decoder (Arrow, Parquet, their codecs)
//! where the product would catch it and call the file unreadable. A panic of our own code is a
//! finding also there; `panics` tells them apart.
//!
//! Decoding is done in this process, without the limits that decoders of a scan shut themselves
//! into. Absent on purpose: the detectors, which see batches that decoded.

#![cfg_attr(fuzzing, feature(alloc_error_hook))]

mod panics;
mod readers;
mod texts;

pub use readers::{arrow_file, arrow_stream, compressed, csv, headers, json_lines, parquet, wire};
pub use texts::{KEY, encodings, metadata, pipeline, proof, signed_envelope};

/// A target by the name of its binary and its corpus.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: &[Target] = &[
    ("arrow_file", arrow_file),
    ("arrow_stream", arrow_stream),
    ("compressed", compressed),
    ("csv", csv),
    ("encodings", encodings),
    ("headers", headers),
    ("json_lines", json_lines),
    ("metadata", metadata),
    ("parquet", parquet),
    ("pipeline", pipeline),
    ("proof", proof),
    ("wire", wire),
];
