//! Every registered detector keeps the contract, and stays quiet on ordinary data.

use lazaretto_core::{Action, Severity};
use lazaretto_detectors::REGISTRY;
use lazaretto_testkit::contract::{Dataset, Pieces, assert_contract, run};
use serde_json::json;

#[test]
fn every_detector_keeps_the_contract() {
    for registration in REGISTRY {
        let detector = registration
            .build(&json!({}))
            .unwrap_or_else(|problems| panic!("{}: {problems:?}", registration.spec.id));
        assert_contract(detector.as_ref());
    }
}

#[test]
fn ordinary_data_gives_no_finding_that_holds_records_back() {
    for registration in REGISTRY {
        let id = registration.spec.id;
        let detector = registration.build(&json!({})).ok().unwrap();
        for seed in [1, 2, 3] {
            for dataset in [
                Dataset::reviews(2000, seed),
                Dataset::vectors(1500, seed),
                Dataset::numbers(1500, seed),
            ] {
                let outcome = run(detector.as_ref(), &dataset, seed, Pieces::WHOLE);
                for finding in outcome.findings {
                    let loud = finding.action == Action::Quarantine
                        || finding.severity > Severity::Low && finding.p_value < 0.01;
                    assert!(
                        !loud,
                        "{id}, seed {seed}: {}, p = {}",
                        finding.title, finding.p_value
                    );
                }
            }
        }
    }
}
