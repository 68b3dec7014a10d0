//! Detectors that read texts.

pub(crate) mod chance;
pub mod fluency;
pub(crate) mod margins;
pub(crate) mod ngram_counts;
pub mod style_shift;
pub mod surface;
pub(crate) mod text_sample;
pub mod trigger;

#[cfg(test)]
pub(crate) mod test_support;
