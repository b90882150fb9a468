//! The calls of a program, with mostly valid structures.

use super::arg::{ARG, ARRAY, Arg};
use super::buffer::{BufferAt, Dequeue, Queue};
use super::tables::{CONTROLS, FOURCCS, REQUESTS};
use arbitrary::Arbitrary;
use std::mem::{offset_of, size_of};
use vb3_v4l2::sys::*;

/// A queue's type, or any number.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Type {
    Capture,
    Output,
    Any(u8),
}

impl Type {
    pub(super) fn number(self, mplane: bool) -> u32 {
        match (self, mplane) {
            (Self::Capture, false) => V4L2_BUF_TYPE_VIDEO_CAPTURE,
            (Self::Output, false) => V4L2_BUF_TYPE_VIDEO_OUTPUT,
            (Self::Capture, true) => V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE,
            (Self::Output, true) => V4L2_BUF_TYPE_VIDEO_OUTPUT_MPLANE,
            (Self::Any(n), _) => n.into(),
        }
    }
}

/// Returns a value for `enum v4l2_memory`: mostly MMAP, often DMABUF, sometimes another number.
pub(super) fn memory(n: u8) -> u32 {
    match n {
        0..160 => 1,
        160..240 => 4,
        n => u32::from(n % 8),
    }
}

/// A call with a mostly valid structure.
#[derive(Arbitrary, Clone, Debug)]
pub enum Call {
    Format(SetFormat),
    Reqbufs(Reqbufs),
    Create(Create),
    Remove(Remove),
    Query(BufferAt),
    Queue(Queue),
    Dequeue(Dequeue),
    Export(Export),
    Stream(Stream),
    Select(Select),
    Command(Command),
    Control(Control),
    Subscribe(Subscribe),
    Event,
    /// Any ioctl with any words.
    Any(Words),
    /// An ioctl with any number.
    Number {
        request: u32,
        addr: u64,
    },
}

impl Call {
    /// Returns the request and its structure, or the plain argument of a request without a structure.
    pub(super) fn structure(&self, mplane: bool) -> (u32, Result<Arg, u64>) {
        let (request, arg) = match self {
            Self::Format(call) => call.structure(mplane),
            Self::Reqbufs(call) => call.structure(mplane),
            Self::Create(call) => call.structure(mplane),
            Self::Remove(call) => call.structure(mplane),
            Self::Query(call) => (VIDIOC_QUERYBUF, call.structure(mplane, 1)),
            Self::Queue(call) => call.structure(mplane),
            Self::Dequeue(call) => call.structure(mplane),
            Self::Export(call) => call.structure(mplane),
            Self::Stream(call) => call.structure(mplane),
            Self::Select(call) => call.structure(),
            Self::Command(call) => call.structure(),
            Self::Control(call) => call.structure(),
            Self::Subscribe(call) => call.structure(),
            Self::Event => (VIDIOC_DQEVENT, Arg::of(VIDIOC_DQEVENT)),
            Self::Any(call) => call.structure(),
            Self::Number { request, addr } => return (*request, Err(*addr)),
        };
        (request, Ok(arg))
    }
}

#[derive(Arbitrary, Clone, Debug)]
pub struct SetFormat {
    ty: Type,
    fourcc: u8,
    width: u16,
    height: u16,
    stride: u16,
    try_only: bool,
}

impl SetFormat {
    fn structure(&self, mplane: bool) -> (u32, Arg) {
        let request = if self.try_only {
            VIDIOC_TRY_FMT
        } else {
            VIDIOC_S_FMT
        };
        let pix = offset_of!(v4l2_format, fmt);
        let fourcc = FOURCCS[usize::from(self.fourcc) % FOURCCS.len()];
        let arg = Arg::of(request)
            .with(0, self.ty.number(mplane))
            .with(pix, (self.width % 0x180).into())
            .with(pix + 4, (self.height % 0x180).into())
            .with(pix + 8, u32::from_le_bytes(*fourcc));
        let stride = u32::from(self.stride);
        let arg = if mplane {
            let planes = offset_of!(v4l2_pix_format_mplane, plane_fmt);
            let count = offset_of!(v4l2_pix_format_mplane, num_planes);
            arg.with(pix + planes + 4, stride)
                .with(pix + count, stride % 4)
        } else {
            arg.with(pix + offset_of!(v4l2_pix_format, bytesperline), stride)
        };
        (request, arg)
    }
}

#[derive(Arbitrary, Clone, Debug)]
pub struct Reqbufs {
    ty: Type,
    memory: u8,
    count: u8,
}

impl Reqbufs {
    fn structure(&self, mplane: bool) -> (u32, Arg) {
        let arg = Arg::of(VIDIOC_REQBUFS)
            .with(0, (self.count % 8).into())
            .with(4, self.ty.number(mplane))
            .with(8, memory(self.memory));
        (VIDIOC_REQBUFS, arg)
    }
}

#[derive(Arbitrary, Clone, Debug)]
pub struct Create {
    ty: Type,
    memory: u8,
    count: u8,
    bytes: u16,
}

impl Create {
    fn structure(&self, mplane: bool) -> (u32, Arg) {
        let at = offset_of!(v4l2_create_buffers, format);
        let pix = at + offset_of!(v4l2_format, fmt);
        let arg = Arg::of(VIDIOC_CREATE_BUFS)
            .with(4, (self.count % 4).into())
            .with(8, memory(self.memory))
            .with(at, self.ty.number(mplane))
            .with(pix, 64)
            .with(pix + 4, 48);
        let bytes = u32::from(self.bytes);
        let arg = if mplane {
            let planes = offset_of!(v4l2_pix_format_mplane, plane_fmt);
            let count = offset_of!(v4l2_pix_format_mplane, num_planes);
            arg.with(pix + planes, bytes).with(pix + count, 1)
        } else {
            arg.with(pix + offset_of!(v4l2_pix_format, sizeimage), bytes)
        };
        (VIDIOC_CREATE_BUFS, arg)
    }
}

#[derive(Arbitrary, Clone, Debug)]
pub struct Remove {
    ty: Type,
    index: u8,
    count: u8,
}

impl Remove {
    fn structure(&self, mplane: bool) -> (u32, Arg) {
        let arg = Arg::of(VIDIOC_REMOVE_BUFS)
            .with(0, (self.index % 16).into())
            .with(4, (self.count % 8).into())
            .with(8, self.ty.number(mplane));
        (VIDIOC_REMOVE_BUFS, arg)
    }
}

#[derive(Arbitrary, Clone, Debug)]
pub struct Export {
    ty: Type,
    index: u8,
    plane: u8,
    flags: u8,
}

impl Export {
    fn structure(&self, mplane: bool) -> (u32, Arg) {
        let arg = Arg::of(VIDIOC_EXPBUF)
            .with(0, self.ty.number(mplane))
            .with(4, (self.index % 16).into())
            .with(8, (self.plane % 4).into())
            .with(12, (self.flags % 3).into());
        (VIDIOC_EXPBUF, arg)
    }
}

#[derive(Arbitrary, Clone, Debug)]
pub struct Stream {
    ty: Type,
    on: bool,
}

impl Stream {
    fn structure(&self, mplane: bool) -> (u32, Arg) {
        let request = if self.on {
            VIDIOC_STREAMON
        } else {
            VIDIOC_STREAMOFF
        };
        (request, Arg::new(4).with(0, self.ty.number(mplane)))
    }
}

#[derive(Arbitrary, Clone, Debug)]
pub struct Select {
    ty: Type,
    target: u16,
    x: u8,
    y: u8,
    width: u8,
    height: u8,
    flags: u8,
    set: bool,
}

impl Select {
    fn structure(&self) -> (u32, Arg) {
        let request = if self.set {
            VIDIOC_S_SELECTION
        } else {
            VIDIOC_G_SELECTION
        };
        // The single-planar types are valid for multi-planar devices, too.
        let arg = Arg::of(request)
            .with(0, self.ty.number(self.flags & 0x80 != 0))
            .with(4, u32::from(self.target) % 0x104)
            .with(8, (self.flags & 3).into())
            .with(12, self.x.into())
            .with(16, self.y.into())
            .with(20, self.width.into())
            .with(24, self.height.into());
        (request, arg)
    }
}

#[derive(Arbitrary, Clone, Debug)]
pub struct Command {
    encoder: bool,
    command: u8,
    flags: u8,
    try_only: bool,
}

impl Command {
    fn structure(&self) -> (u32, Arg) {
        let request = match (self.encoder, self.try_only) {
            (true, false) => VIDIOC_ENCODER_CMD,
            (true, true) => VIDIOC_TRY_ENCODER_CMD,
            (false, false) => VIDIOC_DECODER_CMD,
            (false, true) => VIDIOC_TRY_DECODER_CMD,
        };
        let arg = Arg::of(request)
            .with(0, (self.command % 6).into())
            .with(4, (self.flags % 4).into());
        (request, arg)
    }
}

#[derive(Arbitrary, Clone, Debug)]
pub struct Control {
    id: u8,
    value: i32,
    ext: bool,
}

impl Control {
    fn structure(&self) -> (u32, Arg) {
        let id = CONTROLS[usize::from(self.id) % CONTROLS.len()];
        let value = self.value.cast_unsigned();
        if !self.ext {
            let arg = Arg::of(VIDIOC_S_CTRL).with(0, id).with(4, value);
            return (VIDIOC_S_CTRL, arg);
        }
        let behind = ARG + size_of::<v4l2_ext_controls>() as u64;
        let arg = Arg::of(VIDIOC_S_EXT_CTRLS)
            .with(offset_of!(v4l2_ext_controls, count), 1)
            .pointer(offset_of!(v4l2_ext_controls, controls), behind);
        let control = Arg::new(size_of::<v4l2_ext_control>())
            .with(0, id)
            .with(offset_of!(v4l2_ext_control, __bindgen_anon_1), value);
        (VIDIOC_S_EXT_CTRLS, Arg([arg.0, control.0].concat()))
    }
}

#[derive(Arbitrary, Clone, Debug)]
pub struct Subscribe {
    kind: u8,
    id: u8,
    flags: u8,
}

impl Subscribe {
    fn structure(&self) -> (u32, Arg) {
        let request = match self.flags & 0x40 {
            0 => VIDIOC_SUBSCRIBE_EVENT,
            _ => VIDIOC_UNSUBSCRIBE_EVENT,
        };
        let kind = u32::from(self.kind % 8);
        let id = match kind {
            V4L2_EVENT_CTRL => CONTROLS[usize::from(self.id) % CONTROLS.len()],
            _ => 0,
        };
        let arg = Arg::of(request)
            .with(0, kind)
            .with(4, id)
            .with(8, (self.flags % 4).into());
        (request, arg)
    }
}

#[derive(Arbitrary, Clone, Debug)]
pub struct Words {
    request: u8,
    words: Vec<(u8, u32)>,
}

impl Words {
    fn structure(&self) -> (u32, Arg) {
        let request = REQUESTS[usize::from(self.request) % REQUESTS.len()];
        let mut arg = Arg::of(request);
        for &(at, value) in self.words.iter().take(16) {
            let value = match value {
                // An address in the memory for arrays.
                0xffff_0000.. => ARRAY as u32 + (value & 0xfff),
                other => other,
            };
            arg = arg.with(usize::from(at % 64) * 4, value);
        }
        (request, arg)
    }
}
