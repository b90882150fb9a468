//! A device's reports about its work.

use crate::{ControlValue, Flow};
use bitflags::bitflags;
use vb3_queue::{Active, Completion};

bitflags! {
    /// Events of a device besides control events.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct EventKinds: u8 {
        /// `V4L2_EVENT_FRAME_SYNC`.
        const FRAME_SYNC = 1 << 0;
        /// `V4L2_EVENT_EOS`.
        const EOS = 1 << 1;
        /// `V4L2_EVENT_SOURCE_CHANGE`.
        const SOURCE_CHANGE = 1 << 2;
    }
}

/// Something that happened in a device.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DriverEvent {
    /// A frame begins.
    FrameSync {
        /// Sequence number of the frame.
        sequence: u32,
    },
    /// End of the stream.
    Eos,
    /// The source's format has changed.
    SourceChange {
        /// Index of the input.
        port: u32,
        /// `V4L2_EVENT_SRC_CH_*`.
        changes: u32,
    },
    /// The device itself changed a control.
    Control {
        /// Id of the control.
        id: u32,
        /// The new value.
        value: ControlValue,
    },
}

bitflags! {
    /// Flags of the frame in a finished buffer (`V4L2_BUF_FLAG_*`, in `Completion::frame_flags`).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct FrameFlags: u32 {
        /// The frame can be decoded without other frames.
        const KEYFRAME = 0x8;
        /// The frame is predicted from earlier frames.
        const PFRAME = 0x10;
        /// The frame is predicted from earlier and later frames.
        const BFRAME = 0x20;
    }
}

/// A finished buffer.
#[derive(Debug)]
pub struct Finished<C> {
    /// The buffer's queue.
    pub flow: Flow,
    /// The buffer's token.
    pub token: Active<C>,
    /// The result of the device's access.
    pub completion: Completion,
}

/// The results of a tick.
#[derive(Debug)]
pub struct Progress<C> {
    /// Finished buffers, in the order of completion.
    pub finished: Vec<Finished<C>>,
    /// Events, in the order of their occurrence.
    pub events: Vec<DriverEvent>,
    /// Whether the device has failed. Its queues then fail until STREAMOFF (`vb2_queue_error`).
    pub broken: bool,
    /// Whether the source's format no longer fits the stream's buffers, so that no frame follows. The queue of a
    /// program without a subscription to `V4L2_EVENT_SOURCE_CHANGE` then fails until STREAMOFF.
    pub outdated: bool,
}

impl<C> Progress<C> {
    /// Reports a finished buffer.
    pub fn finish(&mut self, flow: Flow, token: Active<C>, completion: Completion) {
        self.finished.push(Finished {
            flow,
            token,
            completion,
        });
    }
}

impl<C> Default for Progress<C> {
    fn default() -> Self {
        Self {
            finished: Vec::new(),
            events: Vec::new(),
            broken: false,
            outdated: false,
        }
    }
}

/// Counters of a device since its creation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// CAPTURE: frames dropped for lack of a queued buffer. OUTPUT: frames that were not shown.
    pub dropped: u64,
    /// Bus faults of the device's accesses.
    pub bus_faults: u64,
    /// Bytes that the device itself copies in memory, without DMA.
    pub bytes_copied: u64,
    /// Bytes that a codec process copied into buffers; none if it decodes into the buffers.
    pub codec_bytes_copied: u64,
}

impl Statistics {
    /// Adds the counters of another part of the device.
    pub fn add(&mut self, other: Self) {
        self.dropped = self.dropped.saturating_add(other.dropped);
        self.bus_faults = self.bus_faults.saturating_add(other.bus_faults);
        self.bytes_copied = self.bytes_copied.saturating_add(other.bytes_copied);
        let codec = self
            .codec_bytes_copied
            .saturating_add(other.codec_bytes_copied);
        self.codec_bytes_copied = codec;
    }
}
