//! The owner, access and status of fences.

use vb3_dma::Direction;

/// The party that ends a fence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Owner<D> {
    /// A device, when it has finished with a buffer.
    Device(D),
    /// A program. The number is that of its timeline.
    Program(u64),
    /// Another driver. This crate only learns when the driver's work has ended.
    Driver,
}

/// The access that a fence protects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Usage {
    /// The memory is being written.
    Write,
    /// The memory is being read.
    Read,
}

impl Usage {
    /// Returns the access of a device to memory with this direction.
    #[must_use]
    pub const fn of(direction: Direction) -> Self {
        match direction {
            Direction::ToDevice => Self::Read,
            Direction::FromDevice | Direction::Bidirectional => Self::Write,
        }
    }

    /// Returns whether an access of this kind must wait for one of kind `other`: readers wait for writers,
    /// writers wait for all accesses.
    #[must_use]
    pub const fn waits_for(self, other: Self) -> bool {
        matches!((self, other), (Self::Write, _) | (_, Self::Write))
    }
}

/// How the work behind a fence ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FenceOutcome {
    /// The work succeeded.
    Done,
    /// The work failed with this errno, positive.
    Failed(i32),
}

/// Whether a fence has ended, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// The work continues.
    Pending,
    /// The work has ended.
    Ended {
        /// Success or failure.
        outcome: FenceOutcome,
        /// When the work ended, by the host's clock.
        at_ns: u64,
    },
}
