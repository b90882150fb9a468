//! The shim's C functions, with kernel structures as opaque pointers.
//!
//! The declarations follow the order of `module/shim.c`, the kinds' memory, `dmabuf.c`, `link.c` and `debug.c`. In
//! those files, each function shows which kernel function it wraps.

use crate::linux::Alloc;
use core::ffi::{c_char, c_int, c_uint, c_ulong, c_void};

/// Declares a kernel structure that only the shim accesses.
macro_rules! opaque {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        $(
            $(#[$doc])*
            #[repr(C)]
            pub struct $name {
                _none: [u8; 0],
            }
        )*
    };
}

opaque! {
    /// `struct device`.
    Device,
    /// `struct sg_table`.
    SgTable,
    /// `struct scatterlist`.
    Scatterlist,
    /// `struct frame_vector`.
    FrameVector,
    /// `struct dma_buf`.
    DmaBuf,
    /// `struct dma_buf_attachment`.
    DmaBufAttachment,
    /// `struct vm_area_struct`.
    Vma,
    /// `struct vb3_link`.
    Link,
    /// `struct seq_file`.
    SeqFile,
}

unsafe extern "C" {
    pub fn vb3_lock(payload: *const c_void);
    pub fn vb3_unlock(payload: *const c_void);

    pub fn vb3_page_shift() -> c_uint;
    pub fn vb3_now_ns() -> u64;
    pub fn vb3_cache_alignment() -> c_uint;
    pub fn vb3_caches_coherent(dev: *mut Device) -> bool;
    pub fn vb3_size_limit(dev: *mut Device, bytes: u64) -> u64;
    pub fn vb3_is_translated(dev: *mut Device) -> bool;
    pub fn vb3_last_address(dev: *mut Device) -> u64;
    pub fn vb3_refused(dev: *mut Device, refusal: *const crate::refusal::Refusal);

    pub fn vb3_alloc_coherent(
        dev: *mut Device,
        bytes: usize,
        gfp: c_uint,
        attrs: c_ulong,
        addr: *mut u64,
    ) -> *mut c_void;
    pub fn vb3_memory_free(memory: *const Alloc);
    pub fn vb3_memory_mmap(memory: *const Alloc, vma: *mut Vma) -> c_int;
    pub fn vb3_memory_table(memory: *const Alloc, phys: *mut u64) -> *mut SgTable;
    pub fn vb3_alloc_noncontiguous(
        dev: *mut Device,
        bytes: usize,
        direction: c_int,
        gfp: c_uint,
        attrs: c_ulong,
    ) -> *mut SgTable;
    pub fn vb3_memory_vmap(memory: *const Alloc) -> *mut c_void;
    pub fn vb3_memory_vunmap(memory: *const Alloc, vaddr: *mut c_void);
    pub fn vb3_sync(dev: *mut Device, sgt: *mut SgTable, direction: c_int, for_cpu: bool);

    pub fn vb3_virtual_alloc(bytes: usize) -> *mut c_void;
    pub fn vb3_pinned_map(pinned: *mut FrameVector, sgt: *mut SgTable) -> *mut c_void;
    pub fn vb3_pinned_unmap(pinned: *mut FrameVector, at: *mut c_void);

    pub fn vb3_pin(addr: u64, bytes: u64, write: bool, sgt: *mut *mut SgTable) -> *mut FrameVector;
    pub fn vb3_unpin(pinned: *mut FrameVector, sgt: *mut SgTable, dirty: bool);

    pub fn vb3_sgt_copy(sgt: *mut SgTable) -> *mut SgTable;
    pub fn vb3_sgt_free(sgt: *mut SgTable);
    pub fn vb3_sgt_map(dev: *mut Device, sgt: *mut SgTable, direction: c_int, skip: bool) -> c_int;
    pub fn vb3_sgt_unmap(dev: *mut Device, sgt: *mut SgTable, direction: c_int, skip: bool);
    pub fn vb3_sgt_bounces(dev: *mut Device, sgt: *mut SgTable) -> bool;
    pub fn vb3_map_resource(
        dev: *mut Device,
        sgt: *mut SgTable,
        phys: u64,
        direction: c_int,
    ) -> c_int;
    pub fn vb3_unmap_resource(dev: *mut Device, sgt: *mut SgTable, direction: c_int);
    pub fn vb3_sgt_next(
        sgt: *mut SgTable,
        index: usize,
        at: *mut *mut Scatterlist,
        addr: *mut u64,
        bytes: *mut c_uint,
    ) -> bool;
    pub fn vb3_sgt_top(sgt: *mut SgTable) -> u64;

    pub fn vb3_buf_size(buf: *mut DmaBuf) -> u64;
    pub fn vb3_buf_attach(
        buf: *mut DmaBuf,
        dev: *mut Device,
        payload: *const c_void,
    ) -> *mut DmaBufAttachment;
    pub fn vb3_buf_detach(attachment: *mut DmaBufAttachment);
    pub fn vb3_buf_is_own(buf: *mut DmaBuf) -> bool;
    pub fn vb3_buf_map(attachment: *mut DmaBufAttachment, direction: c_int) -> *mut SgTable;
    pub fn vb3_buf_unmap(attachment: *mut DmaBufAttachment, sgt: *mut SgTable, direction: c_int);
    pub fn vb3_buf_vmap(buf: *mut DmaBuf, is_iomem: *mut bool) -> *mut c_void;
    pub fn vb3_buf_vunmap(buf: *mut DmaBuf, vaddr: *mut c_void, is_iomem: bool);

    pub fn vb3_export(payload: *const c_void, bytes: u64, flags: c_ulong) -> *mut DmaBuf;

    pub fn vb3_link(
        dev: *mut Device,
        attachment: *mut DmaBufAttachment,
        sgt: *mut SgTable,
        bytes: u64,
        direction: c_int,
        addr: *mut u64,
    ) -> *mut Link;
    pub fn vb3_unlink(link: *mut Link);

    pub fn vb3_show_buffer(
        file: *mut SeqFile,
        payload: *const c_void,
        bytes: u64,
        kind: c_uint,
        direction: c_int,
        import: *mut DmaBuf,
    );
    pub fn vb3_show_holder(
        file: *mut SeqFile,
        kind: *const c_char,
        count: u32,
        dev: *mut Device,
        direction: c_int,
        since_ns: u64,
    );
}
