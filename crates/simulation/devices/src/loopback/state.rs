//! v4l2loopback's controls, which all open files of its node share.
//!
//! Source: v4l2loopback 0.13.2 v4l2loopback.c.

use vb3_v4l2::ControlSpec;

/// `V4L2LOOPBACK_CID_BASE`.
const BASE: u32 = 0x0098_f900;
const KEEP_FORMAT: u32 = BASE;
const SUSTAIN_FRAMERATE: u32 = BASE + 1;
const TIMEOUT: u32 = BASE + 2;
const TIMEOUT_IMAGE_IO: u32 = BASE + 3;
const MAX_TIMEOUT_MS: i32 = 100_000;

/// The values of the controls of v4l2loopback.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Settings {
    /// Whether the format is fixed, and readers may start before a writer.
    pub(super) keep_format: bool,
    /// Whether the newest frame is repeated if the writer is late.
    pub(super) sustain_framerate: bool,
    /// Time without a frame after which readers get the timeout image, in ms; 0 for never.
    pub(super) timeout_ms: u32,
    /// Whether the next opened file provides the timeout image.
    pub(super) timeout_image_io: bool,
}

impl Settings {
    /// Returns the values of the controls that programs can read.
    fn values(self) -> [(u32, i64); 3] {
        [
            (KEEP_FORMAT, self.keep_format.into()),
            (SUSTAIN_FRAMERATE, self.sustain_framerate.into()),
            (TIMEOUT, self.timeout_ms.into()),
        ]
    }

    pub(super) fn controls(self) -> Vec<ControlSpec> {
        let controls = [
            ControlSpec::boolean(KEEP_FORMAT, "keep_format", false),
            ControlSpec::boolean(SUSTAIN_FRAMERATE, "sustain_framerate", false),
            ControlSpec::integer(TIMEOUT, "timeout", (0, MAX_TIMEOUT_MS, 1), 0),
        ];
        let controls = controls.into_iter().zip(self.values());
        let controls = controls.map(|(control, (_, value))| ControlSpec {
            initial: Some(value),
            ..control
        });
        let image = ControlSpec::button(TIMEOUT_IMAGE_IO, "timeout_image_io");
        controls.chain([image]).collect()
    }

    /// Sets a control. The caller guarantees that the value is in the control's range.
    pub(super) fn set(&mut self, id: u32, value: i64) {
        match id {
            KEEP_FORMAT => self.keep_format = value != 0,
            SUSTAIN_FRAMERATE => self.sustain_framerate = value != 0,
            TIMEOUT => self.timeout_ms = u32::try_from(value).unwrap_or(0),
            TIMEOUT_IMAGE_IO => self.timeout_image_io = true,
            _ => {}
        }
    }

    /// Returns the controls whose values differ from `before`, with their new values.
    pub(super) fn changes(self, before: Self) -> impl Iterator<Item = (u32, i64)> {
        let pairs = self.values().into_iter().zip(before.values());
        pairs.filter_map(|(now, before)| (now != before).then_some(now))
    }
}
