//! Memory that was freed, given back.

/// Returns freed memory to the system. glibc keeps most of what batches and models took for the
/// next request of the same size, but the next phase asks for other sizes: without this the peak
/// is the sum of the phases (40 MiB more on a table of 200 MB), with it the largest of them.
pub(crate) fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[expect(unsafe_code, reason = "a C function; it has no preconditions")]
    // SAFETY: `malloc_trim` is thread-safe and touches only memory that is free.
    unsafe {
        libc::malloc_trim(0);
    }
}
