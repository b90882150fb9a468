//! Kernel locks and error pointers.
// UNSAFETY: this file, `linux.rs` and `entry.rs` call the kernel. SOUNDNESS.md lists the
// conditions.

use crate::sys;
use core::cell::UnsafeCell;
use core::ffi::{c_int, c_void};
use core::ptr::NonNull;
use core::sync::atomic::{AtomicPtr, Ordering};

/// A Linux errno, positive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errno(pub c_int);

impl Errno {
    pub const ENXIO: Self = Self(6);
    pub const ENOMEM: Self = Self(12);
    pub const EFAULT: Self = Self(14);
    pub const EINVAL: Self = Self(22);

    /// Returns the negative errno for C.
    pub const fn to_c(self) -> c_int {
        self.0.wrapping_neg()
    }
}

/// Size in bytes of the address range that encodes errors (`MAX_ERRNO`).
const MAX_ERRNO: usize = 4095;

/// Converts a pointer or error pointer from C to a `Result`. NULL means ENOMEM.
pub fn pointer<T>(at: *mut T) -> Result<NonNull<T>, Errno> {
    let errno = at.addr().wrapping_neg();
    match NonNull::new(at) {
        None => Err(Errno::ENOMEM),
        Some(_) if errno <= MAX_ERRNO => Err(Errno(c_int::try_from(errno).unwrap_or(22))),
        Some(at) => Ok(at),
    }
}

/// Makes an error pointer.
pub fn error_pointer<T>(errno: Errno) -> *mut T {
    let raw = usize::try_from(errno.0).unwrap_or(22);
    core::ptr::without_provenance_mut(raw.wrapping_neg())
}

/// A value behind the mutex of the buffer that contains it.
pub struct Locked<T> {
    /// The payload of the C buffer that has the mutex.
    payload: NonNull<c_void>,
    value: UnsafeCell<T>,
}

impl<T> Locked<T> {
    /// Wraps a value, which the mutex of the buffer with this payload will protect.
    ///
    /// # Safety
    /// The value must be stored in that payload, as the only value with this mutex.
    pub const unsafe fn new(payload: NonNull<c_void>, value: T) -> Self {
        Self {
            payload,
            value: UnsafeCell::new(value),
        }
    }

    /// Locks the mutex and passes the value to `f`. May sleep. `f` must not lock the mutex again.
    pub fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        // SAFETY: the buffer exists, since it contains the value.
        unsafe { sys::vb3_lock(self.payload) };
        // SAFETY: no other thread is between lock and unlock.
        let value = unsafe { &mut *self.value.get() };
        let result = f(value);
        // SAFETY: this thread locked it above.
        unsafe { sys::vb3_unlock(self.payload) };
        result
    }

    /// Returns the kernel mapping in `at`. If there is none, `make` makes one under the lock.
    /// `make` returns NULL if it fails.
    pub fn mapped_once(
        &self,
        at: &AtomicPtr<c_void>,
        make: impl FnOnce(&mut T) -> *mut c_void,
    ) -> *mut c_void {
        let known = at.load(Ordering::Acquire);
        if !known.is_null() {
            return known;
        }
        self.with(|value| {
            let mut known = at.load(Ordering::Relaxed);
            if known.is_null() {
                known = make(value);
                at.store(known, Ordering::Release);
            }
            known
        })
    }

    /// Returns the value in place, without the mutex. The caller guarantees that only it uses the buffer.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }
}
