//! read() and write() on top of MMAP buffers.

use crate::config::MAX_PLANES;
use crate::queue::{Current, FileIo, UnderWay};
use crate::{
    Busy, Error, Invalid, Memory, Pieces, PlaneRequest, Queue, QueueBuffer, QueueType, Session,
};
use alloc::vec::Vec;
use vb3_plane::{Coherency, MemOps};

/// Maximum number of buffers that read() and write() emulation handles.
const MAX_BUFFERS: u32 = 32;
/// Maximum number of bytes copied at a time.
const CHUNK_BYTES: u64 = 64 << 10;

/// Stores bytes of read() in the program's memory, at an offset from the start of the piece (the part that one call
/// moves). Fails with [`Error::Fault`] if it could not store them completely.
type Sink<'a> = dyn FnMut(u64, &[u8]) -> Result<(), Error> + 'a;

/// Source of write(): the program's memory.
pub trait Source {
    /// Announces the total length of a piece, before the first [`get`](Self::get). A source can
    /// then fetch all bytes at once, or fail before any byte is used.
    ///
    /// # Errors
    /// [`Error::Fault`]: the bytes are not available now.
    fn prepare(&mut self, len_bytes: u64) -> Result<(), Error> {
        let _ = len_bytes;
        Ok(())
    }

    /// Fills `out` with the piece's bytes from `offset` on.
    ///
    /// # Errors
    /// [`Error::Fault`]: `out` could not be filled completely.
    fn get(&mut self, offset: u64, out: &mut [u8]) -> Result<(), Error>;
}

impl<M: MemOps> Session<'_, M> {
    /// Begins a read() of captured bytes into `sink`: at most `len_bytes`, and not past the end of a frame. Moves
    /// the first piece, and returns its length in bytes. While the read() is [under way](Queue::transfer_under_way),
    /// [`resume_read`](Self::resume_read) moves the rest. The first read() starts streaming with all buffers queued,
    /// even for 0 bytes. The queue queues each buffer again when it is empty.
    ///
    /// # Errors
    /// * EINVAL: [`Invalid::FileIoNotOffered`].
    /// * EBUSY: another caller waits, or another call is in progress ([`Queue::transfer_under_way`]); the
    ///   queue already has buffers; the format has several planes; the memory has no CPU view.
    /// * [`Error::Fault`] (EFAULT): `sink` failed; the next call reads the bytes again.
    /// * [`Error::WouldBlock`] (EAGAIN): no buffer is ready. A caller that may sleep then calls
    ///   [`Queue::wait`].
    /// * Errors of the start of streaming: as [`reqbufs`](Self::reqbufs), [`qbuf`](Self::qbuf),
    ///   [`streamon`](Self::streamon), [`Error::TooManyForFileIo`] (ENOSPC).
    /// * As [`dqbuf`](Self::dqbuf).
    pub fn begin_read(
        &mut self,
        sink: &mut Sink<'_>,
        len_bytes: u64,
        pieces: Pieces,
    ) -> Result<u64, Error> {
        self.begin_fileio(QueueType::Capture, pieces.call)?;
        let current = self.buffer_to_read()?;
        self.queue.begin_transfer(pieces.call, current, len_bytes);
        self.resume_read(sink, pieces)
    }

    /// Moves the next piece of a read(), and returns its length in bytes. A read() of several pieces ends with a call
    /// that moves 0 bytes, which confirms that all bytes have arrived.
    ///
    /// # Errors
    /// As [`begin_read`](Self::begin_read). EBUSY: the read() that `pieces` names is not in progress. Any error
    /// ends that read(), and its bytes count as not read.
    pub fn resume_read(&mut self, sink: &mut Sink<'_>, pieces: Pieces) -> Result<u64, Error> {
        let (current, under_way) = self.queue.transfer_of(pieces.call)?;
        let bytes = under_way.piece(pieces);
        // With several pieces, the read() ends only at a call that moves 0 bytes: until the host makes
        // that call, the last piece may not have reached the program.
        let is_over = bytes == 0 || under_way.count <= pieces.most_bytes;
        self.queue
            .move_piece(current, under_way, bytes, |memory, from, offset, chunk| {
                self.mem.copy_from(memory, from, chunk)?;
                sink(offset, chunk)
            })?;
        if !is_over {
            return Ok(bytes);
        }
        self.queue.end_transfer(pieces.call);
        let read = current.after(under_way.count);
        self.queue.set_current(read);
        if read.left() == 0 && under_way.count > 0 {
            // If the buffer cannot be queued, the next read() tries again and returns the error.
            let _ = self.queue_current(read, 0);
        }
        Ok(bytes)
    }

    /// Begins a write() of bytes from `source` to the device: at most `len_bytes`, and not past the end of a
    /// buffer. Moves the first piece, and returns its length in bytes. While the write() is [under
    /// way](Queue::transfer_under_way), [`resume_write`](Self::resume_write) moves the rest. The queue queues the
    /// buffer when it is full; its payload is the bytes written. `now_ns` is the timestamp for queues that copy
    /// timestamps.
    ///
    /// # Errors
    /// As [`begin_read`](Self::begin_read). After an error, this call's bytes count as not written.
    pub fn begin_write(
        &mut self,
        source: &mut dyn Source,
        len_bytes: u64,
        now_ns: u64,
        pieces: Pieces,
    ) -> Result<u64, Error> {
        self.begin_fileio(QueueType::Output, pieces.call)?;
        let current = self.buffer_to_write()?;
        self.queue.begin_transfer(pieces.call, current, len_bytes);
        self.resume_write(source, now_ns, pieces)
            .inspect_err(|_| self.queue.end_transfer(pieces.call))
    }

    /// Moves the next piece of a write(), and returns its length in bytes.
    ///
    /// # Errors
    /// As [`resume_read`](Self::resume_read), but the write() stays in progress if [`Source::prepare`] fails.
    pub fn resume_write(
        &mut self,
        source: &mut dyn Source,
        now_ns: u64,
        pieces: Pieces,
    ) -> Result<u64, Error> {
        let (current, under_way) = self.queue.transfer_of(pieces.call)?;
        let bytes = under_way.piece(pieces);
        source.prepare(bytes)?;
        self.queue
            .move_piece(current, under_way, bytes, |memory, to, offset, chunk| {
                source.get(offset, chunk)?;
                Ok(self.mem.copy_to(memory, to, chunk)?)
            })?;
        if under_way.done.saturating_add(bytes) < under_way.count {
            return Ok(bytes);
        }
        self.queue.end_transfer(pieces.call);
        let written = current.after(under_way.count);
        let is_frame = self.queue.queues_each_write && written.pos > 0;
        if written.left() == 0 || is_frame {
            self.queue_current(written, now_ns)?;
        } else {
            self.queue.set_current(written);
        }
        Ok(bytes)
    }

    /// Checks a read() or write(), and starts the emulation at the first one.
    fn begin_fileio(&mut self, queue_type: QueueType, call: u64) -> Result<(), Error> {
        self.reap();
        let config = &self.queue.config;
        if queue_type != config.queue_type || !config.io_modes.contains(config.fileio_mode()) {
            return Err(Invalid::FileIoNotOffered.into());
        }
        let other = self.queue.transfer_under_way().filter(|it| *it != call);
        if self.queue.is_waiting() || other.is_some() {
            return Err(Busy::Waiting.into());
        }
        match self.queue.fileio {
            Some(_) => Ok(()),
            None => self.start_fileio(),
        }
    }

    /// Makes buffers and starts streaming. A failure leaves no buffers.
    pub(crate) fn start_fileio(&mut self) -> Result<(), Error> {
        if self.queue.streaming || self.queue.has_buffers() {
            return Err(Busy::HasBuffers.into());
        }
        self.core_reqbufs(Memory::Mmap, 1, Coherency::Coherent)?;
        self.run_fileio().inspect_err(|_| {
            self.queue.fileio = None;
            self.free_all();
        })
    }

    fn run_fileio(&mut self) -> Result<(), Error> {
        let (wanted, max) = (self.queue.num_buffers, MAX_BUFFERS);
        if wanted > max {
            return Err(Error::TooManyForFileIo { wanted, max });
        }
        let planes = &self.queue.buffer(0)?.planes;
        let [plane] = planes.as_slice() else {
            // CAST: at most MAX_PLANES.
            let planes = planes.len() as u32;
            return Err(Busy::SeveralPlanes { planes }.into());
        };
        let bytes = plane.info.length_bytes.min(CHUNK_BYTES);
        let none = Error::no_memory(bytes);
        let bytes = usize::try_from(bytes).map_err(|_| none)?;
        let mut chunk = Vec::new();
        chunk.try_reserve_exact(bytes).map_err(|_| none)?;
        chunk.resize(bytes, 0);
        self.queue.fileio = Some(FileIo {
            current: None,
            fresh: 0,
            chunk,
            under_way: None,
        });
        if !self.queue.config.is_output() {
            for index in 0..self.queue.num_buffers {
                self.core_qbuf(&mut request(index, 0, 0))?;
            }
        }
        self.core_streamon()
    }

    /// Returns the buffer to read from: the current one, or the next done one that is not empty. Also returns
    /// the stream's last buffer if it is empty: that is the end of the file.
    fn buffer_to_read(&mut self) -> Result<Current, Error> {
        // Each iteration but the last queues a buffer that was empty or fully read.
        for _ in 0..=self.queue.num_buffers.saturating_add(1) {
            if let Some(current) = self.queue.current() {
                if current.left() > 0 {
                    return Ok(current);
                }
                self.queue_current(current, 0)?;
            }
            let info = self.core_dqbuf(MAX_PLANES)?;
            let plane = info.planes.first().copied().flatten();
            let current = Current {
                index: info.index,
                pos: plane.map_or(0, |plane| plane.data_offset),
                end: plane.map_or(0, |plane| plane.payload_bytes),
            };
            self.queue.set_current(current);
            if current.left() > 0 || info.last {
                return Ok(current);
            }
        }
        Err(Error::WouldBlock)
    }

    /// Returns the buffer to write to: the current one, one that was never queued, or the next done one.
    fn buffer_to_write(&mut self) -> Result<Current, Error> {
        if let Some(current) = self.queue.current() {
            return Ok(current);
        }
        let fresh = self.queue.fileio.as_ref().map_or(0, |fileio| fileio.fresh);
        let index = if fresh < self.queue.num_buffers {
            fresh
        } else {
            self.core_dqbuf(MAX_PLANES)?.index
        };
        let plane = self.queue.buffer(index)?.planes.first();
        let end = plane.map_or(0, |plane| plane.info.length_bytes);
        Ok(Current { index, pos: 0, end })
    }

    /// Queues the current buffer with its content. After a failure the program owns it, unprepared.
    fn queue_current(&mut self, current: Current, now_ns: u64) -> Result<(), Error> {
        let index = current.index;
        let is_output = self.queue.config.is_output();
        let payload = if is_output { current.pos } else { 0 };
        let queued = self.core_qbuf(&mut request(index, payload, now_ns));
        queued.inspect_err(|_| {
            if let Ok(buffer) = self.queue.buffer_mut(index) {
                buffer.unprepare(self.mem, self.driver, index);
            }
        })?;
        if let Some(fileio) = &mut self.queue.fileio {
            fileio.current = None;
            if fileio.fresh == index {
                fileio.fresh = fileio.fresh.saturating_add(1);
            }
        }
        Ok(())
    }
}

impl<M: MemOps> Queue<M> {
    /// Sets whether write() emulation queues a buffer after each call from now on, and not only full buffers.
    pub const fn queue_each_write(&mut self, each: bool) {
        self.queues_each_write = each;
    }

    /// Returns whether part of a frame has not been read yet.
    pub(crate) fn fileio_has_data(&self) -> bool {
        !self.config.is_output() && self.current().is_some_and(|current| current.left() > 0)
    }

    fn current(&self) -> Option<Current> {
        self.fileio.as_ref()?.current
    }

    fn set_current(&mut self, current: Current) {
        if let Some(fileio) = &mut self.fileio {
            fileio.current = Some(current);
        }
    }

    /// Moves the next `bytes` of a transfer, in chunks; a failure ends the transfer. `each` gets the plane, the
    /// chunk's position in the plane and in the program's memory, and the chunk.
    fn move_piece(
        &mut self,
        current: Current,
        under_way: UnderWay,
        bytes: u64,
        mut each: impl FnMut(&mut M::Plane, u64, u64, &mut [u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let Some(mut fileio) = self.fileio.take() else {
            return Ok(());
        };
        let start = current.after(under_way.done).pos;
        let moved = self.buffer_mut(current.index).and_then(|buffer| {
            let memory = buffer.memories_mut().next().ok_or(Error::Fault)?;
            let most = fileio.chunk.len().max(1);
            for offset in (0..bytes).step_by(most) {
                // CAST: not more than the length of the chunk.
                let len = bytes.saturating_sub(offset).min(most as u64) as usize;
                let chunk = fileio.chunk.get_mut(..len).ok_or(Error::Fault)?;
                each(memory, start.saturating_add(offset), offset, chunk)?;
            }
            Ok(())
        });
        let done = under_way.done.saturating_add(bytes);
        fileio.under_way = moved.is_ok().then_some(UnderWay { done, ..under_way });
        self.fileio = Some(fileio);
        moved
    }
}

/// Describes an MMAP buffer that the queue itself queues.
fn request<M: MemOps>(index: u32, payload_bytes: u64, timestamp_ns: u64) -> QueueBuffer<M> {
    let mut request = QueueBuffer::new(index, Memory::Mmap);
    let _first = request.push_plane(PlaneRequest::mmap(payload_bytes));
    request.timestamp_ns = timestamp_ns;
    request
}
