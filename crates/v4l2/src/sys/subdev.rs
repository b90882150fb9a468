//! Structures and numbers of `linux/v4l2-subdev.h` and `linux/v4l2-mediabus.h` of Linux 6.12.

#![allow(
    missing_docs,
    non_camel_case_types,
    missing_debug_implementations,
    dead_code,
    reason = "names and fields are the header's"
)]

use super::{v4l2_fract, v4l2_rect};

#[repr(C)]
pub struct v4l2_mbus_framefmt {
    pub width: u32,
    pub height: u32,
    pub code: u32,
    pub field: u32,
    pub colorspace: u32,
    pub ycbcr_enc: u16,
    pub quantization: u16,
    pub xfer_func: u16,
    pub flags: u16,
    pub reserved: [u16; 10],
}

#[repr(C)]
pub struct v4l2_subdev_format {
    pub which: u32,
    pub pad: u32,
    pub format: v4l2_mbus_framefmt,
    pub stream: u32,
    pub reserved: [u32; 7],
}

#[repr(C)]
pub struct v4l2_subdev_crop {
    pub which: u32,
    pub pad: u32,
    pub rect: v4l2_rect,
    pub stream: u32,
    pub reserved: [u32; 7],
}

#[repr(C)]
pub struct v4l2_subdev_mbus_code_enum {
    pub pad: u32,
    pub index: u32,
    pub code: u32,
    pub which: u32,
    pub flags: u32,
    pub stream: u32,
    pub reserved: [u32; 6],
}

#[repr(C)]
pub struct v4l2_subdev_frame_size_enum {
    pub index: u32,
    pub pad: u32,
    pub code: u32,
    pub min_width: u32,
    pub max_width: u32,
    pub min_height: u32,
    pub max_height: u32,
    pub which: u32,
    pub stream: u32,
    pub reserved: [u32; 7],
}

#[repr(C)]
pub struct v4l2_subdev_frame_interval {
    pub pad: u32,
    pub interval: v4l2_fract,
    pub stream: u32,
    pub which: u32,
    pub reserved: [u32; 7],
}

#[repr(C)]
pub struct v4l2_subdev_frame_interval_enum {
    pub index: u32,
    pub pad: u32,
    pub code: u32,
    pub width: u32,
    pub height: u32,
    pub interval: v4l2_fract,
    pub which: u32,
    pub stream: u32,
    pub reserved: [u32; 7],
}

#[repr(C)]
pub struct v4l2_subdev_selection {
    pub which: u32,
    pub pad: u32,
    pub target: u32,
    pub flags: u32,
    pub r: v4l2_rect,
    pub stream: u32,
    pub reserved: [u32; 7],
}

#[repr(C)]
pub struct v4l2_subdev_capability {
    pub version: u32,
    pub capabilities: u32,
    pub reserved: [u32; 14],
}

#[repr(C)]
pub struct v4l2_subdev_client_capability {
    pub capabilities: u64,
}

pub const V4L2_SUBDEV_FORMAT_TRY: u32 = 0;
pub const V4L2_SUBDEV_FORMAT_ACTIVE: u32 = 1;
pub const V4L2_SUBDEV_CLIENT_CAP_INTERVAL_USES_WHICH: u64 = 2;

/// Returns an ioctl's number; direction 2 is `_IOR`, 3 is `_IOWR`.
const fn request<T>(direction: u32, number: u32) -> u32 {
    // CAST: structures have less than 256 bytes.
    direction << 30 | (size_of::<T>() as u32) << 16 | (b'V' as u32) << 8 | number
}

pub const VIDIOC_SUBDEV_QUERYCAP: u32 = request::<v4l2_subdev_capability>(2, 0);
pub const VIDIOC_SUBDEV_ENUM_MBUS_CODE: u32 = request::<v4l2_subdev_mbus_code_enum>(3, 2);
pub const VIDIOC_SUBDEV_G_FMT: u32 = request::<v4l2_subdev_format>(3, 4);
pub const VIDIOC_SUBDEV_S_FMT: u32 = request::<v4l2_subdev_format>(3, 5);
pub const VIDIOC_SUBDEV_G_FRAME_INTERVAL: u32 = request::<v4l2_subdev_frame_interval>(3, 21);
pub const VIDIOC_SUBDEV_S_FRAME_INTERVAL: u32 = request::<v4l2_subdev_frame_interval>(3, 22);
pub const VIDIOC_SUBDEV_G_CROP: u32 = request::<v4l2_subdev_crop>(3, 59);
pub const VIDIOC_SUBDEV_S_CROP: u32 = request::<v4l2_subdev_crop>(3, 60);
pub const VIDIOC_SUBDEV_G_SELECTION: u32 = request::<v4l2_subdev_selection>(3, 61);
pub const VIDIOC_SUBDEV_S_SELECTION: u32 = request::<v4l2_subdev_selection>(3, 62);
pub const VIDIOC_SUBDEV_ENUM_FRAME_SIZE: u32 = request::<v4l2_subdev_frame_size_enum>(3, 74);
pub const VIDIOC_SUBDEV_ENUM_FRAME_INTERVAL: u32 =
    request::<v4l2_subdev_frame_interval_enum>(3, 75);
pub const VIDIOC_SUBDEV_G_CLIENT_CAP: u32 = request::<v4l2_subdev_client_capability>(2, 101);
pub const VIDIOC_SUBDEV_S_CLIENT_CAP: u32 = request::<v4l2_subdev_client_capability>(3, 102);
