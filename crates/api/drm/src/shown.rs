//! What the screen shows.

use crate::framebuffer::Framebuffer;
use crate::state::{PlaneKind, Rect, Rotation, Source};
use std::sync::Arc;

/// Bytes of `struct drm_color_lut`: red, green, blue and padding, 16 bits each.
pub(crate) const ENTRY: usize = 8;

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

/// A framebuffer to which a CRTC's picture is written.
#[derive(Clone, Debug)]
pub struct Writeback {
    /// The framebuffer, of the mode's size and an RGB format.
    pub fb: Arc<Framebuffer>,
    /// The timeline and the sequence number of the fence that ends after the write, if a program has one.
    pub fence: Option<(usize, u64)>,
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
    /// Where to write the picture, once.
    pub writeback: Option<Writeback>,
}

/// Returns what a gamma table makes of each value of a sample; between two entries, it interpolates. `None` if every
/// value stays.
pub(crate) fn gamma_table(lut: &[u8]) -> Option<Vec<[u8; 3]>> {
    let (entries, _) = lut.as_chunks::<ENTRY>();
    let last = entries.len().saturating_sub(1);
    let color = |entry: usize, color: usize| -> usize {
        let entry = entries.get(entry.min(last)).copied().unwrap_or([0; ENTRY]);
        u16::from_ne_bytes([entry[2 * color], entry[2 * color + 1]]).into()
    };
    let values = (0..=255_usize).map(|value| {
        let (at, part) = (value * last / 255, value * last % 255);
        let mix = |c| color(at, c) * (255 - part) + color(at + 1, c) * part;
        // CAST: the upper half of 16 bits.
        [0, 1, 2].map(|c| (mix(c) / 255 / 256) as u8)
    });
    let values: Vec<_> = values.collect();
    let changes = (0..=255).zip(&values).any(|(value, of)| *of != [value; 3]);
    changes.then_some(values)
}
