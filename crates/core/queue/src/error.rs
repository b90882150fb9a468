//! The error type of a queue's calls, with the numbers that explain a refusal.

use crate::{Memory, RequestState};
use core::fmt;
use vb3_plane::{Constraint, PlaneError, Reason};

/// Another activity that prevents a call for now (EBUSY).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
#[allow(
    missing_docs,
    reason = "the errors' texts explain the fields: indices, numbers of buffers or planes, and bytes"
)]
pub enum Busy {
    /// read() or write() emulation uses the queue.
    #[error("read() or write() uses the queue")]
    FileIo,
    /// The queue streams.
    #[error("the queue is streaming")]
    Streaming,
    /// Another caller waits in DQBUF, read() or write().
    #[error("another caller waits for a buffer")]
    Waiting,
    /// The queue has buffers, so read() and write() cannot start.
    #[error("the queue has buffers already")]
    HasBuffers,
    /// read() and write() work on buffers of one plane only; the buffers have `planes`.
    #[error("read() and write() need one plane, the format has {planes}")]
    SeveralPlanes { planes: u32 },
    /// A streaming queue keeps its memory model, even when all its buffers have been removed.
    #[error("the streaming queue keeps {found:?} memory, wanted {wanted:?}")]
    ModelFixed { wanted: Memory, found: Memory },
    /// The program does not own the buffer, so it cannot be removed.
    #[error("buffer {index} is queued or in a media request")]
    BufferOwned { index: u32 },
    /// Buffers were queued directly. Requests cannot queue buffers until the queue is cancelled.
    #[error("buffers were queued without media requests; STREAMOFF lifts this limit")]
    UsesQbuf,
    /// Requests have queued buffers. Buffers cannot be queued directly until the queue is cancelled.
    #[error("buffers were queued by media requests; STREAMOFF lifts this limit")]
    UsesRequests,
    /// The media request is queued or complete.
    #[error("the media request is {state:?}")]
    Request { state: RequestState },
    /// The media request already has a buffer of this queue.
    #[error("the media request has buffer {index} of this queue already")]
    RequestHasBuffer { index: u32 },
}

/// A wrong argument or configuration, or a call in the wrong state (EINVAL).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
#[allow(
    missing_docs,
    reason = "the errors' texts explain the fields: indices, numbers of buffers or planes, and bytes"
)]
pub enum Invalid {
    /// The queue does not offer this memory model.
    #[error("the queue does not offer {wanted:?} memory")]
    ModelNotOffered { wanted: Memory },
    /// The buffers have another memory model; `found` is `None` without buffers.
    #[error(fmt = mismatch)]
    ModelMismatch {
        wanted: Memory,
        found: Option<Memory>,
    },
    /// The buffers have another coherency.
    #[error("the queue's buffers have another coherency than requested")]
    CoherencyMismatch,
    /// The queue has no buffer with this index.
    #[error("no buffer {index}: the queue has {buffers}")]
    Index { index: u32, buffers: u32 },
    /// A buffer is missing in the range, or the range exceeds the queue.
    #[error("no {count} buffers from index {first} on: the queue has {buffers}")]
    Range {
        first: u32,
        count: u32,
        buffers: u32,
    },
    /// The buffer has no such plane, or the caller passed too few planes. `given` is the plane's index, or the
    /// number of planes that the caller passed or has space for.
    #[error(
        "plane index or plane count {given} does not fit this buffer: \
         an index must be below {planes}, a count at least {planes}"
    )]
    Planes { given: u32, planes: u32 },
    /// No plane, too many planes, or a size of zero.
    #[error("no plane, too many planes, or a size of zero")]
    PlaneSizes,
    /// A plane's source does not match the queue's memory model.
    #[error("the source of plane {plane} does not match the queue's memory model")]
    Source { plane: u32 },
    /// The buffer is in a state that excludes this call (already queued or prepared).
    #[error("buffer {index} is queued or prepared already")]
    State { index: u32 },
    /// The buffer names a media request. Only [`qbuf_in_request`](crate::Session::qbuf_in_request) accepts it.
    #[error("this call takes no media request")]
    Request,
    /// The file descriptor is not a media request of the device.
    #[error("fd {fd} is no media request of the device")]
    NoRequest { fd: i32 },
    /// The file descriptor is not a dma-buf.
    #[error("fd {fd} of plane {plane} is no dma-buf")]
    NoDmaBuf { plane: u32, fd: i32 },
    /// A plane is smaller than the format needs, in bytes.
    #[error("plane {plane} needs {wanted} bytes, has {found}")]
    LengthBelowSetup { plane: u32, wanted: u64, found: u64 },
    /// The payload is longer than the plane.
    #[error("the payload of {wanted} bytes exceeds plane {plane} of {found} bytes")]
    PayloadAboveLength { plane: u32, wanted: u64, found: u64 },
    /// The data would begin at or after the end of the payload, in bytes.
    #[error("data offset {offset} is not below the payload of {payload} bytes in plane {plane}")]
    DataOffset {
        plane: u32,
        offset: u64,
        payload: u64,
    },
    /// OUTPUT buffers cannot have the field order ALTERNATE.
    #[error("an OUTPUT queue does not accept field ALTERNATE")]
    FieldAlternate,
    /// The queue does not stream.
    #[error("the queue is not streaming")]
    NotStreaming,
    /// A driver's token is no longer valid: the buffer went back to the program, or its memory was freed.
    #[error("the device no longer owns the buffer")]
    Stale,
    /// Too few buffers to stream.
    #[error("streaming needs {wanted} buffers, the queue has {found}")]
    TooFewBuffers { wanted: u32, found: u32 },
    /// Only allocated (MMAP) buffers can be exported or mapped.
    #[error("only MMAP buffers can be mapped or exported")]
    NotMmap,
    /// The mapping is not shared, or lacks the access that the queue's direction needs.
    #[error("a mapping must be shared, and readable (CAPTURE) or writable (OUTPUT)")]
    MapAccess,
    /// No plane has this mmap offset.
    #[error("no plane at offset {cookie:#x}")]
    Cookie { cookie: u64 },
    /// The mapping is longer than the plane in whole pages.
    #[error("a mapping of {wanted} bytes does not fit the plane of {found} bytes")]
    MapLength { wanted: u64, found: u64 },
    /// The queue does not offer read() or write().
    #[error("the queue does not offer read() or write()")]
    FileIoNotOffered,
    /// Configuration: no memory model is offered.
    #[error("the configuration offers no memory model")]
    NoMemoryModel,
    /// Configuration: the page size is not supported.
    #[error("page shift {shift} is not in 12 to 16")]
    PageShift { shift: u32 },
    /// Configuration: `max_num_buffers` is out of range.
    #[error("limit of {max} buffers is not in {least} to {most}")]
    MaxBuffers { max: u32, least: u32, most: u32 },
    /// Configuration: media requests are allowed, but a minimum number of buffers must be queued before the
    /// driver starts.
    #[error(
        "media requests are allowed, but {min} buffers must be queued before the driver starts"
    )]
    RequestsWithMinBuffers { min: u32 },
    /// Configuration: the queue needs more buffers than it may have.
    #[error("the queue needs {min} buffers, but may have only {max}")]
    MinBuffers { min: u32, max: u32 },
}

macro_rules! errnos {
    ($($(#[$doc:meta])* $name:ident = $errno:literal,)*) => {
        /// Errno of a driver's error, which the queue returns to its caller.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum DriverError {
            $($(#[$doc])* $name,)*
            /// Another errno of Linux. `DriverError::from` makes this variant only for an errno from 1 to 4095 that
            /// has no variant of its own.
            Other(i32),
        }

        impl DriverError {
            /// Returns the Linux errno, positive. A value of `Other` that is no errno becomes EIO, because it must not
            /// look like success.
            #[must_use]
            pub const fn errno(self) -> i32 {
                match self {
                    $(Self::$name => $errno,)*
                    Self::Other(errno @ 1..=4095) => errno,
                    Self::Other(_) => 5,
                }
            }
        }

        impl From<i32> for DriverError {
            /// Converts a positive errno of Linux. Another number becomes EIO.
            fn from(errno: i32) -> Self {
                match errno {
                    $($errno => Self::$name,)*
                    1..=4095 => Self::Other(errno),
                    _ => Self::EIO,
                }
            }
        }
    };
}

errnos! {
    /// The device failed.
    EIO = 5,
    /// The device or address does not exist.
    ENXIO = 6,
    /// The argument is too long.
    E2BIG = 7,
    /// Memory is short.
    ENOMEM = 12,
    /// The device is in use.
    EBUSY = 16,
    /// The device is gone.
    ENODEV = 19,
    /// An argument is invalid.
    EINVAL = 22,
    /// The device does not implement the call.
    ENOTTY = 25,
    /// The stream has ended.
    EPIPE = 32,
    /// A value is out of range.
    ERANGE = 34,
    /// A receiver cannot lock to its signal.
    ENOLCK = 37,
    /// No data is available.
    ENODATA = 61,
    /// A receiver has no signal.
    ENOLINK = 67,
}

impl fmt::Display for DriverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the driver failed the call with errno {}", self.errno())
    }
}

impl core::error::Error for DriverError {}

/// Error of a call on a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// EBUSY: another activity prevents the call for now.
    #[error(transparent)]
    Busy(#[from] Busy),
    /// EINVAL: an argument or the configuration is wrong, or the call is not allowed in this state.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// EAGAIN: no buffer is done yet.
    #[error("no buffer is done yet")]
    WouldBlock,
    /// EIO: the device has failed; only STREAMOFF clears the error.
    #[error("the device has failed; STREAMOFF clears the error")]
    QueueError,
    /// EPIPE: the last buffer has been dequeued.
    #[error("the last buffer has been dequeued")]
    LastBuffer,
    /// EBADR: media requests are not supported.
    #[error("media requests are not supported")]
    RequestUnsupported,
    /// EBADR: only media requests may queue buffers.
    #[error("buffers are queued by media requests only")]
    RequestRequired,
    /// ENOENT: the media request has no buffer.
    #[error("the media request has no buffer")]
    RequestEmpty,
    /// ENOBUFS: the queue is full.
    #[error("the queue has all its {max} buffers")]
    QueueFull {
        /// Maximum number of buffers.
        max: u32,
    },
    /// ENOMEM: the necessary buffers, or the queue's own tables, could not be allocated.
    #[error(
        "out of memory: {wanted} buffers (or entries or bytes of a table) needed, {found} could be allocated"
    )]
    NoMemory {
        /// Buffers (or entries or bytes of a table) needed.
        wanted: u64,
        /// Buffers that could be made.
        found: u64,
        /// The error that stopped the allocation.
        cause: Option<Reason>,
    },
    /// ENOSPC: read() and write() cannot handle as many buffers as the driver needs.
    #[error("the driver needs {wanted} buffers, read() and write() handle at most {max}")]
    TooManyForFileIo {
        /// Buffers the driver needs.
        wanted: u32,
        /// Maximum number that emulation handles.
        max: u32,
    },
    /// EFAULT: the program's memory cannot be read or written.
    #[error("the program's memory is not accessible")]
    Fault,
    /// The memory of a plane could not be used. The errno is that of the inner error.
    #[error(transparent)]
    Plane(#[from] PlaneError),
    /// The driver returned an error. The errno is the driver's.
    #[error(transparent)]
    Driver(#[from] DriverError),
}

impl Invalid {
    /// Makes [`Invalid::Planes`] from numbers that fit in 32 bits.
    pub(crate) const fn planes(given: usize, planes: usize) -> Self {
        // CAST: see above.
        let (given, planes) = (given as u32, planes as u32);
        Self::Planes { given, planes }
    }
}

impl Error {
    /// Makes the error of a failed allocation of a table of `wanted` entries or bytes.
    pub(crate) const fn no_memory(wanted: u64) -> Self {
        Self::NoMemory {
            wanted,
            found: 0,
            cause: None,
        }
    }

    /// Returns the Linux errno, positive.
    #[must_use]
    pub const fn errno(self) -> i32 {
        match self {
            Self::Busy(_) => 16,
            Self::Invalid(_) => 22,
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
            Self::Driver(e) => e.errno(),
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

fn mismatch(wanted: &Memory, found: &Option<Memory>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match found {
        Some(found) => write!(f, "the buffers have {found:?} memory, wanted {wanted:?}"),
        None => f.write_str("the queue has no buffers"),
    }
}
