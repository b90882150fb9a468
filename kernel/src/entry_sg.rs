//! Functions for the shim of `videobuf2-dma-sg`, whose devices accept scattered memory.
// UNSAFETY: like `entry.rs`. SOUNDNESS.md lists the conditions.

use crate::entry::{self, answer, given, handed_over, import, put};
use crate::kernel::Errno;
use crate::linux::Dev;
use crate::object::{Allocated, Object};
use crate::sys;
use crate::user::User;
use core::ffi::{c_int, c_uint, c_void};
use vb3_dma::Coherency;
use vb3_plane::AllocArgs;

/// Implements `alloc`.
///
/// # Safety
/// `to` is an empty payload, the caller holds `dev`, and `table` can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vb3_rs_alloc_sg(
    to: *mut c_void,
    dev: *mut sys::Device,
    bytes: u64,
    direction: c_int,
    gfp: c_uint,
    table: *mut *mut sys::SgTable,
) -> c_int {
    answer(|| {
        let (to, dev) = (given(to)?, given(dev)?);
        let args = AllocArgs {
            len_bytes: bytes,
            direction: entry::direction(direction)?,
            coherency: Coherency::NonCoherent,
        };
        // SAFETY: the buffer takes its own reference.
        let dev = unsafe { Dev::new(dev) }.with_wishes(gfp, 0);
        // SAFETY: the caller's promise.
        let sgt = unsafe { Allocated::sg(to, dev, args) }?;
        // SAFETY: the caller's promise.
        unsafe { table.write(sgt) };
        // SAFETY: it was made.
        Ok(unsafe { handed_over(to) })
    })
}

/// Implements `get_userptr`.
///
/// # Safety
/// As for `vb3_rs_alloc_sg`; the device outlives the object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vb3_rs_get_userptr_sg(
    to: *mut c_void,
    dev: *mut sys::Device,
    at: u64,
    bytes: u64,
    direction: c_int,
    table: *mut *mut sys::SgTable,
) -> c_int {
    answer(|| {
        let (to, dev) = (given(to)?, given(dev)?);
        // SAFETY: the caller's promise.
        let dev = unsafe { Dev::new(dev) };
        let (made, sgt) = User::sg(dev, at, bytes, entry::direction(direction)?)?;
        // SAFETY: the caller's promise.
        unsafe { table.write(sgt) };
        // SAFETY: the caller's promise.
        Ok(unsafe { put(to, Object::User(made)) })
    })
}

/// Implements `map_dmabuf`. A second call returns the same table.
///
/// # Safety
/// See the documentation of `entry.rs`; `table` can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vb3_rs_import_map_sg(
    rust: *mut c_void,
    table: *mut *mut sys::SgTable,
) -> c_int {
    answer(|| {
        // SAFETY: the caller's promise.
        let import = unsafe { import(rust) }.ok_or(Errno::INVALID)?;
        // SAFETY: the core maps one plane's dma-buf at a time.
        let sgt = unsafe { import.map_sg() }?;
        // SAFETY: the caller's promise.
        unsafe { table.write(sgt) };
        Ok(0)
    })
}
