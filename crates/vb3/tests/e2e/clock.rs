//! `--clock`: the devices' time beside the system's, as programs see it.

use crate::common::{Outcome, PATIENCE, Run, compiled, finish, lacks, vb3};
use std::path::Path;

/// Nanoseconds of a frame at 30 a second.
const FRAME_NS: u64 = 33_333_333;

/// Sequence number and timestamp, in microseconds, of each frame of the small client.
fn frames(outcome: &Outcome) -> Vec<(i64, i64)> {
    let lines = outcome.stdout.lines();
    let lines = lines.filter_map(|line| line.strip_prefix("frame "));
    let number = |line: &str| {
        let numbers: Vec<i64> = line.split(' ').map(|n| n.parse().unwrap()).collect();
        (numbers[0], numbers[4])
    };
    lines.map(number).collect()
}

/// A run of the small client with these arguments; nothing without a compiler.
fn client(clock: &str, device: &str, words: &[&str]) -> Option<Outcome> {
    let client = compiled("frames.c")?;
    let run = Run::on("pc").device(device).options(["--clock", clock]);
    let outcome = run.program([client.as_os_str()]).and(words).run();
    outcome.expect_success();
    Some(outcome)
}

/// Asserts that each frame was taken at its own time: exactly, but for what a timeval cuts off.
fn expect_exact(outcome: &Outcome, frame_ns: i64) {
    let frames = frames(outcome);
    let (first, start) = frames[0];
    for (sequence, time) in &frames {
        let wanted = (sequence - first) * frame_ns / 1000;
        let off = time - start - wanted;
        assert!((0..=1).contains(&off), "frame {sequence}: {off} us off");
    }
}

#[test]
fn a_minute_of_frames_takes_seconds_and_each_has_its_time() {
    let device = "camera=pattern,format=YUYV,size=64x48,fps=30";
    let Some(outcome) = client("virtual", device, &["1800", "frames.raw"]) else {
        return;
    };
    let sequences: Vec<i64> = frames(&outcome).iter().map(|frame| frame.0).collect();
    assert_eq!(sequences, (0..1800).collect::<Vec<_>>());
    expect_exact(&outcome, 33_333_333);
    let queue = outcome.queue("/dev/video0");
    assert_eq!((queue.span_ns, queue.dropped), (1799 * FRAME_NS, 0));
    let took = outcome.report.duration_ms;
    assert!(took < 30_000, "{took} ms for a minute of frames");
}

#[test]
fn gstreamer_gets_every_frame_of_a_minute() {
    if lacks("gst-launch-1.0") {
        return;
    }
    let run = Run::on("pc")
        .device("camera=pattern,size=64x48,fps=30")
        .options(["--clock", "virtual"]);
    let gst = "gst-launch-1.0 -q v4l2src num-buffers=1800 ! fakesink sync=false";
    let outcome = run.program(gst.split(' ')).run();
    outcome.expect_success();
    let queue = outcome.queue("/dev/video0");
    // It may have taken some more before it stopped.
    assert_eq!(queue.dropped, 0);
    assert!(queue.frames >= 1800);
    assert_eq!(queue.span_ns, (queue.frames - 1) * FRAME_NS);
    assert!(outcome.report.duration_ms < 40_000);
}

/// A program too slow for its camera: the system's clock goes on without it, a virtual one waits.
#[test]
fn time_waits_for_a_slow_program_only_where_it_is_virtual() {
    let device = "camera=pattern,format=YUYV,size=64x48,fps=100";
    let slow = ["12", "frames.raw", "/dev/video0", "40"];
    let Some(real) = client("real", device, &slow) else {
        return;
    };
    let last = |outcome: &Outcome| frames(outcome).last().unwrap().0;
    assert!(last(&real) > 11, "{}", real.stdout);
    for _ in 0..5 {
        let outcome = client("virtual", device, &slow).unwrap();
        assert_eq!(last(&outcome), 11, "{}", outcome.stdout);
        expect_exact(&outcome, 10_000_000);
        assert_eq!(outcome.queue("/dev/video0").dropped, 0);
    }
}

#[test]
fn a_fast_clock_scales_time_and_numbers_what_a_program_missed() {
    let device = "camera=pattern,format=YUYV,size=64x48,fps=10";
    let Some(outcome) = client("fast=20", device, &["60", "frames.raw"]) else {
        return;
    };
    expect_exact(&outcome, 100_000_000);
    // 6 seconds, at least, at 20 times the speed.
    assert!(outcome.queue("/dev/video0").span_ns >= 5_900_000_000);
    assert_eq!(outcome.report.setup.clock, "fast=20");
}

/// The calls of a trace but for what is the system's: times and threads.
fn calls(dir: &Path, name: &str) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(dir.join(name)).unwrap();
    let calls = text.lines().map(|line| {
        let mut call: serde_json::Value = serde_json::from_str(line).unwrap();
        for field in ["time", "duration_us", "pid", "tid"] {
            call.as_object_mut().unwrap().remove(field);
        }
        for side in ["arguments", "results"] {
            call[side].as_object_mut().unwrap().remove("timestamp");
        }
        call
    });
    calls.collect()
}

#[test]
fn runs_on_a_virtual_clock_are_alike_call_by_call_and_as_pixels_in_real_time() {
    if lacks("v4l2-ctl") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let mut traces = Vec::new();
    let mut pixels = Vec::new();
    for (at, clock) in ["real", "virtual", "virtual"].into_iter().enumerate() {
        let name = |what: &str| format!("{at}.{what}");
        let stream = format!("--stream-to={}", name("raw"));
        // The system's clock leaves out what a busy machine is too slow for.
        let pace = if clock == "real" { ",clock=free" } else { "" };
        let camera = format!("camera=pattern,format=YUYV,size=64x48,fps=60{pace}");
        let mut command = vb3(dir);
        command
            .args(["run", "--clock", clock, "--report", &name("json")])
            .args(["--trace", &name("jsonl"), "--trace-format", "json"])
            .args(["-d", &camera, "--"])
            .args(["v4l2-ctl", "--stream-mmap=4", "--stream-count=30", &stream]);
        let (status, _, said) = finish(&mut command, dir, PATIENCE);
        assert_eq!(status, 0, "{said}");
        traces.push(calls(dir, &name("jsonl")));
        pixels.push(std::fs::read(dir.join(name("raw"))).unwrap());
    }
    assert!(
        pixels.iter().all(|raw| *raw == pixels[0]),
        "the pixels differ"
    );
    assert!(traces[1].len() > 60);
    for (at, (one, other)) in traces[1].iter().zip(&traces[2]).enumerate() {
        let (one, other) = (one.to_string(), other.to_string());
        assert_eq!(one.replace("1.raw", "2.raw"), other, "call {at}");
    }
    assert_eq!(traces[1].len(), traces[2].len());
    let replay = ["replay", "1.json", "--report", "again.json"];
    let (status, _, said) = finish(vb3(dir).args(replay), dir, PATIENCE);
    assert_eq!(status, 0, "{said}");
    let diff = ["diff", "1.json", "again.json"];
    let (status, said, _) = finish(vb3(dir).args(diff), dir, PATIENCE);
    assert_eq!(status, 0, "{said}");
}

/// Ten seconds without a signal pass at once, for a program that waits for frames.
#[test]
fn a_script_is_played_on_the_devices_clock() {
    let Some(client) = compiled("frames.c") else {
        return;
    };
    let run = Run::on("pc")
        .device("camera=pattern,format=YUYV,size=64x48,fps=30")
        .options(["--clock", "virtual", "--script", "script.toml"]);
    let step = "[[step]]\ndevice = \"/dev/video0\"\n";
    let script =
        format!("{step}frame = 3\nsignal = \"lost\"\n{step}time = \"600s\"\nsignal = \"found\"\n");
    std::fs::write(run.file("script.toml"), script).unwrap();
    let run = run.program([client.as_os_str()]).and(["6", "frames.raw"]);
    let outcome = run.run();
    outcome.expect_success();
    let found = &outcome.report.script[1];
    assert_eq!((&*found.value, found.at_ns), ("found", 600_000_000_000));
    assert!(outcome.report.duration_ms < 60_000);
}

#[test]
fn what_is_no_clock_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    for clock in ["fast", "fast=0", "slow", "fast=100000"] {
        let run = ["run", "--clock", clock, "--", "true"];
        let (status, _, said) = finish(vb3(dir.path()).args(run), dir.path(), PATIENCE);
        assert_eq!(status, 125);
        assert!(said.contains("real, virtual, or fast=N"), "{said}");
    }
    let script = "[[step]]\nstop_clock = \"1s\"\n";
    std::fs::write(dir.path().join("stop.toml"), script).unwrap();
    let run = ["run", "--clock", "virtual", "--script", "stop.toml", "true"];
    let (status, _, said) = finish(vb3(dir.path()).args(run), dir.path(), PATIENCE);
    assert_eq!(status, 125);
    assert!(
        said.contains("line 1: a virtual clock cannot be stopped"),
        "{said}"
    );
}
