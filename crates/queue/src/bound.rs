//! Buffers in media requests, as their queue sees them.

use crate::{
    BoundBuffer, BufferInfo, BufferState, Busy, Driver, Error, Invalid, PlaneSource, Queue,
    QueueBuffer, Request, RequestId, Requests,
};
use alloc::collections::VecDeque;
use vb3_plane::MemOps;

/// How a queue has been used since it was last cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Directly,
    ByRequests,
}

/// The request that a QBUF names.
#[derive(Debug)]
pub struct Binding<'a> {
    /// The request behind the descriptor, and the host's name for it; `None` where the descriptor
    /// names none.
    pub request: Option<(RequestId, &'a mut Request)>,
    /// The descriptor's number in the program, shown again by QUERYBUF.
    pub fd: i32,
    /// The host's number for this queue.
    pub queue: u64,
}

/// A buffer that is in its request no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unbound {
    /// The request.
    pub request: RequestId,
    /// The buffer.
    pub index: u32,
}

/// A buffer's place in a request.
pub(crate) struct Bond<M: MemOps> {
    pub(crate) request: RequestId,
    /// What the program said of the buffer.
    pub(crate) wanted: QueueBuffer<M>,
    /// The request has prepared it, not PREPARE_BUF.
    prepared: bool,
}

impl<M: MemOps> Queue<M> {
    /// Puts a buffer into a request (QBUF with `V4L2_BUF_FLAG_REQUEST_FD`). It is the queue's
    /// until the request is queued or emptied. The references in `wanted` pass to the queue,
    /// whatever comes of it. What is said of its planes is checked now, and memory is taken when
    /// the request is queued.
    ///
    /// # Errors
    /// As [`qbuf`](Self::qbuf), and in this order after the checks of the structure:
    /// * [`Error::RequestUnsupported`] (EBADR).
    /// * [`Busy::OtherWay`] (EBUSY): buffers have been queued directly.
    /// * [`Invalid::NoRequest`] (EINVAL).
    /// * [`Busy::Request`], [`Busy::RequestHasBuffer`] (EBUSY), ENOMEM.
    pub fn qbuf_in_request(
        &mut self,
        mem: &mut M,
        mut wanted: QueueBuffer<M>,
        binding: Binding<'_>,
    ) -> Result<BufferInfo, Error> {
        self.reap(mem);
        let index = wanted.index;
        if let Err(e) = self.bind(mem, &wanted, binding) {
            wanted.release(mem);
            return Err(e);
        }
        // Bound: nothing fails any more, and the request names the buffer.
        self.note_frame(&wanted)?;
        self.way = Some(Way::ByRequests);
        let buffer = self.buffer_mut(index)?;
        if !buffer.prepared {
            buffer.field = wanted.field;
        }
        buffer.state = BufferState::InRequest;
        if let Some(bond) = buffer.bond.front_mut() {
            bond.wanted = wanted;
        }
        self.querybuf(mem, index)
    }

    /// Checks everything, and makes the bond.
    fn bind(
        &mut self,
        mem: &M,
        wanted: &QueueBuffer<M>,
        binding: Binding<'_>,
    ) -> Result<(), Error> {
        self.check_no_fileio()?;
        self.check_planes(wanted)?;
        let index = wanted.index;
        let buffer = self.buffer(index)?;
        if buffer.state != BufferState::Dequeued {
            return Err(Invalid::State { index }.into());
        }
        if !buffer.prepared {
            self.plan(mem, wanted)?;
        }
        if self.config.requests == Requests::None {
            return Err(Error::RequestUnsupported);
        }
        if self.way == Some(Way::Directly) {
            return Err(Busy::OtherWay.into());
        }
        let fd = binding.fd;
        let (id, request) = binding.request.ok_or(Invalid::NoRequest { fd })?;
        request.check_idle()?;
        if self.error {
            return Err(Error::QueueError);
        }
        let memory = wanted.memory;
        let buffer = self.buffer_mut(index)?;
        buffer.bond.try_reserve(1).map_err(|_| Error::NoMemory {
            wanted: 1,
            found: 0,
            cause: None,
        })?;
        request.bind(BoundBuffer {
            queue: binding.queue,
            index,
        })?;
        buffer.bond.push_back(Bond {
            request: id,
            wanted: QueueBuffer::new(index, memory),
            prepared: false,
        });
        buffer.request_fd = Some(fd);
        Ok(())
    }

    /// Prepares a buffer of a request that is to be queued. One that PREPARE_BUF has prepared
    /// stays as it is.
    ///
    /// # Errors
    /// [`Error::QueueError`] (EIO), [`Invalid::State`] (EINVAL) for a buffer in no request, and
    /// what the memory or the driver says: it is in the request as before.
    pub fn prepare_bound<D>(&mut self, mem: &mut M, driver: &mut D, index: u32) -> Result<(), Error>
    where
        D: Driver<Cookie = M::Cookie> + ?Sized,
    {
        self.reap(mem);
        if self.error {
            return Err(Error::QueueError);
        }
        let buffer = self.buffer_mut(index)?;
        if buffer.state != BufferState::InRequest {
            return Err(Invalid::State { index }.into());
        }
        if buffer.prepared {
            return Ok(());
        }
        let Some(mut bond) = buffer.bond.pop_front() else {
            return Err(Invalid::State { index }.into());
        };
        let prepared = self.prepare_again(mem, driver, &mut bond.wanted);
        bond.prepared = prepared.is_ok();
        let buffer = self.buffer_mut(index)?;
        buffer.state = BufferState::InRequest;
        // There is room: it was there before.
        buffer.bond.push_back(bond);
        prepared
    }

    /// Prepares, and keeps the references in `wanted`, so that it can be done once more.
    fn prepare_again<D>(
        &mut self,
        mem: &mut M,
        driver: &mut D,
        wanted: &mut QueueBuffer<M>,
    ) -> Result<(), Error>
    where
        D: Driver<Cookie = M::Cookie> + ?Sized,
    {
        let mut spare = QueueBuffer::new(wanted.index, wanted.memory);
        let cloned = clone_references(mem, wanted, &mut spare);
        let prepared = cloned.and_then(|()| self.prepare(mem, driver, wanted));
        for (plane, spare) in wanted.planes.iter_mut().zip(&mut spare.planes) {
            let (Some(plane), Some(spare)) = (plane, spare) else {
                continue;
            };
            let kept = spare.source.buf_mut();
            if let (Some(buf @ None), Some(kept)) = (plane.source.buf_mut(), kept) {
                *buf = kept.take();
            }
        }
        spare.release(mem);
        prepared
    }

    /// Takes back what [`prepare_bound`](Self::prepare_bound) did.
    pub fn unprepare_bound<D>(&mut self, mem: &mut M, driver: &mut D, index: u32)
    where
        D: Driver<Cookie = M::Cookie> + ?Sized,
    {
        let Ok(buffer) = self.buffer_mut(index) else {
            return;
        };
        let bond = buffer.bond.front_mut();
        if bond.is_some_and(|bond| core::mem::take(&mut bond.prepared)) {
            buffer.unprepare(mem, driver, index);
        }
    }

    /// Queues a prepared buffer of a request. One that is not is left alone.
    pub fn queue_bound<D>(&mut self, mem: &mut M, driver: &mut D, index: u32)
    where
        D: Driver<Cookie = M::Cookie> + ?Sized,
    {
        self.reap(mem);
        let Ok(buffer) = self.buffer_mut(index) else {
            return;
        };
        if buffer.state != BufferState::InRequest || !buffer.prepared {
            return;
        }
        let Some(mut bond) = buffer.bond.pop_front() else {
            return;
        };
        buffer.request = Some(bond.request);
        // A buffer that is there is queued, and a queue with requests starts without waiting.
        let _ = self.enqueue(driver, &bond.wanted);
        bond.wanted.release(mem);
    }

    /// Gives a buffer of a request that is emptied, or goes, back to the program. It stays
    /// prepared where PREPARE_BUF has done that.
    pub fn free_bound<D>(&mut self, mem: &mut M, driver: &mut D, index: u32)
    where
        D: Driver<Cookie = M::Cookie> + ?Sized,
    {
        self.unprepare_bound(mem, driver, index);
        let Ok(buffer) = self.buffer_mut(index) else {
            return;
        };
        if buffer.state == BufferState::InRequest {
            buffer.state = BufferState::Dequeued;
            buffer.request_fd = None;
            let _ = buffer.dissolve(mem);
        }
    }

    /// The next buffer that is in its request no more, since the device is done with it or the
    /// queue was cancelled. To be asked after every call, until there is none; for each
    /// [`Request::unbind`] is due. Buffers freed by [`free_bound`](Self::free_bound) are not told
    /// of.
    #[must_use]
    pub fn take_unbound(&mut self) -> Option<Unbound> {
        self.unbound.pop_front()
    }
}

/// Clones the references to dma-bufs in `from`, all or none.
fn clone_references<M: MemOps>(
    mem: &mut M,
    from: &QueueBuffer<M>,
    to: &mut QueueBuffer<M>,
) -> Result<(), Error> {
    for (plane, copy) in from.planes.iter().zip(&mut to.planes) {
        let Some(plane) = plane else { continue };
        let PlaneSource::DmaBuf { buf: Some(buf), fd } = &plane.source else {
            continue;
        };
        let mut made = crate::PlaneRequest::mmap(0);
        made.source = PlaneSource::DmaBuf {
            buf: Some(mem.clone_dmabuf(buf)?),
            fd: *fd,
        };
        *copy = Some(made);
    }
    Ok(())
}

/// Tells of a buffer that left its request. Each buffer is told of once before the host asks, so
/// that the room made with the buffers is enough.
pub(crate) fn tell(list: &mut VecDeque<Unbound>, unbound: Unbound) {
    if list.len() < list.capacity() || list.try_reserve(1).is_ok() {
        list.push_back(unbound);
    }
}
