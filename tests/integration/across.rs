//! What is seen across detectors and beside the content: campaigns, and recorded hashes.

use serde_json::json;

use crate::data::Dataset;
use crate::harness::{fixture, scan};

#[test]
fn triggers_for_one_class_are_one_campaign_at_the_head_of_every_report() {
    let scan = scan(&fixture("reviews"), &["--id", "row_id"]);
    let run = scan.judged();
    let report = run.report();
    let campaigns = report["campaigns"].as_array().unwrap();
    let joined: Vec<_> = campaigns
        .iter()
        .filter(|campaign| campaign["detectors"][0]["id"] == "text-trigger")
        .collect();
    assert_eq!(joined.len(), 1, "{campaigns:#?}");
    let campaign = joined[0];
    assert_eq!(campaign["findings"].as_array().unwrap().len(), 2);
    assert_eq!(campaign["held"], campaign["n_records"]);
    assert_eq!(campaign["target_class"], "positive");
    let id = campaign["id"].as_str().unwrap();
    assert!(run.text("report.html").contains(&format!("id=\"{id}\"")));
    assert!(run.text("report.md").contains("## Campaigns"));
}

#[test]
fn data_without_a_finding_that_holds_has_no_campaign() {
    let scan = scan(&fixture("reviews-clean"), &["--id", "row_id"]);
    assert_eq!(scan.exits(0).report()["campaigns"], json!([]));
}

/// SHA-256 of `Entry N of the ledger, as it was copied by hand.` for N from 0, by coreutils.
const DIGESTS: [&str; 16] = [
    "52c738d3458559ba323857d8ca28f0644f3538d890e2eaf3be7459f6c728afa3",
    "7a44e1c0ab9ee759a522a15759312e68974de781093a307a6b4189d79471705c",
    "f26f31b53f37baf7a411ad90293e056fd43c9731acdfeba560431976e918ecb8",
    "974d00bfc46ee071e63999971c030a62d6b0cc601467039c0884a116900d57af",
    "f5e975e569454ffb0a8686fa9d27055c5ee7ccfac9f84fba8f67417be7192bfd",
    "e6d19c6a60d74534c2d110dbaec59f228fb8da75210bc76c8096903a877d838f",
    "c825ba58ab0faeaf24a182b497ccb12d89d4eb1c1a0891013ef3691acfabf806",
    "e65afcdec47679270e3b0f73901d0e88cfeb31ee321d84bd4ffb22794d798198",
    "01a9bb81bd23ceb885df006f92f56a3c8afb303fe770048e7b7e24a0eda1d1c2",
    "f58fca754cc97597ed0a4bf963190bcc8a4c2571281cd20b0778a5a5ecb356ff",
    "dc2ceba9cda4a24eaabce8af572c19aa7ebb751cbaf13ceba05ad0b34073944c",
    "99048bff03499287487222dffc7ace6819d7ba85d33f7d06d416a17e8aade497",
    "52038e6dd8a75abbcf18ffc4d8565846a1b0d4db129d8540ab5f93e4bdd2d0d0",
    "d696332abc6755ceb1733c65f0b155866181fdbde0ea69eefab93f505560f16d",
    "898f8beaf39c27601a25019db9c65c3c34ccdf831c2c8e7471ba6efde4e37ca3",
    "99b09af7deac8dc22881f7f2b2c048b76ce233827b1dbc9d4fb86b64cd699dc3",
];

#[test]
fn a_changed_text_is_told_by_its_recorded_hash() {
    let lines: Vec<String> = DIGESTS
        .iter()
        .enumerate()
        .map(|(row, digest)| {
            let end = if row == 11 { "hand!" } else { "hand." };
            let text = format!("Entry {row} of the ledger, as it was copied by {end}");
            json!({"row_id": row, "text": text, "sha256": digest}).to_string()
        })
        .collect();
    let data = Dataset::of("ledger.jsonl", lines.join("\n").as_bytes());
    let scan = scan(
        &data.path(),
        &["--id", "row_id", "--text", "text", "--only", "content-hash"],
    );
    let report = scan.judged().report();
    let findings = report["findings"].as_array().unwrap();
    assert_eq!(findings.len(), 1, "{report:#}");
    assert_eq!(findings[0]["n_records"], 1);
    assert_eq!(findings[0]["examples"][0]["record_id"], "11");
}
