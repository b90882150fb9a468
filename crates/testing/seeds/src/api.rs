//! The structures of V4L2 as bytes.

use crate::memory::PLANES;
use std::mem::{offset_of, size_of};
use vb3_v4l2::sys::{
    V4L2_BUF_FLAG_REQUEST_FD, v4l2_buffer, v4l2_create_buffers, v4l2_exportbuffer, v4l2_format,
    v4l2_plane, v4l2_remove_buffers, v4l2_requestbuffers,
};

pub(crate) const EAGAIN: i32 = 11;
pub(crate) const ENODEV: i32 = 19;
pub(crate) const EINVAL: i32 = 22;
pub(crate) const ENOTTY: i32 = 25;

/// V4L2_BUF_FLAG_QUEUED, then V4L2_BUF_FLAG_DONE, V4L2_BUF_FLAG_ERROR and V4L2_BUF_FLAG_LAST.
pub(crate) const QUEUED: u32 = 2;
pub(crate) const DONE: u32 = 4;
pub(crate) const ERROR: u32 = 0x40;
pub(crate) const LAST: u32 = 0x10_0000;

/// Source of the memory of a queue's buffers: a value of `enum v4l2_memory`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Model {
    Mmap = 1,
    UserPtr = 2,
    DmaBuf = 4,
}

/// A kind of queue: a value of V4L2_BUF_TYPE_*.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    pub(crate) output: bool,
    pub(crate) mplane: bool,
}

impl Kind {
    pub(crate) const fn number(self) -> u32 {
        match (self.output, self.mplane) {
            (false, false) => 1,
            (true, false) => 2,
            (false, true) => 9,
            (true, true) => 10,
        }
    }
}

/// A structure of the API, stored as bytes.
#[derive(Clone, Debug)]
pub(crate) struct Arg(pub(crate) Vec<u8>);

impl Arg {
    /// Makes a structure of zeroes, except for fields at these offsets.
    pub(crate) fn of<T>(fields: &[(usize, u32)]) -> Self {
        Self::new(size_of::<T>(), fields)
    }

    pub(crate) fn new(size: usize, fields: &[(usize, u32)]) -> Self {
        let mut arg = Self(vec![0; size]);
        for &(at, value) in fields {
            arg.put(at, &value.to_ne_bytes());
        }
        arg
    }

    pub(crate) fn put(&mut self, at: usize, bytes: &[u8]) {
        if let Some(to) = self.0.get_mut(at..at + bytes.len()) {
            to.copy_from_slice(bytes);
        }
    }

    pub(crate) fn u32(&self, at: usize) -> u32 {
        let bytes = self.0.get(at..at + 4).and_then(|b| b.try_into().ok());
        u32::from_ne_bytes(bytes.unwrap_or_default())
    }

    pub(crate) fn i64(&self, at: usize) -> i64 {
        let bytes = self.0.get(at..at + 8).and_then(|b| b.try_into().ok());
        i64::from_ne_bytes(bytes.unwrap_or_default())
    }
}

/// The memory that a QBUF passes for a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Own,
    User(u64, u32),
    Fd(i32),
}

impl Source {
    fn value(self) -> (u64, u32) {
        match self {
            Self::Own => (0, 0),
            Self::User(addr, len) => (addr, len),
            // CAST: keeps the descriptor's bits.
            Self::Fd(fd) => (u64::from(fd as u32), 0),
        }
    }
}

/// Makes a `v4l2_buffer` and, for the multi-planar API, the buffer's plane.
pub(crate) fn buffer(
    kind: Kind,
    model: Model,
    index: u32,
    from: Source,
    used: u32,
) -> (Arg, Option<Arg>) {
    let mut arg = Arg::of::<v4l2_buffer>(&[
        (offset_of!(v4l2_buffer, index), index),
        (offset_of!(v4l2_buffer, type_), kind.number()),
        (offset_of!(v4l2_buffer, memory), model as u32),
        (offset_of!(v4l2_buffer, field), 1),
    ]);
    let (m, len) = from.value();
    if !kind.mplane {
        arg.put(offset_of!(v4l2_buffer, m), &m.to_ne_bytes());
        arg.put(offset_of!(v4l2_buffer, length), &len.to_ne_bytes());
        arg.put(offset_of!(v4l2_buffer, bytesused), &used.to_ne_bytes());
        return (arg, None);
    }
    arg.put(offset_of!(v4l2_buffer, m), &PLANES.to_ne_bytes());
    arg.put(offset_of!(v4l2_buffer, length), &1u32.to_ne_bytes());
    let mut plane = Arg::of::<v4l2_plane>(&[
        (offset_of!(v4l2_plane, bytesused), used),
        (offset_of!(v4l2_plane, length), len),
    ]);
    plane.put(offset_of!(v4l2_plane, m), &m.to_ne_bytes());
    (arg, Some(plane))
}

/// Sets the timestamp of a buffer, in seconds.
pub(crate) fn put_time(buffer: &mut Arg, seconds: i64) {
    buffer.put(offset_of!(v4l2_buffer, timestamp), &seconds.to_ne_bytes());
}

/// Puts a buffer into a media request.
pub(crate) fn put_request(buffer: &mut Arg, fd: i32) {
    let flags = buffer.u32(offset_of!(v4l2_buffer, flags)) | V4L2_BUF_FLAG_REQUEST_FD;
    buffer.put(offset_of!(v4l2_buffer, flags), &flags.to_ne_bytes());
    buffer.put(offset_of!(v4l2_buffer, __bindgen_anon_1), &fd.to_ne_bytes());
}

/// The fields of a `v4l2_buffer` as a call returned them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Told {
    pub(crate) index: u32,
    pub(crate) flags: u32,
    pub(crate) used: u32,
    pub(crate) length: u32,
    pub(crate) sequence: u32,
    pub(crate) offset: u32,
    pub(crate) time_us: i64,
}

impl Told {
    /// Returns whether the buffer ends a memory-to-memory device's stream, and has no bytes.
    pub(crate) const fn is_last(&self) -> bool {
        self.used == 0 && self.flags & LAST != 0
    }
}

pub(crate) fn told(arg: &Arg, plane: Option<&Arg>) -> Told {
    let at = offset_of!(v4l2_buffer, timestamp);
    let (used, length, offset) = match plane {
        Some(plane) => (
            plane.u32(offset_of!(v4l2_plane, bytesused)),
            plane.u32(offset_of!(v4l2_plane, length)),
            plane.u32(offset_of!(v4l2_plane, m)),
        ),
        None => (
            arg.u32(offset_of!(v4l2_buffer, bytesused)),
            arg.u32(offset_of!(v4l2_buffer, length)),
            arg.u32(offset_of!(v4l2_buffer, m)),
        ),
    };
    Told {
        index: arg.u32(offset_of!(v4l2_buffer, index)),
        flags: arg.u32(offset_of!(v4l2_buffer, flags)),
        used,
        length,
        sequence: arg.u32(offset_of!(v4l2_buffer, sequence)),
        offset,
        time_us: arg.i64(at) * 1_000_000 + arg.i64(at + 8),
    }
}

/// V4L2_MEMORY_FLAG_NON_COHERENT.
const NON_COHERENT: u32 = 1;

pub(crate) fn reqbufs(kind: Kind, model: Model, count: u32, cached: bool) -> Arg {
    let flags = if cached { NON_COHERENT } else { 0 };
    Arg::of::<v4l2_requestbuffers>(&[
        (offset_of!(v4l2_requestbuffers, count), count),
        (offset_of!(v4l2_requestbuffers, type_), kind.number()),
        (offset_of!(v4l2_requestbuffers, memory), model as u32),
        (offset_of!(v4l2_requestbuffers, flags), flags),
    ])
}

pub(crate) fn granted(arg: &Arg) -> u32 {
    arg.u32(offset_of!(v4l2_requestbuffers, count))
}

/// Returns CREATE_BUFS's argument for the format that G_FMT returned.
pub(crate) fn create(model: Model, count: u32, cached: bool, format: &Arg) -> Arg {
    let flags = if cached { NON_COHERENT } else { 0 };
    let mut arg = Arg::new(
        size_of::<v4l2_create_buffers>(),
        &[
            (offset_of!(v4l2_create_buffers, count), count),
            (offset_of!(v4l2_create_buffers, memory), model as u32),
            (offset_of!(v4l2_create_buffers, flags), flags),
        ],
    );
    arg.put(offset_of!(v4l2_create_buffers, format), &format.0);
    arg
}

/// Returns the first index and the number of buffers that CREATE_BUFS made.
pub(crate) fn created(arg: &Arg) -> (u32, u32) {
    (
        arg.u32(offset_of!(v4l2_create_buffers, index)),
        arg.u32(offset_of!(v4l2_create_buffers, count)),
    )
}

pub(crate) fn remove(kind: Kind, first: u32, count: u32) -> Arg {
    Arg::of::<v4l2_remove_buffers>(&[
        (offset_of!(v4l2_remove_buffers, index), first),
        (offset_of!(v4l2_remove_buffers, count), count),
        (offset_of!(v4l2_remove_buffers, type_), kind.number()),
    ])
}

pub(crate) fn export(kind: Kind, index: u32) -> Arg {
    const RDWR: u32 = 2;
    Arg::of::<v4l2_exportbuffer>(&[
        (offset_of!(v4l2_exportbuffer, type_), kind.number()),
        (offset_of!(v4l2_exportbuffer, index), index),
        (offset_of!(v4l2_exportbuffer, flags), RDWR),
    ])
}

pub(crate) fn exported(arg: &Arg) -> i32 {
    // CAST: keeps the descriptor's bits.
    arg.u32(offset_of!(v4l2_exportbuffer, fd)) as i32
}

pub(crate) fn format(kind: Kind) -> Arg {
    Arg::of::<v4l2_format>(&[(0, kind.number())])
}

const WIDTH: usize = offset_of!(v4l2_format, fmt);

/// Returns a format's width, height, pixel format, and bytes of a picture.
pub(crate) fn picture_of(format: &Arg) -> (u32, u32, u32, u32) {
    // `v4l2_pix_format`: width, height, pixelformat, field, bytesperline, sizeimage.
    // `v4l2_pix_format_mplane`: width, height, pixelformat, field, colorspace, planes' sizeimage.
    // Both have `sizeimage` at offset 20.
    (
        format.u32(WIDTH),
        format.u32(WIDTH + 4),
        format.u32(WIDTH + 8),
        format.u32(WIDTH + 20),
    )
}

#[cfg(test)]
mod tests;
