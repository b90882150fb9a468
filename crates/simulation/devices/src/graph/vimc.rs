//! The topology of Linux's virtual media controller.
//!
//! Source: Linux 7.2 drivers/media/test-drivers/vimc. Differs: some of the sensor's test patterns and
//! its overlay text are missing, as are the blanking controls and pixel rate of Linux 7.3; the scaler and
//! all captures have progressive frames only; captures list even sizes only.

use crate::colors::COLOR;
use crate::control::slider;
use vb3_v4l2::{
    ControlSpec, EntityNode, EntitySpec, Follows, FourCc, LinkSpec, MbusFormat, PadSpec, Topology,
    cid, sys,
};

/// `VIMC_CID_TEST_PATTERN`.
pub(super) const TEST_PATTERN: u32 = 0x00f0_f000;
/// `VIMC_CID_MEAN_WIN_SIZE`.
pub(super) const MEAN_WINDOW: u32 = 0x00f0_f001;
/// `VIMC_CID_OSD_TEXT_MODE`.
const OVERLAY: u32 = 0x00f0_f002;

const SINK: u32 = sys::MEDIA_PAD_FL_SINK;
const SOURCE: u32 = sys::MEDIA_PAD_FL_SOURCE;
const ENABLED: u32 = sys::MEDIA_LNK_FL_ENABLED;
const FIXED: u32 = ENABLED | sys::MEDIA_LNK_FL_IMMUTABLE;

/// Groups of bus codes, each in Linux's order.
const BGR: &[u32] = &[
    sys::MEDIA_BUS_FMT_BGR888_1X24,
    sys::MEDIA_BUS_FMT_BGR888_3X8,
];
const RGB: &[u32] = &[
    sys::MEDIA_BUS_FMT_RGB888_1X24,
    sys::MEDIA_BUS_FMT_RGB888_2X12_BE,
    sys::MEDIA_BUS_FMT_RGB888_2X12_LE,
    sys::MEDIA_BUS_FMT_RGB888_3X8,
    sys::MEDIA_BUS_FMT_RGB888_1X7X4_SPWG,
    sys::MEDIA_BUS_FMT_RGB888_1X7X4_JEIDA,
    sys::MEDIA_BUS_FMT_RGB888_1X32_PADHI,
];
const GBR: &[u32] = &[sys::MEDIA_BUS_FMT_GBR888_1X24];
const ARGB: &[u32] = &[sys::MEDIA_BUS_FMT_ARGB8888_1X32];
const RAW8: &[u32] = &vb3_v4l2::MOSAICS[0];
const RAW10: &[u32] = &vb3_v4l2::MOSAICS[1];
const ALAW: &[u32] = &[
    sys::MEDIA_BUS_FMT_SBGGR10_ALAW8_1X8,
    sys::MEDIA_BUS_FMT_SGBRG10_ALAW8_1X8,
    sys::MEDIA_BUS_FMT_SGRBG10_ALAW8_1X8,
    sys::MEDIA_BUS_FMT_SRGGB10_ALAW8_1X8,
];
const DPCM: &[u32] = &[
    sys::MEDIA_BUS_FMT_SBGGR10_DPCM8_1X8,
    sys::MEDIA_BUS_FMT_SGBRG10_DPCM8_1X8,
    sys::MEDIA_BUS_FMT_SGRBG10_DPCM8_1X8,
    sys::MEDIA_BUS_FMT_SRGGB10_DPCM8_1X8,
];
const RAW12: &[u32] = &[
    sys::MEDIA_BUS_FMT_SBGGR12_1X12,
    sys::MEDIA_BUS_FMT_SGBRG12_1X12,
    sys::MEDIA_BUS_FMT_SGRBG12_1X12,
    sys::MEDIA_BUS_FMT_SRGGB12_1X12,
];

/// Bus codes that sensors support.
const SENSED: &[u32] = &join::<31>(&[BGR, RGB, GBR, ARGB, RAW8, RAW10, ALAW, DPCM, RAW12]);
/// Bus codes that the scaler supports.
const SCALED: &[u32] = &join::<11>(&[BGR, RGB, GBR, ARGB]);
/// Bus codes that a debayer accepts at its sink pad.
const MOSAICS: &[u32] = &join::<12>(&[RAW8, RAW10, RAW12]);
/// Bus codes that a debayer lists for its source pad.
const DEBAYERED: &[u32] = &join::<10>(&[GBR, BGR, RGB]);

/// Pixel formats, each with the bus codes that it can store.
const PIXELS: &[(FourCc, &[u32])] = &[
    (FourCc::BGR24, BGR),
    (FourCc::RGB24, &join::<8>(&[RGB, GBR])),
    (FourCc::ARGB32, ARGB),
    (FourCc::SBGGR8, &[RAW8[0]]),
    (FourCc::SGBRG8, &[RAW8[1]]),
    (FourCc::SGRBG8, &[RAW8[2]]),
    (FourCc::SRGGB8, &[RAW8[3]]),
    (FourCc::SBGGR10, &[RAW10[0]]),
    (FourCc::SGBRG10, &[RAW10[1]]),
    (FourCc::SGRBG10, &[RAW10[2]]),
    (FourCc::SRGGB10, &[RAW10[3]]),
    (FourCc::SBGGR10ALAW8, &[ALAW[0]]),
    (FourCc::SGBRG10ALAW8, &[ALAW[1]]),
    (FourCc::SGRBG10ALAW8, &[ALAW[2]]),
    (FourCc::SRGGB10ALAW8, &[ALAW[3]]),
    (FourCc::SBGGR10DPCM8, &[DPCM[0]]),
    (FourCc::SGBRG10DPCM8, &[DPCM[1]]),
    (FourCc::SGRBG10DPCM8, &[DPCM[2]]),
    (FourCc::SRGGB10DPCM8, &[DPCM[3]]),
    (FourCc::SBGGR12, &[RAW12[0]]),
    (FourCc::SGBRG12, &[RAW12[1]]),
    (FourCc::SGRBG12, &[RAW12[2]]),
    (FourCc::SRGGB12, &[RAW12[3]]),
];

const fn join<const N: usize>(groups: &[&[u32]]) -> [u32; N] {
    let mut all = [0; N];
    let (mut group, mut len) = (0, 0);
    while group < groups.len() {
        let mut at = 0;
        while at < groups[group].len() {
            all[len] = groups[group][at];
            (at, len) = (at + 1, len + 1);
        }
        group += 1;
    }
    assert!(len == N);
    all
}

/// Names of test patterns. The name is empty if Linux has the pattern and this sensor does not.
#[rustfmt::skip]
const PATTERNS: &[&str] = &[
    "75% Colorbar", "", "", "", "", "100% Black", "100% White", "100% Red", "100% Green", "100% Blue",
    "16x16 Checkers", "", "", "", "", "", "", "", "", "", "Gray Ramp", "",
];

const SENSOR_CONTROLS: &[ControlSpec] = &[
    slider(cid::BRIGHTNESS, "Brightness", (0, 255, 1), 128),
    slider(cid::CONTRAST, "Contrast", (0, 255, 1), 128),
    slider(cid::SATURATION, "Saturation", (0, 255, 1), 128),
    slider(cid::HUE, "Hue", (-128, 127, 1), 0),
    ControlSpec::boolean(cid::HFLIP, "Horizontal Flip", false),
    ControlSpec::boolean(cid::VFLIP, "Vertical Flip", false),
    ControlSpec::menu(TEST_PATTERN, "Test Pattern", PATTERNS, 0),
    ControlSpec::menu(OVERLAY, "Show Information", OVERLAYS, 0),
];
const OVERLAYS: &[&str] = &["All", "Counters Only", "None"];
const MEAN: ControlSpec =
    ControlSpec::integer(MEAN_WINDOW, "Debayer Mean Window Size", (1, 25, 2), 3);
const FOCUS: ControlSpec =
    ControlSpec::integer(cid::FOCUS_ABSOLUTE, "Focus, Absolute", (0, 1023, 1), 0);

const fn subdevice(
    name: &'static str,
    function: u32,
    pads: &'static [PadSpec],
    controls: &'static [ControlSpec],
) -> EntitySpec {
    EntitySpec {
        controls,
        ..EntitySpec::subdevice(name, function, pads)
    }
}

const fn sensor(name: &'static str) -> EntitySpec {
    const PADS: &[PadSpec] = &[PadSpec::new(SOURCE, SENSED, RGB[0], Follows::Nothing)];
    subdevice(name, sys::MEDIA_ENT_F_CAM_SENSOR, PADS, SENSOR_CONTROLS)
}

const fn debayer(name: &'static str) -> EntitySpec {
    const PADS: &[PadSpec] = &[
        PadSpec::new(SINK, MOSAICS, RAW8[3], Follows::Nothing),
        PadSpec::new(SOURCE, DEBAYERED, RGB[0], Follows::Size),
    ];
    let function = sys::MEDIA_ENT_F_PROC_VIDEO_PIXEL_ENC_CONV;
    subdevice(name, function, PADS, &[MEAN])
}

const fn scaler(name: &'static str) -> EntitySpec {
    const PADS: &[PadSpec] = &[
        PadSpec::new(SINK, SCALED, RGB[0], Follows::Nothing),
        PadSpec::new(SOURCE, SCALED, RGB[0], Follows::Code),
    ];
    EntitySpec {
        crop: true,
        ..subdevice(name, sys::MEDIA_ENT_F_PROC_VIDEO_SCALER, PADS, &[])
    }
}

const fn capture(name: &'static str) -> EntitySpec {
    const PADS: &[PadSpec] = &[PadSpec::new(SINK, &[], FourCc::RGB24.0, Follows::Nothing)];
    EntitySpec {
        node: EntityNode::Video,
        ..subdevice(name, sys::MEDIA_ENT_F_IO_V4L, PADS, &[])
    }
}

const fn lens(name: &'static str) -> EntitySpec {
    subdevice(name, sys::MEDIA_ENT_F_LENS, &[], &[FOCUS])
}

/// Indices of [`VIMC`]'s entities.
const SENSOR_A: usize = 0;
const SENSOR_B: usize = 1;
const DEBAYER_A: usize = 2;
const DEBAYER_B: usize = 3;
const RAW_0: usize = 4;
const RAW_1: usize = 5;
const INPUT: usize = 6;
const SCALER: usize = 7;
const CAPTURE: usize = 8;
const LENS_A: usize = 9;
const LENS_B: usize = 10;

pub(crate) static VIMC: Topology = Topology {
    driver: "vimc",
    card: "vimc",
    model: "VIMC MDEV",
    bus_info: "platform:vimc",
    device: "vimc.0",
    entities: &[
        sensor("Sensor A"),
        sensor("Sensor B"),
        debayer("Debayer A"),
        debayer("Debayer B"),
        capture("Raw Capture 0"),
        capture("Raw Capture 1"),
        sensor("RGB/YUV Input"),
        scaler("Scaler"),
        capture("RGB/YUV Capture"),
        lens("Lens A"),
        lens("Lens B"),
    ],
    links: &[
        LinkSpec::new((SENSOR_A, 0), (DEBAYER_A, 0), FIXED),
        LinkSpec::new((SENSOR_A, 0), (RAW_0, 0), FIXED),
        LinkSpec::new((SENSOR_B, 0), (DEBAYER_B, 0), FIXED),
        LinkSpec::new((SENSOR_B, 0), (RAW_1, 0), FIXED),
        LinkSpec::new((DEBAYER_A, 1), (SCALER, 0), ENABLED),
        LinkSpec::new((DEBAYER_B, 1), (SCALER, 0), 0),
        LinkSpec::new((INPUT, 0), (SCALER, 0), 0),
        LinkSpec::new((SCALER, 1), (CAPTURE, 0), FIXED),
    ],
    exclusive_pads: false,
    ancillary: &[(SENSOR_A, LENS_A), (SENSOR_B, LENS_B)],
    pixels: PIXELS,
    compares_colors: true,
    file_io: false,
    removes_buffers: true,
    fixed_while_streaming: true,
    width: (16, 4096),
    height: (16, 2160),
    even: true,
    default: MbusFormat {
        width: 640,
        height: 480,
        code: RGB[0],
        color: COLOR,
    },
};
