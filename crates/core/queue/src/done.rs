//! Completes buffers that return from the device.

use crate::config::MAX_PLANES;
use crate::{Active, BufferState, Completion, DriverError, Error, Invalid, Session};
use vb3_plane::MemOps;

impl<M: MemOps> Session<'_, M> {
    /// Takes a buffer back from the device (`vb2_buffer_done`): passes its planes to the CPU and appends the
    /// buffer to the list for DQBUF. Consumes the token, even if it is stale.
    ///
    /// Limits payloads to the plane's length. If the device's bytes cannot be copied to the program's memory, the
    /// buffer completes with an error.
    ///
    /// # Context
    /// Does not sleep.
    ///
    /// # Errors
    /// [`Invalid::Stale`]: the device no longer owns the buffer, or the token belongs to another queue. The other
    /// queue then treats its token as dropped. In both cases, this queue only increments a counter.
    pub fn complete(
        &mut self,
        token: Active<M::Cookie>,
        completion: Completion,
    ) -> Result<(), Error> {
        self.reap();
        let taken = token.surrender(&self.queue.ownership);
        let taken = taken.filter(|&(index, generation)| {
            let buffer = self.queue.buffer(index);
            buffer.is_ok_and(|b| b.state == BufferState::Active && b.generation == generation)
        });
        let Some((index, _)) = taken else {
            let stale = &mut self.queue.statistics.stale_tokens;
            *stale = stale.saturating_add(1);
            return Err(Invalid::Stale.into());
        };
        self.buffer_done(index, &completion);
        Ok(())
    }

    /// Completes the buffers that another context has finished. `next` must lock the host's
    /// [`Completions`](crate::Completions), pop one buffer, and unlock the list. Returns the number of buffers
    /// popped, including those with stale tokens.
    ///
    /// # Context
    /// Does not sleep, unless the memory's `finish` does.
    pub fn collect(
        &mut self,
        mut next: impl FnMut() -> Option<(Active<M::Cookie>, Completion)>,
    ) -> u32 {
        let mut collected = 0_u32;
        while let Some((token, completion)) = next() {
            // Fails only for a stale token, which `complete` counts. Its buffer returned earlier.
            let _ = self.complete(token, completion);
            collected = collected.saturating_add(1);
        }
        collected
    }

    /// Completes, with an error, the buffers whose tokens were dropped. All other calls of a session do
    /// this first, except those that continue or undo an earlier call (`resume_read`, `resume_write`,
    /// `req_unprepare`, `req_release`).
    pub fn reap(&mut self) {
        let mut next = self.queue.ownership.take_dropped();
        // Each index is in the list at most once.
        for _ in 0..self.queue.config.max_num_buffers {
            let Some(index) = next else { break };
            next = self.queue.ownership.unlist(index);
            let was_dropped = self.queue.buffer(index).is_ok_and(|buffer| {
                let ownership = &self.queue.ownership;
                buffer.state == BufferState::Active
                    && ownership.was_dropped(index, buffer.generation)
            });
            if was_dropped {
                let dropped = &mut self.queue.statistics.dropped_tokens;
                *dropped = dropped.saturating_add(1);
                self.fail(index);
            }
        }
    }

    /// Completes with an error all buffers that the device owns and that have a plane selected by `is_lost`.
    ///
    /// The tokens of these buffers become stale. Tokens that the device gets later lack the selected planes. A host
    /// calls this before it takes the planes' memory away from the device.
    pub fn withdraw(&mut self, is_lost: impl Fn(&M, &M::Plane) -> bool) {
        self.reap();
        let mut was_lost = false;
        for index in 0..self.queue.config.max_num_buffers {
            let Ok(buffer) = self.queue.buffer_mut(index) else {
                continue;
            };
            let mut loses = false;
            for plane in &mut buffer.planes {
                let memory = plane.memory.as_ref();
                if memory.is_some_and(|memory| is_lost(self.mem, memory)) {
                    plane.cookie = None;
                    loses = true;
                }
            }
            if loses && buffer.state == BufferState::Active {
                self.fail(index);
                was_lost = true;
            }
        }
        if was_lost {
            self.driver.buffers_withdrawn();
        }
    }

    /// Completes an active buffer with an error, and makes its token stale.
    fn fail(&mut self, index: u32) {
        self.queue.ownership.revoke(index);
        let Ok(buffer) = self.queue.buffer(index) else {
            return;
        };
        let completion = Completion {
            payloads: (!self.queue.config.is_output()).then_some([0; MAX_PLANES]),
            field: buffer.field,
            ..Completion::new(Err(DriverError::EIO), buffer.sequence)
        };
        self.buffer_done(index, &completion);
    }

    /// Moves a buffer from Active to Done or Error. The caller has already invalidated the buffer's token.
    fn buffer_done(&mut self, index: u32, completion: &Completion) {
        let is_output = self.queue.config.is_output();
        let Ok(buffer) = self.queue.buffer_mut(index) else {
            return;
        };
        // The CPU may not see the device's bytes, because they could not be copied.
        let finished = buffer.finish(self.mem).map_err(|_| DriverError::EIO);
        let outcome = completion.outcome.and(finished);
        let state = match outcome {
            Ok(()) => BufferState::Done,
            Err(_) => BufferState::Error,
        };
        buffer.end_access(self.mem, outcome.map_err(DriverError::errno));
        let offsets = completion.data_offsets.filter(|_| !is_output);
        for (i, plane) in buffer.planes.iter_mut().enumerate() {
            let given = |of: &Option<[u64; MAX_PLANES]>| of.as_ref()?.get(i).copied();
            let payload = given(&completion.payloads).unwrap_or(plane.info.payload_bytes);
            let offset = given(&offsets).unwrap_or(plane.info.data_offset);
            plane.set_payload(payload, offset);
        }
        buffer.timestamp_ns = completion.timestamp_ns.unwrap_or(buffer.timestamp_ns);
        buffer.sequence = completion.sequence;
        buffer.field = completion.field;
        buffer.last = completion.last;
        buffer.timecode = completion.timecode.or(buffer.timecode);
        buffer.frame_flags = completion.frame_flags.unwrap_or(buffer.frame_flags);
        buffer.state = state;
        let request = buffer.request.take();
        let counter = match outcome {
            Ok(()) => &mut self.queue.statistics.done,
            Err(_) => &mut self.queue.statistics.errors,
        };
        *counter = counter.saturating_add(1);
        if let Some(request) = request {
            self.driver.buf_request_complete(index, request);
        }
        self.queue.done.push_back(index);
        self.queue.ownership.note_event();
    }
}
