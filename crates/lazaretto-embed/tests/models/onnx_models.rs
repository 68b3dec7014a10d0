//! Sentence models in ONNX: what can be said without the library that runs them, a model of one
//! operation where the environment names the library, and a real one where it names that too.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use lazaretto_embed::{EmbedError, Model, Request, load};

use crate::synthetic::{Folder, agrees, reference};

fn runtime() -> Option<PathBuf> {
    let path = std::env::var_os("ORT_DYLIB_PATH").map(PathBuf::from);
    if path.is_none() {
        println!("skipped: ORT_DYLIB_PATH names no ONNX Runtime library");
    }
    path
}

fn loaded(folder: &Path, runtime: Option<&Path>) -> Result<Model, EmbedError> {
    load(&Request {
        folder,
        sha256: &BTreeMap::new(),
        runtime,
        max_bytes: 1 << 30,
    })
}

/// A protocol buffer field with bytes.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut field = vec![(number << 3) | 2];
    let mut length = bytes.len();
    while length >= 0x80 {
        field.push(length as u8 | 0x80);
        length >>= 7;
    }
    field.push(length as u8);
    field.extend_from_slice(bytes);
    field
}

/// A protocol buffer field with a small number.
fn number(field: u8, value: u8) -> Vec<u8> {
    vec![field << 3, value]
}

/// A named tensor of `1 × tokens` (and `× last`, where it is not 0); its element type as ONNX numbers it.
fn value(name: &str, element: u8, last: u8) -> Vec<u8> {
    let mut dims = field(1, &number(1, 1));
    dims.extend(field(1, &field(2, b"tokens")));
    if last > 0 {
        dims.extend(field(1, &number(1, last)));
    }
    let tensor = [number(1, element), field(2, &dims)].concat();
    [field(1, name.as_bytes()), field(2, &field(1, &tensor))].concat()
}

/// A model that looks token ids up in a table of 4 × 2: `Gather(table, input)`.
fn gather(input: &str) -> Vec<u8> {
    let table = [9.0_f32, 9.0, 3.0, 0.0, -3.0, 0.0, 0.0, 4.0];
    let data: Vec<u8> = table.iter().flat_map(|value| value.to_le_bytes()).collect();
    let tensor = [
        number(1, 4),
        number(1, 2),
        number(2, 1),
        field(8, b"table"),
        field(9, &data),
    ]
    .concat();
    let node = [
        field(1, b"table"),
        field(1, input.as_bytes()),
        field(2, b"last_hidden_state"),
        field(4, b"Gather"),
    ]
    .concat();
    let graph = [
        field(1, &node),
        field(2, b"graph"),
        field(5, &tensor),
        field(11, &value(input, 7, 0)),
        field(12, &value("last_hidden_state", 1, 2)),
    ]
    .concat();
    // IR version 8, operator set 13.
    [number(1, 8), field(7, &graph), field(8, &number(2, 13))].concat()
}

#[test]
fn a_model_needs_a_library_and_it_must_be_one() {
    let folder = Folder::new().with("model.onnx", &gather("input_ids"));
    assert!(matches!(folder.load(), Err(EmbedError::NoRuntime)));
    let folder = folder.with("libonnxruntime.so", b"no library");
    let library = folder.path().join("libonnxruntime.so");
    let error = loaded(folder.path(), Some(&library)).err().unwrap();
    assert!(
        matches!(&error, EmbedError::Runtime { file, .. } if file == "libonnxruntime.so"),
        "{error}"
    );
    let error = loaded(folder.path(), Some(&folder.path().join("gone.so")))
        .err()
        .unwrap();
    assert!(
        matches!(&error, EmbedError::Read { file, .. } if file == "gone.so"),
        "{error}"
    );
    // The library is code: its pin is looked at before it is loaded.
    let pins = BTreeMap::from([("libonnxruntime.so".to_owned(), "0".repeat(64))]);
    let request = Request {
        folder: folder.path(),
        sha256: &pins,
        runtime: Some(&library),
        max_bytes: 1 << 30,
    };
    assert!(matches!(load(&request), Err(EmbedError::Digest { .. })));
}

#[test]
fn other_poolings_are_refused() {
    let folder = Folder::new().with("model.onnx", &gather("input_ids")).with(
        "1_Pooling/config.json",
        b"{\"pooling_mode_max_tokens\": true}",
    );
    let said = folder.refused();
    assert!(said.contains("another pooling than the mean"), "{said}");
}

#[test]
fn a_model_of_one_operation() {
    let Some(runtime) = runtime() else { return };
    let folder = Folder::new().with("onnx/model.onnx", &gather("input_ids"));
    let model = loaded(folder.path(), Some(&runtime)).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(model.embedder.dim(), 2);
    let vectors = model
        .embedder
        .embed(&["good", "good film", "", " "])
        .unwrap();
    assert_eq!(vectors.row(0).to_vec(), [1.0, 0.0]);
    assert!((vectors[[1, 0]] - 0.6).abs() < 1e-6 && (vectors[[1, 1]] - 0.8).abs() < 1e-6);
    assert!(
        vectors
            .row(2)
            .iter()
            .chain(vectors.row(3))
            .all(|value| value.is_nan())
    );
    let names: Vec<&str> = model.files.iter().map(|file| file.name.as_str()).collect();
    assert!(
        names.contains(&"onnx/model.onnx") && names.len() == 3,
        "{names:?}"
    );

    let first = Folder::new().with("model.onnx", &gather("input_ids")).with(
        "1_Pooling/config.json",
        b"{\"pooling_mode_cls_token\": true}",
    );
    let model = loaded(first.path(), Some(&runtime)).unwrap();
    assert_eq!(
        model
            .embedder
            .embed(&["good film"])
            .unwrap()
            .row(0)
            .to_vec(),
        [1.0, 0.0]
    );

    let pixels = Folder::new().with("model.onnx", &gather("pixels"));
    let error = loaded(pixels.path(), Some(&runtime))
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("wants an input `pixels`"), "{error}");
    let broken = Folder::new().with("model.onnx", b"\x08\x08broken");
    let error = loaded(broken.path(), Some(&runtime))
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("`model.onnx` cannot be loaded"), "{error}");
}

/// `LAZARETTO_EMBED_ONNX` names a model's folder, `LAZARETTO_EMBED_ONNX_REFERENCE` vectors that other
/// software gives.
#[test]
fn a_real_model_gives_the_vectors_of_other_software_at_any_number_of_threads() {
    let Some(runtime) = runtime() else { return };
    let Some(folder) = std::env::var_os("LAZARETTO_EMBED_ONNX") else {
        println!("skipped: LAZARETTO_EMBED_ONNX names no model");
        return;
    };
    let reference = reference("LAZARETTO_EMBED_ONNX_REFERENCE").unwrap();
    let model =
        loaded(Path::new(&folder), Some(&runtime)).unwrap_or_else(|error| panic!("{error}"));
    agrees(&model, &reference, 0.9999);
    let texts: Vec<&str> = reference.iter().map(|(text, _)| text.as_str()).collect();
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
    assert_eq!(together[..model.embedder.dim()], bits(&texts[..1], 2));
}
