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
    #[error("invalid argument")]
    Invalid,
    /// EFAULT: the program's memory at `addr` is not readable or not writable.
    #[error("bad address {addr:#x}")]
    Fault {
        /// First byte.
        addr: u64,
    },
    /// ENOTTY: the device does not support the call.
    #[error("call not offered by this device")]
    NotTty,
    /// EBUSY: another file owns the queue, or buffers or streaming prevent the call.
    #[error("device or queue busy")]
    Busy,
    /// EACCES: a control is read-only or write-only.
    #[error("control {id:#x} cannot be accessed this way")]
    Access {
        /// The control's id (`V4L2_CID_*`).
        id: u32,
    },
    /// ERANGE: a control's value is out of its range.
    #[error("{wanted} is out of range for control {id:#x}")]
    Range {
        /// The control's id (`V4L2_CID_*`).
        id: u32,
        /// The requested value.
        wanted: i64,
    },
    /// ENOSPC: the array or text of a control does not fit.
    #[error("the control's value needs {needed} bytes")]
    NoSpace {
        /// Bytes needed.
        needed: u32,
    },
    /// ENOMEM: the limit of event subscriptions or media requests is reached, or a request lacks controls.
    #[error("too many event subscriptions or media requests, or a request without controls")]
    Full,
    /// ENOENT: there is no event, and the caller does not wait.
    #[error("no event pending")]
    NoEvent,
    /// EACCES: the media request is not complete, so it has no results yet.
    #[error("the media request is not complete")]
    RequestIncomplete,
    /// EPERM: a memory-to-memory device accepts requests only at OUTPUT.
    #[error("requests are for the OUTPUT queue")]
    NotPermitted,
    /// EMFILE: too many files are open.
    #[error("too many open files")]
    TooManyFiles,
    /// EBADF: no such file.
    #[error("no such file")]
    NoFile,
    /// The queue refused the call.
    #[error(transparent)]
    Queue(#[from] vb3_queue::Error),
    /// The driver refused the call.
    #[error(transparent)]
    Driver(#[from] DriverError),
    /// A service of the host failed.
    #[error("host error, errno {}", .0.0)]
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
            Self::Driver(DriverError(errno)) | Self::Host(Errno(errno)) => errno,
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
