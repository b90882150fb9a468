//! The fast path. Most ranges lie in one leaf, and only this leaf is changed to take or free them.
//! A node above is updated only if the largest free block below it changes.

use super::bits::highest;
use super::inner::{MAX_HEIGHT, NONE, child_bits};
use super::leaf::LEAF_BITS;
use super::nodes::RangeRoom;
use super::{RangeAllocator, RangeError};

/// The nodes from the root down to a leaf, by level.
#[derive(Clone, Copy, Debug)]
pub(super) struct Path {
    nodes: [u32; MAX_HEIGHT as usize + 1],
}

// So that the mask below loses nothing.
const _: () = assert!(MAX_HEIGHT == 7);

impl Path {
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

/// The path of the last allocation, until a node is dropped.
///
/// Who goes the same path again need not look its nodes up one after the other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Recent {
    /// A unit in its leaf; one that there is not if there is no such path.
    unit: u64,
    path: Path,
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
        path: Path::NONE,
        idle: false,
        told: None,
    };

    /// Returns the lowest level whose node also covers `unit`; `None` if there is none.
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
    path: Path,
    /// The lowest level that has a node on the path.
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
            self.update_above_idle();
        }
        let Recent { unit, path, .. } = self.recent;
        // As far as the highest is where something was taken last.
        let mut top = self.height;
        while top > 0 {
            let highest = index_of(unit, top);
            match self.inner(path.at(top)) {
                Some(inner) if inner.fits(order) >> highest == 1 => top -= 1,
                _ => break,
            }
        }
        let mut node = Self::ROOT;
        let mut found = Found {
            at: 0,
            path,
            level: 0,
        };
        if top < self.height {
            node = path.at(top);
            found.at = unit & (u64::MAX << child_bits(top + 1));
        }
        for level in (1..=top).rev() {
            found.path.set(level, node);
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
        found.path.set(0, node);
        let start = self.leaves.get(node as usize)?.top_block(order)?;
        found.at |= u64::from(start);
        Some(found)
    }

    /// As [`highest_in_leaf`](Self::highest_in_leaf), if that lies in the idle leaf: no node on the
    /// path to it has such a block above the path.
    fn highest_in_idle(&self, order: u32) -> Option<Found> {
        let Recent { unit, path, .. } = self.recent;
        for level in 1..=self.height {
            let fits = self.inner(path.at(level))?.fits(order);
            if fits >> index_of(unit, level) >> 1 != 0 {
                return None;
            }
        }
        let base = unit & (u64::MAX << LEAF_BITS);
        Some(Found {
            at: base + (1 << LEAF_BITS) - (1 << order),
            path,
            level: 0,
        })
    }

    /// Tells the nodes above the idle leaf.
    pub(super) fn update_above_idle(&mut self) {
        let Recent {
            unit, path, idle, ..
        } = self.recent;
        if idle {
            self.recent.idle = false;
            self.update_above(&path, unit, WHOLE);
        }
    }

    /// As [`update_above_idle`](Self::update_above_idle), before summaries are brought up to date.
    pub(super) fn update_for_runs(&mut self) {
        self.update_above_idle();
        self.recent.told = None;
    }

    /// Takes `units` units from the start of a block that was found.
    pub(super) fn take_in_leaf(
        &mut self,
        found: Found,
        units: u64,
        room: &mut RangeRoom,
    ) -> Result<(), RangeError> {
        let Found {
            at,
            mut path,
            level,
        } = found;
        if level > 0 {
            self.add_room(room, 1)?;
        }
        for level in (1..=level).rev() {
            let child = self.new_node(level - 1);
            path.set(level - 1, child);
            if let Some(inner) = self.inners.get_mut(path.at(level) as usize) {
                inner.children[index_of(at, level) as usize] = child;
            }
        }
        let Some(leaf) = self.leaves.get_mut(path.at(0) as usize) else {
            return Err(RangeError::Invalid);
        };
        let low = place_of(at);
        // CAST: the block lies in the leaf.
        leaf.occupy(low, low + (units - 1) as u32, true);
        let order = leaf.order();
        let knows = self.recent.idle && self.recent.told == Some(order);
        self.recent = Recent {
            unit: at,
            path,
            idle: false,
            told: Some(order),
        };
        if !knows {
            self.update_above(&path, at, order);
        }
        Ok(())
    }

    /// Frees the range from `at` to `end`, which lie in one leaf. `None` if they have none; then
    /// nothing has changed.
    pub(super) fn free_in_leaf(&mut self, at: u64, end: u64) -> Option<Result<(), RangeError>> {
        self.update_above_idle();
        let mut path = self.recent.path;
        let top = self.recent.meets(at, self.height);
        let mut node = top.map_or(Self::ROOT, |level| path.at(level));
        for level in (1..=top.unwrap_or(self.height)).rev() {
            path.set(level, node);
            node = self.inner(node)?.child(index_of(at, level));
        }
        path.set(0, node);
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
                self.update_above(&path, at, order);
            }
            _ => self.update_above(&path, at, order),
        }
        Some(Ok(()))
    }

    /// Tells the nodes above a leaf what it has now. A node that is out of date has no others above
    /// it, so that who finds nothing new need look no further.
    fn update_above(&mut self, path: &Path, unit: u64, leaf_order: i8) {
        let mut order = leaf_order;
        for level in 1..=self.height {
            let (bits, index) = (child_bits(level), index_of(unit, level));
            let all_free = u32::try_from(order) == Ok(bits);
            if all_free {
                self.drop_node(path.at(level - 1), level - 1);
            }
            let Some(inner) = self.inners.get_mut(path.at(level) as usize) else {
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
