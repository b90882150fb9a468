//! Inner nodes, above the leaves. Each has sixty-four children, which are free, taken, or mixed. A
//! mixed child has a node.

use super::bits::{FAN, FAN_BITS, Runs, blocks, highest, largest_order};
use super::leaf::LEAF_BITS;

/// Maximum number of levels of inner nodes.
pub(super) const MAX_HEIGHT: u32 = 7;
/// Bits of a child's units at the highest level.
const MAX_CHILD_BITS: u32 = LEAF_BITS + FAN_BITS * (MAX_HEIGHT - 1);
/// No node.
pub(super) const NONE: u32 = u32::MAX;

/// Bits of the units below one child of an inner node at `level` (one is the lowest).
pub(super) const fn child_bits(level: u32) -> u32 {
    LEAF_BITS + FAN_BITS * level.saturating_sub(1)
}

/// Sixty-four children.
///
/// # Invariants
/// A child with a node is mixed: neither wholly free nor wholly taken by one range; one leaf of the
/// space may be wholly free without the nodes above it knowing (`Recent::idle`). Bit `i` of
/// `fits[k]` says that child `i` has an aligned free block of `2^k` units, and `orders[i]` is the
/// largest such `k`. `ends` has a bit for a child without a node whose last unit ends a range.
#[derive(Clone, Debug)]
pub(super) struct Inner {
    pub(super) children: [u32; FAN],
    orders: [i8; FAN],
    fits: [u64; MAX_CHILD_BITS as usize + 1],
    pub(super) ends: u64,
    pub(super) runs: Runs,
    /// Whether `runs` is out of date.
    pub(super) stale: bool,
    /// The next unused node, if this one is unused.
    pub(super) next: u32,
}

impl Inner {
    /// Makes a node with all units free, whose children have `bits` bits.
    pub(super) fn new(bits: u32) -> Self {
        let mut fits = [0; MAX_CHILD_BITS as usize + 1];
        for mask in fits.iter_mut().take(bits as usize + 1) {
            *mask = u64::MAX;
        }
        Self {
            children: [NONE; FAN],
            // CAST: at most 48.
            orders: [bits as i8; FAN],
            fits,
            ends: 0,
            runs: Runs::whole(1 << (bits + FAN_BITS), true),
            stale: false,
            next: NONE,
        }
    }

    /// The children that have an aligned free block of `2^order` units.
    #[inline]
    pub(super) fn fits(&self, order: u32) -> u64 {
        self.fits.get(order as usize).copied().unwrap_or(0)
    }

    /// The node of a child.
    #[inline]
    pub(super) const fn child(&self, index: u32) -> u32 {
        self.children[(index & 63) as usize]
    }

    /// Notes the largest block that a child has now. Returns whether anything changed.
    #[inline]
    pub(super) fn set_order(&mut self, index: u32, order: i8) -> bool {
        let slot = &mut self.orders[(index & 63) as usize];
        let before = core::mem::replace(slot, order);
        if before == order {
            return false;
        }
        let bit = 1u64 << (index & 63);
        // CAST: orders lie between -1 and 48.
        let (low, high) = (before.min(order) + 1, before.max(order) + 1);
        if let Some(masks) = self.fits.get_mut(low as usize..high as usize) {
            for mask in masks {
                if order > before {
                    *mask |= bit;
                } else {
                    *mask &= !bit;
                }
            }
        }
        true
    }

    /// Makes children wholly free or wholly taken. None of them has a node.
    pub(super) fn set_whole(&mut self, mask: u64, bits: u32, free: bool) {
        for fits in self.fits.iter_mut().take(bits as usize + 1) {
            if free {
                *fits |= mask;
            } else {
                *fits &= !mask;
            }
        }
        for (index, order) in self.orders.iter_mut().enumerate() {
            if mask >> index & 1 == 1 {
                // CAST: at most 48.
                *order = if free { bits as i8 } else { -1 };
            }
        }
        if free {
            self.ends &= !mask;
        }
    }

    /// The order of the largest aligned free block; -1 if nothing is free.
    #[inline]
    pub(super) fn order(&self, bits: u32) -> i8 {
        let whole = self.fits(bits);
        if whole != 0 {
            // CAST: at most 54.
            return largest_order(whole).saturating_add(bits as i8);
        }
        // What fits a larger block fits a smaller one, so the masks shrink with the order. Where
        // much is live, single units are what is left.
        let [first, second, ..] = self.fits;
        if second == 0 {
            return i8::from(first != 0) - 1;
        }
        // CAST: at most 49.
        self.fits.partition_point(|&mask| mask != 0) as i8 - 1
    }

    /// The highest aligned group of `2^order` units of whole free children among `mask`.
    pub(super) fn highest_group(&self, order: u32, bits: u32, mask: u64) -> Option<u32> {
        let group = order.checked_sub(bits)?;
        if group > FAN_BITS {
            return None;
        }
        highest(blocks(self.fits(bits) & mask, group))
    }
}
