//! Prepares a buffer for the device, and undoes the preparation.

use crate::buffer::Buffer;
use crate::session::DynDriver;
use crate::{
    Error, Invalid, Memory, PlaneLocation, PlaneRequest, PlaneSource, Prepare, Queue, QueueBuffer,
    Session,
};
use vb3_plane::{Direction, HintSkip, MemOps, PlaneError};

/// `V4L2_FIELD_ALTERNATE`.
const FIELD_ALTERNATE: u32 = 7;

impl<M: MemOps> Session<'_, M> {
    /// Prepares a buffer that the program owns and that is not prepared. A failure changes nothing, except
    /// that a USERPTR or DMABUF buffer may lose its former memory, as in Linux.
    pub(crate) fn prepare(&mut self, request: &mut QueueBuffer<M>) -> Result<(), Error> {
        self.resolve(request)?;
        let is_output = self.queue.config.is_output();
        let hints = self.queue.granted_hints(request);
        let direction = self.queue.config.direction();
        let index = request.index;
        let buffer = self.queue.buffer_mut(index)?;
        let prepared = buffer.prepare(self.mem, self.driver, direction, request, hints);
        if prepared.is_err() && request.memory != Memory::Mmap {
            buffer.lose_memory(self.mem, self.driver, index);
        }
        prepared?;
        buffer.prepared = true;
        // The timestamp is stored when the buffer is queued.
        buffer.timestamp_ns = 0;
        buffer.timecode = None;
        buffer.frame_flags = if is_output { request.frame_flags } else { 0 };
        buffer.sequence = 0;
        buffer.last = false;
        Ok(())
    }

    /// Checks the planes of the request, and replaces defaults by the values that they stand for. Uses the
    /// lengths of the request's memory, not those of the buffer's former memory.
    pub(crate) fn resolve(&self, request: &mut QueueBuffer<M>) -> Result<(), Error> {
        let is_output = self.queue.config.is_output();
        if is_output && request.field == FIELD_ALTERNATE {
            return Err(Invalid::FieldAlternate.into());
        }
        let planes = &self.queue.buffer(request.index)?.planes;
        let wanted = request.planes.iter_mut().flatten();
        for (number, (plane, wanted)) in (0_u32..).zip(planes.iter().zip(wanted)) {
            match &wanted.source {
                PlaneSource::Mmap => wanted.length_bytes = plane.info.length_bytes,
                PlaneSource::UserPtr { .. } => {}
                PlaneSource::DmaBuf { buf, fd } => {
                    let (plane, fd) = (number, *fd);
                    let buf = buf.as_ref().ok_or(Invalid::NoDmaBuf { plane, fd })?;
                    if wanted.length_bytes == 0 {
                        wanted.length_bytes = self.mem.dmabuf_len(buf);
                    }
                }
            }
            if wanted.length_bytes < plane.setup_bytes {
                return Err(Invalid::LengthBelowSetup {
                    plane: number,
                    wanted: plane.setup_bytes,
                    found: wanted.length_bytes,
                }
                .into());
            }
            if is_output {
                wanted.payload_bytes = self.queue.given_payload(number, wanted)?;
            } else {
                (wanted.payload_bytes, wanted.data_offset) = (0, 0);
            }
        }
        Ok(())
    }
}

impl<M: MemOps> Queue<M> {
    /// Returns the cache maintenance to skip: that of the request's hints, if the queue allows hints.
    pub(crate) fn granted_hints(&self, request: &QueueBuffer<M>) -> HintSkip {
        if self.allows_hints(request.memory) {
            request.hints
        } else {
            HintSkip::empty()
        }
    }

    fn given_payload(&self, plane: u32, wanted: &PlaneRequest<M>) -> Result<u64, Error> {
        let (given, length) = (wanted.payload_bytes, wanted.length_bytes);
        if given > length {
            return Err(Invalid::PayloadAboveLength {
                plane,
                wanted: given,
                found: length,
            }
            .into());
        }
        let used = if given == 0 { length } else { given };
        let offset = wanted.data_offset;
        if offset > 0 && offset >= used {
            return Err(Invalid::DataOffset {
                plane,
                offset,
                payload: used,
            }
            .into());
        }
        Ok(if self.config.allow_zero_bytesused {
            given
        } else {
            used
        })
    }
}

impl<M: MemOps> Buffer<M> {
    /// Places each plane's memory, and stores how the driver reaches the plane (its cookie).
    pub(crate) fn place(&mut self, mem: &M) -> Result<(), Error> {
        for plane in &mut self.planes {
            if let Some(memory) = &mut plane.memory {
                mem.place(memory)?;
            }
            let cookie = plane.memory.as_ref().and_then(|memory| mem.cookie(memory));
            plane.cookie = Some(cookie.ok_or(PlaneError::Invalid(None))?);
        }
        Ok(())
    }

    /// Prepares memory, driver and caches, in this order. If the caches cannot be synced, calls `buf_finish`.
    fn prepare(
        &mut self,
        mem: &M,
        driver: &mut DynDriver<'_, M>,
        direction: Direction,
        request: &QueueBuffer<M>,
        hints: HintSkip,
    ) -> Result<(), Error> {
        self.acquire(mem, driver, direction, request)?;
        self.place(mem)?;
        for (plane, wanted) in self.planes.iter_mut().zip(request.planes.iter().flatten()) {
            // The descriptor's number can be new although the dma-buf is the same.
            if let (PlaneLocation::Fd(known), PlaneSource::DmaBuf { fd, .. }) =
                (&mut plane.info.cookie, &wanted.source)
            {
                *known = *fd;
            }
        }
        let values = |of: fn(&PlaneRequest<M>) -> u64| {
            let planes = request.planes.each_ref();
            planes.map(|plane| plane.as_ref().map_or(0, of))
        };
        let lengths = values(|plane| plane.length_bytes);
        let mut payloads = values(|plane| plane.payload_bytes);
        let mut offsets = values(|plane| plane.data_offset);
        let mut field = request.field;
        let planes = self.planes.len();
        driver.buf_prepare(Prepare {
            index: request.index,
            lengths: lengths.get(..planes).unwrap_or(&[]),
            payloads: payloads.get_mut(..planes).unwrap_or(&mut []),
            data_offsets: offsets.get_mut(..planes).unwrap_or(&mut []),
            field: &mut field,
        })?;
        if let Err(e) = self.hand_over(mem, hints) {
            driver.buf_finish(request.index);
            return Err(e.into());
        }
        let set = payloads.into_iter().zip(offsets);
        for (plane, (payload, offset)) in self.planes.iter_mut().zip(set) {
            plane.set_payload(payload, offset);
        }
        self.field = field;
        self.hints = hints;
        Ok(())
    }

    /// Passes all planes to the device, or none.
    fn hand_over(&mut self, mem: &M, hints: HintSkip) -> Result<(), PlaneError> {
        let failed = self.memories_mut().enumerate().find_map(|(i, memory)| {
            let error = mem.prepare(memory, hints).err()?;
            Some((i, error))
        });
        let Some((count, error)) = failed else {
            self.synced = true;
            return Ok(());
        };
        // The device has written nothing. If cleaning was skipped, the CPU's data may be only in
        // the CPU's cache, so `finish` must not invalidate it.
        let skip = if hints.contains(HintSkip::PREPARE) {
            HintSkip::all()
        } else {
            hints
        };
        // Every plane has memory here.
        for plane in self.planes.iter_mut().take(count).rev() {
            if let Some(memory) = &mut plane.memory {
                // The caller gets the first error.
                let _ = mem.finish(memory, skip);
            }
        }
        Err(error)
    }

    /// Undoes the preparation, so that the program owns the buffer again.
    pub(crate) fn unprepare(&mut self, mem: &M, driver: &mut DynDriver<'_, M>, index: u32) {
        // Errors are ignored: if the planes are still synced, the device has not completed the buffer, so the program
        // expects no bytes in it.
        let _ = self.finish(mem);
        if core::mem::take(&mut self.prepared) {
            driver.buf_finish(index);
        }
    }
}
