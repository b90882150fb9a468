//! Kernel memory, locks and error pointers.
// UNSAFETY: this file, `linux.rs` and `entry.rs` call the kernel. SOUNDNESS.md lists the
// conditions.

use crate::sys;
use core::cell::UnsafeCell;
use core::ffi::{c_int, c_void};
use core::mem::ManuallyDrop;
use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;
use core::sync::atomic::{AtomicPtr, Ordering};

/// A Linux errno, positive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errno(c_int);

impl Errno {
    /// ENXIO.
    pub const NO_SUCH: Self = Self(6);
    /// ENOMEM.
    pub const NO_MEMORY: Self = Self(12);
    /// EFAULT.
    pub const FAULT: Self = Self(14);
    /// EINVAL.
    pub const INVALID: Self = Self(22);

    /// Converts the return value of a C function that failed.
    pub const fn from_c(ret: c_int) -> Self {
        Self(if ret < 0 { ret.wrapping_neg() } else { ret })
    }

    /// Wraps the errno of an error of the `dma`, `dmabuf` and `plane` crates.
    pub const fn new(errno: i32) -> Self {
        Self(errno)
    }

    /// Returns the negative errno for C.
    pub const fn to_c(self) -> c_int {
        self.0.wrapping_neg()
    }

    /// Returns the positive errno.
    pub const fn get(self) -> i32 {
        self.0
    }
}

/// Size in bytes of the address range that encodes errors (`MAX_ERRNO`).
const MAX_ERRNO: usize = 4095;

/// Converts a pointer or error pointer from C to a `Result`. NULL means ENOMEM.
pub fn pointer<T>(at: *mut T) -> Result<NonNull<T>, Errno> {
    let errno = at.addr().wrapping_neg();
    match NonNull::new(at) {
        None => Err(Errno::NO_MEMORY),
        Some(_) if errno <= MAX_ERRNO => Err(Errno(c_int::try_from(errno).unwrap_or(22))),
        Some(at) => Ok(at),
    }
}

/// Makes an error pointer.
pub fn error_pointer<T>(errno: Errno) -> *mut T {
    let raw = usize::try_from(errno.0).unwrap_or(22);
    core::ptr::without_provenance_mut(raw.wrapping_neg())
}

/// A value in a kernel allocation of its own.
pub struct KBox<T>(NonNull<T>);

impl<T> KBox<T> {
    /// Alignment of all allocations. `ARCH_KMALLOC_MINALIGN` is never less.
    const ALIGN: usize = 8;

    /// Allocates memory for a value.
    ///
    /// # Errors
    /// Returns the value if there is no memory.
    pub fn new(value: T) -> Result<Self, T> {
        const { assert!(align_of::<T>() <= Self::ALIGN && size_of::<T>() > 0) };
        // SAFETY: the call has no condition.
        let at = unsafe { sys::vb3_alloc(size_of::<T>()) };
        match NonNull::new(at.cast::<T>()) {
            None => Err(value),
            Some(at) => {
                // SAFETY: the memory is as large and as aligned as T, and no other code has it.
                unsafe { at.write(value) };
                Ok(Self(at))
            }
        }
    }

    /// Returns the value and frees the memory.
    pub fn into_inner(self) -> T {
        let this = ManuallyDrop::new(self);
        // SAFETY: the value exists. `this` is not dropped, so nothing uses the value in place again.
        let value = unsafe { this.0.read() };
        // SAFETY: `new` allocated the memory, and nothing uses it again.
        unsafe { sys::vb3_free(this.0.as_ptr().cast()) };
        value
    }
}

impl<T> Drop for KBox<T> {
    fn drop(&mut self) {
        // SAFETY: the value exists and ends here.
        unsafe { self.0.drop_in_place() };
        // SAFETY: `new` allocated the memory, and nothing uses it again.
        unsafe { sys::vb3_free(self.0.as_ptr().cast()) };
    }
}

impl<T> Deref for KBox<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the value exists as long as this box.
        unsafe { self.0.as_ref() }
    }
}

impl<T> DerefMut for KBox<T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the value exists as long as this box, which is borrowed exclusively.
        unsafe { self.0.as_mut() }
    }
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
        unsafe { sys::vb3_lock(self.payload.as_ptr()) };
        // SAFETY: no other thread is between lock and unlock.
        let value = unsafe { &mut *self.value.get() };
        let result = f(value);
        // SAFETY: this thread locked it above.
        unsafe { sys::vb3_unlock(self.payload.as_ptr()) };
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

    /// Returns the value itself. The caller guarantees that only it uses the buffer.
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

/// A value of a buffer, used only in calls that videobuf2's core serialises for this buffer.
pub struct Serial<T>(UnsafeCell<T>);

impl<T> Serial<T> {
    /// Wraps a value.
    pub const fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    /// Passes the value to `f`, which must not access it by another path.
    ///
    /// # Safety
    /// The call must be one that videobuf2's core serialises for this buffer.
    pub unsafe fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        // SAFETY: the caller is serialised, so no other code uses the value now.
        f(unsafe { &mut *self.0.get() })
    }
}

/// Returns the time in nanoseconds since boot.
pub fn now_ns() -> u64 {
    // SAFETY: the call has no condition.
    unsafe { sys::vb3_now_ns() }
}
