//! Second-stage paging entries of Intel's VT-d.
//!
//! Source: Intel Virtualization Technology for Directed I/O, chapter 9.8 (Second-Stage Paging
//! Entries).

use super::entry::Entry;
use crate::{PhysAddr, Prot};

/// `R`: reads.
const READ: u64 = 1 << 0;
/// `W`: writes.
const WRITE: u64 = 1 << 1;
/// `PS`: an SS-PDPE or SS-PDE that maps a page itself.
const PAGE_SIZE: u64 = 1 << 7;
/// Address bits of an entry. Bits above the host address width must be zero.
const ADDR: u64 = ((1 << 52) - 1) & !0xfff;
/// `IPAT`: the field `EMT` decides the memory type, and `EMT` 0 is uncached. The hardware ignores both for
/// requests without PASID.
const IPAT: u64 = 1 << 6;
/// Ignored bits of an entry that points to a table. They hold the count of used entries.
const COUNT_SHIFT: u32 = 52;
const COUNT: u64 = 0x3ff << COUNT_SHIFT;

/// Maximum height of an entry that maps a page: 1 GiB.
pub(super) const MAX_LEAF: u32 = 2;

pub(super) const fn is_empty(entry: u64) -> bool {
    entry & (READ | WRITE) == 0
}

#[inline]
pub(super) fn decode(height: u32, entry: u64) -> Entry {
    if is_empty(entry) {
        Entry::Empty
    } else if height == 0 {
        Entry::Leaf(entry & ADDR)
    } else if entry & PAGE_SIZE == 0 {
        Entry::Table(PhysAddr::new(entry & ADDR))
    } else if height > MAX_LEAF {
        Entry::Malformed
    } else {
        Entry::Leaf(entry & ADDR & !((1u64 << (12 + 9 * height)) - 1))
    }
}

/// Returns the entry that points to a table. The entry allows all accesses: an access needs the right in all
/// entries of a walk, so the leaf decides.
pub(super) const fn table(next: PhysAddr) -> u64 {
    next.get() & ADDR | READ | WRITE
}

pub(super) const fn count(entry: u64) -> u64 {
    (entry & COUNT) >> COUNT_SHIFT
}

pub(super) const fn with_count(entry: u64, count: u64) -> u64 {
    entry & !COUNT | count << COUNT_SHIFT & COUNT
}

/// Returns the type bits of a leaf of this height.
pub(super) const fn leaf_type(height: u32) -> u64 {
    if height == 0 { 0 } else { PAGE_SIZE }
}

/// Returns the attribute bits of a leaf.
pub(super) const fn attributes(entry: u64) -> u64 {
    entry & !ADDR & !PAGE_SIZE
}

#[inline]
pub(super) fn from_prot(prot: Prot) -> u64 {
    let mut entry = 0;
    if prot.contains(Prot::READ) {
        entry |= READ;
    }
    if prot.contains(Prot::WRITE) {
        entry |= WRITE;
    }
    // A target that is not RAM has its own memory type.
    if prot.contains(Prot::MMIO) {
        entry |= IPAT;
    }
    entry
}

pub(super) fn prot(entry: u64) -> Prot {
    let mut prot = Prot::empty();
    prot.set(Prot::READ, entry & READ != 0);
    prot.set(Prot::WRITE, entry & WRITE != 0);
    prot.set(Prot::MMIO, entry & IPAT != 0);
    prot
}
