//! Frames for a video node of a graph: processed, or raw from the sensor.

use super::develop::Chain;
use super::sensor::Raw;
use std::ops::Range;
use vb3_v4l2::MediaGraph;

/// Renders the frames that reach a video node.
#[derive(Debug)]
pub(super) enum Scene {
    /// Frames that processing entities of the graph have changed.
    Developed(Box<Chain>),
    /// Frames as the sensor sends them.
    Raw(Box<Raw>),
}

impl Scene {
    /// Makes the scene of a path; `None` for a path without a sensor.
    pub(super) fn new(graph: &MediaGraph, path: &[usize]) -> Option<Self> {
        let raw = Raw::new(graph, path).map(|raw| Self::Raw(Box::new(raw)));
        raw.or_else(|| Chain::new(graph, path).map(|chain| Self::Developed(Box::new(chain))))
    }

    /// Begins frame `sequence`, with the current values of controls.
    pub(super) fn begin(&mut self, sequence: u32, graph: &MediaGraph) {
        match self {
            Self::Developed(chain) => chain.begin(sequence, graph),
            Self::Raw(raw) => raw.begin(sequence, graph),
        }
    }

    /// Returns how many samples of the sensor are read for a line. One tick reads a limited number of samples.
    /// For raw frames, returns 1, so that one tick renders a whole frame.
    pub(super) fn samples(&self) -> u32 {
        match self {
            Self::Developed(chain) => chain.samples(),
            Self::Raw(_) => 1,
        }
    }

    /// Returns the time from this frame to the next in nanoseconds, if the sensor determines it.
    pub(super) fn frame_ns(&self) -> Option<u64> {
        match self {
            Self::Developed(_) => None,
            Self::Raw(raw) => Some(raw.frame_ns),
        }
    }

    /// Renders lines of the frame and appends their bytes to `out`.
    pub(super) fn render(&self, lines: Range<u32>, out: &mut Vec<u8>) {
        match self {
            Self::Developed(chain) => chain.render(lines, out),
            Self::Raw(raw) => raw.render(lines, out),
        }
    }
}
