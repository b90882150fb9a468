//! The scaler behind a camera's sensor.
//! It crops the sensor's picture, scales it, and places it in the buffer. It imitates the capture side of the
//! driver s5p-fimc.

use crate::colors::color_of;
use crate::conversion::Conversion;
use crate::select::Selection;
use crate::surface::{Surface, Trouble};
use vb3_picture::convert::Job;
use vb3_picture::{Color, Frame, Quantization, Size};
use vb3_v4l2::Format;

/// Returns the parameters of a conversion of the sensor's picture. Fails for rectangles that do not fit.
pub(crate) fn plan(
    selection: &Selection,
    frame: &Frame,
    format: &Format,
) -> Result<Conversion, Trouble> {
    let Selection { crop, compose, .. } = *selection;
    let bytes = |rect| Surface(format).rect_bytes(rect).ok_or(Trouble::TooSmall);
    let color = Color {
        range: Quantization::Limited,
        ..color_of(&format.color)
    };
    let to = Size::new(compose.width, compose.height).ok_or(Trouble::TooSmall)?;
    let job = Job {
        crop: vb3_picture::Rect {
            x: crop.left.unsigned_abs(),
            y: crop.top.unsigned_abs(),
            width: crop.width,
            height: crop.height,
        },
        ..Job::whole(frame.size(), to, color)
    };
    Ok(Conversion {
        job,
        shapes: [(frame.format(), frame.size()), (frame.format(), to)],
        bytes: [bytes(crop)?, bytes(compose)?],
        selection: *selection,
    })
}

#[cfg(test)]
mod tests;
