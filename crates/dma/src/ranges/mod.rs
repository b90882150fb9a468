//! An allocator of integer ranges, for I/O virtual addresses and bounce slots.
//!
//! The space is a tree with sixty-four children per node, and one bit per unit at the bottom. For
//! every power of two, each node knows which children have an aligned free block of that size. The
//! search for the highest block takes as many steps as the tree has levels: five for 48-bit
//! addresses in 4 KiB pages, independent of the number of allocations. A completely free or taken
//! child needs no node. Freeing never allocates.

mod bits;
mod inner;
mod leaf;
mod nodes;
mod path;
mod scan;
mod tree;

use alloc::vec::Vec;
use inner::{Inner, MAX_HEIGHT, NONE};
use leaf::{LEAF_BITS, Leaf};
pub(crate) use nodes::RangeRoom;
use nodes::{Inners, Leaves};
use path::Recent;

/// Why no range was handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangeError {
    /// Length zero, an alignment that is no power of two, or a range that is not what was handed
    /// out.
    Invalid,
    /// No free range is long enough below the limit; the longest has this many units.
    Exhausted(u64),
    /// The heap had no room for the bookkeeping.
    Heap,
}

/// A run of units, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    first: u64,
    last: u64,
}

/// Hands out ranges of units, from the top.
///
/// A range comes from the highest aligned block of the next power of two; where there is none,
/// from the highest run of free units that is long enough. It is refused only if there is no such
/// run.
///
/// # Cost
/// `take` and `give_back` visit one path of the tree, or two for a range over a border: a bound
/// that depends on the size of the space alone. A range inside one leaf (4096 units) that may lie
/// anywhere costs less: the path taken last is remembered, and followed as far as it is the same.
/// Only the second search, and the number in
/// [`RangeError::Exhausted`], bring summaries up to date along the paths that changed since the
/// last one; a summary is computed once for each change at most. With an alignment above one the
/// second search may look at runs that are long enough but badly placed.
///
/// # Invariants
/// `live` ranges of `used` units in all are handed out, and each is marked by the bit of its last
/// unit.
#[derive(Debug)]
pub struct RangeAllocator {
    first: u64,
    last: u64,
    height: u32,
    inners: Inners,
    leaves: Leaves,
    /// The first node of each level that is not in use. Such a node is wholly free.
    spare: [u32; MAX_HEIGHT as usize + 1],
    recent: Recent,
    reserved: Vec<Run>,
    live: u64,
    used: u64,
}

impl RangeAllocator {
    /// Bits of the largest unit that can be managed.
    pub const MAX_BITS: u32 = LEAF_BITS + bits::FAN_BITS * MAX_HEIGHT;
    /// Maximum number of regions that can be reserved.
    pub const MAX_RESERVED: usize = 64;
    /// The root's place among the inner nodes.
    const ROOT: u32 = 0;

    /// All units from `first` to `last`, both included.
    ///
    /// # Errors
    /// [`RangeError::Invalid`] for an empty span or a unit of more than
    /// [`MAX_BITS`](Self::MAX_BITS) bits; [`RangeError::Heap`].
    pub fn new(first: u64, last: u64) -> Result<Self, RangeError> {
        if first > last || last >> Self::MAX_BITS != 0 {
            return Err(RangeError::Invalid);
        }
        let bits = 64 - last.leading_zeros();
        let height = bits
            .saturating_sub(LEAF_BITS)
            .div_ceil(bits::FAN_BITS)
            .max(1);
        let mut space = Self {
            first,
            last,
            height,
            inners: Inners::new()?,
            leaves: Leaves::new()?,
            spare: [NONE; MAX_HEIGHT as usize + 1],
            recent: Recent::NONE,
            reserved: Vec::new(),
            live: 0,
            used: 0,
        };
        space.make_room(1)?;
        space.inners.push(Inner::new(inner::child_bits(height)));
        if let Some(below) = first.checked_sub(1) {
            space.occupy_units(0, below, true);
        }
        let end = Self::end(height);
        if last < end {
            space.make_room(1)?;
            space.occupy_units(last + 1, end, true);
        }
        Ok(space)
    }

    /// The last unit a tree of this height has room for.
    const fn end(height: u32) -> u64 {
        u64::MAX >> (64 - (LEAF_BITS + bits::FAN_BITS * height))
    }

    /// The lowest unit.
    #[must_use]
    pub fn first(&self) -> u64 {
        self.first
    }

    /// The highest unit.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.last
    }

    /// Units handed out.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.used
    }

    /// Ranges handed out.
    #[must_use]
    pub fn live(&self) -> u64 {
        self.live
    }

    /// Bytes of bookkeeping on the heap.
    #[must_use]
    pub fn metadata_bytes(&self) -> usize {
        self.inners
            .capacity()
            .saturating_mul(size_of::<Inner>())
            .saturating_add(self.leaves.capacity().saturating_mul(size_of::<Leaf>()))
            .saturating_add(self.reserved.capacity().saturating_mul(size_of::<Run>()))
    }

    /// Units of the longest free run that lies at or below `limit`.
    #[must_use]
    pub fn largest_free(&mut self, limit: u64) -> u64 {
        if limit < self.first {
            return 0;
        }
        self.update_for_runs();
        self.runs_below(limit.min(self.last)).longest
    }

    /// Hands out `units` units, none above `limit`, the first a multiple of `align`.
    ///
    /// `align` and `limit` are in units.
    ///
    /// # Errors
    /// [`RangeError`]; nothing has changed.
    pub fn take(&mut self, units: u64, align: u64, limit: u64) -> Result<u64, RangeError> {
        RangeRoom::retry(|room| self.take_with(room, units, align, limit))
    }

    /// As [`take`](Self::take), without the heap: its bookkeeping takes `room`, which it fails
    /// without.
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
        let block = units.checked_next_power_of_two().map(|n| n.max(align));
        if let Some(order) = block.map(u64::trailing_zeros) {
            // Nothing above the last unit is free, so no limit is as good as that one.
            let short = order < LEAF_BITS && limit == self.last;
            if let Some(found) = short.then(|| self.highest_in_leaf(order)).flatten() {
                self.take_in_leaf(found, units, room)?;
                self.count_taken(units);
                return Ok(found.at);
            }
        }
        self.update_above_idle();
        let found = block.and_then(|n| self.highest_block(n.trailing_zeros(), limit));
        let at = match found {
            Some(at) => at,
            None => {
                self.update_for_runs();
                match self.highest_run(units, align, limit) {
                    Some(at) => at,
                    None => return Err(RangeError::Exhausted(self.largest_free(limit))),
                }
            }
        };
        self.add_room(room, 1)?;
        self.occupy_units(at, at.saturating_add(units - 1), true);
        self.count_taken(units);
        Ok(at)
    }

    fn count_taken(&mut self, units: u64) {
        self.live = self.live.saturating_add(1);
        self.used = self.used.saturating_add(units);
    }

    /// Takes a range back, exactly as it was handed out.
    ///
    /// # Errors
    /// [`RangeError::Invalid`] for anything else: a range that is free, a part of one, several
    /// together, or what is reserved. Nothing has changed.
    pub fn give_back(&mut self, at: u64, units: u64) -> Result<(), RangeError> {
        let end = units
            .checked_sub(1)
            .and_then(|n| at.checked_add(n))
            .ok_or(RangeError::Invalid)?;
        if at < self.first || end > self.last || self.reserved_at(at).is_some() {
            return Err(RangeError::Invalid);
        }
        let short = if at >> LEAF_BITS == end >> LEAF_BITS {
            self.free_in_leaf(at, end)
        } else {
            None
        };
        match short {
            Some(done) => done?,
            None => self.free_anywhere(at, end)?,
        }
        self.live = self.live.saturating_sub(1);
        self.used = self.used.saturating_sub(units);
        Ok(())
    }

    fn free_anywhere(&mut self, at: u64, end: u64) -> Result<(), RangeError> {
        self.update_above_idle();
        let starts_here = at
            .checked_sub(1)
            .is_none_or(|unit| self.may_start_behind(unit));
        if !starts_here || !self.is_one_range(at, end) {
            return Err(RangeError::Invalid);
        }
        self.release_units(at, end);
        Ok(())
    }

    /// Keeps the units from `first` to `last`, both included, from ever being handed out.
    ///
    /// The range may overlap reserved ranges and reach outside the space.
    ///
    /// # Errors
    /// [`RangeError::Invalid`] for an empty region, one that has units handed out, or one more
    /// than [`MAX_RESERVED`](Self::MAX_RESERVED); [`RangeError::Heap`]. Nothing has changed.
    pub fn reserve(&mut self, first: u64, last: u64) -> Result<(), RangeError> {
        if first > last {
            return Err(RangeError::Invalid);
        }
        self.update_above_idle();
        let (first, last) = (first.max(self.first), last.min(self.last));
        if first > last {
            return Ok(());
        }
        // Regions never overlap, and pieces of one lie between others: at most one more each.
        let mut pieces: Vec<Run> = Vec::new();
        pieces
            .try_reserve(self.reserved.len().saturating_add(1))
            .map_err(|_| RangeError::Heap)?;
        let mut from = first;
        for region in self.reserved.iter().filter(|r| r.last >= first) {
            if region.first > last || from > last {
                break;
            }
            if let Some(before) = region.first.checked_sub(1).filter(|&b| b >= from) {
                pieces.push(Run {
                    first: from,
                    last: before,
                });
            }
            from = region.last.saturating_add(1);
        }
        if from <= last {
            pieces.push(Run { first: from, last });
        }
        let all_free = pieces.iter().all(|p| self.is_free(p.first, p.last));
        if !all_free || self.reserved.len().saturating_add(pieces.len()) > Self::MAX_RESERVED {
            return Err(RangeError::Invalid);
        }
        self.reserved
            .try_reserve(pieces.len())
            .map_err(|_| RangeError::Heap)?;
        self.make_room(pieces.len())?;
        for piece in pieces {
            self.occupy_units(piece.first, piece.last, true);
            let place = self.reserved.partition_point(|r| r.first < piece.first);
            self.reserved.insert(place, piece);
        }
        Ok(())
    }

    fn reserved_at(&self, unit: u64) -> Option<Run> {
        let next = self.reserved.partition_point(|r| r.first <= unit);
        let region = self.reserved.get(next.checked_sub(1)?)?;
        (region.last >= unit).then_some(*region)
    }
}

#[cfg(test)]
mod tests;
