//! Large frames are copied in pieces, one in each tick.

use super::*;
use crate::surface::PIECE;

const SIZE: &str = ",size=1280x1024,format=YUYV";
const BYTES: usize = 1280 * 1024 * 2;
/// Number of ticks in which a frame is copied.
const TICKS: usize = BYTES / PIECE;

/// Runs all nodes once. Returns the bytes that the first reader's node moved.
fn moved(pair: &mut Pair) -> usize {
    let before = pair.readers[0].memory.accesses.len();
    pair.tick(START);
    let accesses = &pair.readers[0].memory.accesses[before..];
    accesses.iter().map(|access| access.2).sum()
}

#[test]
fn a_tick_copies_a_piece_of_a_large_frame() {
    let mut pair = Pair::started(SIZE, (2, 2));
    for (frame, value) in [3, 4].into_iter().enumerate() {
        let index = u32::try_from(frame).expect("one of two");
        pair.fill(index, value);
        for tick in 1..=TICKS {
            assert_eq!(moved(&mut pair), PIECE);
            let reader = &pair.readers[0].device;
            assert_eq!(reader.has_begun(), tick < TICKS);
            assert_eq!(reader.next_tick() == Some(0), tick < TICKS);
            assert_eq!(pair.got(0).is_some(), tick == TICKS, "tick {tick}");
        }
        assert_eq!(*pair.readers[0].plane(index, 0), vec![value; BYTES]);
        assert_eq!(
            pair.readers[0].device.statistics().bytes_copied,
            ((frame + 1) * BYTES) as u64
        );
    }
}

#[test]
fn waiting_writer_gets_buffer_after_whole_copy() {
    let mut pair = Pair::started(SIZE, (1, 1));
    pair.fill(0, 7);
    for _ in 1..TICKS {
        pair.writer.device.note_waiter(Flow::Output, Waiter::Waits);
        assert_eq!(moved(&mut pair), PIECE);
        assert!(pair.writer.take().is_err(), "it is being copied");
    }
    assert_eq!(moved(&mut pair), PIECE);
    assert_eq!(pair.got(0), Some((0, 0, 7)));
    pair.writer.device.note_waiter(Flow::Output, Waiter::Waits);
    let (_, index) = pair.wait(START);
    assert_eq!(index, 0);
}

#[test]
fn fast_writer_takes_no_frame_from_a_reader() {
    let mut pair = Pair::started(SIZE, (8, 2));
    pair.fill(0, 1);
    assert_eq!(moved(&mut pair), PIECE);
    // The writer writes more frames than are kept, all during one copy.
    (1..8).for_each(|index| pair.fill(index, 1 + u8::try_from(index).expect("few")));
    for _ in 1..TICKS {
        assert_eq!(moved(&mut pair), PIECE);
    }
    assert_eq!(pair.got(0), Some((0, 0, 1)), "whole, and the first");
    for _ in 0..TICKS {
        moved(&mut pair);
    }
    let (_, sequence, value) = pair.got(0).expect("a later one");
    assert_eq!(u32::from(value), sequence + 1);
}

#[test]
fn frame_lost_mid_copy_leaves_its_buffer_to_the_next() {
    let mut pair = Pair::started(SIZE, (2, 1));
    pair.fill(0, 1);
    assert_eq!(moved(&mut pair), PIECE);
    pair.writer.stop();
    assert_eq!(moved(&mut pair), 0);
    assert!(!pair.readers[0].device.has_begun());
    pair.writer.start();
    pair.fill(1, 2);
    for _ in 0..TICKS {
        assert_eq!(moved(&mut pair), PIECE, "from its start");
    }
    assert_eq!(pair.got(0).map(|(_, _, value)| value), Some(2));
}

#[test]
fn a_reader_that_stops_in_the_middle_begins_anew() {
    let mut pair = Pair::started(SIZE, (1, 1));
    pair.fill(0, 9);
    assert_eq!(moved(&mut pair), PIECE);
    pair.readers[0].stop();
    assert!(!pair.readers[0].device.has_begun());
    assert_eq!(moved(&mut pair), 0);
    pair.readers[0].queue(0);
    pair.readers[0].start();
    for _ in 0..TICKS {
        assert_eq!(moved(&mut pair), PIECE, "from its start");
    }
    assert_eq!(pair.got(0), Some((0, 0, 9)));
}
