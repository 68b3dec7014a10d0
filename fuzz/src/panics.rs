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
    // Cargo compiles the workspace from its root, and everything else by absolute paths.
    let file = Path::new(location.file());
    if file.is_relative() && !file.starts_with("fuzz") {
        return true;
    }
    let of_std = location.file().starts_with("/rustc/") || file.starts_with("fuzz");
    of_std && caller_is_ours(&Backtrace::force_capture().to_string())
}

/// Whether the first function outside the standard library below the panic is ours.
fn caller_is_ours(backtrace: &str) -> bool {
    let functions = backtrace.lines().filter_map(|line| {
        let (number, function) = line.trim_start().split_once(": ")?;
        number.parse::<u32>().is_ok().then_some(function)
    });
    let own = |function: &&str| {
        ![
            "std::",
            "core::",
            "alloc::",
            "__rust",
            "lazaretto_fuzz::panics",
        ]
        .iter()
        .any(|start| bare(function).starts_with(start))
    };
    // What lies above is the hook.
    let below = functions.skip_while(|function| {
        !function.contains("core::panicking") && !function.contains("handle_alloc_error")
    });
    let caller = below.into_iter().find(own);
    caller.is_none_or(|function| bare(function).starts_with("lazaretto_"))
}

/// A function's path without the marks of an implementation: `<&mut a::B as c::D>::e` is `a::B …`.
fn bare(function: &str) -> &str {
    let function = function.trim_start_matches(['<', '&', '[', '(']);
    function.strip_prefix("mut ").unwrap_or(function)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "   0: std::backtrace::Backtrace::create
   1: lazaretto_fuzz::panics::is_ours
   2: std::panicking::panic_with_hook
   3: core::panicking::panic_fmt
             at /rustc/0/library/core/src/panicking.rs:80:14
   4: alloc::raw_vec::capacity_overflow
   5: <alloc::vec::Vec<T> as core::clone::Clone>::clone
";

    #[test]
    fn the_caller_of_the_standard_library_is_told() {
        for (caller, ours) in [
            (
                "<lazaretto_io::decode::ipc::Ranges as std::io::Read>::read",
                true,
            ),
            ("lazaretto_io::decode::ipc::read_range", true),
            ("<parquet::file::X as core::iter::Iterator>::next", false),
            (
                "arrow_ipc::reader::read::<lazaretto_io::decode::ipc::Ranges>",
                false,
            ),
        ] {
            let trace = format!("{TRACE}   6: {caller}\n   7: lazaretto_io::decode::guard\n");
            assert_eq!(caller_is_ours(&trace), ours, "{caller}");
        }
    }

    #[test]
    fn a_panic_of_our_own_is_a_finding() {
        let caught = std::panic::catch_unwind(|| held_to_account(|| panic!("ours")));
        assert!(caught.is_err());
        held_to_account(|| {});
    }
}
