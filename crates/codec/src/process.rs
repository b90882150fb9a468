//! A worker's process. A thread of its own starts it and waits for its end, so that nobody else
//! waits for a program whose file is slow to come.

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a killed process may take to end. One that the kernel does not let go of, in a file
/// system that hangs, takes longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The name of the threads, which their children have until they become their program.
const KEEPER: &str = "codec-keeper";

/// Children of this process that are workers.
#[derive(Debug)]
struct Workers {
    /// Those whose process may exist, and whose number is not known yet.
    starting: usize,
    /// Those that run, or ran and were not waited for.
    pids: Vec<u32>,
}

static WORKERS: Mutex<Workers> = Mutex::new(Workers {
    starting: 0,
    pids: Vec::new(),
});

fn workers() -> MutexGuard<'static, Workers> {
    WORKERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether a child of this process is a worker, which its [`Worker`](crate::Worker) waits for: who
/// reaps other children must leave it alone. While a worker is being started, one that has ended
/// may be it.
#[must_use]
pub fn is_worker(pid: u32) -> bool {
    let workers = workers();
    workers.pids.contains(&pid) || (workers.starting > 0 && may_be_starting(pid))
}

/// Whether a process has not become its program yet, or has ended.
fn may_be_starting(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name before may hold anything, also a parenthesis.
    stat.rsplit_once(") ").is_none_or(|(name, state)| {
        name.ends_with(&format!("({KEEPER}")) || state.starts_with(['Z', 'X'])
    })
}

#[derive(Debug)]
enum Stage {
    Starting,
    /// Whoever started it does not want it any more.
    Unwanted,
    /// Its number, and a handle that means no other even if somebody else waited for it.
    Runs(u32, Option<OwnedFd>),
    /// How it ended, or why it did not start.
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

    /// The thread: Linux sends a worker its parent-death signal when the thread that spawned it
    /// ends, so this one stays as long as the worker.
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
                // Its number may be another's from now on.
                workers().pids.retain(|known| Some(*known) != pid);
                self.end(status.map_or_else(|_| "the codec process ended".to_owned(), describe));
            }
            // The socket, which the command holds, is closed after it is known why.
            Err(e) => self.end(format!("a codec process cannot be started: exec: {e}")),
        }
    }

    fn started(&self, child: &mut Child) {
        let mut stage = self.stage();
        if matches!(*stage, Stage::Unwanted) {
            // Nobody has waited for it: it is this child still.
            let _ = child.kill();
        }
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let handle = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
        *stage = Stage::Runs(child.id(), handle);
    }
}

/// A process that is started, runs or has ended; none for a thread or what was handed over.
#[derive(Debug)]
pub(crate) struct Running(Option<Arc<Shared>>);

impl Running {
    /// A worker that is no process of ours.
    pub(crate) const fn elsewhere() -> Self {
        Self(None)
    }

    /// Has a process started; does not wait for it. What stands in its way is how it ends.
    ///
    /// # Errors
    /// No thread.
    pub(crate) fn begin(command: Command) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            stage: Mutex::new(Stage::Starting),
            changed: Condvar::new(),
        });
        let there = Arc::clone(&shared);
        // Nobody sees the process before it counts.
        workers().starting += 1;
        std::thread::Builder::new()
            .name(KEEPER.to_owned())
            .spawn(move || there.keep(command))
            .inspect_err(|_| workers().starting -= 1)?;
        Ok(Self(Some(shared)))
    }

    /// Its number, while it runs.
    pub(crate) fn id(&self) -> Option<u32> {
        match *self.0.as_ref()?.stage() {
            Stage::Runs(pid, _) => Some(pid),
            _ => None,
        }
    }

    /// Ends it for certain and says how it had ended before, if it had. One that has not started
    /// ends when it does.
    pub(crate) fn end(&mut self) -> String {
        let Some(shared) = self.0.take() else {
            return "the codec ended".to_owned();
        };
        let mut stage = shared.stage();
        match &*stage {
            // One that has begun to end keeps the status it ended with.
            Stage::Runs(_, Some(handle)) => {
                let _ = pidfd_send_signal(handle, Signal::KILL);
            }
            // Its socket is closed, and without it the worker ends itself.
            Stage::Runs(_, None) | Stage::Ended(_) => {}
            Stage::Starting | Stage::Unwanted => {
                *stage = Stage::Unwanted;
                return "the codec process was ended before it had started".to_owned();
            }
        }
        let ended = |stage: &mut Stage| !matches!(stage, Stage::Ended(_));
        let waited = shared.changed.wait_timeout_while(stage, PATIENCE, ended);
        let (stage, _) = waited.unwrap_or_else(PoisonError::into_inner);
        match &*stage {
            Stage::Ended(how) => how.clone(),
            _ => "the codec process was killed and does not end".to_owned(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
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
