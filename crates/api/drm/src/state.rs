//! What a card shows: the state that commits change, and its checks.

use crate::Error;
use crate::framebuffer::Framebuffer;
use crate::mode::Mode;
use std::sync::Arc;

/// The kind of a plane, with its value of the property `type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlaneKind {
    /// Above the primary plane.
    Overlay = 0,
    /// The lowest plane.
    Primary = 1,
    /// The highest plane.
    Cursor = 2,
}

/// How often a card with a scaler enlarges or shrinks a picture at most.
const MAX_SCALE: u64 = 8;

/// A rectangle on the screen in pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rect {
    /// Left edge.
    pub x: i32,
    /// Upper edge.
    pub y: i32,
    /// Width.
    pub width: u32,
    /// Height.
    pub height: u32,
}

impl Rect {
    pub(crate) const fn new((x, y): (i32, i32), (width, height): (u32, u32)) -> Self {
        Self {
            x,
            y,
            width,
            height,
        }
    }
}

/// The part of a framebuffer that a plane shows, in 1/65536 pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// Left edge.
    pub x: u32,
    /// Upper edge.
    pub y: u32,
    /// Width.
    pub width: u32,
    /// Height.
    pub height: u32,
}

impl Source {
    /// Returns the part that begins at a pixel and has this size in pixels. Both fit in 16 bits.
    pub(crate) const fn of_pixels((x, y): (u32, u32), (width, height): (u32, u32)) -> Self {
        Self {
            x: x << 16,
            y: y << 16,
            width: width << 16,
            height: height << 16,
        }
    }
}

/// How a plane's picture is turned and mirrored: bits of `DRM_MODE_ROTATE_*` and `DRM_MODE_REFLECT_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation(pub u8);

impl Default for Rotation {
    fn default() -> Self {
        Self(1)
    }
}

impl Rotation {
    /// Returns whether the picture's width becomes the plane's height.
    #[must_use]
    pub const fn swaps(self) -> bool {
        self.0 & (2 | 8) != 0
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct PlaneState {
    pub(crate) fb: Option<Arc<Framebuffer>>,
    pub(crate) crtc: Option<usize>,
    pub(crate) source: Source,
    pub(crate) target: Rect,
    pub(crate) rotation: Rotation,
}

/// A blob: bytes that a property names.
#[derive(Debug)]
pub(crate) struct Blob {
    pub(crate) id: u32,
    pub(crate) bytes: Vec<u8>,
}

#[derive(Clone, Debug)]
pub(crate) struct SetMode {
    pub(crate) blob: Arc<Blob>,
    pub(crate) mode: Mode,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct CrtcState {
    pub(crate) active: bool,
    pub(crate) mode: Option<SetMode>,
    /// The gamma table: `struct drm_color_lut` for each entry.
    pub(crate) gamma: Option<Arc<Blob>>,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ConnectorState {
    pub(crate) crtc: Option<usize>,
    /// The value of the property DPMS.
    pub(crate) dpms: u64,
}

/// The state of all planes, CRTCs and connectors.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    pub(crate) planes: Vec<PlaneState>,
    pub(crate) crtcs: Vec<CrtcState>,
    pub(crate) connectors: Vec<ConnectorState>,
}

impl PlaneState {
    /// Returns the framebuffer's id; zero for none.
    pub(crate) fn fb_id(&self) -> u32 {
        self.fb.as_ref().map_or(0, |fb| fb.id)
    }

    /// Returns the state of the plane without a picture.
    pub(crate) fn off(&self) -> Self {
        let rotation = self.rotation;
        Self {
            rotation,
            ..Self::default()
        }
    }

    /// Fills the screen with the part of a framebuffer that begins at its pixel `x`, `y`.
    pub(crate) fn fill(
        &mut self,
        crtc: usize,
        fb: Arc<Framebuffer>,
        mode: &Mode,
        (x, y): (u32, u32),
    ) {
        let (width, height) = (mode.width(), mode.height());
        *self = Self {
            rotation: self.rotation,
            fb: Some(fb),
            crtc: Some(crtc),
            source: Source::of_pixels((x, y), self.turned(width, height)),
            target: Rect::new((0, 0), (width, height)),
        };
    }

    /// Returns a width and a height, swapped if the plane is turned by a quarter.
    pub(crate) const fn turned(&self, width: u32, height: u32) -> (u32, u32) {
        match self.rotation.swaps() {
            true => (height, width),
            false => (width, height),
        }
    }

    /// Checks the plane as Linux does: `drm_atomic_plane_check`, and the helper's check of the scale.
    pub(crate) fn check(&self, scales: bool) -> Result<(), Error> {
        let (source, target) = (self.source, self.target);
        let fb = match (&self.fb, self.crtc) {
            (None, None) => return Ok(()),
            (None, Some(_)) => return Err(Error::Invalid("CRTC_ID (without FB_ID)", 1)),
            (Some(fb), None) => {
                return Err(Error::Invalid("FB_ID (without CRTC_ID)", fb.id.into()));
            }
            (Some(fb), Some(_)) => fb,
        };
        let beyond = |at: i32, len: u32| i64::from(at) > i64::from(i32::MAX) - i64::from(len);
        if target.width > i32::MAX as u32 || beyond(target.x, target.width) {
            return Err(Error::Range("plane's right edge", target.x.into()));
        }
        if target.height > i32::MAX as u32 || beyond(target.y, target.height) {
            return Err(Error::Range("plane's lower edge", target.y.into()));
        }
        for (what, at, len, size) in [
            ("source in x", source.x, source.width, fb.width),
            ("source in y", source.y, source.height, fb.height),
        ] {
            let (end, limit) = (u64::from(at) + u64::from(len), u64::from(size) << 16);
            if end > limit {
                let (found, limit) = (end.div_ceil(1 << 16), size.into());
                return Err(Error::Outside { what, found, limit });
            }
        }
        let (across, down) = self.turned(source.width, source.height);
        for (what, from, to) in [
            ("plane's width (scale)", across, target.width),
            ("plane's height (scale)", down, target.height),
        ] {
            let whole = u64::from(to) << 16;
            let is_possible = match scales {
                true => (whole / MAX_SCALE..=whole * MAX_SCALE).contains(&from.into()),
                // `drm_calc_scale` rounds down unless the picture shrinks.
                false => u64::from(from) <= whole && from.checked_div(to) == Some(1 << 16),
            };
            if to != 0 && !is_possible {
                return Err(Error::Range(what, to.into()));
            }
        }
        Ok(())
    }
}

impl State {
    /// Checks the whole state: each plane, and that an active CRTC has a mode and a CRTC with a mode has a connector.
    pub(crate) fn check(&self, scales: bool) -> Result<(), Error> {
        for plane in &self.planes {
            plane.check(scales)?;
        }
        for (at, crtc) in self.crtcs.iter().enumerate() {
            if crtc.active && crtc.mode.is_none() {
                return Err(Error::Invalid("ACTIVE (without MODE_ID)", 1));
            }
            let has_connector = self.connectors.iter().any(|c| c.crtc == Some(at));
            match (&crtc.mode, has_connector) {
                (Some(_), false) => return Err(Error::Invalid("MODE_ID (without a connector)", 1)),
                (None, true) => return Err(Error::Invalid("CRTC_ID (without MODE_ID)", 1)),
                _ => {}
            }
        }
        Ok(())
    }

    /// Returns whether a change to `next` needs a mode set of a CRTC.
    pub(crate) fn needs_modeset(&self, next: &Self, crtc: usize) -> bool {
        let (Some(old), Some(new)) = (self.crtcs.get(crtc), next.crtcs.get(crtc)) else {
            return false;
        };
        let mode = |state: &CrtcState| state.mode.as_ref().map(|set| set.mode);
        let users = |state: &Self| -> Vec<bool> {
            let connectors = state.connectors.iter();
            connectors.map(|c| c.crtc == Some(crtc)).collect()
        };
        old.active != new.active || mode(old) != mode(new) || users(self) != users(next)
    }
}
