//! The crate's error type, and its errno.

use thiserror::Error;
use vb3_frontend::Errno;
use vb3_plane::Reason;
use vb3_queue::DriverError;

/// Why a call was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Error {
    /// EINVAL: an argument is invalid for this device.
    #[error("an argument is not valid for this device")]
    Invalid,
    /// EFAULT: the program's memory at `addr` is not readable or not writable.
    #[error("the program's memory at {addr:#x} is not readable, or not writable")]
    Fault {
        /// First byte.
        addr: u64,
    },
    /// ENOTTY: the device does not support the call.
    #[error("the device does not support this call")]
    NotTty,
    /// EBUSY: another file owns the queue, or buffers or streaming prevent the call.
    #[error(
        "another file owns the queue, or buffers or streaming prevent the call; end the stream (STREAMOFF) \
         and release the buffers (REQBUFS with count 0)"
    )]
    Busy,
    /// EACCES: a control is read-only or write-only.
    #[error("control {id:#x} is read-only or write-only; its flags in QUERYCTRL say which")]
    Access {
        /// The control's id (`V4L2_CID_*`).
        id: u32,
    },
    /// ERANGE: a control's value is out of its range.
    #[error("{wanted} is out of range for control {id:#x}; QUERYCTRL returns the range")]
    Range {
        /// The control's id (`V4L2_CID_*`).
        id: u32,
        /// The requested value.
        wanted: i64,
    },
    /// ENOSPC: the array or text of a control does not fit.
    #[error(
        "a value or an element of a list needs {needed} bytes, and the program gives less room"
    )]
    NoSpace {
        /// Bytes needed.
        needed: u32,
    },
    /// ENOMEM: the limit of event subscriptions or media requests is reached, or a request lacks controls.
    #[error(
        "too many event subscriptions or media requests: end some of them; or a media request lacks \
         the controls that the call needs"
    )]
    Full,
    /// ENOENT: there is no event, and the caller does not wait.
    #[error("no event is pending, and the call does not wait; poll for POLLPRI first")]
    NoEvent,
    /// EACCES: the media request is not complete, so it has no results yet.
    #[error("the media request is not complete; poll its descriptor first")]
    RequestIncomplete,
    /// EPERM: a memory-to-memory device accepts requests only at OUTPUT.
    #[error("this device accepts media requests only in its OUTPUT queue")]
    NotPermitted,
    /// EMFILE: too many files are open.
    #[error("too many files of this device are open; close some of them")]
    TooManyFiles,
    /// EBADF: no such file.
    #[error("the device has no such open file or media request")]
    NoFile,
    /// The queue refused the call.
    #[error(transparent)]
    Queue(#[from] vb3_queue::Error),
    /// The driver refused the call.
    #[error(transparent)]
    Driver(#[from] DriverError),
    /// A service of the host failed.
    #[error("a service of the host failed with errno {}", .0.0)]
    Host(Errno),
}

impl Error {
    /// The Linux errno, positive.
    #[must_use]
    pub const fn errno(self) -> i32 {
        match self {
            Self::Invalid => 22,
            Self::Fault { .. } => 14,
            Self::NotTty => 25,
            Self::Busy => 16,
            Self::Access { .. } => 13,
            Self::Range { .. } => 34,
            Self::NoSpace { .. } => 28,
            Self::Full => 12,
            Self::NoEvent => 2,
            Self::RequestIncomplete => 13,
            Self::NotPermitted => 1,
            Self::TooManyFiles => 24,
            Self::NoFile => 9,
            Self::Queue(e) => e.errno(),
            Self::Driver(e) => e.errno(),
            Self::Host(Errno(errno)) => errno,
        }
    }

    /// Returns the constraint that caused the refusal, if any.
    #[must_use]
    pub const fn reason(self) -> Option<Reason> {
        match self {
            Self::Queue(e) => e.reason(),
            _ => None,
        }
    }
}

impl From<Errno> for Error {
    fn from(e: Errno) -> Self {
        Self::Host(e)
    }
}
