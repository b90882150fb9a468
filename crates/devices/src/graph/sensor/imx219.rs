//! Sony's IMX219.
//!
//! Source: Linux 7.2 drivers/media/i2c/imx219.c with two lanes; black level and gain: libcamera 0.4
//! src/ipa/libipa/camera_sensor_helper.cpp. Differs: no event reports that the sensor grabs its flips while it
//! streams; two test patterns and the colour of the solid one are missing.

use vb3_v4l2::{Flipping, Gain, Rect, Sensor, SensorMode};

const ACTIVE: Rect = Rect::new(8, 8, 3280, 2464);

const WHOLE: SensorMode = SensorMode {
    size: (3280, 2464),
    crop: ACTIVE,
    pixel_rate: 182_400_000,
    line: 3448,
    frame: 3526,
    link: 0,
};

/// Returns a mode that bins 2x2 pixels. The sensor then reads two lines at once.
const fn binned(size: (u32, u32), crop: Rect) -> SensorMode {
    SensorMode {
        size,
        crop,
        pixel_rate: 2 * WHOLE.pixel_rate,
        line: 3560,
        frame: 1707,
        link: 0,
    }
}

/// The sensor. Its modes have 15, 30, 60 and 60 frames per second.
pub(super) static IMX219: Sensor = Sensor {
    model: "imx219",
    native: (3296, 2480),
    active: ACTIVE,
    modes: &[
        WHOLE,
        SensorMode {
            size: (1920, 1080),
            crop: Rect::new(688, 700, 1920, 1080),
            frame: 1763,
            ..WHOLE
        },
        binned((1640, 1232), ACTIVE),
        binned((640, 480), Rect::new(1008, 760, 1280, 960)),
    ],
    initial: WHOLE,
    longest_line: 0x7ff0,
    keeps_line: true,
    lines: (32, 0xfffe),
    exposure: (4, 0x640),
    margin: 4,
    gain_codes: (0, 232, 0),
    gain: Gain::Inverse { top: 256 },
    digital: Some(0xfff),
    black: 64,
    links: &[Some(456_000_000)],
    flipping: Flipping::AtFormat,
    patterns: &["Disabled", "Color Bars", "Solid Color", "", ""],
};
