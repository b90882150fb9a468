//! An allocator of videobuf2 (`struct vb2_mem_ops`) as `queue` sees it; and mappings of dma-bufs
//! that are kept by what they map, whatever buffer names it.
// UNSAFETY: calls the C side.

use crate::sys::{self, Core, Place};
use alloc::vec::Vec;
use core::ffi::{c_int, c_ulong, c_void};
use vb3_plane::{AllocArgs, Direction, PlaneError};
use vb3_queue::{ExportAccess, HintSkip, MemOps};

/// Where a plane's memory comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Mmap = 0,
    UserPtr = 1,
    DmaBuf = 2,
}

/// The memory of one plane.
pub struct Memory {
    at: Place,
    kind: Kind,
    /// The dma-buf, and the bytes of it that are used.
    dmabuf: *mut c_void,
    len_bytes: u64,
    mapped: bool,
}

/// A counted reference to a dma-buf.
pub struct DmaBuf(pub *mut c_void);

/// Most mappings that are kept for no buffer: as many as a queue has buffers by default.
const MOST_KEPT: usize = 32;

/// The allocator of the queue of `core`.
pub struct KernelMemory {
    core: *mut Core,
    page_shift: u32,
    supports_userptr: bool,
    keep: bool,
    /// Mapped, and of no buffer; each with a reference to its dma-buf.
    kept: Vec<Memory>,
}

impl KernelMemory {
    pub fn new(core: *mut Core, given: &sys::GivenConfig) -> Self {
        let mut kept = Vec::new();
        let keep = given.keep_mappings && kept.try_reserve_exact(MOST_KEPT).is_ok();
        Self {
            core,
            page_shift: given.page_shift,
            supports_userptr: given.userptr,
            keep,
            kept,
        }
    }

    /// Lets go of what is kept for no buffer.
    pub fn flush(&mut self) {
        while let Some(memory) = self.kept.pop() {
            self.let_go(&memory);
            // SAFETY: the reference is that of `put`.
            unsafe { sys::vb3core_c_dmabuf_put(memory.dmabuf) };
        }
    }

    fn let_go(&self, memory: &Memory) {
        if memory.mapped {
            // SAFETY: mapped, and not used again.
            unsafe { sys::vb3core_c_mem_unmap(self.core, &raw const memory.at) };
        }
        // SAFETY: the memory is there, and is not used again.
        unsafe { sys::vb3core_c_mem_put(self.core, &raw const memory.at, memory.kind as c_int) };
    }

    /// Memory that is kept of the same dma-buf, for the plane that asks.
    fn take_kept(&mut self, dmabuf: *mut c_void, len_bytes: u64) -> Option<Memory> {
        let known = |m: &Memory| m.dmabuf == dmabuf && m.len_bytes == len_bytes;
        let place = self.kept.iter().position(known)?;
        let memory = self.kept.get_mut(place)?;
        // SAFETY: the queue is there; what is at the address is written whole.
        let ret = unsafe { sys::vb3core_c_mem_place(self.core, dmabuf, &raw mut memory.at) };
        if ret < 0 {
            return None;
        }
        let memory = self.kept.swap_remove(place);
        // SAFETY: the reference that `put` took; the caller has its own.
        unsafe { sys::vb3core_c_dmabuf_put(dmabuf) };
        Some(memory)
    }
}

const NOWHERE: Place = Place {
    vb: core::ptr::null_mut(),
    private: core::ptr::null_mut(),
    plane: 0,
};

/// What an allocator says, in its own number.
fn checked(ret: c_int) -> Result<(), PlaneError> {
    if ret < 0 {
        return Err(PlaneError::Exporter(ret.wrapping_neg()));
    }
    Ok(())
}

impl MemOps for KernelMemory {
    /// The queue's device, or the one that the driver named for a plane: the C side knows which.
    type Device = u8;
    type User = ();
    type Plane = Memory;
    type DmaBuf = DmaBuf;
    /// Drivers ask the C side.
    type Cookie = ();
    /// Programs map without the queue's lock, so the C side sees to it.
    type Mmap = ();

    fn supports_userptr(&self) -> bool {
        self.supports_userptr
    }

    fn page_shift(&self) -> u32 {
        self.page_shift
    }

    fn alloc(&mut self, _: u8, args: AllocArgs) -> Result<Memory, PlaneError> {
        let mut at = NOWHERE;
        // SAFETY: the queue is there.
        let ret = unsafe { sys::vb3core_c_mem_alloc(self.core, args.len_bytes, &raw mut at) };
        checked(ret)?;
        Ok(Memory {
            at,
            kind: Kind::Mmap,
            dmabuf: core::ptr::null_mut(),
            len_bytes: args.len_bytes,
            mapped: false,
        })
    }

    fn get_userptr(
        &mut self,
        _: u8,
        (): &(),
        addr: u64,
        len_bytes: u64,
        _: Direction,
    ) -> Result<Memory, PlaneError> {
        let mut at = NOWHERE;
        // SAFETY: the queue is there.
        let ret = unsafe { sys::vb3core_c_mem_userptr(self.core, addr, len_bytes, &raw mut at) };
        checked(ret)?;
        Ok(Memory {
            at,
            kind: Kind::UserPtr,
            dmabuf: core::ptr::null_mut(),
            len_bytes,
            mapped: false,
        })
    }

    fn is_current(&self, _: &Memory, (): &(), _: u64) -> bool {
        // As videobuf2: the same address and length are taken for the same memory.
        true
    }

    fn attach_dmabuf(
        &mut self,
        _: u8,
        buf: &DmaBuf,
        len_bytes: u64,
        _: Direction,
    ) -> Result<Memory, PlaneError> {
        if let Some(memory) = self.take_kept(buf.0, len_bytes) {
            return Ok(memory);
        }
        let mut at = NOWHERE;
        // SAFETY: the queue is there, and so is the dma-buf.
        let ret = unsafe { sys::vb3core_c_mem_attach(self.core, buf.0, len_bytes, &raw mut at) };
        checked(ret)?;
        Ok(Memory {
            at,
            kind: Kind::DmaBuf,
            dmabuf: buf.0,
            len_bytes,
            mapped: false,
        })
    }

    fn map_dmabuf(&mut self, plane: &mut Memory) -> Result<(), PlaneError> {
        if !plane.mapped {
            // SAFETY: the memory is there.
            checked(unsafe { sys::vb3core_c_mem_map(self.core, &raw const plane.at) })?;
            plane.mapped = true;
        }
        Ok(())
    }

    /// Left to [`put`](MemOps::put), which always follows, and may keep the mapping.
    fn unmap_dmabuf(&mut self, _: &mut Memory) {}

    fn put(&mut self, plane: Memory) {
        let has_room = self.keep && self.kept.len() < MOST_KEPT;
        if has_room && plane.kind == Kind::DmaBuf && plane.mapped {
            // SAFETY: the dma-buf is there: the caller drops its reference after this.
            unsafe { sys::vb3core_c_dmabuf_get(plane.dmabuf) };
            // SAFETY: the memory is there; its plane forgets it.
            unsafe { sys::vb3core_c_mem_leave(self.core, &raw const plane.at) };
            self.kept.push(plane);
        } else {
            self.let_go(&plane);
        }
    }

    fn prepare(&mut self, plane: &mut Memory, _: HintSkip) -> Result<(), PlaneError> {
        // Hints are in the C structure, where allocators look.
        // SAFETY: the memory is there.
        unsafe { sys::vb3core_c_mem_sync(self.core, &raw const plane.at, true) };
        Ok(())
    }

    fn finish(&mut self, plane: &mut Memory, _: HintSkip) {
        // SAFETY: the memory is there.
        unsafe { sys::vb3core_c_mem_sync(self.core, &raw const plane.at, false) };
    }

    fn cookie(&mut self, _: &Memory) -> Option<()> {
        Some(())
    }

    fn num_users(&self, _: &Memory) -> u32 {
        // Asked by the C side where a program is told.
        1
    }

    fn mmap(&mut self, _: &Memory, _: u64) -> Result<(), PlaneError> {
        Err(PlaneError::Invalid(None))
    }

    fn export(&mut self, plane: &Memory, access: ExportAccess) -> Result<DmaBuf, PlaneError> {
        // O_RDONLY, O_WRONLY, O_RDWR.
        let access: c_ulong = match access {
            ExportAccess::ReadOnly => 0,
            ExportAccess::WriteOnly => 1,
            ExportAccess::ReadWrite => 2,
        };
        let mut buf = core::ptr::null_mut();
        // SAFETY: the memory is there.
        let ret =
            unsafe { sys::vb3core_c_export(self.core, &raw const plane.at, access, &raw mut buf) };
        checked(ret)?;
        Ok(DmaBuf(buf))
    }

    fn dmabuf_len(&self, buf: &DmaBuf) -> u64 {
        // SAFETY: the dma-buf is there.
        unsafe { sys::vb3core_c_dmabuf_len(buf.0) }
    }

    fn same_dmabuf(&self, a: &DmaBuf, b: &DmaBuf) -> bool {
        a.0 == b.0
    }

    fn clone_dmabuf(&mut self, buf: &DmaBuf) -> Result<DmaBuf, PlaneError> {
        // SAFETY: the dma-buf is there.
        unsafe { sys::vb3core_c_dmabuf_get(buf.0) };
        Ok(DmaBuf(buf.0))
    }

    fn put_dmabuf(&mut self, buf: DmaBuf) {
        // SAFETY: the reference is not used again.
        unsafe { sys::vb3core_c_dmabuf_put(buf.0) };
    }

    fn copy_from(
        &mut self,
        plane: &mut Memory,
        offset: u64,
        out: &mut [u8],
    ) -> Result<(), PlaneError> {
        self.copy(plane, offset, out.as_mut_ptr(), out.len() as u64, false)
    }

    fn copy_to(&mut self, plane: &mut Memory, offset: u64, data: &[u8]) -> Result<(), PlaneError> {
        // CAST: the C side only reads it.
        self.copy(
            plane,
            offset,
            data.as_ptr().cast_mut(),
            data.len() as u64,
            true,
        )
    }
}

impl KernelMemory {
    fn copy(
        &self,
        plane: &Memory,
        offset: u64,
        bytes: *mut u8,
        len: u64,
        to_plane: bool,
    ) -> Result<(), PlaneError> {
        if offset
            .checked_add(len)
            .is_none_or(|end| end > plane.len_bytes)
        {
            return Err(PlaneError::Invalid(None));
        }
        // SAFETY: within the plane; `bytes` has `len` bytes.
        checked(unsafe {
            sys::vb3core_c_mem_copy(self.core, &raw const plane.at, offset, bytes, len, to_plane)
        })
    }
}
