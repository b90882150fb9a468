//! Tests webcams: hotplug events, files in sysfs, and uvcvideo's ioctls.

use super::*;
use crate::script::Script;
use std::path::Path;
use vb3_frontend::Change;
use vb3_report::DeviceReport;
use vb3_report::timeline::Timeline;
use vb3_report::trace::Traced;
use vb3_v4l2::{POLL_ERR, POLL_PRI};

const ENOENT: i32 = 2;
const EFAULT: i32 = 14;
const EINVAL: i32 = 22;
/// `V4L2_BUF_TYPE_VIDEO_OUTPUT_MPLANE`.
const OUTPUTS: u32 = 10;
const ENOTTY: i32 = 25;
const MEDIA_IOC_G_TOPOLOGY: u32 = 0xc048_7c04;
const VIDIOC_G_PRIORITY: u32 = 0x8004_5643;
const VIDIOC_S_PRIORITY: u32 = 0x4004_5644;
const UVCIOC_CTRL_QUERY: u32 = 0xc010_7521;
const UVCIOC_CTRL_MAP: u32 = 0xc060_7520;

/// Returns the nodes that appear or vanish with the first device, in the announced order.
fn announced(bench: &mut Bench, comes: bool) -> Vec<String> {
    assert!(bench.run.plug(0, comes));
    told(bench, comes)
}

/// Returns the nodes that have appeared or vanished, in the announced order.
fn told(bench: &mut Bench, comes: bool) -> Vec<String> {
    let nodes = bench.run.nodes();
    let events = bench.run.take_hotplug();
    bench.run.hotplug_shown(events.len());
    let name = |event: &vb3_frontend::Hotplug| {
        let wanted = match comes {
            true => Change::Added,
            false => Change::Removed,
        };
        assert_eq!(event.change, wanted);
        let node = nodes.iter().find(|node| node.id == event.node);
        node.map_or_else(String::new, |node| node.path.display().to_string())
    };
    events.iter().map(name).collect()
}

#[test]
fn media_devices_come_and_go_in_a_kernels_order() {
    let (video, metadata, media) = ("/dev/video0", "/dev/video1", "/dev/media0");
    for (spec, comes, goes) in [
        (
            "camera=pattern",
            &[video, metadata, media][..],
            &[video, metadata, media][..],
        ),
        ("convert", &[video, media], &[media, video]),
    ] {
        let mut bench = Bench::new("pc", &[spec]);
        assert_eq!(announced(&mut bench, false), goes, "{spec}");
        assert_eq!(announced(&mut bench, true), comes, "{spec}");
    }
    let mut plain = Bench::new("pc", &["camera=pattern,identity=plain"]);
    assert_eq!(announced(&mut plain, false), [video]);
}

/// Source: Linux `__media_ioctl`, `media_read`.
#[test]
fn an_unplugged_media_device_answers_eio() {
    let mut bench = Bench::new("pc", &["camera=pattern"]);
    let nodes = bench.run.nodes();
    let node = nodes.iter().find(|node| node.path.ends_with("media0"));
    let node = node.expect("a media device").id;
    let media = bench.run.open(node, 0, bench.program.origin()).unwrap();
    let video = bench.open(0);
    let topology = |bench: &mut Bench, file| {
        bench.try_ioctl(file, MEDIA_IOC_G_TOPOLOGY, &mut Arg::new(72, &[]))
    };
    assert_eq!(topology(&mut bench, media), Ok(0));
    assert!(bench.run.plug(0, false));
    assert_eq!(topology(&mut bench, media), Err(5));
    // Source: Linux `media_poll`: POLLERR and POLLHUP.
    assert_eq!(bench.run.poll(media, POLL_PRI), 0x18);
    assert_eq!(bench.run.poll(video, POLL_PRI), 0x1a);
    assert_eq!(topology(&mut bench, video), Err(19));
    bench.close_all(&[media, video]);
}

/// Queues an OUTPUT buffer in the request with this descriptor.
fn queue_in(bench: &mut Bench, video: FileId, index: u32, request: u32) -> Result<i64, i32> {
    const REQUEST_FD: u32 = 0x0080_0000;
    let mut plane = Arg::new(size_of::<v4l2_plane>(), &[]);
    let mut buffer = Bench::buffer(OUTPUTS, MMAP, index);
    for (at, value) in [
        (offset_of!(v4l2_buffer, flags), REQUEST_FD),
        (offset_of!(v4l2_buffer, length), 1),
        (offset_of!(v4l2_buffer, __bindgen_anon_1), request),
    ] {
        buffer.0[at..at + 4].copy_from_slice(&value.to_ne_bytes());
    }
    let planes = (plane.0.as_mut_ptr() as u64).to_ne_bytes();
    buffer.0[offset_of!(v4l2_buffer, m)..][..8].copy_from_slice(&planes);
    bench.try_ioctl(video, VIDIOC_QBUF, &mut buffer)
}

/// Source: Linux 7.2 `media_request_ioctl_queue`, `media_request_ioctl_reinit`, `media_request_poll`,
/// `__vb2_queue_cancel`.
#[test]
fn requests_outlive_their_unplugged_device() {
    const PRI: i16 = 2;
    let mut bench = Bench::new("pc", &["convert"]);
    let nodes = bench.run.nodes();
    let node = nodes.iter().find(|node| node.path.ends_with("media0"));
    let node = node.expect("a media device").id;
    let media = bench.run.open(node, 0, bench.program.origin()).unwrap();
    let video = bench.open(0);
    assert_eq!(bench.reqbufs(video, OUTPUTS, MMAP, 3), 3);
    let fds = [(); 3].map(|()| {
        let made = bench.ioctl(media, MEDIA_IOC_REQUEST_ALLOC, Arg::new(4, &[]));
        made.u32(0)
    });
    for index in [0, 1] {
        assert_eq!(
            queue_in(&mut bench, video, index, fds[index as usize]),
            Ok(0)
        );
    }
    let [queued, idle, empty] = [0, 1, 2].map(|at| bench.program.made.borrow()[at].0);
    let call =
        |bench: &mut Bench, file, request| bench.try_ioctl(file, request, &mut Arg::new(0, &[]));
    assert_eq!(call(&mut bench, queued, MEDIA_REQUEST_IOC_QUEUE), Ok(0));
    assert_eq!(bench.run.poll(queued, PRI), 0);
    assert!(bench.run.plug(0, false));
    let polled = [queued, idle, empty].map(|file| bench.run.poll(file, PRI));
    assert_eq!(polled, [PRI, POLL_ERR, POLL_ERR]);
    for (file, errno) in [(queued, 16), (idle, ENOENT), (empty, ENOENT)] {
        assert_eq!(call(&mut bench, file, MEDIA_REQUEST_IOC_QUEUE), Err(errno));
        assert_eq!(call(&mut bench, file, MEDIA_IOC_REQUEST_ALLOC), Err(ENOTTY));
        assert_eq!(call(&mut bench, file, MEDIA_REQUEST_IOC_REINIT), Ok(0));
    }
    assert_eq!(bench.run.poll(queued, PRI), POLL_ERR, "it is idle again");
    // The next device knows nothing of these requests.
    assert!(bench.run.plug(0, true));
    let again = bench.open(0);
    bench.reqbufs(again, OUTPUTS, MMAP, 1);
    assert_eq!(queue_in(&mut bench, again, 0, fds[0]), Err(EINVAL));
    bench.close_all(&[queued, media, video, idle, empty, again]);
}

/// A webcam's nodes for video and metadata are one device.
#[test]
fn nodes_of_a_webcam_share_priorities() {
    let mut bench = Bench::new("pc", &["camera=pattern", "camera=pattern"]);
    let [video, other, metadata] = [0, 1, 2].map(|node| bench.open(node));
    let record = Arg::new(4, &[(0, 3)]);
    bench.ioctl(metadata, VIDIOC_S_PRIORITY, record);
    let top = |bench: &mut Bench, file| {
        bench
            .ioctl(file, VIDIOC_G_PRIORITY, Arg::new(4, &[]))
            .u32(0)
    };
    assert_eq!([top(&mut bench, video), top(&mut bench, other)], [3, 2]);
    bench.close_all(&[video, other, metadata]);
}

#[test]
fn absent_devices_vanish_before_the_first_tick() {
    let mut bench = Bench::new("pc", &["camera=pattern,plug=1s", "display"]);
    assert_eq!(
        told(&mut bench, false),
        ["/dev/video0", "/dev/video2", "/dev/media0"]
    );
    assert_eq!(bench.run.nodes.plugs.remarks(&bench.run.nodes), [""; 0]);
}

/// If a monitor is unplugged, its card stays.
#[test]
fn timelines_show_no_change_of_a_monitor() {
    let mut bench = Bench::new("pc", &["camera=pattern", "kms"]);
    for device in ["card0", "video0"] {
        bench.run.plug_by_name(device, false).unwrap();
    }
    let start = std::time::Instant::now();
    let (run, time) = (&mut bench.run, crate::Run::own_time);
    let mut traced = Traced::new(run, Vec::new(), start, time, Some(Timeline::default()));
    assert_eq!(traced.take_hotplug().len(), 4);
    let (_, _, timeline) = traced.into_parts();
    let timeline = timeline.unwrap();
    let shown: Vec<_> = timeline
        .plugs
        .iter()
        .map(|p| (&*p.device, p.comes))
        .collect();
    let gone = ["/dev/video0", "/dev/video1", "/dev/media0"];
    assert_eq!(shown, gone.map(|node| (node, false)));
}

/// Each node appears and is announced separately.
#[test]
fn each_node_of_a_webcam_shows_its_usb_device() {
    let bench = Bench::new("pc", &["camera=pattern,usb=046d:0825"]);
    let product = "/sys/devices/platform/vb3-hcd.0/usb60/60-1/idProduct";
    let driver = "/sys/bus/usb/drivers/uvcvideo/60-1:1.0";
    let nodes = bench.run.nodes();
    let nodes = nodes.iter().filter(|node| !node.devices.is_empty());
    let mut count = 0;
    for node in nodes {
        count += 1;
        let path = node.path.display();
        let files = bench.run.files(node.id);
        let file = files.iter().find(|(at, _)| at == Path::new(product));
        assert_eq!(
            file.map(|(_, text)| &**text),
            Some(&b"0825\n"[..]),
            "{path}"
        );
        let links = bench.run.links(node.id);
        assert!(
            links.iter().any(|(at, _)| at == Path::new(driver)),
            "{path}"
        );
    }
    assert_eq!(count, 3, "nodes of video, metadata and media");
}

#[test]
fn extension_units_answer_as_if_absent() {
    let specs = ["camera=pattern", "camera=pattern,identity=plain"];
    let mut bench = Bench::new("pc", &specs);
    for (device, errno) in [(0, ENOENT), (1, ENOTTY)] {
        let file = bench.open(device);
        let mut query = Arg::new(16, &[]);
        let done = bench.try_ioctl(file, UVCIOC_CTRL_QUERY, &mut query);
        assert_eq!(done, Err(errno));
    }
    let file = bench.open(0);
    let run = &mut bench.run;
    let null = run.ioctl(file, UVCIOC_CTRL_QUERY, 0, true, &bench.program);
    assert!(matches!(null, CallOutcome::Fail(Errno(EFAULT))), "{null:?}");
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

#[test]
fn metadata_nodes_are_numbered_after_all_devices() {
    let specs = [
        "camera",
        "camera,node=video5",
        "display",
        "camera,identity=plain",
        // It has subdevices, whose numbers are larger.
        "sensor=ov5647",
    ];
    let bench = Bench::new("pc", &specs);
    let nodes = bench.run.nodes();
    let index = |number: u32| {
        let path = format!("/sys/class/video4linux/video{number}/index");
        let files = bench.run.files(bench.run.video_node(number));
        let file = files.iter().find(|(at, _)| at == Path::new(&path));
        file.map(|(_, text)| String::from_utf8_lossy(text.trim_ascii_end()).into_owned())
    };
    let video = nodes
        .iter()
        .filter(|node| node.major() == 81 && node.minor < 64);
    let found: Vec<_> = video.map(|node| (node.minor, index(node.minor))).collect();
    let wanted = [(0, 0), (1, 0), (2, 0), (3, 0), (5, 0), (6, 1), (7, 1)];
    let wanted = wanted.map(|(number, index)| (number, Some(index.to_string())));
    assert_eq!(found, wanted);
    let dir = |number: u32| {
        let id = bench.run.video_node(number);
        let node = nodes.iter().find(|node| node.id == id);
        let own = node.and_then(|node| node.devices.last());
        own.map(|device| device.path.clone())
    };
    assert!(dir(0).is_some_and(|dir| dir.ends_with("60-1:1.0")));
    assert_eq!((dir(0), dir(5)), (dir(6), dir(7)));
}

/// Returns the text of `bus_info` from QUERYCAP, and the capabilities of all nodes of the device.
fn location(bench: &mut Bench, number: u32) -> (String, u32) {
    let file = bench.open(number);
    let arg = Arg::new(size_of::<v4l2_capability>(), &[]);
    let arg = bench.ioctl(file, VIDIOC_QUERYCAP, arg);
    let at = offset_of!(v4l2_capability, bus_info);
    let text = arg.0[at..at + 32].split(|&byte| byte == 0).next();
    let text = String::from_utf8_lossy(text.unwrap_or_default()).into_owned();
    (text, arg.u32(offset_of!(v4l2_capability, capabilities)))
}

#[test]
fn only_the_first_clone_has_the_described_location() {
    let text = "version = 1\n[device]\ndriver = \"uvcvideo\"\ncard = \"Cam\"\n\
                bus_info = \"usb-0000:00:14.0-3\"\n[usb]\nid = \"046d:0825\"\n[[format]]\n\
                code = \"YUYV\"\ndescription = \"YUYV 4:2:2\"\n\
                size = [{ size = \"16x8\", intervals = [\"1/30\"] }]\n";
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("cam.toml");
    std::fs::write(&file, text).expect("a description");
    let spec = format!("camera,like={}", file.display());
    let mut bench = Bench::new("pc", &[&spec, &spec]);
    let all = V4L2_CAP_VIDEO_CAPTURE
        | V4L2_CAP_META_CAPTURE
        | V4L2_CAP_STREAMING
        | V4L2_CAP_EXT_PIX_FORMAT
        | V4L2_CAP_DEVICE_CAPS;
    // The metadata nodes have the last numbers.
    let own = ["usb-0000:00:14.0-3", "usb-vb3-hcd.0-2"];
    for (number, wanted) in [(0, own[0]), (1, own[1]), (2, own[0]), (3, own[1])] {
        assert_eq!(location(&mut bench, number), (wanted.to_owned(), all));
    }
}

/// A buffer of the metadata node has the number and the time of its frame.
#[test]
fn metadata_comes_with_each_frame() {
    const META: u32 = 13;
    let mut bench = Bench::new("pc", &["camera=pattern,pace=free,size=16x8"]);
    let files = [(bench.open(1), META), (bench.open(0), CAPTURE)];
    for (file, kind) in files {
        assert_eq!(bench.reqbufs(file, kind, MMAP, 2), 2);
        for index in 0..2 {
            let fields = [
                (0, index),
                (4, kind),
                (offset_of!(v4l2_buffer, memory), MMAP),
            ];
            let buffer = Arg::new(size_of::<v4l2_buffer>(), &fields);
            bench.ioctl(file, VIDIOC_QBUF, buffer);
        }
        bench.ioctl(file, VIDIOC_STREAMON, Arg::new(4, &[(0, kind)]));
    }
    let unlisted = bench.run.report();
    assert_eq!(unlisted.devices.len(), 2, "it was used");
    for _ in 0..4 {
        bench.run.tick();
    }
    for sequence in 0..2 {
        let done = files.map(|(file, kind)| {
            let fields = [(4, kind), (offset_of!(v4l2_buffer, memory), MMAP)];
            let buffer = Arg::new(size_of::<v4l2_buffer>(), &fields);
            let done = bench.ioctl(file, VIDIOC_DQBUF, buffer);
            let stamp = offset_of!(v4l2_buffer, timestamp);
            let time = done.0[stamp..stamp + 16].to_vec();
            assert_eq!(done.u32(offset_of!(v4l2_buffer, sequence)), sequence);
            (time, done.u32(offset_of!(v4l2_buffer, bytesused)))
        });
        assert_eq!(done[0].0, done[1].0, "timestamps");
        assert_eq!((done[0].1, done[1].1), (22, 16 * 8 * 2));
    }
}

#[test]
fn a_webcam_shows_the_bounds_of_its_picture() {
    // Active crop, default crop, crop bounds; bounds of composing.
    let targets = [0, 1, 2, 0x102];
    let specs = ["camera,size=32x16", "camera,identity=plain"];
    let mut bench = Bench::new("pc", &specs);
    let rect = offset_of!(v4l2_selection, r);
    for (device, errnos) in [
        (0, [Err(EINVAL), Ok(0), Ok(0), Err(EINVAL)]),
        (1, [Err(ENOTTY); 4]),
    ] {
        let file = bench.open(device);
        for (target, wanted) in targets.into_iter().zip(errnos) {
            let fields = [(0, CAPTURE), (4, target)];
            let mut arg = Arg::new(size_of::<v4l2_selection>(), &fields);
            let done = bench.try_ioctl(file, VIDIOC_G_SELECTION, &mut arg);
            assert_eq!(done, wanted, "device {device}, target {target:#x}");
            if done.is_ok() {
                let size = [0, 4, 8, 12].map(|at| arg.u32(rect + at));
                assert_eq!(size, [0, 0, 32, 16]);
            }
            let done = bench.try_ioctl(file, VIDIOC_S_SELECTION, &mut arg);
            assert_eq!(done, Err(ENOTTY));
        }
        let mut arg = Arg::new(size_of::<v4l2_cropcap>(), &[(0, CAPTURE)]);
        let done = bench.try_ioctl(file, VIDIOC_CROPCAP, &mut arg);
        assert_eq!(done, errnos[1]);
        if done.is_ok() {
            assert_eq!([4, 12, 16, 36, 40].map(|at| arg.u32(at)), [0, 32, 16, 1, 1]);
        }
    }
}

/// The report omits unused metadata nodes, so devices in the report have other indices than the nodes.
#[test]
fn scripted_faults_of_metadata_are_not_lost() {
    const META: u32 = 13;
    let mut bench = Bench::new("pc", &["camera=pattern,pace=free,size=16x8"; 2]);
    let script = "[[step]]\ndevice = \"video3\"\nframe = 0\nerror = true\n";
    bench.run.play(&Script::parse(script).unwrap()).unwrap();
    for (device, kind) in [(3, META), (1, CAPTURE)] {
        let file = bench.open(device);
        assert_eq!(bench.reqbufs(file, kind, MMAP, 2), 2);
        let fields = [(4, kind), (offset_of!(v4l2_buffer, memory), MMAP)];
        let buffer = Arg::new(size_of::<v4l2_buffer>(), &fields);
        bench.ioctl(file, VIDIOC_QBUF, buffer);
        bench.ioctl(file, VIDIOC_STREAMON, Arg::new(4, &[(0, kind)]));
    }
    for _ in 0..4 {
        bench.run.tick();
    }
    let report = bench.run.report();
    let flagged = report.script.iter().map(|event| &*event.device);
    assert_eq!(flagged.collect::<Vec<_>>(), ["/dev/video3"]);
    let lost = |device: &DeviceReport| (device.node.clone(), device.queues[0].lost);
    let found: Vec<_> = report.devices.iter().map(lost).collect();
    let wanted = [0, 1, 3].map(|number| (format!("/dev/video{number}"), 0));
    assert_eq!(found, wanted);
}

#[test]
fn a_script_names_no_subdevice() {
    let mut bench = Bench::new("pc", &["vimc"]);
    let script = "[[step]]\ndevice = \"video128\"\nfail = \"STREAMON\"\nerrno = \"EIO\"\n";
    let refused = bench.run.play(&Script::parse(script).unwrap());
    let said = refused.unwrap_err().to_string();
    assert!(said.contains("there is no /dev/video128"), "{said}");
}
