//! Page-table entries of any format.

use crate::PhysAddr;

/// Base-2 logarithm of an entry's size in bytes.
pub(super) const ENTRY_SHIFT: u32 = 3;

/// A decoded entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    Empty,
    Table(PhysAddr),
    /// A page or block at this physical address.
    Leaf(u64),
    /// The entry has bits that the manual reserves.
    Malformed,
}

/// Bits of a format's entries.
#[derive(Debug)]
pub(super) struct Bits {
    /// An entry that has none of these bits is empty.
    pub(super) used: u64,
    /// The physical address.
    pub(super) addr: u64,
    /// Above the last level, tells tables and blocks apart.
    pub(super) kind: u64,
    /// Set in an entry that points to a table.
    pub(super) table: u64,
    /// Set in a block.
    pub(super) block: u64,
    /// Set in a page, which is a leaf of the last level.
    pub(super) page: u64,
    /// Positions of the low and the high byte of the number of used entries of a table, in bits of the entry that
    /// points to the table. The hardware ignores these bits.
    pub(super) count: (u32, u32),
}

impl Bits {
    /// Returns the number of used entries of the table that `entry` points to.
    pub(super) const fn count(&self, entry: u64) -> u64 {
        let (low, high) = self.count;
        entry >> low & 0xff | (entry >> high & 0xff) << 8
    }

    pub(super) const fn with_count(&self, entry: u64, count: u64) -> u64 {
        let (low, high) = self.count;
        let rest = entry & !(0xff << low | 0xff << high);
        rest | (count & 0xff) << low | (count >> 8) << high
    }

    /// Returns the attributes of a leaf entry.
    pub(super) const fn attributes(&self, entry: u64) -> u64 {
        entry & !(self.addr | self.block | self.page)
    }
}
