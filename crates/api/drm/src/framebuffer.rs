//! Framebuffers: pictures in buffers.

use crate::Error;
use crate::format::{Format, INVALID, LINEAR};
use crate::host::BufferId;

/// Smallest and largest width and height of framebuffers and modes, in pixels.
pub(crate) const SIZES: (u32, u32) = (10, 8192);

/// A plane of a framebuffer in a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FramebufferPlane {
    /// The buffer.
    pub buffer: BufferId,
    /// Offset of the first line in bytes.
    pub offset: u64,
    /// Distance of lines in bytes.
    pub pitch: u32,
}

/// A picture in one or more buffers.
#[derive(Debug)]
pub struct Framebuffer {
    /// Its id.
    pub id: u32,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// The pixel format.
    pub format: &'static Format,
    /// The planes, in the order of the format.
    pub planes: Vec<FramebufferPlane>,
    /// `DRM_MODE_FB_INTERLACED`.
    pub(crate) flags: u32,
}

/// A request for a framebuffer (`drm_mode_fb_cmd2`).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) code: u32,
    pub(crate) flags: u32,
    pub(crate) handles: [u32; 4],
    pub(crate) pitches: [u32; 4],
    pub(crate) offsets: [u32; 4],
    pub(crate) modifiers: [u64; 4],
}

/// `DRM_MODE_FB_INTERLACED` and `DRM_MODE_FB_MODIFIERS`.
const INTERLACED: u32 = 1;
pub(crate) const MODIFIERS: u32 = 2;

impl Wanted {
    /// Returns a request for a picture in one buffer: its size, format, handle and pitch.
    pub(crate) fn packed(
        (width, height): (u32, u32),
        code: u32,
        (handle, pitch): (u32, u32),
    ) -> Self {
        Self {
            width,
            height,
            code,
            handles: [handle, 0, 0, 0],
            pitches: [pitch, 0, 0, 0],
            ..Self::default()
        }
    }

    /// Checks the request as `drm_internal_framebuffer_create` and `framebuffer_check` do. Returns the format.
    pub(crate) fn check(
        &self,
        offered: &[&'static Format],
        pitch_align: u32,
    ) -> Result<&'static Format, Error> {
        if self.flags & !(INTERLACED | MODIFIERS) != 0 {
            return Err(Error::Invalid("flags", self.flags.into()));
        }
        for (what, size) in [("width", self.width), ("height", self.height)] {
            if !(SIZES.0..=SIZES.1).contains(&size) {
                return Err(Error::Invalid(what, size.into()));
            }
        }
        let mut offered = offered.iter().copied();
        let format = offered.find(|format| format.code == self.code);
        let format = format.ok_or(Error::Invalid("pixel_format", self.code.into()))?;
        let has_modifiers = self.flags & MODIFIERS != 0;
        for plane in 0..4 {
            let [handle, pitch, offset] =
                [self.handles, self.pitches, self.offsets].map(|all| all[plane]);
            let modifier = self.modifiers[plane];
            if plane >= format.bytes.len() {
                if has_modifiers && (handle, pitch, offset) != (0, 0, 0) {
                    return Err(Error::Invalid(
                        "handle, pitch or offset of an unused plane",
                        plane as u64,
                    ));
                }
                if modifier != 0 {
                    return Err(Error::Invalid("modifier of an unused plane", modifier));
                }
                continue;
            }
            let (line, lines) = format.plane(plane, self.width, self.height);
            if handle == 0 {
                return Err(Error::Invalid("handle", 0));
            }
            let bytes = lines.saturating_mul(pitch.into());
            if bytes.saturating_add(offset.into()) > u64::from(u32::MAX) {
                return Err(Error::Range("offset plus size", offset.into()));
            }
            if u64::from(pitch) < line {
                let what = "pitch in bytes";
                return Err(Error::TooSmall {
                    what,
                    found: pitch.into(),
                    wanted: line,
                });
            }
            if !pitch.is_multiple_of(pitch_align.max(1)) {
                let what = "pitch (not aligned as the card needs it)";
                return Err(Error::Invalid(what, pitch.into()));
            }
            let known = if has_modifiers { LINEAR } else { 0 };
            if modifier != known || modifier == INVALID || modifier != self.modifiers[0] {
                return Err(Error::Invalid("modifier", modifier));
            }
        }
        Ok(format)
    }

    /// Returns the bytes that a plane's buffer must have. The last line needs no padding.
    pub(crate) fn needed(&self, format: &Format, plane: usize) -> u64 {
        let (line, lines) = format.plane(plane, self.width, self.height);
        let [pitch, offset] = [self.pitches, self.offsets].map(|all| all[plane]);
        let before = lines.saturating_sub(1).saturating_mul(pitch.into());
        before.saturating_add(line).saturating_add(offset.into())
    }
}
