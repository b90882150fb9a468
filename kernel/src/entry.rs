//! Functions that the C shim calls.
// UNSAFETY: pointers come from C. SOUNDNESS.md lists the conditions.
//!
//! A [`Payload`] is the part of a C buffer in which Rust stores an [`Object`]. C passes valid references and devices
//! ([`Dev`]), and a payload only while it has an object. A function that gets a [`Request`] makes an object in the
//! request's payload. On success, the function returns which steps of a hand-over (prepare and finish) must sync
//! caches ([`Object::syncs`]); on failure, a negative errno.

use crate::attachments::{Key, Node};
use crate::device::{Dev, Use, attrs_from_c, direction_from_c};
use crate::import::Import;
use crate::kernel::{Errno, error_pointer};
use crate::ledger::Count;
use crate::linux::Linux;
use crate::object::{Allocated, Object, with_cx};
use crate::sys::{self, DmaBuf, SgTable};
use crate::user::User;
use core::ffi::{c_int, c_uint, c_ulong, c_void};
use core::mem::offset_of;
use core::ptr::{self, NonNull};
use vb3_dma::{Coherency, Direction, DmaAddr};
use vb3_dmabuf::Attachment;
use vb3_plane::{Allocator, UserMemory, contig};

// VB3_OBJECT_BYTES and VB3_ENTRY_BYTES of module/buffer.h.
const _: () = assert!(align_of::<Object>() <= align_of::<u64>() && size_of::<Object>() <= 160);
const _: () = assert!(size_of::<Node<Attachment<Linux>>>() <= 104);

/// The payload of a C buffer that contains an object. Only C and [`Request`] make payloads.
#[repr(transparent)]
pub struct Payload(NonNull<c_void>);

impl Payload {
    /// Returns the object.
    pub(crate) fn object(&self) -> &Object {
        // SAFETY: a payload has an object until `vb3_rs_end`, which takes the payload.
        unsafe { self.0.cast().as_ref() }
    }

    pub(crate) const fn raw(&self) -> NonNull<c_void> {
        self.0
    }

    fn allocated(&self) -> Result<&Allocated, Errno> {
        match self.object() {
            Object::Allocated(a) => Ok(a),
            _ => Err(Errno::EINVAL),
        }
    }

    fn import(&self) -> Result<&Import, Errno> {
        match self.object() {
            Object::Import(i) => Ok(i),
            _ => Err(Errno::EINVAL),
        }
    }
}

/// `struct vb3_request` of module/buffer.h: a plane to make in an empty payload, and its results.
/// C guarantees that device and dma-buf outlive the object.
#[repr(C)]
pub struct Request {
    to: NonNull<c_void>,
    dev: Dev,
    bytes: u64,
    direction: c_int,
    /// GFP flags of an allocation.
    gfp: c_uint,
    attrs: c_ulong,
    /// Address of user memory in the program.
    at: u64,
    buf: *mut DmaBuf,
    /// Result: the memory's first address for the device.
    addr: u64,
    /// Result: the table that is mapped for the device.
    sgt: *mut SgTable,
    non_coherent: bool,
}

const _: () = assert!(size_of::<Request>() == 80 && offset_of!(Request, sgt) == 64);

impl Request {
    fn direction(&self) -> Result<Direction, Errno> {
        direction_from_c(self.direction).ok_or(Errno::EINVAL)
    }

    /// Allocates memory.
    fn alloc(&mut self) -> Result<Payload, Errno> {
        let coherency = match self.non_coherent {
            true => Coherency::NonCoherent,
            false => Coherency::Coherent,
        };
        let ops = Linux {
            gfp: self.gfp,
            attrs: self.attrs,
            ..Linux::PLAIN
        };
        let (direction, attrs) = (self.direction()?, attrs_from_c(self.attrs));
        let spec = contig::spec(self.dev, self.bytes, direction, coherency, attrs);
        // SAFETY: the payload is empty.
        let (addr, sgt) = unsafe { Allocated::make(self.to, &ops, self.dev, spec) }?;
        (self.addr, self.sgt) = (addr.map_or(0, DmaAddr::get), sgt);
        Ok(Payload(self.to))
    }

    /// Pins user memory.
    fn user(&mut self) -> Result<Payload, Errno> {
        let direction = self.direction()?;
        let device = (self.dev, Allocator::Contig);
        let memory = with_cx(|cx| UserMemory::pin(cx, device, &(), self.at, self.bytes, direction));
        let user = User::new(self.dev, memory)?;
        self.addr = user.memory.dma_addr(&Linux::PLAIN).map_or(0, DmaAddr::get);
        // The memory is mapped for the device by the table that pinning has filled (condition 6 of SOUNDNESS.md).
        self.sgt = user.memory.memory().sgt()?.as_ptr();
        Ok(self.put(Object::User(user)))
    }

    /// Imports the request's dma-buf.
    fn import(&self) -> Result<Payload, Errno> {
        let buf = NonNull::new(self.buf).ok_or(Errno::EINVAL)?;
        let asked = (self.bytes, self.direction()?);
        // SAFETY: the object is put into the payload; its device and dma-buf outlive it.
        let made = unsafe { Import::new(self.to, self.dev, buf, asked) }?;
        Ok(self.put(Object::Import(made)))
    }

    /// Puts an object into the payload.
    fn put(&self, object: Object) -> Payload {
        // SAFETY: the payload is empty, large enough and aligned like u64 (asserted above).
        unsafe { self.to.cast().write(object) };
        Payload(self.to)
    }
}

/// Returns the result of a request to C.
fn answer(made: Result<Payload, Errno>) -> c_int {
    made.map_or_else(Errno::to_c, |payload| {
        Count::Objects.add(1);
        payload.object().syncs()
    })
}

/// Implements `alloc`.
#[unsafe(no_mangle)]
pub extern "C" fn vb3_rs_alloc(request: &mut Request) -> c_int {
    answer(request.alloc())
}

/// Implements `get_userptr`.
#[unsafe(no_mangle)]
pub extern "C" fn vb3_rs_get_userptr(request: &mut Request) -> c_int {
    answer(request.user())
}

/// Implements `attach_dmabuf`.
#[unsafe(no_mangle)]
pub extern "C" fn vb3_rs_import(request: &mut Request) -> c_int {
    answer(request.import())
}

/// Ends the object: frees, unpins or detaches its memory. The last user of the object calls this once.
#[unsafe(no_mangle)]
pub extern "C" fn vb3_rs_end(rust: Payload) {
    // SAFETY: the last user has ended, so no other code uses the object, and nothing uses it after the move.
    unsafe {
        match rust.0.cast().as_mut() {
            Object::Allocated(a) => a.end(),
            Object::Import(i) => i.detach(),
            Object::User(u) => ptr::read(u).put(),
        }
    }
    Count::Objects.add(-1);
}

/// Implements `get_dmabuf`. Returns NULL on failure.
#[unsafe(no_mangle)]
pub extern "C" fn vb3_rs_export(rust: Payload, flags: c_ulong) -> *mut DmaBuf {
    let Ok(bytes) = rust.allocated().and_then(Allocated::export) else {
        return ptr::null_mut();
    };
    // SAFETY: the payload belongs to allocated memory, which the caller holds.
    unsafe { sys::vb3_export(rust.0, bytes, flags) }
}

/// Implements `vaddr`.
#[unsafe(no_mangle)]
pub extern "C" fn vb3_rs_vaddr(rust: Payload) -> *mut c_void {
    match rust.object() {
        Object::Allocated(a) => a.vaddr(),
        Object::Import(i) => i.vaddr(),
        Object::User(u) => u.vaddr(),
    }
}

/// Implements `mmap`, for a VMA that the kernel is mapping.
#[unsafe(no_mangle)]
pub extern "C" fn vb3_rs_mmap(
    rust: Payload,
    vma: NonNull<sys::Vma>,
    offset: u64,
    bytes: u64,
) -> c_int {
    match rust.allocated().and_then(|a| a.mmap(offset, bytes)) {
        // SAFETY: the kernel is mapping the VMA, and the caller holds the memory, so it exists.
        Ok(alloc) => unsafe { sys::vb3_memory_mmap(&alloc, vma) },
        Err(e) => e.to_c(),
    }
}

/// Implements `map_dmabuf`: writes the memory's first address and its table for the device.
/// While the memory is mapped, another call writes the same values.
#[unsafe(no_mangle)]
pub extern "C" fn vb3_rs_import_map(
    rust: Payload,
    addr: &mut u64,
    sgt: &mut *mut SgTable,
) -> c_int {
    let mapped = rust.import().and_then(Import::map);
    let mapped = mapped.map(|(table, at)| (*addr, *sgt) = (at.get(), table));
    mapped.map_or_else(Errno::to_c, |()| 0)
}

/// Implements `unmap_dmabuf`.
#[unsafe(no_mangle)]
pub extern "C" fn vb3_rs_import_unmap(rust: Payload) {
    if let Ok(i) = rust.import() {
        i.unmap();
    }
}

/// Attaches a device to a dma-buf that this module exported. `room` is the memory for the attachment. Its
/// address is the attachment's key.
#[unsafe(no_mangle)]
pub extern "C" fn vb3_rs_attach(rust: Payload, dev: Dev, room: NonNull<c_void>) -> c_int {
    let allocated = rust.allocated();
    // SAFETY: C provides VB3_ENTRY_BYTES of memory, which outlive the attachment.
    let attached = allocated.and_then(|a| unsafe { a.attach(dev, room) });
    attached.map_or_else(Errno::to_c, |()| 0)
}

/// Detaches a device.
#[unsafe(no_mangle)]
pub extern "C" fn vb3_rs_detach(rust: Payload, key: Key) {
    if let Ok(a) = rust.allocated() {
        a.detach(key);
    }
}

/// Maps the memory for an attached device. C guarantees that `told`, the record of the device's use,
/// outlives the attachment.
#[unsafe(no_mangle)]
pub extern "C" fn vb3_rs_map(
    rust: Payload,
    dev: Dev,
    key: Key,
    told: NonNull<Use>,
    direction: c_int,
) -> *mut SgTable {
    let (Ok(a), Some(direction)) = (rust.allocated(), direction_from_c(direction)) else {
        return error_pointer(Errno::EINVAL);
    };
    // SAFETY: `told` outlives the attachment.
    unsafe { a.map(dev, key, told, direction) }.unwrap_or_else(error_pointer)
}

/// Undoes one map for an attached device.
#[unsafe(no_mangle)]
pub extern "C" fn vb3_rs_unmap(rust: Payload, key: Key) {
    if let Ok(a) = rust.allocated() {
        a.unmap(key);
    }
}

/// Begins or ends an access by the CPU: syncs for the owner and for all devices that have mapped the memory.
/// Returns the number of these syncs, which debugfs shows.
#[unsafe(no_mangle)]
pub extern "C" fn vb3_rs_cpu_access(rust: Payload, direction: c_int, begin: bool) -> c_uint {
    match (rust.allocated(), direction_from_c(direction)) {
        (Ok(a), Some(direction)) => a.cpu_access(direction, begin),
        _ => 0,
    }
}
