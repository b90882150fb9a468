//! Colour conversion between Y'CbCr and R'G'B', and between orders of R', G' and B'.

use super::error::{ConvertError, Step};
use super::form::{Buffer, Form, Picture, PictureMut, PlaneMut};
use super::pack;
use crate::{Color, Matrix, Quantization, Rect};
use yuv::{
    BufferStoreMut, YuvBiPlanarImage, YuvBiPlanarImageMut, YuvConversionMode, YuvError,
    YuvPlanarImage, YuvPlanarImageMut, YuvRange, YuvStandardMatrix,
};

/// Number of lines that are converted at once through intermediate memory. They fit into a cache.
const BAND: usize = 16;

/// Converts pictures from one layout of pixels to another. It never scales.
#[derive(Debug, Default)]
pub(super) struct Colors {
    band_from: Buffer,
    band_to: Buffer,
}

impl Colors {
    /// Converts `from` to the layout of `to`. Both have the same size.
    pub(super) fn relay(
        &mut self,
        from: &Picture<'_>,
        to: &mut PictureMut<'_>,
        color: Color,
    ) -> Result<(), ConvertError> {
        if from.form == to.form || (from.form.is_yuv() && to.form.is_yuv()) {
            move_bytes(from, to);
            return Ok(());
        }
        let height = from.height;
        let packed = from.form == Form::Yuyv || to.form == Form::Yuyv;
        let direct = if packed {
            0
        } else if is_whole(from) && is_whole(&to.as_picture()) {
            height
        } else {
            // Only a plane's last line may lack its full stride. A line of chroma covers two lines of the picture, so the
            // last two are converted separately.
            height.saturating_sub(2)
        };
        if direct > 0 {
            let (source, mut target) = band(from, to, 0, direct)?;
            convert(&source, &mut target, color).map_err(refusal)?;
        }
        for first in (direct..height).step_by(BAND) {
            let (source, mut target) = band(from, to, first, BAND.min(height - first))?;
            self.by_copies(&source, &mut target, color)?;
        }
        Ok(())
    }

    /// Converts through copies, whose lines all have their full stride, as the `yuv` crate needs.
    ///
    /// The crate skips a last line if the plane ends before the line's stride does. For YUYV, the crate's
    /// samples differ by 2 from the right ones, so YUYV is unpacked first.
    fn by_copies(
        &mut self,
        from: &Picture<'_>,
        to: &mut PictureMut<'_>,
        color: Color,
    ) -> Result<(), ConvertError> {
        let form = |form| match form {
            Form::Yuyv => Form::Semi422,
            other => other,
        };
        let (width, height) = (from.width, from.height);
        let mut source = self.band_from.picture(form(from.form), width, height)?;
        move_bytes(from, &mut source);
        let mut target = self.band_to.picture(form(to.form), width, height)?;
        convert(&source.as_picture(), &mut target, color).map_err(refusal)?;
        move_bytes(&target.as_picture(), to);
        Ok(())
    }
}

/// Converts between forms that have the same colour model, without the `yuv` crate.
fn move_bytes(from: &Picture<'_>, to: &mut PictureMut<'_>) {
    if from.form == to.form {
        copy(from, to);
    } else {
        pack::relay(from, to);
    }
}

const REFUSED: ConvertError = ConvertError::Refused(Step::Color);

/// Returns the same lines of two pictures.
fn band<'a, 'b>(
    from: &Picture<'a>,
    to: &'b mut PictureMut<'_>,
    first: usize,
    lines: usize,
) -> Result<(Picture<'a>, PictureMut<'b>), ConvertError> {
    let measure = |measure| u32::try_from(measure).map_err(|_| REFUSED);
    let rect = Rect {
        x: 0,
        y: measure(first)?,
        width: measure(from.width)?,
        height: measure(lines)?,
    };
    let source = from.window(rect).ok_or(REFUSED)?;
    Ok((source, to.window(rect).ok_or(REFUSED)?))
}

fn copy(from: &Picture<'_>, to: &mut PictureMut<'_>) {
    for (from, to) in from.planes.iter().zip(&mut to.planes) {
        pack::copy(*from, to);
    }
}

/// Returns whether every line of a picture has its full stride.
fn is_whole(picture: &Picture<'_>) -> bool {
    picture
        .planes
        .iter()
        .all(|plane| plane.cells().len() >= plane.stride * plane.shape.lines)
}

fn refusal(_: YuvError) -> ConvertError {
    ConvertError::Refused(Step::Color)
}

fn stride(stride: usize) -> Result<u32, YuvError> {
    u32::try_from(stride).map_err(|_| YuvError::PointerOverflow)
}

/// Converts with the `yuv` crate. All lines must have their full stride.
fn convert(from: &Picture<'_>, to: &mut PictureMut<'_>, color: Color) -> Result<(), YuvError> {
    match (from.form.is_yuv(), to.form.is_yuv()) {
        (true, false) => to_rgb(from, to, color),
        (false, true) => from_rgb(from, to, color),
        _ => reorder(from, to),
    }
}

const fn meant(color: Color) -> (YuvRange, YuvStandardMatrix) {
    let range = match color.range {
        Quantization::Limited => YuvRange::Limited,
        Quantization::Full => YuvRange::Full,
    };
    let matrix = match color.matrix {
        Matrix::Bt601 => YuvStandardMatrix::Bt601,
        Matrix::Bt709 => YuvStandardMatrix::Bt709,
        Matrix::Bt2020 => YuvStandardMatrix::Bt2020,
    };
    (range, matrix)
}

const MODE: YuvConversionMode = YuvConversionMode::Balanced;

/// Converts width and height to `u32`.
fn measures(width: usize, height: usize) -> Result<(u32, u32), YuvError> {
    Ok((stride(width)?, stride(height)?))
}

fn to_rgb(from: &Picture<'_>, to: &mut PictureMut<'_>, color: Color) -> Result<(), YuvError> {
    let (range, by) = meant(color);
    let step = stride(to.planes[0].stride)?;
    let is_bgra = to.form == Form::Xbgr32;
    let out = to.planes[0].cells();
    match (from.form, is_bgra) {
        (Form::Semi420, true) => yuv::yuv_nv12_to_bgra(&semi(from)?, out, step, range, by, MODE),
        (Form::Semi420, false) => yuv::yuv_nv12_to_rgb(&semi(from)?, out, step, range, by, MODE),
        (Form::Semi422, true) => yuv::yuv_nv16_to_bgra(&semi(from)?, out, step, range, by, MODE),
        (Form::Semi422, false) => yuv::yuv_nv16_to_rgb(&semi(from)?, out, step, range, by, MODE),
        (Form::Planar420, true) => yuv::yuv420_to_bgra(&planar(from)?, out, step, range, by),
        (Form::Planar420, false) => yuv::yuv420_to_rgb(&planar(from)?, out, step, range, by),
        (Form::Yuyv | Form::Rgb24 | Form::Xbgr32, _) => Err(YuvError::ImagesSizesNotMatch),
    }
}

fn from_rgb(from: &Picture<'_>, to: &mut PictureMut<'_>, color: Color) -> Result<(), YuvError> {
    let (range, by) = meant(color);
    let (data, step) = (from.planes[0].cells(), stride(from.planes[0].stride)?);
    match (to.form, from.form == Form::Xbgr32) {
        (Form::Semi420, true) => {
            yuv::bgra_to_yuv_nv12(&mut semi_mut(to)?, data, step, range, by, MODE)
        }
        (Form::Semi420, false) => {
            yuv::rgb_to_yuv_nv12(&mut semi_mut(to)?, data, step, range, by, MODE)
        }
        (Form::Semi422, true) => {
            yuv::bgra_to_yuv_nv16(&mut semi_mut(to)?, data, step, range, by, MODE)
        }
        (Form::Semi422, false) => {
            yuv::rgb_to_yuv_nv16(&mut semi_mut(to)?, data, step, range, by, MODE)
        }
        (Form::Planar420, true) => {
            yuv::bgra_to_yuv420(&mut planar_mut(to)?, data, step, range, by, MODE)
        }
        (Form::Planar420, false) => {
            yuv::rgb_to_yuv420(&mut planar_mut(to)?, data, step, range, by, MODE)
        }
        (Form::Yuyv | Form::Rgb24 | Form::Xbgr32, _) => Err(YuvError::ImagesSizesNotMatch),
    }
}

fn reorder(from: &Picture<'_>, to: &mut PictureMut<'_>) -> Result<(), YuvError> {
    let (width, height) = measures(from.width, from.height)?;
    let run = match (from.form, to.form) {
        (Form::Rgb24, Form::Xbgr32) => yuv::rgb_to_bgra,
        (Form::Xbgr32, Form::Rgb24) => yuv::bgra_to_rgb,
        _ => return Err(YuvError::ImagesSizesNotMatch),
    };
    let (source, target) = (from.planes[0], &mut to.planes[0]);
    let steps = (stride(source.stride)?, stride(target.stride)?);
    run(
        source.cells(),
        steps.0,
        target.cells(),
        steps.1,
        width,
        height,
    )
}

fn semi<'a>(from: &Picture<'a>) -> Result<YuvBiPlanarImage<'a, u8>, YuvError> {
    let (width, height) = measures(from.width, from.height)?;
    let [y, uv, _] = from.planes;
    Ok(YuvBiPlanarImage {
        y_plane: y.cells(),
        y_stride: stride(y.stride)?,
        uv_plane: uv.cells(),
        uv_stride: stride(uv.stride)?,
        width,
        height,
    })
}

fn semi_mut<'a>(to: &'a mut PictureMut<'_>) -> Result<YuvBiPlanarImageMut<'a, u8>, YuvError> {
    let (width, height) = measures(to.width, to.height)?;
    let [y, uv, _] = &mut to.planes;
    Ok(YuvBiPlanarImageMut {
        y_stride: stride(y.stride)?,
        y_plane: borrowed(y),
        uv_stride: stride(uv.stride)?,
        uv_plane: borrowed(uv),
        width,
        height,
    })
}

fn planar<'a>(from: &Picture<'a>) -> Result<YuvPlanarImage<'a, u8>, YuvError> {
    let (width, height) = measures(from.width, from.height)?;
    let [y, u, v] = from.planes;
    Ok(YuvPlanarImage {
        y_plane: y.cells(),
        y_stride: stride(y.stride)?,
        u_plane: u.cells(),
        u_stride: stride(u.stride)?,
        v_plane: v.cells(),
        v_stride: stride(v.stride)?,
        width,
        height,
    })
}

fn planar_mut<'a>(to: &'a mut PictureMut<'_>) -> Result<YuvPlanarImageMut<'a, u8>, YuvError> {
    let (width, height) = measures(to.width, to.height)?;
    let [y, u, v] = &mut to.planes;
    Ok(YuvPlanarImageMut {
        y_stride: stride(y.stride)?,
        y_plane: borrowed(y),
        u_stride: stride(u.stride)?,
        u_plane: borrowed(u),
        v_stride: stride(v.stride)?,
        v_plane: borrowed(v),
        width,
        height,
    })
}

fn borrowed<'a>(plane: &'a mut PlaneMut<'_>) -> BufferStoreMut<'a, u8> {
    BufferStoreMut::Borrowed(plane.cells())
}
