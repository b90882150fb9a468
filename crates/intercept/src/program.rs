//! What to run, how, and what came of it.

use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use crate::note::Note;

/// A program to run.
#[derive(Debug)]
pub struct Program {
    pub(crate) name: OsString,
    pub(crate) args: Vec<OsString>,
    pub(crate) env: Vec<(OsString, OsString)>,
    pub(crate) dir: Option<PathBuf>,
    pub(crate) stdio: [Option<OwnedFd>; 3],
}

impl Program {
    /// A program by path, or by name in the search path, with the environment, directory and
    /// standard descriptors of this process.
    #[must_use]
    pub fn new(name: impl AsRef<OsStr>) -> Self {
        Self {
            name: name.as_ref().to_owned(),
            args: Vec::new(),
            env: std::env::vars_os().collect(),
            dir: None,
            stdio: [None, None, None],
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

    /// Removes an environment variable.
    #[must_use]
    pub fn env_remove(mut self, name: impl AsRef<OsStr>) -> Self {
        self.env.retain(|(known, _)| known != name.as_ref());
        self
    }

    /// Starts the program in this directory.
    #[must_use]
    pub fn current_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.dir = Some(dir.into());
        self
    }

    /// Gives the program this standard input.
    #[must_use]
    pub fn stdin(mut self, fd: OwnedFd) -> Self {
        self.stdio[0] = Some(fd);
        self
    }

    /// Gives the program this standard output.
    #[must_use]
    pub fn stdout(mut self, fd: OwnedFd) -> Self {
        self.stdio[1] = Some(fd);
        self
    }

    /// Gives the program this standard error.
    #[must_use]
    pub fn stderr(mut self, fd: OwnedFd) -> Self {
        self.stdio[2] = Some(fd);
        self
    }
}

/// How to run it.
#[derive(Default)]
pub struct Options<'a> {
    /// Gets what a person may want to know while the program runs.
    pub notes: Option<&'a mut (dyn FnMut(Note) + Send)>,
    /// Catches no signals. Otherwise SIGINT, SIGTERM, SIGHUP and SIGQUIT are passed on to all
    /// processes of the run, unless the terminal has sent them to both; a second SIGINT or SIGTERM
    /// kills them. SIGUSR1, SIGUSR2 and SIGALRM are passed on to the program.
    pub keep_signals: bool,
    /// What becomes of processes that outlive the program.
    pub leftover: Leftover,
}

impl core::fmt::Debug for Options<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Options")
            .field("notes", &self.notes.is_some())
            .field("keep_signals", &self.keep_signals)
            .field("leftover", &self.leftover)
            .finish()
    }
}

/// How a program ended, and what was served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExitReport {
    /// Exit status, or 128 plus the signal's number, as a shell says it.
    pub status: i32,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// System calls answered or looked at.
    pub notifications: u64,
    /// Files opened on nodes.
    pub opens: u64,
    /// Mappings of device files made.
    pub maps: u64,
}

/// What becomes of processes that outlive the program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Leftover {
    /// The run goes on until those of the program's own session end. Daemons, which have detached
    /// into sessions of their own, are then given two seconds, sent SIGTERM, and after two more
    /// seconds SIGKILL.
    #[default]
    Session,
    /// The run goes on until all of them end.
    Wait,
    /// All of them are sent SIGTERM at once, and after two seconds SIGKILL.
    Kill,
}
