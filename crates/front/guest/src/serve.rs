//! Sockets: one for each device, at which a VMM connects.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, poll};
use vhost::vhost_user::Listener;
use vhost_user_backend::VhostUserDaemon;
use vm_memory::{GuestMemoryAtomic, GuestMemoryMmap};
use vmm_sys_util::epoll::EventSet;

use crate::backend::{BELL, Backend};
use crate::device::Device;
use crate::owner::{Bell, Handle, Owner};
use vb3_frontend::{Devices, Errno, Node, NodeKind};

/// Why guests cannot be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The run has no video device.
    #[error("the run has no video device that a guest could use")]
    NoDevice,
    /// A device cannot say what it is.
    #[error("{path}: the device refuses to be opened: {errno}")]
    Device {
        /// The device's path in a run.
        path: String,
        /// The errno of open or QUERYCAP.
        errno: Errno,
    },
    /// A socket cannot be made.
    #[error("{path}: cannot listen: {source}; remove the file if no other run serves it")]
    Socket {
        /// The socket's path.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The system refuses a thread or a descriptor.
    #[error("cannot start: {0}")]
    System(#[from] std::io::Error),
}

/// What happens at a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Note {
    /// A device waits for a VMM at this socket.
    Listening {
        /// The socket.
        socket: PathBuf,
        /// The device's path in a run, such as `/dev/video0`.
        device: String,
    },
    /// A VMM has connected.
    Connected(PathBuf),
    /// A VMM has gone, and everything that its guest held was released.
    Disconnected {
        /// The socket.
        socket: PathBuf,
        /// Why, if it did not just close the connection.
        reason: Option<String>,
    },
    /// A second VMM has connected, and was refused.
    Busy(PathBuf),
}

impl std::fmt::Display for Note {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Listening { socket, device } => write!(f, "{}: {device}", socket.display()),
            Self::Connected(socket) => write!(f, "{}: a VMM has connected", socket.display()),
            Self::Disconnected {
                socket,
                reason: None,
            } => write!(f, "{}: the VMM has disconnected", socket.display()),
            Self::Disconnected {
                socket,
                reason: Some(reason),
            } => write!(
                f,
                "{}: the connection to the VMM has ended: {reason}",
                socket.display()
            ),
            Self::Busy(socket) => write!(
                f,
                "{}: refused a second VMM: one is connected, and a device serves one",
                socket.display()
            ),
        }
    }
}

/// Serves a run's video devices to guests, each at a socket in `dir`, such as `video0.sock`, until `stop` is
/// readable. Then all connections end.
///
/// `note` is called from several threads.
///
/// # Errors
/// There is no video device, or a socket cannot be made.
pub fn serve(
    devices: &mut dyn Devices,
    dir: &Path,
    stop: BorrowedFd<'_>,
    note: &(dyn Fn(Note) + Sync),
) -> Result<(), Error> {
    let nodes = devices.nodes();
    let nodes = nodes.iter().filter(|node| node.kind == NodeKind::Video);
    let nodes: Vec<&Node> = nodes.collect();
    if nodes.is_empty() {
        return Err(Error::NoDevice);
    }
    let mut sockets = Vec::new();
    for node in &nodes {
        let name = node.path.file_name().unwrap_or_default().to_string_lossy();
        let path = dir.join(format!("{name}.sock"));
        sockets.push(Socket::new(path)?);
    }
    let (mut owner, handle) = Owner::new(devices)?;
    let bells: Result<Vec<_>, _> = nodes.iter().map(|_| Bell::new().map(Arc::new)).collect();
    let bells = bells?;
    let ended = Bell::new()?;
    std::thread::scope(|scope| {
        for (index, (node, socket)) in nodes.iter().zip(&sockets).enumerate() {
            let (handle, bell) = (handle.of(index), Arc::clone(&bells[index]));
            let ended = &ended;
            std::thread::Builder::new()
                .name(format!("guest {index}"))
                .spawn_scoped(scope, move || socket.serve(node, handle, bell, ended, note))?;
        }
        drop(handle);
        owner.serve(stop, &bells);
        // Answers to threads that still ask are errors from here on.
        drop(owner);
        ended.ring();
        Ok(())
    })
}

/// A socket that is removed at the end.
struct Socket {
    path: PathBuf,
    listener: UnixListener,
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// What a socket's thread waits for.
enum Next {
    Vmm,
    Ended,
    Stop,
}

impl Socket {
    fn new(path: PathBuf) -> Result<Self, Error> {
        match UnixListener::bind(&path) {
            Ok(listener) => Ok(Self { path, listener }),
            Err(source) => Err(Error::Socket { path, source }),
        }
    }

    fn serve(
        &self,
        node: &Node,
        handle: Handle,
        bell: Arc<Bell>,
        ended: &Bell,
        note: &(dyn Fn(Note) + Sync),
    ) {
        let device = Device::new(handle, node.id);
        let path = node.path.display().to_string();
        let config = match device.config() {
            Ok(config) => config,
            Err(errno) => {
                note(Note::Disconnected {
                    socket: self.path.clone(),
                    reason: Some(Error::Device { path, errno }.to_string()),
                });
                return;
            }
        };
        note(Note::Listening {
            socket: self.path.clone(),
            device: path,
        });
        let backend = Arc::new(Backend::new(config, device, Arc::clone(&bell)));
        while let Next::Vmm = self.next(None, ended) {
            let served = self.connection(&backend, &bell, ended, note);
            backend.disconnected();
            let reason = served.err().map(|e| e.to_string());
            note(Note::Disconnected {
                socket: self.path.clone(),
                reason,
            });
        }
    }

    /// Waits for a VMM, for the end of the connection, or for the end of all.
    fn next(&self, over: Option<BorrowedFd<'_>>, ended: &Bell) -> Next {
        let fds = [Some(ended.as_fd()), over, Some(self.listener.as_fd())];
        let fds = fds.into_iter().flatten();
        let mut fds: Vec<PollFd<'_>> = fds
            .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN))
            .collect();
        while let Err(rustix::io::Errno::INTR) = poll(&mut fds, None) {}
        let is_ready = |index: usize| fds.get(index).is_some_and(|fd| !fd.revents().is_empty());
        match over {
            _ if is_ready(0) => Next::Stop,
            Some(_) if is_ready(1) => Next::Ended,
            _ => Next::Vmm,
        }
    }

    /// Serves one VMM to the end of its connection.
    fn connection(
        &self,
        backend: &Arc<Backend>,
        bell: &Bell,
        ended: &Bell,
        note: &(dyn Fn(Note) + Sync),
    ) -> Result<(), String> {
        let text = |e: &dyn std::error::Error| e.to_string();
        let ram = GuestMemoryAtomic::new(GuestMemoryMmap::new());
        let mut daemon = VhostUserDaemon::new("vhost-user".into(), Arc::clone(backend), ram)
            .map_err(|e| e.to_string())?;
        let workers = daemon.get_epoll_handlers();
        let registered = workers.iter().try_for_each(|worker| {
            let fd = std::os::fd::AsRawFd::as_raw_fd(&bell.as_fd());
            worker.register_listener(fd, EventSet::IN, BELL)
        });
        registered.map_err(|e| text(&e))?;
        let listener = self.listener.try_clone().map_err(|e| text(&e))?;
        daemon
            .start(&mut Listener::from(listener))
            .map_err(|e| e.to_string())?;
        note(Note::Connected(self.path.clone()));
        let over = Bell::new().map_err(|e| text(&e))?;
        let shutdown = daemon.shutdown_handle();
        let done = std::thread::scope(|scope| {
            let waiter = scope.spawn(|| {
                let done = daemon.wait();
                over.ring();
                done
            });
            loop {
                match self.next(Some(over.as_fd()), ended) {
                    Next::Ended => break,
                    Next::Vmm => self.refuse(note),
                    Next::Stop => {
                        if let Some(shutdown) = &shutdown {
                            shutdown.shutdown();
                        }
                        break;
                    }
                }
            }
            waiter.join()
        });
        for worker in workers {
            worker.send_exit_event();
        }
        match done {
            Ok(Ok(())) => Ok(()),
            Ok(Err(e)) if is_end(&e) => Ok(()),
            Ok(Err(e)) => Err(e.to_string()),
            Err(_) => Err("its thread has panicked".to_owned()),
        }
    }

    /// Closes the connection of a second VMM.
    fn refuse(&self, note: &(dyn Fn(Note) + Sync)) {
        let refused: std::io::Result<OwnedFd> = self
            .listener
            .accept()
            .map(|(stream, _)| OwnedFd::from(stream));
        if refused.is_ok() {
            note(Note::Busy(self.path.clone()));
        }
    }
}

/// Returns whether an error just means that the VMM has closed the connection.
fn is_end(error: &vhost_user_backend::Error) -> bool {
    use vhost::vhost_user::Error as VhostUserError;
    matches!(
        error,
        vhost_user_backend::Error::HandleRequest(
            VhostUserError::Disconnected | VhostUserError::PartialMessage
        )
    )
}
