//! The crate's error type, and its errno.

use core::fmt;
use vb3_plane::Reason;
use vb3_queue::DriverError;

/// A Linux errno, positive, with which a service of the host failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Errno(pub i32);

impl Errno {
    /// No such descriptor.
    pub const EBADF: Self = Self(9);
    /// Bad address.
    pub const EFAULT: Self = Self(14);
    /// Invalid argument.
    pub const EINVAL: Self = Self(22);
    /// The process has no room for another descriptor.
    pub const EMFILE: Self = Self(24);
}

/// Why a call was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// EINVAL: an argument is invalid for this device.
    Invalid,
    /// EFAULT: the program's memory at `addr` is not readable or not writable.
    Fault {
        /// First byte.
        addr: u64,
    },
    /// ENOTTY: the device does not support the call.
    NotTty,
    /// EBUSY: another file owns the queue, or buffers or streaming prevent the call.
    Busy,
    /// EACCES: a control is read-only or write-only.
    Access {
        /// The control.
        id: u32,
    },
    /// ERANGE: a control's value is out of its range.
    Range {
        /// The control.
        id: u32,
        /// The value asked for.
        wanted: i64,
    },
    /// ENOSPC: the array or text of a control does not fit.
    NoSpace {
        /// Bytes needed.
        needed: u32,
    },
    /// ENOMEM: the limit of event subscriptions or media requests is reached, or a request lacks controls.
    Full,
    /// ENOENT: there is no event, and the caller does not wait.
    NoEvent,
    /// EACCES: the media request is not complete, so it has no results yet.
    RequestIncomplete,
    /// EPERM: a memory-to-memory device accepts requests only at OUTPUT.
    NotPermitted,
    /// EMFILE: too many files are open.
    TooManyFiles,
    /// EBADF: no such file.
    NoFile,
    /// The queue refused the call.
    Queue(vb3_queue::Error),
    /// The driver refused the call.
    Driver(DriverError),
    /// A service of the host failed.
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

impl From<vb3_queue::Error> for Error {
    fn from(e: vb3_queue::Error) -> Self {
        Self::Queue(e)
    }
}

impl From<DriverError> for Error {
    fn from(e: DriverError) -> Self {
        Self::Driver(e)
    }
}

impl From<Errno> for Error {
    fn from(e: Errno) -> Self {
        Self::Host(e)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid => f.write_str("invalid argument"),
            Self::Fault { addr } => write!(f, "bad address {addr:#x}"),
            Self::NotTty => f.write_str("call not offered by this device"),
            Self::Busy => f.write_str("device or queue busy"),
            Self::Access { id } => write!(f, "control {id:#x} cannot be accessed this way"),
            Self::Range { id, wanted } => write!(f, "{wanted} is out of range for control {id:#x}"),
            Self::NoSpace { needed } => write!(f, "{needed} bytes are needed"),
            Self::Full => f.write_str("a table is full"),
            Self::NoEvent => f.write_str("no event pending"),
            Self::RequestIncomplete => f.write_str("the media request is not complete"),
            Self::NotPermitted => f.write_str("requests are for the OUTPUT queue"),
            Self::TooManyFiles => f.write_str("too many open files"),
            Self::NoFile => f.write_str("no such file"),
            Self::Queue(e) => e.fmt(f),
            Self::Driver(e) => e.fmt(f),
            Self::Host(Errno(errno)) => write!(f, "host error, errno {errno}"),
        }
    }
}

impl core::error::Error for Error {}
