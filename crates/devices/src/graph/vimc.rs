//! The topology of Linux's virtual media controller.
//!
//! Source: Linux 7.2 drivers/media/test-drivers/vimc. Differs: some of the sensor's test patterns and
//! its overlay text are missing; the scaler and all captures keep progressive fields.

use vb3_v4l2::{
    Colorimetry, ControlSpec, EntityNode, EntitySpec, Follows, FourCc, LinkSpec, MbusFormat,
    PadSpec, Topology, cid, sys,
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

/// Bus codes (`MEDIA_BUS_FMT_*`).
const BGR888_1X24: u32 = 0x1013;
const BGR888_3X8: u32 = 0x101b;
const RGB888_1X24: u32 = 0x100a;
const RGB888_2X12_BE: u32 = 0x100b;
const RGB888_2X12_LE: u32 = 0x100c;
const RGB888_3X8: u32 = 0x101c;
const RGB888_1X7X4_SPWG: u32 = 0x1011;
const RGB888_1X7X4_JEIDA: u32 = 0x1012;
const RGB888_1X32_PADHI: u32 = 0x100f;
const GBR888_1X24: u32 = 0x1014;
const ARGB8888_1X32: u32 = 0x100d;
const SRGGB8: u32 = 0x3014;

/// Pixel formats and the bus codes that they store.
const PIXELS: &[(FourCc, &[u32])] = &[
    (FourCc::BGR24, &[BGR888_1X24, BGR888_3X8]),
    (
        FourCc::RGB24,
        &[
            RGB888_1X24,
            RGB888_2X12_BE,
            RGB888_2X12_LE,
            RGB888_3X8,
            RGB888_1X7X4_SPWG,
            RGB888_1X7X4_JEIDA,
            RGB888_1X32_PADHI,
            GBR888_1X24,
        ],
    ),
    (FourCc::ARGB32, &[ARGB8888_1X32]),
    (FourCc::SBGGR8, &[0x3001]),
    (FourCc::SGBRG8, &[0x3013]),
    (FourCc::SGRBG8, &[0x3002]),
    (FourCc::SRGGB8, &[SRGGB8]),
    (FourCc::SBGGR10, &[0x3007]),
    (FourCc::SGBRG10, &[0x300e]),
    (FourCc::SGRBG10, &[0x300a]),
    (FourCc::SRGGB10, &[0x300f]),
    (FourCc::SBGGR10ALAW8, &[0x3015]),
    (FourCc::SGBRG10ALAW8, &[0x3016]),
    (FourCc::SGRBG10ALAW8, &[0x3017]),
    (FourCc::SRGGB10ALAW8, &[0x3018]),
    (FourCc::SBGGR10DPCM8, &[0x300b]),
    (FourCc::SGBRG10DPCM8, &[0x300c]),
    (FourCc::SGRBG10DPCM8, &[0x3009]),
    (FourCc::SRGGB10DPCM8, &[0x300d]),
    (FourCc::SBGGR12, &[0x3008]),
    (FourCc::SGBRG12, &[0x3010]),
    (FourCc::SGRBG12, &[0x3011]),
    (FourCc::SRGGB12, &[0x3012]),
];

/// Codes of sensors, in the order of [`PIXELS`].
const SENSED: &[u32] = &[
    BGR888_1X24,
    BGR888_3X8,
    RGB888_1X24,
    RGB888_2X12_BE,
    RGB888_2X12_LE,
    RGB888_3X8,
    RGB888_1X7X4_SPWG,
    RGB888_1X7X4_JEIDA,
    RGB888_1X32_PADHI,
    GBR888_1X24,
    ARGB8888_1X32,
    0x3001,
    0x3013,
    0x3002,
    SRGGB8,
    0x3007,
    0x300e,
    0x300a,
    0x300f,
    0x3015,
    0x3016,
    0x3017,
    0x3018,
    0x300b,
    0x300c,
    0x3009,
    0x300d,
    0x3008,
    0x3010,
    0x3011,
    0x3012,
];

/// Codes of the scaler.
const RGB: &[u32] = &[
    BGR888_1X24,
    BGR888_3X8,
    RGB888_1X24,
    RGB888_2X12_BE,
    RGB888_2X12_LE,
    RGB888_3X8,
    RGB888_1X7X4_SPWG,
    RGB888_1X7X4_JEIDA,
    RGB888_1X32_PADHI,
    GBR888_1X24,
    ARGB8888_1X32,
];

/// Codes that a debayer takes.
const MOSAICS: &[u32] = &[
    0x3001, 0x3013, 0x3002, SRGGB8, 0x3007, 0x300e, 0x300a, 0x300f, 0x3008, 0x3010, 0x3011, 0x3012,
];

/// Codes that a debayer enumerates at its source pad.
const DEBAYERED: &[u32] = &[
    GBR888_1X24,
    BGR888_1X24,
    BGR888_3X8,
    RGB888_1X24,
    RGB888_2X12_BE,
    RGB888_2X12_LE,
    RGB888_3X8,
    RGB888_1X7X4_SPWG,
    RGB888_1X7X4_JEIDA,
    RGB888_1X32_PADHI,
];

/// Names of test patterns; empty for those of Linux that the sensor does not paint.
const PATTERNS: &[&str] = &[
    "75% Colorbar",
    "",
    "",
    "",
    "",
    "100% Black",
    "100% White",
    "100% Red",
    "100% Green",
    "100% Blue",
    "16x16 Checkers",
    "",
    "",
    "",
    "",
    "",
    "",
    "",
    "",
    "",
    "Gray Ramp",
    "",
];

const SENSOR_CONTROLS: &[ControlSpec] = &[
    ControlSpec::integer(cid::BRIGHTNESS, "Brightness", (0, 255, 1), 128)
        .with(vb3_v4l2::ControlFlags::SLIDER),
    ControlSpec::integer(cid::CONTRAST, "Contrast", (0, 255, 1), 128)
        .with(vb3_v4l2::ControlFlags::SLIDER),
    ControlSpec::integer(cid::SATURATION, "Saturation", (0, 255, 1), 128)
        .with(vb3_v4l2::ControlFlags::SLIDER),
    ControlSpec::integer(cid::HUE, "Hue", (-128, 127, 1), 0).with(vb3_v4l2::ControlFlags::SLIDER),
    ControlSpec::boolean(cid::HFLIP, "Horizontal Flip", false),
    ControlSpec::boolean(cid::VFLIP, "Vertical Flip", false),
    ControlSpec::menu(TEST_PATTERN, "Test Pattern", PATTERNS, 0),
    ControlSpec::menu(
        OVERLAY,
        "Show Information",
        &["All", "Counters Only", "None"],
        0,
    ),
];

const DEBAYER_CONTROLS: &[ControlSpec] = &[ControlSpec::integer(
    MEAN_WINDOW,
    "Debayer Mean Window Size",
    (1, 25, 2),
    3,
)];

const LENS_CONTROLS: &[ControlSpec] = &[ControlSpec::integer(
    cid::FOCUS_ABSOLUTE,
    "Focus, Absolute",
    (0, 1023, 1),
    0,
)];

const fn pad(flags: u32, codes: &'static [u32], code: u32, follows: Follows) -> PadSpec {
    PadSpec {
        flags,
        codes,
        code,
        follows,
    }
}

const fn subdevice(
    name: &'static str,
    function: u32,
    pads: &'static [PadSpec],
    controls: &'static [ControlSpec],
) -> EntitySpec {
    EntitySpec {
        name,
        function,
        node: EntityNode::Subdevice,
        pads,
        crop: false,
        controls,
        intervals: &[],
    }
}

const fn sensor(name: &'static str) -> EntitySpec {
    const PADS: &[PadSpec] = &[pad(SOURCE, SENSED, RGB888_1X24, Follows::Nothing)];
    subdevice(name, sys::MEDIA_ENT_F_CAM_SENSOR, PADS, SENSOR_CONTROLS)
}

const fn debayer(name: &'static str) -> EntitySpec {
    const PADS: &[PadSpec] = &[
        pad(SINK, MOSAICS, SRGGB8, Follows::Nothing),
        pad(SOURCE, DEBAYERED, RGB888_1X24, Follows::Size),
    ];
    let function = sys::MEDIA_ENT_F_PROC_VIDEO_PIXEL_ENC_CONV;
    subdevice(name, function, PADS, DEBAYER_CONTROLS)
}

const fn scaler(name: &'static str) -> EntitySpec {
    const PADS: &[PadSpec] = &[
        pad(SINK, RGB, RGB888_1X24, Follows::Nothing),
        pad(SOURCE, RGB, RGB888_1X24, Follows::Code),
    ];
    EntitySpec {
        crop: true,
        ..subdevice(name, sys::MEDIA_ENT_F_PROC_VIDEO_SCALER, PADS, &[])
    }
}

const fn capture(name: &'static str) -> EntitySpec {
    const PADS: &[PadSpec] = &[pad(SINK, &[], FourCc::RGB24.0, Follows::Nothing)];
    EntitySpec {
        node: EntityNode::Video,
        ..subdevice(name, sys::MEDIA_ENT_F_IO_V4L, PADS, &[])
    }
}

const fn lens(name: &'static str) -> EntitySpec {
    subdevice(name, sys::MEDIA_ENT_F_LENS, &[], LENS_CONTROLS)
}

const fn link(source: (usize, u16), sink: (usize, u16), flags: u32) -> LinkSpec {
    LinkSpec {
        source,
        sink,
        flags,
    }
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

/// The virtual media controller.
pub(crate) static VIMC: Topology = Topology {
    driver: "vimc",
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
        link((SENSOR_A, 0), (DEBAYER_A, 0), FIXED),
        link((SENSOR_A, 0), (RAW_0, 0), FIXED),
        link((SENSOR_B, 0), (DEBAYER_B, 0), FIXED),
        link((SENSOR_B, 0), (RAW_1, 0), FIXED),
        link((DEBAYER_A, 1), (SCALER, 0), ENABLED),
        link((DEBAYER_B, 1), (SCALER, 0), 0),
        link((INPUT, 0), (SCALER, 0), 0),
        link((SCALER, 1), (CAPTURE, 0), FIXED),
    ],
    ancillary: &[(SENSOR_A, LENS_A), (SENSOR_B, LENS_B)],
    pixels: PIXELS,
    width: (16, 4096),
    height: (16, 2160),
    default: MbusFormat {
        width: 640,
        height: 480,
        code: RGB888_1X24,
        color: Colorimetry {
            colorspace: 8,
            xfer_func: 0,
            ycbcr_enc: 0,
            quantization: 0,
        },
    },
};
