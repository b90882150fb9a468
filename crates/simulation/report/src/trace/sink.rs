//! Writers of traces: a bounded queue, and a thread that writes its calls.
//! If the queue is full, calls are only counted. The trace shows the count, and so does the run's end.

use crate::event::{Event, Format};
use crate::report::{is_fifo, private};
use anyhow::{Context as _, Result};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

/// Maximum number of calls waiting to be written.
const QUEUE: usize = 16_384;
/// Maximum time that the end of a run waits for the writer.
const WRITER_TIMEOUT: Duration = Duration::from_secs(2);

/// A writer of a trace.
#[derive(Debug)]
pub struct Sink {
    name: String,
    queue: SyncSender<Arc<Event>>,
    dropped: Arc<AtomicU64>,
    /// Whether the run ended the trace by [`finish`](Sink::finish), rather than dropping it.
    ends: Arc<AtomicBool>,
    done: Receiver<io::Result<()>>,
}

/// Gaps of a finished trace.
#[derive(Debug, Default)]
pub struct Gaps {
    /// Calls that were not written because the writer was too slow.
    pub dropped: u64,
    /// The reason why the trace is incomplete.
    pub error: Option<String>,
}

impl Sink {
    /// Writes to a file. The first call, or the trace's end, replaces its content. A FIFO is opened as soon as it
    /// has a reader.
    ///
    /// # Errors
    /// The file cannot be written, or the writer's thread cannot be started.
    pub(super) fn file(path: &Path, format: Format) -> Result<Self> {
        if path.as_os_str() == "-" {
            let fd = io::stdout().as_fd().try_clone_to_owned();
            let file = File::from(fd.context("cannot write to standard output")?);
            return Self::start("standard output".to_owned(), format, false, move || {
                Ok(file)
            });
        }
        let name = path.display().to_string();
        if is_fifo(path) {
            let path = path.to_owned();
            return Self::start(name, format, false, move || {
                File::options().write(true).open(&path)
            });
        }
        let file = (private().write(true).create(true).truncate(false)).open(path);
        let file = file.with_context(|| format!("cannot write {name}"))?;
        Self::start(name, format, true, move || Ok(file))
    }

    /// Writes text to standard error.
    ///
    /// # Errors
    /// No descriptor is free, or the writer's thread cannot be started.
    fn stderr() -> Result<Self> {
        // A separate `File`, so that the trace and other messages do not share the lock of `io::stderr`.
        let fd = io::stderr().as_fd().try_clone_to_owned();
        let file = File::from(fd.context("cannot write to the terminal")?);
        Self::start("the terminal".to_owned(), Format::Text, false, move || {
            Ok(file)
        })
    }

    fn start(
        name: String,
        format: Format,
        replaces: bool,
        open: impl FnOnce() -> io::Result<File> + Send + 'static,
    ) -> Result<Self> {
        let (queue, events) = sync_channel(QUEUE);
        let (tell, done) = sync_channel(1);
        let dropped = Arc::new(AtomicU64::new(0));
        let lost = Arc::clone(&dropped);
        let ends = Arc::new(AtomicBool::new(false));
        let is_end = Arc::clone(&ends);
        let work = move || {
            let written = open().and_then(|file| {
                let lines = Lines {
                    out: io::BufWriter::with_capacity(64 << 10, file),
                    format,
                    replaces,
                    written: 0,
                };
                write_all(lines, &events, &lost, &is_end)
            });
            // The send fails if `finish` no longer waits.
            let _ = tell.send(written);
        };
        std::thread::Builder::new()
            .name("trace".to_owned())
            .spawn(work)
            .context("cannot start the thread that writes the trace")?;
        Ok(Self {
            name,
            queue,
            dropped,
            ends,
            done,
        })
    }

    /// Passes a call to the writer, or counts the call if the queue is full. Never waits.
    pub(super) fn write(&self, event: &Arc<Event>) {
        match self.queue.try_send(Arc::clone(event)) {
            // `finish` reports the error of a failed writer.
            Ok(()) | Err(TrySendError::Disconnected(_)) => {}
            Err(TrySendError::Full(_)) => {
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Ends the trace. Waits for the writer at most two seconds.
    #[must_use]
    pub fn finish(self) -> Gaps {
        let Self {
            name,
            queue,
            dropped,
            ends,
            done,
        } = self;
        ends.store(true, Ordering::Release);
        drop(queue);
        let error = match done.recv_timeout(WRITER_TIMEOUT) {
            Ok(Ok(())) => None,
            Ok(Err(e)) => Some(format!("the trace in {name} is incomplete: {e}")),
            Err(_) => Some(format!(
                "the trace in {name} is incomplete: its reader or disk was too slow"
            )),
        };
        Gaps {
            dropped: dropped.load(Ordering::Relaxed),
            error,
        }
    }

    /// Returns the destination: the file's name or "the terminal".
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// Formats and buffers the lines of a trace.
struct Lines {
    out: io::BufWriter<File>,
    format: Format,
    /// Whether the lines replace the file's content.
    replaces: bool,
    written: u64,
}

impl Lines {
    fn put(&mut self, line: &str) -> io::Result<()> {
        let (before, after) = match (self.format, self.written) {
            (Format::Text | Format::Json, _) => ("", "\n"),
            // The lines form a JSON array. Readers accept the array without its closing bracket.
            (Format::Perfetto, 0) => ("[\n", ""),
            (Format::Perfetto, _) => (",\n", ""),
        };
        self.begin();
        self.written += 1;
        for part in [before, line, after] {
            self.out.write_all(part.as_bytes())?;
        }
        Ok(())
    }

    fn begin(&self) {
        if self.replaces && self.written == 0 {
            // A terminal, for example, cannot be truncated.
            let _ = self.out.get_ref().set_len(0);
        }
    }

    fn finish(mut self) -> io::Result<()> {
        self.begin();
        if self.format == Format::Perfetto {
            let end: &[u8] = if self.written == 0 { b"[]\n" } else { b"\n]\n" };
            self.out.write_all(end)?;
        }
        self.out.flush()
    }
}

/// Writes calls until the queue is closed. Flushes whenever the queue is empty. If the queue is closed before a call
/// came and before the trace ended, the run has not begun: leaves the file as it was.
fn write_all(
    mut lines: Lines,
    events: &Receiver<Arc<Event>>,
    dropped: &AtomicU64,
    is_end: &AtomicBool,
) -> io::Result<()> {
    let format = lines.format;
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
    match lines.written > 0 || is_end.load(Ordering::Acquire) {
        true => lines.finish(),
        false => Ok(()),
    }
}

/// Returns a line that stands for missing calls.
fn gap(calls: u64, format: Format) -> String {
    match format {
        Format::Text => format!("... {calls} calls are missing here: the writer was too slow"),
        Format::Json => format!("{{\"missing_calls\":{calls}}}"),
        // An instant event of global scope.
        Format::Perfetto => {
            format!("{{\"ph\":\"i\",\"s\":\"g\",\"ts\":0,\"name\":\"{calls} calls are missing\"}}")
        }
    }
}

/// Returns the format for a file name.
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

/// Starts the traces that a command line requests.
///
/// # Errors
/// The file cannot be written, no descriptor is free, or a writer's thread cannot be started.
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
