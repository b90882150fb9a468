//! A simulated process: its memory and its descriptors.

use crate::memory::Space;
use rustix::fs::fstat;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::os::fd::{AsFd as _, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use vb3_frontend::{
    CallId, Descriptor, Detail, Errno, FdIdentity, FileId, Made, Origin, Program, Tag, UserRange,
};

/// The open file of a dma-buf, which descriptors of several processes may share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) fd: OwnedFd,
    pub(crate) id: FdIdentity,
    pub(crate) tag: Tag,
    /// Number of the file's memory in the reference model; zero until the call that made the file has ended.
    pub(crate) memory: Cell<u64>,
}

/// Maximum number of descriptors of a process.
const MAX_FDS: usize = 24;

/// A simulated process, which makes calls.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    pub(crate) call: Cell<CallId>,
    pub(crate) space: Arc<Space>,
    pub(crate) fds: RefCell<BTreeMap<i32, Rc<Shared>>>,
    /// Media requests by descriptor. Their descriptors are above those of other files, and are never reused.
    pub(crate) requests: RefCell<BTreeMap<i32, FileId>>,
}

impl Process {
    pub(crate) fn new(pid: u32) -> Self {
        Self {
            pid,
            call: Cell::new(CallId(0)),
            space: Space::new(),
            fds: RefCell::default(),
            requests: RefCell::default(),
        }
    }

    /// Returns the file behind a request's descriptor.
    pub(crate) fn request(&self, fd: i32) -> Option<FileId> {
        self.requests.borrow().get(&fd).copied()
    }

    /// Returns the numbers of the descriptors, except those of requests.
    pub(crate) fn numbers(&self) -> Vec<i32> {
        self.fds.borrow().keys().copied().collect()
    }

    /// Gives a file the lowest free descriptor.
    pub(crate) fn adopt(&self, shared: Rc<Shared>) -> Result<i32, Errno> {
        const EMFILE: Errno = Errno(24);
        let mut fds = self.fds.borrow_mut();
        if fds.len() >= MAX_FDS {
            return Err(EMFILE);
        }
        let number = (3..).find(|n| !fds.contains_key(n)).ok_or(EMFILE)?;
        fds.insert(number, shared);
        Ok(number)
    }

    pub(crate) fn shared(&self, fd: i32) -> Option<Rc<Shared>> {
        self.fds.borrow().get(&fd).cloned()
    }

    /// Closes a descriptor. Returns the file's tag if the file has no other descriptor.
    pub(crate) fn close(&self, fd: i32) -> Option<Tag> {
        let shared = self.fds.borrow_mut().remove(&fd)?;
        Rc::into_inner(shared).map(|last| last.tag)
    }
}

/// Returns the identity of a request's file. No other files have this device number.
const fn identity_of(file: FileId) -> FdIdentity {
    let (dev, ino) = (u64::MAX, file.0);
    FdIdentity { dev, ino }
}

impl Program for Process {
    fn origin(&self) -> Origin {
        Origin::process(self.pid, self.pid)
    }

    fn call(&self) -> CallId {
        self.call.get()
    }

    fn read(&self, addr: u64, out: &mut [u8]) -> Result<(), Errno> {
        self.space.read(addr, out)
    }

    fn write(&self, addr: u64, data: &[u8]) -> Result<(), Errno> {
        self.space.write(addr, data)
    }

    fn descriptor(&self, fd: i32, _: Detail) -> Result<Descriptor, Errno> {
        const EBADF: Errno = Errno(9);
        if let Some(shared) = self.shared(fd) {
            return Ok(Descriptor {
                tag: Some(shared.tag),
                ..Descriptor::named(shared.id, None)
            });
        }
        let file = self.request(fd).ok_or(EBADF)?;
        Ok(Descriptor::named(identity_of(file), Some(file)))
    }

    fn range(&self, addr: u64, len_bytes: u64) -> UserRange {
        self.space.range(addr, len_bytes)
    }

    fn install(&self, made: &Made, _: bool) -> Result<i32, Errno> {
        const FIRST: u64 = 1000;
        match made {
            Made::Memory { fd, tag } => {
                let fd = fd.as_fd().try_clone_to_owned().map_err(|_| Errno::ENFILE)?;
                let stat = fstat(&fd).map_err(|_| Errno::EIO)?;
                self.adopt(Rc::new(Shared {
                    fd,
                    id: FdIdentity {
                        dev: stat.st_dev,
                        ino: stat.st_ino,
                    },
                    tag: *tag,
                    memory: Cell::new(0),
                }))
            }
            Made::File { file, .. } => {
                let fd = i32::try_from(FIRST + file.0).map_err(|_| Errno::ENFILE)?;
                self.requests.borrow_mut().insert(fd, *file);
                Ok(fd)
            }
        }
    }
}

#[cfg(test)]
mod tests;
