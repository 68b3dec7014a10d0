//! The decoder's side.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};

use arrow::buffer::Buffer;
use arrow::ipc::writer::StreamEncoder;
use serde::de::DeserializeOwned;

use super::sandbox::{CpuClock, Hello, enter};
use super::wire::{self, read_frame, write_frame, write_parts};
use crate::decode::job::{Job, OpenFiles, ReadJob};
use crate::decode::{Terms, guard};
use crate::encryption::InputKeys;

/// What is written is gathered up to this size, so that narrow columns are few system calls; larger
/// buffers go out as they are.
const GATHERED: usize = 64 << 10;

/// Serves jobs from standard input until it ends, and answers on standard output.
///
/// # Errors
/// When the pipes break, or carry what this version does not write.
pub fn serve_decoder() -> io::Result<()> {
    // Not through `Stdin` and `Stdout`: their buffers look for line breaks.
    let (input, output) = standard_streams()?;
    serve(
        BufReader::new(input),
        BufWriter::with_capacity(GATHERED, output),
    )
}

#[cfg(unix)]
fn standard_streams() -> io::Result<(File, File)> {
    use std::os::fd::AsFd as _;
    let input = io::stdin().as_fd().try_clone_to_owned()?;
    let output = io::stdout().as_fd().try_clone_to_owned()?;
    Ok((input.into(), output.into()))
}

#[cfg(windows)]
fn standard_streams() -> io::Result<(File, File)> {
    use std::os::windows::io::AsHandle as _;
    let input = io::stdin().as_handle().try_clone_to_owned()?;
    let output = io::stdout().as_handle().try_clone_to_owned()?;
    Ok((input.into(), output.into()))
}

fn serve(mut input: impl Read, mut output: impl Write) -> io::Result<()> {
    let Some((wire::HELLO, hello)) = read_frame(&mut input, u64::MAX)? else {
        return Err(io::Error::other("no greeting"));
    };
    let mut hello: Hello = parsed(&hello)?;
    let keys = hello.keys.take().map(InputKeys::try_from);
    let keys = keys.transpose().map_err(io::Error::other)?;
    let clock = CpuClock::start();
    let level = enter(&hello);
    write_frame(&mut output, wire::LEVEL, &serde_json::to_vec(&level)?)?;
    output.flush()?;
    let terms = Terms {
        headers: hello.headers,
        keys,
    };
    let mut files = OpenFiles::new(terms);
    while let Some((tag, payload)) = read_frame(&mut input, u64::MAX)? {
        clock.allow(hello.limits.time);
        match tag {
            wire::JOB => match parsed::<Job>(&payload)?.run(files.terms()) {
                Ok(answer) => {
                    write_frame(&mut output, wire::ANSWER, &serde_json::to_vec(&answer)?)?;
                }
                Err(reason) => write_frame(&mut output, wire::ERROR, reason.as_bytes())?,
            },
            wire::READ => {
                let job: ReadJob = parsed(&payload)?;
                match send(&mut files, &job, &mut input, &mut output) {
                    Ok(()) => write_frame(&mut output, wire::END, &[])?,
                    Err(Failed::Reason(reason)) => {
                        write_frame(&mut output, wire::ERROR, reason.as_bytes())?;
                    }
                    Err(Failed::Pipe(error)) => return Err(error),
                }
            }
            other => return Err(io::Error::other(format!("a frame `{other}`"))),
        }
        output.flush()?;
    }
    Ok(())
}

fn parsed<T: DeserializeOwned>(payload: &[u8]) -> io::Result<T> {
    serde_json::from_slice(payload).map_err(io::Error::other)
}

enum Failed {
    /// The file does not decode.
    Reason(String),
    /// Nobody listens any more.
    Pipe(io::Error),
}

/// Sends the batches that `job` asks for, as long as they are wanted.
fn send(
    files: &mut OpenFiles,
    job: &ReadJob,
    input: &mut impl Read,
    output: &mut impl Write,
) -> Result<(), Failed> {
    let reason = Failed::Reason;
    let mut batches = guard(|| files.read(job)).map_err(reason)?;
    let mut next = || guard(|| batches.next().transpose()).map_err(reason);
    let Some(mut batch) = next()? else {
        return Ok(());
    };
    let mut encoder =
        StreamEncoder::try_new(&batch.schema()).map_err(|error| unencodable(&error))?;
    loop {
        // The buffers of the batch itself: nothing is copied but into the pipe.
        let parts: Vec<Buffer> = encoder
            .encode(&batch)
            .map_err(|error| unencodable(&error))?;
        write_parts(output, wire::PIECE, &parts)
            .and_then(|()| output.flush())
            .map_err(Failed::Pipe)?;
        drop((parts, batch));
        // While the scan works on that one.
        let following = next();
        if !is_wanted(input).map_err(Failed::Pipe)? {
            return Ok(());
        }
        match following? {
            Some(following) => batch = following,
            None => return Ok(()),
        }
    }
}

/// Whether the scan wants what comes after the last piece.
fn is_wanted(input: &mut impl Read) -> io::Result<bool> {
    match read_frame(input, 0)? {
        Some((wire::MORE, _)) => Ok(true),
        Some((wire::STOP, _)) => Ok(false),
        _ => Err(io::Error::other("no answer to a batch")),
    }
}

fn unencodable(error: &arrow::error::ArrowError) -> Failed {
    Failed::Reason(format!("handing it over: {error}"))
}
