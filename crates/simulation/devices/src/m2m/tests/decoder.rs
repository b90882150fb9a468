//! The H.264 decoder before CAPTURE streams.

use super::bench::{Bench, device};
use super::{encoder, library};
use crate::hosted::HostedDevice as _;
use crate::m2m::Decoder;
use crate::surface::EBUSY;
use crate::tests::bench::FILLER;
use std::os::unix::fs::FileExt as _;
use vb3_queue::Error;
use vb3_v4l2::{Command, DriverEvent, Flow, Format, FourCc, VideoDriver};

const CHANGED: DriverEvent = DriverEvent::SourceChange {
    port: 0,
    changes: 1,
};

fn decoder() -> Bench<Decoder<u32>> {
    Bench::new(device("h264dec", library(), Decoder::new))
}

#[test]
fn the_last_piece_is_kept_until_capture_streams() {
    let stream = encoder::stream(1);
    let mut bench = decoder();
    bench.make(Flow::Output, 2);
    bench.start(Flow::Output);
    bench.send(0, &[&stream[0]], 5);
    bench.until("the format", |bench| bench.events.contains(&CHANGED));
    assert_eq!(bench.try_take(Flow::Output), Err(Error::WouldBlock));
    let count = bench.make(Flow::Capture, 4);
    (0..count).for_each(|index| bench.queue_empty(index));
    bench.start(Flow::Capture);
    assert_eq!(bench.take(Flow::Output).index, 0);
}

#[test]
fn separate_planes_come_first() {
    assert_eq!(decoder().device.format(Flow::Capture).fourcc, FourCc::NV12M);
}

/// Makes a decoder that has announced the format of `stream`, with CAPTURE buffers that are not queued.
fn told(stream: &[Vec<u8>], fourcc: FourCc, captures: u32) -> Bench<Decoder<u32>> {
    let mut bench = decoder();
    bench.make(Flow::Output, 8);
    bench.start(Flow::Output);
    bench.send(0, &[&stream[0]], 0);
    bench.until("the format", |bench| bench.events.contains(&CHANGED));
    let wanted = Format {
        fourcc,
        ..bench.device.format(Flow::Capture)
    };
    bench.set_format(Flow::Capture, &wanted);
    bench.make(Flow::Capture, captures);
    bench
}

/// Decodes a stream, and checks the number of bus accesses. Returns the planes of each picture.
fn pictures(maps: bool, fourcc: FourCc) -> Vec<Vec<Vec<u8>>> {
    let stream = encoder::stream(4);
    let mut bench = told(&stream, fourcc, 2);
    bench.memory.maps = maps;
    bench.start(Flow::Capture);
    bench.queue_empty(0);
    bench.queue_empty(1);
    for (index, piece) in (1..).zip(&stream[1..]) {
        bench.send(index, &[piece], u64::from(index));
    }
    let planes = u32::try_from(bench.device.format(Flow::Capture).num_planes).unwrap();
    let pictures = stream.iter().map(|_| {
        let index = bench.take(Flow::Capture).index;
        let plane = |plane| std::mem::take(bench.plane(Flow::Capture, index, plane));
        let bytes: Vec<Vec<u8>> = (0..planes).map(plane).collect();
        for (plane, bytes) in (0..).zip(&bytes) {
            let plane = bench.plane(Flow::Capture, index, plane);
            plane.resize(bytes.len(), FILLER);
        }
        bench.queue_empty(index);
        bytes
    });
    let pictures: Vec<Vec<Vec<u8>>> = pictures.collect();
    assert_eq!(bench.memory.files.is_empty(), !maps, "who wrote them");
    let bytes: usize = pictures.iter().flatten().map(Vec::len).sum();
    let copied = bench.device.statistics().codec_bytes_copied;
    assert_eq!(copied, bytes as u64, "by the codec");
    pictures
}

#[test]
fn worker_and_bus_write_equal_pictures() {
    for fourcc in [FourCc::NV12, FourCc::NV12M, FourCc::YUV420] {
        let (mapped, written) = (pictures(true, fourcc), pictures(false, fourcc));
        assert_eq!(mapped.len(), 4);
        assert!(mapped == written, "{fourcc:?}");
        assert!(mapped[0] != mapped[1], "they move");
    }
}

/// Returns the bytes of a buffer's file, which the worker maps.
fn file_bytes(bench: &Bench<Decoder<u32>>, cookie: u32) -> Vec<u8> {
    let file = &bench.memory.files[&cookie];
    let mut bytes = vec![0; usize::try_from(file.metadata().unwrap().len()).unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

#[test]
fn nothing_is_written_to_a_buffer_after_streamoff() {
    let stream = encoder::stream(4);
    let mut bench = told(&stream, FourCc::NV12, 4);
    bench.memory.maps = true;
    bench.start(Flow::Capture);
    (0..4).for_each(|index| bench.queue_empty(index));
    bench.send(1, &[&stream[1]], 1);
    // Two pictures are returned, and the worker has two more buffers.
    assert_eq!(bench.take(Flow::Capture).index, 0);
    assert_eq!(bench.take(Flow::Capture).index, 1);
    bench.stop(Flow::Capture);
    let first = bench.cookie(Flow::Capture, 0);
    let bytes = |bench: &Bench<Decoder<u32>>, index| file_bytes(bench, first + index);
    let before = [0, 2, 3].map(|index| bytes(&bench, index));
    assert!(before[1].iter().all(|byte| *byte == FILLER));
    bench.send(2, &[&stream[2]], 2);
    bench.send(3, &[&stream[3]], 3);
    bench.start(Flow::Capture);
    // Two pictures are returned in the one queued buffer, one after the other.
    for timestamp_ns in [2, 3] {
        bench.queue_empty(0);
        let info = bench.take(Flow::Capture);
        assert_eq!((info.index, info.timestamp_ns), (0, timestamp_ns));
    }
    assert!(bytes(&bench, 0) != before[0]);
    assert!([2, 3].map(|index| bytes(&bench, index)) == before[1..]);
}

#[test]
fn nothing_is_written_to_a_withdrawn_buffer() {
    let stream = encoder::stream(4);
    let mut bench = told(&stream, FourCc::NV12, 4);
    bench.memory.maps = true;
    bench.start(Flow::Capture);
    (0..4).for_each(|index| bench.queue_empty(index));
    bench.send(1, &[&stream[1]], 1);
    assert_eq!(bench.take(Flow::Capture).index, 0);
    assert_eq!(bench.take(Flow::Capture).index, 1);
    // The worker has the other two.
    bench.withdraw(2);
    let withdrawn = bench.take(Flow::Capture);
    assert!(withdrawn.error && withdrawn.index == 2);
    let lost = bench.cookie(Flow::Capture, 2);
    for (index, timestamp_ns) in [(2, 2), (3, 3)] {
        bench.send(index, &[&stream[index as usize]], timestamp_ns);
        let info = bench.take(Flow::Capture);
        assert_eq!((info.index, info.timestamp_ns), (3, timestamp_ns));
        bench.queue_empty(3);
    }
    assert!(file_bytes(&bench, lost).iter().all(|byte| *byte == FILLER));
}

#[test]
fn the_answer_to_an_ended_drain_does_not_end_the_next() {
    let stream = encoder::stream(2);
    let mut bench = told(&stream, FourCc::NV12, 4);
    bench.start(Flow::Capture);
    // The worker waits for a buffer for the first picture.
    bench.device.command(Command::Stop).expect("it can drain");
    bench.work();
    bench.stop(Flow::Capture);
    bench.start(Flow::Capture);
    bench.send(1, &[&stream[1]], 1);
    bench.device.command(Command::Stop).expect("it can drain");
    bench.work();
    (0..4).for_each(|index| bench.queue_empty(index));
    let mut times = Vec::new();
    loop {
        let info = bench.take(Flow::Capture);
        let has_picture = info.planes[0].is_some_and(|plane| plane.payload_bytes > 0);
        times.extend(has_picture.then_some(info.timestamp_ns));
        if info.last {
            break;
        }
    }
    assert_eq!(times, [0, 1]);
}

#[test]
fn time_stands_still_while_the_worker_has_a_buffer() {
    let stream = encoder::stream(2);
    let mut bench = told(&stream, FourCc::NV12, 4);
    bench.start(Flow::Capture);
    bench.work();
    assert!(
        !bench.device.is_preparing(),
        "the program must queue a buffer"
    );
    bench.queue_empty(0);
    bench.send(1, &[&stream[1]], 1);
    // A further tick might already see the end.
    bench.tick();
    assert!(bench.device.is_preparing());
    assert_eq!(bench.take(Flow::Capture).index, 0);
    bench.until("the end of the job", |bench| !bench.device.is_preparing());
}

#[test]
fn a_second_stream_of_the_same_format_is_announced() {
    let stream = encoder::stream(2);
    let mut bench = told(&stream, FourCc::NV12, 4);
    let found = bench.device.format(Flow::Capture);
    bench.start(Flow::Capture);
    (0..4).for_each(|index| bench.queue_empty(index));
    bench.send(1, &[&stream[1]], 1);
    assert_eq!(bench.take(Flow::Capture).index, 0);
    for flow in [Flow::Output, Flow::Capture] {
        bench.stop(flow);
        bench.make(flow, 0);
    }
    bench.events.clear();
    let mut other = bench.device.format(Flow::Output);
    (other.width, other.height) = (other.width * 2, other.height * 2);
    bench.set_format(Flow::Output, &other);
    assert_ne!(bench.device.format(Flow::Capture), found);
    bench.make(Flow::Output, 8);
    bench.start(Flow::Output);
    bench.send(0, &[&stream[0]], 0);
    bench.until("the format", |bench| bench.events.contains(&CHANGED));
    assert_eq!(bench.device.format(Flow::Capture), found);
}

#[test]
fn a_refused_drain_waits_for_the_worker() {
    let mut bench = told(&encoder::stream(1), FourCc::NV12, 4);
    bench.start(Flow::Capture);
    // The worker waits for a buffer for the picture, and answers no drain meanwhile.
    for _ in 0..40 {
        bench.device.command(Command::Stop).expect("it can drain");
        bench.work();
        bench.stop(Flow::Capture);
        bench.start(Flow::Capture);
    }
    bench.device.command(Command::Stop).expect("it can drain");
    bench.work();
    assert_eq!(bench.device.next_tick(), None);
    (0..4).for_each(|index| bench.queue_empty(index));
    assert_eq!(bench.take(Flow::Capture).timestamp_ns, 0);
    assert!(bench.take(Flow::Capture).last);
}

#[test]
fn streamoff_at_capture_ends_a_drain() {
    let stream = encoder::stream(2);
    let mut bench = told(&stream, FourCc::NV12, 4);
    bench.start(Flow::Capture);
    bench.device.command(Command::Stop).expect("it can drain");
    assert_eq!(bench.device.command(Command::Start), Err(EBUSY));
    bench.stop(Flow::Capture);
    bench.start(Flow::Capture);
    (0..4).for_each(|index| bench.queue_empty(index));
    assert_eq!(bench.device.command(Command::Start), Ok(()));
    bench.send(1, &[&stream[1]], 1);
    for timestamp_ns in [0, 1] {
        assert_eq!(bench.take(Flow::Capture).timestamp_ns, timestamp_ns);
    }
}

#[test]
fn start_does_not_replace_new_buffers() {
    let mut bench = told(&encoder::stream(1), FourCc::NV12, 4);
    bench.start(Flow::Capture);
    (0..4).for_each(|index| bench.queue_empty(index));
    bench.send(1, &[&encoder::larger()], 1);
    assert!(!bench.take(Flow::Capture).error);
    let changes = |bench: &Bench<Decoder<u32>>| {
        let events = bench.events.iter();
        events.filter(|event| **event == CHANGED).count()
    };
    bench.until("the new format", |bench| changes(bench) == 2);
    assert_eq!(bench.device.command(Command::Start), Err(EBUSY));
}

#[test]
fn buffer_with_lost_mapping_returns_an_error() {
    let stream = encoder::stream(2);
    let mut bench = told(&stream, FourCc::NV12, 2);
    bench.memory.maps = true;
    bench.start(Flow::Capture);
    bench.queue_empty(0);
    bench.queue_empty(1);
    bench.work();
    let second = bench.cookie(Flow::Capture, 1);
    assert!(
        bench.memory.files.contains_key(&second),
        "the worker has it"
    );
    bench.memory.unmapped.push(second);
    bench.send(1, &[&stream[1]], 1);
    assert!(!bench.take(Flow::Capture).error);
    assert!(bench.take(Flow::Capture).error);
    assert_eq!(bench.device.statistics().bus_faults, 1);
}
