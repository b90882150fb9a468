//! The thread that owns the run's devices, and the handles by which the guests' threads reach it.
//!
//! Only this thread calls the devices. A guest's thread hands it work and waits for the result, which comes at
//! once, because no step waits. So a VMM that does not answer delays only its own guest.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel, sync_channel};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fd::OwnedFd;

use uuid::Uuid;
use vb3_frontend::{
    CallId, Descriptor, Devices, Errno, FdIdentity, FileId, Map, Mmap, NodeId, Origin, Tag,
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

/// What guests hold.
#[derive(Debug, Default)]
pub(crate) struct Held {
    /// The node of each open file, and its session's number, which no other open file of the run has.
    files: BTreeMap<FileId, (NodeId, u32)>,
    tags: BTreeSet<Tag>,
    /// Exported dma-bufs. All guests of the run can use them. Nobody can guess their names.
    objects: BTreeMap<Uuid, Object>,
}

/// A dma-buf that a guest has exported.
#[derive(Debug)]
struct Object {
    fd: Arc<OwnedFd>,
    tag: Tag,
    file: FileId,
}

/// The devices, and what guests hold of them.
pub(crate) struct Shared<'a> {
    pub(crate) devices: &'a mut dyn Devices,
    pub(crate) held: Held,
}

impl<'a> Shared<'a> {
    pub(crate) fn new(devices: &'a mut dyn Devices) -> Self {
        let held = Held::default();
        Self { devices, held }
    }

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
        self.devices.release(file);
    }

    /// Gives a file's new dma-buf a name. The guest gets it as the answer to its call, and not as a descriptor.
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
        let held = std::mem::take(&mut self.held);
        held.tags
            .iter()
            .for_each(|tag| self.devices.tag_ended(*tag));
        held.files
            .keys()
            .for_each(|file| self.devices.release(*file));
    }
}

/// Reaches the devices from a guest's thread.
pub(crate) trait Link {
    /// Hands over work. `None` if the run has ended.
    fn tell(&self, work: impl FnOnce(&mut Shared<'_>) + Send + 'static) -> Option<()>;

    /// Hands over work and waits for its result. `None` if the run has ended.
    fn ask<T, F>(&self, work: F) -> Option<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Shared<'_>) -> T + Send + 'static,
    {
        let (sender, result) = sync_channel(1);
        self.tell(move |shared| drop(sender.send(work(shared))))?;
        result.recv().ok()
    }
}

type Work = Box<dyn FnOnce(&mut Shared<'_>) + Send>;

/// A [`Link`] between threads.
#[derive(Clone, Debug)]
pub(crate) struct Handle {
    work: Sender<Work>,
    bell: Arc<Bell>,
}

impl Link for Handle {
    fn tell(&self, work: impl FnOnce(&mut Shared<'_>) + Send + 'static) -> Option<()> {
        self.work.send(Box::new(work)).ok()?;
        self.bell.ring();
        Some(())
    }
}

/// Owns the devices.
pub(crate) struct Owner<'a> {
    shared: Shared<'a>,
    work: Receiver<Work>,
    bell: Arc<Bell>,
}

impl Drop for Owner<'_> {
    /// Whatever guests still hold ends with the run.
    fn drop(&mut self) {
        self.shared.release_all();
    }
}

impl<'a> Owner<'a> {
    /// # Errors
    /// No eventfd can be made.
    pub(crate) fn new(devices: &'a mut dyn Devices) -> std::io::Result<(Self, Handle)> {
        let (sender, work) = channel();
        let bell = Arc::new(Bell::new()?);
        let handle = Handle {
            work: sender,
            bell: Arc::clone(&bell),
        };
        let shared = Shared::new(devices);
        let owner = Self { shared, work, bell };
        Ok((owner, handle))
    }

    /// Does the guests' work and lets time pass, until `stop` is readable or all handles have gone. Rings a node's
    /// bell whenever its files may have buffers or events.
    pub(crate) fn serve(&mut self, stop: BorrowedFd<'_>, bells: &BTreeMap<NodeId, Arc<Bell>>) {
        loop {
            let woken = match self.wait(stop) {
                Ok(Some(woken)) => woken,
                Ok(None) => return,
                // Out of memory: the next round tries again.
                Err(_) => Vec::new(),
            };
            self.bell.silence();
            let devices = &mut *self.shared.devices;
            for id in &woken {
                devices.woken(*id);
            }
            if !woken.is_empty() || devices.is_due() {
                devices.tick();
            } else if devices.next_tick().is_some_and(|due| due.is_zero()) {
                devices.continue_work(&|| false);
            }
            loop {
                match self.work.try_recv() {
                    Ok(work) => self.carry_out(work),
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => return,
                }
            }
            // Only the VMM could unplug a device in the guest. So the guest keeps an unplugged device, whose calls
            // fail with ENODEV, and nothing more is to be shown.
            let plugs = self.shared.devices.take_hotplug().len();
            self.shared.devices.hotplug_shown(plugs);
            for file in self.shared.devices.take_changed() {
                let node = self.shared.held.files.get(&file);
                if let Some(bell) = node.and_then(|(node, _)| bells.get(node)) {
                    bell.ring();
                }
            }
        }
    }

    fn carry_out(&mut self, work: Work) {
        if self.shared.devices.is_due() {
            self.shared.devices.tick();
        }
        work(&mut self.shared);
    }

    /// Waits for work, a device's descriptor or the next tick. Returns the ids of the readable descriptors, or
    /// `None` if `stop` is readable.
    fn wait(&self, stop: BorrowedFd<'_>) -> rustix::io::Result<Option<Vec<u64>>> {
        let devices = &*self.shared.devices;
        let wakes = devices.wake_fds();
        let theirs = wakes.iter().map(|wake| wake.fd);
        let all = [stop, self.bell.as_fd()].into_iter().chain(theirs);
        let mut fds: Vec<PollFd<'_>> = all
            .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN))
            .collect();
        let due = devices.next_tick();
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
}
