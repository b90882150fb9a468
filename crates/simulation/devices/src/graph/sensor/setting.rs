//! A sensor in its current mode: timings, exposure and gain, and its controls with their ranges.

use vb3_v4l2::{
    ControlFlags, ControlKind, ControlSpec, Flipping, MediaGraph, Sensor, SensorMode, cid,
};

/// `V4L2_EXPOSURE_MANUAL`, whose neighbours are automatic modes.
const MANUAL: i64 = 1;
/// Exposure in nanoseconds at which white saturates green with gain 1.
pub(super) const WHITE_NS: f64 = 10e6;
/// The mean of light that automatic exposure and gain reach, where white is 1.
///
/// Source: Linux 7.2 `ov5647_common_regs`: the middle of registers 0x3a0f and 0x3a10.
const TARGET: f64 = 84.0 / 255.0;

/// A sensor in its current mode.
pub(in crate::graph) struct Setting {
    entity: usize,
    pub(super) sensor: &'static Sensor,
    pub(super) mode: &'static SensorMode,
    graph: MediaGraph,
}

/// Converts to 32 bits. Values outside the range become the maximum.
fn narrow(value: i64) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

impl Setting {
    /// Returns the setting of an entity; `None` if it is not a sensor with modes.
    pub(in crate::graph) fn of(graph: &MediaGraph, entity: usize) -> Option<Self> {
        let sensor = graph.entity(entity)?.sensor?;
        let format = *graph.pads(entity)?.formats.first()?;
        Some(Self {
            entity,
            sensor,
            mode: sensor.nearest(format.width, format.height)?,
            graph: graph.clone(),
        })
    }

    pub(super) fn value(&self, id: u32, default: i64) -> i64 {
        self.graph.control(self.entity, id).unwrap_or(default)
    }

    fn vblank(&self) -> i64 {
        self.value(cid::VBLANK, self.mode.vblank())
    }

    fn hblank(&self) -> i64 {
        self.value(cid::HBLANK, self.mode.hblank())
    }

    /// Returns the length of a line with its blanking, in pixels.
    fn line(&self) -> i64 {
        i64::from(self.mode.size.0) + self.hblank()
    }

    fn most_exposure(&self) -> i64 {
        let lines = i64::from(self.mode.size.1) + self.vblank();
        (lines - i64::from(self.sensor.margin)).max(self.sensor.exposure.0.into())
    }

    /// Returns the exposure in lines.
    fn exposure(&self) -> i64 {
        let lines = self.value(cid::EXPOSURE, self.sensor.exposure.1.into());
        lines.clamp(self.sensor.exposure.0.into(), self.most_exposure())
    }

    /// Returns the time that the sensor needs for this many pixels, in nanoseconds.
    fn time_ns(&self, pixels: i64) -> u64 {
        let ns = i128::from(pixels) * 1_000_000_000 / i128::from(self.mode.pixel_rate.max(1));
        u64::try_from(ns).unwrap_or(0)
    }

    /// Returns the time of an exposure of this many lines, in nanoseconds.
    pub(super) fn exposure_ns(&self, lines: i64) -> u64 {
        self.time_ns(lines.saturating_mul(self.line()))
    }

    /// Returns the time from one frame to the next in nanoseconds.
    pub(in crate::graph) fn frame_ns(&self) -> u64 {
        let lines = i64::from(self.mode.size.1) + self.vblank();
        self.time_ns(lines.saturating_mul(self.line())).max(1)
    }

    /// Returns the product of analogue and digital gain in units of 1/256.
    fn gain(&self) -> u64 {
        let code = self.value(cid::ANALOGUE_GAIN, self.sensor.gain_codes.2.into());
        let digital = self.value(cid::DIGITAL_GAIN, 256);
        let analogue = self.sensor.gain.of(code);
        analogue.saturating_mul(u64::try_from(digital).unwrap_or(256)) / 256
    }

    /// Returns exposure in lines and gain in units of 1/256. Automatic modes choose them for this mean of light,
    /// where white is 1.
    pub(super) fn exposed(&self, mean: Option<f64>) -> (i64, u64) {
        let (mut lines, mut gain) = (self.exposure(), self.gain());
        let is_auto = |id, manual| self.value(id, manual) != manual;
        // Exposure in nanoseconds with gain 1.
        if let Some(wanted) = mean.map(|mean| TARGET / mean.max(1e-3) * WHITE_NS) {
            if is_auto(cid::EXPOSURE_AUTO, MANUAL) {
                let one = self.exposure_ns(1).max(1) as f64;
                // CAST: a conversion from a float saturates.
                let least = self.sensor.exposure.0.into();
                lines = ((wanted * 256.0 / gain.max(1) as f64 / one) as i64)
                    .clamp(least, self.most_exposure());
            }
            if is_auto(cid::AUTOGAIN, 0) {
                let (least, most, _) = self.sensor.gain_codes;
                // CAST: as above.
                gain = ((wanted * 256.0 / self.exposure_ns(lines).max(1) as f64) as u64).clamp(
                    self.sensor.gain.of(least.into()),
                    self.sensor.gain.of(most.into()),
                );
            }
        }
        (lines, gain)
    }

    /// Returns the controls whose ranges depend on the mode and on other controls, with their values.
    pub(super) fn ranges(&self) -> Vec<(ControlSpec, i64)> {
        let mode = self.mode;
        let integer = |id, name, (min, max): (i64, i64), default| {
            let range = (narrow(min), narrow(max), 1);
            ControlSpec::integer(id, name, range, narrow(default))
        };
        let (least, most) = self.sensor.lines;
        let vertical = (least.into(), i64::from(most) - i64::from(mode.size.1));
        let (first, most) = (self.sensor.exposure, self.most_exposure());
        let rate = ControlKind::Integer64 {
            min: mode.pixel_rate,
            max: mode.pixel_rate,
            step: 1,
            default: mode.pixel_rate,
        };
        let frequency = ControlKind::IntegerMenu {
            first: 0,
            items: self.sensor.links,
            default: mode.link,
        };
        let read_only = |id, name, kind| ControlSpec {
            id,
            name,
            kind,
            flags: ControlFlags::READ_ONLY,
            master: None,
            initial: None,
        };
        let (lines, default) = ((first.0.into(), most), i64::from(first.1).min(most));
        let exposure = integer(cid::EXPOSURE, "Exposure", lines, default);
        let vblank = integer(cid::VBLANK, "Vertical Blanking", vertical, mode.vblank());
        let (pixels, default) = (self.sensor.hblanks(mode), mode.hblank());
        let hblank = integer(cid::HBLANK, "Horizontal Blanking", pixels, default);
        let rate = read_only(cid::PIXEL_RATE, "Pixel Rate", rate);
        let frequency = read_only(cid::LINK_FREQ, "Link Frequency", frequency);
        vec![
            (exposure, self.exposure()),
            (vblank, self.vblank()),
            (hblank, self.hblank()),
            (rate, mode.pixel_rate),
            (frequency, mode.link.into()),
        ]
    }

    /// Returns all controls with their current ranges.
    pub(in crate::graph) fn controls(&self) -> Vec<ControlSpec> {
        let (least, most, first) = self.sensor.gain_codes;
        let mut all: Vec<_> = self.ranges().into_iter().map(|(spec, _)| spec).collect();
        all.extend([
            ControlSpec::integer(cid::ANALOGUE_GAIN, "Analogue Gain", (least, most, 1), first),
            ControlSpec::menu(cid::TEST_PATTERN, "Test Pattern", self.sensor.patterns, 0),
            ControlSpec::menu(
                cid::CAMERA_ORIENTATION,
                "Camera Orientation",
                &["Front", "Back", "External"],
                1,
            )
            .with(ControlFlags::READ_ONLY),
            ControlSpec::integer(
                cid::CAMERA_SENSOR_ROTATION,
                "Camera Sensor Rotation",
                (0, 0, 1),
                0,
            )
            .with(ControlFlags::READ_ONLY),
        ]);
        all.extend_from_slice(self.sensor.controls);
        if self.sensor.flipping != Flipping::Never {
            let flags = match self.sensor.flipping {
                Flipping::AtFormat => ControlFlags::MODIFY_LAYOUT,
                _ => ControlFlags::empty(),
            };
            let flip = |id, name| ControlSpec::boolean(id, name, false).with(flags);
            all.push(flip(cid::HFLIP, "Horizontal Flip"));
            all.push(flip(cid::VFLIP, "Vertical Flip"));
        }
        all
    }

    /// Limits the exposure to its range, and returns the controls that depend on the mode and on each other.
    pub(in crate::graph) fn take_ranges(&self) -> Vec<(ControlSpec, i64)> {
        let exposure = self.exposure();
        self.graph.set_control(self.entity, cid::EXPOSURE, exposure);
        self.ranges()
    }
}
