//! Tests read() and write() in pieces.

use super::*;
use crate::Pace;
use vb3_frontend::PIECE_BYTES;

/// Bytes of an NV12 frame.
const FRAME: u64 = 1920 * 1080 * 3 / 2;

/// Writes a frame. Returns how many bytes each device call moved.
fn written(pace: Pace) -> Vec<u64> {
    let mut bench = Bench::new("pc", &["display,format=NV12,size=1920x1080"]);
    bench.run.set_pace(pace);
    let display = bench.open(0);
    let frame = vec![7; FRAME as usize];
    let (addr, program) = (frame.as_ptr() as u64, &bench.program);
    let (mut moved, mut done) = (Vec::new(), 0);
    let mut outcome = bench.run.write(display, addr, FRAME, false, program);
    loop {
        let (CallOutcome::Part(bytes) | CallOutcome::Done(bytes)) = outcome else {
            panic!("{outcome:?} after {moved:?}");
        };
        moved.push(bytes as u64);
        done += bytes as u64;
        if matches!(outcome, CallOutcome::Done(_)) {
            assert_eq!(done, FRAME);
            return moved;
        }
        outcome = bench.run.resume(display, addr + done, program);
    }
}

#[test]
fn calls_move_one_piece_unless_time_is_virtual() {
    let moved = written(Pace::Real);
    assert_eq!(moved.len() as u64, FRAME.div_ceil(PIECE_BYTES), "{moved:?}");
    assert!(moved.iter().all(|bytes| *bytes <= PIECE_BYTES), "{moved:?}");
    assert_eq!(written(Pace::Virtual), [FRAME]);
}
