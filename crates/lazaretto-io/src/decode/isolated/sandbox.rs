//! What a decoder shuts itself into before it reads anything.
//!
//! | part | what it takes away | where |
//! |---|---|---|
//! | resource limits | memory beyond the limit, endless loops, large files, core dumps | Unix |
//! | Landlock | every file but the input (to read) and, where something is to be unpacked, the scratch folder (to write) | Linux with Landlock |
//! | seccomp | sockets, other programs, other processes: every system call that decoding does not need | Linux on x86-64 and Arm |
//!
//! What the kernel does not have is left out, told in [`SandboxLevel`], and refused when it is
//! required.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::DecoderLimits;
use crate::decode::job::FilePath;
use crate::decode::preflight::HeaderLimits;
use crate::encryption::SentKeys;

/// Which parts of the sandbox hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxLevel {
    /// Memory, processor time and sizes of files are limited.
    pub resources: bool,
    /// Only the input can be read, only the scratch folder be written.
    pub files: bool,
    /// No network, no other program.
    pub system_calls: bool,
}

impl SandboxLevel {
    /// Whether all parts hold.
    #[must_use]
    pub fn is_complete(self) -> bool {
        self.resources && self.files && self.system_calls
    }

    /// The parts that do not hold, in words.
    #[must_use]
    pub fn missing(self) -> String {
        let parts = [
            (self.resources, "no limits of resources"),
            (self.files, "no limits of file access (Landlock)"),
            (self.system_calls, "no limits of system calls (seccomp)"),
        ];
        let missing = parts.iter().filter(|(holds, _)| !holds);
        let words: Vec<&str> = missing.map(|(_, words)| *words).collect();
        format!("{} on this machine", words.join(", "))
    }
}

/// What a decoder is told when it starts.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Hello {
    pub(super) limits: DecoderLimits,
    /// What headers may promise.
    pub(super) headers: HeaderLimits,
    /// Folders and files it may read.
    pub(super) readable: Vec<FilePath>,
    /// The folder it may write to.
    pub(super) scratch: FilePath,
    /// Bytes that it may write to a file there; without any it cannot write at all.
    pub(super) scratch_bytes: u64,
    /// Keys of encrypted files.
    pub(super) keys: Option<SentKeys>,
}

/// The processor time that this process has taken, read from a file that stays open once no other
/// can be opened.
pub(super) struct CpuClock(#[cfg(target_os = "linux")] Option<std::fs::File>);

impl CpuClock {
    #[cfg(target_os = "linux")]
    pub(super) fn start() -> Self {
        Self(std::fs::File::open("/proc/self/schedstat").ok())
    }

    #[cfg(target_os = "linux")]
    fn taken(&self) -> Option<Duration> {
        use std::os::unix::fs::FileExt as _;
        let mut text = [0; 64];
        let read = self.0.as_ref()?.read_at(&mut text, 0).ok()?;
        let text = std::str::from_utf8(&text[..read]).ok()?;
        let nanoseconds = text.split_whitespace().next()?.parse().ok()?;
        Some(Duration::from_nanos(nanoseconds))
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn start() -> Self {
        Self()
    }

    #[cfg(not(target_os = "linux"))]
    fn taken(&self) -> Option<Duration> {
        None
    }

    /// Ends this process once the next job has taken more than `time`.
    pub(super) fn allow(&self, time: Duration) {
        #[cfg(unix)]
        if let Some(taken) = self.taken() {
            // Whole seconds, and one to spare: the clock of the kernel ends it in the middle of a
            // job, the watch of the parent in words.
            let soft = (taken + time).as_secs() + 2;
            let _ = rlimit::setrlimit(rlimit::Resource::CPU, soft, rlimit::INFINITY);
        }
        #[cfg(not(unix))]
        let _ = time;
    }
}

/// Shuts this process in.
pub(super) fn enter(hello: &Hello) -> SandboxLevel {
    let files = restrict_files(hello);
    let system_calls = restrict_calls();
    SandboxLevel {
        resources: limit_resources(hello),
        files,
        system_calls,
    }
}

#[cfg(unix)]
fn limit_resources(hello: &Hello) -> bool {
    use rlimit::{Resource, setrlimit};
    /// Code, stack and what the libraries reserve without using it.
    const RESERVED: u64 = 1 << 30;
    let address_space = hello.limits.memory.saturating_add(RESERVED);
    [
        (Resource::AS, address_space),
        #[cfg(target_os = "linux")]
        (Resource::DATA, hello.limits.memory),
        (Resource::FSIZE, hello.scratch_bytes),
        (Resource::CORE, 0),
        (Resource::NOFILE, 64),
    ]
    .into_iter()
    .all(|(resource, most)| setrlimit(resource, most, most).is_ok())
}

#[cfg(not(unix))]
fn limit_resources(_: &Hello) -> bool {
    false
}

#[cfg(target_os = "linux")]
fn restrict_files(hello: &Hello) -> bool {
    use landlock::{
        ABI, Access as _, AccessFs, Ruleset, RulesetAttr as _, RulesetCreatedAttr as _,
        RulesetStatus, path_beneath_rules,
    };
    // The first version covers reading and writing; later ones add rights that are then missing.
    let abi = ABI::V5;
    let readable: Vec<&PathBuf> = hello.readable.iter().map(|path| &path.0).collect();
    let writable = (hello.scratch_bytes > 0).then_some(&hello.scratch.0);
    let restrict = || {
        Ruleset::default()
            .handle_access(AccessFs::from_all(abi))?
            .create()?
            .add_rules(path_beneath_rules(readable, AccessFs::from_read(abi)))?
            .add_rules(path_beneath_rules(writable, AccessFs::from_all(abi)))?
            .restrict_self()
    };
    let outcome: Result<_, landlock::RulesetError> = restrict();
    outcome.is_ok_and(|outcome| outcome.ruleset != RulesetStatus::NotEnforced)
}

#[cfg(not(target_os = "linux"))]
fn restrict_files(_: &Hello) -> bool {
    false
}

#[cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
fn restrict_calls() -> bool {
    use std::collections::BTreeMap;

    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

    let rules: BTreeMap<i64, Vec<_>> = ALLOWED.iter().map(|&call| (call, Vec::new())).collect();
    let Ok(architecture) = std::env::consts::ARCH.try_into() else {
        return false;
    };
    // What is not on the list fails instead of ending the process: a library that asks for more
    // than it needs then does without.
    let filter = SeccompFilter::new(
        rules,
        SeccompAction::Errno(libc::EPERM as u32),
        SeccompAction::Allow,
        architecture,
    );
    filter
        .and_then(BpfProgram::try_from)
        .is_ok_and(|program| seccompiler::apply_filter(&program).is_ok())
}

/// The system calls that reading files, memory and the end of a process need.
#[cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
const ALLOWED: &[i64] = &[
    // files
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_close,
    libc::SYS_read,
    libc::SYS_pread64,
    libc::SYS_readv,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_lseek,
    libc::SYS_fstat,
    libc::SYS_statx,
    libc::SYS_newfstatat,
    libc::SYS_fcntl,
    libc::SYS_copy_file_range,
    libc::SYS_sendfile,
    libc::SYS_splice,
    // memory
    libc::SYS_brk,
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_mprotect,
    libc::SYS_madvise,
    // time and waiting
    libc::SYS_clock_gettime,
    libc::SYS_futex,
    libc::SYS_sched_yield,
    libc::SYS_getrandom,
    libc::SYS_prlimit64,
    // signals and the end
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_tgkill,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

#[cfg(not(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
)))]
fn restrict_calls() -> bool {
    false
}

#[cfg(all(
    test,
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
mod tests {
    use super::ALLOWED;

    #[test]
    fn neither_programs_nor_networks_nor_memory_that_no_limit_counts() {
        for (call, name) in [
            (libc::SYS_execve, "execve"),
            (libc::SYS_clone, "clone"),
            (libc::SYS_clone3, "clone3"),
            (libc::SYS_socket, "socket"),
            (libc::SYS_connect, "connect"),
            (libc::SYS_sendmsg, "sendmsg"),
            (libc::SYS_memfd_create, "memfd_create"),
            (libc::SYS_shmget, "shmget"),
            (libc::SYS_ptrace, "ptrace"),
            (libc::SYS_process_vm_readv, "process_vm_readv"),
            (libc::SYS_kill, "kill"),
            (libc::SYS_io_uring_setup, "io_uring_setup"),
        ] {
            assert!(!ALLOWED.contains(&call), "{name}");
        }
    }
}
