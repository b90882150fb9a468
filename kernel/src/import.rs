//! A plane with the memory of a dma-buf, through the kernel's own calls.
// UNSAFETY: this file calls the kernel, as `linux.rs` does. SOUNDNESS.md lists the conditions.

use crate::device::{Dev, direction_to_c};
use crate::kernel::{Errno, Locked, pointer};
use crate::ledger::Count;
use crate::link::Laid;
use crate::sys::{self, DmaBuf, DmaBufAttachment, SgTable};
use core::ffi::c_void;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicPtr, Ordering};
use vb3_dma::{Direction, DmaAddr};
use vb3_plane::{PlaneError, contig};

/// The state that only `map`, `unmap` and `vaddr` use.
struct State {
    /// The layout of the device's mapping, while there is one.
    laid: Option<Laid>,
    /// Whether the kernel's mapping is I/O memory.
    is_iomem: bool,
}

/// A dma-buf to which the queue holds a reference.
pub struct Import {
    pub(crate) buf: NonNull<DmaBuf>,
    /// The device's attachment.
    attachment: *mut DmaBufAttachment,
    dev: Dev,
    pub(crate) len_bytes: u64,
    state: Locked<State>,
    /// The table of the mapping, while there is one.
    table: AtomicPtr<SgTable>,
    /// The kernel's mapping, which is made under the lock of `state`.
    vaddr: AtomicPtr<c_void>,
    pub(crate) direction: Direction,
}

impl Import {
    /// Imports a dma-buf, and attaches the device.
    ///
    /// # Errors
    /// Returns EFAULT for a dma-buf that is too small, EINVAL for length zero, or the exporter's error.
    ///
    /// # Safety
    /// Payload, dma-buf and device must outlive the import, which must be stored in that payload.
    pub unsafe fn new(
        payload: NonNull<c_void>,
        dev: Dev,
        buf: NonNull<DmaBuf>,
        (len_bytes, direction): (u64, Direction),
    ) -> Result<Self, Errno> {
        // SAFETY: the dma-buf exists.
        let size = unsafe { sys::vb3_buf_size(buf) };
        let fits = contig::fits(size, len_bytes);
        fits.map_err(|e| dev.refused("a dma-buf", e.reason(), e.errno()))?;
        // SAFETY: dma-buf, device and payload exist.
        let made = unsafe { sys::vb3_buf_attach(buf, dev, payload) };
        let made = pointer(made).inspect_err(|errno| dev.refused_by_exporter(buf, *errno));
        let attachment = made?.as_ptr();
        Count::Attachments.add(1);
        let state = State {
            laid: None,
            is_iomem: false,
        };
        Ok(Self {
            buf,
            attachment,
            dev,
            len_bytes,
            // SAFETY: the caller stores the import in the payload.
            state: unsafe { Locked::new(payload, state) },
            table: AtomicPtr::new(ptr::null_mut()),
            vaddr: AtomicPtr::new(ptr::null_mut()),
            direction,
        })
    }

    /// Maps the memory for the device. Returns the device's table and first address.
    /// If the memory is mapped already, returns those of the existing mapping.
    ///
    /// # Errors
    /// Returns EINVAL if mapping fails, and EFAULT for pieces that the device does not accept.
    fn map_into(&self, laid: &mut Option<Laid>) -> Result<(*mut SgTable, DmaAddr), PlaneError> {
        let sgt = self.table.load(Ordering::Acquire);
        if let Some(laid) = laid {
            return Ok((sgt, laid.first.addr));
        }
        let (attachment, direction) = (self.attachment, direction_to_c(self.direction));
        // SAFETY: the attachment exists and is not mapped.
        let sgt = pointer(unsafe { sys::vb3_buf_map(attachment, direction) }).map_err(|errno| {
            self.dev.refused_by_exporter(self.buf, errno);
            PlaneError::Invalid(None)
        })?;
        let wanted = self.len_bytes;
        // SAFETY: the table was mapped above, and is unmapped only after the layout is removed.
        let made = unsafe { Laid::new(self.dev, attachment, sgt, wanted, self.direction) };
        let first = made.first;
        Count::Mappings.add(1);
        *laid = Some(made);
        self.table.store(sgt.as_ptr(), Ordering::Release);
        match contig::one_run(|index| (index == 0).then_some(first), wanted) {
            Ok(addr) => Ok((sgt.as_ptr(), addr)),
            Err(e) => {
                self.unmap_from(laid);
                Err(e)
            }
        }
    }

    fn unmap_from(&self, laid: &mut Option<Laid>) {
        let Some(laid) = laid.take() else {
            return;
        };
        laid.remove();
        let sgt = self.table.swap(ptr::null_mut(), Ordering::AcqRel);
        // SAFETY: `map_into` mapped the table with these values, and its mapping ends here.
        unsafe { sys::vb3_buf_unmap(self.attachment, sgt, direction_to_c(self.direction)) };
        Count::Mappings.add(-1);
    }

    /// Maps the memory for the device, and returns the device's table and first address.
    ///
    /// # Errors
    /// Returns EINVAL if mapping fails, and EFAULT if the memory is scattered.
    pub fn map(&self) -> Result<(*mut SgTable, DmaAddr), Errno> {
        let mapped = self.state.with(|state| self.map_into(&mut state.laid));
        mapped.map_err(|e| self.dev.refused("a dma-buf", e.reason(), e.errno()))
    }

    /// Returns the device, and whether the dma-buf is mapped for it.
    pub fn mapped(&self) -> (Dev, bool) {
        (self.dev, !self.table.load(Ordering::Relaxed).is_null())
    }

    /// Unmaps the memory for the kernel and for the device.
    pub fn unmap(&self) {
        self.state.with(|state| {
            let at = self.vaddr.swap(ptr::null_mut(), Ordering::Relaxed);
            if !at.is_null() {
                // SAFETY: `vaddr` made this mapping, which ends here.
                unsafe { sys::vb3_buf_vunmap(self.buf, at, state.is_iomem) };
            }
            self.unmap_from(&mut state.laid);
        });
    }

    /// Returns the kernel's mapping, or NULL. The first call makes it.
    pub fn vaddr(&self) -> *mut c_void {
        self.state.mapped_once(&self.vaddr, |state| {
            // SAFETY: the dma-buf exists.
            unsafe { sys::vb3_buf_vmap(self.buf, &mut state.is_iomem) }
        })
    }

    /// Unmaps the memory and detaches the device. Called once.
    pub fn detach(&self) {
        self.unmap();
        // SAFETY: `new` made this attachment, which ends here.
        unsafe { sys::vb3_buf_detach(self.attachment) };
        Count::Attachments.add(-1);
    }
}
