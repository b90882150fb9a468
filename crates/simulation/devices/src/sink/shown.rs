//! The picture that a display showed last.

use std::sync::Arc;
use vb3_picture::Frame;

/// Where the picture that a display showed last is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LastShown {
    /// The display has shown no picture.
    Nothing,
    /// The display has read the picture.
    Picture {
        /// The picture's number in the stream.
        sequence: u32,
        /// The picture.
        frame: Arc<Frame>,
    },
    /// The display has not read the picture. The picture was in this buffer, which the program may use again.
    Buffer {
        /// The picture's number in the stream.
        sequence: u32,
        /// The buffer's index.
        index: u32,
    },
    /// The display has not read the picture, and the program has queued its buffer again.
    Lost,
}
