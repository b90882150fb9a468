//! The interface of a device to its host, apart from the V4L2 driver.

use crate::hdmi::Hdmi;
use crate::sink::{LastShown, Sink};
use crate::source::NextSource;
use crate::surface::BufferPlanes;
use crate::{Failure, PlayError};
use vb3_picture::Frame;
use vb3_v4l2::{Bus, DriverEvent, VideoDriver};

/// The event that the source has another size (`V4L2_EVENT_SRC_CH_RESOLUTION`).
pub(crate) const RESIZED: DriverEvent = DriverEvent::SourceChange {
    port: 0,
    changes: 1,
};
/// `V4L2_IN_ST_NO_SIGNAL`.
pub(crate) const NO_SIGNAL: u32 = 2;

/// A node's device, as its host sees it. Methods that concern only some kinds of devices do nothing by default.
pub(crate) trait HostedDevice: VideoDriver {
    /// Makes the device work only within ticks (calls by the host) from now on, except for the work of other
    /// processes.
    fn work_at_once(&mut self) {}

    /// Returns the last failure of something outside the device, such as a file.
    fn failure(&self) -> Option<&Failure>;

    /// Returns whether the device waits for its own helper: ffmpeg, a codec process, a converting thread, or
    /// the thread that writes a recording.
    ///
    /// If so, [`wake_fd`](VideoDriver::wake_fd) becomes readable later. A device that waits for the program
    /// is not preparing.
    fn is_preparing(&self) -> bool {
        false
    }

    /// Returns whether the device gives each buffer a frame as soon as the buffer arrives.
    fn is_free(&self) -> bool {
        false
    }

    /// Returns the HDMI input of a camera that has one.
    fn hdmi(&mut self) -> Option<&mut Hdmi> {
        None
    }

    /// Plays another source, as [`Device::play`](crate::Device::play).
    fn play(&mut self, _next: NextSource) -> Result<(), PlayError> {
        Err(PlayError::NoCamera)
    }

    /// Returns whether the next source has a picture, as [`Device::is_next_ready`](crate::Device::is_next_ready).
    fn is_next_ready(&mut self) -> Result<bool, Failure> {
        Ok(true)
    }

    /// Pauses or continues a camera's source. Returns whether the device has a source.
    fn pause(&mut self, _is_paused: bool) -> bool {
        false
    }

    /// Returns whether the device must be unplugged now. Returns true only once.
    fn take_unplug(&mut self) -> bool {
        false
    }

    /// Returns where a display's pictures go.
    fn sink(&mut self) -> Option<&mut Sink> {
        None
    }

    /// Returns the picture that a display showed last. From the first call on, each picture is read.
    fn last_shown(&mut self) -> Option<LastShown> {
        None
    }

    /// Reads the picture in a buffer that a display has already returned. Counts no access.
    fn inspect(
        &self,
        _planes: &BufferPlanes<Self::Cookie>,
        _bus: &mut dyn Bus<Self::Cookie>,
    ) -> Option<Frame> {
        None
    }
}
