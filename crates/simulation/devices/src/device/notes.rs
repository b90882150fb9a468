//! Notes on a device's streams and frames, for a host that watches the device.

use super::Device;
use vb3_queue::DoneState;
use vb3_v4l2::{Flow, Progress};

/// An event of a device that a host can watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
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
    /// Begins or stops the recording of notes.
    /// While it is on, the host must call [`take_notes`](Self::take_notes) after each tick and each call, or
    /// the notes pile up.
    pub fn take_note(&mut self, begins: bool) {
        match begins {
            true => drop(self.notes.get_or_insert_default()),
            false => self.notes = None,
        }
    }

    /// Returns the notes since the last call, oldest first.
    pub fn take_notes(&mut self) -> Vec<Note> {
        let notes = self.notes.as_mut();
        notes.map(std::mem::take).unwrap_or_default()
    }

    pub(crate) fn note_frames(&mut self, progress: &Progress<C>) {
        let Some(notes) = &mut self.notes else {
            return;
        };
        let done = progress.finished.iter();
        let done = done.filter(|finished| finished.completion.outcome == DoneState::Done);
        notes.extend(done.map(|finished| Note::Frame {
            flow: finished.flow,
            sequence: finished.completion.sequence,
            time_ns: finished.completion.timestamp_ns,
        }));
    }
}
