//! Sockets: one for each device, at which a VMM connects.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use rustix::event::{PollFd, PollFlags, poll};
use vhost::vhost_user::Listener;
use vhost_user_backend::VhostUserDaemon;
use vm_memory::{GuestMemoryAtomic, GuestMemoryMmap};
use vmm_sys_util::epoll::EventSet;

use crate::backend::{BELL, Backend, FEATURES};
use crate::device::{Device, Options};
use crate::shared::{Bell, Shared, lock};
use vb3_frontend::{Devices, Errno, Node, NodeKind};

/// Why guests cannot be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The run has no video device.
    #[error("the run has no video device that a guest could use")]
    NoDevice,
    /// A device cannot be opened, or does not answer QUERYCAP.
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
pub struct Note {
    /// The socket.
    pub socket: PathBuf,
    /// What has happened.
    pub event: Event,
}

/// What happens at a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The device with this path in a run, such as `/dev/video0`, waits for a VMM.
    Listening(String),
    /// A VMM has connected.
    Connected,
    /// A VMM has gone, and everything that its guest held was released. Contains the reason, unless the VMM has
    /// just closed the connection.
    Disconnected(Option<String>),
    /// A second VMM has connected, and was refused.
    Busy,
    /// A sentence about something that the VMM or the guest cannot do. Each remark comes once in a connection.
    Remark(String),
}

impl std::fmt::Display for Note {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: ", self.socket.display())?;
        match &self.event {
            Event::Listening(device) => f.write_str(device),
            Event::Connected => f.write_str("a VMM has connected"),
            Event::Disconnected(None) => f.write_str("the VMM has disconnected"),
            Event::Disconnected(Some(reason)) => {
                write!(f, "the connection to the VMM has ended: {reason}")
            }
            Event::Busy => {
                f.write_str("refused a second VMM: one is connected, and a device serves one")
            }
            Event::Remark(text) => f.write_str(text),
        }
    }
}

type Notes<'a> = &'a (dyn Fn(Note) + Sync);

/// Serves a run's video devices to guests, each at a socket in `dir`, such as `video0.sock`, until `stop` is
/// readable. Then all connections end, and nothing here holds `devices` any more.
///
/// `note` is called from several threads.
///
/// # Errors
/// There is no video device, or a socket cannot be made.
pub fn serve(
    devices: Arc<Mutex<dyn Devices>>,
    dir: &Path,
    options: Options,
    stop: BorrowedFd<'_>,
    note: &(dyn Fn(Note) + Sync),
) -> Result<(), Error> {
    let mut nodes = lock(&devices).nodes();
    nodes.retain(|node| node.kind == NodeKind::Video);
    if nodes.is_empty() {
        return Err(Error::NoDevice);
    }
    let sockets: Result<Vec<_>, _> = nodes.iter().map(|node| Socket::new(dir, node)).collect();
    let (sockets, ended) = (sockets?, Bell::new()?);
    let bells = nodes
        .iter()
        .map(|node| Ok((node.id, Arc::new(Bell::new()?))));
    let bells: BTreeMap<_, _> = bells.collect::<Result<_, Error>>()?;
    let shared = Arc::new(Shared::new(devices, bells.clone())?);
    std::thread::scope(|scope| {
        let mut started = Ok(());
        for (node, socket) in nodes.iter().zip(&sockets) {
            let device = Device::new(Arc::clone(&shared), node.id, options);
            let (bell, ended) = (Arc::clone(&bells[&node.id]), &ended);
            let path = node.path.display().to_string();
            let thread = std::thread::Builder::new().name(format!("guest of {path}"));
            let thread = thread.spawn_scoped(scope, move || {
                if let Err(errno) = socket.serve(&path, device, &bell, ended, note) {
                    let reason = Error::Device { path, errno }.to_string();
                    socket.note(note, Event::Disconnected(Some(reason)));
                }
            });
            started = started.and(thread.map(drop));
        }
        if started.is_ok() {
            shared.pass_time(stop);
        }
        shared.end();
        ended.ring();
        Ok(started?)
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
    Remark,
    Stop,
}

impl Socket {
    fn new(dir: &Path, node: &Node) -> Result<Self, Error> {
        let name = node.path.file_name().unwrap_or_default().to_string_lossy();
        let path = dir.join(format!("{name}.sock"));
        match UnixListener::bind(&path) {
            Ok(listener) => Ok(Self { path, listener }),
            Err(source) => Err(Error::Socket { path, source }),
        }
    }

    fn note(&self, note: Notes<'_>, event: Event) {
        let socket = self.path.clone();
        note(Note { socket, event });
    }

    /// Serves one VMM after another.
    ///
    /// # Errors
    /// The device cannot be used.
    fn serve(
        &self,
        path: &str,
        device: Device,
        bell: &Arc<Bell>,
        ended: &Bell,
        note: Notes<'_>,
    ) -> Result<(), Errno> {
        let backend = Arc::new(Backend::new(device, Arc::clone(bell))?);
        self.note(note, Event::Listening(path.to_owned()));
        while let Next::Vmm = self.next(&[ended.as_fd()]) {
            let served = self.connection(&backend, bell, ended, note);
            let remarks = backend.remarks.take(true).into_iter().map(Event::Remark);
            remarks.for_each(|remark| self.note(note, remark));
            self.note(note, Event::Disconnected(served.err()));
        }
        Ok(())
    }

    /// Waits until a VMM connects, all serving must stop, the connection has ended, or there is a remark.
    fn next(&self, bells: &[BorrowedFd<'_>]) -> Next {
        let fds = bells.iter().copied().chain([self.listener.as_fd()]);
        let mut fds: Vec<PollFd<'_>> = fds
            .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN))
            .collect();
        while let Err(rustix::io::Errno::INTR) = poll(&mut fds, None) {}
        match fds.iter().position(|fd| !fd.revents().is_empty()) {
            Some(0) => Next::Stop,
            Some(at) if at == bells.len() => Next::Vmm,
            Some(1) => Next::Ended,
            _ => Next::Remark,
        }
    }

    /// Serves one VMM to the end of its connection.
    ///
    /// # Errors
    /// Why the connection has ended, if the VMM did not just close it.
    fn connection(
        &self,
        backend: &Arc<Backend>,
        bell: &Bell,
        ended: &Bell,
        note: Notes<'_>,
    ) -> Result<(), String> {
        let ram = GuestMemoryAtomic::new(GuestMemoryMmap::new());
        let mut daemon = VhostUserDaemon::new("vhost-user".into(), Arc::clone(backend), ram)
            .map_err(|e| e.to_string())?;
        backend.set_over(false);
        for worker in daemon.get_epoll_handlers() {
            let fd = bell.as_fd().as_raw_fd();
            let registered = worker.register_listener(fd, EventSet::IN, BELL);
            registered.map_err(|e| e.to_string())?;
        }
        let listener = self.listener.try_clone().map_err(|e| e.to_string())?;
        let started = daemon.start(&mut Listener::from(listener));
        started.map_err(|e| e.to_string())?;
        self.note(note, Event::Connected);
        let over = Bell::new().map_err(|e| e.to_string())?;
        let shutdown = daemon.shutdown_handle();
        let (done, is_stop) = std::thread::scope(|scope| {
            let waiter = scope.spawn(|| {
                let done = daemon.wait();
                over.ring();
                done
            });
            let bells = [ended.as_fd(), over.as_fd(), backend.remarks.bell.as_fd()];
            let is_stop = loop {
                match self.next(&bells) {
                    Next::Ended => break false,
                    Next::Stop => break true,
                    Next::Vmm => self.refuse(note),
                    Next::Remark => {
                        for remark in backend.remarks.take(false) {
                            self.note(note, Event::Remark(remark));
                        }
                    }
                }
            };
            if let Some(shutdown) = &shutdown {
                shutdown.shutdown();
            }
            (waiter.join(), is_stop)
        });
        backend.set_over(true);
        if is_stop {
            // Dropping the daemon waits for its threads, and such a thread may wait for a VMM that does not
            // answer. So another thread drops the daemon, which holds nothing of the run any more.
            std::thread::spawn(move || drop(daemon));
            return Ok(());
        }
        drop(daemon);
        let is_accepted = backend.is_accepted.load(Ordering::Relaxed);
        backend.disconnected();
        match done {
            Ok(Ok(())) => Ok(()),
            Ok(Err(e)) => reason(e, is_accepted),
            Err(_) => Err("its thread has panicked".to_owned()),
        }
    }

    /// Closes the connection of a second VMM.
    fn refuse(&self, note: Notes<'_>) {
        if self.listener.accept().is_ok() {
            self.note(note, Event::Busy);
        }
    }
}

/// # Errors
/// The reason for the user, unless the VMM has just closed the connection.
fn reason(error: vhost_user_backend::Error, is_accepted: bool) -> Result<(), String> {
    use vhost::vhost_user::Error::{Disconnected, InvalidParam, PartialMessage};
    match error {
        vhost_user_backend::Error::HandleRequest(Disconnected | PartialMessage) => Ok(()),
        vhost_user_backend::Error::HandleRequest(InvalidParam) if !is_accepted => Err(format!(
            "the VMM asks for virtio features that the device does not offer; it offers {FEATURES:#x}"
        )),
        e => Err(e.to_string()),
    }
}
