use super::*;
use crate::node::{NodePart, NodeSpec};
use crate::registry;
use crate::spec::{DeviceKind, DeviceSpec};
use crate::tests::bench::{Bench, OtherMemory, host};
use vb3_v4l2::{Flow, VideoDriver as _, Waiter, pixfmt};

mod pieces;
mod placeholder;
mod stamps;
mod v4l2loopback;

const MS: u64 = 1_000_000;
const START: u64 = 1_000 * MS;

type Writer = Bench<LoopbackOutput<u32>>;
type Reader = Bench<LoopbackCapture<u32>>;

/// Bytes of a frame.
const FRAME: u64 = 16 * 8 * 2;

fn nodes(options: &str) -> Vec<NodeSpec> {
    let size = if options.contains("size=") {
        ""
    } else {
        ",size=16x8"
    };
    let spec = format!("loopback{size}{options}").parse();
    let spec: DeviceSpec = spec.expect("a SPEC");
    spec.nodes().expect("nodes")
}

fn output(node: &NodeSpec) -> LoopbackOutput<u32> {
    let NodePart::Loopback(link, _) = &node.part else {
        panic!("{:?}", node.part);
    };
    LoopbackOutput::new(
        &registry::settings(node, &host()),
        link,
        node.is_v4l2loopback(),
    )
}

fn capture(node: &NodeSpec) -> LoopbackCapture<u32> {
    let (NodePart::Loopback(link, _), DeviceKind::Loopback { exclusive, .. }) =
        (&node.part, &node.kind)
    else {
        panic!("{node:?}");
    };
    LoopbackCapture::new(&registry::settings(node, &host()), link, *exclusive)
}

/// A loopback whose nodes are on one machine, as on a host.
struct Pair {
    writer: Writer,
    readers: Vec<Reader>,
    /// Pairs of planes of the first reader and of the writer that have the same memory.
    same: Vec<(u32, u32)>,
}

impl Pair {
    fn new(options: &str, (written, read): (u32, u32)) -> Self {
        let nodes = nodes(options);
        let reader = |node| Bench::new(capture(node), read);
        Self {
            writer: Bench::new(output(&nodes[0]), written),
            readers: nodes[1..].iter().map(reader).collect(),
            same: Vec::new(),
        }
    }

    /// Makes a pair whose nodes stream, with all readers' buffers queued.
    fn started(options: &str, (written, read): (u32, u32)) -> Self {
        let mut pair = Self::new(options, (written, read));
        pair.writer.start();
        for reader in &mut pair.readers {
            (0..read).for_each(|index| reader.queue(index));
            reader.start();
        }
        pair
    }

    /// Fills a writer's buffer with bytes of one value and queues it.
    fn fill(&mut self, index: u32, value: u8) {
        self.writer.plane(index, 0).fill(value);
        self.writer.queue(index);
    }

    /// Runs all nodes once, the writer's first. Returns the number of buffers that the writer got back.
    fn tick(&mut self, now_ns: u64) -> usize {
        let mut nothing = crate::tests::bench::BenchMemory::default();
        let other = &mut nothing;
        let beside = OtherMemory { other, same: &[] };
        let came = self.writer.tick_with_other(now_ns, beside);
        for (at, reader) in self.readers.iter_mut().enumerate() {
            let same = if at == 0 { &self.same[..] } else { &[] };
            let other = &mut self.writer.memory;
            reader.tick_with_other(now_ns, OtherMemory { other, same });
        }
        came
    }

    /// Waits for a buffer as a writer does. Returns the number of ticks until it has one.
    fn wait(&mut self, now_ns: u64) -> (u32, u32) {
        for ticks in 0..4 {
            if let Ok(info) = self.writer.take() {
                return (ticks, info.index);
            }
            self.writer.device.note_waiter(Flow::Output, Waiter::Waits);
            self.tick(now_ns);
        }
        panic!("the writer hangs");
    }

    /// Dequeues a reader's next frame. Returns buffer, sequence and first byte.
    fn got(&mut self, reader: usize) -> Option<(u32, u32, u8)> {
        let reader = &mut self.readers[reader];
        let info = reader.take().ok()?;
        assert!(!info.error);
        let bytes = &*reader.plane(info.index, 0);
        assert!(bytes.iter().all(|byte| *byte == bytes[0]), "a torn frame");
        Some((info.index, info.sequence, bytes[0]))
    }

    /// Returns how many bytes the writer's node has copied, and how many the readers' nodes.
    fn copied(&self) -> (u64, u64) {
        let readers = self.readers.iter();
        let read = readers.map(|reader| reader.device.statistics().bytes_copied);
        (self.writer.device.statistics().bytes_copied, read.sum())
    }
}

fn pair(options: &str, buffers: u32) -> (Writer, Reader) {
    let Pair {
        writer,
        mut readers,
        ..
    } = Pair::new(options, (buffers, buffers));
    (writer, readers.remove(0))
}

/// Writes a frame with bytes of one value from buffer 0.
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
    // The nodes do not reach each other's memory, so each frame is copied in and out.
    assert_eq!(writer.device.statistics().bytes_copied, 3 * 256);
    assert_eq!(reader.device.statistics().bytes_copied, 3 * 256);
}

#[test]
fn late_reader_gets_newest_slow_one_misses_frames() {
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
    // The writer ends while the reader has not got its last frames.
    (20..=24).for_each(|value| write(&mut writer, value, START));
    writer.stop();
    reader.tick(START);
    assert_eq!(reader.device.statistics().dropped, 6 + 8);
    writer.start();
    write(&mut writer, 25, START);
    reader.queue(0);
    assert_eq!(reader.tick(START), 1);
    assert_eq!(reader.take().expect("a frame").sequence, 16);
    assert_eq!(reader.device.statistics().dropped, 6 + 8);
}

/// A reader that has no buffer at the device gets no tick after the writer's end.
#[test]
fn frames_missed_at_the_end_count_at_streamoff() {
    let (mut writer, mut reader) = pair("", 2);
    writer.start();
    reader.start();
    (0..7).for_each(|value| write(&mut writer, value, START));
    writer.stop();
    reader.stop();
    assert_eq!(reader.device.statistics().dropped, 7);
}

/// With `pace=real`, the loopback takes a frame in each interval. A late writer does not catch up.
#[test]
fn a_paced_writer_keeps_the_rate() {
    let mut pair = Pair::started(",fps=20,pace=real", (3, 4));
    (0..3).for_each(|index| pair.fill(index, index as u8));
    let due = |pair: &Pair| pair.writer.device.next_tick();
    pair.tick(START);
    assert_eq!(
        (pair.got(0), due(&pair)),
        (Some((0, 0, 0)), Some(START + 50 * MS))
    );
    // The writer waits for a buffer. It gets the first one when the second frame is due, without a copy.
    pair.writer.device.note_waiter(Flow::Output, Waiter::Waits);
    pair.tick(START + 49 * MS);
    assert_eq!((pair.got(0), due(&pair)), (None, Some(START + 50 * MS)));
    pair.tick(START + 53 * MS);
    assert_eq!(pair.got(0), Some((1, 1, 1)));
    assert_eq!((due(&pair), pair.copied().0), (Some(START + 100 * MS), 0));
    pair.tick(START + 100 * MS);
    assert_eq!(pair.got(0), Some((2, 2, 2)));
    assert_eq!(pair.writer.take().map(|info| info.timestamp_ns), Ok(START));
    pair.fill(0, 3);
    pair.tick(START + 900 * MS);
    assert_eq!(pair.got(0), Some((3, 3, 3)));
    assert_eq!(pair.writer.take().map(|info| info.index), Ok(1));
    pair.fill(1, 4);
    assert_eq!(
        due(&pair),
        Some(START + 950 * MS),
        "no frame is made up for"
    );
}

#[test]
fn readers_with_buffers_keep_their_format() {
    let (mut writer, mut reader) = pair("", 2);
    let format = writer.device.format(Flow::Output);
    let mut wanted = format;
    wanted.fourcc = pixfmt::MJPEG.fourcc;
    (wanted.width, wanted.height) = (32, 16);
    let wanted = writer.device.try_format(Flow::Output, &wanted);
    // The reader has buffers. They fix the layout of its format, but not its colours.
    let mut other_colors = format;
    other_colors.color.colorspace = 3;
    writer
        .device
        .set_format(Flow::Output, &other_colors, false)
        .expect("buffers stay as they are");
    assert_eq!(reader.device.format(Flow::Capture), other_colors);
    writer
        .device
        .set_format(Flow::Output, &wanted, false)
        .expect("readers follow");
    assert_eq!(reader.device.format(Flow::Capture), format);
    reader.release();
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

/// The reader gets an event, and no frames until it has buffers of the next writer's size.
#[test]
fn a_reader_follows_a_writer_of_another_size() {
    let (mut writer, mut reader) = pair("", 2);
    reader.start();
    (0..2).for_each(|index| reader.queue(index));
    writer.start();
    write(&mut writer, 1, START);
    assert_eq!(reader.tick(START), 1);
    assert!(reader.events.is_empty());
    writer.stop();
    writer.release();
    let mut larger = writer.device.format(Flow::Output);
    (larger.width, larger.height) = (32, 16);
    let larger = writer.device.try_format(Flow::Output, &larger);
    let set = writer.device.set_format(Flow::Output, &larger, false);
    set.expect("readers follow");
    assert_eq!(reader.device.next_tick(), Some(0));
    reader.tick(START);
    let change = vb3_v4l2::DriverEvent::SourceChange {
        port: 0,
        changes: 1,
    };
    assert_eq!(std::mem::take(&mut reader.events), [change]);
    assert!(reader.outdated);
    writer.make(2);
    writer.start();
    writer.queue(0);
    assert_eq!((writer.tick(START), reader.tick(START)), (1, 0));
    assert_eq!(reader.device.next_tick(), None, "its buffers are too small");
    reader.stop();
    assert!(reader.try_start().is_err(), "no frame would come");
    reader.release();
    assert_eq!(reader.device.format(Flow::Capture), larger);
    reader.make(2);
    reader.queue(0);
    reader.start();
    assert_eq!(reader.tick(START), 1);
    let info = reader.take().expect("a frame of the new size");
    assert_eq!(
        info.planes[0].map(|plane| plane.payload_bytes),
        Some(32 * 16 * 2)
    );
    assert!(reader.events.is_empty() && !reader.outdated);
}

#[test]
fn line_lengths_left_from_g_fmt_are_forgotten() {
    let (writer, _) = pair(",size=64x48", 1);
    let line = |width, bytesperline| {
        let mut wanted = writer.device.format(Flow::Output);
        wanted.width = width;
        wanted.planes[0].bytesperline = bytesperline;
        writer.device.try_format(Flow::Output, &wanted).planes[0].bytesperline
    };
    assert_eq!(line(32, 128), 64, "128 is the line of 64 pixels");
    assert_eq!((line(32, 192), line(64, 192)), (192, 192), "wanted padding");
}

#[test]
fn exclusive_nodes_have_no_format_without_writer() {
    let nodes = nodes(",exclusive-caps=on,readers=2");
    assert_eq!(nodes.len(), 3);
    let mut writer = Bench::new(output(&nodes[0]), 1);
    for node in &nodes[1..] {
        let reader = capture(node);
        assert!(reader.formats(Flow::Capture).is_empty());
        writer.start();
        assert_eq!(reader.formats(Flow::Capture).len(), 1);
        writer.stop();
    }
}

/// The writer has two buffers and the reader is fast, so each frame is copied directly between buffers.
#[test]
fn a_frame_is_copied_once() {
    let mut pair = Pair::started("", (2, 4));
    pair.fill(0, 1);
    assert_eq!(
        pair.tick(START),
        0,
        "the newest stays for those who come late"
    );
    assert_eq!(
        pair.writer.device.next_tick(),
        None,
        "nothing is to be done"
    );
    for number in 1..10u32 {
        let value = u8::try_from(number).expect("a small number");
        let (index, sequence, first) = pair.got(0).expect("a frame");
        assert_eq!((sequence, first), (number - 1, value));
        pair.readers[0].queue(index);
        pair.fill(number % 2, value + 1);
        assert_eq!(pair.tick(START + u64::from(number)), 1);
        let info = pair.writer.take().expect("the one before");
        let wanted = ((number - 1) % 2, number - 1, START + u64::from(number - 1));
        assert_eq!((info.index, info.sequence, info.timestamp_ns), wanted);
        assert!(!info.error);
    }
    assert_eq!(pair.copied(), (0, 10 * FRAME));
}

/// A writer that looks for a buffer gets one, even if no reader takes frames. The loopback copies that buffer's frame.
#[test]
fn a_writer_waits_for_nobody() {
    for buffers in [1, 2] {
        for reads in [false, true] {
            let mut pair = Pair::started("", (buffers, 2));
            let mut free: Vec<u32> = (0..buffers).collect();
            for value in 1..=20 {
                if free.is_empty() {
                    let (ticks, index) = pair.wait(START);
                    assert!(ticks <= 2, "{ticks} ticks");
                    free.push(index);
                }
                pair.fill(free.remove(0), value);
                pair.tick(START);
                if reads {
                    let (index, _, first) = pair.got(0).expect("each frame");
                    assert_eq!(first, value);
                    pair.readers[0].queue(index);
                }
            }
            let (written, read) = pair.copied();
            match (buffers, reads) {
                // The writer needs its only buffer before there is a newer frame.
                (1, true) => assert_eq!((written, read), (19 * FRAME, 20 * FRAME)),
                (_, true) => assert_eq!((written, read), (0, 20 * FRAME)),
                // Two frames were copied directly to the reader's buffers. One frame, or two, is kept at the
                // end.
                (buffers, false) => {
                    assert_eq!(read, 2 * FRAME);
                    let kept = u64::from(buffers);
                    assert!(written >= (18 - kept) * FRAME && written <= 19 * FRAME);
                }
            }
            // Up to four unread frames are still there.
            if !reads {
                let indexes: Vec<_> = (0..2).map(|_| pair.got(0).expect("the first")).collect();
                assert_eq!([indexes[0].2, indexes[1].2], [1, 2]);
                (0..2).for_each(|index| pair.readers[0].queue(index));
                pair.tick(START);
                assert_eq!(
                    pair.got(0).map(|(_, sequence, first)| (sequence, first)),
                    Some((16, 17))
                );
                assert_eq!(pair.readers[0].device.statistics().dropped, 14);
            }
        }
    }
}

/// A waiting writer gets a buffer without a copy if readers only need one tick to read the frame.
#[test]
fn readers_have_their_turn_before_anything_is_copied() {
    let mut pair = Pair::started("", (2, 4));
    pair.fill(0, 1);
    pair.fill(1, 2);
    pair.writer.device.note_waiter(Flow::Output, Waiter::Waits);
    assert_eq!(pair.writer.device.next_tick(), Some(0));
    assert_eq!(pair.tick(START), 0);
    assert_eq!(pair.writer.device.next_tick(), Some(0));
    assert_eq!(pair.tick(START), 1);
    assert_eq!(pair.writer.device.next_tick(), None);
    assert_eq!(pair.copied(), (0, 2 * FRAME));
    assert_eq!(pair.writer.take().map(|info| info.index), Ok(0));
}

/// A program that looks once per buffer, as GStreamer's sink does, does not wait. One that looks twice does.
#[test]
fn who_looks_and_goes_on_is_no_waiter() {
    let mut pair = Pair::started("", (2, 4));
    let look = |pair: &mut Pair| {
        let device = &mut pair.writer.device;
        device.note_waiter(Flow::Output, Waiter::GoesOn);
        device.next_tick()
    };
    pair.fill(0, 1);
    pair.tick(START);
    assert_eq!(look(&mut pair), None);
    pair.fill(1, 2);
    assert_eq!(
        pair.tick(START),
        1,
        "the first, of which readers have a copy"
    );
    assert_eq!(look(&mut pair), None);
    assert_eq!(pair.copied(), (0, 2 * FRAME));
    assert_eq!(look(&mut pair), Some(0));
    assert_eq!(pair.tick(START) + pair.tick(START), 1);
    assert_eq!(pair.copied(), (FRAME, 2 * FRAME));
}

#[test]
fn late_readers_share_or_copy_newest_frame() {
    for asks in [false, true] {
        let mut pair = Pair::new("", (2, 2));
        pair.writer.start();
        pair.fill(0, 1);
        pair.tick(START);
        if asks {
            assert_eq!(pair.wait(START), (2, 0));
            // The reader does not see later changes of the writer's buffer.
            pair.writer.plane(0, 0).fill(99);
        }
        pair.readers[0].queue(0);
        pair.readers[0].start();
        pair.tick(START);
        assert_eq!(pair.got(0), Some((0, 0, 1)));
        let written = if asks { FRAME } else { 0 };
        assert_eq!(pair.copied(), (written, FRAME));
    }
}

#[test]
fn a_stop_takes_the_writers_buffers_back() {
    let mut pair = Pair::new("", (3, 1));
    pair.writer.start();
    (0..3).for_each(|index| pair.fill(index, 1));
    pair.tick(START);
    let stale = |pair: &Pair| pair.writer.queue.statistics().stale_tokens;
    pair.writer.stop();
    pair.tick(START);
    assert_eq!(stale(&pair), 0);
    // The stop dropped the written frames, and the next stream begins without frames.
    pair.writer.start();
    assert_eq!(pair.tick(START), 0);
    pair.fill(0, 7);
    pair.tick(START);
    assert_eq!(pair.wait(START), (2, 0));
}

/// The reader cannot read the writer's buffer. The writer gets it back with an error, and the reader's buffer
/// stays for the next frame.
#[test]
fn a_frame_that_is_lost_is_the_writers_fault() {
    let mut pair = Pair::new("", (2, 1));
    pair.writer.start();
    pair.fill(0, 1);
    pair.tick(START);
    pair.writer.memory.unmapped = vec![1];
    pair.readers[0].queue(0);
    pair.readers[0].start();
    pair.tick(START);
    assert_eq!(pair.tick(START), 1);
    assert!(pair.writer.take().expect("a buffer").error);
    assert_eq!(pair.writer.device.statistics().bus_faults, 1);
    assert_eq!(pair.got(0), None);
    pair.fill(1, 2);
    pair.tick(START);
    assert_eq!(pair.got(0), Some((0, 0, 2)));
    // This time the fault shows when the loopback takes the frame.
    pair.writer.memory.unmapped = vec![1];
    pair.fill(0, 3);
    assert_eq!(pair.tick(START), 1, "the one that is lost");
    assert!(pair.writer.take().expect("a buffer").error);
}

/// Reader and writer share buffers. Frames are passed on without a copy, and the writer gets a buffer
/// back when the reader has queued it again.
#[test]
fn shared_memory_is_passed_on() {
    let mut pair = Pair::started("", (3, 3));
    pair.same = (1..=3).map(|plane| (plane, plane)).collect();
    for round in 0..4u32 {
        for index in [1, 0, 2] {
            // The writer and the reader see one memory.
            let value = u8::try_from(1 + round * 3 + index).expect("a small number");
            pair.readers[0].plane(index, 0).fill(value);
            pair.fill(index, value);
            assert_eq!(pair.tick(START), 0, "the reader has it");
            let (got, _, first) = pair.got(0).expect("a frame");
            assert_eq!((got, first), (index, value));
        }
        for index in [1, 0, 2] {
            pair.readers[0].queue(index);
            assert_eq!(pair.tick(START), 0);
            assert_eq!(pair.wait(START), (1, index), "without a wait for a turn");
        }
    }
    assert_eq!(pair.copied(), (0, 0));
    let (writer, reader) = (&pair.writer.memory, &pair.readers[0].memory);
    let touched = |memory: &crate::tests::bench::BenchMemory| memory.accesses.len();
    assert_eq!((touched(writer), touched(reader)), (12, 0), "12 were noted");
}

/// A frame that begins at another offset than the reader's is copied, although the memory is the same.
#[test]
fn a_frame_behind_an_offset_is_not_passed_on() {
    let mut pair = Pair::new("", (0, 0));
    let mut format = pair.writer.device.format(Flow::Output);
    format.planes[0].sizeimage += 16;
    let set = pair.writer.device.set_format(Flow::Output, &format, false);
    set.expect("a larger buffer");
    pair.writer.make(1);
    pair.writer.start();
    pair.readers[0].make(1);
    pair.readers[0].queue(0);
    pair.readers[0].start();
    pair.same = vec![(1, 1)];
    pair.writer.plane(0, 0)[..16].fill(1);
    pair.writer.plane(0, 0)[16..].fill(2);
    pair.writer.try_queue_at(0, FRAME + 16, 16).expect("queued");
    pair.readers[0].plane(0, 0).fill(2);
    assert_eq!(pair.tick(START), 0);
    assert_eq!(pair.got(0), None, "nothing is written over it");
    assert_eq!(pair.copied(), (0, 0));
    assert_eq!(pair.wait(START), (2, 0));
}

/// A writer that shares its memory gets it back from a reader if it waits, and when the reader stops.
#[test]
fn reader_returns_loans_on_demand_or_stop() {
    let mut pair = Pair::started("", (1, 1));
    pair.same = vec![(1, 1)];
    pair.fill(0, 1);
    pair.tick(START);
    assert!(pair.got(0).is_some());
    assert_eq!(pair.wait(START), (2, 0));
    pair.readers[0].queue(0);
    pair.fill(0, 2);
    pair.tick(START);
    pair.readers[0].stop();
    assert_eq!(pair.tick(START), 1);
    assert_eq!(pair.copied(), (0, 0));
}

/// The first of two readers shares the writer's buffers. The other reader gets each frame as it was written,
/// even if the first reader changes the buffer.
#[test]
fn one_readers_memory_is_not_the_others() {
    let mut pair = Pair::started(",readers=2", (2, 1));
    pair.same = vec![(1, 1), (1, 2)];
    for (number, value) in (0..6u32).zip(10..) {
        let index = number % 2;
        pair.readers[0].plane(0, 0).fill(value);
        pair.fill(index, value);
        pair.tick(START);
        assert_eq!(pair.got(0), Some((0, number, value)));
        // The first reader may write to the buffer.
        pair.readers[0].plane(0, 0).fill(0);
        pair.writer.plane(index, 0).fill(0);
        assert_eq!(pair.got(1), Some((0, number, value)));
        (0..2).for_each(|reader| pair.readers[reader].queue(0));
        assert_eq!(pair.wait(START).1, index);
    }
    // Each frame is copied once for the second reader, and once to its buffer.
    assert_eq!(pair.copied(), (0, 6 * 2 * FRAME));
}

/// A copy never overwrites a frame that is still to be passed on.
#[test]
fn a_frame_to_pass_on_is_not_written_over() {
    let mut pair = Pair::started("", (3, 2));
    // The reader has planes 2 and 3 of the writer. Plane 1 belongs to the writer alone.
    pair.same = vec![(1, 2), (2, 3)];
    pair.fill(0, 1);
    for (index, value) in [(1, 2), (2, 3)] {
        pair.readers[0].plane(index - 1, 0).fill(value);
        pair.fill(index, value);
    }
    pair.tick(START);
    let got: Vec<_> = std::iter::from_fn(|| pair.got(0)).collect();
    assert_eq!(got.len(), 2);
    assert_eq!(
        got.iter().map(|(_, _, first)| *first).collect::<Vec<_>>(),
        [2, 3]
    );
    assert_eq!(pair.copied(), (0, 0));
}
