use super::*;
use crate::Device;
use crate::HostSettings;
use crate::registry;
use crate::sink::Counters;
use crate::surface::BufferPlanes;
use crate::tests::bench::{self, Bench, BenchMemory};
use std::sync::Arc;
use vb3_picture::{
    Background, Color, Frame, Matrix, Picture, Quantization, Size, read_number, render,
};
use vb3_queue::{Driver as _, PlaneSizes, PlaneView};
use vb3_v4l2::pixfmt::Sample;
use vb3_v4l2::{Colorimetry, PixelFormat, Statistics, VideoDriver as _, pixfmt};

const REC709: Color = Color {
    matrix: Matrix::Bt709,
    range: Quantization::Limited,
};

const MS: u64 = 1_000_000;
const START: u64 = 1_000 * MS;

fn display(spec: &str) -> Display<u32> {
    let mut display = unwatched(spec);
    display.engine.sink.reads_all = true;
    display
}

/// Makes a display whose pictures nothing reads.
fn unwatched(spec: &str) -> Display<u32> {
    registry::display(&spec.parse().expect("a SPEC"), &host()).expect("a display")
}

fn host() -> HostSettings {
    HostSettings {
        bus_info: "platform:vb3-001".into(),
        userptr: true,
        ..bench::host()
    }
}

impl<C> Display<C> {
    fn sink(&self) -> &Sink {
        &self.engine.sink
    }

    fn last(&self) -> Option<Arc<Frame>> {
        match &self.engine.last {
            LastShown::Picture { frame, .. } => Some(Arc::clone(frame)),
            _ => None,
        }
    }

    fn shown_last(&mut self) -> LastShown {
        Engine::<C>::last_shown(&mut self.engine).expect("a display")
    }

    fn repeated(&self) -> u64 {
        self.engine.repeated
    }

    fn finished(&mut self) -> Counters {
        self.engine.sink.finish()
    }
}

fn bench(options: &str, buffers: u32) -> Bench<Display<u32>> {
    Bench::new(
        display(&format!("display,size=16x8,fps=100{options}")),
        buffers,
    )
}

fn picture(layout: &'static PixelFormat, number: u32) -> Frame {
    render(
        layout,
        Size::nearest(16, 8),
        number,
        Background::Bars,
        &Picture::default(),
    )
}

/// Queues a buffer with a picture in it.
fn queue_picture(bench: &mut Bench<Display<u32>>, index: u32, number: u32) {
    let frame = picture(&pixfmt::YUYV, number);
    bench.plane(index, 0).copy_from_slice(frame.bytes());
    bench.queue(index);
}

fn last_number(bench: &Bench<Display<u32>>) -> Option<u32> {
    let last = bench.device.last();
    last.map(|frame| read_number(&frame).0)
}

#[test]
fn pictures_are_shown_in_order_at_the_refresh() {
    let mut bench = bench("", 3);
    (0..3).for_each(|index| queue_picture(&mut bench, index, 70 + index));
    bench.start();
    assert_eq!(bench.device.next_tick(), Some(0));
    assert_eq!(bench.tick(START), 1);
    assert_eq!(last_number(&bench), Some(70));
    assert_eq!(bench.tick(START + 10 * MS - 1), 0, "too early");
    assert_eq!(bench.device.next_tick(), Some(START + 10 * MS));
    assert_eq!(bench.tick(START + 25 * MS), 2, "late: both that were due");
    assert_eq!(last_number(&bench), Some(72));
    for sequence in 0..3 {
        let info = bench.take().expect("a buffer");
        assert_eq!(
            (info.index, info.sequence, info.error),
            (sequence, sequence, false)
        );
        assert_eq!(info.timestamp_ns, START + u64::from(sequence) * 10 * MS);
        let kept = info.planes[0].map(|plane| plane.payload_bytes);
        assert_eq!(kept, Some(256), "the program's own");
    }
    let last = bench.device.last().map(|frame| frame.checksum());
    assert_eq!(last, Some(picture(&pixfmt::YUYV, 72).checksum()));
    assert_eq!(bench.events.len(), 3);
    assert_eq!(bench.device.statistics(), Statistics::default());
}

#[test]
fn a_host_learns_where_the_last_picture_is() {
    let mut bench = Bench::new(unwatched("display,size=16x8,pace=free"), 2);
    (0..2).for_each(|index| queue_picture(&mut bench, index, 70 + index));
    bench.start();
    assert_eq!(bench.tick(START), 2);
    let (sequence, index) = (1, 1);
    let place = bench.device.shown_last();
    assert_eq!(place, LastShown::Buffer { sequence, index });
    (0..2).for_each(|_| {
        let info = bench.take().expect("a buffer");
        queue_picture(&mut bench, info.index, 72 + info.index);
    });
    bench.stop();
    assert_eq!(bench.device.shown_last(), LastShown::Lost);
    (0..2).for_each(|index| queue_picture(&mut bench, index, 72 + index));
    bench.start();
    assert_eq!(bench.tick(START + MS), 2);
    let LastShown::Picture { sequence: 1, frame } = bench.device.shown_last() else {
        panic!("it was asked for");
    };
    assert_eq!(read_number(&frame).0, 73);
}

#[test]
fn a_host_reads_a_picture_from_its_buffer() {
    let device =
        |spec: &str| Device::<u32>::new(&spec.parse().expect("a SPEC"), &host()).expect("a device");
    let mut memory = BenchMemory::default();
    let frame = picture(&pixfmt::YUYV, 7);
    let bytes = frame.bytes().to_vec();
    memory.planes.get_mut().insert(1, bytes);
    let mut planes = BufferPlanes::default();
    planes[0] = Some(PlaneView {
        cookie: 1,
        length_bytes: 256,
        payload_bytes: 256,
        data_offset: 0,
    });
    let mut display = device("display,size=16x8");
    assert_eq!(display.last_shown(), Some(LastShown::Nothing));
    let read = display.read_shown(&planes, &mut memory);
    assert_eq!(read.map(|read| read.checksum()), Some(frame.checksum()));
    let mut camera = device("camera,size=16x8");
    assert_eq!(camera.last_shown(), None);
    assert!(camera.read_shown(&planes, &mut memory).is_none());
    memory.unmapped.push(1);
    assert!(display.read_shown(&planes, &mut memory).is_none());
}

#[test]
fn what_nobody_wants_is_read_but_not_looked_at() {
    let mut bench = Bench::new(unwatched("display,size=16x8,pace=free"), 1);
    bench.start();
    show_101(&mut bench);
    assert_eq!(bench.memory.unseen, 101 * 256);
    assert_eq!(bench.memory.accesses.len(), 101);
    assert!(bench.device.last().is_none());
    assert!(bench.device.sink().thumbnails(usize::MAX).is_empty());
    // The display still notices that a read failed.
    bench.memory.unmapped.push(1);
    queue_picture(&mut bench, 0, 101);
    assert_eq!(bench.tick(START), 1);
    assert_eq!(bench.take().map(|info| info.error), Ok(true));
}

#[test]
fn only_pictures_of_a_contact_sheet_are_read() {
    let mut display = unwatched("display,size=16x8,pace=free");
    display.engine.sink.keep_thumbnails();
    let mut bench = Bench::new(display, 1);
    show_101(&mut bench);
    // The first 32 pictures, then every second one, then every fourth.
    let seen = 32 + 32 / 2 + (101_usize - 64).div_ceil(4);
    assert_eq!(bench.memory.unseen, (101 - seen) * 256);
    assert_eq!(bench.memory.accesses.len(), 101);
    assert_eq!(bench.device.sink().thumbnails(usize::MAX).len(), 26);
}

/// Shows pictures 0 to 100.
fn show_101(bench: &mut Bench<Display<u32>>) {
    bench.start();
    for number in 0..101 {
        queue_picture(bench, 0, number);
        assert_eq!(bench.tick(START), 1);
        assert_eq!(bench.take().map(|info| info.error), Ok(false));
    }
    assert_eq!(bench.device.sink().counters().shown, 101);
}

#[test]
fn repeated_picture_is_not_recorded() {
    let mut bench = bench("", 2);
    queue_picture(&mut bench, 0, 1);
    bench.start();
    bench.tick(START);
    assert_eq!(bench.device.next_tick(), None, "nothing to show");
    bench.tick(START + 30 * MS);
    queue_picture(&mut bench, 1, 2);
    assert_eq!(bench.tick(START + 44 * MS), 1);
    assert_eq!(bench.device.repeated(), 3);
    let counts = [super::FRAMES_SHOWN, super::FRAMES_REPEATED].map(|id| {
        let count = bench.device.volatile_control(id);
        count.map(|count| count.number())
    });
    assert_eq!(counts, [Some(2), Some(3)]);
    let infos: Vec<u64> = std::iter::from_fn(|| bench.take().ok())
        .map(|info| (info.timestamp_ns - START) / MS)
        .collect();
    assert_eq!(infos, [0, 40], "shown at refreshes");
    assert_eq!(bench.device.sink().counters().shown, 2);
    assert_eq!(bench.device.next_tick(), None);
}

#[test]
fn a_free_display_shows_at_once() {
    let mut bench = bench(",pace=free", 3);
    bench.start();
    for round in 0..3 {
        (0..3).for_each(|index| queue_picture(&mut bench, index, round * 3 + index));
        assert_eq!(bench.device.next_tick(), Some(0));
        assert_eq!(bench.tick(START), 3);
        assert_eq!(last_number(&bench), Some(round * 3 + 2));
        while bench.take().is_ok() {}
    }
    assert_eq!(bench.device.sink().counters().shown, 9);
    assert_eq!(bench.device.repeated(), 0);
}

#[test]
fn lines_are_read_where_bytesperline_says() {
    for (spec, layout) in [
        ("display,size=16x8,format=YUYV", &pixfmt::YUYV),
        ("display,size=16x8,format=NV12", &pixfmt::NV12),
        ("display,size=16x8,format=RGB24", &pixfmt::RGB24),
        ("display,mplane=on,size=16x8,format=NV12M", &pixfmt::NV12),
    ] {
        for padding in [0, 48] {
            let mut device = display(spec);
            let mut format = device.format(Flow::Output);
            for plane in &mut format.planes[..format.num_planes] {
                plane.bytesperline += padding;
            }
            let format = device.try_format(Flow::Output, &format);
            device
                .set_format(Flow::Output, &format, false)
                .expect("a format it offered");
            let mut bench = Bench::new(device, 2);
            let mut frame = picture(layout, 5);
            if layout != &pixfmt::RGB24 {
                // The default for a program that sets no colorimetry.
                frame.set_color(REC709);
            }
            let mut bytes = frame.bytes().iter();
            let line = format.width * if layout == &pixfmt::RGB24 { 3 } else { 2 };
            let line = if layout == &pixfmt::NV12 {
                16
            } else {
                line as usize
            };
            for (plane, layout) in format.layouts().iter().enumerate() {
                let memory = bench.plane(0, plane as u32);
                for row in memory.chunks_mut(layout.bytesperline as usize) {
                    row[..line]
                        .iter_mut()
                        .zip(&mut bytes)
                        .for_each(|(to, from)| *to = *from);
                }
            }
            bench.queue(0);
            bench.start();
            bench.tick(START);
            let shown = bench.device.last().expect("a picture");
            assert!(*shown == frame, "{spec} with {padding} bytes of padding");
        }
    }
}

#[test]
fn a_bus_fault_is_an_error_buffer_and_shows_nothing() {
    let mut bench = bench("", 2);
    (0..2).for_each(|index| queue_picture(&mut bench, index, 7 + index));
    bench.memory.unmapped.push(1);
    bench.start();
    assert_eq!(bench.tick(START), 1);
    assert_eq!(
        bench.take().map(|info| (info.index, info.error)),
        Ok((0, true))
    );
    assert!(bench.device.last().is_none());
    assert_eq!(bench.tick(START + 10 * MS), 1);
    assert_eq!(
        bench.take().map(|info| (info.index, info.error)),
        Ok((1, false))
    );
    assert_eq!(last_number(&bench), Some(8));
    let statistics = bench.device.statistics();
    assert_eq!((statistics.bus_faults, statistics.dropped), (1, 1));
    assert_eq!(bench.device.sink().counters().shown, 1);
}

#[test]
fn buffers_with_less_than_a_picture_are_refused() {
    let mut bench = bench("", 2);
    let errno = |e: vb3_queue::Error| e.errno();
    assert_eq!(bench.try_queue(0, &[255]).map_err(errno), Err(22));
    assert_eq!(bench.try_queue(0, &[256]).map_err(errno), Ok(()));
    let mut device = display("display,size=16x8");
    let small = PlaneSizes::new(&[255]).expect("a plane");
    assert_eq!(device.queue_setup(Some(&small)), Err(DriverError::EINVAL));
}

#[test]
fn stopping_drops_what_is_queued_and_shows_no_more() {
    let mut bench = bench("", 2);
    (0..2).for_each(|index| queue_picture(&mut bench, index, index));
    bench.start();
    bench.tick(START);
    bench.stop();
    bench.memory.accesses.clear();
    assert_eq!(bench.tick(START + 100 * MS), 0);
    assert_eq!(bench.device.next_tick(), None);
    assert!(bench.memory.accesses.is_empty());
    assert_eq!(bench.device.finished().shown, 1);
}

#[test]
fn every_picture_reaches_the_file_however_slow_it_is() {
    let directory = tempfile::TempDir::new().expect("a directory");
    let path = directory.path().join("out.yuv");
    let spec = format!(
        "display={},size=640x480,format=YUYV,pace=free",
        path.display()
    );
    let mut bench = Bench::new(display(&spec), 4);
    bench.start();
    let size = Size::nearest(640, 480);
    let mut sent = 0;
    let mut shown = Vec::new();
    while sent < 40 || bench.queue.queued_count() > 0 {
        while let Ok(info) = bench.take() {
            shown.push(info.sequence);
        }
        for index in 0..4 {
            if sent < 40 && bench.try_queue(index, &[640 * 480 * 2]).is_ok() {
                let frame = render(
                    &pixfmt::YUYV,
                    size,
                    sent,
                    Background::Grey,
                    &Picture::default(),
                );
                bench.plane(index, 0).copy_from_slice(frame.bytes());
                sent += 1;
            }
        }
        bench.tick(START);
        if let Some(fd) = bench.device.wake_fd() {
            use rustix::event::{PollFd, PollFlags, Timespec, poll};
            assert_eq!(
                bench.device.next_tick(),
                None,
                "it waits for the file alone"
            );
            let limit = Timespec {
                tv_sec: 60,
                tv_nsec: 0,
            };
            let woken = poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&limit));
            assert_eq!(woken, Ok(1), "no wake-up within a minute");
        }
    }
    while let Ok(info) = bench.take() {
        shown.push(info.sequence);
    }
    let record = bench.device.finished();
    assert_eq!((record.shown, record.written, record.lost), (40, 40, 0));
    assert_eq!(shown, (0..40).collect::<Vec<u32>>());
    let file = std::fs::read(&path).expect("the recording");
    for (number, bytes) in (0..).zip(file.chunks(640 * 480 * 2)) {
        let frame = Frame::from_bytes(&pixfmt::YUYV, size, bytes.to_vec()).expect("a picture");
        assert_eq!(read_number(&frame).0, number);
    }
}

#[test]
fn a_y4m_display_offers_what_y4m_holds() {
    let directory = tempfile::TempDir::new().expect("a directory");
    let device = display(&format!(
        "display={},mplane=on",
        directory.path().join("a.y4m").display()
    ));
    let found = device.formats(Flow::Output);
    let is_rgb = |pixel: &&PixelFormat| pixel.has(Sample::R);
    assert!(!found.iter().any(is_rgb), "no R'G'B' and no mosaic");
    let lies_open = |pixel: &&PixelFormat| !pixel.is_compressed();
    let all = pixfmt::TABLE.iter().copied().filter(lies_open);
    let wanted: Vec<_> = all.filter(|pixel| !is_rgb(pixel)).collect();
    assert_eq!(found, wanted);
    assert!(wanted.contains(&&pixfmt::NV12M) && wanted.contains(&&pixfmt::GREY));
}

#[test]
fn colors_a_program_gives_are_kept() {
    let device = display("display");
    let mut format = device.format(Flow::Output);
    format.color = Colorimetry {
        colorspace: 3,
        ..Colorimetry::default()
    };
    assert_eq!(device.try_format(Flow::Output, &format).color, format.color);
    format.color = Colorimetry::default();
    assert_eq!(
        device.try_format(Flow::Output, &format).color,
        device.format(Flow::Output).color
    );
}

#[test]
fn counts_are_controls() {
    let mut bench = bench("", 2);
    queue_picture(&mut bench, 0, 1);
    bench.start();
    bench.tick(START);
    let specs = bench.device.controls();
    let shown = specs
        .iter()
        .find(|spec| spec.name == "Frames Shown")
        .expect("it is there");
    assert_eq!(
        bench.device.volatile_control(shown.id),
        Some(ControlValue::Number(1))
    );
    assert_eq!(bench.device.volatile_control(1), None);
}

#[test]
fn what_a_host_and_a_spec_say_about_the_queue() {
    let policy = |spec| display(spec).queue_policy(Flow::Output);
    assert!(policy("display").userptr);
    assert!(!policy("display,userptr=off").userptr);
    assert!(!policy("display,hints=off").cache_hints);
    assert_eq!(policy("display,max-buffers=100").max_buffers, 100);
    let device = display("display,name=Wall");
    assert_eq!(device.identity().card, "Wall");
    assert_eq!(device.identity().bus_info, "platform:vb3-001");
}

#[test]
fn the_encoding_follows_the_colors_of_the_format() {
    const FULL: u32 = 1;
    for (colorspace, ycbcr_enc, quantization, matrix, range) in [
        (8, 0, 0, Matrix::Bt601, Quantization::Limited),
        (1, 0, 0, Matrix::Bt601, Quantization::Limited),
        (3, 0, 0, Matrix::Bt709, Quantization::Limited),
        (3, 1, 0, Matrix::Bt601, Quantization::Limited),
        (8, 2, 0, Matrix::Bt709, Quantization::Limited),
        (8, 0, FULL, Matrix::Bt601, Quantization::Full),
    ] {
        let mut device = display("display,format=NV12");
        let mut format = device.format(Flow::Output);
        format.color = Colorimetry {
            colorspace,
            ycbcr_enc,
            quantization,
            ..Colorimetry::default()
        };
        let format = device.try_format(Flow::Output, &format);
        device
            .set_format(Flow::Output, &format, false)
            .expect("a format it offered");
        assert_eq!(
            device.stream.formats.color(),
            Color { matrix, range },
            "{colorspace} {ycbcr_enc} {quantization}"
        );
    }
}

/// Makes a display of 32 pictures with a recording that takes none yet. Ticks until it has no room. Also returns
/// the time.
fn without_room(sink: Sink) -> (Bench<Display<u32>>, u64) {
    let mut device = display("display,size=16x8,fps=100");
    device.engine.sink = sink;
    let mut bench = Bench::new(device, 32);
    (0..32).for_each(|index| queue_picture(&mut bench, index, index));
    bench.start();
    let mut now = START;
    while bench.device.wake_fd().is_none() {
        bench.tick(now);
        now += 10 * MS;
        assert!(
            now < START + 400 * MS,
            "32 pictures fit in the queue of a recorder"
        );
    }
    (bench, now)
}

#[test]
fn buffers_are_held_while_the_recording_has_no_room() {
    let (sink, gate) = Sink::gated();
    let (mut bench, mut now) = without_room(sink);
    let shown = bench.device.sink().counters().shown;
    assert!(shown < 32);
    assert_eq!(bench.device.next_tick(), None, "time alone does not help");
    let wait = |bench: &Bench<Display<u32>>| {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let fd = bench
            .device
            .wake_fd()
            .expect("a display that holds has a descriptor");
        let limit = Timespec {
            tv_sec: 60,
            tv_nsec: 0,
        };
        let woken = poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&limit));
        assert_eq!(woken, Ok(1), "no wake-up within a minute");
    };
    // Ticks without room change nothing. Later the display continues at the regular pace.
    let released = now;
    gate.allow(u32::MAX / 2);
    while bench.device.sink().counters().shown < 32 {
        if bench.device.wake_fd().is_some() {
            wait(&bench);
        }
        now += 10 * MS;
        bench.tick(now);
    }
    let infos: Vec<(u32, u64)> = std::iter::from_fn(|| bench.take().ok())
        .map(|info| (info.sequence, info.timestamp_ns))
        .collect();
    assert_eq!(infos.len(), 32);
    assert!(
        infos
            .windows(2)
            .all(|pair| pair[0].0 + 1 == pair[1].0 && pair[0].1 < pair[1].1)
    );
    let held = usize::try_from(shown).expect("a few");
    assert!(
        infos[held].1 > released,
        "it was not shown before there was room"
    );
    let record = bench.device.finished();
    assert_eq!((record.shown, record.written, record.lost), (32, 32, 0));
}

#[test]
fn a_display_without_room_survives_a_revocation() {
    let (sink, gate) = Sink::gated();
    let (mut bench, now) = without_room(sink);
    let token = bench.device.stream.tokens.pop_back();
    bench.device.stream.tokens.clear();
    bench.tick(now);
    let without = bench.device.next_tick();
    bench.device.stream.tokens.extend(token);
    let due = bench.device.next_tick();
    // A sink's drop waits for its file.
    gate.allow(u32::MAX / 2);
    assert!(without.is_none() && due.is_some(), "{without:?} {due:?}");
}

#[test]
fn data_begins_at_its_offset() {
    let mut device = display("display,mplane=on,size=16x8,format=YUYV");
    let mut format = device.format(Flow::Output);
    format.planes[0].sizeimage = 256 + 64;
    device
        .set_format(Flow::Output, &format, false)
        .expect("a format it offered");
    let mut bench = Bench::new(device, 2);
    let mut frame = picture(&pixfmt::YUYV, 9);
    frame.set_color(REC709);
    bench.plane(0, 0)[64..].copy_from_slice(frame.bytes());
    bench
        .try_queue_at(0, 256 + 64, 64)
        .expect("the buffer can be queued");
    let refused = bench.try_queue_at(1, 256, 64).map_err(|e| e.errno());
    assert_eq!(refused, Err(22), "the data ends too early");
    bench.start();
    bench.tick(START);
    assert!(bench.device.last().as_deref() == Some(&frame));
    assert_eq!(bench.take().map(|info| info.error), Ok(false));
}

mod pieces;
