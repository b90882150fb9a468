//! A device's demands on memory, apart from those on its address.

use vb3_dma::Protected;

/// What a device and its driver demand of memory, apart from its address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demands {
    /// Whether the device sees the CPU's caches; if `None`, the machine's default holds.
    pub coherent: Option<bool>,
    /// Whether the driver omits cache syncs. The memory must then work without them.
    pub unsynced: bool,
    /// Whether the driver needs memory with struct pages.
    pub pages: bool,
    /// Whether the device uses protected memory.
    pub protected: Protected,
}
