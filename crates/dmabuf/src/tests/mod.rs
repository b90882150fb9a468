//! Tests of sharing, over a DMA layer that is not there.

mod access;
mod attach;
mod lifetime;
mod placing;
mod table;
mod threads;

use crate::fake::{Fake, FakeAlloc, FakeDevice, FakeLive, PAGE};
use crate::{
    Access, Backing, BufRef, Buffers, Live, MemoryId, MissingSync, Name, Observer, Spec, UserKind,
};
use alloc::vec::Vec;
use std::sync::{Mutex, MutexGuard};
use vb3_dma::{Attrs, Direction, DmaOps, Lock, Locks};

/// Hears everything, and knows how many bytes are stale.
#[derive(Debug, Default)]
pub(super) struct Log(Mutex<Heard>);

impl Log {
    pub(super) fn get(&self) -> MutexGuard<'_, Heard> {
        self.0.try_lock().expect("one user at a time")
    }
}

#[derive(Debug, Default)]
pub(super) struct Heard {
    pub(super) missing: Vec<MissingSync<FakeDevice>>,
    pub(super) maps: i64,
    pub(super) bytes: i64,
    pub(super) moved: u64,
    pub(super) quarantined: Vec<(u8, u64)>,
}

impl Observer<Fake> for Log {
    fn mapped(&self, _: FakeDevice) {
        self.get().maps += 1;
    }

    fn unmapped(&self, _: FakeDevice) {
        self.get().maps -= 1;
    }

    fn quarantined(&self, dev: FakeDevice, len_bytes: u64) {
        self.get().quarantined.push((dev.id, len_bytes));
    }

    fn moved(&self, _: FakeDevice, len_bytes: u64) {
        self.get().moved += len_bytes;
    }

    fn allocated(&self, _: FakeDevice, len_bytes: u64) {
        self.get().bytes += i64::try_from(len_bytes).unwrap();
    }

    fn freed(&self, _: FakeDevice, len_bytes: u64) {
        self.get().bytes -= i64::try_from(len_bytes).unwrap();
    }

    fn stale_bytes(&self, ops: &Fake, alloc: &FakeAlloc) -> Option<u64> {
        Some(ops.state().stale(alloc.block))
    }

    fn missing_sync(&self, fact: MissingSync<FakeDevice>) {
        self.get().missing.push(fact);
    }
}

/// Locks for threads.
pub(super) struct Mutexes;

#[derive(Debug)]
pub(super) struct Guarded<T>(Mutex<T>);

impl Locks for Mutexes {
    type Lock<T> = Guarded<T>;
}

impl<T> Lock<T> for Guarded<T> {
    fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    fn with<R>(&self, act: impl FnOnce(&mut T) -> R) -> R {
        act(&mut self.0.lock().expect("no panic"))
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
    b: &Bufs,
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

pub(super) fn export(b: &Bufs, id: MemoryId) -> BufRef {
    b.export(id, Access::ReadWrite, Name::default())
        .expect("export")
}

pub(super) fn block(b: &Bufs, id: MemoryId) -> usize {
    b.inspect(id, |memory| memory.alloc().block)
        .expect("memory")
}

pub(super) fn own_addr(b: &Bufs, id: MemoryId) -> vb3_dma::DmaAddr {
    let addr = b.inspect(id, |memory| b.ops().alloc_dma_addr(memory.alloc()));
    addr.flatten().expect("address")
}

/// Gives the plane's handle back and sees that nothing is left.
pub(super) fn end(b: Bufs, id: MemoryId) {
    b.drop_user(id, UserKind::Plane);
    assert_nothing(&b);
}

pub(super) fn assert_nothing(b: &Bufs) {
    assert_eq!(b.live(), Live::default());
    assert_eq!(b.ops().state().live, FakeLive::default());
    let heard = b.observer().get();
    assert_eq!((heard.maps, heard.bytes), (0, 0));
}
