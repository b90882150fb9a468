//! Nodes of the tree: what is free among the 64 children of a node. A *place* is the number of a granule, counted
//! from the top of the space (see the parent module).

use super::bits::{FAN, groups, largest_group, span};
use super::tree::{MAX_HEIGHT, NONE, child_bits};
use core::ops::Range;

/// The best block of a part of the space: 1 + the order of the largest aligned free block, or 0 if nothing is free.
pub(super) type Best = u8;

/// Returns the [`Best`] of a wholly free child of a node at `level`.
#[inline]
pub(super) const fn whole(level: u32) -> Best {
    // CAST: at most 61.
    (child_bits(level) + 1) as u8
}

/// A range, or a part of one, that becomes free or taken.
#[derive(Clone, Copy)]
pub(super) struct Change {
    pub(super) free: bool,
    /// Whether the range ends where this part ends: the last place of both is the same.
    pub(super) ends: bool,
}

impl Change {
    pub(super) const TAKE: Self = Self {
        free: false,
        ends: true,
    };
    pub(super) const FREE: Self = Self {
        free: true,
        ends: true,
    };

    /// Returns the change for a piece of this part. `is_last` says whether the piece ends where this part ends.
    pub(super) const fn part(self, is_last: bool) -> Self {
        Self {
            ends: self.ends && is_last,
            ..self
        }
    }
}

/// Marks of 64 neighbours: places, or children without a node.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Marks {
    /// Neighbours that are wholly free.
    pub(super) free: u64,
    /// Neighbours whose last place is the last one of a range.
    pub(super) ends: u64,
}

impl Marks {
    /// Makes the neighbours from `low` to `high` free or taken.
    #[inline]
    fn set(&mut self, low: u32, high: u32, change: Change) {
        let mask = span(low, high);
        let taken = if change.free { 0 } else { mask };
        self.free = (self.free | mask) & !taken;
        self.ends = (self.ends & !mask) | ((u64::from(change.ends) << high) & taken);
    }

    /// Returns whether the neighbours from `low` to `high` are taken, and a range ends only at the last one, or at none
    /// if `ends` is false.
    #[inline]
    const fn are_one(self, low: u32, high: u32, ends: bool) -> bool {
        let mask = span(low, high);
        self.free & mask == 0 && self.ends & mask == (ends as u64) << high
    }

    /// Returns whether [`are_one`](Self::are_one) holds, and the neighbour below, if any, is free or ends a range.
    #[inline]
    const fn is_part(self, low: u32, high: u32, ends: bool) -> bool {
        let is_border = low == 0 || (self.free | self.ends) >> (low - 1) & 1 == 1;
        is_border && self.are_one(low, high, ends)
    }
}

/// The children of a node.
#[derive(Clone, Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "few nodes are above level 1, and a box would be allocated under a lock"
)]
enum Children {
    /// At level 1: words of places.
    Words([Marks; FAN]),
    /// Above: the nodes' numbers. A child that is wholly free, or that lies inside one range, has no node.
    Nodes([u32; FAN]),
}

/// A node. The fields that each change visits are next to each other.
#[derive(Clone, Debug)]
#[repr(C)]
pub(super) struct Node {
    /// Children that are wholly free, and children without a node where a range ends.
    pub(super) marks: Marks,
    best: [[Best; 8]; 8],
    children: Children,
}

/// Returns the lowest aligned group of `2^order` set bits at or above `from`.
#[inline]
pub(super) fn lowest_group(mask: u64, order: u32, from: u32) -> Option<u32> {
    let found = groups(mask & u64::MAX.checked_shl(from)?, order);
    (found != 0).then(|| found.trailing_zeros())
}

/// Divides the places of a node at level 1 from `low` to `high` among its words: gives a word's index and its
/// first and last place.
#[inline]
fn words(low: u64, high: u64) -> impl Iterator<Item = (u32, u32, u32)> {
    // CAST: twelve bits.
    let (low, high) = (low as u32, high as u32);
    (low >> 6..(high >> 6) + 1).map(move |index| {
        let from = if index == low >> 6 { low & 63 } else { 0 };
        let to = if index == high >> 6 { high & 63 } else { 63 };
        (index, from, to)
    })
}

impl Node {
    /// Makes a node that is wholly free.
    pub(super) fn new(level: u32) -> Self {
        let free = Marks {
            free: u64::MAX,
            ends: 0,
        };
        let mut node = Self {
            marks: free,
            best: [[whole(level); 8]; 8],
            children: match level {
                1 => Children::Words([free; FAN]),
                _ => Children::Nodes([NONE; FAN]),
            },
        };
        if level == MAX_HEIGHT {
            // The numbers of the other children's places would not fit in 64 bits.
            node.cover(level, 16..64, Change::TAKE);
        }
        node
    }

    /// Returns the number of the next unused node, if this one is unused.
    pub(super) const fn next_unused(&self) -> u32 {
        // CAST: `set_next_unused` stored 32 bits.
        self.marks.free as u32
    }

    pub(super) fn set_next_unused(&mut self, next: u32) {
        self.marks.free = next.into();
    }

    #[inline]
    pub(super) const fn child(&self, index: u32) -> u32 {
        match &self.children {
            Children::Nodes(nodes) => nodes[(index & 63) as usize],
            Children::Words(_) => NONE,
        }
    }

    #[inline]
    pub(super) const fn word(&self, index: u32) -> Marks {
        match &self.children {
            Children::Words(words) => words[(index & 63) as usize],
            Children::Nodes(_) => Marks { free: 0, ends: 0 },
        }
    }

    #[inline]
    pub(super) const fn best_of(&self, index: u32) -> Best {
        self.best[(index >> 3 & 7) as usize][(index & 7) as usize]
    }

    #[inline]
    const fn set_best(&mut self, index: u32, best: Best) {
        self.best[(index >> 3 & 7) as usize][(index & 7) as usize] = best;
    }

    /// Returns the best block of all children.
    #[inline]
    fn best(&self, level: u32) -> Best {
        if self.marks.free != 0 {
            // CAST: at most six.
            return whole(level) + largest_group(self.marks.free) as u8;
        }
        let all = self.best.as_flattened().iter();
        all.fold(0, |best, &child| best.max(child))
    }

    /// Returns the lowest child at or above `from` whose best block is `wanted` or better.
    #[inline]
    pub(super) fn lowest(&self, from: u32, wanted: Best) -> Option<u32> {
        const LOW: u64 = u64::MAX / 255;
        const HIGH: u64 = LOW << 7;
        let mut counts = u64::MAX << (8 * (from & 7));
        for group in (from >> 3)..8 {
            // No byte borrows from the next one: each value is below 128.
            let best = u64::from_le_bytes(self.best[(group & 7) as usize]) | HIGH;
            let fits = (best - LOW * u64::from(wanted & 127)) & HIGH & counts;
            if fits != 0 {
                return Some(8 * group + fits.trailing_zeros() / 8);
            }
            counts = u64::MAX;
        }
        None
    }

    /// Makes places of words free or taken. Returns the node's best block after the change; `before` is the one before
    /// it. Returns `None` and changes nothing if the places should be freed, but are not a part of one range.
    #[inline]
    pub(super) fn change_words(
        &mut self,
        before: Best,
        low: u64,
        high: u64,
        change: Change,
    ) -> Option<Best> {
        // CAST: six bits.
        let last = (high >> 6) as u32;
        if low >> 6 == high >> 6 {
            // CAST: six bits.
            let (from, to) = ((low & 63) as u32, (high & 63) as u32);
            if change.free && !self.word(last).is_part(from, to, change.ends) {
                return None;
            }
            let best = self.change_word(last, from, to, change)?;
            return Some(self.update(1, before, last, best));
        }
        if change.free && !self.is_part_of_words(low, high, change.ends) {
            return None;
        }
        for (index, from, to) in words(low, high) {
            let best = self.change_word(index, from, to, change.part(index == last))?;
            self.store(1, index, best);
        }
        Some(self.best(1))
    }

    /// Makes the places of a word from `low` to `high` free or taken. Returns the word's best block.
    #[inline]
    fn change_word(&mut self, index: u32, low: u32, high: u32, change: Change) -> Option<Best> {
        let Children::Words(words) = &mut self.children else {
            return None;
        };
        let word = &mut words[(index & 63) as usize];
        word.set(low, high, change);
        // CAST: at most six.
        Some(match word.free {
            0 => 0,
            free => largest_group(free) as u8 + 1,
        })
    }

    /// Returns whether places of words are taken, and a range ends only at the last one, or at none if `ends` is
    /// false. Also, the place below must be free or the end of a range, unless it is in another word.
    #[inline]
    pub(super) fn is_part_of_words(&self, low: u64, high: u64, ends: bool) -> bool {
        words(low, high).all(|(index, from, to)| {
            let ends = ends && u64::from(index) == high >> 6;
            self.word(index).is_part(from, to, ends)
        })
    }

    /// Returns the first place of the lowest aligned free block of `2^order` places of the words, at or above `low`.
    #[inline]
    pub(super) fn block_of_words(&self, order: u32, low: u64) -> Option<u64> {
        // CAST: twelve bits.
        let low = low as u32;
        let (first, rest) = (low >> 6, low & 63);
        if order >= 6 {
            // A block of whole words cannot begin inside the first word.
            let from = first + u32::from(rest != 0);
            return Some(u64::from(lowest_group(self.marks.free, order - 6, from)?) << 6);
        }
        let mut from = first;
        loop {
            // CAST: at most six.
            let index = self.lowest(from, order as u8 + 1)?;
            let rest = if index == first { rest } else { 0 };
            if let Some(bit) = lowest_group(self.word(index).free, order, rest) {
                return Some(u64::from(index << 6 | bit));
            }
            // The search can fail only in the first word, where the block may lie below `low`.
            from = index + 1;
        }
    }

    /// Makes one or more children free or taken. These children must have no nodes. Returns the node's best block.
    pub(super) fn cover(&mut self, level: u32, children: Range<u32>, change: Change) -> Best {
        self.marks.set(children.start, children.end - 1, change);
        let best = if change.free { whole(level) } else { 0 };
        children.for_each(|index| self.set_best(index, best));
        self.best(level)
    }

    /// Returns whether one or more children are taken and have no nodes, and a range ends only at the last one, or at
    /// none if `ends` is false.
    pub(super) fn is_part(&self, mut children: Range<u32>, ends: bool) -> bool {
        let marks = self.marks.are_one(children.start, children.end - 1, ends);
        marks && children.all(|index| self.child(index) == NONE)
    }

    /// Stores a child's node; `NONE` if it has none.
    pub(super) const fn set_child(&mut self, index: u32, child: u32) {
        if let Children::Nodes(nodes) = &mut self.children {
            nodes[(index & 63) as usize] = child;
        }
    }

    /// Stores a child's best block. Returns whether the child is or was wholly free.
    #[inline]
    fn store(&mut self, level: u32, index: u32, best: Best) -> bool {
        let (was_free, bit) = (self.marks.free, 1 << (index & 63));
        let is_free = best == whole(level);
        self.set_best(index, best);
        self.marks.free = if is_free {
            was_free | bit
        } else {
            was_free & !bit
        };
        is_free || self.marks.free != was_free
    }

    /// Stores a child's best block. Returns the node's best block after that; `before` is the one before.
    #[inline]
    pub(super) fn update(&mut self, level: u32, before: Best, index: u32, best: Best) -> Best {
        let old = self.best_of(index);
        // Wholly free children are better than all others.
        if self.store(level, index, best) || (self.marks.free == 0 && old == before && best < old) {
            return self.best(level);
        }
        before.max(best)
    }
}
