//! Errors of conversions.

use crate::Rect;
use thiserror::Error;
use vb3_v4l2::FourCc;

/// The reason why a picture cannot be converted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ConvertError {
    /// The pixel format is not supported.
    #[error("pictures in the format {0} cannot be converted; choose another pixel format")]
    Format(FourCc),
    /// The number of given planes is not that of the format.
    #[error("{found} planes were given, but the format has {wanted}; give each plane once")]
    Planes {
        /// Number of planes of the format.
        wanted: usize,
        /// Number of given planes.
        found: usize,
    },
    /// A stride is shorter than a line or longer than the limit.
    #[error("plane {plane}: the stride is {found} bytes; it must be {wanted} bytes to 16 MiB")]
    Stride {
        /// Plane index.
        plane: usize,
        /// Bytes of a line's samples.
        wanted: usize,
        /// The given stride, in bytes.
        found: usize,
    },
    /// A plane is too short for its lines.
    #[error("plane {plane} has {found} bytes, but needs {wanted}")]
    Short {
        /// Plane index.
        plane: usize,
        /// Bytes needed.
        wanted: usize,
        /// Bytes present.
        found: usize,
    },
    /// The crop rectangle is odd, empty, or not inside the source.
    #[error(
        "the crop rectangle {}x{} at {},{} is not allowed: position and size must be even, and the rectangle \
         must not be empty and must lie in the source",
        .0.width, .0.height, .0.x, .0.y
    )]
    Crop(Rect),
    /// The compose rectangle is odd, empty, or not inside the target.
    #[error(
        "the compose rectangle {}x{} at {},{} is not allowed: position and size must be even, and the rectangle \
         must not be empty and must lie in the target",
        .0.width, .0.height, .0.x, .0.y
    )]
    Compose(Rect),
    /// There is no memory for an intermediate picture.
    #[error("no memory for an intermediate picture of {bytes} bytes; convert smaller pictures")]
    NoMemory {
        /// Bytes requested.
        bytes: usize,
    },
    /// A library refused input that passed all checks.
    #[error(
        "the library for {0} refused the picture, although its format, size and planes are allowed"
    )]
    Refused(Step),
}

/// The step in which a library refused its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Step {
    /// Scaling.
    #[error("scaling")]
    Scale,
    /// Colour conversion.
    #[error("colour conversion")]
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
