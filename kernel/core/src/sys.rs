//! The C side, as `module/callbacks.c` offers it.

use core::ffi::{c_int, c_ulong, c_void};

/// `struct vb3core`: a queue with what the C side keeps for it.
#[repr(C)]
pub struct Core {
    _none: [u8; 0],
}

/// `struct vb3core_place`: a plane's memory, as its allocator knows it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub vb: *mut c_void,
    pub private: *mut c_void,
    pub plane: u32,
}

/// `struct vb3core_plane`: what a program says of a plane of its own memory.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct GivenPlane {
    pub length: u64,
    pub userptr: u64,
    pub dmabuf: *mut c_void,
    pub fd: i32,
}

/// `struct vb3core_config`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct GivenConfig {
    pub is_output: bool,
    pub bidirectional: bool,
    pub mmap: bool,
    pub userptr: bool,
    pub dmabuf: bool,
    pub read: bool,
    pub write: bool,
    pub cache_hints: bool,
    pub copy_timestamp: bool,
    pub allow_zero_bytesused: bool,
    pub poll_quirk: bool,
    pub read_once: bool,
    pub write_immediately: bool,
    pub keep_mappings: bool,
    pub say_reasons: bool,
    pub max_num_buffers: u32,
    pub min_queued_buffers: u32,
    pub min_reqbufs_allocation: u32,
    pub page_shift: u32,
}

/// `struct vb3core_facts`: what the C side shows of a queue in the structures that drivers look at.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    pub num_buffers: u32,
    pub queued_count: u32,
    pub memory: u32,
    pub streaming: bool,
    pub started: bool,
    pub busy: bool,
    pub fileio: bool,
}

unsafe extern "C" {
    pub fn vb3core_c_bug() -> !;
    pub fn vb3core_c_alloc(bytes: usize) -> *mut c_void;
    pub fn vb3core_c_free(at: *mut c_void);
    pub fn vb3core_c_lock(core: *mut Core) -> c_ulong;
    pub fn vb3core_c_unlock(core: *mut Core, flags: c_ulong);
    pub fn vb3core_c_refused(core: *mut Core, errno: c_int, text: *const u8, len: c_int);

    pub fn vb3core_c_queue_setup(
        core: *mut Core,
        create: bool,
        sizes: *mut u32,
        count: *mut u32,
    ) -> c_int;
    pub fn vb3core_c_buffer_count(core: *mut Core, offered: u32, count: *mut u32) -> c_int;
    pub fn vb3core_c_buf_init(core: *mut Core, index: u32) -> c_int;
    pub fn vb3core_c_buf_prepare(core: *mut Core, index: u32, payload: u64) -> c_int;
    pub fn vb3core_c_buf_finish(core: *mut Core, index: u32);
    pub fn vb3core_c_buf_cleanup(core: *mut Core, index: u32);
    pub fn vb3core_c_buf_queue(core: *mut Core, index: u32);
    pub fn vb3core_c_prepare_streaming(core: *mut Core) -> c_int;
    pub fn vb3core_c_unprepare_streaming(core: *mut Core);
    pub fn vb3core_c_start_streaming(core: *mut Core, queued: u32) -> c_int;
    pub fn vb3core_c_stop_streaming(core: *mut Core);

    pub fn vb3core_c_mem_alloc(core: *mut Core, bytes: u64, at: *mut Place) -> c_int;
    pub fn vb3core_c_mem_userptr(core: *mut Core, addr: u64, bytes: u64, at: *mut Place) -> c_int;
    pub fn vb3core_c_mem_attach(
        core: *mut Core,
        dmabuf: *mut c_void,
        bytes: u64,
        at: *mut Place,
    ) -> c_int;
    pub fn vb3core_c_mem_place(core: *mut Core, dmabuf: *mut c_void, at: *mut Place) -> c_int;
    pub fn vb3core_c_mem_leave(core: *mut Core, at: *const Place);
    pub fn vb3core_c_mem_map(core: *mut Core, at: *const Place) -> c_int;
    pub fn vb3core_c_mem_unmap(core: *mut Core, at: *const Place);
    pub fn vb3core_c_mem_put(core: *mut Core, at: *const Place, kind: c_int);
    pub fn vb3core_c_mem_sync(core: *mut Core, at: *const Place, for_device: bool);
    pub fn vb3core_c_mem_copy(
        core: *mut Core,
        at: *const Place,
        offset: u64,
        bytes: *mut u8,
        len: u64,
        to_plane: bool,
    ) -> c_int;
    pub fn vb3core_c_export(
        core: *mut Core,
        at: *const Place,
        access: c_ulong,
        dmabuf: *mut *mut c_void,
    ) -> c_int;
    pub fn vb3core_c_dmabuf_len(dmabuf: *mut c_void) -> u64;
    pub fn vb3core_c_dmabuf_get(dmabuf: *mut c_void);
    pub fn vb3core_c_dmabuf_put(dmabuf: *mut c_void);
    pub fn vb3core_c_copy_user(
        user: *mut c_void,
        offset: u64,
        bytes: *mut u8,
        len: u64,
        to_user: bool,
    ) -> c_int;
}
