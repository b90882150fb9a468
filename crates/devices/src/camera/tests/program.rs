//! The host's commands to play another source.

use super::*;

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
        let next = NextSource::open(&clip, ClipEnd::Loop, None).expect("a clip");
        std::fs::remove_file(&path).expect("the clip is there");
        bench.device.play(next).expect("it streams");
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
            match bench.device.is_next_ready() {
                Ok(false) => wait(&bench.device),
                Ok(true) => panic!("there is no clip"),
                Err(failure) => break failure,
            }
        };
        assert!(failure.sentence().contains("clip.nut"), "{failure}");
        take_frame(&mut bench);
        assert_eq!(bench.device.is_next_ready(), Ok(true));
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
    let next = NextSource::open(&SourceSpec::Pattern, ClipEnd::Loop, Some(10));
    bench
        .device
        .play(next.expect("the pattern"))
        .expect("it streams");
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
