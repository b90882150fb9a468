//! Every action of scripts, under unmodified programs.

use super::{camera, rows, scripted, step};
use crate::common::{SIZE, lacks, pattern};
use vb3_v4l2::pixfmt::YUYV;

/// Returns the bytes of a picture of the pattern.
fn picture(number: u32) -> Vec<u8> {
    pattern(&YUYV, number).bytes().to_vec()
}

/// Returns a GStreamer command that writes twelve frames with these caps to `frames.raw`.
fn capture(caps: &str) -> Vec<String> {
    let words = format!(
        "gst-launch-1.0 -q v4l2src num-buffers=12 ! video/x-raw,format=YUY2{caps} \
         ! filesink location=frames.raw"
    );
    words.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn gstreamer_gets_frames_late_twice_torn_and_corrupt() {
    if lacks("gst-launch-1.0") {
        return;
    }
    let script = [
        // Not so late that the next frames find no buffer.
        step("frame = 2\nlate = \"40ms\""),
        step("frame = 4\ntwice = true"),
        step("frame = 7\ntorn = true"),
        step("frame = 9\ncorrupt = 16"),
    ];
    for machine in ["pc", "soc-iommu", "vm-bounce"] {
        let device = camera("").replace("pace=free", "fps=30");
        let run = scripted(machine, &device, &script.concat());
        let run = run.options(["--clock", "virtual"]);
        let caps = format!(",width={},height={}", SIZE.0, SIZE.1);
        let outcome = run.program(capture(&caps)).run();
        outcome.expect_success();
        let bytes = outcome.read("frames.raw");
        let frames: Vec<&[u8]> = bytes.chunks_exact(picture(0).len()).collect();
        assert_eq!(frames.len(), 12, "{machine}");
        for (number, seen) in (0..).zip(frames) {
            let mut wanted = picture(if number == 5 { 4 } else { number });
            if number == 7 {
                let half = wanted.len() / 2;
                wanted[half..].copy_from_slice(&picture(6)[half..]);
            }
            let wrong: Vec<_> = wanted.iter().zip(seen).filter(|(a, b)| a != b).collect();
            let corrupt = if number == 9 { 16 } else { 0 };
            assert_eq!(wrong.len(), corrupt, "{machine}: frame {number}");
            assert!(wrong.iter().all(|(a, b)| **a == !**b));
        }
        let told: Vec<(&str, Option<u64>)> = (outcome.report.script.iter())
            .map(|event| (&*event.action, event.frame))
            .collect();
        let wanted = [("late", 2), ("twice", 4), ("torn", 7), ("corrupt", 9)];
        assert_eq!(told, wanted.map(|(name, frame)| (name, Some(frame))));
    }
}

#[test]
fn v4l2_ctl_waits_for_a_late_frame() {
    if lacks("v4l2-ctl") {
        return;
    }
    let device = "camera=pattern,format=YUYV,size=64x48,fps=25";
    let run = scripted("pc", device, &step("frame = 4\nlate = \"700ms\""));
    let stream = ["v4l2-ctl", "--stream-mmap=6", "--stream-count=5"];
    let outcome = run.program(stream).and(["--verbose"]).run();
    outcome.expect_success();
    assert_eq!(rows(&outcome, "late"), [Some(4)]);
    let took = outcome.report.duration_ms;
    assert!(took >= 4 * 40 + 700, "{took} ms");
    // The timestamp is the frame's own, not the time of its delivery.
    let span = outcome.stderr.contains("seq:      4") && !outcome.stderr.contains("delta: 7");
    assert!(span, "{}", outcome.stderr);
}

#[test]
fn gstreamer_follows_a_source_that_changes_its_size() {
    if lacks("gst-launch-1.0") {
        return;
    }
    let device = "camera=pattern,format=YUYV,size=320x240,fps=25,sizes=320x240:64x48";
    let run = scripted("pc", device, &step("frame = 5\nsource = \"64x48\""));
    let run = run.options(["--clock", "virtual"]);
    let outcome = run.program(capture("")).run();
    outcome.expect_success();
    let large: Vec<u8> = (0..5).flat_map(picture).collect();
    let bytes = outcome.read("frames.raw");
    let (before, after) = bytes.split_at(large.len());
    assert!(before == large);
    assert_eq!(after.len(), 7 * 64 * 48 * 2);
    assert_eq!(rows(&outcome, "source"), [None]);
}

#[test]
fn v4l2_ctl_continues_after_an_iommu_fault() {
    if lacks("v4l2-ctl") {
        return;
    }
    let script = step("frame = 3\niommu_fault = true");
    let run = scripted("soc-iommu", &camera(""), &script);
    let stream = ["v4l2-ctl", "--stream-mmap=3", "--stream-count=8"];
    let run = run.program(stream).and(["--verbose"]);
    let outcome = run.and(["--stream-to=frames.raw"]).run();
    outcome.expect_success();
    let said = &outcome.stderr;
    let bad: Vec<&str> = said.lines().filter(|line| line.contains("error")).collect();
    let [bad] = bad[..] else { panic!("{said}") };
    assert!(bad.contains("bytesused: 0 "), "{bad}");
    let bad = bad.split("seq:").nth(1).unwrap().split_whitespace().next();
    let bad: u32 = bad.unwrap().parse().unwrap();
    let wanted: Vec<u8> = (0..9).filter(|n| *n != bad).flat_map(picture).collect();
    assert!(outcome.read("frames.raw") == wanted, "{said}");
    assert_eq!(rows(&outcome, "iommu_fault"), [None]);
}

#[test]
fn v4l2_ctl_does_not_notice_a_stopped_clock() {
    if lacks("v4l2-ctl") {
        return;
    }
    let script = "[[step]]\ntime = \"200ms\"\nstop_clock = \"600ms\"\n";
    let device = "camera=pattern,format=YUYV,size=64x48,fps=25";
    let stream = ["v4l2-ctl", "--stream-mmap=6", "--stream-count=20"];
    let run = scripted("pc", device, script).real_time("the step stops it");
    let outcome = run.program(stream).run();
    outcome.expect_success();
    assert_eq!(rows(&outcome, "stop_clock"), [None]);
    // 20 frames span 0.76 s of the devices' time, more if some were missed.
    let span_ms = outcome.queue("/dev/video0").span_ns / 1_000_000;
    assert!(span_ms >= 19 * 40 - 1, "{span_ms} ms");
    let took = outcome.report.duration_ms;
    assert!(took >= span_ms + 590, "{took} ms for {span_ms}");
}

#[test]
fn v4l2_ctl_gets_buffers_once_cma_is_free_again() {
    if lacks("v4l2-ctl") {
        return;
    }
    let script = "[[step]]\noccupy_cma = \"128KiB\"\n[[step]]\ndevice = \"/dev/video0\"\n\
                  call = 3\nof = \"REQBUFS\"\nfree_cma = true\n";
    let run = scripted("soc-cma", &camera(""), script);
    // v4l2-ctl prints the failure but exits with success.
    let tries = "for try in 1 2 3 4 5; do
                     v4l2-ctl --stream-mmap=3 --stream-count=3 --stream-to=frames.raw 2>&1
                     [ ! -s frames.raw ] || exit 0
                 done; exit 1";
    let outcome = run.program(["sh", "-c", tries]).run();
    outcome.expect_success();
    let refused = outcome.stdout.matches("Cannot allocate memory").count();
    assert_eq!(refused, 2, "{}", outcome.stdout);
    let wanted = SIZE.0 * SIZE.1 * 2 * 3;
    assert_eq!(outcome.read("frames.raw").len(), wanted as usize);
    let refusal = &outcome.report.refusals[0];
    assert_eq!((&*refusal.constraint, refusal.times), ("contiguous", 2));
    let told: Vec<&str> = outcome.report.script.iter().map(|e| &*e.action).collect();
    assert_eq!(told, ["occupy_cma", "free_cma"]);
}
