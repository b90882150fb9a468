//! Pixels of a converter: crop, scale, place, turn over, rotate, and change layout or colour.
//!
//! Pure arithmetic on memory: [`Converter::run`] reads one picture and writes another, knowing
//! neither devices nor addresses. Scaling (bilinear, with as many taps as a reduction needs) is
//! the `fast_image_resize` crate's work and colour conversion the `yuv` crate's; both choose their SIMD
//! by the CPU at run time. What only moves bytes is ours.
//!
//! Planes are scaled as planes: Y'CbCr does not pass through R'G'B' unless its matrix or range
//! changes.

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

/// What to do with a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Job {
    /// The part of the source to use; whole 2x2 blocks.
    pub crop: Rect,
    /// The part of the target to write; whole 2x2 blocks. The rest is left as it is.
    pub compose: Rect,
    /// Clockwise rotation, after mirroring.
    pub rotate: Rotate,
    /// Whether left and right change places.
    pub hflip: bool,
    /// Whether top and bottom change places.
    pub vflip: bool,
    /// How the source's Y'CbCr is meant; without effect for R'G'B'.
    pub source_color: Color,
    /// How the target's Y'CbCr is to be; without effect for R'G'B'.
    pub target_color: Color,
}

impl Job {
    /// All of the source to all of the target, in the same colours.
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
}

const fn all(size: Size) -> Rect {
    Rect {
        x: 0,
        y: 0,
        width: size.width(),
        height: size.height(),
    }
}

/// Runs jobs, and keeps between them the memory that the next may need again: of its own at most
/// four pictures and a few lines, of the scaling library's one plane (37.75 MB each at most).
#[derive(Debug, Default)]
pub struct Converter {
    /// The source in another form, before it is moved.
    loaded: Buffer,
    /// The picture in its new shape, before it is brought into the target's layout.
    moved: Buffer,
    /// R'G'B' between two kinds of Y'CbCr.
    between: Buffer,
    scaler: Scaler,
    colors: Colors,
}

impl Converter {
    /// A converter that has no memory yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Does `job` with pictures whose lines have no padding, each by its format, size and bytes.
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

    /// Does `job`. On an error the compose rectangle may be written in part.
    ///
    /// # Errors
    /// [`ConvertError`]: EINVAL for a rectangle that is odd, empty or not inside its picture;
    /// ENOMEM; EIO if a library refuses what was checked here.
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

    /// From one kind of Y'CbCr to another.
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

    /// Brings the source into a form whose planes can be moved, moves them, and brings them into
    /// the target's form; without the steps that are not needed.
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
