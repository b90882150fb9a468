//! Events that a run reports.

use serde::Deserialize;

/// A kind of events that a client can subscribe to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// A device finished a frame.
    Frame,
    /// A program opened a device.
    Open,
    /// A stream started.
    Start,
    /// A call was refused.
    Refusal,
}

impl EventKind {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::Frame, Self::Open, Self::Start, Self::Refusal];

    /// Returns the kind's name in the protocol.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Frame => "frame",
            Self::Open => "open",
            Self::Start => "start",
            Self::Refusal => "refusal",
        }
    }

    /// Returns the kind with this name in the protocol.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// An event of a run. Times are in nanoseconds of the devices' clock.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
#[non_exhaustive]
pub enum Event {
    /// A device finished a frame.
    Frame {
        /// The device's path.
        device: String,
        /// The frame's number in the run, counted from 0.
        frame: u64,
        /// The frame's number in its stream.
        sequence: u32,
        /// The device's timestamp of the frame; if the frame keeps the program's timestamp, the event's time.
        time_ns: u64,
    },
    /// A program opened a device.
    Open {
        /// The device's path.
        device: String,
        /// The process id of the program.
        pid: u32,
        /// The time of the call.
        time_ns: u64,
    },
    /// A stream started.
    Start {
        /// The device's path.
        device: String,
        /// `capture` or `output`.
        queue: String,
        /// The time of the start.
        time_ns: u64,
    },
    /// A call was refused.
    Refusal {
        /// The device's path.
        device: String,
        /// The call, such as `QBUF`.
        call: String,
        /// The errno's name, such as `EINVAL`; empty for a call that got fewer buffers than it asked for.
        errno: String,
        /// The constraint that was not met, as in the report; empty if none is known.
        constraint: String,
        /// The value that the call needed.
        wanted: u64,
        /// The value that was available.
        found: u64,
        /// The time of the call.
        time_ns: u64,
    },
    /// The run could not send some events, because the client read too slowly.
    Lost {
        /// Number of events that were not sent.
        count: u64,
    },
}
