//! A program's metadata of OUTPUT frames, which is copied to the CAPTURE frames.

use crate::surface::Payloads;
use std::collections::BTreeMap;
use vb3_queue::{Active, Completion, DoneState, Timecode};
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
        payloads: Payloads,
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

/// Maximum number of stored frames. A further frame replaces the oldest. A picture may consist of many small
/// pieces, each stored as a frame.
const MAX: usize = 8192;

/// The program's metadata of each frame, by the codec's tag.
#[derive(Debug)]
pub(crate) struct PendingFrames {
    next_tag: u64,
    /// Tags continue when this is cleared, so late output of a dropped frame is ignored.
    pub(super) metas: BTreeMap<u64, Meta>,
}

impl PendingFrames {
    pub(crate) const fn new() -> Self {
        Self {
            next_tag: 1,
            metas: BTreeMap::new(),
        }
    }

    /// Returns the tag that [`insert`](Self::insert) will use.
    pub(crate) const fn next_tag(&self) -> u64 {
        self.next_tag
    }

    /// Stores a frame that the codec took under [`next_tag`](Self::next_tag).
    pub(crate) fn insert(&mut self, meta: Meta) {
        if self.metas.len() >= MAX {
            self.metas.pop_first();
        }
        self.metas.insert(self.next_tag, meta);
        self.next_tag = self.next_tag.wrapping_add(1);
    }

    /// Returns the metadata of a frame that may have more output. Unknown tags have the default.
    pub(crate) fn get(&self, tag: u64) -> Meta {
        self.metas.get(&tag).copied().unwrap_or_default()
    }
}
