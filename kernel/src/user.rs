//! A plane with a program's memory.

use crate::device::Dev;
use crate::kernel::Errno;
use crate::linux::Linux;
use crate::object::with_cx;
use core::ffi::c_void;
use core::ptr::{self, NonNull};
use core::sync::atomic::AtomicPtr;
use core::sync::atomic::Ordering::{AcqRel, Acquire};
use vb3_dma::DmaOps;
use vb3_plane::{PlaneError, UserMemory};

/// A program's memory.
pub struct User {
    pub(crate) memory: UserMemory<Linux>,
    /// The kernel's mapping of memory that is mapped for a device. The first call of `vaddr` makes it.
    view: AtomicPtr<c_void>,
}

impl User {
    /// Wraps pinned memory.
    ///
    /// # Errors
    /// Returns the errno of memory that could not be pinned or mapped.
    pub fn new(dev: Dev, made: Result<UserMemory<Linux>, PlaneError>) -> Result<Self, Errno> {
        let memory = made.map_err(|e| dev.refused("user memory", e.reason(), e.errno()))?;
        Ok(Self {
            memory,
            view: AtomicPtr::new(ptr::null_mut()),
        })
    }

    /// Returns the kernel's mapping, or NULL.
    pub fn vaddr(&self) -> *mut c_void {
        let known = self.view.load(Acquire);
        if !known.is_null() {
            return known;
        }
        let Ok(made) = Linux::PLAIN.vmap(self.memory.memory()) else {
            return ptr::null_mut();
        };
        let (none, at) = (ptr::null_mut(), made.at.as_ptr());
        if let Err(first) = self.view.compare_exchange(none, at, AcqRel, Acquire) {
            // Another caller has made a mapping in the meantime, which is used instead.
            Linux::PLAIN.vunmap(made);
            return first;
        }
        at
    }

    /// Unmaps and unpins the memory.
    pub fn put(self) {
        let at = NonNull::new(self.view.load(Acquire));
        if let Some(view) = at.and_then(|at| self.memory.memory().vmapped(at)) {
            Linux::PLAIN.vunmap(view);
        }
        with_cx(|cx| self.memory.put(cx));
    }
}
