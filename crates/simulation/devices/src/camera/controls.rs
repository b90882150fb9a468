//! The controls of a camera.

use crate::control::{counted, counter, slider};
use crate::hdmi::Hdmi;
use crate::likeness::Likeness;
use crate::settings::Settings;
use crate::surface::EINVAL;
use std::sync::Arc;
use vb3_picture::{Background, Picture};
use vb3_queue::DriverError;
use vb3_v4l2::{ControlFlags, ControlKind, ControlSpec, ControlValue, Port, cid};

/// The first free control id for drivers in the user class.
const FRAMES: u32 = cid::DRIVERS_OWN;

/// The menu of test patterns of a camera that plays a clip. The first item shows the clip. The other items
/// are those of [`Background::MENU`].
const CLIP_MENU: &[&str] = &[
    "Disabled",
    "75% Colorbar",
    "Grey Ramp",
    "Checkerboard",
    "Solid Grey",
];

/// The menu of a webcam's exposure modes. Few webcams offer the modes whose names are empty in this menu.
const EXPOSURE_MENU: &[&str] = &["", "Manual Mode", "", "Aperture Priority Mode"];
/// `V4L2_EXPOSURE_MANUAL`.
const MANUAL: i64 = 1;
/// `V4L2_EXPOSURE_APERTURE_PRIORITY`.
const APERTURE_PRIORITY: u32 = 3;
/// The exposure time that does not change the picture, in units of 100 µs.
const EXPOSURE: i32 = 156;

pub(super) struct Controls {
    pub(super) picture: Picture,
    /// The value of the gain control. `picture` has the product of this gain and the exposure.
    gain: u8,
    /// The exposure time that was set, in units of 100 µs; `None` for automatic exposure.
    exposure: Option<i32>,
    /// The exposure time that manual exposure uses, in units of 100 µs.
    manual: i32,
    pattern: i64,
    has_clip: bool,
    pub(super) is_webcam: bool,
    is_hdmi: bool,
    frames: u64,
    like: Option<Arc<Likeness>>,
}

impl Controls {
    pub(super) fn new(settings: &Settings, has_clip: bool, is_hdmi: bool) -> Self {
        let picture = Picture::default();
        let mut controls = Self {
            gain: picture.gain,
            picture,
            exposure: None,
            manual: EXPOSURE,
            pattern: 0,
            has_clip,
            is_webcam: settings.is_webcam,
            is_hdmi,
            frames: 0,
            like: settings.likeness.clone(),
        };
        for control in controls.controls() {
            if let Some(value) = control.initial {
                // An error only means that the value does not change the picture.
                let _ = controls.set_control(control.id, value);
            }
        }
        controls
    }

    /// Returns an HDMI input, or the inputs of the imitated camera; `None` for a camera's usual input.
    pub(super) fn ports(&self) -> Option<&[Port]> {
        if self.is_hdmi {
            return Some(&[Port {
                name: "HDMI",
                kind: 2,
            }]);
        }
        let ports = self.like.as_ref().map(|like| &*like.ports);
        ports.filter(|ports| !ports.is_empty())
    }

    /// Sets the picture's gain to the product of gain and exposure.
    fn expose(&mut self) {
        let time = self.exposure.unwrap_or(EXPOSURE);
        let gain = i32::from(self.gain).saturating_mul(time) / EXPOSURE;
        self.picture.gain = u8::try_from(gain).unwrap_or(u8::MAX);
    }

    /// Returns the controls that only webcams have. White balance does not affect the picture.
    ///
    /// Source: Linux 7.2 drivers/media/usb/uvc/uvc_ctrl.c `uvc_ctrl_mappings`, for names.
    fn of_webcam() -> [ControlSpec; 4] {
        let exposure = (1, 10_000, 1);
        [
            ControlSpec::boolean(cid::AUTO_WHITE_BALANCE, "White Balance, Automatic", true),
            ControlSpec::integer(
                cid::WHITE_BALANCE_TEMPERATURE,
                "White Balance Temperature",
                (2000, 7500, 10),
                4000,
            )
            .governed_by(cid::AUTO_WHITE_BALANCE, 0),
            ControlSpec::menu(
                cid::EXPOSURE_AUTO,
                "Auto Exposure",
                EXPOSURE_MENU,
                APERTURE_PRIORITY,
            ),
            ControlSpec::integer(
                cid::EXPOSURE_ABSOLUTE,
                "Exposure Time, Absolute",
                exposure,
                EXPOSURE,
            )
            .governed_by(cid::EXPOSURE_AUTO, MANUAL),
        ]
    }

    /// Returns the test pattern to show; `None` to show the clip. `is_clip` is true if a clip plays now.
    pub(super) const fn background(&self, is_clip: bool) -> Option<Background> {
        match (self.has_clip, self.pattern) {
            (false, _) if is_clip => None,
            (false, index) => Some(Background::from_index(index)),
            (true, 0) => None,
            (true, index) => Some(Background::from_index(index - 1)),
        }
    }

    /// Counts the frames that were produced, whether or not they had a buffer.
    pub(super) const fn count_frames(&mut self, count: u64) {
        self.frames = self.frames.saturating_add(count);
    }

    pub(super) fn controls(&self) -> Vec<ControlSpec> {
        if let Some(like) = &self.like {
            return like.controls.clone();
        }
        let items = if self.has_clip {
            CLIP_MENU
        } else {
            Background::MENU
        };
        let mut all = vec![
            slider(cid::BRIGHTNESS, "Brightness", (0, 255, 1), 128),
            slider(cid::CONTRAST, "Contrast", (0, 255, 1), 128),
            slider(cid::SATURATION, "Saturation", (0, 255, 1), 128),
            slider(cid::HUE, "Hue", (-128, 127, 1), 0),
            slider(cid::GAIN, "Gain", (0, 255, 1), 64),
            ControlSpec::boolean(cid::HFLIP, "Horizontal Flip", false),
            ControlSpec::boolean(cid::VFLIP, "Vertical Flip", false),
            counter(FRAMES, "Frames Produced"),
            ControlSpec::menu(cid::TEST_PATTERN, "Test Pattern", items, 0),
        ];
        if self.is_webcam {
            all.extend(Self::of_webcam());
            // Source: Linux 7.2 `__uvc_query_v4l2_ctrl`: a webcam has GET_MIN and GET_MAX for numbers.
            let bounded = ControlFlags::HAS_WHICH_MIN_MAX;
            let is_number =
                |control: &&mut ControlSpec| matches!(control.kind, ControlKind::Integer { .. });
            let numbers = all.iter_mut().filter(is_number);
            numbers.for_each(|control| control.flags = control.flags.union(bounded));
        }
        if self.is_hdmi {
            all.retain(|control| ![cid::GAIN, cid::HFLIP, cid::VFLIP].contains(&control.id));
            all.extend(Hdmi::controls());
        }
        all
    }

    /// Applies a control's value to the picture. The control's range is mapped to the range of the picture's
    /// own setting, with the control's default as the neutral value.
    pub(super) fn set_control(&mut self, id: u32, value: i64) -> Result<(), DriverError> {
        let mut all = self.controls().into_iter();
        let control = all.find(|control| control.id == id).ok_or(EINVAL)?;
        let scaled = |low: i64, neutral: i64, high: i64| match control.kind {
            ControlKind::Integer {
                min, max, default, ..
            } => {
                let (min, max, default) = (i64::from(min), i64::from(max), i64::from(default));
                match value < default {
                    true => neutral - (neutral - low) * (default - value) / (default - min).max(1),
                    false => {
                        neutral + (high - neutral) * (value - default) / (max - default).max(1)
                    }
                }
            }
            _ => neutral,
        };
        let byte = |neutral: u8| u8::try_from(scaled(0, neutral.into(), 255)).map_err(|_| EINVAL);
        let neutral = Picture::default();
        match id {
            cid::BRIGHTNESS => self.picture.brightness = byte(neutral.brightness)?,
            cid::CONTRAST => self.picture.contrast = byte(neutral.contrast)?,
            cid::SATURATION => self.picture.saturation = byte(neutral.saturation)?,
            cid::HUE => {
                self.picture.hue = i8::try_from(scaled(-128, 0, 127)).map_err(|_| EINVAL)?
            }
            cid::GAIN => self.gain = byte(neutral.gain)?,
            cid::HFLIP => self.picture.hflip = value != 0,
            cid::VFLIP => self.picture.vflip = value != 0,
            // The pictures of an imitated camera do not follow its exposure.
            _ if self.like.is_some() => {}
            cid::EXPOSURE_AUTO => {
                self.exposure = (value == MANUAL).then_some(self.manual);
            }
            cid::EXPOSURE_ABSOLUTE => {
                self.manual = i32::try_from(value).map_err(|_| EINVAL)?;
                self.exposure = self.exposure.map(|_| self.manual);
            }
            cid::TEST_PATTERN => self.pattern = value,
            _ => {}
        }
        self.expose();
        Ok(())
    }

    pub(super) fn volatile_control(&self, id: u32) -> Option<ControlValue> {
        let is_own = id == FRAMES && self.like.is_none();
        is_own.then(|| counted(self.frames))
    }
}
