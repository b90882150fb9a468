//! Whether a mapping is one run of addresses; one range over a mapping in pieces, where the kernel
//! lets drivers lay out ranges.
// UNSAFETY: like `linux.rs`. What it relies on is in SOUNDNESS.md.

use crate::ledger;
use crate::linux::{Cursor, Dev, direction_to_c};
use crate::sys;
use core::ptr::NonNull;
use vb3_dma::{Direction, DmaAddr, DmaSegment};
use vb3_plane::contig;

/// How a mapped table lies in the device's addresses.
pub enum Laid {
    /// What was wanted is one run.
    Run(DmaSegment),
    /// In pieces, with one range over them.
    Link(Link),
    /// In pieces.
    Pieces,
}

/// One range over pieces. Dropping it takes the range away; the mapping below it stays.
pub struct Link {
    at: NonNull<sys::Link>,
    whole: DmaSegment,
}

impl Laid {
    /// Looks at the first `len_bytes` of a mapped table, and lays one range over them where they
    /// are in pieces. That cannot be done without an IOMMU, on kernels that do not let drivers do
    /// it, for pieces that end within a page.
    ///
    /// # Safety
    /// `sgt` is mapped for `dev` in this direction, and stays so until the value is dropped.
    pub unsafe fn new(
        dev: Dev,
        sgt: NonNull<sys::SgTable>,
        len_bytes: u64,
        direction: Direction,
    ) -> Self {
        let cursor = Cursor::new();
        // SAFETY: the table is mapped.
        let run = contig::run_of(|index| unsafe { cursor.segment(sgt, index) }, len_bytes);
        match run {
            Some((addr, len)) if len >= len_bytes => return Self::Run(DmaSegment { addr, len }),
            _ => {}
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
        let Some(at) = NonNull::new(at) else {
            return Self::Pieces;
        };
        ledger::LINKS.add(1);
        let whole = DmaSegment {
            addr: DmaAddr::new(addr),
            len: len_bytes,
        };
        Self::Link(Link { at, whole })
    }

    /// The one segment that there is; `None` for pieces, which the table has.
    pub const fn whole(&self) -> Option<DmaSegment> {
        match self {
            Self::Run(whole) | Self::Link(Link { whole, .. }) => Some(*whole),
            Self::Pieces => None,
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        ledger::LINKS.add(-1);
        // SAFETY: made by `Laid::new`, and ends here.
        unsafe { sys::vb3_unlink(self.at.as_ptr()) };
    }
}
