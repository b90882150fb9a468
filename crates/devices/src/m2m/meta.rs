//! A program's metadata of an OUTPUT frame, which is copied to the CAPTURE frame.

use vb3_queue::{Active, Completion, DoneState, MAX_PLANES, Timecode};
use vb3_v4l2::FrameFlags;

/// Timestamp, timecode and flags of a frame.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Meta {
    timestamp_ns: u64,
    timecode: Option<Timecode>,
    frame_flags: u32,
}

impl Meta {
    /// Returns the metadata that the program gave a buffer.
    pub(crate) fn of<C>(token: &Active<C>) -> Self {
        Self {
            timestamp_ns: token.timestamp_ns(),
            timecode: token.timecode(),
            frame_flags: token.frame_flags(),
        }
    }

    /// Sets the frame kind that the device determined. A codec does not copy the kind from OUTPUT.
    pub(crate) const fn with_kind(mut self, kind: FrameFlags) -> Self {
        self.frame_flags = self.frame_flags & !FrameFlags::all().bits() | kind.bits();
        self
    }

    /// Returns the completion of a CAPTURE buffer that has this metadata.
    pub(crate) const fn completion(
        &self,
        outcome: DoneState,
        payloads: [u64; MAX_PLANES],
        sequence: u32,
        last: bool,
    ) -> Completion {
        Completion {
            payloads: Some(payloads),
            timestamp_ns: Some(self.timestamp_ns),
            last,
            timecode: self.timecode,
            frame_flags: Some(self.frame_flags),
            ..Completion::new(outcome, sequence)
        }
    }
}
