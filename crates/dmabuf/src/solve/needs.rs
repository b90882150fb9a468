//! What devices need of memory that they share, and the memory there is.

use vb3_dma::Limits;

/// How a device's mappings go through an IOMMU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Translation {
    /// Bytes of its smallest page, a power of two. Memory that does not fill whole ones is refused.
    pub granule: u64,
    /// Bytes of I/O addresses that are free within the device's reach.
    pub free_bytes: u64,
}

/// A device's demand on protected memory, which the CPU cannot read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protection {
    /// It reaches both kinds.
    #[default]
    Either,
    /// It takes protected memory alone.
    Required,
    /// It has no access to protected memory.
    Refused,
}

/// How the bytes of a picture must lie for a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PictureNeeds {
    /// Bytes that a line's length is a multiple of, a power of two.
    pub stride_align: u64,
    /// Most bytes of a line.
    pub max_stride: u64,
    /// Bytes that a buffer has at least.
    pub min_len: u64,
    /// Bytes that a buffer's length is a multiple of, a power of two.
    pub len_align: u64,
}

impl Default for PictureNeeds {
    /// Any layout will do.
    fn default() -> Self {
        Self {
            stride_align: 1,
            max_stride: u64::MAX,
            min_len: 0,
            len_align: 1,
        }
    }
}

/// What one device needs of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    /// Last bus address, segments and boundary. The last address counts without an IOMMU alone:
    /// behind one, [`Translation::free_bytes`] says what is in reach.
    pub limits: Limits,
    /// Lowest bus address it reaches without an IOMMU.
    pub first: u64,
    /// Bus address minus physical address: the offset of its bus's window (`dma-ranges`). A multiple
    /// of [`align`](Self::align) and of the boundary's block.
    pub offset: i64,
    /// Bytes that the bus address of a buffer is a multiple of, a power of two.
    pub align: u64,
    /// Its IOMMU; `None` where bus addresses are physical addresses, but for the offset.
    pub iommu: Option<Translation>,
    /// Whether a buffer is one run of addresses for it, in however many segments.
    pub one_run: bool,
    /// Whether it sees the CPU's caches.
    pub snoops: bool,
    /// Whether it must see what the CPU wrote, and the CPU what it wrote, without a sync.
    pub coherent: bool,
    /// Whether it needs pages behind the memory.
    pub pages: bool,
    /// Its demand on protected memory.
    pub protection: Protection,
    /// How a picture must lie in it.
    pub picture: PictureNeeds,
}

impl Default for Needs {
    /// A device that takes any memory.
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
            protection: Protection::Either,
            picture: PictureNeeds::default(),
        }
    }
}

impl Needs {
    /// The lowest and the highest physical address that the device reaches: any behind an IOMMU.
    #[must_use]
    pub const fn reach(&self) -> (u64, u64) {
        if self.iommu.is_some() {
            return (0, u64::MAX);
        }
        let first = physical(self.first, self.offset);
        (first, physical(self.limits.mask, self.offset))
    }

    /// Whether the numbers make sense: limits that memory can meet, powers of two where they are
    /// demanded, and an offset that keeps alignment and boundary.
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
            && self.picture.stride_align.is_power_of_two()
            && self.picture.len_align.is_power_of_two()
            && keeps(self.align)
            && (self.limits.boundary == u64::MAX || keeps(block))
    }
}

/// The physical address behind a bus address, as far as there is one.
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

/// Memory that is free: physical addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// First byte.
    pub first: u64,
    /// Length in bytes.
    pub len: u64,
}

/// How a heap gives memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeapKind {
    /// Each buffer is one physical run.
    Contiguous,
    /// A buffer is made of pieces of this many bytes, a power of two of at least a page, each on a
    /// multiple of its length and completely in reach, at any free place.
    Pieces(u64),
}

/// A place that buffers can be allocated from.
#[derive(Clone, Copy, Debug)]
pub struct Heap<'a> {
    /// How it gives memory.
    pub kind: HeapKind,
    /// The free ranges, in ascending order, without overlaps.
    pub free: &'a [Run],
    /// Whether an allocation can be told which addresses to use. If not, as a program's from a
    /// dma-heap, all that is free must suit.
    pub directed: bool,
    /// Bytes that the address of every contiguous buffer is a multiple of in a heap that is not
    /// directed, a power of two.
    pub align: u64,
    /// Whether the CPU sees it through its caches.
    pub cached: bool,
    /// Whether pages stand behind it.
    pub pages: bool,
    /// Whether it is protected from the CPU.
    pub protected: bool,
}

/// The memory to place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Bytes of a buffer, at least.
    pub len_bytes: u64,
    /// Visible bytes of a picture's line; 0 for what is no picture.
    pub line_bytes: u64,
    /// Lines, those of all planes counted at the first plane's stride.
    pub lines: u64,
    /// How many buffers.
    pub count: u32,
    /// Bytes of a page, a power of two.
    pub page_bytes: u64,
}

/// Where buffers go, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Index of the heap.
    pub heap: usize,
    /// Bytes of a buffer.
    pub len_bytes: u64,
    /// Bytes from one line of a picture to the next; 0 for what is no picture.
    pub stride: u64,
    /// Lowest physical address that is used; that may be, in a heap that is not directed.
    pub first: u64,
    /// Highest physical address that is used; that may be, in a heap that is not directed.
    pub last: u64,
}
