//! A plane with another driver's memory.

use crate::import::{Attached, Buf};
use crate::kernel::{Errno, Locked, Serial};
use crate::ledger;
use crate::linux::{Dev, Linux};
use crate::object::errno;
use crate::sys::{DmaBuf, SgTable};
use core::ffi::c_void;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use vb3_dma::{Direction, DmaAddr, SyncFor};
use vb3_dmabuf::Importer;
use vb3_plane::{PlaneError, contig, sg};

/// Another driver's memory.
pub struct Import {
    /// The attachment, until it is detached; `None` if only the CPU uses the memory. Only for
    /// `map`, `unmap` and `detach`, which the queue's lock serialises.
    attached: Serial<Option<Attached>>,
    /// Whether only the CPU uses the memory.
    pub(crate) of_cpu: bool,
    /// The dma-buf, with its kernel mapping.
    buf: Locked<Buf>,
    vaddr: AtomicPtr<c_void>,
    raw: *mut DmaBuf,
    is_mapped: AtomicBool,
    pub(crate) in_pieces: bool,
    /// The table that hand-overs sync while it is mapped.
    table: AtomicPtr<SgTable>,
    dev: Dev,
    pub(crate) direction: Direction,
    len_bytes: u64,
}

/// Logs why a dma-buf was refused. Returns the errno.
fn refused(dev: Dev, error: PlaneError) -> Errno {
    dev.refused("a dma-buf", error.reason());
    errno(error)
}

impl Import {
    /// Attaches a device, which may accept scattered memory (`in_pieces`).
    ///
    /// # Errors
    /// Returns EFAULT for a dma-buf that is too small, or the exporter's error.
    ///
    /// # Safety
    /// As [`Locked::new`].
    pub unsafe fn attached(
        payload: NonNull<c_void>,
        dev: Dev,
        buf: Buf,
        asked: (u64, Direction),
        in_pieces: bool,
    ) -> Result<Self, Errno> {
        let attached = contig::attach(&Linux, &buf, dev, asked.0).map_err(|e| refused(dev, e))?;
        let attached = attached.wanting(if in_pieces { 0 } else { asked.0 });
        // SAFETY: the caller's promise.
        let made = unsafe { Self::of(payload, dev, buf, Some(attached), asked) };
        Ok(Self { in_pieces, ..made })
    }

    /// Imports it for the CPU.
    ///
    /// # Errors
    /// Returns EFAULT for a dma-buf that is too small, and EINVAL for length zero.
    ///
    /// # Safety
    /// As [`Locked::new`].
    pub unsafe fn of_cpu(
        payload: NonNull<c_void>,
        dev: Dev,
        buf: Buf,
        len_bytes: u64,
        direction: Direction,
    ) -> Result<Self, Errno> {
        contig::fits(Linux.size(&buf), len_bytes).map_err(|e| refused(dev, e))?;
        // SAFETY: the caller's promise.
        Ok(unsafe { Self::of(payload, dev, buf, None, (len_bytes, direction)) })
    }

    /// # Safety
    /// As [`Locked::new`].
    unsafe fn of(
        payload: NonNull<c_void>,
        dev: Dev,
        buf: Buf,
        attached: Option<Attached>,
        (len_bytes, direction): (u64, Direction),
    ) -> Self {
        ledger::OBJECTS.add(1);
        Self {
            of_cpu: attached.is_none(),
            attached: Serial::new(attached),
            raw: buf.raw(),
            // SAFETY: the caller's promise.
            buf: unsafe { Locked::new(payload, buf) },
            vaddr: AtomicPtr::new(ptr::null_mut()),
            is_mapped: AtomicBool::new(false),
            in_pieces: false,
            table: AtomicPtr::new(ptr::null_mut()),
            dev,
            direction,
            len_bytes,
        }
    }

    /// Maps the scattered memory and returns its table. Returns the existing table if it is mapped.
    ///
    /// # Errors
    /// Returns EINVAL if mapping fails.
    ///
    /// # Safety
    /// As [`Serial::with`].
    pub unsafe fn map_sg(&self) -> Result<*mut SgTable, Errno> {
        let map = |attached: &mut Option<Attached>| {
            let attached = attached.as_mut().ok_or(PlaneError::Invalid(None))?;
            if attached.direction().is_none() {
                sg::map(&Linux, attached, self.direction)?;
            }
            attached.sgt().ok_or(PlaneError::Invalid(None))
        };
        // SAFETY: the caller's promise.
        let mapped = unsafe { self.attached.with(map) };
        self.is_mapped.store(mapped.is_ok(), Ordering::Relaxed);
        let sgt = mapped.map_err(|e| refused(self.dev, e))?;
        self.table.store(sgt, Ordering::Release);
        Ok(sgt)
    }

    /// Syncs the table while it is mapped.
    pub(crate) fn sync(&self, sync: SyncFor) {
        if let Some(sgt) = NonNull::new(self.table.load(Ordering::Acquire)) {
            // SAFETY: the core does not unmap a buffer while it hands it over.
            unsafe { Linux.sync_table(self.dev, sgt, self.direction, sync) };
            ledger::SYNCS.add(1);
        }
    }

    /// Maps the memory as one segment. Returns the existing address if it is mapped. For the CPU,
    /// maps it for the CPU and returns no address.
    ///
    /// # Errors
    /// Returns EINVAL if mapping fails, and EFAULT if it is scattered or the CPU cannot map it.
    ///
    /// # Safety
    /// As [`Serial::with`].
    pub unsafe fn map(&self) -> Result<DmaAddr, Errno> {
        let map = |attached: &mut Option<Attached>| {
            let attached = attached.as_mut().ok_or(PlaneError::Invalid(None))?;
            if attached.direction().is_some() {
                let first = Importer::segment(&Linux, attached, 0);
                return first.map(|s| s.addr).ok_or(PlaneError::Invalid(None));
            }
            let addr = contig::map(&Linux, attached, self.direction, self.len_bytes)?;
            let sgt = attached.sgt().unwrap_or(ptr::null_mut());
            self.table.store(sgt, Ordering::Release);
            Ok(addr)
        };
        let mapped = if self.of_cpu {
            let is_mapped = !self.vaddr().is_null();
            is_mapped
                .then_some(DmaAddr::new(0))
                .ok_or(PlaneError::Fault(None))
        } else {
            // SAFETY: the caller's promise.
            unsafe { self.attached.with(map) }
        };
        self.is_mapped.store(mapped.is_ok(), Ordering::Relaxed);
        mapped.map_err(|e| refused(self.dev, e))
    }

    /// Returns bytes, direction and the dma-buf.
    pub fn facts(&self) -> (u64, Direction, *mut DmaBuf) {
        (self.len_bytes, self.direction, self.raw)
    }

    /// Returns the device, and the direction in which it has the dma-buf mapped, if it has.
    pub fn mapped(&self) -> (Dev, Option<Direction>) {
        let is_mapped = self.is_mapped.load(Ordering::Relaxed);
        (self.dev, is_mapped.then_some(self.direction))
    }

    /// Unmaps the memory for kernel and device.
    ///
    /// # Safety
    /// As [`Serial::with`].
    pub unsafe fn unmap(&self) {
        if !self.vaddr.load(Ordering::Acquire).is_null() {
            self.buf.with(|buf| {
                self.vaddr.store(ptr::null_mut(), Ordering::Relaxed);
                Importer::vunmap(&Linux, buf);
            });
        }
        self.table.store(ptr::null_mut(), Ordering::Release);
        let unmap = |attached: &mut Option<Attached>| {
            if let Some(attached) = attached {
                Importer::unmap(&Linux, attached);
            }
        };
        // SAFETY: the caller's promise.
        unsafe { self.attached.with(unmap) };
        self.is_mapped.store(false, Ordering::Relaxed);
    }

    /// Returns the kernel's mapping, made at the first call, or NULL if there is none.
    pub fn vaddr(&self) -> *mut c_void {
        let known = self.vaddr.load(Ordering::Acquire);
        if !known.is_null() {
            return known;
        }
        self.buf.with(|buf| {
            if buf.vaddr().is_null() && Importer::vmap(&Linux, buf).is_err() {
                return ptr::null_mut();
            }
            self.vaddr.store(buf.vaddr(), Ordering::Release);
            buf.vaddr()
        })
    }

    /// Unmaps and detaches. Called once.
    ///
    /// # Safety
    /// As [`Serial::with`].
    pub unsafe fn detach(&self) {
        // SAFETY: the caller's promise.
        let attached = unsafe {
            self.unmap();
            self.attached.with(Option::take)
        };
        if let Some(attached) = attached {
            Linux.detach(attached);
            ledger::OBJECTS.add(-1);
        } else if self.of_cpu {
            ledger::OBJECTS.add(-1);
        }
    }
}
