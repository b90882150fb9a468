//! The scaler behind a camera's sensor: takes a part of what the sensor sees, and writes it in
//! another size into a part of the buffer. fimc's other half.

use crate::convert::{self, Color, ConvertError, Converter, Job, Range, View, ViewMut};
use crate::mode::matrix_of;
use crate::picture::{Frame, Size};
use crate::select::{fit, settable};
use crate::surface::{EINVAL, Surface, Trouble};
use vb3_queue::{Active, DriverError, MAX_PLANES};
use vb3_v4l2::{Bus, Format, Rect, SelectionFlags, SelectionTarget};

/// A scaler, and what it is set to.
pub(crate) struct Scaler {
    /// The sensor's picture.
    sensor: Size,
    /// What is taken of it.
    crop: Rect,
    /// Where that is put in a buffer.
    compose: Rect,
    engine: Converter,
    /// What is put there, its lines without padding.
    target: Vec<u8>,
}

impl std::fmt::Debug for Scaler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scaler")
            .field("crop", &self.crop)
            .field("compose", &self.compose)
            .finish_non_exhaustive()
    }
}

impl Scaler {
    /// All of what a sensor sees, to all of a buffer.
    pub(crate) fn new(sensor: Size, format: &Format) -> Self {
        Self {
            sensor,
            crop: Rect::whole(sensor.width(), sensor.height()),
            compose: Rect::whole(format.width, format.height),
            engine: Converter::new(),
            target: Vec::new(),
        }
    }

    /// The size of the pictures to give to [`write`](Self::write).
    pub(crate) const fn sensor(&self) -> Size {
        self.sensor
    }

    /// The format was set: all of the buffer is written again.
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
        *slot = fit(wanted, bounds, flags)?;
        Ok(*slot)
    }

    /// Writes a picture of the sensor's size to a buffer.
    pub(crate) fn write<C>(
        &mut self,
        frame: &Frame,
        format: &Format,
        buffer: &Active<C>,
        bus: &mut dyn Bus<C>,
    ) -> Result<[u64; MAX_PLANES], Trouble> {
        let surface = Surface(format);
        let pixel = frame.format();
        let bytes = surface.rect_bytes(self.compose).ok_or(Trouble::TooSmall)?;
        self.target.resize(bytes, 0);
        let color = Color {
            matrix: matrix_of(&format.color),
            range: Range::Limited,
        };
        let to = settable(self.compose).ok_or(Trouble::TooSmall)?;
        let job = Job {
            crop: crate::picture::Rect {
                x: self.crop.left.unsigned_abs(),
                y: self.crop.top.unsigned_abs(),
                width: self.crop.width,
                height: self.crop.height,
            },
            ..Job::whole(frame.size(), to, color)
        };
        let line = |size| convert::plane(pixel, size, 0).map_or(0, |(line, _)| line);
        let view = View::contiguous(pixel, frame.size(), frame.bytes(), line(frame.size()));
        let made = ViewMut::contiguous(pixel, to, &mut self.target, line(to));
        let done = view.and_then(|view| self.engine.run(&job, &view, &mut made?));
        done.map_err(|_: ConvertError| Trouble::Fault)?;
        surface.write_rect(buffer, self.compose, bus, &self.target)?;
        surface.payloads()
    }
}

#[cfg(test)]
mod tests;
