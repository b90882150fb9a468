//! `vb3 run --trace`: the calls of a real program; and related options.

use crate::common::{Run, SIZE, lacks, size_option};
use serde_json::Value;

const COUNT: u32 = 5;

/// Prepares a capture by v4l2-ctl, with these options of `vb3 run`.
fn capture(options: &[&str]) -> Run {
    Run::on("pc")
        .device(format!("camera=pattern,pace=free,{}", size_option()))
        .options(options)
        .program([
            "v4l2-ctl",
            "-d",
            "/dev/video0",
            &format!(
                "--set-fmt-video=width={},height={},pixelformat=YUYV",
                SIZE.0, SIZE.1
            ),
            "--stream-mmap=4",
            &format!("--stream-count={COUNT}"),
            "--stream-to=frames.raw",
        ])
}

#[test]
fn a_trace_has_every_call_by_name_with_its_arguments() {
    if lacks("v4l2-ctl") {
        return;
    }
    let outcome = capture(&["--trace", "trace.jsonl"]).run();
    outcome.expect_success();
    let text = String::from_utf8(outcome.read("trace.jsonl")).unwrap();
    let calls: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let named = |name: &str| {
        calls
            .iter()
            .filter(|call| call["call"] == name)
            .collect::<Vec<_>>()
    };
    let first = calls.first().unwrap();
    assert_eq!(
        (&first["call"], &first["device"]),
        (&"open".into(), &"/dev/video0".into())
    );
    assert_eq!(calls.last().unwrap()["call"], "close");
    let formats = named("VIDIOC_S_FMT");
    assert!(
        formats
            .iter()
            .any(|call| call["results"]["pixelformat"] == "YUYV"
                && call["results"]["width"] == SIZE.0),
        "{formats:?}"
    );
    let granted = named("VIDIOC_REQBUFS");
    assert!(
        granted.iter().any(|call| call["results"]["count"] == 4),
        "{granted:?}"
    );
    assert_eq!(named("mmap").len(), 4);
    let frames: Vec<_> = named("VIDIOC_DQBUF")
        .into_iter()
        .filter(|call| call["result"] == 0)
        .collect();
    assert!(frames.len() >= COUNT as usize, "{}", frames.len());
    for (number, frame) in frames.iter().enumerate() {
        assert_eq!(frame["results"]["sequence"], number as u64);
        assert_eq!(frame["arguments"]["memory"], "MMAP");
        let bytes = u64::from(SIZE.0 * SIZE.1 * 2);
        assert_eq!(frame["results"]["bytesused"], bytes);
        assert!(frame["tid"].as_u64().unwrap() > 0 && frame["duration_us"].is_u64());
    }
    let times = calls.iter().map(|call| call["time"].as_f64().unwrap());
    assert!(times.is_sorted_by(|a, b| a <= b || (b - a).abs() < 0.1));
    let unknown = calls
        .iter()
        .find(|call| call["call"].as_str().unwrap().contains("0x"));
    assert_eq!(unknown, None);
}

#[test]
fn verbose_shows_the_calls_and_quiet_nothing() {
    if lacks("v4l2-ctl") {
        return;
    }
    let outcome = capture(&["--verbose"]).run();
    outcome.expect_success();
    let said = &outcome.stderr;
    assert!(
        said.contains("/dev/video0#1 VIDIOC_QUERYCAP -> 0 driver=uvcvideo"),
        "{said}"
    );
    assert!(
        said.contains("VIDIOC_STREAMON type=VIDEO_CAPTURE -> 0 ("),
        "{said}"
    );
    let refused = |options: &[&str]| {
        Run::on("soc-cma")
            .device("camera=pattern,size=4096x2304")
            .options(options)
            .program([
                "v4l2-ctl",
                "-d",
                "/dev/video0",
                "--stream-mmap=32",
                "--stream-count=1",
            ])
            .run()
    };
    let outcome = refused(&["--trace", "trace.txt"]);
    let text = String::from_utf8(outcome.read("trace.txt")).unwrap();
    assert!(
        !outcome.report.refusals.is_empty() && outcome.stderr.contains("refused"),
        "{text}"
    );
    let status = outcome.status;
    let outcome = refused(&["--quiet"]);
    assert!(!outcome.stderr.contains("vb3:"), "{}", outcome.stderr);
    assert_eq!(outcome.status, status);
    let outcome = refused(&["--strict"]);
    assert_eq!(outcome.status, if status == 0 { 123 } else { status });
}

#[test]
fn strict_fails_a_run_with_a_refusal() {
    if lacks("v4l2-ctl") {
        return;
    }
    let run = |options: &[&str]| {
        Run::on("soc-cma")
            .device("camera=pattern,size=4096x2304")
            .options(options)
            .program(["sh", "-c"])
            .and(["v4l2-ctl -d /dev/video0 --stream-mmap=32 --stream-count=1; true"])
            .run()
    };
    assert_eq!(run(&[]).status, 0);
    assert_eq!(run(&["--strict"]).status, 123);
}

#[test]
fn unread_trace_stops_nothing() {
    if lacks("v4l2-ctl") {
        return;
    }
    let run = capture(&["--trace", "fifo"]);
    let made = std::process::Command::new("mkfifo")
        .arg(run.file("fifo"))
        .status();
    assert!(made.unwrap().success());
    let outcome = run.run();
    outcome.expect_success();
    assert!(
        outcome.stderr.contains("the trace in fifo is incomplete"),
        "{}",
        outcome.stderr
    );
}

/// An array far from its structure needs a second read of the program's memory, but the call is one
/// line.
#[test]
fn control_arrays_are_traced_by_name_once() {
    let python = "/usr/bin/python3";
    if lacks(python) {
        return;
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/programs/controls.py");
    let outcome = Run::on("pc")
        .device(format!("camera=pattern,{}", size_option()))
        .options(["--trace", "trace.jsonl"])
        .program([python, script])
        .run();
    outcome.expect_success();
    let text = String::from_utf8(outcome.read("trace.jsonl")).unwrap();
    let calls = text.lines().map(|line| {
        let call: Value = serde_json::from_str(line).unwrap();
        let part = |name: &str| call[name]["controls"].clone();
        let name = call["call"].as_str().unwrap().to_owned();
        (name, part("arguments"), part("results"))
    });
    let values = serde_json::json!({"BRIGHTNESS": 40, "CONTRAST": 100});
    let names = serde_json::json!(["BRIGHTNESS", "CONTRAST"]);
    let wanted = [
        ("open", Value::Null, Value::Null),
        ("VIDIOC_S_EXT_CTRLS", values.clone(), values.clone()),
        ("VIDIOC_G_EXT_CTRLS", names, values),
        ("close", Value::Null, Value::Null),
    ];
    let wanted = wanted.map(|(name, asked, answered)| (name.to_owned(), asked, answered));
    assert_eq!(calls.collect::<Vec<_>>(), wanted, "{text}");
}

/// vb3 gathers the bytes of a long write in pieces, but the call is one line.
#[test]
fn a_long_write_is_one_line() {
    let run = Run::on("pc")
        .device(format!("display,format=YUYV,{}", size_option()))
        .options(["--trace", "trace.jsonl"]);
    let frame = (SIZE.0 * SIZE.1 * 2) as usize;
    std::fs::write(run.file("frame.raw"), vec![7; frame]).unwrap();
    let copy = format!("dd if=frame.raw of=/dev/video0 bs={frame} conv=notrunc status=none");
    let outcome = run.program(["sh", "-c", &copy]).run();
    outcome.expect_success();
    let text = String::from_utf8(outcome.read("trace.jsonl")).unwrap();
    let calls = text.lines().map(|line| serde_json::from_str(line).unwrap());
    let writes: Vec<Value> = calls
        .filter(|call: &Value| call["call"] == "write")
        .collect();
    assert_eq!(writes.len(), 1, "{text}");
    assert_eq!(writes[0]["result"], frame, "{text}");
}

/// Chrome trace events: an array with a slice for each call on its thread.
#[test]
fn perfetto_gets_a_slice_for_each_call() {
    if lacks("v4l2-ctl") {
        return;
    }
    let run = capture(&["--trace", "calls.perfetto.json"]);
    let outcome = run.real_time("a call takes time").run();
    let slices: Vec<Value> = serde_json::from_slice(&outcome.read("calls.perfetto.json")).unwrap();
    assert!(slices.iter().all(|slice| slice["ph"] == "X"), "{slices:?}");
    let dequeued: Vec<&Value> = slices
        .iter()
        .filter(|slice| slice["name"] == "VIDIOC_DQBUF" && slice["args"]["result"] == 0)
        .collect();
    assert!(dequeued.len() >= COUNT as usize, "{slices:?}");
    for slice in dequeued {
        assert_eq!(slice["cat"], "/dev/video0");
        assert!(slice["tid"].as_u64().unwrap() > 1, "{slice}");
        assert!(slice["dur"].as_f64().unwrap() > 0.0, "{slice}");
        assert_eq!(slice["args"]["arguments"]["type"], "VIDEO_CAPTURE");
    }
}
