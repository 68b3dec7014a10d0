//! The decoders of a dataset: as many as are at work at once, kept for the next job.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::ipc::reader::StreamDecoder;

use super::plain::PlainStream;
use super::process::{Process, Watch};
use super::sandbox::{Hello, SandboxLevel};
use super::{Isolation, STRANGE, wire};
use crate::dataset::OpenOptions;
use crate::decode::RawBatches;
use crate::decode::job::{Answer, FilePath, Job, ReadJob};
use crate::decode::text::most_unpacked;
use crate::discover::InputFile;
use crate::encryption::SentKeys;
use crate::error::IoError;

/// How often waiting threads are looked after.
const TICK: Duration = Duration::from_millis(50);

/// Processes that decode the files of a dataset.
#[derive(Debug)]
pub(crate) struct Pool {
    isolation: Isolation,
    hello: Hello,
    level: SandboxLevel,
    idle: Mutex<Vec<Process>>,
    watched: Arc<Watched>,
}

/// All processes, for the thread that ends those that take too long.
#[derive(Debug)]
struct Watched {
    watches: Mutex<Vec<Weak<Watch>>>,
    time: Duration,
    cancel: Arc<AtomicBool>,
}

impl Pool {
    /// Starts the first process, to see that it can be done.
    pub(super) fn new(
        isolation: &Isolation,
        options: &OpenOptions,
        files: &[InputFile],
    ) -> Result<Self, IoError> {
        let unstartable = |reason: String| IoError::Isolation { reason };
        let hello = Hello {
            limits: isolation.limits,
            headers: options.headers,
            readable: readable(files).into_iter().map(FilePath).collect(),
            scratch: options.scratch.as_path().into(),
            scratch_bytes: files.iter().map(most_unpacked).max().unwrap_or(0),
            keys: options.keys.inputs.as_ref().map(SentKeys::from),
        };
        let mut pool = Self {
            isolation: isolation.clone(),
            hello,
            level: SandboxLevel::default(),
            idle: Mutex::default(),
            watched: Arc::new(Watched {
                watches: Mutex::default(),
                time: isolation.limits.time,
                cancel: Arc::clone(&options.cancel),
            }),
        };
        let watched = Arc::downgrade(&pool.watched);
        std::thread::Builder::new()
            .name("decoder-watch".to_owned())
            .spawn(move || watch(&watched))
            .map_err(|error| unstartable(format!("watch the decoders: {error}")))?;
        let (first, level) = pool.start().map_err(unstartable)?;
        if isolation.required && !level.is_complete() {
            return Err(IoError::SandboxIncomplete { level });
        }
        pool.level = level;
        pool.put_back(first);
        Ok(pool)
    }

    /// What the decoders are shut into.
    pub(crate) fn level(&self) -> SandboxLevel {
        self.level
    }

    /// Has a job done.
    ///
    /// # Errors
    /// Why it cannot be done, or what became of the process that tried.
    pub(super) fn run(&self, job: &Job) -> Result<Answer, String> {
        let mut process = self.take()?;
        process.send(wire::JOB, job)?;
        let (tag, payload) = process.next()?;
        let answer = match tag {
            wire::ANSWER => Ok(serde_json::from_slice(&payload).map_err(|_| STRANGE.to_owned())?),
            wire::ERROR => Err(String::from_utf8_lossy(&payload).into_owned()),
            _ => return Err(STRANGE.to_owned()),
        };
        self.put_back(process);
        answer
    }

    /// The batches that `job` asks for.
    pub(crate) fn read(self: &Arc<Self>, job: &ReadJob) -> Result<RawBatches, String> {
        let mut process = self.take()?;
        process.read(job)?;
        Ok(Box::new(Received {
            pool: Arc::clone(self),
            process: Some(process),
            plain: PlainStream::default(),
            decoder: StreamDecoder::new(),
            piece: Buffer::from_vec(Vec::<u8>::new()),
        }))
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Process>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Result<Process, String> {
        loop {
            // Not in the condition of a `while let`, which would hold the lock over the waiting.
            let idle = self.idle().pop();
            let Some(mut process) = idle else {
                return self.start().map(|(process, _)| process);
            };
            // One that does not come to the end of its last job fails nobody else's.
            if process.settle().is_ok() {
                return Ok(process);
            }
        }
    }

    fn start(&self) -> Result<(Process, SandboxLevel), String> {
        let mut process = Process::start(&self.isolation)
            .map_err(|error| format!("no decoder could be started: {error}"))?;
        self.watched.watches().push(Arc::downgrade(process.watch()));
        let level = process.greet(&self.hello)?;
        Ok((process, level))
    }

    fn put_back(&self, process: Process) {
        self.idle().push(process);
    }
}

impl Watched {
    fn watches(&self) -> MutexGuard<'_, Vec<Weak<Watch>>> {
        self.watches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn watch(watched: &Weak<Watched>) {
    while let Some(watched) = watched.upgrade() {
        let cancelled = watched.cancel.load(Ordering::Relaxed);
        watched.watches().retain(|watch| {
            let running = watch.upgrade();
            if let Some(running) = &running {
                running.check(watched.time, cancelled);
            }
            running.is_some()
        });
        drop(watched);
        std::thread::sleep(TICK);
    }
}

/// The folders that hold `files`, without those inside others.
fn readable(files: &[InputFile]) -> BTreeSet<PathBuf> {
    // Discovery has resolved all links.
    let folders = files.iter().filter_map(|file| file.path.parent());
    let mut folders: BTreeSet<PathBuf> = folders.map(Path::to_owned).collect();
    let all = folders.clone();
    folders.retain(|folder| {
        let mut above = folder.ancestors().skip(1);
        above.all(|folder| !all.contains(folder))
    });
    folders
}

/// Batches as they come over the pipe.
struct Received {
    pool: Arc<Pool>,
    /// Gone once the stream has ended.
    process: Option<Process>,
    plain: PlainStream,
    decoder: StreamDecoder,
    piece: Buffer,
}

impl Received {
    fn next_batch(&mut self) -> Result<Option<RecordBatch>, String> {
        loop {
            if !self.piece.is_empty() {
                let decoded = self.decoder.decode(&mut self.piece);
                if let Some(batch) = decoded.map_err(|error| format!("handing it over: {error}"))? {
                    return Ok(Some(batch));
                }
            }
            let Some(process) = &mut self.process else {
                return Ok(None);
            };
            let piece = process.next_piece()?;
            if let Ok(Some(piece)) = piece {
                self.plain.check(&piece)?;
                self.piece = Buffer::from_vec(piece);
                continue;
            }
            if let Some(process) = self.process.take() {
                self.pool.put_back(process);
            }
            return piece.map(|_| None);
        }
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        // Starting a process costs more than the batch that this one is about to make.
        if let Some(mut process) = self.process.take()
            && process.stop().is_ok()
        {
            self.pool.put_back(process);
        }
    }
}

impl Iterator for Received {
    type Item = Result<RecordBatch, String>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.next_batch();
        if next.is_err() {
            // It has ended, or nothing that it says can be relied on.
            self.process = None;
        }
        next.transpose()
    }
}
