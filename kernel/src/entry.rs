//! Functions that the shim calls. Those for vmalloc are in `entry_cpu.rs`, for dma-sg in
//! `entry_sg.rs`.
// UNSAFETY: raw pointers come from C. SOUNDNESS.md lists the conditions.
//!
//! Every `rust` argument is the payload of a C buffer. A function with a `to` argument has put an
//! [`Object`] there and succeeded. `vb3_rs_release`, `vb3_rs_put_userptr` and
//! `vb3_rs_import_detach` end the object. The last user calls them once.
#![expect(
    clippy::missing_safety_doc,
    reason = "without one, the conditions above are all"
)]

use crate::device::Use;
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

/// Returns the object in a payload.
///
/// # Safety
/// See the module's documentation; no caller may end the object during `'a`.
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

/// Converts a result for C: its number, or the negative errno.
#[inline]
pub(crate) fn answer(made: impl FnOnce() -> Result<c_int, Errno>) -> c_int {
    made().unwrap_or_else(Errno::to_c)
}

/// Returns a required pointer from C.
///
/// # Errors
/// Returns EINVAL for NULL.
#[inline]
pub(crate) fn given<T>(pointer: *mut T) -> Result<NonNull<T>, Errno> {
    NonNull::new(pointer).ok_or(Errno::INVALID)
}

/// Converts a direction from C.
///
/// # Errors
/// Returns EINVAL for other numbers.
#[inline]
pub(crate) fn direction(raw: c_int) -> Result<Direction, Errno> {
    direction_from_c(raw).ok_or(Errno::INVALID)
}

const fn sync_for(to_device: bool) -> SyncFor {
    if to_device {
        SyncFor::Device
    } else {
        SyncFor::Cpu
    }
}

/// Returns the size of a payload in bytes.
#[unsafe(no_mangle)]
pub extern "C" fn vb3_rs_bytes() -> usize {
    size_of::<Object>()
}

/// Implements `alloc`.
///
/// # Safety
/// `to` is an empty payload, the caller holds `dev`, and `addr` can be written.
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
        // SAFETY: the buffer takes its own reference.
        let dev = unsafe { Dev::new(dev) }.with_wishes(gfp, attrs);
        // SAFETY: the caller's promise.
        let at = unsafe { Allocated::contig(to, dev, args, attrs_from_c(attrs)) }?;
        // SAFETY: the caller's promise.
        unsafe { addr.write(at.get()) };
        // SAFETY: it was made.
        Ok(unsafe { handed_over(to) })
    })
}

/// Returns 1 if hand-overs of the payload's object may need a sync.
///
/// # Safety
/// The payload must not be empty.
pub(crate) unsafe fn handed_over(payload: NonNull<c_void>) -> c_int {
    // SAFETY: the caller's promise.
    c_int::from(unsafe { payload.cast::<Object>().as_ref() }.is_handed_over())
}

/// Puts an object into its payload. Returns 1 if hand-overs may need a sync.
///
/// # Safety
/// `to` must be an empty payload.
pub(crate) unsafe fn put(to: NonNull<c_void>, object: Object) -> c_int {
    // SAFETY: large enough (`vb3_rs_bytes`) and aligned like u64 (asserted above).
    unsafe { to.cast::<Object>().write(object) };
    // SAFETY: the object was put there above.
    unsafe { handed_over(to) }
}

/// Counts one more user of allocated memory.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vb3_rs_add_user(rust: *mut c_void, kind: c_int) {
    // SAFETY: the caller's promise.
    if let Some(a) = unsafe { allocated(rust) } {
        a.add_user(user_kind(kind));
    }
}

/// Counts one user less.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vb3_rs_drop_user(rust: *mut c_void, kind: c_int) {
    // SAFETY: the caller's promise.
    if let Some(a) = unsafe { allocated(rust) } {
        a.drop_user(user_kind(kind));
    }
}

/// Ends allocated memory.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vb3_rs_release(rust: *mut c_void) {
    // SAFETY: the caller's promise; no other code uses it any more.
    if let Some(Object::Allocated(a)) = unsafe { rust.cast::<Object>().as_mut() } {
        // SAFETY: the caller's promise.
        unsafe { a.end() };
    }
}

/// Implements `get_dmabuf`. Returns NULL on failure.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vb3_rs_export(rust: *mut c_void, flags: c_ulong) -> *mut sys::DmaBuf {
    // SAFETY: the caller's promise.
    let Some(Ok(bytes)) = unsafe { allocated(rust) }.map(Allocated::export) else {
        return ptr::null_mut();
    };
    // SAFETY: it is the payload of allocated memory, which the caller holds.
    unsafe { sys::vb3_export(rust, bytes, flags) }
}

/// Implements `vaddr`.
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

/// Implements `prepare` and `finish`. Does not sleep. Returns 1 after a sync, -1 if a cache hint
/// omitted it, else 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vb3_rs_hand_over(rust: *mut c_void, to_device: bool, skip: bool) -> c_int {
    // SAFETY: the caller's promise.
    match unsafe { object(rust) }.map(|object| object.hand_over(sync_for(to_device), skip)) {
        Some(Due::Sync) => 1,
        Some(Due::Skipped) => -1,
        _ => 0,
    }
}

/// Syncs an import whose device is given a bounced copy. Does not sleep.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vb3_rs_sync_import(rust: *mut c_void, to_device: bool) {
    // SAFETY: the caller's promise.
    if let Some(i) = unsafe { import(rust) } {
        i.sync(sync_for(to_device));
    }
}

/// Implements `mmap`.
///
/// # Safety
/// See the module's documentation; `vma` is being mapped.
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
        // SAFETY: the caller's promise; the caller holds the memory, so it exists.
        Ok(mmap) => unsafe { mmap.map(vma) },
        Err(e) => e.to_c(),
    }
}

/// Implements `get_userptr`.
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

/// Implements `put_userptr`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vb3_rs_put_userptr(rust: *mut c_void) {
    // SAFETY: the caller's promise.
    if let Some(Object::User(user)) = unsafe { object(rust) } {
        // SAFETY: no code uses the moved-out value.
        unsafe { ptr::read(user) }.put();
    }
}

/// Implements `attach_dmabuf`.
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
    in_pieces: bool,
) -> c_int {
    answer(|| {
        let (to, dev, buf) = (given(to)?, given(dev)?, given(buf)?);
        let direction = self::direction(direction)?;
        // SAFETY: the caller's promise.
        let (dev, buf) = unsafe { (Dev::new(dev), Buf::new(buf, to)) };
        // SAFETY: the object is put into the payload below; it has one lock.
        let made = unsafe { Import::attached(to, dev, buf, (bytes, direction), in_pieces) }?;
        // SAFETY: the caller's promise.
        Ok(unsafe { put(to, Object::Import(made)) })
    })
}

/// Implements `map_dmabuf`. A second call returns the same address.
///
/// # Safety
/// See the module's documentation; `addr` can be written.
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

/// Implements `unmap_dmabuf`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vb3_rs_import_unmap(rust: *mut c_void) {
    // SAFETY: the caller's promise.
    if let Some(i) = unsafe { import(rust) } {
        // SAFETY: the core unmaps one plane's dma-buf at a time.
        unsafe { i.unmap() };
    }
}

/// Implements `detach_dmabuf`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vb3_rs_import_detach(rust: *mut c_void) {
    // SAFETY: the caller's promise.
    if let Some(i) = unsafe { import(rust) } {
        // SAFETY: no other code uses it any more.
        unsafe { i.detach() };
    }
}

/// Attaches a device to a dma-buf of this module.
///
/// # Safety
/// See the module's documentation; device and `told` outlive the attachment, and `key` can be
/// written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vb3_rs_attach(
    rust: *mut c_void,
    dev: *mut sys::Device,
    told: *mut Use,
    key: *mut u64,
) -> c_int {
    answer(|| {
        // SAFETY: the caller's promise.
        let allocated = unsafe { allocated(rust) }.ok_or(Errno::INVALID)?;
        // SAFETY: the caller's promise.
        let dev = unsafe { Dev::new(given(dev)?).telling(told) };
        let made = allocated.attach(dev)?;
        // SAFETY: the caller's promise.
        unsafe { key.write(made.get()) };
        Ok(0)
    })
}

/// Detaches a device.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vb3_rs_detach(rust: *mut c_void, key: u64) {
    // SAFETY: the caller's promise.
    if let Some(a) = unsafe { allocated(rust) } {
        a.detach(Key::from_raw(key));
    }
}

/// Maps the memory for an attached device.
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
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vb3_rs_unmap(rust: *mut c_void, key: u64) {
    // SAFETY: the caller's promise.
    if let Some(a) = unsafe { allocated(rust) } {
        a.unmap(Key::from_raw(key));
    }
}

/// Begins or ends an access by the CPU. Returns how many devices were synced.
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

/// Returns a counter for debugfs, or 0 past the last one. The counters are: held bytes, objects,
/// attachments and mappings; synced hand-overs, and those that a hint omitted; held linked ranges;
/// refusals.
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
