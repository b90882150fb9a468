//! VMSAv8-64 descriptors, as SMMUs walk them ("LPAE" in the SMMU drivers).
//!
//! Source: Arm Architecture Reference Manual for A-profile, chapter D8 (VMSAv8-64), without
//! FEAT_LPA and FEAT_LPA2: addresses have at most 48 bits.

use super::entry::Bits;
use crate::Prot;

/// Descriptor bit 0: the entry is valid.
const VALID: u64 = 1 << 0;
/// Descriptor bit 1: set for a table, and for a page at the last level; clear for a block.
const TABLE_OR_PAGE: u64 = 1 << 1;
/// Lowest bit of `AttrIndx[2:0]` or `MemAttr[3:0]`.
const ATTR_SHIFT: u32 = 2;
/// Stage 1 `AP[1]`: allows unprivileged accesses, such as those of devices.
const AP_UNPRIVILEGED: u64 = 1 << 6;
/// Stage 1 `AP[2]`: read only.
const AP_READ_ONLY: u64 = 1 << 7;
/// Stage 2 `S2AP[0]`: reads.
const S2AP_READ: u64 = 1 << 6;
/// Stage 2 `S2AP[1]`: writes.
const S2AP_WRITE: u64 = 1 << 7;
/// `SH[1:0]`: outer shareable.
const SH_OUTER: u64 = 0b10 << 8;
/// `SH[1:0]`: inner shareable.
const SH_INNER: u64 = 0b11 << 8;
/// Access flag: set in all leaves, because a clear flag would cause a fault.
const AF: u64 = 1 << 10;
/// Stage 1 `nG`: the entry belongs to one ASID.
const NG: u64 = 1 << 11;
/// Stage 1 `PXN` and `UXN`: execution is not allowed.
const S1_XN: u64 = 0b11 << 53;
/// Stage 2 `XN[1:0]` = 0b10: execution is not allowed.
const S2_XN: u64 = 0b10 << 53;
/// Address bits of a descriptor.
const ADDR: u64 = ((1 << 48) - 1) & !0xfff;

/// `AttrIndx` of uncached memory.
const INDEX_NORMAL_NC: u64 = 0;
/// `AttrIndx` of cached memory.
const INDEX_NORMAL_WB: u64 = 1;
/// `AttrIndx` of device registers and other targets that are not RAM.
const INDEX_DEVICE: u64 = 2;

/// Required value of `MAIR` for stage 1 tables: index 0 Normal non-cacheable, index 1 Normal
/// write-back read- and write-allocate, index 2 Device-nGnRE.
pub const MAIR: u64 = 0x0004_ff44;

/// Stage 2 `MemAttr`: Device-nGnRE.
const MEMATTR_DEVICE: u64 = 0b0001;
/// Stage 2 `MemAttr`: Normal, outer and inner non-cacheable.
const MEMATTR_NORMAL_NC: u64 = 0b0101;
/// Stage 2 `MemAttr`: Normal, outer and inner write-back.
const MEMATTR_NORMAL_WB: u64 = 0b1111;

pub(super) const BITS: Bits = Bits {
    used: VALID,
    addr: ADDR,
    kind: TABLE_OR_PAGE,
    table: VALID | TABLE_OR_PAGE,
    block: VALID,
    page: VALID | TABLE_OR_PAGE,
    count: (2, 51),
};

/// Returns a leaf's shareability and its memory type: `device`, `cached` or `uncached`, as `prot` requires.
const fn memory(prot: Prot, device: u64, cached: u64, uncached: u64) -> u64 {
    if prot.contains(Prot::MMIO) {
        device << ATTR_SHIFT | SH_OUTER
    } else if prot.contains(Prot::COHERENT) {
        cached << ATTR_SHIFT | SH_INNER
    } else {
        uncached << ATTR_SHIFT | SH_OUTER
    }
}

/// Returns a stage 1 leaf's attributes. Permission to write includes permission to read.
pub(super) fn s1_attributes(prot: Prot) -> u64 {
    let mut entry = AF | NG | S1_XN | AP_UNPRIVILEGED;
    if !prot.contains(Prot::WRITE) {
        entry |= AP_READ_ONLY;
    }
    entry | memory(prot, INDEX_DEVICE, INDEX_NORMAL_WB, INDEX_NORMAL_NC)
}

pub(super) fn s1_prot(entry: u64) -> Prot {
    let mut prot = Prot::READ;
    prot.set(Prot::WRITE, entry & AP_READ_ONLY == 0);
    let index = entry >> ATTR_SHIFT & 0b111;
    prot.set(Prot::MMIO, index == INDEX_DEVICE);
    prot.set(Prot::COHERENT, index == INDEX_NORMAL_WB);
    prot
}

pub(super) fn s2_attributes(prot: Prot) -> u64 {
    let mut entry = AF | S2_XN;
    if prot.contains(Prot::READ) {
        entry |= S2AP_READ;
    }
    if prot.contains(Prot::WRITE) {
        entry |= S2AP_WRITE;
    }
    entry | memory(prot, MEMATTR_DEVICE, MEMATTR_NORMAL_WB, MEMATTR_NORMAL_NC)
}

pub(super) fn s2_prot(entry: u64) -> Prot {
    let mut prot = Prot::empty();
    prot.set(Prot::READ, entry & S2AP_READ != 0);
    prot.set(Prot::WRITE, entry & S2AP_WRITE != 0);
    let memory = entry >> ATTR_SHIFT & 0b1111;
    prot.set(Prot::MMIO, memory == MEMATTR_DEVICE);
    prot.set(Prot::COHERENT, memory == MEMATTR_NORMAL_WB);
    prot
}
