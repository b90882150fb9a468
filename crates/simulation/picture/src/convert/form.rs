//! Pictures during a conversion: planes that consist of cells. A cell is a group of bytes that move together,
//! such as one Y sample, a UV pair, or R, G and B.

use super::error::ConvertError;
use crate::Rect;
use vb3_v4l2::PixelFormat;
use vb3_v4l2::pixfmt::Sample::{B, G, R, U, V, X, Y};

/// The layout of a picture during a conversion.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Form {
    /// Two planes: Y, and UV pairs for 2x2 pixels each.
    #[default]
    Semi420,
    /// Two planes: Y, and UV pairs for 2x1 pixels each.
    Semi422,
    /// Three planes: Y, U and V, with a chroma sample for 2x2 pixels.
    Planar420,
    /// One plane of Y0 U Y1 V.
    Yuyv,
    /// One plane of R, G, B.
    Rgb24,
    /// One plane of B, G, R, 255.
    Xbgr32,
}

/// A plane's dimensions: bytes of a cell, cells in a line, and lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) cell: usize,
    pub(super) width: usize,
    pub(super) lines: usize,
}

impl Shape {
    pub(super) const fn line_bytes(self) -> usize {
        self.cell * self.width
    }
}

impl Form {
    /// Returns the form of a format's samples; `None` for an unsupported format.
    pub(super) fn of(format: &PixelFormat) -> Option<Self> {
        if format.bits != 8 {
            return None;
        }
        let planes = format.components.iter();
        let cells: Vec<_> = planes.map(|p| (p.across, p.down, p.cell)).collect();
        Some(match cells.as_slice() {
            [(1, 1, [[Y]]), (2, 2, [[U, V]])] => Self::Semi420,
            [(1, 1, [[Y]]), (2, 2, [[U]]), (2, 2, [[V]])] => Self::Planar420,
            [(2, 1, [[Y, U, Y, V]])] => Self::Yuyv,
            [(1, 1, [[R, G, B]])] => Self::Rgb24,
            [(1, 1, [[B, G, R, X]])] => Self::Xbgr32,
            _ => return None,
        })
    }

    pub(super) const fn is_yuv(self) -> bool {
        !matches!(self, Self::Rgb24 | Self::Xbgr32)
    }

    /// Returns plane `index` of a picture of even size; `None` if there is no such plane.
    pub(super) fn plane(self, width: usize, height: usize, index: usize) -> Option<Shape> {
        let (cell, across, down) = match (self, index) {
            (Self::Semi420 | Self::Semi422 | Self::Planar420, 0) => (1, 1, 1),
            (Self::Semi420, 1) => (2, 2, 2),
            (Self::Semi422, 1) => (2, 2, 1),
            (Self::Planar420, 1 | 2) => (1, 2, 2),
            (Self::Yuyv, 0) => (4, 2, 1),
            (Self::Rgb24, 0) => (3, 1, 1),
            (Self::Xbgr32, 0) => (4, 1, 1),
            _ => return None,
        };
        Some(Shape {
            cell,
            width: width / across,
            lines: height / down,
        })
    }
}

/// Returns the form in which a source is scaled and turned. YUYV is unpacked first, since its cells have two
/// pixels.
pub(super) const fn to_move(source: Form, target: Form) -> Form {
    match (source, target) {
        (Form::Yuyv, _) | (Form::Rgb24 | Form::Xbgr32, Form::Yuyv) => Form::Semi422,
        // Y'CbCr 4:2:0 has fewer bytes to move than R'G'B'.
        (Form::Rgb24 | Form::Xbgr32, Form::Semi420 | Form::Planar420) => target,
        _ => source,
    }
}

/// Returns the form that a picture has after it was scaled and turned. Scaling also changes UV pairs between
/// 4:2:0 and 4:2:2, as the target needs, but does not split or join planes.
pub(super) const fn after_move(form: Form, target: Form) -> Form {
    match (form, target) {
        (Form::Semi422, Form::Semi420 | Form::Planar420) => Form::Semi420,
        (Form::Semi420, Form::Yuyv) => Form::Semi422,
        _ => form,
    }
}

/// Returns whether two forms differ only in the arrangement of chroma.
pub(super) const fn differ_in_chroma(a: Form, b: Form) -> bool {
    matches!(
        (a, b),
        (Form::Semi420, Form::Planar420) | (Form::Planar420, Form::Semi420)
    )
}

/// A plane, with memory of the type `D`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PlaneOf<D> {
    /// The plane's memory, from the beginning of a line.
    pub(super) data: D,
    /// Bytes of a line before the plane's first cell.
    pub(super) left: usize,
    pub(super) stride: usize,
    pub(super) shape: Shape,
}

/// A plane to read.
pub(super) type Plane<'a> = PlaneOf<&'a [u8]>;
/// A plane to write.
pub(super) type PlaneMut<'a> = PlaneOf<&'a mut [u8]>;

impl<D> PlaneOf<D> {
    pub(super) const fn new(data: D, stride: usize, shape: Shape) -> Self {
        Self {
            data,
            left: 0,
            stride,
            shape,
        }
    }
}

/// Locates a window of `inner` cells in a plane.
/// Returns the offset of the window's first line, the end of its last line with padding, and each line's
/// bytes before the window.
fn span(plane: Plane<'_>, inner: Shape, at: (usize, usize)) -> Option<(usize, usize, usize)> {
    let shape = plane.shape;
    let fits = at.0.checked_add(inner.width)? <= shape.width
        && at.1.checked_add(inner.lines)? <= shape.lines;
    let left = at.0.checked_mul(shape.cell)?.checked_add(plane.left)?;
    let start = at.1.checked_mul(plane.stride)?;
    let end = start
        .checked_add(plane.stride.checked_mul(inner.lines)?)?
        .checked_add(left)?;
    fits.then_some((start, end.min(plane.data.len()), left))
}

impl<'a> Plane<'a> {
    /// Returns the memory from the plane's first cell on.
    pub(super) fn cells(self) -> &'a [u8] {
        self.data.get(self.left..).unwrap_or(&[])
    }

    /// Returns the memory of all lines with their padding; `None` if it ends before the last line's padding
    /// does.
    pub(super) fn whole(self) -> Option<&'a [u8]> {
        self.data.get(..self.stride.checked_mul(self.shape.lines)?)
    }

    /// Returns the plane's lines without padding.
    pub(super) fn lines(self) -> impl DoubleEndedIterator<Item = &'a [u8]> + ExactSizeIterator {
        let columns = self.left..self.left + self.shape.line_bytes();
        // The stride is at least the line length, but memory may end with the last line's cells.
        self.data
            .chunks(self.stride.max(1))
            .take(self.shape.lines)
            .map(move |line| line.get(columns.clone()).unwrap_or(&[]))
    }

    fn window(self, inner: Shape, at: (usize, usize)) -> Option<Self> {
        let (start, end, left) = span(self, inner, at)?;
        Some(Self {
            data: self.data.get(start..end)?,
            left,
            stride: self.stride,
            shape: inner,
        })
    }
}

impl PlaneMut<'_> {
    /// Returns the memory from the first cell on, as [`Plane::cells`].
    pub(super) fn cells(&mut self) -> &mut [u8] {
        self.data.get_mut(self.left..).unwrap_or(&mut [])
    }

    /// Returns the memory of all lines with their padding, as [`Plane::whole`].
    pub(super) fn whole(&mut self) -> Option<&mut [u8]> {
        self.data
            .get_mut(..self.stride.checked_mul(self.shape.lines)?)
    }

    /// Returns the lines without padding, as [`Plane::lines`].
    pub(super) fn lines(
        &mut self,
    ) -> impl DoubleEndedIterator<Item = &mut [u8]> + ExactSizeIterator {
        let columns = self.left..self.left + self.shape.line_bytes();
        self.data
            .chunks_mut(self.stride.max(1))
            .take(self.shape.lines)
            .map(move |line| line.get_mut(columns.clone()).unwrap_or(&mut []))
    }

    fn window(&mut self, inner: Shape, at: (usize, usize)) -> Option<PlaneMut<'_>> {
        let (start, end, left) = span(self.as_plane(), inner, at)?;
        Some(PlaneMut {
            data: self.data.get_mut(start..end)?,
            left,
            stride: self.stride,
            shape: inner,
        })
    }

    pub(super) const fn as_plane(&self) -> Plane<'_> {
        Plane {
            data: self.data,
            left: self.left,
            stride: self.stride,
            shape: self.shape,
        }
    }
}

/// A picture, or a window of one, with planes of the type `P`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PictureOf<P> {
    pub(super) form: Form,
    pub(super) width: usize,
    pub(super) height: usize,
    /// The planes of the form. Others are empty.
    pub(super) planes: [P; 3],
}

/// A picture to read.
pub(super) type Picture<'a> = PictureOf<Plane<'a>>;
/// A picture to write.
pub(super) type PictureMut<'a> = PictureOf<PlaneMut<'a>>;

/// Returns the position and the shape that `rect` has in a plane of this form.
fn cells(form: Form, rect: Rect, index: usize) -> Option<((usize, usize), Shape)> {
    // The position of a corner, in cells, is the size of the picture's part that is left of it and above it.
    let at = form.plane(rect.x as usize, rect.y as usize, index)?;
    let inner = form.plane(rect.width as usize, rect.height as usize, index)?;
    Some(((at.width, at.lines), inner))
}

impl<P> PictureOf<P> {
    pub(super) const fn new(form: Form, width: usize, height: usize, planes: [P; 3]) -> Self {
        Self {
            form,
            width,
            height,
            planes,
        }
    }
}

impl Picture<'_> {
    /// Returns the part inside `rect`, whose numbers are even; `None` if it exceeds the picture.
    pub(super) fn window(&self, rect: Rect) -> Option<Self> {
        let mut planes = [Plane::default(); 3];
        for (index, (plane, to)) in self.planes.iter().zip(&mut planes).enumerate() {
            let Some((at, inner)) = cells(self.form, rect, index) else {
                break;
            };
            *to = plane.window(inner, at)?;
        }
        let (width, height) = (rect.width as usize, rect.height as usize);
        Some(Self::new(self.form, width, height, planes))
    }
}

impl PictureMut<'_> {
    /// Returns the part inside `rect`, as [`Picture::window`].
    pub(super) fn window(&mut self, rect: Rect) -> Option<PictureMut<'_>> {
        let mut planes: [PlaneMut<'_>; 3] = Default::default();
        for (index, (plane, to)) in self.planes.iter_mut().zip(&mut planes).enumerate() {
            let Some((at, inner)) = cells(self.form, rect, index) else {
                break;
            };
            *to = plane.window(inner, at)?;
        }
        let (width, height) = (rect.width as usize, rect.height as usize);
        Some(PictureMut::new(self.form, width, height, planes))
    }

    pub(super) fn as_picture(&self) -> Picture<'_> {
        let [a, b, c] = &self.planes;
        let planes = [a.as_plane(), b.as_plane(), c.as_plane()];
        Picture::new(self.form, self.width, self.height, planes)
    }
}

/// Memory for an intermediate picture, which is kept for reuse.
#[derive(Debug, Default)]
pub(super) struct Buffer(Vec<u8>);

impl Buffer {
    /// Returns at least this many bytes, with unspecified contents.
    pub(super) fn bytes(&mut self, bytes: usize) -> Result<&mut [u8], ConvertError> {
        if let Some(more) = bytes.checked_sub(self.0.len()) {
            self.0
                .try_reserve_exact(more)
                .map_err(|_| ConvertError::NoMemory { bytes })?;
            self.0.resize(bytes, 0);
        }
        self.0
            .get_mut(..bytes)
            .ok_or(ConvertError::NoMemory { bytes })
    }

    /// Returns a picture in this memory whose lines have no padding.
    pub(super) fn picture(
        &mut self,
        form: Form,
        width: usize,
        height: usize,
    ) -> Result<PictureMut<'_>, ConvertError> {
        let shapes = [0, 1, 2].map(|index| form.plane(width, height, index).unwrap_or_default());
        let bytes = shapes.iter().map(|s| s.line_bytes() * s.lines).sum();
        let mut rest = self.bytes(bytes)?;
        let planes = shapes.map(|shape| {
            let (head, tail) =
                std::mem::take(&mut rest).split_at_mut(shape.line_bytes() * shape.lines);
            rest = tail;
            PlaneMut::new(head, shape.line_bytes(), shape)
        });
        Ok(PictureMut::new(form, width, height, planes))
    }
}
