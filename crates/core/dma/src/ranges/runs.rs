//! Searches for free runs that are long enough, but contain no aligned block of the wanted size.

use super::tree::{MAX_HEIGHT, NONE, Tree, child_bits, index_of, inside};

/// A search for the lowest run of `places` free places. `flip` minus its last place must be a multiple of `align`.
#[derive(Default)]
pub(super) struct Search {
    pub(super) places: u64,
    pub(super) align: u64,
    pub(super) flip: u64,
    /// The run that was visited last: its first and its last place.
    pub(super) run: Option<(u64, u64)>,
    /// The longest run so far.
    pub(super) longest: u64,
}

impl Search {
    /// Adds the free places from `first` to `end` to the search. Returns the last place of a suitable run, if they
    /// complete one.
    fn pass(&mut self, first: u64, end: u64) -> Option<u64> {
        let start = match self.run {
            Some((start, last)) if last.checked_add(1) == Some(first) => start,
            _ => first,
        };
        self.run = Some((start, end));
        self.longest = self.longest.max((end - start).saturating_add(1));
        let lowest = start.checked_add(self.places - 1)?;
        let last = self.flip - (self.flip.checked_sub(lowest)? & !(self.align - 1));
        (last <= end).then_some(last)
    }
}

impl Tree {
    /// Returns the last place of the lowest run that suits, at or above `low`.
    pub(super) fn lowest_run(&self, search: &mut Search, low: u64) -> Option<u64> {
        let covered = self.covered();
        let found = (low <= covered).then(|| self.search(search, self.root, self.height, 0, low));
        found.flatten().or_else(|| {
            let first = low.max(covered.checked_add(1)?);
            (first <= self.end)
                .then(|| search.pass(first, self.end))
                .flatten()
        })
    }

    /// Continues a search upwards in a node whose first place is `base`, from its place `low` on.
    fn search(
        &self,
        search: &mut Search,
        node: u32,
        level: u32,
        base: u64,
        low: u64,
    ) -> Option<u64> {
        let (node, first, inside) = (self.nodes.get(node)?, index_of(low, level), inside(level));
        let end = if level == MAX_HEIGHT { 16 } else { 64 };
        (first..end).find_map(|index| {
            let low = if index == first { low & inside } else { 0 };
            let base = base + (u64::from(index) << child_bits(level));
            if node.child(index) != NONE {
                return self.search(search, node.child(index), level - 1, base, low);
            }
            if node.marks.free >> index & 1 == 1 {
                return search.pass(base + low, base + inside);
            }
            let mut free = node.word(index).free & u64::MAX.checked_shl(low as u32)?;
            core::iter::from_fn(|| {
                // The lowest run of the word.
                let first = free.checked_ilog2().map(|_| free.trailing_zeros())?;
                let len = (free >> first).trailing_ones();
                free &= free.wrapping_add(1 << first);
                Some((first, len))
            })
            .find_map(|(first, len)| {
                search.pass(base + u64::from(first), base + u64::from(first + len - 1))
            })
        })
    }
}
