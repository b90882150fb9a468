//! Where the sockets of runs are, and how a run makes its own.

use anyhow::{Context as _, Result, bail};
use rustix::fs::{Access, access};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen as listen_at,
    socket_with,
};
use rustix::process::{Pid, geteuid, test_kill_process};
use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Maximum number of connections that wait to be accepted.
const BACKLOG: i32 = 4096;

/// What happens to a socket that is already there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Old {
    /// It is replaced: its name is this process's id, so its run has ended.
    Replaced,
    /// It is replaced only if no run listens there.
    Kept,
}

/// Makes a socket and listens.
///
/// The socket gets its name only once it listens: other runs remove sockets at which no run listens.
///
/// # Errors
/// The socket cannot be made; EADDRINUSE if a run listens there.
pub(super) fn listen(path: &Path, old: Old) -> io::Result<UnixListener> {
    static MADE: AtomicU32 = AtomicU32::new(0);
    let number = MADE.fetch_add(1, Ordering::Relaxed);
    let hidden = path.with_file_name(format!(".{}-{number}", std::process::id()));
    // An earlier process with this id may have been killed here.
    let _ = fs::remove_file(&hidden);
    let socket = socket()?;
    bind(&socket, &SocketAddrUnix::new(&hidden)?)?;
    let named = listen_at(&socket, BACKLOG)
        .map_err(io::Error::from)
        .and_then(|()| match old {
            Old::Replaced => fs::rename(&hidden, path),
            Old::Kept => name(&hidden, path),
        });
    // After a rename, there is nothing to remove.
    let _ = fs::remove_file(&hidden);
    named.map(|()| socket.into())
}

/// Gives a socket its name, unless a run listens there.
fn name(hidden: &Path, path: &Path) -> io::Result<()> {
    match fs::hard_link(hidden, path) {
        Err(e) if e.kind() == ErrorKind::AlreadyExists => {
            let is_socket = fs::symlink_metadata(path)?.file_type().is_socket();
            match is_socket && !is_alive(path) {
                true => fs::rename(hidden, path),
                false => Err(Errno::ADDRINUSE.into()),
            }
        }
        linked => linked,
    }
}

fn socket() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        flags,
        None,
    )?)
}

/// Makes the directory, and removes the sockets of runs that were killed.
///
/// # Errors
/// Fails with a message for the user: the directory cannot be made or is not for this user alone.
pub(super) fn prepare(dir: &Path) -> Result<()> {
    match fs::DirBuilder::new().mode(0o700).create(dir) {
        Ok(()) => {}
        Err(e) if e.kind() == ErrorKind::AlreadyExists => {
            let found = fs::symlink_metadata(dir)?;
            let is_own = found.is_dir() && found.uid() == geteuid().as_raw();
            if !is_own || found.mode() & 0o077 != 0 {
                bail!(
                    "{} is not a directory for this user alone (mode 700)",
                    dir.display()
                );
            }
            // Runs whose process exists are not disturbed by a connection.
            for (path, pid) in sockets(dir) {
                if test_kill_process(pid) == Err(Errno::SRCH) {
                    is_alive(&path);
                }
            }
        }
        Err(e) => return Err(e).with_context(|| format!("cannot make {}", dir.display())),
    }
    Ok(())
}

/// Returns the directory with the sockets of this user's runs, each named by the run's process id.
#[must_use]
pub fn directory() -> PathBuf {
    directory_by(|name| std::env::var_os(name).map(PathBuf::from))
}

/// Does the same as [`directory`]. `var` reads environment variables.
fn directory_by(var: impl Fn(&str) -> Option<PathBuf>) -> PathBuf {
    let runtime = var("XDG_RUNTIME_DIR").filter(|dir| dir.is_absolute() && dir.is_dir());
    if let Some(dir) = runtime {
        return dir.join("vb3");
    }
    // On a disk, a directory and a socket take many times as long as in memory.
    let memory =
        || Some(PathBuf::from("/dev/shm")).filter(|dir| access(dir, Access::WRITE_OK).is_ok());
    let dir = var("TMPDIR")
        .or_else(memory)
        .unwrap_or_else(|| "/tmp".into());
    dir.join(format!("vb3-{}", geteuid().as_raw()))
}

/// Returns the entries of the directory whose names are process ids.
fn sockets(dir: &Path) -> Vec<(PathBuf, Pid)> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let named = entries.filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        Some((entry.path(), Pid::from_raw(pid)?))
    });
    let mut named: Vec<_> = named.collect();
    named.sort_unstable_by_key(|(_, pid)| pid.as_raw_nonzero());
    named
}

/// Lists the sockets in `dir` at which a run listens. Removes those whose run has ended.
#[must_use]
pub fn living(dir: &Path) -> Vec<PathBuf> {
    let paths = sockets(dir).into_iter().map(|(path, _)| path);
    paths.filter(|path| is_alive(path)).collect()
}

/// Returns whether a run listens at a socket. Removes the socket of a run that has ended. Does not wait for a run
/// that is stopped.
fn is_alive(path: &Path) -> bool {
    let reached = SocketAddrUnix::new(path).and_then(|to| {
        let socket = socket().map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))?;
        connect(&socket, &to)
    });
    if reached == Err(Errno::CONNREFUSED)
        && fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket())
    {
        let _ = fs::remove_file(path);
    }
    // A stopped run does not accept the connections that wait; then the answer is EAGAIN.
    matches!(reached, Ok(()) | Err(Errno::AGAIN))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;

    #[test]
    fn sockets_of_runs_that_are_gone_are_removed() {
        let dir = tempfile::tempdir().expect("a directory");
        let [gone, other, own] =
            ["2147483000", "2147483001", "7"].map(|name| dir.path().join(name));
        drop(UnixListener::bind(&gone).expect("bound"));
        let _other = UnixListener::bind(&other).expect("bound");
        fs::set_permissions(
            dir.path(),
            std::os::unix::fs::PermissionsExt::from_mode(0o700),
        )
        .expect("set");
        prepare(dir.path()).expect("a directory");
        assert!(!gone.exists() && other.exists());
        let _own = listen(&own, Old::Replaced).expect("a socket");
        assert_eq!(living(dir.path()), [own, other]);
    }

    #[test]
    fn a_socket_has_its_name_only_while_it_listens() {
        let dir = tempfile::tempdir().expect("a directory");
        let start = Barrier::new(8);
        // Four threads look at the sockets, as starting runs do, and four make sockets.
        std::thread::scope(|scope| {
            for thread in 1..=4 {
                let (dir, start) = (dir.path(), &start);
                scope.spawn(move || {
                    start.wait();
                    (0..400).for_each(|_| drop(living(dir)));
                });
                scope.spawn(move || {
                    start.wait();
                    for number in 0..400 {
                        let path = dir.join((thread * 1000 + number).to_string());
                        let _listener = listen(&path, Old::Replaced).expect("a socket");
                        fs::remove_file(&path).expect("no thread removed the socket");
                    }
                });
            }
        });
    }

    #[test]
    fn a_stopped_run_is_alive_and_delays_no_other() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("1");
        let full = socket().expect("a socket");
        bind(&full, &SocketAddrUnix::new(&path).expect("an address")).expect("bound");
        listen_at(&full, 0).expect("listening");
        let waiting: Vec<OwnedFd> = (0..2).map(|_| socket().expect("a socket")).collect();
        for socket in &waiting {
            let _ = connect(socket, &SocketAddrUnix::new(&path).expect("an address"));
        }
        assert_eq!(living(dir.path()), [path]);
    }

    #[test]
    fn sockets_are_in_memory_unless_the_user_chooses() {
        let [runtime, temporary] = [(); 2].map(|()| tempfile::tempdir().expect("a directory"));
        let vars = [("XDG_RUNTIME_DIR", &runtime), ("TMPDIR", &temporary)];
        let chosen = |known: &[(&str, &tempfile::TempDir)]| {
            directory_by(|name| {
                let value = known.iter().find(|(var, _)| *var == name)?;
                Some(value.1.path().to_owned())
            })
        };
        assert_eq!(chosen(&vars), runtime.path().join("vb3"));
        assert_eq!(chosen(&vars[1..]).parent(), Some(temporary.path()));
        let memory = access("/dev/shm", Access::WRITE_OK).is_ok();
        let usual = if memory { "/dev/shm" } else { "/tmp" };
        assert_eq!(chosen(&[]).parent(), Some(Path::new(usual)));
    }

    #[test]
    fn a_directory_that_others_can_enter_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let open = dir.path().join("open");
        fs::DirBuilder::new()
            .mode(0o755)
            .create(&open)
            .expect("made");
        let e = prepare(&open).expect_err("refused");
        assert!(format!("{e:#}").contains("mode 700"), "{e:#}");
    }
}
