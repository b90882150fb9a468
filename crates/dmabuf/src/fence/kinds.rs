//! The words: who, what, how far.

use vb3_dma::Direction;

/// Who ends a fence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Owner<D> {
    /// A device, when it has finished with a buffer.
    Device(D),
    /// A program, by its timeline's number.
    Program(u64),
    /// Another driver. This crate only knows whether its work has ended.
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

    /// Whether an access of this kind has to wait for one of kind `other`: readers for writers,
    /// writers for all.
    #[must_use]
    pub const fn waits_for(self, other: Self) -> bool {
        matches!((self, other), (Self::Write, _) | (_, Self::Write))
    }
}

/// How the work behind a fence ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FenceOutcome {
    /// As it should.
    Done,
    /// With this errno, positive.
    Failed(i32),
}

/// How far a fence is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// The work continues.
    Pending,
    /// It has ended.
    Ended {
        /// How.
        outcome: FenceOutcome,
        /// When, host's clock.
        at_ns: u64,
    },
}
