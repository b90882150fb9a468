//! How programs find devices: libudev, GStreamer's device monitor, listings.

use crate::common::{Run, RunOutput, lacks};
use serde_json::Value;
use std::path::Path;

/// Prepares a run with a camera, a converter (which has a media device) and a display.
fn devices() -> Run {
    Run::on("pc")
        .device("camera=pattern")
        .device("convert")
        .device("display=null")
}

/// Returns libudev's description of each device, by node.
fn by_libudev() -> Option<(RunOutput, Vec<Value>)> {
    let python = "/usr/bin/python3";
    let there = Path::new("/usr/lib/python3/dist-packages/pyudev").is_dir();
    if lacks(python) || (!there && lacks("python3-pyudev")) {
        return None;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/udev.py");
    let outcome = devices().program([Path::new(python), &script]).run();
    outcome.expect_success();
    let lines = outcome.stdout.lines();
    let devices = lines.map(|line| serde_json::from_str(line).unwrap());
    let devices = devices.collect();
    Some((outcome, devices))
}

/// The generated tree has nodes, links and directories of the same name.
#[test]
fn a_walk_of_dev_finds_each_node_once() {
    let outcome = devices()
        .scratch("/dev/shm")
        .program([
            "sh",
            "-c",
            "find /dev -name '.tmp*' -prune -o -name 'video*' -print | sort; ls -A /dev/shm",
        ])
        .run();
    outcome.expect_success();
    let (nodes, others): (Vec<&str>, Vec<&str>) = outcome
        .stdout
        .lines()
        .partition(|line| line.starts_with("/dev/"));
    assert_eq!(
        nodes,
        ["/dev/video0", "/dev/video1", "/dev/video2", "/dev/video3"]
    );
    assert!(
        !others.iter().any(|name| name.contains("vb3-sys")),
        "{others:?}"
    );
}

/// The webcam's device below the platform devices, and udev's ID_PATH of it.
const WEBCAM: &str = "vb3-hcd.0/usb60/60-1/60-1:1.0";
const WEBCAM_ID: &str = "platform-vb3-hcd.0-usb-0:1:1.0";

#[test]
fn libudev_lists_devices_with_properties() {
    let Some((outcome, devices)) = by_libudev() else {
        return;
    };
    let find = |node: &str| {
        let found = devices.iter().find(|device| device["node"] == node);
        found.unwrap_or_else(|| panic!("no {node}: {}", outcome.stdout))
    };
    for (node, place, id_path, capabilities) in [
        ("/dev/video0", WEBCAM, WEBCAM_ID, ":capture:"),
        ("/dev/video1", "vb3-001", "platform-vb3-001", ":"),
        (
            "/dev/video2",
            "vb3-002",
            "platform-vb3-002",
            ":video_output:",
        ),
        ("/dev/video3", WEBCAM, WEBCAM_ID, ":"),
    ] {
        let device = find(node);
        let name = node.trim_start_matches("/dev/");
        let path = format!("/sys/devices/platform/{place}/video4linux/{name}");
        assert_eq!(device["sys_path"], *path);
        assert_eq!(device["by_file"], *path);
        let properties = &device["properties"];
        assert_eq!(properties["ID_V4L_VERSION"], "2");
        assert_eq!(properties["ID_V4L_CAPABILITIES"], capabilities);
        assert_eq!(properties["ID_V4L_PRODUCT"], device["attribute"]["name"]);
        assert_eq!(properties["ID_PATH"], id_path);
        // The webcam's metadata node.
        let index = if node == "/dev/video3" { "1" } else { "0" };
        assert_eq!(device["attribute"]["index"], index);
        assert!(device["age"].as_f64().unwrap() >= 0.0);
        let by_path = format!("/dev/v4l/by-path/{id_path}-video-index{index}");
        let links = device["links"].as_array().unwrap();
        assert_eq!(links.len(), 2, "{links:?}");
        assert!(links.iter().any(|link| *link == *by_path), "{links:?}");
        assert_eq!(device["lead_to"], serde_json::json!([node]));
        let parent = format!("/sys/devices/platform/{place}");
        let (bus, driver) = match place {
            WEBCAM => ("usb", "uvcvideo"),
            _ => ("platform", "videobuf3"),
        };
        let parent = serde_json::json!([parent, bus, driver]);
        assert_eq!(device["parent"], parent);
    }
    for (media, place, video) in [
        ("/dev/media0", WEBCAM, "/dev/video0"),
        ("/dev/media1", "vb3-001", "/dev/video1"),
    ] {
        let device = find(media);
        let name = media.trim_start_matches("/dev/");
        let path = format!("/sys/devices/platform/{place}/{name}");
        assert_eq!(device["sys_path"], *path);
        assert_eq!(device["by_file"], device["sys_path"]);
        let model = &device["attribute"]["model"];
        assert_eq!(*model, find(video)["attribute"]["name"]);
        assert_eq!(device["properties"].get("ID_BUS"), None);
    }
    assert_eq!(devices.len(), 6, "no devices of this machine among them");
}

#[test]
fn udevadm_finds_a_device_by_any_of_its_names() {
    if lacks("udevadm") {
        return;
    }
    for name in [
        "/dev/video0",
        "/dev/v4l/by-path/platform-vb3-hcd.0-usb-0:1:1.0-video-index0",
        "/dev/v4l/by-id/usb-videobuf3_Test_Pattern_Camera_vb3-000-video-index0",
        "/sys/class/video4linux/video0",
        "/sys/dev/char/81:0",
    ] {
        let outcome = devices().program(["udevadm", "info", name]).run();
        outcome.expect_success();
        let says = |line: &str| outcome.stdout.lines().any(|said| said == line);
        assert!(
            says(&format!(
                "E: DEVPATH=/devices/platform/{WEBCAM}/video4linux/video0"
            )),
            "{name}: {}",
            outcome.stdout
        );
        assert!(says("E: ID_V4L_CAPABILITIES=:capture:"), "{name}");
        assert!(says("E: ID_USB_MODEL_ID=0102"), "{name}");
        let since = "E: USEC_INITIALIZED=";
        assert!(outcome.stdout.contains(since), "{name}");
    }
}

#[test]
fn gstreamer_monitor_lists_camera_and_display() {
    if lacks("gst-device-monitor-1.0") {
        return;
    }
    let outcome = devices().program(["gst-device-monitor-1.0", "Video"]).run();
    let said = &outcome.stdout;
    for (class, node) in [("Source", "/dev/video0"), ("Sink", "/dev/video2")] {
        assert!(said.contains(&format!("class : Video/{class}")), "{said}");
        assert!(said.contains(&format!("device.path = {node}")), "{said}");
    }
    assert!(said.contains("udev-probed = true"), "{said}");
    // Other plugins may list a graphics card.
    assert_eq!(said.matches("device.api = v4l2").count(), 2, "{said}");
}

#[test]
fn device_links_open_from_any_directory() {
    if lacks("v4l2-ctl") {
        return;
    }
    let link = format!("{WEBCAM_ID}-video-index0");
    let script = format!(
        "v4l2-ctl -d /dev/v4l/by-path/{link} --info &&
         cd /dev/v4l/by-path && pwd -P && v4l2-ctl -d {link} --info && readlink {link} &&
         cd /sys/class/video4linux && pwd -P && cat video0/name && cat video2/device/uevent &&
         cd video0 && pwd -P && cat ../../modalias && ls .. && ls /sys/class | grep video4linux &&
         ls /run/udev/data | grep -c c81:"
    );
    let outcome = devices().program(["sh", "-ec", &script]).run();
    outcome.expect_success();
    let said = &outcome.stdout;
    // Once for the node and once for its media device.
    assert_eq!(said.matches("usb-vb3-hcd.0-1\n").count(), 4, "{said}");
    let after = said.split_once("../../video0\n").map(|(_, after)| after);
    let want = format!(
        "/sys/class/video4linux\nTest Pattern Camera\nDRIVER=videobuf3\n\
         MODALIAS=platform:videobuf3\n\
         /sys/devices/platform/{WEBCAM}/video4linux/video0\n\
         usb:v1D6Bp0102d0100dcEFdsc02dp01ic0Eisc01ip00in00\nvideo0\nvideo3\nvideo4linux\n4\n"
    );
    assert_eq!(after, Some(&*want), "{said}");
}

#[test]
fn v4l2_ctl_lists_every_device_under_its_name() {
    if lacks("v4l2-ctl") {
        return;
    }
    let outcome = devices().program(["v4l2-ctl", "--list-devices"]).run();
    outcome.expect_success();
    let said = &outcome.stdout;
    for want in [
        "Test Pattern Camera (usb-vb3-hcd.0-1):\n\t/dev/video0\n\t/dev/video3\n\t/dev/media0\n",
        "(platform:vb3-001):\n\t/dev/video1\n\t/dev/media1\n",
        "Display (platform:vb3-002):\n\t/dev/video2\n",
    ] {
        assert!(said.contains(want), "{want} in {said}");
    }
}

#[test]
fn proc_devices_names_each_driver_once() {
    let script = "cat /proc/devices; cd /proc && cmp devices /proc/devices && echo same";
    let outcome = devices().program(["sh", "-ec", script]).run();
    outcome.expect_success();
    for driver in [
        " 10 misc",
        " 81 video4linux",
        "189 usb_device",
        "384 media",
        "same",
    ] {
        let lines = outcome.stdout.lines().filter(|line| *line == driver);
        assert_eq!(lines.count(), 1, "{driver}: {}", outcome.stdout);
    }
}

#[test]
fn device_numbers_lead_to_nodes_and_sysfs() {
    let script = "for node in video0 media0 bus/usb/060/001 bus/usb/060/002; do
             number=$((0x$(stat -c %t /dev/$node))):$((0x$(stat -c %T /dev/$node)))
             echo $node $(stat -c %F /dev/$node) $number $(readlink -f /dev/char/$number)
             [ $(cat /sys/dev/char/$number/dev) = $number ]
         done
         cmp /dev/bus/usb/060/002 /sys/bus/usb/devices/60-1/descriptors
         (: >/dev/bus/usb/060/002) 2>&1 | grep -o denied";
    let outcome = devices().program(["sh", "-ec", script]).run();
    outcome.expect_success();
    let want = "video0 character special file 81:0 /dev/video0\n\
                media0 character special file 384:0 /dev/media0\n\
                bus/usb/060/001 character special file 189:7552 /dev/bus/usb/060/001\n\
                bus/usb/060/002 character special file 189:7553 /dev/bus/usb/060/002\n\
                denied\n";
    assert_eq!(outcome.stdout, want, "{}", outcome.stderr);
}

#[test]
fn lsusb_lists_webcams_below_their_hub() {
    if lacks("lsusb") {
        return;
    }
    let script = format!(
        "lsusb -d 046d:; lsusb -t; lsusb -v -d 046d: | grep -E 'wTotal|SubClass|iProduct'
         {} ctl unplug video0; echo gone; lsusb -d 046d:; lsusb -s 60:",
        env!("CARGO_BIN_EXE_vb3")
    );
    let outcome = Run::on("pc")
        .device("camera=pattern,usb=046d:0825,name=Two words")
        .program(["sh", "-c", &script])
        .run();
    outcome.expect_success();
    let said: Vec<&str> = outcome.stdout.lines().map(str::trim).collect();
    let first = "Bus 060 Device 002: ID 046d:0825";
    assert!(
        said.first().is_some_and(|line| line.starts_with(first)),
        "{said:?}"
    );
    for wanted in [
        "iProduct                2 Two words",
        "wTotalLength       0x0073",
    ] {
        assert!(said.contains(&wanted), "{wanted} in {said:?}");
    }
    let branches = said
        .iter()
        .filter(|line| line.contains("Class=Video, Driver=uvcvideo, 480M"));
    assert_eq!(branches.count(), 2, "{said:?}");
    let subclass = |name: &str| said.iter().filter(|line| line.ends_with(name)).count();
    assert_eq!(
        (subclass("Video Control"), subclass("Video Streaming")),
        (1, 2),
        "{said:?}"
    );
    let gone = said.iter().position(|line| *line == "gone");
    let after = gone.map(|at| &said[at + 1..]);
    let [hub] = after.unwrap_or_default() else {
        panic!("{said:?}")
    };
    assert!(hub.starts_with("Bus 060 Device 001: ID 1d6b:0002"), "{hub}");
    assert!(
        !outcome.stderr.contains("No such file"),
        "{}",
        outcome.stderr
    );
}

/// libudev 257 opens a path one directory after the other by O_PATH. In a chroot, the supervisor sees the
/// directories by other paths than the program.
#[test]
fn libudev_finds_the_camera_after_a_chroot() {
    let python = "/usr/bin/python3";
    let there = Path::new("/usr/lib/python3/dist-packages/pyudev").is_dir();
    if !rustix::process::geteuid().is_root() || lacks(python) || !there {
        return;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/udev.py");
    let chroot = format!(
        "mkdir jail && mount --rbind / jail && exec chroot jail {python} {}",
        script.display()
    );
    let outcome = devices()
        .program(["unshare", "-m", "sh", "-c", &chroot])
        .run();
    outcome.expect_success();
    assert!(outcome.stdout.contains("/dev/video0"), "{}", outcome.stdout);
}
