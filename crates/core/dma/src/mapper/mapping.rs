//! A mapping's memory and addresses.

use super::bounce::Bounced;
use super::memory::Key;
use super::{At, IovaRange, List};
use crate::{Coherency, Direction, DmaSegment, Platform, Segment};
use ::alloc::boxed::Box;
use core::fmt;
use core::num::NonZeroU64;
use core::slice;

/// Memory mapped for one device, with the addresses that the device uses.
#[must_use = "a mapping is ended only by `DmaOps::unmap`"]
pub struct Mapping<P: Platform> {
    pub(super) owner: usize,
    pub(super) dev: P::Device,
    pub(super) slot: usize,
    pub(super) direction: Direction,
    pub(super) needs_sync: bool,
    /// Whether the mapping has one run, no IOMMU and no syncs. It then owns no heap memory, and nothing but its count
    /// ends with it.
    pub(super) is_plain: bool,
    /// Whether the mapping is counted in [`Slot::exposing`](super::Slot::exposing).
    pub(super) exposes: bool,
    /// The memory that the mapping keeps; `None` for memory that the caller lends.
    pub(super) memory: Option<Key>,
    pub(super) runs: Runs<P::Device>,
}

/// The memory of a mapping, and the device's addresses of the memory. The type is small, because drivers move
/// mappings around.
#[derive(Debug)]
pub(super) enum Runs<D> {
    /// One run, for a device that uses its own I/O address space, or has no IOMMU.
    One(OneRun),
    List(Box<[Parts<D>; 1]>),
}

/// The runs of a mapping that has several runs, or may bounce.
#[derive(Debug)]
pub(super) struct Parts<D> {
    pub(super) at: At<D>,
    /// The device's coherency when the memory was mapped.
    pub(super) coherency: Coherency,
    pub(super) output: List<DmaSegment>,
    /// The parts that do not bounce, for cache maintenance.
    pub(super) direct: List<Segment>,
    pub(super) bounced: List<Bounced>,
    pub(super) iova: Option<IovaRange>,
}

impl<D> Runs<D> {
    /// Returns the parts that do not bounce.
    #[inline]
    pub(super) fn direct(&self) -> &[Segment] {
        match self {
            Self::One(run) => slice::from_ref(&run.segment),
            Self::List(parts) => &parts[0].direct,
        }
    }

    #[inline]
    pub(super) fn bounced(&self) -> &[Bounced] {
        match self {
            Self::One(_) => &[],
            Self::List(parts) => &parts[0].bounced,
        }
    }

    #[inline]
    pub(super) fn iova(&self) -> Option<IovaRange> {
        match self {
            Self::One(run) => run.iova(),
            Self::List(parts) => parts[0].iova,
        }
    }
}

/// One run that a device uses unchanged.
#[derive(Clone, Copy, Debug)]
pub(super) struct OneRun {
    pub(super) segment: Segment,
    pub(super) output: DmaSegment,
    /// Bytes of the IOMMU's smallest page; `None` if the address is no I/O virtual address.
    pub(super) granule: Option<NonZeroU64>,
}

impl OneRun {
    /// Returns the range of I/O virtual addresses that the run occupies; `None` without an IOMMU.
    #[inline]
    pub(super) fn iova(&self) -> Option<IovaRange> {
        let granule = self.granule?.get();
        let offset = self.output.addr.get() & (granule - 1);
        // No overflow: the range lies in the address space.
        let len = (offset + self.output.len + (granule - 1)) & !(granule - 1);
        let base = self.output.addr.get() - offset;
        Some(IovaRange { base, len, granule })
    }
}

impl<P: Platform> fmt::Debug for Mapping<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mapping")
            .field("device", &self.dev)
            .field("direction", &self.direction)
            .field("segments", &self.segments())
            .finish_non_exhaustive()
    }
}

impl<P: Platform> Mapping<P> {
    /// Returns the device that the memory is mapped for.
    #[must_use]
    pub fn device(&self) -> P::Device {
        self.dev
    }

    /// Returns the number of the mapper that made the mapping.
    pub(crate) fn owner(&self) -> usize {
        self.owner
    }

    /// Returns the device that the memory is mapped for, and the address space that this device uses.
    #[inline]
    pub(super) fn at(&self) -> At<P::Device> {
        match &self.runs {
            Runs::One(_) => At {
                dev: self.dev,
                slot: self.slot,
                // The number serves to detect a removed device. No device is removed while it has a mapping.
                claims: 0,
                group: self.dev,
                space: self.slot,
            },
            Runs::List(parts) => parts[0].at,
        }
    }

    /// Returns the runs as the device sees them, in order.
    #[must_use]
    pub fn segments(&self) -> &[DmaSegment] {
        match &self.runs {
            Runs::One(run) => slice::from_ref(&run.output),
            Runs::List(parts) => &parts[0].output,
        }
    }

    /// Returns the number of bytes that go through the bounce pool.
    #[must_use]
    pub fn bounced_bytes(&self) -> u64 {
        self.runs
            .bounced()
            .iter()
            .fold(0, |sum, b| sum.saturating_add(b.len))
    }
}
