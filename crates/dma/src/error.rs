//! The crate's error type, with the numbers that explain an error.

use core::fmt;

/// The constraint that made an operation fail.
///
/// `wanted` and `found` of [`Reason`] are in the unit that the variant names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Constraint {
    /// Bytes in one run of DMA addresses.
    Contiguous,
    /// Bytes free in the contiguous memory area.
    ContiguousPool,
    /// Bytes of free RAM.
    Ram,
    /// Highest address the device reaches.
    Mask,
    /// Bytes in the longest segment.
    MaxSegment,
    /// Segments in one table.
    SegmentCount,
    /// Segment boundary mask.
    Boundary,
    /// Bytes of free I/O virtual addresses.
    IovaSpace,
    /// Bytes free in the bounce pool.
    BouncePool,
    /// Bytes that would have to bounce, although the caller forbids it or the memory cannot be copied.
    NoBounce,
    /// Bytes of user memory that could be pinned.
    UserPages,
    /// Address alignment in bytes.
    Alignment,
    /// Size in bytes of an imported buffer.
    BufferSize,
    /// Largest size in bytes that the layer tries to allocate.
    SizeLimit,
    /// Pages behind a physical range. Wanted: 1, or the address that has no memory. Found: 0.
    PagesBehind,
    /// A fault injected for a test.
    InjectedFault,
    /// Bytes free in a device's own coherent memory.
    CoherentRegion,
    /// Bytes of a buffer that its exporter lets the CPU map.
    CpuMapping,
    /// Imported buffers held at one time.
    Imports,
    /// Wanted: bytes of an IOMMU's page that is larger than the CPU's. Found: the offset in such a page at
    /// which the memory begins or ends.
    IommuGranule,
    /// Buffers whose exporter has not revoked their memory.
    Revoked,
    /// Physical address that the device must reach through its bus.
    BusWindow,
    /// Protected memory, for a device that uses only protected memory. Wanted: 1. Found: 0.
    Protected,
    /// Unprotected memory, for a device that cannot use protected memory. Wanted: 1. Found: 0.
    Unprotected,
    /// Memory that device and CPU see alike without a sync. Wanted: 1. Found: 0.
    Coherent,
}

impl Constraint {
    /// Returns a short stable name, as used in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Contiguous => "contiguous",
            Self::ContiguousPool => "cma-size",
            Self::Ram => "ram",
            Self::Mask => "dma-mask",
            Self::MaxSegment => "max-segment",
            Self::SegmentCount => "segment-count",
            Self::Boundary => "boundary",
            Self::IovaSpace => "iova-space",
            Self::BouncePool => "bounce-pool",
            Self::NoBounce => "no-bounce",
            Self::UserPages => "user-pages",
            Self::Alignment => "alignment",
            Self::BufferSize => "buffer-size",
            Self::SizeLimit => "size-limit",
            Self::PagesBehind => "pages",
            Self::InjectedFault => "injected-fault",
            Self::CoherentRegion => "coherent-region",
            Self::CpuMapping => "cpu-mapping",
            Self::Imports => "imports",
            Self::IommuGranule => "iommu-granule",
            Self::Revoked => "revoked",
            Self::BusWindow => "bus-window",
            Self::Protected => "protected",
            Self::Unprotected => "unprotected",
            Self::Coherent => "coherent",
        }
    }
}

/// The constraint behind a refusal, with the value wanted and the value found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Reason {
    /// The constraint.
    pub constraint: Constraint,
    /// The value that the request needed.
    pub wanted: u64,
    /// The value that was available.
    pub found: u64,
}

impl Reason {
    /// Makes a reason from a constraint, the value that the request needed and the value available.
    #[must_use]
    pub const fn new(constraint: Constraint, wanted: u64, found: u64) -> Self {
        Self {
            constraint,
            wanted,
            found,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, wanted, found) = (self.constraint.name(), self.wanted, self.found);
        write!(f, "{name}: wanted {wanted}, found {found}")
    }
}

/// Errors of the DMA layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Error {
    /// EINVAL: an argument is invalid (size zero, overflow, wrong owner).
    Invalid,
    /// ENOMEM: memory, or another resource that the reason names, ran out.
    NoMemory(Reason),
    /// EIO: the memory cannot be mapped for the device.
    Unmappable(Reason),
    /// EFAULT: user memory is missing or not writable.
    BadUserMemory(Reason),
    /// ENXIO: an offset or range is outside the memory, or the memory lacks the requested view.
    NoSuchMemory(Reason),
    /// EOPNOTSUPP: the platform does not support the operation.
    Unsupported,
    /// EBUSY: the object already exists, or is still in use.
    Busy,
    /// ENODEV: the device was removed.
    Removed,
    /// The host could not pin user memory, and returned an errno (EINTR, EOPNOTSUPP, …).
    Pin {
        /// Linux errno, positive.
        errno: i32,
    },
}

impl Error {
    /// Returns the error of a page source that has no RAM left for `wanted` bytes.
    #[must_use]
    pub const fn no_ram(wanted: u64) -> Self {
        Self::NoMemory(Reason::new(Constraint::Ram, wanted, 0))
    }

    /// Returns the Linux errno, positive.
    #[must_use]
    pub const fn errno(self) -> i32 {
        match self {
            Self::Invalid => 22,
            Self::NoMemory(_) => 12,
            Self::Unmappable(_) => 5,
            Self::BadUserMemory(_) => 14,
            Self::NoSuchMemory(_) => 6,
            Self::Unsupported => 95,
            Self::Busy => 16,
            Self::Removed => 19,
            Self::Pin { errno } if errno >= 1 && errno <= 4095 => errno,
            // A value that is not an errno must not look like success.
            Self::Pin { .. } => 14,
        }
    }

    /// Returns the constraint behind the refusal, if the error has one.
    #[must_use]
    pub const fn reason(self) -> Option<Reason> {
        match self {
            Self::NoMemory(r)
            | Self::Unmappable(r)
            | Self::BadUserMemory(r)
            | Self::NoSuchMemory(r) => Some(r),
            _ => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self {
            Self::Invalid => "invalid argument",
            Self::NoMemory(_) => "out of memory",
            Self::Unmappable(_) => "not mappable for the device",
            Self::BadUserMemory(_) => "bad user memory",
            Self::NoSuchMemory(_) => "outside the memory",
            Self::Unsupported => "not supported",
            Self::Busy => "busy",
            Self::Removed => "the device was removed",
            Self::Pin { .. } => "user memory cannot be pinned",
        };
        match self.reason() {
            Some(reason) => write!(f, "{what} ({reason})"),
            None => f.write_str(what),
        }
    }
}

impl core::error::Error for Error {}

/// Returns the error for a heap without room for `bytes` bytes.
#[cfg(feature = "alloc")]
pub(crate) fn heap_exhausted(bytes: usize) -> Error {
    // CAST: usize has at most 64 bits on all supported targets.
    Error::no_ram(bytes as u64)
}

/// Checks that `len` bytes at `offset` lie within `found` bytes.
#[cfg(feature = "alloc")]
pub(crate) fn check_within(found: u64, offset: u64, len: u64) -> Result<(), Error> {
    match offset.checked_add(len) {
        Some(end) if end <= found => Ok(()),
        end => {
            let reason = Reason::new(Constraint::BufferSize, end.unwrap_or(u64::MAX), found);
            Err(Error::NoSuchMemory(reason))
        }
    }
}
