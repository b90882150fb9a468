//! Tests faults of memory-to-memory devices' frames: timestamps and buffer pairs stay right.

use super::bench::{Bench, any_device};
use crate::hosted::HostedDevice;
use crate::tests::bench::schedule;
use crate::{Device, DeviceEvent, Failure, FaultSchedule, FrameFault};
use vb3_codec::Launch;
use vb3_queue::Error;
use vb3_v4l2::{Command, DriverEvent, Flow, Format, FourCc, pixfmt};

impl HostedDevice for Device<u32> {
    fn failure(&self) -> Option<&Failure> {
        None
    }
}

/// Number of buffers of each queue.
const BUFFERS: u32 = 4;
const BYTES: usize = 64 * 48 * 3 / 2;

/// Makes a converter from NV12 to NV12 with these faults at these frames.
fn converter(faults: &[(u64, FrameFault)]) -> (Bench<Device<u32>>, FaultSchedule) {
    let schedule = schedule(faults);
    let mut device = any_device("convert", Launch::in_thread());
    device.disturb(&schedule);
    let mut bench = Bench::new(device);
    let pixel = pixfmt::lookup(FourCc::NV12).expect("a format");
    let format = Format::new(pixel, 64, 48).expect("a size");
    bench.set_format(Flow::Output, &format);
    bench.set_format(Flow::Capture, &format);
    bench.begin(BUFFERS, BUFFERS);
    (bench, schedule)
}

/// Sends a picture whose bytes all have one value, which identifies it.
fn send(bench: &mut Bench<Device<u32>>, index: u32, value: u8) {
    bench.send(index, &[&[value; BYTES]], stamp(value));
}

fn stamp(value: u8) -> u64 {
    1_000_000 * u64::from(value)
}

/// Receives the next picture: sequence number, timestamp, error flag, bytes.
fn receive(bench: &mut Bench<Device<u32>>) -> (u32, u64, bool, Vec<u8>) {
    let (info, bytes) = bench.receive();
    bench.queue_empty(info.index);
    (info.sequence, info.timestamp_ns, info.error, bytes)
}

fn is_empty(bench: &mut Bench<Device<u32>>, flow: Flow) -> bool {
    bench.work();
    matches!(bench.try_take(flow), Err(Error::WouldBlock))
}

#[test]
fn faults_keep_timestamps_of_pictures() {
    let faults = [
        (1, FrameFault::Twice),
        (4, FrameFault::Torn),
        (5, FrameFault::Lost),
        (6, FrameFault::Flagged),
        (7, FrameFault::Short { len: 100 }),
        (8, FrameFault::Corrupt { len: 3 }),
    ];
    let (mut bench, schedule) = converter(&faults);
    let mut got = Vec::new();
    for value in 0..10u8 {
        send(&mut bench, 0, value);
        let source = bench.take(Flow::Output);
        assert_eq!((source.index, source.sequence), (0, value.into()));
        assert!(!source.error, "the OUTPUT buffer was read");
        if value != 5 {
            got.push(receive(&mut bench));
        }
    }
    assert!(is_empty(&mut bench, Flow::Capture));
    let sequences: Vec<u32> = got.iter().map(|frame| frame.0).collect();
    assert_eq!(sequences, [0, 1, 2, 3, 4, 6, 7, 8, 9]);
    for (sequence, timestamp, is_bad, bytes) in &got {
        let value = u8::try_from(*sequence).expect("a small number");
        assert_eq!(*timestamp, stamp(value));
        assert_eq!(*is_bad, value == 6);
        let mut wanted = match value {
            2 => vec![1; BYTES],
            _ => vec![value; BYTES],
        };
        match value {
            4 => wanted[BYTES / 2..].fill(3),
            7 => wanted.truncate(100),
            _ => {}
        }
        let wrong = wanted.iter().zip(bytes).filter(|(a, b)| a != b).count();
        let corrupt = if value == 8 { 3 } else { 0 };
        assert_eq!((bytes.len(), wrong), (wanted.len(), corrupt), "{value}");
    }
    let hits: Vec<u64> = schedule.take_hits().iter().map(|hit| hit.frame).collect();
    assert_eq!(hits, [1, 4, 5, 6, 7, 8]);
    assert_eq!(schedule.frames(), 10);
}

#[test]
fn late_picture_returns_with_its_source() {
    let (mut bench, _) = converter(&[(1, FrameFault::Late { by_ns: 500 })]);
    for value in 0..4 {
        send(&mut bench, value.into(), value);
    }
    assert_eq!(receive(&mut bench).0, 0);
    assert_eq!(bench.take(Flow::Output).index, 0);
    bench.now_ns = 499;
    for flow in [Flow::Output, Flow::Capture] {
        assert!(is_empty(&mut bench, flow), "{flow:?}");
    }
    assert_eq!(bench.device.next_late_frame(), Some(500));
    bench.now_ns = 500;
    for value in 1..4 {
        assert_eq!(bench.take(Flow::Output).index, value);
        let (sequence, timestamp, ..) = receive(&mut bench);
        assert_eq!((sequence, timestamp), (value, u64::from(value) * 1_000_000));
    }
    assert_eq!(bench.device.next_late_frame(), None);
}

#[test]
fn stopped_queue_takes_back_only_its_late_buffers() {
    let (mut bench, _) = converter(&[(0, FrameFault::Late { by_ns: 500 })]);
    send(&mut bench, 0, 7);
    bench.work();
    bench.stop(Flow::Output);
    bench.now_ns = 500;
    let (sequence, timestamp, is_bad, bytes) = receive(&mut bench);
    assert_eq!((sequence, timestamp, is_bad), (0, stamp(7), false));
    assert_eq!(bytes, [7; BYTES]);
}

#[test]
fn files_of_one_device_count_its_frames_together() {
    let (mut first, schedule) = converter(&[(2, FrameFault::Flagged)]);
    for value in 0..2 {
        send(&mut first, 0, value);
        assert!(!receive(&mut first).2);
        first.take(Flow::Output);
    }
    let (mut second, _) = converter(&[]);
    second.device = any_device("convert", Launch::in_thread());
    second.device.disturb(&schedule);
    let pixel = pixfmt::lookup(FourCc::NV12).expect("a format");
    let format = Format::new(pixel, 64, 48).expect("a size");
    let mut second = Bench::new(second.device);
    second.set_format(Flow::Output, &format);
    second.set_format(Flow::Capture, &format);
    second.begin(BUFFERS, BUFFERS);
    send(&mut second, 0, 9);
    assert!(receive(&mut second).2, "the device's third frame");
}

#[test]
fn end_of_stream_comes_with_the_last_frame() {
    let schedule = schedule(&[(0, FrameFault::Late { by_ns: 500 })]);
    let mut device = any_device("jpegenc", Launch::in_thread());
    device.disturb(&schedule);
    let mut bench: Bench<Device<u32>> = Bench::new(device);
    let pixel = pixfmt::lookup(FourCc::NV12).expect("a format");
    let format = Format::new(pixel, 64, 48).expect("a size");
    bench.set_format(Flow::Output, &format);
    bench.begin(BUFFERS, BUFFERS);
    send(&mut bench, 0, 7);
    bench.command(Command::Stop).expect("a drain begins");
    bench.until("a late frame", |bench| {
        bench.device.next_late_frame().is_some()
    });
    assert!(bench.events.is_empty(), "{:?}", bench.events);
    bench.now_ns = 500;
    assert_eq!(bench.take(Flow::Capture).timestamp_ns, stamp(7));
    assert_eq!(bench.events, [DriverEvent::Eos]);
}

#[test]
fn events_name_streams_and_frames() {
    let mut device = any_device("convert", Launch::in_thread());
    device.record_events(true);
    let mut bench = Bench::new(device);
    let pixel = pixfmt::lookup(FourCc::NV12).expect("a format");
    let format = Format::new(pixel, 64, 48).expect("a size");
    bench.set_format(Flow::Output, &format);
    bench.set_format(Flow::Capture, &format);
    bench.begin(1, 1);
    let started = [Flow::Output, Flow::Capture].map(DeviceEvent::Start);
    assert_eq!(bench.device.take_events(), started);
    bench.send(0, &[&[7; BYTES]], 1000);
    bench.take(Flow::Capture);
    let frame = |flow, time_ns| DeviceEvent::Frame {
        flow,
        sequence: 0,
        time_ns,
    };
    let events = bench.device.take_events();
    let (source, target) = (frame(Flow::Output, None), frame(Flow::Capture, Some(1000)));
    assert!(
        events == [source, target] || events == [target, source],
        "{events:?}"
    );
    assert_eq!(bench.device.take_events(), [], "each is told once");
    bench.device.record_events(false);
    bench.stop(Flow::Capture);
    bench.start(Flow::Capture);
    assert_eq!(bench.device.take_events(), []);
}
