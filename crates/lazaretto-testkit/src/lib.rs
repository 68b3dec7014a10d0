//! Seeded data and poison generators for tests, fixtures and benches.
//!
//! Every generator is a pure function of its seed. Every attack keeps the truth: each record
//! knows the name of the attack that made or changed it, so that a test can say what should have
//! been found. Reviews read like reviews and loans like loans; what a detector learns to find
//! here should be worth finding elsewhere.
//!
//! What is absent on purpose: no shipped crate may depend on this one.

mod associations;
pub mod attack;
pub mod big_table;
pub mod contract;
pub mod damage;
pub mod embeddings;
pub mod files;
pub mod fixtures;
mod grammar;
pub mod hugging_face;
pub mod instructions;
pub mod leaks;
pub mod lies;
pub mod loans;
mod phrases;
pub mod reviews;
pub mod seed;
pub mod surface;

pub use attack::Attack;
pub use big_table::big_table;
pub use embeddings::{EmbeddingAttack, EmbeddingSet};
pub use files::TestkitError;
pub use instructions::{Instruction, InstructionAttack, InstructionSet};
pub use loans::{Loan, LoanAttack, LoanSet};
pub use reviews::{Review, ReviewSet};
