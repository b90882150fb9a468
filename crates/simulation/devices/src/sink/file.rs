//! What all files of pictures have in common.

use crate::Failure;
use vb3_picture::{Color, Frame, Size};
use vb3_v4l2::{Fraction, PixelFormat};

/// The shape and rate of the next pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// The pixel format.
    pub format: &'static PixelFormat,
    /// Width and height.
    pub size: Size,
    /// Seconds per frame.
    pub interval: Fraction,
    /// The encoding of Y'CbCr.
    pub color: Color,
}

/// Counters of a recording so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Number of pictures shown.
    pub shown: u64,
    /// Number of pictures written. Without a recording, this is the number shown.
    pub written: u64,
    /// Number of pictures that could not be written.
    pub lost: u64,
    /// The reason why the first picture was lost.
    pub failure: Option<Failure>,
}

/// A file of pictures, or several. A separate thread calls it.
pub(super) trait PictureFile: Send {
    /// Sets the shape of the next pictures.
    fn begin(&mut self, _: Shape) -> Result<(), Failure> {
        Ok(())
    }
    /// Writes a picture. If this fails, the file is as before.
    fn write(&mut self, frame: &Frame) -> Result<(), Failure>;
    /// Ends the recording of a run that has begun.
    fn end(&mut self) {}
}
