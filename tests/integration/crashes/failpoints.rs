//! The process aborts at each of the named places in the code.

use std::collections::BTreeSet;
use std::fs;

use super::{folder, reviews};
use crate::harness::{Outcome, files_below, root};

/// The names of all failpoints, as the sources have them.
fn names() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for path in files_below(&root().join("crates")) {
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let source = fs::read_to_string(path).unwrap();
        for rest in source.split("failpoint!(\"").skip(1) {
            names.insert(rest.split('"').next().unwrap().to_owned());
        }
    }
    names
}

#[test]
fn a_run_that_ends_at_any_failpoint_is_gone_on_with() {
    let reviews = reviews();
    let names = names();
    assert!(names.len() >= 16, "{names:?}");
    for name in names {
        let folder = folder();
        let out = folder.path().join("run");
        let output = reviews
            .scan(&out)
            .env("FAILPOINTS", format!("{name}=return"))
            .output()
            .unwrap();
        let outcome = Outcome::of(&output);
        assert_eq!(
            outcome.code, -1,
            "`{name}` was not passed:\n{}",
            outcome.stderr
        );
        // And once more at the same place.
        let output = reviews
            .scan(&out)
            .arg("--resume")
            .env("FAILPOINTS", format!("{name}=return"))
            .output()
            .unwrap();
        let again = Outcome::of(&output).code;
        println!("{name}: {again} when resumed");
        reviews.resumed(&out, &name);
    }
}
