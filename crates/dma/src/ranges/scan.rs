//! The second search: runs of free units that no aligned block shows.

use super::RangeAllocator;
use super::bits::{FAN, Runs, highest, span};
use super::inner::{NONE, child_bits};

/// A search from the top down for `units` free units in a row.
#[derive(Debug)]
struct Search {
    units: u64,
    align: u64,
    /// Free units right above the place reached.
    open: u64,
}

impl Search {
    /// Goes down over `len` free units that start at `bottom`.
    fn free(&mut self, bottom: u64, len: u64) -> Option<u64> {
        self.open = self.open.saturating_add(len);
        let slack = self.open.checked_sub(self.units)?;
        let start = bottom.saturating_add(slack) & !(self.align - 1);
        (start >= bottom).then_some(start)
    }

    /// Goes down over the bits of a word whose first unit is `base`.
    fn word(&mut self, base: u64, free: u64, units: u32) -> Option<u64> {
        let (mut rest, mut top) = (free, units);
        while top > 0 {
            match highest(rest) {
                Some(bit) if bit + 1 == top => {
                    let ones = (rest << (64 - top)).leading_ones().min(top);
                    top -= ones;
                    let found = self.free(base + u64::from(top), u64::from(ones));
                    if found.is_some() {
                        return found;
                    }
                }
                Some(bit) => {
                    self.open = 0;
                    top = bit + 1;
                }
                None => {
                    self.open = 0;
                    break;
                }
            }
            rest = if top == 0 { 0 } else { rest & span(0, top - 1) };
        }
        None
    }
}

impl RangeAllocator {
    /// The free runs of a node, brought up to date.
    fn runs_of(&mut self, node: u32, level: u32) -> Runs {
        if level == 0 {
            return self
                .leaves
                .get_mut(node as usize)
                .map_or_else(Runs::default, |leaf| leaf.runs());
        }
        match self.inner(node) {
            Some(inner) if inner.stale => {}
            Some(inner) => return inner.runs,
            None => return Runs::default(),
        }
        let runs = self.join_children(node, level, FAN as u32);
        if let Some(inner) = self.inners.get_mut(node as usize) {
            inner.runs = runs;
            inner.stale = false;
        }
        runs
    }

    /// The free runs of the first `count` children.
    fn join_children(&mut self, node: u32, level: u32, count: u32) -> Runs {
        let size = 1u64 << child_bits(level);
        let mut runs = Runs::default();
        for index in 0..count {
            let below = self.runs_of_child(node, level, index);
            runs = runs.join(u64::from(index) * size, below, size);
        }
        runs
    }

    fn runs_of_child(&mut self, node: u32, level: u32, index: u32) -> Runs {
        let bits = child_bits(level);
        let Some(inner) = self.inner(node) else {
            return Runs::default();
        };
        match inner.child(index) {
            NONE => Runs::whole(1 << bits, inner.fits(bits) >> (index & 63) & 1 == 1),
            child => self.runs_of(child, level - 1),
        }
    }

    /// The free runs at or below `limit`.
    pub(super) fn runs_below(&mut self, limit: u64) -> Runs {
        self.runs_up_to(Self::ROOT, self.height, limit)
    }

    fn runs_up_to(&mut self, node: u32, level: u32, limit: u64) -> Runs {
        if level == 0 {
            let mut runs = Runs::default();
            let Some(leaf) = self.leaves.get(node as usize) else {
                return runs;
            };
            // CAST: units of a leaf have twelve bits.
            let mut above = 0;
            for (first, word) in leaf.words_down(limit as u32) {
                let units = if above == 0 {
                    limit - u64::from(first) + 1
                } else {
                    64
                };
                // Bits above the limit are clear; they only shorten the upper end.
                let mut below = Runs::of_word(word);
                // CAST: at most 64.
                below.high = u64::from((word << (64 - units as u32)).leading_ones());
                runs = below.join(units, runs, above);
                above += units;
            }
            return runs;
        }
        let bits = child_bits(level);
        let inside = (1u64 << bits) - 1;
        let top = (limit >> bits) as u32;
        let runs = self.join_children(node, level, top);
        let size = (limit & inside) + 1;
        let child = self.inner(node).map_or(NONE, |inner| inner.child(top));
        let last = if child == NONE {
            let whole = self.runs_of_child(node, level, top);
            Runs::whole(size, whole.low != 0)
        } else {
            self.runs_up_to(child, level - 1, limit & inside)
        };
        runs.join(u64::from(top) << bits, last, size)
    }

    /// The highest start of `units` free units at or below `limit`, a multiple of `align`.
    pub(super) fn highest_run(&mut self, units: u64, align: u64, limit: u64) -> Option<u64> {
        let mut search = Search {
            units,
            align,
            open: 0,
        };
        self.search(&mut search, Self::ROOT, self.height, 0, limit)
    }

    /// Searches a node whose first unit is `base`; `limit` is one of its units.
    fn search(
        &mut self,
        search: &mut Search,
        node: u32,
        level: u32,
        base: u64,
        limit: u64,
    ) -> Option<u64> {
        if level == 0 {
            let leaf = self.leaves.get(node as usize)?;
            // CAST: units of a leaf have twelve bits.
            let mut top = limit as u32 + 1;
            for (first, word) in leaf.words_down(limit as u32) {
                let found = search.word(base + u64::from(first), word, top - first);
                if found.is_some() {
                    return found;
                }
                top = first;
            }
            return None;
        }
        let bits = child_bits(level);
        let inside = (1u64 << bits) - 1;
        let top = (limit >> bits) as u32;
        for index in (0..=top).rev() {
            let start = base + (u64::from(index) << bits);
            let last = if index == top { limit & inside } else { inside };
            let child = self.inner(node)?.child(index);
            let found = if child == NONE {
                match self.runs_of_child(node, level, index).low {
                    0 => {
                        search.open = 0;
                        None
                    }
                    _ => search.free(start, last + 1),
                }
            } else {
                let runs = self.runs_of(child, level - 1);
                let joined = runs.high.saturating_add(search.open);
                if last == inside && runs.longest < search.units && joined < search.units {
                    // A child with a node is not wholly free, so a run ends in it.
                    search.open = runs.low;
                    None
                } else {
                    self.search(search, child, level - 1, start, last)
                }
            };
            if found.is_some() {
                return found;
            }
        }
        None
    }
}
