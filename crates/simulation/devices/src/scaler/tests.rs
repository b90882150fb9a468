use super::*;
use crate::camera::Camera;
use crate::conversion::Task;
use crate::convert_thread::ConvertThread;
use crate::hosted::HostedDevice as _;
use crate::registry;
use crate::surface::EINVAL;
use crate::tests::bench::{Bench, FILLER, host};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::sync::mpsc::{Sender, channel};
use vb3_picture::convert::Converter;
use vb3_picture::{Background, Picture, render};
use vb3_queue::Error;
use vb3_v4l2::{Flow, Rect, SelectionFlags, SelectionTarget, VideoDriver as _, pixfmt};

/// Makes a camera that scales within its ticks.
fn camera() -> Camera<u32> {
    let mut camera = made("size=64x48,format=YUYV");
    camera.work_at_once();
    camera
}

fn made(options: &str) -> Camera<u32> {
    let spec = format!("capture-convert=pattern,{options}");
    registry::camera(&spec.parse().expect("a SPEC"), &host()).expect("a camera")
}

#[test]
fn crop_is_composed_into_part_of_the_buffer() {
    let mut camera = camera();
    let none = SelectionFlags::empty();
    let mut set = |target, wanted| {
        let set = camera.set_selection(Flow::Capture, target, wanted, none);
        assert_eq!(set, Ok(wanted));
    };
    // If both sizes are equal, the bytes do not change.
    set(SelectionTarget::Crop, Rect::new(600, 300, 32, 16));
    set(SelectionTarget::Compose, Rect::new(8, 4, 32, 16));
    let mut bench = Bench::new(camera, 2);
    bench.queue(0);
    bench.start();
    assert_eq!(bench.tick(1_000), 1);
    assert!(!bench.take().expect("a frame").error);
    let sensor = Size::nearest(1280, 720);
    let seen = render(
        &pixfmt::YUYV,
        sensor,
        0,
        Background::Bars,
        &Picture::default(),
    );
    for (row, line) in bench.plane(0, 0).chunks(128).enumerate() {
        let inside = (4..20).contains(&row);
        for (column, bytes) in line.chunks(2).enumerate() {
            if inside && (8..40).contains(&column) {
                let at = ((row - 4 + 300) * 1280 + column - 8 + 600) * 2;
                assert_eq!(*bytes, seen.bytes()[at..at + 2], "{column}, {row}");
            } else {
                assert_eq!(*bytes, [FILLER; 2], "{column}, {row} was written");
            }
        }
    }
}

#[test]
fn a_new_format_is_filled_and_the_sensor_stays() {
    let mut camera = camera();
    let select = |camera: &Camera<u32>, target| camera.selection(Flow::Capture, target);
    assert_eq!(
        select(&camera, SelectionTarget::CropBounds),
        Some(Rect::whole(1280, 720))
    );
    let none = SelectionFlags::empty();
    let asked = Rect::new(2, 2, 16, 16);
    for target in [SelectionTarget::Crop, SelectionTarget::Compose] {
        camera
            .set_selection(Flow::Capture, target, asked, none)
            .expect("a rectangle inside");
    }
    let bounds = camera.set_selection(Flow::Capture, SelectionTarget::CropBounds, asked, none);
    assert_eq!(bounds, Err(EINVAL), "bounds are not set");
    let mut format = camera.format(Flow::Capture);
    (format.width, format.height) = (320, 240);
    let format = camera.try_format(Flow::Capture, &format);
    camera
        .set_format(Flow::Capture, &format, false)
        .expect("a format it offered");
    assert_eq!(
        select(&camera, SelectionTarget::Compose),
        Some(Rect::whole(320, 240))
    );
    assert_eq!(select(&camera, SelectionTarget::Crop), Some(asked));
}

const MS: u64 = 1_000_000;
const START: u64 = 1_000 * MS;
/// A format of pictures so large that the thread scales them.
const LARGE: &str = "size=640x360,format=NV12,fps=100";

/// Makes a camera whose thread waits for a message before it scales each picture.
fn held(buffers: u32) -> (Bench<Camera<u32>>, Sender<()>) {
    let (go, may_go) = channel();
    let mut camera = made(LARGE);
    let mut engine = Converter::new();
    let thread = ConvertThread::start(move |task: &mut Task| {
        // After the sender is dropped, the thread no longer waits.
        may_go.recv().ok();
        task.run(&mut engine);
    });
    let converter = &mut camera.engine.converter;
    converter.convert_by(thread.expect("a thread"));
    (Bench::new(camera, buffers), go)
}

/// Waits on the camera's descriptor, as a host does, and runs a tick.
fn wait(bench: &mut Bench<Camera<u32>>, now_ns: u64) -> usize {
    let fd = bench.device.wake_fd().expect("a picture is being scaled");
    let limit = Timespec {
        tv_sec: 60,
        tv_nsec: 0,
    };
    let woken = poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&limit));
    assert_eq!(woken, Ok(1), "no wake-up within a minute");
    tick(bench, now_ns)
}

/// Runs ticks while there is another piece to move.
fn tick(bench: &mut Bench<Camera<u32>>, now_ns: u64) -> usize {
    let mut done = bench.tick(now_ns);
    while bench.device.next_tick() == Some(0) {
        done += bench.tick(now_ns);
    }
    done
}

/// Returns the first `count` pictures of a camera that scales within its ticks.
fn at_once(count: u32) -> Vec<Vec<u8>> {
    let mut camera = made(LARGE);
    camera.work_at_once();
    let mut bench = Bench::new(camera, 1);
    bench.start();
    let pictures = (0..count).map(|sequence| {
        bench.queue(0);
        let now = START + u64::from(sequence) * 10 * MS;
        assert_eq!(bench.tick(now), 1, "within the tick");
        assert!(bench.device.wake_fd().is_none());
        bench.take().expect("a frame");
        bench.plane(0, 0).clone()
    });
    pictures.collect()
}

#[test]
fn a_large_picture_is_scaled_while_calls_go_on() {
    let (mut bench, go) = held(3);
    (0..3).for_each(|index| bench.queue(index));
    bench.start();
    let wanted = at_once(2);
    // The ticks return although the thread has scaled nothing. The next frames wait for the scaler, as many as
    // there are buffers.
    assert_eq!(tick(&mut bench, START), 0);
    assert_eq!(bench.device.next_tick(), Some(START + 30 * MS));
    assert_eq!(tick(&mut bench, START + 10 * MS), 0);
    assert_eq!(bench.take().map(drop), Err(Error::WouldBlock));
    for (sequence, wanted) in (0..2).zip(wanted) {
        go.send(()).expect("it waits");
        assert_eq!(wait(&mut bench, START + 11 * MS), 1);
        let info = bench.take().expect("a frame");
        assert_eq!(
            (info.index, info.sequence, info.error),
            (sequence, sequence, false)
        );
        // A frame's time does not depend on how long scaling takes.
        assert_eq!(info.timestamp_ns, START + u64::from(sequence) * 10 * MS);
        assert!(*bench.plane(info.index, 0) == wanted, "the same picture");
    }
    assert!(bench.device.wake_fd().is_none());
    assert_eq!(bench.device.statistics().dropped, 0);
}

#[test]
fn busy_scaler_drops_frames_and_leaves_a_gap() {
    let (mut bench, go) = held(2);
    (0..2).for_each(|index| bench.queue(index));
    bench.start();
    for frame in 0..4 {
        assert_eq!(tick(&mut bench, START + frame * 10 * MS), 0);
    }
    go.send(()).expect("it waits");
    go.send(()).expect("it waits");
    for sequence in [0, 3] {
        assert_eq!(wait(&mut bench, START + 31 * MS), 1);
        let info = bench.take().expect("a frame");
        assert_eq!((info.sequence, info.error), (sequence, false));
    }
    assert_eq!(bench.device.statistics().dropped, 2);
}

#[test]
fn picture_in_scaler_at_stream_end_is_not_written() {
    let (mut bench, go) = held(1);
    bench.queue(0);
    bench.start();
    assert_eq!(tick(&mut bench, START), 0);
    bench.stop();
    go.send(()).expect("it waits");
    assert_eq!(wait(&mut bench, START + 10 * MS), 0);
    assert!(bench.memory.accesses.is_empty(), "no byte was written");
    // The next stream begins as usual.
    bench.queue(0);
    bench.start();
    assert_eq!(tick(&mut bench, START + 20 * MS), 0);
    go.send(()).expect("it waits");
    assert_eq!(wait(&mut bench, START + 21 * MS), 1);
    let info = bench.take().expect("a frame");
    assert_eq!((info.sequence, info.error), (0, false));
    assert!(
        [bench.plane(0, 0).clone()] == at_once(1)[..],
        "the same picture"
    );
}

#[test]
fn frame_uses_selection_set_at_its_start() {
    let (mut bench, go) = held(1);
    bench.queue(0);
    bench.start();
    assert_eq!(tick(&mut bench, START), 0);
    let none = SelectionFlags::empty();
    let part = Rect::new(0, 0, 320, 180);
    let set = (bench.device).set_selection(Flow::Capture, SelectionTarget::Compose, part, none);
    assert_eq!(set, Ok(part));
    drop(go);
    assert_eq!(wait(&mut bench, START + 1), 1);
    assert!(
        [bench.plane(0, 0).clone()] == at_once(1)[..],
        "the whole buffer"
    );
}
