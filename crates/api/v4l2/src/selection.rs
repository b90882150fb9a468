//! Crop and compose rectangles of a picture.

use bitflags::bitflags;

/// A rectangle in pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Rect {
    /// Column of its left edge.
    pub left: i32,
    /// Line of its upper edge.
    pub top: i32,
    /// Columns.
    pub width: u32,
    /// Lines.
    pub height: u32,
}

impl Rect {
    /// Returns the rectangle with this corner and size.
    #[must_use]
    pub const fn new(left: i32, top: i32, width: u32, height: u32) -> Self {
        Self {
            left,
            top,
            width,
            height,
        }
    }

    /// Returns the rectangle of a whole picture.
    #[must_use]
    pub const fn whole(width: u32, height: u32) -> Self {
        Self {
            left: 0,
            top: 0,
            width,
            height,
        }
    }
}

/// A rectangle of a picture that programs can select (`V4L2_SEL_TGT_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SelectionTarget {
    /// The part of the source that is used.
    Crop,
    /// The default crop rectangle.
    CropDefault,
    /// The largest crop rectangle.
    CropBounds,
    /// The part of the buffer that the picture fills.
    Compose,
    /// The default compose rectangle.
    ComposeDefault,
    /// The largest compose rectangle.
    ComposeBounds,
    /// The compose rectangle with the padding that the device writes.
    ComposePadded,
}

impl SelectionTarget {
    /// Returns the target of a number; `None` for an unknown or unsupported one.
    #[must_use]
    pub const fn from_number(number: u32) -> Option<Self> {
        match number {
            0x0 => Some(Self::Crop),
            0x1 => Some(Self::CropDefault),
            0x2 => Some(Self::CropBounds),
            0x100 => Some(Self::Compose),
            0x101 => Some(Self::ComposeDefault),
            0x102 => Some(Self::ComposeBounds),
            0x103 => Some(Self::ComposePadded),
            _ => None,
        }
    }
}

bitflags! {
    /// Constraints on adjusting a rectangle (`V4L2_SEL_FLAG_*`).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct SelectionFlags: u32 {
        /// The result must not be smaller than requested.
        const GE = 1;
        /// The result must not be larger than requested.
        const LE = 2;
    }
}
