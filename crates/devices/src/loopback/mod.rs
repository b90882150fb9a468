//! A loopback: what one program writes to its OUTPUT node, others read from its CAPTURE nodes, as
//! with the kernel module v4l2loopback.
//!
//! Frames are passed on as they are, in any pixel format, compressed ones too. A frame stays in the
//! buffer of the writer, which the loopback keeps, and is copied from there straight to a buffer of
//! each reader. The writer gets its buffer back when there is a newer frame and all readers that
//! stream have got this one; or when it looks for a buffer, has none, and readers have had their turn:
//! then the loopback makes a copy of its own. A writer waits for copies that readers' nodes have begun,
//! never for readers, and a reader never sees half a frame. A copy moves a piece in each tick; if the
//! frame goes meanwhile, the next one begins in its buffer.
//!
//! Where the memory of a buffer that the reader has queued is the memory of the buffer that the writer
//! has queued, by whichever side it was exported, the frame is passed on as it is: both sides get their
//! buffers, and nothing is copied. What is the same memory is seen by where both devices' addresses
//! lead. The frame is that reader's alone then: others that are still to get it get a copy, and one
//! that comes later begins with the next. The writer's buffer comes back when the reader has queued its
//! own again, or when the writer looks for one and has none: who shares memory and wants neither side to
//! write what the other looks at brings as many buffers as are under way at a time.
//!
//! Bytes copied for a frame, as the report has them:
//!
//! | the writer's buffers | the reader's | at the OUTPUT node | at the CAPTURE node |
//! |---|---|---|---|
//! | MMAP, or a dma-buf | MMAP, or a dma-buf | 0 | 1 |
//! | of write() | MMAP, or a dma-buf | 1 | 1 |
//! | MMAP, or a dma-buf | of read() | 0 | 2 |
//! | any | user pointers | as above | 2 |
//! | a dma-buf that the reader has too | a dma-buf that the writer has too | 0 | 0 |
//!
//! A writer that waits for the buffer with the newest frame, or looks for it again and again, as one
//! with a single buffer does, has another one at its node. So has one of a host whose devices do not
//! reach each other's memory ([`Bus::peer`](vb3_v4l2::Bus::peer)).

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
