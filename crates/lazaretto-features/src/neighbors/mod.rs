//! Nearest records: exact by blocked matrix products, or by an index whose recall is measured.
//!
//! [`NeighborSearch`] is exact. Products of blocks give a bound on how close each pair can be, and
//! only pairs that could still matter are measured, in double precision. The result therefore is
//! that of a plain loop over all pairs (ties by index), whatever the blocks, threads or rounding
//! of the products: 100,000 records among each other with 64 dimensions take about 10 CPU seconds.

mod geometry;
mod index;
mod nearest;
mod search;

pub(crate) use index::VectorIndex;
pub use search::NeighborSearch;

#[cfg(test)]
mod tests;
