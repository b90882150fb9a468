//! Starts runs.

use crate::{Client, Error};
use std::ffi::{OsStr, OsString};
use std::fs::DirBuilder;
use std::io::Write as _;
use std::ops::{Deref, DerefMut};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How long `vb3` may take to listen.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// Pause between two tries to connect.
const RETRY: Duration = Duration::from_millis(2);

/// A program to run on simulated devices.
#[derive(Clone, Debug)]
pub struct Run {
    vb3: OsString,
    options: Vec<OsString>,
    program: Vec<OsString>,
    is_held: bool,
}

impl Run {
    /// Prepares a run of a program with arguments.
    ///
    /// The environment variable `VB3` names the command `vb3`. Without it, a workspace that builds `vb3`
    /// uses its own; all others use the one in `PATH`.
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

    /// Adds a device, such as `camera=clip.mp4` or `display=null`. Without one, the run has a camera.
    #[must_use]
    pub fn device(self, spec: impl AsRef<OsStr>) -> Self {
        self.options([OsStr::new("--device"), spec.as_ref()])
    }

    /// Adds options of `vb3 run`, such as `--clock virtual`.
    #[must_use]
    pub fn options<S: AsRef<OsStr>>(mut self, words: impl IntoIterator<Item = S>) -> Self {
        let words = words.into_iter().map(|word| word.as_ref().to_owned());
        self.options.extend(words);
        self
    }

    /// Holds the program until [`Running::go`], so that orders can come before its first call. The
    /// program has no standard input then.
    #[must_use]
    pub fn hold(mut self) -> Self {
        self.is_held = true;
        self
    }

    /// Starts `vb3 run` and connects to it.
    ///
    /// # Errors
    /// [`Error::Start`]: `vb3` or the program cannot be started, or the run ends before it listens.
    pub fn start(self) -> Result<Running, Error> {
        let dir = Directory::new()?;
        let socket = dir.0.join("socket");
        let mut command = Command::new(&self.vb3);
        command.arg("run").arg("--control").arg(&socket);
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
        let client = connect(&socket, &mut child.0)?;
        Ok(Running {
            client,
            child,
            socket,
            _dir: dir,
        })
    }
}

/// Returns the command `vb3`.
fn vb3() -> OsString {
    if let Some(path) = std::env::var_os("VB3") {
        return path;
    }
    // A test is in target/debug/deps, and a program in target/debug.
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

/// Connects once the run listens.
fn connect(socket: &Path, child: &mut Child) -> Result<Client, Error> {
    let start = Instant::now();
    loop {
        // Looks before it tries, since a short run may listen and end in between.
        let ended = child.try_wait().map_err(Error::Socket)?;
        match (Client::connect(socket), ended) {
            (Ok(client), _) => return Ok(client),
            (Err(_), Some(status)) => {
                let message = format!("the run has ended before it could be reached ({status})");
                return Err(Error::Start(message));
            }
            (Err(e), None) if start.elapsed() > START_TIMEOUT => return Err(e),
            (Err(_), None) => std::thread::sleep(RETRY),
        }
    }
}

/// A run, and a [`Client`] of it. Dropping it ends the program.
#[derive(Debug)]
pub struct Running {
    client: Client,
    child: OwnedChild,
    socket: PathBuf,
    _dir: Directory,
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

    /// Opens another connection, for example for events.
    ///
    /// # Errors
    /// [`Error::Socket`] if the run has ended.
    pub fn connect(&self) -> Result<Client, Error> {
        Client::connect(&self.socket)
    }

    /// Waits for the program's end. Returns the exit status of `vb3 run`: the program's, or 125 if
    /// `vb3` itself fails.
    ///
    /// # Errors
    /// [`Error::Socket`] if the system fails.
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

/// A process that ends when it is dropped.
#[derive(Debug)]
struct OwnedChild(Child);

impl Drop for OwnedChild {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A directory that only this user can enter, removed when it is dropped.
#[derive(Debug)]
struct Directory(PathBuf);

impl Directory {
    fn new() -> Result<Self, Error> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let name = format!("vb3-control-{}-{number}", std::process::id());
            // Paths of sockets have at most 108 bytes.
            let path = Path::new("/tmp").join(name);
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Self(path)),
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(Error::Start(format!("cannot make {}: {e}", path.display()))),
            }
        }
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // Leaving an empty directory in /tmp harms nothing.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
