//! Errors of calls on a card, each with the values that caused it.

use thiserror::Error as ThisError;
use vb3_frontend::Errno;

/// Why a call on a card fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ThisError)]
#[non_exhaustive]
pub enum Error {
    /// ENOENT: there is no object with this id, or the file may not see it.
    #[error("there is no {0} {1}")]
    NoObject(&'static str, u64),
    /// EINVAL: a value that the call does not allow.
    #[error("{0}: {1:#x} is not allowed")]
    Invalid(&'static str, u64),
    /// EINVAL: a number of bytes or pixels below the minimum.
    #[error("{what}: found {found}, but at least {wanted} is needed")]
    TooSmall {
        /// The quantity.
        what: &'static str,
        /// Its value.
        found: u64,
        /// The minimum.
        wanted: u64,
    },
    /// ENOSPC: a rectangle that exceeds its framebuffer.
    #[error("{what}: ends at pixel {found}, but the framebuffer ends at {limit}")]
    Outside {
        /// The rectangle's edge.
        what: &'static str,
        /// Where the rectangle ends, in pixels.
        found: u64,
        /// Where the framebuffer ends, in pixels.
        limit: u64,
    },
    /// ENOSPC: an object that a lease names twice.
    #[error("the list of a lease names object {0} twice; name each object once")]
    Twice(u32),
    /// ERANGE: a value that does not fit, or a plane that would have to scale.
    #[error("{0}: {1} is out of range")]
    Range(&'static str, i64),
    /// EACCES: the file is not the card's master.
    #[error("the file is not the card's master; call SET_MASTER first")]
    NotMaster,
    /// EACCES: the file lacks a right.
    #[error("{0}")]
    NoAccess(&'static str),
    /// EPERM: the object belongs to another file.
    #[error("{0} belongs to another file")]
    NotOwner(&'static str),
    /// EBUSY: an earlier call is not finished, or another file has the object.
    #[error("{0}")]
    Busy(&'static str),
    /// ENOMEM: a table is full, at this many entries.
    #[error("{0}: the call would exceed the limit of {1}")]
    Full(&'static str, u64),
    /// EOPNOTSUPP: the card lacks the feature.
    #[error("the card has no {0}")]
    Unsupported(&'static str),
    /// ENOSYS: the driver lacks the function.
    #[error("the driver has no {0}")]
    NoFunction(&'static str),
    /// ENOTTY: not an ioctl of DRM.
    #[error("{0:#x} is no ioctl of DRM")]
    NotTty(u32),
    /// EAGAIN: a nonblocking read found no event.
    #[error("there is no event to read; poll the file before a nonblocking read")]
    Again,
    /// The host's errno: memory, descriptors, or the program's memory. The host knows the reason.
    #[error("the host, which has the memory and the descriptors, failed with errno {}", .0.0)]
    Host(Errno),
}

impl From<Errno> for Error {
    fn from(errno: Errno) -> Self {
        Self::Host(errno)
    }
}

impl Error {
    /// Returns Linux's errno, positive.
    #[must_use]
    pub const fn errno(self) -> i32 {
        match self {
            Self::NoObject(..) => 2,
            Self::Invalid(..) | Self::TooSmall { .. } => 22,
            Self::Outside { .. } | Self::Twice(_) => 28,
            Self::Range(..) => 34,
            Self::NotMaster | Self::NoAccess(_) => 13,
            Self::NotOwner(_) => 1,
            Self::Busy(_) => 16,
            Self::Full(..) => 12,
            Self::Unsupported(_) => 95,
            Self::NoFunction(_) => 38,
            Self::NotTty(_) => 25,
            Self::Again => 11,
            Self::Host(errno) => errno.0,
        }
    }
}
