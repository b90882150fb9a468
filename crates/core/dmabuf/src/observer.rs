//! Events that a host observes, and the context of each call.

use vb3_dma::{DmaOps, SyncFor};

/// A CPU access without a necessary `DMA_BUF_IOCTL_SYNC`.
///
/// Without `DMA_BUF_SYNC_START | READ`, the CPU may read bytes that it cached before a device wrote. Without
/// `DMA_BUF_SYNC_END | WRITE`, a device may read the old bytes that the CPU has overwritten. The first case only describes the memory: a device wrote while a program had it mapped, and no sync for the
/// CPU followed before the memory was passed on. It does not prove that the program read the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MissingSync<D> {
    /// The host's tag of the memory ([`crate::Shared::set_tag`]).
    pub tag: u64,
    /// The side whose view lacked the sync: `Cpu` for `START | READ`, `Device` for `END | WRITE`.
    pub sync: SyncFor,
    /// The device that wrote (`Cpu`) or is about to read (`Device`).
    pub device: D,
    /// When the device wrote (`Cpu`) or received the memory (`Device`), by the host's clock.
    pub at_ns: u64,
    /// Bytes that differ between the views of CPU and device; `None` if the host cannot know.
    pub stale_bytes: Option<u64>,
}

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

    /// Counts the bytes of `memory` that differ between the CPU's view and the devices'; `None` if
    /// the host cannot know, as on real hardware.
    fn stale_bytes(&self, ops: &O, memory: &O::Memory) -> Option<u64> {
        None
    }

    /// A CPU access lacked a necessary sync.
    fn missing_sync(&self, fact: MissingSync<O::Device>) {}
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
