//! Rectangles of a picture: what is taken of it, and where it is put.

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
    /// A whole picture.
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

/// Which rectangle (`V4L2_SEL_TGT_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SelectionTarget {
    /// What is taken of a source.
    Crop,
    /// What would be taken by default.
    CropDefault,
    /// What could be taken.
    CropBounds,
    /// Where a picture is put in a buffer.
    Compose,
    /// Where it would be put by default.
    ComposeDefault,
    /// Where it could be put.
    ComposeBounds,
    /// Where it is put, with what the device writes around it.
    ComposePadded,
}

impl SelectionTarget {
    /// The target of a number; `None` where there is none, or none that devices here know.
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
    /// Which way a rectangle may be changed (`V4L2_SEL_FLAG_*`).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct SelectionFlags: u32 {
        /// No smaller than asked for.
        const GE = 1;
        /// No larger than asked for.
        const LE = 2;
    }
}
