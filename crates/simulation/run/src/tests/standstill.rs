//! Tests virtual time while a device prepares data.

use super::*;
use crate::script::Script;
use crate::{Outside, Pace};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const POLL_IN: i16 = 1;
const MINUTE: u64 = 60_000_000_000;

/// Makes a camera whose ffmpeg never delivers a picture and that is unplugged after a second of virtual time.
/// Returns the bench and the system's clock, or `None` without ffmpeg.
fn stuck(dir: &std::path::Path) -> Option<(Bench, Arc<AtomicU64>)> {
    let clip = dir.join("clip.nut");
    let words = "-nostdin -v error -f lavfi -i testsrc2=size=64x48 -frames:v 3 -c:v ffv1";
    let made = Command::new("ffmpeg")
        .args(words.split(' '))
        .arg(&clip)
        .status();
    let Ok(status) = made else {
        vb3_skip::skip("ffmpeg does not start");
        return None;
    };
    assert!(status.success());
    let now = Arc::new(AtomicU64::new(1));
    let clock = Arc::clone(&now);
    let clock = move || clock.load(Ordering::Relaxed);
    let outside = Outside::new(clock, vb3_codec::Launch::in_thread());
    let spec = format!("camera={},unplug=1s", clip.display());
    let profile = Profile::builtin("pc").unwrap();
    let mut run = Run::with(profile, &[spec.parse().unwrap()], 1, outside).unwrap();
    run.set_pace(Pace::Virtual);
    // ffmpeg waits for a writer to open the pipe.
    std::fs::remove_file(&clip).unwrap();
    let made = Command::new("mkfifo").arg(&clip).status();
    assert!(made.unwrap().success());
    let program = Local::new();
    Some((Bench { run, program }, now))
}

#[test]
fn virtual_time_stands_still_while_ffmpeg_decodes() {
    let dir = tempfile::tempdir().unwrap();
    let Some((mut bench, now)) = stuck(dir.path()) else {
        return;
    };
    let camera = bench.open(0);
    assert_eq!(bench.reqbufs(camera, CAPTURE, MMAP, 2), 2);
    bench.ioctl(camera, VIDIOC_QBUF, Bench::buffer(CAPTURE, MMAP, 0));
    bench.stream(camera, CAPTURE, true);
    let is_there = |bench: &Bench| bench.run.nodes.plugs.is_present(0);
    // The camera queries its source while the program waits.
    for _ in 0..4 {
        assert_eq!(bench.run.poll(camera, POLL_IN), 0);
        bench.run.tick();
        assert!(is_there(&bench), "a second has passed");
    }
    assert_eq!(bench.run.poll(camera, POLL_IN), 0);
    assert_eq!(bench.run.next_tick(), Some(Duration::from_secs(60)));
    now.fetch_add(MINUTE - 1, Ordering::Relaxed);
    bench.run.tick();
    assert!(is_there(&bench), "it may still come");
    assert_eq!(bench.run.poll(camera, POLL_IN), 0);
    now.fetch_add(1, Ordering::Relaxed);
    assert_eq!(bench.run.next_tick(), Some(Duration::ZERO));
    bench.run.tick();
    assert!(!is_there(&bench), "time goes on without the device");
    let failures = bench.run.report().failures;
    let [failure] = &failures[..] else {
        panic!("{failures:?}")
    };
    let wanted = "it has prepared data for 60 seconds without a result";
    assert!(failure.sentence.starts_with(wanted), "{failure:?}");
    bench.close_all(&[camera]);
}

#[test]
fn a_standstill_is_reported_once() {
    let dir = tempfile::tempdir().unwrap();
    let Some((mut bench, now)) = stuck(dir.path()) else {
        return;
    };
    let camera = bench.open(0);
    assert_eq!(bench.reqbufs(camera, CAPTURE, MMAP, 2), 2);
    bench.ioctl(camera, VIDIOC_QBUF, Bench::buffer(CAPTURE, MMAP, 0));
    bench.stream(camera, CAPTURE, true);
    // The standstill begins once the camera has queried its source.
    for _ in 0..5 {
        assert_eq!(bench.run.poll(camera, POLL_IN), 0);
        bench.run.tick();
    }
    now.fetch_add(MINUTE, Ordering::Relaxed);
    assert_eq!([bench.run.may_pass(), bench.run.may_pass()], [true, true]);
    let failures = bench.run.report().failures;
    let times: Vec<u64> = failures.iter().map(|failure| failure.times).collect();
    assert_eq!(times, [1]);
    bench.close_all(&[camera]);
}

/// An order to advance time waits for the device, too. The order ends with its client's connection.
#[test]
fn an_order_to_advance_sleeps_while_ffmpeg_decodes() {
    let dir = tempfile::tempdir().unwrap();
    let Some((mut bench, _now)) = stuck(dir.path()) else {
        return;
    };
    let _socket = super::orders::control(&mut bench);
    let camera = bench.open(0);
    bench.reqbufs(camera, CAPTURE, MMAP, 2);
    bench.ioctl(camera, VIDIOC_QBUF, Bench::buffer(CAPTURE, MMAP, 0));
    bench.stream(camera, CAPTURE, true);
    let mut client = super::orders::Client::new(&mut bench);
    client.send(&serde_json::json!({"do": "advance", "ns": 1_000_000_000}));
    for _ in 0..3 {
        bench.run.tick();
    }
    assert!(bench.run.orders.next_time().is_some());
    assert_eq!(bench.run.next_tick(), Some(Duration::from_secs(60)));
    client.hang_up();
    bench.run.tick();
    assert!(bench.run.orders.next_time().is_none());
    bench.close_all(&[camera]);
}

/// A camera that fills each buffer at once must not fill the same buffer for ever if its frames are lost.
#[test]
fn time_passes_while_all_frames_are_lost() {
    let lost = "signal = \"lost\"\n[[step]]\ndevice = \"video0\"\ntime = \"1s\"\nsignal = \"back\"";
    for (steps, least_ns) in [(lost, MINUTE / 60), ("count = 30\nlose = true", 0)] {
        let outside = Outside::new(|| 1, vb3_codec::Launch::in_thread());
        let profile = Profile::builtin("pc").unwrap();
        let spec = "camera,pace=free,size=16x8,fps=30".parse().unwrap();
        let mut run = Run::with(profile, &[spec], 1, outside).unwrap();
        run.set_pace(Pace::Virtual);
        let script = format!("[[step]]\ndevice = \"video0\"\n{steps}\n");
        run.play(&Script::parse(&script).unwrap()).unwrap();
        let program = Local::new();
        let mut bench = Bench { run, program };
        let camera = bench.open(0);
        let started_ns = bench.run.clock.now_ns();
        assert_eq!(bench.reqbufs(camera, CAPTURE, MMAP, 2), 2);
        for index in 0..2 {
            bench.ioctl(camera, VIDIOC_QBUF, Bench::buffer(CAPTURE, MMAP, index));
        }
        bench.stream(camera, CAPTURE, true);
        let mut ticks = 0;
        while bench.run.poll(camera, POLL_IN) == 0 {
            bench.run.tick();
            ticks += 1;
            assert!(ticks < 200, "{steps}: no frame comes");
        }
        let passed_ns = bench.run.clock.now_ns() - started_ns;
        assert!(passed_ns >= least_ns, "{steps}: {passed_ns} ns");
        bench.close_all(&[camera]);
    }
}

/// While time stands still, a call of another thread must not end the wait of the first.
#[test]
fn a_call_beside_a_wait_for_ffmpeg_wakes_it() {
    let dir = tempfile::tempdir().unwrap();
    let Some((mut bench, _now)) = stuck(dir.path()) else {
        return;
    };
    let camera = bench.open(0);
    bench.reqbufs(camera, CAPTURE, MMAP, 2);
    bench.ioctl(camera, VIDIOC_QBUF, Bench::buffer(CAPTURE, MMAP, 0));
    bench.stream(camera, CAPTURE, true);
    assert_eq!(bench.run.poll(camera, POLL_IN), 0);
    bench.changed();
    bench.ioctl(camera, VIDIOC_QUERYBUF, Bench::buffer(CAPTURE, MMAP, 0));
    assert_eq!(bench.changed(), [camera]);
    bench.close_all(&[camera]);
}

/// v4l2-ctl polls for events before each DQBUF.
#[test]
fn a_look_for_events_beside_a_done_buffer_is_no_wait() {
    const POLL_PRI: i16 = 2;
    let now = Arc::new(AtomicU64::new(1));
    let clock = move || now.load(Ordering::Relaxed);
    let outside = Outside::new(clock, vb3_codec::Launch::in_thread());
    let profile = Profile::builtin("pc").unwrap();
    let mut run = Run::with(profile, &["camera".parse().unwrap()], 1, outside).unwrap();
    run.set_pace(Pace::Virtual);
    let program = Local::new();
    let mut bench = Bench { run, program };
    let camera = bench.open(0);
    assert_eq!(bench.reqbufs(camera, CAPTURE, MMAP, 2), 2);
    for index in 0..2 {
        bench.ioctl(camera, VIDIOC_QBUF, Bench::buffer(CAPTURE, MMAP, index));
    }
    bench.stream(camera, CAPTURE, true);
    assert_eq!(bench.run.poll(camera, POLL_PRI), 0);
    assert_eq!(bench.run.next_tick(), Some(Duration::ZERO), "nothing yet");
    while bench.run.peek(camera, POLL_IN) == 0 {
        bench.run.tick();
    }
    assert_eq!(bench.run.poll(camera, POLL_PRI), 0);
    assert_eq!(bench.run.next_tick(), None, "the buffer comes first");
    bench.run.poll_waits(camera, POLL_PRI);
    assert_eq!(bench.run.next_tick(), Some(Duration::ZERO), "only events");
    bench.close_all(&[camera]);
}
