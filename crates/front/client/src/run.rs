//! Starts programs in runs of `vb3`.

use crate::{Client, Error};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat, open};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::ops::{Deref, DerefMut};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

/// How long to wait until `vb3` listens.
const START_TIMEOUT: Timespec = Timespec {
    tv_sec: 60,
    tv_nsec: 0,
};

/// A program to run on simulated devices, and how to run it.
#[derive(Clone, Debug)]
pub struct Run {
    vb3: OsString,
    options: Vec<OsString>,
    program: Vec<OsString>,
    is_held: bool,
}

impl Run {
    /// Prepares a run of a program with its arguments.
    ///
    /// The environment variable `VB3` names the command `vb3`. If it is not set, a workspace that builds
    /// `vb3` uses its own `vb3`, and others use the `vb3` in `PATH`.
    #[must_use]
    pub fn new<S: AsRef<OsStr>>(program: impl IntoIterator<Item = S>) -> Self {
        Self {
            vb3: vb3(),
            options: Vec::new(),
            program: program
                .into_iter()
                .map(|word| word.as_ref().to_owned())
                .collect(),
            is_held: false,
        }
    }

    /// Adds a device, such as `camera=clip.mp4`. Without one, the run has the default devices of `vb3 run`.
    #[must_use]
    pub fn device(self, spec: impl AsRef<OsStr>) -> Self {
        self.options([OsStr::new("--device"), spec.as_ref()])
    }

    /// Adds options for `vb3 run`, such as `--clock virtual`.
    #[must_use]
    pub fn options<S: AsRef<OsStr>>(mut self, words: impl IntoIterator<Item = S>) -> Self {
        let words = words.into_iter().map(|word| word.as_ref().to_owned());
        self.options.extend(words);
        self
    }

    /// Holds the program until [`Running::go`], so that orders can come before its first call. A held
    /// program has no standard input.
    #[must_use]
    pub fn hold(mut self) -> Self {
        self.is_held = true;
        self
    }

    /// Starts `vb3 run` and connects to its socket.
    ///
    /// # Errors
    /// [`Error::Start`] if `vb3` or the program cannot be started, or if the run ends before it listens.
    pub fn start(self) -> Result<Running, Error> {
        let dir = tempfile::tempdir().map_err(Error::Socket)?;
        let ready = dir.path().join("ready");
        let fifo = fifo(&ready).map_err(Error::Socket)?;
        let mut command = Command::new(&self.vb3);
        command.arg("run").arg("--ready").arg(&ready);
        command.args(&self.options).arg("--");
        if self.is_held {
            let script = "read -r line && exec \"$0\" \"$@\" </dev/null";
            command.args(["sh", "-c", script]).stdin(Stdio::piped());
        }
        let child = command.args(&self.program).spawn();
        let child = child.map_err(|e| {
            let vb3 = self.vb3.display();
            Error::Start(format!(
                "cannot start {vb3}: {e}; set VB3 to the path of vb3"
            ))
        })?;
        let mut child = OwnedChild(child);
        let socket = socket_of(fifo, &mut child.0)?;
        let client = Client::connect(&socket)?;
        Ok(Running {
            client,
            child,
            socket,
        })
    }
}

/// Returns the command `vb3`: the value of the variable `VB3`, the workspace's own `vb3`, or the name to look
/// up in `PATH`.
fn vb3() -> OsString {
    if let Some(path) = std::env::var_os("VB3") {
        return path;
    }
    // Tests are in target/debug/deps, and the `vb3` built with them is in target/debug.
    let own = std::env::current_exe().unwrap_or_default();
    let built = own
        .parent()
        .and_then(Path::parent)
        .map(|dir| dir.join("vb3"));
    match built.filter(|path| path.is_file()) {
        Some(path) => path.into(),
        None => "vb3".into(),
    }
}

/// Makes a FIFO and opens it for reading.
fn fifo(path: &Path) -> io::Result<File> {
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(open(path, flags, Mode::empty())?.into())
}

/// Returns the path of the run's socket once the run listens.
fn socket_of(mut fifo: File, child: &mut Child) -> Result<PathBuf, Error> {
    let process = pidfd_open(Pid::from_child(child), PidfdFlags::empty());
    let process = process.map_err(io::Error::from).map_err(Error::Socket)?;
    let mut fds = [
        PollFd::new(&fifo, PollFlags::IN),
        PollFd::new(&process, PollFlags::IN),
    ];
    while poll(&mut fds, Some(&START_TIMEOUT)) == Err(rustix::io::Errno::INTR) {}
    let mut line = Vec::new();
    // Reads even if the run has ended, because the run may have written the path before it ended.
    if let Err(e) = fifo.read_to_end(&mut line)
        && e.kind() != io::ErrorKind::WouldBlock
    {
        return Err(Error::Socket(e));
    }
    if line.pop() == Some(b'\n') {
        return Ok(OsString::from_vec(line).into());
    }
    Err(Error::Start(
        match child.try_wait().map_err(Error::Socket)? {
            Some(status) => format!("the run has ended before it could be reached ({status})"),
            None => "vb3 did not open its control socket within a minute".to_owned(),
        },
    ))
}

/// A started run and a [`Client`] of it. Dropping this value ends the program.
#[derive(Debug)]
pub struct Running {
    client: Client,
    child: OwnedChild,
    socket: PathBuf,
}

impl Running {
    /// Lets a [held](Run::hold) program begin.
    ///
    /// # Errors
    /// [`Error::Ended`] if the run has ended.
    pub fn go(&mut self) -> Result<(), Error> {
        match self.child.0.stdin.take() {
            Some(mut input) => Ok(input.write_all(b"\n")?),
            None => Ok(()),
        }
    }

    /// Opens another connection to the run, for example for events.
    ///
    /// # Errors
    /// [`Error::Socket`] if the run has ended.
    pub fn connect(&self) -> Result<Client, Error> {
        Client::connect(&self.socket)
    }

    /// Waits until the program has ended. Returns the exit status of `vb3 run`: the program's, or 125 if
    /// `vb3` itself fails.
    ///
    /// # Errors
    /// [`Error::Ended`] if the run of a held program has ended; [`Error::Socket`] if waiting fails.
    pub fn finish(mut self) -> Result<ExitStatus, Error> {
        self.go()?;
        self.child.0.wait().map_err(Error::Socket)
    }
}

impl Deref for Running {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl DerefMut for Running {
    fn deref_mut(&mut self) -> &mut Client {
        &mut self.client
    }
}

/// A child process, which is killed when this is dropped.
#[derive(Debug)]
struct OwnedChild(Child);

impl Drop for OwnedChild {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt as _;
    use std::os::unix::net::UnixListener;
    use tempfile::TempDir;

    /// Returns a run with a script in place of `vb3`.
    fn run(program: &[&str]) -> Run {
        Run {
            vb3: concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vb3.sh").into(),
            ..Run::new(program)
        }
    }

    /// Returns a run that can be reached at a socket in `dir`.
    fn listening(dir: &TempDir, program: &[&str]) -> (UnixListener, Run) {
        let socket = dir.path().join("socket");
        let listener = UnixListener::bind(&socket).unwrap();
        let run = run(program).options([OsStr::new("--socket"), socket.as_os_str()]);
        (listener, run)
    }

    #[test]
    fn a_held_program_begins_after_go_and_has_no_input() {
        let dir = tempfile::tempdir().unwrap();
        let begun = dir.path().join("begun");
        let script = "echo \"$ARGUMENTS\" >\"$0\"; read -r line && exit 3; exit 4";
        let program = ["sh", "-c", script, begun.to_str().unwrap()];
        let (_listener, run) = listening(&dir, &program);
        let run = run.hold().options(["--clock", "virtual"]).device("camera");
        let running = run.start().unwrap();
        assert!(!begun.exists());
        assert!(running.connect().is_ok());
        assert_eq!(running.finish().unwrap().code(), Some(4));
        let arguments = std::fs::read_to_string(begun).unwrap();
        assert!(arguments.starts_with("run --ready "), "{arguments}");
        let expected = "/socket --clock virtual --device camera -- sh -c read -r line && exec";
        assert!(arguments.contains(expected), "{arguments}");
    }

    #[test]
    fn a_program_that_is_not_held_begins_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let (_listener, run) = listening(&dir, &["sh", "-c", "exit 5"]);
        assert_eq!(run.start().unwrap().finish().unwrap().code(), Some(5));
    }

    #[test]
    fn dropping_ends_the_program() {
        let dir = tempfile::tempdir().unwrap();
        let (_listener, run) = listening(&dir, &["sleep", "1000"]);
        let running = run.start().unwrap();
        let process = PathBuf::from(format!("/proc/{}", running.child.0.id()));
        assert!(process.exists());
        drop(running);
        assert!(!process.exists());
    }

    #[test]
    fn a_run_that_cannot_be_reached_says_why() {
        let message = |run: Run| match run.start() {
            Err(Error::Start(message)) => message,
            other => panic!("{other:?}"),
        };
        let ended = message(run(&["sh", "-c", "exit 7"]));
        let start = "the run has ended before it could be reached";
        assert!(ended.starts_with(start), "{ended}");
        let mut missing = run(&["true"]);
        missing.vb3 = "/nowhere/vb3".into();
        let missing = message(missing);
        assert!(missing.contains("/nowhere/vb3: "), "{missing}");
        assert!(missing.ends_with("set VB3 to the path of vb3"), "{missing}");
    }

    #[test]
    fn other_users_cannot_write_to_the_fifo() {
        let dir = tempfile::tempdir().unwrap();
        let file = fifo(&dir.path().join("fifo")).unwrap();
        assert_eq!(file.metadata().unwrap().mode() & 0o777, 0o600);
    }
}
