//! Walking the tree: taking and freeing units, finding the highest block.

use super::RangeAllocator;
use super::bits::{FAN_BITS, highest, span};
use super::inner::{Inner, NONE, child_bits};
use super::leaf::Leaf;
use super::path::Recent;

/// How units `low` to `high` of a node fall to its children.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut {
    /// The children that are covered whole.
    pub(super) whole: u64,
    /// The others: the child, and the first and last of its units.
    parts: [Option<(u32, u64, u64)>; 2],
}

/// Cuts units `low` to `high` of a node whose children have `bits` bits.
pub(super) const fn cut(low: u64, high: u64, bits: u32) -> Cut {
    let inside = (1u64 << bits) - 1;
    // CAST: a unit of a node has at most six bits more than one of its children.
    let (a, b) = ((low >> bits) as u32, (high >> bits) as u32);
    let (starts, stops) = (low & inside == 0, high & inside == inside);
    if a == b {
        return if starts && stops {
            Cut {
                whole: span(a, a),
                parts: [None, None],
            }
        } else {
            Cut {
                whole: 0,
                parts: [Some((a, low & inside, high & inside)), None],
            }
        };
    }
    let first = if starts { a } else { a + 1 };
    let end = if stops { b + 1 } else { b };
    Cut {
        whole: if first < end { span(first, end - 1) } else { 0 },
        parts: [
            if starts {
                None
            } else {
                Some((a, low & inside, inside))
            },
            if stops {
                None
            } else {
                Some((b, 0, high & inside))
            },
        ],
    }
}

impl RangeAllocator {
    pub(super) fn inner(&self, node: u32) -> Option<&Inner> {
        self.inners.get(node as usize)
    }

    /// A node for a child that is wholly free. There is room for it.
    ///
    /// A node that was dropped is wholly free, which is what a new one is.
    pub(super) fn new_node(&mut self, level: u32) -> u32 {
        let spare = self.spare.get(level as usize).copied().unwrap_or(NONE);
        let next = if level == 0 {
            self.leaves.get(spare as usize).map(|leaf| leaf.next)
        } else {
            self.inners.get(spare as usize).map(|inner| inner.next)
        };
        if let (Some(next), Some(first)) = (next, self.spare.get_mut(level as usize)) {
            *first = next;
            return spare;
        }
        // CAST: a node takes more than 500 bytes, so there are fewer than 2^32 of them unless
        // the bookkeeping takes terabytes.
        if level == 0 {
            self.leaves.push(Leaf::new()) as u32
        } else {
            self.inners.push(Inner::new(child_bits(level))) as u32
        }
    }

    pub(super) fn drop_node(&mut self, node: u32, level: u32) {
        let Some(first) = self.spare.get_mut(level as usize) else {
            return;
        };
        let next = core::mem::replace(first, node);
        self.recent = Recent::NONE;
        if level == 0 {
            if let Some(leaf) = self.leaves.get_mut(node as usize) {
                leaf.next = next;
            }
        } else if let Some(inner) = self.inners.get_mut(node as usize) {
            inner.next = next;
        }
    }

    /// Marks free units as taken. There is room for the nodes.
    pub(super) fn occupy_units(&mut self, low: u64, high: u64, ends: bool) {
        self.recent.told = None;
        self.occupy(Self::ROOT, self.height, low, high, ends);
    }

    /// Returns the order of the node afterwards.
    fn occupy(&mut self, node: u32, level: u32, low: u64, high: u64, ends: bool) -> i8 {
        if level == 0 {
            let Some(leaf) = self.leaves.get_mut(node as usize) else {
                return -1;
            };
            // CAST: units of a leaf have twelve bits.
            leaf.occupy(low as u32, high as u32, ends);
            return leaf.order();
        }
        let bits = child_bits(level);
        let Cut { whole, parts } = cut(low, high, bits);
        let last = (high >> bits) as u32;
        for (index, from, to) in parts.into_iter().flatten() {
            let mut child = self.inner(node).map_or(NONE, |inner| inner.child(index));
            if child == NONE {
                child = self.new_node(level - 1);
                if let Some(inner) = self.inners.get_mut(node as usize) {
                    inner.children[(index & 63) as usize] = child;
                }
            }
            let order = self.occupy(child, level - 1, from, to, ends && index == last);
            if let Some(inner) = self.inners.get_mut(node as usize) {
                inner.set_order(index, order);
            }
        }
        let Some(inner) = self.inners.get_mut(node as usize) else {
            return -1;
        };
        if whole != 0 {
            inner.set_whole(whole, bits, false);
            if ends && whole >> (last & 63) & 1 == 1 {
                inner.ends |= 1 << (last & 63);
            }
        }
        inner.stale = true;
        inner.order(bits)
    }

    /// Marks taken units as free.
    pub(super) fn release_units(&mut self, low: u64, high: u64) {
        self.recent.told = None;
        self.release(Self::ROOT, self.height, low, high);
    }

    /// Returns the order of the node afterwards.
    fn release(&mut self, node: u32, level: u32, low: u64, high: u64) -> i8 {
        if level == 0 {
            let Some(leaf) = self.leaves.get_mut(node as usize) else {
                return -1;
            };
            // CAST: units of a leaf have twelve bits.
            leaf.release(low as u32, high as u32);
            return leaf.order();
        }
        let bits = child_bits(level);
        let Cut { whole, parts } = cut(low, high, bits);
        for (index, from, to) in parts.into_iter().flatten() {
            let child = self.inner(node).map_or(NONE, |inner| inner.child(index));
            let order = self.release(child, level - 1, from, to);
            let all_free = u32::try_from(order) == Ok(bits);
            if all_free {
                self.drop_node(child, level - 1);
            }
            if let Some(inner) = self.inners.get_mut(node as usize) {
                inner.set_order(index, order);
                if all_free {
                    inner.children[(index & 63) as usize] = NONE;
                }
            }
        }
        let Some(inner) = self.inners.get_mut(node as usize) else {
            return -1;
        };
        if whole != 0 {
            inner.set_whole(whole, bits, true);
        }
        inner.stale = true;
        inner.order(bits)
    }

    /// Whether units `low` to `high` are one range, or the later part of one.
    pub(super) fn is_one_range(&self, low: u64, high: u64) -> bool {
        self.is_one(Self::ROOT, self.height, low, high, true)
    }

    fn is_one(&self, node: u32, level: u32, low: u64, high: u64, ends: bool) -> bool {
        if level == 0 {
            // CAST: units of a leaf have twelve bits.
            return self
                .leaves
                .get(node as usize)
                .is_some_and(|leaf| leaf.is_one(low as u32, high as u32, ends));
        }
        let Some(inner) = self.inner(node) else {
            return false;
        };
        let bits = child_bits(level);
        let Cut { whole, parts } = cut(low, high, bits);
        let last = (high >> bits) as u32;
        let ends_whole = if ends { whole & (1 << (last & 63)) } else { 0 };
        let mut rest = whole;
        while let Some(index) = highest(rest) {
            rest &= !(1 << index);
            if inner.child(index) != NONE {
                return false;
            }
        }
        // Without a node, a child is wholly free or wholly taken.
        if inner.fits(bits) & whole != 0 || inner.ends & whole != ends_whole {
            return false;
        }
        parts.into_iter().flatten().all(|(index, from, to)| {
            let child = inner.child(index);
            child != NONE && self.is_one(child, level - 1, from, to, ends && index == last)
        })
    }

    /// Whether units `low` to `high` are free.
    pub(super) fn is_free(&self, low: u64, high: u64) -> bool {
        self.is_free_below(Self::ROOT, self.height, low, high)
    }

    fn is_free_below(&self, node: u32, level: u32, low: u64, high: u64) -> bool {
        if level == 0 {
            // CAST: units of a leaf have twelve bits.
            return self
                .leaves
                .get(node as usize)
                .is_some_and(|leaf| leaf.is_free(low as u32, high as u32));
        }
        let Some(inner) = self.inner(node) else {
            return false;
        };
        let bits = child_bits(level);
        let Cut { whole, parts } = cut(low, high, bits);
        // What became free last may not be known of here.
        let mut others = whole & !inner.fits(bits);
        while let Some(index) = highest(others) {
            others &= !(1 << index);
            let child = inner.child(index);
            if child == NONE || !self.is_free_below(child, level - 1, 0, (1 << bits) - 1) {
                return false;
            }
        }
        parts
            .into_iter()
            .flatten()
            .all(|(index, from, to)| match inner.child(index) {
                NONE => inner.fits(bits) >> (index & 63) & 1 == 1,
                child => self.is_free_below(child, level - 1, from, to),
            })
    }

    /// Whether a range may start right behind `unit`: it is free, or the end of another.
    pub(super) fn may_start_behind(&self, unit: u64) -> bool {
        let (mut node, mut level, mut unit) = (Self::ROOT, self.height, unit);
        while level > 0 {
            let Some(inner) = self.inner(node) else {
                return false;
            };
            let bits = child_bits(level);
            let index = (unit >> bits) as u32 & 63;
            let inside = (1u64 << bits) - 1;
            if inner.child(index) == NONE {
                let free = inner.fits(bits) >> index & 1 == 1;
                let end = inner.ends >> index & 1 == 1 && unit & inside == inside;
                return free || end;
            }
            (node, level, unit) = (inner.child(index), level - 1, unit & inside);
        }
        // CAST: units of a leaf have twelve bits.
        self.leaves
            .get(node as usize)
            .is_some_and(|leaf| leaf.may_start_behind(unit as u32))
    }

    /// The highest aligned free block of `2^order` units that ends at or below `limit`.
    pub(super) fn highest_block(&self, order: u32, limit: u64) -> Option<u64> {
        if order > Self::MAX_BITS {
            return None;
        }
        self.block_below(Self::ROOT, self.height, order, limit)
    }

    /// As [`highest_block`](Self::highest_block), below one node; `limit` is one of its units.
    fn block_below(&self, node: u32, level: u32, order: u32, limit: u64) -> Option<u64> {
        if level == 0 {
            // CAST: units of a leaf have twelve bits.
            let leaf = self.leaves.get(node as usize)?;
            return leaf.highest_block(order, limit as u32).map(u64::from);
        }
        let inner = self.inner(node)?;
        let bits = child_bits(level);
        let inside = (1u64 << bits) - 1;
        let top = (limit >> bits) as u32;
        let cut_short = limit & inside != inside;
        let mut mask = span(0, top);
        if cut_short {
            mask &= !(1 << (top & 63));
        }
        if order > bits {
            let start = inner.highest_group(order.min(bits + FAN_BITS + 1), bits, mask)?;
            return Some(u64::from(start) << bits);
        }
        let fits = inner.fits(order);
        if cut_short && fits >> (top & 63) & 1 == 1 {
            let start = self.block_in(inner, top, level, order, limit & inside);
            if start.is_some() {
                return start;
            }
        }
        let index = highest(fits & mask)?;
        self.block_in(inner, index, level, order, inside)
    }

    /// The highest block below one child.
    fn block_in(
        &self,
        inner: &Inner,
        index: u32,
        level: u32,
        order: u32,
        limit: u64,
    ) -> Option<u64> {
        let bits = child_bits(level);
        let start = match inner.child(index) {
            // Wholly free: the last whole block at or below the limit.
            NONE => ((limit + 1) >> order).checked_sub(1)? << order,
            child => self.block_below(child, level - 1, order, limit)?,
        };
        Some((u64::from(index) << bits) | start)
    }
}
