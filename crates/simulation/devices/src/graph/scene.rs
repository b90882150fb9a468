//! The frames that a graph's video node receives.

use std::ops::Range;
use vb3_v4l2::MediaGraph;

/// Renders the frames that reach a video node.
pub(super) trait Scene: Send {
    /// Begins frame `sequence`, with the current values of controls.
    fn begin(&mut self, sequence: u32, graph: &MediaGraph);

    /// Returns how many samples of the sensor are read for a line. One tick reads a limited number of samples.
    fn samples(&self) -> u32;

    /// Returns the time from this frame to the next in nanoseconds, if the sensor determines it.
    fn frame_ns(&self) -> Option<u64> {
        None
    }

    /// Renders lines of the frame and appends their bytes to `out`.
    fn render(&self, lines: Range<u32>, out: &mut Vec<u8>);
}
