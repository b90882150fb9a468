//! Where a trace goes. A bounded queue leads to a thread that writes; what finds it full is
//! counted, and said in the trace and at the end.

use crate::event::{Event, Format};
use anyhow::{Context as _, Result};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd as _;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

/// Calls that may wait to be written.
const QUEUE: usize = 16_384;
/// How long the end of a run waits for the rest to be written.
const PATIENCE: Duration = Duration::from_secs(2);

/// Where a trace goes.
#[derive(Debug)]
pub struct Sink {
    name: String,
    queue: SyncSender<Arc<Event>>,
    dropped: Arc<AtomicU64>,
    done: Receiver<io::Result<u64>>,
}

/// What a trace lacks when it has ended.
#[derive(Debug, Default)]
pub struct Left {
    /// Calls that were not written because the writer was too slow.
    pub dropped: u64,
    /// Why writing ended early.
    pub error: Option<String>,
}

impl Sink {
    /// Writes to a file, which is emptied; a FIFO is opened when somebody reads it.
    ///
    /// # Errors
    /// The file cannot be written, or no thread is to be had.
    pub(super) fn file(path: &Path, format: Format) -> Result<Self> {
        let name = path.display().to_string();
        let waits = path.metadata().is_ok_and(|meta| meta.file_type().is_fifo());
        if waits {
            let path = path.to_owned();
            return Self::start(name, format, move || {
                File::options().write(true).open(&path)
            });
        }
        let file = File::create(path).with_context(|| format!("cannot write {name}"))?;
        Self::start(name, format, move || Ok(file))
    }

    /// Writes text to the standard error.
    ///
    /// # Errors
    /// No descriptor or thread is to be had.
    fn stderr() -> Result<Self> {
        // Of its own, so that nobody else's messages wait for this thread.
        let fd = io::stderr().as_fd().try_clone_to_owned();
        let file = File::from(fd.context("cannot write to the terminal")?);
        Self::start("the terminal".to_owned(), Format::Text, move || Ok(file))
    }

    fn start(
        name: String,
        format: Format,
        open: impl FnOnce() -> io::Result<File> + Send + 'static,
    ) -> Result<Self> {
        let (queue, events) = sync_channel(QUEUE);
        let (tell, done) = sync_channel(1);
        let dropped = Arc::new(AtomicU64::new(0));
        let lost = Arc::clone(&dropped);
        let work = move || {
            let written = open().and_then(|file| write_all(file, format, &events, &lost));
            // Nobody listens when the run has not waited for the end.
            let _ = tell.send(written);
        };
        std::thread::Builder::new()
            .name("trace".to_owned())
            .spawn(work)
            .context("no thread to write the trace")?;
        Ok(Self {
            name,
            queue,
            dropped,
            done,
        })
    }

    /// Hands a call to the writer, if there is room; never waits.
    pub(super) fn write(&self, event: &Arc<Event>) {
        match self.queue.try_send(Arc::clone(event)) {
            // A writer that has failed says so at the end.
            Ok(()) | Err(TrySendError::Disconnected(_)) => {}
            Err(TrySendError::Full(_)) => {
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Ends the trace; waits for the writer, but not for ever.
    #[must_use]
    pub fn finish(self) -> Left {
        let Self {
            name,
            queue,
            dropped,
            done,
        } = self;
        drop(queue);
        let error = match done.recv_timeout(PATIENCE) {
            Ok(Ok(_)) => None,
            Ok(Err(e)) => Some(format!("the trace in {name} is not whole: {e}")),
            Err(_) => Some(format!(
                "the trace in {name} is not whole: what reads or stores it was too slow"
            )),
        };
        Left {
            dropped: dropped.load(Ordering::Relaxed),
            error,
        }
    }

    /// Where it goes, in words.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// Lines of a trace as they go out.
struct Lines {
    out: io::BufWriter<File>,
    format: Format,
    written: u64,
}

impl Lines {
    fn put(&mut self, line: &str) -> io::Result<()> {
        let (before, after) = match (self.format, self.written) {
            (Format::Text | Format::Json, _) => ("", "\n"),
            // An array, whose end may be missing.
            (Format::Perfetto, 0) => ("[\n", ""),
            (Format::Perfetto, _) => (",\n", ""),
        };
        self.written += 1;
        for part in [before, line, after] {
            self.out.write_all(part.as_bytes())?;
        }
        Ok(())
    }

    fn finish(mut self) -> io::Result<u64> {
        if self.format == Format::Perfetto {
            let end: &[u8] = if self.written == 0 { b"[]\n" } else { b"\n]\n" };
            self.out.write_all(end)?;
        }
        self.out.flush()?;
        Ok(self.written)
    }
}

/// Writes calls until no more can come. Lines go out as soon as none waits.
fn write_all(
    file: File,
    format: Format,
    events: &Receiver<Arc<Event>>,
    dropped: &AtomicU64,
) -> io::Result<u64> {
    let mut lines = Lines {
        out: io::BufWriter::with_capacity(64 << 10, file),
        format,
        written: 0,
    };
    let mut said = 0;
    while let Ok(first) = events.recv() {
        let mut next = Some(first);
        while let Some(event) = next {
            lines.put(&event.line(format))?;
            next = events.try_recv().ok();
        }
        let now = dropped.load(Ordering::Relaxed);
        if now > said {
            lines.put(&gap(now - said, format))?;
            said = now;
        }
        lines.out.flush()?;
    }
    lines.finish()
}

/// A line that stands for calls that are missing.
fn gap(calls: u64, format: Format) -> String {
    match format {
        Format::Text => format!("... {calls} calls are missing here: writing was too slow"),
        Format::Json => format!("{{\"missing_calls\":{calls}}}"),
        // An instant of the whole trace.
        Format::Perfetto => {
            format!("{{\"ph\":\"i\",\"s\":\"g\",\"ts\":0,\"name\":\"{calls} calls are missing\"}}")
        }
    }
}

/// The format that a file's name asks for.
#[must_use]
pub(super) fn format_of(path: &Path) -> Format {
    let name = path.file_name().map(|name| name.to_string_lossy());
    if name.is_some_and(|name| name.ends_with(".perfetto.json")) {
        return Format::Perfetto;
    }
    let json = path.extension().is_some_and(|ext| {
        ["json", "jsonl", "ndjson"]
            .iter()
            .any(|known| ext.eq_ignore_ascii_case(known))
    });
    if json { Format::Json } else { Format::Text }
}

/// The traces that a command line asks for.
///
/// # Errors
/// The file cannot be written, or the system has no descriptor or thread left.
pub fn sinks(file: Option<&PathBuf>, format: Option<Format>, verbose: bool) -> Result<Vec<Sink>> {
    let mut sinks = Vec::new();
    if let Some(path) = file {
        sinks.push(Sink::file(path, format.unwrap_or_else(|| format_of(path)))?);
    }
    if verbose {
        sinks.push(Sink::stderr()?);
    }
    Ok(sinks)
}
