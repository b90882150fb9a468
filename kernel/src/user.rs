//! A plane with a program's memory.

use crate::kernel::Errno;
use crate::ledger::Count;
use crate::linux::{Dev, Linux};
use crate::object::{with_cx, with_request};
use crate::sys::SgTable;
use core::ffi::c_void;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicPtr, Ordering};
use vb3_dma::{Direction, DmaAddr, DmaOps};
use vb3_plane::{PlaneError, UserMemory};

/// A program's memory.
pub struct User {
    pub(crate) memory: UserMemory<Linux>,
    pub(crate) direction: Direction,
    /// The kernel's mapping of scattered memory. The first call of `vaddr` makes it.
    view: AtomicPtr<c_void>,
    in_pieces: bool,
}

impl User {
    /// Pins the memory and maps it for a device, as one segment.
    ///
    /// # Errors
    /// Returns EINVAL for a wrong alignment or length zero; EFAULT for memory that is missing,
    /// read-only or scattered; ENOMEM; EIO.
    pub fn contig(
        dev: Dev,
        at: u64,
        len_bytes: u64,
        direction: Direction,
    ) -> Result<(Self, DmaAddr), Errno> {
        let made = with_cx(|cx| UserMemory::contig(cx, dev, &(), at, len_bytes, direction));
        let this = Self::of(dev, direction, made)?;
        let addr = this.memory.dma_addr().unwrap_or(DmaAddr::new(0));
        Ok((this, addr))
    }

    /// Pins the memory and maps it for a device, in pieces. Returns the table.
    ///
    /// # Errors
    /// Returns ENOMEM for every cause.
    pub fn sg(
        dev: Dev,
        at: u64,
        len_bytes: u64,
        direction: Direction,
    ) -> Result<(Self, *mut SgTable), Errno> {
        let ops = Linux {
            in_pieces: true,
            ..Linux::PLAIN
        };
        let made = with_request(&ops, 0, |cx| {
            UserMemory::sg(cx, dev, &(), at, len_bytes, direction)
        });
        let mut this = Self::of(dev, direction, made)?;
        this.in_pieces = true;
        // The first mapping uses the pinned table itself.
        let sgt = this.memory.table().sgt();
        Ok((this, sgt))
    }

    /// Pins the memory and maps it for the CPU.
    ///
    /// # Errors
    /// Returns EINVAL for length zero; EFAULT for memory that is missing or read-only; ENOMEM.
    pub fn of_cpu(dev: Dev, at: u64, len_bytes: u64, direction: Direction) -> Result<Self, Errno> {
        let made = with_cx(|cx| UserMemory::vmalloc(cx, dev, &(), at, len_bytes, direction));
        Self::of(dev, direction, made)
    }

    fn of(
        dev: Dev,
        direction: Direction,
        made: Result<UserMemory<Linux>, PlaneError>,
    ) -> Result<Self, Errno> {
        let memory = made.map_err(|e| dev.refused("user memory", e.reason(), e.errno()))?;
        Count::Objects.add(1);
        Ok(Self {
            memory,
            direction,
            view: AtomicPtr::new(ptr::null_mut()),
            in_pieces: false,
        })
    }

    /// Returns the kernel's mapping, or NULL. Memory that is mapped as one segment has none.
    pub fn vaddr(&self) -> *mut c_void {
        if let Some(vmap) = self.memory.vmap() {
            return vmap.get().as_ptr();
        }
        let known = self.view.load(Ordering::Acquire);
        if !known.is_null() || !self.in_pieces {
            return known;
        }
        let table = self.memory.table();
        let Ok(made) = Linux::PLAIN.vmap_table(table) else {
            return ptr::null_mut();
        };
        let at = made.get().as_ptr();
        let order = (Ordering::AcqRel, Ordering::Acquire);
        match self
            .view
            .compare_exchange(ptr::null_mut(), at, order.0, order.1)
        {
            Ok(_) => at,
            Err(first) => {
                // Another caller has made a mapping in the meantime, which is used instead.
                DmaOps::vunmap(&Linux::PLAIN, made);
                first
            }
        }
    }

    /// Unmaps and unpins the memory.
    pub fn put(self) {
        if let Some(at) = NonNull::new(self.view.load(Ordering::Acquire)) {
            DmaOps::vunmap(&Linux::PLAIN, self.memory.table().vmapped(at));
        }
        with_cx(|cx| self.memory.put(cx));
        Count::Objects.add(-1);
    }
}
