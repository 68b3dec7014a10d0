//! What becomes of a scan when its decoders misbehave. The decoders here are shell scripts that
//! greet as one should and then go wrong.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use lazaretto_io::{
    Dataset, DecoderLimits, HeaderLimits, IoError, Isolation, OpenOptions, SandboxLevel, discover,
};
use parquet::file::properties::WriterProperties;

use crate::support::{Place, batch, write_parquet};

/// A program that greets with `level` and goes on with `then`.
fn decoder(folder: &Path, level: SandboxLevel, then: &str) -> PathBuf {
    let level = serde_json::to_string(&level).unwrap();
    // A frame: its tag, its length in eight bytes, the least significant first, and the payload.
    let script = format!(
        "#!/bin/sh\nprintf 'L\\{:03o}\\0\\0\\0\\0\\0\\0\\0%s' '{level}'\n{then}\n",
        level.len()
    );
    let path = folder.join("decoder.sh");
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    path
}

fn complete() -> SandboxLevel {
    SandboxLevel {
        resources: true,
        files: true,
        system_calls: true,
    }
}

/// Opens a file of 30 records with `program` as decoder, which may take `time`.
fn open(
    place: &Place,
    program: PathBuf,
    time: Duration,
    cancel: &Arc<AtomicBool>,
) -> Result<Dataset, IoError> {
    let file = place.data().join("a.parquet");
    let properties = WriterProperties::builder().build();
    write_parquet(&file, &[batch(0, 30)], properties);
    let isolation = Isolation {
        program,
        limits: DecoderLimits {
            memory: 64 << 20,
            time,
        },
        required: true,
    };
    let options = OpenOptions {
        scratch: place.scratch(),
        cancel: Arc::clone(cancel),
        batch_bytes: 1 << 20,
        isolation: Some(isolation),
        keys: lazaretto_io::EncryptionKeys::default(),
        headers: HeaderLimits::default(),
    };
    Dataset::open(discover(&[file.display().to_string()])?, options)
}

/// Long enough for a shell to start on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why nothing could be read with a decoder that greets and goes on with `then`.
fn reason(then: &str, time: Duration) -> String {
    let place = Place::new();
    let program = decoder(&place.scratch(), complete(), then);
    match open(&place, program, time, &Arc::default()).unwrap_err() {
        // It depends on the moment whether it fails at its start or at the first file.
        IoError::NothingReadable { reason, .. } | IoError::Isolation { reason } => reason,
        other => panic!("{other}"),
    }
}

#[test]
fn decoders_that_fail_say_why() {
    for (then, expected) in [
        ("kill -SEGV $$", "signal 11"),
        ("exit 7", "exit status: 7"),
        // What the runtime of Rust says when memory runs out, and when the stack does.
        (
            "echo 'memory allocation of 99 bytes failed' >&2; kill -ABRT $$",
            "more than 64 MiB of memory",
        ),
        (
            "echo 'thread has overflowed its stack' >&2; kill -ABRT $$",
            "overflows the stack",
        ),
        ("kill -XCPU $$", "processor time"),
        // An answer to something else, and a frame that is longer than any that can be.
        (
            "printf 'Z\\0\\0\\0\\0\\0\\0\\0\\0'; exec sleep 100",
            "something else",
        ),
        (
            "printf 'A\\377\\377\\377\\377\\377\\377\\377\\377'; exec sleep 100",
            "signal 9",
        ),
    ] {
        let reason = reason(then, PATIENCE);
        assert!(reason.contains(expected), "`{then}`: {reason}");
    }
}

#[test]
fn a_decoder_that_never_answers_is_ended() {
    let started = Instant::now();
    let reason = reason("exec sleep 100", Duration::from_millis(300));
    assert!(reason.contains("longer than 0.3 s"), "{reason}");
    assert!(started.elapsed() < Duration::from_secs(50));
}

#[test]
fn cancelling_does_not_wait_for_a_decoder() {
    let place = Place::new();
    let program = decoder(&place.scratch(), complete(), "exec sleep 100");
    let cancel = Arc::new(AtomicBool::new(false));
    cancel.store(true, Ordering::Relaxed);
    let error = open(&place, program, PATIENCE, &cancel).unwrap_err();
    assert!(
        matches!(error, IoError::Interrupted | IoError::Isolation { .. }),
        "{error}"
    );
}

#[test]
fn a_sandbox_with_gaps_is_refused_where_it_is_required() {
    let place = Place::new();
    let level = SandboxLevel {
        files: false,
        ..complete()
    };
    let program = decoder(&place.scratch(), level, "exec sleep 100");
    let error = open(&place, program, PATIENCE, &Arc::default()).unwrap_err();
    assert!(matches!(error, IoError::SandboxIncomplete { .. }));
    assert!(error.to_string().contains("Landlock"), "{error}");
    assert!(!error.to_string().contains("seccomp"), "{error}");
}

#[test]
fn a_program_that_does_not_start_is_told_at_once() {
    let place = Place::new();
    let missing = place.scratch().join("missing");
    let error = open(&place, missing, PATIENCE, &Arc::default()).unwrap_err();
    assert!(matches!(error, IoError::Isolation { .. }), "{error}");
    assert!(error.hint().unwrap().contains("--trusted-input"));
}
