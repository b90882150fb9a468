//! Tests of sharing, over a DMA layer that is not there.

mod access;
mod attach;
mod lifetime;
mod placing;
mod threads;

use crate::fake::{Fake, FakeAlloc, FakeDevice, FakeLive, PAGE};
use crate::{
    Access, Backing, BufRef, Buffers, Live, MemoryId, MissingSync, Name, Observer, Spec, UserKind,
};
use alloc::vec::Vec;
use vb3_dma::{Attrs, Direction, DmaOps};

/// Hears everything, and knows how many bytes are stale.
#[derive(Debug, Default)]
pub(super) struct Log {
    pub(super) missing: Vec<MissingSync<FakeDevice>>,
    pub(super) maps: i64,
    pub(super) bytes: i64,
    pub(super) moved: u64,
    pub(super) quarantined: Vec<(u8, u64)>,
}

impl Observer<Fake> for Log {
    fn mapped(&mut self, _: FakeDevice) {
        self.maps += 1;
    }

    fn unmapped(&mut self, _: FakeDevice) {
        self.maps -= 1;
    }

    fn quarantined(&mut self, dev: FakeDevice, len_bytes: u64) {
        self.quarantined.push((dev.id, len_bytes));
    }

    fn moved(&mut self, _: FakeDevice, len_bytes: u64) {
        self.moved += len_bytes;
    }

    fn allocated(&mut self, _: FakeDevice, len_bytes: u64) {
        self.bytes += i64::try_from(len_bytes).unwrap();
    }

    fn freed(&mut self, _: FakeDevice, len_bytes: u64) {
        self.bytes -= i64::try_from(len_bytes).unwrap();
    }

    fn stale_bytes(&mut self, ops: &Fake, alloc: &FakeAlloc) -> Option<u64> {
        Some(ops.state().stale(alloc.block))
    }

    fn missing_sync(&mut self, fact: MissingSync<FakeDevice>) {
        self.missing.push(fact);
    }
}

pub(super) type Bufs = Buffers<Fake, Log>;

pub(super) const CAMERA: FakeDevice = FakeDevice::new(1);
pub(super) const DISPLAY: FakeDevice = FakeDevice::new(2);
pub(super) const BOUNCER: FakeDevice = FakeDevice {
    bounces: true,
    ..FakeDevice::new(3)
};

pub(super) fn buffers() -> Bufs {
    Buffers::new(Fake::default(), Log::default())
}

pub(super) fn memory(
    b: &mut Bufs,
    backing: Backing<FakeDevice>,
    direction: Direction,
    pages: u64,
) -> MemoryId {
    let spec = Spec {
        backing,
        len_bytes: pages * PAGE,
        direction,
        attrs: Attrs::empty(),
    };
    b.allocate(spec).expect("memory")
}

pub(super) fn export(b: &mut Bufs, id: MemoryId) -> BufRef {
    b.export(id, Access::ReadWrite, Name::default())
        .expect("export")
}

pub(super) fn block(b: &Bufs, id: MemoryId) -> usize {
    b.memory(id).expect("memory").alloc().block
}

pub(super) fn own_addr(b: &Bufs, id: MemoryId) -> vb3_dma::DmaAddr {
    let memory = b.memory(id).expect("memory");
    b.ops().alloc_dma_addr(memory.alloc()).expect("address")
}

/// Gives the plane's handle back and sees that nothing is left.
pub(super) fn end(mut b: Bufs, id: MemoryId) {
    b.drop_user(id, UserKind::Plane);
    assert_nothing(&b);
}

pub(super) fn assert_nothing(b: &Bufs) {
    assert_eq!(b.live(), Live::default());
    assert_eq!(b.ops().state().live, FakeLive::default());
    assert_eq!((b.observer().maps, b.observer().bytes), (0, 0));
}
