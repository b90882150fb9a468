//! Memory of planes as plain vectors, counted.

use super::program::{Bytes, READ_ONLY, place};
use crate::{Bus, BusFault};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use vb3_plane::{Coherency, Constraint, Direction, HintSkip, MemOps, PlaneError, Reason};

/// Bytes of a plane, from some offset on.
#[derive(Clone, Debug)]
struct Run {
    bytes: Bytes,
    start: usize,
    len: u64,
}

#[derive(Debug)]
pub(crate) struct TestPlane {
    pub(crate) id: u64,
    exported: bool,
}

#[derive(Debug)]
pub(crate) struct TestBuf(u64);

pub(crate) struct TestMemory {
    runs: RefCell<BTreeMap<u64, Run>>,
    next: Cell<u64>,
    planes: Cell<usize>,
    bufs: Cell<usize>,
    exports: RefCell<BTreeMap<u64, u32>>,
    /// Planes whose memory has a pending fence.
    pub(crate) fenced: RefCell<BTreeSet<u64>>,
    /// Largest number of allocated bytes.
    pub(crate) limit: u64,
}

impl Default for TestMemory {
    fn default() -> Self {
        Self {
            runs: RefCell::default(),
            next: Cell::new(1),
            planes: Cell::new(0),
            bufs: Cell::new(0),
            exports: RefCell::default(),
            fenced: RefCell::default(),
            limit: 64 << 20,
        }
    }
}

impl TestMemory {
    /// Returns the number of planes and of dma-buf references that exist.
    pub(crate) fn held(&self) -> (usize, usize) {
        (self.planes.get(), self.bufs.get())
    }

    fn add(&self, run: Run) -> u64 {
        let id = self.next.get();
        self.next.set(id + 1);
        self.runs.borrow_mut().insert(id, run);
        id
    }

    fn plane(&self, id: u64) -> TestPlane {
        self.planes.set(self.planes.get() + 1);
        TestPlane {
            id,
            exported: false,
        }
    }

    pub(crate) fn new_dmabuf(&self, len: u64) -> TestBuf {
        let id = self.add(fresh(len));
        self.bufs.set(self.bufs.get() + 1);
        TestBuf(id)
    }

    fn run(&self, id: u64) -> Run {
        self.runs.borrow()[&id].clone()
    }

    fn range(&self, id: u64, offset: u64, len: usize) -> Option<(Bytes, core::ops::Range<usize>)> {
        let run = self.run(id);
        let end = offset.checked_add(len as u64)?;
        let start = run.start + usize::try_from(offset).ok()?;
        (end <= run.len).then(|| (Rc::clone(&run.bytes), start..start + len))
    }

    fn copy_out(&self, id: u64, offset: u64, out: &mut [u8]) -> Result<(), BusFault> {
        let fault = BusFault::OutOfRange {
            offset,
            len: out.len() as u64,
        };
        let (bytes, range) = self.range(id, offset, out.len()).ok_or(fault)?;
        out.copy_from_slice(&bytes.borrow()[range]);
        Ok(())
    }

    fn copy_in(&self, id: u64, offset: u64, data: &[u8]) -> Result<(), BusFault> {
        let fault = BusFault::OutOfRange {
            offset,
            len: data.len() as u64,
        };
        let (bytes, range) = self.range(id, offset, data.len()).ok_or(fault)?;
        bytes.borrow_mut()[range].copy_from_slice(data);
        Ok(())
    }
}

fn fresh(len: u64) -> Run {
    let bytes = Rc::new(RefCell::new(vec![0; usize::try_from(len).unwrap()]));
    Run {
        bytes,
        start: 0,
        len,
    }
}

impl Bus<u64> for TestMemory {
    fn read(&mut self, cookie: &u64, offset: u64, out: &mut [u8]) -> Result<(), BusFault> {
        self.copy_out(*cookie, offset, out)
    }

    fn note_read(&mut self, cookie: &u64, offset: u64, len: u64) -> Result<(), BusFault> {
        let fault = BusFault::OutOfRange { offset, len };
        let len = usize::try_from(len).map_err(|_| fault)?;
        self.range(*cookie, offset, len).map(drop).ok_or(fault)
    }

    fn write(&mut self, cookie: &u64, offset: u64, data: &[u8]) -> Result<(), BusFault> {
        self.copy_in(*cookie, offset, data)
    }
}

impl MemOps for TestMemory {
    type Device = ();
    type User = Bytes;
    type Plane = TestPlane;
    type DmaBuf = TestBuf;
    type Cookie = u64;
    type Mmap = u64;

    fn supports_userptr(&self) -> bool {
        true
    }

    fn alloc(
        &self,
        (): (),
        len_bytes: u64,
        _: Direction,
        _: Coherency,
    ) -> Result<TestPlane, PlaneError> {
        let used: u64 = self.runs.borrow().values().map(|run| run.len).sum();
        let free = self.limit.saturating_sub(used);
        if len_bytes > free {
            let constraint = Constraint::ContiguousPool;
            let reason = Reason {
                constraint,
                wanted: len_bytes,
                found: free,
            };
            return Err(PlaneError::NoMemory(Some(reason)));
        }
        let id = self.add(fresh(len_bytes));
        Ok(self.plane(id))
    }

    fn get_userptr(
        &self,
        (): (),
        user: &Bytes,
        addr: u64,
        len_bytes: u64,
        direction: Direction,
    ) -> Result<TestPlane, PlaneError> {
        let range = usize::try_from(len_bytes)
            .ok()
            .and_then(|len| place(addr, len));
        let range = range.ok_or(PlaneError::Fault(None))?;
        if direction.device_writes() && addr + len_bytes > READ_ONLY {
            return Err(PlaneError::Fault(None));
        }
        let id = self.add(Run {
            bytes: Rc::clone(user),
            start: range.start,
            len: len_bytes,
        });
        Ok(self.plane(id))
    }

    fn is_current(&self, _: &TestPlane, _: &Bytes, _: u64) -> bool {
        true
    }

    fn attach_dmabuf(
        &self,
        (): (),
        buf: &TestBuf,
        len_bytes: u64,
        _: Direction,
    ) -> Result<TestPlane, PlaneError> {
        let run = self.run(buf.0);
        if run.len < len_bytes {
            let constraint = Constraint::BufferSize;
            let reason = Reason {
                constraint,
                wanted: len_bytes,
                found: run.len,
            };
            return Err(PlaneError::Fault(Some(reason)));
        }
        let id = self.add(run);
        Ok(self.plane(id))
    }

    fn map_dmabuf(&self, _: &mut TestPlane) -> Result<(), PlaneError> {
        Ok(())
    }

    fn unmap_dmabuf(&self, _: &mut TestPlane) {}

    fn put(&self, plane: TestPlane) {
        self.planes.set(self.planes.get() - 1);
        if !plane.exported {
            self.runs.borrow_mut().remove(&plane.id);
        }
    }

    fn prepare(&self, _: &mut TestPlane, _: HintSkip) -> Result<(), PlaneError> {
        Ok(())
    }

    fn finish(&self, _: &mut TestPlane, _: HintSkip) -> Result<(), PlaneError> {
        Ok(())
    }

    fn is_held_back(&self, plane: &TestPlane) -> bool {
        self.fenced.borrow().contains(&plane.id)
    }

    fn cookie(&self, plane: &TestPlane) -> Option<u64> {
        Some(plane.id)
    }

    fn num_users(&self, plane: &TestPlane) -> u32 {
        1 + self.exports.borrow().get(&plane.id).copied().unwrap_or(0)
    }

    fn mmap(&self, plane: &TestPlane, _: u64) -> Result<u64, PlaneError> {
        Ok(plane.id)
    }

    fn export(&self, plane: &TestPlane) -> Result<TestBuf, PlaneError> {
        *self.exports.borrow_mut().entry(plane.id).or_default() += 1;
        let run = self.run(plane.id);
        let id = self.add(run);
        self.bufs.set(self.bufs.get() + 1);
        Ok(TestBuf(id))
    }

    fn dmabuf_len(&self, buf: &TestBuf) -> u64 {
        self.run(buf.0).len
    }

    fn same_dmabuf(&self, a: &TestBuf, b: &TestBuf) -> bool {
        a.0 == b.0
    }

    fn clone_dmabuf(&self, buf: &TestBuf) -> Result<TestBuf, PlaneError> {
        self.bufs.set(self.bufs.get() + 1);
        Ok(TestBuf(buf.0))
    }

    fn put_dmabuf(&self, _: TestBuf) {
        self.bufs.set(self.bufs.get() - 1);
    }

    fn copy_from(
        &self,
        plane: &mut TestPlane,
        offset: u64,
        out: &mut [u8],
    ) -> Result<(), PlaneError> {
        self.copy_out(plane.id, offset, out)
            .map_err(|_| PlaneError::Invalid(None))
    }

    fn copy_to(&self, plane: &mut TestPlane, offset: u64, data: &[u8]) -> Result<(), PlaneError> {
        self.copy_in(plane.id, offset, data)
            .map_err(|_| PlaneError::Invalid(None))
    }
}
