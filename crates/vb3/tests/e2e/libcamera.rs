//! libcamera's client `cam`, unmodified, on simulated webcams.

use crate::common::{Outcome, Run, SIZE, expect_pattern, lacks, size_option};
use vb3_v4l2::pixfmt;

/// The id of the webcam of this port and these USB ids.
fn id(port: u32, usb: &str) -> String {
    format!("(\\_SB_.UHC0-{port}:1.0-{usb})")
}

/// Lines that name a camera.
fn cameras(outcome: &Outcome) -> Vec<&str> {
    let lines = outcome.stdout.lines();
    lines.filter(|line| line.contains("' (")).collect()
}

#[test]
fn cam_lists_each_webcam_and_nothing_else() {
    if lacks("cam") {
        return;
    }
    let outcome = Run::on("pc")
        .device("camera=pattern")
        .device("camera=pattern,name=Second,usb=046d:0825")
        .device("camera=pattern,identity=plain")
        .device("convert")
        .program(["cam", "-l"])
        .run();
    outcome.expect_success();
    let listed = cameras(&outcome).join("\n");
    let wanted = format!(
        "1: 'Test Pattern Camera' {}\n2: 'Second' {}",
        id(1, "1d6b:0102"),
        id(2, "046d:0825")
    );
    assert_eq!(listed, wanted, "{}", outcome.stderr);
}

#[test]
fn cam_captures_the_pattern() {
    if lacks("cam") {
        return;
    }
    for machine in ["pc", "soc-noncoherent"] {
        let stream = format!("width={},height={},pixelformat=YUYV", SIZE.0, SIZE.1);
        let outcome = Run::on(machine)
            .device(format!("camera=pattern,format=YUYV,{}", size_option()))
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

#[test]
fn cam_hears_of_a_webcam_that_is_plugged_in() {
    if lacks("cam") {
        return;
    }
    let script = format!(
        "VB3={}
         $VB3 ctl unplug video0
         cam -m >monitor.txt 2>&1 & monitor=$!
         until_said() {{
             until grep -q \"$1\" monitor.txt; do kill -0 $monitor || exit; sleep 0.05; done
         }}
         until_said 'Press Ctrl-C'
         $VB3 ctl plug video0; until_said 'Camera Added'
         kill -INT $monitor; wait $monitor; cat monitor.txt",
        env!("CARGO_BIN_EXE_vb3")
    );
    let outcome = Run::on("pc")
        .device("camera=pattern")
        .program(["bash", "-c", &script])
        .run();
    let webcam = id(1, "1d6b:0102");
    let added = format!("Camera Added: {}", webcam.trim_matches(['(', ')']));
    assert!(outcome.stdout.contains(&added), "{}", outcome.stdout);
}
