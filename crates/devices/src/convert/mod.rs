//! Pixel conversion: crop, scale, place, mirror, rotate, and change of layout or colour.
//!
//! Pure arithmetic on memory: [`Converter::run`] reads one picture and writes another. It knows neither
//! devices nor addresses. The `fast_image_resize` crate scales (bilinear; a reduction weighs
//! all source pixels), and the `yuv` crate converts colours. Both choose their SIMD code by the CPU at
//! run time. Code that only moves bytes is ours.
//!
//! Planes are scaled separately: Y'CbCr is not converted to R'G'B' unless its matrix or range changes.

mod color;
mod error;
mod form;
mod pack;
mod scale;
mod turn;
mod view;

#[cfg(test)]
mod bench;
#[cfg(test)]
mod tests;

use crate::picture::{Rect, Size};
use vb3_v4l2::PixelFormat;

pub use color::{Color, Range};
pub use error::{ConvertError, Step};
pub use turn::Rotate;
pub(crate) use view::plane;
pub use view::{View, ViewMut, converts};

use color::Colors;
use form::{Buffer, Form, Picture, PictureMut};
use scale::{Scaler, Which};
use turn::Turn;

/// Parameters of a conversion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Job {
    /// The part of the source to use, in whole 2x2 blocks.
    pub crop: Rect,
    /// The part of the target to write, in whole 2x2 blocks. The rest is unchanged.
    pub compose: Rect,
    /// Clockwise rotation, after mirroring.
    pub rotate: Rotate,
    /// Whether left and right are exchanged.
    pub hflip: bool,
    /// Whether top and bottom are exchanged.
    pub vflip: bool,
    /// Colour encoding of the source's Y'CbCr; no effect for R'G'B'.
    pub source_color: Color,
    /// Colour encoding of the target's Y'CbCr; no effect for R'G'B'.
    pub target_color: Color,
}

impl Job {
    /// Converts the whole source to the whole target, in the same colours.
    #[must_use]
    pub const fn whole(from: Size, to: Size, color: Color) -> Self {
        Self {
            crop: all(from),
            compose: all(to),
            rotate: Rotate::None,
            hflip: false,
            vflip: false,
            source_color: color,
            target_color: color,
        }
    }

    /// Returns whether each pixel keeps its place.
    pub(crate) const fn keeps_places(&self) -> bool {
        matches!(self.rotate, Rotate::None) && !self.hflip && !self.vflip
    }

    /// Returns the job for a part of the source, of whole lines from `first` on.
    pub(crate) const fn part(self, first: u32, part: Size) -> Self {
        let crop = all(part);
        let compose = Rect { y: first, ..crop };
        Self {
            crop,
            compose,
            ..self
        }
    }
}

const fn all(size: Size) -> Rect {
    Rect {
        x: 0,
        y: 0,
        width: size.width(),
        height: size.height(),
    }
}

/// Runs jobs and keeps memory for reuse.
///
/// It keeps at most four pictures and a few lines, and one plane in the scaling library (37.75 MB each
/// at most).
#[derive(Debug, Default)]
pub struct Converter {
    /// The source with its samples in separate planes, before scaling and turning.
    loaded: Buffer,
    /// The picture in its new shape, before conversion to the target's layout.
    moved: Buffer,
    /// R'G'B' between two kinds of Y'CbCr.
    between: Buffer,
    scaler: Scaler,
    colors: Colors,
}

impl Converter {
    /// Makes a converter without memory.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Does `job` with pictures whose lines have no padding. Each is given by format, size and bytes.
    ///
    /// # Errors
    /// As [`View::contiguous`] and [`run`](Self::run).
    pub(crate) fn run_unpadded(
        &mut self,
        job: &Job,
        from: (&'static PixelFormat, Size, &[u8]),
        to: (&'static PixelFormat, Size, &mut [u8]),
    ) -> Result<(), ConvertError> {
        let line = |format, size| plane(format, size, 0).map_or(0, |(line, _)| line);
        let view = View::contiguous(from.0, from.1, from.2, line(from.0, from.1))?;
        let mut made = ViewMut::contiguous(to.0, to.1, to.2, line(to.0, to.1))?;
        self.run(job, &view, &mut made)
    }

    /// Does `job`. After an error, the compose rectangle may be partly written.
    ///
    /// # Errors
    /// [`ConvertError`]: EINVAL for a rectangle that is odd, empty or not inside its picture;
    /// ENOMEM; EIO if a library refuses checked input.
    pub fn run(
        &mut self,
        job: &Job,
        from: &View<'_>,
        to: &mut ViewMut<'_>,
    ) -> Result<(), ConvertError> {
        let source = from.window(job.crop).ok_or(ConvertError::Crop(job.crop))?;
        let mut target = to
            .window(job.compose)
            .ok_or(ConvertError::Compose(job.compose))?;
        let turn = Turn::of(job);
        match (source.form.is_yuv(), target.form.is_yuv()) {
            (true, true) if job.source_color != job.target_color => {
                let mut between = std::mem::take(&mut self.between);
                let result = self.by_rgb(job, source, turn, &mut target, &mut between);
                self.between = between;
                result
            }
            (true, _) => self.stages(source, turn, &mut target, job.source_color),
            (false, _) => self.stages(source, turn, &mut target, job.target_color),
        }
    }

    /// Converts from one kind of Y'CbCr to another.
    fn by_rgb(
        &mut self,
        job: &Job,
        source: Picture<'_>,
        turn: Turn,
        target: &mut PictureMut<'_>,
        between: &mut Buffer,
    ) -> Result<(), ConvertError> {
        let mut rgb = between.picture(Form::Rgb24, target.width, target.height)?;
        self.stages(source, turn, &mut rgb, job.source_color)?;
        self.stages(rgb.as_picture(), Turn::NONE, target, job.target_color)
    }

    /// Converts the source to a movable form, moves its planes, and converts them to the target's form.
    /// Unneeded steps are skipped.
    fn stages(
        &mut self,
        source: Picture<'_>,
        turn: Turn,
        target: &mut PictureMut<'_>,
        color: Color,
    ) -> Result<(), ConvertError> {
        let Self {
            loaded,
            moved,
            scaler,
            colors,
            ..
        } = self;
        let before = turn.swap((target.width, target.height));
        let in_place = turn.is_none() && (source.width, source.height) == before;
        if in_place {
            return colors.relay(&source, target, color);
        }

        let form = form::to_move(source.form, target.form);
        let mut load;
        let planes = if form == source.form {
            source
        } else {
            load = loaded.picture(form, source.width, source.height)?;
            colors.relay(&source, &mut load, color)?;
            load.as_picture()
        };
        let form = form::after_move(form, target.form);
        if form == target.form {
            return scaler.move_planes(turn, &planes, target, Which::All);
        }
        let mut shaped = moved.picture(form, target.width, target.height)?;
        if form::differ_in_chroma(form, target.form) {
            scaler.move_planes(turn, &planes, target, Which::Luma)?;
            scaler.move_planes(turn, &planes, &mut shaped, Which::Chroma)?;
            pack::chroma(&shaped.as_picture(), target);
            return Ok(());
        }
        scaler.move_planes(turn, &planes, &mut shaped, Which::All)?;
        colors.relay(&shaped.as_picture(), target, color)
    }
}
