//! OmniVision's OV5647.
//!
//! Source: Linux 7.2 drivers/media/i2c/ov5647.c; black level and gain: libcamera 0.4
//! src/ipa/libipa/camera_sensor_helper.cpp. Differs: automatic exposure and gain need no time to settle.

use super::receiver::{behind_receiver, mode};
use vb3_v4l2::{ControlSpec, Flipping, FourCc, Gain, Rect, Sensor, SensorMode, cid, sys};

const FULL: i64 = 87_500_000;
const ACTIVE: Rect = Rect::new(16, 6, 2592, 1944);
const CENTRE: Rect = Rect::new(364, 440, 1928, 1080);
const BINNED: Rect = Rect::new(32, 6, 2560, 1920);

const SMALLEST: SensorMode = SensorMode {
    link: 1,
    ..mode(58_333_000, (640, 480), BINNED, (1852, 504))
};

static OV5647: Sensor = Sensor {
    model: "ov5647",
    native: (2624, 1956),
    active: ACTIVE,
    modes: &[
        mode(FULL, (2592, 1944), ACTIVE, (2844, 1968)),
        mode(FULL, (1920, 1080), CENTRE, (2416, 1104)),
        mode(FULL, (1296, 972), ACTIVE, (1896, 1435)),
        SMALLEST,
    ],
    initial: SMALLEST,
    longest_line: 0x1fff,
    keeps_line: false,
    lines: (24, 32767),
    exposure: (4, 1000),
    margin: 4,
    gain_codes: (16, 1023, 32),
    gain: Gain::Linear { unit: 16 },
    controls: &[
        ControlSpec::boolean(cid::AUTOGAIN, "Gain, Automatic", false),
        ControlSpec::boolean(cid::AUTO_WHITE_BALANCE, "White Balance, Automatic", false),
        ControlSpec::menu(
            cid::EXPOSURE_AUTO,
            "Auto Exposure",
            &["Auto Mode", "Manual Mode"],
            1,
        ),
    ],
    black: 16,
    links: &[Some(218_750_000), Some(145_833_300)],
    flipping: Flipping::AtOnce,
    patterns: &["Disabled", "Color Bars", "Color Squares", "Random Data"],
};

const BUS_CODES: &[u32] = &[sys::MEDIA_BUS_FMT_SGBRG10_1X10];
behind_receiver!(
    TOPOLOGY,
    OV5647,
    "ov5647 10-0036",
    BUS_CODES,
    FourCc::SGBRG10P
);
