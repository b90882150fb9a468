//! Allocator for the addresses of one I/O address space, in bytes.
//!
//! Source: Linux 7.2 drivers/iommu/iova.c; differs: the tree also records free runs, so a search does not
//! walk past live ranges and needs no cached node or remembered failed size. `free` checks that the range
//! is allocated.

use crate::ranges::{RangeAllocator, RangeError, RangeRoom};
use crate::{Constraint, Error, IommuInfo, Iova};

/// Allocates I/O virtual addresses from the top of an aperture.
///
/// Address zero is never allocated. The cost of a call grows with the logarithm of the number of live
/// ranges.
#[derive(Debug)]
pub(crate) struct IovaAllocator {
    space: RangeAllocator,
    /// Base-2 logarithm of the granule.
    shift: u32,
}

impl IovaAllocator {
    /// Makes an allocator of all addresses of an aperture except zero. Fails with `Invalid` (EINVAL) for an
    /// aperture that holds no whole granule.
    pub(crate) fn new(info: &IommuInfo) -> Result<Self, Error> {
        let granule = info.granule().ok_or(Error::Invalid)?;
        let shift = granule.trailing_zeros();
        let first = units_up(info.first.get(), shift).max(1);
        let last = last_unit(info.last.get(), shift).ok_or(Error::Invalid)?;
        let space = RangeAllocator::new(first, last);
        let space = space.map_err(|err| err.of(Constraint::IovaSpace, granule, granule))?;
        Ok(Self { space, shift })
    }

    /// Reserves all granules that a region touches: firmware's memory, bridge windows, interrupts. Fails as
    /// [`RangeAllocator::reserve`] does, and with `Invalid` for an empty region.
    pub(crate) fn reserve(&mut self, first: Iova, last: Iova) -> Result<(), Error> {
        if first > last {
            return Err(Error::Invalid);
        }
        let (first, last) = (first.get() >> self.shift, last.get() >> self.shift);
        let (reserved, granule) = (self.space.reserve(first, last), self.granule());
        reserved.map_err(|err| err.of(Constraint::IovaSpace, granule, granule))
    }

    /// Returns the size of the smallest range in bytes.
    pub(crate) const fn granule(&self) -> u64 {
        1 << self.shift
    }

    /// Allocates `len` bytes (rounded up to granules) at a multiple of `align` bytes, none above `limit`. If
    /// possible, the start is also a multiple of the length rounded up to a power of two. Allocates no heap
    /// memory: a new tree node uses `room`.
    ///
    /// Fails with `Invalid` (EINVAL) for length zero, a length that overflows when rounded up, or an alignment
    /// that is no power of two; with `NoMemory` (ENOMEM) and the longest free run; or if `room` is too small.
    pub(crate) fn alloc_with(
        &mut self,
        room: &mut RangeRoom,
        len: u64,
        limit: u64,
        align: u64,
    ) -> Result<Iova, Error> {
        let units = self.units(len)?;
        let align = units_up(align, self.shift).max(1);
        let taken = match last_unit(limit, self.shift) {
            Some(last) => self.space.take_with(room, units, align, last),
            None => Err(RangeError::Exhausted(0)),
        };
        match taken {
            // No overflow: the unit lies within the aperture.
            Ok(unit) => Ok(Iova::new(unit << self.shift)),
            Err(err) => Err(err.of(Constraint::IovaSpace, len, self.granule())),
        }
    }

    /// Frees a range of `len` bytes, exactly as it was allocated. Refuses any other range (EINVAL).
    pub(crate) fn free(&mut self, at: Iova, len: u64) -> Result<(), Error> {
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

/// Returns the number of units (granules) that hold `bytes`; the last one may be filled in part.
const fn units_up(bytes: u64, shift: u32) -> u64 {
    (bytes >> shift) + (bytes & ((1 << shift) - 1) != 0) as u64
}

/// Returns the last unit that ends at or below `limit`.
const fn last_unit(limit: u64, shift: u32) -> Option<u64> {
    match limit.checked_add(1) {
        Some(end) => (end >> shift).checked_sub(1),
        None => Some(u64::MAX >> shift),
    }
}

#[cfg(test)]
mod tests;
