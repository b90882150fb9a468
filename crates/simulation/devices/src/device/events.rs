//! Events of a device's streams and frames, for a host that watches the device.

use super::Device;
use vb3_v4l2::{Flow, Progress};

/// An event of a device that a host can watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceEvent {
    /// The device started a stream in this direction.
    Start(Flow),
    /// The device finished a frame without an error.
    Frame {
        /// The frame's queue.
        flow: Flow,
        /// The frame's number in its stream.
        sequence: u32,
        /// When the device captured or finished the frame, in nanoseconds of the host's clock.
        /// `None` if the frame keeps the program's timestamp.
        time_ns: Option<u64>,
    },
}

impl<C> Device<C> {
    /// Begins or stops the recording of events. While events are recorded, the host must call
    /// [`take_events`](Self::take_events) after each tick (a call by the host) and after each call of a
    /// program, because the events pile up otherwise.
    pub fn record_events(&mut self, begins: bool) {
        match begins {
            true => drop(self.events.get_or_insert_default()),
            false => self.events = None,
        }
    }

    /// Returns the events since the last call, oldest first.
    pub fn take_events(&mut self) -> Vec<DeviceEvent> {
        let events = self.events.as_mut();
        events.map(std::mem::take).unwrap_or_default()
    }

    pub(crate) fn record_frames(&mut self, progress: &Progress<C>) {
        let Some(events) = &mut self.events else {
            return;
        };
        let done = progress.finished.iter();
        let done = done.filter(|finished| finished.completion.outcome.is_ok());
        events.extend(done.map(|finished| DeviceEvent::Frame {
            flow: finished.flow,
            sequence: finished.completion.sequence,
            time_ns: finished.completion.timestamp_ns,
        }));
    }
}
