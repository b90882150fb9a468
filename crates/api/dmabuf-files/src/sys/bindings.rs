pub type __s32 = ::core::ffi::c_int;
pub type __u32 = ::core::ffi::c_uint;
pub type __u64 = ::core::ffi::c_ulonglong;
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct dma_buf_sync {
    pub flags: __u64,
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct dma_buf_export_sync_file {
    pub flags: __u32,
    pub fd: __s32,
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct dma_buf_import_sync_file {
    pub flags: __u32,
    pub fd: __s32,
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct dma_heap_allocation_data {
    pub len: __u64,
    pub fd: __u32,
    pub fd_flags: __u32,
    pub heap_flags: __u64,
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct sync_merge_data {
    pub name: [::core::ffi::c_char; 32usize],
    pub fd2: __s32,
    pub fence: __s32,
    pub flags: __u32,
    pub pad: __u32,
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct sync_fence_info {
    pub obj_name: [::core::ffi::c_char; 32usize],
    pub driver_name: [::core::ffi::c_char; 32usize],
    pub status: __s32,
    pub flags: __u32,
    pub timestamp_ns: __u64,
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct sync_file_info {
    pub name: [::core::ffi::c_char; 32usize],
    pub status: __s32,
    pub flags: __u32,
    pub num_fences: __u32,
    pub pad: __u32,
    pub sync_fence_info: __u64,
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct sync_set_deadline {
    pub deadline_ns: __u64,
    pub pad: __u64,
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct udmabuf_create {
    pub memfd: __u32,
    pub flags: __u32,
    pub offset: __u64,
    pub size: __u64,
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct udmabuf_create_item {
    pub memfd: __u32,
    pub __pad: __u32,
    pub offset: __u64,
    pub size: __u64,
}
pub const DMA_BUF_SYNC_READ: u32 = 1;
pub const DMA_BUF_SYNC_WRITE: u32 = 2;
pub const DMA_BUF_SYNC_RW: u32 = 3;
pub const DMA_BUF_SYNC_START: u32 = 0;
pub const DMA_BUF_SYNC_END: u32 = 4;
pub const DMA_BUF_SYNC_VALID_FLAGS_MASK: u32 = 7;
pub const DMA_BUF_IOCTL_SYNC: u32 = 1074291200;
pub const DMA_BUF_SET_NAME_A: u32 = 1074029057;
pub const DMA_BUF_SET_NAME_B: u32 = 1074291201;
pub const DMA_BUF_IOCTL_EXPORT_SYNC_FILE: u32 = 3221774850;
pub const DMA_BUF_IOCTL_IMPORT_SYNC_FILE: u32 = 1074291203;
pub const DMA_HEAP_IOCTL_ALLOC: u32 = 3222816768;
pub const SYNC_IOC_MERGE: u32 = 3224387075;
pub const SYNC_IOC_FILE_INFO: u32 = 3224911364;
pub const SYNC_IOC_SET_DEADLINE: u32 = 1074806277;
pub const UDMABUF_FLAGS_CLOEXEC: u32 = 1;
pub const UDMABUF_CREATE: u32 = 1075344706;
pub const UDMABUF_CREATE_LIST: u32 = 1074296131;
const _: () = {
    ["Size of dma_buf_sync"][::core::mem::size_of::<dma_buf_sync>() - 8usize];
    ["Alignment of dma_buf_sync"][::core::mem::align_of::<dma_buf_sync>() - 8usize];
    ["Offset of field: dma_buf_sync::flags"][::core::mem::offset_of!(dma_buf_sync, flags) - 0usize];
};
const _: () = {
    ["Size of dma_buf_export_sync_file"]
        [::core::mem::size_of::<dma_buf_export_sync_file>() - 8usize];
    ["Alignment of dma_buf_export_sync_file"]
        [::core::mem::align_of::<dma_buf_export_sync_file>() - 4usize];
    ["Offset of field: dma_buf_export_sync_file::flags"]
        [::core::mem::offset_of!(dma_buf_export_sync_file, flags) - 0usize];
    ["Offset of field: dma_buf_export_sync_file::fd"]
        [::core::mem::offset_of!(dma_buf_export_sync_file, fd) - 4usize];
};
const _: () = {
    ["Size of dma_buf_import_sync_file"]
        [::core::mem::size_of::<dma_buf_import_sync_file>() - 8usize];
    ["Alignment of dma_buf_import_sync_file"]
        [::core::mem::align_of::<dma_buf_import_sync_file>() - 4usize];
    ["Offset of field: dma_buf_import_sync_file::flags"]
        [::core::mem::offset_of!(dma_buf_import_sync_file, flags) - 0usize];
    ["Offset of field: dma_buf_import_sync_file::fd"]
        [::core::mem::offset_of!(dma_buf_import_sync_file, fd) - 4usize];
};
const _: () = {
    ["Size of dma_heap_allocation_data"]
        [::core::mem::size_of::<dma_heap_allocation_data>() - 24usize];
    ["Alignment of dma_heap_allocation_data"]
        [::core::mem::align_of::<dma_heap_allocation_data>() - 8usize];
    ["Offset of field: dma_heap_allocation_data::len"]
        [::core::mem::offset_of!(dma_heap_allocation_data, len) - 0usize];
    ["Offset of field: dma_heap_allocation_data::fd"]
        [::core::mem::offset_of!(dma_heap_allocation_data, fd) - 8usize];
    ["Offset of field: dma_heap_allocation_data::fd_flags"]
        [::core::mem::offset_of!(dma_heap_allocation_data, fd_flags) - 12usize];
    ["Offset of field: dma_heap_allocation_data::heap_flags"]
        [::core::mem::offset_of!(dma_heap_allocation_data, heap_flags) - 16usize];
};
const _: () = {
    ["Size of sync_merge_data"][::core::mem::size_of::<sync_merge_data>() - 48usize];
    ["Alignment of sync_merge_data"][::core::mem::align_of::<sync_merge_data>() - 4usize];
    ["Offset of field: sync_merge_data::name"]
        [::core::mem::offset_of!(sync_merge_data, name) - 0usize];
    ["Offset of field: sync_merge_data::fd2"]
        [::core::mem::offset_of!(sync_merge_data, fd2) - 32usize];
    ["Offset of field: sync_merge_data::fence"]
        [::core::mem::offset_of!(sync_merge_data, fence) - 36usize];
    ["Offset of field: sync_merge_data::flags"]
        [::core::mem::offset_of!(sync_merge_data, flags) - 40usize];
    ["Offset of field: sync_merge_data::pad"]
        [::core::mem::offset_of!(sync_merge_data, pad) - 44usize];
};
const _: () = {
    ["Size of sync_fence_info"][::core::mem::size_of::<sync_fence_info>() - 80usize];
    ["Alignment of sync_fence_info"][::core::mem::align_of::<sync_fence_info>() - 8usize];
    ["Offset of field: sync_fence_info::obj_name"]
        [::core::mem::offset_of!(sync_fence_info, obj_name) - 0usize];
    ["Offset of field: sync_fence_info::driver_name"]
        [::core::mem::offset_of!(sync_fence_info, driver_name) - 32usize];
    ["Offset of field: sync_fence_info::status"]
        [::core::mem::offset_of!(sync_fence_info, status) - 64usize];
    ["Offset of field: sync_fence_info::flags"]
        [::core::mem::offset_of!(sync_fence_info, flags) - 68usize];
    ["Offset of field: sync_fence_info::timestamp_ns"]
        [::core::mem::offset_of!(sync_fence_info, timestamp_ns) - 72usize];
};
const _: () = {
    ["Size of sync_file_info"][::core::mem::size_of::<sync_file_info>() - 56usize];
    ["Alignment of sync_file_info"][::core::mem::align_of::<sync_file_info>() - 8usize];
    ["Offset of field: sync_file_info::name"]
        [::core::mem::offset_of!(sync_file_info, name) - 0usize];
    ["Offset of field: sync_file_info::status"]
        [::core::mem::offset_of!(sync_file_info, status) - 32usize];
    ["Offset of field: sync_file_info::flags"]
        [::core::mem::offset_of!(sync_file_info, flags) - 36usize];
    ["Offset of field: sync_file_info::num_fences"]
        [::core::mem::offset_of!(sync_file_info, num_fences) - 40usize];
    ["Offset of field: sync_file_info::pad"]
        [::core::mem::offset_of!(sync_file_info, pad) - 44usize];
    ["Offset of field: sync_file_info::sync_fence_info"]
        [::core::mem::offset_of!(sync_file_info, sync_fence_info) - 48usize];
};
const _: () = {
    ["Size of sync_set_deadline"][::core::mem::size_of::<sync_set_deadline>() - 16usize];
    ["Alignment of sync_set_deadline"][::core::mem::align_of::<sync_set_deadline>() - 8usize];
    ["Offset of field: sync_set_deadline::deadline_ns"]
        [::core::mem::offset_of!(sync_set_deadline, deadline_ns) - 0usize];
    ["Offset of field: sync_set_deadline::pad"]
        [::core::mem::offset_of!(sync_set_deadline, pad) - 8usize];
};
const _: () = {
    ["Size of udmabuf_create"][::core::mem::size_of::<udmabuf_create>() - 24usize];
    ["Alignment of udmabuf_create"][::core::mem::align_of::<udmabuf_create>() - 8usize];
    ["Offset of field: udmabuf_create::memfd"]
        [::core::mem::offset_of!(udmabuf_create, memfd) - 0usize];
    ["Offset of field: udmabuf_create::flags"]
        [::core::mem::offset_of!(udmabuf_create, flags) - 4usize];
    ["Offset of field: udmabuf_create::offset"]
        [::core::mem::offset_of!(udmabuf_create, offset) - 8usize];
    ["Offset of field: udmabuf_create::size"]
        [::core::mem::offset_of!(udmabuf_create, size) - 16usize];
};
const _: () = {
    ["Size of udmabuf_create_item"][::core::mem::size_of::<udmabuf_create_item>() - 24usize];
    ["Alignment of udmabuf_create_item"][::core::mem::align_of::<udmabuf_create_item>() - 8usize];
    ["Offset of field: udmabuf_create_item::memfd"]
        [::core::mem::offset_of!(udmabuf_create_item, memfd) - 0usize];
    ["Offset of field: udmabuf_create_item::__pad"]
        [::core::mem::offset_of!(udmabuf_create_item, __pad) - 4usize];
    ["Offset of field: udmabuf_create_item::offset"]
        [::core::mem::offset_of!(udmabuf_create_item, offset) - 8usize];
    ["Offset of field: udmabuf_create_item::size"]
        [::core::mem::offset_of!(udmabuf_create_item, size) - 16usize];
};
