//! The crate's error type, with the numbers that explain an error.

use core::fmt;

macro_rules! constraints {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// The constraint that made an operation fail.
        ///
        /// `wanted` and `found` of [`Reason`] are in the unit that the variant names.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Constraint {
            $($(#[$doc])* $variant,)*
        }

        impl Constraint {
            /// Returns a short stable name, as used in reports.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

constraints! {
    /// Bytes in one run of DMA addresses.
    Contiguous = "contiguous",
    /// Bytes free in the contiguous memory area.
    ContiguousPool = "cma-size",
    /// Bytes of free RAM.
    Ram = "ram",
    /// Highest address the device reaches.
    Mask = "dma-mask",
    /// Bytes in the longest segment.
    MaxSegment = "max-segment",
    /// Segments in one mapping.
    SegmentCount = "segment-count",
    /// Segment boundary mask.
    Boundary = "boundary",
    /// Bytes of free I/O virtual addresses.
    IovaSpace = "iova-space",
    /// Bytes free in the bounce pool.
    BouncePool = "bounce-pool",
    /// Bytes that would have to bounce, although the caller forbids it or the memory cannot be copied.
    NoBounce = "no-bounce",
    /// Bytes of user memory that could be pinned.
    UserPages = "user-pages",
    /// Address alignment in bytes.
    Alignment = "alignment",
    /// Size in bytes of an imported buffer.
    BufferSize = "buffer-size",
    /// Largest size in bytes that the layer tries to allocate.
    SizeLimit = "size-limit",
    /// Pages behind a physical range. Wanted: 1, or an address at which there is no memory. Found: 0.
    PagesBehind = "pages",
    /// Commands that the hardware carried out in time, such as a flush of an IOMMU. Wanted: 1. Found: 0.
    Hardware = "hardware",
    /// A fault injected for a test.
    InjectedFault = "injected-fault",
    /// Bytes free in a device's own coherent memory.
    CoherentRegion = "coherent-region",
    /// Bytes of a buffer that its exporter lets the CPU map.
    CpuMapping = "cpu-mapping",
    /// Imported buffers held at one time.
    Imports = "imports",
    /// Wanted: bytes of an IOMMU's page that is larger than the CPU's. Found: the offset in such a page at
    /// which the memory begins or ends.
    IommuGranule = "iommu-granule",
    /// Buffers whose exporter has not revoked their memory.
    Revoked = "revoked",
    /// Physical address that the device must reach through its bus.
    BusWindow = "bus-window",
    /// Protected memory, for a device that uses only protected memory. Wanted: 1. Found: 0.
    Protected = "protected",
    /// Unprotected memory, for a device that cannot use protected memory. Wanted: 1. Found: 0.
    Unprotected = "unprotected",
    /// Memory that device and CPU see alike without a sync. Wanted: 1. Found: 0.
    Coherent = "coherent",
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
    /// EIO: the device may still reach the memory, because its translation could not be removed. The reason says why
    /// the removal failed. The memory's owner must not reuse the memory. The layer quarantines memory that it allocated
    /// or pinned.
    StillReachable(Reason),
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

    /// Returns the error of hardware that did not carry out a command, such as an IOMMU that does not flush.
    #[must_use]
    pub const fn hardware() -> Self {
        Self::Unmappable(Reason::new(Constraint::Hardware, 1, 0))
    }

    /// Converts the error of a failed unmap into `StillReachable`, with the same reason.
    #[cfg(feature = "alloc")]
    pub(crate) const fn still_reachable(self) -> Self {
        let unknown = Reason::new(Constraint::Hardware, 1, 0);
        match self.reason() {
            Some(reason) => Self::StillReachable(reason),
            None => Self::StillReachable(unknown),
        }
    }

    /// Returns the Linux errno, positive.
    #[must_use]
    pub const fn errno(self) -> i32 {
        self.facts().0
    }

    /// Returns the Linux errno, and a description.
    const fn facts(self) -> (i32, &'static str) {
        match self {
            Self::Invalid => (
                22,
                "invalid argument, such as a size of zero, an overflow or a wrong owner",
            ),
            Self::NoMemory(_) => (12, "out of memory"),
            Self::Unmappable(_) => (5, "not mappable for the device"),
            Self::StillReachable(_) => (5, "the device may still reach the memory"),
            Self::BadUserMemory(_) => (14, "bad user memory"),
            Self::NoSuchMemory(_) => (6, "outside the memory, or a view that the memory lacks"),
            Self::Unsupported => (95, "the platform does not support the operation"),
            Self::Busy => (16, "the object exists already, or is still in use"),
            Self::Removed => (19, "the device was removed"),
            Self::Pin { errno } => {
                // A value that is not an errno must not look like success.
                let is_errno = errno >= 1 && errno <= 4095;
                let errno = if is_errno { errno } else { 14 };
                (errno, "user memory cannot be pinned")
            }
        }
    }

    /// Returns the constraint behind the refusal, if the error has one.
    #[must_use]
    pub const fn reason(self) -> Option<Reason> {
        match self {
            Self::NoMemory(r)
            | Self::Unmappable(r)
            | Self::StillReachable(r)
            | Self::BadUserMemory(r)
            | Self::NoSuchMemory(r) => Some(r),
            _ => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = self.facts().1;
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
