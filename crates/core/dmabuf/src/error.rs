//! The error type of sharing, with the numbers that explain a refusal.

use core::fmt;
use vb3_dma::{Constraint, Reason};

/// Why a call on shared memory failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Error {
    /// EINVAL: an argument is not allowed, or names an object that does not exist.
    Invalid,
    /// EBUSY: the attachment is mapped in a direction that excludes the requested one, or a count is at its maximum.
    Busy,
    /// EINVAL: the memory has not been placed yet.
    Unplaced,
    /// EBUSY: the memory cannot be moved: a device uses it, or a device that does not follow moves has it
    /// mapped.
    Pinned,
    /// ENODEV: the exporter has taken the memory back.
    Revoked,
    /// EIO: an unmap failed, so a device may still reach the memory. No other device may use the memory.
    Quarantined,
    /// ENOMEM: a table of the host is full.
    TableFull {
        /// Number of entries in the table.
        entries: u64,
    },
    /// The error of the DMA layer.
    Dma(vb3_dma::Error),
}

impl Error {
    /// Returns the error of a full table.
    pub(crate) fn table_full(entries: impl TryInto<u64>) -> Self {
        let entries = entries.try_into().unwrap_or(u64::MAX);
        Self::TableFull { entries }
    }

    /// Returns the Linux errno, positive.
    #[must_use]
    pub const fn errno(self) -> i32 {
        match self {
            Self::Invalid | Self::Unplaced => 22,
            Self::Busy | Self::Pinned => 16,
            Self::Revoked => 19,
            Self::Quarantined => 5,
            Self::TableFull { .. } => 12,
            Self::Dma(e) => e.errno(),
        }
    }

    /// Returns the constraint that caused the failure; `None` for other causes.
    #[must_use]
    pub const fn reason(self) -> Option<Reason> {
        match self {
            Self::Dma(e) => e.reason(),
            Self::Revoked => Some(Reason::new(Constraint::Revoked, 1, 0)),
            _ => None,
        }
    }
}

impl From<vb3_dma::Error> for Error {
    fn from(e: vb3_dma::Error) -> Self {
        Self::Dma(e)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid => {
                f.write_str("an argument is not allowed, or names an object that does not exist")
            }
            Self::Busy => f.write_str(
                "the attachment is mapped in a direction that excludes the requested one, or a \
                 count is at its maximum",
            ),
            Self::Unplaced => f.write_str("the memory has not been placed yet"),
            Self::Pinned => f.write_str("the memory cannot be moved while a device uses it"),
            Self::Revoked => f.write_str("the exporter has taken the memory back"),
            Self::Quarantined => {
                f.write_str("a device may still reach the memory, because an unmap failed")
            }
            Self::TableFull { entries } => {
                write!(
                    f,
                    "a table of the host is full: it has all its {entries} entries"
                )
            }
            Self::Dma(e) => e.fmt(f),
        }
    }
}

impl core::error::Error for Error {}
