use std::sync::Arc;

use arrow::array::LargeStringArray;
use lazaretto_core::{Derived, Domains, FileFacts};

use super::*;

const SOURCES: [&str; 3] = ["curated", "mirror-7", "stranger"];

/// Records of two files of 50; every tenth is from `mirror-7`, every seventh from `stranger`, else `curated`.
fn source_of(row: u64) -> u32 {
    match (row % 10, row % 7) {
        (0, _) => 1,
        (_, 0) => 2,
        _ => 0,
    }
}

fn url_of(row: u64) -> Option<String> {
    match row % 25 {
        3 => None,
        4 => Some(format!("https://good.example@evil.example/{row}")),
        _ => Some(format!("https://www.good.example/{row}")),
    }
}

fn list() -> SourceList {
    SourceList {
        name: "sources.toml".to_owned(),
        unknown: Treatment::Review,
        blocked: Treatment::Quarantine,
        sources: None,
        files: None,
        domains: None,
    }
}

fn by_source() -> SourceList {
    SourceList {
        sources: Some(vec![
            Standing::Trusted,
            Standing::Blocked,
            Standing::Unknown,
        ]),
        ..list()
    }
}

/// Runs the detector over 100 records in `partitions` parts.
fn run(list: SourceList, partitions: u64) -> (Vec<f32>, Vec<Finding>) {
    let file = |path: &str, first_row, n_rows| FileFacts {
        path: path.to_owned(),
        first_row,
        n_rows,
    };
    let facts = Arc::new(DataFacts {
        n_rows: 100,
        sources: SOURCES.map(str::to_owned).to_vec(),
        provenance: Provenance {
            files: vec![
                file("a.csv", 0, 50),
                file("damaged.csv", 50, 0),
                file("z.csv", 50, 50),
            ],
            recorded: Vec::new(),
            sources: Some(list),
        },
        ..DataFacts::default()
    });
    let context = FitContext {
        facts: Arc::clone(&facts),
        seed: 0,
        memory_bytes: 1 << 20,
    };
    let shared = Shared {
        facts: Arc::clone(&facts),
        seed: 0,
        reference: None,
        neighbor_base: None,
        text_classifier: None,
        trusted: None,
        evaluation: None,
    };
    let detector = SourceAllowlist::new(SourceAllowlistParams {});
    let model = detector.model(&context, (), &shared).unwrap();
    let mut evidence = detector.start_evidence(&model);
    let mut scores = Vec::new();
    let length = 100 / partitions;
    for part in 0..partitions {
        let rows: Vec<u64> = (part * length..(part + 1) * length).collect();
        let sources: Vec<u32> = rows.iter().map(|&row| source_of(row)).collect();
        let urls: LargeStringArray = rows.iter().map(|&row| url_of(row)).collect();
        let derived = Derived {
            urls: vec![urls],
            ..Derived::default()
        };
        let batch = Batch {
            first_row: rows[0],
            keys: &rows,
            labels: None,
            times: None,
            sources: Some(&sources),
            texts: &[],
            numeric: None,
            categorical: &[],
            embedding: None,
            given_probabilities: None,
            derived: &derived,
        };
        let mut later = detector.start_evidence(&model);
        scores.extend(detector.score(&model, &shared, &batch, &mut later));
        detector.merge_evidence(&mut evidence, later);
    }
    (scores, detector.finish(&model, &shared, evidence))
}

fn rows(holds: impl Fn(u64) -> bool) -> Vec<u64> {
    (0..100).filter(|&row| holds(row)).collect()
}

#[test]
fn blocked_sources_are_held_and_unknown_ones_shown() {
    let (scores, findings) = run(by_source(), 1);
    assert_eq!(findings.len(), 2);
    assert_eq!(findings[0].kind, "blocked-source");
    assert_eq!(findings[0].action, Action::Quarantine);
    assert_eq!(findings[0].records, rows(|row| source_of(row) == 1));
    assert_eq!(
        findings[0].title,
        "`sources.toml` blocks source `mirror-7`: 10 record(s)"
    );
    assert_eq!(findings[1].action, Action::Review);
    assert_eq!(findings[1].records, rows(|row| source_of(row) == 2));
    assert!(
        findings[1].title.contains("`stranger` ("),
        "{}",
        findings[1].title
    );
    let quiet = rows(|row| source_of(row) == 0);
    assert!(quiet.iter().all(|&row| scores[row as usize] == 0.0));
    assert_eq!(
        run(by_source(), 4),
        (scores, findings),
        "partitions must not matter"
    );
}

#[test]
fn the_list_says_what_becomes_of_unknown_sources() {
    for (unknown, action) in [
        (Treatment::Allow, None),
        (Treatment::Review, Some(Action::Review)),
        (Treatment::Fail, Some(Action::Fail)),
        (Treatment::Quarantine, Some(Action::Quarantine)),
    ] {
        let list = SourceList {
            unknown,
            ..by_source()
        };
        let (_, findings) = run(list, 1);
        let found = findings
            .iter()
            .find(|finding| finding.kind == "unknown-source");
        assert_eq!(found.map(|finding| finding.action), action);
    }
}

#[test]
fn a_record_is_as_good_as_the_worst_answer() {
    let list = SourceList {
        domains: Some(Domains {
            trusted: vec!["good.example".to_owned()],
            blocked: vec!["evil.example".to_owned()],
        }),
        files: Some(vec![
            Standing::Trusted,
            Standing::Unknown,
            Standing::Unknown,
        ]),
        ..by_source()
    };
    let (_, findings) = run(list, 2);
    let of = |kind: &str, word: &str| -> Vec<u64> {
        let about =
            |finding: &&Finding| finding.kind == kind && finding.evidence.contains_key(word);
        findings.iter().find(about).unwrap().records.clone()
    };
    let from_evil = rows(|row| row % 25 == 4 && source_of(row) != 1);
    assert_eq!(of("blocked-source", "domains"), from_evil);
    assert_eq!(
        of("blocked-source", "sources"),
        rows(|row| source_of(row) == 1)
    );
    // What is trusted by source and address, in a file that nobody vouches for.
    let in_file = rows(|row| row >= 50 && source_of(row) == 0 && ![3, 4].contains(&(row % 25)));
    assert_eq!(of("unknown-source", "files"), in_file);
}

#[test]
fn a_list_about_nothing_here_does_not_apply() {
    let detector = SourceAllowlist::new(SourceAllowlistParams {});
    let mut facts = DataFacts::default();
    assert!(detector.applies(&facts).is_err());
    facts.provenance.sources = Some(list());
    let reason = detector.applies(&facts).unwrap_err().reason;
    assert!(reason.contains("no column or file"), "{reason}");
}
