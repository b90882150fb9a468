//! Tests webcams: hotplug events, files in sysfs, and uvcvideo's ioctls.

use super::*;
use std::path::Path;

const ENOENT: i32 = 2;
const EFAULT: i32 = 14;
const EINVAL: i32 = 22;
const ENOTTY: i32 = 25;
const UVCIOC_CTRL_QUERY: u32 = 0xc010_7521;
const UVCIOC_CTRL_MAP: u32 = 0xc060_7520;

/// Returns the nodes that appear or vanish with the first device, in this order.
fn announced(bench: &mut Bench, comes: bool) -> Vec<String> {
    assert!(bench.world.plug(0, comes));
    let nodes = bench.world.nodes();
    let events = bench.world.take_hotplug();
    bench.world.hotplug_shown();
    let name = |event: &vb3_host::Hotplug| {
        assert_eq!(event.present, comes);
        let node = nodes.iter().find(|node| node.id == event.node);
        node.map_or_else(String::new, |node| node.path.display().to_string())
    };
    events.iter().map(name).collect()
}

#[test]
fn media_devices_come_and_go_in_a_kernels_order() {
    let (video, media) = ("/dev/video0", "/dev/media0");
    for (spec, gone) in [
        ("camera=pattern", [video, media]),
        ("convert", [media, video]),
    ] {
        let mut bench = Bench::new("pc", &[spec]);
        assert_eq!(announced(&mut bench, false), gone, "{spec}");
        assert_eq!(announced(&mut bench, true), [video, media], "{spec}");
    }
    let mut plain = Bench::new("pc", &["camera=pattern,identity=plain"]);
    assert_eq!(announced(&mut plain, false), [video]);
}

/// Each node appears and is announced separately.
#[test]
fn each_node_of_a_webcam_shows_its_usb_device() {
    let bench = Bench::new("pc", &["camera=pattern,usb=046d:0825"]);
    let product = "/sys/devices/platform/vb3-hcd.0/usb60/60-1/idProduct";
    let driver = "/sys/bus/usb/drivers/uvcvideo/60-1:1.0";
    let nodes = bench.world.nodes();
    let nodes = nodes.iter().filter(|node| !node.devices.is_empty());
    let mut count = 0;
    for node in nodes {
        count += 1;
        let path = node.path.display();
        let files = bench.world.files(node.id);
        let file = files.iter().find(|(at, _)| at == Path::new(product));
        assert_eq!(file.map(|(_, text)| &**text), Some("0825\n"), "{path}");
        let links = bench.world.links(node.id);
        assert!(
            links.iter().any(|(at, _)| at == Path::new(driver)),
            "{path}"
        );
    }
    assert_eq!(count, 2, "a video node and a media node");
}

#[test]
fn extension_units_are_answered_as_by_a_webcam_without() {
    let specs = ["camera=pattern", "camera=pattern,identity=plain"];
    let mut bench = Bench::new("pc", &specs);
    for (device, errno) in [(0, ENOENT), (1, ENOTTY)] {
        let file = bench.open(device);
        let mut query = Arg::new(16, &[]);
        let done = bench.try_ioctl(file, UVCIOC_CTRL_QUERY, &mut query);
        assert_eq!(done, Err(errno));
    }
    let file = bench.open(0);
    let world = &mut bench.world;
    let null = world.ioctl(file, UVCIOC_CTRL_QUERY, 0, true, &bench.program);
    assert!(matches!(null, Outcome::Fail(Errno(EFAULT))), "{null:?}");
}

#[test]
fn mappings_are_checked_before_the_unit_is_missed() {
    let specs = ["camera=pattern", "camera=pattern,identity=plain"];
    let mut bench = Bench::new("pc", &specs);
    let file = bench.open(0);
    let menu = [0u8; 36];
    // The fields: id, first letter of the name, types of the control and of the data, menu entries.
    let rows: [(&str, [u32; 5], i32); 9] = [
        ("a control of V4L2", [0x0098_0900, 0, 1, 1, 0], ENOENT),
        ("an own control", [0x0098_f900, 65, 2, 1, 0], ENOENT),
        (
            "an own control without a name",
            [0x0098_f900, 0, 1, 1, 0],
            EINVAL,
        ),
        ("an unknown type of data", [0x0098_0900, 0, 1, 6, 0], EINVAL),
        ("an unknown type", [0x0098_0900, 0, 5, 1, 0], ENOTTY),
        ("flags in the id", [0x8098_0900, 0, 1, 1, 0], EINVAL),
        ("an empty menu", [0x0098_0900, 0, 3, 4, 0], EINVAL),
        ("a long menu", [0x0098_0900, 0, 3, 4, 33], EINVAL),
        ("a menu", [0x0098_0900, 0, 3, 4, 1], ENOENT),
    ];
    for (what, [id, name, kind, data, count], errno) in rows {
        let fields = [(0, id), (4, name), (56, kind), (60, data), (72, count)];
        let mut map = Arg::new(96, &fields);
        map.0[64..72].copy_from_slice(&(menu.as_ptr() as u64).to_ne_bytes());
        let done = bench.try_ioctl(file, UVCIOC_CTRL_MAP, &mut map);
        assert_eq!(done, Err(errno), "{what}");
        map.0[64..72].fill(0);
        let no_menu = if what == "a menu" { EFAULT } else { errno };
        let done = bench.try_ioctl(file, UVCIOC_CTRL_MAP, &mut map);
        assert_eq!(done, Err(no_menu), "{what}, without memory");
    }
    let plain = bench.open(1);
    let done = bench.try_ioctl(plain, UVCIOC_CTRL_MAP, &mut Arg::new(96, &[]));
    assert_eq!(done, Err(ENOTTY));
}
