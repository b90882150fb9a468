use super::*;
use crate::kernel::may_block;
use vb3_frontend::NodeId;

fn video(device: Option<&str>) -> Node {
    Node {
        devices: device.map(BusDevice::platform).into_iter().collect(),
        ..Node::video(NodeId(0), "/dev/video7", 7)
    }
}

type Files = [(PathBuf, Vec<u8>)];
type NamedLinks = [(PathBuf, PathBuf)];

fn told(files: &Files, links: &NamedLinks) -> Told {
    let (files, links) = (files.to_vec(), links.to_vec());
    Told { files, links }
}

fn make(may: &MayBlock, nodes: &[Node], files: &Files, links: &NamedLinks) -> Result<Tree, Errno> {
    Tree::make(may, nodes, &told(files, links))
}

fn change(tree: &Tree, nodes: &[Node], files: &Files, links: &NamedLinks) -> Result<Tree, Errno> {
    tree.change(nodes, &told(files, links))
}

fn real(tree: &Tree, path: &str) -> String {
    match tree.find(path.as_bytes(), Links::Follow) {
        Some(Found::Inside(real)) => String::from_utf8(real).expect("utf-8"),
        other => panic!("{path}: {other:?}"),
    }
}

fn read(tree: &Tree, path: &str) -> String {
    fs::read_to_string(real(tree, path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn outside(tree: &Tree, path: &str) -> String {
    match tree.find(path.as_bytes(), Links::Follow) {
        Some(Found::Outside(path)) => String::from_utf8(path).expect("utf-8"),
        other => panic!("{path}: {other:?}"),
    }
}

#[test]
fn tree_is_written_for_first_path_inside() {
    let may = MayBlock::of_this_thread();
    let record = |text: &str| {
        [(
            PathBuf::from("/run/udev/data/c81:7"),
            text.as_bytes().to_vec(),
        )]
    };
    let first = make(&may, &[video(None)], &record("I:1\n"), &[]).expect("a tree");
    let folder = first.written.as_ref().expect("a folder").folder.path();
    let written = || fs::read_dir(folder).expect("a folder").count();
    assert_eq!(outside(&first, "/dev/char/81:7"), "/dev/video7");
    assert_eq!(first.find(b"/usr/lib", Links::Follow), None);
    assert_eq!(written(), 0);
    let next = change(&first, &[video(None)], &record("I:2\n"), &[]);
    let next = next.expect("a tree");
    assert_eq!(written(), 0);
    // A call that uses the old tree after the change writes the new tree's files.
    assert_eq!(read(&first, "/run/udev/data/c81:7"), "I:2\n");
    assert_eq!(read(&next, "/sys/class/video4linux/video7/dev"), "81:7\n");
}

#[test]
fn the_tree_is_like_sysfs_and_goes_away() {
    let may = MayBlock::of_this_thread();
    let name = PathBuf::from("/sys/class/video4linux/video7/name");
    let tree = make(&may, &[video(None)], &[(name, "cam\n".into())], &[]).expect("a tree");
    assert_eq!(read(&tree, "/sys/class/video4linux/video7/name"), "cam\n");
    let uevent = "MAJOR=81\nMINOR=7\nDEVNAME=video7\n";
    assert_eq!(read(&tree, "/sys/dev/char/81:7/uevent"), uevent);
    assert_eq!(
        read(&tree, "/sys/dev/char/81:7/subsystem/video7/dev"),
        "81:7\n"
    );
    assert_eq!(tree.find(b"/sys/dev/char/81:70", Links::Follow), None);
    assert_eq!(tree.find(b"/sys/class/video4linuxes", Links::Follow), None);
    assert_eq!(tree.find(b"/sys/bus", Links::Follow), None);
    let written = tree.written.as_ref().expect("a folder");
    let root = written.folder.path().to_owned();
    drop(tree);
    assert!(!root.exists());
}

#[test]
fn video_node_links_to_device_and_media_node() {
    let may = MayBlock::of_this_thread();
    let media = Node {
        kind: NodeKind::Media { major: 384 },
        devices: vec![BusDevice::platform("vb3-007")],
        ..Node::video(NodeId(1), "/dev/media1", 1)
    };
    let tree = make(&may, &[video(Some("vb3-007")), media], &[], &[]).expect("a tree");
    let uevent = "MAJOR=384\nMINOR=1\nDEVNAME=media1\n";
    for path in [
        "/sys/dev/char/81:7/device/media1/uevent",
        "/sys/class/video4linux/video7/../../media1/uevent",
        "/sys/dev/char/384:1/uevent",
        "/sys/dev/char/384:1/device/media1/uevent",
        "/sys/bus/media/devices/media1/uevent",
        "/sys/bus/platform/devices/vb3-007/media1/uevent",
        "/sys/devices/platform/vb3-007/media1/subsystem/devices/media1/uevent",
    ] {
        assert_eq!(read(&tree, path), uevent, "{path}");
    }
    assert_eq!(
        read(&tree, "/sys/class/video4linux/video7/device/uevent"),
        ""
    );
    assert_eq!(
        tree.find(b"/sys/devices/platform/vb3-0071", Links::Follow),
        None
    );
}

/// Returns the devices above a USB camera. The controller stays when the camera is unplugged.
fn usb() -> Vec<BusDevice> {
    let device = |path: &str, bus, stays| BusDevice {
        path: format!("/sys/devices/platform/{path}"),
        bus,
        stays,
    };
    vec![
        device("hcd", "platform", true),
        device("hcd/usb1", "usb", true),
        device("hcd/usb1/1-1", "usb", false),
        device("hcd/usb1/1-1/1-1:1.0", "usb", false),
    ]
}

#[test]
fn a_controller_stays_when_its_camera_goes() {
    let may = MayBlock::of_this_thread();
    let node = Node {
        devices: usb(),
        ..video(None)
    };
    let hub = "/sys/devices/platform/hcd/usb1";
    let file = |path: String, text: &str| (PathBuf::from(path), text.into());
    let files = [
        file(format!("{hub}/speed"), "480\n"),
        file(format!("{hub}/1-1/speed"), "12\n"),
    ];
    let mut all = make(&may, std::slice::from_ref(&node), &files, &[]).expect("a tree");
    all.begin_at(|path| path == "/sys");
    let interface = "/sys/class/video4linux/video7/device";
    assert_eq!(read(&all, &format!("{interface}/../speed")), "12\n");
    assert_eq!(read(&all, &format!("{interface}/../../speed")), "480\n");
    assert_eq!(read(&all, "/sys/bus/usb/devices/1-1/speed"), "12\n");

    let none = change(&all, &[], &[], &[]).expect("an emptier tree");
    assert_eq!(read(&none, "/sys/bus/usb/devices/usb1/speed"), "480\n");
    for path in ["/sys/bus/usb/devices/1-1", &format!("{hub}/1-1")] {
        let at = real(&none, path);
        assert!(Path::new(&at).symlink_metadata().is_err(), "{path}");
    }
    let still = change(&none, &[], &[], &[]).expect("the same tree");
    assert_eq!(read(&still, "/sys/bus/usb/devices/usb1/speed"), "480\n");
    let back = change(&still, &[node], &files, &[]).expect("a tree");
    assert_eq!(read(&back, &format!("{interface}/../speed")), "12\n");
}

#[test]
fn a_webcam_stands_beside_the_systems_usb_devices() {
    let may = MayBlock::of_this_thread();
    let node = Node {
        devices: usb(),
        ..video(None)
    };
    let interface = PathBuf::from("/sys/devices/platform/hcd/usb1/1-1/1-1:1.0");
    let link = PathBuf::from("/sys/bus/usb/drivers/uvcvideo/1-1:1.0");
    let mut tree = make(&may, &[node], &[], &[(link, interface)]).expect("a tree");
    let system = ["/sys/bus/usb/devices", "/sys/bus/usb/drivers/uvcvideo"];
    tree.begin_at(|path| system.iter().any(|dir| dir.starts_with(path)));
    assert_eq!(tree.find(b"/sys/bus/usb/devices", Links::Follow), None);
    assert_eq!(tree.find(b"/sys/bus/usb/devices/2-1", Links::Follow), None);
    let uevent = "/sys/bus/usb/devices/1-1/uevent";
    assert_eq!(read(&tree, uevent), "");
    let dev = "/sys/bus/usb/drivers/uvcvideo/1-1:1.0/video4linux/video7/dev";
    assert_eq!(read(&tree, dev), "81:7\n");
}

#[test]
fn links_are_written_as_the_kernel_writes_them() {
    let may = MayBlock::of_this_thread();
    let tree = make(&may, &[video(Some("vb3-007"))], &[], &[]).expect("a tree");
    let link = |path: &str| match tree.find(path.as_bytes(), Links::Keep) {
        Some(Found::Inside(real)) => {
            String::from_utf8(may_block::readlink(&may, &real).expect(path)).expect("utf-8")
        }
        other => panic!("{path}: {other:?}"),
    };
    let here = "../../devices/platform/vb3-007/video4linux/video7";
    assert_eq!(link("/sys/class/video4linux/video7"), here);
    assert_eq!(link("/sys/dev/char/81:7"), here);
    assert_eq!(link("/sys/dev/char/81:7/device"), "../../../vb3-007");
    assert_eq!(
        link("/sys/dev/char/81:7/subsystem"),
        "../../../../../class/video4linux"
    );
}

#[test]
fn a_node_of_a_class_has_its_directory_below_dev() {
    let may = MayBlock::of_this_thread();
    let heap = Node {
        kind: NodeKind::Class {
            name: "dma_heap",
            major: 511,
        },
        ..Node::video(NodeId(2), "/dev/dma_heap/system", 0)
    };
    let mut tree = make(&may, &[heap], &[], &[]).expect("a tree");
    tree.begin_at(|path| matches!(path, "/dev" | "/sys"));
    let uevent = "MAJOR=511\nMINOR=0\nDEVNAME=dma_heap/system\n";
    assert_eq!(read(&tree, "/sys/class/dma_heap/system/uevent"), uevent);
    let inside = real(&tree, "/dev/dma_heap");
    assert!(Path::new(&inside).is_dir());
    assert_eq!(
        tree.directory_of(Path::new("/dev/dma_heap/system")),
        Some(inside.into_bytes())
    );
    // If the system has DMA heaps, programs see the generated heaps next to them.
    tree.begin_at(|path| matches!(path, "/dev" | "/dev/dma_heap" | "/sys"));
    assert_eq!(tree.find(b"/dev/dma_heap", Links::Follow), None);
}

#[test]
fn a_way_out_of_the_tree_is_found() {
    let may = MayBlock::of_this_thread();
    let link = (
        PathBuf::from("/dev/v4l/by-path/platform-vb3-007-video-index0"),
        PathBuf::from("/dev/video7"),
    );
    let record = (PathBuf::from("/run/udev/data/c81:7"), b"I:1\n".to_vec());
    let tree = make(&may, &[video(Some("vb3-007"))], &[record], &[link]).expect("a tree");
    let by_path = "/dev/v4l/by-path/platform-vb3-007-video-index0";
    assert_eq!(outside(&tree, by_path), "/dev/video7");
    assert_eq!(outside(&tree, "/dev/char/81:7"), "/dev/video7");
    assert!(tree.has_name(b"platform-vb3-007-video-index0") && !tree.has_name(b"name"));
    assert_eq!(
        outside(&tree, "/sys/class/video4linux/../net"),
        "/sys/class/net"
    );
    let uevent = "/sys/class/video4linux/video7/device/subsystem/uevent";
    assert_eq!(outside(&tree, uevent), "/sys/bus/platform/uevent");
    assert_eq!(read(&tree, "/run/udev/data/c81:7"), "I:1\n");
    let inside = real(&tree, "/sys/class/video4linux");
    assert_eq!(
        tree.known_as(inside.as_bytes()),
        Some(&b"/sys/class/video4linux"[..])
    );
}

#[test]
fn generated_part_begins_below_existing_folders() {
    let may = MayBlock::of_this_thread();
    let record = (PathBuf::from("/run/udev/data/c81:7"), Vec::new());
    let mut tree = make(&may, &[video(Some("vb3-007"))], &[record], &[]).expect("a tree");
    let system = [
        "/dev",
        "/proc",
        "/run",
        "/run/udev",
        "/run/udev/data",
        "/sys",
        "/sys/class",
        "/sys/dev",
    ];
    tree.begin_at(|path| system.contains(&path));
    let tops = |tree: &Tree| -> Vec<String> {
        let tops = tree.tops().map(|(top, _)| top.display().to_string());
        tops.collect()
    };
    // If udev runs, its socket belongs to the system.
    let socket = (!Path::new(UDEV_SOCKET).exists()).then_some(UDEV_SOCKET);
    let want = [
        "/run/udev/data/c81:7",
        "/sys/bus",
        "/sys/class/video4linux",
        "/sys/dev/char",
        "/sys/devices",
    ];
    let first = ["/dev/char", "/proc/devices"].into_iter();
    let want = first.chain(socket).chain(want);
    let want: Vec<&str> = want.collect();
    assert_eq!(tops(&tree), want);
    tree.begin_at(|path| matches!(path, "/run" | "/sys"));
    let want = [
        "/dev",
        "/proc",
        "/run/udev",
        "/sys/bus",
        "/sys/class",
        "/sys/dev",
        "/sys/devices",
    ];
    assert_eq!(tops(&tree), want);
}

#[test]
fn removed_entry_reappears_at_its_place() {
    let may = MayBlock::of_this_thread();
    let link = (
        PathBuf::from("/dev/v4l/by-path/platform-vb3-007-video-index0"),
        PathBuf::from("/dev/video7"),
    );
    let node = video(Some("vb3-007"));
    let all = make(
        &may,
        std::slice::from_ref(&node),
        &[],
        std::slice::from_ref(&link),
    );
    let mut all = all.expect("a tree");
    let system = ["/dev", "/proc", "/sys", "/sys/class", "/sys/devices"];
    all.begin_at(|path| system.contains(&path));
    let tops = |tree: &Tree| -> Vec<String> {
        let tops = tree.tops().map(|(top, _)| top.display().to_string());
        tops.collect()
    };
    let class = fs::metadata(real(&all, "/sys/class/video4linux")).expect("a class");

    let none = change(&all, &[], &[], &[]).expect("an emptier tree");
    let want = ["/sys/bus", "/sys/class/video4linux", "/sys/dev"];
    let tops = tops(&none);
    assert_eq!(tops, [&["/proc/devices"], &want[..]].concat());
    for path in [
        "/sys/class/video4linux/video7/dev",
        "/sys/dev/char/81:7",
        "/sys/devices/platform/vb3-007",
        "/dev/v4l/by-path/platform-vb3-007-video-index0",
    ] {
        let at = real(&none, path);
        assert!(Path::new(&at).symlink_metadata().is_err(), "{path}");
    }
    let left = real(&none, "/sys/class/video4linux");
    assert_eq!(fs::read_dir(&left).expect("a class").count(), 0);

    let back = change(&none, &[node], &[], &[link]).expect("a tree");
    drop((all, none));
    assert_eq!(read(&back, "/sys/class/video4linux/video7/dev"), "81:7\n");
    assert_eq!(
        outside(&back, "/dev/v4l/by-path/platform-vb3-007-video-index0"),
        "/dev/video7"
    );
    let now = fs::metadata(real(&back, "/sys/class/video4linux")).expect("a class");
    assert_eq!(class.ino(), now.ino(), "who has it open sees what comes");
}

#[test]
fn a_failed_change_can_be_repeated_and_undone() {
    let may = MayBlock::of_this_thread();
    let node = || [video(Some("vb3-007"))];
    let all = make(&may, &node(), &[], &[]).expect("a tree");
    let folder = &all.written.as_ref().expect("a folder").folder;
    let link = place(folder, "/sys/dev/char/81:7");
    real(&all, "/sys/class/video4linux");
    let none = change(&all, &[], &[], &[]).expect("an emptier tree");
    // Stands for a file system that is full.
    fs::create_dir_all(&link).expect("a directory");
    change(&none, &node(), &[], &[]).expect_err("no room");
    fs::remove_dir(&link).expect("it is empty");
    let back = change(&none, &node(), &[], &[]).expect("a tree");
    let number = "/sys/class/video4linux/video7/dev";
    assert_eq!(read(&back, number), "81:7\n");
    // An entry that could never be written is none that must be removed.
    fs::remove_file(real(&back, number)).expect("a file");
    change(&back, &[], &[], &[]).expect("an emptier tree");
}

#[test]
fn a_file_below_dev_has_its_links_number() {
    let may = MayBlock::of_this_thread();
    let node = Node {
        devices: usb(),
        ..video(None)
    };
    let path = |text: &str| PathBuf::from(text);
    let files = [(path("/dev/bus/usb/001/001"), vec![18, 1, 0x80])];
    let links = [
        ("/sys/dev/char/189:0", "/sys/devices/platform/hcd/usb1"),
        ("/dev/char/189:0", "/dev/bus/usb/001/001"),
    ];
    let links = links.map(|(link, target)| (path(link), path(target)));
    let all = make(&may, &[node], &files, &links).expect("a tree");
    let is_there = |tree: &Tree| {
        assert_eq!(tree.file_number("/dev/bus/usb/001/001"), Some((189, 0)));
        let bytes = fs::read(real(tree, "/dev/char/189:0")).expect("a file");
        assert_eq!(bytes, [18, 1, 0x80]);
    };
    is_there(&all);
    assert_eq!(all.file_number("/dev/char/189:0"), None, "it is a link");
    assert_eq!(all.file_number("/dev/char/81:7"), None);
    // The node disappears, and the hub stays.
    let none = change(&all, &[], &[], &[]).expect("an emptier tree");
    is_there(&none);
    assert_eq!(none.link_at("/dev/char/81:7"), None);
}

#[test]
fn proc_devices_names_drivers_for_the_whole_run() {
    let may = MayBlock::of_this_thread();
    let all = make(&may, &[video(None)], &[], &[]).expect("a tree");
    let none = change(&all, &[], &[], &[]).expect("an emptier tree");
    for tree in [&all, &none] {
        let text = read(tree, "/proc/devices");
        let drivers = text.lines().filter(|line| line.ends_with("video4linux"));
        assert_eq!(drivers.collect::<Vec<_>>(), [" 81 video4linux"]);
    }
}
