//! An allocator of addresses: I/O virtual addresses, bounce slots, a device's coherent memory.
//!
//! The granules of a space (*units*) form a tree with 64 children a node. Each node stores the largest aligned free
//! block of each child, so a search follows one path. The tree numbers units by *places*, which count from the top of
//! the space. Ranges are allocated there first, so the tree needs few levels. Freeing never allocates.
//!
//! Source: Linux 7.2 drivers/iommu/iova.c; differs: the tree stores what is free, so a search does not walk past
//! live ranges and needs no cached node or remembered failed size. `give_back` checks that the range is allocated.

mod bits;
mod node;
mod nodes;
mod runs;
mod tree;

use crate::error::heap_exhausted;
use crate::{Constraint, Error, Reason};
use alloc::vec::Vec;
pub(crate) use nodes::RangeRoom;
use runs::Search;
use tree::Tree;

/// Allocates ranges of addresses in whole granules, from the top.
///
/// A range comes from the highest free aligned block. The block's size is the length rounded up to a power of
/// two, and its start is a multiple of its size. If no such block is free, the range comes from the highest
/// free run that is long enough. A request fails only if there is no such run.
///
/// # Cost
/// `take` and `give_back` visit one path of a tree, or two if the range is not inside one node. A path has at most
/// ten nodes, and two as long as no more than the highest 262,144 granules were in use. If no aligned block is free,
/// `take` visits each node up to the run that it finds. A node has 4,096 granules or more.
#[derive(Debug)]
pub struct RangeAllocator {
    /// The constraint of a request for which there is no room.
    constraint: Constraint,
    /// Base-2 logarithm of the granule.
    shift: u32,
    /// The first and the last unit.
    first: u64,
    last: u64,
    /// The sum of a unit and its place, the same for all units. `flip + 1` is a multiple of a power of two that is at
    /// least the number of units, so aligned blocks of units are aligned blocks of places.
    flip: u64,
    tree: Tree,
    /// Reserved regions (first and last unit), sorted. They do not overlap.
    reserved: Vec<(u64, u64)>,
    /// Number of units allocated now.
    used: u64,
}

impl RangeAllocator {
    /// Maximum number of separate regions that a host can reserve in an I/O address space
    /// ([`Iommu::reserved_iova`](crate::Platform::reserved_iova)).
    pub const MAX_RESERVED: usize = 64;

    /// Makes an allocator of the whole granules from address `first` to `last`, both included. `granule` is a power
    /// of two, in bytes. A request for which there is no room fails with `constraint`.
    ///
    /// # Errors
    /// `Invalid` (EINVAL) for no granules, a granule that is no power of two, or a granule of one byte if `last` is
    /// `u64::MAX`; `NoMemory` (ENOMEM).
    pub fn new(constraint: Constraint, granule: u64, first: u64, last: u64) -> Result<Self, Error> {
        if !granule.is_power_of_two() || granule == 1 && last == u64::MAX {
            return Err(Error::Invalid);
        }
        let shift = granule.trailing_zeros();
        let first = units_up(first, shift);
        let last = last_unit(last, shift).ok_or(Error::Invalid)?;
        let span = last.checked_sub(first).ok_or(Error::Invalid)?;
        let flip = last | (u64::MAX >> span.leading_zeros().min(63));
        Ok(Self {
            constraint,
            shift,
            first,
            last,
            flip,
            tree: Tree::new(flip - last, flip - first)?,
            reserved: Vec::new(),
            used: 0,
        })
    }

    /// Returns the size of the smallest range in bytes.
    pub(crate) const fn granule(&self) -> u64 {
        1 << self.shift
    }

    /// Returns the number of bytes allocated now.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.used << self.shift
    }

    /// Returns the bytes of heap that the allocator uses.
    #[must_use]
    pub fn metadata_bytes(&self) -> usize {
        let reserved = self.reserved.capacity() * size_of::<(u64, u64)>();
        self.tree.nodes.bytes().saturating_add(reserved)
    }

    /// Allocates `len` bytes (rounded up to granules), none above `limit`; returns the first address, a multiple of
    /// `align`.
    ///
    /// # Errors
    /// `Invalid` (EINVAL) for length zero, a length that overflows when rounded up, or an alignment that is no power
    /// of two; `NoMemory` (ENOMEM) with the longest free run at or below the limit, or with `Ram` if the heap is full.
    /// An error changes nothing.
    pub fn take(&mut self, len: u64, align: u64, limit: u64) -> Result<u64, Error> {
        RangeRoom::retry(|room| self.take_with(room, len, align, limit))
    }

    /// Allocates as [`take`](Self::take) does, but uses no heap memory: a new tree node uses `room`. Fails if `room`
    /// is too small.
    pub(crate) fn take_with(
        &mut self,
        room: &mut RangeRoom,
        len: u64,
        align: u64,
        limit: u64,
    ) -> Result<u64, Error> {
        if !align.is_power_of_two() {
            return Err(Error::Invalid);
        }
        let (units, align) = (self.units(len)?, units_up(align, self.shift));
        let limit = last_unit(limit, self.shift).map(|limit| limit.min(self.last));
        let Some(limit) = limit.filter(|&limit| limit >= self.first) else {
            return Err(self.exhausted(len, 0));
        };
        let low = self.flip - limit;
        let block = units.checked_next_power_of_two().map(|n| n.max(align));
        self.tree.nodes.add(room, self.tree.need(low, 2))?;
        let order = block.map_or(64, u64::trailing_zeros);
        let last = match self.tree.take_block(order, units, low) {
            Some(last) => last,
            None => self.take_elsewhere(room, (len, units, order), align, low)?,
        };
        self.used = self.used.saturating_add(units);
        // No overflow: the unit lies within the space.
        Ok((self.flip - last) << self.shift)
    }

    /// Takes a range where the tree has no block of `2^order` places: above the root, or in a run. Returns its last
    /// place.
    fn take_elsewhere(
        &mut self,
        room: &mut RangeRoom,
        (len, units, order): (u64, u64, u32),
        align: u64,
        low: u64,
    ) -> Result<u64, Error> {
        let mut search = Search {
            places: units,
            align,
            flip: self.flip,
            ..Search::default()
        };
        let found = self.tree.open_block(order, low);
        let found = found.or_else(|| self.tree.lowest_run(&mut search, low));
        let last = found.ok_or_else(|| self.exhausted(len, search.longest))?;
        self.tree.nodes.add(room, self.tree.need(last, 2))?;
        self.tree.take(last - (units - 1), last);
        Ok(last)
    }

    /// Frees a range of `len` bytes, exactly as it was allocated.
    ///
    /// # Errors
    /// `Invalid` (EINVAL) for anything else: a free or reserved range, a part of a range, or several ranges
    /// together. An error changes nothing.
    pub fn give_back(&mut self, at: u64, len: u64) -> Result<(), Error> {
        let (first, units) = (at >> self.shift, self.units(len)?);
        let last = first.checked_add(units - 1).ok_or(Error::Invalid)?;
        let is_inside = at & (self.granule() - 1) == 0 && first >= self.first && last <= self.last;
        if !is_inside
            || self.is_reserved(first)
            || !self.tree.free(self.flip - last, self.flip - first)
        {
            return Err(Error::Invalid);
        }
        self.used = self.used.saturating_sub(units);
        Ok(())
    }

    /// Reserves all granules that the addresses from `first` to `last` touch, so that they are never allocated:
    /// firmware's memory, bridge windows, interrupts. The region may overlap reserved ones and reach outside the
    /// space.
    ///
    /// Fails with `Invalid` for an empty region, after an allocation, or for more than
    /// [`MAX_RESERVED`](Self::MAX_RESERVED) separate regions. An error changes nothing.
    pub(crate) fn reserve(&mut self, first: u64, last: u64) -> Result<(), Error> {
        if first > last || self.used > 0 {
            return Err(Error::Invalid);
        }
        let first = (first >> self.shift).max(self.first);
        let last = (last >> self.shift).min(self.last);
        if first > last {
            return Ok(());
        }
        let begin = self.reserved.partition_point(|region| region.1 < first);
        let end = self.reserved.partition_point(|region| region.0 <= last);
        if self.reserved.len() - (end - begin) >= Self::MAX_RESERVED {
            return Err(Error::Invalid);
        }
        let room = self.reserved.try_reserve_exact(1);
        room.map_err(|_| heap_exhausted(size_of::<(u64, u64)>()))?;
        let need = self.tree.need(self.flip - first, 2);
        RangeRoom::retry(|room| self.tree.nodes.add(room, need))?;
        // The region is joined with the reserved ones that it overlaps.
        let mut joined = (first, last);
        for (first, last) in self.reserved.drain(begin..end) {
            self.tree.free(self.flip - last, self.flip - first);
            joined = (joined.0.min(first), joined.1.max(last));
        }
        self.tree.take(self.flip - joined.1, self.flip - joined.0);
        self.reserved.insert(begin, joined);
        Ok(())
    }

    fn is_reserved(&self, unit: u64) -> bool {
        let next = self.reserved.partition_point(|region| region.1 < unit);
        self.reserved
            .get(next)
            .is_some_and(|region| region.0 <= unit)
    }

    /// Returns the number of units that `len` bytes fill, the last one perhaps in part.
    fn units(&self, len: u64) -> Result<u64, Error> {
        let units = units_up(len, self.shift);
        let is_valid = units > 0 && units <= u64::MAX >> self.shift;
        is_valid.then_some(units).ok_or(Error::Invalid)
    }

    /// Returns the error of a call that wanted `wanted` bytes, if the longest free run has `units` units.
    fn exhausted(&self, wanted: u64, units: u64) -> Error {
        let found = units.saturating_mul(self.granule());
        Error::NoMemory(Reason::new(self.constraint, wanted, found))
    }
}

/// Returns the number of units that hold `bytes`.
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
