//! Tests the identity v4l2loopback: sequence numbers, controls, and files in sysfs.

use super::*;
use crate::hosted::HostedDevice as _;
use crate::loopback::state::Settings;
use crate::m2m::tests::bench as m2m;
use crate::node::{NodePart, NodeSpec};
use crate::registry;
use vb3_queue::DriverError;
use vb3_v4l2::{ControlValue, DriverEvent, FourCc, FrameSizes, pixfmt, with_queue_driver};

const BUSY: DriverError = DriverError::EBUSY;

/// Opens a node twice. Returns a writer, a reader and the node's state.
fn files(options: &str) -> (Writer, Reader, Link) {
    let nodes = nodes(&format!(",identity=v4l2loopback{options}"));
    let [node] = &nodes[..] else {
        panic!("{} nodes", nodes.len());
    };
    let NodePart::Loopback(link, _) = &node.part else {
        panic!("{:?}", node.part);
    };
    (
        Bench::new(output(node), 2),
        Bench::new(capture(node), 2),
        link.clone(),
    )
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
    assert!(reader.try_start().is_err(), "there is no writer");
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
    let of_link = NodeSpec {
        part: NodePart::Loopback(link.clone(), None),
        ..node
    };
    let mut painter = Bench::new(output(&of_link), 1);
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

/// Source: v4l2loopback 0.13.2 `v4l2l_fill_format`.
#[test]
fn unknown_formats_are_refused_until_one_is_fixed() {
    let (mut writer, reader, _link) = files("");
    let (known, unknown) = (pixfmt::RGB24.fourcc, FourCc(0x656e_6f6e));
    let refused = |writer: &Writer, fourcc| {
        let of_reader = reader.device.refuses_format(Flow::Capture, fourcc);
        assert_eq!(
            writer.device.refuses_format(Flow::Output, fourcc),
            of_reader
        );
        of_reader
    };
    assert_eq!(
        (refused(&writer, known), refused(&writer, unknown)),
        (false, true)
    );
    writer.start();
    assert!(
        !refused(&writer, unknown),
        "the writer's format replaces it"
    );
    let (own, _) = pair("", 1);
    assert!(!own.device.refuses_format(Flow::Output, unknown));
}

#[test]
fn sizes_and_rates_are_free() {
    let (writer, reader, link) = files(",fps=25");
    drop(reader);
    (0..2).for_each(|_| link.lock().unhold(2));
    let mut wanted = writer.device.format(Flow::Output);
    for (asked, given) in [
        ((641, 481), (641, 481)),
        ((9000, 9000), (8192, 8192)),
        ((1, 0), (2, 480)),
    ] {
        (wanted.width, wanted.height) = asked;
        let format = writer.device.try_format(Flow::Output, &wanted);
        assert_eq!((format.width, format.height), given);
        let needed = given.0 * given.1 * 2;
        assert!(format.planes[0].sizeimage >= needed, "{format:?}");
    }
    let sizes = FrameSizes::Stepwise {
        width: (2, 8192, 1),
        height: (1, 8192, 1),
    };
    assert_eq!(writer.device.frame_sizes(&pixfmt::YUYV), sizes);
    let mut writer = writer;
    for (wanted, set) in [
        ((1, 1000), (1, 1000)),
        ((1, 1001), (1, 1000)),
        ((3600, 1), (3600, 1)),
        ((0, 7), (1, 1000)),
        ((7, 0), (u32::MAX, 1)),
        ((0, 0), (1, 25)),
    ] {
        let wanted = Fraction::new(wanted.0, wanted.1);
        writer.device.set_interval(Flow::Output, wanted);
        let found = writer.device.interval(Flow::Output);
        assert_eq!(found, Some(Fraction::new(set.0, set.1)), "{wanted:?}");
    }
}

/// A timeout image cannot be drawn in every size that programs can set.
#[test]
fn odd_sizes_have_no_timeout_image() {
    let (mut writer, mut reader, link) = files("");
    (0..2).for_each(|_| link.lock().unhold(2));
    writer.release();
    let mut format = writer.device.format(Flow::Output);
    (format.width, format.height) = (17, 9);
    let format = writer.device.try_format(Flow::Output, &format);
    writer
        .device
        .set_format(Flow::Output, &format, false)
        .expect("no buffers");
    let settings = Settings {
        timeout_ms: 300,
        keep_format: true,
        ..Settings::default()
    };
    set(&link, settings);
    reader.release();
    reader.make(1);
    reader.queue(0);
    reader.start();
    assert_eq!(next(&mut reader, START), None);
    assert_eq!(reader.device.next_tick(), None, "it waits for the writer");
}

/// Source: v4l2loopback 0.13.2 `vidioc_qbuf`.
#[test]
fn short_frames_reach_readers() {
    let (mut writer, mut reader, _link) = files("");
    writer.start();
    reader.queue(0);
    reader.start();
    for (index, used) in [(0, 100), (1, FRAME)] {
        writer.plane(index, 0).fill(7);
        writer
            .try_queue(index, &[used])
            .expect("any length is taken");
        writer.tick(START);
        reader.tick(START);
        let info = reader.take().expect("a frame");
        let plane = info.planes[0].expect("a plane");
        assert_eq!(plane.payload_bytes, used);
        reader.queue(info.index);
    }
    let (mut own, _reader) = pair("", 1);
    assert!(
        own.try_queue(0, &[100]).is_err(),
        "another loopback's are whole"
    );
}

/// Source: v4l2loopback 0.13.2 `vidioc_enum_framesizes`.
#[test]
fn another_file_fixes_the_sizes() {
    let spec = nodes(",identity=v4l2loopback").remove(0);
    let NodePart::Loopback(link, _) = &spec.part else {
        panic!("{:?}", spec.part);
    };
    let node = || {
        LoopbackNode::<u32>::new(&registry::settings(&spec, &host()), link, false).expect("a file")
    };
    let (mut first, second) = (node(), node());
    let is_one = |node: &LoopbackNode<u32>| {
        let sizes = node.frame_sizes(&pixfmt::YUYV);
        matches!(sizes, FrameSizes::One(..))
    };
    assert!(!is_one(&first) && !is_one(&second));
    let format = first.format(Flow::Output);
    first
        .set_format(Flow::Output, &format, false)
        .expect("nothing streams");
    assert!(!is_one(&first), "its own format");
    assert!(is_one(&second));
    drop(first);
    assert!(!is_one(&second));
}

#[test]
fn a_second_file_cannot_write() {
    let (writer, _reader, link) = files("");
    let node = nodes(",identity=v4l2loopback").remove(0);
    let other = NodeSpec {
        part: NodePart::Loopback(link.clone(), None),
        ..node
    };
    let mut other = output(&other);
    let format = other.format(Flow::Output);
    let setup = |other: &mut LoopbackOutput<u32>| {
        with_queue_driver(other, Flow::Output, |driver| {
            driver.queue_setup(None).map(drop)
        })
        .expect("it acts")
    };
    assert_eq!(setup(&mut other), Err(BUSY));
    assert_eq!(other.set_format(Flow::Output, &format, false), Err(BUSY));
    (0..2).for_each(|_| link.lock().unhold(writer.device.stream.formats.id));
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
        ("@30000/1001", None),
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

/// Opens a node once more.
fn file(spec: &NodeSpec) -> m2m::Bench<LoopbackNode<u32>> {
    let NodePart::Loopback(link, _) = &spec.part else {
        panic!("{:?}", spec.part);
    };
    let exclusive = true;
    m2m::Bench::new(
        LoopbackNode::new(&registry::settings(spec, &host()), link, exclusive).expect("a file"),
    )
}

#[test]
fn one_node_is_written_and_read() {
    let spec = nodes(",identity=v4l2loopback").remove(0);
    let (mut writer, mut reader) = (file(&spec), file(&spec));
    let role = |file: &m2m::Bench<LoopbackNode<u32>>| {
        let device = &file.device;
        let [reads, writes] = [Flow::Capture, Flow::Output].map(|flow| device.announces(flow));
        (reads, writes, device.input_status() == 0)
    };
    assert_eq!(role(&reader), (false, true, false));
    writer.make(Flow::Output, 2);
    writer.start(Flow::Output);
    assert_eq!(role(&reader), (true, false, true));
    assert_eq!(
        role(&writer),
        (true, true, true),
        "it has the OUTPUT buffers"
    );
    reader.make(Flow::Capture, 2);
    reader.queue_empty(0);
    reader.start(Flow::Capture);
    let frame = [7; 16 * 8 * 2];
    writer.send(0, &[&frame], 0);
    (writer.now_ns, reader.now_ns) = (START, START);
    writer.work();
    reader.work();
    let info = reader.try_take(Flow::Capture).expect("a frame");
    assert_eq!((info.sequence, info.error), (0, false));
    assert!(reader.plane(Flow::Capture, 0, 0).starts_with(&frame));
    let used = [writer, reader].map(|file| {
        let statistics = file.device.statistics();
        statistics.dropped + statistics.bus_faults
    });
    assert_eq!(used, [0, 0]);
}

#[test]
fn a_control_set_in_one_file_is_an_event_in_the_other() {
    const TIMEOUT: u32 = 0x0098_f902;
    let spec = nodes(",identity=v4l2loopback").remove(0);
    let (mut first, mut second) = (file(&spec), file(&spec));
    let value = ControlValue::Number(250);
    assert_eq!(first.device.set_control(TIMEOUT, &value), Ok(()));
    let timeout = |file: &m2m::Bench<LoopbackNode<u32>>| {
        let all = file.device.controls().into_iter();
        let mut own = all.filter(|control| control.id == TIMEOUT);
        own.next().and_then(|control| control.initial)
    };
    assert_eq!((timeout(&first), timeout(&second)), (Some(250), Some(0)));
    assert_eq!(first.device.next_tick(), None, "its own change is no news");
    assert_eq!(second.device.next_tick(), Some(0));
    first.tick();
    second.tick();
    assert_eq!(first.events, []);
    let event = DriverEvent::Control { id: TIMEOUT, value };
    assert_eq!(second.events, [event]);
    assert_eq!(
        (timeout(&second), second.device.next_tick()),
        (Some(250), None)
    );
    second
        .device
        .set_interval(Flow::Capture, Fraction::new(1, 50));
    let rate = first.device.interval(Flow::Output);
    assert_eq!(rate, Some(Fraction::new(1, 50)));
}

#[test]
fn each_control_sets_its_own_value() {
    let mut settings = Settings::default();
    for (offset, value) in [(0, 1), (1, 1), (2, 300), (3, 0), (4, 7)] {
        settings.set(0x0098_f900 + offset, value);
    }
    let wanted = Settings {
        keep_format: true,
        sustain_framerate: true,
        timeout_ms: 300,
        timeout_image_io: true,
    };
    assert_eq!(settings, wanted);
    (0..2).for_each(|offset| settings.set(0x0098_f900 + offset, 0));
    assert!(!settings.keep_format && !settings.sustain_framerate);
}

#[test]
fn sysfs_names_a_rate_as_a_number_or_a_fraction() {
    let names = LoopbackAttribute::ALL.map(LoopbackAttribute::name);
    assert_eq!(names, ["format", "buffers", "max_openers", "state"]);
    let (_writer, _reader, link) = files("");
    for (rate, shown) in [("@25", "@25\n"), ("@30000/1001", "@30000/1001\n")] {
        let format = LoopbackAttribute::Format;
        assert_eq!(link.set_attribute(format, rate), Ok(()));
        let text = link.attribute(format);
        assert!(text.ends_with(shown), "{text}");
    }
}

#[test]
fn a_node_offers_what_its_side_offers() {
    fn offered(device: &LoopbackNode<u32>) -> (bool, FrameSizes<'_>) {
        let intervals = device.frame_intervals(&pixfmt::YUYV, 16, 8);
        let is_free = !matches!(intervals, Some(vb3_v4l2::FrameIntervals::One(_)));
        (is_free, device.frame_sizes(&pixfmt::YUYV))
    }

    let spec = nodes(",identity=v4l2loopback").remove(0);
    let mut node = file(&spec);
    let device = &node.device;
    assert_eq!(device.role(), vb3_v4l2::Role::Duplex);
    assert_eq!(device.planarity(), vb3_v4l2::Planarity::Single);
    assert_eq!((device.failure(), device.is_preparing()), (None, false));
    let free = FrameSizes::Stepwise {
        width: (2, 8192, 1),
        height: (1, 8192, 1),
    };
    assert_eq!(offered(device), (true, free));
    // Another file's format is the only one.
    let mut writer = file(&spec);
    writer.make(Flow::Output, 1);
    let only = FrameSizes::One(16, 8);
    assert_eq!(offered(&node.device), (false, only));
    node.device.work_at_once();
    assert!(!node.device.has_begun());
}
