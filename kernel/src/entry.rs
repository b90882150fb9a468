//! Functions that the shim calls.
// UNSAFETY: raw pointers come from C. SOUNDNESS.md lists the conditions.
//!
//! Every `rust` argument is the payload of a C buffer. A function with a `to` argument has put an
//! [`Object`] there and succeeded; it returns 1 if hand-overs may need a sync. `vb3_rs_end` ends the
//! object. Its last user calls that once. Pointers for results can be written.
#![expect(
    clippy::missing_safety_doc,
    reason = "without one, the conditions above are all"
)]

use crate::attachments::Key;
use crate::device::Use;
use crate::import::{Import, Reach};
use crate::kernel::{Errno, error_pointer};
use crate::ledger;
use crate::linux::{Dev, Linux, attrs_from_c, direction_from_c};
use crate::object::{Allocated, Object};
use crate::sys::{self, DmaBuf, SgTable};
use crate::user::User;
use core::ffi::{c_int, c_uint, c_ulong, c_void};
use core::mem::offset_of;
use core::ptr::{self, NonNull};
use vb3_dma::{Attrs, Coherency, Direction, SyncFor};
use vb3_dmabuf::Spec;
use vb3_plane::{AllocArgs, Due, contig, vmalloc};

// A C buffer takes 320 bytes at most.
const _: () = assert!(align_of::<Object>() <= align_of::<u64>() && size_of::<Object>() <= 152);

/// `struct vb3_request` of module/buffer.h: a plane to make in an empty payload. Device and dma-buf
/// outlive the object. Memory that only the CPU uses may have no device (NULL).
#[repr(C)]
pub struct Request {
    to: *mut c_void,
    dev: *mut sys::Device,
    bytes: u64,
    direction: c_int,
    /// Of an allocation.
    gfp: c_uint,
    attrs: c_ulong,
    /// A program's address.
    at: u64,
    buf: *mut DmaBuf,
    non_coherent: bool,
}

const _: () = assert!(size_of::<Request>() == 64 && offset_of!(Request, at) == 40);

impl Request {
    fn direction(&self) -> Result<Direction, Errno> {
        direction_from_c(self.direction).ok_or(Errno::INVALID)
    }

    fn to(&self) -> Result<NonNull<c_void>, Errno> {
        NonNull::new(self.to).ok_or(Errno::INVALID)
    }

    fn dev(&self) -> Dev {
        // SAFETY: the buffer takes its own reference.
        unsafe { Dev::new(self.dev) }
    }

    fn args(&self, coherency: Coherency) -> Result<AllocArgs, Errno> {
        Ok(AllocArgs {
            len_bytes: self.bytes,
            direction: self.direction()?,
            coherency,
        })
    }

    /// Allocates memory. Returns the address and table for its device.
    fn alloc(&self, spec: Spec<Dev>) -> Result<(u64, *mut SgTable), Errno> {
        let ops = Linux {
            gfp: self.gfp,
            attrs: self.attrs,
            ..Linux::PLAIN
        };
        // SAFETY: the payload is empty.
        let (addr, sgt) = unsafe { Allocated::make(self.to()?, &ops, self.dev(), spec) }?;
        Ok((addr.map_or(0, |addr| addr.get()), sgt))
    }

    /// Imports the dma-buf.
    fn import(&self, reach: Reach) -> Result<(), Errno> {
        let buf = NonNull::new(self.buf).ok_or(Errno::INVALID)?;
        let (to, asked) = (self.to()?, (self.bytes, self.direction()?));
        // SAFETY: the object is put into the payload; its device and dma-buf outlive it.
        let made = unsafe { Import::new(to, self.dev(), buf, asked, reach) }?;
        self.put(Object::Import(made))
    }

    /// Puts an object into the payload.
    fn put(&self, object: Object) -> Result<(), Errno> {
        // SAFETY: large enough (`vb3_rs_bytes`) and aligned like u64 (asserted above).
        unsafe { self.to()?.cast::<Object>().write(object) };
        Ok(())
    }
}

/// Answers a request. Puts a success's value into `out`.
///
/// # Safety
/// As for `vb3_rs_alloc`; `out` can be written, and `make` fills the payload.
#[inline(always)]
unsafe fn answer<T>(
    request: *const Request,
    out: *mut T,
    make: impl FnOnce(&Request) -> Result<T, Errno>,
) -> c_int {
    // SAFETY: the caller's promise.
    let request = unsafe { &*request };
    match make(request) {
        Ok(value) => {
            // SAFETY: the caller's promise.
            unsafe { out.write(value) };
            // SAFETY: the payload has an object now.
            c_int::from(unsafe { object(request.to) }.is_some_and(Object::is_handed_over))
        }
        Err(e) => e.to_c(),
    }
}

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
unsafe fn import<'a>(rust: *mut c_void) -> Option<&'a Import> {
    // SAFETY: the caller's promise.
    match unsafe { object(rust) } {
        Some(Object::Import(i)) => Some(i),
        _ => None,
    }
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

/// Implements `alloc` of dma-contig.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vb3_rs_alloc(request: *const Request, addr: *mut u64) -> c_int {
    let make = |request: &Request| {
        let coherency = match request.non_coherent {
            true => Coherency::NonCoherent,
            false => Coherency::Coherent,
        };
        let (args, attrs) = (request.args(coherency)?, attrs_from_c(request.attrs));
        let (addr, _) = request.alloc(contig::spec(request.dev(), args, attrs))?;
        Ok(addr)
    };
    // SAFETY: the caller's promise.
    unsafe { answer(request, addr, make) }
}

/// Implements `alloc` of dma-sg.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vb3_rs_alloc_sg(request: *const Request, sgt: *mut *mut SgTable) -> c_int {
    let make = |request: &Request| {
        // The shim's non-coherent memory is scattered there, and needs the same syncs.
        let args = request.args(Coherency::NonCoherent)?;
        let spec = contig::spec(request.dev(), args, Attrs::empty());
        let (_, sgt) = request.alloc(spec)?;
        Ok(sgt)
    };
    // SAFETY: the caller's promise.
    unsafe { answer(request, sgt, make) }
}

/// Implements `alloc` of vmalloc.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vb3_rs_alloc_virtual(request: *const Request) -> c_int {
    let make = |request: &Request| {
        let args = request.args(Coherency::Coherent)?;
        request.alloc(vmalloc::spec(request.dev(), args)).map(drop)
    };
    // SAFETY: the caller's promise.
    unsafe { answer(request, &mut (), make) }
}

/// Implements `get_userptr` of dma-contig.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vb3_rs_get_userptr(request: *const Request, addr: *mut u64) -> c_int {
    let make = |r: &Request| {
        let (made, addr) = User::contig(r.dev(), r.at, r.bytes, r.direction()?)?;
        r.put(Object::User(made))?;
        Ok(addr.get())
    };
    // SAFETY: the caller's promise.
    unsafe { answer(request, addr, make) }
}

/// Implements `get_userptr` of dma-sg.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vb3_rs_get_userptr_sg(
    request: *const Request,
    sgt: *mut *mut SgTable,
) -> c_int {
    let make = |r: &Request| {
        let (made, sgt) = User::sg(r.dev(), r.at, r.bytes, r.direction()?)?;
        r.put(Object::User(made))?;
        Ok(sgt)
    };
    // SAFETY: the caller's promise.
    unsafe { answer(request, sgt, make) }
}

/// Implements `get_userptr` of vmalloc.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vb3_rs_get_userptr_virtual(request: *const Request) -> c_int {
    let make = |r: &Request| {
        let made = User::of_cpu(r.dev(), r.at, r.bytes, r.direction()?)?;
        r.put(Object::User(made))
    };
    // SAFETY: the caller's promise.
    unsafe { answer(request, &mut (), make) }
}

/// Implements `attach_dmabuf` of dma-contig and dma-sg.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vb3_rs_import(request: *const Request, in_pieces: bool) -> c_int {
    let reach = match in_pieces {
        true => Reach::Pieces,
        false => Reach::Contiguous,
    };
    // SAFETY: the caller's promise.
    unsafe { answer(request, &mut (), |r| r.import(reach)) }
}

/// Implements `attach_dmabuf` of vmalloc.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vb3_rs_import_virtual(request: *const Request) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { answer(request, &mut (), |r| r.import(Reach::Cpu)) }
}

/// Ends the object: frees, unpins or detaches the memory.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vb3_rs_end(rust: *mut c_void) {
    // SAFETY: the caller's promise; no other code uses it any more, nor the moved-out value.
    unsafe {
        match rust.cast::<Object>().as_mut() {
            Some(Object::Allocated(a)) => a.end(),
            Some(Object::Import(i)) => i.detach(),
            Some(Object::User(u)) => ptr::read(u).put(),
            None => {}
        }
    }
}

/// Implements `get_dmabuf`. Returns NULL on failure.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vb3_rs_export(rust: *mut c_void, flags: c_ulong) -> *mut DmaBuf {
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
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vb3_rs_mmap(
    rust: *mut c_void,
    vma: *mut sys::Vma,
    offset: u64,
    bytes: u64,
) -> c_int {
    // SAFETY: the caller's promise.
    let a = unsafe { allocated(rust) }.ok_or(Errno::INVALID);
    match a.and_then(|a| a.mmap(offset, bytes)) {
        // SAFETY: the caller's promise; the caller holds the memory, so it exists.
        Ok(alloc) => unsafe { alloc.mmap(vma) },
        Err(e) => e.to_c(),
    }
}

/// Implements `map_dmabuf`: writes the device's first address and table. A second call writes the
/// same.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vb3_rs_import_map(
    rust: *mut c_void,
    addr: *mut u64,
    sgt: *mut *mut SgTable,
) -> c_int {
    // SAFETY: the caller's promise.
    let import = unsafe { import(rust) }.ok_or(Errno::INVALID);
    // SAFETY: the core maps one plane's dma-buf at a time.
    match import.and_then(|import| unsafe { import.map() }) {
        Ok((table, at)) => {
            // SAFETY: the caller's promise.
            unsafe {
                addr.write(at.get());
                sgt.write(table);
            }
            0
        }
        Err(e) => e.to_c(),
    }
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

/// Attaches a device to a dma-buf of this module.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vb3_rs_attach(
    rust: *mut c_void,
    dev: *mut sys::Device,
    key: *mut usize,
) -> c_int {
    // SAFETY: the caller's promise.
    let (allocated, dev) = unsafe { (allocated(rust), Dev::new(dev)) };
    match allocated.ok_or(Errno::INVALID).and_then(|a| a.attach(dev)) {
        Ok(made) => {
            // SAFETY: the caller's promise.
            unsafe { key.write(made.get()) };
            0
        }
        Err(e) => e.to_c(),
    }
}

/// Detaches a device.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vb3_rs_detach(rust: *mut c_void, key: usize) {
    // SAFETY: the caller's promise.
    if let Some(a) = unsafe { allocated(rust) } {
        a.detach(Key::from_raw(key));
    }
}

/// Maps the memory for an attached device.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vb3_rs_map(
    rust: *mut c_void,
    key: usize,
    told: *mut Use,
    direction: c_int,
) -> *mut SgTable {
    // SAFETY: the caller's promise.
    let (Some(a), Some(direction)) = (unsafe { allocated(rust) }, direction_from_c(direction))
    else {
        return error_pointer(Errno::INVALID);
    };
    // SAFETY: the caller's promise.
    unsafe { a.map(Key::from_raw(key), told, direction) }.unwrap_or_else(error_pointer)
}

/// Undoes one map.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vb3_rs_unmap(rust: *mut c_void, key: usize) {
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

/// Returns a counter for debugfs, or 0 past the last one.
#[unsafe(no_mangle)]
pub extern "C" fn vb3_rs_counter(index: usize) -> i64 {
    ledger::count(index)
}
