//! read() and write() on top of MMAP buffers.

use crate::config::MAX_PLANES;
use crate::queue::{Current, FileIo};
use crate::{
    BufferInfo, Busy, Error, Invalid, Memory, Moved, Pieces, PlaneRequest, Queue, QueueBuffer,
    QueueType, Session,
};
use alloc::vec::Vec;
use vb3_plane::{Coherency, MemOps};

/// Maximum number of buffers that read() and write() emulation handles.
const MAX_BUFFERS: u32 = 32;
/// Maximum number of bytes copied at a time.
const CHUNK_BYTES: u64 = 64 << 10;

/// The program's memory cannot be read or written (EFAULT).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("the program's memory is not accessible")]
pub struct Fault;

/// Destination of read(): the program's memory.
pub trait Sink {
    /// Stores `data` at `offset` bytes from the start of the piece (the part that one call moves).
    ///
    /// # Errors
    /// [`Fault`]: `data` could not be stored completely.
    fn put(&mut self, offset: u64, data: &[u8]) -> Result<(), Fault>;
}

/// Source of write(): the program's memory.
pub trait Source {
    /// Announces the total length of a piece, before the first [`get`](Self::get). A source can
    /// then fetch all bytes at once, or fail before any byte is used.
    ///
    /// # Errors
    /// [`Fault`]: the bytes are not available now.
    fn prepare(&mut self, len_bytes: u64) -> Result<(), Fault> {
        let _ = len_bytes;
        Ok(())
    }

    /// Fills `out` with the piece's bytes from `offset` on.
    ///
    /// # Errors
    /// [`Fault`]: `out` could not be filled completely.
    fn get(&mut self, offset: u64, out: &mut [u8]) -> Result<(), Fault>;
}

impl<M: MemOps> Session<'_, M> {
    /// Reads captured bytes into `sink`: at most `len_bytes`, and not past the end of a frame. The first call
    /// starts streaming with all buffers queued, even for 0 bytes. The queue queues each buffer again when it is
    /// empty.
    ///
    /// # Errors
    /// * EINVAL: [`Invalid::FileIoNotOffered`].
    /// * EBUSY: another caller waits; the queue already has buffers; the format has several planes;
    ///   the memory has no CPU view.
    /// * [`Error::Fault`] (EFAULT): `sink` failed; the next call reads the bytes again.
    /// * [`Error::WouldBlock`] (EAGAIN): no buffer is ready. A caller that may sleep then calls
    ///   [`Queue::wait`].
    /// * Errors of the start of streaming: as [`reqbufs`](Self::reqbufs), [`qbuf`](Self::qbuf),
    ///   [`streamon`](Self::streamon), [`Error::TooManyForFileIo`] (ENOSPC).
    /// * As [`dqbuf`](Self::dqbuf).
    pub fn read(&mut self, sink: &mut dyn Sink, len_bytes: u64) -> Result<u64, Error> {
        let moved = self.begin_read(sink, len_bytes, Pieces::WHOLE)?;
        Ok(moved.bytes())
    }

    /// Begins a read() as [`read`](Self::read) does, but moves only the first piece.
    /// [`resume_read`](Self::resume_read) moves the rest.
    ///
    /// # Errors
    /// As [`read`](Self::read); EBUSY also while another call is in progress
    /// ([`Queue::transfer_under_way`]).
    pub fn begin_read(
        &mut self,
        sink: &mut dyn Sink,
        len_bytes: u64,
        pieces: Pieces,
    ) -> Result<Moved, Error> {
        self.begin_fileio(QueueType::Capture, pieces.call)?;
        let current = self.buffer_to_read()?;
        let count = len_bytes.min(current.left());
        self.queue.begin_transfer(pieces.call, count);
        self.resume_read(sink, pieces)
    }

    /// Moves the next piece of a read(). A call after the last piece confirms that all bytes have arrived.
    ///
    /// # Errors
    /// As [`read`](Self::read). EBUSY: the read() that `pieces` names is not in progress. Any error ends that
    /// read(), and its bytes count as not read.
    pub fn resume_read(&mut self, sink: &mut dyn Sink, pieces: Pieces) -> Result<Moved, Error> {
        let (current, under_way) = self.queue.transfer_of(pieces.call)?;
        let from = current.after(under_way.done);
        let bytes = under_way.piece(pieces);
        // With several pieces, the read() ends only at a call that moves 0 bytes: until the host makes
        // that call, the last piece may not have reached the program.
        let is_over = bytes == 0 || under_way.count <= pieces.most_bytes;
        if let Err(error) = self.copy_out(from, bytes, sink) {
            self.queue.end_transfer(pieces.call);
            return Err(error);
        }
        if let Some(part) = self.queue.note_piece(under_way, bytes, is_over) {
            return Ok(part);
        }
        self.finish_read(current.after(under_way.count), under_way.count);
        Ok(Moved::Last(bytes))
    }

    fn finish_read(&mut self, current: Current, count: u64) {
        self.queue.set_current(Some(current));
        if current.left() == 0 && count > 0 {
            // If the buffer could not be queued, the next read() tries again and returns the error.
            if self.queue_current(current, 0).is_ok() {
                self.queue.set_current(None);
            }
        }
    }

    /// Writes bytes from `source` to the device: at most `len_bytes`, and not past the end of a buffer.
    /// Queues the buffer when it is full; its payload is the bytes written. `now_ns` is the timestamp for
    /// queues that copy timestamps.
    ///
    /// # Errors
    /// As [`read`](Self::read). After an error, this call's bytes count as not written.
    pub fn write(
        &mut self,
        source: &mut dyn Source,
        len_bytes: u64,
        now_ns: u64,
    ) -> Result<u64, Error> {
        let moved = self.begin_write(source, len_bytes, now_ns, Pieces::WHOLE)?;
        Ok(moved.bytes())
    }

    /// Begins a write() as [`write`](Self::write) does, but moves only the first piece.
    /// [`resume_write`](Self::resume_write) moves the rest.
    ///
    /// # Errors
    /// As [`begin_read`](Self::begin_read).
    pub fn begin_write(
        &mut self,
        source: &mut dyn Source,
        len_bytes: u64,
        now_ns: u64,
        pieces: Pieces,
    ) -> Result<Moved, Error> {
        self.begin_fileio(QueueType::Output, pieces.call)?;
        let current = self.buffer_to_write()?;
        self.queue.set_current(Some(current));
        self.queue
            .begin_transfer(pieces.call, len_bytes.min(current.left()));
        let moved = self.resume_write(source, now_ns, pieces);
        if moved.is_err() {
            self.queue.end_transfer(pieces.call);
        }
        moved
    }

    /// Moves the next piece of a write().
    ///
    /// # Errors
    /// As [`resume_read`](Self::resume_read), but the write() stays in progress if [`Source::prepare`] fails.
    pub fn resume_write(
        &mut self,
        source: &mut dyn Source,
        now_ns: u64,
        pieces: Pieces,
    ) -> Result<Moved, Error> {
        let (current, under_way) = self.queue.transfer_of(pieces.call)?;
        let bytes = under_way.piece(pieces);
        source.prepare(bytes).map_err(|Fault| Error::Fault)?;
        if let Err(error) = self.copy_in(current.after(under_way.done), bytes, source) {
            self.queue.end_transfer(pieces.call);
            return Err(error);
        }
        let is_over = under_way.done.saturating_add(bytes) >= under_way.count;
        if let Some(part) = self.queue.note_piece(under_way, bytes, is_over) {
            return Ok(part);
        }
        self.finish_write(current.after(under_way.count), now_ns)?;
        Ok(Moved::Last(bytes))
    }

    fn finish_write(&mut self, written: Current, now_ns: u64) -> Result<(), Error> {
        let is_frame = self.queue.queues_each_write && written.pos > 0;
        if written.left() > 0 && !is_frame {
            self.queue.set_current(Some(written));
            return Ok(());
        }
        self.queue_current(written, now_ns)?;
        self.queue.set_current(None);
        if let Some(fileio) = &mut self.queue.fileio {
            if fileio.fresh == written.index {
                fileio.fresh = fileio.fresh.saturating_add(1);
            }
        }
        Ok(())
    }

    /// Checks a read() or write(), and starts the emulation at the first one.
    fn begin_fileio(&mut self, queue_type: QueueType, call: u64) -> Result<(), Error> {
        self.reap();
        let config = &self.queue.config;
        if queue_type != config.queue_type || !config.io_modes.contains(config.fileio_mode()) {
            return Err(Invalid::FileIoNotOffered.into());
        }
        if self.queue.is_waiting() {
            return Err(Busy::Waiting.into());
        }
        self.queue.check_under_way(call)?;
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
        let started = self.run_fileio();
        if started.is_err() {
            self.stop_fileio();
        }
        started
    }

    fn run_fileio(&mut self) -> Result<(), Error> {
        if self.queue.num_buffers > MAX_BUFFERS {
            return Err(Error::TooManyForFileIo {
                wanted: self.queue.num_buffers,
                max: MAX_BUFFERS,
            });
        }
        let planes = &self.queue.buffer(0)?.planes;
        let [plane] = planes.as_slice() else {
            // CAST: at most MAX_PLANES.
            return Err(Busy::SeveralPlanes {
                planes: planes.len() as u32,
            }
            .into());
        };
        let bytes = plane.length_bytes.min(CHUNK_BYTES);
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

    /// Ends emulation: stops streaming and frees all buffers.
    fn stop_fileio(&mut self) {
        self.queue.fileio = None;
        self.free_all();
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
                self.queue.set_current(None);
            }
            let info = self.core_dqbuf(MAX_PLANES)?;
            let current = filled(&info);
            self.queue.set_current(Some(current));
            if current.left() > 0 || current.last {
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
        let end = plane.map_or(0, |plane| plane.length_bytes);
        Ok(Current {
            index,
            pos: 0,
            end,
            last: false,
        })
    }

    /// Queues the buffer with its content. After a failure the program owns it, unprepared.
    fn queue_current(&mut self, current: Current, now_ns: u64) -> Result<(), Error> {
        let index = current.index;
        let is_output = self.queue.config.is_output();
        let payload = if is_output { current.pos } else { 0 };
        let queued = self.core_qbuf(&mut request(index, payload, now_ns));
        queued.inspect_err(|_| {
            if let Ok(buffer) = self.queue.buffer_mut(index) {
                buffer.unprepare(self.mem, self.driver, index);
            }
        })
    }

    fn copy_out(&mut self, current: Current, count: u64, sink: &mut dyn Sink) -> Result<(), Error> {
        self.queue
            .copy(current, count, |memory, from, offset, chunk| {
                self.mem.copy_from(memory, from, chunk)?;
                sink.put(offset, chunk).map_err(|Fault| Error::Fault)
            })
    }

    fn copy_in(
        &mut self,
        current: Current,
        count: u64,
        source: &mut dyn Source,
    ) -> Result<(), Error> {
        self.queue
            .copy(current, count, |memory, to, offset, chunk| {
                source.get(offset, chunk).map_err(|Fault| Error::Fault)?;
                Ok(self.mem.copy_to(memory, to, chunk)?)
            })
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

    fn set_current(&mut self, current: Option<Current>) {
        if let Some(fileio) = &mut self.fileio {
            fileio.current = current;
        }
    }

    /// Moves `count` bytes in chunks. `each` gets the plane, the chunk's position in the plane and in the
    /// program's memory, and the chunk.
    fn copy(
        &mut self,
        current: Current,
        count: u64,
        mut each: impl FnMut(&mut M::Plane, u64, u64, &mut [u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let Some(mut fileio) = self.fileio.take() else {
            return Ok(());
        };
        let moved = self.buffer_mut(current.index).and_then(|buffer| {
            let memory = buffer.planes.first_mut().and_then(|p| p.memory.as_mut());
            let memory = memory.ok_or(Error::Fault)?;
            let mut offset = 0;
            while offset < count {
                let bytes = (fileio.chunk.len() as u64).min(count.saturating_sub(offset));
                // CAST: not more than the length of the chunk.
                let chunk = fileio.chunk.get_mut(..bytes as usize).unwrap_or(&mut []);
                if chunk.is_empty() {
                    break;
                }
                each(memory, current.pos.saturating_add(offset), offset, chunk)?;
                offset = offset.saturating_add(bytes);
            }
            Ok(())
        });
        self.fileio = Some(fileio);
        moved
    }
}

/// Describes an MMAP buffer that the queue itself queues.
fn request<M: MemOps>(index: u32, payload_bytes: u64, timestamp_ns: u64) -> QueueBuffer<M> {
    let mut request = QueueBuffer::new(index, Memory::Mmap);
    if let Some(plane) = request.planes.first_mut() {
        *plane = Some(PlaneRequest::mmap(payload_bytes));
    }
    request.timestamp_ns = timestamp_ns;
    request
}

fn filled(info: &BufferInfo) -> Current {
    let plane = info.planes.first().copied().flatten();
    let (pos, end) = plane.map_or((0, 0), |p| {
        (p.data_offset.min(p.payload_bytes), p.payload_bytes)
    });
    Current {
        index: info.index,
        pos,
        end,
        last: info.last,
    }
}
