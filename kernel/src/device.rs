//! Devices, directions and attributes with Linux's numbers.
// UNSAFETY: `Dev` wraps a pointer from C. SOUNDNESS.md lists the conditions.

use crate::sys;
use core::ffi::{c_int, c_ulong};
use core::ptr;
use core::sync::atomic::AtomicU32;
use vb3_dma::{Attrs, Direction};

/// Converts to `enum dma_data_direction`, which has the same numbers (checked here and in module/shim.c).
pub const fn direction_to_c(direction: Direction) -> c_int {
    const { assert!(Direction::ToDevice as c_int == 1 && Direction::FromDevice as c_int == 2) };
    direction as c_int
}

/// Converts from `enum dma_data_direction`, or returns `None` for `DMA_NONE`.
pub const fn direction_from_c(raw: c_int) -> Option<Direction> {
    match raw {
        0 => Some(Direction::Bidirectional),
        1 => Some(Direction::ToDevice),
        2 => Some(Direction::FromDevice),
        _ => None,
    }
}

/// The `DMA_ATTR_*` bits. module/shim.c checks their numbers.
const ATTR_TABLE: [(Attrs, c_ulong); 5] = [
    (Attrs::WRITE_COMBINE, 1 << 2),
    (Attrs::NO_KERNEL_MAPPING, 1 << 4),
    (Attrs::FORCE_CONTIGUOUS, 1 << 6),
    (Attrs::ALLOC_SINGLE_PAGES, 1 << 7),
    (Attrs::NO_WARN, 1 << 8),
];

/// Converts those `DMA_ATTR_*` bits that [`Attrs`] supports.
pub fn attrs_from_c(raw: c_ulong) -> Attrs {
    let set = ATTR_TABLE.into_iter().filter(|(_, bit)| raw & bit != 0);
    set.map(|(attr, _)| attr).collect()
}

pub(crate) fn attrs_to_c(attrs: Attrs) -> c_ulong {
    let set = ATTR_TABLE.into_iter();
    let set = set.filter(|(attr, _)| attrs.contains(*attr));
    set.fold(0, |raw, (_, bit)| raw | bit)
}

/// A device's use of a dma-buf of this module: `struct vb3_use` of module/buffer.h.
#[derive(Debug)]
#[repr(C)]
pub struct Use {
    /// Zero if the device certainly has not written since the importer's last sync.
    pub(crate) in_use: AtomicU32,
    /// Whether the device has a bounced copy, which the importer must then sync.
    pub(crate) bounces: AtomicU32,
}

const _: () = assert!(size_of::<Use>() == 8);

/// A device.
/// C passes devices, which outlive all values made with them (condition 5 of SOUNDNESS.md).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Dev(*mut sys::Device);

impl Dev {
    /// No device.
    pub const NONE: Self = Self(ptr::null_mut());

    /// Returns whether the device's addresses are an IOMMU's.
    pub(crate) fn is_translated(self) -> bool {
        // SAFETY: the device exists.
        unsafe { sys::vb3_is_translated(self) }
    }
}
