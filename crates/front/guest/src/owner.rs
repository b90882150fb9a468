//! The thread that owns the run's devices, and the handles by which the guests' threads reach it.
//!
//! Only this thread calls the devices. A guest's thread sends it a request and waits for the answer, which
//! comes at once, because no step waits. So no lock is held while a guest's thread waits for its VMM.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, TryRecvError, channel, sync_channel};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fd::OwnedFd;

use crate::link::{Ask, Link};
use vb3_frontend::{
    Call, Devices, Errno, FileId, Gathered, Map, Mmap, NodeId, On, Origin, Outcome, Tag,
};

/// `O_RDWR`.
const READ_WRITE: i32 = 2;
/// POLLIN, POLLPRI and POLLOUT: what a guest may wait for.
const ANY_EVENT: i16 = 1 | 2 | 4;

/// A counter that wakes a thread.
#[derive(Debug)]
pub(crate) struct Bell(OwnedFd);

impl Bell {
    pub(crate) fn new() -> std::io::Result<Self> {
        let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self(fd))
    }

    pub(crate) fn ring(&self) {
        // A counter that is full also wakes.
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }

    pub(crate) fn silence(&self) {
        let _ = rustix::io::read(&self.0, &mut [0; 8]);
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A request of a guest's thread.
enum Request {
    Open(NodeId, Origin, usize, SyncSender<Result<FileId, Errno>>),
    Release(FileId),
    Step(Ask, Gathered, SyncSender<(Outcome, Gathered)>),
    Mmap(FileId, Mmap, Origin, SyncSender<Result<Map, Errno>>),
    TagEnded(Tag),
    Waits(FileId),
}

/// Reaches the devices from a guest's thread.
#[derive(Clone, Debug)]
pub(crate) struct Handle {
    requests: Sender<Request>,
    bell: Arc<Bell>,
    /// Index of the guest's device, for the bells of [`Owner::serve`].
    index: usize,
}

impl Handle {
    /// Returns the handle of another device.
    pub(crate) fn of(&self, index: usize) -> Self {
        Self {
            index,
            ..self.clone()
        }
    }

    fn send(&self, request: Request) -> Option<()> {
        self.requests.send(request).ok()?;
        self.bell.ring();
        Some(())
    }

    /// Sends a request with a place for its answer. `None` if the run has ended.
    fn ask<T>(&self, request: impl FnOnce(SyncSender<T>) -> Request) -> Option<T> {
        let (sender, answer) = sync_channel(1);
        self.send(request(sender))?;
        answer.recv().ok()
    }
}

impl Link for Handle {
    fn open(&self, node: NodeId, origin: Origin) -> Result<FileId, Errno> {
        self.ask(|answer| Request::Open(node, origin, self.index, answer))
            .unwrap_or(Err(Errno::ENODEV))
    }

    fn release(&self, file: FileId) {
        self.send(Request::Release(file));
    }

    fn step(&self, ask: Ask, have: Gathered) -> (Outcome, Gathered) {
        let gone = || {
            let done = Outcome::Done(Err(Errno::ENODEV), Default::default());
            (done, Gathered::default())
        };
        self.ask(|answer| Request::Step(ask, have, answer))
            .unwrap_or_else(gone)
    }

    fn mmap(&self, file: FileId, args: Mmap, origin: Origin) -> Result<Map, Errno> {
        self.ask(|answer| Request::Mmap(file, args, origin, answer))
            .unwrap_or(Err(Errno::ENODEV))
    }

    fn tag_ended(&self, tag: Tag) {
        self.send(Request::TagEnded(tag));
    }

    fn waits(&self, file: FileId) {
        self.send(Request::Waits(file));
    }
}

/// Owns the devices.
pub(crate) struct Owner<'a> {
    devices: &'a mut dyn Devices,
    requests: Receiver<Request>,
    bell: Arc<Bell>,
    /// The guest's device of each open file.
    files: BTreeMap<FileId, usize>,
}

impl<'a> Owner<'a> {
    /// Returns the owner, and the handle of the first device.
    ///
    /// # Errors
    /// No eventfd can be made.
    pub(crate) fn new(devices: &'a mut dyn Devices) -> std::io::Result<(Self, Handle)> {
        let (sender, requests) = channel();
        let bell = Arc::new(Bell::new()?);
        let handle = Handle {
            requests: sender,
            bell: Arc::clone(&bell),
            index: 0,
        };
        let owner = Self {
            devices,
            requests,
            bell,
            files: BTreeMap::new(),
        };
        Ok((owner, handle))
    }

    /// Serves requests and lets time pass, until `stop` is readable. Rings a device's bell whenever its files
    /// may have buffers or events.
    pub(crate) fn serve(&mut self, stop: BorrowedFd<'_>, bells: &[Arc<Bell>]) {
        loop {
            let woken = match self.wait(stop) {
                Ok(Some(woken)) => woken,
                Ok(None) => return,
                // Out of memory: the next round tries again.
                Err(_) => Vec::new(),
            };
            self.bell.silence();
            for id in &woken {
                self.devices.woken(*id);
            }
            if !woken.is_empty() || self.devices.is_due() {
                self.devices.tick();
            } else if self.devices.next_tick().is_some_and(|due| due.is_zero()) {
                self.devices.continue_work(&|| false);
            }
            loop {
                match self.requests.try_recv() {
                    Ok(request) => self.answer(request),
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => return,
                }
            }
            for file in self.devices.take_changed() {
                let bell = self.files.get(&file).and_then(|index| bells.get(*index));
                if let Some(bell) = bell {
                    bell.ring();
                }
            }
        }
    }

    /// Waits for a request, a device's descriptor or the next tick. Returns the ids of the readable
    /// descriptors, or `None` if `stop` is readable.
    fn wait(&self, stop: BorrowedFd<'_>) -> rustix::io::Result<Option<Vec<u64>>> {
        let wakes = self.devices.wake_fds();
        let own = [stop, self.bell.as_fd()].map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
        let theirs = wakes
            .iter()
            .map(|wake| PollFd::from_borrowed_fd(wake.fd, PollFlags::IN));
        let mut fds: Vec<PollFd<'_>> = own.into_iter().chain(theirs).collect();
        let due = self.devices.next_tick();
        let due = due.and_then(|due| Timespec::try_from(due).ok());
        match poll(&mut fds, due.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
        let is_ready = |fd: &PollFd<'_>| !fd.revents().is_empty();
        let (own, theirs) = fds.split_at(2);
        if is_ready(&own[0]) {
            return Ok(None);
        }
        let ready = wakes.iter().zip(theirs).filter(|(_, fd)| is_ready(fd));
        Ok(Some(ready.map(|(wake, _)| wake.id).collect()))
    }

    fn answer(&mut self, request: Request) {
        if self.devices.is_due() {
            self.devices.tick();
        }
        // A guest's thread that has ended needs no answer.
        match request {
            Request::Open(node, origin, index, answer) => {
                let opened = self.devices.open(node, READ_WRITE, origin);
                if let Ok(file) = opened {
                    self.files.insert(file, index);
                }
                if answer.send(opened).is_err()
                    && let Ok(file) = opened
                {
                    self.release(file);
                }
            }
            Request::Release(file) => self.release(file),
            Request::Step(ask, have, answer) => {
                let outcome = self.devices.call(&Call {
                    id: ask.id,
                    origin: ask.origin,
                    on: On::File(ask.file),
                    op: ask.op,
                    nonblocking: true,
                    have: &have,
                });
                let _ = answer.send((outcome, have));
            }
            Request::Mmap(file, args, origin, answer) => {
                let mapped = self.devices.mmap(file, &args, origin);
                let tag = mapped.as_ref().ok().map(|map| map.tag);
                if answer.send(mapped).is_err()
                    && let Some(tag) = tag
                {
                    self.devices.tag_ended(tag);
                }
            }
            Request::TagEnded(tag) => self.devices.tag_ended(tag),
            Request::Waits(file) => self.devices.poll_waits(file, ANY_EVENT),
        }
    }

    fn release(&mut self, file: FileId) {
        self.files.remove(&file);
        self.devices.release(file);
    }
}
