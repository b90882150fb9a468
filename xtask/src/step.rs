//! One step of the lab: a command with a log and a time limit.

use crate::{sh, vm};
use anyhow::{Context as _, Result, bail};
use fs_err::{self as fs, File};
use rustix::process::{Pid, Signal, kill_process_group};
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Interval between two checks of a running step.
const TICK: Duration = Duration::from_millis(100);

/// Lines of a failed step's log that are shown.
const SHOWN: usize = 30;

/// A child process. Dropping it stops the child and all processes that it started.
pub(crate) struct Running {
    child: Child,
    began: Instant,
}

impl Running {
    /// Starts a command in a new process group, with a pipe for its input, and a log of its output.
    pub(crate) fn start(command: &mut Command, log: &Path) -> Result<Self> {
        let file = File::create(log)?.into_parts().0;
        command.stdout(file.try_clone()?).stderr(file);
        let child = command.process_group(0).stdin(Stdio::piped()).spawn();
        let child = child.with_context(|| format!("cannot run {}", sh::shown(command)))?;
        Ok(Self {
            child,
            began: Instant::now(),
        })
    }

    /// Sends a line to the process. If the process no longer reads, nothing happens.
    pub(crate) fn tell(&mut self, line: &str) {
        if let Some(input) = &mut self.child.stdin {
            let _deaf = writeln!(input, "{line}");
        }
    }

    pub(crate) fn took(&self) -> Duration {
        self.began.elapsed()
    }

    /// Returns whether the process has succeeded, once it has ended; `None` before.
    pub(crate) fn ended(&mut self) -> Result<Option<bool>> {
        Ok(self.child.try_wait()?.map(|status| status.success()))
    }

    /// Calls `look` at intervals, until `look` returns a value.
    pub(crate) fn watch<T>(
        &mut self,
        mut look: impl FnMut(&mut Self) -> Result<Option<T>>,
    ) -> Result<T> {
        loop {
            match look(self)? {
                Some(found) => return Ok(found),
                None => thread::sleep(TICK),
            }
        }
    }

    /// Waits for the end, at most until `limit` after the start. Returns whether the process has succeeded,
    /// or `None` if it still runs. Calls `look` at intervals, and a last time after the end.
    pub(crate) fn wait(&mut self, limit: Duration, mut look: impl FnMut()) -> Result<Option<bool>> {
        self.watch(|running| {
            let ended = running.ended()?;
            look();
            Ok((ended.is_some() || running.took() > limit).then_some(ended))
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            // If the signal cannot be sent, the processes have ended meanwhile.
            let _ended = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
            let _ended = self.child.wait();
        }
    }
}

/// Runs a step to its end. Its log is named after `what`, up to a colon.
///
/// # Errors
/// The step fails, or takes longer than `seconds`. The message has the end of its log.
pub(crate) fn run(what: &str, seconds: u64, command: &mut Command) -> Result<()> {
    let logs = vm::results().join("log");
    fs::create_dir_all(&logs)?;
    let name = what.split(':').next().unwrap_or_default();
    let log = logs.join(format!("{}.log", name.replace(' ', "-")));
    eprintln!("vm: {what} (at most {seconds} s; log: {})", log.display());
    let mut running = Running::start(command, &log)?;
    // A step gets no input.
    drop(running.child.stdin.take());
    match running.wait(Duration::from_secs(seconds), || ())? {
        Some(true) => {}
        Some(false) => bail!("{what} failed:\n{}", tail(&log)),
        None => bail!("{what} took longer than {seconds} s:\n{}", tail(&log)),
    }
    eprintln!("vm: {what}: done in {:.1} s", running.took().as_secs_f64());
    Ok(())
}

/// The lines of a file that another process writes.
#[derive(Debug, Default)]
pub(crate) struct Lines(usize);

impl Lines {
    /// Returns the complete lines that are new.
    pub(crate) fn new_in(&mut self, file: &Path) -> Vec<String> {
        let bytes = fs::read(file).unwrap_or_default();
        let new = bytes.get(self.0..).unwrap_or_default();
        let lines = new.split_inclusive(|byte| *byte == b'\n');
        let whole = lines.filter(|line| line.ends_with(b"\n")).map(|line| {
            self.0 += line.len();
            let line = String::from_utf8_lossy(line);
            line.trim_end_matches(['\r', '\n']).to_owned()
        });
        whole.collect()
    }
}

/// Does work on items, `jobs` of them at a time. Returns the results in the order of the items.
pub(crate) fn at_a_time<T: Sync, R: Send + Sync>(
    jobs: usize,
    items: &[T],
    work: impl Fn(&T) -> R + Sync,
) -> Vec<R> {
    let results: Vec<OnceLock<R>> = items.iter().map(|_| OnceLock::new()).collect();
    let open = Mutex::new(items.iter().zip(&results));
    let next = || open.lock().unwrap_or_else(PoisonError::into_inner).next();
    thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                while let Some((item, result)) = next() {
                    result.get_or_init(|| work(item));
                }
            });
        }
    });
    let results = results.into_iter();
    results.filter_map(OnceLock::into_inner).collect()
}

/// Returns the end of a log.
pub(crate) fn tail(log: &Path) -> String {
    let bytes = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(SHOWN)..].join("\n")
}
