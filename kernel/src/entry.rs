//! What the shim calls; of vmalloc `entry_cpu.rs`, and of dma-sg `entry_sg.rs`.
// UNSAFETY: raw pointers come from C. What this relies on is in SOUNDNESS.md.
//!
//! Every `rust` is the payload of a C buffer, in which one of the functions that take `to` has
//! put an [`Object`] and succeeded; `vb3_rs_release`, `vb3_rs_put_userptr` and
//! `vb3_rs_import_detach` end it, and are called once, by the last who has it.

use crate::import::Buf;
use crate::imported::Import;
use crate::kernel::{Errno, error_pointer};
use crate::ledger;
use crate::linux::{Dev, attrs_from_c, direction_from_c};
use crate::object::{Allocated, Object};
use crate::user::User;
use crate::{attachments::Key, sys};
use core::ffi::{c_int, c_uint, c_ulong, c_void};
use core::ptr::{self, NonNull};
use vb3_dma::{Coherency, Direction, SyncFor};
use vb3_dmabuf::UserKind;
use vb3_plane::{AllocArgs, Due};

const _: () = assert!(align_of::<Object>() <= align_of::<u64>());

/// The object in a payload.
///
/// # Safety
/// As the module's head says; nobody ends it during `'a`.
pub(crate) unsafe fn object<'a>(rust: *mut c_void) -> Option<&'a Object> {
    // SAFETY: the caller's promise.
    unsafe { rust.cast::<Object>().as_ref() }
}

/// # Safety
/// As [`object`].
unsafe fn allocated<'a>(rust: *mut c_void) -> Option<&'a Allocated> {
    // SAFETY: the caller's promise.
    match unsafe { object(rust) } {
        Some(Object::Allocated(a)) => Some(a),
        _ => None,
    }
}

/// # Safety
/// As [`object`].
pub(crate) unsafe fn import<'a>(rust: *mut c_void) -> Option<&'a Import> {
    // SAFETY: the caller's promise.
    match unsafe { object(rust) } {
        Some(Object::Import(i)) => Some(i),
        _ => None,
    }
}

const fn user_kind(raw: c_int) -> UserKind {
    match raw {
        0 => UserKind::Plane,
        1 => UserKind::Mapping,
        _ => UserKind::Export,
    }
}

/// What C is told of `made`: 1 or 0 as it says, or the negative errno.
#[inline]
pub(crate) fn answer(made: impl FnOnce() -> Result<c_int, Errno>) -> c_int {
    made().unwrap_or_else(Errno::to_c)
}

/// A pointer of C's that must be there.
///
/// # Errors
/// EINVAL for NULL.
#[inline]
pub(crate) fn given<T>(pointer: *mut T) -> Result<NonNull<T>, Errno> {
    NonNull::new(pointer).ok_or(Errno::INVALID)
}

/// A direction of C's.
///
/// # Errors
/// EINVAL for what is none.
#[inline]
pub(crate) fn direction(raw: c_int) -> Result<Direction, Errno> {
    direction_from_c(raw).ok_or(Errno::INVALID)
}

/// Bytes of a payload.
#[unsafe(no_mangle)]
pub extern "C" fn vb3_rs_bytes() -> usize {
    size_of::<Object>()
}

/// `alloc`.
///
/// # Safety
/// `to` is an empty payload, `dev` a device that the caller has, `addr` can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vb3_rs_alloc(
    to: *mut c_void,
    dev: *mut sys::Device,
    bytes: u64,
    direction: c_int,
    gfp: c_uint,
    attrs: c_ulong,
    non_coherent: bool,
    addr: *mut u64,
) -> c_int {
    answer(|| {
        let (to, dev) = (given(to)?, given(dev)?);
        let args = AllocArgs {
            len_bytes: bytes,
            direction: self::direction(direction)?,
            coherency: if non_coherent {
                Coherency::NonCoherent
            } else {
                Coherency::Coherent
            },
        };
        // SAFETY: the object takes a reference of its own.
        let dev = unsafe { Dev::new(dev) }.with_wishes(gfp, attrs);
        // SAFETY: the caller's promise.
        let at = unsafe { Allocated::contig(to, dev, args, attrs_from_c(attrs)) }?;
        // SAFETY: the caller's promise.
        unsafe { addr.write(at.get()) };
        // SAFETY: it was made.
        Ok(unsafe { handed_over(to) })
    })
}

/// 1 if hand-overs of the object in a payload can have anything to do.
///
/// # Safety
/// The payload is not empty.
pub(crate) unsafe fn handed_over(payload: NonNull<c_void>) -> c_int {
    // SAFETY: the caller's promise.
    c_int::from(unsafe { payload.cast::<Object>().as_ref() }.is_handed_over())
}

/// Puts an object into its payload; 1 if hand-overs can have anything to do.
///
/// # Safety
/// `to` is an empty payload.
pub(crate) unsafe fn put(to: NonNull<c_void>, object: Object) -> c_int {
    // SAFETY: large enough (`vb3_rs_bytes`) and aligned like u64 (asserted above).
    unsafe { to.cast::<Object>().write(object) };
    // SAFETY: it was put there.
    unsafe { handed_over(to) }
}

/// Counts a user of allocated memory.
///
/// # Safety
/// As the module's head says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vb3_rs_add_user(rust: *mut c_void, kind: c_int) {
    // SAFETY: the caller's promise.
    if let Some(a) = unsafe { allocated(rust) } {
        a.add_user(user_kind(kind));
    }
}

/// Counts a user less.
///
/// # Safety
/// As the module's head says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vb3_rs_drop_user(rust: *mut c_void, kind: c_int) {
    // SAFETY: the caller's promise.
    if let Some(a) = unsafe { allocated(rust) } {
        a.drop_user(user_kind(kind));
    }
}

/// Ends allocated memory.
///
/// # Safety
/// As the module's head says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vb3_rs_release(rust: *mut c_void) {
    // SAFETY: the caller's promise; nobody else has it any more.
    if let Some(Object::Allocated(a)) = unsafe { rust.cast::<Object>().as_mut() } {
        // SAFETY: the caller's promise.
        unsafe { a.end() };
    }
}

/// `get_dmabuf`; NULL on failure.
///
/// # Safety
/// As the module's head says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vb3_rs_export(rust: *mut c_void, flags: c_ulong) -> *mut sys::DmaBuf {
    // SAFETY: the caller's promise.
    let Some(Ok(bytes)) = unsafe { allocated(rust) }.map(Allocated::export) else {
        return ptr::null_mut();
    };
    // SAFETY: it is the payload of allocated memory, which the caller holds.
    unsafe { sys::vb3_export(rust, bytes, flags) }
}

/// `vaddr`.
///
/// # Safety
/// As the module's head says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vb3_rs_vaddr(rust: *mut c_void) -> *mut c_void {
    // SAFETY: the caller's promise.
    match unsafe { object(rust) } {
        Some(Object::Allocated(a)) => a.vaddr(),
        Some(Object::Import(i)) => i.vaddr(),
        Some(Object::User(u)) => u.vaddr(),
        None => ptr::null_mut(),
    }
}

/// `prepare` and `finish`. Does not sleep. 1 if there was a sync, -1 if a hint left it out, else 0.
///
/// # Safety
/// As the module's head says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vb3_rs_hand_over(rust: *mut c_void, to_device: bool, skip: bool) -> c_int {
    let sync = if to_device {
        SyncFor::Device
    } else {
        SyncFor::Cpu
    };
    // SAFETY: the caller's promise.
    match unsafe { object(rust) }.map(|object| object.hand_over(sync, skip)) {
        Some(Due::Sync) => 1,
        Some(Due::Skipped) => -1,
        _ => 0,
    }
}

/// `mmap`.
///
/// # Safety
/// As the module's head says; `vma` is being mapped.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vb3_rs_mmap(
    rust: *mut c_void,
    vma: *mut sys::Vma,
    offset: u64,
    bytes: u64,
) -> c_int {
    // SAFETY: the caller's promise.
    let Some(a) = (unsafe { allocated(rust) }) else {
        return Errno::INVALID.to_c();
    };
    match a.mmap(offset, bytes) {
        // SAFETY: the caller's promise; the memory is there, because the caller holds it.
        Ok(mmap) => unsafe { mmap.map(vma) },
        Err(e) => e.to_c(),
    }
}

/// `get_userptr`.
///
/// # Safety
/// As for `vb3_rs_alloc`; the device outlives the object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vb3_rs_get_userptr(
    to: *mut c_void,
    dev: *mut sys::Device,
    at: u64,
    bytes: u64,
    direction: c_int,
    addr: *mut u64,
) -> c_int {
    answer(|| {
        let (to, dev) = (given(to)?, given(dev)?);
        // SAFETY: the caller's promise.
        let dev = unsafe { Dev::new(dev) };
        let (made, at) = User::contig(dev, at, bytes, self::direction(direction)?)?;
        // SAFETY: the caller's promise.
        unsafe { addr.write(at.get()) };
        // SAFETY: the caller's promise.
        Ok(unsafe { put(to, Object::User(made)) })
    })
}

/// `put_userptr`.
///
/// # Safety
/// As the module's head says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vb3_rs_put_userptr(rust: *mut c_void) {
    // SAFETY: the caller's promise.
    if let Some(Object::User(user)) = unsafe { object(rust) } {
        // SAFETY: nobody uses what is left behind.
        unsafe { ptr::read(user) }.put();
    }
}

/// `attach_dmabuf`.
///
/// # Safety
/// As for `vb3_rs_alloc`; device and dma-buf outlive the object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vb3_rs_import(
    to: *mut c_void,
    dev: *mut sys::Device,
    buf: *mut sys::DmaBuf,
    bytes: u64,
    direction: c_int,
) -> c_int {
    answer(|| {
        let (to, dev, buf) = (given(to)?, given(dev)?, given(buf)?);
        let direction = self::direction(direction)?;
        // SAFETY: the caller's promise.
        let (dev, buf) = unsafe { (Dev::new(dev), Buf::new(buf)) };
        // SAFETY: the object is put into the payload below; it has one lock.
        let made = unsafe { Import::contig(to, dev, buf, bytes, direction) }?;
        // SAFETY: the caller's promise.
        Ok(unsafe { put(to, Object::Import(made)) })
    })
}

/// `map_dmabuf`. Mapping twice gives the same address.
///
/// # Safety
/// As the module's head says; `addr` can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vb3_rs_import_map(rust: *mut c_void, addr: *mut u64) -> c_int {
    answer(|| {
        // SAFETY: the caller's promise.
        let import = unsafe { import(rust) }.ok_or(Errno::INVALID)?;
        // SAFETY: the core maps one plane's dma-buf at a time.
        let at = unsafe { import.map() }?;
        // SAFETY: the caller's promise.
        unsafe { addr.write(at.get()) };
        Ok(0)
    })
}

/// `unmap_dmabuf`.
///
/// # Safety
/// As the module's head says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vb3_rs_import_unmap(rust: *mut c_void) {
    // SAFETY: the caller's promise.
    if let Some(i) = unsafe { import(rust) } {
        // SAFETY: the core unmaps one plane's dma-buf at a time.
        unsafe { i.unmap() };
    }
}

/// `detach_dmabuf`.
///
/// # Safety
/// As the module's head says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vb3_rs_import_detach(rust: *mut c_void) {
    // SAFETY: the caller's promise.
    if let Some(i) = unsafe { import(rust) } {
        // SAFETY: nobody else uses it any more.
        unsafe { i.detach() };
    }
}

/// A device attaches to our dma-buf.
///
/// # Safety
/// As the module's head says; the device outlives the attachment, `key` can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vb3_rs_attach(
    rust: *mut c_void,
    dev: *mut sys::Device,
    key: *mut u64,
) -> c_int {
    answer(|| {
        // SAFETY: the caller's promise.
        let allocated = unsafe { allocated(rust) }.ok_or(Errno::INVALID)?;
        // SAFETY: the caller's promise.
        let made = allocated.attach(unsafe { Dev::new(given(dev)?) })?;
        // SAFETY: the caller's promise.
        unsafe { key.write(made.get()) };
        Ok(0)
    })
}

/// A device detaches.
///
/// # Safety
/// As the module's head says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vb3_rs_detach(rust: *mut c_void, key: u64) {
    // SAFETY: the caller's promise.
    if let Some(a) = unsafe { allocated(rust) } {
        a.detach(Key::from_raw(key));
    }
}

/// Maps for an attached device.
///
/// # Safety
/// As the module's head says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vb3_rs_map(
    rust: *mut c_void,
    key: u64,
    direction: c_int,
) -> *mut sys::SgTable {
    // SAFETY: the caller's promise.
    let (Some(a), Some(direction)) = (unsafe { allocated(rust) }, direction_from_c(direction))
    else {
        return error_pointer(Errno::INVALID);
    };
    match a.map(Key::from_raw(key), direction) {
        Ok(sgt) => sgt,
        Err(e) => error_pointer(e),
    }
}

/// Undoes one map.
///
/// # Safety
/// As the module's head says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vb3_rs_unmap(rust: *mut c_void, key: u64) {
    // SAFETY: the caller's promise.
    if let Some(a) = unsafe { allocated(rust) } {
        a.unmap(Key::from_raw(key));
    }
}

/// Begins or ends an access by the CPU; how many devices were synced.
///
/// # Safety
/// As the module's head says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vb3_rs_cpu_access(
    rust: *mut c_void,
    direction: c_int,
    begin: bool,
) -> c_uint {
    // SAFETY: the caller's promise.
    match (unsafe { allocated(rust) }, direction_from_c(direction)) {
        (Some(a), Some(direction)) => a.cpu_access(direction, begin),
        _ => 0,
    }
}

/// What is held: bytes, objects, attachments, mappings; true if nothing is.
///
/// # Safety
/// `held` has room for four.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vb3_rs_is_idle(held: *mut i64) -> bool {
    let now = ledger::held();
    // SAFETY: the caller's promise.
    unsafe { held.cast::<[i64; 4]>().write(now) };
    now == [0; 4]
}

/// A counter, for debugfs: bytes, objects, attachments, mappings held; hand-overs synced, and left
/// out by a hint; linked ranges held; refusals. 0 past the last.
#[unsafe(no_mangle)]
pub extern "C" fn vb3_rs_counter(index: c_uint) -> i64 {
    match index {
        0 => ledger::BYTES.get(),
        1 => ledger::OBJECTS.get(),
        2 => ledger::ATTACHMENTS.get(),
        3 => ledger::MAPPINGS.get(),
        4 => ledger::SYNCS.get(),
        5 => ledger::SKIPPED.get(),
        6 => ledger::LINKS.get(),
        7 => ledger::REFUSALS.get(),
        _ => 0,
    }
}
