//! Image sensors behind Qualcomm's camera receiver (CAMSS): topologies, controls and timings.
//!
//! Source: Linux 7.2 drivers/media/platform/qcom/camss. Differs: the device has one line of one VFE; initially,
//! the video node and the pads have the sensor's format; pads accept only what a sensor sends, and keep its
//! colours.
//!
//! docs/exposure.svg shows the mean samples while libcamera 0.4's software ISP sets exposure and gain.

mod imx219;
mod ov5647;
mod raw;
#[cfg(test)]
mod tests;

pub(super) use raw::Raw;

use crate::mode::COLOR;
use imx219::{IMX219, IMX219_4LANE};
use ov5647::OV5647;
use vb3_v4l2::{
    Colorimetry, ControlFlags, ControlKind, ControlSpec, EntityNode, EntitySpec, Flipping, Follows,
    FourCc, LinkSpec, MOSAICS, MbusFormat, MediaGraph, PadSpec, Rect, Sensor, SensorMode, Topology,
    cid, sys,
};

/// Pixel formats, each with the bus codes that it can store, in Linux's order.
const PIXELS: &[(FourCc, &[u32])] = &[
    (FourCc::SBGGR8, &[sys::MEDIA_BUS_FMT_SBGGR8_1X8]),
    (FourCc::SGBRG8, &[sys::MEDIA_BUS_FMT_SGBRG8_1X8]),
    (FourCc::SGRBG8, &[sys::MEDIA_BUS_FMT_SGRBG8_1X8]),
    (FourCc::SRGGB8, &[sys::MEDIA_BUS_FMT_SRGGB8_1X8]),
    (FourCc::SBGGR10P, &[sys::MEDIA_BUS_FMT_SBGGR10_1X10]),
    (FourCc::SGBRG10P, &[sys::MEDIA_BUS_FMT_SGBRG10_1X10]),
    (FourCc::SGRBG10P, &[sys::MEDIA_BUS_FMT_SGRBG10_1X10]),
    (FourCc::SRGGB10P, &[sys::MEDIA_BUS_FMT_SRGGB10_1X10]),
];

/// Bus codes that the receiver passes on unchanged.
const RAW: &[u32] = MOSAICS.as_flattened();

const ENABLED: u32 = sys::MEDIA_LNK_FL_ENABLED;
const FIXED: u32 = ENABLED | sys::MEDIA_LNK_FL_IMMUTABLE;

const RAW_COLORS: Colorimetry = Colorimetry {
    colorspace: sys::V4L2_COLORSPACE_RAW,
    ..COLOR
};

/// Declares the topology that connects a sensor to the receiver.
macro_rules! behind_receiver {
    ($topology:ident, $sensor:expr, $name:literal, $codes:expr, $pixel:expr) => {
        static $topology: Topology = {
            const CODES: &[u32] = $codes;
            const SENSOR: &[PadSpec] = &[PadSpec::new(
                sys::MEDIA_PAD_FL_SOURCE,
                CODES,
                CODES[0],
                Follows::Nothing,
            )];
            const RECEIVER: &[PadSpec] = &[
                PadSpec::new(sys::MEDIA_PAD_FL_SINK, RAW, CODES[0], Follows::Nothing),
                PadSpec::new(sys::MEDIA_PAD_FL_SOURCE, RAW, CODES[0], Follows::Everything),
            ];
            const VIDEO: &[PadSpec] = &[PadSpec::new(
                sys::MEDIA_PAD_FL_SINK,
                &[],
                $pixel.0,
                Follows::Nothing,
            )];
            const FORMATTER: u32 = sys::MEDIA_ENT_F_PROC_VIDEO_PIXEL_FORMATTER;
            Topology {
                driver: "qcom-camss",
                card: "Qualcomm Camera Subsystem",
                model: "Qualcomm Camera Subsystem",
                bus_info: "platform:ac6a000.camss",
                device: "ac6a000.camss",
                entities: &[
                    EntitySpec::subdevice("msm_csiphy0", sys::MEDIA_ENT_F_VID_IF_BRIDGE, RECEIVER),
                    EntitySpec::subdevice("msm_csiphy1", sys::MEDIA_ENT_F_VID_IF_BRIDGE, RECEIVER),
                    EntitySpec::subdevice("msm_csid0", FORMATTER, RECEIVER),
                    EntitySpec::subdevice("msm_csid1", FORMATTER, RECEIVER),
                    EntitySpec::subdevice("msm_vfe0_rdi0", FORMATTER, RECEIVER),
                    EntitySpec {
                        node: EntityNode::Video,
                        ..EntitySpec::subdevice("msm_vfe0_video0", sys::MEDIA_ENT_F_IO_V4L, VIDEO)
                    },
                    EntitySpec {
                        sensor: Some(&$sensor),
                        ..EntitySpec::subdevice($name, sys::MEDIA_ENT_F_CAM_SENSOR, SENSOR)
                    },
                ],
                links: &[
                    LinkSpec::new((0, 1), (2, 0), 0),
                    LinkSpec::new((0, 1), (3, 0), 0),
                    LinkSpec::new((1, 1), (2, 0), 0),
                    LinkSpec::new((1, 1), (3, 0), 0),
                    LinkSpec::new((2, 1), (4, 0), 0),
                    LinkSpec::new((3, 1), (4, 0), 0),
                    LinkSpec::new((4, 1), (5, 0), FIXED),
                    LinkSpec::new((6, 0), (0, 0), FIXED),
                ],
                exclusive_pads: true,
                ancillary: &[],
                pixels: PIXELS,
                compares_colors: false,
                file_io: true,
                removes_buffers: false,
                fixed_while_streaming: false,
                width: (1, 8191),
                height: (1, 8191),
                even: false,
                default: MbusFormat {
                    width: $sensor.initial.size.0,
                    height: $sensor.initial.size.1,
                    code: CODES[0],
                    color: RAW_COLORS,
                },
            }
        };
    };
}

/// Returns a mode that uses the sensor's first link.
const fn mode(
    pixel_rate: i64,
    size: (u32, u32),
    crop: Rect,
    (line, frame): (u32, u32),
) -> SensorMode {
    SensorMode {
        size,
        crop,
        pixel_rate,
        line,
        frame,
        link: 0,
    }
}

const IMX219_CODES: &[u32] = &[
    sys::MEDIA_BUS_FMT_SRGGB10_1X10,
    sys::MEDIA_BUS_FMT_SRGGB8_1X8,
];
behind_receiver!(
    BEHIND_IMX219,
    IMX219,
    "imx219 10-0010",
    IMX219_CODES,
    FourCc::SRGGB10P
);
behind_receiver!(
    BEHIND_IMX219_4LANE,
    IMX219_4LANE,
    "imx219 10-0010",
    IMX219_CODES,
    FourCc::SRGGB10P
);
behind_receiver!(
    BEHIND_OV5647,
    OV5647,
    "ov5647 10-0036",
    &[sys::MEDIA_BUS_FMT_SGBRG10_1X10],
    FourCc::SGBRG10P
);

/// The models of sensors, as the help for a SPEC names them.
pub(crate) const MODELS: &str = "imx219, imx219-4lane or ov5647";

/// Returns the topology of a model. An empty name stands for the first model.
pub(crate) fn topology(model: &str) -> Option<&'static Topology> {
    let all = [&BEHIND_IMX219, &BEHIND_IMX219_4LANE, &BEHIND_OV5647];
    all.into_iter().find(|topology| {
        let mut sensors = topology.entities.iter().filter_map(|entity| entity.sensor);
        model.is_empty() || sensors.any(|sensor| sensor.model == model)
    })
}

/// `V4L2_EXPOSURE_MANUAL`, whose neighbours are automatic modes.
const MANUAL: i64 = 1;
/// Exposure in nanoseconds at which white saturates green with gain 1.
const WHITE_NS: f64 = 10e6;
/// The mean of light that automatic exposure and gain reach, where white is 1.
///
/// Source: Linux 7.2 `ov5647_common_regs`: the middle of registers 0x3a0f and 0x3a10.
const TARGET: f64 = 84.0 / 255.0;

/// A sensor in its current mode.
pub(super) struct Setting {
    entity: usize,
    sensor: &'static Sensor,
    pub(super) mode: &'static SensorMode,
    graph: MediaGraph,
}

/// Converts to 32 bits. Values outside the range become the maximum.
fn narrow(value: i64) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

impl Setting {
    /// Returns the setting of an entity; `None` if it is not a sensor with modes.
    pub(super) fn of(graph: &MediaGraph, entity: usize) -> Option<Self> {
        let sensor = graph.entity(entity)?.sensor?;
        let format = *graph.pads(entity)?.formats.first()?;
        Some(Self {
            entity,
            sensor,
            mode: sensor.nearest(format.width, format.height)?,
            graph: graph.clone(),
        })
    }

    fn value(&self, id: u32, default: i64) -> i64 {
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
    fn exposure_ns(&self, lines: i64) -> u64 {
        self.time_ns(lines.saturating_mul(self.line()))
    }

    /// Returns the time from one frame to the next in nanoseconds.
    pub(super) fn frame_ns(&self) -> u64 {
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
    fn exposed(&self, mean: Option<f64>) -> (i64, u64) {
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
    fn ranges(&self) -> Vec<(ControlSpec, i64)> {
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
    pub(super) fn controls(&self) -> Vec<ControlSpec> {
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
    pub(super) fn take_ranges(&self) -> Vec<(ControlSpec, i64)> {
        let exposure = self.exposure();
        self.graph.set_control(self.entity, cid::EXPOSURE, exposure);
        self.ranges()
    }
}
