//! Making, queueing, dequeueing and exporting buffers.

use super::userbuf::{UserBuffer, memory_from};
use crate::bytes::{Image, field};
use crate::calls::format::read_format;
use crate::device::{CallContext, VideoDevice};
use crate::dispatch::Answer;
use crate::file::FileHandle;
use crate::request::Call;
use crate::{Errno, Error, Program, VideoDriver, sys};
use vb3_plane::{Coherency, ExportAccess, MemOps};
use vb3_queue::{BufferInfo, IoModes, MAX_PLANES, Memory};

const O_ACCMODE: u32 = 3;
const O_CLOEXEC: u32 = 0o2_000_000;

impl<M, D> VideoDevice<M, D>
where
    M: MemOps,
    D: VideoDriver<Cookie = M::Cookie>,
{
    /// The calls that deal with the queue, all but EXPBUF.
    pub(crate) fn buffer_call(
        &mut self,
        mem: &mut M,
        cx: CallContext,
        call: Call,
        arg: &mut Image<'_>,
        program: &dyn Program<M>,
    ) -> Result<Answer, Error> {
        match call {
            Call::ReqBufs => self.req_bufs(mem, cx.file, arg)?,
            Call::CreateBufs => self.create_bufs(mem, cx.file, arg)?,
            Call::RemoveBufs => self.remove_bufs(mem, cx.file, arg)?,
            Call::StreamOn => self.stream(mem, cx.file, arg.u32(0), true)?,
            Call::StreamOff => self.stream(mem, cx.file, arg.u32(0), false)?,
            _ => {
                let mut user = UserBuffer::read(arg, program)?;
                let info = match call {
                    Call::QueryBuf => self.query_buf(mem, &user)?,
                    Call::PrepareBuf => self.give_buf(mem, cx.file, &user, program, false)?,
                    Call::QueueBuf => self.give_buf(mem, cx.file, &user, program, true)?,
                    _ => match self.dequeue_buf(mem, cx, &user)? {
                        Some(info) => info,
                        None => return Ok(Answer::Wait),
                    },
                };
                user.fill(arg, &info, self.buffer_flags(&info));
                user.write_planes(program)?;
            }
        }
        Ok(Answer::Done)
    }

    /// EBUSY if another file owns the queue.
    pub(crate) fn check_owner(&self, file: FileHandle) -> Result<(), Error> {
        match self.owner {
            Some(owner) if owner != file => Err(Error::Busy),
            _ => Ok(()),
        }
    }

    /// After a call that may have made or freed buffers: who owns the queue now.
    ///
    /// Source: Linux `vb2_ioctl_reqbufs` and others, differs: a queue that is no longer in use has
    /// no owner, however that came.
    pub(crate) fn settle_owner(&mut self, file: FileHandle) {
        if !self.queue.is_busy() {
            self.owner = None;
            self.frame_flags.clear();
        } else if self.owner.is_none() {
            self.owner = Some(file);
        }
    }

    /// EINVAL for another buffer type, or for memory that is not offered.
    fn check_model(&self, ty: u32, memory: u32) -> Result<Memory, Error> {
        let memory = memory_from(memory)?;
        self.check_type(ty)?;
        if self.queue.config().io_modes.contains(memory.io_mode()) {
            Ok(memory)
        } else {
            Err(Error::Invalid)
        }
    }

    /// `V4L2_BUF_CAP_*`.
    fn buf_caps(&self) -> u32 {
        let config = self.queue.config();
        let mut caps =
            sys::V4L2_BUF_CAP_SUPPORTS_ORPHANED_BUFS | sys::V4L2_BUF_CAP_SUPPORTS_REMOVE_BUFS;
        for (mode, cap) in [
            (IoModes::MMAP, sys::V4L2_BUF_CAP_SUPPORTS_MMAP),
            (IoModes::USERPTR, sys::V4L2_BUF_CAP_SUPPORTS_USERPTR),
            (IoModes::DMABUF, sys::V4L2_BUF_CAP_SUPPORTS_DMABUF),
        ] {
            if config.io_modes.contains(mode) {
                caps |= cap;
            }
        }
        if config.allow_cache_hints && config.io_modes.contains(IoModes::MMAP) {
            caps |= sys::V4L2_BUF_CAP_SUPPORTS_MMAP_CACHE_HINTS;
        }
        caps
    }

    fn req_bufs(
        &mut self,
        mem: &mut M,
        file: FileHandle,
        arg: &mut Image<'_>,
    ) -> Result<(), Error> {
        let ty = arg.u32(field!(v4l2_requestbuffers.type_));
        let memory = self.check_model(ty, arg.u32(field!(v4l2_requestbuffers.memory)))?;
        self.check_owner(file)?;
        let count = arg.u32(field!(v4l2_requestbuffers.count));
        let wish = coherency_from(arg.u8(field!(v4l2_requestbuffers.flags)).into());
        let made = self
            .queue
            .reqbufs(mem, &mut self.driver, memory, count, wish);
        self.settle_owner(file);
        let made = made?;
        self.frame_flags.clear();
        self.wake = true;
        arg.set_u32(field!(v4l2_requestbuffers.count), made.count);
        arg.set_u32(field!(v4l2_requestbuffers.capabilities), self.buf_caps());
        let flags = u8::try_from(coherency_flag(made.coherency)).unwrap_or(0);
        arg.set_u8(field!(v4l2_requestbuffers.flags), flags);
        Ok(())
    }

    fn create_bufs(
        &mut self,
        mem: &mut M,
        file: FileHandle,
        arg: &mut Image<'_>,
    ) -> Result<(), Error> {
        let format_at = field!(v4l2_create_buffers.format);
        let ty = arg.u32(format_at + field!(v4l2_format.type_));
        let memory = self.check_model(ty, arg.u32(field!(v4l2_create_buffers.memory)))?;
        let count = arg.u32(field!(v4l2_create_buffers.count));
        let wish = coherency_from(arg.u32(field!(v4l2_create_buffers.flags)));
        let mut sizes: Vec<u64> = Vec::new();
        if count != 0 {
            self.check_owner(file)?;
            let format = Image(arg.0.get_mut(format_at..).unwrap_or_default());
            let format = read_format(&format, self.driver.planarity());
            if format.num_planes > MAX_PLANES {
                return Err(Error::Invalid);
            }
            sizes.extend(
                format
                    .layouts()
                    .iter()
                    .map(|layout| u64::from(layout.sizeimage)),
            );
        }
        let made = self
            .queue
            .create_bufs(mem, &mut self.driver, memory, count, wish, &sizes);
        self.settle_owner(file);
        let made = made?;
        self.wake = true;
        arg.set_u32(field!(v4l2_create_buffers.index), made.first_index);
        arg.set_u32(field!(v4l2_create_buffers.count), made.count);
        arg.set_u32(
            field!(v4l2_create_buffers.flags),
            coherency_flag(made.coherency),
        );
        let mut caps = self.buf_caps();
        if count == 0 {
            // Told to those who only ask: to programs from before Linux 6.8 the field is a
            // reserved one, which v4l2-compliance 1.22 wants zero after buffers were made.
            caps |= sys::V4L2_BUF_CAP_SUPPORTS_MAX_NUM_BUFFERS;
            let max = self.queue.config().max_num_buffers;
            arg.set_u32(field!(v4l2_create_buffers.max_num_buffers), max);
        }
        arg.set_u32(field!(v4l2_create_buffers.capabilities), caps);
        Ok(())
    }

    fn remove_bufs(
        &mut self,
        mem: &mut M,
        file: FileHandle,
        arg: &mut Image<'_>,
    ) -> Result<(), Error> {
        self.check_type(arg.u32(field!(v4l2_remove_buffers.type_)))?;
        let count = arg.u32(field!(v4l2_remove_buffers.count));
        if count == 0 {
            return Ok(());
        }
        self.check_owner(file)?;
        let first = arg.u32(field!(v4l2_remove_buffers.index));
        let removed = self.queue.remove_bufs(mem, &mut self.driver, first, count);
        self.settle_owner(file);
        Ok(removed?)
    }

    fn stream(&mut self, mem: &mut M, file: FileHandle, ty: u32, on: bool) -> Result<(), Error> {
        self.check_owner(file)?;
        self.check_type(ty)?;
        let done = if on {
            self.queue.streamon(mem, &mut self.driver)
        } else {
            self.queue.streamoff(mem, &mut self.driver)
        };
        self.settle_owner(file);
        self.wake = true;
        Ok(done?)
    }

    fn query_buf(&mut self, mem: &mut M, user: &UserBuffer) -> Result<BufferInfo, Error> {
        self.check_type(user.ty)?;
        let info = self.queue.querybuf(mem, user.index)?;
        if user.plane_room() < info.num_planes() {
            return Err(Error::Invalid);
        }
        Ok(info)
    }

    /// PREPARE_BUF; with `queue` QBUF.
    fn give_buf(
        &mut self,
        mem: &mut M,
        file: FileHandle,
        user: &UserBuffer,
        program: &dyn Program<M>,
        queue: bool,
    ) -> Result<BufferInfo, Error> {
        self.check_owner(file)?;
        self.check_type(user.ty)?;
        let num_planes = self.queue.querybuf(mem, user.index)?.num_planes();
        if user.plane_room() < num_planes {
            return Err(Error::Invalid);
        }
        let mut request = user.request(mem, num_planes, program)?;
        if self.is_output() && request.field == 0 {
            request.field = self.default_field();
        }
        let info = if queue {
            self.queue.qbuf(mem, &mut self.driver, request)?
        } else {
            self.queue.prepare_buf(mem, &mut self.driver, request)?
        };
        if self.is_output() {
            self.keep_frame_flags(info.index, user.frame_flags());
        }
        self.wake = true;
        Ok(info)
    }

    /// DQBUF. `None`: to be tried again.
    fn dequeue_buf(
        &mut self,
        mem: &mut M,
        cx: CallContext,
        user: &UserBuffer,
    ) -> Result<Option<BufferInfo>, Error> {
        self.wake_up(cx);
        self.check_owner(cx.file)?;
        self.check_type(user.ty)?;
        match self.queue.dqbuf(mem, &mut self.driver, user.plane_room()) {
            Ok(info) => {
                self.wake = true;
                Ok(Some(info))
            }
            Err(error) => self.sleep(cx, error),
        }
    }

    /// A call that waited is made again.
    pub(crate) fn wake_up(&mut self, cx: CallContext) {
        if cx.retry && self.waiting == Some(cx.file) {
            self.abandon(cx.file);
        }
    }

    /// What becomes of a call on the queue that failed: it waits, where that would help and is
    /// wanted.
    pub(crate) fn sleep<T>(
        &mut self,
        cx: CallContext,
        error: vb3_queue::Error,
    ) -> Result<Option<T>, Error> {
        if error != vb3_queue::Error::WouldBlock || cx.nonblocking {
            return Err(error.into());
        }
        self.queue.begin_wait()?;
        self.waiting = Some(cx.file);
        Ok(None)
    }

    /// A call of a file that waited was given up.
    pub fn abandon(&mut self, file: FileHandle) {
        if self.waiting == Some(file) {
            self.waiting = None;
            self.queue.end_wait();
        }
    }

    pub(crate) fn export_buf(
        &mut self,
        mem: &mut M,
        file: FileHandle,
        arg: &mut Image<'_>,
        program: &dyn Program<M>,
    ) -> Result<(), Error> {
        self.check_owner(file)?;
        let flags = arg.u32(field!(v4l2_exportbuffer.flags));
        if flags & !(O_CLOEXEC | O_ACCMODE) != 0 {
            return Err(Error::Invalid);
        }
        self.check_type(arg.u32(field!(v4l2_exportbuffer.type_)))?;
        let access = match flags & O_ACCMODE {
            0 => ExportAccess::ReadOnly,
            1 => ExportAccess::WriteOnly,
            _ => ExportAccess::ReadWrite,
        };
        let index = arg.u32(field!(v4l2_exportbuffer.index));
        let plane = arg.u32(field!(v4l2_exportbuffer.plane));
        let buf = self.queue.expbuf(mem, index, plane, access)?;
        match program.install_dmabuf(mem, buf, flags & O_CLOEXEC != 0, access) {
            Ok(fd) => {
                arg.set_i32(field!(v4l2_exportbuffer.fd), fd);
                Ok(())
            }
            Err((Errno(errno), buf)) => {
                mem.put_dmabuf(buf);
                Err(Error::Host(Errno(errno)))
            }
        }
    }

    fn keep_frame_flags(&mut self, index: u32, flags: u32) {
        let max = usize::try_from(self.queue.config().max_num_buffers).unwrap_or(0);
        let Ok(at) = usize::try_from(index) else {
            return;
        };
        if at < max && (flags != 0 || at < self.frame_flags.len()) {
            if self.frame_flags.len() <= at {
                self.frame_flags.resize(at + 1, 0);
            }
            if let Some(slot) = self.frame_flags.get_mut(at) {
                *slot = flags;
            }
        }
    }

    /// The flags of a buffer that are the device's and not the queue's.
    fn buffer_flags(&self, info: &BufferInfo) -> u32 {
        let at = usize::try_from(info.index).unwrap_or(usize::MAX);
        let kept = self.frame_flags.get(at).copied().unwrap_or(0);
        let policy = self.timestamp_flags;
        // Copied timestamps come with the program's word on where they were taken.
        let src = sys::V4L2_BUF_FLAG_TSTAMP_SRC_MASK;
        let copies =
            policy & sys::V4L2_BUF_FLAG_TIMESTAMP_MASK == sys::V4L2_BUF_FLAG_TIMESTAMP_COPY;
        if copies && self.is_output() {
            policy & !src | kept
        } else {
            policy | kept & !src
        }
    }

    pub(crate) fn is_output(&self) -> bool {
        self.driver.flow() == crate::Flow::Output
    }
}

fn coherency_from(flags: u32) -> Coherency {
    if flags & sys::V4L2_MEMORY_FLAG_NON_COHERENT != 0 {
        Coherency::NonCoherent
    } else {
        Coherency::Coherent
    }
}

fn coherency_flag(coherency: Coherency) -> u32 {
    match coherency {
        Coherency::Coherent => 0,
        Coherency::NonCoherent => sys::V4L2_MEMORY_FLAG_NON_COHERENT,
    }
}
