//! The picture that a display showed last, for hosts that ask for it.

use crate::Device;
use std::sync::Arc;
use vb3_picture::Frame;
use vb3_queue::{MAX_PLANES, PlaneView};
use vb3_v4l2::Bus;

/// The planes of a buffer.
pub type BufferPlanes<C> = [Option<PlaneView<C>>; MAX_PLANES];

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

impl<C: 'static> Device<C> {
    /// Returns the picture that a display showed last; `None` for other devices.
    ///
    /// From the first call on, the display reads each picture that it shows.
    pub fn last_shown(&mut self) -> Option<LastShown> {
        let display = self.inner.display()?;
        Some(display.last_shown())
    }

    /// Reads the picture in the planes of a [`LastShown::Buffer`]. The device's counters do not change.
    ///
    /// Returns `None` if the device is not a display, or the memory is gone.
    pub fn read_shown(&mut self, planes: &BufferPlanes<C>, bus: &mut dyn Bus<C>) -> Option<Frame> {
        self.inner.display()?.stream.formats.inspect(planes, bus)
    }
}
