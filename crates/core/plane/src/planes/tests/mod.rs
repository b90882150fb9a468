//! Tests of planes.

#[path = "../../../../dmabuf/src/tests/host.rs"]
mod host;
mod import;
mod lazy;
mod mmap;
mod model;
mod sg;
mod syncs;
mod threads;
mod userptr;
mod vmalloc;

use super::{Cookie, Device, Plane, Planes};
use crate::{HintSkip, MemOps, PlaneError};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::cell::RefCell;
use host::{BOUNCER, CAMERA, DIRECT, DISPLAY, Ops, PAGE, PC, TestOps as _};
use vb3_dma::{Coherency, Constraint, Direction, DmaAddr, Memory, Reason, SyncFor};
use vb3_dma_test::fake::{Fake, FakeUser};
use vb3_dmabuf::{BufRef, MemoryId, Observer, Placer, Spec};

/// Device, tag, side and stale bytes of a missing sync.
type Missing = (u32, u64, SyncFor, Option<u64>);

/// The events of one device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counters {
    pub(super) syncs_for_device: u64,
    pub(super) syncs_for_cpu: u64,
    pub(super) skipped_for_device: u64,
    pub(super) skipped_for_cpu: u64,
    pub(super) maps: u64,
    pub(super) unmaps: u64,
    pub(super) copied_bytes: u64,
    pub(super) moved_bytes: u64,
    /// Bytes allocated now.
    pub(super) bytes: u64,
}

#[derive(Debug, Default)]
pub(super) struct Log {
    counters: RefCell<BTreeMap<u32, Counters>>,
    pub(super) missing: RefCell<Vec<Missing>>,
    /// Device, memory and length of each refused import.
    pub(super) refused: RefCell<Vec<(u32, MemoryId, u64)>>,
}

impl Log {
    fn count(&self, dev: u32, what: impl FnOnce(&mut Counters)) {
        what(self.counters.borrow_mut().entry(dev).or_default());
    }
}

impl Observer<Ops> for Log {
    fn synced(&self, dev: u32, sync: SyncFor) {
        self.count(dev, |c| match sync {
            SyncFor::Device => c.syncs_for_device += 1,
            SyncFor::Cpu => c.syncs_for_cpu += 1,
        });
    }

    fn skipped(&self, dev: u32, sync: SyncFor) {
        self.count(dev, |c| match sync {
            SyncFor::Device => c.skipped_for_device += 1,
            SyncFor::Cpu => c.skipped_for_cpu += 1,
        });
    }

    fn allocated(&self, dev: u32, len_bytes: u64) {
        self.count(dev, |c| c.bytes += len_bytes);
    }

    fn freed(&self, dev: u32, len_bytes: u64) {
        self.count(dev, |c| c.bytes -= len_bytes);
    }

    fn mapped(&self, dev: u32) {
        self.count(dev, |c| c.maps += 1);
    }

    fn unmapped(&self, dev: u32) {
        self.count(dev, |c| c.unmaps += 1);
    }

    fn moved(&self, dev: u32, len_bytes: u64) {
        self.count(dev, |c| c.moved_bytes += len_bytes);
    }

    fn copied(&self, dev: u32, len_bytes: u64) {
        self.count(dev, |c| c.copied_bytes += len_bytes);
    }

    fn stale_bytes(&self, ops: &Ops, alloc: &Memory<Fake>) -> Option<u64> {
        Some(ops.platform().stale(alloc.segments()))
    }

    fn missing_sync(&self, dev: u32, tag: u64, sync: SyncFor, stale: Option<u64>) {
        self.missing.borrow_mut().push((dev, tag, sync, stale));
    }

    fn refused_import(&self, dev: u32, memory: MemoryId, len_bytes: u64) {
        self.refused.borrow_mut().push((dev, memory, len_bytes));
    }
}

pub(super) type Test = Planes<Ops, Log>;
pub(super) type TestPlane = Plane<u32>;

impl Test {
    /// Returns what the observer has counted for a device.
    pub(super) fn counters(&self, dev: u32) -> Counters {
        let all = self.host().counters.borrow();
        all.get(&dev).copied().unwrap_or_default()
    }
}

pub(super) fn planes() -> Test {
    Planes::new(host::ops(host::setup()), Log::default())
}

pub(super) fn alloc(
    t: &Test,
    dev: Device<u32>,
    direction: Direction,
    coherency: Coherency,
) -> TestPlane {
    t.alloc(dev, 2 * PAGE, direction, coherency)
        .expect("memory")
}

pub(super) fn export(t: &Test, plane: &TestPlane) -> BufRef {
    t.export(plane).expect("export")
}

pub(super) fn dma(t: &Test, plane: &TestPlane) -> DmaAddr {
    match t.cookie(plane) {
        Some(Cookie::Dma(addr)) => addr,
        other => panic!("no DMA address: {other:?}"),
    }
}

/// Reads an allocated plane as the CPU does.
pub(super) fn cpu_read(t: &Test, plane: &TestPlane, offset: u64, len: u64) -> Vec<u8> {
    let memory = plane.memory().expect("allocated");
    let read = |memory: &Allocated| t.ops().cpu_read(memory.memory(), offset, len);
    t.buffers.inspect(memory, read).expect("memory")
}

/// Writes an allocated plane as the CPU does.
pub(super) fn cpu_write(t: &Test, plane: &TestPlane, offset: u64, data: &[u8]) {
    let memory = plane.memory().expect("allocated");
    let write = |memory: &Allocated| t.ops().cpu_write(memory.memory(), offset, data);
    t.buffers.inspect(memory, write).expect("memory");
}

type Allocated = vb3_dmabuf::Shared<Ops, vb3_dmabuf::Slab<vb3_dmabuf::Attachment<Ops>>>;

pub(super) fn assert_nothing(t: &Test) {
    assert_eq!(t.live(), vb3_dmabuf::Live::default());
    assert_eq!(t.ops().held(), vb3_dma::Live::default());
    assert_eq!(t.ops().platform().freed_in_reach(), []);
    for dev in [CAMERA, DISPLAY, DIRECT, BOUNCER] {
        let c = t.counters(dev);
        assert_eq!((c.maps, c.bytes), (c.unmaps, 0), "{dev:?}");
    }
}

pub(super) fn reason(e: PlaneError) -> (Constraint, u64, u64) {
    let Reason {
        constraint,
        wanted,
        found,
    } = e.reason().expect("a reason");
    (constraint, wanted, found)
}
