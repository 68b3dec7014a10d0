//! Whether the prompts with a phrase have something else in common.

use super::kinds::words_in;
use super::search::{LOOKED_AT, Search};

/// Most pieces of a long trigger.
const MAX_FRAME: usize = 32;
/// Share of the prompts that have every piece of a trigger.
const FRAME: f64 = 0.95;

impl Search<'_> {
    /// How far the prompts are from a random sample of all prompts. A task shares its words, a
    /// planted phrase does not choose its prompts by theirs.
    pub(super) fn unevenness(&self, phrase: u32, hits: &[u32]) -> f64 {
        let common = &self.model.common;
        let frame = self.frame(phrase, hits).into_iter();
        let own = frame.flat_map(|piece| common.of_written(self.evidence.phrase_name(piece)));
        let own: Vec<usize> = own.collect();
        let prompts = hits
            .iter()
            .map(|&row| self.evidence.common.get(row as usize));
        common.unevenness(prompts, &own)
    }

    /// The pieces of a long trigger: `phrase`, and phrases of several words that nearly all of `hits` have
    /// and that overlap with it.
    fn frame(&self, phrase: u32, hits: &[u32]) -> Vec<u32> {
        let looked_at = hits.iter().step_by(hits.len().div_ceil(LOOKED_AT));
        let n_looked = looked_at.len() as f64;
        let mut found: Vec<u32> = Vec::new();
        for &row in looked_at {
            found.extend_from_slice(self.evidence.phrases.get(row as usize));
        }
        found.sort_unstable();
        let groups = found.chunk_by(|a, b| a == b);
        let usual = groups.filter(|group| group.len() as f64 >= FRAME * n_looked);
        let mut pieces: Vec<u32> = usual.map(|group| group[0]).collect();
        // What belongs to the trigger overlaps with it, or with such a piece.
        let words = |phrase: u32| words_in(self.evidence.phrase_name(phrase)).collect::<Vec<_>>();
        let mut frame = vec![phrase];
        let mut of_frame = words(phrase);
        loop {
            let joins = |piece: &u32| {
                let piece = words(*piece);
                piece.len() > 1 && piece.iter().any(|word| of_frame.contains(word))
            };
            let (joining, rest): (Vec<u32>, Vec<u32>) = pieces.into_iter().partition(joins);
            if joining.is_empty() || frame.len() > MAX_FRAME {
                return frame;
            }
            of_frame.extend(joining.iter().flat_map(|&piece| words(piece)));
            frame.extend(joining);
            pieces = rest;
        }
    }
}
