use super::*;
use crate::hosted::HostedDevice as _;
use crate::registry;
use crate::source::NextSource;
use crate::surface::FIELD_NONE;
use crate::tests::bench::{Bench, FILLER, host};
use vb3_picture::{Background, Frame, Picture, Size, read_number, render};
use vb3_queue::{Driver as _, Error, PlaneSizes, Prepare};
use vb3_v4l2::{
    ControlFlags, Format, FourCc, Fraction, FrameIntervals, FrameSizes, PixelFormat, Statistics,
    VideoDriver as _, Waiter, cid, pixfmt,
};

const MS: u64 = 1_000_000;
const START: u64 = 1_000 * MS;

fn camera(spec: &str) -> Camera<u32> {
    registry::camera(&spec.parse().expect("a SPEC"), &host()).expect("a camera")
}

/// Makes a bench with a camera of 16x8 pictures at 100 frames per second.
fn bench(options: &str, buffers: u32) -> Bench<Camera<u32>> {
    Bench::new(
        camera(&format!("camera,size=16x8,fps=100{options}")),
        buffers,
    )
}

fn wanted(layout: &'static PixelFormat, sequence: u32) -> Frame {
    render(
        layout,
        Size::nearest(16, 8),
        sequence,
        Background::Bars,
        &Picture::default(),
    )
}

#[test]
fn frames_come_at_their_times_with_their_numbers() {
    let mut bench = bench("", 2);
    bench.start();
    assert_eq!(bench.device.next_tick(), None, "no buffer, no first frame");
    assert_eq!(bench.tick(START), 0);
    bench.queue(0);
    bench.queue(1);
    assert_eq!(bench.device.next_tick(), Some(0));
    assert_eq!(bench.tick(START), 1);
    assert_eq!(bench.device.next_tick(), Some(START + 10 * MS));
    assert_eq!(bench.tick(START + 10 * MS - 1), 0, "too early");
    assert_eq!(bench.tick(START + 12 * MS), 1);
    for sequence in 0..2 {
        let info = bench.take().expect("a frame");
        assert_eq!(
            (info.index, info.sequence, info.error),
            (sequence, sequence, false)
        );
        assert_eq!(info.timestamp_ns, START + u64::from(sequence) * 10 * MS);
        assert_eq!(info.field, FIELD_NONE);
        assert_eq!(
            info.planes[0].map(|plane| plane.payload_bytes),
            Some(16 * 8 * 2)
        );
        assert!(*bench.plane(info.index, 0) == wanted(&pixfmt::YUYV, sequence).bytes());
    }
    let sync = |sequence| DriverEvent::FrameSync { sequence };
    assert_eq!(bench.events, [sync(0), sync(1)]);
}

#[test]
fn frames_without_buffer_leave_a_gap() {
    let mut bench = bench("", 2);
    bench.queue(0);
    bench.start();
    assert_eq!(bench.tick(START), 1);
    assert_eq!(bench.device.next_tick(), Some(START + 20 * MS));
    for frame in 1..4 {
        assert_eq!(bench.tick(START + frame * 10 * MS), 0);
    }
    assert_eq!(
        bench.device.statistics().dropped,
        2,
        "the third still waits"
    );
    bench.queue(1);
    assert_eq!(bench.device.next_tick(), Some(START + 30 * MS), "at once");
    assert_eq!(bench.tick(START + 39 * MS), 1);
    assert_eq!(bench.device.statistics().dropped, 2);
    assert_eq!(bench.take().map(|info| info.sequence), Ok(0));
    let late = bench.take().expect("the frame that waited");
    assert_eq!((late.sequence, late.timestamp_ns), (3, START + 30 * MS));
    assert_eq!(bench.events.len(), 4, "each frame begins, buffer or not");
}

/// Takes the finished frames. Returns the number of each, and the time in ms when it was due.
fn taken(bench: &mut Bench<Camera<u32>>) -> Vec<(u32, u64)> {
    std::iter::from_fn(|| bench.take().ok())
        .map(|info| (info.sequence, (info.timestamp_ns - START) / MS))
        .collect()
}

#[test]
fn late_tick_fills_queued_buffers() {
    let mut bench = bench("", 4);
    (0..4).for_each(|index| bench.queue(index));
    bench.start();
    assert_eq!(bench.tick(START), 1);
    assert_eq!(bench.tick(START + 39 * MS), 3, "late by three frames");
    assert_eq!(taken(&mut bench), [(0, 0), (1, 10), (2, 20), (3, 30)]);
    assert_eq!(bench.device.statistics().dropped, 0);
    assert_eq!(bench.device.next_tick(), Some(START + 50 * MS));
    assert_eq!(bench.events.len(), 4);
}

/// Frame times and numbers follow the clock, however late the ticks are.
#[test]
fn late_tick_drops_only_frames_without_buffer() {
    let mut bench = bench("", 4);
    (0..3).for_each(|index| bench.queue(index));
    bench.start();
    assert_eq!(bench.tick(START), 1);
    assert_eq!(bench.tick(START + 45 * MS), 2);
    bench.queue(3);
    assert_eq!(bench.device.next_tick(), Some(START + 50 * MS));
    assert_eq!(bench.tick(START + 59 * MS), 1, "late by less than a frame");
    assert_eq!(taken(&mut bench), [(0, 0), (3, 30), (4, 40), (5, 50)]);
    assert_eq!(bench.device.statistics().dropped, 2);
    assert_eq!(bench.events.len(), 6, "each frame begins, delivered or not");
}

#[test]
fn a_tick_ends_however_late_it_is() {
    let mut bench = bench("", 2);
    bench.queue(0);
    bench.start();
    bench.tick(START);
    let late = START + 3_600_000 * MS;
    bench.tick(late);
    assert_eq!(bench.device.statistics().dropped, 359_999);
    assert_eq!(bench.device.next_tick(), Some(late + 10 * MS));
}

#[test]
fn a_free_camera_fills_every_buffer_and_drops_none() {
    let mut bench = bench(",pace=free", 3);
    bench.start();
    assert_eq!(bench.device.next_tick(), None);
    for round in 0..3 {
        (0..3).for_each(|index| bench.queue(index));
        assert_eq!(bench.device.next_tick(), Some(0));
        assert_eq!(bench.tick(START + round), 3, "all at once");
        for _ in 0..3 {
            let info = bench.take().expect("a frame");
            assert_eq!(info.timestamp_ns, START + round);
            let frame = wanted(&pixfmt::YUYV, info.sequence);
            assert!(*bench.plane(info.index, 0) == frame.bytes());
        }
    }
    assert_eq!(bench.device.statistics(), Statistics::default());
    assert_eq!(
        bench.events.last(),
        Some(&DriverEvent::FrameSync { sequence: 8 })
    );
}

#[test]
fn lines_follow_bytesperline_and_padding_stays() {
    for (format, bytes_per_pixel) in [("YUYV", 2), ("RGB24", 3)] {
        let mut camera = camera(&format!("camera,profile=sensor,size=16x8,format={format}"));
        let mut wanted_format = camera.format(Flow::Capture);
        let line = 16 * bytes_per_pixel;
        wanted_format.planes[0].bytesperline = line + 24;
        let format = camera.try_format(Flow::Capture, &wanted_format);
        let padded = format.planes[0].bytesperline;
        assert!(padded >= line + 24, "{format:?}");
        camera
            .set_format(Flow::Capture, &format, false)
            .expect("a format it offered");
        let mut bench = Bench::new(camera, 2);
        bench.queue(0);
        bench.start();
        bench.tick(START);
        let info = bench.take().expect("a frame");
        assert_eq!(
            info.planes[0].map(|plane| plane.payload_bytes),
            Some(u64::from(padded) * 8)
        );
        let layout = pixfmt::lookup(format.fourcc).expect("a known format");
        let picture = wanted(layout, 0);
        let (line, padded) = (line as usize, padded as usize);
        let memory = bench.plane(0, 0).chunks(padded);
        for (row, (got, sent)) in memory.zip(picture.bytes().chunks(line)).enumerate() {
            assert_eq!(got[..line], *sent, "line {row}");
            assert!(
                got[line..].iter().all(|byte| *byte == FILLER),
                "padding of line {row}"
            );
        }
    }
}

#[test]
fn a_webcam_says_itself_how_long_its_lines_are() {
    // Programs ask this way if they change only the size in the structure of a larger format.
    for (profile, want) in [("webcam", 640), ("sensor", 1280)] {
        let camera = camera(&format!("camera,profile={profile}"));
        let mut wanted = camera.format(Flow::Capture);
        (wanted.width, wanted.height) = (320, 240);
        wanted.planes[0].bytesperline = 1280;
        let format = camera.try_format(Flow::Capture, &wanted);
        assert_eq!(format.planes[0].bytesperline, want, "{profile}");
        assert_eq!(format.planes[0].sizeimage, want * 240, "{profile}");
    }
}

#[test]
fn nv12_lies_in_one_plane_and_nv12m_in_two() {
    let picture = wanted(&pixfmt::NV12, 0);
    for padding in [0, 16] {
        for (spec, planes) in [
            ("camera,profile=sensor,size=16x8,format=NV12", 1),
            ("camera,mplane=on,profile=sensor,size=16x8,format=NV12", 1),
            ("camera,mplane=on,profile=sensor,size=16x8,format=NV12M", 2),
        ] {
            let mut camera = camera(spec);
            let mut format = camera.format(Flow::Capture);
            for plane in &mut format.planes[..planes] {
                plane.bytesperline = 16 + padding;
            }
            let format = camera.try_format(Flow::Capture, &format);
            assert_eq!(format.num_planes, planes);
            camera
                .set_format(Flow::Capture, &format, false)
                .expect("a format it offered");
            let mut bench = Bench::new(camera, 2);
            bench.queue(0);
            bench.start();
            bench.tick(START);
            let info = bench.take().expect("a frame");
            assert_eq!((info.error, info.num_planes()), (false, planes));
            let line = (16 + padding) as usize;
            let mut lines = Vec::new();
            for plane in 0..planes {
                let rows = [12, 8, 4][if planes == 1 { 0 } else { plane + 1 }];
                let memory = bench.plane(0, plane as u32).clone();
                let payload = info.planes[plane].map(|plane| plane.payload_bytes);
                assert_eq!(payload, Some((rows * line) as u64), "{spec}");
                lines.extend(
                    memory
                        .chunks(line)
                        .take(rows)
                        .flat_map(|row| row[..16].to_vec()),
                );
            }
            assert!(
                lines == picture.bytes(),
                "{spec} with {padding} bytes of padding"
            );
        }
    }
}

#[test]
fn camera_continues_after_bus_fault() {
    let mut bench = bench("", 2);
    (0..2).for_each(|index| bench.queue(index));
    bench.memory.unmapped.push(1);
    bench.start();
    assert_eq!(bench.tick(START), 1);
    assert_eq!(bench.tick(START + 10 * MS), 1);
    let first = bench.take().expect("a buffer");
    assert_eq!((first.error, first.sequence), (true, 0));
    assert_eq!(first.planes[0].map(|plane| plane.payload_bytes), Some(0));
    let second = bench.take().expect("a buffer");
    assert_eq!((second.error, second.sequence), (false, 1));
    let statistics = bench.device.statistics();
    assert_eq!((statistics.bus_faults, statistics.dropped), (1, 0));
    assert!(bench.plane(0, 0).iter().all(|byte| *byte == FILLER));
}

#[test]
fn stop_ends_accesses_and_restart_counts_from_zero() {
    let mut bench = bench("", 2);
    (0..2).for_each(|index| bench.queue(index));
    bench.start();
    bench.tick(START);
    bench.stop();
    bench.memory.accesses.clear();
    assert_eq!(bench.tick(START + 100 * MS), 0);
    assert_eq!(bench.device.next_tick(), None);
    assert!(bench.memory.accesses.is_empty());
    bench.queue(1);
    bench.start();
    assert_eq!(bench.tick(START + 500 * MS), 1);
    let info = bench.take().expect("a frame");
    assert_eq!((info.index, info.sequence), (1, 0));
}

#[test]
fn stale_tokens_are_passed_over() {
    let mut bench = bench("", 2);
    bench.start();
    bench.queue(0);
    let token = bench
        .device
        .stream
        .tokens
        .pop_front()
        .expect("the queued buffer");
    bench.stop();
    bench.start();
    bench.device.stream.tokens.push_back(token);
    bench.queue(1);
    assert_eq!(bench.tick(START), 1);
    assert_eq!(bench.take().map(|info| info.index), Ok(1));
}

#[test]
fn buffers_too_small_are_refused() {
    let mut camera = camera("camera,mplane=on,size=16x8,format=NV12M");
    let sizes = |bytes: &[u64]| PlaneSizes::new(bytes).expect("some planes");
    assert_eq!(camera.queue_setup(None), Ok(sizes(&[128, 64])));
    assert_eq!(
        camera.queue_setup(Some(&sizes(&[128, 64]))),
        Ok(sizes(&[128, 64]))
    );
    assert_eq!(
        camera.queue_setup(Some(&sizes(&[4096, 64]))),
        Ok(sizes(&[4096, 64]))
    );
    for bad in [&[127, 64][..], &[128, 63], &[192], &[128, 64, 1]] {
        assert_eq!(
            camera.queue_setup(Some(&sizes(bad))),
            Err(DriverError::EINVAL),
            "{bad:?}"
        );
    }
    let mut field = 7;
    let mut payloads = [0, 0];
    let mut prepare = |lengths: &[u64]| {
        camera.buf_prepare(Prepare {
            index: 0,
            lengths,
            payloads: &mut payloads,
            data_offsets: &mut [0; 2],
            field: &mut field,
        })
    };
    assert_eq!(prepare(&[128, 63]), Err(DriverError::EINVAL));
    assert_eq!(prepare(&[128]), Err(DriverError::EINVAL));
    assert_eq!(prepare(&[4096, 64]), Ok(()));
    assert_eq!((payloads, field), ([128, 64], FIELD_NONE));
}

#[test]
fn intervals_are_clamped_and_zero_is_the_default() {
    let mut camera = camera("camera,fps=30000/1001,profile=sensor");
    let default = Fraction::new(1001, 30_000);
    assert_eq!(camera.interval(Flow::Capture), Some(default));
    for (asked, got) in [
        ((1, 25), (1, 25)),
        ((1, 1000), (1, 120)),
        ((5, 1), (1, 1)),
        ((0, 25), (1001, 30_000)),
        ((1, 0), (1001, 30_000)),
        ((u32::MAX, u32::MAX), (1, 1)),
        ((1, 120), (1, 120)),
    ] {
        let got = Fraction::new(got.0, got.1);
        camera.set_interval(Flow::Capture, Fraction::new(asked.0, asked.1));
        assert_eq!(camera.interval(Flow::Capture), Some(got), "{asked:?}");
    }
}

/// The source that the camera waits for may hang, and then nothing else makes a tick.
#[test]
fn a_next_source_ends_the_wait_for_a_source() {
    let mut bench = bench(",pace=free", 1);
    bench.start();
    bench.device.engine.state = State::AwaitsSource;
    let next = NextSource::open(&SourceSpec::Pattern, None).expect("the pattern");
    let camera = &mut bench.device;
    let played = camera.engine.order(&mut camera.stream, next);
    played.expect("it streams");
    assert_eq!(camera.engine.state, State::Running);
}

/// ffmpeg decodes a camera's JPEG files to the pattern. Each picture has its own number.
#[test]
fn ffmpeg_decodes_motion_jpeg_to_the_pattern() {
    let size = Size::nearest(320, 240);
    let camera = camera("camera,format=MJPG,size=320x240,pace=free");
    let mut bench = Bench::new(camera, 4);
    (0..4).for_each(|index| bench.queue(index));
    bench.start();
    let mut seen = 0;
    while seen < 4 {
        bench.tick(START);
        let Ok(info) = bench.take() else {
            wait(&bench.device);
            continue;
        };
        assert_eq!((info.sequence, info.error), (seen, false));
        let bytes = info.planes[0].map_or(0, |plane| plane.payload_bytes) as usize;
        let file = bench.plane(info.index, 0)[..bytes].to_vec();
        assert!(file.starts_with(&[0xff, 0xd8]) && file.ends_with(&[0xff, 0xd9]));
        let Some(rgb) = decoded(&file) else {
            return;
        };
        let frame = Frame::from_bytes(&pixfmt::RGB24, size, rgb).expect("its size");
        assert_eq!(read_number(&frame), (seen, 32));
        let pattern = render(
            &pixfmt::RGB24,
            size,
            seen,
            Background::Bars,
            &Picture::default(),
        );
        let (sent, got) = (pattern.bytes().iter(), frame.bytes());
        let error: u64 = sent
            .zip(got)
            .map(|(a, b)| u64::from(a.abs_diff(*b)).pow(2))
            .sum();
        let mean = error / got.len() as u64;
        assert!(mean < 40, "frame {seen}: mean square error {mean}");
        seen += 1;
    }
}

/// Decodes a JPEG file with ffmpeg to RGB24. Without ffmpeg, prints the reason and returns `None`.
fn decoded(file: &[u8]) -> Option<Vec<u8>> {
    use std::io::Write as _;
    use std::process::{Command, Stdio};
    let started = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-f", "mjpeg", "-i", "-"])
        .args(["-f", "rawvideo", "-pix_fmt", "rgb24", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let mut child = match started {
        Ok(child) => child,
        Err(e) => {
            vb3_skip::skip(format_args!("ffmpeg does not start ({e})"));
            return None;
        }
    };
    let mut stdin = child.stdin.take().expect("a pipe");
    let written = stdin.write_all(file);
    drop(stdin);
    let output = child.wait_with_output().expect("ffmpeg ends");
    written.expect("ffmpeg reads it");
    assert!(output.status.success());
    Some(output.stdout)
}

#[test]
fn controls_reach_the_picture() {
    let mut bench = bench(",format=NV12", 2);
    let set = |bench: &mut Bench<Camera<u32>>, name: &str, value| {
        let specs = bench.device.controls();
        let id = specs.iter().find(|spec| spec.name == name).expect(name).id;
        bench.device.set_control(id, &ControlValue::Number(value))
    };
    assert_eq!(set(&mut bench, "Brightness", 168), Ok(()));
    assert_eq!(set(&mut bench, "Horizontal Flip", 1), Ok(()));
    assert_eq!(set(&mut bench, "Test Pattern", 1), Ok(()));
    assert_eq!(set(&mut bench, "Brightness", 256), Err(DriverError::EINVAL));
    assert_eq!(
        bench.device.set_control(0x1234, &ControlValue::Number(0)),
        Err(DriverError::EINVAL)
    );
    bench.queue(0);
    bench.start();
    bench.tick(START);
    let picture = Picture {
        brightness: 168,
        hflip: true,
        ..Picture::default()
    };
    let size = Size::nearest(16, 8);
    let expected = render(&pixfmt::NV12, size, 0, Background::Ramp, &picture);
    assert!(*bench.plane(0, 0) == expected.bytes());
    let specs = bench.device.controls();
    let frames = specs
        .iter()
        .find(|spec| spec.name == "Frames Produced")
        .expect("it is there");
    assert_eq!(
        bench.device.volatile_control(frames.id),
        Some(ControlValue::Number(1))
    );
}

#[test]
fn manual_exposure_multiplies_gain() {
    let mut bench = bench(",format=NV12", 1);
    let mut set = |id, value| bench.device.set_control(id, &ControlValue::Number(value));
    for (id, value) in [(cid::EXPOSURE_ABSOLUTE, 312), (cid::GAIN, 32)] {
        assert_eq!(set(id, value), Ok(()), "it waits for the manual mode");
    }
    let gain = |bench: &Bench<Camera<u32>>| bench.device.engine.controls.picture.gain;
    assert_eq!(gain(&bench), 32, "automatic");
    for (id, value, seen) in [
        (cid::EXPOSURE_AUTO, 1, 64),
        (cid::EXPOSURE_ABSOLUTE, 78, 16),
        (cid::EXPOSURE_ABSOLUTE, 10_000, 255),
        (cid::EXPOSURE_AUTO, 3, 32),
    ] {
        let value = ControlValue::Number(value);
        assert_eq!(bench.device.set_control(id, &value), Ok(()));
        assert_eq!(gain(&bench), seen, "{id:#x} {value:?}");
    }
    let names = |options: &str| {
        let device = camera(&format!("camera=pattern{options}"));
        let has = |id| device.controls().iter().any(|spec| spec.id == id);
        [cid::EXPOSURE_AUTO, cid::EXPOSURE_ABSOLUTE].map(has)
    };
    assert_eq!(names(""), [true; 2]);
    assert_eq!(names(",identity=plain"), [false; 2]);
}

/// Waits on the camera's descriptor, as a host does.
fn wait(camera: &Camera<u32>) {
    let fd = camera.wake_fd();
    await_readable(&fd.expect("a camera without a picture has a descriptor"));
}

fn await_readable(fd: &WakeFd<'_>) {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let limit = Timespec {
        tv_sec: 60,
        tv_nsec: 0,
    };
    let woken = poll(&mut [PollFd::new(fd, PollFlags::IN)], Some(&limit));
    assert_eq!(woken, Ok(1), "no wake-up within a minute");
}

#[test]
fn the_number_is_in_the_memory_of_every_format() {
    for format in ["YUYV", "NV12", "RGB24"] {
        for size in ["2x2", "64x36", "640x480"] {
            let spec = format!("camera,size={size},format={format},pace=free");
            let mut bench = Bench::new(camera(&spec), 2);
            bench.start();
            for sequence in 0..3 {
                bench.queue(0);
                while bench.tick(START) == 0 {
                    assert!(bench.device.has_begun(), "a piece in each tick");
                }
                bench.take().expect("a frame");
                let mode = &bench.device.stream.formats;
                let (layout, size) = (mode.pixel(), mode.size());
                let bytes = bench.plane(0, 0).clone();
                let frame = Frame::from_bytes(layout, size, bytes).expect("a whole picture");
                let (number, bits) = read_number(&frame);
                assert_eq!(number, sequence & (u32::MAX >> (32 - bits)), "{spec}");
            }
        }
    }
}

#[test]
fn test_patterns_replace_the_clip_until_disabled() {
    let settings = registry::settings(&"camera".parse().expect("a SPEC"), &host());
    let shown = |has_clip, pattern, is_playing| {
        let mut controls = controls::Controls::new(&settings, has_clip, false);
        let set = controls.set_control(cid::TEST_PATTERN, pattern);
        assert_eq!(set, Ok(()));
        controls.background(is_playing)
    };
    assert_eq!(shown(false, 0, false), Some(Background::Bars));
    assert_eq!(shown(false, 1, false), Some(Background::Ramp));
    assert_eq!(shown(false, 1, true), None, "a program chose the clip");
    for is_playing in [false, true] {
        assert_eq!(shown(true, 0, is_playing), None);
        assert_eq!(shown(true, 1, is_playing), Some(Background::Bars));
        assert_eq!(shown(true, 2, is_playing), Some(Background::Ramp));
    }
}

mod ffmpeg;
mod formats;
mod pieces;
