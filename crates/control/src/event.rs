//! Events of a run.

use crate::Error;
use crate::answer::{number, text};
use serde_json::Value;

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

    /// Returns the name in the protocol.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Frame => "frame",
            Self::Open => "open",
            Self::Start => "start",
            Self::Refusal => "refusal",
        }
    }

    /// Returns the kind with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// An event. Times are nanoseconds of the devices' clock.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A device finished a frame.
    Frame {
        /// The device's path.
        device: String,
        /// The number of the frame in the run, counted from 0.
        frame: u64,
        /// Its number in the stream.
        sequence: u32,
        /// The device's timestamp of the frame, or the time of the event if the frame keeps the program's.
        time_ns: u64,
    },
    /// A program opened a device.
    Open {
        /// The device's path.
        device: String,
        /// The process.
        pid: u32,
        /// When.
        time_ns: u64,
    },
    /// A stream started.
    Start {
        /// The device's path.
        device: String,
        /// `capture` or `output`.
        queue: String,
        /// When.
        time_ns: u64,
    },
    /// A call was refused.
    Refusal {
        /// The device's path.
        device: String,
        /// The call, such as `QBUF`.
        call: String,
        /// The name of the errno, such as `EINVAL`.
        errno: String,
        /// The constraint, as in the report; empty if none is known.
        constraint: String,
        /// The value that the call needed.
        wanted: u64,
        /// The value that was available.
        found: u64,
        /// When.
        time_ns: u64,
    },
    /// The client read too slowly: this many events were not sent.
    Lost {
        /// Number of events that were not sent.
        count: u64,
    },
}

impl Event {
    /// Reads an event.
    pub(crate) fn read(event: &Value) -> Result<Self, Error> {
        let device = || text(event, "device");
        let time_ns = || number(event, "time_ns");
        let short = |name: &str| {
            let number = number(event, name)?;
            u32::try_from(number).map_err(|_| Error::Answer(event.to_string()))
        };
        Ok(match event.get("event").and_then(Value::as_str) {
            Some("frame") => Self::Frame {
                device: device()?,
                frame: number(event, "frame")?,
                sequence: short("sequence")?,
                time_ns: time_ns()?,
            },
            Some("open") => Self::Open {
                device: device()?,
                pid: short("pid")?,
                time_ns: time_ns()?,
            },
            Some("start") => Self::Start {
                device: device()?,
                queue: text(event, "queue")?,
                time_ns: time_ns()?,
            },
            Some("refusal") => Self::Refusal {
                device: device()?,
                call: text(event, "call")?,
                errno: text(event, "errno")?,
                constraint: text(event, "constraint")?,
                wanted: number(event, "wanted")?,
                found: number(event, "found")?,
                time_ns: time_ns()?,
            },
            Some("lost") => Self::Lost {
                count: number(event, "count")?,
            },
            _ => return Err(Error::Answer(event.to_string())),
        })
    }
}
