//! What a device reports of its work.

use crate::{ControlValue, Flow};
use bitflags::bitflags;
use vb3_queue::{Active, Completion};

bitflags! {
    /// Events besides those of controls that a device raises.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct EventKinds: u8 {
        /// `V4L2_EVENT_FRAME_SYNC`.
        const FRAME_SYNC = 1 << 0;
        /// `V4L2_EVENT_EOS`.
        const EOS = 1 << 1;
        /// `V4L2_EVENT_SOURCE_CHANGE`.
        const SOURCE_CHANGE = 1 << 2;
        /// `V4L2_EVENT_VSYNC`.
        const VSYNC = 1 << 3;
    }
}

/// Something that happened in a device.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DriverEvent {
    /// A frame begins.
    FrameSync {
        /// Its sequence number.
        sequence: u32,
    },
    /// A vertical sync.
    Vsync {
        /// `V4L2_FIELD_*` of the field that follows.
        field: u8,
    },
    /// There is no more to come.
    Eos,
    /// The picture's format changed at the source.
    SourceChange {
        /// Which input.
        port: u32,
        /// `V4L2_EVENT_SRC_CH_*`.
        changes: u32,
    },
    /// The device itself changed a control.
    Control {
        /// Which.
        id: u32,
        /// To what.
        value: ControlValue,
    },
}

bitflags! {
    /// What a device says of the frame in a buffer that it gives back (`V4L2_BUF_FLAG_*`, in
    /// `Completion::frame_flags`).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct FrameFlags: u32 {
        /// It can be decoded alone.
        const KEYFRAME = 0x8;
        /// It was predicted from frames before it.
        const PFRAME = 0x10;
        /// It was predicted from frames before and after it.
        const BFRAME = 0x20;
    }
}

/// A buffer that a device is finished with.
#[derive(Debug)]
pub struct Finished<C> {
    /// Which queue it is of.
    pub flow: Flow,
    /// The buffer.
    pub token: Active<C>,
    /// How it went.
    pub completion: Completion,
}

/// What a tick of a device brought about.
#[derive(Debug)]
pub struct Progress<C> {
    /// Buffers the device is finished with, in order.
    pub finished: Vec<Finished<C>>,
    /// What else happened.
    pub events: Vec<DriverEvent>,
    /// The device broke down: queue error until STREAMOFF (`vb2_queue_error`).
    pub broken: bool,
}

impl<C> Progress<C> {
    /// A buffer is finished.
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
        }
    }
}

/// What a device counted since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Frames that found no buffer (CAPTURE) or were not shown (OUTPUT).
    pub dropped: u64,
    /// Bus faults the device ran into.
    pub bus_faults: u64,
    /// Bytes that the device itself copies in memory, not by DMA.
    pub bytes_copied: u64,
    /// Bytes that a codec library's process copied so that its pictures came into buffers. A decoder
    /// writes there itself.
    pub codec_bytes_copied: u64,
}

impl Statistics {
    pub(crate) fn add(&mut self, other: Self) {
        self.dropped = self.dropped.saturating_add(other.dropped);
        self.bus_faults = self.bus_faults.saturating_add(other.bus_faults);
        self.bytes_copied = self.bytes_copied.saturating_add(other.bytes_copied);
        let codec = self
            .codec_bytes_copied
            .saturating_add(other.codec_bytes_copied);
        self.codec_bytes_copied = codec;
    }
}
