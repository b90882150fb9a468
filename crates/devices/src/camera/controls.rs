//! The controls of a camera.

use crate::source::{Background, Picture};
use crate::surface::EINVAL;
use vb3_queue::DriverError;
use vb3_v4l2::{ControlFlags, ControlSpec, ControlValue, cid};

/// The first free control id for drivers in the user class.
const FRAMES: u32 = cid::DRIVERS_OWN;

/// [`Background::MENU`] after an item for the clip itself.
const CLIP_MENU: &[&str] = &[
    "Disabled",
    "75% Colorbar",
    "Grey Ramp",
    "Checkerboard",
    "Solid Grey",
];

/// Values of a camera's controls.
#[derive(Debug)]
pub(super) struct Controls {
    picture: Picture,
    pattern: i64,
    has_clip: bool,
    frames: u64,
}

impl Controls {
    pub(super) fn new(has_clip: bool) -> Self {
        Self {
            picture: Picture::default(),
            pattern: 0,
            has_clip,
            frames: 0,
        }
    }

    pub(super) const fn picture(&self) -> &Picture {
        &self.picture
    }

    /// Returns the test pattern to show; `None` for the clip.
    pub(super) const fn background(&self) -> Option<Background> {
        match (self.has_clip, self.pattern) {
            (false, index) => Some(Background::from_index(index)),
            (true, 0) => None,
            (true, index) => Some(Background::from_index(index - 1)),
        }
    }

    /// Counts produced frames, with or without a buffer.
    pub(super) const fn count_frames(&mut self, count: u64) {
        self.frames = self.frames.saturating_add(count);
    }

    pub(super) fn declare(&self) -> Vec<ControlSpec> {
        let slider = |id, name, range, default| {
            ControlSpec::integer(id, name, range, default).with(ControlFlags::SLIDER)
        };
        let items = if self.has_clip {
            CLIP_MENU
        } else {
            Background::MENU
        };
        vec![
            slider(cid::BRIGHTNESS, "Brightness", (0, 255, 1), 128),
            slider(cid::CONTRAST, "Contrast", (0, 255, 1), 128),
            slider(cid::SATURATION, "Saturation", (0, 255, 1), 128),
            slider(cid::HUE, "Hue", (-128, 127, 1), 0),
            slider(cid::GAIN, "Gain", (0, 255, 1), 64),
            ControlSpec::boolean(cid::HFLIP, "Horizontal Flip", false),
            ControlSpec::boolean(cid::VFLIP, "Vertical Flip", false),
            ControlSpec::integer(FRAMES, "Frames Produced", (0, i32::MAX, 1), 0)
                .with(ControlFlags::READ_ONLY.union(ControlFlags::VOLATILE)),
            ControlSpec::menu(cid::TEST_PATTERN, "Test Pattern", items, 0),
        ]
    }

    pub(super) fn set(&mut self, id: u32, value: i64) -> Result<(), DriverError> {
        let byte = || u8::try_from(value).map_err(|_| EINVAL);
        match id {
            cid::BRIGHTNESS => self.picture.brightness = byte()?,
            cid::CONTRAST => self.picture.contrast = byte()?,
            cid::SATURATION => self.picture.saturation = byte()?,
            cid::HUE => self.picture.hue = i8::try_from(value).map_err(|_| EINVAL)?,
            cid::GAIN => self.picture.gain = byte()?,
            cid::HFLIP => self.picture.hflip = value != 0,
            cid::VFLIP => self.picture.vflip = value != 0,
            cid::TEST_PATTERN => self.pattern = value,
            _ => return Err(EINVAL),
        }
        Ok(())
    }

    pub(super) fn volatile(&self, id: u32) -> Option<ControlValue> {
        let frames = i64::try_from(self.frames)
            .unwrap_or(i64::MAX)
            .min(i64::from(i32::MAX));
        (id == FRAMES).then_some(ControlValue::Number(frames))
    }
}
