//! A balanced tree (AVL) of the ranges that are not free, by address. Each node stores the number of free
//! units right below its range (the gap). It also stores its subtree's longest gap, and the largest aligned
//! block in any of these gaps.

use super::RangeError;
use super::nodes::{Nodes, RangeRoom};

/// Stands for "no node" in place of a node's number.
const NONE: u32 = u32::MAX;
/// Number of a node that is always there: a range after the end of the space. So each gap has a range above.
const END: u32 = 0;

/// A range, and a summary of the subtree of which it is the root.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node {
    pub(super) first: u64,
    pub(super) last: u64,
    /// Free units right below `first`.
    gap: u64,
    /// The longest gap in the subtree.
    pub(super) longest: u64,
    /// Roots of the subtrees below and above the range. In an unused node, the first is the next unused node.
    children: [u32; 2],
    height: u8,
    /// The largest `k` for which the subtree has an aligned free block of `2^k` units; -1 if none.
    pub(super) order: i8,
    pub(super) is_reserved: bool,
}

/// What a parent's summary depends on: the longest gap, the order and the height.
type Summary = (u64, i8, u8);

impl Node {
    const fn summary(&self) -> Summary {
        (self.longest, self.order, self.height)
    }

    const fn set_summary(&mut self, summary: Summary) {
        (self.longest, self.order, self.height) = summary;
    }
}

/// The node of an empty subtree.
const VACANT: Node = Node {
    first: 0,
    last: 0,
    gap: 0,
    longest: 0,
    children: [NONE; 2],
    height: 0,
    order: -1,
    is_reserved: false,
};

/// Returns the order of the largest aligned block in the `len` units below `end`; -1 if `len` is zero.
const fn order_below(end: u64, len: u64) -> i8 {
    let Some(order) = len.checked_ilog2() else {
        return -1;
    };
    // Start of the highest block of this order below `end`. If that block begins too low, one of half its
    // size fits.
    let start = ((end >> order) << order).checked_sub(1 << order);
    match start {
        // CAST: below 64.
        Some(start) if start >= end - len => order as i8,
        _ => order as i8 - 1,
    }
}

/// Indices of a node's children.
const BELOW: usize = 0;
const ABOVE: usize = 1;
/// No tree is higher: it would have more nodes than 32 bits can number.
const MAX_HEIGHT: usize = 48;

/// Nodes from the root downwards, each with the side to which the path continues.
struct Path {
    nodes: [u32; MAX_HEIGHT],
    /// Bit `n` is the side of node `n`.
    sides: u64,
    len: usize,
}

impl Path {
    const fn new() -> Self {
        Self {
            nodes: [NONE; MAX_HEIGHT],
            sides: 0,
            len: 0,
        }
    }

    fn push(&mut self, at: u32, side: usize) {
        if let Some(node) = self.nodes.get_mut(self.len) {
            *node = at;
            self.sides |= (side as u64) << self.len;
            self.len += 1;
        }
    }

    fn replace(&mut self, place: usize, at: u32) {
        if let Some(node) = self.nodes.get_mut(place) {
            *node = at;
        }
    }

    /// Returns the nodes and their sides, from the last to the root.
    fn upward(&self) -> impl Iterator<Item = (u32, usize)> {
        let nodes = self.nodes.iter().enumerate().take(self.len).rev();
        // CAST: a single bit.
        nodes.map(|(place, &at)| (at, (self.sides >> place & 1) as usize))
    }
}

/// A tree of ranges that do not overlap.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) nodes: Nodes,
    pub(super) root: u32,
    /// Number of the first unused node.
    spare: u32,
}

impl Tree {
    /// Makes a tree of the units from `first` to `last`, all free. `last` must be less than `u64::MAX`.
    pub(super) fn new(first: u64, last: u64) -> Result<Self, RangeError> {
        let mut tree = Self {
            nodes: Nodes::new()?,
            root: END,
            spare: NONE,
        };
        RangeRoom::retry(|room| tree.nodes.add(room))?;
        tree.nodes.push(Node {
            first: last.saturating_add(1),
            last: last.saturating_add(1),
            gap: last.saturating_sub(first).saturating_add(1),
            is_reserved: true,
            ..VACANT
        });
        tree.update(END);
        Ok(tree)
    }

    #[inline]
    fn get(&self, at: u32) -> &Node {
        self.nodes.get(at).unwrap_or(&VACANT)
    }

    #[inline]
    fn change(&mut self, at: u32, act: impl FnOnce(&mut Node)) {
        if let Some(node) = self.nodes.get_mut(at) {
            act(node);
        }
    }

    /// Returns the lowest range that ends at or above `unit`; if none does, the end of the space.
    pub(super) fn range_from(&self, unit: u64) -> &Node {
        let (mut at, mut found) = (self.root, END);
        while at != NONE {
            let Node { last, children, .. } = *self.get(at);
            if last >= unit {
                found = at;
            }
            at = children[usize::from(last < unit)];
        }
        self.get(found)
    }

    /// Returns the path to the range that begins at `first`, its node, and the next range above on the path. The
    /// node is `NONE` if there is no such range; the path then ends where it belongs.
    fn find(&self, first: u64) -> (Path, u32, u32) {
        let mut path = Path::new();
        let (mut at, mut next) = (self.root, END);
        loop {
            let node = self.get(at);
            if at == NONE || node.first == first {
                return (path, at, next);
            }
            let side = usize::from(first > node.first);
            if side == BELOW {
                next = at;
            }
            path.push(at, side);
            at = node.children[side];
        }
    }

    /// Returns the length of the longest free run at or below `limit`.
    pub(super) fn longest_below(&self, limit: u64) -> u64 {
        let (mut at, mut longest) = (self.root, 0u64);
        while at != NONE {
            let node = self.get(at);
            let [below, above] = node.children;
            if node.first > limit {
                let start = node.first - node.gap;
                longest = longest.max((limit + 1).saturating_sub(start));
                at = below;
            } else {
                longest = longest.max(node.gap).max(self.get(below).longest);
                at = above;
            }
        }
        longest
    }

    /// Returns the highest unit that `place` finds in a free run of the subtree `at`. `place` gets the run's first
    /// unit, and its last unit at or below `limit`. Visits only subtrees for which `may` returns true.
    pub(super) fn highest(
        &self,
        at: u32,
        limit: u64,
        may: &impl Fn(&Node) -> bool,
        place: &impl Fn(u64, u64) -> Option<u64>,
    ) -> Option<u64> {
        let node = self.get(at);
        if at == NONE || !may(node) {
            return None;
        }
        let [below, above] = node.children;
        if node.last < limit {
            let found = self.highest(above, limit, may, place);
            if found.is_some() {
                return found;
            }
        }
        let start = node.first - node.gap;
        if node.gap > 0 && start <= limit {
            let found = place(start, limit.min(node.first - 1));
            if found.is_some() {
                return found;
            }
        }
        self.highest(below, limit, may, place)
    }

    /// Makes sure that one more range fits, as [`Nodes::add`] does.
    pub(super) fn add_room(&mut self, room: &mut RangeRoom) -> Result<(), RangeError> {
        if self.spare == NONE {
            self.nodes.add(room)?;
        }
        Ok(())
    }

    /// Adds a range. The caller guarantees that its units are free, and that `add_room` has succeeded.
    pub(super) fn insert(&mut self, first: u64, last: u64, is_reserved: bool) {
        let (path, _, next) = self.find(first);
        let mut gap = 0;
        self.change(next, |next| {
            let start = next.first - next.gap;
            (gap, next.gap) = (first - start, next.first - last - 1);
        });
        let node = Node {
            first,
            last,
            gap,
            is_reserved,
            ..VACANT
        };
        let new = if self.spare == NONE {
            self.nodes.push(node)
        } else {
            let [next, _] = self.get(self.spare).children;
            let new = core::mem::replace(&mut self.spare, next);
            self.change(new, |vacant| *vacant = node);
            new
        };
        self.update(new);
        self.repair(&path, new, next);
    }

    /// Removes the range from `first` to `last`. Returns false if there is no such range, reserved or allocated as
    /// `is_reserved` says.
    pub(super) fn remove(&mut self, first: u64, last: u64, is_reserved: bool) -> bool {
        let (mut path, old, mut next) = self.find(first);
        let node = *self.get(old);
        let is_wanted = (node.last, node.is_reserved) == (last, is_reserved);
        if !is_wanted || old == NONE || old == END {
            return false;
        }
        let [below, above] = node.children;
        let mut rest = below;
        if above != NONE {
            // The lowest range above takes the removed one's place.
            let place = path.len;
            path.push(old, ABOVE);
            next = above;
            loop {
                let [lower, higher] = self.get(next).children;
                if lower == NONE {
                    rest = higher;
                    break;
                }
                path.push(next, BELOW);
                next = lower;
            }
            self.change(next, |next| next.children = node.children);
            path.replace(place, next);
        }
        let freed = node.gap.saturating_add(last - first + 1);
        self.change(next, |next| next.gap = next.gap.saturating_add(freed));
        self.repair(&path, rest, next);
        let spare = core::mem::replace(&mut self.spare, old);
        self.change(old, |old| old.children = [spare, NONE]);
        true
    }

    /// Makes `child` the subtree at the end of a path, and updates and balances the nodes of the path from there to
    /// the root. Stops above `changed`, a node of the path with a new gap or place, once nothing changes.
    fn repair(&mut self, path: &Path, mut child: u32, changed: u32) {
        let mut is_passed = false;
        for (at, side) in path.upward() {
            let node = self.get(at);
            let (mut children, before) = (node.children, node.summary());
            let is_same = children[side] == child;
            children[side] = child;
            let (summary, is_balanced) = self.summarise(node, children);
            if is_passed && is_same && is_balanced && summary == before {
                return;
            }
            self.change(at, |node| {
                node.children[side] = child;
                node.set_summary(summary);
            });
            child = if is_balanced {
                at
            } else {
                self.balance(at, children)
            };
            is_passed |= at == changed;
        }
        self.root = child;
    }

    /// Rotates a subtree whose children's heights differ by two. Returns the new root.
    fn balance(&mut self, at: u32, children: [u32; 2]) -> u32 {
        let [below, above] = children.map(|child| self.get(child).height);
        let side = usize::from(above > below);
        let child = children[side];
        let inner = self.get(child).children;
        if self.get(inner[side ^ 1]).height > self.get(inner[side]).height {
            let lifted = self.lift(child, side ^ 1);
            self.change(at, |node| node.children[side] = lifted);
        }
        self.lift(at, side)
    }

    /// Rotates a subtree so that a child replaces its parent. Returns the child.
    fn lift(&mut self, at: u32, side: usize) -> u32 {
        let child = self.get(at).children[side];
        let between = self.get(child).children[side ^ 1];
        self.change(at, |node| node.children[side] = between);
        self.change(child, |node| node.children[side ^ 1] = at);
        self.update(at);
        self.update(child);
        child
    }

    fn update(&mut self, at: u32) {
        let node = self.get(at);
        let (summary, _) = self.summarise(node, node.children);
        self.change(at, |node| node.set_summary(summary));
    }

    /// Returns the summary of a node with these children, and whether the children are balanced.
    #[inline]
    fn summarise(&self, node: &Node, children: [u32; 2]) -> (Summary, bool) {
        let [below, above] = children.map(|child| self.get(child));
        let longest = node.gap.max(below.longest).max(above.longest);
        let order = order_below(node.first, node.gap);
        let order = order.max(below.order).max(above.order);
        let height = below.height.max(above.height) + 1;
        let is_balanced = below.height.abs_diff(above.height) < 2;
        ((longest, order, height), is_balanced)
    }

    /// Panics if a summary, a gap or the balance is wrong.
    #[cfg(test)]
    pub(super) fn check(&self, first: u64) {
        let end = self.check_in(self.root, first);
        assert_eq!(end, self.get(END).last + 1);
    }

    /// Checks a subtree whose free units begin at `start`. Returns the unit after its last range.
    #[cfg(test)]
    fn check_in(&self, at: u32, start: u64) -> u64 {
        if at == NONE {
            return start;
        }
        let node = self.get(at);
        let [below, above] = node.children.map(|child| *self.get(child));
        let free = self.check_in(node.children[0], start);
        assert_eq!(node.first - node.gap, free, "{node:?}");
        assert!(below.height.abs_diff(above.height) < 2, "{node:?}");
        assert_eq!(node.height, below.height.max(above.height) + 1);
        assert_eq!(node.longest, node.gap.max(below.longest).max(above.longest));
        let blocks = (0..63i8).rev().find(|&order| {
            let size = 1 << order;
            free.next_multiple_of(size)
                .checked_add(size)
                .is_some_and(|end| end <= node.first)
        });
        let order = blocks.unwrap_or(-1).max(below.order).max(above.order);
        assert_eq!(node.order, order, "{node:?}");
        self.check_in(node.children[1], node.last + 1)
    }
}
