//! Reports a device that needs longer picture lines than another device makes. No call fails, but the program
//! cannot share buffers between the two.

use crate::node::Node;
use crate::{Run, summary};
use std::collections::BTreeMap;
use std::mem::offset_of;
use vb3_frontend::Ioctl;
use vb3_v4l2::sys::{self, v4l2_pix_format, v4l2_pix_format_mplane, v4l2_plane_pix_format};
use vb3_v4l2::{Flow, VideoDriver as _};

/// Offset of the union in `struct v4l2_format`: behind the type, aligned for pointers.
const PICTURE: usize = 8;

/// The line length that a program asked for, and the longer one that the device chose.
#[derive(Debug)]
struct Widened {
    asked: u32,
    taken: u32,
    /// The path of a node whose lines have the requested length.
    exporter: String,
}

/// The longer lines, by the device's index among the nodes.
#[derive(Debug, Default)]
pub(super) struct Lines(BTreeMap<usize, Widened>);

/// Returns the line length that an OUTPUT format asks for in bytes, or `None` for other formats.
pub(super) fn asked(call: Ioctl<'_>) -> Option<u32> {
    let number = |at: usize| call.read_at(at).ok().map(u32::from_ne_bytes);
    let at = match number(0)? {
        sys::V4L2_BUF_TYPE_VIDEO_OUTPUT => offset_of!(v4l2_pix_format, bytesperline),
        sys::V4L2_BUF_TYPE_VIDEO_OUTPUT_MPLANE => {
            offset_of!(v4l2_pix_format_mplane, plane_fmt)
                + offset_of!(v4l2_plane_pix_format, bytesperline)
        }
        _ => return None,
    };
    number(PICTURE + at).filter(|line| *line > 0)
}

/// Returns the bytes of the longest line in a flow's formats. Each open file of the device has a format of
/// its own.
fn line(node: &Node, flow: Flow) -> Option<u32> {
    if !node.video.role().flows().contains(&flow) {
        return None;
    }
    let formats = node
        .video
        .contexts()
        .map(|context| context.driver().format(flow));
    let first = formats.filter_map(|format| Some(format.planes.first()?.bytesperline));
    first.max()
}

impl Run {
    /// Records that a device's lines are longer than a program asked for. Does so only if another device's
    /// lines have the requested length.
    pub(super) fn note_line(&mut self, at: usize, asked: u32) {
        let Some(node) = self.nodes.get(at) else {
            return;
        };
        let Some(taken) = line(node, Flow::Output).filter(|taken| *taken > asked) else {
            self.history.lines.0.remove(&at);
            return;
        };
        let makes_such = |other: &&Node| {
            other.stride_align < node.stride_align
                && !other.planes.lazy
                && line(other, Flow::Capture) == Some(asked)
        };
        let Some(exporter) = self.nodes.iter().find(makes_such) else {
            return;
        };
        let widened = Widened {
            asked,
            taken,
            exporter: exporter.path.clone(),
        };
        self.history.lines.0.insert(at, widened);
    }

    /// Returns the report's notes on devices that chose longer lines, and then got no picture.
    pub(super) fn line_remarks(&self) -> Vec<String> {
        let say = |(at, widened): (&usize, &Widened)| {
            let node = self.nodes.get(*at)?;
            let queues = summary::device(node, &self.memory).queues;
            let mut outputs = queues.iter().filter(|q| q.queue.contains("output"));
            if outputs.any(|queue| queue.frames > 0) {
                return None;
            }
            let (path, align) = (&node.path, node.stride_align);
            let Widened {
                asked,
                taken,
                exporter,
            } = widened;
            Some(format!(
                "{path} was asked for lines of {asked} bytes, as {exporter} has them, but needs lines \
                 of {taken} bytes (stride={align}), and got no picture: the two devices cannot share \
                 buffers; choose a width whose lines are multiples of {align} bytes; or, only in \
                 vb3, give {exporter} place=lazy, which aligns the lines of all devices at S_FMT"
            ))
        };
        self.history.lines.0.iter().filter_map(say).collect()
    }
}
