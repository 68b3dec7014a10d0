//! Tags of public attack taxonomies, in one versioned table.
//!
//! Detectors name tags by their id; reports print id, name and address from here.

use serde::Serialize;

/// Version of the table: the date it was last checked against its sources.
pub const VERSION: &str = "2026-11";

/// One entry of a public taxonomy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Tag {
    /// The source's own identifier.
    pub id: &'static str,
    /// The source's own name for it.
    pub name: &'static str,
    /// The taxonomy it belongs to.
    pub taxonomy: &'static str,
    /// Where it is described.
    pub url: &'static str,
}

const ATLAS: &str = "MITRE ATLAS";
const OWASP_2025: &str = "OWASP Top 10 for LLM Applications 2025";
const OWASP_2026: &str = "OWASP Top 10 for LLM Applications 2026";
const NIST: &str = "NIST AI 100-2e2025";
const NIST_URL: &str = "https://csrc.nist.gov/pubs/ai/100/2/e2025/final";

/// All tags, sorted by id.
pub const TAGS: &[Tag] = &[
    Tag {
        id: "AML.T0018",
        name: "Manipulate AI Model",
        taxonomy: ATLAS,
        url: "https://atlas.mitre.org/techniques/AML.T0018",
    },
    Tag {
        id: "AML.T0019",
        name: "Publish Poisoned Datasets",
        taxonomy: ATLAS,
        url: "https://atlas.mitre.org/techniques/AML.T0019",
    },
    Tag {
        id: "AML.T0020",
        name: "Poison Training Data",
        taxonomy: ATLAS,
        url: "https://atlas.mitre.org/techniques/AML.T0020",
    },
    Tag {
        id: "AML.T0043",
        name: "Craft Adversarial Data",
        taxonomy: ATLAS,
        url: "https://atlas.mitre.org/techniques/AML.T0043",
    },
    Tag {
        id: "AML.T0043.004",
        name: "Craft Adversarial Data: Insert Backdoor Trigger",
        taxonomy: ATLAS,
        url: "https://atlas.mitre.org/techniques/AML.T0043.004",
    },
    Tag {
        id: "AML.T0059",
        name: "Erode Dataset Integrity",
        taxonomy: ATLAS,
        url: "https://atlas.mitre.org/techniques/AML.T0059",
    },
    Tag {
        id: "LLM02:2025",
        name: "Sensitive Information Disclosure",
        taxonomy: OWASP_2025,
        url: "https://genai.owasp.org/llmrisk/llm022025-sensitive-information-disclosure/",
    },
    Tag {
        id: "LLM04:2025",
        name: "Data and Model Poisoning",
        taxonomy: OWASP_2025,
        url: "https://genai.owasp.org/llmrisk/llm042025-data-and-model-poisoning/",
    },
    Tag {
        id: "LLM05:2026",
        name: "Data and Model Poisoning",
        taxonomy: OWASP_2026,
        url: "https://genai.owasp.org/llm-top-10/",
    },
    Tag {
        id: "NISTAML.012",
        name: "Clean-label Poisoning",
        taxonomy: NIST,
        url: NIST_URL,
    },
    Tag {
        id: "NISTAML.013",
        name: "Data Poisoning",
        taxonomy: NIST,
        url: NIST_URL,
    },
    Tag {
        id: "NISTAML.021",
        name: "Clean-label Backdoor",
        taxonomy: NIST,
        url: NIST_URL,
    },
    Tag {
        id: "NISTAML.023",
        name: "Backdoor Poisoning",
        taxonomy: NIST,
        url: NIST_URL,
    },
    Tag {
        id: "NISTAML.024",
        name: "Targeted Poisoning",
        taxonomy: NIST,
        url: NIST_URL,
    },
];

/// The tag with identifier `id`.
#[must_use]
pub fn tag(id: &str) -> Option<&'static Tag> {
    TAGS.iter().find(|tag| tag.id == id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_ids_are_unique() {
        assert!(TAGS.windows(2).all(|pair| pair[0].id < pair[1].id));
        assert_eq!(tag("AML.T0020").unwrap().name, "Poison Training Data");
        assert_eq!(tag("AML.T9999"), None);
    }
}
