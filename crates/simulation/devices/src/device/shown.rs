//! The picture that a display showed last, for hosts that ask for it.

use super::Device;
use crate::sink::LastShown;
use crate::surface::BufferPlanes;
use vb3_picture::Frame;
use vb3_v4l2::Bus;

impl<C: 'static> Device<C> {
    /// Returns the picture that a display showed last; `None` for other devices.
    ///
    /// From the first call on, the display reads each picture that it shows.
    pub fn last_shown(&mut self) -> Option<LastShown> {
        self.inner.last_shown()
    }

    /// Reads the picture in the planes of a [`LastShown::Buffer`]. The device's counters do not change.
    ///
    /// Returns `None` if the device is not a display, or the memory is gone.
    pub fn read_shown(&mut self, planes: &BufferPlanes<C>, bus: &mut dyn Bus<C>) -> Option<Frame> {
        self.inner.sink()?;
        self.inner.inspect(planes, bus)
    }
}
