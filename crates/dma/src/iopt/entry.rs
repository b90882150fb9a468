//! Meaning of a page-table entry, in any format.

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
