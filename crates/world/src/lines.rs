//! Lines of pictures that a device takes longer than another one makes them: no call fails for that,
//! and the program finds that it cannot share.

use crate::node::Node;
use crate::{World, summary};
use std::collections::BTreeMap;
use std::mem::offset_of;
use vb3_host::Caller;
use vb3_v4l2::sys::{self, v4l2_pix_format, v4l2_pix_format_mplane, v4l2_plane_pix_format};
use vb3_v4l2::{Flow, VideoDriver as _};

/// The union of `struct v4l2_format` lies behind its type, aligned for pointers.
const PICTURE: u64 = 8;

/// What was asked for and what a device takes instead.
#[derive(Debug)]
struct Widened {
    asked: u32,
    taken: u32,
    /// The node whose lines are as long as was asked for.
    exporter: String,
}

/// By the place of the device among the nodes.
#[derive(Debug, Default)]
pub(super) struct Lines(BTreeMap<usize, Widened>);

/// Bytes of a line that an OUTPUT format asks for; `None` for other formats, and for none.
pub(super) fn asked(arg: u64, caller: &dyn Caller) -> Option<u32> {
    let number = |at: u64| {
        let mut bytes = [0; 4];
        caller.read(arg.checked_add(at)?, &mut bytes).ok()?;
        Some(u32::from_ne_bytes(bytes))
    };
    let at = match number(0)? {
        sys::V4L2_BUF_TYPE_VIDEO_OUTPUT => offset_of!(v4l2_pix_format, bytesperline),
        sys::V4L2_BUF_TYPE_VIDEO_OUTPUT_MPLANE => {
            offset_of!(v4l2_pix_format_mplane, plane_fmt)
                + offset_of!(v4l2_plane_pix_format, bytesperline)
        }
        _ => return None,
    };
    number(PICTURE + at as u64).filter(|line| *line > 0)
}

/// Bytes of a line of the pictures that a device takes or gives now, whichever file has the longest.
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

impl World {
    /// Remembers that a device takes longer lines than a program asked for, where another one makes
    /// such.
    pub(super) fn note_line(&mut self, at: usize, asked: u32) {
        let Some(node) = self.nodes.get(at) else {
            return;
        };
        let Some(taken) = line(node, Flow::Output).filter(|taken| *taken > asked) else {
            self.lines.0.remove(&at);
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
        let exporter = exporter.path.display().to_string();
        let widened = Widened {
            asked,
            taken,
            exporter,
        };
        self.lines.0.insert(at, widened);
    }

    /// What to tell of devices that then got no picture.
    pub(super) fn line_remarks(&self) -> Vec<String> {
        let say = |(at, widened): (&usize, &Widened)| {
            let node = self.nodes.get(*at)?;
            let queues = summary::device(node, &self.memory).queues;
            let mut outputs = queues.iter().filter(|q| q.queue.contains("output"));
            if outputs.any(|queue| queue.frames > 0) {
                return None;
            }
            let (path, align) = (node.path.display(), node.stride_align);
            let Widened {
                asked,
                taken,
                exporter,
            } = widened;
            Some(format!(
                "{path} was asked for lines of {asked} bytes, as {exporter} has them, takes lines of \
                 {taken} (stride={align}), and got no picture: buffers of the one do not suit the \
                 other; choose a width whose lines are multiples of {align} bytes; or, only in vb3, \
                 give {exporter} place=lazy, whose lines suit all devices of the run from S_FMT on"
            ))
        };
        self.lines.0.iter().filter_map(say).collect()
    }
}
