//! Tests that large pictures are read in pieces, one in each tick.

use super::*;
use crate::surface::PIECE;

const LARGE: &str = "display,size=1920x1080,fps=100,format=NV12";

fn picture() -> Frame {
    let size = Size::nearest(1920, 1080);
    let (background, plain) = (Background::Ramp, Picture::default());
    render(&pixfmt::NV12, size, 7, background, &plain)
}

#[test]
fn a_tick_reads_a_piece_of_a_large_picture() {
    // The same holds if nothing reads the pictures.
    for device in [display(LARGE), unwatched(LARGE)] {
        let mut bench = Bench::new(device, 2);
        for index in 0..2 {
            bench.plane(index, 0).copy_from_slice(picture().bytes());
            bench.queue(index);
        }
        bench.start();
        for sequence in 0..2 {
            let due_ns = START + u64::from(sequence) * 10 * MS;
            let bytes = picture().bytes().len();
            for at in (0..bytes).step_by(PIECE) {
                assert_eq!(bench.device.has_begun(), at > 0);
                let before = bench.memory.accesses.len();
                let shown = bench.tick(due_ns);
                let read = bench.memory.accesses[before..].iter();
                let read: usize = read.map(|access| access.2).sum();
                assert_eq!(read, PIECE.min(bytes - at));
                assert_eq!(shown, usize::from(at + PIECE >= bytes));
            }
            let info = bench.take().expect("a buffer");
            assert_eq!((info.sequence, info.timestamp_ns), (sequence, due_ns));
        }
        let sink = bench.device.sink();
        assert_eq!(sink.counters().shown, 2);
        let last = bench.device.last();
        assert!(last.is_none_or(|frame| frame.bytes() == picture().bytes()));
    }
}

#[test]
fn stream_end_hides_unfinished_picture() {
    let mut bench = Bench::new(display(LARGE), 1);
    bench.queue(0);
    bench.start();
    assert_eq!(bench.tick(START), 0);
    assert_eq!(bench.device.next_tick(), Some(0), "the next piece");
    bench.stop();
    assert_eq!((bench.tick(START), bench.device.next_tick()), (0, None));
    assert_eq!(bench.device.sink().counters().shown, 0);
    bench.plane(0, 0).copy_from_slice(picture().bytes());
    bench.queue(0);
    bench.start();
    let ticks = (0..picture().bytes().len()).step_by(PIECE);
    assert_eq!(ticks.map(|_| bench.tick(START)).sum::<usize>(), 1);
    let last = bench.device.last();
    assert!(last.is_some_and(|frame| frame.bytes() == picture().bytes()));
}
