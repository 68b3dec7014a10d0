//! Text from the data is shown and never obeyed: no markup, no reordering, no terminal control.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
use lazaretto_testkit::files::parquet_bytes;

use crate::data::{Dataset, strings, table};
use crate::harness::{Outcome, RunFolder, command, run, scan};

const SCRIPT: &str = "<script>alert(1)</script>";
const IMAGE: &str = "\"><img src=x onerror=alert(2)>";
const COLOR: &str = "\u{1b}[31mred\u{1b}]0;title\u{7}";
const REORDERED: &str = "\u{202e}txet\u{202c}";
const FENCE: &str = "```\n# heading\n| a | b |\n[link](javascript:alert(3))";

/// Reviews that attack whoever looks at them: in values, classes, sources and column names.
fn hostile() -> Dataset {
    let reviews = crate::data::poisoned_reviews(900);
    let rows = reviews.reviews.iter().enumerate();
    // All poisoned records carry the payloads, so that findings, titles and examples show them.
    let text = rows.clone().map(|(row, review)| match review.attack {
        Some(_) => {
            let payload = [SCRIPT, IMAGE, COLOR, REORDERED, FENCE][row % 5];
            format!("{payload} {}", review.text)
        }
        None => review.text.clone(),
    });
    let class = |label| ["<b>bad</b>", "good\u{1b}[5m"][label as usize];
    let source = rows.map(|(row, _)| ["<i>shop</i>", "\u{202e}pohs", "plain"][row % 3]);
    let number: ArrayRef = Arc::new(Int64Array::from_iter_values(
        (0..900).map(|row| row * 7919 % 1_000),
    ));
    let batch = table(vec![
        ("text", strings(text)),
        (
            "label",
            strings(reviews.reviews.iter().map(|review| class(review.label))),
        ),
        ("source", strings(source)),
        ("<script>alert(4)</script>\u{1b}[2J\u{202e}", number),
    ]);
    Dataset::of(
        "<img src=x onerror=alert(5)>\u{1b}[7m\u{202e}.parquet",
        &parquet_bytes(&batch, 300).unwrap(),
    )
}

/// Characters that act on a terminal or reorder what is around them.
fn acting(text: &str) -> Option<char> {
    text.chars().find(|&character| {
        (character.is_control() && !"\n\t".contains(character))
            || ('\u{202a}'..='\u{202e}').contains(&character)
            || ('\u{2066}'..='\u{2069}').contains(&character)
    })
}

fn assert_inert_page(run: &RunFolder) {
    let page = run.text("report.html");
    for markup in [
        "<script>alert",
        "<img",
        "<b>bad",
        "<i>shop",
        "href=\"javascript:",
    ] {
        assert!(!page.contains(markup), "`{markup}` in report.html");
    }
    assert!(page.contains("&lt;script&gt;alert(1)") || page.contains("&#60;script&#62;alert(1)"));
    assert_eq!(acting(&page), None);
}

#[test]
fn reports_show_hostile_text_without_obeying_it() {
    let data = hostile();
    let scan = scan(&data.path(), &["--id", "row_id", "--label", "label"]);
    let run = scan.exits(1);
    assert!(run.held().len() >= 40);
    assert_inert_page(run);
    let markdown = run.text("report.md");
    assert_eq!(acting(&markdown), None);
    for line in markdown.lines() {
        assert_ne!(line, "# heading");
        let outside: String = line.split('`').step_by(2).collect();
        assert!(!outside.contains("<script"), "{line}");
        assert!(!outside.contains("<img"), "{line}");
    }
    for name in ["junit.xml", "report.sarif"] {
        assert_eq!(acting(&run.text(name)), None, "{name}");
    }
}

#[test]
fn terminals_get_no_control_characters() {
    let data = hostile();
    let path = data.path();
    let out = tempfile::TempDir::new().unwrap();
    let run_folder = out.path().join("run");
    let scanned = Outcome::of(
        &command()
            .arg("scan")
            .arg(&path)
            .args(["--label", "label", "-v", "--out"])
            .arg(&run_folder)
            .output()
            .unwrap(),
    );
    let inspected = run(["inspect".as_ref(), path.as_os_str()]).exits(0);
    let wrong = run([
        "scan".as_ref(),
        path.as_os_str(),
        "--label".as_ref(),
        "no\u{1b}[31m\u{202e}such".as_ref(),
        "--out".as_ref(),
        out.path().join("other").as_os_str(),
    ])
    .exits(2);
    for outcome in [&scanned, &inspected, &wrong] {
        assert_eq!(acting(&outcome.stdout), None, "{:?}", outcome.stdout);
        assert_eq!(acting(&outcome.stderr), None, "{:?}", outcome.stderr);
    }
}

#[test]
fn a_pipeline_written_for_hostile_columns_reads_back() {
    let data = hostile();
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("hostile.toml");
    run([
        "init".as_ref(),
        data.path().as_os_str(),
        "--out".as_ref(),
        file.as_os_str(),
    ])
    .exits(0);
    let scan = scan(&data.path(), &["--pipeline", file.to_str().unwrap()]);
    scan.exits(1);
}

#[test]
fn names_that_only_look_like_paths_stay_in_the_run_folder() {
    let batch = crate::data::clean_reviews(600);
    let data = Dataset::of("a/x..y...parquet", &parquet_bytes(&batch, 300).unwrap())
        .with("b/ trailing .parquet", &parquet_bytes(&batch, 300).unwrap());
    let scan = scan(&data.path(), &[]);
    let run = scan.judged();
    assert!(run.path("clean/a/x..y...parquet").exists());
    assert!(run.path("clean/b/ trailing .parquet").exists());
}
