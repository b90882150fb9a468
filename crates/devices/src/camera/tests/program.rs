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
