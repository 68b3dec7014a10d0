//! Keys, signatures, `verify`, permissions, recorded digests of files, and lists of sources: the whole command.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::data::{Dataset, clean_reviews, columns, encode, poisoned_reviews};
use crate::harness::{Outcome, command, contents, run};

const KEY: &str = "LAZARETTO_SIGNING_KEY";
const KEY_FILE: &str = "LAZARETTO_SIGNING_KEY_FILE";

/// Runs the command with `variables` in its environment.
fn run_with(variables: &[(&str, &Path)], arguments: &[&str]) -> Outcome {
    let mut command = command();
    command.env_remove(KEY).env_remove(KEY_FILE);
    for (name, value) in variables {
        command.env(name, value);
    }
    Outcome::of(&command.args(arguments).output().unwrap())
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// 200 clean reviews in two files, and a pair of keys beside them.
fn reviews() -> (Dataset, PathBuf) {
    let batch = columns(&clean_reviews(200), &["row_id", "text", "label"]);
    let data = Dataset::of("a.csv", &encode("a.csv", &batch.slice(0, 100)))
        .with("b.csv", &encode("b.csv", &batch.slice(100, 100)));
    let key = data.path().with_file_name("signer");
    run(["keygen", "--quiet", "--out", text(&key)]).exits(0);
    (data, key)
}

fn ends(path: &Path, end: &str) -> PathBuf {
    PathBuf::from(format!("{}{end}", path.display()))
}

/// Scans the reviews and signs the run.
fn signed(data: &Dataset, key: &Path) -> PathBuf {
    let out = data.path().with_file_name("run");
    run_with(
        &[(KEY_FILE, &ends(key, ".key"))],
        &[
            "scan",
            text(&data.path()),
            "--quiet",
            "--sign",
            "--id",
            "row_id",
            "--out",
            text(&out),
        ],
    )
    .exits(0);
    out
}

#[test]
fn a_signed_run_verifies_with_its_key_and_with_no_other() {
    let (data, key) = reviews();
    let out = signed(&data, &key);
    let own = ends(&key, ".pub");
    let good = run(["verify", text(&out), "--trusted-key", text(&own)]).exits(0);
    for words in [
        "by trusted key",
        "200 clean + 0 quarantined + 0 unscanned = 200",
        "policy: passed",
    ] {
        assert!(good.stdout.contains(words), "{words}: {}", good.stdout);
    }
    let other = key.with_file_name("other");
    run(["keygen", "--quiet", "--out", text(&other)]).exits(0);
    let other = ends(&other, ".pub");
    run(["verify", text(&out), "--trusted-key", text(&other)])
        .exits(4)
        .says(&["is not trusted", "do not read it"]);
    run([
        "verify",
        text(&out),
        "--trusted-key",
        text(&other),
        text(&own),
    ])
    .exits(0);

    let path = out.join("clean/a.csv");
    let mut bytes = fs::read(&path).unwrap();
    bytes[200] ^= 1;
    fs::write(&path, bytes).unwrap();
    run(["verify", text(&out), "--trusted-key", text(&own)])
        .exits(4)
        .says(&["clean/a.csv", "not those that were written"]);
    run(["verify", text(&out.with_file_name("nothing"))]).exits(2);
}

#[test]
fn verify_tells_the_verdict_of_the_policy() {
    let batch = poisoned_reviews(2000).to_record_batch().unwrap();
    let data = Dataset::of("a.parquet", &encode("a.parquet", &batch));
    let out = data.path().with_file_name("run");
    run([
        "scan",
        text(&data.path()),
        "--quiet",
        "--id",
        "row_id",
        "--fail-on",
        "never",
        "--out",
        text(&out),
    ])
    .exits(0);
    let lenient = run(["verify", text(&out), "--format", "json"])
        .exits(0)
        .json();
    assert_eq!(lenient["problems"], json!([]));
    let policy = data.path().with_file_name("strict.toml");
    fs::write(&policy, "[policy]\nfail_on = [\"quarantine\"]\n").unwrap();
    run(["verify", text(&out), "--policy", text(&policy)])
        .exits(1)
        .says(&["policy: ", "records held back (rule `quarantine>0`)"]);
    // A run that failed its own policy fails here, too.
    let strict = data.path().with_file_name("strict");
    run([
        "scan",
        text(&data.path()),
        "--quiet",
        "--id",
        "row_id",
        "--out",
        text(&strict),
    ])
    .exits(1);
    run(["verify", text(&strict)]).exits(1).says(&["policy: "]);
}

#[test]
fn keys_are_never_overwritten_shown_or_left_in_a_run() {
    let (data, key) = reviews();
    let secret = ends(&key, ".key");
    let pem = fs::read_to_string(&secret).unwrap();
    run(["keygen", "--out", text(&key)]).exits(2);
    assert_eq!(
        fs::read_to_string(&secret).unwrap(),
        pem,
        "it was overwritten"
    );

    let body = pem.lines().nth(1).unwrap();
    let input = data.path();
    let out = data.path().with_file_name("by-variable");
    let arguments = [
        "scan",
        text(&input),
        "-v",
        "--sign",
        "--id",
        "row_id",
        "--out",
        text(&out),
    ];
    let mut all = command();
    all.env_remove(KEY_FILE).env(KEY, &pem).args(arguments);
    let outcome = Outcome::of(&all.output().unwrap()).exits(0);
    run([
        "verify",
        text(&out),
        "--trusted-key",
        text(&ends(&key, ".pub")),
    ])
    .exits(0);
    let mut said = format!("{}{}", outcome.stdout, outcome.stderr);
    for (name, bytes) in contents(&out) {
        assert!(
            !String::from_utf8_lossy(&bytes).contains(body),
            "the key is in {name}"
        );
    }
    // Nor in an error about it.
    let spoilt = pem.replacen("MC4C", "MC4D", 1);
    let out = data.path().with_file_name("never");
    let arguments = ["scan", text(&input), "--sign", "--out", text(&out)];
    let mut bad = command();
    bad.env_remove(KEY_FILE).env(KEY, &spoilt).args(arguments);
    let outcome = Outcome::of(&bad.output().unwrap())
        .exits(2)
        .says(&["LAZARETTO_SIGNING_KEY"]);
    said.push_str(&outcome.stderr);
    assert!(!said.contains(&body[8..24]), "{said}");
    assert!(!out.exists());

    run_with(&[], &arguments)
        .exits(2)
        .says(&["no key is given"]);
}

#[cfg(unix)]
#[test]
fn others_can_read_neither_keys_nor_runs() {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let (data, key) = reviews();
    assert_eq!(mode(&ends(&key, ".key")), 0o600);
    let out = signed(&data, &key);
    assert_eq!(mode(&out), 0o700);
    for file in [
        "clean/a.csv",
        "report.html",
        "manifest.json",
        "manifest.dsse.json",
        "timings.json",
    ] {
        assert_eq!(mode(&out.join(file)), 0o600, "{file}");
    }
    let shared = data.path().with_file_name("shared");
    run([
        "scan",
        text(&data.path()),
        "--quiet",
        "--access",
        "group",
        "--out",
        text(&shared),
    ])
    .exits(0);
    assert_eq!(
        (mode(&shared), mode(&shared.join("clean/a.csv"))),
        (0o750, 0o640)
    );
}

#[test]
fn a_second_signature_stands_beside_the_first() {
    let (data, key) = reviews();
    let out = signed(&data, &key);
    let second = key.with_file_name("second");
    run(["keygen", "--quiet", "--out", text(&second)]).exits(0);
    run_with(&[(KEY_FILE, &ends(&second, ".key"))], &["sign", text(&out)]).exits(0);
    for signer in [&key, &second] {
        run([
            "verify",
            text(&out),
            "--trusted-key",
            text(&ends(signer, ".pub")),
        ])
        .exits(0);
    }
    fs::write(out.join("clean/more.csv"), "x\n").unwrap();
    run_with(&[(KEY_FILE, &ends(&second, ".key"))], &["sign", text(&out)])
        .exits(4)
        .says(&["more.csv"]);
}

#[test]
fn a_signature_leaves_the_other_bytes_of_a_run_as_they_are() {
    let (data, key) = reviews();
    let one = signed(&data, &key);
    let kept = one.with_file_name("kept");
    fs::rename(&one, &kept).unwrap();
    let two = signed(&data, &key);
    let [mut one, mut two] = [kept, two].map(|out| contents(&out));
    for run in [&mut one, &mut two] {
        assert!(run.remove("timings.json").is_some());
        assert!(run.remove("manifest.dsse.json").is_some());
    }
    assert!(one == two, "the same input gives the same bytes");
}

/// SHA-256 of `abc`: FIPS 180-2.
const OTHER: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

#[test]
fn a_file_that_is_not_what_is_recorded_fails_the_gate_and_keeps_its_records() {
    let data = reviews()
        .0
        .with("SHA256SUMS", format!("{OTHER}  b.csv\n").as_bytes());
    let scan = crate::harness::scan(&data.path(), &["--id", "row_id"]);
    let report = scan.exits(1).report();
    let finding = &report["findings"][0];
    assert_eq!(
        (
            &finding["detector"],
            &finding["action"],
            &finding["severity"]
        ),
        (&json!("content-hash"), &json!("fail"), &json!("high"))
    );
    let title = finding["title"].as_str().unwrap();
    for words in ["`b.csv`", "`SHA256SUMS`", "ba7816bf8f01…", "100 record"] {
        assert!(title.contains(words), "{title}");
    }
    assert_eq!(report["counts"]["pass"], 200, "nothing is deleted");
    let reasons = report["gate"]["reasons"].to_string();
    assert!(
        reasons.contains("`content-hash` fail the gate"),
        "{reasons}"
    );

    let never = ["--id", "row_id", "--fail-on", "never"];
    crate::harness::scan(&data.path(), &never).exits(0);

    let pipeline = data.path().with_file_name("hold.toml");
    fs::write(
        &pipeline,
        "[parameters.content-hash]\nchanged_file = \"quarantine\"\n",
    )
    .unwrap();
    let held = crate::harness::scan(
        &data.path(),
        &["--id", "row_id", "--pipeline", text(&pipeline)],
    );
    assert_eq!(held.exits(1).report()["counts"]["quarantine"], 100);
}

#[test]
fn files_as_recorded_are_said_to_hold() {
    let data = reviews().0;
    let digest = blake3::hash(&fs::read(data.file("b.csv")).unwrap()).to_string();
    let data = data.with("B3SUMS", format!("{digest}  b.csv\n").as_bytes());
    let report = crate::harness::scan(&data.path(), &["--id", "row_id"])
        .exits(0)
        .report();
    let method = report["settings"]["method"].as_str().unwrap();
    assert!(
        method.contains("1 of 1 digests that are recorded of files hold"),
        "{method}"
    );
}

#[test]
fn a_list_of_sources_decides_what_comes_in() {
    let data = reviews().0;
    let list = data.path().with_file_name("sources.toml");
    fs::write(
        &list,
        "unknown = \"fail\"\n[trusted]\nfiles = [{ pattern = \"a.csv\" }]\n",
    )
    .unwrap();
    let scanned = |flags: &[&str]| {
        let all = [&["--id", "row_id", "--allowlist", text(&list)], flags].concat();
        crate::harness::scan(&data.path(), &all)
    };
    let failed = scanned(&[]);
    let report = failed.exits(1).report();
    assert_eq!(report["findings"][0]["kind"], "unknown-source");
    assert_eq!(report["counts"]["pass"], 200);
    assert_eq!(
        failed.run.json("manifest.json")["allowlist"]["path"],
        "sources.toml"
    );

    fs::write(
        &list,
        "unknown = \"allow\"\n[blocked]\nfiles = [{ pattern = \"a.csv\" }]\n",
    )
    .unwrap();
    let blocked = scanned(&[]);
    assert_eq!(blocked.exits(1).report()["counts"]["quarantine"], 100);
}

#[test]
fn a_list_without_the_signature_that_it_must_have_ends_the_run_first() {
    let (data, key) = reviews();
    let list = data.path().with_file_name("sources.toml");
    fs::write(&list, "[trusted]\nfiles = [{ pattern = \"*.csv\" }]\n").unwrap();
    let input = data.path();
    let out = data.path().with_file_name("run");
    let public = ends(&key, ".pub");
    let arguments = [
        "scan",
        text(&input),
        "--allowlist",
        text(&list),
        "--trusted-key",
        text(&public),
        "--id",
        "row_id",
        "--out",
        text(&out),
    ];
    let unsigned = run(arguments).exits(4).says(&["signature", "sources.toml"]);
    assert!(!unsigned.stderr.contains("fitting"), "{}", unsigned.stderr);
    assert!(!out.exists());
    run_with(&[(KEY_FILE, &ends(&key, ".key"))], &["sign", text(&list)]).exits(0);
    run(arguments).exits(0);
    fs::remove_dir_all(&out).unwrap();
    fs::write(&list, "[trusted]\nfiles = [{ pattern = \"*\" }]\n").unwrap();
    run(arguments).exits(4).says(&["not what was signed"]);
}
