//! An allocator of ranges of integers (units), for I/O virtual addresses and bounce slots.
//!
//! The ranges that are not free form a balanced tree. The root of each subtree stores the subtree's longest
//! free run and largest aligned free block, so a search follows one path. Freeing never allocates.

mod nodes;
mod tree;

use crate::{Constraint, Error, Reason};
pub(crate) use nodes::RangeRoom;
use tree::{Node, Tree};

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
/// `take` and `give_back` visit a few paths of a balanced tree: the number of steps grows with the
/// logarithm of the number of ranges. If the alignment is above one and no aligned block of that size is
/// free, `take` may also visit runs that are long enough but not suitably aligned.
#[derive(Debug)]
pub struct RangeAllocator {
    first: u64,
    last: u64,
    tree: Tree,
    reserved: usize,
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
        Ok(Self {
            first,
            last,
            tree: Tree::new(first, last)?,
            reserved: 0,
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
        self.tree.nodes.bytes()
    }

    /// Returns the length in units of the longest free run at or below `limit`.
    fn largest_free(&self, limit: u64) -> u64 {
        self.tree.longest_below(limit.min(self.last))
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
        let Some(at) = self.highest(units, align, limit) else {
            return Err(RangeError::Exhausted(self.largest_free(limit)));
        };
        self.tree.add_room(room)?;
        self.tree.insert(at, at.saturating_add(units - 1), false);
        self.used = self.used.saturating_add(units);
        Ok(at)
    }

    /// Returns the start of the highest free aligned block; without one, the highest start in a free run.
    fn highest(&self, units: u64, align: u64, limit: u64) -> Option<u64> {
        let tree = &self.tree;
        let block = units.checked_next_power_of_two().map(|n| n.max(align));
        let block = block.and_then(|size| {
            // CAST: below 64.
            let order = size.trailing_zeros() as i8;
            let may = |subtree: &Node| subtree.order >= order;
            tree.highest(tree.root, limit, &may, &|first, last| {
                place(first, last, size, size)
            })
        });
        block.or_else(|| {
            // A suitable run that begins at a multiple of `align` contains an aligned block of this order.
            // CAST: below 64.
            let order = align.trailing_zeros().min(units.ilog2()) as i8;
            let may = |subtree: &Node| subtree.longest >= units && subtree.order >= order;
            tree.highest(tree.root, limit, &may, &|first, last| {
                place(first, last, units, align)
            })
        })
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
        if !self.tree.remove(at, end, false) {
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
        // The region is joined with the reserved ranges that it overlaps.
        let (mut joined, mut known) = ((first, last), 0usize);
        let mut from = first;
        while let Some((start, end)) = self.overlap(from, last)? {
            joined = (joined.0.min(start), joined.1.max(end));
            known = known.saturating_add(1);
            from = end.saturating_add(1);
        }
        let reserved = self.reserved.saturating_sub(known).saturating_add(1);
        if reserved > Self::MAX_RESERVED {
            return Err(RangeError::Invalid);
        }
        RangeRoom::retry(|room| self.tree.add_room(room))?;
        while let Some((start, end)) = self.overlap(first, last)? {
            self.tree.remove(start, end, true);
        }
        self.tree.insert(joined.0, joined.1, true);
        self.reserved = reserved;
        Ok(())
    }

    /// Returns the lowest reserved range that overlaps the units from `first` to `last`, if any. Fails with
    /// `Invalid` if the first overlapping range is allocated.
    fn overlap(&self, first: u64, last: u64) -> Result<Option<(u64, u64)>, RangeError> {
        let range = self.tree.range_from(first);
        match range.first <= last && first <= last {
            true if range.is_reserved => Ok(Some((range.first, range.last))),
            true => Err(RangeError::Invalid),
            false => Ok(None),
        }
    }
}

/// Returns the highest aligned start of `units` units within `first` to `last`; `None` if they do not fit.
fn place(first: u64, last: u64, units: u64, align: u64) -> Option<u64> {
    // No overflow: a space ends below `u64::MAX`.
    let start = (last + 1).checked_sub(units)? & !(align - 1);
    (start >= first).then_some(start)
}

#[cfg(test)]
mod tests;
