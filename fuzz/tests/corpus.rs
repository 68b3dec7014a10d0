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
    for (name, target) in TARGETS {
        let mut files: Vec<_> = fs::read_dir(corpus.join(name))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort();
        assert!(!files.is_empty(), "{name} has no corpus");
        let number = files.len();
        let replay = std::thread::Builder::new()
            .stack_size(STACK)
            .spawn(move || {
                for file in files {
                    // Seen when a test fails, and which file it was when a process dies.
                    println!("{}", file.display());
                    target(&fs::read(&file).unwrap());
                }
            });
        let outcome = replay.unwrap().join();
        assert!(outcome.is_ok(), "{name}: a file of the corpus is a finding");
        println!("{name}: {number} files");
    }
}

#[test]
fn what_is_accepted_is_not_everything() {
    // A target that swallows what our own code does would find nothing.
    let (_, proof) = TARGETS.iter().find(|(name, _)| *name == "proof").unwrap();
    proof(&lazaretto_fuzz::signed_envelope());
    let forged = std::panic::catch_unwind(|| {
        let mut envelope = lazaretto_fuzz::signed_envelope();
        envelope.push(b' ');
        proof(&envelope);
    });
    assert!(forged.is_ok(), "what does not verify is refused in silence");
}
