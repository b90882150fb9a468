//! Findings of the checker.

use crate::{Attrs, Direction, DmaAddr};
use core::fmt;
use core::panic::Location;

/// Who did something: the line of the call, and the tag that was set then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Site {
    /// The call's place in the source.
    pub location: &'static Location<'static>,
    /// Name of the caller (see [`Checked::set_tag`](super::Checked::set_tag)).
    pub tag: &'static str,
}

impl Site {
    /// The caller's line, under a tag.
    #[must_use]
    #[track_caller]
    pub fn here(tag: &'static str) -> Self {
        Self {
            location: Location::caller(),
            tag,
        }
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.tag.is_empty() {
            write!(f, "{} at ", self.tag)?;
        }
        write!(f, "{}", self.location)
    }
}

/// Kind of a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Memory handed to and fro.
    Streaming,
    /// Memory allocated for the device.
    Allocation,
}

/// Kind of an error.
///
/// Source: Linux 7.2 kernel/dma/debug.c; differs: the list omits errors that types prevent here
/// (unchecked mapping errors, stack or user memory mapped by address).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Violation {
    /// Unmapped or freed, but nothing is mapped there and nothing was lately.
    NotMapped,
    /// Unmapped or freed a second time.
    UnmappedTwice {
        /// Who did it the first time.
        by: Site,
    },
    /// Unmapped for another device than it was mapped for.
    WrongDevice,
    /// Unmapped with another length.
    WrongSize {
        /// Bytes that were mapped.
        mapped: u64,
        /// Bytes that were unmapped.
        given: u64,
    },
    /// Unmapped with another number of segments.
    WrongSegments {
        /// Segments that were mapped.
        mapped: u64,
        /// Segments that were unmapped.
        given: u64,
    },
    /// Unmapped as something else than it was mapped as.
    WrongKind {
        /// Kind that it was mapped as.
        mapped: Kind,
    },
    /// Unmapped with another direction.
    WrongDirection {
        /// The direction it was mapped with.
        mapped: Direction,
        /// The direction it was unmapped with.
        given: Direction,
    },
    /// Unmapped with other attributes, of those that must be the same.
    WrongAttributes {
        /// Those it was mapped with.
        mapped: Attrs,
        /// Those it was unmapped with.
        given: Attrs,
    },
    /// Synced where nothing is mapped.
    SyncNotMapped,
    /// Synced beyond the end of what is mapped.
    SyncOutside {
        /// Bytes mapped from the synced address on.
        mapped: u64,
        /// Bytes synced.
        given: u64,
    },
    /// Synced with another direction than it was mapped with.
    SyncDirection {
        /// The direction it was mapped with.
        mapped: Direction,
        /// The direction it was synced with.
        given: Direction,
    },
    /// Used after it was unmapped.
    UsedAfterUnmap {
        /// Who unmapped it.
        by: Site,
    },
    /// A table or its memory was used after it was freed.
    UsedAfterFree,
    /// Memory or a table was freed while others still use it.
    FreedInUse {
        /// Tables or mappings that are left.
        users: u32,
    },
    /// Mapped twice for one device, which writes to it.
    Overlap {
        /// Who mapped the other one.
        with: Site,
    },
    /// A segment longer than the device takes.
    SegmentTooLong {
        /// Bytes of the segment.
        len: u64,
        /// Bytes the device takes.
        limit: u64,
    },
    /// A segment across a boundary the device cannot cross.
    CrossesBoundary {
        /// The boundary in bytes, as a mask.
        boundary: u64,
    },
    /// More segments than the device takes.
    TooManySegments {
        /// Segments of the mapping.
        segments: u64,
        /// Segments the device takes.
        limit: u64,
    },
    /// A segment the device cannot address.
    BeyondMask {
        /// The device's mask.
        mask: u64,
    },
    /// Still mapped or allocated when the device was removed.
    Leak,
    /// Not the caller's fault: there was no room to keep track any more. Nothing is checked from
    /// here on.
    TrackingEnded,
}

/// One thing that was done wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report<D> {
    /// The rule that was broken.
    pub violation: Violation,
    /// For which device; `None` where there is none.
    pub dev: Option<D>,
    /// The first address, where there is one.
    pub addr: Option<DmaAddr>,
    /// Length in bytes.
    pub len: u64,
    /// Who did it.
    pub by: Site,
    /// Who mapped or allocated it, where that is known.
    pub mapped_by: Option<Site>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotMapped => f.write_str("unmaps what is not mapped"),
            Self::UnmappedTwice { by } => write!(f, "unmaps again what was unmapped by {by}"),
            Self::WrongDevice => f.write_str("unmaps for a device it was not mapped for"),
            Self::WrongSize { mapped, given } => {
                write!(f, "unmaps {given} bytes where {mapped} are mapped")
            }
            Self::WrongSegments { mapped, given } => {
                write!(f, "unmaps {given} segments where {mapped} are mapped")
            }
            Self::WrongKind { mapped } => write!(f, "unmaps as something else: it is {mapped:?}"),
            Self::WrongDirection { mapped, given } => {
                write!(f, "unmaps {given:?} what is mapped {mapped:?}")
            }
            Self::WrongAttributes { mapped, given } => {
                write!(f, "unmaps with {given:?} what is mapped with {mapped:?}")
            }
            Self::SyncNotMapped => f.write_str("syncs what is not mapped"),
            Self::SyncOutside { mapped, given } => {
                write!(f, "syncs {given} bytes where {mapped} are mapped")
            }
            Self::SyncDirection { mapped, given } => {
                write!(f, "syncs {given:?} what is mapped {mapped:?}")
            }
            Self::UsedAfterUnmap { by } => write!(f, "uses what was unmapped by {by}"),
            Self::UsedAfterFree => f.write_str("uses memory that was given back"),
            Self::FreedInUse { users } => write!(f, "gives back memory with {users} users"),
            Self::Overlap { with } => write!(f, "maps again, to be written, what {with} mapped"),
            Self::SegmentTooLong { len, limit } => {
                write!(
                    f,
                    "a segment of {len} bytes for a device that takes {limit}"
                )
            }
            Self::CrossesBoundary { boundary } => {
                write!(f, "a segment across a boundary of mask {boundary:#x}")
            }
            Self::TooManySegments { segments, limit } => {
                write!(f, "{segments} segments for a device that takes {limit}")
            }
            Self::BeyondMask { mask } => write!(f, "beyond the device's mask {mask:#x}"),
            Self::Leak => f.write_str("still there when the device was removed"),
            Self::TrackingEnded => f.write_str("no room to keep track; checking ends"),
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
