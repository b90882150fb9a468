//! Tests of planes over a DMA layer that is not there.

mod import;
mod lazy;
mod mmap;
mod model;
mod reserve;
mod sg;
mod syncs;
mod threads;
mod userptr;
mod vmalloc;

use super::{Cookie, Device, Live, Plane, Planes};
use crate::{AllocArgs, ExportAccess, HintSkip, MemOps, PlaneError};
use alloc::vec::Vec;
use core::cell::RefCell;
use vb3_dma::{Coherency, Constraint, Direction, DmaAddr, Reason};
use vb3_dmabuf::fake::{Fake, FakeAlloc, FakeDevice, FakeLive, FakeUser, PAGE};
use vb3_dmabuf::{BufRef, MissingSync, Observer, SyncKind};

#[derive(Debug, Default)]
pub(super) struct Log {
    pub(super) missing: RefCell<Vec<MissingSync<FakeDevice>>>,
}

impl Observer<Fake> for Log {
    fn stale_bytes(&self, ops: &Fake, alloc: &FakeAlloc) -> Option<u64> {
        Some(ops.state().stale(alloc.block))
    }

    fn missing_sync(&self, fact: MissingSync<FakeDevice>) {
        self.missing.borrow_mut().push(fact);
    }
}

pub(super) type Test = Planes<Fake, Log>;
pub(super) type TestPlane = Plane<FakeDevice>;

/// Behind an IOMMU, caches not coherent.
pub(super) const CAMERA: FakeDevice = FakeDevice::new(1);
pub(super) const DISPLAY: FakeDevice = FakeDevice::new(2);
/// No IOMMU.
pub(super) const DIRECT: FakeDevice = FakeDevice {
    iommu: false,
    ..FakeDevice::new(3)
};
pub(super) const BOUNCER: FakeDevice = FakeDevice {
    bounces: true,
    ..FakeDevice::new(4)
};

pub(super) fn planes() -> Test {
    Planes::new(Fake::default(), Log::default())
}

pub(super) fn args(len_bytes: u64, direction: Direction, coherency: Coherency) -> AllocArgs {
    AllocArgs {
        len_bytes,
        direction,
        coherency,
    }
}

pub(super) fn alloc(
    t: &Test,
    dev: Device<FakeDevice>,
    direction: Direction,
    coherency: Coherency,
) -> TestPlane {
    t.alloc(dev, args(2 * PAGE, direction, coherency))
        .expect("memory")
}

pub(super) fn export(t: &Test, plane: &TestPlane) -> BufRef {
    t.export(plane, ExportAccess::ReadWrite).expect("export")
}

pub(super) fn dma(t: &Test, plane: &TestPlane) -> DmaAddr {
    match t.cookie(plane) {
        Some(Cookie::Dma(addr)) => addr,
        other => panic!("no DMA address: {other:?}"),
    }
}

pub(super) fn block(t: &Test, plane: &TestPlane) -> usize {
    let memory = plane.memory().expect("allocated");
    let block = t.buffers.inspect(memory, |memory| memory.alloc().block);
    block.expect("memory")
}

pub(super) fn assert_nothing(t: &Test) {
    assert_eq!(t.live(), Live::default());
    assert_eq!(t.ops().state().live, FakeLive::default());
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
