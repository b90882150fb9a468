//! Sony's IMX219.
//!
//! Source: Linux 7.2 drivers/media/i2c/imx219.c; black level and gain: libcamera 0.4
//! src/ipa/libipa/camera_sensor_helper.cpp. Differs: no event reports that the sensor grabs its flips while it
//! streams.

use super::receiver::{behind_receiver, mode};
use vb3_v4l2::{ControlSpec, Flipping, FourCc, Gain, Rect, Sensor, SensorMode, cid, sys};

const ACTIVE: Rect = Rect::new(8, 8, 3280, 2464);

/// Returns the modes for a rate of pixels per second. A mode that bins 2x2 pixels reads two lines at once.
const fn modes(pixel_rate: i64) -> [SensorMode; 4] {
    let centre = Rect::new(688, 700, 1920, 1080);
    let (half, binned) = (Rect::new(1008, 760, 1280, 960), (3560, 1707));
    [
        mode(pixel_rate, (3280, 2464), ACTIVE, (3448, 3526)),
        mode(pixel_rate, (1920, 1080), centre, (3448, 1763)),
        mode(2 * pixel_rate, (1640, 1232), ACTIVE, binned),
        mode(2 * pixel_rate, (640, 480), half, binned),
    ]
}

const fn solid(id: u32, name: &'static str) -> ControlSpec {
    ControlSpec::integer(id, name, (0, 1023, 1), 1023)
}

const CONTROLS: &[ControlSpec] = &[
    ControlSpec::integer(cid::DIGITAL_GAIN, "Digital Gain", (256, 0xfff, 1), 256),
    solid(cid::TEST_PATTERN_RED, "Red Pixel Value"),
    solid(cid::TEST_PATTERN_GREENR, "Green (Red) Pixel Value"),
    solid(cid::TEST_PATTERN_BLUE, "Blue Pixel Value"),
    solid(cid::TEST_PATTERN_GREENB, "Green (Blue) Pixel Value"),
];

const fn sensor(
    model: &'static str,
    modes: &'static [SensorMode; 4],
    links: &'static [Option<i64>],
) -> Sensor {
    Sensor {
        model,
        native: (3296, 2480),
        active: ACTIVE,
        modes,
        initial: modes[0],
        longest_line: 0x7ff0,
        keeps_line: true,
        lines: (32, 0xfffe),
        exposure: (4, 0x640),
        margin: 4,
        gain_codes: (0, 232, 0),
        gain: Gain::Inverse { top: 256 },
        controls: CONTROLS,
        black: 64,
        links,
        flipping: Flipping::AtFormat,
        patterns: &[
            "Disabled",
            "Color Bars",
            "Solid Color",
            "Grey Color Bars",
            "PN9",
        ],
    }
}

/// The sensor with two lanes. Its modes have 15, 30, 60 and 60 frames per second.
static IMX219: Sensor = sensor(
    "imx219",
    &const { modes(182_400_000) },
    &[Some(456_000_000)],
);
/// The sensor with four lanes. Its modes have 23, 46, 93 and 93 frames per second.
static IMX219_4LANE: Sensor = sensor(
    "imx219-4lane",
    &const { modes(281_600_000) },
    &[Some(364_000_000)],
);

const BUS_CODES: &[u32] = &[
    sys::MEDIA_BUS_FMT_SRGGB10_1X10,
    sys::MEDIA_BUS_FMT_SRGGB8_1X8,
];
behind_receiver!(
    TOPOLOGY,
    IMX219,
    "imx219 10-0010",
    BUS_CODES,
    FourCc::SRGGB10P
);
behind_receiver!(
    TOPOLOGY_4LANE,
    IMX219_4LANE,
    "imx219 10-0010",
    BUS_CODES,
    FourCc::SRGGB10P
);
