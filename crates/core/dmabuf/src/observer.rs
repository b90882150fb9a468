//! Events that a host observes, and the context of each call.

#[cfg(feature = "alloc")]
use crate::MemoryId;
#[cfg(feature = "alloc")]
use crate::fence::{Owner, Usage};
use vb3_dma::{DmaOps, SyncFor};

/// The events of sharing. Every method has a default; `()` observes nothing.
///
/// Queues share one observer, so its methods take `&self`. An observer that counts needs its own atomics or
/// lock.
///
/// # Context
/// Called by the thread that called this crate. A method must not call this crate.
#[expect(unused_variables, reason = "the default methods observe nothing")]
pub trait Observer<O: DmaOps> {
    /// Cache maintenance or a bounce copy was done for `dev`.
    fn synced(&self, dev: O::Device, sync: SyncFor) {}

    /// Memory was allocated for `dev`.
    fn allocated(&self, dev: O::Device, len_bytes: u64) {}

    /// Memory that was allocated for `dev` was freed.
    fn freed(&self, dev: O::Device, len_bytes: u64) {}

    /// Memory was mapped for `dev`.
    fn mapped(&self, dev: O::Device) {}

    /// Memory was unmapped from `dev`.
    fn unmapped(&self, dev: O::Device) {}

    /// An unmap failed: `dev` may still reach `len_bytes` of memory, which is never used again.
    fn quarantined(&self, dev: O::Device, len_bytes: u64) {}

    /// Memory of `dev` was moved by a copy of `len_bytes`.
    fn moved(&self, dev: O::Device, len_bytes: u64) {}

    /// The CPU copied `len_bytes` of a plane of `dev`, for read() or write(), or for a driver that uses the CPU.
    fn copied(&self, dev: O::Device, len_bytes: u64) {}

    /// At the program's request, no cache maintenance was done for `dev`, which does not see the CPU's caches.
    fn skipped(&self, dev: O::Device, sync: SyncFor) {}

    /// Counts the bytes of `memory` that differ between the CPU's view and the devices'; `None` if
    /// the host cannot know, as on real hardware.
    fn stale_bytes(&self, ops: &O, memory: &O::Memory) -> Option<u64> {
        None
    }

    /// A CPU access lacked a necessary `DMA_BUF_IOCTL_SYNC`. `tag` is the host's tag of the memory
    /// ([`Shared::set_tag`](crate::Shared::set_tag)), and `sync` the side whose view lacked the sync:
    ///
    /// * `Cpu`: the CPU lacked `DMA_BUF_SYNC_START | READ`, so it may read bytes that it cached before `dev` wrote. This
    ///   only describes the memory: a device wrote while a program had it mapped, and no sync for the CPU followed
    ///   before the memory was passed on. It does not prove that the program read the memory.
    /// * `Device`: the CPU lacked `DMA_BUF_SYNC_END | WRITE`, so `dev`, which is about to read, may read the old bytes
    ///   that the CPU has overwritten.
    ///
    /// `stale_bytes` is the result of [`stale_bytes`](Self::stale_bytes), and never `Some(0)`.
    fn missing_sync(&self, dev: O::Device, tag: u64, sync: SyncFor, stale_bytes: Option<u64>) {}

    /// The first party accessed `memory` while the second one, a device, used it. With each party is its access: a read
    /// or a write. The first party is a device that was given the memory, or a program that announced the access.
    #[cfg(feature = "alloc")]
    fn early_access(
        &self,
        memory: MemoryId,
        by: (Owner<O::Device>, Usage),
        during: (Owner<O::Device>, Usage),
    ) {
    }

    /// `dev` could not use `len_bytes` of a dma-buf of `memory`, as a plane of a queue that imported the dma-buf.
    #[cfg(feature = "alloc")]
    fn refused_import(&self, dev: O::Device, memory: MemoryId, len_bytes: u64) {}
}

impl<O: DmaOps> Observer<O> for () {}

/// Context of a call: the DMA layer, the host's observer and the time.
#[derive(Debug)]
pub struct Cx<'a, O, W> {
    /// The DMA layer.
    pub ops: &'a O,
    /// The host's observer.
    pub observer: &'a W,
    /// The host's clock in nanoseconds.
    pub now_ns: u64,
}
