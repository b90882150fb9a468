//! Qualcomm's camera receiver (CAMSS), which connects a sensor to a video node.

use crate::colors::COLOR;
use vb3_v4l2::{Colorimetry, FourCc, MOSAICS, Rect, SensorMode, sys};

/// Pixel formats, each with the bus codes that it can store, in Linux's order.
pub(super) const PIXELS: &[(FourCc, &[u32])] = &[
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
pub(super) const RAW: &[u32] = MOSAICS.as_flattened();

pub(super) const ENABLED: u32 = sys::MEDIA_LNK_FL_ENABLED;
pub(super) const FIXED: u32 = ENABLED | sys::MEDIA_LNK_FL_IMMUTABLE;

pub(super) const RAW_COLORS: Colorimetry = Colorimetry {
    colorspace: sys::V4L2_COLORSPACE_RAW,
    ..COLOR
};

/// Declares the topology that connects a sensor to the receiver.
macro_rules! behind_receiver {
    ($topology:ident, $sensor:expr, $name:literal, $codes:expr, $pixel:expr) => {
        pub(super) static $topology: vb3_v4l2::Topology = {
            use super::receiver::{FIXED, PIXELS, RAW, RAW_COLORS};
            use vb3_v4l2::{
                EntityNode, EntitySpec, Follows, LinkSpec, MbusFormat, PadSpec, Topology, sys,
            };
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

pub(super) use behind_receiver;

/// Returns a mode that uses the sensor's first link.
pub(super) const fn mode(
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
