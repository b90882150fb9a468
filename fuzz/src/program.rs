//! A simulated program: plain memory, and descriptors with small numbers.

use std::cell::{Cell, RefCell};
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use vb3_frontend::{CallId, Descriptor, Detail, Errno, FdIdentity, Made, Origin, Program, Tag};

/// Start of the program's memory.
pub const BASE: u64 = 0x1_0000;
/// Bytes of the program's memory.
pub const BYTES: usize = 0x8000;
/// The program's lowest descriptor.
pub const FIRST_FD: usize = 3;
/// Maximum number of the program's descriptors.
const MAX_FDS: usize = 16;

const EBADF: Errno = Errno(9);
const EFAULT: Errno = Errno(14);
const EMFILE: Errno = Errno(24);

/// A simulated program.
#[derive(Debug)]
pub struct Fake {
    memory: RefCell<Vec<u8>>,
    call: Cell<u64>,
    given: RefCell<Vec<Option<(OwnedFd, Tag)>>>,
}

impl Default for Fake {
    fn default() -> Self {
        Self {
            memory: RefCell::new(vec![0; BYTES]),
            call: Cell::new(0),
            given: RefCell::default(),
        }
    }
}

fn place(addr: u64, len: usize) -> Option<std::ops::Range<usize>> {
    let start = usize::try_from(addr.checked_sub(BASE)?).ok()?;
    let end = start.checked_add(len)?;
    (end <= BYTES).then_some(start..end)
}

impl Fake {
    /// Begins another call.
    pub fn begin_call(&self) -> CallId {
        self.call.set(self.call.get() + 1);
        CallId(self.call.get())
    }

    /// Writes to the program's memory.
    ///
    /// # Panics
    /// Panics if the address is outside the memory.
    pub fn poke(&self, addr: u64, bytes: &[u8]) {
        let at = place(addr, bytes.len()).expect("memory of the program");
        self.memory.borrow_mut()[at].copy_from_slice(bytes);
    }

    /// Returns a word of the program's memory.
    ///
    /// # Panics
    /// Panics if the address is outside the memory.
    #[must_use]
    pub fn word(&self, addr: u64) -> u32 {
        let at = place(addr, 4).expect("memory of the program");
        u32::from_ne_bytes(self.memory.borrow()[at].try_into().expect("four bytes"))
    }

    /// Closes a descriptor.
    pub fn close(&self, which: usize) -> Option<Tag> {
        let mut given = self.given.borrow_mut();
        given.get_mut(which)?.take().map(|(_, tag)| tag)
    }

    /// Closes all descriptors.
    pub fn close_all(&self) -> Vec<Tag> {
        self.given
            .take()
            .into_iter()
            .flatten()
            .map(|(_, tag)| tag)
            .collect()
    }

    /// Calls `use_it` with an installed descriptor and its tag.
    fn with<T>(
        &self,
        fd: i32,
        use_it: impl FnOnce(&OwnedFd, Tag) -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        let at = usize::try_from(fd)
            .ok()
            .and_then(|fd| fd.checked_sub(FIRST_FD));
        let given = self.given.borrow();
        let found = at.and_then(|at| given.get(at)).and_then(Option::as_ref);
        let (fd, tag) = found.ok_or(EBADF)?;
        use_it(fd, *tag)
    }
}

impl Program for Fake {
    fn origin(&self) -> Origin {
        Origin::process(1, 1)
    }

    fn call(&self) -> CallId {
        CallId(self.call.get())
    }

    fn read(&self, addr: u64, out: &mut [u8]) -> Result<(), Errno> {
        let at = place(addr, out.len()).ok_or(EFAULT)?;
        out.copy_from_slice(&self.memory.borrow()[at]);
        Ok(())
    }

    fn write(&self, addr: u64, data: &[u8]) -> Result<(), Errno> {
        let at = place(addr, data.len()).ok_or(EFAULT)?;
        self.memory.borrow_mut()[at].copy_from_slice(data);
        Ok(())
    }

    fn descriptor(&self, fd: i32, _: Detail) -> Result<Descriptor, Errno> {
        let (fd, tag) = self.with(fd, |fd, tag| Ok((fd.try_clone().map_err(|_| EMFILE)?, tag)))?;
        let stat = rustix::fs::fstat(&fd).map_err(|_| EBADF)?;
        let id = FdIdentity {
            dev: stat.st_dev,
            ino: stat.st_ino,
        };
        Ok(Descriptor {
            tag: Some(tag),
            fd: Some(Arc::new(fd)),
            ..Descriptor::named(id, None)
        })
    }

    fn install(&self, made: &Made, _: bool) -> Result<i32, Errno> {
        let Made::Memory { fd, tag } = made else {
            return Err(Errno::ENOSYS);
        };
        let fd = fd.as_fd().try_clone_to_owned().map_err(|_| EMFILE)?;
        let mut given = self.given.borrow_mut();
        let free = given.iter().position(Option::is_none);
        let at = match free {
            Some(at) => at,
            None if given.len() < MAX_FDS => {
                given.push(None);
                given.len() - 1
            }
            None => return Err(EMFILE),
        };
        given[at] = Some((fd, *tag));
        i32::try_from(at + FIRST_FD).map_err(|_| EMFILE)
    }
}
