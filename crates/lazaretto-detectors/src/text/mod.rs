//! Detectors that read texts.

pub(crate) mod margins;
pub mod surface;
pub mod trigger;

#[cfg(test)]
pub(crate) mod test_support;
