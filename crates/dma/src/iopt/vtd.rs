//! Second-stage paging entries of Intel's VT-d.
//!
//! Source: Intel Virtualization Technology for Directed I/O, chapter 9.8 (Second-Stage Paging
//! Entries).

use super::entry::Bits;
use crate::Prot;

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

pub(super) const BITS: Bits = Bits {
    used: READ | WRITE,
    addr: ADDR,
    kind: PAGE_SIZE,
    // An access needs the right in all entries of a walk, so the leaf decides.
    table: READ | WRITE,
    block: PAGE_SIZE,
    page: 0,
    count: (52, 60),
};

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
