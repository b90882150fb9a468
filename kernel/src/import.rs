//! dma-bufs of other drivers, through the kernel's own calls.
// UNSAFETY: like `linux.rs`. SOUNDNESS.md lists the conditions.

use crate::kernel::{Errno, pointer};
use crate::ledger;
use crate::link::Laid;
use crate::linux::{Cursor, Dev, Linux, direction_to_c};
use crate::sys;
use core::cell::Cell;
use core::ffi::c_void;
use core::ptr::{self, NonNull};
use vb3_dma::{Constraint, Direction, DmaSegment, Reason};
use vb3_dmabuf::{Error, Importer};

/// A dma-buf to which the queue holds a reference.
pub struct Buf {
    at: NonNull<sys::DmaBuf>,
    payload: NonNull<c_void>,
    vaddr: Cell<*mut c_void>,
    /// Whether the exporter's `vaddr` is I/O memory.
    is_iomem: Cell<bool>,
}

impl Buf {
    /// Wraps the dma-buf of the C buffer with this payload.
    ///
    /// # Safety
    /// Both must outlive the value.
    pub const unsafe fn new(at: NonNull<sys::DmaBuf>, payload: NonNull<c_void>) -> Self {
        Self {
            at,
            payload,
            vaddr: Cell::new(ptr::null_mut()),
            is_iomem: Cell::new(false),
        }
    }

    /// Returns the kernel's dma-buf.
    pub const fn raw(&self) -> *mut sys::DmaBuf {
        self.at.as_ptr()
    }

    /// Returns its kernel mapping, or NULL without one.
    pub fn vaddr(&self) -> *mut c_void {
        self.vaddr.get()
    }
}

/// A device attached to a dma-buf.
pub struct Attached {
    at: NonNull<sys::DmaBufAttachment>,
    dev: Dev,
    /// Bytes that must be contiguous.
    wanted: u64,
    mapped: Option<Mapped>,
}

impl Attached {
    /// Sets how many bytes must be contiguous; initially none.
    #[must_use]
    pub fn wanting(self, len_bytes: u64) -> Self {
        Self {
            wanted: len_bytes,
            ..self
        }
    }

    /// Returns the exporter's table while it is mapped.
    pub fn sgt(&self) -> Option<*mut sys::SgTable> {
        self.mapped.as_ref().map(|mapped| mapped.sgt.as_ptr())
    }

    /// Returns the direction in which it is mapped, if it is.
    pub fn direction(&self) -> Option<Direction> {
        self.mapped.as_ref().map(|mapped| mapped.direction)
    }
}

struct Mapped {
    sgt: NonNull<sys::SgTable>,
    direction: Direction,
    laid: Laid,
    cursor: Cursor,
}

const fn exporter(errno: Errno) -> Error {
    Error::Exporter { errno: errno.get() }
}

impl Importer for Linux {
    type Device = Dev;
    type Buf = Buf;
    type Attachment = Attached;

    fn size(&self, buf: &Buf) -> u64 {
        // SAFETY: the dma-buf exists.
        unsafe { sys::vb3_buf_size(buf.at.as_ptr()) }
    }

    fn attach(&self, buf: &Buf, dev: Dev) -> Result<Attached, Error> {
        let payload = buf.payload.as_ptr();
        // SAFETY: dma-buf, device and payload exist.
        let at = unsafe { sys::vb3_buf_attach(buf.at.as_ptr(), dev.raw(), payload) };
        let at = pointer(at).map_err(exporter)?;
        ledger::ATTACHMENTS.add(1);
        Ok(Attached {
            at,
            dev,
            wanted: 0,
            mapped: None,
        })
    }

    fn map(&self, attachment: &mut Attached, direction: Direction) -> Result<(), Error> {
        if attachment.mapped.is_some() {
            return Err(Error::Busy);
        }
        // SAFETY: the attachment exists and is not mapped.
        let sgt = unsafe { sys::vb3_buf_map(attachment.at.as_ptr(), direction_to_c(direction)) };
        let sgt = pointer(sgt).map_err(|errno| {
            // SAFETY: the attachment exists.
            if !unsafe { sys::vb3_buf_is_own(attachment.at.as_ptr()) } {
                attachment.dev.refused_by_exporter(errno);
            }
            exporter(errno)
        })?;
        let (dev, at) = (attachment.dev, attachment.at.as_ptr());
        attachment.mapped = Some(Mapped {
            sgt,
            direction,
            // SAFETY: mapped above, and unmapped after this value is dropped.
            laid: unsafe { Laid::new(dev, at, sgt, attachment.wanted, direction) },
            cursor: Cursor::new(),
        });
        ledger::MAPPINGS.add(1);
        Ok(())
    }

    fn segment(&self, attachment: &Attached, index: usize) -> Option<DmaSegment> {
        let mapped = attachment.mapped.as_ref()?;
        if let Some(whole) = mapped.laid.whole() {
            return (index == 0).then_some(whole);
        }
        // SAFETY: the table is mapped as long as `mapped` exists.
        unsafe { mapped.cursor.segment(mapped.sgt, index) }
    }

    fn unmap(&self, attachment: &mut Attached) {
        let Some(mapped) = attachment.mapped.take() else {
            return;
        };
        let direction = direction_to_c(mapped.direction);
        drop(mapped.laid);
        // SAFETY: mapped by `map` with these values, and ends here.
        unsafe {
            sys::vb3_buf_unmap(attachment.at.as_ptr(), mapped.sgt.as_ptr(), direction);
        }
        ledger::MAPPINGS.add(-1);
    }

    fn detach(&self, mut attachment: Attached) {
        self.unmap(&mut attachment);
        // SAFETY: attached by `attach`, and ends here.
        unsafe { sys::vb3_buf_detach(attachment.at.as_ptr()) };
        ledger::ATTACHMENTS.add(-1);
    }

    fn begin_cpu_access(&self, buf: &Buf, direction: Direction) -> Result<(), Error> {
        // SAFETY: the dma-buf exists.
        match unsafe { sys::vb3_buf_begin(buf.at.as_ptr(), direction_to_c(direction)) } {
            0 => Ok(()),
            ret => Err(exporter(Errno::from_c(ret))),
        }
    }

    fn end_cpu_access(&self, buf: &Buf, direction: Direction) -> Result<(), Error> {
        // SAFETY: the dma-buf exists.
        match unsafe { sys::vb3_buf_end(buf.at.as_ptr(), direction_to_c(direction)) } {
            0 => Ok(()),
            ret => Err(exporter(Errno::from_c(ret))),
        }
    }

    fn vmap(&self, buf: &Buf) -> Result<(), Error> {
        if !buf.vaddr.get().is_null() {
            return Err(Error::Busy);
        }
        let mut is_iomem = false;
        // SAFETY: the dma-buf exists, and `is_iomem` can be written.
        let at = NonNull::new(unsafe { sys::vb3_buf_vmap(buf.at.as_ptr(), &raw mut is_iomem) });
        let at = at.ok_or(Error::Dma(vb3_dma::Error::NoSuchMemory(Reason {
            constraint: Constraint::PagesBehind,
            wanted: self.size(buf),
            found: 0,
        })))?;
        buf.vaddr.set(at.as_ptr());
        buf.is_iomem.set(is_iomem);
        Ok(())
    }

    fn vunmap(&self, buf: &Buf) {
        let at = buf.vaddr.replace(ptr::null_mut());
        if !at.is_null() {
            // SAFETY: mapped by `vmap`, and ends here.
            unsafe { sys::vb3_buf_vunmap(buf.at.as_ptr(), at, buf.is_iomem.get()) };
        }
    }
}
