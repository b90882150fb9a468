//! Tests the converter on memory that it accesses in place, and on memory that it must copy.

use super::bench::{Bench, device};
use crate::conversion::Task;
use crate::convert_thread::ConvertThread;
use crate::hosted::HostedDevice as _;
use crate::m2m::FrameConverter;
use crate::surface::PIECE;
use crate::tests::bench::FILLER;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::sync::mpsc::{Sender, channel};
use vb3_codec::Launch;
use vb3_picture::convert::Converter;
use vb3_queue::{Error, PlaneRequest};
use vb3_v4l2::{
    ControlValue, Flow, Format, FourCc, Rect, SelectionFlags, SelectionTarget, VideoDriver as _,
    cid, pixfmt,
};

/// A memory access: plane, offset, length.
type Access = (u32, u64, usize);

/// A pixel format, with width and height.
type Size = (FourCc, u32, u32);

/// One conversion: both formats and sizes, and the part of the source that is used.
struct Case {
    from: Size,
    to: Size,
    crop: Option<Rect>,
    spec: &'static str,
    /// Expected number of memory accesses.
    accesses: usize,
}

/// Makes a case that converts the whole source, whose lines have no gaps between them.
fn whole(from: Size, to: Size, accesses: usize) -> Case {
    Case {
        from,
        to,
        crop: None,
        spec: "convert",
        accesses,
    }
}

fn format((fourcc, width, height): Size) -> Format {
    let pixel = pixfmt::lookup(fourcc).expect("a format");
    Format::new(pixel, width, height).expect("a size")
}

fn converter(spec: &str) -> Bench<FrameConverter<u32>> {
    Bench::new(device(spec, Launch::in_thread(), |settings, _| {
        FrameConverter::new(settings)
    }))
}

/// Converts a picture, in place if `shows` is set. Returns all planes and the memory accesses.
fn convert(case: &Case, shows: bool) -> (Vec<Vec<u8>>, Vec<Access>) {
    let mut bench = converter(case.spec);
    bench.memory.shows = shows;
    let from = bench.set_format(Flow::Output, &format(case.from));
    let to = bench.set_format(Flow::Capture, &format(case.to));
    if let Some(crop) = case.crop {
        let device = &mut bench.device;
        let (target, exactly) = (SelectionTarget::Crop, SelectionFlags::empty());
        let set = device.set_selection(Flow::Output, target, crop, exactly);
        assert_eq!(set.expect("a crop"), crop);
    }
    bench.begin(1, 1);
    let planes: Vec<Vec<u8>> = from
        .layouts()
        .iter()
        .map(|plane| (0..plane.sizeimage).map(|i| (i * 7 % 253) as u8).collect())
        .collect();
    let planes: Vec<&[u8]> = planes.iter().map(Vec::as_slice).collect();
    bench.send(0, &planes, 1);
    let info = bench.take(Flow::Capture);
    assert!(!info.error);
    assert_eq!(bench.memory.in_place, u32::from(shows));
    let planes = 0..u32::try_from(to.num_planes).expect("a few");
    let made = planes.map(|plane| bench.plane(Flow::Capture, 0, plane).clone());
    (made.collect(), bench.memory.accesses)
}

#[test]
fn in_place_is_as_by_copies() {
    let half = Rect {
        left: 0,
        top: 16,
        width: 32,
        height: 16,
    };
    let cases = [
        whole((FourCc::NV12, 64, 48), (FourCc::NV12, 32, 16), 4),
        whole((FourCc::YUYV, 64, 48), (FourCc::RGB24, 64, 48), 2),
        whole((FourCc::NV12M, 64, 48), (FourCc::YUV420, 128, 96), 5),
        // With gaps between lines, each line is one access.
        Case {
            crop: Some(half),
            ..whole((FourCc::NV12, 64, 48), (FourCc::NV12, 32, 16), 16 + 8 + 2)
        },
        Case {
            spec: "convert,stride=64",
            ..whole((FourCc::NV12, 64, 48), (FourCc::NV12, 48, 16), 2 + 16 + 8)
        },
    ];
    for case in cases {
        let (there, copied) = (convert(&case, true), convert(&case, false));
        assert_eq!(there.1.len(), case.accesses);
        assert_eq!(there.1, copied.1, "the same accesses");
        assert!(there.0 == copied.0, "the same bytes");
        assert!(copied.0.iter().flatten().any(|byte| *byte != FILLER));
    }
}

#[test]
fn a_plane_that_is_not_mapped_gives_an_error() {
    for shows in [true, false] {
        let mut bench = converter("convert");
        bench.memory.shows = shows;
        let format = bench.set_format(Flow::Output, &format((FourCc::NV12, 64, 48)));
        bench.begin(1, 1);
        let gone = bench.cookie(Flow::Capture, 0);
        bench.memory.unmapped.push(gone);
        let bytes = vec![1; format.planes[0].sizeimage as usize];
        bench.send(0, &[&bytes], 1);
        let info = bench.take(Flow::Capture);
        assert!(info.error);
    }
}

/// A size that the thread converts.
const LARGE: Size = (FourCc::NV12, 1280, 720);

/// Makes a converter of large pictures whose thread waits for a message before each picture.
fn held() -> (Bench<FrameConverter<u32>>, Sender<()>, Vec<u8>) {
    let (go, may_go) = channel();
    let mut bench = converter("convert");
    let mut engine = Converter::new();
    let thread = ConvertThread::start(move |task: &mut Task| {
        // After the sender is dropped, the thread no longer waits.
        may_go.recv().ok();
        task.run(&mut engine);
    });
    bench.device.worker.convert_by(thread.expect("a thread"));
    let from = bench.set_format(Flow::Output, &format(LARGE));
    bench.set_format(Flow::Capture, &format(LARGE));
    let bytes = (0..from.planes[0].sizeimage).map(|i| (i * 7 % 253) as u8);
    (bench, go, bytes.collect())
}

#[test]
fn a_large_picture_is_converted_while_calls_go_on() {
    let (mut bench, go, bytes) = held();
    bench.begin(2, 2);
    bench.send(0, &[&bytes], 1);
    // The tick returns although the thread has converted nothing.
    bench.work();
    assert_eq!(bench.try_take(Flow::Capture).err(), Some(Error::WouldBlock));
    assert!(bench.device.next_tick().is_none() && bench.device.wake_fd().is_some());
    bench.send(1, &[&bytes], 2);
    bench.work();
    for (stamp, index) in [(1, 0), (2, 1)] {
        go.send(()).expect("it waits");
        let (info, made) = bench.receive();
        assert_eq!(
            (info.timestamp_ns, info.index, info.error),
            (stamp, index, false)
        );
        assert!(made == bytes, "the same picture");
    }
    bench.work();
    assert!(bench.device.wake_fd().is_none());
}

/// Converts a large picture, mirrored and turned by `(hflip, degrees)`; the thread reads the source itself if
/// memory `maps`. The source is the beginning of `bytes`. Returns the result, the number of bytes that the
/// device read, and the number of bytes that it only counted.
fn convert_large(
    case: &Case,
    (hflip, degrees): (bool, i64),
    maps: bool,
    bytes: &[u8],
) -> (Vec<u8>, usize, usize) {
    let mut bench = converter(case.spec);
    bench.memory.maps = maps;
    let from = bench.set_format(Flow::Output, &format(case.from));
    let (fourcc, width, height) = case.to;
    let turned = match degrees % 180 {
        0 => case.to,
        _ => (fourcc, height, width),
    };
    bench.set_format(Flow::Capture, &format(turned));
    if let Some(crop) = case.crop {
        let (target, exactly) = (SelectionTarget::Crop, SelectionFlags::empty());
        let set = bench
            .device
            .set_selection(Flow::Output, target, crop, exactly);
        assert_eq!(set.expect("a crop"), crop);
    }
    for (id, value) in [(cid::HFLIP, hflip.into()), (cid::ROTATE, degrees)] {
        let value = ControlValue::Number(value);
        bench.device.set_control(id, &value).expect("its control");
    }
    bench.begin(1, 1);
    bench.send(0, &[&bytes[..from.planes[0].sizeimage as usize]], 1);
    let source = bench.cookie(Flow::Output, 0);
    let (info, made) = bench.receive();
    assert!(!info.error);
    let reads = bench
        .memory
        .accesses
        .iter()
        .filter(|access| access.0 == source);
    (
        made,
        reads.map(|access| access.2).sum(),
        bench.memory.unseen,
    )
}

#[test]
fn a_picture_is_turned_upside_down() {
    let mut bench = converter("convert");
    let size = (FourCc::RGB24, 16, 16);
    bench.set_format(Flow::Output, &format(size));
    bench.set_format(Flow::Capture, &format(size));
    bench.begin(1, 1);
    let bytes: Vec<u8> = (0..16 * 16 * 3).map(|i| (i % 251) as u8).collect();
    for (value, is_flipped) in [(1, true), (0, false)] {
        let value = ControlValue::Number(value);
        assert_eq!(bench.device.set_control(cid::VFLIP, &value), Ok(()));
        bench.send(0, &[&bytes], 1);
        let (info, made) = bench.receive();
        let lines = bytes.chunks_exact(16 * 3);
        let wanted: Vec<&[u8]> = match is_flipped {
            true => lines.rev().collect(),
            false => lines.collect(),
        };
        assert!(made == wanted.concat());
        bench.take(Flow::Output);
        bench.queue_empty(info.index);
    }
}

#[test]
fn thread_reads_lent_source_in_stripes() {
    let crop = Rect {
        left: 32,
        top: 16,
        width: 640,
        height: 606,
    };
    let whole = |from, to| whole(from, to, 0);
    let cases = [
        whole(LARGE, LARGE),
        whole(LARGE, (FourCc::NV12, 640, 360)),
        whole(LARGE, (FourCc::YUV420, 1280, 720)),
        whole(LARGE, (FourCc::XBGR32, 1280, 720)),
        whole((FourCc::YUYV, 640, 486), (FourCc::RGB24, 640, 486)),
        whole((FourCc::RGB24, 640, 486), (FourCc::NV12, 640, 486)),
        whole((FourCc::YUYV, 640, 486), (FourCc::NV12, 640, 486)),
        whole((FourCc::NV12, 640, 486), (FourCc::YUYV, 640, 486)),
        Case {
            crop: Some(crop),
            ..whole(LARGE, (FourCc::RGB24, 640, 606))
        },
        Case {
            spec: "convert,stride=256",
            ..whole((FourCc::YUV420, 1000, 486), (FourCc::YUYV, 1000, 486))
        },
    ];
    let bytes: Vec<u8> = (0..1280 * 720 * 2)
        .map(|i| (i / 3 * 7 % 253) as u8)
        .collect();
    let turns = [0, 90, 180, 270].map(|degrees| [(false, degrees), (true, degrees)]);
    for (at, case) in cases.iter().enumerate() {
        // The first case in all turns, each other case in two of them.
        let turns = turns.as_flattened().iter().cycle().skip(3 * at);
        for &turn in turns.take(if at == 0 { 8 } else { 2 }) {
            let lent = convert_large(case, turn, true, &bytes);
            let read = convert_large(case, turn, false, &bytes);
            assert!(
                lent.0 == read.0,
                "the same bytes from {:?} by {turn:?}",
                case.from
            );
            assert_eq!((lent.1, read.2), (read.1, 0), "as much is read");
            assert_eq!(lent.2, lent.1, "a tick moves none of it");
        }
    }
}

#[test]
fn streamoff_discards_running_conversion() {
    for (ended, stamp) in [(Flow::Capture, 1), (Flow::Output, 2)] {
        let (mut bench, go, bytes) = held();
        bench.begin(1, 1);
        bench.send(0, &[&bytes], 1);
        bench.work();
        bench.stop(ended);
        let before = bench.memory.accesses.len();
        drop(go);
        bench.until("the end of what was under way", |bench| {
            bench.device.wake_fd().is_none()
        });
        assert_eq!(bench.memory.accesses.len(), before, "no byte was written");
        // The next stream begins as usual.
        bench.start(ended);
        if ended == Flow::Capture {
            bench.queue_empty(0);
        }
        // The picture is still queued, unless its own queue was stopped.
        if ended == Flow::Output {
            bench.send(0, &[&bytes], 2);
        }
        let (info, made) = bench.receive();
        assert_eq!((info.timestamp_ns, info.error), (stamp, false));
        assert!(made == bytes, "the same picture");
    }
}

#[test]
fn a_smaller_format_after_streamoff_fails_no_buffer() {
    let mut bench = converter("convert");
    let bytes = |format: &Format| vec![7; format.planes[0].sizeimage as usize];
    let large = bench.set_format(Flow::Output, &format((FourCc::NV12, 1280, 1024)));
    bench.set_format(Flow::Capture, &format((FourCc::NV12, 64, 64)));
    bench.begin(1, 1);
    bench.send(0, &[&bytes(&large)], 1);
    bench.tick();
    bench.stop(Flow::Output);
    let small = bench.set_format(Flow::Output, &format((FourCc::NV12, 64, 64)));
    bench.tick();
    assert!(bench.try_take(Flow::Capture).is_err(), "no picture failed");
    bench.start(Flow::Output);
    bench.send(0, &[&bytes(&small)], 2);
    let (info, _) = bench.receive();
    assert_eq!((info.timestamp_ns, info.error), (2, false));
}

#[test]
fn where_time_stands_still_all_is_done_within_a_tick() {
    let (mut bench, _held, bytes) = held();
    bench.device.work_at_once();
    bench.begin(1, 1);
    bench.send(0, &[&bytes], 1);
    bench.work();
    assert!(bench.try_take(Flow::Capture).is_ok_and(|info| !info.error));
}

#[test]
fn a_tick_moves_a_piece_of_a_large_picture() {
    const SIZE: Size = (FourCc::NV12, 1280, 1024);
    let mut bench = converter("convert");
    let from = bench.set_format(Flow::Output, &format(SIZE));
    bench.set_format(Flow::Capture, &format(SIZE));
    let bytes: Vec<u8> = (0..from.planes[0].sizeimage)
        .map(|i| (i * 7 % 253) as u8)
        .collect();
    bench.begin(1, 1);
    bench.send(0, &[&bytes], 1);
    let mut pieces = Vec::new();
    let done = loop {
        if let Some(fd) = bench.device.wake_fd() {
            let limit = Timespec {
                tv_sec: 60,
                tv_nsec: 0,
            };
            let woken = poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&limit));
            assert_eq!(woken, Ok(1), "it is converted within a minute");
        }
        let before = bench.memory.accesses.len();
        bench.tick();
        let moved = bench.memory.accesses[before..]
            .iter()
            .map(|access| access.2);
        pieces.push(moved.sum::<usize>());
        if let Ok(info) = bench.try_take(Flow::Capture) {
            break info;
        }
    };
    let once = (0..bytes.len()).step_by(PIECE);
    let once = once.map(|at| PIECE.min(bytes.len() - at));
    let wanted: Vec<_> = once.clone().chain(once).collect();
    assert_eq!(pieces, wanted, "read, then written");
    assert!(!done.error && *bench.plane(Flow::Capture, 0, 0) == bytes);
}

#[test]
fn buffer_needs_a_whole_picture() {
    let mut bench = converter("convert");
    let from = bench.set_format(Flow::Output, &format((FourCc::YUYV, 16, 8)));
    bench.make(Flow::Output, 1);
    let size = u64::from(from.layouts()[0].sizeimage);
    for (offset, wanted) in [(64, Err(22)), (0, Ok(()))] {
        let queued = bench.queue(Flow::Output, 0, &[], |request| {
            let mut plane = PlaneRequest::mmap(size);
            plane.data_offset = offset;
            assert!(request.push_plane(plane).is_ok());
        });
        assert_eq!(queued.map(drop).map_err(|e| e.errno()), wanted);
    }
}
