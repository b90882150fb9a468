//! Small pictures of the devices' frames.

/// A small picture of one frame, for the contact sheet of the page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// The frame's number on its device.
    pub number: u64,
    /// The picture as a PNG file; empty if there is none.
    pub png: Vec<u8>,
}

impl Picture {
    /// Longest side, in pixels.
    pub const MAX_EDGE: u32 = 160;
    /// Number of pictures that the page shows for each device.
    pub const PER_DEVICE: usize = 6;
}
