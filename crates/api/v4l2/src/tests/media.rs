//! A media device, call by call.

use super::{ARG, EFAULT, EINVAL, ENOTTY, TestDriver, TestMemory, TestProgram, code, get, program};
use crate::bytes::{Image, field};
use crate::{Flow, Identity, MediaDevice, MediaFunction, Planarity, sys};

const ARRAY: u64 = program::BASE + 0x1000;
const ENOSPC: i32 = 28;

struct Bench {
    program: TestProgram,
    device: MediaDevice,
}

impl Bench {
    fn new(card: &str) -> Self {
        Self::of(card, MediaFunction::Encoder)
    }

    fn of(card: &str, function: MediaFunction) -> Self {
        let identity = Identity {
            driver: "test".to_owned(),
            card: card.to_owned(),
            bus_info: "platform:vb3-009".to_owned(),
            serial: "0123ABCD".to_owned(),
            revision: 0x12,
            other_caps: 0,
        };
        Self {
            program: TestProgram::default(),
            device: MediaDevice::new(&identity, function, vec![9, 11]),
        }
    }

    fn call(&self, request: u32, arg: &mut [u8]) -> i32 {
        self.program.poke(ARG, arg);
        let done = self.device.ioctl::<TestMemory>(request, ARG, &self.program);
        self.program.peek(ARG, arg);
        code(done)
    }

    fn bytes(&self, at: u64, len: usize) -> Vec<u8> {
        let mut out = vec![0; len];
        self.program.peek(at, &mut out);
        out
    }
}

fn text(bytes: &[u8], at: usize) -> String {
    let text = bytes[at..].split(|&b| b == 0).next().unwrap();
    String::from_utf8(text.to_vec()).unwrap()
}

#[test]
fn devices_report_their_identity() {
    let bench = Bench::new("An encoder");
    let mut info = [0xff; size_of::<sys::media_device_info>()];
    assert_eq!(bench.call(sys::MEDIA_IOC_DEVICE_INFO, &mut info), 0);
    assert_eq!(text(&info, field!(media_device_info.driver)), "test");
    assert_eq!(text(&info, field!(media_device_info.model)), "An encoder");
    let bus = text(&info, field!(media_device_info.bus_info));
    assert_eq!(bus, "platform:vb3-009");
    let serial = text(&info, field!(media_device_info.serial));
    assert_eq!(serial, "0123ABCD");
    assert_eq!(get(&info, field!(media_device_info.hw_revision)), 0x12);
    assert_eq!(
        get(&info, field!(media_device_info.media_version)),
        sys::API_VERSION
    );
    assert!(
        info[field!(media_device_info.reserved)..]
            .iter()
            .all(|&b| b == 0)
    );
}

#[test]
fn truncated_entity_names_differ() {
    let bench = Bench::new("Thirty-one bytes of a long n\u{e4}me");
    let mut names = Vec::new();
    let mut next = 0;
    loop {
        let mut entity = [0; size_of::<sys::media_entity_desc>()];
        Image(&mut entity).set_u32(0, next | sys::MEDIA_ENT_ID_FLAG_NEXT);
        match bench.call(sys::MEDIA_IOC_ENUM_ENTITIES, &mut entity) {
            0 => {}
            errno => break assert_eq!(errno, EINVAL),
        }
        next = get(&entity, 0);
        let pads = entity[field!(media_entity_desc.pads)];
        let links = entity[field!(media_entity_desc.links)];
        names.push((
            next,
            text(&entity, field!(media_entity_desc.name)),
            pads,
            links,
        ));
    }
    let entity = |id, ending: &str, pads, links| {
        (
            id,
            format!("Thirty-one bytes of a lo-{ending}"),
            pads,
            links,
        )
    };
    let wanted = [
        entity(1, "source", 1, 1),
        entity(3, "proc", 2, 1),
        entity(6, "sink", 1, 0),
    ];
    assert_eq!(names, wanted);
    let mut none = [0; size_of::<sys::media_entity_desc>()];
    Image(&mut none).set_u32(0, 2);
    assert_eq!(bench.call(sys::MEDIA_IOC_ENUM_ENTITIES, &mut none), EINVAL);
}

#[test]
fn topology_fills_the_available_room() {
    let bench = Bench::new("x");
    let size = size_of::<sys::media_v2_topology>();
    let mut counts = vec![0; size];
    assert_eq!(bench.call(sys::MEDIA_IOC_G_TOPOLOGY, &mut counts), 0);
    let kinds = [
        (
            field!(media_v2_topology.num_entities),
            3,
            size_of::<sys::media_v2_entity>(),
        ),
        (
            field!(media_v2_topology.num_interfaces),
            1,
            size_of::<sys::media_v2_interface>(),
        ),
        (
            field!(media_v2_topology.num_pads),
            4,
            size_of::<sys::media_v2_pad>(),
        ),
        (
            field!(media_v2_topology.num_links),
            4,
            size_of::<sys::media_v2_link>(),
        ),
    ];
    for (at, count, element) in kinds {
        assert_eq!(get(&counts, at), count);
        let ask = |room: u32, addr: u64| {
            let mut topology = vec![0; size];
            let mut image = Image(&mut topology);
            image.set_u32(at, room);
            image.set_u64(at + 8, addr);
            let before = topology.clone();
            let errno = bench.call(sys::MEDIA_IOC_G_TOPOLOGY, &mut topology);
            assert_eq!(
                topology == before,
                errno != 0,
                "told only where it succeeds"
            );
            errno
        };
        assert_eq!(ask(count - 1, ARRAY), ENOSPC);
        assert_eq!(ask(count, 4), EFAULT);
        let end = ARRAY + u64::from(count) * element as u64;
        bench.program.poke(end, &[0xa5]);
        assert_eq!(ask(count, ARRAY), 0);
        assert_ne!(get(&bench.bytes(ARRAY, element), 0), 0, "an id");
        assert_eq!(bench.bytes(end, 1), [0xa5], "nothing past the last");
    }
    let ids: Vec<_> = [0, 1, 2, 3]
        .map(|n| get(&bench.bytes(ARRAY + n * 40, 40), 0))
        .into();
    assert_eq!(ids, [0x0200_0008, 0x0200_000a, 0x0200_000d, 0x0200_000e]);
}

#[test]
fn links_cannot_change() {
    let bench = Bench::new("x");
    let mut links = vec![0; size_of::<sys::media_links_enum>()];
    Image(&mut links).set_u32(field!(media_links_enum.entity), 3);
    Image(&mut links).set_u64(field!(media_links_enum.links), ARRAY);
    assert_eq!(bench.call(sys::MEDIA_IOC_ENUM_LINKS, &mut links), 0);
    let mut link = bench.bytes(ARRAY, size_of::<sys::media_link_desc>());
    let flags = field!(media_link_desc.flags);
    assert_eq!(get(&link, flags), 3);
    assert_eq!(bench.call(sys::MEDIA_IOC_SETUP_LINK, &mut link), 0);
    for other in [0, 1, 7] {
        Image(&mut link).set_u32(flags, other);
        assert_eq!(bench.call(sys::MEDIA_IOC_SETUP_LINK, &mut link), EINVAL);
    }
    Image(&mut link).set_u32(flags, 3);
    Image(&mut link).set_u32(field!(media_link_desc.sink), 1);
    assert_eq!(bench.call(sys::MEDIA_IOC_SETUP_LINK, &mut link), EINVAL);
}

#[test]
fn other_calls_are_unknown() {
    let bench = Bench::new("x");
    for request in [
        sys::MEDIA_IOC_REQUEST_ALLOC,
        sys::MEDIA_REQUEST_IOC_QUEUE,
        sys::VIDIOC_QUERYCAP,
        sys::MEDIA_IOC_G_TOPOLOGY ^ 1 << 16,
        u32::MAX,
    ] {
        assert_eq!(bench.call(request, &mut [0; 8]), ENOTTY, "{request:#x}");
    }
    let null = bench
        .device
        .ioctl::<TestMemory>(sys::MEDIA_IOC_DEVICE_INFO, 0, &bench.program);
    assert_eq!(code(null), EFAULT);
}

#[test]
fn function_follows_from_formats() {
    let driver = TestDriver::new(Flow::Capture, Planarity::Single);
    assert_eq!(MediaFunction::of(&driver), MediaFunction::Scaler);
}

/// As libcamera does, takes the entity with the default flag, and the node that links to the entity.
#[test]
fn a_webcams_camera_leads_to_its_video_node() {
    const ENTITY: usize = size_of::<sys::media_v2_entity>();
    const PAD: usize = size_of::<sys::media_v2_pad>();
    const LINK: usize = size_of::<sys::media_v2_link>();
    const INTERFACE: usize = size_of::<sys::media_v2_interface>();
    let bench = Bench::of("A webcam", MediaFunction::Webcam);
    let list = |at: usize, count: u32, len: usize| -> Vec<Vec<u8>> {
        let mut topology = vec![0; size_of::<sys::media_v2_topology>()];
        Image(&mut topology).set_u32(at, count);
        Image(&mut topology).set_u64(at + 8, ARRAY);
        assert_eq!(bench.call(sys::MEDIA_IOC_G_TOPOLOGY, &mut topology), 0);
        assert_eq!(get(&topology, at), count);
        let bytes = bench.bytes(ARRAY, count as usize * len);
        bytes.chunks(len).map(<[u8]>::to_vec).collect()
    };
    let entities = list(field!(media_v2_topology.num_entities), 4, ENTITY);
    let entity = |bytes: &Vec<u8>| {
        let (id, function) = (get(bytes, 0), field!(media_v2_entity.function));
        let name = text(bytes, field!(media_v2_entity.name));
        let flags = get(bytes, field!(media_v2_entity.flags));
        (id, name, get(bytes, function), flags)
    };
    let entities: Vec<_> = entities.iter().map(entity).collect();
    let wanted = [
        (
            1,
            "A webcam",
            sys::MEDIA_ENT_F_IO_V4L,
            sys::MEDIA_ENT_FL_DEFAULT,
        ),
        (4, "A webcam", sys::MEDIA_ENT_F_IO_V4L, 0),
        (
            8,
            "Processing 2",
            sys::MEDIA_ENT_F_PROC_VIDEO_PIXEL_FORMATTER,
            0,
        ),
        (11, "Camera 1", sys::MEDIA_ENT_F_CAM_SENSOR, 0),
    ];
    assert_eq!(
        entities,
        wanted.map(|(id, name, f, flags)| (id, name.to_owned(), f, flags))
    );
    let pads = list(field!(media_v2_topology.num_pads), 4, PAD);
    let owner = |id: u32| {
        let pad = pads.iter().find(|pad| get(pad, 0) == id);
        pad.map(|pad| get(pad, field!(media_v2_pad.entity_id)))
    };
    let links = list(field!(media_v2_topology.num_links), 4, LINK);
    let ends = |link: &Vec<u8>| {
        let source = get(link, field!(media_v2_link.source_id));
        (source, get(link, field!(media_v2_link.sink_id)))
    };
    let links: Vec<_> = links.iter().map(ends).collect();
    // In the order of registration: nodes come first.
    let [video, metadata, to_node, to_unit] = links[..] else {
        panic!("{links:x?}");
    };
    assert_eq!((owner(to_node.0), owner(to_node.1)), (Some(8), Some(1)));
    assert_eq!((owner(to_unit.0), owner(to_unit.1)), (Some(11), Some(8)));
    assert_eq!((video, metadata), ((0x0300_0002, 1), (0x0300_0005, 4)));
    let interfaces = list(field!(media_v2_topology.num_interfaces), 2, INTERFACE);
    let minor = field!(media_v2_interface.__bindgen_anon_1) + 4;
    let minors = interfaces
        .iter()
        .map(|bytes| (get(bytes, 0), get(bytes, minor)));
    let minors: Vec<_> = minors.collect();
    assert_eq!(minors, [(video.0, 9), (metadata.0, 11)]);
    let mut old = [0; size_of::<sys::media_entity_desc>()];
    for (id, kind) in [
        (8, sys::MEDIA_ENT_F_V4L2_SUBDEV_UNKNOWN),
        (11, sys::MEDIA_ENT_F_CAM_SENSOR),
        (4, sys::MEDIA_ENT_F_IO_V4L),
    ] {
        Image(&mut old).set_u32(0, id);
        assert_eq!(bench.call(sys::MEDIA_IOC_ENUM_ENTITIES, &mut old), 0);
        assert_eq!(get(&old, field!(media_entity_desc.type_)), kind);
    }
    let minor = field!(media_entity_desc.__bindgen_anon_1) + 4;
    assert_eq!(get(&old, minor), 11, "the metadata node");
}
