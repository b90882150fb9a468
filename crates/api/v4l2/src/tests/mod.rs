//! Calls and results, byte by byte, with a fake program, memory and driver.

#![allow(
    clippy::type_complexity,
    reason = "test tables are clearer with their types written out"
)]

mod buffers;
mod controls;
mod device;
mod driver;
mod errnos;
mod events;
mod fileio;
mod formats;
mod fuzz;
mod media;
mod memory;
mod multiplanar;
mod program;
mod receiver;
mod requests;
mod subdev;

use crate::bytes::Image;
use crate::{CallContext, FileHandle, Flow, Planarity, V4l2Outcome, VideoDevice, VideoDriver};
pub(crate) use driver::TestDriver;
pub(crate) use memory::{TestMemory, TestPlane};
pub(crate) use program::TestProgram;
use std::cell::Cell;
use std::collections::BTreeSet;
use vb3_queue::Direction;

/// Address of the argument structure in the program.
const ARG: u64 = program::BASE;
/// Address of that structure's array of planes or controls.
const ARRAY: u64 = program::BASE + 0x1000;

/// The result of a call: 0, a positive errno, or [`WAIT`].
const WAIT: i32 = -1;

/// Returns which files may have changed since the last call, and whether media requests may have.
fn woken<M, D>(device: &mut VideoDevice<M, D>) -> (BTreeSet<FileHandle>, bool)
where
    M: vb3_plane::MemOps,
    D: VideoDriver<Cookie = M::Cookie>,
{
    let mut files = BTreeSet::new();
    let requests = device.take_woken(|file| {
        files.insert(file);
    });
    (files, requests)
}

/// A device with one program.
struct Bench {
    mem: TestMemory,
    program: TestProgram,
    device: VideoDevice<TestMemory, TestDriver>,
    flow: Flow,
    /// The file of most calls.
    file: FileHandle,
    now_ns: u64,
    nonblocking: bool,
    /// The number of the next call.
    next_call: Cell<u64>,
    /// The call that waited last.
    waited: Cell<u64>,
}

impl Bench {
    fn with(driver: TestDriver) -> Self {
        let mem = TestMemory::default();
        // A subdevice has no queue.
        let flows = crate::VideoDriver::role(&driver).flows();
        let flow = flows.first().copied().unwrap_or(Flow::Capture);
        let mut device = VideoDevice::new(&mem, driver, ()).unwrap();
        let file = device.open(&mem).unwrap();
        Self {
            mem,
            program: TestProgram::default(),
            device,
            flow,
            file,
            now_ns: 1_000_000_000,
            nonblocking: true,
            next_call: Cell::new(1),
            waited: Cell::new(0),
        }
    }

    fn new(flow: Flow, planarity: Planarity) -> Self {
        Self::with(TestDriver::new(flow, planarity))
    }

    fn capture() -> Self {
        Self::new(Flow::Capture, Planarity::Single)
    }

    fn output() -> Self {
        Self::new(Flow::Output, Planarity::Single)
    }

    fn ty(&self) -> u32 {
        self.device.context().buf_type(self.flow)
    }

    fn open(&mut self) -> FileHandle {
        self.device.open(&self.mem).unwrap()
    }

    fn cx(&self, file: FileHandle, retry: bool) -> CallContext {
        let call = if retry {
            self.waited.get()
        } else {
            self.next_call.replace(self.next_call.get() + 1)
        };
        CallContext {
            file,
            nonblocking: self.nonblocking,
            call,
            now_ns: self.now_ns,
            piece_bytes: u64::MAX,
        }
    }

    /// Makes a call with a structure at [`ARG`], and reads the structure back.
    fn call_by(&mut self, file: FileHandle, request: u32, arg: &mut [u8]) -> i32 {
        self.program.poke(ARG, arg);
        let errno = self.call_at(file, request, ARG, false);
        self.program.peek(ARG, arg);
        errno
    }

    fn call_at(&mut self, file: FileHandle, request: u32, arg: u64, retry: bool) -> i32 {
        let cx = self.cx(file, retry);
        let outcome = self
            .device
            .ioctl(&mut self.mem, cx, request, arg, &self.program);
        self.result_code(cx, outcome)
    }

    /// Returns the result of a call.
    fn result_code(&self, cx: CallContext, outcome: V4l2Outcome) -> i32 {
        if outcome == V4l2Outcome::Wait {
            self.waited.set(cx.call);
        }
        code(outcome)
    }

    /// Cancels the waiting call.
    fn abandon(&mut self, file: FileHandle) {
        self.device.abandon(file, self.waited.get());
    }

    fn call(&mut self, request: u32, arg: &mut [u8]) -> i32 {
        self.call_by(self.file, request, arg)
    }

    /// Makes a call whose structure is one number.
    fn number(&mut self, request: u32, value: u32) -> i32 {
        self.call(request, &mut value.to_ne_bytes())
    }

    fn number_by(&mut self, file: FileHandle, request: u32, value: u32) -> i32 {
        self.call_by(file, request, &mut value.to_ne_bytes())
    }

    fn tick(&mut self) {
        self.now_ns += 33_000_000;
        self.device.tick(&mut self.mem, self.now_ns);
    }

    fn mmap(&mut self, offset: u64, len: u64, access: Option<Direction>) -> i32 {
        let file = self.file;
        self.device
            .mmap(&mut self.mem, file, offset, len, access, self.now_ns)
            .map_or_else(|e| e.errno(), |_| 0)
    }

    /// Closes everything and checks that nothing is held.
    fn close(mut self) {
        for file in self.device.open_files() {
            self.device.release(&mut self.mem, file);
        }
        self.program.close_all(&mut self.mem);
        assert_eq!(
            self.mem.held(),
            (0, 0),
            "planes and references held at the end"
        );
        assert_eq!(self.device.driver().balance, 0, "buf_init and buf_cleanup");
    }
}

fn code(outcome: V4l2Outcome) -> i32 {
    match outcome {
        V4l2Outcome::Done(value) => i32::try_from(value).unwrap(),
        V4l2Outcome::Fail(error) => error.errno(),
        V4l2Outcome::Wait => WAIT,
        V4l2Outcome::Part(bytes) => panic!("{bytes} bytes are a piece of a call that has none"),
    }
}

/// Returns a structure of zeroes with some fields set.
fn record<const N: usize>(fields: &[(usize, u32)]) -> [u8; N] {
    let mut bytes = [0; N];
    for &(at, value) in fields {
        Image(&mut bytes).set_u32(at, value);
    }
    bytes
}

/// Returns a 32-bit field of a structure.
fn get(bytes: &[u8], at: usize) -> u32 {
    Image(&mut bytes.to_vec()).u32(at)
}

/// A `v4l2_buffer`.
type Buf = [u8; size_of::<crate::sys::v4l2_buffer>()];

const MMAP: u32 = crate::sys::V4L2_MEMORY_MMAP;
const USERPTR: u32 = crate::sys::V4L2_MEMORY_USERPTR;
const DMABUF: u32 = crate::sys::V4L2_MEMORY_DMABUF;

const EIO: i32 = 5;
const EAGAIN: i32 = 11;
const ENOMEM: i32 = 12;
const EACCES: i32 = 13;
const EFAULT: i32 = 14;
const EBUSY: i32 = 16;
const EINVAL: i32 = 22;
const EMFILE: i32 = 24;
const ENOTTY: i32 = 25;
const ERANGE: i32 = 34;
const EPIPE: i32 = 32;
const EBADR: i32 = 53;
const ENOBUFS: i32 = 105;

impl Bench {
    /// Returns a buffer as a program fills it in.
    fn buf(&self, index: u32, memory: u32) -> Buf {
        use crate::bytes::field;
        record(&[
            (field!(v4l2_buffer.index), index),
            (field!(v4l2_buffer.type_), self.ty()),
            (field!(v4l2_buffer.memory), memory),
        ])
    }

    /// REQBUFS. Returns the number of buffers, or the negative errno.
    fn reqbufs_by(&mut self, file: FileHandle, count: u32, memory: u32) -> i32 {
        use crate::bytes::field;
        let mut arg: [u8; 20] = record(&[
            (field!(v4l2_requestbuffers.count), count),
            (field!(v4l2_requestbuffers.type_), self.ty()),
            (field!(v4l2_requestbuffers.memory), memory),
        ]);
        match self.call_by(file, crate::sys::VIDIOC_REQBUFS, &mut arg) {
            0 => i32::try_from(get(&arg, 0)).unwrap(),
            errno => -errno,
        }
    }

    fn reqbufs(&mut self, count: u32, memory: u32) -> i32 {
        self.reqbufs_by(self.file, count, memory)
    }

    /// CREATE_BUFS with the current format. Returns its result and the structure.
    fn create_by(&mut self, file: FileHandle, count: u32, memory: u32) -> (i32, Vec<u8>) {
        use crate::bytes::field;
        let mut arg = vec![0; size_of::<crate::sys::v4l2_create_buffers>()];
        let at = field!(v4l2_create_buffers.format);
        let ty = self.ty();
        let format = self.device.driver().format_now();
        let planarity = self.device.planarity();
        Image(&mut arg[at..]).set_u32(0, ty);
        crate::calls::format::write_format(&mut Image(&mut arg[at..]), &format, planarity);
        Image(&mut arg).set_u32(field!(v4l2_create_buffers.count), count);
        Image(&mut arg).set_u32(field!(v4l2_create_buffers.memory), memory);
        let errno = self.call_by(file, crate::sys::VIDIOC_CREATE_BUFS, &mut arg);
        (errno, arg)
    }

    fn create(&mut self, count: u32, memory: u32) -> i32 {
        self.create_by(self.file, count, memory).0
    }

    fn remove_by(&mut self, file: FileHandle, first: u32, count: u32) -> i32 {
        let mut arg = vec![0; size_of::<crate::sys::v4l2_remove_buffers>()];
        let ty = self.ty();
        let mut image = Image(&mut arg);
        image.set_u32(0, first);
        image.set_u32(4, count);
        image.set_u32(8, ty);
        self.call_by(file, crate::sys::VIDIOC_REMOVE_BUFS, &mut arg)
    }

    fn remove(&mut self, first: u32, count: u32) -> i32 {
        self.remove_by(self.file, first, count)
    }

    fn query(&mut self, index: u32) -> i32 {
        let mut buf = self.buf(index, MMAP);
        self.call(crate::sys::VIDIOC_QUERYBUF, &mut buf)
    }

    fn qbuf(&mut self, index: u32) -> i32 {
        let mut buf = self.buf(index, MMAP);
        self.call(crate::sys::VIDIOC_QBUF, &mut buf)
    }

    fn dqbuf(&mut self) -> i32 {
        let mut buf = self.buf(0, MMAP);
        self.call(crate::sys::VIDIOC_DQBUF, &mut buf)
    }

    fn prepare(&mut self, index: u32) -> i32 {
        let mut buf = self.buf(index, MMAP);
        self.call(crate::sys::VIDIOC_PREPARE_BUF, &mut buf)
    }

    fn stream(&mut self, on: bool) -> i32 {
        use crate::sys::{VIDIOC_STREAMOFF, VIDIOC_STREAMON};
        let ty = self.ty();
        self.number(
            if on {
                VIDIOC_STREAMON
            } else {
                VIDIOC_STREAMOFF
            },
            ty,
        )
    }

    /// EXPBUF. Returns a descriptor, or the negative errno.
    fn export(&mut self, index: u32, plane: u32, flags: u32) -> i32 {
        let mut arg = vec![0; size_of::<crate::sys::v4l2_exportbuffer>()];
        let ty = self.ty();
        let mut image = Image(&mut arg);
        for (at, value) in [(0, ty), (4, index), (8, plane), (12, flags)] {
            image.set_u32(at, value);
        }
        match self.call(crate::sys::VIDIOC_EXPBUF, &mut arg) {
            0 => Image(&mut arg).i32(16),
            errno => -errno,
        }
    }
}
