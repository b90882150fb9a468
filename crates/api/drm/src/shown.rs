//! What the screen shows.

use crate::framebuffer::Framebuffer;
use crate::state::{PlaneKind, Rect, Rotation, Source};
use std::sync::Arc;

/// A plane's picture on the screen.
#[derive(Clone, Debug)]
pub struct Layer {
    /// Whether the plane is the primary, an overlay or the cursor.
    pub kind: PlaneKind,
    /// The framebuffer.
    pub fb: Arc<Framebuffer>,
    /// The part that is shown.
    pub source: Source,
    /// Where it is shown, in pixels of the screen.
    pub target: Rect,
    /// How the part is turned before it is scaled to its target.
    pub rotation: Rotation,
}

/// What a CRTC shows from a vblank on.
#[derive(Clone, Debug)]
pub struct Shown {
    /// The CRTC's number.
    pub crtc: usize,
    /// Width and height of the mode in pixels; `None` if the CRTC is off.
    pub size: Option<(u32, u32)>,
    /// Time of a frame in nanoseconds.
    pub frame_ns: u64,
    /// The planes, the lowest first.
    pub layers: Vec<Layer>,
    /// Whether a commit brought new pictures, rather than only a cursor's move or a plane's end.
    pub is_new: bool,
    /// The red, green and blue on the screen for each value of a sample; `None` for the same value.
    pub gamma: Option<Vec<[u8; 3]>>,
}
