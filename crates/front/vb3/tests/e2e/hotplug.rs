//! Devices that are unplugged and plugged in while real programs use them.

use crate::common::{
    Run, RunOutput, compiled, expect_pattern, finish, lacks, lacks_libavcodec, size_option, vb3,
};
use crate::streams::{decoded, encoded};
use serde_json::Value;
use std::path::Path;
use vb3_v4l2::pixfmt;

fn camera() -> Run {
    Run::on("pc")
        .device(format!("camera=pattern,format=YUYV,{}", size_option()))
        .device("display=null")
}

/// Runs a shell script, in which `$VB3` is the path of `vb3`.
fn shell(run: Run, script: &str) -> RunOutput {
    let script = format!("VB3={}\n{script}", env!("CARGO_BIN_EXE_vb3"));
    run.program(["sh", "-c", &script]).run()
}

#[test]
fn unplug_matches_linux_and_buffers_survive() {
    let Some(hotplug) = compiled("hotplug.c") else {
        return;
    };
    for machine in ["pc", "soc-noncoherent"] {
        let outcome = Run::on(machine)
            .device(format!("camera=pattern,format=YUYV,{}", size_option()))
            .device("display=null")
            .program([hotplug.as_os_str()])
            .and(["gone", "/dev/video0"])
            .run();
        outcome.expect_success();
        assert_eq!(outcome.stdout, "gone and back\n");
        let said = "/dev/video0 was unplugged once; calls on files of it failed with ENODEV";
        assert!(
            outcome.report.notes.iter().any(|note| note == said),
            "{:?}",
            outcome.report.notes
        );
    }
}

#[test]
#[ignore = "full: a storm"]
fn random_replugs_neither_hang_nor_leak() {
    let Some(hotplug) = compiled("hotplug.c") else {
        return;
    };
    for seed in ["1", "2"] {
        let outcome = camera()
            .program([hotplug.as_os_str()])
            .and(["storm", "/dev/video0", "100", seed])
            .run();
        outcome.expect_success();
        assert!(
            outcome.stdout.starts_with("100 rounds, "),
            "{}",
            outcome.stdout
        );
    }
}

#[test]
fn streams_end_on_unplug_and_restart_after_plug() {
    if lacks("v4l2-ctl") || lacks("gst-launch-1.0") {
        return;
    }
    // Unplugs each device after it has written a picture.
    let outcome = shell(
        camera(),
        "until_written() { while [ ! -s $1 ]; do sleep 0.05; done; $VB3 ctl unplug video0; }
         v4l2-ctl -d /dev/video0 --stream-mmap --stream-to=one.raw 2>v4l2-ctl.txt &
         until_written one.raw; wait $!
         ls /dev/video*
         $VB3 ctl plug video0
         gst-launch-1.0 -q v4l2src device=/dev/video0 ! filesink buffer-mode=unbuffered \\
             location=two.raw 2>gstreamer.txt &
         until_written two.raw; wait $!; echo GStreamer $?
         $VB3 ctl plug video0
         v4l2-ctl -d /dev/video0 --set-fmt-video=width=320,height=240,pixelformat=YUYV \\
             --stream-mmap --stream-count=5 --stream-to=three.raw",
    );
    outcome.expect_success();
    assert_eq!(outcome.stdout, "/dev/video1\nGStreamer 1\n");
    // What a program says depends on the call that it was in.
    let said = String::from_utf8(outcome.read("v4l2-ctl.txt")).unwrap();
    assert!(
        said.contains("VIDIOC_DQBUF: failed: No such device") || said.contains("qbuf error"),
        "{said}"
    );
    let said = String::from_utf8(outcome.read("gstreamer.txt")).unwrap();
    assert!(said.contains("ERROR: from element"), "{said}");
    assert!(said.contains("GstV4l2Src:v4l2src0"), "{said}");
    let numbers = expect_pattern(&pixfmt::YUYV, &outcome.read("three.raw"));
    assert_eq!(numbers.len(), 5);
}

#[test]
fn a_device_comes_and_goes_by_the_clock() {
    if lacks("v4l2-ctl") {
        return;
    }
    let run = Run::on("pc")
        .device(format!(
            "camera=pattern,identity=plain,format=YUYV,unplug=2s,plug=5s,{}",
            size_option()
        ))
        .device("camera=pattern,identity=plain,plug=500ms,node=video7");
    let outcome = shell(
        run,
        "ls /dev/video*; $VB3 ctl advance 500ms; ls /dev/video*
         v4l2-ctl -d /dev/video0 --stream-mmap --stream-to=one.raw
         # Calls fail first, then the node goes, as a kernel has it.
         while [ -e /dev/video0 ]; do :; done
         $VB3 ctl advance 3s
         v4l2-ctl -d /dev/video0 --stream-mmap --stream-count=3 --stream-to=two.raw",
    );
    outcome.expect_success();
    assert_eq!(
        outcome.stdout, "/dev/video0\n/dev/video0\n/dev/video7\n",
        "{}",
        outcome.stderr
    );
    // From 0.5 to 2 s, at 30 frames a second. One is due at 2 s.
    let one = expect_pattern(&pixfmt::YUYV, &outcome.read("one.raw"));
    assert!((1..=46).contains(&one.len()), "{} frames", one.len());
    assert_eq!(
        expect_pattern(&pixfmt::YUYV, &outcome.read("two.raw")).len(),
        3
    );
}

#[test]
fn impossible_orders_are_refused_in_a_sentence() {
    let outcome = shell(
        camera(),
        "$VB3 ctl state; $VB3 ctl unplug /dev/video1 && $VB3 ctl state
         $VB3 ctl unplug 1; echo $?; $VB3 ctl plug video9; echo $?; $VB3 ctl --run 1 state; echo $?
         $VB3 ctl --control gone state; echo $?",
    );
    let list =
        |display: &str| format!("/dev/video0 plugged camera\n/dev/video1 {display} display\n");
    let want = format!("{}{}1\n1\n2\n2\n", list("plugged"), list("unplugged"));
    assert_eq!(outcome.stdout, want, "{}", outcome.stderr);
    for said in [
        "/dev/video1 is unplugged already",
        "\"video9\" is not a device of this run; the run has /dev/video0, /dev/video1",
        "there is no run 1; the active run is ",
        "gone: the run does not answer: No such file or directory (os error 2); check ",
    ] {
        assert!(outcome.stderr.contains(said), "{}", outcome.stderr);
    }
}

#[test]
fn without_a_run_ctl_says_so() {
    let dir = crate::common::tempdir();
    let mut command = vb3(dir.path());
    command.env_remove("VB3_CONTROL").args(["ctl", "state"]);
    let (status, _, said) = finish(&mut command, dir.path());
    assert_eq!(status, 2);
    assert!(said.contains("no run of this user is active"), "{said}");
}

#[test]
fn uevent_sockets_report_only_the_replug() {
    let Some(hotplug) = compiled("hotplug.c") else {
        return;
    };
    let outcome = camera()
        .program([hotplug.as_os_str()])
        .and(["events", "/dev/video0"])
        .run();
    outcome.expect_success();
    assert_eq!(outcome.stdout, "heard\n");
}

#[test]
fn libudev_client_sees_camera_replug() {
    let python = "/usr/bin/python3";
    let there = Path::new("/usr/lib/python3/dist-packages/pyudev").is_dir();
    if lacks(python) || (!there && lacks("python3-pyudev")) {
        return;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/hotplug.py");
    let outcome = camera()
        .program([Path::new(python), &script])
        .and([env!("CARGO_BIN_EXE_vb3")])
        .run();
    outcome.expect_success();
    let lines = outcome.stdout.lines();
    let events: Vec<Value> = lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let nodes = [("/dev/video0", ":capture:"), ("/dev/video2", ":")];
    let wanted = ["udev", "kernel"].into_iter().flat_map(|source| {
        let of = move |action| nodes.map(|node| (source, action, node));
        ["remove", "add"].into_iter().flat_map(of)
    });
    let (events, all) = events.split_at_checked(8).expect("8 events of nodes");
    let wanted_all = [
        "remove video0",
        "remove video2",
        "remove media0",
        "unbind 60-1:1.0",
        "remove 60-1:1.0",
        "unbind 60-1:1.1",
        "remove 60-1:1.1",
        "unbind 60-1",
        "remove 60-1",
        "add 60-1",
        "add 60-1:1.1",
        "add 60-1:1.0",
        "add video0",
        "add video2",
        "add media0",
        "bind 60-1:1.0",
        "bind 60-1:1.1",
        "bind 60-1",
    ];
    assert_eq!(all, wanted_all, "{}", outcome.stdout);
    for (event, (source, action, (node, is))) in events.iter().zip(wanted) {
        assert_eq!(event["source"], source);
        assert_eq!(event["action"], action);
        assert_eq!(event["node"], node);
        let left: &[&str] = match action {
            "remove" => &["/dev/video1"],
            _ => &["/dev/video0", "/dev/video1", "/dev/video2"],
        };
        assert_eq!(event["there"], serde_json::json!(left));
        let capabilities = &event["properties"]["ID_V4L_CAPABILITIES"];
        let want = (source == "udev").then_some(is);
        assert_eq!(capabilities.as_str(), want, "{source} {action} {node}");
    }
}

#[test]
fn gstreamer_device_monitor_sees_camera_replug() {
    if lacks("gst-device-monitor-1.0") {
        return;
    }
    let outcome = shell(
        camera(),
        ": >monitor.txt
         gst-device-monitor-1.0 -f Video/Source >>monitor.txt 2>&1 & monitor=$!
         until_said() { while [ $(grep -c \"$1\" monitor.txt) -lt $2 ]; do sleep 0.05; done; }
         until_said 'device.path = /dev/video0' 1
         $VB3 ctl unplug video0; until_said 'Device removed:' 1
         $VB3 ctl plug video0; until_said 'device.path = /dev/video0' 2
         kill $monitor; wait $monitor; cat monitor.txt",
    );
    let said = &outcome.stdout;
    let (before, after) = said.split_once("Device removed:").unwrap();
    assert_eq!(before.matches("Device found:").count(), 1, "{said}");
    let (removed, found) = after.split_once("Device found:").unwrap();
    for part in [before, removed, found] {
        assert!(part.contains("name  : Test Pattern Camera"), "{said}");
    }
}

#[test]
fn ctl_lists_the_holders_of_a_buffer() {
    if lacks("v4l2-ctl") {
        return;
    }
    let script = "v4l2-ctl -d0 --stream-mmap=3 --stream-to=/dev/null > /dev/null 2>&1 & p=$!
        until $VB3 ctl buffers > list && grep -q \"a mapping in process $p (v4l2-ctl)\" list
        do :; done
        kill $p
        wait $p
        until $VB3 ctl buffers > after && ! [ -s after ]; do :; done
        cat list";
    let outcome = shell(camera(), script);
    outcome.expect_success();
    let buffers = outcome.stdout.lines().filter(|line| !line.starts_with(' '));
    let buffers: Vec<&str> = buffers.collect();
    assert!((1..=3).contains(&buffers.len()), "{}", outcome.stdout);
    let first = " /dev/video0 video-capture buffer 0 plane 0: ";
    assert!(buffers[0].contains(first), "{}", outcome.stdout);
    assert!(
        outcome.stdout.contains("\n  its queue\n"),
        "{}",
        outcome.stdout
    );
}

#[test]
fn decoder_replugs_with_its_media_device() {
    let programs = ["gst-launch-1.0", "media-ctl", "ffmpeg"];
    if programs.into_iter().any(lacks) || lacks_libavcodec() {
        return;
    }
    let Some(stream) = encoded("320x240", 30, "bframes=3:keyint=12:scenecut=0") else {
        return;
    };
    let run = Run::on("pc").device("h264dec");
    let file = run.file("stream.h264");
    std::fs::write(&file, stream).unwrap();
    let wanted = decoded(&file, "null");
    // The first stream is endless.
    let outcome = shell(
        run,
        "decode() { gst-launch-1.0 -q \"$@\" ! h264parse ! v4l2h264dec \\
             ! video/x-raw,format=NV12 ! filesink location=out.raw buffer-mode=unbuffered; }
         decode multifilesrc location=stream.h264 loop=true 2>errors.txt & stream=$!
         while [ ! -s out.raw ]; do sleep 0.05; done
         $VB3 ctl unplug video0; wait $stream; echo $?
         ls /dev/media0 /dev/video0 2>/dev/null; ls /sys/bus/media/devices
         $VB3 ctl plug video0 && rm out.raw
         media-ctl -d /dev/media0 -p | grep -c videobuf3
         decode filesrc location=stream.h264",
    );
    outcome.expect_success();
    assert_eq!(outcome.stdout, "1\n1\n", "{}", outcome.stderr);
    assert!(outcome.read("out.raw") == wanted);
}
