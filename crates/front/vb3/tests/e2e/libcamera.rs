//! libcamera's clients, unmodified, on simulated webcams: `cam` and GStreamer's plugin.

use crate::common::{Run, RunOutput, SIZE, expect_pattern, lacks, size_option, tempdir};
use crate::surroundings::{PLUGINS, command};
use vb3_v4l2::pixfmt;

/// The id of the webcam of this port and these USB ids.
fn id(port: u32, usb: &str) -> String {
    format!("(\\_SB_.UHC0-{port}:1.0-{usb})")
}

/// Lines that name a camera.
fn cameras(outcome: &RunOutput) -> Vec<&str> {
    let lines = outcome.stdout.lines();
    lines.filter(|line| line.contains("' (")).collect()
}

#[test]
fn cam_lists_each_webcam_and_nothing_else() {
    if lacks("cam") {
        return;
    }
    let outcome = Run::on("pc")
        .real_time("libcamera 0.0.3 crashes if frames need no time")
        .device("camera=pattern")
        .device("camera=pattern,name=Second,usb=046d:0825")
        .device("camera=pattern,identity=plain")
        .device("convert")
        .program(["cam", "-l"])
        .run();
    outcome.expect_success();
    // libcamera 0.7 writes "External camera" before the name.
    let listed = cameras(&outcome).join("\n");
    let listed = listed.replace("External camera ", "");
    let wanted = format!(
        "1: 'Test Pattern Camera' {}\n2: 'Second' {}",
        id(1, "1d6b:0102"),
        id(2, "046d:0825")
    );
    assert_eq!(listed, wanted, "{}", outcome.stderr);
}

#[test]
fn cam_lists_exposure_and_gain() {
    if lacks("cam") {
        return;
    }
    let outcome = Run::on("pc")
        .real_time("libcamera 0.0.3 crashes if frames need no time")
        .device("camera=pattern")
        .program(["cam", "-c1", "--list-controls"])
        .run();
    outcome.expect_success();
    for control in ["AeEnable", "ExposureTime", "AnalogueGain", "Brightness"] {
        // libcamera 0.4 writes "Control: [inout] libcamera::Brightness: [".
        let line = format!("{control}: [");
        assert!(outcome.stdout.contains(&line), "{}", outcome.stdout);
    }
}

#[test]
fn cam_captures_the_pattern() {
    if lacks("cam") {
        return;
    }
    for machine in ["pc", "soc-noncoherent"] {
        let stream = format!("width={},height={},pixelformat=YUYV", SIZE.0, SIZE.1);
        let outcome = Run::on(machine)
            .real_time("libcamera 0.0.3 crashes if frames need no time")
            .device(format!(
                "camera=pattern,format=YUYV,pace=free,{}",
                size_option()
            ))
            .program(["cam", "-c1", "-C30", "-Fframe-#.bin", "-s", &stream])
            .run();
        outcome.expect_success();
        let bytes: Vec<u8> = (0..30)
            .flat_map(|n| outcome.read(&format!("frame-cam0-stream0-{n:06}.bin")))
            .collect();
        let numbers = expect_pattern(&pixfmt::YUYV, &bytes);
        assert_eq!(numbers.len(), 30, "{machine}");
    }
}

/// `cam` does not end by itself: it gets no frames until it is interrupted. If STREAMOFF fails before
/// libcamera knows that the camera is gone, libcamera fails an assertion, on a real kernel, too.
#[test]
fn cam_ends_after_its_camera_is_unplugged() {
    if lacks("cam") {
        return;
    }
    let (width, height) = SIZE;
    let script = format!(
        "export LIBCAMERA_LOG_LEVELS=Camera:DEBUG
         cam -c1 -C -s width={width},height={height},pixelformat=YUYV >cam.txt 2>&1 & cam=$!
         until_said() {{
             until grep -q \"$1\" cam.txt; do kill -0 $cam || exit; sleep 0.05; done
         }}
         until_said 'seq: 000002'
         {} ctl unplug video0
         until_said Disconnecting
         kill -INT $cam; wait $cam; echo ended $?; ls /dev/video* /dev/media* 2>/dev/null",
        env!("CARGO_BIN_EXE_vb3")
    );
    let outcome = Run::on("pc")
        .real_time("libcamera 0.0.3 crashes if frames need no time")
        .device(format!("camera=pattern,format=YUYV,{}", size_option()))
        .program(["bash", "-c", &script])
        .run();
    let said = String::from_utf8(outcome.read("cam.txt")).unwrap();
    assert_eq!(outcome.stdout, "ended 0\n", "{said}");
    assert!(said.contains("No such device"), "{said}");
    outcome.expect_nothing_held();
}

/// Runs the tests of libcamera's lc-compliance that a filter names, which must pass.
pub(crate) fn expect_lc_compliant(device: &str, id: &str, filter: &str) {
    let outcome = Run::on("pc")
        .real_time("libcamera 0.0.3 crashes if frames need no time")
        .device(device)
        .program(["lc-compliance", "-c", id, "-f", filter])
        .run();
    outcome.expect_success();
    let said = &outcome.stdout;
    assert!(said.contains("[  PASSED  ]"), "{said}");
    assert!(said.contains("[       OK ]"), "{said}");
    assert!(!said.contains("FAILED"), "{said}");
}

/// Runs each role of each kind of test, with five requests.
#[test]
fn lc_compliance_accepts_a_webcam() {
    if lacks("lc-compliance") {
        return;
    }
    let device = format!("camera=pattern,format=YUYV,fps=60,{}", size_option());
    expect_lc_compliant(&device, "\\_SB_.UHC0-1:1.0-1d6b:0102", "*_5");
}

#[test]
fn cam_hears_of_a_webcam_that_comes_and_goes() {
    if lacks("cam") {
        return;
    }
    // libcamera 0.0.3 fails if a webcam that it found at its start is plugged in again.
    let script = format!(
        "VB3={}
         $VB3 ctl unplug video0
         cam -m >monitor.txt 2>&1 & monitor=$!
         until_said() {{
             until [ $(grep -c \"$1\" monitor.txt) -ge $2 ]; do
                 kill -0 $monitor || exit
                 sleep 0.05
             done
         }}
         until_said 'Press Ctrl-C' 1
         $VB3 ctl plug video0; until_said 'Camera Added' 1
         $VB3 ctl unplug video0; until_said 'Camera Removed' 1
         $VB3 ctl plug video0; until_said 'Camera Added' 2
         kill -INT $monitor; wait $monitor; cat monitor.txt",
        env!("CARGO_BIN_EXE_vb3")
    );
    let outcome = Run::on("pc")
        .real_time("libcamera 0.0.3 crashes if frames need no time")
        .device("camera=pattern")
        .program(["bash", "-c", &script])
        .run();
    let webcam = id(1, "1d6b:0102");
    let webcam = webcam.trim_matches(['(', ')']);
    let changes = outcome.stdout.lines().filter_map(|line| {
        let (change, camera) = line.strip_prefix("Camera ")?.split_once(": ")?;
        (camera == webcam).then_some(change)
    });
    let changes: Vec<&str> = changes.collect();
    assert_eq!(changes, ["Added", "Removed", "Added"], "{}", outcome.stdout);
}

/// Returns whether GStreamer's plugin for libcamera is missing. If so, prints this.
pub(crate) fn lacks_plugin() -> bool {
    if lacks("gst-launch-1.0") || lacks("gst-inspect-1.0") {
        return true;
    }
    let dir = tempdir();
    let mut inspect = command("gst-inspect-1.0", dir.path());
    let found = inspect.env_remove(PLUGINS).arg("libcamerasrc").output();
    let found = found.unwrap();
    !found.status.success() && lacks("gstreamer1.0-libcamera")
}

#[test]
fn gstreamers_libcamerasrc_captures_the_pattern() {
    if lacks_plugin() {
        return;
    }
    let caps = format!("video/x-raw,format=YUY2,width={},height={}", SIZE.0, SIZE.1);
    let outcome = Run::on("pc")
        .real_time("libcamera 0.0.3 crashes if frames need no time")
        .device(format!("camera=pattern,format=YUYV,{}", size_option()))
        .program(["env", &format!("--unset={PLUGINS}")])
        .and(["gst-launch-1.0", "-q", "libcamerasrc", "!", &caps, "!"])
        .and(["identity", "eos-after=11", "!"])
        .and(["filesink", "location=frames.raw"])
        .run();
    outcome.expect_success();
    let numbers = expect_pattern(&pixfmt::YUYV, &outcome.read("frames.raw"));
    assert!(numbers.len() >= 10, "{numbers:?}");
}

/// libcamera's device provider hides V4L2's provider, so libcamera must find the webcam itself.
#[test]
fn gstreamers_device_monitor_lists_it_by_libcamera() {
    if lacks("gst-device-monitor-1.0") || lacks_plugin() {
        return;
    }
    let outcome = Run::on("pc")
        .real_time("libcamera 0.0.3 crashes if frames need no time")
        .device("camera=pattern")
        .program(["env", &format!("--unset={PLUGINS}")])
        .and(["gst-device-monitor-1.0", "Video/Source"])
        .run();
    let said = &outcome.stdout;
    let webcam = id(1, "1d6b:0102");
    assert!(said.contains(webcam.trim_matches(['(', ')'])), "{said}");
    assert_eq!(said.matches("Device found:").count(), 1, "{said}");
}
