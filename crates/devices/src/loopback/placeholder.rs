//! Makes the pictures that readers get while no writer streams.

use std::path::PathBuf;
use vb3_picture::{Frame, Rect, Size, Yuv};
use vb3_v4l2::{Format, FourCc, PixelFormat, pixfmt};

/// The pictures that readers get while no writer streams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Placeholder {
    /// A black picture.
    Black,
    /// The last writer's last frame. Before the first writer, a black picture.
    Hold,
    /// The pictures of a file that ffmpeg decodes, scaled to the format.
    File(PathBuf),
}

/// Returns the pixel format if the loopback can make pictures of it.
pub(super) fn drawable(fourcc: FourCc) -> Option<&'static PixelFormat> {
    let pixel = pixfmt::lookup(fourcc)?;
    let packs_chroma = matches!(fourcc, FourCc::YUV444 | FourCc::YUV555 | FourCc::YUV565);
    (!pixel.is_compressed() && !packs_chroma).then_some(pixel)
}

/// Returns the bytes of a black picture.
pub(super) fn black(format: &Format) -> Option<Vec<u8>> {
    let pixel = drawable(format.fourcc)?;
    let mut frame = Frame::new(pixel, Size::new(format.width, format.height)?);
    // Black is zero in formats whose samples are not known.
    if !pixel.is_opaque() {
        let whole = Rect {
            x: 0,
            y: 0,
            width: format.width,
            height: format.height,
        };
        frame.fill(whole, Yuv::grey(16));
    }
    padded(format, &frame)
}

/// Returns the bytes of a frame with the line lengths of this format.
pub(super) fn padded(format: &Format, frame: &Frame) -> Option<Vec<u8>> {
    let pixel = drawable(format.fourcc)?;
    let layouts = format.layouts();
    // CAST: widening, on every target there is.
    let mut bytes = vec![0; layouts.first()?.sizeimage as usize];
    for index in 0..pixel.components.len() {
        let at = pixel.component_layout(index, format.width, format.height, layouts)?;
        let (offset, pitch) = (usize::try_from(at.offset).ok()?, at.bytesperline as usize);
        let lines = bytes.get_mut(offset..)?.chunks_mut(pitch.max(1));
        let from = frame
            .component(index)
            .chunks((at.line_bytes as usize).max(1));
        for (to, from) in lines.take(at.lines as usize).zip(from) {
            to.get_mut(..from.len())?.copy_from_slice(from);
        }
    }
    Some(bytes)
}
