//! The lowest level: 4096 units, one bit each.

use super::bits::{FAN, FAN_BITS, Runs, blocks, highest, largest_order, span};

/// Bits of a unit's index in a leaf.
pub(super) const LEAF_BITS: u32 = 2 * FAN_BITS;

/// 4096 units.
///
/// # Invariants
/// Bit `w` of `fits[k]` says that word `w` has an aligned free block of `2^k` units. A unit with
/// a bit in `ends` is not free.
#[derive(Clone, Debug)]
pub(super) struct Leaf {
    free: [u64; FAN],
    /// The last unit of each range that was handed out.
    ends: [u64; FAN],
    fits: [u64; 7],
    runs: Runs,
    /// Whether `runs` is out of date.
    stale: bool,
    /// The next leaf that is not in use, where this one is not.
    pub(super) next: u32,
}

/// The word of a unit and its bit there.
const fn place(unit: u32) -> (usize, u32) {
    // CAST: six bits.
    (((unit >> FAN_BITS) & 63) as usize, unit & 63)
}

/// The words that units `low` to `high` touch, with the bits they touch there.
fn pieces(low: u32, high: u32) -> impl Iterator<Item = (usize, u64)> {
    let (first, last) = (low >> FAN_BITS, high >> FAN_BITS);
    (first..=last.min(63)).map(move |word| {
        let from = if word == first { low & 63 } else { 0 };
        let to = if word == last { high & 63 } else { 63 };
        ((word & 63) as usize, span(from, to))
    })
}

impl Leaf {
    /// All free.
    pub(super) const fn new() -> Self {
        Self {
            free: [u64::MAX; FAN],
            ends: [0; FAN],
            fits: [u64::MAX; 7],
            runs: Runs::whole(1 << LEAF_BITS, true),
            stale: false,
            next: u32::MAX,
        }
    }

    /// The order of the largest aligned free block; -1 if nothing is free.
    pub(super) fn order(&self) -> i8 {
        let [.., whole] = self.fits;
        if whole != 0 {
            return largest_order(whole).saturating_add(6);
        }
        let below = self.fits.iter().take_while(|&&mask| mask != 0).count();
        // CAST: at most seven.
        below as i8 - 1
    }

    fn refit(&mut self, word: usize, before: i8) {
        let after = largest_order(self.free[word & 63]);
        if before == after {
            return;
        }
        let bit = 1u64 << (word & 63);
        for (order, mask) in (0i8..).zip(self.fits.iter_mut()) {
            if order <= after {
                *mask |= bit;
            } else {
                *mask &= !bit;
            }
        }
    }

    /// Takes units `low` to `high`, which are free.
    pub(super) fn occupy(&mut self, low: u32, high: u32, ends: bool) {
        for (word, mask) in pieces(low, high) {
            let before = largest_order(self.free[word & 63]);
            self.free[word & 63] &= !mask;
            self.refit(word, before);
        }
        if ends {
            let (word, bit) = place(high);
            self.ends[word & 63] |= 1 << bit;
        }
        self.stale = true;
    }

    /// Frees units `low` to `high`.
    pub(super) fn release(&mut self, low: u32, high: u32) {
        for (word, mask) in pieces(low, high) {
            let before = largest_order(self.free[word & 63]);
            self.free[word & 63] |= mask;
            self.ends[word & 63] &= !mask;
            self.refit(word, before);
        }
        self.stale = true;
    }

    /// Whether units `low` to `high` are taken and, of their bits in `ends`, exactly the last one
    /// is set, or none if `ends` is false.
    pub(super) fn is_one(&self, low: u32, high: u32, ends: bool) -> bool {
        let (last_word, last_bit) = place(high);
        pieces(low, high).all(|(word, mask)| {
            let expected = if ends && word == last_word {
                1 << last_bit
            } else {
                0
            };
            self.free[word & 63] & mask == 0 && self.ends[word & 63] & mask == expected
        })
    }

    /// Whether units `low` to `high` are free.
    pub(super) fn is_free(&self, low: u32, high: u32) -> bool {
        pieces(low, high).all(|(word, mask)| self.free[word & 63] & mask == mask)
    }

    /// Whether a range may start right behind `unit`: it is free, or the end of another.
    pub(super) fn may_start_behind(&self, unit: u32) -> bool {
        let (word, bit) = place(unit);
        (self.free[word & 63] | self.ends[word & 63]) >> bit & 1 == 1
    }

    /// The highest aligned free block of `2^order` units that ends at or below `limit`.
    pub(super) fn highest_block(&self, order: u32, limit: u32) -> Option<u32> {
        let (word, bit) = place(limit);
        // CAST: six bits.
        let word = word as u32;
        if order > FAN_BITS {
            // Whole words only.
            let below = match (bit, word) {
                (63, word) => span(0, word),
                (_, 0) => return None,
                (_, word) => span(0, word - 1),
            };
            let [.., whole] = self.fits;
            let group = order.saturating_sub(FAN_BITS).min(FAN_BITS);
            return highest(blocks(whole & below, group)).map(|w| w << FAN_BITS);
        }
        let fits = self.fits.get(order as usize)? & span(0, word);
        let top = highest(fits)?;
        let mut candidate = blocks(self.free[(top & 63) as usize], order);
        if top == word {
            // Blocks that end above the limit do not count.
            let starts = (bit + 1).checked_sub(1 << order).map(|last| span(0, last));
            candidate &= starts.unwrap_or(0);
            if candidate == 0 {
                let next = highest(fits & !(1 << top))?;
                let start = highest(blocks(self.free[(next & 63) as usize], order))?;
                return Some((next << FAN_BITS) | start);
            }
        }
        highest(candidate).map(|start| (top << FAN_BITS) | start)
    }

    /// The free runs.
    pub(super) fn runs(&mut self) -> Runs {
        if self.stale {
            let mut runs = Runs::default();
            let mut units = 0;
            for &word in &self.free {
                runs = runs.join(units, Runs::of_word(word), 64);
                units += 64;
            }
            self.runs = runs;
            self.stale = false;
        }
        self.runs
    }

    /// The words, from the highest at or below `limit` down: first unit, free bits.
    pub(super) fn words_down(&self, limit: u32) -> impl Iterator<Item = (u32, u64)> {
        let (word, bit) = place(limit);
        (0..=word as u32).rev().map(move |w| {
            let below = if w as usize == word {
                span(0, bit)
            } else {
                u64::MAX
            };
            (w << FAN_BITS, self.free[(w & 63) as usize] & below)
        })
    }
}
