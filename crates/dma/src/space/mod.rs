//! Allocator of addresses: I/O virtual addresses, bounce slots, a device's coherent memory.
//!
//! Source: Linux 7.2 drivers/iommu/iova.c; differs: the tree stores what is free, so a search does not walk past
//! live ranges and needs no cached node or remembered failed size. `free` checks that the range is allocated.

use crate::ranges::{RangeAllocator, RangeError, RangeRoom};
use crate::{Constraint, Error};

/// Allocates addresses in whole granules, from the top, at the cost of a [`RangeAllocator`].
#[derive(Debug)]
pub(crate) struct Space {
    units: RangeAllocator,
    /// Base-2 logarithm of the granule.
    shift: u32,
    /// The constraint of a request for which there is no room.
    constraint: Constraint,
}

impl Space {
    /// Makes an allocator of the whole granules from address `first` to `last`. Fails with `Invalid` (EINVAL) if
    /// there are none. `granule` is a power of two.
    pub(crate) fn new(
        constraint: Constraint,
        granule: u64,
        first: u64,
        last: u64,
    ) -> Result<Self, Error> {
        let shift = granule.trailing_zeros();
        let last = last_unit(last, shift).ok_or(Error::Invalid)?;
        let units = RangeAllocator::new(units_up(first, shift), last);
        Ok(Self {
            units: units.map_err(|err| err.of(constraint, granule, granule))?,
            shift,
            constraint,
        })
    }

    /// Reserves all granules that a region touches: firmware's memory, bridge windows, interrupts. Fails as
    /// [`RangeAllocator::reserve`] does, and with `Invalid` for an empty region.
    pub(crate) fn reserve(&mut self, first: u64, last: u64) -> Result<(), Error> {
        if first > last {
            return Err(Error::Invalid);
        }
        let reserved = self.units.reserve(first >> self.shift, last >> self.shift);
        reserved.map_err(|err| err.of(self.constraint, self.granule(), self.granule()))
    }

    /// Returns the size of the smallest range in bytes.
    pub(crate) const fn granule(&self) -> u64 {
        1 << self.shift
    }

    /// Returns the number of bytes allocated now.
    pub(crate) fn used_bytes(&self) -> u64 {
        self.units.used() << self.shift
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
    ) -> Result<u64, Error> {
        let units = self.units(len)?;
        let align = units_up(align, self.shift).max(1);
        let taken = match last_unit(limit, self.shift) {
            Some(last) => self.units.take_with(room, units, align, last),
            None => Err(RangeError::Exhausted(0)),
        };
        // No overflow: the unit lies within the space.
        taken
            .map(|unit| unit << self.shift)
            .map_err(|err| err.of(self.constraint, len, self.granule()))
    }

    /// Frees a range of `len` bytes, exactly as it was allocated. Refuses any other range (EINVAL).
    pub(crate) fn free(&mut self, at: u64, len: u64) -> Result<(), Error> {
        let units = self.units(len)?;
        if at & (self.granule() - 1) != 0 {
            return Err(Error::Invalid);
        }
        self.units
            .give_back(at >> self.shift, units)
            .map_err(|_| Error::Invalid)
    }

    fn units(&self, len: u64) -> Result<u64, Error> {
        let units = units_up(len, self.shift);
        let is_valid = units > 0 && units <= u64::MAX >> self.shift;
        is_valid.then_some(units).ok_or(Error::Invalid)
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
