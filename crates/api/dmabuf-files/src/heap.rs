//! dma-heaps.
//!
//! Source: Linux 6.12 drivers/dma-buf/dma-heap.c.

use crate::request::{Call, FileKind};
use crate::sys::{self, dma_heap_allocation_data as Data};
use std::mem::offset_of;
use vb3_frontend::{Errno, FileAccess, Image, Ioctl, NumberAt};

/// `DMA_HEAP_IOCTL_ALLOC`: allocates a dma-buf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allocate {
    /// Length in bytes, a multiple of the page size.
    pub len_bytes: u64,
    /// The descriptor's access mode.
    pub access: FileAccess,
    /// Whether the descriptor is closed on exec.
    pub cloexec: bool,
    /// Where the program reads the descriptor's number.
    pub number: NumberAt,
}

impl Allocate {
    /// Reads the request. `page_bytes` is the size of a page.
    ///
    /// # Errors
    /// EINVAL and EFAULT where Linux returns them; NOT_GATHERED.
    pub fn read(call: Ioctl<'_>, page_bytes: u64) -> Result<Self, Errno> {
        let Some(Call::Allocate) = FileKind::Heap.find(call.request) else {
            return Err(Errno::EINVAL);
        };
        let mut data = Image([0; size_of::<Data>()]);
        // The request contains the size of the program's structure. The bytes beyond that size are zero.
        let size = (call.request >> 16 & 0x3fff) as usize;
        let given = data.0.get_mut(..size.min(size_of::<Data>()));
        call.caller.read(call.arg, given.ok_or(Errno::EFAULT)?)?;
        let flags = data.u32(offset_of!(Data, fd_flags));
        let is_given =
            data.u32(offset_of!(Data, fd)) != 0 || data.u64(offset_of!(Data, heap_flags)) != 0;
        let allowed = FileAccess::of(flags).filter(|_| !is_given);
        let (access, cloexec) = allowed.ok_or(Errno::EINVAL)?;
        // Linux rounds an overflowing length to zero, which it refuses.
        let len = data.u64(offset_of!(Data, len));
        let len_bytes = len.checked_next_multiple_of(page_bytes).unwrap_or(0);
        if len_bytes == 0 {
            return Err(Errno::EINVAL);
        }
        Ok(Self {
            len_bytes,
            access,
            cloexec,
            number: call.number_at(offset_of!(Data, fd))?,
        })
    }

    /// The request's name.
    pub const NAME: &str = "DMA_HEAP_IOCTL_ALLOC";
    /// The request's number.
    pub const NUMBER: u32 = sys::DMA_HEAP_IOCTL_ALLOC;
}
