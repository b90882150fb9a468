//! A worker's process.
//!
//! Each worker has a thread, its keeper, which starts the process and waits for the process's end. Both can take
//! long: the system may have to read the program from disk, and a process that gets no processor time does not end.
//! The owner of a worker waits for neither.

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Longest wait of [`Running::await_end`], for a machine with much other work.
const EXIT_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum number of workers' processes, including those that are ending. If a file system hangs, a process may
/// not end.
const MAX_WORKERS: usize = 1024;

/// Name of the threads that start processes, and of these processes until exec.
const KEEPER: &str = "codec-keeper";

/// Which children of this process are workers.
#[derive(Debug)]
struct Workers {
    /// Number of workers that may exist already, but whose process ids are not known yet.
    starting: usize,
    /// Process ids of workers whose end has not been waited for yet.
    pids: Vec<u32>,
}

static WORKERS: Mutex<Workers> = Mutex::new(Workers {
    starting: 0,
    pids: Vec::new(),
});

/// Is notified when a worker has ended.
static ENDED: Condvar = Condvar::new();

fn workers() -> MutexGuard<'static, Workers> {
    WORKERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits until all workers have ended, for at most `timeout`. A dropped worker's process ends soon afterwards.
pub fn await_ended(timeout: Duration) {
    let is_any = |workers: &mut Workers| workers.starting > 0 || !workers.pids.is_empty();
    // Ignores a timeout: a process may remain, because a file system that hangs delays its end.
    drop(ENDED.wait_timeout_while(workers(), timeout, is_any));
}

/// Returns whether a child of this process is a worker, or may be one that is just starting.
/// A [`Worker`](crate::Worker) reaps its own process. So code that reaps other children must ignore workers.
#[must_use]
pub fn is_worker(pid: u32) -> bool {
    let workers = workers();
    workers.pids.contains(&pid) || (workers.starting > 0 && may_be_starting(pid))
}

/// Returns whether a process may be a worker that is just starting: it has ended, or not reached exec yet.
fn may_be_starting(pid: u32) -> bool {
    stat(pid).is_none_or(|(name, state)| {
        name.ends_with(&format!("({KEEPER}")) || matches!(state, 'Z' | 'X')
    })
}

/// Returns a process's id and name as one text, and its state.
fn stat(pid: u32) -> Option<(String, char)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may contain any character, including parentheses.
    let (name, rest) = stat.rsplit_once(") ")?;
    Some((name.to_owned(), rest.chars().next()?))
}

#[derive(Debug)]
enum Stage {
    Starting,
    /// The owner ended the worker while the process was starting.
    Unwanted,
    /// The process id, and a handle that stays valid even if another caller has waited for the process.
    Runs(u32, Option<OwnedFd>),
    /// How the process ended, or why it was not started.
    Ended(String),
}

#[derive(Debug)]
struct Shared {
    stage: Mutex<Stage>,
    changed: Condvar,
}

impl Shared {
    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, how: String) {
        *self.stage() = Stage::Ended(how);
        self.changed.notify_all();
    }

    /// Runs the thread of a worker: starts the process, and waits for its end.
    ///
    /// Linux sends a worker its parent-death signal when the thread that spawned it ends. So this
    /// thread lives as long as the worker.
    ///
    /// Source: Linux prctl(2), `PR_SET_PDEATHSIG`.
    fn keep(&self, mut command: Command) {
        let spawned = command.spawn();
        let pid = spawned.as_ref().ok().map(Child::id);
        {
            let mut workers = workers();
            workers.starting -= 1;
            workers.pids.extend(pid);
        }
        match spawned {
            Ok(mut child) => {
                self.started(&mut child);
                drop(command);
                let status = child.wait();
                // From now on, another process may get this process id.
                workers().pids.retain(|known| Some(*known) != pid);
                self.end(status.map_or_else(|_| "the codec process ended".to_owned(), describe));
            }
            // The reason is stored before the command is dropped. The drop closes the worker's socket, and
            // the owner then asks for the reason.
            Err(e) => self.end(format!("a codec process cannot be started: exec: {e}")),
        }
        ENDED.notify_all();
    }

    fn started(&self, child: &mut Child) {
        let mut stage = self.stage();
        if matches!(*stage, Stage::Unwanted) {
            // The process has not been waited for, so its id cannot belong to another process.
            let _ = child.kill();
        }
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let handle = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
        *stage = Stage::Runs(child.id(), handle);
    }
}

/// A worker's process. `None` for a worker that is no child process: it is a thread, or a server that runs already
/// serves it ([`Launch::handed`](crate::Launch::handed)).
#[derive(Debug)]
pub(crate) struct Running(Option<Arc<Shared>>);

impl Running {
    /// Returns the state of a worker that is no child process.
    pub(crate) const fn elsewhere() -> Self {
        Self(None)
    }

    /// Begins to start a process, without waiting for it. A failed start is reported as the process's end.
    ///
    /// # Errors
    /// The thread cannot be started, or too many processes have not ended yet (EAGAIN).
    pub(crate) fn begin(command: Command) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            stage: Mutex::new(Stage::Starting),
            changed: Condvar::new(),
        });
        let there = Arc::clone(&shared);
        {
            let mut workers = workers();
            if workers.starting + workers.pids.len() >= MAX_WORKERS {
                return Err(rustix::io::Errno::AGAIN.into());
            }
            // Counts the process before it exists, so that `is_worker` never misses it.
            workers.starting += 1;
        }
        std::thread::Builder::new()
            .name(KEEPER.to_owned())
            .spawn(move || there.keep(command))
            .inspect_err(|_| workers().starting -= 1)?;
        Ok(Self(Some(shared)))
    }

    /// Returns the process id, while the process runs.
    pub(crate) fn id(&self) -> Option<u32> {
        match *self.0.as_ref()?.stage() {
            Stage::Runs(pid, _) => Some(pid),
            _ => None,
        }
    }

    /// Kills the process, and returns at once. From then on, the process executes no instruction of its own, although
    /// it may need time to end. A process that is still starting ends when it has started.
    ///
    /// Returns how the process has ended, if it had ended already.
    pub(crate) fn kill(&self) -> Option<String> {
        let mut stage = self.0.as_ref()?.stage();
        match &*stage {
            // If the process has begun to exit, the signal does not change its status.
            Stage::Runs(_, Some(handle)) => {
                let _ = pidfd_send_signal(handle, Signal::KILL);
            }
            // Without a handle, the worker ends by itself once its socket is closed.
            Stage::Runs(_, None) => {}
            Stage::Starting | Stage::Unwanted => *stage = Stage::Unwanted,
            Stage::Ended(how) => return Some(how.clone()),
        }
        None
    }

    /// Returns a descriptor that is readable once the process has ended; `None` if it does not run.
    pub(crate) fn end_fd(&self) -> Option<OwnedFd> {
        match &*self.0.as_ref()?.stage() {
            Stage::Runs(_, Some(handle)) => handle.try_clone().ok(),
            _ => None,
        }
    }

    /// Kills the process, waits for its end, and returns how it ended.
    pub(crate) fn await_end(&self) -> String {
        self.kill();
        let Some(shared) = &self.0 else {
            return "the codec ended".to_owned();
        };
        let is_going = |stage: &mut Stage| !matches!(stage, Stage::Ended(_));
        let (changed, stage) = (&shared.changed, shared.stage());
        let waited = changed.wait_timeout_while(stage, EXIT_TIMEOUT, is_going);
        match &*waited.unwrap_or_else(PoisonError::into_inner).0 {
            Stage::Ended(how) => how.clone(),
            _ => "the codec process was killed but has not ended".to_owned(),
        }
    }

    /// Returns whether a signal or a debugger has stopped the process, perhaps for good.
    pub(crate) fn is_stopped(&self) -> bool {
        let state = self.id().and_then(stat);
        state.is_some_and(|(_, state)| matches!(state, 'T' | 't'))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

fn describe(status: ExitStatus) -> String {
    let Some(number) = status.signal() else {
        let code = status.code().unwrap_or(-1);
        return format!("the codec process ended with status {code}");
    };
    let what = match Signal::from_named_raw(number) {
        Some(Signal::SEGV | Signal::BUS | Signal::ILL | Signal::FPE) => "crashed",
        Some(Signal::ABORT) => "gave up",
        Some(Signal::XCPU) => "computed too long for one piece of input",
        Some(Signal::SYS) => "made a system call that it may not make",
        _ => "was killed",
    };
    format!("the codec process {what} (signal {number})")
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, poll};

    /// Begins `sleep`, and returns it once it runs, with a descriptor for its end.
    fn sleeper() -> (Running, OwnedFd) {
        let mut command = Command::new("sleep");
        command.arg("1000");
        let running = Running::begin(command).unwrap();
        loop {
            match running.end_fd() {
                Some(end) => return (running, end),
                None => std::thread::yield_now(),
            }
        }
    }

    /// The owner may hold a lock, and a killed process ends only once it gets processor time.
    #[test]
    fn drop_does_not_await_the_end() {
        let (running, end) = sleeper();
        // While the list is locked, the keeper cannot say that the process has ended.
        let locked = workers();
        let begun = std::time::Instant::now();
        drop(running);
        assert!(begun.elapsed() < EXIT_TIMEOUT);
        drop(locked);
        let ended = poll(&mut [PollFd::new(&end, PollFlags::IN)], None);
        assert_eq!(ended, Ok(1));
        await_ended(EXIT_TIMEOUT);
    }

    #[test]
    fn killed_process_tells_how_it_ended() {
        let (running, _) = sleeper();
        assert_eq!(running.kill(), None, "it needs time");
        let sentence = "the codec process was killed (signal 9)";
        assert_eq!(running.await_end(), sentence);
        assert_eq!(running.kill().as_deref(), Some(sentence));
        assert!(running.end_fd().is_none() && running.id().is_none());
    }
}
