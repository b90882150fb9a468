//! One error type, with the numbers that explain it.

use crate::{ConfigError, DriverError, Memory, RequestState, Stale};
use core::fmt;
use vb3_plane::{Constraint, PlaneError, Reason};

/// Another activity that prevents a call for now (EBUSY).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Busy {
    /// read() or write() emulation uses the queue.
    FileIo,
    /// The queue streams.
    Streaming,
    /// Another caller waits in DQBUF, read() or write().
    Waiting,
    /// The queue has buffers, so read() and write() cannot start.
    HasBuffers,
    /// read() and write() work on buffers of one plane only; the buffers have `planes`.
    SeveralPlanes {
        /// Planes of a buffer.
        planes: u32,
    },
    /// A streaming queue keeps its memory model, even when all its buffers have been removed.
    ModelFixed {
        /// The model asked for.
        wanted: Memory,
        /// The model of the queue.
        found: Memory,
    },
    /// The program does not own the buffer, so it cannot be removed.
    BufferOwned {
        /// Its index.
        index: u32,
    },
    /// Buffers were queued directly. Requests cannot queue any until the queue is cancelled.
    UsesQbuf,
    /// Requests have queued buffers. None can be queued directly until the queue is cancelled.
    UsesRequests,
    /// The media request is queued or complete.
    Request {
        /// State of the request.
        state: RequestState,
    },
    /// The media request already has a buffer of this queue.
    RequestHasBuffer {
        /// Its index.
        index: u32,
    },
}

/// A wrong argument, or a call in the wrong state (EINVAL).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Invalid {
    /// The queue does not offer this memory model.
    ModelNotOffered {
        /// The model asked for.
        wanted: Memory,
    },
    /// The buffers have another memory model.
    ModelMismatch {
        /// The model asked for.
        wanted: Memory,
        /// The model of the queue; `None` without buffers.
        found: Option<Memory>,
    },
    /// The buffers have another coherency.
    CoherencyMismatch,
    /// No such buffer.
    Index {
        /// Requested index.
        index: u32,
        /// Number of buffers.
        buffers: u32,
    },
    /// The range has no buffer at some index, or exceeds the queue.
    Range {
        /// First index.
        first: u32,
        /// Number of buffers requested.
        count: u32,
        /// Number of buffers.
        buffers: u32,
    },
    /// No such plane, or too few planes.
    Planes {
        /// The given value.
        given: u32,
        /// Number of planes of the buffer.
        planes: u32,
    },
    /// The driver returned no planes.
    NoPlanes,
    /// No plane, too many planes, or a size of zero.
    PlaneSizes,
    /// The driver named a device for a plane that is not in the queue's configuration.
    AllocDev {
        /// Plane index.
        plane: u32,
        /// The device's number.
        wanted: u32,
    },
    /// A plane's source does not match the queue's memory model.
    Source {
        /// Plane index.
        plane: u32,
    },
    /// The buffer is not in a state for this call (already queued or prepared).
    State {
        /// Its index.
        index: u32,
    },
    /// PREPARE_BUF does not accept a media request.
    Request,
    /// The file descriptor is not a media request of the device.
    NoRequest {
        /// The descriptor's number in the program.
        fd: i32,
    },
    /// The file descriptor is not a dma-buf.
    NoDmaBuf {
        /// Plane index.
        plane: u32,
        /// The descriptor's number in the program.
        fd: i32,
    },
    /// A plane is smaller than the format needs.
    LengthBelowSetup {
        /// Plane index.
        plane: u32,
        /// Bytes needed.
        wanted: u64,
        /// Bytes given.
        found: u64,
    },
    /// More payload than the plane holds.
    PayloadAboveLength {
        /// Plane index.
        plane: u32,
        /// Bytes of payload.
        wanted: u64,
        /// Bytes of the plane.
        found: u64,
    },
    /// The data would begin at or after the end of the payload.
    DataOffset {
        /// Plane index.
        plane: u32,
        /// Offset in bytes.
        offset: u64,
        /// Bytes of payload.
        payload: u64,
    },
    /// OUTPUT buffers cannot have the field order ALTERNATE.
    FieldAlternate,
    /// The queue does not stream.
    NotStreaming,
    /// Too few buffers to stream.
    TooFewBuffers {
        /// Buffers needed.
        wanted: u32,
        /// Buffers present.
        found: u32,
    },
    /// Only allocated (MMAP) buffers can be exported or mapped.
    NotMmap,
    /// The mapping is not shared, or lacks the access that the queue's direction needs.
    MapAccess,
    /// No plane has this mmap offset.
    Cookie {
        /// Requested offset.
        cookie: u64,
    },
    /// A mapping longer than the plane.
    MapLength {
        /// Bytes requested.
        wanted: u64,
        /// Bytes of the plane, in whole pages.
        found: u64,
    },
    /// The queue does not offer read() or write().
    FileIoNotOffered,
}

/// Error of a call on a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// EBUSY: another activity prevents the call for now.
    Busy(Busy),
    /// EINVAL: an argument is wrong, or the call is not allowed in this state.
    Invalid(Invalid),
    /// EINVAL: the configuration is invalid.
    Config(ConfigError),
    /// EAGAIN: no buffer is done yet.
    WouldBlock,
    /// EIO: the device has failed; only STREAMOFF clears the error.
    QueueError,
    /// EPIPE: the last buffer has been dequeued.
    LastBuffer,
    /// EBADR: media requests are not supported.
    RequestUnsupported,
    /// EBADR: only media requests may queue buffers.
    RequestRequired,
    /// ENOENT: the media request has no buffer.
    RequestEmpty,
    /// ENOBUFS: the queue is full.
    QueueFull {
        /// Maximum number of buffers.
        max: u32,
    },
    /// ENOMEM: the necessary buffers, or the queue's own tables, could not be allocated.
    NoMemory {
        /// Buffers (or bytes of a table) needed.
        wanted: u64,
        /// Buffers that could be made.
        found: u64,
        /// The error that stopped the allocation.
        cause: Option<Reason>,
    },
    /// ENOSPC: read() and write() cannot handle as many buffers as the driver needs.
    TooManyForFileIo {
        /// Buffers the driver needs.
        wanted: u32,
        /// Maximum number that can be handled.
        max: u32,
    },
    /// EFAULT: the program's memory cannot be read or written.
    Fault,
    /// The memory of a plane was refused, with that error's errno.
    Plane(PlaneError),
    /// The driver refused, with its errno (EIO if it gave none).
    Driver(DriverError),
}

impl Error {
    /// The Linux errno, positive.
    #[must_use]
    pub const fn errno(self) -> i32 {
        match self {
            Self::Busy(_) => 16,
            Self::Invalid(_) | Self::Config(_) => 22,
            Self::WouldBlock => 11,
            Self::QueueError => 5,
            Self::LastBuffer => 32,
            Self::RequestUnsupported | Self::RequestRequired => 53,
            Self::RequestEmpty => 2,
            Self::QueueFull { .. } => 105,
            Self::NoMemory { .. } => 12,
            Self::TooManyForFileIo { .. } => 28,
            Self::Fault => 14,
            Self::Plane(e) => e.errno(),
            // An invalid errno must not look like success.
            Self::Driver(DriverError(e)) => {
                if e >= 1 && e <= 4095 {
                    e
                } else {
                    5
                }
            }
        }
    }

    /// Returns the constraint that caused the refusal, if known.
    #[must_use]
    pub const fn reason(self) -> Option<Reason> {
        match self {
            Self::Plane(e) => e.reason(),
            Self::NoMemory { cause, .. } => cause,
            Self::Invalid(Invalid::LengthBelowSetup { wanted, found, .. }) => {
                Some(Reason::new(Constraint::BufferSize, wanted, found))
            }
            _ => None,
        }
    }
}

impl From<PlaneError> for Error {
    fn from(e: PlaneError) -> Self {
        Self::Plane(e)
    }
}

impl From<DriverError> for Error {
    fn from(e: DriverError) -> Self {
        Self::Driver(e)
    }
}

impl From<Invalid> for Error {
    fn from(e: Invalid) -> Self {
        Self::Invalid(e)
    }
}

impl From<Busy> for Error {
    fn from(e: Busy) -> Self {
        Self::Busy(e)
    }
}

impl From<ConfigError> for Error {
    fn from(e: ConfigError) -> Self {
        Self::Config(e)
    }
}

impl fmt::Display for Busy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FileIo => f.write_str("read() or write() uses the queue"),
            Self::Streaming => f.write_str("the queue is streaming"),
            Self::Waiting => f.write_str("another caller waits for a buffer"),
            Self::HasBuffers => f.write_str("the queue has buffers already"),
            Self::SeveralPlanes { planes } => {
                write!(
                    f,
                    "read() and write() need one plane, the format has {planes}"
                )
            }
            Self::ModelFixed { wanted, found } => {
                write!(f, "a streaming queue stays {found:?}, wanted {wanted:?}")
            }
            Self::BufferOwned { index } => write!(f, "buffer {index} is queued"),
            Self::UsesQbuf => {
                f.write_str("buffers are queued without media requests until STREAMOFF")
            }
            Self::UsesRequests => {
                f.write_str("buffers are queued by media requests until STREAMOFF")
            }
            Self::Request { state } => write!(f, "the media request is {state:?}"),
            Self::RequestHasBuffer { index } => {
                write!(
                    f,
                    "the media request has buffer {index} of this queue already"
                )
            }
        }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ModelNotOffered { wanted } => write!(f, "{wanted:?} memory is not offered"),
            Self::ModelMismatch {
                wanted,
                found: Some(found),
            } => {
                write!(f, "the buffers are {found:?}, wanted {wanted:?}")
            }
            Self::ModelMismatch { .. } => f.write_str("there are no buffers"),
            Self::CoherencyMismatch => f.write_str("the buffers have another coherency"),
            Self::Index { index, buffers } => write!(f, "no buffer {index} (of {buffers})"),
            Self::Range {
                first,
                count,
                buffers,
            } => {
                write!(f, "no {count} buffers from {first} (of {buffers})")
            }
            Self::Planes { given, planes } => write!(f, "{given} given, {planes} planes"),
            Self::PlaneSizes => f.write_str("no plane, too many planes, or a size of zero"),
            Self::NoPlanes => f.write_str("the driver named no plane"),
            Self::AllocDev { plane, wanted } => {
                write!(
                    f,
                    "the driver named device {wanted} for plane {plane}; there is none"
                )
            }
            Self::Source { plane } => write!(f, "plane {plane} has a wrong kind of source"),
            Self::State { index } => write!(f, "buffer {index} is queued or prepared already"),
            Self::Request => f.write_str("PREPARE_BUF takes no request"),
            Self::NoRequest { fd } => write!(f, "fd {fd} is no media request of the device"),
            Self::NoDmaBuf { plane, fd } => write!(f, "fd {fd} of plane {plane} is no dma-buf"),
            Self::LengthBelowSetup {
                plane,
                wanted,
                found,
            } => {
                write!(f, "plane {plane} needs {wanted} bytes, has {found}")
            }
            Self::PayloadAboveLength {
                plane,
                wanted,
                found,
            } => {
                write!(f, "payload {wanted} in plane {plane} of {found} bytes")
            }
            Self::DataOffset {
                plane,
                offset,
                payload,
            } => {
                write!(
                    f,
                    "data offset {offset} in {payload} bytes of plane {plane}"
                )
            }
            Self::FieldAlternate => f.write_str("field ALTERNATE on an OUTPUT queue"),
            Self::NotStreaming => f.write_str("the queue is not streaming"),
            Self::TooFewBuffers { wanted, found } => {
                write!(f, "{wanted} buffers needed, {found} there")
            }
            Self::NotMmap => f.write_str("the buffers are no MMAP buffers"),
            Self::MapAccess => f.write_str("mapping not shared or without the needed access"),
            Self::Cookie { cookie } => write!(f, "no plane at offset {cookie:#x}"),
            Self::MapLength { wanted, found } => {
                write!(f, "mapping of {wanted} bytes on a plane of {found}")
            }
            Self::FileIoNotOffered => f.write_str("read() or write() is not offered"),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy(b) => b.fmt(f),
            Self::Invalid(i) => i.fmt(f),
            Self::Config(c) => c.fmt(f),
            Self::WouldBlock => f.write_str("no buffer is done yet"),
            Self::QueueError => f.write_str("the device has failed"),
            Self::LastBuffer => f.write_str("the last buffer has been dequeued"),
            Self::RequestUnsupported => f.write_str("media requests are not supported"),
            Self::RequestRequired => f.write_str("buffers are queued by media requests only"),
            Self::RequestEmpty => f.write_str("the media request has no buffer"),
            Self::QueueFull { max } => write!(f, "the queue has all its {max} buffers"),
            Self::NoMemory { wanted, found, .. } => {
                write!(f, "{wanted} needed, {found} could be allocated")
            }
            Self::TooManyForFileIo { wanted, max } => {
                write!(
                    f,
                    "{wanted} buffers needed, read() and write() handle {max}"
                )
            }
            Self::Fault => f.write_str("the program's memory is not accessible"),
            Self::Plane(e) => e.fmt(f),
            Self::Driver(e) => e.fmt(f),
        }
    }
}

impl core::error::Error for Error {}

impl fmt::Display for Stale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the buffer is no longer the device's")
    }
}

impl core::error::Error for Stale {}
