//! The short way: what lies in one leaf, as most ranges do, is taken and given back there, and the
//! nodes above hear of it only as far as it changes something for them.

use super::bits::highest;
use super::inner::{MAX_HEIGHT, NONE, child_bits};
use super::leaf::LEAF_BITS;
use super::{RangeAllocator, RangeError};

/// The nodes from the root down to a leaf, by level.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way {
    nodes: [u32; MAX_HEIGHT as usize + 1],
}

// So that the mask below loses nothing.
const _: () = assert!(MAX_HEIGHT == 7);

impl Way {
    const NONE: Self = Self {
        nodes: [NONE; MAX_HEIGHT as usize + 1],
    };

    const fn at(&self, level: u32) -> u32 {
        self.nodes[(level & 7) as usize]
    }

    const fn set(&mut self, level: u32, node: u32) {
        self.nodes[(level & 7) as usize] = node;
    }
}

/// The way on which something was taken last, until a node is dropped.
///
/// Who goes the same way again need not look its nodes up one after the other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Recent {
    /// A unit in its leaf; one that there is not if there is no such way.
    unit: u64,
    way: Way,
    /// Whether the leaf has become wholly free and the nodes above do not know it yet. Where ranges
    /// come and go one by one, its nodes need not be dropped and made again each time.
    idle: bool,
    /// The order of the leaf that the nodes above were told last, if they are out of date since
    /// then.
    pub(super) told: Option<i8>,
}

impl Recent {
    pub(super) const NONE: Self = Self {
        unit: u64::MAX,
        way: Way::NONE,
        idle: false,
        told: None,
    };

    /// The lowest level of which the node is that of `unit`, too; `None` if there is none.
    fn meets(&self, unit: u64, height: u32) -> Option<u32> {
        (0..=height).find(|&level| {
            let bits = child_bits(level + 1);
            unit >> bits == self.unit >> bits
        })
    }
}

/// A free block in a leaf.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) at: u64,
    way: Way,
    /// The lowest level that has a node on the way.
    level: u32,
}

/// The order of a leaf that is wholly free.
// CAST: twelve.
const WHOLE: i8 = LEAF_BITS as i8;

/// The child of a node at `level` that a unit lies in.
const fn index_of(unit: u64, level: u32) -> u32 {
    // CAST: six bits.
    (unit >> child_bits(level)) as u32 & 63
}

/// The place of a unit in its leaf.
const fn place_of(unit: u64) -> u32 {
    // CAST: twelve bits.
    unit as u32 & ((1 << LEAF_BITS) - 1)
}

impl RangeAllocator {
    /// The highest aligned free block of `2^order` units, less than a leaf, anywhere in the space.
    pub(super) fn highest_in_leaf(&mut self, order: u32) -> Option<Found> {
        if self.recent.idle {
            if let Some(found) = self.highest_in_idle(order) {
                return Some(found);
            }
            self.settle_idle();
        }
        let Recent { unit, way, .. } = self.recent;
        // As far as the highest is where something was taken last.
        let mut top = self.height;
        while top > 0 {
            let highest = index_of(unit, top);
            match self.inner(way.at(top)) {
                Some(inner) if inner.fits(order) >> highest == 1 => top -= 1,
                _ => break,
            }
        }
        let mut node = Self::ROOT;
        let mut found = Found {
            at: 0,
            way,
            level: 0,
        };
        if top < self.height {
            node = way.at(top);
            found.at = unit & (u64::MAX << child_bits(top + 1));
        }
        for level in (1..=top).rev() {
            found.way.set(level, node);
            let inner = self.inner(node)?;
            let index = highest(inner.fits(order))?;
            let bits = child_bits(level);
            found.at |= u64::from(index) << bits;
            node = inner.child(index);
            if node == NONE {
                // Wholly free.
                found.level = level;
                found.at |= (1 << bits) - (1 << order);
                return Some(found);
            }
        }
        found.way.set(0, node);
        let start = self.leaves.get(node as usize)?.top_block(order)?;
        found.at |= u64::from(start);
        Some(found)
    }

    /// As [`highest_in_leaf`](Self::highest_in_leaf), if that lies in the idle leaf: no node on the
    /// way to it has such a block above the way.
    fn highest_in_idle(&self, order: u32) -> Option<Found> {
        let Recent { unit, way, .. } = self.recent;
        for level in 1..=self.height {
            let fits = self.inner(way.at(level))?.fits(order);
            if fits >> index_of(unit, level) >> 1 != 0 {
                return None;
            }
        }
        let base = unit & (u64::MAX << LEAF_BITS);
        Some(Found {
            at: base + (1 << LEAF_BITS) - (1 << order),
            way,
            level: 0,
        })
    }

    /// Tells the nodes above the idle leaf.
    pub(super) fn settle_idle(&mut self) {
        let Recent {
            unit, way, idle, ..
        } = self.recent;
        if idle {
            self.recent.idle = false;
            self.settle(&way, unit, WHOLE);
        }
    }

    /// As [`settle_idle`](Self::settle_idle), before summaries are brought up to date.
    pub(super) fn settle_for_runs(&mut self) {
        self.settle_idle();
        self.recent.told = None;
    }

    /// Takes `units` units from the start of a block that was found.
    pub(super) fn take_in_leaf(&mut self, found: Found, units: u64) -> Result<(), RangeError> {
        let Found { at, mut way, level } = found;
        if level > 0 {
            self.room_for_path()?;
        }
        for level in (1..=level).rev() {
            let child = self.new_node(level - 1);
            way.set(level - 1, child);
            if let Some(inner) = self.inners.get_mut(way.at(level) as usize) {
                inner.children[index_of(at, level) as usize] = child;
            }
        }
        let Some(leaf) = self.leaves.get_mut(way.at(0) as usize) else {
            return Err(RangeError::Invalid);
        };
        let low = place_of(at);
        // CAST: the block lies in the leaf.
        leaf.occupy(low, low + (units - 1) as u32, true);
        let order = leaf.order();
        let knows = self.recent.idle && self.recent.told == Some(order);
        self.recent = Recent {
            unit: at,
            way,
            idle: false,
            told: Some(order),
        };
        if !knows {
            self.settle(&way, at, order);
        }
        Ok(())
    }

    /// Frees the range from `at` to `end`, which lie in one leaf. `None` if they have none; then
    /// nothing has changed.
    pub(super) fn free_in_leaf(&mut self, at: u64, end: u64) -> Option<Result<(), RangeError>> {
        self.settle_idle();
        let mut way = self.recent.way;
        let top = self.recent.meets(at, self.height);
        let mut node = top.map_or(Self::ROOT, |level| way.at(level));
        for level in (1..=top.unwrap_or(self.height)).rev() {
            way.set(level, node);
            node = self.inner(node)?.child(index_of(at, level));
        }
        way.set(0, node);
        let (low, high) = (place_of(at), place_of(end));
        let starts_here = match (low, at) {
            (0, 1..) => self.may_start_behind(at - 1),
            _ => true,
        };
        let leaf = self.leaves.get_mut(node as usize)?;
        let starts_here = match low.checked_sub(1) {
            Some(before) => leaf.may_start_behind(before),
            None => starts_here,
        };
        if !starts_here || !leaf.release_one(low, high) {
            return Some(Err(RangeError::Invalid));
        }
        let order = leaf.order();
        match top {
            Some(0) if order == WHOLE => self.recent.idle = true,
            Some(0) => {
                self.recent.told = Some(order);
                self.settle(&way, at, order);
            }
            _ => self.settle(&way, at, order),
        }
        Some(Ok(()))
    }

    /// Tells the nodes above a leaf what it has now. A node that is out of date has no others above
    /// it, so that who finds nothing new need look no further.
    fn settle(&mut self, way: &Way, unit: u64, leaf_order: i8) {
        let mut order = leaf_order;
        for level in 1..=self.height {
            let (bits, index) = (child_bits(level), index_of(unit, level));
            let all_free = u32::try_from(order) == Ok(bits);
            if all_free {
                self.drop_node(way.at(level - 1), level - 1);
            }
            let Some(inner) = self.inners.get_mut(way.at(level) as usize) else {
                return;
            };
            if all_free {
                inner.children[index as usize] = NONE;
            }
            let changed = inner.set_order(index, order);
            let was_stale = core::mem::replace(&mut inner.stale, true);
            if !changed && was_stale {
                return;
            }
            order = inner.order(bits);
        }
    }
}
