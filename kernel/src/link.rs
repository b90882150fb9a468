//! Checks whether a mapping is contiguous for the device.
//! If it is not, lays one range of addresses over the mapping, where the kernel lets drivers do so.
// UNSAFETY: this file calls the kernel, as `linux.rs` does. SOUNDNESS.md lists the conditions.

use crate::device::{Dev, direction_to_c};
use crate::ledger::Count;
use crate::sys;
use core::ptr::{self, NonNull};
use vb3_dma::{Direction, DmaAddr, DmaSegment, first_run};

/// Returns the contiguous bytes at the beginning of a mapped table, which may have none. Counting stops at `enough`
/// bytes or more.
///
/// # Safety
/// The table must be mapped.
pub(crate) unsafe fn run(sgt: NonNull<sys::SgTable>, enough: u64) -> DmaSegment {
    let mut at = ptr::null_mut();
    let next = |index| {
        let (mut addr, mut len) = (0, 0);
        // SAFETY: the table exists, and `at` is the entry before `index`.
        let found = unsafe { sys::vb3_sgt_next(sgt, index, &mut at, &mut addr, &mut len) };
        found.then_some(DmaSegment {
            addr: DmaAddr::new(addr),
            len: u64::from(len),
        })
    };
    let (addr, len) = (DmaAddr::new(0), 0);
    first_run(next, enough).unwrap_or(DmaSegment { addr, len })
}

/// The layout of a mapped table.
pub struct Laid {
    /// The first contiguous run, or one range laid over scattered pieces.
    pub first: DmaSegment,
    link: *mut sys::Link,
}

impl Laid {
    /// Checks the first `len_bytes` of a mapped table, and lays one range over them if they are scattered.
    /// They stay scattered without an IOMMU, if the kernel does not let drivers do this, or if a piece ends
    /// within a page. Other drivers' dma-bufs also stay scattered unless the parameter `link_foreign` is set.
    ///
    /// # Safety
    /// `sgt` must be mapped for `dev` in this direction until [`remove`](Self::remove). If `attachment` is not
    /// null, the mapping must be one by that attachment.
    #[inline(never)]
    pub unsafe fn new(
        dev: Dev,
        attachment: *mut sys::DmaBufAttachment,
        sgt: NonNull<sys::SgTable>,
        len_bytes: u64,
        direction: Direction,
    ) -> Self {
        let mut laid = Self {
            // SAFETY: the table is mapped.
            first: unsafe { run(sgt, len_bytes) },
            link: ptr::null_mut(),
        };
        if laid.first.len >= len_bytes {
            return laid;
        }
        let (raw, mut addr) = (direction_to_c(direction), 0);
        // SAFETY: device, attachment and table exist.
        laid.link = unsafe { sys::vb3_link(dev, attachment, sgt, len_bytes, raw, &mut addr) };
        if !laid.link.is_null() {
            Count::Links.add(1);
            laid.first = DmaSegment {
                addr: DmaAddr::new(addr),
                len: len_bytes,
            };
        }
        laid
    }

    /// Removes the range, if there is one. The mapping stays.
    pub fn remove(self) {
        if !self.link.is_null() {
            Count::Links.add(-1);
            // SAFETY: `new` made this range, which ends here.
            unsafe { sys::vb3_unlink(self.link) };
        }
    }
}
