//! Errors of conversions.

use crate::Rect;
use thiserror::Error;
use vb3_v4l2::FourCc;

/// The reason why a picture cannot be converted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ConvertError {
    /// The pixel format is not supported.
    #[error("pictures of {0} are not converted")]
    Format(FourCc),
    /// The number of planes given is not the format's.
    #[error("{found} planes for a format of {wanted}")]
    Planes {
        /// Number of planes of the format.
        wanted: usize,
        /// Number of planes given.
        found: usize,
    },
    /// A stride is shorter than a line or longer than the limit.
    #[error("plane {plane}: lines of {wanted} bytes, {found} bytes apart")]
    Stride {
        /// Plane index.
        plane: usize,
        /// Bytes of a line's samples.
        wanted: usize,
        /// Stride given, in bytes.
        found: usize,
    },
    /// A plane is too short for its lines.
    #[error("plane {plane}: {found} bytes where {wanted} are needed")]
    Short {
        /// Plane index.
        plane: usize,
        /// Bytes needed.
        wanted: usize,
        /// Bytes present.
        found: usize,
    },
    /// The crop rectangle is odd, empty, or not inside the source.
    #[error("the crop rectangle {}x{} at {},{} does not fit", .0.width, .0.height, .0.x, .0.y)]
    Crop(Rect),
    /// The compose rectangle is odd, empty, or not inside the target.
    #[error("the compose rectangle {}x{} at {},{} does not fit", .0.width, .0.height, .0.x, .0.y)]
    Compose(Rect),
    /// There is no memory for an intermediate picture.
    #[error("no memory for {bytes} bytes")]
    NoMemory {
        /// Bytes requested.
        bytes: usize,
    },
    /// A library refused input that passed all checks.
    #[error("the {0} library refused")]
    Refused(Step),
}

/// The step in which a library refused its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Step {
    /// Scaling.
    #[error("scaling")]
    Scale,
    /// Colour conversion.
    #[error("colour")]
    Color,
}

impl ConvertError {
    /// Returns the positive Linux errno for the program.
    #[must_use]
    pub const fn errno(self) -> i32 {
        match self {
            Self::NoMemory { .. } => 12,
            Self::Refused(_) => 5,
            Self::Format(_)
            | Self::Planes { .. }
            | Self::Stride { .. }
            | Self::Short { .. }
            | Self::Crop(_)
            | Self::Compose(_) => 22,
        }
    }
}
