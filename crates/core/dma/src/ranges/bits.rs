//! Sixty-four neighbours in one word. A set bit is a free neighbour.

/// Base-2 logarithm of the number of neighbours.
pub(super) const FAN_BITS: u32 = 6;
/// Number of neighbours.
pub(super) const FAN: usize = 1 << FAN_BITS;

/// For each order from one: a mask of the lowest bit of each aligned group of `2^order` bits.
const GROUPS: [u64; 6] = [
    0x5555_5555_5555_5555,
    0x1111_1111_1111_1111,
    0x0101_0101_0101_0101,
    0x0001_0001_0001_0001,
    0x0000_0001_0000_0001,
    1,
];

/// Returns the lowest bits of the aligned groups of `2^order` set bits.
#[inline]
pub(super) fn groups(mask: u64, order: u32) -> u64 {
    let mut groups = mask;
    for (step, lowest) in GROUPS.iter().enumerate().take(order as usize) {
        groups &= (groups >> (1 << step)) & lowest;
    }
    if order > FAN_BITS { 0 } else { groups }
}

/// Returns the order of the largest aligned group of set bits. The mask must not be zero.
#[inline]
pub(super) fn largest_group(mask: u64) -> u32 {
    // The lower neighbours are taken first, so the upper half is often free.
    if mask >> 32 == u64::MAX >> 32 {
        return FAN_BITS - u32::from(mask != u64::MAX);
    }
    let mut groups = mask;
    for (order, lowest) in (0..).zip(GROUPS) {
        groups &= (groups >> (1 << order)) & lowest;
        if groups == 0 {
            return order;
        }
    }
    FAN_BITS
}

/// Returns the bits `low` to `high`, both included and below 64.
#[inline]
pub(super) const fn span(low: u32, high: u32) -> u64 {
    (u64::MAX >> (63 - (high & 63))) & (u64::MAX << (low & 63))
}
