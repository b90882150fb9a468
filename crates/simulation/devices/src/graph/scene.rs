//! The frames that a graph's video node receives.

use crate::surface::{LentTarget, STRIPE};
use std::ops::Range;
use vb3_v4l2::MediaGraph;

/// Renders the frames that reach a video node.
pub(super) trait Scene: Send {
    /// Begins frame `sequence`, with the current values of controls.
    fn begin(&mut self, sequence: u32, graph: &MediaGraph);

    /// Returns the time from this frame to the next in nanoseconds, if the sensor determines it.
    fn frame_ns(&self) -> Option<u64> {
        None
    }

    /// Paints the picture that the sensor sees in this frame.
    fn paint(&mut self);

    /// Renders lines of the painted frame and appends their bytes to `out`.
    fn render(&self, lines: Range<u32>, out: &mut Vec<u8>);
}

/// A frame to render.
pub(super) struct Rendering {
    pub(super) scene: Box<dyn Scene>,
    /// Lines of the frame, and bytes of a line without padding.
    pub(super) lines: (u32, usize),
    /// The rendered lines. If the thread writes the lines to `buffer`, this field has only the lines
    /// of the latest stripe (the lines that the thread renders in one step).
    pub(super) picture: Vec<u8>,
    /// The buffer that gets the frame; `None` if the device writes `picture` to it.
    pub(super) buffer: Option<LentTarget>,
    /// Whether the frame was rendered, and written if `buffer` is set.
    pub(super) done: bool,
}

impl Rendering {
    /// Renders the frame. `done` then tells whether this succeeded.
    pub(super) fn run(&mut self) {
        self.scene.paint();
        let (lines, line_bytes) = self.lines;
        let stripe = match self.buffer {
            Some(_) => (STRIPE / line_bytes.max(1)).max(1),
            None => usize::MAX,
        };
        let stripe = u32::try_from(stripe).unwrap_or(u32::MAX);
        self.done = true;
        let mut first = 0;
        while self.done && first < lines {
            let end = first.saturating_add(stripe).min(lines);
            self.picture.clear();
            self.scene.render(first..end, &mut self.picture);
            if let Some(buffer) = &self.buffer {
                // CAST: widening, on every target there is.
                self.done = buffer.write(0, first as usize, &self.picture);
            }
            first = end;
        }
    }
}
