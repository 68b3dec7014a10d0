//! A signed run folder cannot be changed without being noticed, and nothing that is put into one makes the
//! check panic.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use lazaretto_engine::{
    ProofOptions, Resumption, ScanRequest, Settings, Silent, Verification, VerifyRequest, pipeline,
    scan, verify,
};
use lazaretto_proof::{SecretKey, Trust};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

/// A run over two small files, of which one has records held back, and the key that signed it.
struct Signed {
    folder: TempDir,
    trust: Trust,
}

impl Signed {
    fn new(sign: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        fs::create_dir_all(data.join("part")).unwrap();
        for name in ["a.csv", "part/b.csv"] {
            let mut lines = "id,text,source\n".to_owned();
            for row in 0..300 {
                let number = row * 7919 % 1009;
                let source = if name == "a.csv" && row % 10 == 0 {
                    "mirror"
                } else {
                    "own"
                };
                writeln!(
                    lines,
                    "{name}-{row},record {row} speaks about {number},{source}"
                )
                .unwrap();
            }
            fs::write(data.join(name), lines).unwrap();
        }
        let list = folder.path().join("sources.toml");
        fs::write(
            &list,
            "[trusted]\nsources = [\"own\"]\n[blocked]\nsources = [\"mirror\"]\n",
        )
        .unwrap();
        let text = format!(
            "allowlist = {:?}\n[roles]\nid = \"id\"\nsource = \"source\"\ntext = [\"text\"]\n[detectors]\nonly = [\"source-allowlist\"]\n\
             [policy]\nfail_on = [\"never\"]\n",
            list.display().to_string()
        );
        let key = SecretKey::generate().unwrap();
        let trust = Trust::parse(&key.public().to_pem().unwrap()).unwrap();
        let request = ScanRequest {
            inputs: vec![data.display().to_string()],
            out: folder.path().join("run"),
            settings: Settings::new("test", pipeline::parse(&text).unwrap()).unwrap(),
            cancel: Arc::new(AtomicBool::new(false)),
            resumption: Resumption::default(),
            proof: ProofOptions {
                signing_key: sign.then(|| Arc::new(key)),
                ..ProofOptions::default()
            },
        };
        let report = |report: &lazaretto_core::report::Report| {
            let bytes = serde_json::to_vec(report).unwrap();
            vec![("report.json".to_owned(), bytes)]
        };
        let outcome = scan(&request, &Silent, &report).unwrap();
        assert!(
            outcome.report.counts.quarantine > 0,
            "both folders are to be there"
        );
        Self { folder, trust }
    }

    fn run(&self) -> PathBuf {
        self.folder.path().join("run")
    }

    fn checked(&self, trusted: bool) -> Verification {
        verify(&VerifyRequest {
            run: self.run(),
            trust: trusted.then(|| self.trust.clone()),
            ..VerifyRequest::default()
        })
        .unwrap()
    }
}

fn files(root: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

/// Does something to the files of `run`; returns what was done and how to undo it: contents by path, `None` for a
/// file that was not there.
fn tamper(
    run: &Path,
    rng: &mut ChaCha8Rng,
    contents: &BTreeMap<PathBuf, Vec<u8>>,
) -> (String, BTreeMap<PathBuf, Option<Vec<u8>>>) {
    let paths: Vec<&PathBuf> = contents.keys().collect();
    let path = paths[rng.gen_range(0..paths.len())].clone();
    let bytes = &contents[&path];
    let folder = paths[rng.gen_range(0..paths.len())].parent().unwrap();
    let new_name = |rng: &mut ChaCha8Rng| {
        let ends = [".csv", ".parquet", ".json", "", ".partial"];
        let hidden = ["", "."][rng.gen_range(0..2)];
        let end = ends[rng.gen_range(0..ends.len())];
        folder.join(format!("{hidden}{:08x}{end}", rng.r#gen::<u32>()))
    };
    let mut undo = BTreeMap::from([(path.clone(), Some(bytes.clone()))]);
    let shown = path.strip_prefix(run).unwrap().display().to_string();
    let mut changed = bytes.clone();
    let what = match rng.gen_range(0..10) {
        0..=2 if !bytes.is_empty() => {
            let place = rng.gen_range(0..bytes.len());
            changed[place] ^= rng.gen_range(1..=255_u8);
            format!("byte {place} of {shown}")
        }
        3 if !bytes.is_empty() => {
            changed.truncate(rng.gen_range(0..bytes.len()));
            format!("{shown} cut to {} bytes", changed.len())
        }
        4 => {
            let more = rng.gen_range(1..16);
            changed.extend((0..more).map(|_| rng.r#gen::<u8>()));
            format!("{shown} longer by {more} bytes")
        }
        5 if bytes.len() > 64 => {
            let half = rng.gen_range(1..bytes.len() / 2);
            changed.rotate_left(half);
            if changed == *bytes {
                changed[0] ^= 1;
            }
            format!("{shown} rotated by {half}")
        }
        6 => {
            let other = paths[rng.gen_range(0..paths.len())].clone();
            if contents[&other] == *bytes {
                fs::remove_file(&path).unwrap();
                return (format!("{shown} removed"), undo);
            }
            fs::write(&path, &contents[&other]).unwrap();
            fs::write(&other, bytes).unwrap();
            undo.insert(other.clone(), Some(contents[&other].clone()));
            return (format!("{shown} swapped with {}", other.display()), undo);
        }
        7 => {
            let to = new_name(rng);
            fs::rename(&path, &to).unwrap();
            undo.insert(to.clone(), None);
            return (format!("{shown} renamed to {}", to.display()), undo);
        }
        8 => {
            let to = new_name(rng);
            fs::write(&to, if rng.r#gen() { bytes } else { b"".as_slice() }).unwrap();
            undo.insert(to.clone(), None);
            return (format!("{} added", to.display()), undo);
        }
        _ => {
            fs::remove_file(&path).unwrap();
            return (format!("{shown} removed"), undo);
        }
    };
    fs::write(&path, &changed).unwrap();
    (what, undo)
}

fn undo(steps: BTreeMap<PathBuf, Option<Vec<u8>>>) {
    for (path, content) in steps {
        match content {
            Some(bytes) => fs::write(path, bytes).unwrap(),
            None => fs::remove_file(path).unwrap(),
        }
    }
}

#[test]
fn no_change_of_a_signed_run_goes_unnoticed() {
    let signed = Signed::new(true);
    let sound = signed.checked(true);
    assert_eq!((sound.exit_code, &sound.problems), (0, &Vec::new()));
    assert!(sound.held.iter().any(|line| line.contains("trusted key")));
    let run = signed.run();
    let contents: BTreeMap<PathBuf, Vec<u8>> = files(&run)
        .into_iter()
        .map(|path| {
            let bytes = fs::read(&path).unwrap();
            (path, bytes)
        })
        .collect();
    let names: Vec<&str> = contents
        .keys()
        .filter_map(|path| path.strip_prefix(&run).ok()?.to_str())
        .collect();
    for name in [
        "clean/a.csv",
        "quarantine/a.csv.parquet",
        "manifest.dsse.json",
        "timings.json",
    ] {
        assert!(names.contains(&name), "{name} is not among {names:?}");
    }
    let mut rng = ChaCha8Rng::seed_from_u64(10_000);
    for case in 0..10_000 {
        let (what, steps) = tamper(&run, &mut rng, &contents);
        let verification = signed.checked(true);
        assert_eq!(
            verification.exit_code, 4,
            "case {case}: {what}: {verification:?}"
        );
        assert!(!verification.problems.is_empty(), "case {case}: {what}");
        undo(steps);
    }
    assert_eq!(signed.checked(true).exit_code, 0, "everything was undone");
}

#[test]
fn the_manifest_has_both_digests_of_every_file() {
    let signed = Signed::new(true);
    let bytes = fs::read(signed.run().join("manifest.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    let sides = [
        (signed.folder.path().join("data"), "inputs", 2),
        (signed.run(), "outputs", 6),
    ];
    for (root, side, n_files) in sides {
        let files = manifest[side].as_array().unwrap();
        assert_eq!(files.len(), n_files, "{files:#?}");
        for file in files {
            let content = fs::read(root.join(file["path"].as_str().unwrap())).unwrap();
            let sha256 = lazaretto_proof::statement::hex(&Sha256::digest(&content));
            assert_eq!(file["sha256"], sha256.as_str(), "{file}");
            assert_eq!(
                file["blake3"],
                blake3::hash(&content).to_hex().as_str(),
                "{file}"
            );
        }
    }
}

#[cfg(unix)]
#[test]
fn a_link_in_the_place_of_a_file_is_noticed() {
    let signed = Signed::new(true);
    let path = signed.run().join("clean/a.csv");
    let outside = signed.folder.path().join("a.csv");
    fs::rename(&path, &outside).unwrap();
    std::os::unix::fs::symlink(&outside, &path).unwrap();
    let verification = signed.checked(true);
    assert_eq!(verification.exit_code, 4);
    assert!(
        verification.problems[0].contains("link"),
        "{verification:?}"
    );
}

#[test]
fn an_unsigned_run_is_checked_against_its_manifest_alone() {
    let unsigned = Signed::new(false);
    let sound = unsigned.checked(false);
    assert_eq!(sound.exit_code, 0, "{sound:?}");
    assert!(sound.held[0].contains("there is none"), "{sound:?}");
    assert_eq!(unsigned.checked(true).exit_code, 4, "a key was asked for");
    fs::write(unsigned.run().join("clean/extra.csv"), "id\n").unwrap();
    let more = unsigned.checked(false);
    assert_eq!(
        more.problems,
        ["`clean/extra.csv`: the manifest does not list it"]
    );
}

#[test]
fn no_damage_of_manifest_report_or_scores_makes_it_panic() {
    let unsigned = Signed::new(false);
    let run = unsigned.run();
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let manifest_path = run.join("manifest.json");
    let manifest = fs::read(&manifest_path).unwrap();
    for _ in 0..300 {
        let mut changed = manifest.clone();
        for _ in 0..rng.gen_range(1..4) {
            let place = rng.gen_range(0..changed.len());
            changed[place] = rng.r#gen();
        }
        fs::write(&manifest_path, &changed).unwrap();
        unsigned.checked(false);
    }
    // With digests that fit, the damage reaches the decoders.
    for name in ["report.json", "scores/part-00000.parquet"] {
        let path = run.join(name);
        let good = fs::read(&path).unwrap();
        for _ in 0..150 {
            let mut changed = good.clone();
            // The end of a Parquet file is where its structure is.
            let from = changed.len() / 2;
            let place = rng.gen_range(from..changed.len());
            changed[place] = rng.r#gen();
            if rng.gen_range(0..4) == 0 {
                changed.truncate(place);
            }
            let mut value: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
            for file in value["outputs"].as_array_mut().unwrap() {
                if file["path"] == name {
                    file["bytes"] = changed.len().into();
                    file["blake3"] = blake3::hash(&changed).to_hex().as_str().into();
                }
            }
            fs::write(&path, &changed).unwrap();
            fs::write(&manifest_path, serde_json::to_vec(&value).unwrap()).unwrap();
            unsigned.checked(false);
        }
        fs::write(&path, &good).unwrap();
        fs::write(&manifest_path, &manifest).unwrap();
    }
    assert_eq!(unsigned.checked(false).exit_code, 0);
}
