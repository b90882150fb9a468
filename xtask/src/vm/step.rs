//! One step of the lab: a command with a log and a time limit.

use anyhow::{Context as _, Result, bail};
use std::fs::File;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Interval of looks at a running step.
const TICK: Duration = Duration::from_millis(100);

/// Milliseconds of a tick in /proc (`USER_HZ` is 100 on all of Linux's current architectures).
const MS_PER_TICK: u64 = 10;

/// Lines of a failed step's log that are shown.
const SHOWN: usize = 30;

/// A child process. Dropping it stops the child and all processes that it started.
pub(crate) struct Running(Child);

impl Running {
    /// Starts a command in a new process group, with pipes for its input and output.
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        let child = command
            .process_group(0)
            .stdin(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run {}", crate::sh::shown(command)))?;
        Ok(Self(child))
    }

    /// Sends a line to the process. If the process no longer reads, nothing happens.
    pub(crate) fn tell(&mut self, line: &str) {
        if let Some(input) = &mut self.0.stdin {
            let _deaf = writeln!(input, "{line}");
        }
    }

    /// Returns the processor time so far; `None` once the process has ended.
    pub(crate) fn cpu(&self) -> Option<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0.id())).ok()?;
        // The name may contain anything. After it, utime and stime are the 12th and 13th word.
        let mut words = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
        let (user, system): (u64, u64) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        Some(Duration::from_millis((user + system) * MS_PER_TICK))
    }

    /// Returns whether the process has succeeded, once it has ended; `None` before.
    pub(crate) fn ended(&mut self) -> Result<Option<bool>> {
        Ok(self.0.try_wait()?.map(|status| status.success()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(None) = self.0.try_wait() {
            let group = format!("-{}", self.0.id());
            // A process that cannot be stopped has ended meanwhile.
            let _ended = Command::new("kill").args(["-KILL", "--", &group]).status();
            let _ended = self.0.wait();
        }
    }
}

/// Runs a step to its end.
///
/// # Errors
/// The step fails, or takes longer than `limit`. The message has the end of its log.
pub(crate) fn run(what: &str, limit: Duration, log: &Path, command: &mut Command) -> Result<()> {
    let file = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    eprintln!(
        "vm: {what} (at most {} s; log: {})",
        limit.as_secs(),
        log.display()
    );
    let start = Instant::now();
    let mut running = Running::start(command.stdout(file.try_clone()?).stderr(file))?;
    // A step gets no input.
    drop(running.0.stdin.take());
    loop {
        match running.ended()? {
            Some(true) => break,
            Some(false) => bail!("{what} failed:\n{}", tail(log)),
            None if start.elapsed() > limit => {
                bail!(
                    "{what} took longer than {} s:\n{}",
                    limit.as_secs(),
                    tail(log)
                )
            }
            None => std::thread::sleep(TICK),
        }
    }
    eprintln!("vm: {what}: done in {:.1} s", start.elapsed().as_secs_f64());
    Ok(())
}

/// Returns the end of a log.
pub(crate) fn tail(log: &Path) -> String {
    let Ok(bytes) = std::fs::read(log) else {
        return String::new();
    };
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(SHOWN)..].join("\n")
}
