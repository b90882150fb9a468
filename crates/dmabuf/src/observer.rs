//! Events that a host observes, and the context of each call.

use vb3_dma::{DmaOps, SyncFor};

/// Which bracket of a CPU access was left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SyncKind {
    /// `DMA_BUF_SYNC_START | READ`: the CPU may read what it had cached before a device wrote.
    BeginRead,
    /// `DMA_BUF_SYNC_END | WRITE`: a device may read what was there before the CPU wrote.
    EndWrite,
}

/// A CPU access without its bracket.
///
/// `BeginRead` is a fact about the memory: a device wrote while a program had it mapped, and no
/// sync for the CPU came before the memory was handed on. Whether the program looked, only it
/// knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MissingSync<D> {
    /// The host's tag of the memory ([`crate::Shared::set_tag`]).
    pub tag: u64,
    /// Which bracket.
    pub sync: SyncKind,
    /// The device that wrote (`BeginRead`) or is about to read (`EndWrite`).
    pub device: D,
    /// When the device wrote (`BeginRead`) or was handed the memory (`EndWrite`), host's clock.
    pub at_ns: u64,
    /// Bytes that differ between CPU and device, where the host can know it.
    pub stale_bytes: Option<u64>,
}

/// The events of sharing. Every method has a default; `()` observes nothing.
///
/// Queues share one observer, so its methods take `&self`. An observer that counts brings its own
/// atomics or lock.
///
/// # Context
/// Called by the thread that called this crate; must not call back.
pub trait Observer<O: DmaOps> {
    /// Cache maintenance or a bounce copy was done for `dev`.
    fn synced(&self, dev: O::Device, sync: SyncFor) {
        let _ = (dev, sync);
    }

    /// Memory was allocated for `dev`.
    fn allocated(&self, dev: O::Device, len_bytes: u64) {
        let _ = (dev, len_bytes);
    }

    /// Memory that was allocated for `dev` was freed.
    fn freed(&self, dev: O::Device, len_bytes: u64) {
        let _ = (dev, len_bytes);
    }

    /// Memory was mapped for `dev`.
    fn mapped(&self, dev: O::Device) {
        let _ = dev;
    }

    /// Memory was unmapped from `dev`.
    fn unmapped(&self, dev: O::Device) {
        let _ = dev;
    }

    /// An unmap failed: `dev` may still reach as many bytes, which are kept from every other use.
    fn quarantined(&self, dev: O::Device, len_bytes: u64) {
        let _ = (dev, len_bytes);
    }

    /// Memory of `dev` was moved, which took a copy of as many bytes.
    fn moved(&self, dev: O::Device, len_bytes: u64) {
        let _ = (dev, len_bytes);
    }

    /// Counts the bytes of `alloc` that differ between the CPU's view and the devices'; `None` if
    /// the host cannot know, as on real hardware.
    fn stale_bytes(&self, ops: &O, alloc: &O::Alloc) -> Option<u64> {
        let _ = (ops, alloc);
        None
    }

    /// A CPU access without its bracket was found.
    fn missing_sync(&self, fact: MissingSync<O::Device>) {
        let _ = fact;
    }
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
