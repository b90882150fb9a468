//! Small pictures of what devices showed.

/// A small picture of one frame, for the contact sheet of the page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// The frame's number on its device.
    pub number: u64,
    /// The picture as a PNG file; empty where there is none.
    pub png: Vec<u8>,
}

impl Picture {
    /// Longest side, in pixels.
    pub const MAX_EDGE: u32 = 160;
    /// How many the page shows of each device.
    pub const PER_DEVICE: usize = 6;
}
