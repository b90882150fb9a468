//! Starting a worker, and finding out how it ended.

use crate::job::Kind;
use crate::socket::Socket;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Why a worker could not be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// This build has no such codec.
    #[error("this build has no {codec}: it lacks the feature `{feature}` of vb3-codec")]
    NotBuilt {
        /// In words.
        codec: &'static str,
        /// Of this crate.
        feature: &'static str,
    },
    /// No library at hand has the codec.
    #[error(
        "{codec} needs libavcodec, by the program vb3-codec, which is not at hand; build it (`cargo \
         build --release -p vb3-avcodec`, with libavcodec-dev installed) and put it beside vb3, or \
         name it in VB3_CODEC"
    )]
    NoLibrary {
        /// In words.
        codec: &'static str,
    },
    /// No process, thread, socket or memory.
    #[error("a codec process cannot be started: {what}: errno {errno}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Linux's number.
        errno: i32,
    },
}

impl Failure {
    pub(crate) fn system(what: &'static str, errno: Errno) -> Self {
        Self::System {
            what,
            errno: errno.raw_os_error(),
        }
    }

    /// ENODEV without the codec, else what the system said.
    #[must_use]
    pub const fn errno(&self) -> i32 {
        match self {
            Self::NotBuilt { .. } | Self::NoLibrary { .. } => Errno::NODEV.raw_os_error(),
            Self::System { errno, .. } => *errno,
        }
    }
}

/// How workers are started.
#[derive(Clone, Debug)]
pub struct Launch {
    how: How,
    /// Whether the codecs are others than those of this crate.
    other: bool,
}

#[derive(Clone, Debug)]
enum How {
    Program(PathBuf, Vec<OsString>),
    Thread,
    Handed(fn(OwnedFd)),
}

impl Launch {
    /// By running `program`, whose main must soon call [`serve_stdin`](crate::serve_stdin). Its
    /// standard output is closed, its standard error is the caller's.
    ///
    /// The process is killed when this one ends, by whatever thread it was started.
    pub fn program<A: Into<OsString>>(
        program: impl Into<PathBuf>,
        args: impl IntoIterator<Item = A>,
    ) -> Self {
        Self::by(How::Program(
            program.into(),
            args.into_iter().map(Into::into).collect(),
        ))
    }

    /// The same with a program whose codecs are those of another library.
    pub fn other_program(program: impl Into<PathBuf>) -> Self {
        let how = How::Program(program.into(), Vec::new());
        Self { how, other: true }
    }

    const fn by(how: How) -> Self {
        Self { how, other: false }
    }

    /// Whether this crate has the codec, where it is this crate that is started.
    pub(crate) fn check(&self, kind: Kind) -> Result<(), Failure> {
        if self.other { Ok(()) } else { built(kind) }
    }

    /// In a thread of this process, over the same messages: for tests and debuggers. A codec that
    /// crashes takes the process with it, and nothing is limited.
    #[must_use]
    pub const fn in_thread() -> Self {
        Self::by(How::Thread)
    }

    /// By handing the worker's end of the socket to `take`, which sees to it that somebody serves
    /// there, as [`serve`](crate::serve) does. Whoever does is not ended with the [`Worker`]: he
    /// finds the socket closed.
    ///
    /// [`Worker`]: crate::Worker
    #[must_use]
    pub const fn handed(take: fn(OwnedFd)) -> Self {
        Self::by(How::Handed(take))
    }

    /// What is started, in words.
    pub(crate) fn name(&self) -> String {
        match &self.how {
            How::Program(program, _) => program.display().to_string(),
            How::Thread | How::Handed(_) => "the codec".to_owned(),
        }
    }

    /// Starts it; the socket is ours.
    pub(crate) fn start(&self) -> Result<(Socket, Running), Failure> {
        let (ours, theirs) = Socket::pair().map_err(|e| Failure::system("socketpair", e))?;
        let running = match &self.how {
            How::Program(program, args) => run(program, args, theirs)?,
            How::Thread => {
                std::thread::Builder::new()
                    .name("codec".to_owned())
                    .spawn(|| crate::serve::serve_here(theirs))
                    .map_err(|e| io_failure("thread", &e))?;
                Running(None)
            }
            How::Handed(take) => {
                take(theirs);
                Running(None)
            }
        };
        Ok((Socket::new(ours), running))
    }
}

fn built(kind: Kind) -> Result<(), Failure> {
    let (codec, feature, there) = match kind {
        Kind::H264Decoder => ("H.264 decoder", "h264", cfg!(feature = "h264")),
        Kind::H264Encoder => ("H.264 encoder", "h264", cfg!(feature = "h264")),
        Kind::JpegDecoder => ("JPEG decoder", "jpeg", cfg!(feature = "jpeg")),
        Kind::JpegEncoder => ("JPEG encoder", "jpeg", cfg!(feature = "jpeg")),
        Kind::Harm => return Ok(()),
        _ => {
            let codec = kind.name();
            return Err(Failure::NoLibrary { codec });
        }
    };
    there
        .then_some(())
        .ok_or(Failure::NotBuilt { codec, feature })
}

fn io_failure(what: &'static str, error: &std::io::Error) -> Failure {
    let errno = error.raw_os_error().unwrap_or(Errno::IO.raw_os_error());
    Failure::System { what, errno }
}

/// Workers that run, or ran and were not waited for.
static WORKERS: Mutex<Vec<u32>> = Mutex::new(Vec::new());

fn workers() -> MutexGuard<'static, Vec<u32>> {
    WORKERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether a child of this process is a worker, which its [`Worker`](crate::Worker) waits for: who
/// reaps other children must leave it alone.
#[must_use]
pub fn is_worker(pid: u32) -> bool {
    workers().contains(&pid)
}

fn run(program: &PathBuf, args: &[OsString], socket: OwnedFd) -> Result<Running, Failure> {
    let mut command = Command::new(program);
    command
        .args(args)
        .stdin(socket)
        .stdout(Stdio::null())
        .stderr(Stdio::inherit());
    // Nobody sees the process before it is in the list.
    let mut workers = workers();
    spawn(command)
        .map(|child| {
            workers.push(child.id());
            let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
            let handle = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
            Running(Some((child, handle)))
        })
        .map_err(|e| io_failure("exec", &e))
}

/// A command to spawn, and where to send what came of it.
type Request = (Command, Sender<std::io::Result<Child>>);

/// The thread that spawns all workers, once there is one.
static SPAWNER: Mutex<Option<Sender<Request>>> = Mutex::new(None);

/// Spawns a process in a thread that lives as long as this process: Linux sends a worker its
/// parent-death signal when the thread that spawned it ends, and the caller may be a thread of a
/// pool.
///
/// Source: Linux prctl(2), `PR_SET_PDEATHSIG`.
fn spawn(command: Command) -> std::io::Result<Child> {
    let (sender, answer) = channel();
    let mut spawner = SPAWNER.lock().unwrap_or_else(PoisonError::into_inner);
    let requests = match spawner.take() {
        Some(requests) => requests,
        None => {
            let (requests, taken) = channel::<Request>();
            std::thread::Builder::new()
                .name("codec-spawner".to_owned())
                .spawn(move || {
                    for (mut command, sender) in taken {
                        // Whoever asked waits for it.
                        let _ = sender.send(command.spawn());
                    }
                })?;
            requests
        }
    };
    let gone = || std::io::Error::from_raw_os_error(Errno::SRCH.raw_os_error());
    requests.send((command, sender)).map_err(|_| gone())?;
    *spawner = Some(requests);
    answer.recv().map_err(|_| gone())?
}

/// A process that was started, and a handle that means no other even if somebody else waited for
/// it; none for a thread or what was handed over.
#[derive(Debug)]
pub(crate) struct Running(Option<(Child, Option<OwnedFd>)>);

impl Running {
    pub(crate) fn id(&self) -> Option<u32> {
        self.0.as_ref().map(|(child, _)| child.id())
    }

    /// Ends it for certain and says how it had ended before, if it had.
    pub(crate) fn end(&mut self) -> String {
        let Some((mut child, handle)) = self.0.take() else {
            return "the codec ended".to_owned();
        };
        // One that has begun to end keeps the status it ended with.
        let _ = match handle {
            Some(handle) => pidfd_send_signal(handle, Signal::KILL).is_ok(),
            None => child.kill().is_ok(),
        };
        let pid = child.id();
        let status = child.wait();
        // Its number may be another's from now on.
        workers().retain(|known| *known != pid);
        match status {
            Ok(status) => describe(status),
            Err(_) => "the codec process ended".to_owned(),
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
