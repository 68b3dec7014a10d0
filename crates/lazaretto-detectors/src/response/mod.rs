//! What prompts do to responses, and responses that say nothing.

mod evenness;
mod exchange;
pub mod gibberish;
mod language;
mod letters;
mod nonsense;
mod preference;
pub mod refusal_shift;
mod refusals;
mod shape;
mod table;
#[cfg(test)]
mod test_support;
pub mod trigger;
mod words;
