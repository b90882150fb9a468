//! Making, queueing, dequeueing and exporting buffers.

use super::userbuf::{UserBuffer, memory_from};
use crate::bytes::{Image, field, write_user};
use crate::calls::Answer;
use crate::calls::format::read_format;
use crate::context::Context;
use crate::file::FileHandle;
use crate::program::{CallContext, Export, Run};
use crate::request::Call;
use crate::requests::Scope;
use crate::{Error, Flow, Role, VideoDriver, Waiter, sys};
use vb3_frontend::FileAccess;
use vb3_plane::{Coherency, MemOps};
use vb3_queue::{BufferInfo, BufferState, MAX_PLANES, Memory, PlaneLocation};

impl<M, D> Context<M, D>
where
    M: MemOps,
    D: VideoDriver<Cookie = M::Cookie>,
{
    /// Runs a queue call other than EXPBUF.
    pub(crate) fn buffer_call(
        &mut self,
        run: &mut Run<'_, M>,
        call: Call,
        arg: &mut Image<&mut [u8]>,
        scope: &mut Scope<'_>,
    ) -> Result<Answer, Error> {
        match call {
            Call::ReqBufs => self.req_bufs(run, arg)?,
            Call::CreateBufs => self.create_bufs(run, arg)?,
            Call::RemoveBufs => self.remove_bufs(run, arg)?,
            Call::StreamOn => self.set_streaming(run, arg.u32(0), true)?,
            Call::StreamOff => {
                let flow = self.owned_flow(run.cx.file, arg.u32(0))?;
                let is_streaming = self.stream(flow)?.queue.is_streaming();
                if is_streaming && !run.cx.nonblocking && !self.driver.may_stop(flow) {
                    self.driver_stops = true;
                    return Ok(Answer::Wait);
                }
                self.set_streaming(run, arg.u32(0), false)?;
            }
            _ => {
                let mut user = UserBuffer::read(arg, run.program)?;
                let info = match call {
                    Call::QueryBuf => self.query_buf(run, &user)?,
                    Call::PrepareBuf => self.give_buf(run, &user, None)?,
                    Call::QueueBuf => self.give_buf(run, &user, Some(scope))?,
                    _ => match self.dequeue_buf(run, &user)? {
                        Some(info) => info,
                        None => return Ok(Answer::Wait),
                    },
                };
                let flags = self.stream(self.flow_of(user.ty)?)?.buffer_flags(&info);
                user.fill(arg, &info, flags);
                user.write_planes(run.program)?;
            }
        }
        Ok(Answer::Done)
    }

    /// Checks buffer type and memory model. EINVAL for a type without a queue or an unsupported model.
    fn check_model(&self, ty: u32, memory: u32) -> Result<(Flow, Memory), Error> {
        let memory = memory_from(memory)?;
        let flow = self.flow_of(ty)?;
        let config = self.stream(flow)?.queue.config();
        if config.io_modes.contains(memory.io_mode()) {
            Ok((flow, memory))
        } else {
            Err(Error::Invalid)
        }
    }

    fn req_bufs(&mut self, run: &mut Run<'_, M>, arg: &mut Image<&mut [u8]>) -> Result<(), Error> {
        let ty = arg.u32(field!(v4l2_requestbuffers.type_));
        let memory = arg.u32(field!(v4l2_requestbuffers.memory));
        let (flow, memory) = self.check_model(ty, memory)?;
        self.stream(flow)?.check_owner(run.cx.file)?;
        let count = arg.u32(field!(v4l2_requestbuffers.count));
        let wish = coherency_from(arg.u8(field!(v4l2_requestbuffers.flags)).into());
        let made = self.in_session(run.mem, flow, |mut queue| {
            queue.reqbufs(memory, count, wish)
        })?;
        let stream = self.stream_mut(flow)?;
        stream.update_owner(run.cx.file);
        let (made, coherency) = made?;
        arg.set_u32(field!(v4l2_requestbuffers.count), made.end);
        arg.set_u32(field!(v4l2_requestbuffers.capabilities), stream.buf_caps());
        self.wake = true;
        let flags = u8::try_from(coherency_flag(coherency)).unwrap_or(0);
        arg.set_u8(field!(v4l2_requestbuffers.flags), flags);
        Ok(())
    }

    fn create_bufs(
        &mut self,
        run: &mut Run<'_, M>,
        arg: &mut Image<&mut [u8]>,
    ) -> Result<(), Error> {
        let format_at = field!(v4l2_create_buffers.format);
        let ty = arg.u32(format_at + field!(v4l2_format.type_));
        let memory = arg.u32(field!(v4l2_create_buffers.memory));
        let (flow, memory) = self.check_model(ty, memory)?;
        let planarity = self.driver.planarity();
        let stream = self.stream(flow)?;
        let count = arg.u32(field!(v4l2_create_buffers.count));
        let wish = coherency_from(arg.u32(field!(v4l2_create_buffers.flags)));
        let mut sizes: Vec<u64> = Vec::new();
        if count != 0 {
            stream.queue.check_no_fileio()?;
            stream.check_owner(run.cx.file)?;
            let format = Image(arg.0.get_mut(format_at..).unwrap_or_default());
            let format = read_format(&format, planarity);
            if format.num_planes > MAX_PLANES {
                return Err(Error::Invalid);
            }
            let layouts = format.layouts().iter();
            sizes.extend(layouts.map(|layout| u64::from(layout.sizeimage)));
        }
        let made = self.in_session(run.mem, flow, |mut queue| {
            queue.create_bufs(memory, count, wish, &sizes)
        })?;
        let stream = self.stream_mut(flow)?;
        stream.update_owner(run.cx.file);
        let (made, coherency) = made?;
        arg.set_u32(field!(v4l2_create_buffers.index), made.start);
        arg.set_u32(field!(v4l2_create_buffers.count), made.end - made.start);
        let flags = coherency_flag(coherency);
        arg.set_u32(field!(v4l2_create_buffers.flags), flags);
        let mut caps = stream.buf_caps();
        if count == 0 {
            // Only a query (count 0) reports this flag and the field `max_num_buffers`. Before Linux 6.8,
            // `max_num_buffers` was reserved, and v4l2-compliance 1.22 requires it to be zero if the call makes
            // buffers.
            caps |= sys::V4L2_BUF_CAP_SUPPORTS_MAX_NUM_BUFFERS;
            let max = stream.queue.config().max_num_buffers;
            arg.set_u32(field!(v4l2_create_buffers.max_num_buffers), max);
        }
        arg.set_u32(field!(v4l2_create_buffers.capabilities), caps);
        self.wake = true;
        Ok(())
    }

    fn remove_bufs(
        &mut self,
        run: &mut Run<'_, M>,
        arg: &mut Image<&mut [u8]>,
    ) -> Result<(), Error> {
        let flow = self.flow_of(arg.u32(field!(v4l2_remove_buffers.type_)))?;
        let count = arg.u32(field!(v4l2_remove_buffers.count));
        if count == 0 {
            return Ok(());
        }
        self.stream(flow)?.check_owner(run.cx.file)?;
        let first = arg.u32(field!(v4l2_remove_buffers.index));
        let removed =
            self.in_session(run.mem, flow, |mut queue| queue.remove_bufs(first, count))?;
        self.stream_mut(flow)?.update_owner(run.cx.file);
        Ok(removed?)
    }

    fn set_streaming(&mut self, run: &mut Run<'_, M>, ty: u32, on: bool) -> Result<(), Error> {
        let flow = self.owned_flow(run.cx.file, ty)?;
        let stream = self.stream(flow)?;
        let begins = on && !stream.queue.is_streaming();
        if on && stream.starts_empty && !stream.queue.is_busy() {
            return Ok(());
        }
        let dropped = match on {
            true => Vec::new(),
            false => self.held_user_memory(run, flow)?,
        };
        let done = self.in_session(run.mem, flow, |mut queue| match on {
            true => queue.streamon(),
            false => queue.streamoff(),
        })?;
        self.stream_mut(flow)?.update_owner(run.cx.file);
        self.wake = true;
        done?;
        for (addr, len_bytes) in dropped {
            run.program.discard(addr, len_bytes);
        }
        // A STREAMOFF ends a drain, even one that still waits for fences.
        self.stop_waits &= on;
        if begins
            && flow == Flow::Output
            && self.driver.role() == Role::MemToMem
            && let Ok(capture) = self.stream_mut(Flow::Capture)
        {
            // Source: Linux Documentation/userspace-api/media/v4l/dev-encoder.rst, "Drain".
            capture.queue.clear_last_buffer();
        }
        Ok(())
    }

    /// Returns the program's own memory that a CAPTURE queue holds: addresses and lengths in bytes.
    fn held_user_memory(&mut self, run: &Run<'_, M>, flow: Flow) -> Result<Vec<(u64, u64)>, Error> {
        let mut held = Vec::new();
        let queue = &self.stream(flow)?.queue;
        if flow != Flow::Capture || queue.memory() != Some(Memory::UserPtr) {
            return Ok(held);
        }
        let count = queue.config().max_num_buffers;
        self.in_session(run.mem, flow, |mut queue| {
            let infos = (0..count).filter_map(|index| queue.querybuf(index).ok());
            for info in infos.filter(|info| info.state != BufferState::Dequeued) {
                held.extend(user_memory(&info));
            }
        })?;
        Ok(held)
    }

    fn query_buf(&mut self, run: &mut Run<'_, M>, user: &UserBuffer) -> Result<BufferInfo, Error> {
        let flow = self.flow_of(user.ty)?;
        let info = self.in_session(run.mem, flow, |mut queue| queue.querybuf(user.index))??;
        if user.max_planes() < info.num_planes() {
            return Err(Error::Invalid);
        }
        if info.state == BufferState::Active && !self.stream(flow)?.queue.is_ready() {
            // Some programs call QUERYBUF repeatedly until the buffer is finished.
            self.driver.note_waiter(flow, Waiter::GoesOn);
        }
        Ok(info)
    }

    /// Returns a buffer type's queue. EBUSY if another file owns the queue; EINVAL if the type has none.
    fn owned_flow(&self, file: FileHandle, ty: u32) -> Result<Flow, Error> {
        match self.flow_of(ty) {
            Ok(flow) => self.stream(flow)?.check_owner(file).map(|()| flow),
            Err(error) => {
                self.streams()
                    .try_for_each(|stream| stream.check_owner(file))?;
                Err(error)
            }
        }
    }

    /// Runs PREPARE_BUF, or QBUF if `queue` is given.
    fn give_buf(
        &mut self,
        run: &mut Run<'_, M>,
        user: &UserBuffer,
        queue: Option<&mut Scope<'_>>,
    ) -> Result<BufferInfo, Error> {
        let is_m2m = self.driver.role() == Role::MemToMem;
        let is_capture = matches!(self.flow_of(user.ty), Ok(Flow::Capture));
        if is_m2m && is_capture && queue.is_some() && user.request_fd.is_some() {
            return Err(Error::NotPermitted);
        }
        // Unlike STREAMON, these calls check the buffer type before the owner of the queue.
        let flow = self.flow_of(user.ty)?;
        let stream = self.stream(flow)?;
        stream.check_owner(run.cx.file)?;
        // As in Linux, this check precedes those of the index, the memory model and the planes.
        stream.queue.check_no_fileio()?;
        let num_planes = stream.queue.num_planes(user.index)?;
        if user.max_planes() < num_planes {
            return Err(Error::Invalid);
        }
        let mut request = user.request(run.mem, num_planes, run.program)?;
        if flow == Flow::Output && request.field == 0 {
            request.field = self.default_field(flow);
        }
        let named = user
            .request_fd
            .and_then(|fd| run.program.resolve_request(fd));
        if run.program.lacks() {
            return Err(Error::Invalid);
        }
        let info = self.in_session(run.mem, flow, |mut session| {
            match (queue, user.request_fd) {
                (None, _) => session.prepare_buf(request),
                (Some(_), None) => session.qbuf(request),
                (Some(scope), Some(fd)) => {
                    let of = scope.of;
                    let named = named.and_then(|id| scope.request(id));
                    session.qbuf_in_request(request, of, fd, named)
                }
            }
        })??;
        self.wake = true;
        Ok(info)
    }

    /// Runs DQBUF. Returns `None` if the call must be repeated.
    fn dequeue_buf(
        &mut self,
        run: &mut Run<'_, M>,
        user: &UserBuffer,
    ) -> Result<Option<BufferInfo>, Error> {
        let flow = self.flow_of(user.ty)?;
        self.stream_mut(flow)?.wake_up(run.cx.call);
        self.stream(flow)?.check_owner(run.cx.file)?;
        match self.in_session(run.mem, flow, |mut queue| {
            queue.dqbuf_up_to(user.max_planes())
        })? {
            Ok(info) => {
                self.wake = true;
                for (addr, len_bytes) in user_memory(&info) {
                    run.program.give_back(addr, len_bytes);
                }
                Ok(Some(info))
            }
            Err(error) => self.wait_for(flow, run.cx, error),
        }
    }

    /// Makes a failed queue call wait (`None`), or returns its error.
    /// Notifies the driver if the call found no finished buffer.
    pub(crate) fn wait_for<T>(
        &mut self,
        flow: Flow,
        cx: CallContext,
        error: vb3_queue::Error,
    ) -> Result<Option<T>, Error> {
        if error == vb3_queue::Error::WouldBlock {
            let waiter = match cx.nonblocking {
                true => Waiter::GoesOn,
                false => Waiter::Waits,
            };
            self.driver.note_waiter(flow, waiter);
        }
        self.stream_mut(flow)?.sleep(cx, error)
    }

    pub(crate) fn export_buf(
        &mut self,
        run: &mut Run<'_, M>,
        arg: &Image<&mut [u8]>,
        addr: u64,
    ) -> Result<(), Error> {
        let flow = self.owned_flow(run.cx.file, arg.u32(field!(v4l2_exportbuffer.type_)))?;
        let flags = arg.u32(field!(v4l2_exportbuffer.flags));
        let (access, cloexec) = FileAccess::of(flags).ok_or(Error::Invalid)?;
        let index = arg.u32(field!(v4l2_exportbuffer.index));
        let plane = arg.u32(field!(v4l2_exportbuffer.plane));
        let buf = self.in_session(run.mem, flow, |mut queue| queue.expbuf(index, plane))??;
        // The answer is written first. Otherwise, the call could fail and leave a descriptor whose number the
        // program does not know.
        let written = write_user(run.program, addr, arg.0);
        let export = Export {
            cloexec,
            access,
            number_at: addr.wrapping_add(field!(v4l2_exportbuffer.fd) as u64),
        };
        let installed = match written {
            Ok(()) => (run.program.install_dmabuf(run.mem, buf, export))
                .map_err(|(errno, buf)| (Error::Host(errno), buf)),
            Err(error) => Err((error, buf)),
        };
        installed.map_err(|(error, buf)| {
            run.mem.put_dmabuf(buf);
            error
        })
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

/// Returns the program's own memory in a buffer's planes: addresses and lengths in bytes.
fn user_memory(info: &BufferInfo) -> impl Iterator<Item = (u64, u64)> {
    let planes = info.planes.iter().flatten();
    planes.filter_map(|plane| match plane.cookie {
        PlaneLocation::UserPtr(addr) => Some((addr, plane.length_bytes)),
        _ => None,
    })
}
