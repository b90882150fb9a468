//! Checks whether a mapping is contiguous. Lays one range over scattered pieces if the kernel lets
//! drivers do so.
// UNSAFETY: like `linux.rs`. SOUNDNESS.md lists the conditions.

use crate::ledger;
use crate::linux::{Cursor, Dev, direction_to_c};
use crate::sys;
use core::ptr::NonNull;
use vb3_dma::{Direction, DmaAddr, DmaSegment};
use vb3_plane::contig;

/// The layout of a mapped table in the device's addresses.
pub enum Laid {
    /// The checked bytes are contiguous.
    Run(DmaSegment),
    /// Scattered; one range was laid over the pieces.
    Link(Link),
    /// Scattered, without such a range.
    Pieces,
}

/// One range over scattered pieces. Dropping it removes the range; the mapping stays.
pub struct Link {
    at: NonNull<sys::Link>,
    whole: DmaSegment,
}

impl Laid {
    /// Checks the first `len_bytes` of a mapped table, and lays one range over them if they are
    /// scattered. They stay [`Pieces`](Self::Pieces) without an IOMMU, on kernels that do not let
    /// drivers do this, if a piece ends within a page, and in other drivers' dma-bufs (unless the
    /// parameter `link_foreign` allows them).
    ///
    /// # Safety
    /// `sgt` must be mapped for `dev` in this direction until the value is dropped: by `attachment`,
    /// if that is not null.
    pub unsafe fn new(
        dev: Dev,
        attachment: *mut sys::DmaBufAttachment,
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
        // SAFETY: device, attachment and table are there, `addr` can be written.
        let at = unsafe {
            sys::vb3_link(
                dev.raw(),
                attachment,
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

    /// Returns the only segment, or `None` for scattered memory, which the table describes.
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
