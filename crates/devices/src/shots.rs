//! What the programs of a run were given to see, for a contact sheet.

use crate::Device;
use crate::mode::matrix_of;
use crate::picture::{Frame, Size};
use crate::sink::Thumbnail;
use crate::surface::{Surface, Trouble};
use vb3_queue::DoneState;
use vb3_v4l2::{Bus, Finished, Flow, Format, Progress, Role, pixfmt};

impl<C: 'static> Device<C> {
    /// Keeps small versions of frames from now on, where the device delivers some.
    pub fn keep_thumbnails(&mut self) {
        if self.inner.role() == Role::Capture {
            self.shots.get_or_insert_default();
        }
    }

    /// Small versions of at most `count` frames, evenly spread over all that a display was shown,
    /// or that a camera has delivered since [`keep_thumbnails`](Self::keep_thumbnails).
    #[must_use]
    pub fn thumbnails(&self, count: usize) -> Vec<Thumbnail> {
        match &self.shots {
            Some(shots) => shots.spread(count),
            None => self.inner.thumbnails(count),
        }
    }

    /// Looks at what goes to the program.
    pub(crate) fn look_at_frames(&mut self, bus: &mut dyn Bus<C>, progress: &Progress<C>) {
        let Some(shots) = &mut self.shots else {
            return;
        };
        let format = self.inner.format(Flow::Capture);
        for finished in &progress.finished {
            if finished.flow == Flow::Capture && finished.completion.outcome == DoneState::Done {
                shots.offer_frame(|| read(&format, finished, bus));
            }
        }
    }
}

/// The picture in a buffer; none of a compressed format, or that does not fill its buffer.
fn read<C>(format: &Format, finished: &Finished<C>, bus: &mut dyn Bus<C>) -> Option<Frame> {
    let pixel = pixfmt::lookup(format.fourcc).filter(|pixel| !pixel.is_compressed())?;
    let mut frame = Frame::new(pixel, Size::new(format.width, format.height)?);
    let token = &finished.token;
    let seen = Surface(format).each_run(token, Flow::Capture, |run| {
        let lines = frame.component_mut(run.component);
        let bytes = lines.get_mut(run.packed).ok_or(Trouble::TooSmall)?;
        let seen = bus.inspect(run.cookie, run.offset, bytes);
        seen.map_err(|_| Trouble::Fault)
    });
    seen.ok()?;
    frame.set_matrix(matrix_of(&format.color));
    Some(frame)
}
