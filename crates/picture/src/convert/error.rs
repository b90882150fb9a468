//! Errors of conversions.

use crate::Rect;
use vb3_v4l2::FourCc;

/// The reason why a picture cannot be converted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConvertError {
    /// The pixel format is not supported.
    Format(FourCc),
    /// The number of planes given is not the format's.
    Planes {
        /// Number of planes of the format.
        wanted: usize,
        /// Number of planes given.
        found: usize,
    },
    /// A stride is shorter than a line or longer than the limit.
    Stride {
        /// Plane index.
        plane: usize,
        /// Bytes of a line's samples.
        wanted: usize,
        /// Stride given, in bytes.
        found: usize,
    },
    /// A plane is too short for its lines.
    Short {
        /// Plane index.
        plane: usize,
        /// Bytes needed.
        wanted: usize,
        /// Bytes present.
        found: usize,
    },
    /// The crop rectangle is odd, empty, or not inside the source.
    Crop(Rect),
    /// The compose rectangle is odd, empty, or not inside the target.
    Compose(Rect),
    /// There is no memory for an intermediate picture.
    NoMemory {
        /// Bytes requested.
        bytes: usize,
    },
    /// A library refused input that passed all checks.
    Refused(Step),
}

/// The step in which a library refused its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Scaling.
    Scale,
    /// Colour conversion.
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

impl std::fmt::Display for ConvertError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let rect = |r: &Rect| format!("{}x{} at {},{}", r.width, r.height, r.x, r.y);
        match self {
            Self::Format(format) => write!(f, "pictures of {format} are not converted"),
            Self::Planes { wanted, found } => write!(f, "{found} planes for a format of {wanted}"),
            Self::Stride {
                plane,
                wanted,
                found,
            } => write!(
                f,
                "plane {plane}: lines of {wanted} bytes, {found} bytes apart"
            ),
            Self::Short {
                plane,
                wanted,
                found,
            } => write!(f, "plane {plane}: {found} bytes where {wanted} are needed"),
            Self::Crop(r) => write!(f, "the crop rectangle {} does not fit", rect(r)),
            Self::Compose(r) => write!(f, "the compose rectangle {} does not fit", rect(r)),
            Self::NoMemory { bytes } => write!(f, "no memory for {bytes} bytes"),
            Self::Refused(Step::Scale) => f.write_str("the scaling library refused"),
            Self::Refused(Step::Color) => f.write_str("the colour library refused"),
        }
    }
}

impl std::error::Error for ConvertError {}
