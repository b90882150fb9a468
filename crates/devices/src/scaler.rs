//! The scaler behind a camera's sensor.
//! It crops the sensor's picture, scales it, and places it in the buffer. It imitates the capture side of the
//! driver s5p-fimc.

use crate::beside::Conversion;
use crate::mode::color_of;
use crate::picture_converter::PictureConverter;
use crate::select::{STEP, fit};
use crate::surface::{EINVAL, Surface, Trouble};
use vb3_picture::convert::Job;
use vb3_picture::{Color, Frame, Quantization, Size};
use vb3_queue::DriverError;
use vb3_v4l2::{Format, Rect, SelectionFlags, SelectionTarget};

#[derive(Debug)]
pub(crate) struct Scaler {
    /// The size that the sensor's pictures must have.
    pub(crate) sensor: Size,
    /// The part of the sensor's picture that is used.
    crop: Rect,
    /// The part of the buffer that receives the scaled picture.
    compose: Rect,
    pub(crate) converter: PictureConverter,
}

impl Scaler {
    /// Makes a scaler from the sensor's whole picture to the whole buffer.
    pub(crate) fn new(sensor: Size, format: &Format) -> Self {
        Self {
            sensor,
            crop: Rect::whole(sensor.width(), sensor.height()),
            compose: Rect::whole(format.width, format.height),
            converter: PictureConverter::new(),
        }
    }

    /// Makes the scaled picture fill the whole buffer again, because the buffer's format has changed.
    pub(crate) fn fill(&mut self, format: &Format) {
        self.compose = Rect::whole(format.width, format.height);
    }

    pub(crate) fn rect(&self, target: SelectionTarget, format: &Format) -> Rect {
        match target {
            SelectionTarget::Crop => self.crop,
            SelectionTarget::CropDefault | SelectionTarget::CropBounds => {
                Rect::whole(self.sensor.width(), self.sensor.height())
            }
            SelectionTarget::Compose | SelectionTarget::ComposePadded => self.compose,
            SelectionTarget::ComposeDefault | SelectionTarget::ComposeBounds => {
                Rect::whole(format.width, format.height)
            }
        }
    }

    pub(crate) fn set_rect(
        &mut self,
        target: SelectionTarget,
        wanted: Rect,
        flags: SelectionFlags,
        format: &Format,
    ) -> Result<Rect, DriverError> {
        let (slot, bounds) = match target {
            SelectionTarget::Crop => (&mut self.crop, (self.sensor.width(), self.sensor.height())),
            SelectionTarget::Compose => (&mut self.compose, (format.width, format.height)),
            _ => return Err(EINVAL),
        };
        *slot = fit(wanted, STEP, bounds, flags)?;
        Ok(*slot)
    }

    /// Returns the parameters of a conversion by the current settings. Fails for rectangles that do not fit.
    pub(crate) fn plan(&self, frame: &Frame, format: &Format) -> Result<Conversion, Trouble> {
        let bytes = Surface(format).rect_bytes(self.compose);
        let bytes = bytes.ok_or(Trouble::TooSmall)?;
        let color = Color {
            range: Quantization::Limited,
            ..color_of(&format.color)
        };
        let to = Size::new(self.compose.width, self.compose.height).ok_or(Trouble::TooSmall)?;
        let job = Job {
            crop: vb3_picture::Rect {
                x: self.crop.left.unsigned_abs(),
                y: self.crop.top.unsigned_abs(),
                width: self.crop.width,
                height: self.crop.height,
            },
            ..Job::whole(frame.size(), to, color)
        };
        Ok(Conversion {
            job,
            shapes: [(frame.format(), frame.size()), (frame.format(), to)],
            bytes: [frame.bytes().len(), bytes],
            compose: self.compose,
        })
    }

    /// Returns whether the thread must scale this picture, and is free to begin.
    pub(crate) fn wants_thread(&mut self, plan: &Conversion, frame: &Frame) -> bool {
        let (width, height) = (self.crop.width, self.crop.height);
        let used = Format::new(frame.format(), width, height)
            .and_then(|format| Surface(&format).rect_bytes(Rect::whole(width, height)));
        let [source, target] = plan.bytes;
        let bytes = used.unwrap_or(source).saturating_add(target);
        self.converter.wants_thread(bytes)
    }
}

#[cfg(test)]
mod tests;
