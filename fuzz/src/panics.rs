//! Which panics count.

use std::backtrace::Backtrace;
use std::panic::PanicHookInfo;
use std::path::Path;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether our own code has panicked where a scan would have caught it.
static CAUGHT: AtomicBool = AtomicBool::new(false);

/// Runs `body`; panics of foreign decoders that are caught are silent, all others are findings.
///
/// # Panics
/// When our own code panics.
pub(crate) fn held_to_account(body: impl FnOnce()) {
    static HOOK: Once = Once::new();
    HOOK.call_once(install);
    body();
    assert!(
        !CAUGHT.swap(false, Ordering::Relaxed),
        "our own code panicked inside a guard"
    );
}

fn install() {
    // libFuzzer's hook aborts on each panic.
    let finding = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if lazaretto_io::is_decoding() {
            if !is_ours(panic) {
                return;
            }
            CAUGHT.store(true, Ordering::Relaxed);
        }
        finding(panic);
    }));
    // A decoder of a scan ends when it asks for more memory than it may have, and its unit is
    // unscanned. Here a foreign one that asks for too much at once panics, so that the others can
    // go on; when we ask for it, it is a finding.
    #[cfg(fuzzing)]
    std::alloc::set_alloc_error_hook(|layout| panic!("no memory for {} bytes", layout.size()));
}

/// Whether a line of this workspace panicked, or called what panicked in the standard library.
fn is_ours(panic: &PanicHookInfo<'_>) -> bool {
    let Some(location) = panic.location() else {
        return true;
    };
    match Author::of_file(location.file()) {
        Author::Ours => true,
        Author::Foreign => false,
        Author::Nobody => caller(&Backtrace::force_capture().to_string()) == Author::Ours,
    }
}

/// Who wrote a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Author {
    /// This workspace.
    Ours,
    /// A dependency.
    Foreign,
    /// The standard library or the hook: whoever called it.
    Nobody,
}

impl Author {
    /// Cargo compiles the workspace from its root, and everything else by absolute paths.
    fn of_file(file: &str) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let root = root.canonicalize().unwrap_or_default();
        let path = Path::new(file);
        if file.contains("fuzz/src/panics.rs") || file.starts_with("/rustc/") {
            Self::Nobody
        } else if path.is_relative() || path.starts_with(root) {
            Self::Ours
        } else {
            Self::Foreign
        }
    }

    /// Of a function whose file is not known, as those of dependencies are built.
    fn of_function(function: &str) -> Self {
        let path = function.trim_start_matches(['<', '&', '[', '(']);
        let starts = |starts: &[&str]| starts.iter().any(|start| path.starts_with(start));
        if starts(&["std::", "core::", "alloc::", "__rust"]) {
            Self::Nobody
        } else if starts(&["lazaretto_"]) {
            Self::Ours
        } else {
            Self::Foreign
        }
    }
}

/// Who called what panicked: the first that is somebody below the panic.
fn caller(backtrace: &str) -> Author {
    let mut lines = backtrace.lines().map(str::trim).peekable();
    // What lies above is the hook.
    let starts = ["core::panicking::panic", "handle_alloc_error"];
    for line in lines.by_ref() {
        if starts.iter().any(|start| line.contains(start)) {
            break;
        }
    }
    while let Some(line) = lines.next() {
        let Some((_, function)) = line.split_once(": ") else {
            continue;
        };
        let file = lines.next_if(|line| line.starts_with("at "));
        let author = match file {
            Some(file) => Author::of_file(file.trim_start_matches("at ")),
            None => Author::of_function(function),
        };
        if author != Author::Nobody {
            return author;
        }
    }
    // Not known to be foreign.
    Author::Ours
}

#[cfg(test)]
mod tests {
    use arrow::array::Int32Array;
    use lazaretto_io::fuzzing::guarded;

    use super::*;

    const TRACE: &str = "   0: std::backtrace::Backtrace::create
   1: is_ours
             at ./fuzz/src/panics.rs:50:3
   2: std::panicking::panic_with_hook
   3: core::panicking::panic_fmt
             at /rustc/0/library/core/src/panicking.rs:80:14
   3: {closure#1}
             at /home/x/lazaretto/fuzz/src/panics.rs:42:47
   4: alloc::raw_vec::capacity_overflow
   5: <alloc::vec::Vec<T> as core::clone::Clone>::clone
";

    #[test]
    fn the_caller_of_the_standard_library_is_told() {
        for (frame, author) in [
            (
                "read\n at ./crates/lazaretto-io/src/decode/ipc.rs:1:2",
                Author::Ours,
            ),
            (
                "<lazaretto_io::decode::ipc::Ranges as std::io::Read>::read",
                Author::Ours,
            ),
            (
                "next\n at /home/x/.cargo/registry/src/i/parquet-1/src/a.rs:1:2",
                Author::Foreign,
            ),
            (
                "<parquet::file::X as core::iter::Iterator>::next",
                Author::Foreign,
            ),
            (
                "arrow_ipc::reader::read::<lazaretto_io::decode::ipc::Ranges>",
                Author::Foreign,
            ),
        ] {
            let trace = format!("{TRACE}   6: {frame}\n   7: lazaretto_io::decode::guard\n");
            assert_eq!(caller(&trace), author, "{frame}");
        }
    }

    /// One test, because the hook and what it notes are the process's.
    #[test]
    fn caught_panics_of_our_own_are_findings_and_those_of_others_are_not() {
        let foreign = || Int32Array::from(vec![1]).value(std::hint::black_box(7));
        held_to_account(|| {
            assert!(!guarded(|| {
                std::hint::black_box(foreign());
            }));
        });
        // What the standard library panics about is ours when we called it: here `guarded` did.
        let too_much = || drop(Vec::<u64>::with_capacity(std::hint::black_box(usize::MAX)));
        for ours in [|| panic!("ours"), too_much] {
            let held = || held_to_account(|| assert!(!guarded(ours)));
            assert!(std::panic::catch_unwind(held).is_err());
        }
        held_to_account(|| assert!(guarded(|| {})));
    }
}
