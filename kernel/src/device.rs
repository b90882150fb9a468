//! Devices, directions and attributes with Linux's numbers.
// UNSAFETY: like `linux.rs`. SOUNDNESS.md lists the conditions.

use crate::sys;
use core::ffi::{c_int, c_uint, c_ulong};
use core::fmt;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, Ordering};
use vb3_dma::{Attrs, Direction};

/// Converts to `enum dma_data_direction`.
pub const fn direction_to_c(direction: Direction) -> c_int {
    match direction {
        Direction::Bidirectional => 0,
        Direction::ToDevice => 1,
        Direction::FromDevice => 2,
    }
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

/// Converts the `DMA_ATTR_*` bits that [`Attrs`] supports.
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

/// `struct vb3_use` of module/buffer.h.
#[repr(C)]
pub struct Use {
    in_use: AtomicU32,
    bounces: AtomicU32,
}

const _: () = assert!(size_of::<Use>() == 8);

/// A device, and its queue's allocation flags that [`Attrs`] cannot express.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Dev {
    /// NULL for a queue without a device, whose memory only the CPU uses.
    at: *mut sys::Device,
    /// `gfp_flags` of the queue.
    pub(crate) gfp: c_uint,
    /// `dma_attrs` of the queue that [`Attrs`] does not support.
    pub(crate) attrs: c_ulong,
    /// Whether the device accepts scattered memory, so that nothing must be contiguous.
    pub(crate) in_pieces: bool,
    /// What an importer of these modules tells; `None` of others.
    told: Option<NonNull<Use>>,
}

impl Dev {
    /// Wraps a device.
    ///
    /// # Safety
    /// The device must outlive all values made with this one.
    pub const unsafe fn new(at: NonNull<sys::Device>) -> Self {
        // SAFETY: the caller's promise.
        unsafe { Self::of_cpu(at.as_ptr()) }
    }

    /// Wraps the device of a queue whose memory only the CPU uses, or NULL for none.
    ///
    /// # Safety
    /// As [`new`](Self::new). Without a device, nothing may be allocated or mapped for it.
    pub const unsafe fn of_cpu(at: *mut sys::Device) -> Self {
        Self {
            at,
            gfp: 0,
            attrs: 0,
            in_pieces: false,
            told: None,
        }
    }

    /// Marks the device as one that accepts scattered memory.
    #[must_use]
    pub const fn in_pieces(self) -> Self {
        Self {
            in_pieces: true,
            ..self
        }
    }

    /// Adds what the importer tells about its device.
    ///
    /// # Safety
    /// `told` must be null or outlive the attachment made with the device.
    #[must_use]
    pub const unsafe fn telling(self, told: *mut Use) -> Self {
        Self {
            told: NonNull::new(told),
            ..self
        }
    }

    fn told(&self) -> Option<&Use> {
        // SAFETY: the promise of `telling`.
        self.told.map(|at| unsafe { at.as_ref() })
    }

    /// Returns whether the device cannot have written since the importer's last sync.
    pub(crate) fn is_idle(self) -> bool {
        self.told()
            .is_some_and(|told| told.in_use.load(Ordering::Acquire) == 0)
    }

    /// Tells the importer whether the device is given a bounced copy, which the importer must then
    /// sync.
    pub(crate) fn set_bounces(self, bounces: bool) {
        if let Some(told) = self.told() {
            told.bounces.store(u32::from(bounces), Ordering::Relaxed);
        }
    }

    /// Adds a queue's allocation flags.
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
