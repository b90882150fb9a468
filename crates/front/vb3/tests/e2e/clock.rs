//! `--clock`: the devices' time and the system's time, as programs see them.

use crate::common::{Run, RunOutput, compiled, finish, lacks, vb3};
use std::path::Path;

/// Nanoseconds of a frame at 30 frames per second.
const FRAME_NS: u64 = 33_333_333;

/// Returns the sequence number and timestamp, in microseconds, of each frame of the small client.
fn frames(outcome: &RunOutput) -> Vec<(i64, i64)> {
    let lines = outcome.stdout.lines();
    let lines = lines.filter_map(|line| line.strip_prefix("frame "));
    let number = |line: &str| {
        let numbers: Vec<i64> = line.split(' ').map(|n| n.parse().unwrap()).collect();
        (numbers[0], numbers[4])
    };
    lines.map(number).collect()
}

/// Runs the small client with these arguments; `None` without a compiler.
fn client(clock: &str, device: &str, words: &[&str]) -> Option<RunOutput> {
    let client = compiled("frames.c")?;
    let run = Run::on("pc").device(device).options(["--clock", clock]);
    let outcome = run.program([client.as_os_str()]).and(words).run();
    outcome.expect_success();
    Some(outcome)
}

/// Asserts that each frame has exactly its own time, except for digits that a timeval cuts off.
fn expect_exact(outcome: &RunOutput, frame_ns: i64) {
    let frames = frames(outcome);
    let (first, start) = frames[0];
    for (sequence, time) in &frames {
        let wanted = (sequence - first) * frame_ns / 1000;
        let off = time - start - wanted;
        assert!((0..=1).contains(&off), "frame {sequence}: {off} us off");
    }
}

#[test]
fn virtual_minute_takes_seconds_and_keeps_times() {
    let device = "camera=pattern,format=YUYV,size=64x48,fps=30";
    let Some(outcome) = client("virtual", device, &["1800", "frames.raw"]) else {
        return;
    };
    let sequences: Vec<i64> = frames(&outcome).iter().map(|frame| frame.0).collect();
    assert_eq!(sequences, (0..1800).collect::<Vec<_>>());
    expect_exact(&outcome, 33_333_333);
    let queue = outcome.queue("/dev/video0");
    assert_eq!((queue.span_ns, queue.dropped), (1799 * FRAME_NS, 0));
}

/// A program with many threads gets every frame with the same pixels as in real time. Two runs do
/// not differ.
#[test]
#[ignore = "full: captures three minutes"]
fn gstreamer_gets_every_frame_of_a_minute() {
    if lacks("gst-launch-1.0") {
        return;
    }
    let dir = crate::common::tempdir();
    let dir = dir.path();
    let camera = "camera=pattern,sizes=64x48,formats=YUYV,fps=30";
    let gst = "gst-launch-1.0 -q v4l2src num-buffers=1800 ! filesink location=frames.raw";
    let minute = |clock: &str, camera: &str, report: &str| {
        let mut command = vb3(dir);
        let run = ["run", "--clock", clock, "--report", report, "-d", camera];
        command.args(run).arg("--").args(gst.split(' '));
        let (status, _, said) = finish(&mut command, dir);
        assert_eq!(status, 0, "{said}");
        std::fs::read(dir.join("frames.raw")).unwrap()
    };
    // pace=free, because a busy machine would miss frames in real time.
    let wanted = minute("real", &format!("{camera},pace=free"), "real.json");
    assert_eq!(wanted.len(), 1800 * 64 * 48 * 2);
    for report in ["one.json", "other.json"] {
        let pixels = minute("virtual", camera, report);
        assert!(pixels == wanted, "the pixels differ");
    }
    let report = std::fs::read(dir.join("one.json")).unwrap();
    let report: vb3_report::Report = serde_json::from_slice(&report).unwrap();
    let queue = &report.devices[0].queues[0];
    assert_eq!((queue.frames, queue.dropped), (1800, 0));
    assert_eq!(queue.span_ns, 1799 * FRAME_NS);
    let diff = ["diff", "one.json", "other.json"];
    let (status, said, _) = finish(vb3(dir).args(diff), dir);
    let nothing = "The runs differ only in times.\n";
    assert_eq!((status, &*said), (0, nothing));
}

/// If a program is too slow for its camera, real time continues and virtual time waits.
#[test]
fn only_virtual_time_waits_for_slow_programs() {
    let device = "camera=pattern,format=YUYV,size=64x48,fps=100";
    let slow = ["12", "frames.raw", "/dev/video0", "40"];
    let Some(real) = client("real", device, &slow) else {
        return;
    };
    let last = |outcome: &RunOutput| frames(outcome).last().unwrap().0;
    assert!(last(&real) > 11, "{}", real.stdout);
    for _ in 0..5 {
        let outcome = client("virtual", device, &slow).unwrap();
        assert_eq!(last(&outcome), 11, "{}", outcome.stdout);
        expect_exact(&outcome, 10_000_000);
        assert_eq!(outcome.queue("/dev/video0").dropped, 0);
    }
}

#[test]
fn fast_clock_scales_time_and_numbers_gaps() {
    let device = "camera=pattern,format=YUYV,size=64x48,fps=10";
    let Some(outcome) = client("fast=20", device, &["60", "frames.raw"]) else {
        return;
    };
    expect_exact(&outcome, 100_000_000);
    // At least 6 seconds, at 20 times the speed.
    assert!(outcome.queue("/dev/video0").span_ns >= 5_900_000_000);
    assert_eq!(outcome.report.setup.clock, "fast=20");
}

/// Runs with a virtual clock and returns the bytes of report and trace.
fn recorded(dir: &Path, options: &[&str], program: &[&str]) -> (Vec<u8>, Vec<u8>) {
    let mut command = vb3(dir);
    command
        .args(["run", "--clock", "virtual", "--report", "run.json"])
        .args(["--trace", "run.jsonl", "--trace-format", "json"])
        .args(options)
        .arg("--")
        .args(program);
    let (status, _, said) = finish(&mut command, dir);
    assert_eq!(status, 0, "{said}");
    let read = |name: &str| std::fs::read(dir.join(name)).unwrap();
    (read("run.json"), read("run.jsonl"))
}

/// Asserts that two runs are equal byte for byte.
fn expect_same(one: &(Vec<u8>, Vec<u8>), other: &(Vec<u8>, Vec<u8>), which: &str) {
    for (what, one, other) in [("report", &one.0, &other.0), ("trace", &one.1, &other.1)] {
        let (one, other) = (String::from_utf8_lossy(one), String::from_utf8_lossy(other));
        for (number, (one, other)) in one.lines().zip(other.lines()).enumerate() {
            assert_eq!(one, other, "{which}: {what}, line {}", number + 1);
        }
        assert_eq!(one.len(), other.len(), "{which}: {what}");
    }
}

#[test]
fn virtual_runs_are_equal_and_match_real_pixels() {
    if lacks("v4l2-ctl") {
        return;
    }
    let dir = crate::common::tempdir();
    let dir = dir.path();
    let camera = "camera=pattern,format=YUYV,size=64x48,fps=60";
    let stream = "v4l2-ctl --stream-mmap=4 --stream-count=30 --stream-to=frames.raw";
    let stream: Vec<&str> = stream.split(' ').collect();
    let pixels = || std::fs::read(dir.join("frames.raw")).unwrap();
    // pace=free, because a busy machine would miss frames in real time.
    let mut real = vb3(dir);
    real.args(["run", "-d", &format!("{camera},pace=free"), "--"]);
    let (status, _, said) = finish(real.args(&stream), dir);
    assert_eq!(status, 0, "{said}");
    let wanted = pixels();
    let first = recorded(dir, &["-d", camera], &stream);
    assert!(pixels() == wanted, "the pixels differ");
    let report: vb3_report::Report = serde_json::from_slice(&first.0).unwrap();
    // The last of 30 frames comes after 29 periods of 1/60 s.
    assert_eq!(report.duration_ms, 483);
    let calls = first.1.split(|byte| *byte == b'\n');
    assert!(calls.clone().count() > 60);
    // Times are by the devices' clock, since the start of the run.
    let calls = calls.filter_map(|line| serde_json::from_slice::<serde_json::Value>(line).ok());
    let frames: Vec<_> = calls
        .filter(|call| call["call"] == "VIDIOC_DQBUF")
        .collect();
    assert_eq!(frames.len(), 30);
    for (number, frame) in (0..).zip(&frames) {
        let timestamp = frame["results"]["timestamp"].as_str().unwrap();
        let timestamp: f64 = timestamp.parse().unwrap();
        let wanted = f64::from(number) / 60.0;
        assert!((timestamp - wanted).abs() < 2e-6, "{frame}");
        assert_eq!((&frame["pid"], &frame["tid"]), (&1.into(), &1.into()));
    }
    let second = recorded(dir, &["-d", camera], &stream);
    expect_same(&first, &second, "the second run");
}

/// The program is too slow for its camera. With the system's clock, every run would differ.
#[test]
#[ignore = "full: twenty runs"]
fn twenty_scripted_runs_are_equal_byte_for_byte() {
    let Some(client) = compiled("frames.c") else {
        return;
    };
    let dir = crate::common::tempdir();
    let dir = dir.path();
    let step = "[[step]]\ndevice = \"/dev/video0\"\n";
    let script = format!(
        "{step}frame = 3\nevery = 2\ncount = 2\nlose = true\n{step}frame = 6\nlate = \"15ms\"\n\
         {step}time = \"60ms\"\nsignal = \"lost\"\n{step}time = \"900ms\"\nsignal = \"back\"\n\
         {step}call = 7\nfail = \"QBUF\"\nerrno = \"EIO\"\n"
    );
    std::fs::write(dir.join("script.toml"), script).unwrap();
    let camera = "camera=pattern,format=YUYV,size=64x48,fps=100";
    let options = ["--script", "script.toml", "-d", camera];
    let client = client.to_str().unwrap();
    let program = [client, "12", "frames.raw", "/dev/video0", "15"];
    let first = recorded(dir, &options, &program);
    let pixels = std::fs::read(dir.join("frames.raw")).unwrap();
    for number in 2..=20 {
        let other = recorded(dir, &options, &program);
        expect_same(&first, &other, &format!("run {number}"));
        assert!(std::fs::read(dir.join("frames.raw")).unwrap() == pixels);
    }
    // A run repeated from the report alone is equal, too.
    std::fs::rename(dir.join("run.json"), dir.join("first.json")).unwrap();
    std::fs::remove_file(dir.join("script.toml")).unwrap();
    let replay = ["replay", "first.json", "--report", "run.json"];
    let trace = ["--trace", "run.jsonl", "--trace-format", "json"];
    let (status, _, said) = finish(vb3(dir).args(replay).args(trace), dir);
    assert_eq!(status, 0, "{said}");
    let read = |name: &str| std::fs::read(dir.join(name)).unwrap();
    let again = (read("run.json"), read("run.jsonl"));
    expect_same(&first, &again, "the replayed run");
    let report: vb3_report::Report = serde_json::from_slice(&first.0).unwrap();
    assert_eq!(report.script.len(), 6);
}

/// If the program waits for frames, ten seconds without a signal pass immediately.
#[test]
#[ignore = "full: ten minutes of virtual time"]
fn a_script_is_played_on_the_devices_clock() {
    let Some(client) = compiled("frames.c") else {
        return;
    };
    let run = Run::on("pc")
        .device("camera=pattern,format=YUYV,size=64x48,fps=30")
        .options(["--clock", "virtual", "--script", "script.toml"]);
    let step = "[[step]]\ndevice = \"/dev/video0\"\n";
    let script =
        format!("{step}frame = 3\nsignal = \"lost\"\n{step}time = \"600s\"\nsignal = \"back\"\n");
    std::fs::write(run.file("script.toml"), script).unwrap();
    let run = run.program([client.as_os_str()]).and(["6", "frames.raw"]);
    let outcome = run.run();
    outcome.expect_success();
    let back = &outcome.report.script[1];
    assert_eq!((&*back.value, back.at_ns), ("back", 600_000_000_000));
}

#[test]
fn invalid_clocks_are_refused() {
    let dir = crate::common::tempdir();
    for clock in ["fast", "fast=0", "slow", "fast=100000"] {
        let run = ["run", "--clock", clock, "--", "true"];
        let (status, _, said) = finish(vb3(dir.path()).args(run), dir.path());
        assert_eq!(status, 125);
        assert!(said.contains("real, virtual, steps, or fast=N"), "{said}");
    }
    let script = "[[step]]\nstop_clock = \"1s\"\n";
    std::fs::write(dir.path().join("stop.toml"), script).unwrap();
    let run = ["run", "--clock", "virtual", "--script", "stop.toml", "true"];
    let (status, _, said) = finish(vb3(dir.path()).args(run), dir.path());
    assert_eq!(status, 125);
    assert!(
        said.contains(":1: stop_clock has no effect on a virtual clock"),
        "{said}"
    );
}
