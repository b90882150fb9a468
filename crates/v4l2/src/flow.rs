//! The direction of a queue.

/// The direction of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Flow {
    /// From the device to the program.
    Capture,
    /// From the program to the device.
    Output,
}

impl Flow {
    /// Returns the opposite direction.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Capture => Self::Output,
            Self::Output => Self::Capture,
        }
    }
}
