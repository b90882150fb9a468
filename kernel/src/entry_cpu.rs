//! Functions for the shim of `videobuf2-vmalloc`, whose memory drivers access with the CPU.
// UNSAFETY: like `entry.rs`. SOUNDNESS.md lists the conditions.

use crate::entry::{self, answer, given, handed_over, put};
use crate::import::Buf;
use crate::imported::Import;
use crate::linux::Dev;
use crate::object::{Allocated, Object};
use crate::sys;
use crate::user::User;
use core::ffi::{c_int, c_void};
use vb3_dma::Coherency;
use vb3_plane::AllocArgs;

/// Implements `alloc`.
///
/// # Safety
/// `to` is an empty payload; `dev` is NULL or a device that the caller holds.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vb3_rs_alloc_virtual(
    to: *mut c_void,
    dev: *mut sys::Device,
    bytes: u64,
    direction: c_int,
) -> c_int {
    answer(|| {
        let to = given(to)?;
        let args = AllocArgs {
            len_bytes: bytes,
            direction: entry::direction(direction)?,
            coherency: Coherency::Coherent,
        };
        // SAFETY: the buffer takes its own reference; the caller's promise.
        unsafe { Allocated::of_cpu(to, Dev::of_cpu(dev), args) }?;
        // SAFETY: it was made.
        Ok(unsafe { handed_over(to) })
    })
}

/// Implements `get_userptr`.
///
/// # Safety
/// As for `vb3_rs_alloc_virtual`; a device outlives the object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vb3_rs_get_userptr_virtual(
    to: *mut c_void,
    dev: *mut sys::Device,
    at: u64,
    bytes: u64,
    direction: c_int,
) -> c_int {
    answer(|| {
        let to = given(to)?;
        // SAFETY: the caller's promise.
        let dev = unsafe { Dev::of_cpu(dev) };
        let made = User::of_cpu(dev, at, bytes, entry::direction(direction)?)?;
        // SAFETY: the caller's promise.
        Ok(unsafe { put(to, Object::User(made)) })
    })
}

/// Implements `attach_dmabuf`.
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
    answer(|| {
        let (to, buf) = (given(to)?, given(buf)?);
        let direction = entry::direction(direction)?;
        // SAFETY: the caller's promise.
        let (dev, buf) = unsafe { (Dev::of_cpu(dev), Buf::new(buf, to)) };
        // SAFETY: the object is put into the payload below; it has one lock.
        let made = unsafe { Import::of_cpu(to, dev, buf, bytes, direction) }?;
        // SAFETY: the caller's promise.
        Ok(unsafe { put(to, Object::Import(made)) })
    })
}
