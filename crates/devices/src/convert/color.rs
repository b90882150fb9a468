//! Colours: between Y'CbCr and R'G'B', and between orders of R'G'B'.

use super::error::{ConvertError, Step};
use super::form::{Buffer, Form, Picture, PictureMut, Plane, PlaneMut};
use super::pack;
use crate::picture::{Matrix, Rect};
use yuv::{
    BufferStoreMut, YuvBiPlanarImage, YuvBiPlanarImageMut, YuvConversionMode, YuvError,
    YuvPackedImage, YuvPlanarImage, YuvPlanarImageMut, YuvRange, YuvStandardMatrix,
};

/// Which values Y'CbCr takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Range {
    /// Y from 16 to 235, chroma from 16 to 240.
    #[default]
    Limited,
    /// All from 0 to 255.
    Full,
}

/// How Y'CbCr is meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Color {
    /// Which coefficients make it of R'G'B'.
    pub matrix: Matrix,
    /// Which values it takes.
    pub range: Range,
}

/// Lines that are converted by way of memory of our own.
const TAIL: usize = 2;

/// Brings pictures into other forms of the same measures.
#[derive(Debug, Default)]
pub(super) struct Colors {
    tail_from: Buffer,
    tail_to: Buffer,
}

impl Colors {
    /// Brings `from` into the form of `to`.
    pub(super) fn relay(
        &mut self,
        from: &Picture<'_>,
        to: &mut PictureMut<'_>,
        color: Color,
    ) -> Result<(), ConvertError> {
        if from.form == to.form {
            copy(from, to);
            Ok(())
        } else if from.form.is_yuv() && to.form.is_yuv() {
            pack::relay(from, to);
            Ok(())
        } else if is_whole(from) && is_whole(&to.as_picture()) {
            convert(from, to, color).map_err(refusal)
        } else {
            self.in_parts(from, to, color)
        }
    }

    /// The library leaves out a last line behind which the plane ends before its stride does.
    fn in_parts(
        &mut self,
        from: &Picture<'_>,
        to: &mut PictureMut<'_>,
        color: Color,
    ) -> Result<(), ConvertError> {
        let (width, height) = (from.width, from.height);
        let body = height.saturating_sub(TAIL);
        let refused = ConvertError::Refused(Step::Color);
        if body > 0 {
            let rect = band(width, 0, body).ok_or(refused)?;
            let source = from.window(rect).ok_or(refused)?;
            let mut target = to.window(rect).ok_or(refused)?;
            convert(&source, &mut target, color).map_err(refusal)?;
        }
        let rect = band(width, body, height - body).ok_or(refused)?;
        let source = from.window(rect).ok_or(refused)?;
        let mut target = to.window(rect).ok_or(refused)?;
        let mut whole = self.tail_from.picture(from.form, width, source.height)?;
        copy(&source, &mut whole);
        let mut out = self.tail_to.picture(target.form, width, source.height)?;
        convert(&whole.as_picture(), &mut out, color).map_err(refusal)?;
        copy(&out.as_picture(), &mut target);
        Ok(())
    }
}

fn copy(from: &Picture<'_>, to: &mut PictureMut<'_>) {
    for (from, to) in from.planes.iter().zip(&mut to.planes) {
        pack::copy(*from, to);
    }
}

fn band(width: usize, y: usize, height: usize) -> Option<Rect> {
    Some(Rect {
        x: 0,
        y: u32::try_from(y).ok()?,
        width: u32::try_from(width).ok()?,
        height: u32::try_from(height).ok()?,
    })
}

/// Whether every line is followed by all of its stride.
fn is_whole(picture: &Picture<'_>) -> bool {
    let planes = picture.planes.iter();
    planes
        .filter(|plane| plane.shape.lines > 0)
        .all(|plane| plane.data.len() / plane.stride.max(1) >= plane.shape.lines)
}

fn refusal(_: YuvError) -> ConvertError {
    ConvertError::Refused(Step::Color)
}

fn stride(stride: usize) -> Result<u32, YuvError> {
    u32::try_from(stride).map_err(|_| YuvError::PointerOverflow)
}

/// By the library; all lines must be whole.
fn convert(from: &Picture<'_>, to: &mut PictureMut<'_>, color: Color) -> Result<(), YuvError> {
    match (from.form.is_yuv(), to.form.is_yuv()) {
        (true, false) => to_rgb(from, to, color),
        (false, true) => from_rgb(from, to, color),
        _ => reorder(from, to),
    }
}

const fn meant(color: Color) -> (YuvRange, YuvStandardMatrix) {
    let range = match color.range {
        Range::Limited => YuvRange::Limited,
        Range::Full => YuvRange::Full,
    };
    let matrix = match color.matrix {
        Matrix::Bt601 => YuvStandardMatrix::Bt601,
        Matrix::Bt709 => YuvStandardMatrix::Bt709,
        Matrix::Bt2020 => YuvStandardMatrix::Bt2020,
    };
    (range, matrix)
}

const MODE: YuvConversionMode = YuvConversionMode::Balanced;

/// Width and height, as the library takes them.
fn measures(width: usize, height: usize) -> Result<(u32, u32), YuvError> {
    Ok((stride(width)?, stride(height)?))
}

fn to_rgb(from: &Picture<'_>, to: &mut PictureMut<'_>, color: Color) -> Result<(), YuvError> {
    let (range, matrix) = meant(color);
    let bgra = to.form == Form::Xbgr32;
    let out = &mut *to.planes[0].data;
    let step = stride(to.planes[0].stride)?;
    match from.form {
        Form::Semi420 => {
            let run = if bgra {
                yuv::yuv_nv12_to_bgra
            } else {
                yuv::yuv_nv12_to_rgb
            };
            run(&semi(from)?, out, step, range, matrix, MODE)
        }
        Form::Semi422 => {
            let run = if bgra {
                yuv::yuv_nv16_to_bgra
            } else {
                yuv::yuv_nv16_to_rgb
            };
            run(&semi(from)?, out, step, range, matrix, MODE)
        }
        Form::Planar420 => {
            let run = if bgra {
                yuv::yuv420_to_bgra
            } else {
                yuv::yuv420_to_rgb
            };
            run(&planar(from)?, out, step, range, matrix)
        }
        Form::Yuyv => {
            let run = if bgra {
                yuv::yuyv422_to_bgra
            } else {
                yuv::yuyv422_to_rgb
            };
            run(&packed(from)?, out, step, range, matrix)
        }
        Form::Rgb24 | Form::Xbgr32 => Err(YuvError::ImagesSizesNotMatch),
    }
}

fn from_rgb(from: &Picture<'_>, to: &mut PictureMut<'_>, color: Color) -> Result<(), YuvError> {
    let (range, matrix) = meant(color);
    let bgra = from.form == Form::Xbgr32;
    let Plane {
        data, stride: step, ..
    } = from.planes[0];
    let step = stride(step)?;
    match to.form {
        Form::Semi420 => {
            let run = if bgra {
                yuv::bgra_to_yuv_nv12
            } else {
                yuv::rgb_to_yuv_nv12
            };
            run(&mut semi_mut(to)?, data, step, range, matrix, MODE)
        }
        Form::Semi422 => {
            let run = if bgra {
                yuv::bgra_to_yuv_nv16
            } else {
                yuv::rgb_to_yuv_nv16
            };
            run(&mut semi_mut(to)?, data, step, range, matrix, MODE)
        }
        Form::Planar420 => {
            let run = if bgra {
                yuv::bgra_to_yuv420
            } else {
                yuv::rgb_to_yuv420
            };
            run(&mut planar_mut(to)?, data, step, range, matrix, MODE)
        }
        Form::Yuyv | Form::Rgb24 | Form::Xbgr32 => Err(YuvError::ImagesSizesNotMatch),
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
    run(source.data, steps.0, target.data, steps.1, width, height)
}

fn semi<'a>(from: &Picture<'a>) -> Result<YuvBiPlanarImage<'a, u8>, YuvError> {
    let (width, height) = measures(from.width, from.height)?;
    let [y, uv, _] = from.planes;
    Ok(YuvBiPlanarImage {
        y_plane: y.data,
        y_stride: stride(y.stride)?,
        uv_plane: uv.data,
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
        y_plane: y.data,
        y_stride: stride(y.stride)?,
        u_plane: u.data,
        u_stride: stride(u.stride)?,
        v_plane: v.data,
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

fn packed<'a>(from: &Picture<'a>) -> Result<YuvPackedImage<'a, u8>, YuvError> {
    let (width, height) = measures(from.width, from.height)?;
    Ok(YuvPackedImage {
        yuy: from.planes[0].data,
        yuy_stride: stride(from.planes[0].stride)?,
        width,
        height,
    })
}

const fn borrowed<'a>(plane: &'a mut PlaneMut<'_>) -> BufferStoreMut<'a, u8> {
    BufferStoreMut::Borrowed(plane.data)
}
