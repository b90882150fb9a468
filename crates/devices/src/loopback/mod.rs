//! A loopback: what one program writes to its OUTPUT node, others read from its CAPTURE nodes, as
//! with the kernel module v4l2loopback.
//!
//! Frames are passed on as they are, in any pixel format, compressed ones too. They stand in the
//! loopback between the two sides, which reach memory each by its own addresses: one copy in, and
//! one copy out for each reader, which the report counts. A writer never waits for readers, and a
//! reader never sees half a frame.
//!
//! No frame is passed by reference. A V4L2 queue fills the buffer that the reader queued: memory of
//! the reader's queue, of its program, or of a dma-buf that it chose, and mapped since before the
//! frame was written; none of these is the writer's buffer. v4l2loopback has one set of buffers for
//! all who open it, which saves the copies and lets a writer change what a reader looks at.

mod link;
mod output;
mod reader;

pub use link::Link;
pub(crate) use output::LoopbackOutput;
pub(crate) use reader::LoopbackCapture;

use crate::Failure;
use crate::picture::Size;
use crate::spec::{DeviceKind, DeviceSpec};
use crate::surface::align_lines;
use vb3_v4l2::{Colorimetry, Format, Fraction, PixelFormat, Port, pixfmt};

const PORTS: &[Port] = &[Port {
    name: "Loopback",
    kind: 2,
}];

/// sRGB, as cameras say it.
const COLOR: Colorimetry = Colorimetry {
    colorspace: 8,
    xfer_func: 0,
    ycbcr_enc: 0,
    quantization: 0,
};

/// What a loopback passes on: every format of one memory plane.
pub(crate) fn formats() -> Vec<&'static PixelFormat> {
    let formats = pixfmt::TABLE.iter().copied();
    formats.filter(|format| format.memory_planes == 1).collect()
}

impl DeviceSpec {
    /// The nodes of a device: itself, or an OUTPUT node and CAPTURE nodes.
    ///
    /// # Errors
    /// A sentence, for a format that is not passed on.
    pub fn nodes(&self) -> Result<Vec<Self>, Failure> {
        let DeviceKind::Loopback { readers, exclusive } = self.kind else {
            return Ok(vec![self.clone()]);
        };
        let formats = formats();
        let wanted = self.format.unwrap_or(pixfmt::YUYV.fourcc);
        let pixel = formats.iter().find(|pixel| pixel.fourcc == wanted);
        let size = self.size.unwrap_or(Size::nearest(640, 480));
        let format = pixel
            .and_then(|pixel| Format::new(pixel, size.width(), size.height()))
            .and_then(|format| align_lines(format, &formats, self.stride.unwrap_or(1)));
        let mut format = format.ok_or_else(|| self.no_such_format())?;
        format.color = COLOR;
        let rate = self.fps.unwrap_or(Fraction::new(30, 1));
        let link = Link::new(format, Fraction::new(rate.denominator, rate.numerator));
        let node = |number: u32, kind| Self {
            kind,
            node: self.node.map(|first| first.saturating_add(number)),
            ..self.clone()
        };
        let output = DeviceKind::LoopbackOutput { link: link.clone() };
        let capture = |number| {
            let link = link.clone();
            node(number, DeviceKind::LoopbackCapture { link, exclusive })
        };
        let mut nodes = vec![node(0, output)];
        nodes.extend((1..=readers).map(capture));
        Ok(nodes)
    }
}

#[cfg(test)]
mod tests;
