//! An allocator of ranges of integers (units), for I/O virtual addresses and bounce slots.
//!
//! The units form a tree with 64 children a node. Each node stores the largest aligned free block of each
//! child, so a search follows one path. The tree counts *places* from the top, where ranges are allocated
//! first, so it needs few levels. Freeing never allocates.

mod bits;
mod node;
mod nodes;
mod runs;
mod tree;

use crate::{Constraint, Error, Reason};
use alloc::vec::Vec;
pub(crate) use nodes::RangeRoom;
use runs::Search;
use tree::Tree;

/// Reason why a call on a range allocator failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangeError {
    /// Length zero, an alignment that is no power of two, or a range other than an allocated one.
    Invalid,
    /// No free run at or below the limit suits; the longest one has this many units.
    Exhausted(u64),
    /// The heap had no room for a node of the tree.
    Heap,
}

impl RangeError {
    /// Returns the error of a call that wanted `wanted` bytes of a space with units of `unit` bytes.
    pub(crate) fn of(self, constraint: Constraint, wanted: u64, unit: u64) -> Error {
        match self {
            Self::Invalid => Error::Invalid,
            Self::Exhausted(units) => {
                let found = units.saturating_mul(unit);
                Error::NoMemory(Reason::new(constraint, wanted, found))
            }
            // CAST: a small constant.
            Self::Heap => Error::no_ram(size_of::<RangeAllocator>() as u64),
        }
    }
}

/// Allocates ranges of units, from the top.
///
/// A range comes from the highest free aligned block. The block's size is the length rounded up to a power of
/// two, and its start is a multiple of its size. If no such block is free, the range comes from the highest
/// free run that is long enough. A request fails only if there is no such run.
///
/// # Cost
/// `take` and `give_back` visit one path of a tree, or two if the range is not inside one node. A path has at most
/// ten nodes, and two as long as no more than the highest 262,144 units were in use. If no aligned block is free,
/// `take` visits each node up to the run that it finds. A node has 4,096 units or more.
#[derive(Debug)]
pub struct RangeAllocator {
    first: u64,
    last: u64,
    /// The sum of a unit and its place. The next number is a multiple of a power of two that is not below the number
    /// of units, so aligned blocks of units are aligned blocks of places.
    flip: u64,
    tree: Tree,
    /// Reserved regions (first and last unit), which do not overlap, from the lowest.
    reserved: Vec<(u64, u64)>,
    used: u64,
}

impl RangeAllocator {
    /// Maximum number of separate regions that a host can reserve in an I/O address space
    /// ([`Iommu::reserved_iova`](crate::Iommu::reserved_iova)).
    pub const MAX_RESERVED: usize = 64;

    /// Makes an allocator of all units from `first` to `last`, both included.
    ///
    /// # Errors
    /// [`RangeError::Invalid`] for an empty span, or if `last` is `u64::MAX`; [`RangeError::Heap`].
    pub fn new(first: u64, last: u64) -> Result<Self, RangeError> {
        if first > last || last == u64::MAX {
            return Err(RangeError::Invalid);
        }
        let flip = last | (u64::MAX >> (last - first).leading_zeros().min(63));
        Ok(Self {
            first,
            last,
            flip,
            tree: Tree::new(flip - last, flip - first)?,
            reserved: Vec::new(),
            used: 0,
        })
    }

    /// Returns the number of units allocated now.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.used
    }

    /// Returns the bytes of heap that the allocator uses.
    #[must_use]
    pub fn metadata_bytes(&self) -> usize {
        let reserved = self
            .reserved
            .capacity()
            .saturating_mul(size_of::<(u64, u64)>());
        let nodes = self.tree.nodes.bytes();
        nodes.saturating_add(reserved)
    }

    /// Allocates `units` units, none above `limit`; returns the first, a multiple of `align`.
    ///
    /// `align` and `limit` are in units.
    ///
    /// # Errors
    /// [`RangeError`]. An error changes nothing.
    pub fn take(&mut self, units: u64, align: u64, limit: u64) -> Result<u64, RangeError> {
        RangeRoom::retry(|room| self.take_with(room, units, align, limit))
    }

    /// As [`take`](Self::take), but allocates no heap memory: a new tree node uses `room`. Fails if `room` is
    /// too small.
    pub(crate) fn take_with(
        &mut self,
        room: &mut RangeRoom,
        units: u64,
        align: u64,
        limit: u64,
    ) -> Result<u64, RangeError> {
        if units == 0 || !align.is_power_of_two() {
            return Err(RangeError::Invalid);
        }
        let limit = limit.min(self.last);
        if limit < self.first {
            return Err(RangeError::Exhausted(0));
        }
        let low = self.flip - limit;
        let block = units.checked_next_power_of_two().map(|n| n.max(align));
        self.tree.nodes.add(room, self.tree.need(low, 2))?;
        let order = block.map_or(64, u64::trailing_zeros);
        let last = match self.tree.take_block(order, units, low) {
            Some(last) => last,
            None => self.take_elsewhere(room, (order, units), align, low)?,
        };
        self.used = self.used.saturating_add(units);
        Ok(self.flip - last)
    }

    /// Takes a range where the tree has no block of `2^order` places: above the root, or in a run. Returns its last
    /// place.
    fn take_elsewhere(
        &mut self,
        room: &mut RangeRoom,
        (order, units): (u32, u64),
        align: u64,
        low: u64,
    ) -> Result<u64, RangeError> {
        let mut search = Search::new(units, align, self.flip);
        let found = self.tree.open_block(order, low);
        let found = found.or_else(|| self.tree.lowest_run(&mut search, low));
        let last = found.ok_or(RangeError::Exhausted(search.longest))?;
        self.tree.nodes.add(room, self.tree.need(last, 2))?;
        self.tree.take(last - (units - 1), last);
        Ok(last)
    }

    /// Frees a range, exactly as it was allocated.
    ///
    /// # Errors
    /// [`RangeError::Invalid`] for anything else: a free or reserved range, a part of a range, or several
    /// ranges together. An error changes nothing.
    pub fn give_back(&mut self, at: u64, units: u64) -> Result<(), RangeError> {
        let end = units
            .checked_sub(1)
            .and_then(|n| at.checked_add(n))
            .ok_or(RangeError::Invalid)?;
        let is_inside = at >= self.first && end <= self.last && !self.is_reserved(at);
        if !is_inside || !self.tree.free(self.flip - end, self.flip - at) {
            return Err(RangeError::Invalid);
        }
        self.used = self.used.saturating_sub(units);
        Ok(())
    }

    /// Reserves the units from `first` to `last`, both included, so that they are never allocated. The range may
    /// overlap reserved ranges and reach outside the space.
    ///
    /// Fails with `Invalid` for an empty region, a region with allocated units, or more than
    /// [`MAX_RESERVED`](Self::MAX_RESERVED) separate regions. An error changes nothing.
    pub(crate) fn reserve(&mut self, first: u64, last: u64) -> Result<(), RangeError> {
        if first > last {
            return Err(RangeError::Invalid);
        }
        let (first, last) = (first.max(self.first), last.min(self.last));
        if first > last {
            return Ok(());
        }
        // The region is joined with the reserved ones that it overlaps. Their gaps must be free.
        let begin = self.reserved.partition_point(|region| region.1 < first);
        let end = self.reserved.partition_point(|region| region.0 <= last);
        if self.reserved.len() - (end - begin) >= Self::MAX_RESERVED {
            return Err(RangeError::Invalid);
        }
        let (mut joined, mut from) = ((first, last), first);
        let mut gaps = Vec::new();
        gaps.try_reserve_exact(end - begin + 1)
            .and_then(|()| self.reserved.try_reserve_exact(1))
            .map_err(|_| RangeError::Heap)?;
        for &(start, end) in self.reserved.get(begin..end).unwrap_or_default() {
            gaps.push((from, start));
            joined = (joined.0.min(start), joined.1.max(end));
            from = end + 1;
        }
        gaps.push((from, last + 1));
        gaps.retain(|(from, end)| from < end);
        for &(from, end) in &gaps {
            let last = self.flip - from;
            let mut search = Search::new(end - from, 1, self.flip);
            let found = self.tree.lowest_run(&mut search, self.flip - (end - 1));
            if found != Some(last) {
                return Err(RangeError::Invalid);
            }
        }
        let need = self.tree.need(self.flip - first, 2 * gaps.len());
        RangeRoom::retry(|room| self.tree.nodes.add(room, need))?;
        for (from, end) in gaps {
            self.tree.take(self.flip - (end - 1), self.flip - from);
        }
        self.reserved.drain(begin..end);
        self.reserved.insert(begin, joined);
        Ok(())
    }

    fn is_reserved(&self, unit: u64) -> bool {
        let next = self.reserved.partition_point(|region| region.1 < unit);
        self.reserved
            .get(next)
            .is_some_and(|region| region.0 <= unit)
    }
}

#[cfg(test)]
mod tests;
