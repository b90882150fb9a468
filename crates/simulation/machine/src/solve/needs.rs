//! Demands of devices on shared memory, and the memory available.

use vb3_dma::{Limits, Protected};

/// The pages and free addresses of a device's IOMMU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Translation {
    /// Bytes of the IOMMU's smallest page, a power of two. Memory must consist of whole pages of this size.
    pub granule: u64,
    /// Free bytes of I/O addresses within the device's reach.
    pub free_bytes: u64,
}

/// One device's demands on a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    /// The highest bus address, and limits on segments and their boundaries. The highest address applies only
    /// without an IOMMU; with one, [`Translation::free_bytes`] limits the amount.
    pub limits: Limits,
    /// Lowest bus address that the device reaches without an IOMMU.
    pub first: u64,
    /// Bus address minus physical address: the offset of its bus's window (`dma-ranges`). A multiple of
    /// [`align`](Self::align) and of the distance between boundaries (`limits.boundary + 1`).
    pub offset: i64,
    /// Required alignment of a buffer's bus address in bytes, a power of two.
    pub align: u64,
    /// The device's IOMMU; `None` if bus addresses are physical addresses plus the offset.
    pub iommu: Option<Translation>,
    /// Whether a buffer's bus addresses must be contiguous, even across segments.
    pub one_run: bool,
    /// Whether the device's accesses see the CPU's caches.
    pub snoops: bool,
    /// Whether the device and the CPU must see each other's writes without a sync.
    pub coherent: bool,
    /// Whether the memory must have struct pages.
    pub pages: bool,
    /// Its demand on protected memory.
    pub protection: Protected,
    /// Required alignment of a picture line's length in bytes, a power of two.
    pub stride_align: u64,
    /// Maximum bytes of a line.
    pub max_stride: u64,
    /// Minimum bytes of a buffer.
    pub min_len: u64,
    /// Required alignment of a buffer's length in bytes, a power of two.
    pub len_align: u64,
}

impl Default for Needs {
    /// Returns the demands of a device that accepts any memory.
    fn default() -> Self {
        Self {
            limits: Limits {
                mask: u64::MAX,
                max_segment: u64::MAX,
                boundary: u64::MAX,
                max_segments: u32::MAX,
            },
            first: 0,
            offset: 0,
            align: 1,
            iommu: None,
            one_run: false,
            snoops: true,
            coherent: false,
            pages: false,
            protection: Protected::Also,
            stride_align: 1,
            max_stride: u64::MAX,
            min_len: 0,
            len_align: 1,
        }
    }
}

impl Needs {
    /// Returns the lowest and highest physical address that the device reaches. Behind an IOMMU, it reaches
    /// all addresses.
    #[must_use]
    pub const fn reach(&self) -> (u64, u64) {
        if self.iommu.is_some() {
            return (0, u64::MAX);
        }
        let first = physical(self.first, self.offset);
        (first, physical(self.limits.mask, self.offset))
    }

    /// Returns whether the demands are consistent: some memory can meet the limits, alignments and granule
    /// are powers of two, and the offset is a multiple as required.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        let keeps = |multiple: u64| {
            multiple <= 1 || self.offset.unsigned_abs() & multiple.wrapping_sub(1) == 0
        };
        let block = self.limits.boundary.wrapping_add(1);
        let granule = self.iommu.map_or(1, |iommu| iommu.granule);
        self.limits.is_valid()
            && self.align.is_power_of_two()
            && granule.is_power_of_two()
            && self.stride_align.is_power_of_two()
            && self.len_align.is_power_of_two()
            && keeps(self.align)
            && (self.limits.boundary == u64::MAX || keeps(block))
    }
}

/// Returns the physical address of a bus address, clamped to the range of `u64`.
const fn physical(bus: u64, offset: i64) -> u64 {
    if bus == u64::MAX {
        return u64::MAX;
    }
    if offset >= 0 {
        bus.saturating_sub(offset.unsigned_abs())
    } else {
        bus.saturating_add(offset.unsigned_abs())
    }
}

/// A free range of physical addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// First byte.
    pub first: u64,
    /// Length in bytes.
    pub len: u64,
}

/// A heap that buffers can be allocated from.
#[derive(Clone, Copy, Debug)]
pub struct Heap<'a> {
    /// Bytes of a piece, a power of two of at least a page, if buffers consist of pieces. Each piece is aligned to its
    /// length, completely within reach, and at any free place. `None` if each buffer is one physical run.
    pub piece: Option<u64>,
    /// The free ranges, in ascending order, without overlaps.
    pub free: &'a [Run],
    /// Whether an allocation can choose its addresses. If not, as for a program that uses a
    /// dma-heap, all free memory must suit.
    pub directed: bool,
    /// Alignment of every contiguous buffer in bytes, a power of two, in a heap where allocations
    /// cannot choose addresses.
    pub align: u64,
    /// Whether the CPU accesses the memory through its caches.
    pub cached: bool,
    /// Whether the memory has struct pages.
    pub pages: bool,
    /// Whether the memory is protected from the CPU.
    pub protected: bool,
}

/// A request for memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryRequest {
    /// Minimum bytes of a buffer.
    pub len_bytes: u64,
    /// Visible bytes of a picture's line; 0 if it is not a picture.
    pub line_bytes: u64,
    /// Number of lines with the first plane's stride that hold all planes: 1620 for NV12 of 1920x1080.
    pub lines: u64,
    /// Number of buffers.
    pub count: u32,
    /// Bytes of a page, a power of two.
    pub page_bytes: u64,
}

/// Placement of the buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Index of the heap.
    pub heap: usize,
    /// Bytes of a buffer.
    pub len_bytes: u64,
    /// Bytes from one line of a picture to the next; 0 if it is not a picture.
    pub stride: u64,
    /// Lowest physical address in use. If allocations cannot choose addresses: the lowest possible.
    pub first: u64,
    /// Highest physical address in use. If allocations cannot choose addresses: the highest
    /// possible.
    pub last: u64,
}
