//! Clips that ffmpeg decodes. The quick tests leave these out.

use super::*;
use crate::source::NextSource;

fn play(bench: &mut Bench<Camera<u32>>, next: NextSource) {
    let camera = &mut bench.device;
    let played = camera.engine.order(&mut camera.stream, next);
    played.expect("it streams");
}

fn take_unplug(bench: &mut Bench<Camera<u32>>) -> bool {
    std::mem::take(&mut bench.device.engine.wants_unplug)
}

#[test]
fn a_stopped_clip_is_an_error_after_all_frames() {
    let directory = tempfile::TempDir::new().expect("a directory");
    let Some(path) = make_clip(&directory) else {
        return;
    };
    let spec = format!("camera={},pace=free,end=stop", path.display());
    let mut bench = Bench::new(camera(&spec), 4);
    let format = bench.device.format(Flow::Capture);
    assert_eq!((format.width, format.height), (16, 8));
    assert_eq!(
        bench.device.interval(Flow::Capture).unwrap(),
        Fraction::new(1, 100)
    );
    for _ in 0..2 {
        bench.start();
        (0..4).for_each(|index| bench.queue(index));
        while bench.device.engine.state != State::AtEnd {
            if bench.tick(START) == 0 && bench.device.wake_fd().is_some() {
                wait(&bench.device);
            }
        }
        assert_eq!(bench.device.next_tick(), None, "frames are to be taken");
        for sequence in 0..3 {
            let info = bench.take().expect("a frame");
            assert_eq!(
                (info.sequence, info.last, info.error),
                (sequence, false, false)
            );
        }
        assert_eq!(bench.take().map(drop), Err(Error::WouldBlock));
        bench.device.note_waiter(Flow::Capture, Waiter::Waits);
        assert_eq!(bench.device.next_tick(), Some(0));
        bench.tick(START);
        let end = bench.take().map(drop).expect_err("no frame");
        assert_eq!(end.errno(), 5, "EIO");
        let failure = bench.device.failure().expect("a reason").sentence();
        assert!(
            failure.contains("clip.nut ended after 3 frames"),
            "{failure}"
        );
        assert_eq!(bench.device.next_tick(), None);
        assert!(!take_unplug(&mut bench));
        assert_eq!(bench.device.statistics().dropped, 0);
        bench.stop();
    }
}

/// A paused clip shows one picture, with the picture controls of the time.
#[test]
fn paused_clip_follows_picture_controls() {
    let directory = tempfile::TempDir::new().expect("a directory");
    let Some(path) = make_clip(&directory) else {
        return;
    };
    let spec = format!("camera={},pace=free,format=NV12", path.display());
    let mut bench = Bench::new(camera(&spec), 1);
    bench.device.engine.program.pause(true);
    bench.start();
    let mut shown = |flip| {
        let value = ControlValue::Number(flip);
        bench
            .device
            .set_control(cid::HFLIP, &value)
            .expect("a control");
        bench.queue(0);
        while bench.tick(START) == 0 {
            if bench.device.wake_fd().is_some() {
                wait(&bench.device);
            }
        }
        bench.take().expect("a frame");
        let bytes = bench.plane(0, 0).clone();
        Frame::from_bytes(&pixfmt::NV12, Size::nearest(16, 8), bytes).expect("a picture")
    };
    let [upright, flipped, again] = [shown(0), shown(1), shown(0)];
    let mut wanted = upright.clone();
    wanted.flip(true, false);
    assert!(wanted != upright, "the picture has a left and a right");
    assert!(flipped == wanted && again == upright);
}

#[test]
fn an_unplugging_clip_asks_once() {
    let directory = tempfile::TempDir::new().expect("a directory");
    let Some(path) = make_clip(&directory) else {
        return;
    };
    let spec = format!("camera={},pace=free,end=unplug", path.display());
    let mut bench = Bench::new(camera(&spec), 4);
    bench.start();
    (0..4).for_each(|index| bench.queue(index));
    bench.device.note_waiter(Flow::Capture, Waiter::Waits);
    while bench.device.engine.state != State::AtEnd {
        if bench.tick(START) == 0 && bench.device.wake_fd().is_some() {
            wait(&bench.device);
        }
    }
    bench.tick(START);
    assert!(!take_unplug(&mut bench), "three frames are to be taken");
    bench.device.note_waiter(Flow::Capture, Waiter::Waits);
    bench.tick(START);
    assert!(take_unplug(&mut bench));
    assert!(!take_unplug(&mut bench));
}

/// However late the ticks are, frame n shows picture n modulo the clip's length.
#[test]
fn a_looping_clip_is_exact_where_time_stands_still() {
    let directory = tempfile::TempDir::new().expect("a directory");
    let Some(path) = make_clip(&directory) else {
        return;
    };
    let mut camera = camera(&format!("camera={}", path.display()));
    camera.work_at_once();
    let mut bench = Bench::new(camera, 2);
    bench.start();
    let mut now = START;
    let mut pictures = std::collections::BTreeMap::new();
    for late in [0, 1, 2, 0, 7, 1, 500, 3, 0, 0, 1] {
        now += (1 + late) * 10 * MS;
        bench.queue(0);
        while bench.tick(now) == 0 {
            assert!(bench.device.is_preparing(), "it waits for ffmpeg alone");
            wait(&bench.device);
        }
        let info = bench.take().expect("a frame");
        let picture = bench.plane(0, 0).clone();
        let same = pictures.entry(info.sequence % 3).or_insert(picture.clone());
        assert!(*same == picture, "frame {}", info.sequence);
    }
    assert_eq!(pictures.len(), 3);
    let different: std::collections::BTreeSet<_> = pictures.values().collect();
    assert_eq!(different.len(), 3);
    assert!(bench.device.statistics().dropped > 500);
}

/// Makes a clip of three pictures. Without ffmpeg, prints the reason and returns `None`.
fn make_clip(directory: &tempfile::TempDir) -> Option<std::path::PathBuf> {
    let path = directory.path().join("clip.nut");
    let made = std::process::Command::new("ffmpeg")
        .args([
            "-nostdin",
            "-v",
            "error",
            "-f",
            "lavfi",
            "-i",
            "testsrc=size=16x8:rate=100",
        ])
        .args(["-frames:v", "3", "-c:v", "ffv1"])
        .arg(&path)
        .status();
    let Ok(status) = made else {
        vb3_skip::skip("ffmpeg does not start");
        return None;
    };
    assert!(status.success());
    Some(path)
}
#[test]
fn next_source_that_fails_is_refused() {
    for ticks in [false, true] {
        let directory = tempfile::TempDir::new().expect("a directory");
        let Some(path) = make_clip(&directory) else {
            return;
        };
        let mut bench = bench(",pace=free", 1);
        bench.start();
        let clip = SourceSpec::Clip(path.clone());
        let next = NextSource::open(&clip, None).expect("a clip");
        std::fs::remove_file(&path).expect("the clip is there");
        play(&mut bench, next);
        let mut frames = 0;
        let mut take_frame = |bench: &mut Bench<Camera<u32>>| {
            bench.queue(0);
            assert_eq!(bench.tick(START), 1);
            assert_eq!(bench.take().expect("a frame").sequence, frames);
            frames += 1;
        };
        let failure = loop {
            if ticks {
                take_frame(&mut bench);
            }
            match bench.device.engine.program.is_ready() {
                Ok(false) => wait(&bench.device),
                Ok(true) => panic!("there is no clip"),
                Err(failure) => break failure,
            }
        };
        assert!(failure.sentence().contains("clip.nut"), "{failure}");
        take_frame(&mut bench);
        assert_eq!(bench.device.engine.program.is_ready(), Ok(true));
        assert_eq!(bench.device.failure(), None);
    }
}

/// A clip that ends before the next source's first frame does not end the stream: the next source follows at once.
#[test]
fn next_source_follows_a_clip_that_ends_early() {
    let directory = tempfile::TempDir::new().expect("a directory");
    let Some(path) = make_clip(&directory) else {
        return;
    };
    let spec = format!("camera={},pace=free,end=stop", path.display());
    let mut bench = Bench::new(camera(&spec), 4);
    bench.start();
    (0..4).for_each(|index| bench.queue(index));
    let next = NextSource::open(&SourceSpec::Pattern, Some(10));
    play(&mut bench, next.expect("the pattern"));
    for sequence in 0..4 {
        let info = loop {
            match bench.take() {
                Ok(info) => break info,
                Err(error) => assert_eq!(error, Error::WouldBlock),
            }
            bench.device.note_waiter(Flow::Capture, Waiter::Waits);
            if bench.tick(START) == 0 && bench.device.wake_fd().is_some() {
                wait(&bench.device);
            }
        };
        assert_eq!((info.sequence, info.error), (sequence, false));
    }
    assert_eq!(bench.device.failure(), None);
}

/// Makes a script that stands in for ffmpeg.
fn decoder(directory: &tempfile::TempDir, name: &str, script: &str) -> std::path::PathBuf {
    let path = directory.path().join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("a script");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&path, mode).expect("ours");
    path
}

/// While the next source hangs, the current one's pictures are shown, even if they come late.
#[test]
fn hanging_next_source_does_not_stop_the_current_one() {
    let directory = tempfile::TempDir::new().expect("a directory");
    let Some(path) = make_clip(&directory) else {
        return;
    };
    let gate = directory.path().join("gate");
    let script = format!(
        "until [ -e '{}' ]; do sleep 0.01; done; exec ffmpeg \"$@\"",
        gate.display()
    );
    let late = decoder(&directory, "late", &script);
    let mut bench = Bench::new(camera(&format!("camera={}", path.display())), 1);
    bench.device.engine.source.decode_by(late);
    bench.start();
    bench.queue(0);
    assert_eq!(bench.tick(START), 0);
    assert_eq!(bench.device.next_tick(), None, "a descriptor tells");
    let mut next = NextSource::open(&SourceSpec::Clip(path), None).expect("a clip");
    next.source
        .decode_by(decoder(&directory, "hangs", "exec sleep 1000"));
    play(&mut bench, next);
    std::fs::write(&gate, "").expect("a file");
    let mut now_ns = START;
    while bench.tick(now_ns) == 0 {
        let next_ns = bench.device.next_tick().expect("the next look");
        assert_eq!(next_ns, now_ns + 10_000_000, "an interval later");
        now_ns = next_ns;
        await_readable(&bench.device.engine.source.wake_fd().expect("a clip"));
    }
    assert!(!bench.take().expect("a frame").error);
    bench.stop();
}
