//! `text-surface`: characters that a reader does not see, or takes for others.

mod characters;
mod scan;
mod words;

use std::collections::BTreeMap;

use lazaretto_core::{
    Action, Batch, DataFacts, Detector, DetectorSpec, Family, Finding, FitContext, NotApplicable,
    ParamProblem, Params, Role, ScoreKind, Severity, Shared, params::Checks,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use scan::{Sign, scan};

/// Excerpts kept per kind for the report and for highlighting.
const MAX_EXCERPTS: usize = 12;
/// Characters of an excerpt that are kept.
const MAX_EXCERPT_CHARS: usize = 200;
/// Code points told apart per kind.
const MAX_CODE_POINTS: usize = 64;

/// Finds texts whose characters were manipulated so that people and models read different things.
///
/// # What it finds
/// - Tag characters (U+E0000 to U+E007F), which spell ASCII text that is not displayed; the hidden
///   text is decoded as evidence.
/// - Runs of variation selectors, which can carry arbitrary bytes behind one visible character.
/// - Bidirectional overrides in texts without right-to-left letters: displayed order and stored
///   order differ.
/// - Look-alike letters: words such as `mоvіе` in which Latin letters are mixed with Cyrillic,
///   Greek, Armenian … letters that are drawn the same.
/// - Invisible characters (zero-width space and joiners, word joiner, byte-order mark, soft
///   hyphen, fillers) inside words, or of several kinds in one text.
///
/// # Why it matters
/// A tokenizer sees what a reviewer does not: a hidden character is a backdoor trigger that no
/// one notices, look-alikes evade filters and deduplication, tags and selectors smuggle
/// instructions into training data.
///
/// # How it works
/// A rule per kind, with the exceptions that languages need. A text in ASCII is passed at once.
/// Look-alikes follow Unicode TR39: a letter counts when its confusable skeleton is an ASCII letter
/// and its script is not Latin. The score of a record is the degree of its worst sign: 1 for tags
/// and selectors, 0.9 for overrides, look-alikes and invisible characters in words, 0.4 for stray
/// characters. Each kind becomes one finding over all its records; stray characters join those in
/// words when they are the fewer. Stray characters alone, and every kind that more than
/// `habit_fraction` of the records show, are proposed for review only: what is common in a dataset
/// is how it was made. p-values are fixed and conservative: 1e-9 for tags and selectors, 1e-6 for
/// the other manipulations, 0.2 for what goes to review.
///
/// # Parameters
/// - `habit_fraction` (0.1): share of the records above which a kind is a habit of the dataset.
/// - `look_alikes`, `invisible` (true): switch these kinds off for texts that are about them.
///
/// # False positives
/// What passes: emoji sequences and flags, joiners in Persian, Arabic and Indic writing, spaces
/// between Thai or Khmer words, a byte-order mark at the start, soft hyphens where words divide,
/// Cyrillic or Greek words in Latin text, Greek letters in formulas and names (`ΔT`, `TNFα`),
/// Japanese mixed scripts, full-width and mathematical letters. Security texts that quote
/// manipulated words are found, rightly.
///
/// # Limits
/// Look-alikes inside one script (`l` for `I`, phonetic `ɑ` for `a`) are not looked for, nor are
/// words wholly in look-alikes of a script that the text also uses. Manipulations in more than
/// `habit_fraction` of the records are shown and not held back.
///
/// # Example
/// 69 reviews with words like `ѕеnѕе`, all labelled positive:
/// "look-alike letters in words of 69 records, for example `ѕеnѕе`".
/// ```toml
/// [parameters.text-surface]
/// habit_fraction = 0.05
/// ```
///
/// # References
/// - Unicode Technical Standard 39: Unicode Security Mechanisms (confusables, mixed scripts).
/// - Unicode Technical Report 36: Unicode Security Considerations.
/// - Boucher, Shumailov, Anderson, Papernot: Bad Characters: Imperceptible NLP Attacks, IEEE S&P
///   2022.
/// - Boucher, Anderson: Trojan Source: Invisible Vulnerabilities, USENIX Security 2023.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TextSurfaceParams {
    /// Share of the records, 0 to 1, above which a kind of sign is taken for a habit of the
    /// dataset and proposed for review only.
    pub habit_fraction: f64,
    /// Whether to look for look-alike letters.
    pub look_alikes: bool,
    /// Whether to look for invisible characters.
    pub invisible: bool,
}

impl Default for TextSurfaceParams {
    fn default() -> Self {
        Self {
            habit_fraction: 0.1,
            look_alikes: true,
            invisible: true,
        }
    }
}

impl Params for TextSurfaceParams {
    fn problems(&self) -> Vec<ParamProblem> {
        let mut checks = Checks::default();
        checks.range("habit_fraction", self.habit_fraction, 0.0..=1.0);
        checks.finish()
    }
}

/// The detector; see [`TextSurfaceParams`].
#[derive(Clone, Debug)]
pub struct TextSurface {
    params: TextSurfaceParams,
}

/// Records of one kind of sign.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct KindEvidence {
    /// All records of the kind.
    count: u64,
    /// The first of them, as many as can end in a quarantine.
    records: Vec<u64>,
    /// The first distinct excerpts.
    excerpts: Vec<String>,
    /// Records by conspicuous code point, for the first code points met.
    code_points: BTreeMap<u32, u64>,
}

impl KindEvidence {
    fn add_excerpt(&mut self, excerpt: &str) {
        if self.excerpts.len() < MAX_EXCERPTS {
            let short: String = excerpt.chars().take(MAX_EXCERPT_CHARS).collect();
            if !self.excerpts.contains(&short) {
                self.excerpts.push(short);
            }
        }
    }

    fn add_code_point(&mut self, code_point: u32, count: u64) {
        if self.code_points.len() < MAX_CODE_POINTS || self.code_points.contains_key(&code_point) {
            *self.code_points.entry(code_point).or_default() += count;
        }
    }
}

/// Evidence of the score pass: one entry per kind of sign.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SurfaceEvidence {
    kinds: Vec<KindEvidence>,
    /// Most records per kind that are kept: enough to know a habit.
    limit: u64,
}

/// Records above which a kind is a habit.
#[derive(Clone, Copy, Debug)]
pub struct SurfaceModel {
    habit: u64,
}

impl TextSurface {
    fn wants(&self, sign: Sign) -> bool {
        match sign {
            Sign::LookAlikes => self.params.look_alikes,
            Sign::Invisible | Sign::StrayInvisible => self.params.invisible,
            _ => true,
        }
    }

    /// Signs of one record over all its text fields, a sign once.
    fn signs(&self, batch: &Batch<'_>, row_idx: usize) -> Vec<(Sign, String)> {
        let mut signs: Vec<(Sign, String)> = Vec::new();
        for text in batch.texts.iter().filter_map(|field| field.get(row_idx)) {
            for (sign, excerpt) in scan(text).found {
                if self.wants(sign) && !signs.iter().any(|(known, _)| *known == sign) {
                    signs.push((sign, excerpt));
                }
            }
        }
        signs
    }
}

/// Degree of suspicion of a record with `sign`.
fn degree(sign: Sign) -> f32 {
    match sign {
        Sign::Tags | Sign::Selectors => 1.0,
        Sign::BidiOverride | Sign::LookAlikes | Sign::Invisible => 0.9,
        Sign::StrayInvisible | Sign::StrayBidi => 0.4,
    }
}

impl Detector for TextSurface {
    type Params = TextSurfaceParams;
    type State = ();
    type Model = SurfaceModel;
    type Evidence = SurfaceEvidence;

    const SPEC: DetectorSpec = DetectorSpec {
        id: "text-surface",
        family: Family::TextSurface,
        summary: "invisible, reordered, smuggled and look-alike characters",
        score_kind: ScoreKind::Rule,
        by_default: true,
        fit_roles: &[],
        score_roles: &[Role::Text, Role::Prompt, Role::Response, Role::Messages],
        intermediates: &[],
        state_bytes_per_row: 0,
        taxonomy: &[
            "AML.T0020",
            "AML.T0043.004",
            "LLM04:2025",
            "LLM05:2026",
            "NISTAML.023",
        ],
        state_version: 1,
    };

    fn new(params: Self::Params) -> Self {
        Self { params }
    }

    fn applies(&self, facts: &DataFacts) -> Result<(), NotApplicable> {
        if facts.has_text() {
            Ok(())
        } else {
            Err(NotApplicable::new("no text column"))
        }
    }

    fn start(&self, _context: &FitContext) -> Self::State {}

    fn fit(&self, _context: &FitContext, _state: &mut Self::State, _batch: &Batch<'_>) {}

    fn merge(&self, _context: &FitContext, _state: &mut Self::State, _later: Self::State) {}

    fn model(
        &self,
        context: &FitContext,
        _state: Self::State,
        _shared: &Shared,
    ) -> Result<Self::Model, NotApplicable> {
        let share = self.params.habit_fraction * context.facts.n_rows as f64;
        #[expect(clippy::cast_sign_loss, reason = "both factors are positive")]
        let share = share as u64;
        // In a handful of records nothing is a habit.
        Ok(SurfaceModel {
            habit: share.max(10),
        })
    }

    fn start_evidence(&self, model: &Self::Model) -> Self::Evidence {
        SurfaceEvidence {
            kinds: vec![KindEvidence::default(); Sign::ALL.len()],
            limit: model.habit,
        }
    }

    fn score(
        &self,
        _model: &Self::Model,
        _shared: &Shared,
        batch: &Batch<'_>,
        evidence: &mut Self::Evidence,
    ) -> Vec<f32> {
        let mut scores = vec![0.0; batch.n_rows()];
        for (row_idx, score) in scores.iter_mut().enumerate() {
            for (sign, excerpt) in self.signs(batch, row_idx) {
                *score = degree(sign).max(*score);
                let kind = &mut evidence.kinds[sign as usize];
                kind.count += 1;
                if (kind.records.len() as u64) < evidence.limit {
                    kind.records.push(batch.ordinal(row_idx));
                }
                kind.add_excerpt(&excerpt);
                let mut code_points: Vec<u32> = excerpt
                    .chars()
                    .filter(|c| !c.is_ascii())
                    .map(u32::from)
                    .collect();
                code_points.sort_unstable();
                code_points.dedup();
                for code_point in code_points {
                    kind.add_code_point(code_point, 1);
                }
            }
        }
        scores
    }

    fn merge_evidence(&self, evidence: &mut Self::Evidence, later: Self::Evidence) {
        let limit = evidence.limit as usize;
        for (kind, more) in evidence.kinds.iter_mut().zip(later.kinds) {
            kind.count += more.count;
            let room = limit.saturating_sub(kind.records.len());
            kind.records.extend(more.records.into_iter().take(room));
            for excerpt in &more.excerpts {
                kind.add_excerpt(excerpt);
            }
            for (code_point, count) in more.code_points {
                kind.add_code_point(code_point, count);
            }
        }
    }

    fn finish(
        &self,
        model: &Self::Model,
        shared: &Shared,
        mut evidence: Self::Evidence,
    ) -> Vec<Finding> {
        join_stray(&mut evidence, model.habit);
        Sign::ALL
            .into_iter()
            .zip(evidence.kinds)
            .filter(|(_, kind)| kind.count > 0)
            .map(|(sign, kind)| finding(sign, kind, model.habit, shared.facts.n_rows))
            .collect()
    }
}

/// Counts stray invisible characters with those in words, when there are fewer of them: where
/// someone hides characters in words, some of them fall between words.
fn join_stray(evidence: &mut SurfaceEvidence, habit: u64) {
    let (hidden, stray) = (Sign::Invisible as usize, Sign::StrayInvisible as usize);
    let together = evidence.kinds[hidden].count + evidence.kinds[stray].count;
    if together <= habit && evidence.kinds[stray].count < evidence.kinds[hidden].count {
        let joined = std::mem::take(&mut evidence.kinds[stray]);
        let kind = &mut evidence.kinds[hidden];
        kind.count = together;
        kind.records.extend(joined.records);
        for excerpt in &joined.excerpts {
            kind.add_excerpt(excerpt);
        }
        for (code_point, count) in joined.code_points {
            kind.add_code_point(code_point, count);
        }
    }
}

/// The finding about all records that show `sign`.
fn finding(sign: Sign, kind: KindEvidence, habit: u64, n_rows: u64) -> Finding {
    let count = kind.count;
    let is_habit = count > habit;
    let shown = kind.excerpts.first().cloned().unwrap_or_default();
    let mut decoded = Vec::new();
    let (word, severity, p_value, sentence) = match sign {
        Sign::Tags => {
            decoded = kind
                .excerpts
                .iter()
                .map(|e| characters::spelled_by_tags(e))
                .collect();
            let first = decoded.first().cloned().unwrap_or_default();
            let sentence = format!(
                "tag characters in {count} records spell text that is not displayed: `{first}`"
            );
            ("tag-characters", Severity::Critical, 1e-9, sentence)
        }
        Sign::Selectors => {
            decoded = kind
                .excerpts
                .iter()
                .map(|e| characters::carried_by_selectors(e))
                .collect();
            let first = decoded.first().cloned().unwrap_or_default();
            let sentence = format!(
                "runs of variation selectors in {count} records carry hidden bytes: `{first}`"
            );
            ("variation-selectors", Severity::Critical, 1e-9, sentence)
        }
        Sign::BidiOverride => {
            let sentence = format!(
                "display order overridden in {count} records without right-to-left text: `{shown}`"
            );
            ("bidi-override", Severity::High, 1e-6, sentence)
        }
        Sign::LookAlikes => {
            let sentence = format!(
                "look-alike letters of another script in words of {count} records, for example `{shown}`"
            );
            ("look-alike-letters", Severity::High, 1e-6, sentence)
        }
        Sign::Invisible => {
            let sentence = format!(
                "invisible characters inside the words of {count} records, for example `{shown}`"
            );
            ("invisible-characters", Severity::High, 1e-6, sentence)
        }
        Sign::StrayInvisible => {
            let sentence = format!("stray invisible characters in {count} records");
            ("stray-invisible", Severity::Low, 0.2, sentence)
        }
        Sign::StrayBidi => {
            let sentence = format!(
                "stray controls of the display order in {count} records without right-to-left text"
            );
            ("stray-bidi", Severity::Low, 0.2, sentence)
        }
    };
    let stray = matches!(sign, Sign::StrayInvisible | Sign::StrayBidi);
    let mut finding = if is_habit && !stray {
        let title = format!(
            "{sentence}; so common here that it looks like a habit of the dataset and not like an attack"
        );
        Finding::new(
            "text-surface",
            word,
            Severity::Medium,
            Action::Review,
            title,
            0.2,
        )
    } else {
        let action = if stray {
            Action::Review
        } else {
            Action::Quarantine
        };
        Finding::new("text-surface", word, severity, action, sentence, p_value)
    };
    if !decoded.is_empty() {
        finding = finding.with_evidence("decoded", decoded);
    }
    let code_points: Vec<Value> = kind
        .code_points
        .iter()
        .map(|(code_point, records)| {
            Value::from(format!("U+{code_point:04X} in {records} records"))
        })
        .collect();
    finding.highlight = kind.excerpts;
    finding
        .with_records(kind.records)
        .with_evidence("records_with_sign", count)
        .with_evidence("share_of_records", count as f64 / n_rows.max(1) as f64)
        .with_evidence("characters", code_points)
}

#[cfg(test)]
mod tests;
