//! Static embeddings: synthetic models of three words, and a real one where the environment names it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use half::f16;
use lazaretto_embed::{EmbedError, Request, load};

use crate::synthetic::{Folder, agrees, reference};

/// A safetensors file with tensors of (name, type, shape, bytes).
fn safetensors(tensors: &[(&str, &str, &[usize], Vec<u8>)]) -> Vec<u8> {
    let mut header = String::from("{");
    let mut data = Vec::new();
    for (idx, (name, dtype, shape, bytes)) in tensors.iter().enumerate() {
        let comma = if idx > 0 { "," } else { "" };
        let (start, end) = (data.len(), data.len() + bytes.len());
        let _ = write!(
            header,
            "{comma}\"{name}\":{{\"dtype\":\"{dtype}\",\"shape\":{shape:?},\"data_offsets\":[{start},{end}]}}"
        );
        data.extend_from_slice(bytes);
    }
    header.push('}');
    while header.len() % 8 != 0 {
        header.push(' ');
    }
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(header.as_bytes());
    file.extend(data);
    file
}

fn singles(values: &[f32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

/// A table of `[UNK]`, good, bad, film.
fn table(name: &str) -> Vec<u8> {
    let values = singles(&[9.0, 9.0, 3.0, 0.0, -3.0, 0.0, 0.0, 4.0]);
    safetensors(&[(name, "F32", &[4, 2], values)])
}

fn vectors(folder: &Folder, texts: &[&str]) -> Vec<Vec<f32>> {
    let vectors = folder.load().unwrap().embedder.embed(texts).unwrap();
    vectors.rows().into_iter().map(|row| row.to_vec()).collect()
}

#[track_caller]
fn close(found: &[f32], expected: &[f32]) {
    let same = found
        .iter()
        .zip(expected)
        .all(|(x, y)| (x - y).abs() < 1e-6);
    assert!(
        same && found.len() == expected.len(),
        "{found:?}, not {expected:?}"
    );
}

#[test]
fn a_text_is_the_mean_of_its_known_words() {
    let folder = Folder::new().with("model.safetensors", &table("embeddings"));
    let vectors = vectors(
        &folder,
        &["good", "Good FILM", "good unseen", "unseen", "", "good bad"],
    );
    close(&vectors[0], &[1.0, 0.0]);
    // (3, 0) + (0, 4), a fifth of each.
    close(&vectors[1], &[0.6, 0.8]);
    close(&vectors[2], &[1.0, 0.0]);
    for none in [3, 4, 5] {
        assert!(vectors[none].iter().all(|value| value.is_nan()), "{none}");
    }
}

#[test]
fn compressed_tables_have_a_mapping_and_weights() {
    let mapping: Vec<u8> = [1_i64, 0, 0, 1]
        .iter()
        .flat_map(|row| row.to_le_bytes())
        .collect();
    let model = safetensors(&[
        ("embeddings", "I8", &[2, 2], vec![100, 0, 0, 100]),
        ("mapping", "I64", &[4], mapping),
        ("weights", "F32", &[4], singles(&[1.0, 3.0, -3.0, 4.0])),
    ]);
    let folder = Folder::new().with("model.safetensors", &model);
    let vectors = vectors(&folder, &["good film", "bad"]);
    close(&vectors[0], &[0.6, 0.8]);
    close(&vectors[1], &[-1.0, 0.0]);
}

#[test]
fn half_precision_tables_go_by_either_name() {
    let values = [0.0, 0.0, 3.0, 0.0, -3.0, 0.0, 0.0, 4.0].map(f16::from_f32);
    let bytes = values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    let model = safetensors(&[("embedding.weight", "F16", &[4, 2], bytes)]);
    let folder = Folder::new().with("model.safetensors", &model);
    close(&vectors(&folder, &["film good"])[0], &[0.6, 0.8]);
}

#[test]
fn a_vector_depends_on_its_text_alone() {
    let folder = Folder::new().with("model.safetensors", &table("embeddings"));
    let model = folder.load().unwrap();
    let words = ["good", "bad", "film", "unseen"];
    let texts: Vec<String> = (0..500)
        .map(|n: usize| {
            (0..n % 9)
                .map(|k| words[(n * 7 + k * k) % 4])
                .collect::<Vec<_>>()
                .join(" ")
        })
        .collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let bits = |texts: &[&str], threads: usize| -> Vec<u32> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        let vectors = pool.install(|| model.embedder.embed(texts)).unwrap();
        vectors.iter().map(|value| value.to_bits()).collect()
    };
    let together = bits(&texts, 4);
    assert_eq!(together, bits(&texts, 1));
    let alone: Vec<u32> = texts.iter().flat_map(|text| bits(&[text], 1)).collect();
    assert_eq!(together, alone);
}

#[test]
fn only_the_beginning_of_a_text_counts() {
    let folder = Folder::new().with("model.safetensors", &table("embeddings"));
    let long = format!("{}{}", "good ".repeat(512), "film ".repeat(512));
    let vectors = vectors(&folder, &[&long]);
    close(&vectors[0], &[1.0, 0.0]);
    assert_eq!(folder.load().unwrap().embedder.max_tokens(), 512);
}

#[test]
fn files_of_another_shape_are_refused_with_what_is_wrong() {
    let refused = |tensors: &[(&str, &str, &[usize], Vec<u8>)]| {
        Folder::new()
            .with("model.safetensors", &safetensors(tensors))
            .refused()
    };
    let values = || singles(&[0.0; 8]);
    for (said, expected) in [
        (
            refused(&[("encoder.weight", "F32", &[4, 2], values())]),
            "only `encoder.weight`",
        ),
        (
            refused(&[("embeddings", "F32", &[8], values())]),
            "shape [8], not tokens",
        ),
        (
            refused(&[("embeddings", "F32", &[2, 4], values())]),
            "for 2 tokens, `tokenizer.json` has 4",
        ),
        (
            refused(&[("embeddings", "F32", &[4, 1], singles(&[f32::NAN; 4]))]),
            "not finite",
        ),
        (
            refused(&[("embeddings", "U8", &[4, 2], vec![0; 8])]),
            "of type U8",
        ),
        (
            refused(&[
                ("embeddings", "F32", &[4, 2], values()),
                ("mapping", "I32", &[4], 4_i32.to_le_bytes().repeat(4)),
            ]),
            "to row 4 of a table with 4 rows",
        ),
        (
            refused(&[
                ("embeddings", "F32", &[4, 2], values()),
                ("weights", "F32", &[2], singles(&[1.0; 2])),
            ]),
            "has a weight for 2 tokens",
        ),
        (
            Folder::new().with("model.safetensors", b"{}").refused(),
            "is no safetensors file",
        ),
        (
            Folder::new()
                .with("model.safetensors", b"\x80\x02}q\0.")
                .refused(),
            "is a pickle, which can run any code; no pickle is ever loaded",
        ),
        (
            Folder::new()
                .with("pytorch_model.bin", b"PK\x03\x04")
                .refused(),
            "`pytorch_model.bin` is a pickle",
        ),
        (
            Folder::new().refused(),
            "neither `model.onnx` nor `model.safetensors`",
        ),
        (
            Folder::new()
                .with("model.safetensors", &table("embeddings"))
                .with("tokenizer.json", b"{}")
                .refused(),
            "`tokenizer.json` is no tokenizer",
        ),
    ] {
        assert!(said.contains(expected), "`{expected}` is not in: {said}");
    }
}

#[test]
fn a_missing_tokenizer_and_a_large_model_are_refused() {
    let folder = Folder::new().with("model.safetensors", &table("embeddings"));
    let pins = BTreeMap::new();
    let request = Request {
        folder: folder.path(),
        sha256: &pins,
        runtime: None,
        max_bytes: 31,
    };
    let error = load(&request).err().unwrap();
    assert!(
        matches!(
            error,
            EmbedError::TooLarge {
                bytes: 32,
                limit: 31
            }
        ),
        "{error}"
    );
    std::fs::remove_file(folder.path().join("tokenizer.json")).unwrap();
    let said = folder.refused();
    assert!(said.contains("`tokenizer.json` cannot be read"), "{said}");
}

#[test]
fn files_are_named_with_their_digests() {
    let folder = Folder::new().with("model.safetensors", &table("embeddings"));
    let files = folder.load().unwrap().files;
    let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names, ["model.safetensors", "tokenizer.json"]);
    let pins: BTreeMap<String, String> = files
        .iter()
        .map(|file| (file.name.clone(), file.sha256.clone()))
        .collect();
    let request = Request {
        folder: folder.path(),
        sha256: &pins,
        runtime: None,
        max_bytes: 1 << 20,
    };
    assert_eq!(load(&request).unwrap().files, files);
    std::fs::write(folder.path().join("tokenizer.json"), b"{\"changed\": true}").unwrap();
    let error = load(&request).err().unwrap();
    assert!(
        matches!(&error, EmbedError::Digest { file, .. } if file == "tokenizer.json"),
        "{error}"
    );
}

/// `LAZARETTO_EMBED_STATIC` names a model's folder, `LAZARETTO_EMBED_STATIC_REFERENCE` vectors that its
/// own software gives.
#[test]
fn a_real_model_gives_the_vectors_of_its_own_software() {
    let Some(folder) = std::env::var_os("LAZARETTO_EMBED_STATIC") else {
        println!("skipped: LAZARETTO_EMBED_STATIC names no model");
        return;
    };
    let reference = reference("LAZARETTO_EMBED_STATIC_REFERENCE").unwrap();
    let model = load(&Request {
        folder: Path::new(&folder),
        sha256: &BTreeMap::new(),
        runtime: None,
        max_bytes: 1 << 30,
    })
    .unwrap_or_else(|error| panic!("{error}"));
    agrees(&model, &reference, 0.99999);
}
