//! Devices that are unplugged and plugged in while real programs use them.

use crate::common::{
    Outcome, Run, SIZE, compiled, expect_pattern, finish, lacks, size_option, vb3,
};
use std::time::Duration;
use vb3_v4l2::pixfmt;

fn camera() -> Run {
    Run::on("pc")
        .device(format!("camera=pattern,format=YUYV,{}", size_option()))
        .device("display=null")
}

/// A shell with `vb3` as `$VB3`.
fn shell(run: Run, script: &str) -> Outcome {
    let script = format!("VB3={}\n{script}", env!("CARGO_BIN_EXE_vb3"));
    run.program(["sh", "-c", &script]).run()
}

#[test]
fn an_unplugged_device_fails_as_a_kernels_does_and_what_it_gave_stays() {
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
fn two_hundred_times_at_random_calls_nothing_hangs_and_nothing_is_held() {
    let Some(hotplug) = compiled("hotplug.c") else {
        return;
    };
    for seed in ["1", "2"] {
        let outcome = camera()
            .patience(120)
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
fn streams_of_v4l2_ctl_and_gstreamer_end_with_their_error_and_begin_again() {
    if lacks("v4l2-ctl") || lacks("gst-launch-1.0") {
        return;
    }
    // Each is unplugged once it has written a picture.
    let outcome = shell(
        camera().patience(120),
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
    let said = String::from_utf8(outcome.read("v4l2-ctl.txt")).unwrap();
    assert!(
        said.contains("VIDIOC_DQBUF: failed: No such device"),
        "{said}"
    );
    let said = String::from_utf8(outcome.read("gstreamer.txt")).unwrap();
    assert!(said.contains("Could not read from resource"), "{said}");
    let numbers = expect_pattern(&pixfmt::YUYV, &outcome.read("three.raw"));
    assert_eq!(numbers.len(), 5);
}

#[test]
fn a_device_comes_and_goes_by_the_clock() {
    if lacks("v4l2-ctl") {
        return;
    }
    let frame = (SIZE.0 * SIZE.1 * 2) as usize;
    let outcome = Run::on("pc")
        .device(format!(
            "camera=pattern,format=YUYV,unplug=2s,plug=2500ms,{}",
            size_option()
        ))
        .device("camera=pattern,plug=500ms,node=video7")
        .program(["sh", "-c"])
        .and(["ls /dev/video*
               while [ ! -e /dev/video7 ]; do sleep 0.05; done
               v4l2-ctl -d /dev/video0 --stream-mmap --stream-to=one.raw
               while [ ! -e /dev/video0 ]; do sleep 0.05; done
               v4l2-ctl -d /dev/video0 --stream-mmap --stream-count=3 --stream-to=two.raw"])
        .run();
    outcome.expect_success();
    assert_eq!(outcome.stdout.lines().next(), Some("/dev/video0"));
    let (one, two) = (outcome.read("one.raw"), outcome.read("two.raw"));
    assert!(one.len() < 75 * frame, "{} frames", one.len() / frame);
    assert_eq!(expect_pattern(&pixfmt::YUYV, &two).len(), 3);
}

#[test]
fn orders_that_cannot_be_carried_out_are_refused_in_a_sentence() {
    let outcome = shell(
        camera(),
        "$VB3 ctl devices; $VB3 ctl unplug /dev/video1 && $VB3 ctl devices
         $VB3 ctl unplug 1; echo $?; $VB3 ctl plug video9; echo $?; $VB3 ctl --run 1 devices; echo $?",
    );
    let list =
        |display: &str| format!("/dev/video0 plugged camera\n/dev/video1 {display} display\n");
    let want = format!("{}{}125\n125\n125\n", list("plugged"), list("unplugged"));
    assert_eq!(outcome.stdout, want, "{}", outcome.stderr);
    for said in [
        "/dev/video1 is unplugged already",
        "\"video9\" is no video device of this run; there is /dev/video0, /dev/video1",
        "does not answer",
    ] {
        assert!(outcome.stderr.contains(said), "{}", outcome.stderr);
    }
}

#[test]
fn without_a_run_ctl_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = vb3(dir.path());
    command.env("XDG_RUNTIME_DIR", dir.path());
    command.env_remove("VB3_CONTROL").args(["ctl", "devices"]);
    let (status, _, said) = finish(&mut command, dir.path(), Duration::from_secs(30));
    assert_eq!(status, 125);
    assert!(said.contains("no run of this user is under way"), "{said}");
}
