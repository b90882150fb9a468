use super::*;
use crate::Place;
use crate::bench::Bench;
use vb3_v4l2::{Flow, VideoDriver as _};

const MS: u64 = 1_000_000;
const START: u64 = 1_000 * MS;

fn place() -> Place {
    Place {
        bus_info: "platform:vb3-000".into(),
        userptr: false,
        codecs: vb3_codec::Launch::in_thread().into(),
    }
}

type Writer = Bench<LoopbackOutput<u32>>;
type Reader = Bench<LoopbackCapture<u32>>;

fn nodes(options: &str) -> Vec<DeviceSpec> {
    let spec: DeviceSpec = format!("loopback,size=16x8{options}")
        .parse()
        .expect("a SPEC");
    spec.nodes().expect("nodes")
}

fn pair(options: &str, buffers: u32) -> (Writer, Reader) {
    let nodes = nodes(options);
    let output = LoopbackOutput::new(&nodes[0], &place()).expect("an OUTPUT node");
    let capture = LoopbackCapture::new(&nodes[1], &place()).expect("a CAPTURE node");
    (Bench::new(output, buffers), Bench::new(capture, buffers))
}

/// Writes a frame of equal bytes from buffer 0.
fn write(writer: &mut Writer, value: u8, now_ns: u64) {
    writer.plane(0, 0).fill(value);
    writer.queue(0);
    assert_eq!(writer.tick(now_ns), 1);
    writer.take().expect("the buffer comes back");
}

#[test]
fn readers_get_each_frame_as_it_was_written() {
    let (mut writer, mut reader) = pair("", 4);
    (0..4).for_each(|index| reader.queue(index));
    reader.start();
    assert_eq!(reader.device.next_tick(), None, "nobody writes");
    writer.start();
    for value in 1..4 {
        let time = START + u64::from(value) * MS;
        write(&mut writer, value, time);
        assert_eq!(reader.device.next_tick(), Some(0));
        assert_eq!(reader.tick(time + 7), 1);
        let info = reader.take().expect("a frame");
        assert_eq!(
            (info.sequence, info.timestamp_ns),
            (u32::from(value) - 1, time)
        );
        assert!(
            reader
                .plane(info.index, 0)
                .iter()
                .all(|byte| *byte == value)
        );
    }
    // One copy in and one out, said.
    assert_eq!(writer.device.statistics().bytes_copied, 3 * 256);
    assert_eq!(reader.device.statistics().bytes_copied, 3 * 256);
}

#[test]
fn a_late_reader_begins_with_the_newest_and_a_slow_one_misses_frames() {
    let (mut writer, mut reader) = pair("", 2);
    writer.start();
    (1..=9).for_each(|value| write(&mut writer, value, START));
    reader.start();
    reader.queue(0);
    assert_eq!(reader.tick(START), 1);
    let info = reader.take().expect("the newest");
    assert_eq!((info.sequence, reader.plane(info.index, 0)[0]), (0, 9));
    assert_eq!(reader.device.statistics().dropped, 0);
    (10..=19).for_each(|value| write(&mut writer, value, START));
    reader.queue(0);
    assert_eq!(reader.tick(START), 1);
    let info = reader.take().expect("the oldest that is kept");
    assert_eq!((info.sequence, reader.plane(info.index, 0)[0]), (7, 16));
    assert_eq!(reader.device.statistics().dropped, 6);
}

#[test]
fn the_writer_chooses_the_format_while_no_reader_holds_buffers() {
    let (mut writer, mut reader) = pair("", 2);
    let format = writer.device.format(Flow::Output);
    let mut wanted = format;
    wanted.fourcc = pixfmt::MJPEG.fourcc;
    (wanted.width, wanted.height) = (32, 16);
    let wanted = writer.device.try_format(Flow::Output, &wanted);
    // The bench's reader has buffers that its queue told the driver of, or none yet.
    let mut other_colors = format;
    other_colors.color.colorspace = 3;
    writer
        .device
        .set_format(Flow::Output, &other_colors, false)
        .expect("buffers stay as they are");
    assert_eq!(reader.device.format(Flow::Capture), other_colors);
    let held = writer.device.set_format(Flow::Output, &wanted, false);
    assert_eq!(held, Err(crate::surface::EBUSY));
    reader.release();
    writer
        .device
        .set_format(Flow::Output, &wanted, false)
        .expect("no reader holds buffers");
    let codes: Vec<_> = reader.device.formats(Flow::Capture).iter().collect();
    assert_eq!(codes, [&&pixfmt::MJPEG]);
    let size = reader.device.frame_sizes(&pixfmt::MJPEG);
    assert_eq!(size, vb3_v4l2::FrameSizes::One(32, 16));
    assert_eq!(reader.device.try_format(Flow::Capture, &format), wanted);
}

#[test]
fn a_reader_outlives_its_writer() {
    let (mut writer, mut reader) = pair("", 2);
    reader.start();
    (0..2).for_each(|index| reader.queue(index));
    writer.start();
    write(&mut writer, 1, START);
    writer.stop();
    assert_eq!(reader.tick(START), 0, "what a writer left is not shown");
    writer.start();
    write(&mut writer, 2, START);
    assert_eq!(reader.tick(START), 1);
    let info = reader.take().expect("a frame");
    assert_eq!(reader.plane(info.index, 0)[0], 2);
}

#[test]
fn exclusive_nodes_have_no_format_while_nobody_writes() {
    let nodes = nodes(",exclusive-caps=on,readers=2");
    assert_eq!(nodes.len(), 3);
    let output = LoopbackOutput::<u32>::new(&nodes[0], &place()).expect("an OUTPUT node");
    let mut writer = Bench::new(output, 1);
    for node in &nodes[1..] {
        let reader = LoopbackCapture::<u32>::new(node, &place()).expect("a CAPTURE node");
        assert!(reader.formats(Flow::Capture).is_empty());
        writer.start();
        assert_eq!(reader.formats(Flow::Capture).len(), 1);
        writer.stop();
    }
}
