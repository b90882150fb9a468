//! Sixty-four neighbours in one word: a set bit is a free one.

/// Bits of an index among the neighbours.
pub(super) const FAN_BITS: u32 = 6;
/// Number of neighbours.
pub(super) const FAN: usize = 1 << FAN_BITS;

/// The lowest bits of the aligned groups of `2^order` set bits, `order` at most six.
pub(super) const fn blocks(mask: u64, order: u32) -> u64 {
    let mut m = mask;
    if order > 0 {
        m &= (m >> 1) & 0x5555_5555_5555_5555;
    }
    if order > 1 {
        m &= (m >> 2) & 0x1111_1111_1111_1111;
    }
    if order > 2 {
        m &= (m >> 4) & 0x0101_0101_0101_0101;
    }
    if order > 3 {
        m &= (m >> 8) & 0x0001_0001_0001_0001;
    }
    if order > 4 {
        m &= (m >> 16) & 0x0000_0001_0000_0001;
    }
    if order > 5 {
        m &= (m >> 32) & 1;
    }
    m
}

/// The order of the largest aligned group of set bits; -1 if none is set.
pub(super) const fn largest_order(mask: u64) -> i8 {
    if mask == 0 {
        return -1;
    }
    if mask == u64::MAX {
        return 6;
    }
    // The last step would leave all ones alone. What fits a larger group fits a smaller one, so
    // that the steps that left something can be counted.
    let one = mask & (mask >> 1) & 0x5555_5555_5555_5555;
    let two = one & (one >> 2) & 0x1111_1111_1111_1111;
    let three = two & (two >> 4) & 0x0101_0101_0101_0101;
    let four = three & (three >> 8) & 0x0001_0001_0001_0001;
    let five = four & (four >> 16) & 0x0000_0001_0000_0001;
    (one != 0) as i8 + (two != 0) as i8 + (three != 0) as i8 + (four != 0) as i8 + (five != 0) as i8
}

/// Bits `low` to `high`, both included and below 64.
pub(super) const fn span(low: u32, high: u32) -> u64 {
    let up_to_high = u64::MAX >> (63 - (high & 63));
    up_to_high & (u64::MAX << (low & 63))
}

/// The highest set bit; `None` if there is none.
pub(super) const fn highest(mask: u64) -> Option<u32> {
    mask.checked_ilog2()
}

/// The free runs of a part of the space, in units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Runs {
    /// Free units at the lower end.
    pub(super) low: u64,
    /// Free units at the upper end.
    pub(super) high: u64,
    /// The longest run.
    pub(super) longest: u64,
}

impl Runs {
    /// Of a part of `units` that is all free, or all taken.
    pub(super) const fn whole(units: u64, free: bool) -> Self {
        let n = if free { units } else { 0 };
        Self {
            low: n,
            high: n,
            longest: n,
        }
    }

    /// Of one word.
    pub(super) const fn of_word(word: u64) -> Self {
        let mut longest = 0;
        let mut m = word;
        // Each step shortens every run of ones by one; 64 at most.
        while m != 0 {
            m &= m << 1;
            longest += 1;
        }
        Self {
            low: word.trailing_ones() as u64,
            high: word.leading_ones() as u64,
            longest,
        }
    }

    /// Of two neighbours of `units` and `above_units`.
    pub(super) const fn join(self, units: u64, above: Self, above_units: u64) -> Self {
        let middle = self.high.saturating_add(above.low);
        let mut longest = if self.longest > above.longest {
            self.longest
        } else {
            above.longest
        };
        if middle > longest {
            longest = middle;
        }
        Self {
            low: if self.low == units {
                units.saturating_add(above.low)
            } else {
                self.low
            },
            high: if above.high == above_units {
                above_units.saturating_add(self.high)
            } else {
                above.high
            },
            longest,
        }
    }
}
