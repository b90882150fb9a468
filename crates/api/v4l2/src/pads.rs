//! Formats on the media bus, and the state of an entity's pads.

use crate::format::Colorimetry;
use crate::selection::Rect;

/// A format on the media bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MbusFormat {
    /// Pixels.
    pub width: u32,
    /// Lines.
    pub height: u32,
    /// `MEDIA_BUS_FMT_*`; at a video node, the pixel format.
    pub code: u32,
    /// Colours.
    pub color: Colorimetry,
}

impl MbusFormat {
    /// Returns the rectangle of the whole picture.
    #[must_use]
    pub const fn whole(&self) -> Rect {
        Rect::whole(self.width, self.height)
    }
}

/// The formats of an entity's pads, and its crop rectangle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pads {
    /// The format of each pad, by index.
    pub formats: Vec<MbusFormat>,
    /// The part of pad 0's picture that the entity uses.
    pub crop: Rect,
}
