//! Sony's IMX219.
//!
//! Source: Linux drivers/media/i2c/imx219.c of an earlier version than 7.2; black level and gain: libcamera 0.4
//! src/ipa/libipa/camera_sensor_helper.cpp. Differs: no event reports that the sensor grabs its flips while it
//! streams. Patches for later versions add longer lines, and a higher pixel rate in modes that bin.

use vb3_v4l2::{Gain, Rect, Sensor, SensorMode};

const ACTIVE: Rect = Rect::new(8, 8, 3280, 2464);

const fn mode(size: (u32, u32), crop: Rect, frame: u32) -> SensorMode {
    SensorMode {
        size,
        crop,
        pixel_rate: 182_400_000,
        line: 3448,
        frame,
        link: 0,
    }
}

/// The sensor. Its modes: the whole array at 15 frames per second, and three modes at 30.
pub(super) static IMX219: Sensor = Sensor {
    model: "imx219",
    native: (3296, 2480),
    active: ACTIVE,
    modes: &[
        mode((3280, 2464), ACTIVE, 3526),
        mode(
            (1920, 1080),
            Rect {
                left: 688,
                top: 700,
                width: 1920,
                height: 1080,
            },
            1763,
        ),
        mode((1640, 1232), ACTIVE, 1763),
        mode(
            (640, 480),
            Rect {
                left: 1008,
                top: 760,
                width: 1280,
                height: 960,
            },
            1763,
        ),
    ],
    longest_line: None,
    lines: (4, 0xffff),
    exposure: (4, 0x640),
    margin: 4,
    gain_codes: (0, 232, 0),
    gain: Gain::Inverse { top: 256 },
    digital: Some(0xfff),
    black: 64,
    links: &[Some(456_000_000)],
    flips: true,
    patterns: &["Disabled", "Color Bars", "Solid Color", "", ""],
};
