//! The addresses of one I/O address space, in bytes, and who has them.
//!
//! Source: Linux 7.2 drivers/iommu/iova.c; differs: the tree also knows the free runs, so there is no
//! walk past live ranges, no cached node and no remembered failed size. A freed range is checked
//! against the allocated ones.

use crate::ranges::{RangeAllocator, RangeError, RangeRoom};
use crate::{Constraint, Error, IommuInfo, Iova, Reason};

/// The highest address below 4 GiB.
const LOW: u64 = u32::MAX as u64;

/// How the start of an address range must lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IovaAlign {
    /// On the next power of two above the length if there is such a place, else on a granule.
    Preferred,
    /// On the next power of two above the length, or not at all.
    Natural,
    /// On a multiple of so many bytes, a power of two, or not at all.
    To(u64),
}

/// Hands out I/O virtual addresses from the top of an aperture.
///
/// Address zero is never given. The cost of a call grows with the logarithm of the number of live
/// ranges.
///
/// # Context
/// Does not sleep. `alloc` may ask the heap, and fails if it has nothing; `free` never does.
///
/// # Examples
/// ```
/// use vb3_dma::{IommuInfo, Iova, IovaAlign, IovaAllocator};
///
/// let (first, last) = (Iova::new(0), Iova::new((1 << 40) - 1));
/// let info = IommuInfo { page_sizes: 1 << 12, first, last };
/// let mut space = IovaAllocator::new(&info)?;
/// let at = space.alloc(3 << 12, u32::MAX.into(), IovaAlign::Natural)?;
/// assert!(at.is_aligned(4 << 12));
/// space.free(at, 3 << 12)?;
/// # Ok::<(), vb3_dma::Error>(())
/// ```
#[derive(Debug)]
pub struct IovaAllocator {
    space: RangeAllocator,
    /// Bits of the smallest range.
    shift: u32,
    low_first: bool,
}

impl IovaAllocator {
    /// All addresses of an aperture except zero.
    ///
    /// # Errors
    /// `Invalid` (EINVAL) for an aperture that holds no whole granule; `NoMemory` (ENOMEM).
    pub fn new(info: &IommuInfo) -> Result<Self, Error> {
        let granule = info.granule().ok_or(Error::Invalid)?;
        let shift = granule.trailing_zeros();
        let first = units_up(info.first.get(), shift).max(1);
        let last = last_unit(info.last.get(), shift).ok_or(Error::Invalid)?;
        match RangeAllocator::new(first, last) {
            Ok(space) => Ok(Self {
                space,
                shift,
                low_first: false,
            }),
            Err(RangeError::Invalid) => Err(Error::Invalid),
            Err(RangeError::Exhausted(_) | RangeError::Heap) => Err(no_iova(granule, 0)),
        }
    }

    /// Tries below 4 GiB first, until that fails for the first time.
    ///
    /// Source: Linux 7.2 drivers/iommu/dma-iommu.c, PCI devices; same.
    pub fn prefer_low(&mut self) {
        self.low_first = true;
    }

    /// The highest address that is tried first.
    pub(crate) fn preferred_limit(&self, limit: u64) -> u64 {
        if self.low_first {
            limit.min(LOW)
        } else {
            limit
        }
    }

    /// Keeps addresses from ever being given: firmware's regions, bridge windows, interrupts.
    ///
    /// Granules that are touched in part are kept whole. Regions may overlap.
    ///
    /// # Errors
    /// `Invalid` (EINVAL) for an empty region, one that is in use, or more than
    /// [`RangeAllocator::MAX_RESERVED`]; `NoMemory` (ENOMEM). Nothing has changed.
    pub fn reserve(&mut self, first: Iova, last: Iova) -> Result<(), Error> {
        if first > last {
            return Err(Error::Invalid);
        }
        let (first, last) = (first.get() >> self.shift, last.get() >> self.shift);
        self.space.reserve(first, last).map_err(|err| match err {
            RangeError::Invalid => Error::Invalid,
            RangeError::Exhausted(_) | RangeError::Heap => no_iova(self.granule(), 0),
        })
    }

    /// Bytes of the smallest range.
    #[must_use]
    pub const fn granule(&self) -> u64 {
        1 << self.shift
    }

    /// Bytes handed out.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.space.used().saturating_mul(self.granule())
    }

    /// Ranges handed out.
    #[must_use]
    pub fn live(&self) -> u64 {
        self.space.live()
    }

    /// Bytes of bookkeeping on the heap.
    #[must_use]
    pub fn metadata_bytes(&self) -> usize {
        self.space.metadata_bytes()
    }

    /// Takes `len` bytes (rounded up to granules), none above `limit`.
    ///
    /// # Errors
    /// * `Invalid` (EINVAL) for length zero, one that overflows when rounded, or an alignment that is no
    ///   power of two.
    /// * `NoMemory` (ENOMEM) with `IovaSpace`: the bytes wanted and the longest free run.
    pub fn alloc(&mut self, len: u64, limit: u64, align: IovaAlign) -> Result<Iova, Error> {
        RangeRoom::retry(|room| self.alloc_with(room, len, limit, align))
    }

    /// As [`alloc`](Self::alloc), without the heap: where the bookkeeping lacks room, it fails and
    /// `room` knows.
    pub(crate) fn alloc_with(
        &mut self,
        room: &mut RangeRoom,
        len: u64,
        limit: u64,
        align: IovaAlign,
    ) -> Result<Iova, Error> {
        let units = self.units(len)?;
        let found = if self.low_first && limit > LOW {
            match self.take_below(room, units, align, LOW) {
                Err(RangeError::Exhausted(_)) => {
                    self.low_first = false;
                    self.take_below(room, units, align, limit)
                }
                other => other,
            }
        } else {
            self.take_below(room, units, align, limit)
        };
        match found {
            // No overflow: the unit lies within the aperture.
            Ok(unit) => Ok(Iova::new(unit << self.shift)),
            Err(RangeError::Invalid) => Err(Error::Invalid),
            Err(RangeError::Heap) => Err(no_iova(len, 0)),
            Err(RangeError::Exhausted(units)) => {
                Err(no_iova(len, units.saturating_mul(self.granule())))
            }
        }
    }

    fn take_below(
        &mut self,
        room: &mut RangeRoom,
        units: u64,
        align: IovaAlign,
        limit: u64,
    ) -> Result<u64, RangeError> {
        let Some(last) = last_unit(limit, self.shift) else {
            return Err(RangeError::Exhausted(0));
        };
        let align = match align {
            IovaAlign::Preferred => 1,
            IovaAlign::Natural => match units.checked_next_power_of_two() {
                Some(align) => align,
                None => return Err(RangeError::Exhausted(0)),
            },
            IovaAlign::To(bytes) => units_up(bytes, self.shift).max(1),
        };
        self.space.take_with(room, units, align, last)
    }

    /// Takes back a range of `len` bytes, exactly as it was given.
    ///
    /// # Errors
    /// `Invalid` (EINVAL) for any other range; nothing has changed.
    pub fn free(&mut self, at: Iova, len: u64) -> Result<(), Error> {
        let units = self.units(len)?;
        if !at.is_aligned(self.granule()) {
            return Err(Error::Invalid);
        }
        self.space
            .give_back(at.get() >> self.shift, units)
            .map_err(|_| Error::Invalid)
    }

    fn units(&self, len: u64) -> Result<u64, Error> {
        match units_up(len, self.shift) {
            0 => Err(Error::Invalid),
            units if units > u64::MAX >> self.shift => Err(Error::Invalid),
            units => Ok(units),
        }
    }
}

/// Units that hold `bytes`, the last one perhaps in part.
const fn units_up(bytes: u64, shift: u32) -> u64 {
    (bytes >> shift) + (bytes & ((1 << shift) - 1) != 0) as u64
}

/// The last unit that lies at or below `limit` as a whole.
const fn last_unit(limit: u64, shift: u32) -> Option<u64> {
    match limit.checked_add(1) {
        Some(end) => (end >> shift).checked_sub(1),
        None => Some(u64::MAX >> shift),
    }
}

fn no_iova(wanted: u64, found: u64) -> Error {
    Error::NoMemory(Reason::new(Constraint::IovaSpace, wanted, found))
}

#[cfg(test)]
mod tests;
