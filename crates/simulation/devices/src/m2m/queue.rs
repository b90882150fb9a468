//! One of the two queues of a memory-to-memory device.

use crate::surface::Surface;
use std::collections::VecDeque;
use vb3_queue::{Active, Completion, DriverError, MAX_PLANES, Prepare};
use vb3_v4l2::{Flow, Format, FormatFlags, Progress, QueuePolicy};

/// An OUTPUT buffer whose frame is in the codec.
struct CodingInput<C> {
    tag: u64,
    token: Active<C>,
    /// The buffer's final state, once it is known.
    outcome: Option<Result<(), DriverError>>,
}

pub(crate) struct M2mQueue<C> {
    flow: Flow,
    pub(super) policy: QueuePolicy,
    /// Flags of the queue's formats.
    pub(super) flags: FormatFlags,
    /// The format of G_FMT and of new buffers.
    pub(crate) format: Format,
    /// The format at the start of streaming, which the queue's buffers have until streaming ends.
    streamed: Option<Format>,
    /// Buffers to work on, oldest first.
    pub(crate) tokens: VecDeque<Active<C>>,
    /// OUTPUT buffers whose frames are in the codec, oldest first.
    coding: VecDeque<CodingInput<C>>,
    /// Whether the queue is between STREAMON and STREAMOFF.
    pub(crate) streaming: bool,
    /// Sequence number of the next returned buffer.
    sequence: u32,
}

impl<C> M2mQueue<C> {
    pub(super) const fn new(flow: Flow, format: Format, policy: QueuePolicy) -> Self {
        Self {
            flow,
            policy,
            flags: FormatFlags::empty(),
            format,
            streamed: None,
            tokens: VecDeque::new(),
            coding: VecDeque::new(),
            streaming: false,
            sequence: 0,
        }
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.streaming && !self.tokens.is_empty()
    }

    /// Removes and returns the oldest waiting buffer that the device still has.
    pub(crate) fn take(&mut self) -> Option<Active<C>> {
        while let Some(token) = self.tokens.pop_front() {
            if !token.is_stale() {
                return Some(token);
            }
        }
        None
    }

    /// Makes a buffer the next one again, unless the device has lost it.
    pub(crate) fn put_back(&mut self, token: Active<C>) {
        if !token.is_stale() {
            self.tokens.push_front(token);
        }
    }

    /// Returns the sequence number for the next completed buffer, and increments the counter.
    pub(crate) fn next_sequence(&mut self) -> u32 {
        let sequence = self.sequence;
        self.sequence = sequence.wrapping_add(1);
        sequence
    }

    /// Returns an OUTPUT buffer to the program.
    pub(crate) fn consume(
        &mut self,
        token: Active<C>,
        outcome: Result<(), DriverError>,
        progress: &mut Progress<C>,
    ) {
        let completion = Completion::new(outcome, self.next_sequence());
        progress.finish(self.flow, token, completion);
    }

    /// Keeps an OUTPUT buffer until its frame is completed.
    pub(crate) fn hold(&mut self, tag: u64, token: Active<C>) {
        self.coding.push_back(CodingInput {
            tag,
            token,
            outcome: None,
        });
    }

    /// Completes a frame, and its OUTPUT buffer once those of all earlier frames are completed.
    pub(crate) fn release(
        &mut self,
        tag: u64,
        outcome: Result<(), DriverError>,
        progress: &mut Progress<C>,
    ) {
        let mut waiting = self
            .coding
            .iter_mut()
            .filter(|input| input.outcome.is_none());
        if let Some(input) = waiting.find(|input| input.tag == tag) {
            input.outcome = Some(outcome);
        }
        while let Some(input) = self.coding.pop_front_if(|input| input.outcome.is_some()) {
            self.consume(input.token, input.outcome.unwrap_or(outcome), progress);
        }
    }

    /// Requeues the OUTPUT buffers of frames in the codec, which will have no output.
    pub(crate) fn take_back(&mut self) {
        while let Some(input) = self.coding.pop_back() {
            self.tokens.push_front(input.token);
        }
    }

    /// Completes an empty CAPTURE buffer marked LAST. Returns false if there is no buffer.
    pub(crate) fn give_last(&mut self, progress: &mut Progress<C>) -> bool {
        let Some(token) = self.take() else {
            return false;
        };
        let completion = Completion {
            payloads: Some([0; MAX_PLANES]),
            timestamp_ns: Some(0),
            last: true,
            frame_flags: Some(0),
            ..Completion::done(self.next_sequence())
        };
        progress.finish(self.flow, token, completion);
        true
    }

    /// Checks and prepares a buffer, as [`Driver::buf_prepare`](vb3_queue::Driver::buf_prepare) requires.
    pub(super) fn prepare(&self, mut buffer: Prepare<'_>) -> Result<(), DriverError> {
        // Buffers of the running stream keep its format, even if a new one was set.
        let format = self.streamed.as_ref().unwrap_or(&self.format);
        if self.flow == Flow::Output {
            Surface(format).extend_payloads(&mut buffer);
        }
        Surface(format).prepare(&mut buffer, self.flow)
    }

    pub(super) const fn start(&mut self) {
        self.streaming = true;
        self.streamed = Some(self.format);
        self.sequence = 0;
    }

    /// Records a STREAMOFF, and drops all buffers.
    pub(super) fn stop(&mut self) {
        self.streaming = false;
        self.streamed = None;
        self.tokens.clear();
        self.coding.clear();
    }
}
