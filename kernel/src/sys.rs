//! The shim's C functions, with kernel structures as opaque pointers.
//!
//! The declarations follow the order of `module/shim.c`, `memory.c`, `dmabuf.c`, `link.c` and `debug.c`. In
//! those files, each function shows which kernel function it wraps.

use crate::device::Dev;
use crate::linux::Alloc;
use core::ffi::{c_char, c_int, c_uint, c_ulong, c_void};
use core::ptr::NonNull;

/// Declares kernel structures that only the shim accesses.
macro_rules! opaque {
    ($($name:ident),*) => {
        $(
            #[repr(C)]
            pub struct $name {
                _none: [u8; 0],
            }
        )*
    };
}

// `Vma` is `struct vm_area_struct`, and `Link` is `struct vb3_link`.
opaque! { Device, SgTable, Scatterlist, FrameVector, DmaBuf, DmaBufAttachment, Vma, Link, SeqFile }

unsafe extern "C" {
    pub fn vb3_lock(payload: NonNull<c_void>);
    pub fn vb3_unlock(payload: NonNull<c_void>);

    pub fn vb3_page_shift() -> c_uint;
    pub fn vb3_now_ns() -> u64;
    pub fn vb3_cache_alignment() -> c_uint;
    pub fn vb3_has_pool(dev: Dev) -> bool;
    pub fn vb3_caches_coherent(dev: Dev) -> bool;
    pub fn vb3_size_limit(dev: Dev, bytes: u64) -> u64;
    pub fn vb3_is_translated(dev: Dev) -> bool;
    pub fn vb3_last_address(dev: Dev) -> u64;
    pub fn vb3_refused(dev: Dev, refusal: &crate::refusal::Refusal);

    pub fn vb3_alloc_coherent(
        dev: Dev,
        bytes: usize,
        gfp: c_uint,
        attrs: c_ulong,
        addr: &mut u64,
    ) -> Option<NonNull<c_void>>;
    pub fn vb3_memory_free(memory: &Alloc);
    pub fn vb3_memory_mmap(memory: &Alloc, vma: NonNull<Vma>) -> c_int;
    pub fn vb3_memory_table(memory: &Alloc, phys: &mut u64) -> Option<NonNull<SgTable>>;
    pub fn vb3_alloc_noncontiguous(
        dev: Dev,
        bytes: usize,
        direction: c_int,
        gfp: c_uint,
        attrs: c_ulong,
    ) -> Option<NonNull<SgTable>>;
    pub fn vb3_memory_vmap(memory: &Alloc) -> *mut c_void;
    pub fn vb3_memory_vunmap(memory: &Alloc, vaddr: *mut c_void);
    pub fn vb3_sync(dev: Dev, sgt: NonNull<SgTable>, direction: c_int, for_cpu: bool);

    pub fn vb3_pinned_map(
        pinned: NonNull<FrameVector>,
        sgt: NonNull<SgTable>,
    ) -> Option<NonNull<c_void>>;
    pub fn vb3_pinned_unmap(pinned: NonNull<FrameVector>, at: NonNull<c_void>);

    pub fn vb3_pin(
        addr: u64,
        bytes: u64,
        write: bool,
        sgt: &mut Option<NonNull<SgTable>>,
    ) -> *mut FrameVector;
    pub fn vb3_unpin(pinned: NonNull<FrameVector>, sgt: NonNull<SgTable>, dirty: bool);

    pub fn vb3_sgt_copy(sgt: NonNull<SgTable>) -> Option<NonNull<SgTable>>;
    pub fn vb3_sgt_free(sgt: NonNull<SgTable>);
    pub fn vb3_sgt_map(
        dev: Dev,
        sgt: NonNull<SgTable>,
        direction: c_int,
        skip: bool,
        may_bounce: bool,
    ) -> c_int;
    pub fn vb3_sgt_unmap(dev: Dev, sgt: NonNull<SgTable>, direction: c_int, skip: bool);
    pub fn vb3_sgt_bounces(dev: Dev, sgt: NonNull<SgTable>) -> bool;
    pub fn vb3_map_resource(dev: Dev, sgt: NonNull<SgTable>, phys: u64, direction: c_int) -> c_int;
    pub fn vb3_unmap_resource(dev: Dev, sgt: NonNull<SgTable>, direction: c_int);
    pub fn vb3_sgt_next(
        sgt: NonNull<SgTable>,
        index: usize,
        at: &mut *mut Scatterlist,
        addr: &mut u64,
        bytes: &mut c_uint,
    ) -> bool;
    pub fn vb3_sgt_top(sgt: NonNull<SgTable>) -> u64;

    pub fn vb3_buf_size(buf: NonNull<DmaBuf>) -> u64;
    pub fn vb3_buf_attach(
        buf: NonNull<DmaBuf>,
        dev: Dev,
        payload: NonNull<c_void>,
    ) -> *mut DmaBufAttachment;
    pub fn vb3_buf_detach(attachment: *mut DmaBufAttachment);
    pub fn vb3_buf_is_own(buf: NonNull<DmaBuf>) -> bool;
    pub fn vb3_buf_map(attachment: *mut DmaBufAttachment, direction: c_int) -> *mut SgTable;
    pub fn vb3_buf_unmap(attachment: *mut DmaBufAttachment, sgt: *mut SgTable, direction: c_int);
    pub fn vb3_buf_vmap(buf: NonNull<DmaBuf>, is_iomem: &mut bool) -> *mut c_void;
    pub fn vb3_buf_vunmap(buf: NonNull<DmaBuf>, vaddr: *mut c_void, is_iomem: bool);

    pub fn vb3_export(payload: NonNull<c_void>, bytes: u64, flags: c_ulong) -> *mut DmaBuf;

    pub fn vb3_link(
        dev: Dev,
        attachment: *mut DmaBufAttachment,
        sgt: NonNull<SgTable>,
        bytes: u64,
        direction: c_int,
        addr: &mut u64,
    ) -> *mut Link;
    pub fn vb3_unlink(link: *mut Link);

    pub fn vb3_show_buffer(
        file: NonNull<SeqFile>,
        payload: NonNull<c_void>,
        bytes: u64,
        kind: c_uint,
        direction: c_int,
        import: *mut DmaBuf,
    );
    pub fn vb3_show_holder(
        file: NonNull<SeqFile>,
        kind: *const c_char,
        count: u32,
        dev: Dev,
        direction: c_int,
        since_ns: u64,
    );
}
