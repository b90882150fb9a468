//! Why a tree was not read.

use core::fmt;

/// Why a tree was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// More bytes than [`MAX_BYTES`](crate::MAX_BYTES).
    TooLarge {
        /// Bytes given.
        bytes: usize,
    },
    /// No flattened device tree, or a damaged one.
    Damaged {
        /// Where, in bytes from the start.
        offset: usize,
    },
    /// Nodes lie deeper than any real tree's.
    TooDeep {
        /// The deepest level taken.
        limit: usize,
    },
    /// More nodes than any real tree's.
    TooManyNodes {
        /// Most nodes taken.
        limit: usize,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::TooLarge { bytes } => write!(
                f,
                "{bytes} bytes are more than a device tree has ({} at most)",
                crate::MAX_BYTES
            ),
            Self::Damaged { offset } => {
                write!(
                    f,
                    "no flattened device tree, or a damaged one (at byte {offset})"
                )
            }
            Self::TooDeep { limit } => write!(f, "its nodes lie more than {limit} levels deep"),
            Self::TooManyNodes { limit } => write!(f, "it has more than {limit} nodes"),
        }
    }
}

impl core::error::Error for Error {}
