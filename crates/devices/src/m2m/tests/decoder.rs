//! The H.264 decoder before CAPTURE streams.

use super::bench::{Bench, device};
use super::encoder;
use crate::Decoder;
use vb3_codec::Launch;
use vb3_queue::Error;
use vb3_v4l2::{DriverEvent, Flow, FourCc, VideoDriver};

const CHANGED: DriverEvent = DriverEvent::SourceChange {
    port: 0,
    changes: 1,
};

fn decoder() -> Bench<Decoder<u32>> {
    Bench::new(device("h264dec", Launch::in_thread(), Decoder::new))
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
