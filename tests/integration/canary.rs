//! Secrets are in nothing that is written or printed, whichever command runs and however it ends: keys
//! of files and variables, tokens that happen to be in the environment, passwords in the data.
//!
//! A secret more is a line in [`CANARIES`].

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE};
use lazaretto_testkit::damage::{Footer, damaged};
use tempfile::TempDir;

use crate::data::{encode, poisoned_reviews, strings, table};
use crate::harness::{command, files_below, run};

/// Where a secret stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// An environment variable that holds it.
    Variable(&'static str),
    /// A private key (PEM) in a variable of this name.
    KeyVariable(&'static str),
    /// A private key (PEM) in a file whose path is in a variable of this name.
    KeyFile(&'static str),
    /// Values of the dataset; it may be where records are.
    Data,
}

/// All secrets: what they are, where they stand, and their value; keys are made when the test runs.
const CANARIES: [(&str, Place, &str); 9] = [
    (
        "signing key",
        Place::KeyVariable("LAZARETTO_SIGNING_KEY"),
        "",
    ),
    (
        "signing key in a file",
        Place::KeyFile("LAZARETTO_SIGNING_KEY_FILE"),
        "",
    ),
    (
        "key of the quarantine",
        Place::Variable("LAZARETTO_QUARANTINE_KEY"),
        "9f1c2a7be04d5836c1d2e3f405162738",
    ),
    (
        "key of the input",
        Place::Variable("LAZARETTO_INPUT_KEY"),
        "3d7a90c4b15e2f688a9bacbdcedfe0f1",
    ),
    (
        "token of a hub",
        Place::Variable("HF_TOKEN"),
        "hf_mQxTzRkWvBnYpLsDfGhJcXaEuIoNqVtC",
    ),
    (
        "key of a cloud",
        Place::Variable("AWS_SECRET_ACCESS_KEY"),
        "q7Lw/Z2rT9xKf4MvB8sYd3Hn+C6jPgAe0Rk5Tz1U",
    ),
    (
        "address with a password",
        Place::Variable("DATABASE_URL"),
        "postgres://etl:Vx7pQ2mZr9Kt4Wn8@db.internal/lake",
    ),
    (
        "token in the data",
        Place::Data,
        "ghp_q7LwZ2rT9xKf4MvB8sYd3HnC6jPgAe0Rk5Tz",
    ),
    ("key in the data", Place::Data, "AKIA2E0A8F3B244C9986"),
];

/// A secret with all spellings of it that are looked for.
struct Canary {
    name: &'static str,
    place: Place,
    value: String,
    needles: Vec<String>,
}

impl Canary {
    fn new(name: &'static str, place: Place, value: &str, folder: &Path) -> Self {
        match place {
            Place::Variable(_) | Place::Data => {
                let mut needles = spellings(value.as_bytes());
                // A key in hexadecimal is used as the bytes that it stands for.
                needles.extend(bytes_of(value).iter().flat_map(|bytes| spellings(bytes)));
                Self {
                    name,
                    place,
                    value: value.to_owned(),
                    needles,
                }
            }
            Place::KeyVariable(_) | Place::KeyFile(_) => {
                let pair = folder.join(name.replace(' ', "-"));
                run(["keygen", "--quiet", "--out", pair.to_str().unwrap()]).exits(0);
                let path = pair.with_extension("key");
                let pem = fs::read_to_string(&path).unwrap();
                let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
                let der = STANDARD.decode(&body).unwrap();
                // The secret is the last 32 bytes; what is before them all keys have in common.
                let mut needles = spellings(&der[der.len() - 32..]);
                needles.extend(spellings(&body.as_bytes()[24..]));
                let value = match place {
                    Place::KeyFile(_) => path.to_str().unwrap().to_owned(),
                    _ => pem,
                };
                Self {
                    name,
                    place,
                    value,
                    needles,
                }
            }
        }
    }

    /// The spelling of it that stands in `bytes`.
    fn seen(&self, bytes: &[u8]) -> Option<&str> {
        let found = |needle: &&String| {
            let mut windows = bytes.windows(needle.len());
            windows.any(|window| window.eq_ignore_ascii_case(needle.as_bytes()))
        };
        self.needles.iter().find(found).map(String::as_str)
    }
}

/// The bytes that `digits` stand for, if they are 32 or more of them.
fn bytes_of(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.as_bytes().chunks_exact(2);
    let pairs = pairs.filter(|_| digits.len() >= 32);
    let bytes = pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
    bytes
        .collect::<Option<Vec<u8>>>()
        .filter(|bytes| !bytes.is_empty())
}

fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}

/// Both halves of `secret` as they are, in hexadecimal, and in base64 at every offset.
fn spellings(secret: &[u8]) -> Vec<String> {
    let (first, second) = secret.split_at(secret.len() / 2);
    let mut all = Vec::new();
    for part in [first, second] {
        if let Ok(text) = std::str::from_utf8(part) {
            all.push(text.to_owned());
            all.push(format!("{text:?}").trim_matches('"').to_owned());
        }
        all.push(hex(part));
        // As a list of numbers, which is how `Debug` shows bytes.
        let numbers: Vec<String> = part.iter().map(u8::to_string).collect();
        all.push(numbers.join(", "));
        for offset in 0..3 {
            let padded = [&b"..."[..offset], part].concat();
            for engine in [STANDARD_NO_PAD.encode(&padded), URL_SAFE.encode(&padded)] {
                // What shares its letters with the bytes before and after is left out.
                let from = (offset * 8).div_ceil(6);
                let until = padded.len() * 8 / 6;
                all.push(engine[from..until].to_owned());
            }
        }
    }
    all.sort();
    all.dedup();
    all.retain(|needle| needle.len() >= 10);
    all
}

struct Stage {
    folder: TempDir,
    canaries: Vec<Canary>,
}

/// What a command is run with instead of the secrets as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Twist {
    /// Nothing.
    None,
    /// No key in the variable, so that the file is used.
    ByFile,
    /// A key that is cut off.
    Cut,
    /// The key itself where its path is expected.
    Swapped,
    /// A folder where the key should be.
    Unreadable,
}

impl Stage {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let canaries =
            CANARIES.map(|(name, place, value)| Canary::new(name, place, value, folder.path()));
        let stage = Self {
            canaries: canaries.into(),
            folder,
        };
        stage.write_data();
        stage
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Reviews with secrets in them, whole and in files that break decoders.
    fn write_data(&self) {
        let reviews = poisoned_reviews(900).reviews;
        let secrets: Vec<&str> = self.in_data().map(|canary| canary.value.as_str()).collect();
        let texts = reviews.iter().enumerate().map(|(row, review)| {
            let secret = secrets[row % secrets.len()];
            match review.attack {
                Some(_) => format!("{} password {secret} and {secret}", review.text),
                None => review.text.clone(),
            }
        });
        let labels = reviews
            .iter()
            .map(|review| ["bad", "good"][review.label as usize]);
        let kinds = (0..reviews.len()).map(|row| secrets[row % secrets.len()]);
        let batch = table(vec![
            ("text", strings(texts)),
            ("label", strings(labels)),
            ("source", strings(kinds)),
        ]);
        let data = self.path("data");
        fs::create_dir(&data).unwrap();
        for name in ["a.parquet", "b.arrow", "c.csv", "d.jsonl"] {
            let bytes = encode(name, &batch.slice(0, 300));
            let (_, extension) = name.rsplit_once('.').unwrap();
            let footer = match extension {
                "parquet" => Footer::Parquet,
                "arrow" => Footer::Arrow,
                _ => Footer::None,
            };
            for case in 0..27 {
                let path = data.join(format!("case-{case}-{name}"));
                fs::write(path, damaged(&bytes, footer, case)).unwrap();
            }
        }
        fs::write(data.join("good.parquet"), encode("good.parquet", &batch)).unwrap();
        fs::create_dir(self.path("good")).unwrap();
        fs::write(
            self.path("good/good.parquet"),
            encode("good.parquet", &batch),
        )
        .unwrap();
    }

    fn in_data(&self) -> impl Iterator<Item = &Canary> {
        self.canaries
            .iter()
            .filter(|canary| canary.place == Place::Data)
    }

    fn environment(&self, twist: Twist) -> BTreeMap<&'static str, String> {
        let mut variables = BTreeMap::from([
            ("RUST_BACKTRACE", "1".to_owned()),
            ("RUST_LOG", "trace".to_owned()),
        ]);
        for canary in &self.canaries {
            match canary.place {
                Place::Variable(name) | Place::KeyVariable(name) | Place::KeyFile(name) => {
                    variables.insert(name, canary.value.clone());
                }
                Place::Data => {}
            }
        }
        let key = "LAZARETTO_SIGNING_KEY";
        let file = "LAZARETTO_SIGNING_KEY_FILE";
        let pem = variables[key].clone();
        match twist {
            Twist::None => return variables,
            Twist::Cut => drop(variables.insert(key, pem[..pem.len() - 40].to_owned())),
            Twist::ByFile => drop(variables.remove(key)),
            Twist::Swapped => drop(variables.insert(file, pem)),
            Twist::Unreadable => {
                drop(variables.insert(file, self.path("data").display().to_string()));
            }
        }
        if matches!(twist, Twist::Swapped | Twist::Unreadable) {
            variables.remove(key);
        }
        variables
    }

    /// Runs a command, which has to end with `code`, and looks for secrets in what it says.
    #[track_caller]
    fn says_no_secret(&self, twist: Twist, arguments: &[String], code: i32) {
        let mut command = command();
        for canary in &self.canaries {
            if let Place::Variable(name) | Place::KeyVariable(name) | Place::KeyFile(name) =
                canary.place
            {
                command.env_remove(name);
            }
        }
        let output = command
            .args(arguments)
            .envs(self.environment(twist))
            .current_dir(self.folder.path())
            .output()
            .unwrap();
        for (stream, bytes) in [("output", &output.stdout), ("errors", &output.stderr)] {
            for canary in &self.canaries {
                let seen = canary.seen(bytes);
                assert!(
                    seen.is_none(),
                    "{} as `{}` in the {stream} of {arguments:?} ({twist:?}): {}",
                    canary.name,
                    seen.unwrap_or_default(),
                    String::from_utf8_lossy(bytes)
                );
            }
        }
        assert_eq!(
            output.status.code(),
            Some(code),
            "{arguments:?} ({twist:?}): {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// Looks for secrets in all files but those that held them before.
    fn holds_no_secret(&self) -> usize {
        let mut files = 0;
        for path in files_below(self.folder.path()) {
            let relative = path.strip_prefix(self.folder.path()).unwrap();
            let text = relative.to_str().unwrap();
            if text.starts_with("data/") || text.starts_with("good/") || !text.contains('/') {
                continue;
            }
            files += 1;
            let of_records = ["clean/", "quarantine/", "unscanned/"]
                .iter()
                .any(|part| text.contains(part));
            let bytes = fs::read(&path).unwrap();
            for canary in &self.canaries {
                if of_records && canary.place == Place::Data {
                    continue;
                }
                assert!(canary.seen(&bytes).is_none(), "{} in {text}", canary.name);
            }
        }
        files
    }
}

fn words(line: &str) -> Vec<String> {
    line.split(' ').map(str::to_owned).collect()
}

#[test]
fn no_command_says_a_secret_however_it_ends() {
    let stage = Stage::new();
    let says = |twist, line: &str, code| stage.says_no_secret(twist, &words(line), code);

    // Good ends.
    says(
        Twist::None,
        "scan good --sign -v --label label --id row_id --fail-on never --out run",
        0,
    );
    says(
        Twist::ByFile,
        "scan good --sign --quiet --fail-on never --format json --out by-file",
        0,
    );
    says(Twist::ByFile, "sign run", 0);
    says(Twist::None, "verify run --trusted-key signing-key.pub", 0);
    says(Twist::None, "explain run 7", 0);
    for line in [
        "inspect good",
        "inspect good --format json",
        "init good --out made.toml",
        "detectors",
        "schema pipeline",
        "verify run --format json",
        "explain run 7 --format json",
    ] {
        says(Twist::None, line, 0);
    }

    // Broken decoders, in processes of their own and in this one.
    says(
        Twist::None,
        "scan data -v --sign --id row_id --fail-on never --out broken",
        3,
    );
    says(
        Twist::None,
        "scan data -v --sign --trusted-input --fail-on never --out here",
        3,
    );
    says(Twist::None, "inspect data -v", 0);
    says(
        Twist::None,
        "verify broken --trusted-key signing-key.pub",
        3,
    );

    // Bad ends.
    for twist in [Twist::Cut, Twist::Swapped, Twist::Unreadable] {
        for line in ["scan good --sign --out nothing", "sign run"] {
            says(twist, line, 2);
        }
    }
    for (line, code) in [
        // A private key where something else belongs.
        ("verify run --trusted-key signing-key.key", 2),
        ("scan good --out nothing --pipeline ./signing-key.key", 2),
        ("scan good --out nothing --allowlist signing-key.key", 2),
        ("scan good --out nothing --trusted signing-key.key", 2),
        ("scan signing-key.key --out nothing", 2),
        ("inspect signing-key.key", 2),
        ("verify signing-key.key", 2),
        ("sign signing-key.key --quiet", 0),
        ("explain signing-key.key 7", 2),
        ("keygen --out signing-key", 2),
        // What is not there.
        ("verify run --trusted-key nothing.pub", 2),
        ("verify run --trusted-key signing-key-in-a-file.pub", 0),
        ("explain run nobody", 2),
        ("sign nothing", 2),
        ("scan nothing --sign --out other", 2),
        ("scan good --sign --label nothing --out other", 2),
        ("scan good --sign --out run/manifest.json", 2),
        ("scan good --sign --signing-key x --out other", 2),
        ("nonsense", 2),
    ] {
        says(Twist::None, line, code);
    }

    // A key as an argument, where it does not belong: it is known to everybody, and still not repeated.
    let pem = fs::read_to_string(stage.path("signing-key.key")).unwrap();
    for flag in [
        "--sign",
        "--fdr",
        "--pipeline",
        "--signing-key",
        "--label",
        "--out",
    ] {
        let arguments =
            ["scan", "good", "--out", "other", &format!("{flag}={pem}")].map(str::to_owned);
        stage.says_no_secret(Twist::None, &arguments, 2);
    }

    // A tampered run.
    let path = stage.path("run/clean/good.parquet");
    let mut bytes = fs::read(&path).unwrap();
    bytes[100] ^= 1;
    fs::write(&path, bytes).unwrap();
    says(Twist::None, "verify run --trusted-key signing-key.pub", 4);
    says(Twist::None, "sign run", 4);

    let files = stage.holds_no_secret();
    assert!(files > 50, "{files} files");
}

#[test]
fn keys_of_encrypted_files_are_used_and_not_said() {
    let stage = Stage::new();
    let says = |twist, line: &str, code| stage.says_no_secret(twist, &words(line), code);
    says(
        Twist::None,
        "scan good -v --encrypt-quarantine --id row_id --fail-on never --out sealed",
        0,
    );
    says(Twist::None, "explain sealed 7", 0);
    fs::write(
        stage.path("keys.toml"),
        "[encryption]\nquarantine = { command = [\"sh\", \"-c\", \"echo $LAZARETTO_QUARANTINE_KEY x; exit 3\"] }\n",
    )
    .unwrap();
    says(
        Twist::None,
        "scan good -v --pipeline keys.toml --out nothing",
        2,
    );
    says(Twist::None, "explain sealed 7 --pipeline keys.toml", 2);
    assert!(stage.holds_no_secret() > 10);
}

#[test]
fn the_search_finds_what_it_looks_for() {
    let folder = TempDir::new().unwrap();
    for (name, place, value) in CANARIES {
        let canary = Canary::new(name, place, value, folder.path());
        let secret = match place {
            Place::KeyFile(_) => fs::read(&canary.value).unwrap(),
            _ => canary.value.clone().into_bytes(),
        };
        let hex = hex(&secret).to_uppercase();
        for (number, said) in [
            secret.clone(),
            hex.into_bytes(),
            STANDARD.encode(&secret).into_bytes(),
            URL_SAFE
                .encode([b"xy".as_slice(), &secret].concat())
                .into_bytes(),
            format!("{secret:?}").into_bytes(),
            secret[..secret.len() * 7 / 8].to_vec(),
        ]
        .into_iter()
        .enumerate()
        {
            let line = [b"error: ".as_slice(), &said, b"\n"].concat();
            assert!(canary.seen(&line).is_some(), "{name}, spelling {number}");
        }
        assert!(canary.seen(b"error: failed to read the key").is_none());
    }
}
