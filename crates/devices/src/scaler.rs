//! The scaler behind a camera's sensor.
//! It crops the sensor's picture, scales it, and places it in the buffer. It imitates the capture side of the
//! driver s5p-fimc.

use crate::beside::Conversion;
use crate::mode::color_of;
use crate::picture_converter::PictureConverter;
use crate::select::Selection;
use crate::surface::{Surface, Trouble};
use vb3_picture::convert::Job;
use vb3_picture::{Color, Frame, Quantization, Size};
use vb3_v4l2::{Format, Rect};

#[derive(Debug)]
pub(crate) struct Scaler {
    /// The size that the sensor's pictures must have.
    pub(crate) sensor: Size,
    pub(crate) selection: Selection,
    pub(crate) converter: PictureConverter,
}

impl Scaler {
    /// Makes a scaler from the sensor's whole picture to the whole buffer.
    pub(crate) fn new(sensor: Size, format: &Format) -> Self {
        Self {
            sensor,
            selection: Selection {
                crop: Rect::whole(sensor.width(), sensor.height()),
                compose: Rect::whole(format.width, format.height),
            },
            converter: PictureConverter::new(),
        }
    }

    pub(crate) const fn sensor_size(&self) -> (u32, u32) {
        (self.sensor.width(), self.sensor.height())
    }

    /// Returns the parameters of a conversion by the current settings. Fails for rectangles that do not fit.
    pub(crate) fn plan(&self, frame: &Frame, format: &Format) -> Result<Conversion, Trouble> {
        let Selection { crop, compose } = self.selection;
        let bytes = Surface(format).rect_bytes(compose);
        let bytes = bytes.ok_or(Trouble::TooSmall)?;
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
            bytes: [frame.bytes().len(), bytes],
            selection: self.selection,
        })
    }

    /// Returns whether the thread must scale this picture, and is free to begin.
    pub(crate) fn wants_thread(&mut self, plan: &Conversion, frame: &Frame) -> bool {
        let Rect { width, height, .. } = self.selection.crop;
        let used = Format::new(frame.format(), width, height)
            .and_then(|format| Surface(&format).rect_bytes(Rect::whole(width, height)));
        let [source, target] = plan.bytes;
        let bytes = used.unwrap_or(source).saturating_add(target);
        self.converter.wants_thread(bytes)
    }
}

#[cfg(test)]
mod tests;
