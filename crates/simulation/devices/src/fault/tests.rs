//! Tests faults of a camera's frames, and the disturbances of its source.

use super::*;
use crate::hosted::RESIZED;
use crate::tests::bench::{Bench, host, schedule};
use crate::{Device, Signal};
use vb3_picture::{Background, Picture, Size, render};
use vb3_v4l2::{Format, VideoDriver as _, pixfmt};

const MS: u64 = 1_000_000;
const START: u64 = 1_000 * MS;
const BUFFERS: u32 = 6;
/// Bytes of a frame.
const BYTES: usize = 16 * 8 * 2;

/// Returns a streaming camera of 16x8 pictures at 100 frames per second, with faults at these frames.
fn camera(options: &str, faults: &[(u64, FrameFault)]) -> (Bench<Device<u32>>, FaultSchedule) {
    let schedule = schedule(faults);
    let spec = format!("camera,size=16x8,fps=100{options}");
    let spec = spec.parse().expect("a SPEC");
    let mut device = Device::new(&spec, &host()).expect("a camera");
    device.disturb(&schedule);
    let mut bench = Bench::new(device, BUFFERS);
    (0..BUFFERS).for_each(|index| bench.queue(index));
    bench.start();
    (bench, schedule)
}

/// A finished frame, as a program sees it.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    sequence: u32,
    /// Milliseconds since the start.
    time: u64,
    is_bad: bool,
    bytes: Vec<u8>,
}

/// Dequeues all finished frames, and queues their buffers again.
fn seen(bench: &mut Bench<Device<u32>>) -> Vec<Seen> {
    let mut all = Vec::new();
    while let Ok(info) = bench.take() {
        let used = info.planes[0].expect("a plane").payload_bytes;
        let bytes = &bench.plane(info.index, 0)[..usize::try_from(used).expect("few bytes")];
        all.push(Seen {
            sequence: info.sequence,
            time: (info.timestamp_ns - START) / MS,
            is_bad: info.error,
            bytes: bytes.to_vec(),
        });
        bench.queue(info.index);
    }
    all
}

/// Runs the tick of a frame.
fn tick(bench: &mut Bench<Device<u32>>, frame: u64) -> Vec<Seen> {
    bench.tick(START + frame * 10 * MS);
    seen(bench)
}

/// Returns the bytes of a frame without faults.
fn picture(sequence: u32) -> Vec<u8> {
    let (size, picture) = (Size::nearest(16, 8), Picture::default());
    let frame = render(&pixfmt::YUYV, size, sequence, Background::Bars, &picture);
    frame.bytes().to_vec()
}

fn plain(sequence: u32) -> Seen {
    Seen {
        sequence,
        time: u64::from(sequence) * 10,
        is_bad: false,
        bytes: picture(sequence),
    }
}

#[test]
fn a_fault_strikes_the_frames_that_are_named() {
    let faults = FrameFaults {
        step: 0,
        fault: FrameFault::Lost,
        first: 5,
        every: 3,
        count: 2,
    };
    let struck: Vec<u64> = (0..20).filter(|&frame| faults.strikes(frame)).collect();
    assert_eq!(struck, [5, 8]);
    assert!(!faults.is_over(8) && !faults.is_over(10) && faults.is_over(11));
}

#[test]
fn frames_of_a_camera_have_the_planned_faults() {
    let (mut bench, schedule) = camera(
        "",
        &[
            (0, FrameFault::Torn),
            (1, FrameFault::Twice),
            (4, FrameFault::Torn),
            (5, FrameFault::Lost),
            (6, FrameFault::Flagged),
            (7, FrameFault::Short { len: 100 }),
            (8, FrameFault::Corrupt { len: 3 }),
            (9, FrameFault::Corrupt { len: 1 << 40 }),
        ],
    );
    for frame in 0..11 {
        let mut found = tick(&mut bench, frame);
        let number = u32::try_from(frame).expect("a small number");
        let mut wanted = plain(number);
        match frame {
            0 => wanted.bytes[BYTES / 2..].fill(0),
            2 => wanted = plain(1),
            4 => wanted.bytes[BYTES / 2..].copy_from_slice(&picture(3)[BYTES / 2..]),
            5 => {
                assert_eq!(found, []);
                continue;
            }
            6 => wanted.is_bad = true,
            7 => wanted.bytes.truncate(100),
            8 => {
                let inverted = |(found, wanted): &(&mut u8, &u8)| **found == !**wanted;
                let pairs = found[0].bytes.iter_mut().zip(&wanted.bytes);
                let bad = pairs.filter(inverted).map(|(found, _)| *found = !*found);
                assert_eq!(bad.count(), 3);
            }
            9 => wanted.bytes.iter_mut().for_each(|byte| *byte = !*byte),
            _ => {}
        }
        assert_eq!(found, [wanted], "{frame}");
    }
    let hits = schedule.take_hits();
    let frames: Vec<(u32, u64)> = hits.iter().map(|hit| (hit.step, hit.frame)).collect();
    assert_eq!(
        frames,
        (0..).zip([0, 1, 4, 5, 6, 7, 8, 9]).collect::<Vec<_>>()
    );
    assert_eq!((schedule.frames(), schedule.take_hits()), (11, vec![]));
}

#[test]
fn a_host_that_does_not_look_misses_hits() {
    let schedule = FaultSchedule::default();
    (0..5000).for_each(|frame| schedule.hit(1, frame));
    let hits = schedule.take_hits();
    let last = FaultHit {
        step: 1,
        frame: 4095,
    };
    assert_eq!((hits.len(), hits.last()), (4096, Some(&last)));
}

#[test]
fn no_frame_overtakes_a_late_one() {
    let late = FrameFault::Late { by_ns: 25 * MS };
    let (mut bench, _) = camera("", &[(1, late)]);
    assert_eq!(tick(&mut bench, 0), [plain(0)]);
    for frame in 1..3 {
        assert_eq!(tick(&mut bench, frame), []);
        assert_eq!(bench.device.next_late_frame(), Some(START + 35 * MS));
    }
    assert_eq!(bench.device.next_tick(), Some(START + 30 * MS));
    assert_eq!(tick(&mut bench, 3), []);
    assert_eq!(bench.device.next_tick(), Some(START + 35 * MS));
    bench.tick(START + 35 * MS - 1);
    assert_eq!(seen(&mut bench), []);
    bench.tick(START + 35 * MS);
    assert_eq!(seen(&mut bench), [plain(1), plain(2), plain(3)]);
    assert_eq!(bench.device.next_late_frame(), None);
    // A stop forgets what is late.
    let (mut bench, _) = camera("", &[(0, late)]);
    assert_eq!(tick(&mut bench, 0), []);
    bench.stop();
    assert_eq!(bench.device.next_late_frame(), None);
}

#[test]
fn frames_without_a_signal_are_lost() {
    let (mut bench, _) = camera("", &[]);
    assert_eq!(tick(&mut bench, 0), [plain(0)]);
    bench.device.set_signal(Signal::Lost);
    assert_eq!(
        bench.device.next_tick(),
        Some(0),
        "the event is reported at once"
    );
    bench.events.clear();
    assert_eq!(tick(&mut bench, 1), []);
    assert!(bench.events.contains(&RESIZED));
    assert_eq!(tick(&mut bench, 2), []);
    bench.device.set_signal(Signal::Back);
    assert_eq!(tick(&mut bench, 3), [plain(3)]);
}

/// A device without a rate must not fill the buffer of a lost frame again at the same time.
#[test]
fn lost_frames_of_a_free_camera_return_later() {
    let (mut bench, _) = camera(",pace=free", &[]);
    assert_eq!(tick(&mut bench, 0).len(), BUFFERS as usize);
    bench.device.set_signal(Signal::Lost);
    assert_eq!(tick(&mut bench, 0), []);
    assert_eq!(bench.device.next_tick(), Some(START + 10 * MS));
    bench.device.set_signal(Signal::Back);
    assert_eq!(tick(&mut bench, 0), [], "all buffers wait");
    bench.tick(START + 10 * MS - 1);
    assert_eq!(seen(&mut bench), []);
    bench.tick(START + 10 * MS);
    bench.tick(START + 10 * MS);
    assert_eq!(seen(&mut bench).len(), BUFFERS as usize);
}

#[test]
fn a_resized_source_waits_for_a_new_stream() {
    let (mut bench, _) = camera(",sizes=16x8:32x16", &[]);
    assert_eq!(tick(&mut bench, 0), [plain(0)]);
    assert!(bench.device.takes_size(32, 16) && !bench.device.takes_size(1 << 20, 16));
    bench.device.resize_source(32, 16);
    bench.events.clear();
    assert_eq!(tick(&mut bench, 1), []);
    assert!(bench.events.contains(&RESIZED));
    let size = |format: Format| (format.width, format.height);
    let current = |bench: &Bench<Device<u32>>| size(bench.device.format(Flow::Capture));
    assert_eq!(current(&bench), (16, 8), "the stream's");
    let other = bench.device.format(Flow::Capture);
    let tried = bench.device.try_format(Flow::Capture, &other);
    assert_eq!(size(tried), (32, 16));
    bench.stop();
    assert_eq!(current(&bench), (32, 16));
    bench.release();
    bench.make(1);
    bench.queue(0);
    bench.start();
    let bytes = bench.device.format(Flow::Capture).layouts()[0].sizeimage;
    assert_eq!(bytes, 32 * 16 * 2);
    bench.tick(START + 30 * MS);
    let found = bench.take().expect("a frame").planes[0].expect("a plane");
    assert_eq!(found.payload_bytes, u64::from(bytes));
}
