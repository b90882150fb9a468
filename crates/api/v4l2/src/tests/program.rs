//! A program: some memory and a table of descriptors.

use super::memory::{TestBuf, TestMemory};
use crate::{Errno, Export, Program};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use vb3_plane::MemOps;
use vb3_queue::RequestId;

/// First address of the program's memory.
pub(crate) const BASE: u64 = 0x1_0000;
/// Length of the program's memory in bytes.
pub(crate) const SIZE: u64 = 0x40_0000;
/// First address of the part that is read-only.
pub(crate) const READ_ONLY: u64 = BASE + 0x20_0000;

/// The program's bytes, shared with the planes that use them.
pub(crate) type Bytes = Rc<RefCell<Vec<u8>>>;

pub(crate) struct TestProgram {
    bytes: Bytes,
    fds: RefCell<BTreeMap<i32, TestBuf>>,
    /// Descriptors of media requests.
    pub(crate) requests: RefCell<BTreeMap<i32, RequestId>>,
    /// Number of descriptors that can still be made.
    pub(crate) fd_room: Cell<usize>,
    /// Whether memory must be fetched before it can be read.
    pub(crate) lacks: Cell<bool>,
    /// Counters of reads and writes, for tests of memory accesses.
    pub(crate) reads: Cell<usize>,
    pub(crate) writes: Cell<usize>,
    /// Memory that queues held and let go of without DQBUF: addresses and lengths in bytes.
    pub(crate) discarded: RefCell<Vec<(u64, u64)>>,
}

impl Default for TestProgram {
    fn default() -> Self {
        Self {
            bytes: Rc::new(RefCell::new(vec![0; usize::try_from(SIZE).unwrap()])),
            fds: RefCell::default(),
            requests: RefCell::default(),
            fd_room: Cell::new(1 << 20),
            lacks: Cell::new(false),
            reads: Cell::new(0),
            writes: Cell::new(0),
            discarded: RefCell::default(),
        }
    }
}

/// Returns the indices of a range in the program's memory.
pub(crate) fn place(addr: u64, len: usize) -> Option<core::ops::Range<usize>> {
    let start = usize::try_from(addr.checked_sub(BASE)?).ok()?;
    let end = start.checked_add(len)?;
    (end <= usize::try_from(SIZE).unwrap()).then_some(start..end)
}

impl TestProgram {
    pub(crate) fn poke(&self, addr: u64, data: &[u8]) {
        self.bytes.borrow_mut()[place(addr, data.len()).unwrap()].copy_from_slice(data);
    }

    pub(crate) fn peek(&self, addr: u64, out: &mut [u8]) {
        out.copy_from_slice(&self.bytes.borrow()[place(addr, out.len()).unwrap()]);
    }

    /// Returns a copy of the program's whole state, to compare before and after a call.
    pub(crate) fn image(&self) -> Vec<u8> {
        self.bytes.borrow().clone()
    }

    /// Installs a dma-buf of `len` bytes.
    pub(crate) fn open_dmabuf(&self, mem: &mut TestMemory, len: u64) -> i32 {
        let buf = mem.new_dmabuf(len);
        self.install(buf)
    }

    fn install(&self, buf: TestBuf) -> i32 {
        let mut fds = self.fds.borrow_mut();
        let fd = fds.last_key_value().map_or(3, |(fd, _)| fd + 1);
        fds.insert(fd, buf);
        fd
    }

    pub(crate) fn close_all(&self, mem: &mut TestMemory) {
        for (_, buf) in core::mem::take(&mut *self.fds.borrow_mut()) {
            mem.put_dmabuf(buf);
        }
    }

    pub(crate) fn open_fds(&self) -> usize {
        self.fds.borrow().len()
    }
}

impl Program<TestMemory> for TestProgram {
    fn read(&self, addr: u64, out: &mut [u8]) -> Result<(), Errno> {
        self.reads.set(self.reads.get() + 1);
        let place = place(addr, out.len()).ok_or(Errno::EFAULT)?;
        out.copy_from_slice(&self.bytes.borrow()[place]);
        Ok(())
    }

    fn prepare_read(&self, _: u64, _: u64) -> Result<(), Errno> {
        match self.lacks.get() {
            true => Err(Errno::EFAULT),
            false => Ok(()),
        }
    }

    fn write(&self, addr: u64, data: &[u8]) -> Result<(), Errno> {
        self.writes.set(self.writes.get() + 1);
        let place = place(addr, data.len()).ok_or(Errno::EFAULT)?;
        if addr + data.len() as u64 > READ_ONLY {
            return Err(Errno::EFAULT);
        }
        self.bytes.borrow_mut()[place].copy_from_slice(data);
        Ok(())
    }

    fn user(&self, _: u64, _: u64) -> Result<Bytes, Errno> {
        Ok(Rc::clone(&self.bytes))
    }

    fn discard(&self, addr: u64, len_bytes: u64) {
        self.discarded.borrow_mut().push((addr, len_bytes));
    }

    fn resolve_dmabuf(&self, mem: &mut TestMemory, fd: i32) -> Result<TestBuf, Errno> {
        let fds = self.fds.borrow();
        let buf = fds.get(&fd).ok_or(Errno::EBADF)?;
        mem.clone_dmabuf(buf).map_err(|_| Errno::EBADF)
    }

    fn resolve_request(&self, fd: i32) -> Option<RequestId> {
        self.requests.borrow().get(&fd).copied()
    }

    fn install_dmabuf(
        &self,
        _: &mut TestMemory,
        buf: TestBuf,
        export: Export,
    ) -> Result<(), (Errno, TestBuf)> {
        match self.fd_room.get().checked_sub(1) {
            Some(room) => {
                self.fd_room.set(room);
                let number = self.install(buf);
                self.poke(export.number_at, &number.to_ne_bytes());
                Ok(())
            }
            None => Err((Errno::EMFILE, buf)),
        }
    }
}
