//! Tests the identity v4l2loopback: sequence numbers, controls, and files in sysfs.

use super::*;
use crate::loopback::settings::Settings;
use vb3_queue::DriverError;

const BUSY: DriverError = DriverError(16);

/// Opens a node twice. Returns a writer, a reader and the node's state.
fn files(options: &str) -> (Writer, Reader, Link) {
    let nodes = nodes(&format!(",identity=v4l2loopback{options}"));
    let [node] = &nodes[..] else {
        panic!("{} nodes", nodes.len());
    };
    let DeviceKind::LoopbackNode { link, .. } = &node.kind else {
        panic!("{:?}", node.kind);
    };
    let output = LoopbackOutput::new(node, &place()).expect("a writer");
    let capture = LoopbackCapture::new(node, &place()).expect("a reader");
    (Bench::new(output, 2), Bench::new(capture, 2), link.clone())
}

/// Dequeues the reader's next frame. Returns sequence and first byte.
fn next(reader: &mut Reader, now_ns: u64) -> Option<(u32, u8)> {
    reader.tick(now_ns);
    let info = reader.take().ok()?;
    let byte = reader.plane(info.index, 0)[0];
    reader.queue(info.index);
    Some((info.sequence, byte))
}

fn set(link: &Link, settings: Settings) {
    link.lock().settings = Some(settings);
}

#[test]
fn sequence_counts_frames_of_all_writers() {
    let (mut writer, mut reader, _link) = files("");
    reader.queue(0);
    let mut session = reader.queue.session(&reader.memory, &mut reader.device);
    assert!(session.streamon().is_err(), "there is no writer");
    writer.start();
    (1..=5).for_each(|value| write(&mut writer, value, START));
    reader.start();
    assert_eq!(next(&mut reader, START), Some((4, 5)));
    writer.stop();
    writer.start();
    write(&mut writer, 6, START);
    assert_eq!(next(&mut reader, START), Some((5, 6)));
}

#[test]
fn sustained_rate_repeats_the_newest_frame() {
    let (mut writer, mut reader, link) = files(",fps=25");
    set(
        &link,
        Settings {
            sustain_framerate: true,
            ..Settings::default()
        },
    );
    writer.start();
    reader.queue(0);
    reader.start();
    write(&mut writer, 7, START);
    assert_eq!(next(&mut reader, START), Some((0, 7)));
    for due in [60, 100, 140] {
        let now_ns = START + due * MS;
        assert_eq!(next(&mut reader, now_ns - 1), None, "{due} ms");
        assert_eq!(next(&mut reader, now_ns), Some((0, 7)), "{due} ms");
    }
    write(&mut writer, 8, START + 150 * MS);
    assert_eq!(next(&mut reader, START + 150 * MS), Some((1, 8)));
    assert_eq!(reader.device.next_tick(), Some(START + 210 * MS));
}

#[test]
fn timeout_shows_an_image_once_in_its_time() {
    let (mut writer, mut reader, link) = files("");
    let settings = Settings {
        timeout_ms: 300,
        ..Settings::default()
    };
    set(&link, settings);
    writer.start();
    reader.queue(0);
    reader.start();
    write(&mut writer, 7, START);
    assert_eq!(next(&mut reader, START), Some((0, 7)));
    assert_eq!(next(&mut reader, START + 299 * MS), None);
    assert_eq!(next(&mut reader, START + 300 * MS), Some((0, 16)), "black");
    let image = Settings {
        timeout_image_io: true,
        ..settings
    };
    set(&link, image);
    let node = nodes(",identity=v4l2loopback").remove(0);
    let of_link = DeviceSpec {
        kind: DeviceKind::LoopbackNode {
            link: link.clone(),
            exclusive: false,
        },
        ..node
    };
    let output = LoopbackOutput::new(&of_link, &place()).expect("an image's writer");
    let mut painter = Bench::new(output, 1);
    assert_eq!(link.lock().settings, Some(settings), "one file provides it");
    painter.start();
    write(&mut painter, 99, START + 400 * MS);
    assert_eq!(next(&mut reader, START + 599 * MS), None);
    assert_eq!(next(&mut reader, START + 600 * MS), Some((0, 99)));
}

#[test]
fn keep_format_and_readers_fix_the_format() {
    let (mut writer, reader, link) = files("");
    drop(reader);
    link.lock().unhold(2);
    link.lock().unhold(2);
    let format = writer.device.format(Flow::Output);
    let mut wanted = format;
    (wanted.width, wanted.height) = (32, 16);
    assert_eq!(writer.device.try_format(Flow::Output, &wanted).width, 32);
    assert_eq!(link.attribute(LoopbackAttribute::State), "output\n");
    set(
        &link,
        Settings {
            keep_format: true,
            ..Settings::default()
        },
    );
    let other = writer.device.try_format(Flow::Output, &wanted);
    assert_eq!(other.width, 32, "no program has set a format yet");
    let set = writer.device.set_format(Flow::Output, &format, false);
    assert_eq!(set, Ok(()));
    assert_eq!(writer.device.try_format(Flow::Output, &wanted), format);
    assert_eq!(writer.device.formats(Flow::Output).len(), 1);
    assert_eq!(link.attribute(LoopbackAttribute::State), "capture\n");
    let (writer, _reader, _) = files("");
    assert_eq!(writer.device.try_format(Flow::Output, &wanted).width, 16);
}

#[test]
fn a_second_file_cannot_write() {
    let (writer, _reader, link) = files("");
    let node = nodes(",identity=v4l2loopback").remove(0);
    let other = DeviceSpec {
        kind: DeviceKind::LoopbackNode {
            link: link.clone(),
            exclusive: false,
        },
        ..node
    };
    let mut other = LoopbackOutput::<u32>::new(&other, &place()).expect("a second file");
    let format = other.format(Flow::Output);
    let setup = |other: &mut LoopbackOutput<u32>| {
        let mut driver = other.queue_driver(Flow::Output);
        driver.queue_setup(None).map(drop)
    };
    assert_eq!(setup(&mut other), Err(BUSY));
    assert_eq!(other.set_format(Flow::Output, &format, false), Err(BUSY));
    (0..2).for_each(|_| link.lock().unclaim(writer.device.engine.id()));
    assert_eq!(setup(&mut other), Ok(()));
}

#[test]
fn sysfs_shows_and_takes_what_the_driver_does() {
    use LoopbackAttribute::{Buffers, Format, MaxOpeners, State};
    let (mut writer, _reader, link) = files(",fps=30000/1001");
    assert_eq!(link.attribute(Format), "YUYV:16x8@30000/1001\n");
    assert_eq!(link.attribute(Buffers), "2\n");
    writer.start();
    assert_eq!(link.attribute(State), "capture\n");
    for (text, errno) in [
        ("@25", None),
        ("@50/2\n", None),
        ("@1001", Some(22)),
        ("@0/1", Some(22)),
        ("@25/0", Some(22)),
        ("25", Some(22)),
        ("YUYV:32x16@25", Some(22)),
        ("@99999999999", Some(22)),
    ] {
        assert_eq!(link.set_attribute(Format, text).err(), errno, "{text}");
    }
    assert_eq!(link.attribute(Format), "YUYV:16x8@50/2\n");
    for (text, errno) in [("1", None), ("-1", Some(22)), ("4294967295", Some(22))] {
        assert_eq!(link.set_attribute(MaxOpeners, text).err(), errno, "{text}");
    }
    assert_eq!(link.attribute(MaxOpeners), "1\n");
    assert!(link.lock().open().is_some());
    assert!(link.lock().open().is_none());
    assert_eq!(link.set_attribute(MaxOpeners, "0"), Err(22));
    assert_eq!(link.set_attribute(State, "output"), Err(5));
}
