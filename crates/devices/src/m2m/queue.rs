//! One of the two queues of a memory-to-memory device.

use crate::surface::{FIELD_NONE, Surface};
use std::collections::VecDeque;
use vb3_queue::{
    Active, Completion, DoneState, Driver, DriverError, MAX_PLANES, PlaneSizes, Prepare,
};
use vb3_v4l2::{Flow, Format, Progress};

/// An OUTPUT buffer whose frame is in a codec.
#[derive(Debug)]
struct HeldInput<C> {
    /// The codec's tag of it.
    tag: u64,
    token: Active<C>,
    /// Its result, once that is known.
    outcome: Option<DoneState>,
}

/// A device's state of one queue.
#[derive(Debug)]
pub(crate) struct M2mQueue<C> {
    flow: Flow,
    /// The format of G_FMT and of new buffers.
    pub(crate) format: Format,
    /// The format at the start of streaming. Buffers have it until streaming ends.
    streamed: Option<Format>,
    /// Buffers to work on, oldest first.
    pub(crate) tokens: VecDeque<Active<C>>,
    /// OUTPUT buffers whose frames are in a codec, oldest first.
    held: VecDeque<HeldInput<C>>,
    /// Between STREAMON and STREAMOFF.
    pub(crate) streaming: bool,
    /// Sequence number of the next returned buffer.
    sequence: u32,
    /// How often streaming began.
    pub(crate) starts: u64,
    /// How often it ended.
    pub(crate) stops: u64,
}

impl<C> M2mQueue<C> {
    pub(crate) const fn new(flow: Flow, format: Format) -> Self {
        Self {
            flow,
            format,
            streamed: None,
            tokens: VecDeque::new(),
            held: VecDeque::new(),
            streaming: false,
            sequence: 0,
            starts: 0,
            stops: 0,
        }
    }

    /// Returns whether there is a buffer to work on.
    pub(crate) fn is_ready(&self) -> bool {
        self.streaming && !self.tokens.is_empty()
    }

    /// Returns the oldest buffer that the device still has.
    pub(crate) fn take(&mut self) -> Option<Active<C>> {
        while let Some(token) = self.tokens.pop_front() {
            if !token.is_stale() {
                return Some(token);
            }
        }
        None
    }

    /// Returns the sequence number for the next returned buffer.
    pub(crate) fn next_sequence(&mut self) -> u32 {
        let sequence = self.sequence;
        self.sequence = sequence.wrapping_add(1);
        sequence
    }

    /// Gives an OUTPUT buffer back.
    pub(crate) fn consume(
        &mut self,
        token: Active<C>,
        outcome: DoneState,
        progress: &mut Progress<C>,
    ) {
        let completion = Completion {
            outcome,
            payloads: None,
            data_offsets: None,
            timestamp_ns: None,
            sequence: self.next_sequence(),
            field: FIELD_NONE,
            last: false,
            timecode: None,
            frame_flags: None,
        };
        progress.finish(self.flow, token, completion);
    }

    /// Keeps an OUTPUT buffer until its frame's output is complete.
    pub(crate) fn hold(&mut self, tag: u64, token: Active<C>) {
        self.held.push_back(HeldInput {
            tag,
            token,
            outcome: None,
        });
    }

    /// Returns the OUTPUT buffer of a completed frame, after those before it.
    pub(crate) fn release(&mut self, tag: u64, outcome: DoneState, progress: &mut Progress<C>) {
        let mut waiting = self.held.iter_mut().filter(|held| held.outcome.is_none());
        if let Some(held) = waiting.find(|held| held.tag == tag) {
            held.outcome = Some(outcome);
        }
        while let Some(held) = self.held.pop_front() {
            let Some(outcome) = held.outcome else {
                self.held.push_front(held);
                return;
            };
            self.consume(held.token, outcome, progress);
        }
    }

    /// Requeues the frames in the codec, which will have no output.
    pub(crate) fn take_back(&mut self) {
        while let Some(held) = self.held.pop_back() {
            self.tokens.push_front(held.token);
        }
    }

    /// Returns an empty last CAPTURE buffer. Returns whether there was one.
    pub(crate) fn give_last(&mut self, progress: &mut Progress<C>) -> bool {
        let Some(token) = self.take() else {
            return false;
        };
        let completion = Completion {
            outcome: DoneState::Done,
            payloads: Some([0; MAX_PLANES]),
            data_offsets: None,
            timestamp_ns: Some(0),
            sequence: self.next_sequence(),
            field: FIELD_NONE,
            last: true,
            timecode: None,
            frame_flags: Some(0),
        };
        progress.finish(self.flow, token, completion);
        true
    }
}

/// The queue as `vb3_queue`'s driver.
#[derive(Debug)]
pub(crate) struct M2mQueueDriver<'a, C>(pub(crate) &'a mut M2mQueue<C>);

impl<C> Driver for M2mQueueDriver<'_, C> {
    type Cookie = C;

    fn queue_setup(&mut self, create: Option<&PlaneSizes>) -> Result<PlaneSizes, DriverError> {
        Surface(&self.0.format).queue_setup(create)
    }

    fn buf_prepare(&mut self, mut buffer: Prepare<'_>) -> Result<(), DriverError> {
        // A stream's new format does not affect buffers of the old one.
        let format = self.0.streamed.as_ref().unwrap_or(&self.0.format);
        if self.0.flow == Flow::Output {
            Surface(format).extend_payloads(&mut buffer);
        }
        Surface(format).prepare(buffer, self.0.flow)
    }

    fn buf_queue(&mut self, buffer: Active<C>) {
        self.0.tokens.push_back(buffer);
    }

    fn start_streaming(&mut self, _queued: u32) -> Result<(), DriverError> {
        self.0.streaming = true;
        self.0.streamed = Some(self.0.format);
        self.0.sequence = 0;
        self.0.starts = self.0.starts.wrapping_add(1);
        Ok(())
    }

    fn stop_streaming(&mut self) {
        self.0.streaming = false;
        self.0.streamed = None;
        self.0.stops = self.0.stops.wrapping_add(1);
        self.0.tokens.clear();
        self.0.held.clear();
    }
}
