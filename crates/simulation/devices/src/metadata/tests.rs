use super::*;
use crate::HostSettings;
use crate::camera::Camera;
use crate::node::{NodePart, NodeSpec};
use crate::registry;
use crate::tests::bench::{self, Bench};
use vb3_queue::Error;
use vb3_v4l2::{Flow, VideoDriver as _};

const START: u64 = 1_000_000_000;
const FRAME_NS: u64 = 10_000_000;

fn host() -> HostSettings {
    HostSettings {
        bus_info: "usb-x-1".into(),
        userptr: true,
        ..bench::host()
    }
}

/// Makes benches with a camera of 100 frames per second and with its metadata node.
fn pair(buffers: u32) -> (Bench<Camera<u32>>, Bench<Metadata<u32>>) {
    let spec = "camera,size=16x8,fps=100,format=NV12,name=Cam".parse();
    let mut spec: NodeSpec = spec.expect("a SPEC");
    let node = spec.metadata_node().expect("a webcam");
    let camera = registry::camera(&spec, &host()).expect("a camera");
    let NodePart::Metadata(link) = &node.part else {
        panic!("{:?}", node.part);
    };
    let metadata = Metadata::new(&registry::settings(&node, &host()), link);
    (Bench::new(camera, 2), Bench::new(metadata, buffers))
}

#[test]
fn each_frame_has_a_header_with_its_number_and_time() {
    let (mut camera, mut node) = pair(2);
    let identity = node.device.identity();
    assert_eq!((&*identity.driver, &*identity.card), ("uvcvideo", "Cam"));
    (0..2).for_each(|index| node.queue(index));
    node.start();
    assert_eq!(node.device.next_tick(), None, "the camera does not stream");
    (0..2).for_each(|index| camera.queue(index));
    camera.start();
    for frame in 0..2 {
        let now = START + u64::from(frame) * FRAME_NS;
        camera.tick(now);
        assert_eq!(node.device.next_tick(), Some(0));
        assert_eq!(node.tick(now), 1);
        let info = node.take().expect("metadata");
        assert_eq!((info.sequence, info.timestamp_ns), (frame, now));
        let bytes = node.plane(info.index, 0);
        let ticks = ((now / 1000 * 48) as u32).to_le_bytes();
        let sof = ((now / 1_000_000 % 2048) as u16).to_le_bytes();
        assert_eq!(bytes[..8], now.to_ne_bytes());
        assert_eq!(bytes[8..10], sof);
        assert_eq!(bytes[10..12], [12, 0x8e + (frame as u8 + 1) % 2]);
        assert_eq!(bytes[12..16], ticks);
        assert_eq!(bytes[16..20], ticks);
        assert_eq!(bytes[20..22], sof);
    }
}

/// Source: Linux 7.2 drivers/media/usb/uvc/uvc_queue.c `uvc_queue_init`.
#[test]
fn only_uvcvideo_stamps_the_start_of_exposure() {
    let (camera, node) = pair(1);
    assert!(camera.device.queue_policy(Flow::Capture).start_of_exposure);
    assert!(node.device.queue_policy(Flow::Capture).start_of_exposure);
    let spec = "camera,profile=sensor".parse().expect("a SPEC");
    let camera = registry::camera::<u32>(&spec, &host()).expect("a camera");
    assert!(!camera.queue_policy(Flow::Capture).start_of_exposure);
}

#[test]
fn frames_without_a_buffer_are_dropped() {
    let (mut camera, mut node) = pair(1);
    (0..2).for_each(|index| camera.queue(index));
    camera.start();
    camera.tick(START);
    node.start();
    assert_eq!(node.device.next_tick(), None, "no frame since the start");
    camera.tick(START + FRAME_NS);
    assert_eq!(node.tick(START), 0);
    assert_eq!(node.device.statistics().dropped, 1);
    node.queue(0);
    assert_eq!(node.tick(START), 0);
    assert_eq!(node.take().map(drop), Err(Error::WouldBlock));
}

#[test]
fn only_webcams_have_a_metadata_node() {
    for (spec, has_one) in [
        ("camera", true),
        ("camera,identity=plain", false),
        ("camera,mplane=on", false),
        ("display", false),
        ("capture-convert,identity=uvc", true),
    ] {
        let mut spec: NodeSpec = spec.parse().expect(spec);
        assert_eq!(spec.metadata_node().is_some(), has_one, "{spec:?}");
        assert_eq!(matches!(spec.part, NodePart::Pictures(_)), has_one);
    }
}

/// Source: Linux 7.2 drivers/media/usb/uvc/uvc_metadata.c `uvc_meta_v4l2_get_format`.
#[test]
fn a_metadata_node_has_one_format() {
    let (_, mut node) = pair(1);
    let device = &node.device;
    assert_eq!(device.planarity(), Planarity::Meta);
    let formats = device.formats(Flow::Capture);
    assert_eq!(formats.len(), 1);
    assert_eq!(formats[0].fourcc, pixfmt::UVC_METADATA.fourcc);
    let format = device.format(Flow::Capture);
    assert_eq!(format.layouts()[0].sizeimage, 10_240);
    assert_eq!(
        device.frame_sizes(&pixfmt::UVC_METADATA),
        FrameSizes::One(0, 0)
    );
    node.queue(0);
    node.start();
    let link = node.device.engine.link.clone();
    assert!(link == link.clone() && link != MetadataLink::default());
    link.push(Stamp::new(0, START));
    node.stop();
    // The header of a frame before the stop is dropped.
    assert_eq!(node.device.next_tick(), None);
    node.queue(0);
    node.start();
    assert_eq!(node.tick(START), 0);
}

/// A node that is never served keeps the newest headers.
#[test]
fn only_some_headers_wait() {
    let (_, mut node) = pair(1);
    node.start();
    let link = node.device.engine.link.clone();
    (0..100).for_each(|sequence| link.push(Stamp::new(sequence, START)));
    node.queue(0);
    assert_eq!(node.tick(START), 1);
    let info = node.take().expect("metadata");
    assert_eq!(info.sequence, 100 - PENDING_MAX as u32);
}
