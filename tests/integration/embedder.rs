//! `--embedder`: a model's folder, in whatever build of the command runs.
//!
//! Models that work are tested in `lazaretto-embed` and `lazaretto-engine`.

use std::fs;

use tempfile::TempDir;

use crate::harness::{fixture, run};

fn scan(flags: &[&str]) -> crate::harness::Outcome {
    let data = fixture("reviews-clean");
    let out = TempDir::new().unwrap();
    let out = out.path().join("run");
    let mut all = vec![
        "scan",
        data.to_str().unwrap(),
        "--out",
        out.to_str().unwrap(),
    ];
    all.extend(flags);
    let outcome = run(all);
    assert!(!out.exists());
    outcome
}

#[test]
fn a_folder_without_a_usable_model_is_refused_with_what_to_do() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().to_str().unwrap();
    let flags = ["--embedder", path];
    scan(&flags).exits(2).says(&[
        "as the embedder: it holds neither `model.onnx` nor `model.safetensors`",
        "hint: ",
    ]);
    fs::write(folder.path().join("pytorch_model.bin"), b"PK\x03\x04").unwrap();
    scan(&flags).exits(2).says(&[
        "`pytorch_model.bin` is a pickle",
        "no pickle is ever loaded",
    ]);
    // A build without the feature says how to get it; one with it, that this is no model.
    fs::write(folder.path().join("model.safetensors"), b"{}").unwrap();
    let outcome = scan(&flags).exits(2);
    let without = outcome
        .stderr
        .contains("this build cannot run static models")
        && outcome.stderr.contains("--features embed-static");
    let with = outcome
        .stderr
        .contains("`model.safetensors` is no safetensors file");
    assert!(without || with, "{}", outcome.stderr);
}

#[test]
fn a_pin_without_a_model_and_a_pin_that_is_no_digest_are_named() {
    let folder = TempDir::new().unwrap();
    let pipeline = folder.path().join("pinned.toml");
    let flags = ["--pipeline", pipeline.to_str().unwrap()];
    let digest = "0".repeat(64);
    fs::write(
        &pipeline,
        format!("[embedder.sha256]\n\"model.onnx\" = \"{digest}\"\n"),
    )
    .unwrap();
    scan(&flags)
        .exits(2)
        .says(&["`embedder.sha256`: a model is pinned and none is used"]);
    fs::write(
        &pipeline,
        "[embedder]\npath = \"m\"\nsha256 = { \"model.onnx\" = \"abc\" }\n",
    )
    .unwrap();
    scan(&flags)
        .exits(2)
        .says(&["`embedder.sha256.model.onnx`: `abc` is no SHA-256"]);
}
