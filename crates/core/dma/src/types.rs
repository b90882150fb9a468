//! Types of the interfaces: directions, attributes, segments and a device's limits.

use crate::{DmaAddr, PhysAddr};
use bitflags::bitflags;

/// Direction of transfer between the CPU and a device.
///
/// The variants have the order of Linux's `enum dma_data_direction`, so a kernel converts them for free. Linux's
/// `DMA_NONE` has no counterpart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Device and CPU both read what the other wrote.
    Bidirectional,
    /// The device reads what the CPU wrote.
    ToDevice,
    /// The CPU reads what the device wrote.
    FromDevice,
}

impl Direction {
    /// Returns whether the device may write to the memory.
    #[must_use]
    pub const fn device_writes(self) -> bool {
        matches!(self, Self::FromDevice | Self::Bidirectional)
    }

    /// Returns whether the device may read from the memory.
    #[must_use]
    pub const fn device_reads(self) -> bool {
        matches!(self, Self::ToDevice | Self::Bidirectional)
    }
}

/// How the segments of memory are laid out in a device's addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SegmentMode {
    /// One run without gaps if page tables can make one; the device's limits only split the
    /// reported segments. With [`Attrs::ONE_RUN`], a failure to make one run is an error.
    #[default]
    Contiguous,
    /// The same segments that Linux reports, including gaps. Linux maps other memory in a gap; here, the
    /// gap stays unmapped.
    Compatible,
}

/// When a removed translation is flushed out of the device's translation buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum FlushPolicy {
    /// At once, with the removal.
    #[default]
    Strict,
    /// Later, for many ranges at a time. Until the flush, a device can reach unmapped memory, and the
    /// addresses are not reused. Memory that the layer allocated or pinned is given back after the flush, even if it
    /// is freed before. Freeing a handle of memory that the caller lends flushes at once.
    Lazy,
}

/// Receiver of a hand-over of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SyncFor {
    /// The device is about to use the memory: dirty cache lines are written back.
    Device,
    /// The CPU is about to use the memory: stale lines are invalidated.
    Cpu,
}

/// Whether a device sees the CPU's caches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Coherency {
    /// Device and CPU always see the same bytes.
    Coherent,
    /// A hand-over between device and CPU needs cache maintenance.
    NonCoherent,
}

/// Whether a device uses protected memory, which the CPU cannot read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Protected {
    /// Only unprotected memory.
    #[default]
    Never,
    /// Protected and unprotected memory.
    Also,
    /// Only protected memory.
    Only,
}

/// How the CPU maps memory that it shares with a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Caching {
    /// Ordinary cached memory.
    Cached,
    /// Uncached or write-combined: CPU accesses go to memory at once.
    Uncached,
}

bitflags! {
    /// Attributes of an allocation or mapping (`DMA_ATTR_*`).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct Attrs: u32 {
        /// The caller needs no kernel mapping of the memory.
        const NO_KERNEL_MAPPING = 1 << 0;
        /// Map and unmap do no cache maintenance; the caller syncs.
        const SKIP_CPU_SYNC = 1 << 1;
        /// The caller wants a write-combined CPU mapping.
        const WRITE_COMBINE = 1 << 2;
        /// Allocates physically contiguous memory even behind an IOMMU.
        const FORCE_CONTIGUOUS = 1 << 3;
        /// Single pages suffice; the allocator need not try for large ones.
        const ALLOC_SINGLE_PAGES = 1 << 4;
        /// A failure is expected; do not warn.
        const NO_WARN = 1 << 5;
        /// The physical addresses are not RAM. The layer never syncs or bounces them.
        const MMIO = 1 << 6;
        /// Fail rather than bounce or sync.
        const REQUIRE_COHERENT = 1 << 7;
        /// Fail rather than bounce; cache maintenance is fine. For long-lived mappings of memory that
        /// several devices share.
        const NO_BOUNCE = 1 << 8;
        /// Fail unless the device sees one run of addresses without gaps.
        const ONE_RUN = 1 << 9;
    }
}

/// Kind of memory that a segment describes.
// As wide as the other fields of `Segment`, so that `Segment` has no padding. Compilers copy a value with
// padding in small pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u64)]
pub enum SegmentKind {
    /// Ordinary pages of RAM.
    Pages,
    /// A physical range without pages (device SRAM, a carve-out, a BAR).
    Physical,
}

/// A run of physically contiguous memory, an entry of a scatter table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Segment {
    /// Address of the first byte.
    pub addr: PhysAddr,
    /// Length in bytes, not zero.
    pub len: u64,
    /// Kind of memory.
    pub kind: SegmentKind,
}

impl Segment {
    /// Returns a run of ordinary pages of RAM.
    #[must_use]
    pub const fn pages(addr: PhysAddr, len: u64) -> Self {
        let kind = SegmentKind::Pages;
        Self { addr, len, kind }
    }
}

/// A run of addresses that a device uses, an entry of a mapped scatter table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DmaSegment {
    /// Address of the first byte.
    pub addr: DmaAddr,
    /// Length in bytes, not zero.
    pub len: u64,
}

/// Addresses and segments that a device can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Limits {
    /// Highest address that the device can put on its bus. As in Linux, it need not be `2^n - 1`
    /// (`drivers/media/platform/qcom/venus/core.c` has `0xddc00000 - 1`).
    pub mask: u64,
    /// Longest segment in bytes.
    pub max_segment: u64,
    /// No segment may cross a multiple of `boundary + 1` bytes (a mask; all ones mean no boundary).
    pub boundary: u64,
    /// Maximum number of segments in one mapping. If this is 1, memory that the other limits would split is
    /// refused.
    pub max_segments: u32,
}

impl Limits {
    /// Returns whether memory can meet the limits at all: the maxima are not zero, and `boundary` is
    /// `2^n - 1`, where `n` is at least 1.
    #[must_use]
    pub const fn is_valid(&self) -> bool {
        let block = self.boundary.wrapping_add(1);
        self.max_segment > 0
            && self.max_segments > 0
            && self.boundary > 0
            && self.boundary & block == 0
    }

    /// Returns the alignment that `len` bytes need to form one segment for a single-segment device, else 1.
    #[must_use]
    pub fn block_align(&self, len: u64) -> u64 {
        match (
            len.checked_next_power_of_two(),
            self.boundary.checked_add(1),
        ) {
            (Some(align), Some(block)) if self.max_segments == 1 && align <= block => align,
            _ => 1,
        }
    }
}

impl Default for Limits {
    /// Returns Linux's defaults: 32-bit mask, 64 KiB segments, no boundary.
    fn default() -> Self {
        Self {
            mask: u64::from(u32::MAX),
            max_segment: 64 << 10,
            boundary: u64::MAX,
            max_segments: u32::MAX,
        }
    }
}
