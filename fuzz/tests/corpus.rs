//! Every file of the corpus, by every target it is for: what fuzzing has found stays mended.

use std::fs;
use std::path::Path;

use lazaretto_fuzz::TARGETS;

/// As decoders have it: they decode on the main thread.
const STACK: usize = 8 << 20;

#[test]
fn no_file_of_the_corpus_breaks_its_target() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let mut folders: Vec<String> = fs::read_dir(&corpus)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    folders.sort();
    let names: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    assert_eq!(folders, names, "a folder for each target and none besides");
    // One thread for all: the targets share its pool.
    let replay = std::thread::Builder::new()
        .stack_size(STACK)
        .spawn(move || {
            for (name, target) in TARGETS {
                let mut files: Vec<_> = fs::read_dir(corpus.join(name))
                    .unwrap()
                    .map(|entry| entry.unwrap().path())
                    .collect();
                files.sort();
                assert!(!files.is_empty(), "{name} has no corpus");
                for file in &files {
                    // Says which file it was when the process dies.
                    println!("{}", file.display());
                    target(&fs::read(file).unwrap());
                }
                println!("{name}: {} files", files.len());
            }
        });
    let outcome = replay.unwrap().join();
    assert!(outcome.is_ok(), "a file of the corpus is a finding");
}
