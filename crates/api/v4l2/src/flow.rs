//! Directions of queues.

/// The direction of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Flow {
    /// From the device to the program.
    Capture,
    /// From the program to the device.
    Output,
}

impl Flow {
    /// Both directions.
    pub(crate) const ALL: [Self; 2] = [Self::Capture, Self::Output];

    /// Returns the index of the direction in arrays.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Returns the opposite direction.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Capture => Self::Output,
            Self::Output => Self::Capture,
        }
    }
}
