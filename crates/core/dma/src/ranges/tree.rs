//! A tree with 64 children a node, down to words of 64 places.
//!
//! A node of level 1 stores its places itself; a node of level 2 has 64 nodes of level 1 as children, and so on.
//! For each child, a node stores the order of the largest aligned free block. The root covers at least the places
//! from 0 to the highest one that was ever used. All places above those of the root are free.

use super::bits::FAN_BITS;
use super::node::{Best, Change, Marks, Node, lowest_group, whole};
use super::nodes::{Nodes, RangeRoom};
use crate::Error;
use core::ops::Range;

/// Stands for "no node" in place of a node's number.
pub(super) const NONE: u32 = u32::MAX;
/// The highest level of a root. It has 16 children, because places have 64 bits.
pub(super) const MAX_HEIGHT: u32 = 10;

/// Returns the base-2 logarithm of the number of places of a child of a node at `level`.
#[inline]
pub(super) const fn child_bits(level: u32) -> u32 {
    FAN_BITS * level
}

/// Returns the last place of a child of a node at `level`, counted from the child's first place.
#[inline]
pub(super) const fn inside(level: u32) -> u64 {
    match 1u64.checked_shl(child_bits(level)) {
        Some(size) => size - 1,
        None => u64::MAX,
    }
}

/// Returns the index of the child that has a place, in its node at `level`.
#[inline]
pub(super) const fn index_of(place: u64, level: u32) -> u32 {
    // CAST: six bits.
    (place >> child_bits(level)) as u32 & 63
}

/// Places of a child: the child's index, and the first and last of the places, counted from the child's first place.
type Part = (u32, u64, u64);

/// Returns the places of a node from `low` to `high` as a part of a child, if they lie in one child and do not fill it.
#[inline]
const fn one_child(low: u64, high: u64, level: u32) -> Option<Part> {
    let (index, inside) = (index_of(low, level), inside(level));
    let is_one = index == index_of(high, level) && high - low != inside;
    if is_one {
        Some((index, low & inside, high & inside))
    } else {
        None
    }
}

/// Divides the places of a node from `low` to `high` among its children. Returns the parts of children that are
/// covered in part, and the children that are covered as a whole.
#[inline]
fn cut(low: u64, high: u64, level: u32) -> ([Option<Part>; 2], Range<u32>) {
    let inside = inside(level);
    let (first, last) = (index_of(low, level), index_of(high, level));
    let (from, to) = (low & inside, high & inside);
    let is_single = first == last;
    let head_to = if is_single { to } else { inside };
    let has_head = (from, head_to) != (0, inside);
    let has_tail = !is_single && to != inside;
    let head = has_head.then_some((first, from, head_to));
    let whole = first + u32::from(has_head)..last + 1 - u32::from(has_tail);
    ([head, has_tail.then_some((last, 0, to))], whole)
}

/// A tree of places that are free or taken.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) nodes: Nodes,
    pub(super) root: u32,
    /// The root's level.
    pub(super) height: u32,
    /// The root's best block.
    pub(super) best: Best,
    /// The last place.
    pub(super) end: u64,
}

impl Tree {
    /// Makes a tree whose places from `start` to `end` are free.
    pub(super) fn new(start: u64, end: u64) -> Result<Self, Error> {
        let mut tree = Self {
            nodes: Nodes::new()?,
            root: 0,
            height: 1,
            best: whole(2),
            end,
        };
        RangeRoom::retry(|room| tree.nodes.add(room, 1))?;
        tree.root = tree.nodes.acquire(Node::new(1));
        RangeRoom::retry(|room| tree.nodes.add(room, tree.need(start, 1)))?;
        if end < tree.covered() {
            tree.set(end + 1, tree.covered(), Change::TAKE);
        }
        if let Some(last) = start.checked_sub(1) {
            tree.take(0, last);
        }
        Ok(tree)
    }

    /// Returns the last place that the root covers.
    pub(super) const fn covered(&self) -> u64 {
        inside(self.height + 1)
    }

    /// Returns how many new nodes ranges up to `place` need at most. `ends` is the number of first and last places of
    /// these ranges that may be inside nodes below the root.
    #[inline]
    pub(super) fn need(&self, place: u64, ends: usize) -> usize {
        let height = self.height.max((place | 1).ilog2() / FAN_BITS);
        // CAST: at most ten.
        let new = (height - self.height) as usize;
        // Each end needs a path of nodes below the root. So does the end of the space below a new root.
        let paths = ends + usize::from(new > 0);
        paths * (height as usize - 1) + new
    }

    /// Adds roots until they cover a place. The caller must have made [room](Self::need).
    #[inline]
    fn grow(&mut self, place: u64) {
        while place > self.covered() {
            let (below, level) = (self.covered(), self.height + 1);
            let mut root = Node::new(level);
            if self.best == whole(level) {
                self.nodes.release(self.root);
                self.best = whole(level + 1);
            } else {
                root.set_child(0, self.root);
                self.best = root.update(level, whole(level + 1), 0, self.best);
            }
            self.root = self.nodes.acquire(root);
            self.height = level;
            if (below..self.covered()).contains(&self.end) {
                self.set(self.end + 1, self.covered(), Change::TAKE);
            }
        }
    }

    /// Takes free places as one range. The caller must have made [room](Self::need).
    #[inline]
    pub(super) fn take(&mut self, first: u64, last: u64) {
        self.grow(last);
        self.set(first, last, Change::TAKE);
    }

    /// Frees a range. Returns false if the places from `first` to `last` are not exactly one range.
    #[inline]
    pub(super) fn free(&mut self, first: u64, last: u64) -> bool {
        last <= self.covered()
            && (first % 64 != 0 || self.is_border(first))
            && self.set(first, last, Change::FREE)
    }

    #[inline]
    fn set(&mut self, first: u64, last: u64, change: Change) -> bool {
        let best = self.change(self.root, self.height, self.best, (first, last), change);
        self.best = best.unwrap_or(self.best);
        best.is_some()
    }

    /// Makes a part of a node free or taken. Returns the node's best block after the change; `before` is the one before
    /// it. Returns `None` and changes nothing if the part should be freed, but is not a part of one range.
    fn change(
        &mut self,
        node: u32,
        level: u32,
        before: Best,
        (low, high): (u64, u64),
        change: Change,
    ) -> Option<Best> {
        if level == 1 {
            return self
                .nodes
                .get_mut(node)?
                .change_words(before, low, high, change);
        }
        if let Some(part) = one_child(low, high, level) {
            return self.change_child((node, level), before, part, change);
        }
        if change.free && !self.is_part(node, level, (low, high), change.ends) {
            return None;
        }
        let (last, (parts, covered)) = (index_of(high, level), cut(low, high, level));
        let mut best = before;
        for part in parts.into_iter().flatten() {
            let change = change.part(part.0 == last);
            best = self.change_child((node, level), best, part, change)?;
        }
        if covered.is_empty() {
            return Some(best);
        }
        let change = change.part(covered.end > last);
        Some(self.nodes.get_mut(node)?.cover(level, covered, change))
    }

    /// Makes a part of a child free or taken, as [`change`](Self::change) does. The part is not the whole child.
    #[inline]
    fn change_child(
        &mut self,
        (node, level): (u32, u32),
        before: Best,
        (index, low, high): Part,
        change: Change,
    ) -> Option<Best> {
        let inner = self.nodes.get(node)?;
        let (old_child, old) = (inner.child(index), inner.best_of(index));
        let mut child = old_child;
        if child == NONE {
            if change.free {
                return None;
            }
            child = self.nodes.acquire(Node::new(level - 1));
        }
        let best = self.change(child, level - 1, old, (low, high), change)?;
        if best == whole(level) {
            self.nodes.release(child);
            child = NONE;
        }
        let inner = self.nodes.get_mut(node)?;
        if child != old_child {
            inner.set_child(index, child);
        }
        Some(inner.update(level, before, index, best))
    }

    /// Returns whether a part of a node is taken, and a range ends only at its last place, or at none if `ends` is
    /// false. Also, the place below must be free or the end of a range, unless it is in another word.
    fn is_part(&self, node: u32, level: u32, (low, high): (u64, u64), ends: bool) -> bool {
        let Some(inner) = self.nodes.get(node) else {
            return false;
        };
        if level == 1 {
            return inner.is_part_of_words(low, high, ends);
        }
        let (last, (parts, covered)) = (index_of(high, level), cut(low, high, level));
        let ends_at = |index: u32| ends && index == last;
        parts.into_iter().flatten().all(|(index, from, to)| {
            self.is_part(inner.child(index), level - 1, (from, to), ends_at(index))
        }) && (covered.is_empty() || inner.is_part(covered.clone(), ends_at(covered.end - 1)))
    }

    /// Returns whether a range can begin at `place`: the one below is free, or the end of another range.
    fn is_border(&self, place: u64) -> bool {
        let Some(below) = place.checked_sub(1) else {
            return true;
        };
        let (mut node, mut level) = (self.root, self.height);
        while let Some(inner) = self.nodes.get(node) {
            let index = index_of(below, level);
            let (child, is_last) = (inner.child(index), below & inside(level) == inside(level));
            let (Marks { free, ends }, bit) = match level {
                1 => (inner.word(index), below & 63),
                _ => (inner.marks, u64::from(index)),
            };
            if child == NONE {
                return (free | if is_last || level == 1 { ends } else { 0 }) >> bit & 1 == 1;
            }
            (node, level) = (child, level - 1);
        }
        false
    }

    /// Takes the last `places` places of the lowest aligned free block of `2^order` places at or above `low`, if
    /// the root covers one. Returns the last place. The caller must have made [room](Self::need).
    #[inline]
    pub(super) fn take_block(&mut self, order: u32, places: u64, low: u64) -> Option<u64> {
        if low > self.covered() || u32::from(self.best) <= order {
            return None;
        }
        let wanted = (order, places);
        let (last, best) = self.take_in(self.root, self.height, self.best, wanted, low)?;
        self.best = best;
        Some(last)
    }

    /// Takes places as [`take_block`](Self::take_block) does, in a node. `low` and the result count from the node's
    /// first place. Also returns the node's best block after the change; `before` is the one before it.
    fn take_in(
        &mut self,
        node: u32,
        level: u32,
        before: Best,
        (order, places): (u32, u64),
        low: u64,
    ) -> Option<(u64, Best)> {
        // The range, if the block begins here.
        let range = |at: u64| {
            let last = at + ((1 << order) - 1);
            (last - (places - 1), last)
        };
        if level == 1 {
            let words = self.nodes.get_mut(node)?;
            let (first, last) = range(words.block_of_words(order, low)?);
            return Some((last, words.change_words(before, first, last, Change::TAKE)?));
        }
        let (bits, inside) = (child_bits(level), inside(level));
        let first = index_of(low, level);
        if order >= bits {
            // A block of whole children cannot begin inside the first child.
            let from = first + u32::from(low & inside != 0);
            let free = self.nodes.get(node)?.marks.free;
            let range = range(u64::from(lowest_group(free, order - bits, from)?) << bits);
            return Some((
                range.1,
                self.change(node, level, before, range, Change::TAKE)?,
            ));
        }
        let mut from = first;
        loop {
            let inner = self.nodes.get(node)?;
            // CAST: at most 61.
            let index = inner.lowest(from, order as u8 + 1)?;
            let (child, old) = (inner.child(index), inner.best_of(index));
            let low = if index == first { low & inside } else { 0 };
            let base = u64::from(index) << bits;
            if child == NONE {
                let at = low.next_multiple_of(1 << order);
                if at <= inside {
                    let range = range(base | at);
                    return Some((
                        range.1,
                        self.change(node, level, before, range, Change::TAKE)?,
                    ));
                }
            } else if let Some((last, best)) =
                self.take_in(child, level - 1, old, (order, places), low)
            {
                let inner = self.nodes.get_mut(node)?;
                return Some((base | last, inner.update(level, before, index, best)));
            }
            // The search can fail only in the first child, where the block may lie below `low`.
            from = index + 1;
        }
    }

    /// Returns the last place of the lowest aligned free block of `2^order` places at or above `low` that is not
    /// inside the root.
    pub(super) fn open_block(&self, order: u32, low: u64) -> Option<u64> {
        let first = match self.best {
            // The block contains the root's places.
            best if best == whole(self.height + 1) => low,
            _ => low.max(self.covered().checked_add(1)?),
        };
        let size = 1u64.checked_shl(order)?;
        let first = first.checked_next_multiple_of(size)?;
        let last = first.checked_add(size - 1)?;
        (last <= self.end).then_some(last)
    }
}
