//! Tests how much one tick does, and which ticks run before a call.

use super::*;
use crate::Outside;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use vb3_report::trace::{self, Traced};

const LARGE: &str = "display,size=1920x1080,format=NV12,pace=free";
const CAPTURE_MPLANE: u32 = 9;
const OUTPUT_MPLANE: u32 = 10;
const BYTES: u32 = 1920 * 1080 * 3 / 2;

fn queue_all(bench: &mut Bench, file: FileId, kind: u32, count: u32) {
    assert_eq!(bench.reqbufs(file, kind, MMAP, count), count);
    for index in 0..count {
        let mut arg = Bench::buffer(kind, MMAP, index);
        let at = offset_of!(v4l2_buffer, bytesused);
        arg.0[at..at + 4].copy_from_slice(&BYTES.to_ne_bytes());
        bench.ioctl(file, VIDIOC_QBUF, arg);
    }
}

fn shown(bench: &mut Bench) -> u64 {
    bench.run.report().devices[0].queues[0].frames
}

#[test]
fn calls_run_between_pieces_streamoff_after_the_last() {
    let mut bench = Bench::new("pc", &[LARGE]);
    let display = bench.open(0);
    queue_all(&mut bench, display, OUTPUT, 2);
    bench.stream(display, OUTPUT, true);
    assert!(bench.run.is_due(), "it is due to be shown");
    bench.run.tick();
    assert_eq!(shown(&mut bench), 0, "a piece of it is read");
    assert!(!bench.run.is_due(), "no call waits for the rest");
    assert_eq!(bench.run.next_tick(), Some(Duration::ZERO));
    let traced = Traced::new(&mut bench.run, Vec::new(), Instant::now(), |_| None, None);
    assert!(!traced.is_due(), "nor where calls are written down");
    bench.stream(display, OUTPUT, false);
    assert_eq!(shown(&mut bench), 2, "as without a clock at once");
    bench.close_all(&[display]);
}

#[test]
fn work_continues_until_a_call_or_a_frame() {
    let mut bench = Bench::new("pc", &[LARGE, "camera,size=64x48,pace=free"]);
    let display = bench.open(0);
    queue_all(&mut bench, display, OUTPUT, 2);
    bench.stream(display, OUTPUT, true);
    bench.run.tick();
    for _ in 0..2 {
        bench.run.continue_work(&|| true);
        assert_eq!(shown(&mut bench), 0, "a call waits, so one piece is read");
    }
    let camera = bench.open(1);
    queue_all(&mut bench, camera, CAPTURE, 2);
    bench.stream(camera, CAPTURE, true);
    bench.run.continue_work(&|| false);
    assert_eq!(shown(&mut bench), 0, "the camera has a frame first");
    bench.run.continue_work(&|| false);
    assert_eq!(shown(&mut bench), 1, "the rest of one frame is read");
    bench.stream(display, OUTPUT, false);
    bench.close_all(&[display, camera]);
}

#[test]
fn traced_calls_have_the_same_needs() {
    let mut bench = Bench::new("pc", &["camera,size=64x48"]);
    let camera = bench.open(0);
    queue_all(&mut bench, camera, CAPTURE, 2);
    bench.stream(camera, CAPTURE, true);
    let mut argument = [0; 8];
    argument[4..].copy_from_slice(&CAPTURE.to_ne_bytes());
    let ask = |devices: &dyn ProcessFiles| {
        let ends = [Some(VIDIOC_QBUF), None, Some(VIDIOC_EXPBUF)]
            .map(|call| devices.needs_fresh_closes(camera, call, &argument));
        let memory = [VIDIOC_QBUF, VIDIOC_REQBUFS].map(|call| devices.takes_memory(call));
        (ends, memory)
    };
    let plain = ask(&bench.run);
    assert_eq!(plain, ([false, false, true], [false, true]));
    let traced = Traced::new(&mut bench.run, Vec::new(), Instant::now(), |_| None, None);
    assert_eq!(ask(&traced), plain);
    bench.close_all(&[camera]);
}

/// Makes a run whose clock advances by a second at each reading.
fn in_haste(specs: &[&str]) -> Bench {
    let now = AtomicU64::new(1);
    let now = move || now.fetch_add(1_000_000_000, Ordering::Relaxed);
    let outside = Outside::new(now, vb3_codec::Launch::in_thread());
    let specs: Vec<_> = specs.iter().map(|s| s.parse().unwrap()).collect();
    let profile = Profile::builtin("pc").unwrap();
    Bench {
        run: Run::with(profile, &specs, 1, outside).unwrap(),
        program: Local::new(),
    }
}

#[test]
fn devices_skipped_by_a_tick_come_first_next() {
    let mut bench = in_haste(&["camera,size=64x48,pace=free"; 3]);
    let cameras = [0, 1, 2].map(|node| bench.open(node));
    for camera in cameras {
        queue_all(&mut bench, camera, CAPTURE, 2);
        bench.stream(camera, CAPTURE, true);
    }
    let mut done = vec![0; 3];
    for turn in 0..3 {
        bench.run.tick();
        let report = bench.run.report();
        let frames = report.devices.iter();
        let frames: Vec<u64> = frames.map(|device| device.queues[0].frames).collect();
        done[turn] = 2;
        assert_eq!(frames, done, "each in its turn");
    }
    bench.close_all(&cameras);
}

#[test]
fn files_skipped_by_a_tick_come_first_next() {
    let mut bench = in_haste(&["convert"]);
    let files = [0; 3].map(|node| bench.open(node));
    for file in files {
        for kind in [OUTPUT_MPLANE, CAPTURE_MPLANE] {
            assert_eq!(bench.reqbufs(file, kind, MMAP, 1), 1);
            let used: u32 = 640 * 480 * 3 / 2;
            let mut plane = Arg::new(
                size_of::<v4l2_plane>(),
                &[(offset_of!(v4l2_plane, bytesused), used)],
            );
            let mut arg = Bench::buffer(kind, MMAP, 0);
            let at = offset_of!(v4l2_buffer, m);
            let planes = plane.0.as_mut_ptr() as u64;
            arg.0[at..at + 8].copy_from_slice(&planes.to_ne_bytes());
            let at = offset_of!(v4l2_buffer, length);
            arg.0[at..at + 4].copy_from_slice(&1_u32.to_ne_bytes());
            bench.ioctl(file, VIDIOC_QBUF, arg);
            bench.stream(file, kind, true);
        }
    }
    for at_work in 1..=3 {
        bench.run.tick();
        assert_eq!(bench.run.wake_fds().len(), at_work, "each in its turn");
    }
    bench.close_all(&files);
}

#[test]
fn timed_plug_happens_behind_unseen_events() {
    let now = Arc::new(AtomicU64::new(1));
    let clock = Arc::clone(&now);
    let clock = move || clock.load(Ordering::Relaxed);
    let outside = Outside::new(clock, vb3_codec::Launch::in_thread());
    let specs = ["display", "camera,unplug=1s"].map(|spec| spec.parse().unwrap());
    let profile = Profile::builtin("pc").unwrap();
    let mut run = Run::with(profile, &specs, 1, outside).unwrap();
    // No program sees any of these events.
    let refused = (0..5000).find_map(|n| run.plug_device(0, n % 2 == 1).err());
    assert!(refused.is_some_and(|refused| refused.contains("not seen")));
    now.store(2_000_000_000, Ordering::Relaxed);
    run.tick();
    assert!(!run.nodes.plugs.is_present(1));
}

/// Between the making of a run and the start of its pace, some time passes, which differs from run to run.
#[test]
fn times_of_plugs_count_from_the_start_of_the_pace() {
    let now = Arc::new(AtomicU64::new(1));
    let clock = Arc::clone(&now);
    let clock = move || clock.load(Ordering::Relaxed);
    let outside = Outside::new(clock, vb3_codec::Launch::in_thread());
    let specs = ["camera,unplug=1s", "kms,unplug=1s"].map(|spec| spec.parse().unwrap());
    let profile = Profile::builtin("pc").unwrap();
    let mut run = Run::with(profile, &specs, 1, outside).unwrap();
    now.store(500_000_000, Ordering::Relaxed);
    run.set_pace(crate::Pace::Real);
    for (at_ns, is_there) in [(1_499_999_999, true), (1_500_000_000, false)] {
        now.store(at_ns, Ordering::Relaxed);
        run.tick();
        let found = [
            run.nodes.plugs.is_present(0),
            run.cards.all[0].has_monitor(),
        ];
        assert_eq!(found, [is_there; 2], "{at_ns}");
    }
}

#[test]
fn trace_keeps_the_time_of_a_call_that_waited() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("trace.jsonl");
    let sinks = trace::sinks(Some(&path), None, false).unwrap();
    let mut bench = Bench::new("pc", &["camera,identity=plain,size=64x48,pace=free"]);
    let camera = bench.open(0);
    let program = &bench.program;
    let mut traced = Traced::new(&mut bench.run, sinks, Instant::now(), |_| None, None);
    let mut frame = vec![0_u8; 64 * 48 * 4];
    let (at, len) = (frame.as_mut_ptr() as u64, frame.len() as u64);
    let read = |traced: &mut Traced<&mut Run>| {
        program.call.set(1000);
        traced.read(camera, at, len, false, program)
    };
    let waited = read(&mut traced);
    assert!(matches!(waited, CallOutcome::Wait), "{waited:?}");
    let mut capability = Arg::new(size_of::<v4l2_capability>(), &[]);
    program.call.set(1001);
    let at = capability.0.as_mut_ptr() as u64;
    traced.ioctl(camera, VIDIOC_QUERYCAP, at, false, program);
    while !matches!(read(&mut traced), CallOutcome::Done(_)) {
        traced.tick();
    }
    let (_, sinks, _) = traced.into_parts();
    sinks.into_iter().for_each(|sink| _ = sink.finish());
    let lines = std::fs::read_to_string(&path).unwrap();
    let lines = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    let calls: Vec<(String, f64)> = lines
        .map(|line: serde_json::Value| {
            (
                line["call"].as_str().unwrap().to_owned(),
                line["time"].as_f64().unwrap(),
            )
        })
        .collect();
    let [(first, at), (second, began)] = &calls[..] else {
        panic!("{calls:?}")
    };
    assert_eq!((&**first, &**second), ("VIDIOC_QUERYCAP", "read"));
    assert!(began < at, "{calls:?}");
    bench.close_all(&[camera]);
}
