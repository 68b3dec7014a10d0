//! One record with prompt and response.

use lazaretto_core::{Batch, DataFacts, NotApplicable, Role, TextPart};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::words::Words;

/// One record with prompt and response, read into memory that is used again.
#[derive(Default)]
pub(super) struct Exchange {
    pub(super) prompt: Words,
    pub(super) response: Words,
    /// The worse response, where there are two.
    pub(super) rejected: Words,
}

impl Exchange {
    /// Reads row `row_idx`; `false` where it has no prompt or no response.
    pub(super) fn read(&mut self, batch: &Batch<'_>, row_idx: usize) -> bool {
        self.prompt.read(batch, row_idx, TextPart::Prompt, true)
            && self
                .response
                .read(batch, row_idx, TextPart::Response, false)
    }

    /// Reads the worse response of row `row_idx` too; `false` where there is none.
    pub(super) fn read_rejected(&mut self, batch: &Batch<'_>, row_idx: usize) -> bool {
        self.rejected
            .read(batch, row_idx, TextPart::Rejected, false)
    }
}

/// The texts of one part of row `row_idx`.
pub(super) fn texts<'a>(
    batch: &Batch<'a>,
    row_idx: usize,
    part: TextPart,
) -> impl Iterator<Item = &'a str> {
    let fields = batch.texts.iter().filter(move |field| field.part == part);
    fields.filter_map(move |field| field.get(row_idx))
}

/// The response of row `row_idx` without regard to capitals and marks, or as written when there are
/// no words in it.
pub(super) fn answer(batch: &Batch<'_>, row_idx: usize, words: &Words, seed: u64) -> u64 {
    let mut bytes: Vec<u8> = words.words().flat_map(u64::to_le_bytes).collect();
    if bytes.is_empty() {
        for text in texts(batch, row_idx, TextPart::Response) {
            bytes.extend_from_slice(text.trim().as_bytes());
        }
    }
    xxh3_64_with_seed(&bytes, seed)
}

/// Whether records have prompts and responses.
pub(super) fn has_exchanges(facts: &DataFacts) -> Result<(), NotApplicable> {
    let has = |role: Role| facts.columns.iter().any(|column| column.role == role);
    if has(Role::Messages) || (has(Role::Prompt) && has(Role::Response)) {
        Ok(())
    } else {
        Err(NotApplicable::new("no prompts with responses"))
    }
}
