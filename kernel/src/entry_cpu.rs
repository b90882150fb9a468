//! What the shim of `videobuf2-vmalloc` calls: memory that drivers use by the CPU.
// UNSAFETY: like `entry.rs`. What it relies on is in SOUNDNESS.md.

use crate::entry::put;
use crate::import::Buf;
use crate::imported::Import;
use crate::kernel::Errno;
use crate::linux::{Dev, direction_from_c};
use crate::object::{Allocated, Object};
use crate::sys;
use crate::user::User;
use core::ffi::{c_int, c_void};
use core::ptr::NonNull;
use vb3_dma::Coherency;
use vb3_plane::AllocArgs;

/// `alloc`.
///
/// # Safety
/// `to` is an empty payload, `dev` NULL or a device that the caller has.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vb3_rs_alloc_virtual(
    to: *mut c_void,
    dev: *mut sys::Device,
    bytes: u64,
    direction: c_int,
) -> c_int {
    let (Some(to), Some(direction)) = (NonNull::new(to), direction_from_c(direction)) else {
        return Errno::INVALID.to_c();
    };
    let args = AllocArgs {
        len_bytes: bytes,
        direction,
        coherency: Coherency::Coherent,
    };
    // SAFETY: the object takes a reference of its own, and is put into the payload below; it has
    // one lock.
    match unsafe { Allocated::of_cpu(to, Dev::of_cpu(dev), args) } {
        // SAFETY: the caller's promise.
        Ok(made) => unsafe { put(to, Object::Allocated(made)) },
        Err(e) => e.to_c(),
    }
}

/// `get_userptr`.
///
/// # Safety
/// As for `vb3_rs_alloc_virtual`; the device, if there is one, outlives the object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vb3_rs_get_userptr_virtual(
    to: *mut c_void,
    dev: *mut sys::Device,
    at: u64,
    bytes: u64,
    direction: c_int,
) -> c_int {
    let (Some(to), Some(direction)) = (NonNull::new(to), direction_from_c(direction)) else {
        return Errno::INVALID.to_c();
    };
    // SAFETY: the caller's promise.
    let dev = unsafe { Dev::of_cpu(dev) };
    match User::of_cpu(dev, at, bytes, direction) {
        // SAFETY: the caller's promise.
        Ok(made) => unsafe { put(to, Object::User(made)) },
        Err(e) => e.to_c(),
    }
}

/// `attach_dmabuf`.
///
/// # Safety
/// As for `vb3_rs_get_userptr_virtual`; the dma-buf outlives the object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vb3_rs_import_virtual(
    to: *mut c_void,
    dev: *mut sys::Device,
    buf: *mut sys::DmaBuf,
    bytes: u64,
    direction: c_int,
) -> c_int {
    let (Some(to), Some(buf), Some(direction)) = (
        NonNull::new(to),
        NonNull::new(buf),
        direction_from_c(direction),
    ) else {
        return Errno::INVALID.to_c();
    };
    // SAFETY: the caller's promise.
    let (dev, buf) = unsafe { (Dev::of_cpu(dev), Buf::new(buf)) };
    // SAFETY: the object is put into the payload below; it has one lock.
    match unsafe { Import::of_cpu(to, dev, buf, bytes, direction) } {
        // SAFETY: the caller's promise.
        Ok(made) => unsafe { put(to, Object::Import(made)) },
        Err(e) => e.to_c(),
    }
}
