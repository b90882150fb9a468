//! Pictures that callers pass in: bytes in planes, with strides.

use super::error::ConvertError;
use super::form::{Form, Picture, PictureMut, PictureOf, PlaneOf};
use crate::{Rect, Size};
use vb3_v4l2::PixelFormat;

/// Maximum stride in bytes.
const MAX_STRIDE: usize = 1 << 24;

/// Returns whether a converter supports a format. The number of memory planes does not matter.
#[must_use]
pub fn converts(format: &PixelFormat) -> bool {
    Form::of(format).is_some()
}

/// Returns the bytes per line and the number of lines of plane `index`; `None` if there is no such plane.
pub fn plane(format: &PixelFormat, size: Size, index: usize) -> Option<(usize, usize)> {
    let line = format.line_bytes(index, size.width())?;
    // CAST: widening, on every target there is.
    Some((line as usize, format.lines(index, size.height()) as usize))
}

/// Returns the stride of plane `index` if all planes follow each other in one memory block.
fn stride_in_one(format: &'static PixelFormat, stride: usize, index: usize) -> usize {
    let first = u32::try_from(stride).unwrap_or(u32::MAX);
    // CAST: widening, on every target there is.
    format.in_one_plane().component_line(index, first) as usize
}

/// A picture to read or to write, with memory of the type `D`.
#[derive(Clone, Copy, Debug)]
pub struct ViewOf<D> {
    size: Size,
    picture: PictureOf<PlaneOf<D>>,
}

/// A picture to read.
pub type View<'a> = ViewOf<&'a [u8]>;
/// A picture to write.
pub type ViewMut<'a> = ViewOf<&'a mut [u8]>;

impl<D: AsRef<[u8]> + Default> ViewOf<D> {
    /// Makes a picture of planes, each with its stride in bytes.
    ///
    /// # Errors
    /// An unsupported format ([`converts`]); a wrong number of planes; a stride that is shorter than a line
    /// or exceeds 16 MiB; a plane that ends before its last line.
    pub fn new(
        format: &'static PixelFormat,
        size: Size,
        planes: impl IntoIterator<Item = (D, usize)>,
    ) -> Result<Self, ConvertError> {
        let picture = picture(format, size, planes)?;
        Ok(Self { size, picture })
    }

    /// Returns the size of the picture.
    #[must_use]
    pub const fn size(&self) -> Size {
        self.size
    }
}

impl<'a> View<'a> {
    /// Makes a picture whose planes follow each other in one memory.
    ///
    /// `stride` is the first plane's. The chroma planes of YUV420 have half of it.
    ///
    /// # Errors
    /// Fails as [`new`](Self::new) does.
    pub fn contiguous(
        format: &'static PixelFormat,
        size: Size,
        data: &'a [u8],
        stride: usize,
    ) -> Result<Self, ConvertError> {
        let mut rest = data;
        Self::new(
            format,
            size,
            in_one(format, size, stride).map(|(bytes, stride)| {
                let (head, tail) = rest.split_at(bytes.min(rest.len()));
                rest = tail;
                (head, stride)
            }),
        )
    }

    /// Returns the part inside `rect`; `None` if it exceeds the picture.
    pub(super) fn window(&self, rect: Rect) -> Option<Picture<'a>> {
        inside(rect, self.size)?;
        self.picture.window(rect)
    }
}

impl<'a> ViewMut<'a> {
    /// Makes a picture of planes in one memory, as [`View::contiguous`].
    ///
    /// # Errors
    /// Fails as [`new`](Self::new) does.
    pub fn contiguous(
        format: &'static PixelFormat,
        size: Size,
        data: &'a mut [u8],
        stride: usize,
    ) -> Result<Self, ConvertError> {
        let mut rest = data;
        Self::new(
            format,
            size,
            in_one(format, size, stride).map(|(bytes, stride)| {
                let len = bytes.min(rest.len());
                let (head, tail) = std::mem::take(&mut rest).split_at_mut(len);
                rest = tail;
                (head, stride)
            }),
        )
    }

    /// Returns the part inside `rect`; `None` if it exceeds the picture.
    pub(super) fn window(&mut self, rect: Rect) -> Option<PictureMut<'_>> {
        inside(rect, self.size)?;
        self.picture.window(rect)
    }
}

/// Makes a picture of planes, each with its stride in bytes. Checks format, number and lengths of planes.
fn picture<D: AsRef<[u8]> + Default>(
    format: &'static PixelFormat,
    size: Size,
    planes: impl IntoIterator<Item = (D, usize)>,
) -> Result<PictureOf<PlaneOf<D>>, ConvertError> {
    let form = form_of(format)?;
    let mut out: [PlaneOf<D>; 3] = Default::default();
    let mut found = 0;
    for (index, (data, stride)) in planes.into_iter().enumerate() {
        found = index + 1;
        let (Some(to), Some(_)) = (out.get_mut(index), plane(format, size, index)) else {
            break;
        };
        let shape = check(format, size, index, data.as_ref().len(), stride)?;
        *to = PlaneOf::new(data, stride, shape);
    }
    if found != format.components.len() {
        return Err(ConvertError::Planes {
            wanted: format.components.len(),
            found,
        });
    }
    let (width, height) = (size.width() as usize, size.height() as usize);
    Ok(PictureOf::new(form, width, height, out))
}

/// Returns, for each plane, the distance to the next one in the same memory, and the stride. Saturates.
fn in_one(
    format: &'static PixelFormat,
    size: Size,
    stride: usize,
) -> impl Iterator<Item = (usize, usize)> {
    (0..format.components.len()).map(move |index| {
        let lines = plane(format, size, index).map_or(0, |(_, lines)| lines);
        let stride = stride_in_one(format, stride, index);
        (stride.saturating_mul(lines), stride)
    })
}

fn form_of(format: &'static PixelFormat) -> Result<Form, ConvertError> {
    Form::of(format).ok_or(ConvertError::Format(format.fourcc))
}

fn check(
    format: &'static PixelFormat,
    size: Size,
    plane: usize,
    found: usize,
    stride: usize,
) -> Result<super::form::Shape, ConvertError> {
    let (width, height) = (size.width() as usize, size.height() as usize);
    let shape = form_of(format)?
        .plane(width, height, plane)
        .ok_or(ConvertError::Planes {
            wanted: format.components.len(),
            found: plane + 1,
        })?;
    let line = shape.line_bytes();
    if stride < line || stride > MAX_STRIDE {
        return Err(ConvertError::Stride {
            plane,
            wanted: line,
            found: stride,
        });
    }
    // At most 2304 lines of 16 MiB, which cannot overflow 64 bits.
    let wanted = stride
        .saturating_mul(shape.lines.saturating_sub(1))
        .saturating_add(line);
    if found < wanted {
        return Err(ConvertError::Short {
            plane,
            wanted,
            found,
        });
    }
    Ok(shape)
}

/// Checks that `rect` has at least one 2x2 block and whole blocks only, inside a picture.
fn inside(rect: Rect, size: Size) -> Option<()> {
    let even = (rect.x | rect.y | rect.width | rect.height) & 1 == 0;
    let right = rect.x.checked_add(rect.width)?;
    let bottom = rect.y.checked_add(rect.height)?;
    (even && rect.width > 0 && rect.height > 0 && right <= size.width() && bottom <= size.height())
        .then_some(())
}
