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

/// The first word and the last with bits in them, and whether those are two.
type Ends = ((usize, u64), (usize, u64), bool);

/// The words that units `low` to `high` touch: the first and the last with the bits they touch
/// there, and whether those are two.
const fn ends_of(low: u32, high: u32) -> Ends {
    let ((first, from), (last, to)) = (place(low), place(high));
    if first >= last {
        ((first, span(from, to)), (last, span(from, to)), false)
    } else {
        ((first, span(from, 63)), (last, span(0, to)), true)
    }
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
    #[inline]
    pub(super) fn order(&self) -> i8 {
        let [.., whole] = self.fits;
        if whole != 0 {
            return largest_order(whole).saturating_add(6);
        }
        // What fits a larger block fits a smaller one, so the masks shrink with the order.
        // CAST: at most seven.
        self.fits
            .iter()
            .map(|&mask| i8::from(mask != 0))
            .sum::<i8>()
            - 1
    }

    /// Brings the masks up to date for a word.
    #[inline]
    fn refit(&mut self, word: usize) {
        let after = largest_order(self.free[word & 63]);
        let bit = 1u64 << (word & 63);
        for (order, mask) in (0i8..).zip(self.fits.iter_mut()) {
            let set = if order <= after { bit } else { 0 };
            *mask = *mask & !bit | set;
        }
    }

    /// Makes all words between two free, or taken.
    fn set_between(&mut self, first: usize, last: usize, free: bool) {
        let words = if free { u64::MAX } else { 0 };
        if let Some(between) = self.free.get_mut(first + 1..last) {
            between.fill(words);
        }
        if last - first > 1 {
            // CAST: below 64.
            let mask = span(first as u32 + 1, last as u32 - 1);
            for fits in &mut self.fits {
                *fits = *fits & !mask | words & mask;
            }
        }
    }

    /// Takes units `low` to `high`, which are free.
    #[inline]
    pub(super) fn occupy(&mut self, low: u32, high: u32, ends: bool) {
        let ((first, head), (last, tail), two) = ends_of(low, high);
        self.free[first & 63] &= !head;
        self.refit(first);
        if two {
            self.set_between(first, last, false);
            self.free[last & 63] &= !tail;
            self.refit(last);
        }
        if ends {
            let (word, bit) = place(high);
            self.ends[word & 63] |= 1 << bit;
        }
        self.stale = true;
    }

    /// Frees units `low` to `high`, which are one range, or the first part of one.
    pub(super) fn release(&mut self, low: u32, high: u32) {
        self.release_at(high, ends_of(low, high));
    }

    #[inline]
    fn release_at(&mut self, high: u32, ((first, head), (last, tail), two): Ends) {
        self.free[first & 63] |= head;
        self.refit(first);
        if two {
            self.set_between(first, last, true);
            self.free[last & 63] |= tail;
            self.refit(last);
        }
        let (word, bit) = place(high);
        self.ends[word & 63] &= !(1 << bit);
        self.stale = true;
    }

    /// Frees units `low` to `high` if they are one range or its later part; returns whether.
    #[inline]
    pub(super) fn release_one(&mut self, low: u32, high: u32) -> bool {
        let ends = ends_of(low, high);
        let one = self.is_one_at(high, ends, true);
        if one {
            self.release_at(high, ends);
        }
        one
    }

    /// Whether units `low` to `high` are taken and, of their bits in `ends`, exactly the last one
    /// is set, or none if `ends` is false.
    pub(super) fn is_one(&self, low: u32, high: u32, ends: bool) -> bool {
        self.is_one_at(high, ends_of(low, high), ends)
    }

    #[inline]
    fn is_one_at(&self, high: u32, ((first, head), (last, tail), two): Ends, ends: bool) -> bool {
        let (_, bit) = place(high);
        let end = if ends { 1 << bit } else { 0 };
        if self.free[last & 63] & tail != 0 || self.ends[last & 63] & tail != end {
            return false;
        }
        if !two {
            return true;
        }
        let mut any = (self.free[first & 63] | self.ends[first & 63]) & head;
        for words in [&self.free, &self.ends] {
            let between = words.get(first + 1..last).unwrap_or_default();
            any |= between.iter().fold(0, |any, word| any | word);
        }
        any == 0
    }

    /// Whether units `low` to `high` are free.
    pub(super) fn is_free(&self, low: u32, high: u32) -> bool {
        let ((first, head), (last, tail), _) = ends_of(low, high);
        let between = self.free.get(first + 1..last).unwrap_or_default();
        self.free[first & 63] & head == head
            && self.free[last & 63] & tail == tail
            && between.iter().all(|&word| word == u64::MAX)
    }

    /// Whether a range may start right behind `unit`: it is free, or the end of another.
    #[inline]
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

    /// The highest aligned free block of `2^order` units, less than a leaf.
    #[inline]
    pub(super) fn top_block(&self, order: u32) -> Option<u32> {
        let Some(&fits) = self.fits.get(order as usize) else {
            let [.., whole] = self.fits;
            let group = order.saturating_sub(FAN_BITS).min(FAN_BITS);
            return highest(blocks(whole, group)).map(|w| w << FAN_BITS);
        };
        let word = highest(fits)?;
        let start = highest(blocks(self.free[(word & 63) as usize], order))?;
        Some((word << FAN_BITS) | start)
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
