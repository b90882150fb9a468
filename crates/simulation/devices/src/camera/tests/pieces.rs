//! Tests that large frames are moved in pieces, one in each tick.

use super::*;
use crate::surface::PIECE;

const LARGE: &str = "camera,size=1280x720,fps=100,format=NV12";

fn large() -> Bench<Camera<u32>> {
    Bench::new(camera(LARGE), 2)
}

fn picture(sequence: u32) -> Frame {
    let size = Size::nearest(1280, 720);
    let (background, plain) = (Background::Bars, Picture::default());
    render(&pixfmt::NV12, size, sequence, background, &plain)
}

/// Returns the bytes of each piece of a picture.
fn pieces() -> Vec<usize> {
    let bytes = picture(0).bytes().len();
    let pieces = (0..bytes).step_by(PIECE);
    pieces.map(|at| PIECE.min(bytes - at)).collect()
}

/// Runs a tick. Returns how many bytes it moved and how many buffers it finished.
fn moved(bench: &mut Bench<Camera<u32>>, now_ns: u64) -> (usize, usize) {
    let before = bench.memory.accesses.len();
    let done = bench.tick(now_ns);
    let bytes = bench.memory.accesses[before..]
        .iter()
        .map(|access| access.2);
    (bytes.sum(), done)
}

/// Returns the number of ticks until a buffer finishes.
fn rest(bench: &mut Bench<Camera<u32>>, now_ns: u64) -> usize {
    let mut ticks = (0..pieces().len()).map(|_| bench.tick(now_ns));
    ticks.find(|done| *done > 0).unwrap_or(0)
}

#[test]
fn a_tick_moves_a_piece_of_a_large_frame() {
    let mut bench = large();
    (0..2).for_each(|index| bench.queue(index));
    bench.start();
    for sequence in 0..2 {
        let due_ns = START + u64::from(sequence) * 10 * MS;
        for (at, bytes) in pieces().into_iter().enumerate() {
            assert_eq!(bench.device.has_begun(), at > 0);
            let is_last = at + 1 == pieces().len();
            let now_ns = due_ns + at as u64 * MS;
            assert_eq!(moved(&mut bench, now_ns), (bytes, usize::from(is_last)));
            assert_eq!(bench.device.next_tick() == Some(0), !is_last);
        }
        let info = bench.take().expect("a frame");
        assert_eq!((info.sequence, info.error), (sequence, false));
        assert_eq!(info.timestamp_ns, due_ns, "the frame's own time");
        assert!(*bench.plane(sequence, 0) == picture(sequence).bytes());
    }
    assert_eq!(bench.device.next_tick(), Some(START + 30 * MS));
    assert_eq!(bench.device.statistics().dropped, 0);
}

#[test]
fn controls_are_for_the_next_frame() {
    let mut bench = large();
    bench.queue(0);
    bench.start();
    bench.tick(START);
    bench
        .device
        .engine
        .controls
        .set_control(vb3_v4l2::cid::HFLIP, 1)
        .expect("a control");
    assert_eq!(rest(&mut bench, START), 1);
    assert!(*bench.plane(0, 0) == picture(0).bytes(), "one picture");
}

#[test]
fn frames_that_are_due_meanwhile_leave_a_gap() {
    let mut bench = large();
    (0..2).for_each(|index| bench.queue(index));
    bench.start();
    bench.tick(START);
    let last = pieces().len() as u64 - 1;
    for piece in 1..last {
        assert_eq!(bench.tick(START + piece * MS), 0);
    }
    assert_eq!(bench.tick(START + 35 * MS), 1, "one, whole");
    assert_eq!(bench.take().map(|info| info.sequence), Ok(0));
    // The camera continues with the newest frame.
    assert_eq!(rest(&mut bench, START + 35 * MS), 1);
    let info = bench.take().expect("a frame");
    assert_eq!((info.sequence, info.timestamp_ns), (3, START + 30 * MS));
    assert!(*bench.plane(1, 0) == picture(3).bytes());
    assert_eq!(bench.device.statistics().dropped, 2);
}

#[test]
fn stream_end_forgets_unfinished_frame() {
    let mut bench = large();
    bench.queue(0);
    bench.start();
    bench.tick(START);
    bench.stop();
    assert_eq!(bench.device.next_tick(), None);
    assert_eq!(moved(&mut bench, START + MS), (0, 0));
    bench.queue(1);
    bench.start();
    assert_eq!(
        moved(&mut bench, START + 2 * MS),
        (PIECE, 0),
        "from its start"
    );
    assert_eq!(rest(&mut bench, START + 2 * MS), 1);
    assert_eq!(
        bench.take().map(|info| (info.index, info.sequence)),
        Ok((1, 0))
    );
    assert!(*bench.plane(1, 0) == picture(0).bytes());
}

#[test]
fn where_time_stands_still_a_frame_takes_one_tick() {
    let mut bench = large();
    crate::hosted::HostedDevice::work_at_once(&mut bench.device);
    bench.queue(0);
    bench.start();
    assert_eq!(bench.tick(START), 1);
    assert!(*bench.plane(0, 0) == picture(0).bytes());
}

/// Returns a JPEG file of the large picture, and the number of ticks in which its samples are copied.
fn file(at_once: bool) -> (Vec<u8>, usize) {
    let spec = "camera,size=1280x720,fps=100,format=MJPG";
    let mut bench = Bench::new(camera(spec), 1);
    if at_once {
        crate::hosted::HostedDevice::work_at_once(&mut bench.device);
    }
    bench.queue(0);
    bench.start();
    bench.tick(START);
    let mut ticks = 1;
    while bench.device.has_begun() {
        assert_eq!(bench.device.next_tick(), Some(0));
        bench.tick(START);
        ticks += 1;
    }
    let info = loop {
        match bench.take() {
            Ok(info) => break info,
            Err(_) => wait(&bench.device),
        }
        bench.tick(START);
    };
    assert_eq!((info.sequence, info.error), (0, false));
    let bytes = info.planes[0].map_or(0, |plane| plane.payload_bytes) as usize;
    (bench.plane(0, 0)[..bytes].to_vec(), ticks)
}

#[test]
fn tick_hands_one_piece_to_the_file_maker() {
    let ((whole, once), (in_pieces, ticks)) = (file(true), file(false));
    // The number of samples of 4:2:2.
    assert_eq!((once, ticks), (1, (1280 * 720 * 2_usize).div_ceil(PIECE)));
    assert!(whole == in_pieces, "the same file");
}

#[test]
fn stream_end_forgets_unfinished_file() {
    let mut bench = Bench::new(camera("camera,size=1280x720,format=MJPG"), 1);
    bench.queue(0);
    bench.start();
    bench.tick(START);
    assert!(bench.device.has_begun());
    bench.stop();
    assert!(!bench.device.has_begun());
    assert_eq!(bench.device.next_tick(), None);
    assert_eq!(bench.tick(START + MS), 0);
}
