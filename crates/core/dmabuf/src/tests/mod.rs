//! Tests of sharing.

mod access;
mod attach;
mod host;
mod lifetime;
mod placing;
mod table;
mod threads;

use crate::fence::{Owner, Usage};
use crate::{
    AttachRef, Backing, BufRef, Buffers, Error, Live, MemoryId, Observer, Placer, Spec, UserKind,
};
use alloc::vec::Vec;
use host::{BOUNCER, CAMERA, DISPLAY, Ops, PAGE, TestOps as _};
use std::sync::{Mutex, MutexGuard};
use vb3_dma::{Attrs, Direction, DmaOps, DmaSegment, Memory, SyncFor};
use vb3_dma_test::fake::Fake;

/// Records all events, and how many bytes are stale.
#[derive(Debug, Default)]
pub(super) struct Log(Mutex<Heard>);

impl Log {
    pub(super) fn get(&self) -> MutexGuard<'_, Heard> {
        self.0.try_lock().expect("one user at a time")
    }
}

#[derive(Debug, Default)]
pub(super) struct Heard {
    /// Device, tag, side and stale bytes of each missing sync.
    pub(super) missing: Vec<(u32, u64, SyncFor, Option<u64>)>,
    pub(super) maps: i64,
    pub(super) syncs_for_cpu: u32,
    pub(super) bytes: i64,
    pub(super) moved: u64,
    pub(super) quarantined: Vec<(u32, u64)>,
    /// Memory and parties of each early access.
    pub(crate) early: Vec<(MemoryId, Party, Party)>,
}

/// A device or program, and its access.
type Party = (Owner<u32>, Usage);

impl Observer<Ops> for Log {
    fn synced(&self, _: u32, sync: SyncFor) {
        self.get().syncs_for_cpu += u32::from(sync == SyncFor::Cpu);
    }

    fn mapped(&self, _: u32) {
        self.get().maps += 1;
    }

    fn unmapped(&self, _: u32) {
        self.get().maps -= 1;
    }

    fn quarantined(&self, dev: u32, len_bytes: u64) {
        self.get().quarantined.push((dev, len_bytes));
    }

    fn moved(&self, _: u32, len_bytes: u64) {
        self.get().moved += len_bytes;
    }

    fn allocated(&self, _: u32, len_bytes: u64) {
        self.get().bytes += i64::try_from(len_bytes).unwrap();
    }

    fn freed(&self, _: u32, len_bytes: u64) {
        self.get().bytes -= i64::try_from(len_bytes).unwrap();
    }

    fn stale_bytes(&self, ops: &Ops, alloc: &Memory<Fake>) -> Option<u64> {
        Some(ops.platform().stale(alloc.segments()))
    }

    fn missing_sync(&self, dev: u32, tag: u64, sync: SyncFor, stale: Option<u64>) {
        self.get().missing.push((dev, tag, sync, stale));
    }

    fn early_access(&self, memory: MemoryId, by: Party, during: Party) {
        self.get().early.push((memory, by, during));
    }
}

pub(super) type Bufs = Buffers<Ops, Log>;

pub(super) fn buffers() -> Bufs {
    Buffers::new(host::ops(host::setup()), Log::default())
}

pub(super) fn memory(
    b: &Bufs,
    backing: Backing<u32>,
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
    b.export(id).expect("export")
}

/// Calls on one attachment or CPU mapping of a memory.
pub(super) trait Calls {
    fn import(&self, buf: &BufRef, dev: u32) -> Result<AttachRef, Error>;
    fn segment(&self, attachment: &AttachRef, index: usize) -> Option<DmaSegment>;
    fn hand_to_device(&self, attachment: &AttachRef) -> Result<(), Error>;
    fn take_from_device(&self, attachment: &AttachRef) -> Result<(), Error>;
    fn vmap(&self, id: MemoryId) -> Result<(), Error>;
    fn vunmap(&self, id: MemoryId);
}

impl Calls for Bufs {
    fn import(&self, buf: &BufRef, dev: u32) -> Result<AttachRef, Error> {
        self.attach_dynamic(buf.memory(), dev)
    }

    fn segment(&self, at: &AttachRef, index: usize) -> Option<DmaSegment> {
        self.inspect(at.memory(), |m| m.segment(self.ops(), at.key(), index))?
    }

    fn hand_to_device(&self, at: &AttachRef) -> Result<(), Error> {
        self.with_memory(at.memory(), |m, cx| m.hand_to_device(cx, at.key(), false))
    }

    fn take_from_device(&self, at: &AttachRef) -> Result<(), Error> {
        self.with_memory(at.memory(), |m, cx| m.take_from_device(cx, at.key(), false))
    }

    fn vmap(&self, id: MemoryId) -> Result<(), Error> {
        self.with_memory(id, |m, cx| m.vmap(cx.ops).map(|_| ()))
    }

    fn vunmap(&self, id: MemoryId) {
        let _gone = self.with_memory(id, |m, cx| {
            m.vunmap(cx.ops);
            Ok(())
        });
    }
}

pub(super) fn cpu_read(b: &Bufs, id: MemoryId, offset: u64, len: u64) -> Vec<u8> {
    let read = b.inspect(id, |memory| b.ops().cpu_read(memory.memory(), offset, len));
    read.expect("memory")
}

pub(super) fn cpu_write(b: &Bufs, id: MemoryId, offset: u64, data: &[u8]) {
    let written = b.inspect(id, |memory| {
        b.ops().cpu_write(memory.memory(), offset, data)
    });
    written.expect("memory");
}

pub(super) fn own_addr(b: &Bufs, id: MemoryId) -> vb3_dma::DmaAddr {
    let addr = b.inspect(id, |memory| b.ops().alloc_dma_addr(memory.memory()));
    addr.flatten().expect("address")
}

/// Drops the plane's handle and asserts that nothing is left.
pub(super) fn end(b: Bufs, id: MemoryId) {
    b.drop_user(id, UserKind::Plane);
    assert_nothing(&b);
}

pub(super) fn assert_nothing(b: &Bufs) {
    assert_eq!(b.live(), Live::default());
    assert_eq!(b.ops().held(), vb3_dma::Live::default());
    assert_eq!(b.ops().platform().freed_in_reach(), []);
    let heard = b.observer().get();
    assert_eq!((heard.maps, heard.bytes), (0, 0));
}
