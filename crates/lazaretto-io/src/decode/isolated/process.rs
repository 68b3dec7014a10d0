//! One decoder, seen from the scan.

use std::io::{self, BufReader, Read};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::sandbox::{Hello, SandboxLevel};
use super::wire::{self, read_frame, write_frame};
use super::{DecoderLimits, Isolation, STRANGE};
use crate::decode::job::ReadJob;

/// What a pipe holds: the most that a user may ask Linux for.
#[cfg(target_os = "linux")]
const PIPE_BYTES: usize = 1 << 20;

/// A process with the time that the scan has been waiting for it.
#[derive(Debug)]
pub(super) struct Watch {
    child: Mutex<Child>,
    started: Instant,
    /// Milliseconds after `started`, plus one, since when the scan waits; 0 when it does not.
    since: AtomicU64,
    /// Milliseconds that it has waited for the current job before that.
    waited: AtomicU64,
    late: AtomicBool,
}

impl Watch {
    fn now(&self) -> u64 {
        self.started.elapsed().as_millis() as u64 + 1
    }

    /// Counts the time of `wait` as waiting.
    fn waiting<T>(&self, wait: impl FnOnce() -> T) -> T {
        let since = self.now();
        self.since.store(since, Ordering::Relaxed);
        let result = wait();
        self.since.store(0, Ordering::Relaxed);
        self.waited.fetch_add(self.now() - since, Ordering::Relaxed);
        result
    }

    /// Ends the process when the scan has waited for more than `time`, or need not wait any more.
    pub(super) fn check(&self, time: Duration, cancelled: bool) {
        let since = self.since.load(Ordering::Relaxed);
        if since == 0 {
            return;
        }
        let waited = self.waited.load(Ordering::Relaxed) + self.now().saturating_sub(since);
        let late = Duration::from_millis(waited) > time;
        if late || cancelled {
            self.late.store(late, Ordering::Relaxed);
            self.end();
        }
    }

    fn child(&self) -> std::sync::MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self) {
        // It may have ended by itself.
        let _ = self.child().kill();
    }
}

/// A running decoder.
#[derive(Debug)]
pub(super) struct Process {
    watch: Arc<Watch>,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    errors: ChildStderr,
    limits: DecoderLimits,
    stream: Stream,
}

/// Where a process is in a stream of batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stream {
    /// In none: it is free for another job.
    None,
    /// Something comes from it.
    Coming,
    /// It waits for what is said to its last piece.
    Waiting,
}

impl Process {
    /// Starts one; [`Self::greet`] has to follow.
    pub(super) fn start(isolation: &Isolation) -> io::Result<Self> {
        let mut command = Command::new(&isolation.program);
        command
            .arg(Isolation::ARGUMENT)
            // Keys and tokens of the environment are no business of a decoder.
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        // Ctrl-C is for the scan, which then ends its decoders.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.spawn()?;
        let (Some(to), Some(from), Some(errors)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(io::Error::other("no pipes"));
        };
        // A batch should not need a change of process for every 64 KiB. Where it cannot be had, the
        // pipe works as it is.
        #[cfg(target_os = "linux")]
        let _ = rustix::pipe::fcntl_setpipe_size(&from, PIPE_BYTES);
        Ok(Self {
            watch: Arc::new(Watch {
                child: Mutex::new(child),
                started: Instant::now(),
                since: AtomicU64::new(0),
                waited: AtomicU64::new(0),
                late: AtomicBool::new(false),
            }),
            to,
            from: BufReader::with_capacity(64 << 10, from),
            errors,
            limits: isolation.limits,
            stream: Stream::None,
        })
    }

    /// Lets it shut itself in; what holds.
    ///
    /// # Errors
    /// Why the process ended, in words.
    pub(super) fn greet(&mut self, hello: &Hello) -> Result<SandboxLevel, String> {
        self.send(wire::HELLO, hello)?;
        let (tag, level) = self.next()?;
        let level = (tag == wire::LEVEL).then(|| serde_json::from_slice(&level).ok());
        level.flatten().ok_or_else(|| STRANGE.to_owned())
    }

    pub(super) fn watch(&self) -> &Arc<Watch> {
        &self.watch
    }

    /// Hands a job over.
    ///
    /// # Errors
    /// Why the process ended, in words.
    pub(super) fn send(&mut self, tag: u8, job: &impl Serialize) -> Result<(), String> {
        self.watch.waited.store(0, Ordering::Relaxed);
        let job = serde_json::to_vec(job).map_err(|error| error.to_string())?;
        let Self { watch, to, .. } = self;
        let sent = watch.waiting(|| write_frame(to, tag, &job));
        sent.map_err(|_| self.last_words())
    }

    /// Asks for batches, which [`Self::next_piece`] then gives.
    ///
    /// # Errors
    /// Why the process ended, in words.
    pub(super) fn read(&mut self, job: &ReadJob) -> Result<(), String> {
        self.send(wire::READ, job)?;
        self.stream = Stream::Coming;
        Ok(())
    }

    /// The next piece of the stream; `None` once it is complete.
    ///
    /// # Errors
    /// Why the process ended, in words; the inner one, why the rest cannot be read. The process is
    /// then free.
    pub(super) fn next_piece(&mut self) -> Result<Result<Option<Vec<u8>>, String>, String> {
        self.say_if_asked(wire::MORE)?;
        self.frame_of_stream()
    }

    /// Ends a stream that nobody wants any more. What the process is decoding for it is waited for
    /// in [`Self::settle`], before the next job.
    ///
    /// # Errors
    /// Why the process ended, in words.
    pub(super) fn stop(&mut self) -> Result<(), String> {
        self.say_if_asked(wire::STOP)
    }

    /// Brings a stopped stream to its end.
    ///
    /// # Errors
    /// Why the process ended, in words.
    pub(super) fn settle(&mut self) -> Result<(), String> {
        while self.stream != Stream::None {
            self.stop()?;
            // What is wrong with a batch that nobody wants is nobody's concern.
            let _ = self.frame_of_stream()?;
        }
        Ok(())
    }

    fn say_if_asked(&mut self, tag: u8) -> Result<(), String> {
        if self.stream == Stream::Waiting {
            let Self { watch, to, .. } = self;
            let said = watch.waiting(|| write_frame(to, tag, &[]));
            said.map_err(|_| self.last_words())?;
            self.stream = Stream::Coming;
        }
        Ok(())
    }

    fn frame_of_stream(&mut self) -> Result<Result<Option<Vec<u8>>, String>, String> {
        let (tag, payload) = self.next()?;
        self.stream = match tag {
            wire::PIECE => Stream::Waiting,
            wire::END | wire::ERROR => Stream::None,
            _ => return Err(STRANGE.to_owned()),
        };
        Ok(match tag {
            wire::PIECE => Ok(Some(payload)),
            wire::END => Ok(None),
            _ => Err(String::from_utf8_lossy(&payload).into_owned()),
        })
    }

    /// Waits for the next frame.
    ///
    /// # Errors
    /// Why the process ended, in words.
    pub(super) fn next(&mut self) -> Result<(u8, Vec<u8>), String> {
        match self.receive() {
            Ok(Some(frame)) => Ok(frame),
            Ok(None) | Err(_) => Err(self.last_words()),
        }
    }

    fn receive(&mut self) -> io::Result<Option<(u8, Vec<u8>)>> {
        let Self {
            watch,
            from,
            limits,
            ..
        } = self;
        watch.waiting(|| read_frame(from, limits.memory))
    }

    /// Why a process that does not answer any more has ended.
    fn last_words(&mut self) -> String {
        const MOST: u64 = 64 << 10;
        // Something may still hold its pipes open, or it may have sent what makes no sense.
        let status = {
            let mut child = self.watch.child();
            let _ = child.kill();
            child.wait()
        };
        let mut errors = Vec::new();
        let _ = (&mut self.errors).take(MOST).read_to_end(&mut errors);
        if self.watch.late.load(Ordering::Relaxed) {
            return format!(
                "decoding it takes longer than {} s (`decoding.seconds`)",
                self.limits.time.as_secs_f64()
            );
        }
        let errors = String::from_utf8_lossy(&errors);
        if errors.contains("memory allocation of") {
            return format!(
                "decoding it needs more than {} MiB of memory (`decoding.memory`)",
                self.limits.memory >> 20
            );
        }
        if errors.contains("has overflowed its stack") {
            return "decoding it overflows the stack".to_owned();
        }
        match status {
            Ok(status) => ended(status),
            Err(error) => format!("the decoder was lost: {error}"),
        }
    }
}

#[cfg(unix)]
fn ended(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt as _;
    /// The same number on every Unix that has it.
    const SIGXCPU: i32 = 24;
    match status.signal() {
        Some(SIGXCPU) => {
            "decoding it takes too much processor time (`decoding.seconds`)".to_owned()
        }
        Some(signal) => format!("the decoder was ended by signal {signal}"),
        None => format!("the decoder ended ({status})"),
    }
}

#[cfg(not(unix))]
fn ended(status: ExitStatus) -> String {
    format!("the decoder ended ({status})")
}

impl Drop for Process {
    fn drop(&mut self) {
        self.watch.end();
        // So that no dead process stays behind.
        let _ = self.watch.child().wait();
    }
}
