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
    // All entries of a walk must allow an access. Tables allow both kinds, so the leaf decides.
    table: READ | WRITE,
    block: PAGE_SIZE,
    page: 0,
    count: (52, 60),
};

/// Each attribute and its bit. `IPAT` makes targets that are not RAM uncached.
const ATTRIBUTES: [(Prot, u64); 3] = [(Prot::READ, READ), (Prot::WRITE, WRITE), (Prot::MMIO, IPAT)];

#[inline]
pub(super) fn from_prot(prot: Prot) -> u64 {
    let set = ATTRIBUTES.iter().filter(|(it, _)| prot.contains(*it));
    set.fold(0, |entry, (_, bit)| entry | bit)
}

pub(super) fn prot(entry: u64) -> Prot {
    let set = ATTRIBUTES.iter().filter(|(_, bit)| entry & bit != 0);
    set.map(|(it, _)| *it).collect()
}
