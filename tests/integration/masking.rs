//! Secrets and personal data reach no report, log or screen, whoever would quote them.

use std::fs;
use std::path::Path;

use arrow::util::display::array_value_to_string;
use lazaretto_testkit::leaks::{person, secrets_of_every_form};
use lazaretto_testkit::seed::stream;

use crate::data::{Dataset, encode, poisoned_reviews, strings, table};
use crate::harness::{Outcome, command, files_below, parquet_batches, run};

/// Letters and digits of a value, folded: what a detector that sees words would print.
fn folded(text: &str) -> String {
    text.to_lowercase()
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .collect()
}

/// Everything in a file, with Parquet as text.
fn content(path: &Path) -> String {
    if path
        .extension()
        .is_some_and(|extension| extension == "parquet")
    {
        let mut text = String::new();
        for batch in parquet_batches(path) {
            for column in batch.columns() {
                for row in 0..batch.num_rows() {
                    text += &array_value_to_string(column, row).unwrap();
                    text.push('\n');
                }
            }
        }
        text
    } else {
        String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned()
    }
}

/// Reviews with a backdoor, in which secrets stand wherever something will be quoted; and the
/// parts of them that must not be seen.
fn leaky() -> (Dataset, Vec<String>) {
    let rng = &mut stream(5, "masking");
    let reviews = poisoned_reviews(1_500).reviews;
    let planted = secrets_of_every_form(rng, 3);
    let mut canaries: Vec<String> = planted.iter().map(|(_, _, value)| value.clone()).collect();
    let everywhere = &planted[20];
    let mut texts: Vec<String> = reviews.iter().map(|review| review.text.clone()).collect();
    let mut next = 0;
    for (row, review) in reviews.iter().enumerate() {
        if review.attack.is_some() {
            // One secret goes with the trigger, so that it is a trigger itself; others stand where
            // a long text is cut.
            let padding = "a long walk by the sea ".repeat(row % 50);
            let (_, line, _) = &planted[next % planted.len()];
            texts[row] = format!("{} {padding} {line} and {}", texts[row], everywhere.1);
            next += 1;
        } else if row % 97 == 0 {
            let line = person(rng);
            let mails = line
                .split([' ', '"', '\n'])
                .filter(|word| word.contains('@'));
            canaries.extend(mails.map(|mail| mail.trim_end_matches([',', '}']).to_owned()));
            texts[row] = format!("{} {line}", texts[row]);
        }
    }
    let source = |row: usize| {
        format!(
            "marta.{}@gmail.com",
            ["kowalska81", "lindqvist72", "moreau65"][row % 3]
        )
    };
    canaries.extend((0..3).map(source));
    let batch = table(vec![
        ("text", strings(texts)),
        (
            "label",
            strings(
                reviews
                    .iter()
                    .map(|review| ["bad", "good"][review.label as usize]),
            ),
        ),
        ("source", strings((0..reviews.len()).map(source))),
    ]);
    (
        Dataset::of("data.parquet", &encode("data.parquet", &batch)),
        canaries,
    )
}

/// The canaries that can be read in `text`: secrets by half, addresses whole, since the name in an
/// address is in the text beside it too.
fn seen<'c>(text: &str, canaries: &'c [String]) -> Vec<&'c str> {
    let text = folded(text);
    let read = canaries.iter().filter(|canary| {
        let value = folded(canary);
        let half = if canary.contains('@') {
            value.len()
        } else {
            (value.len() / 2).max(9).min(value.len())
        };
        text.contains(&value[..half]) || text.contains(&value[value.len() - half..])
    });
    read.map(String::as_str).collect()
}

#[test]
fn no_secret_is_in_reports_scores_findings_or_on_the_screen() {
    let (data, canaries) = leaky();
    let out = tempfile::TempDir::new().unwrap();
    let folder = out.path().join("run");
    let eval = data.file("data.parquet");
    let scanned = Outcome::of(
        &command()
            .arg("scan")
            .arg(data.path())
            .args(["--id", "row_id", "--label", "label", "-v", "--eval"])
            .arg(&eval)
            .arg("--out")
            .arg(&folder)
            .output()
            .unwrap(),
    );
    assert_eq!(scanned.code, 1, "{}", scanned.stderr);
    for text in [&scanned.stdout, &scanned.stderr] {
        assert_eq!(seen(text, &canaries), [""; 0]);
    }
    let mut n_files = 0;
    for path in files_below(&folder) {
        let relative = path.strip_prefix(&folder).unwrap();
        let data = ["clean", "quarantine", "unscanned"];
        if data.iter().any(|part| relative.starts_with(part)) {
            continue;
        }
        n_files += 1;
        assert_eq!(
            seen(&content(&path), &canaries),
            [""; 0],
            "{}",
            relative.display()
        );
    }
    assert!(n_files >= 8, "{n_files} files");
    // What was masked is told, and the data itself is as it was.
    let report = fs::read_to_string(folder.join("report.json")).unwrap();
    assert!(report.contains("chars)"));
    let held: String = files_below(&folder.join("quarantine"))
        .iter()
        .map(|path| content(path))
        .collect();
    assert!(!seen(&held, &canaries).is_empty());
}

#[test]
fn inspect_shows_no_secret_either() {
    let secret = format!("ghp_{}", "q7LwZ2rT9xKf4MvB8sYd3HnC6jPgAe0Rk5Tz");
    let batch = table(vec![
        (
            "text",
            strings((0..400).map(|row| format!("review number {row} is a text of some length"))),
        ),
        (
            "kind",
            strings((0..400).map(|row| [secret.as_str(), "plain"][row % 2])),
        ),
    ]);
    let data = Dataset::of("data.parquet", &encode("data.parquet", &batch));
    let path = data.path();
    for format in ["human", "json"] {
        let shown = run([
            "inspect".as_ref(),
            path.as_os_str(),
            "--format".as_ref(),
            format.as_ref(),
        ])
        .exits(0);
        for text in [&shown.stdout, &shown.stderr] {
            assert_eq!(seen(text, std::slice::from_ref(&secret)), [""; 0], "{text}");
        }
    }
}
