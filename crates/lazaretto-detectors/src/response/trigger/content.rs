//! Words that responses have in common after a phrase.

use super::kinds::{Kind, Trigger, words_in};
use super::search::{LOOKED_AT, MIN_EXCLUSIVE, Search};

/// Fewest records of a content trigger, as a multiple of the fewest of any.
const CONTENT_RECORDS: f64 = 1.5;
/// Fewest words that responses share, when none of them is a name and no two stand together.
const SHARED_WORDS: usize = 5;
/// Pairs of words that make a statement, which no two responses share by chance.
const STATEMENT_PAIRS: usize = 5;

impl Search<'_> {
    /// What words the responses have in common that others hardly have.
    pub(super) fn content(&self, phrase: u32, rows: &[u32]) -> Option<Trigger> {
        let least = (self.min_records as f64 * CONTENT_RECORDS).ceil() as usize;
        if rows.len() < least {
            return None;
        }
        let step = rows.len().div_ceil(LOOKED_AT);
        let looked_at = rows.iter().step_by(step);
        let n_looked = looked_at.len() as f64;
        let mut found: Vec<u32> = Vec::new();
        for &row in looked_at {
            found.extend_from_slice(self.evidence.features.get(row as usize));
        }
        found.sort_unstable();
        let often = self.min_purity - 0.25;
        let mut shared: Vec<Trigger> = Vec::new();
        for group in found.chunk_by(|a, b| a == b) {
            let feature = group[0];
            let all = self.model.with_feature(feature);
            let too_many = f64::from(all) * MIN_EXCLUSIVE > rows.len() as f64;
            if too_many || (group.len() as f64) < often * n_looked {
                continue;
            }
            let has = |row: usize| {
                let features = self.evidence.features.get(row);
                features.contains(&feature)
            };
            let kind = Kind::Content(feature);
            let trigger = self.trigger(phrase, kind, &has, all, self.model.n_features());
            shared.extend(trigger.filter(|t| t.exclusive() >= MIN_EXCLUSIVE));
        }
        let name = |trigger: &Trigger| match trigger.kind {
            Kind::Content(feature) => self.evidence.feature_name(feature),
            _ => "",
        };
        let is_name = |trigger: &Trigger| match trigger.kind {
            Kind::Content(feature) => self.evidence.is_name(feature),
            _ => false,
        };
        let pairs = shared.iter().filter(|t| words_in(name(t)).count() > 1);
        let n_pairs = pairs.count();
        let is_certain = n_pairs >= STATEMENT_PAIRS || shared.iter().any(is_name);
        let told = is_certain || n_pairs > 0 || shared.len() >= SHARED_WORDS;
        let best = shared.into_iter().max_by(|a, b| {
            let order = a.hits.len().cmp(&b.hits.len());
            order
                .then(a.exclusive().total_cmp(&b.exclusive()))
                .then(name(a).len().cmp(&name(b).len()))
                .then(b.kind.cmp(&a.kind))
        });
        let best = best.filter(|trigger| told && trigger.hits.len() >= least)?;
        Some(Trigger { is_certain, ..best })
    }
}
