//! Pixel conversion: crop, scale, place, mirror, rotate, and change of layout or colour.
//!
//! It is pure arithmetic on memory: [`Converter::run`] reads one picture and writes another. It knows neither
//! devices nor addresses. The `fast_image_resize` crate scales (bilinear; in a reduced picture, all source
//! pixels count), and the `yuv` crate converts colours. Both choose their SIMD code by the CPU at run time.
//! This crate itself only moves bytes.
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
mod tests;

use crate::{Color, Rect, Size};
use vb3_v4l2::PixelFormat;

pub use error::{ConvertError, Step};
pub use turn::Rotate;
pub use view::{View, ViewMut, ViewOf, converts, plane};

use color::Colors;
use form::{Buffer, Form, Picture, PictureMut};
use scale::{Scaler, Which};
use turn::Turn;

/// Parameters of a conversion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Job {
    /// The part of the source that is used, in whole 2x2 blocks.
    pub crop: Rect,
    /// The part of the target that is written, in whole 2x2 blocks. The rest stays unchanged.
    pub compose: Rect,
    /// Clockwise rotation, which is applied after mirroring.
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
    /// Makes a job that converts the whole source to the whole target without a change of colours.
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

    /// Returns whether the job scales a component of a whole source to a whole target. Such a job cannot be
    /// divided into stripes: the scaling library rounds its weights as precisely as the largest of all weights allows,
    /// so a stripe would be rounded otherwise than the whole picture.
    #[must_use]
    pub fn scales(
        &self,
        (from, size): (&PixelFormat, Size),
        (to, to_size): (&PixelFormat, Size),
    ) -> bool {
        let turn = Turn::of(self);
        let size = turn.swap((size.width() as usize, size.height() as usize));
        if size != (to_size.width() as usize, to_size.height() as usize) {
            return true;
        }
        // A turn or flip scales the chroma if the formats differ in the number of chroma lines. A quarter turn also
        // scales the chroma of 4:2:2, because turned 4:2:2 is 4:4:0.
        let is_square = |format: &PixelFormat| format.components.iter().all(|c| c.across == c.down);
        let down = |format: &PixelFormat| format.components.iter().map(|c| c.down).max();
        let is_turned = turn.transpose && !(is_square(from) && is_square(to));
        is_turned || !turn.is_none() && down(from) != down(to)
    }

    /// Returns the job for a part of the source, of `lines` lines from line `first` on. The job must not
    /// scale.
    #[must_use]
    pub fn part(self, source: Size, first: u32, lines: u32) -> Self {
        let turn = Turn::of(&self);
        let crop = Rect {
            height: lines,
            ..all(source)
        };
        // A quarter turn makes columns of the part's lines, and a mirror may reverse their order.
        let (x, y, width, height) = match turn.transpose {
            false => (0, first, crop.width, lines),
            true => (first, 0, lines, crop.width),
        };
        let below = source.height() - first - lines;
        let compose = Rect {
            x: if turn.transpose && turn.mirror {
                below
            } else {
                x
            },
            y: if !turn.transpose && turn.upside_down {
                below
            } else {
                y
            },
            width,
            height,
        };
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

/// Runs jobs, and keeps memory for reuse.
///
/// This memory is at most four pictures, parts of two R'G'B' pictures and, in the scaling library, one plane
/// (each at most 37.75 MB), and a few lines.
#[derive(Debug, Default)]
pub struct Converter {
    /// The source in a form that can be scaled and turned.
    loaded: Buffer,
    /// The scaled and turned picture, before its conversion to the target's layout.
    moved: Buffer,
    /// The R'G'B' picture between two kinds of Y'CbCr.
    between: Buffer,
    scaler: Scaler,
    colors: Colors,
}

impl Converter {
    /// Makes a converter, which allocates its memory later.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs `job`. After an error, the compose rectangle may be partly written.
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

    /// Converts between two kinds of Y'CbCr through R'G'B'.
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

    /// Converts the source to a form that can be scaled and turned, does this, and converts the result.
    /// Skips steps that are not needed.
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
