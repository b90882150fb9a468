//! The run's devices, which the guests' threads and the clock use in turn.
//!
//! One lock protects the devices and what guests hold of them. A thread takes it for one step, and no step waits. No
//! thread waits for a VMM or reads a guest's memory under this lock, so a VMM that does not answer delays only its
//! own guest. The clock is the thread in which time passes: it makes the ticks (calls in which the devices do work
//! that is due) between the guests' calls.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fd::OwnedFd;

use uuid::Uuid;
use vb3_frontend::{
    CallId, Descriptor, Devices, Errno, FdIdentity, FileId, Map, Mmap, NodeId, Origin, Tag, WakeFd,
};

/// `O_RDWR`.
const READ_WRITE: i32 = 2;
/// POLLIN, POLLPRI and POLLOUT: what a guest may wait for.
const ANY_EVENT: i16 = 1 | 2 | 4;
/// If a call moves the next tick forward by less than this, the clock is not woken. The time of one and the same
/// tick is computed again after each step, and the results differ slightly.
const TOLERANCE: Duration = Duration::from_micros(20);

/// How long the clock waits if the system refuses memory or descriptors.
const RETRY_INTERVAL: Duration = Duration::from_millis(10);

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

/// What guests hold.
#[derive(Debug, Default)]
pub(crate) struct Held {
    /// The node of each open file, and the number of the file's session. No other open file of the run has this
    /// number.
    files: BTreeMap<FileId, (NodeId, u32)>,
    tags: BTreeSet<Tag>,
    /// Exported dma-bufs. All guests of the run can use them. Nobody can guess their names.
    objects: BTreeMap<Uuid, Object>,
    /// Whether the descriptors for which the clock waits may have changed since it began to wait.
    is_changed: bool,
    /// When the clock wakes by itself. `None`: not at all.
    wakes: Option<Instant>,
}

/// A dma-buf that a guest has exported.
#[derive(Debug)]
struct Object {
    fd: Arc<OwnedFd>,
    tag: Tag,
    file: FileId,
}

/// The devices, and what guests hold of them, during a step.
pub(crate) struct Step<'a> {
    pub(crate) devices: &'a mut dyn Devices,
    pub(crate) held: &'a mut Held,
}

impl Step<'_> {
    /// Opens a node for a new session. Returns the file and the session's number.
    pub(crate) fn open(&mut self, node: NodeId) -> Result<(FileId, u32), Errno> {
        let taken: BTreeSet<u32> = self
            .held
            .files
            .values()
            .map(|(_, number)| *number)
            .collect();
        let number = (1..).find(|number| !taken.contains(number));
        let number = number.ok_or(Errno::ENFILE)?;
        let file = self
            .devices
            .open(node, READ_WRITE, Origin::session(number))?;
        self.held.files.insert(file, (node, number));
        self.held.is_changed = true;
        Ok((file, number))
    }

    pub(crate) fn release(&mut self, file: FileId) {
        let mut exported = Vec::new();
        self.held.objects.retain(|_, object| {
            let is_its = object.file == file;
            exported.extend(is_its.then_some(object.tag));
            !is_its
        });
        exported.into_iter().for_each(|tag| self.tag_ended(tag));
        self.held.files.remove(&file);
        self.held.is_changed = true;
        self.devices.release(file);
    }

    /// Gives a file's new dma-buf a name. The answer to the guest's call contains this name, and no descriptor.
    pub(crate) fn export(&mut self, (file, call): (FileId, CallId), fd: OwnedFd, tag: Tag) -> Uuid {
        let (uuid, fd) = (Uuid::new_v4(), Arc::new(fd));
        self.held.tags.insert(tag);
        self.held.objects.insert(uuid, Object { fd, tag, file });
        self.devices.installed(call, Ok(&[0]));
        uuid
    }

    /// Finds an exported dma-buf.
    pub(crate) fn object(&self, uuid: Uuid) -> Result<Descriptor, Errno> {
        let Object { fd, tag, .. } = self.held.objects.get(&uuid).ok_or(Errno::EBADF)?;
        let stat = rustix::fs::fstat(fd).map_err(|errno| Errno(errno.raw_os_error()))?;
        let id = FdIdentity {
            dev: stat.st_dev,
            ino: stat.st_ino,
        };
        let (tag, fd) = (Some(*tag), Some(Arc::clone(fd)));
        let known = Descriptor::named(id, None);
        Ok(Descriptor { tag, fd, ..known })
    }

    pub(crate) fn mmap(&mut self, file: FileId, args: Mmap, by: Origin) -> Result<Map, Errno> {
        let map = self.devices.mmap(file, &args, by)?;
        self.held.tags.insert(map.tag);
        Ok(map)
    }

    pub(crate) fn tag_ended(&mut self, tag: Tag) {
        self.held.tags.remove(&tag);
        self.devices.tag_ended(tag);
    }

    /// Reports that the guest waits for a file's buffers and events, of which there are none.
    pub(crate) fn waits(&mut self, file: FileId) {
        self.devices.poll_waits(file, ANY_EVENT);
    }

    fn release_all(&mut self) {
        let held = std::mem::take(self.held);
        held.tags
            .iter()
            .for_each(|tag| self.devices.tag_ended(*tag));
        held.files
            .keys()
            .for_each(|file| self.devices.release(*file));
    }
}

/// What a [`Shared`] protects until the run ends.
struct State {
    devices: Arc<Mutex<dyn Devices>>,
    held: Held,
}

/// The devices, which all threads share.
pub(crate) struct Shared {
    /// `None` after the run's end.
    state: Mutex<Option<State>>,
    /// Held by the thread that gets the lock of `state` next. So the lock goes to threads in order of their arrival, and
    /// the clock does not keep it from guests.
    next: Mutex<()>,
    /// Rung when a node's files may have buffers or events.
    bells: BTreeMap<NodeId, Arc<Bell>>,
    clock: Bell,
}

pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// # Errors
    /// No eventfd can be made.
    pub(crate) fn new(
        devices: Arc<Mutex<dyn Devices>>,
        bells: BTreeMap<NodeId, Arc<Bell>>,
    ) -> std::io::Result<Self> {
        let held = Held::default();
        Ok(Self {
            state: Mutex::new(Some(State { devices, held })),
            next: Mutex::new(()),
            bells,
            clock: Bell::new()?,
        })
    }

    /// Makes a step of the devices. `None` if the run has ended.
    pub(crate) fn step<T>(&self, work: impl FnOnce(&mut Step<'_>) -> T) -> Option<T> {
        let mut state = self.lock();
        let State { devices, held } = state.as_mut()?;
        let devices = &mut *lock(devices);
        if devices.is_due() {
            devices.tick();
            held.is_changed = true;
        }
        let done = work(&mut Step { devices, held });
        self.ring_bells(devices, held);
        let due = devices.next_tick().map(|due| Instant::now() + due);
        let is_sooner = due.is_some_and(|due| held.wakes.is_none_or(|at| due + TOLERANCE < at));
        if is_sooner || std::mem::take(&mut held.is_changed) {
            self.clock.ring();
        }
        Some(done)
    }

    /// Ends the run for the guests: releases what they hold. Their next steps fail.
    pub(crate) fn end(&self) {
        if let Some(State { devices, mut held }) = self.lock().take() {
            let devices = &mut *lock(&devices);
            let held = &mut held;
            Step { devices, held }.release_all();
        }
    }

    /// Lets time pass, until `stop` is readable.
    pub(crate) fn pass_time(&self, stop: BorrowedFd<'_>) {
        loop {
            let woken = match self.wait(stop) {
                Ok(Some(woken)) => woken,
                Ok(None) => return,
                // Out of memory or of descriptors: the next round tries again.
                Err(_) => {
                    std::thread::sleep(RETRY_INTERVAL);
                    Vec::new()
                }
            };
            let mut state = self.lock();
            let Some(State { devices, held }) = state.as_mut() else {
                return;
            };
            let devices = &mut *lock(devices);
            woken.iter().for_each(|id| devices.woken(*id));
            if !woken.is_empty() || devices.is_due() {
                devices.tick();
            } else if devices.next_tick().is_some_and(|due| due.is_zero()) {
                devices.continue_work(&|| self.next.try_lock().is_err());
            }
            // If a device of the run is unplugged, the guest keeps its device, since only the VMM could unplug that
            // one. Calls of the guest then fail with ENODEV. Nothing else shows the guest that the device is
            // unplugged.
            let plugs = devices.take_hotplug().len();
            devices.hotplug_shown(plugs);
            self.ring_bells(devices, held);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<State>> {
        let _next = lock(&self.next);
        lock(&self.state)
    }

    fn ring_bells(&self, devices: &mut dyn Devices, held: &Held) {
        let mut changed = Vec::new();
        devices.take_changed(&mut changed);
        for file in changed {
            let node = held.files.get(&file);
            if let Some(bell) = node.and_then(|(node, _)| self.bells.get(node)) {
                bell.ring();
            }
        }
    }

    /// Waits for a device's descriptor, the next tick, or a step that changes these. Returns the ids of the readable
    /// descriptors, or `None` if `stop` is readable.
    fn wait(&self, stop: BorrowedFd<'_>) -> std::io::Result<Option<Vec<u64>>> {
        let (wakes, due) = {
            let mut state = self.lock();
            let Some(State { devices, held }) = state.as_mut() else {
                return Ok(None);
            };
            let devices = lock(devices);
            held.is_changed = false;
            let due = devices.next_tick();
            held.wakes = due.map(|due| Instant::now() + due);
            // Copies, because a device may close its descriptor meanwhile.
            let copy = |wake: &WakeFd<'_>| Ok((wake.id, wake.fd.try_clone_to_owned()?));
            let wakes: std::io::Result<Vec<_>> = devices.wake_fds().iter().map(copy).collect();
            (wakes?, due)
        };
        let theirs = wakes.iter().map(|(_, fd)| fd.as_fd());
        let all = [stop, self.clock.as_fd()].into_iter().chain(theirs);
        let mut fds: Vec<PollFd<'_>> = all
            .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN))
            .collect();
        let due = due.and_then(|due| Timespec::try_from(due).ok());
        match poll(&mut fds, due.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let is_ready = |fd: &PollFd<'_>| !fd.revents().is_empty();
        let (own, theirs) = fds.split_at(2);
        if is_ready(&own[0]) {
            return Ok(None);
        }
        self.clock.silence();
        let ready = wakes.iter().zip(theirs).filter(|(_, fd)| is_ready(fd));
        Ok(Some(ready.map(|((id, _), _)| *id).collect()))
    }
}
