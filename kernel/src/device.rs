//! Devices, directions and attributes, as Linux names them.
// UNSAFETY: like `linux.rs`. What it relies on is in SOUNDNESS.md.

use crate::sys;
use core::ffi::{c_int, c_uint, c_ulong};
use core::fmt;
use core::ptr::NonNull;
use vb3_dma::{Attrs, Direction};

/// What makes a kernel wait for memory rather than a program: how its numbers name directions.
pub const fn direction_to_c(direction: Direction) -> c_int {
    match direction {
        Direction::Bidirectional => 0,
        Direction::ToDevice => 1,
        Direction::FromDevice => 2,
    }
}

/// The direction a kernel means; `None` for `DMA_NONE`.
pub const fn direction_from_c(raw: c_int) -> Option<Direction> {
    match raw {
        0 => Some(Direction::Bidirectional),
        1 => Some(Direction::ToDevice),
        2 => Some(Direction::FromDevice),
        _ => None,
    }
}

const ATTR_WRITE_COMBINE: c_ulong = 1 << 2;
const ATTR_NO_KERNEL_MAPPING: c_ulong = 1 << 4;
const ATTR_FORCE_CONTIGUOUS: c_ulong = 1 << 6;
const ATTR_ALLOC_SINGLE_PAGES: c_ulong = 1 << 7;
const ATTR_NO_WARN: c_ulong = 1 << 8;

const ATTR_TABLE: [(Attrs, c_ulong); 5] = [
    (Attrs::WRITE_COMBINE, ATTR_WRITE_COMBINE),
    (Attrs::NO_KERNEL_MAPPING, ATTR_NO_KERNEL_MAPPING),
    (Attrs::FORCE_CONTIGUOUS, ATTR_FORCE_CONTIGUOUS),
    (Attrs::ALLOC_SINGLE_PAGES, ATTR_ALLOC_SINGLE_PAGES),
    (Attrs::NO_WARN, ATTR_NO_WARN),
];

/// The attributes of a queue that have a name here.
pub fn attrs_from_c(raw: c_ulong) -> Attrs {
    let mut attrs = Attrs::empty();
    for (attr, bit) in ATTR_TABLE {
        if raw & bit != 0 {
            attrs |= attr;
        }
    }
    attrs
}

pub(crate) fn attrs_to_c(attrs: Attrs) -> c_ulong {
    let mut raw = 0;
    for (attr, bit) in ATTR_TABLE {
        if attrs.contains(attr) {
            raw |= bit;
        }
    }
    raw
}

/// A device, and what its queue wishes of allocations beyond what [`Attrs`] can say.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Dev {
    /// NULL for a queue without a device, whose memory only the CPU uses.
    at: *mut sys::Device,
    /// `gfp_flags` of the queue.
    pub(crate) gfp: c_uint,
    /// `dma_attrs` of the queue that have no name in [`Attrs`].
    pub(crate) attrs: c_ulong,
    /// Takes memory in pieces: nothing need be one run for it.
    pub(crate) in_pieces: bool,
}

impl Dev {
    /// Names a device.
    ///
    /// # Safety
    /// The device outlives all values made with this name.
    pub const unsafe fn new(at: NonNull<sys::Device>) -> Self {
        // SAFETY: the caller's promise.
        unsafe { Self::of_cpu(at.as_ptr()) }
    }

    /// Names the device, if there is one (NULL: none), of a queue whose memory only the CPU uses.
    ///
    /// # Safety
    /// As [`new`](Self::new). Without a device, nothing is allocated or mapped for it.
    pub const unsafe fn of_cpu(at: *mut sys::Device) -> Self {
        Self {
            at,
            gfp: 0,
            attrs: 0,
            in_pieces: false,
        }
    }

    /// The same device, as one that takes memory in pieces.
    #[must_use]
    pub const fn in_pieces(self) -> Self {
        Self {
            in_pieces: true,
            ..self
        }
    }

    /// The same device with a queue's wishes.
    #[must_use]
    pub fn with_wishes(self, gfp: c_uint, attrs: c_ulong) -> Self {
        let named = attrs_to_c(attrs_from_c(attrs));
        Self {
            gfp,
            attrs: attrs & !named,
            ..self
        }
    }

    pub(crate) const fn raw(self) -> *mut sys::Device {
        self.at
    }
}

impl fmt::Debug for Dev {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("device")
    }
}
