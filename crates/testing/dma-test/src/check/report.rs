//! Reports of the checker: kinds of misuse, and the source lines involved.

use core::fmt;
use core::panic::Location;
use vb3_dma::{Attrs, Direction, DmaAddr};

/// Origin of a call: its source line, and the tag set at the time of the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Site {
    /// Source file, line and column of the call.
    pub location: &'static Location<'static>,
    /// Name of the caller (see [`Checked::set_tag`](super::Checked::set_tag)).
    pub tag: &'static str,
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.tag.is_empty() {
            write!(f, "{} at ", self.tag)?;
        }
        write!(f, "{}", self.location)
    }
}

/// Kind of misuse.
///
/// Source: Linux 7.2 kernel/dma/debug.c; differs: the list omits errors that types prevent here: unchecked
/// mapping errors, stack or user memory mapped by address, and unmaps with another length, device,
/// direction or kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Violation {
    /// A mapping or allocation was unmapped or synced, but it ended so long ago that the checker forgot it.
    NotMapped,
    /// A mapping was unmapped a second time.
    UnmappedTwice {
        /// Site of the first unmap.
        by: Site,
    },
    /// A mapping was unmapped with other attributes than it was mapped with. Only attributes that must
    /// match are compared.
    WrongAttributes {
        /// Attributes at map.
        mapped: Attrs,
        /// Attributes at unmap.
        given: Attrs,
    },
    /// A mapping or allocation was synced in a direction for which it was not mapped.
    SyncDirection {
        /// The direction of the mapping.
        mapped: Direction,
        /// The direction of the sync.
        given: Direction,
    },
    /// A mapping or allocation was synced after it was unmapped or freed.
    UsedAfterUnmap {
        /// Site of the unmap or free.
        by: Site,
    },
    /// Memory was used after it was freed.
    UsedAfterFree,
    /// Memory was freed while it was still mapped.
    FreedInUse {
        /// Number of remaining mappings.
        users: u32,
    },
    /// Two mappings of one device have common addresses, and the device writes through one of the mappings.
    Overlap {
        /// Site of the other mapping.
        with: Site,
    },
    /// A segment is longer than the device's maximum.
    SegmentTooLong {
        /// Bytes of the segment.
        len: u64,
        /// Maximum in bytes.
        limit: u64,
    },
    /// A segment crosses a multiple of the device's boundary.
    CrossesBoundary {
        /// Distance between boundaries in bytes, minus 1 (a mask).
        boundary: u64,
    },
    /// A mapping has more segments than the device's maximum.
    TooManySegments {
        /// Segments of the mapping.
        segments: u64,
        /// Maximum number of segments.
        limit: u64,
    },
    /// A segment is at an address that the device cannot use.
    BeyondMask {
        /// The device's mask.
        mask: u64,
    },
    /// Memory was still mapped or allocated when the device was removed.
    Leak,
    /// The checker had no room for another entry, and checks nothing any more. The caller is not at fault.
    TrackingEnded,
}

/// One detected misuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report<D> {
    /// The violated rule.
    pub violation: Violation,
    /// The device; `None` if the misuse concerns no known mapping.
    pub dev: Option<D>,
    /// First device address of the memory concerned, if there is one.
    pub addr: Option<DmaAddr>,
    /// Length of that memory in bytes.
    pub len: u64,
    /// Site of the misuse.
    pub by: Site,
    /// Site of the map or allocation, if known.
    pub mapped_by: Option<Site>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotMapped => f.write_str("uses a mapping or allocation that ended long ago"),
            Self::UnmappedTwice { by } => write!(f, "unmaps a mapping again; first unmap: {by}"),
            Self::WrongAttributes { mapped, given } => {
                write!(f, "unmaps with {given:?} a mapping made with {mapped:?}")
            }
            Self::SyncDirection { mapped, given } => {
                write!(f, "syncs {given:?} a mapping for {mapped:?}")
            }
            Self::UsedAfterUnmap { by } => {
                write!(f, "uses a mapping or allocation that {by} ended")
            }
            Self::UsedAfterFree => f.write_str("uses memory that was freed"),
            Self::FreedInUse { users } => write!(f, "frees memory that {users} mappings use"),
            Self::Overlap { with } => write!(
                f,
                "maps, for writing by the device, addresses that {with} mapped"
            ),
            Self::SegmentTooLong { len, limit } => {
                write!(
                    f,
                    "maps a segment of {len} bytes; the device accepts {limit}"
                )
            }
            Self::CrossesBoundary { boundary } => {
                write!(f, "maps a segment across a boundary (mask {boundary:#x})")
            }
            Self::TooManySegments { segments, limit } => {
                write!(f, "maps {segments} segments; the device accepts {limit}")
            }
            Self::BeyondMask { mask } => {
                write!(f, "maps memory beyond the device's mask {mask:#x}")
            }
            Self::Leak => {
                f.write_str("removes the device before this memory was unmapped and freed")
            }
            Self::TrackingEnded => f.write_str("no room to track more memory; checking ends"),
        }
    }
}

impl<D: fmt::Debug> fmt::Display for Report<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.by, self.violation)?;
        if let Some(dev) = &self.dev {
            write!(f, "; device {dev:?}")?;
        }
        if let Some(addr) = self.addr {
            write!(f, ", {} bytes at {addr}", self.len)?;
        }
        match self.mapped_by {
            Some(site) => write!(f, ", mapped by {site}"),
            None => Ok(()),
        }
    }
}
