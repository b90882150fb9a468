//! Starts workers: as a program, as a thread, or in a server that runs already.

use crate::MAX_THREADS;
use crate::built_in::built_in;
use crate::job::Kind;
use crate::process::Running;
use crate::serve::{self, MakeCodec};
use crate::socket::{Received, Socket};
use rustix::io::Errno;
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

/// An error of starting a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// No available library has the codec.
    #[error(
        "{codec} needs libavcodec, through the program vb3-codec: install the package vb3-codec, or \
         install libavcodec-dev and pkg-config and then vb3 again by cargo, which puts vb3-codec beside \
         it"
    )]
    NoLibrary {
        /// Name of the codec, for messages.
        codec: &'static str,
    },
    /// The system has no process, thread, socket or memory left for the worker.
    #[error("a codec process cannot be started: {what}: errno {errno}")]
    System {
        /// Name of the step that failed.
        what: &'static str,
        /// Linux's errno.
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
}

/// How workers are started.
#[derive(Clone, Debug)]
pub struct Launch {
    how: How,
    /// Whether the worker has the codecs of another library, rather than those of this crate.
    other: bool,
    /// Maximum number of threads of a decoder.
    threads: usize,
}

#[derive(Clone, Debug)]
enum How {
    Program(PathBuf, Vec<OsString>, Arc<Spare>),
    Thread(MakeCodec),
    Handed(fn(OwnedFd)),
}

/// A process that is ready for the first worker, until a worker takes it.
pub(crate) type Spare = Mutex<Option<Ready>>;

/// A worker that serves its socket, or begins to, and has got no message yet.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) socket: Socket,
    pub(crate) running: Running,
}

impl Ready {
    /// Begins to start a program, and returns it before it serves.
    pub(crate) fn start(
        program: &Path,
        args: &[OsString],
        stdout: impl Into<Stdio>,
    ) -> Result<Self, Failure> {
        let (ours, theirs) = pair()?;
        let mut command = Command::new(program);
        // In another process group, ^C and ^Z at the terminal do not reach it.
        command
            .args(args)
            .process_group(0)
            .stdin(theirs)
            .stdout(stdout)
            .stderr(Stdio::inherit());
        Ok(Self {
            socket: Socket::new(ours),
            running: Running::begin(command).map_err(|e| io_failure("thread", &e))?,
        })
    }

    /// Passes the worker's end of a socket to `serve`, which begins to serve it without a process.
    fn elsewhere(serve: impl FnOnce(OwnedFd) -> Result<(), Failure>) -> Result<Self, Failure> {
        let (ours, theirs) = pair()?;
        serve(theirs)?;
        Ok(Self {
            socket: Socket::new(ours),
            running: Running::elsewhere(),
        })
    }

    /// Returns whether the process still has its end of the socket.
    pub(crate) fn waits(&self) -> bool {
        matches!(self.socket.receive(false), Received::Nothing)
    }
}

impl Launch {
    /// Runs `program`, whose main must soon call [`serve_stdin`](crate::serve_stdin).
    ///
    /// The program's standard output is closed, and its standard error is that of this process. When this
    /// process ends, the program is killed, no matter which thread started it.
    pub fn program<A: Into<OsString>>(
        program: impl Into<PathBuf>,
        args: impl IntoIterator<Item = A>,
    ) -> Self {
        Self::by(How::Program(
            program.into(),
            args.into_iter().map(Into::into).collect(),
            Arc::default(),
        ))
    }

    /// As [`program`](Self::program), for a program with the codecs of another library.
    pub fn other_program(program: impl Into<PathBuf>) -> Self {
        Self::other_with_spare(program.into(), Arc::default())
    }

    /// As [`other_program`](Self::other_program). The first worker takes the process in `spare`, if any.
    pub(crate) const fn other_with_spare(program: PathBuf, spare: Arc<Spare>) -> Self {
        Self::of_other(How::Program(program, Vec::new(), spare))
    }

    const fn by(how: How) -> Self {
        Self {
            how,
            other: false,
            threads: 1,
        }
    }

    const fn of_other(how: How) -> Self {
        let mut launch = Self::by(how);
        launch.other = true;
        launch
    }

    /// Lets decoders use this many threads, 1 to [`MAX_THREADS`]. Without this call, they use one.
    ///
    /// The stateful decoders of a library use them. The pictures and their order stay the same, and no picture waits
    /// for a later piece of the stream. It may come after [`Event::Consumed`](crate::Event::Consumed) of its piece.
    #[must_use]
    pub fn with_threads(mut self, threads: usize) -> Self {
        self.threads = threads.clamp(1, MAX_THREADS);
        self
    }

    /// Returns the maximum number of threads of a decoder, as [`with_threads`](Self::with_threads) set it.
    #[must_use]
    pub const fn threads(&self) -> usize {
        self.threads
    }

    /// Checks that this crate has the codec, unless another library's program is started.
    pub(crate) fn check(&self, kind: Kind) -> Result<(), Failure> {
        let codec = kind.name();
        let is_there = self.other || !kind.needs_library();
        is_there.then_some(()).ok_or(Failure::NoLibrary { codec })
    }

    /// Runs the worker in a thread of this process, with the messages of a process, for tests and debuggers.
    /// A crash of the codec ends this process, and the worker has no resource limits.
    #[must_use]
    pub const fn in_thread() -> Self {
        Self::by(How::Thread(built_in))
    }

    /// As [`in_thread`](Self::in_thread), with the codecs of another library.
    #[must_use]
    pub const fn in_thread_with(make: MakeCodec) -> Self {
        Self::of_other(How::Thread(make))
    }

    /// Passes the worker's end of the socket to `take`, which gives it to a server that runs already.
    ///
    /// The server must serve the socket as [`serve_stdin`](crate::serve_stdin) does. When the [`Worker`] ends, the
    /// server continues, and finds the socket closed. A start refuses no kind: only the server knows its codecs.
    ///
    /// [`Worker`]: crate::Worker
    #[must_use]
    pub const fn handed(take: fn(OwnedFd)) -> Self {
        Self::of_other(How::Handed(take))
    }

    /// Returns a description of the program that is started.
    pub(crate) fn name(&self) -> String {
        match &self.how {
            How::Program(program, ..) => program.display().to_string(),
            How::Thread(_) | How::Handed(_) => "the codec".to_owned(),
        }
    }

    /// Starts the worker.
    pub(crate) fn start(&self) -> Result<Ready, Failure> {
        match &self.how {
            How::Program(program, args, spare) => {
                let spare = spare.lock().unwrap_or_else(PoisonError::into_inner).take();
                match spare.filter(Ready::waits) {
                    Some(ready) => Ok(ready),
                    None => Ready::start(program, args, Stdio::null()),
                }
            }
            How::Thread(make) => {
                let make = *make;
                Ready::elsewhere(|socket| {
                    std::thread::Builder::new()
                        .name("codec".to_owned())
                        .spawn(move || serve::serve_here(socket, make))
                        .map_err(|e| io_failure("thread", &e))?;
                    Ok(())
                })
            }
            How::Handed(take) => Ready::elsewhere(|socket| {
                take(socket);
                Ok(())
            }),
        }
    }
}

fn pair() -> Result<(OwnedFd, OwnedFd), Failure> {
    Socket::pair().map_err(|e| Failure::system("socketpair", e))
}

fn io_failure(what: &'static str, error: &std::io::Error) -> Failure {
    let errno = error.raw_os_error().unwrap_or(Errno::IO.raw_os_error());
    Failure::System { what, errno }
}
