//! What holds for all formats at once: hostile text in every field, and nothing loaded from outside.

use lazaretto_core::report::Report;
use serde_json::Value;

use crate::{inert, sample};

/// Each trick of the trade in one string.
const HOSTILE: &str = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)> `x` [a](http://evil.example) \
    ![b](http://evil.example/b.png) {{7*7}} {0} \u{1B}[31m \u{9B}2J \u{202E}olleh \u{200B}\u{200B} \u{E0041}\u{E0042} \
    \0 \u{FFFE} ]]> --> </style> &amp; |cell|\r\nnext";

/// Keys whose values are words of ours, which a dataset cannot choose.
const WORDS: [&str; 4] = ["severity", "action", "status", "schema"];

fn hostile(suffix: &str) -> Report {
    fn poison(value: &mut Value, suffix: &str) {
        match value {
            Value::String(text) => text.push_str(suffix),
            Value::Array(items) => items.iter_mut().for_each(|item| poison(item, suffix)),
            Value::Object(fields) => {
                for (_, inner) in fields
                    .iter_mut()
                    .filter(|(key, _)| !WORDS.contains(&key.as_str()))
                {
                    poison(inner, suffix);
                }
            }
            _ => {}
        }
    }
    let mut value = serde_json::to_value(sample::report()).unwrap();
    let evidence = value["findings"][1]["evidence"].as_object_mut().unwrap();
    evidence.insert(format!("key {suffix}"), suffix.into());
    value["dataset"]["files"][0]["unscanned_reason"] = "bytes".into();
    poison(&mut value, suffix);
    serde_json::from_value(value).unwrap()
}

#[test]
fn no_format_carries_a_hidden_character() {
    let report = hostile(HOSTILE);
    for (format, text) in [
        ("html", crate::html(&report)),
        ("markdown", crate::markdown(&report)),
        ("sarif", crate::sarif(&report)),
        ("junit", crate::junit(&report)),
        ("human", crate::human(&report, false)),
    ] {
        let hidden = text
            .char_indices()
            .find(|(_, character)| inert::is_hidden(*character));
        assert!(hidden.is_none(), "{format}: {hidden:?}");
        assert!(text.contains("⟨U+202E⟩"), "{format}");
    }
}

#[test]
fn no_markup_of_the_data_reaches_the_page() {
    let page = crate::html(&hostile(HOSTILE));
    let tags = |page: &str, tag: &str| page.matches(tag).count();
    let plain = crate::html(&sample::report());
    for tag in ["<script", "<img", "</style", "<svg", "-->", "<h1", "<b>"] {
        assert_eq!(tags(&page, tag), tags(&plain, tag), "{tag}");
    }
    assert_eq!(tags(&page, "<script"), 1);
    assert_eq!(tags(&page, "<img"), 0);
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
}

/// The start tags of a page, with the contents of attributes left out.
fn tags(page: &str) -> Vec<String> {
    let body = [crate::page::STYLE, crate::page::SCRIPT]
        .iter()
        .fold(page.to_owned(), |page, own| page.replace(own, ""));
    body.split('<')
        .skip(1)
        .map(|tag| {
            let outside: String = tag.split('"').step_by(2).collect();
            outside.split('>').next().unwrap_or_default().to_owned()
        })
        .collect()
}

#[test]
fn the_page_loads_nothing() {
    for report in [sample::report(), hostile(HOSTILE), sample::quiet_report()] {
        let page = crate::html(&report);
        assert!(page.contains("default-src 'none'"));
        for tag in tags(&page) {
            let name = tag.split([' ', '>']).next().unwrap_or_default();
            assert!(
                !["link", "iframe", "object", "base", "img", "embed", "form"].contains(&name),
                "{tag}"
            );
            for attribute in [
                " src",
                " srcset",
                " action",
                " on",
                " background",
                " xlink",
                " poster",
            ] {
                assert!(!tag.contains(attribute), "{tag}");
            }
        }
        let ours = [crate::page::STYLE, crate::page::SCRIPT].concat();
        for loads in [
            "@import",
            "url(",
            "fetch(",
            "XMLHttpRequest",
            "import(",
            "http",
        ] {
            assert!(!ours.contains(loads), "{loads}");
        }
        for (at, _) in page.match_indices("href=\"") {
            let target = &page[at + 6..];
            assert!(
                target.starts_with('#') || target.starts_with("https://"),
                "{}",
                &target[..30]
            );
        }
    }
}

#[test]
fn very_long_text_is_shortened_in_every_format() {
    let long = "ž".repeat(5_000);
    let report = hostile(&long);
    let limit = "ž".repeat(700);
    for (format, text) in [
        ("html", crate::html(&report)),
        ("markdown", crate::markdown(&report)),
        ("sarif", crate::sarif(&report)),
        ("junit", crate::junit(&report)),
        ("human", crate::human(&report, false)),
    ] {
        assert!(!text.contains(&limit), "{format}");
        assert!(text.contains('…'), "{format}");
    }
}

#[test]
fn junit_stays_well_formed_and_reads_back() {
    for report in [sample::report(), hostile(HOSTILE), sample::quiet_report()] {
        let text = crate::junit(&report);
        let back = quick_junit::Report::deserialize_from_str(&text).unwrap();
        assert_eq!(back.test_suites[1].tests, report.detectors.len());
    }
}

#[test]
fn json_keeps_the_data_and_reads_back() {
    let report = hostile(HOSTILE);
    let back: Report = serde_json::from_str(&crate::json(&report)).unwrap();
    assert_eq!(back.findings[0].title, report.findings[0].title);
}

#[test]
fn sarif_reads_back_under_hostile_text() {
    let text = crate::sarif(&hostile(HOSTILE));
    let back: serde_sarif::sarif::Sarif = serde_json::from_str(&text).unwrap();
    assert_eq!(back.runs[0].results.as_ref().unwrap().len(), 4);
}

#[test]
fn an_empty_report_is_a_report_in_every_format() {
    let mut report = sample::quiet_report();
    report.detectors.clear();
    report.dataset.files.clear();
    report.dataset.classes.clear();
    report.dataset.sources.clear();
    report.scores = lazaretto_core::report::Histogram::default();
    report.counts = lazaretto_core::report::Counts::default();
    report.settings.fdr = f64::NAN;
    assert!(crate::html(&report).contains("0 of 0 records held back"));
    assert!(crate::markdown(&report).contains("0 of 0 records held back"));
    assert!(crate::human(&report, true).contains("0 of 0 records held back"));
    assert!(crate::junit(&report).contains("lazaretto.gate"));
    assert!(crate::sarif(&report).contains("\"results\": []"));
}
