//! Kernel memory, locks, device references and error pointers.
// UNSAFETY: this file, `linux.rs` and `entry.rs` talk to the kernel. What they rely on is in SOUNDNESS.md.

use crate::linux::Dev;
use crate::sys;
use core::cell::UnsafeCell;
use core::ffi::{c_int, c_void};
use core::mem::ManuallyDrop;
use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;

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

    /// What a C function returned, if it is no success.
    pub const fn from_c(ret: c_int) -> Self {
        Self(if ret < 0 { ret.wrapping_neg() } else { ret })
    }

    /// Of an error of our crates.
    pub const fn new(errno: i32) -> Self {
        Self(errno)
    }

    /// What a C function returns for it.
    pub const fn to_c(self) -> c_int {
        self.0.wrapping_neg()
    }

    /// Positive.
    pub const fn get(self) -> i32 {
        self.0
    }
}

/// Most bytes of the address space that are errors instead of addresses (`MAX_ERRNO`).
const MAX_ERRNO: usize = 4095;

/// Takes an error pointer apart. NULL is ENOMEM.
pub fn pointer<T>(at: *mut T) -> Result<NonNull<T>, Errno> {
    let errno = at.addr().wrapping_neg();
    match NonNull::new(at) {
        None => Err(Errno::NO_MEMORY),
        Some(_) if errno <= MAX_ERRNO => Err(Errno(c_int::try_from(errno).unwrap_or(22))),
        Some(at) => Ok(at),
    }
}

/// An error pointer.
pub fn error_pointer<T>(errno: Errno) -> *mut T {
    let raw = usize::try_from(errno.0).unwrap_or(22);
    core::ptr::without_provenance_mut(raw.wrapping_neg())
}

/// One kernel allocation with a value in it.
pub struct KBox<T>(NonNull<T>);

impl<T> KBox<T> {
    /// What the kernel's allocator aligns all memory to (`ARCH_KMALLOC_MINALIGN` is no less).
    const ALIGN: usize = 8;

    /// Allocates.
    ///
    /// # Errors
    /// Gives the value back when there is no memory.
    pub fn new(value: T) -> Result<Self, T> {
        const { assert!(align_of::<T>() <= Self::ALIGN && size_of::<T>() > 0) };
        // SAFETY: no condition.
        let at = unsafe { sys::vb3_alloc(size_of::<T>()) };
        match NonNull::new(at.cast::<T>()) {
            None => Err(value),
            Some(at) => {
                // SAFETY: as large and as aligned as T, and nobody else's.
                unsafe { at.write(value) };
                Ok(Self(at))
            }
        }
    }

    /// Takes the value out and frees the memory.
    pub fn into_inner(self) -> T {
        let this = ManuallyDrop::new(self);
        // SAFETY: the value is there, and is not used in place again: `this` is not dropped.
        let value = unsafe { this.0.read() };
        // SAFETY: allocated by `new`, and not used again.
        unsafe { sys::vb3_free(this.0.as_ptr().cast()) };
        value
    }
}

impl<T> Drop for KBox<T> {
    fn drop(&mut self) {
        // SAFETY: the value is there and ends here.
        unsafe { self.0.drop_in_place() };
        // SAFETY: allocated by `new`, and not used again.
        unsafe { sys::vb3_free(self.0.as_ptr().cast()) };
    }
}

impl<T> Deref for KBox<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the value is there for as long as the box.
        unsafe { self.0.as_ref() }
    }
}

impl<T> DerefMut for KBox<T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the value is there for as long as the box, which is borrowed alone.
        unsafe { self.0.as_mut() }
    }
}

/// A value behind the mutex of the buffer it lies in.
pub struct Locked<T> {
    /// The payload of the C buffer, whose mutex it is.
    payload: NonNull<c_void>,
    value: UnsafeCell<T>,
}

impl<T> Locked<T> {
    /// Puts a value behind the mutex of the buffer with this payload.
    ///
    /// # Safety
    /// The value will lie in that payload, and is the only one with this mutex.
    pub const unsafe fn new(payload: NonNull<c_void>, value: T) -> Self {
        Self {
            payload,
            value: UnsafeCell::new(value),
        }
    }

    /// Uses the value. May sleep; `f` must not use the same value again.
    pub fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        // SAFETY: the buffer is there, because the value lies in it.
        unsafe { sys::vb3_lock(self.payload.as_ptr()) };
        // SAFETY: nobody else is between lock and unlock.
        let value = unsafe { &mut *self.value.get() };
        let result = f(value);
        // SAFETY: locked above.
        unsafe { sys::vb3_unlock(self.payload.as_ptr()) };
        result
    }

    /// The value in place, when nobody else has the buffer.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }

    /// The value, when nobody else has the buffer.
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

/// A value of a plane's memory that only those calls use which videobuf2's core makes one after
/// another.
pub struct Serial<T>(UnsafeCell<T>);

impl<T> Serial<T> {
    /// Wraps a value.
    pub const fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    /// Uses the value; `f` must not use the same value again.
    ///
    /// # Safety
    /// The caller is one of those calls.
    pub unsafe fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        // SAFETY: the caller's promise: nobody else uses it now.
        f(unsafe { &mut *self.0.get() })
    }
}

/// A counted reference that keeps a device.
pub struct DeviceRef(Dev);

impl DeviceRef {
    /// Takes a reference.
    pub fn new(dev: Dev) -> Self {
        // SAFETY: the device is there.
        unsafe { sys::vb3_get_device(dev.raw()) };
        Self(dev)
    }
}

impl Drop for DeviceRef {
    fn drop(&mut self) {
        // SAFETY: taken by `new`.
        unsafe { sys::vb3_put_device(self.0.raw()) };
    }
}

/// The time, in nanoseconds since boot.
pub fn now_ns() -> u64 {
    // SAFETY: no condition.
    unsafe { sys::vb3_now_ns() }
}
