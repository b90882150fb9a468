//! The program to run, its options, and the result.

use std::ffi::{OsStr, OsString};

use crate::note::Note;

/// A program to run.
#[derive(Debug)]
pub struct Program {
    pub(crate) name: OsString,
    pub(crate) args: Vec<OsString>,
    pub(crate) env: Vec<(OsString, OsString)>,
}

impl Program {
    /// Makes a program from a path, or from a name in the search path. The program gets this process's
    /// environment, directory and standard descriptors.
    #[must_use]
    pub fn new(name: impl AsRef<OsStr>) -> Self {
        Self {
            name: name.as_ref().to_owned(),
            args: Vec::new(),
            env: std::env::vars_os().collect(),
        }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args
            .extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env.retain(|(known, _)| known != name.as_ref());
        self.env
            .push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }
}

/// Options of a run.
#[derive(Default)]
pub struct Options<'a> {
    /// Receives notes for the user while the program runs.
    pub notes: Option<&'a mut (dyn FnMut(Note) + Send)>,
    /// Leaves signals alone. Otherwise, the run passes SIGINT, SIGTERM, SIGHUP and SIGQUIT on to all of its
    /// processes, unless the whole process group gets the signal. A second SIGINT or SIGTERM kills all
    /// processes. SIGUSR1, SIGUSR2 and SIGALRM go to the program only. After the run, the next SIGINT, SIGTERM,
    /// SIGHUP or SIGQUIT does nothing, so that the caller can finish its files.
    pub keep_signals: bool,
    /// Treatment of processes that outlive the program.
    pub leftover: Leftover,
}

/// How a program ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExitReport {
    /// Exit status, or 128 plus the signal's number, as in a shell.
    pub status: i32,
    /// The signal that ended the program.
    pub signal: Option<i32>,
}

impl ExitReport {
    pub(crate) fn of(status: Option<i32>, signal: Option<i32>) -> Option<Self> {
        let status = status.or(signal.map(|signal| 128 + signal))?;
        Some(Self { status, signal })
    }
}

/// What happens to processes that outlive the program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Leftover {
    /// Waits for the processes in the program's own session. Then daemons, which have moved to
    /// other sessions, have two seconds to end. They get SIGTERM after that, and SIGKILL after two
    /// more seconds.
    #[default]
    Session,
    /// Waits for all processes that outlive the program.
    Wait,
    /// Sends SIGTERM to all processes that outlive the program immediately, and SIGKILL after two seconds.
    Kill,
}
