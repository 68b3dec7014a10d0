//! A compiled set of patterns.

use std::ops::Range;

use aho_corasick::{AhoCorasick, AhoCorasickKind};
use regex_automata::meta::Regex;
use regex_automata::{Anchored, Input};
use serde::Deserialize;

use crate::error::PatternError;

/// Bytes that one compiled expression may take.
const MAX_COMPILED: usize = 4 << 20;
/// Bytes that a match may have. A search for expressions without a bound on their matches can take
/// time in the square of the text.
const MAX_MATCH: usize = 8192;

/// One pattern as its file gives it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pattern {
    /// Its name in findings, kebab-case, unique in its file.
    pub id: String,
    /// What it finds, for people.
    pub title: String,
    /// What kind of pattern it is among those of its file; the detector knows the words.
    #[serde(default)]
    pub kind: String,
    /// How far a match convinces on its own, in `0..=1`.
    #[serde(default = "certain")]
    pub weight: f64,
    /// Words of which every match contains at least one, in any case (ASCII). The expression is
    /// only tried around them; without keywords it is tried everywhere, which is slower.
    #[serde(default)]
    pub keywords: Vec<String>,
    /// The regular expression, in the syntax of the `regex` crate; with a bounded match length.
    pub regex: String,
    /// Texts in which it must be found.
    pub positive: Vec<String>,
    /// Texts in which it must not be found.
    pub negative: Vec<String>,
}

fn certain() -> f64 {
    1.0
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PatternFile {
    version: u32,
    pattern: Vec<Pattern>,
}

/// Where a pattern was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// Index into [`PatternSet::patterns`].
    pub pattern: usize,
    /// Byte range in the text.
    pub range: Range<usize>,
}

#[derive(Clone, Debug)]
struct Compiled {
    regex: Regex,
    /// Bytes of its longest match.
    max_len: usize,
    has_keywords: bool,
}

/// Patterns that are searched together.
#[derive(Clone, Debug)]
pub struct PatternSet {
    version: u32,
    patterns: Vec<Pattern>,
    compiled: Vec<Compiled>,
    keywords: Option<AhoCorasick>,
    /// The pattern of each keyword.
    owners: Vec<usize>,
}

impl PatternSet {
    /// The patterns of a TOML file.
    ///
    /// # Errors
    /// When it is not such a file, or a pattern does not compile within the limits.
    pub fn parse(toml: &str) -> Result<Self, PatternError> {
        let file: PatternFile = toml::from_str(toml)?;
        let compiled: Result<Vec<_>, _> = file.pattern.iter().map(compile).collect();
        let mut words = Vec::new();
        let mut owners = Vec::new();
        for (idx, pattern) in file.pattern.iter().enumerate() {
            words.extend(pattern.keywords.iter());
            owners.extend(pattern.keywords.iter().map(|_| idx));
        }
        let keywords = (!words.is_empty())
            .then(|| {
                AhoCorasick::builder()
                    .ascii_case_insensitive(true)
                    // One table look-up per byte: the sets are small, the texts are not.
                    .kind(Some(AhoCorasickKind::DFA))
                    .build(&words)
            })
            .transpose()
            .map_err(|error| PatternError::Keywords(error.to_string()))?;
        Ok(Self {
            version: file.version,
            patterns: file.pattern,
            compiled: compiled?,
            keywords,
            owners,
        })
    }

    /// Version of the file.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The patterns, in the order of the file.
    #[must_use]
    pub fn patterns(&self) -> &[Pattern] {
        &self.patterns
    }

    /// All matches in `text`: for each pattern the leftmost ones that do not overlap, by pattern
    /// and then by place. Matches of different patterns may overlap.
    ///
    /// The time is linear in the text: an expression is tried at most once per byte, and a match
    /// is at most 8,192 bytes long.
    #[must_use]
    pub fn find(&self, text: &str) -> Vec<Match> {
        let mut found = Vec::new();
        let mut around: Vec<Vec<Range<usize>>> = Vec::new();
        let keywords = self.keywords.iter();
        for hit in keywords.flat_map(|keywords| keywords.find_overlapping_iter(text)) {
            if around.is_empty() {
                around = vec![Vec::new(); self.compiled.len()];
            }
            let pattern = self.owners[hit.pattern().as_usize()];
            let reach = self.compiled[pattern].max_len;
            let start = hit.end().saturating_sub(reach);
            let end = hit.start().saturating_add(reach).min(text.len());
            match around[pattern].last_mut() {
                Some(last) if start <= last.end => last.end = last.end.max(end),
                _ => around[pattern].push(start..end),
            }
        }
        for (pattern, compiled) in self.compiled.iter().enumerate() {
            let everywhere = 0..text.len();
            let places = if compiled.has_keywords {
                around.get(pattern).map_or(&[][..], Vec::as_slice)
            } else {
                std::slice::from_ref(&everywhere)
            };
            for place in places {
                // The input is the whole text, so that word boundaries are seen beyond the place.
                let input = Input::new(text).range(place.clone());
                found.extend(compiled.regex.find_iter(input).map(|hit| Match {
                    pattern,
                    range: hit.range(),
                }));
            }
        }
        found
    }

    /// The part of a match that its pattern is about: the first group of the expression that took
    /// part in it, or all of it where there is none.
    #[must_use]
    pub fn value(&self, text: &str, found: &Match) -> Range<usize> {
        let regex = &self.compiled[found.pattern].regex;
        let mut captures = regex.create_captures();
        let input = Input::new(text)
            .range(found.range.clone())
            .anchored(Anchored::Yes);
        regex.search_captures(&input, &mut captures);
        let groups = (1..captures.group_len()).filter_map(|group| captures.get_group(group));
        let mut groups = groups.map(|span| span.range());
        groups.next().unwrap_or_else(|| found.range.clone())
    }

    /// What is wrong with the patterns, by their own examples and names; empty when nothing is.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for (idx, pattern) in self.patterns.iter().enumerate() {
            let id = &pattern.id;
            let matches = |text: &String| self.find(text).iter().any(|found| found.pattern == idx);
            if self.patterns[..idx].iter().any(|other| &other.id == id) {
                problems.push(format!("two patterns are called `{id}`"));
            }
            if pattern.positive.is_empty() || pattern.negative.is_empty() {
                problems.push(format!("`{id}` needs positive and negative examples"));
            }
            for text in pattern.positive.iter().filter(|text| !matches(text)) {
                problems.push(format!(
                    "`{id}` is not found in its positive example {text:?}"
                ));
            }
            for text in pattern.negative.iter().filter(|text| matches(text)) {
                problems.push(format!("`{id}` is found in its negative example {text:?}"));
            }
        }
        problems
    }
}

fn compile(pattern: &Pattern) -> Result<Compiled, PatternError> {
    let refused = |reason: String| PatternError::Regex {
        id: pattern.id.clone(),
        reason,
    };
    let hir = regex_syntax::parse(&pattern.regex).map_err(|error| refused(error.to_string()))?;
    let max_len = hir
        .properties()
        .maximum_len()
        .filter(|&len| len <= MAX_MATCH)
        .ok_or_else(|| {
            refused(format!(
                "a match may be longer than {MAX_MATCH} bytes; bound its repetitions, `{{1,100}}` instead of `+`"
            ))
        })?;
    if hir.properties().minimum_len() == Some(0) {
        return Err(refused("it matches the empty text".to_owned()));
    }
    let config = Regex::config()
        .nfa_size_limit(Some(MAX_COMPILED))
        .onepass_size_limit(Some(MAX_COMPILED));
    let regex = Regex::builder()
        .configure(config)
        .build_from_hir(&hir)
        .map_err(|error| refused(error.to_string()))?;
    Ok(Compiled {
        regex,
        max_len,
        has_keywords: !pattern.keywords.is_empty(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(toml: &str) -> PatternSet {
        PatternSet::parse(toml).unwrap()
    }

    const TWO: &str = r#"
        version = 1
        [[pattern]]
        id = "token"
        title = "a token"
        keywords = ["tok_"]
        regex = '\btok_[0-9a-f]{8}\b'
        positive = ["x tok_01234567 y"]
        negative = ["tok_012", "atok_01234567"]
        [[pattern]]
        id = "number"
        title = "five digits"
        regex = '\b[0-9]{5}\b'
        positive = ["12345"]
        negative = ["123456"]
    "#;

    #[test]
    fn all_matches_of_all_patterns_are_found() {
        let patterns = set(TWO);
        assert!(patterns.problems().is_empty(), "{:?}", patterns.problems());
        let text = "tok_01234567 12345 tok_89abcdef tok_0 54321";
        let found: Vec<_> = patterns
            .find(text)
            .into_iter()
            .map(|found| (found.pattern, &text[found.range]))
            .collect();
        let expected = [
            (0, "tok_01234567"),
            (0, "tok_89abcdef"),
            (1, "12345"),
            (1, "54321"),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn words_are_bounded_by_what_stands_outside_the_searched_place() {
        let text = "é".repeat(300) + "tok_01234567" + &"é".repeat(300);
        assert!(set(TWO).find(&text).is_empty());
    }

    #[test]
    fn examples_that_do_not_hold_are_problems() {
        let wrong = TWO.replace("\"12345\"", "\"1234\"");
        let problems = set(&wrong).problems();
        assert_eq!(
            problems,
            ["`number` is not found in its positive example \"1234\""]
        );
    }

    #[test]
    fn unbounded_and_empty_expressions_are_refused() {
        for regex in ["a+", "a{0,3}", "a{9000}"] {
            let toml = TWO.replace(r"\b[0-9]{5}\b", regex);
            let error = PatternSet::parse(&toml).unwrap_err().to_string();
            assert!(error.starts_with("pattern `number`: "), "{error}");
        }
    }
}
