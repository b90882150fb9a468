//! Subdevices and media graphs, call by call.

use super::*;
use crate::bytes::field;
use crate::{
    Colorimetry, ControlSpec, EntityNode, EntitySpec, Flipping, Follows, FourCc, Gain, LinkSpec,
    MbusFormat, MediaDevice, MediaGraph, PadSpec, Rect, Sensor, SensorMode, Topology, sys,
};

const RGB: u32 = 0x100a;
const BGR: u32 = 0x1013;
const SINK: u32 = sys::MEDIA_PAD_FL_SINK;
const SOURCE: u32 = sys::MEDIA_PAD_FL_SOURCE;
const ENABLED: u32 = sys::MEDIA_LNK_FL_ENABLED;
const FIXED: u32 = ENABLED | sys::MEDIA_LNK_FL_IMMUTABLE;
const TRY: u32 = sys::V4L2_SUBDEV_FORMAT_TRY;
const ACTIVE: u32 = sys::V4L2_SUBDEV_FORMAT_ACTIVE;

const SENSOR: usize = 0;
const SCALER: usize = 1;
const VIDEO: usize = 2;

const fn entity(name: &'static str, node: EntityNode, pads: &'static [PadSpec]) -> EntitySpec {
    EntitySpec {
        node,
        ..EntitySpec::subdevice(name, sys::MEDIA_ENT_F_CAM_SENSOR, pads)
    }
}

/// A sensor and a scaler with a fixed link, and a video node with a link of each of the other kinds.
static CHAIN: Topology = Topology {
    driver: "test",
    card: "test",
    model: "Test graph",
    bus_info: "platform:test",
    device: "test.0",
    entities: &[
        EntitySpec {
            controls: &[ControlSpec::boolean(sys::V4L2_CID_HFLIP, "Mirror", false)],
            ..entity(
                "Sensor",
                EntityNode::Subdevice,
                &[PadSpec::new(SOURCE, &[RGB, BGR], RGB, Follows::Nothing)],
            )
        },
        EntitySpec {
            crop: true,
            ..entity(
                "Scaler",
                EntityNode::Subdevice,
                &[
                    PadSpec::new(SINK, &[RGB, BGR], RGB, Follows::Nothing),
                    PadSpec::new(SOURCE, &[RGB, BGR], RGB, Follows::Code),
                ],
            )
        },
        entity(
            "Video",
            EntityNode::Video,
            &[PadSpec::new(SINK, &[], FourCc::RGB24.0, Follows::Nothing)],
        ),
        entity(
            "Other",
            EntityNode::Video,
            &[PadSpec::new(SINK, &[], FourCc::RGB24.0, Follows::Nothing)],
        ),
    ],
    links: &[
        LinkSpec::new((SENSOR, 0), (SCALER, 0), FIXED),
        LinkSpec::new((SCALER, 1), (VIDEO, 0), ENABLED),
        LinkSpec::new((SCALER, 1), (3, 0), sys::MEDIA_LNK_FL_DYNAMIC),
    ],
    exclusive_pads: false,
    ancillary: &[(SENSOR, SCALER)],
    pixels: &[(FourCc::RGB24, &[RGB]), (FourCc::BGR24, &[BGR])],
    compares_colors: true,
    file_io: true,
    removes_buffers: true,
    fixed_while_streaming: true,
    width: (16, 4096),
    height: (16, 2160),
    even: true,
    default: MbusFormat {
        width: 640,
        height: 480,
        code: RGB,
        color: Colorimetry {
            colorspace: 8,
            xfer_func: 0,
            ycbcr_enc: 0,
            quantization: 0,
        },
    },
};

/// Returns a program with the node of an entity.
fn bench(graph: &MediaGraph, entity: usize) -> Bench {
    let mut driver = TestDriver::new(Flow::Capture, Planarity::Single);
    driver.subdevice = Some((graph.clone(), entity));
    Bench::with(driver)
}

/// Returns a program with the node of a scaler.
pub(super) fn scaler() -> Bench {
    bench(&MediaGraph::new(&CHAIN), SCALER)
}

impl Bench {
    /// Calls G_FMT, or S_FMT of a size and code. Returns the errno, or size and code.
    fn bus_format(
        &mut self,
        (which, pad): (u32, u32),
        set: Option<(u32, u32, u32)>,
    ) -> Result<(u32, u32, u32), i32> {
        let base = field!(v4l2_subdev_format.format);
        let mut arg: [u8; 88] = record(&[(0, which), (4, pad)]);
        if let Some((width, height, code)) = set {
            let mut image = Image(&mut arg);
            image.set_u32(base, width);
            image.set_u32(base + 4, height);
            image.set_u32(base + 8, code);
            image.set_u32(base + 16, 8);
        }
        let request = match set {
            Some(_) => sys::VIDIOC_SUBDEV_S_FMT,
            None => sys::VIDIOC_SUBDEV_G_FMT,
        };
        match self.call(request, &mut arg) {
            0 => Ok((get(&arg, base), get(&arg, base + 4), get(&arg, base + 8))),
            errno => Err(errno),
        }
    }

    /// Calls G_SELECTION, or S_SELECTION of a crop rectangle. Returns the errno, or the rectangle.
    fn crop(&mut self, which: u32, target: u32, set: Option<[u32; 4]>) -> Result<[u32; 4], i32> {
        let at = field!(v4l2_subdev_selection.r);
        let mut arg: [u8; 64] = record(&[(0, which), (8, target)]);
        for (index, value) in set.into_iter().flatten().enumerate() {
            Image(&mut arg).set_u32(at + 4 * index, value);
        }
        let request = match set {
            Some(_) => sys::VIDIOC_SUBDEV_S_SELECTION,
            None => sys::VIDIOC_SUBDEV_G_SELECTION,
        };
        match self.call(request, &mut arg) {
            0 => Ok([0, 4, 8, 12].map(|field| get(&arg, at + field))),
            errno => Err(errno),
        }
    }
}

#[test]
fn subdevices_with_controls_log_them() {
    let graph = MediaGraph::new(&CHAIN);
    for (entity, errno) in [(SENSOR, 0), (SCALER, ENOTTY)] {
        let mut b = bench(&graph, entity);
        assert_eq!(b.call(sys::VIDIOC_LOG_STATUS, &mut []), errno);
        b.close();
    }
}

/// Source: Linux `media_request_get_by_fd`: the media device has no requests.
#[test]
fn subdevices_refuse_requests() {
    let graph = MediaGraph::new(&CHAIN);
    let mut b = bench(&graph, SENSOR);
    for (fd, errno) in [(-1_i32, EINVAL), (0, EBADR)] {
        let which = sys::V4L2_CTRL_WHICH_REQUEST_VAL;
        let mut arg: [u8; 32] = record(&[(0, which), (12, fd.cast_unsigned())]);
        assert_eq!(b.call(sys::VIDIOC_G_EXT_CTRLS, &mut arg), errno, "{fd}");
    }
    b.close();
}

/// Source: Linux drivers/media/v4l2-core/v4l2-subdev.c `subdev_do_ioctl`.
#[test]
fn subdevices_controls_have_no_priorities() {
    let graph = MediaGraph::new(&CHAIN);
    let mut b = bench(&graph, SENSOR);
    let video = Bench::with(TestDriver::new(Flow::Capture, Planarity::Single));
    b.device.share_priorities(&video.device);
    let mut video = video;
    video.file = video.open();
    b.file = b.open();
    assert_eq!(video.number(sys::VIDIOC_S_PRIORITY, 3), 0);
    let mut arg: [u8; 8] = record(&[(0, sys::V4L2_CID_HFLIP), (4, 1)]);
    assert_eq!(b.call(sys::VIDIOC_S_CTRL, &mut arg), 0);
}

#[test]
fn try_formats_belong_to_files() {
    let graph = MediaGraph::new(&CHAIN);
    let mut b = bench(&graph, SCALER);
    let wide = (320, 240, BGR);
    assert_eq!(b.bus_format((TRY, 0), Some(wide)), Ok(wide));
    assert_eq!(b.bus_format((TRY, 1), None), Ok(wide), "the source follows");
    assert_eq!(b.bus_format((ACTIVE, 0), None), Ok((640, 480, RGB)));
    let first = std::mem::replace(&mut b.file, FileHandle(0));
    b.file = b.open();
    assert_eq!(b.bus_format((TRY, 0), None), Ok((640, 480, RGB)));
    b.file = first;
    assert_eq!(b.bus_format((TRY, 0), None), Ok(wide));
    b.close();
}

#[test]
fn formats_are_adjusted_and_followed() {
    let graph = MediaGraph::new(&CHAIN);
    let mut b = bench(&graph, SCALER);
    let asked = [(0, 0, 0), (9999, 9999, BGR), (101, 77, RGB)];
    let given = [(16, 16, RGB), (4096, 2160, BGR), (100, 76, RGB)];
    for (asked, given) in asked.into_iter().zip(given) {
        assert_eq!(b.bus_format((ACTIVE, 0), Some(asked)), Ok(given));
        assert_eq!(b.bus_format((ACTIVE, 1), None), Ok(given));
        let whole = Ok([0, 0, given.0, given.1]);
        assert_eq!(b.crop(ACTIVE, 0, None), whole);
        assert_eq!(b.crop(ACTIVE, 2, None), whole);
    }
    assert_eq!(
        b.bus_format((ACTIVE, 1), Some((50, 40, BGR))),
        Ok((50, 40, RGB))
    );
    assert_eq!(b.crop(ACTIVE, 0, Some([90, 0, 40, 8])), Ok([60, 0, 40, 16]));
    assert_eq!(b.crop(ACTIVE, 0x100, None), Err(EINVAL));
    b.close();
}

#[test]
fn pads_and_states_that_do_not_exist_are_refused() {
    let graph = MediaGraph::new(&CHAIN);
    let mut b = bench(&graph, SENSOR);
    assert_eq!(b.bus_format((ACTIVE, 1), None), Err(EINVAL));
    assert_eq!(b.bus_format((2, 0), None), Err(EINVAL));
    assert_eq!(b.crop(ACTIVE, 0, None), Err(ENOTTY));
    for request in [
        sys::VIDIOC_QUERYCAP,
        sys::VIDIOC_STREAMON,
        sys::VIDIOC_G_PRIORITY,
    ] {
        let mut arg = vec![0; crate::decode::size(request)];
        assert_eq!(b.call(request, &mut arg), ENOTTY, "{request:#x}");
    }
    b.close();
    let mut capture = Bench::capture();
    assert_eq!(capture.bus_format((ACTIVE, 0), None), Err(ENOTTY));
    capture.close();
}

#[test]
fn codes_and_sizes_are_enumerated() {
    let graph = MediaGraph::new(&CHAIN);
    let mut b = bench(&graph, SENSOR);
    let mut code = |index: u32| {
        let mut arg: [u8; 48] = record(&[(4, index), (12, ACTIVE)]);
        let errno = b.call(sys::VIDIOC_SUBDEV_ENUM_MBUS_CODE, &mut arg);
        (errno, get(&arg, 8))
    };
    assert_eq!([code(0), code(1)], [(0, RGB), (0, BGR)]);
    assert_eq!(code(2).0, EINVAL);
    let mut size: [u8; 64] = record(&[(8, BGR), (28, TRY)]);
    assert_eq!(b.call(sys::VIDIOC_SUBDEV_ENUM_FRAME_SIZE, &mut size), 0);
    assert_eq!(
        [12, 16, 20, 24].map(|at| get(&size, at)),
        [16, 4096, 16, 2160]
    );
    let mut interval: [u8; 48] = record(&[]);
    let refused = b.call(sys::VIDIOC_SUBDEV_G_FRAME_INTERVAL, &mut interval);
    assert_eq!(refused, ENOTTY);
    b.close();
}

#[test]
fn clients_are_granted_no_streams() {
    let graph = MediaGraph::new(&CHAIN);
    let mut b = bench(&graph, SENSOR);
    let mut caps = [0xff; 8];
    assert_eq!(b.call(sys::VIDIOC_SUBDEV_S_CLIENT_CAP, &mut caps), 0);
    assert_eq!(u64::from_ne_bytes(caps), 2);
    let mut caps = [0; 8];
    assert_eq!(b.call(sys::VIDIOC_SUBDEV_G_CLIENT_CAP, &mut caps), 0);
    assert_eq!(u64::from_ne_bytes(caps), 2);
    b.close();
}

const fn sensor_mode(size: (u32, u32), left: i32) -> SensorMode {
    SensorMode {
        size,
        crop: Rect {
            left,
            top: 4,
            width: 1000,
            height: 800,
        },
        pixel_rate: 1_000_000,
        line: 2000,
        frame: 1000,
        link: 0,
    }
}

/// A sensor with modes, and a receiver whose source pad follows its sink.
static SENSED: Topology = Topology {
    entities: &[
        EntitySpec {
            sensor: Some(&Sensor {
                model: "test",
                native: (1032, 824),
                active: Rect {
                    left: 16,
                    top: 12,
                    width: 1000,
                    height: 800,
                },
                modes: &[sensor_mode((640, 480), 2), sensor_mode((1000, 800), 16)],
                initial: sensor_mode((640, 480), 2),
                longest_line: 2500,
                keeps_line: true,
                lines: (4, 2000),
                exposure: (4, 500),
                margin: 4,
                gain_codes: (16, 255, 16),
                gain: Gain::Linear { unit: 16 },
                controls: &[],
                black: 64,
                links: &[],
                flipping: Flipping::Never,
                patterns: &["Disabled"],
            }),
            ..entity(
                "test 1-0010",
                EntityNode::Subdevice,
                &[PadSpec::new(SOURCE, &[RGB, BGR], RGB, Follows::Nothing)],
            )
        },
        entity(
            "Receiver",
            EntityNode::Subdevice,
            &[
                PadSpec::new(SINK, &[RGB, BGR], RGB, Follows::Nothing),
                PadSpec::new(SOURCE, &[RGB, BGR], RGB, Follows::Everything),
            ],
        ),
    ],
    links: &[],
    ancillary: &[],
    ..CHAIN
};

#[test]
fn a_sensor_has_modes_and_fixed_rectangles() {
    let graph = MediaGraph::new(&SENSED);
    let mut b = bench(&graph, SENSOR);
    let mut size = |index: u32| {
        let mut arg: [u8; 64] = record(&[(0, index), (8, BGR), (28, TRY)]);
        let errno = b.call(sys::VIDIOC_SUBDEV_ENUM_FRAME_SIZE, &mut arg);
        (errno, [12, 16, 20, 24].map(|at| get(&arg, at)))
    };
    assert_eq!(size(0), (0, [640, 640, 480, 480]));
    assert_eq!(size(1), (0, [1000, 1000, 800, 800]));
    assert_eq!(size(2).0, EINVAL);
    assert_eq!(b.crop(ACTIVE, 0, None), Ok([2, 4, 1000, 800]));
    // 1000 + 800 and 640 + 480 differ equally from 820 + 640; the first mode wins.
    for (asked, given, left) in [
        ((820, 640), (640, 480), 2),
        ((822, 640), (1000, 800), 16),
        ((u32::MAX, 0), (1000, 800), 16),
        ((0, 0), (640, 480), 2),
    ] {
        let wanted = Some((asked.0, asked.1, BGR));
        let set = b.bus_format((ACTIVE, 0), wanted);
        assert_eq!(set, Ok((given.0, given.1, BGR)), "{asked:?}");
        assert_eq!(b.crop(ACTIVE, 0, None), Ok([left, 4, 1000, 800]));
    }
    for target in [1, 2] {
        assert_eq!(b.crop(ACTIVE, target, None), Ok([16, 12, 1000, 800]));
    }
    assert_eq!(b.crop(ACTIVE, 3, None), Ok([0, 0, 1032, 824]));
    assert_eq!(b.crop(ACTIVE, 0, Some([0, 0, 64, 64])), Err(ENOTTY));
    b.close();
    let mut receiver = bench(&graph, 1);
    let wide = (322, 242, BGR);
    assert_eq!(receiver.bus_format((TRY, 0), Some(wide)), Ok(wide));
    let other = Some((64, 64, RGB));
    assert_eq!(receiver.bus_format((TRY, 1), other), Ok(wide));
    // The source pad enumerates only its current format. Source: Linux `csiphy_enum_mbus_code` and the functions
    // after it.
    let mut code = |index: u32| {
        let mut arg: [u8; 48] = record(&[(0, 1), (4, index), (12, TRY)]);
        let errno = receiver.call(sys::VIDIOC_SUBDEV_ENUM_MBUS_CODE, &mut arg);
        (errno, get(&arg, 8))
    };
    assert_eq!((code(0), code(1).0), ((0, BGR), EINVAL));
    let mut size = |pad: u32, code: u32| {
        let mut arg: [u8; 64] = record(&[(4, pad), (8, code), (28, TRY)]);
        let errno = receiver.call(sys::VIDIOC_SUBDEV_ENUM_FRAME_SIZE, &mut arg);
        (errno, [12, 16, 20, 24].map(|at| get(&arg, at)))
    };
    assert_eq!(size(1, BGR), (0, [322, 322, 242, 242]));
    assert_eq!(size(1, RGB).0, EINVAL);
    assert_eq!(size(0, RGB), (0, [16, 4096, 16, 2160]));
    assert_eq!(receiver.crop(ACTIVE, 3, None), Err(ENOTTY));
    receiver.close();
}

/// Calls SETUP_LINK for a source (entity, pad) and a sink entity, by ids.
fn setup_link(device: &MediaDevice, source: (u32, u32), sink: u32, flags: u32) -> i32 {
    let program = TestProgram::default();
    let mut link: [u8; size_of::<sys::media_link_desc>()] =
        record(&[(field!(media_link_desc.flags), flags)]);
    let mut image = Image(&mut link);
    let base = field!(media_link_desc.source);
    image.set_u32(base + field!(media_pad_desc.entity), source.0);
    image.set_u32(base + field!(media_pad_desc.index), source.1);
    let base = field!(media_link_desc.sink);
    image.set_u32(base + field!(media_pad_desc.entity), sink);
    program.poke(ARG, &link);
    code(device.ioctl::<TestMemory>(sys::MEDIA_IOC_SETUP_LINK, ARG, &program))
}

/// Ids of the entities of [`CHAIN`]. Pads and the interfaces of video nodes have the ids between.
const IDS: [u32; 4] = [1, 3, 6, 10];

#[test]
fn ids_follow_the_order_of_registration() {
    let device = MediaDevice::of_graph(MediaGraph::new(&CHAIN), vec![0, 1, 128, 129]);
    let program = TestProgram::default();
    let mut found = Vec::new();
    let mut id = 0;
    loop {
        let mut arg: [u8; size_of::<sys::media_entity_desc>()] =
            record(&[(0, id | sys::MEDIA_ENT_ID_FLAG_NEXT)]);
        program.poke(ARG, &arg);
        let request = sys::MEDIA_IOC_ENUM_ENTITIES;
        if code(device.ioctl::<TestMemory>(request, ARG, &program)) != 0 {
            break;
        }
        program.peek(ARG, &mut arg);
        id = get(&arg, 0);
        let minor = field!(media_entity_desc.__bindgen_anon_1) + 4;
        found.push((id, get(&arg, minor)));
    }
    let minors = [128, 129, 0, 1];
    assert_eq!(found, IDS.into_iter().zip(minors).collect::<Vec<_>>());
    // The ancillary link follows three links between pads, which have two ids each.
    let (at, links) = (field!(media_v2_topology.num_links), 8);
    let mut topology: [u8; size_of::<sys::media_v2_topology>()] = record(&[(at, links)]);
    Image(&mut topology).set_u64(at + 8, ARRAY);
    program.poke(ARG, &topology);
    let done = device.ioctl::<TestMemory>(sys::MEDIA_IOC_G_TOPOLOGY, ARG, &program);
    assert_eq!(code(done), 0);
    let mut all = [0; 8 * size_of::<sys::media_v2_link>()];
    program.peek(ARRAY, &mut all);
    let all = all.chunks(size_of::<sys::media_v2_link>());
    let mut all = all.map(|link| [0, 4, 8, 12].map(|at| get(link, at)));
    let flags = FIXED | sys::MEDIA_LNK_FL_ANCILLARY_LINK;
    let ancillary = all.find(|[.., of]| *of == flags);
    assert_eq!(
        ancillary,
        Some([2 << 24 | 20, IDS[SENSOR], IDS[SCALER], flags])
    );
}

#[test]
fn links_change_unless_fixed_or_streaming() {
    let graph = MediaGraph::new(&CHAIN);
    let device = MediaDevice::of_graph(graph.clone(), vec![0, 1, 128, 129]);
    let [sensor, scaler, video, other] = IDS;
    let dynamic = sys::MEDIA_LNK_FL_DYNAMIC;
    assert_eq!(setup_link(&device, (sensor, 0), scaler, FIXED), 0);
    for flags in [0, ENABLED, FIXED | dynamic] {
        assert_eq!(setup_link(&device, (sensor, 0), scaler, flags), EINVAL);
    }
    assert_eq!(setup_link(&device, (scaler, 1), video, FIXED), EINVAL);
    assert_eq!(setup_link(&device, (scaler, 0), video, 0), EINVAL, "a sink");
    assert_eq!(setup_link(&device, (scaler, 1), sensor, 0), EINVAL);
    assert_eq!(setup_link(&device, (scaler, 1), video, 0), 0);
    let refused = graph.start(VIDEO).unwrap_err();
    assert_eq!(refused.errno, EPIPE);
    assert!(refused.sentence.contains("no enabled link"), "{refused:?}");
    assert_eq!(setup_link(&device, (scaler, 1), video, ENABLED), 0);
    assert_eq!(graph.start(VIDEO), Ok(vec![SENSOR, SCALER, VIDEO]));
    assert_eq!(setup_link(&device, (scaler, 1), video, 0), EBUSY);
    assert_eq!(
        setup_link(&device, (scaler, 1), video, ENABLED),
        0,
        "as it is"
    );
    assert_eq!(
        setup_link(&device, (scaler, 1), other, dynamic | ENABLED),
        0
    );
    assert_eq!(setup_link(&device, (scaler, 1), other, ENABLED), EINVAL);
    assert_eq!(graph.start(3).unwrap_err().errno, EBUSY);
    graph.stop(VIDEO);
    assert_eq!(setup_link(&device, (scaler, 1), video, 0), 0);
    assert_eq!(graph.start(3), Ok(vec![SENSOR, SCALER, 3]));
}

#[test]
fn a_pipeline_of_different_formats_does_not_start() {
    let graph = MediaGraph::new(&CHAIN);
    let mut b = bench(&graph, SENSOR);
    assert_eq!(
        b.bus_format((ACTIVE, 0), Some((320, 240, RGB))),
        Ok((320, 240, RGB))
    );
    let refused = graph.start(VIDEO).unwrap_err();
    assert_eq!(refused.errno, EPIPE);
    let named = "\"Sensor\":0 has bus code 0x100a 320x240, but \"Scaler\":0 has bus code 0x100a \
                 640x480";
    assert!(refused.sentence.contains(named), "{}", refused.sentence);
    assert_eq!(
        b.bus_format((ACTIVE, 0), Some((640, 480, BGR))),
        Ok((640, 480, BGR))
    );
    assert_eq!(graph.start(VIDEO).unwrap_err().errno, EPIPE, "codes differ");
    let mut scaler = bench(&graph, SCALER);
    scaler
        .bus_format((ACTIVE, 0), Some((640, 480, BGR)))
        .unwrap();
    assert_eq!(
        graph.start(VIDEO).unwrap_err().errno,
        EPIPE,
        "the video node's"
    );
    scaler
        .bus_format((ACTIVE, 0), Some((640, 480, RGB)))
        .unwrap();
    b.bus_format((ACTIVE, 0), Some((640, 480, RGB))).unwrap();
    assert!(graph.start(VIDEO).is_ok());
    for (pad, format) in [(&mut b, (64, 64, RGB)), (&mut scaler, (640, 480, RGB))] {
        assert_eq!(pad.bus_format((ACTIVE, 0), Some(format)), Err(EBUSY));
        assert_eq!(pad.bus_format((TRY, 0), Some(format)), Ok(format));
    }
    assert_eq!(scaler.crop(ACTIVE, 0, Some([0, 0, 64, 64])), Err(EBUSY));
    graph.stop(VIDEO);
    assert_eq!(
        b.bus_format((ACTIVE, 0), Some((64, 64, RGB))),
        Ok((64, 64, RGB))
    );
    b.close();
    scaler.close();
}
