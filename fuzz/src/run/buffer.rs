//! The calls with a buffer.

use super::arg::{ARG, Arg};
use super::call::{Type, memory};
use crate::program::FIRST_FD;
use arbitrary::Arbitrary;
use std::mem::{offset_of, size_of};
use vb3_v4l2::sys::*;

/// A buffer of a queue.
#[derive(Arbitrary, Clone, Debug)]
pub struct BufferAt {
    ty: Type,
    index: u8,
}

impl BufferAt {
    pub(super) fn structure(&self, mplane: bool, memory: u32) -> Arg {
        let arg = Arg::new(size_of::<v4l2_buffer>())
            .with(offset_of!(v4l2_buffer, index), (self.index % 16).into())
            .with(offset_of!(v4l2_buffer, type_), self.ty.number(mplane))
            .with(offset_of!(v4l2_buffer, memory), memory);
        planes(arg, mplane, 0, 0)
    }
}

#[derive(Arbitrary, Clone, Debug)]
pub struct Queue {
    buffer: BufferAt,
    memory: u8,
    used: u16,
    fd: u8,
    flags: u16,
    prepare: bool,
}

impl Queue {
    pub(super) fn structure(&self, mplane: bool) -> (u32, Arg) {
        let request = if self.prepare {
            VIDIOC_PREPARE_BUF
        } else {
            VIDIOC_QBUF
        };
        let memory = memory(self.memory);
        let fd = u32::from(self.fd % 16) + FIRST_FD as u32;
        let (flags, field) = (u32::from(self.flags) << 8, u32::from(self.used % 3 == 1));
        let arg = self.buffer.structure(mplane, memory);
        let mut arg = arg
            .with(offset_of!(v4l2_buffer, flags), flags)
            .with(offset_of!(v4l2_buffer, field), field);
        if !mplane {
            arg = arg.with(offset_of!(v4l2_buffer, bytesused), self.used.into());
            if memory == V4L2_MEMORY_DMABUF {
                arg = arg.with(offset_of!(v4l2_buffer, m), fd);
            }
        }
        (request, planes(arg, mplane, self.used, fd))
    }
}

#[derive(Arbitrary, Clone, Debug)]
pub struct Dequeue {
    ty: Type,
    memory: u8,
}

impl Dequeue {
    pub(super) fn structure(&self, mplane: bool) -> (u32, Arg) {
        let any = BufferAt {
            ty: self.ty,
            index: 0,
        };
        (VIDIOC_DQBUF, any.structure(mplane, memory(self.memory)))
    }
}

/// Adds planes after a buffer's structure, and points the buffer to them.
fn planes(arg: Arg, mplane: bool, used: u16, fd: u32) -> Arg {
    if !mplane {
        return arg;
    }
    let each = size_of::<v4l2_plane>();
    let behind = ARG + size_of::<v4l2_buffer>() as u64;
    let mut arg = arg
        .pointer(offset_of!(v4l2_buffer, m), behind)
        .with(offset_of!(v4l2_buffer, length), 3);
    arg.0.resize(size_of::<v4l2_buffer>() + 3 * each, 0);
    for plane in 0..3 {
        let at = size_of::<v4l2_buffer>() + plane * each;
        arg = arg
            .with(at + offset_of!(v4l2_plane, bytesused), used.into())
            .with(at + offset_of!(v4l2_plane, m), fd);
    }
    arg
}
