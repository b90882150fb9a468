//! Buffers that come back from the device.

use crate::active::TokenFacts;
use crate::bound::tell;
use crate::driver::MAX_PLANES;
use crate::{Active, BufferState, Completion, DoneState, Error, Queue, Stale, Unbound};
use vb3_plane::MemOps;

impl<M: MemOps> Queue<M> {
    /// Takes a buffer back from the device (`vb2_buffer_done`): hands its planes to the CPU and
    /// puts it at the end of those to be dequeued. Consumes the token, also when it is stale.
    ///
    /// Payloads above a plane's length are cut to it.
    ///
    /// # Context
    /// Does not sleep.
    ///
    /// # Errors
    /// [`Stale`]: the buffer is no longer the device's, or the token is another queue's (where it
    /// counts as dropped). Here nothing happens but that it is counted.
    pub fn complete(
        &mut self,
        mem: &mut M,
        token: Active<M::Cookie>,
        completion: Completion,
    ) -> Result<(), Stale> {
        self.reap(mem);
        let taken = token.surrender(&self.ownership);
        let taken = taken.and_then(|(index, generation)| {
            let buffer = self.buffer_mut(index).map_err(|_| Stale)?;
            if buffer.state != BufferState::Active || buffer.generation != generation {
                return Err(Stale);
            }
            Ok(index)
        });
        match taken {
            Ok(index) => {
                self.buffer_done(mem, index, &completion);
                Ok(())
            }
            Err(stale) => {
                self.statistics.stale_tokens = self.statistics.stale_tokens.saturating_add(1);
                Err(stale)
            }
        }
    }

    /// Notices tokens that were dropped: their buffers come back with an error. Every call that
    /// takes a memory does this first; a host may do it whenever it likes.
    pub fn reap(&mut self, mem: &mut M) {
        let Some(first) = self.ownership.take_dropped() else {
            return;
        };
        let mut next = Some(first);
        // Each index is in the list at most once.
        for _ in 0..self.config.max_num_buffers {
            let Some(index) = next else { break };
            next = self.ownership.unlist(index);
            let Ok(buffer) = self.buffer(index) else {
                continue;
            };
            if buffer.state != BufferState::Active
                || !self.ownership.was_dropped(index, buffer.generation)
            {
                continue;
            }
            let completion = Completion {
                outcome: DoneState::Error,
                payloads: (!self.config.is_output()).then_some([0; MAX_PLANES]),
                timestamp_ns: None,
                sequence: buffer.sequence,
                field: buffer.field,
                last: false,
                timecode: None,
                frame_flags: None,
            };
            self.ownership.revoke(index);
            self.statistics.dropped_tokens = self.statistics.dropped_tokens.saturating_add(1);
            self.buffer_done(mem, index, &completion);
        }
    }

    /// Active → Done or Error. The token is gone already.
    fn buffer_done(&mut self, mem: &mut M, index: u32, completion: &Completion) {
        let Ok(buffer) = self.buffer_mut(index) else {
            return;
        };
        buffer.finish(mem);
        if let Some(payloads) = &completion.payloads {
            for (plane, payload) in buffer.planes.iter_mut().zip(payloads) {
                plane.payload_bytes = (*payload).min(plane.length_bytes);
            }
        }
        if let Some(ns) = completion.timestamp_ns {
            buffer.timestamp_ns = ns;
        }
        buffer.sequence = completion.sequence;
        buffer.field = completion.field;
        buffer.last = completion.last;
        if completion.timecode.is_some() {
            buffer.timecode = completion.timecode;
        }
        if let Some(flags) = completion.frame_flags {
            buffer.frame_flags = flags;
        }
        buffer.generation = 0;
        let counter = match completion.outcome {
            DoneState::Done => {
                buffer.state = BufferState::Done;
                &mut self.statistics.done
            }
            DoneState::Error => {
                buffer.state = BufferState::Error;
                &mut self.statistics.errors
            }
        };
        *counter = counter.saturating_add(1);
        let request = self.buffer_mut(index).ok().and_then(|b| b.request.take());
        if let Some(request) = request {
            tell(&mut self.unbound, Unbound { request, index });
        }
        self.done.push_back(index);
        self.wake = true;
    }

    /// Queued → Active: makes the token. The buffer leaves the list of queued ones by the
    /// caller's hand.
    pub(crate) fn activate(&mut self, index: u32) -> Result<Active<M::Cookie>, Error> {
        let generation = self.next_generation;
        // 2^63 buffers are never queued.
        self.next_generation = generation.wrapping_add(1);
        let buffer = self.buffer_mut(index)?;
        buffer.state = BufferState::Active;
        buffer.generation = generation;
        let facts = TokenFacts {
            index,
            generation,
            timestamp_ns: buffer.timestamp_ns,
            field: buffer.field,
            timecode: buffer.timecode,
            frame_flags: buffer.frame_flags,
            request: buffer.request,
        };
        let views = buffer.views();
        Ok(Active::new(&self.ownership, facts, views))
    }
}
