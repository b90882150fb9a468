//! Pictures as a caller has them: bytes in planes, with strides.

use super::error::ConvertError;
use super::form::{Form, Picture, PictureMut, Plane, PlaneMut};
use crate::picture::{Layout, Rect, Size};
use vb3_v4l2::FourCc;

/// Most bytes from line to line.
const MAX_STRIDE: usize = 1 << 24;

/// How the samples of a picture follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PixelLayout {
    /// Y0 U Y1 V, 4:2:2.
    Yuyv,
    /// A plane of Y, one of UV pairs for 2x2 pixels.
    Nv12,
    /// Planes of Y, of U and of V, the latter two for 2x2 pixels (I420).
    Yuv420,
    /// R, G, B.
    Rgb24,
    /// B, G, R and a byte without meaning: 255 where the source has none.
    Xbgr32,
}

impl PixelLayout {
    /// Every layout.
    pub const ALL: [Self; 5] = [
        Self::Yuyv,
        Self::Nv12,
        Self::Yuv420,
        Self::Rgb24,
        Self::Xbgr32,
    ];

    /// The layout behind a pixel format, of one memory plane or several; `None` for one that is
    /// not converted.
    #[must_use]
    pub const fn of(fourcc: FourCc) -> Option<Self> {
        const YUV420: FourCc = FourCc::new(*b"YU12");
        const YUV420M: FourCc = FourCc::new(*b"YM12");
        const XBGR32: FourCc = FourCc::new(*b"XR24");
        match fourcc {
            FourCc::YUYV => Some(Self::Yuyv),
            FourCc::NV12 | FourCc::NV12M => Some(Self::Nv12),
            YUV420 | YUV420M => Some(Self::Yuv420),
            FourCc::RGB24 => Some(Self::Rgb24),
            XBGR32 => Some(Self::Xbgr32),
            _ => None,
        }
    }

    /// Whether samples are Y'CbCr rather than R'G'B'.
    #[must_use]
    pub const fn is_yuv(self) -> bool {
        matches!(self, Self::Yuyv | Self::Nv12 | Self::Yuv420)
    }

    /// How many planes there are: 1 to 3.
    #[must_use]
    pub const fn planes(self) -> usize {
        match self {
            Self::Yuyv | Self::Rgb24 | Self::Xbgr32 => 1,
            Self::Nv12 => 2,
            Self::Yuv420 => 3,
        }
    }

    /// Bytes of a line and lines of plane `index`; `None` if there is no such plane.
    #[must_use]
    pub fn plane(self, size: Size, index: usize) -> Option<(usize, usize)> {
        let (width, height) = (size.width() as usize, size.height() as usize);
        self.form()
            .plane(width, height, index)
            .map(|shape| (shape.line_bytes(), shape.lines))
    }

    /// The stride of plane `index` where all planes lie in one memory, as V4L2 has it for
    /// formats of one memory plane.
    #[must_use]
    pub const fn stride_in_one(self, stride: usize, index: usize) -> usize {
        match (self, index) {
            (Self::Yuv420, 1 | 2) => stride / 2,
            _ => stride,
        }
    }

    pub(super) const fn form(self) -> Form {
        match self {
            Self::Yuyv => Form::Yuyv,
            Self::Nv12 => Form::Semi420,
            Self::Yuv420 => Form::Planar420,
            Self::Rgb24 => Form::Rgb24,
            Self::Xbgr32 => Form::Xbgr32,
        }
    }
}

impl From<Layout> for PixelLayout {
    fn from(layout: Layout) -> Self {
        match layout {
            Layout::Yuyv => Self::Yuyv,
            Layout::Nv12 => Self::Nv12,
            Layout::Rgb24 => Self::Rgb24,
        }
    }
}

/// A picture to read.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    layout: PixelLayout,
    size: Size,
    picture: Picture<'a>,
}

impl<'a> View<'a> {
    /// A picture of its planes, each with the bytes from line to line.
    ///
    /// # Errors
    /// Another number of planes than the layout has; a stride smaller than a line or above
    /// 16 MiB; a plane that ends before its last line does.
    pub fn new(
        layout: PixelLayout,
        size: Size,
        planes: impl IntoIterator<Item = (&'a [u8], usize)>,
    ) -> Result<Self, ConvertError> {
        let mut out = [Plane::default(); 3];
        let mut found = 0;
        for (index, (data, stride)) in planes.into_iter().enumerate() {
            found = index + 1;
            let (Some(to), Some(_)) = (out.get_mut(index), layout.plane(size, index)) else {
                break;
            };
            let shape = check(layout, size, index, data.len(), stride)?;
            *to = Plane::new(data, stride, shape);
        }
        complete(layout, found)?;
        let (width, height) = (size.width() as usize, size.height() as usize);
        Ok(Self {
            layout,
            size,
            picture: Picture::new(layout.form(), width, height, out),
        })
    }

    /// A picture whose planes follow each other in one memory, as V4L2 has it for formats of
    /// one memory plane: `stride` is that of the first plane, and of chroma half of it for
    /// [`PixelLayout::Yuv420`].
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn contiguous(
        layout: PixelLayout,
        size: Size,
        data: &'a [u8],
        stride: usize,
    ) -> Result<Self, ConvertError> {
        let mut planes = [(&[] as &[u8], 0); 3];
        let mut rest = data;
        for (index, plane) in planes.iter_mut().enumerate().take(layout.planes()) {
            let bytes = plane_bytes(layout, size, index, stride);
            let (head, tail) = rest.split_at(bytes.min(rest.len()));
            *plane = (head, layout.stride_in_one(stride, index));
            rest = tail;
        }
        Self::new(layout, size, planes.into_iter().take(layout.planes()))
    }

    /// How samples are laid out.
    #[must_use]
    pub const fn layout(&self) -> PixelLayout {
        self.layout
    }

    /// Width and height.
    #[must_use]
    pub const fn size(&self) -> Size {
        self.size
    }

    /// The part inside `rect`.
    pub(super) fn window(&self, rect: Rect) -> Option<Picture<'a>> {
        inside(rect, self.size)?;
        self.picture.window(rect)
    }
}

/// A picture to write.
#[derive(Debug)]
pub struct ViewMut<'a> {
    layout: PixelLayout,
    size: Size,
    picture: PictureMut<'a>,
}

impl<'a> ViewMut<'a> {
    /// As [`View::new`].
    ///
    /// # Errors
    /// As [`View::new`].
    pub fn new(
        layout: PixelLayout,
        size: Size,
        planes: impl IntoIterator<Item = (&'a mut [u8], usize)>,
    ) -> Result<Self, ConvertError> {
        let mut out: [PlaneMut<'a>; 3] = Default::default();
        let mut found = 0;
        for (index, (data, stride)) in planes.into_iter().enumerate() {
            found = index + 1;
            let (Some(to), Some(_)) = (out.get_mut(index), layout.plane(size, index)) else {
                break;
            };
            let shape = check(layout, size, index, data.len(), stride)?;
            *to = PlaneMut::new(data, stride, shape);
        }
        complete(layout, found)?;
        let (width, height) = (size.width() as usize, size.height() as usize);
        Ok(Self {
            layout,
            size,
            picture: PictureMut::new(layout.form(), width, height, out),
        })
    }

    /// As [`View::contiguous`].
    ///
    /// # Errors
    /// As [`View::new`].
    pub fn contiguous(
        layout: PixelLayout,
        size: Size,
        data: &'a mut [u8],
        stride: usize,
    ) -> Result<Self, ConvertError> {
        let mut planes: [(&mut [u8], usize); 3] = Default::default();
        let mut rest = data;
        for (index, plane) in planes.iter_mut().enumerate().take(layout.planes()) {
            let bytes = plane_bytes(layout, size, index, stride);
            let (head, tail) = rest.split_at_mut(bytes.min(rest.len()));
            *plane = (head, layout.stride_in_one(stride, index));
            rest = tail;
        }
        Self::new(layout, size, planes.into_iter().take(layout.planes()))
    }

    /// How samples are laid out.
    #[must_use]
    pub const fn layout(&self) -> PixelLayout {
        self.layout
    }

    /// Width and height.
    #[must_use]
    pub const fn size(&self) -> Size {
        self.size
    }

    /// The part inside `rect`.
    pub(super) fn window(&mut self, rect: Rect) -> Option<PictureMut<'_>> {
        inside(rect, self.size)?;
        self.picture.window(rect)
    }
}

/// Bytes of a plane that another follows in the same memory; at most what an address can be.
fn plane_bytes(layout: PixelLayout, size: Size, index: usize, stride: usize) -> usize {
    let lines = layout.plane(size, index).map_or(0, |(_, lines)| lines);
    layout.stride_in_one(stride, index).saturating_mul(lines)
}

fn check(
    layout: PixelLayout,
    size: Size,
    plane: usize,
    found: usize,
    stride: usize,
) -> Result<super::form::Shape, ConvertError> {
    let (width, height) = (size.width() as usize, size.height() as usize);
    let shape = layout
        .form()
        .plane(width, height, plane)
        .ok_or(ConvertError::Planes {
            wanted: layout.planes(),
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
    // At most 2304 lines of 16 MiB: no overflow with 64 bits.
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

const fn complete(layout: PixelLayout, found: usize) -> Result<(), ConvertError> {
    if found == layout.planes() {
        Ok(())
    } else {
        Err(ConvertError::Planes {
            wanted: layout.planes(),
            found,
        })
    }
}

/// Whether `rect` is whole 2x2 blocks of a picture, at least one.
fn inside(rect: Rect, size: Size) -> Option<()> {
    let even = (rect.x | rect.y | rect.width | rect.height) & 1 == 0;
    let right = rect.x.checked_add(rect.width)?;
    let bottom = rect.y.checked_add(rect.height)?;
    (even && rect.width > 0 && rect.height > 0 && right <= size.width() && bottom <= size.height())
        .then_some(())
}
