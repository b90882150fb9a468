//! One range of addresses over a mapping in pieces, where the kernel lets drivers lay out ranges.
// UNSAFETY: like `linux.rs`. What it relies on is in SOUNDNESS.md.

use crate::ledger;
use crate::linux::{Cursor, Dev, direction_to_c};
use crate::sys;
use core::ptr::NonNull;
use vb3_dma::{Direction, DmaAddr, DmaSegment};
use vb3_plane::contig;

/// The one range. Dropping it takes the range away; the mapping below it stays.
pub struct Link {
    at: NonNull<sys::Link>,
    whole: DmaSegment,
}

impl Link {
    /// Lays one range over the first `len_bytes` of a mapped table. `None` where they are one run
    /// already, and where that cannot be done: without an IOMMU, on kernels that do not let
    /// drivers do it, for pieces that end within a page.
    ///
    /// # Safety
    /// `sgt` is mapped for `dev` in this direction, and stays so until the value is dropped.
    pub unsafe fn over(
        dev: Dev,
        sgt: NonNull<sys::SgTable>,
        len_bytes: u64,
        direction: Direction,
    ) -> Option<Self> {
        let cursor = Cursor::new();
        // SAFETY: the table is mapped.
        let run = contig::run_of(|index| unsafe { cursor.segment(sgt, index) }, len_bytes);
        if run.is_some_and(|(_, run)| run >= len_bytes) {
            return None;
        }
        let mut addr = 0;
        // SAFETY: device and table are there, `addr` can be written.
        let at = unsafe {
            sys::vb3_link(
                dev.raw(),
                sgt.as_ptr(),
                len_bytes,
                direction_to_c(direction),
                &raw mut addr,
            )
        };
        let at = NonNull::new(at)?;
        ledger::LINKS.add(1);
        Some(Self {
            at,
            whole: DmaSegment {
                addr: DmaAddr::new(addr),
                len: len_bytes,
            },
        })
    }

    /// The range is the only segment.
    pub const fn segment(&self, index: usize) -> Option<DmaSegment> {
        match index {
            0 => Some(self.whole),
            _ => None,
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        ledger::LINKS.add(-1);
        // SAFETY: made by `over`, and ends here.
        unsafe { sys::vb3_unlink(self.at.as_ptr()) };
    }
}
