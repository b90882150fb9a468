//! Tests the H.264 encoder's output and its order.

use super::bench::{Bench, device};
use super::{Scene, decoded, library};
use crate::m2m::{Decoder, Encoder};
use vb3_codec::{Kind, Launch};
use vb3_queue::{DriverError, Error};
use vb3_v4l2::{
    Colorimetry, Command, ControlValue, DriverEvent, Flow, FourCc, Fraction, Rect, SelectionFlags,
    SelectionTarget, VideoDriver, cid,
};

const KEY: u32 = 0x8;
const PREDICTED: u32 = 0x10;

fn encoder(options: &str) -> Bench<Encoder<u32>> {
    let spec = format!("h264enc{options}");
    Bench::new(device(&spec, library(), Encoder::new))
}

/// Makes a streaming encoder of small pictures, with buffers.
fn small(options: &str) -> Bench<Encoder<u32>> {
    let mut bench = encoder(&format!(",size=64x48{options}"));
    bench.begin(4, 4);
    bench
}

impl Bench<Encoder<u32>> {
    fn send_scene(&mut self, index: u32, scene: &Scene, timestamp_ns: u64) {
        let planes = scene.laid_out(&self.device.format(Flow::Output));
        let planes: Vec<&[u8]> = planes.iter().map(Vec::as_slice).collect();
        self.send(index, &planes, timestamp_ns);
    }

    /// Encodes pictures one after the other. Returns each packet with its flags and timestamp.
    fn encode(&mut self, scenes: &[Scene]) -> Vec<(Vec<u8>, u32, u64)> {
        let mut packets = Vec::new();
        for (number, scene) in scenes.iter().enumerate() {
            self.send_scene(0, scene, 1000 * number as u64);
            let (info, bytes) = self.receive();
            assert!(!info.error);
            packets.push((bytes, info.frame_flags, info.timestamp_ns));
            self.queue_empty(info.index);
            let source = self.try_take(Flow::Output);
            assert_eq!(
                source.map(|info| info.index),
                Ok(0),
                "comes with its packet"
            );
        }
        packets
    }

    fn set(&mut self, id: u32, value: i64) -> Result<(), i32> {
        let value = ControlValue::Number(value);
        self.device
            .set_control(id, &value)
            .map_err(DriverError::errno)
    }
}

fn scenes(width: u32, height: u32, count: u32) -> Vec<Scene> {
    (0..count)
        .map(|n| Scene::moving(width, height, n))
        .collect()
}

fn bytes_of(packets: Vec<(Vec<u8>, u32, u64)>) -> Vec<Vec<u8>> {
    packets.into_iter().map(|(bytes, ..)| bytes).collect()
}

/// Returns a stream of small pictures, in packets.
pub(super) fn stream(count: u32) -> Vec<Vec<u8>> {
    bytes_of(small("").encode(&scenes(64, 48, count)))
}

/// Returns the first packet of a stream of larger pictures.
pub(super) fn larger() -> Vec<u8> {
    let mut bench = encoder(",size=128x96");
    bench.begin(4, 4);
    bytes_of(bench.encode(&scenes(128, 96, 1))).remove(0)
}

/// Returns profile, constraints and level of the first parameter set.
fn sps(packet: &[u8]) -> [u8; 3] {
    let at = packet
        .windows(5)
        .position(|bytes| bytes[..4] == [0, 0, 0, 1] && bytes[4] & 31 == 7);
    let at = at.expect("a sequence parameter set") + 5;
    packet[at..at + 3].try_into().unwrap()
}

fn starts_a_stream(packet: &[u8]) -> bool {
    let mut kinds = packet.windows(4).filter(|bytes| bytes[..3] == [0, 0, 1]);
    kinds.any(|bytes| bytes[3] & 31 == 7)
}

#[test]
fn pictures_survive() {
    let mut bench = small("");
    let scenes = scenes(64, 48, 8);
    let packets = bytes_of(bench.encode(&scenes));
    let seen = decoded(Kind::H264Decoder, &packets);
    assert_eq!(seen.len(), scenes.len());
    for (number, (sent, seen)) in scenes.iter().zip(&seen).enumerate() {
        let alike = sent.psnr(seen);
        assert!(alike > 35.0, "picture {number}: {alike} dB");
    }
}

#[test]
fn all_layouts_of_a_picture_give_the_same_stream() {
    let scenes = scenes(72, 50, 3);
    let of = |options: &str| {
        let mut bench = encoder(&format!(",size=72x50{options}"));
        bench.begin(2, 2);
        bytes_of(bench.encode(&scenes))
    };
    let expected = of(",format=NV12");
    for options in [
        ",format=NV12M",
        ",format=YUV420",
        ",format=NV12,stride=64",
        ",format=NV12M,stride=256",
        ",format=YUV420,stride=32",
    ] {
        assert!(of(options) == expected, "another stream with {options}");
    }
}

#[test]
fn only_what_is_cropped_is_encoded() {
    let whole = scenes(96, 80, 2);
    let parts: Vec<Scene> = whole
        .iter()
        .map(|scene| scene.part(8, 18, 64, 48))
        .collect();
    let expected = bytes_of(small("").encode(&parts));
    for fourcc in ["NV12", "NV12M", "YUV420"] {
        let mut bench = encoder(&format!(",size=96x80,format={fourcc}"));
        let wanted = Rect {
            left: 8,
            top: 18,
            width: 64,
            height: 48,
        };
        let (flow, target) = (Flow::Output, SelectionTarget::Crop);
        let flags = SelectionFlags::empty();
        let set = bench.device.set_selection(flow, target, wanted, flags);
        assert_eq!(set, Ok(wanted));
        assert_eq!(bench.device.selection(flow, target), Some(wanted));
        bench.begin(2, 2);
        assert!(bytes_of(bench.encode(&whole)) == expected, "{fourcc}");
    }
}

#[test]
fn key_frames_come_as_often_as_asked() {
    let mut bench = small("");
    bench.set(cid::MPEG_VIDEO_GOP_SIZE, 3).unwrap();
    let packets = bench.encode(&scenes(64, 48, 7));
    let keys: Vec<bool> = packets
        .iter()
        .map(|(bytes, ..)| starts_a_stream(bytes))
        .collect();
    assert_eq!(keys, [true, false, false, true, false, false, true]);
    for ((_, flags, _), key) in packets.iter().zip(keys) {
        assert_eq!(*flags, if key { KEY } else { PREDICTED });
    }
}

#[test]
fn a_key_frame_can_be_forced() {
    let mut bench = small("");
    bench.set(cid::MPEG_VIDEO_GOP_SIZE, 0).unwrap();
    let scenes = scenes(64, 48, 3);
    let before = bench.encode(&scenes);
    bench.set(cid::MPEG_VIDEO_FORCE_KEY_FRAME, 0).unwrap();
    let after = bench.encode(&scenes);
    let flags = |packets: &[(Vec<u8>, u32, u64)]| packets.iter().map(|p| p.1).collect::<Vec<_>>();
    assert_eq!(flags(&before), [KEY, PREDICTED, PREDICTED]);
    assert_eq!(flags(&after), [KEY, PREDICTED, PREDICTED]);
}

#[test]
fn what_is_said_of_a_frame_comes_with_its_packet() {
    const SOURCE_START: u32 = 0x1_0000;
    let mut bench = small("");
    let scene = Scene::moving(64, 48, 0).laid_out(&bench.device.format(Flow::Output));
    let timecode: [u8; 16] = [7; 16];
    bench.plane(Flow::Output, 1, 0).copy_from_slice(&scene[0]);
    let payload = [scene[0].len() as u64];
    bench
        .queue(Flow::Output, 1, &payload, |request| {
            request.timestamp_ns = 123_456_000;
            request.timecode = Some(timecode);
            request.frame_flags = SOURCE_START | PREDICTED;
        })
        .unwrap();
    let info = bench.take(Flow::Capture);
    assert_eq!(info.timestamp_ns, 123_456_000);
    assert_eq!(info.timecode, Some(timecode));
    assert_eq!(info.frame_flags, SOURCE_START | KEY);
    assert_eq!((info.sequence, info.field), (0, 1));
}

#[test]
fn drain_ends_with_an_empty_last_buffer() {
    let mut bench = small("");
    let scenes = scenes(64, 48, 3);
    for (index, scene) in (0..).zip(&scenes) {
        bench.send_scene(index, scene, u64::from(index));
    }
    bench.command(Command::Stop).unwrap();
    assert_eq!(bench.command(Command::Stop), Err(16), "while draining");
    assert_eq!(bench.command(Command::Start), Err(16), "while draining");
    // This picture is not part of the drain.
    bench.send_scene(3, &scenes[0], 3);
    for number in 0..3 {
        let (info, bytes) = bench.receive();
        assert_eq!(info.timestamp_ns, number);
        assert!(!bytes.is_empty() && !info.last);
    }
    let (info, bytes) = bench.receive();
    assert!(info.last && bytes.is_empty() && !info.error);
    assert_eq!(bench.events, [DriverEvent::Eos]);
    assert_eq!(bench.try_take(Flow::Capture), Err(Error::LastBuffer));
    (0..3).for_each(|_| assert!(!bench.take(Flow::Output).error));
    (0..3).for_each(|index| bench.queue_empty(index));
    bench.work();
    assert_eq!(
        bench.try_take(Flow::Output),
        Err(Error::WouldBlock),
        "stopped"
    );
    bench.command(Command::Start).unwrap();
    let (info, _) = bench.receive();
    assert_eq!(info.timestamp_ns, 3);
    assert_eq!(info.frame_flags, PREDICTED, "the stream goes on");
    assert!(!info.last);
}

#[test]
fn a_drain_of_nothing_ends_with_an_empty_buffer() {
    let mut bench = small("");
    bench.command(Command::Stop).unwrap();
    let (info, bytes) = bench.receive();
    assert!(info.last && bytes.is_empty() && !info.error);
    assert_eq!(bench.events, [DriverEvent::Eos]);
    // A second stop does nothing. Restarting OUTPUT resumes the encoder.
    bench.command(Command::Stop).unwrap();
    bench.stop(Flow::Output);
    bench.start(Flow::Output);
    bench.command(Command::Start).unwrap();
    let packets = bench.encode(&scenes(64, 48, 1));
    assert_eq!(packets[0].1, KEY);
}

#[test]
fn a_drain_needs_both_queues() {
    let mut bench = encoder(",size=64x48");
    bench.make(Flow::Output, 2);
    bench.make(Flow::Capture, 2);
    bench.start(Flow::Output);
    bench.command(Command::Stop).unwrap();
    bench.start(Flow::Capture);
    bench.queue_empty(0);
    bench.queue_empty(1);
    assert_eq!(bench.encode(&scenes(64, 48, 2)).len(), 2, "no drain began");
    assert!(bench.events.is_empty());
}

#[test]
fn stopping_output_completes_a_drain() {
    let mut bench = encoder(",size=64x48");
    bench.make(Flow::Output, 4);
    bench.make(Flow::Capture, 2);
    bench.start(Flow::Output);
    bench.start(Flow::Capture);
    let scene = Scene::moving(64, 48, 0);
    (0..4).for_each(|index| bench.send_scene(index, &scene, 0));
    bench.command(Command::Stop).unwrap();
    bench.stop(Flow::Output);
    bench.start(Flow::Output);
    bench.queue_empty(0);
    let (info, bytes) = bench.receive();
    assert!(info.last && bytes.is_empty());
    assert_eq!(bench.events, [DriverEvent::Eos]);
    bench.queue_empty(0);
    bench.command(Command::Start).unwrap();
    assert_eq!(bench.encode(&[scene]).len(), 1, "it goes on");
}

#[test]
fn restarting_capture_begins_a_new_stream() {
    let mut bench = small("");
    bench.set(cid::MPEG_VIDEO_GOP_SIZE, 0).unwrap();
    let scenes = scenes(64, 48, 4);
    let first = bytes_of(bench.encode(&scenes));
    // One picture is being encoded, and one waits.
    bench.send_scene(0, &scenes[3], 7);
    bench.stop(Flow::Capture);
    bench.start(Flow::Capture);
    bench.work();
    (0..4).for_each(|index| bench.queue_empty(index));
    let (info, packet) = bench.receive();
    assert_eq!(info.timestamp_ns, 7);
    assert_eq!((info.frame_flags, info.sequence), (KEY, 0));
    assert!(starts_a_stream(&packet));
    assert!(!starts_a_stream(&first[3]));
}

#[test]
fn stop_without_drain_loses_only_waiting_buffers() {
    let mut bench = small("");
    let packets = bench.encode(&scenes(64, 48, 2));
    assert_eq!(packets[1].1, PREDICTED);
    bench.stop(Flow::Output);
    bench.start(Flow::Output);
    let packets = bench.encode(&scenes(64, 48, 1));
    assert_eq!(packets[0].1, PREDICTED, "the stream goes on");
}

#[test]
fn unreadable_picture_is_only_an_error() {
    let mut bench = small("");
    let scenes = scenes(64, 48, 3);
    let cookie = bench.cookie(Flow::Output, 1);
    bench.memory.unmapped.push(cookie);
    for (index, scene) in (0..).zip(&scenes) {
        bench.send_scene(index, scene, u64::from(index));
    }
    bench.command(Command::Stop).unwrap();
    let outcomes: Vec<(u32, bool)> = (0..3)
        .map(|_| bench.take(Flow::Output))
        .map(|info| (info.index, info.error))
        .collect();
    assert_eq!(outcomes, [(0, false), (1, true), (2, false)]);
    let stamps: Vec<(u64, bool)> = (0..2)
        .map(|_| bench.take(Flow::Capture))
        .map(|info| (info.timestamp_ns, info.last))
        .collect();
    assert_eq!(stamps, [(0, false), (2, false)]);
    assert!(bench.take(Flow::Capture).last);
    assert_eq!(bench.device.statistics().bus_faults, 1);
}

#[test]
fn packet_after_a_too_large_one_is_whole() {
    let mut bench = encoder(",size=640x480");
    bench.set(cid::MPEG_VIDEO_BITRATE, 200_000_000).unwrap();
    bench.set(cid::MPEG_VIDEO_GOP_SIZE, 0).unwrap();
    let mut least = bench.device.format(Flow::Capture);
    least.planes[0].sizeimage = 1;
    let set = bench.set_format(Flow::Capture, &least);
    assert_eq!(set.planes[0].sizeimage, 640 * 480 * 3 / 8);
    bench.begin(2, 2);
    bench.send_scene(0, &Scene::noise(640, 480, 128), 5);
    let (info, bytes) = bench.receive();
    assert!(info.error && bytes.is_empty());
    assert_eq!(info.timestamp_ns, 5);
    assert_eq!(bench.device.statistics().dropped, 1);
    bench.queue_empty(info.index);
    bench.take(Flow::Output);
    let flat = Scene::by(640, 480, |_, _, _| 90);
    let packets = bench.encode(&[flat.clone(), flat]);
    assert_eq!(packets[0].1, KEY, "it needs no other");
    assert_eq!(packets[1].1, PREDICTED);
}

#[test]
fn lost_worker_breaks_queues_until_stop() {
    let launch = Launch::program("/bin/sh", ["-c", "exit 7"]);
    let mut bench = Bench::new(device("jpegenc,size=64x48", launch, Encoder::new));
    for _ in 0..2 {
        bench.begin(2, 2);
        bench.send_scene(0, &Scene::moving(64, 48, 0), 0);
        bench.until("the end", |bench| {
            bench.try_take(Flow::Capture) == Err(Error::QueueError)
        });
        let sentence = bench.device_failure();
        assert!(sentence.contains("status 7"), "{sentence}");
        bench.work();
        for flow in [Flow::Output, Flow::Capture] {
            bench.stop(flow);
            bench.make(flow, 0);
        }
    }
}

#[test]
fn a_worker_that_cannot_start_breaks_the_queues() {
    let launch = Launch::program("/nowhere/codec", ["codec"]);
    let mut bench = Bench::new(device("jpegenc,size=64x48", launch, Encoder::new));
    bench.begin(2, 2);
    bench.send_scene(0, &Scene::moving(64, 48, 0), 0);
    bench.until("the end", |bench| {
        bench.try_take(Flow::Capture) == Err(Error::QueueError)
    });
    assert_eq!(bench.try_take(Flow::Output), Err(Error::QueueError));
    let sentence = bench.device_failure();
    assert!(sentence.contains("cannot be started"), "{sentence}");
}

impl Bench<Encoder<u32>> {
    fn device_failure(&self) -> String {
        use crate::hosted::HostedDevice;
        let failure = self.device.failure().expect("a failure");
        failure.sentence().to_owned()
    }
}

#[test]
fn the_program_changes_the_size() {
    let mut bench = small("");
    let mut packets = bytes_of(bench.encode(&scenes(64, 48, 2)));
    for flow in [Flow::Output, Flow::Capture] {
        bench.stop(flow);
        bench.make(flow, 0);
    }
    let mut wanted = bench.device.format(Flow::Output);
    (wanted.width, wanted.height) = (80, 64);
    bench.set_format(Flow::Output, &wanted);
    bench.begin(2, 2);
    packets.extend(bytes_of(bench.encode(&scenes(80, 64, 2))));
    let seen = decoded(Kind::H264Decoder, &packets);
    let sizes: Vec<(u32, u32)> = seen
        .iter()
        .map(|scene| (scene.width, scene.height))
        .collect();
    assert_eq!(sizes, [(64, 48), (64, 48), (80, 64), (80, 64)]);
    assert!(seen[3].psnr(&Scene::moving(80, 64, 1)) > 35.0);
}

/// Returns the colorimetry that a decoder reports for a stream.
fn colours_of(packets: &[Vec<u8>]) -> Colorimetry {
    let mut bench = Bench::new(device("h264dec", library(), Decoder::<u32>::new));
    bench.make(Flow::Output, 2);
    bench.start(Flow::Output);
    bench.send(0, &[&packets[0]], 0);
    bench.until("the stream's format", |bench| {
        let mut events = bench.events.iter();
        events.any(|event| matches!(event, DriverEvent::SourceChange { .. }))
    });
    bench.device.format(Flow::Capture).color
}

#[test]
fn encoded_stream_carries_the_colours() {
    let color = |colorspace, xfer_func, ycbcr_enc, quantization| Colorimetry {
        colorspace,
        xfer_func,
        ycbcr_enc,
        quantization,
    };
    for (told, seen) in [
        // The default: Rec. 709 in limited range.
        (None, color(3, 1, 2, 2)),
        (Some(color(1, 0, 0, 0)), color(1, 1, 1, 2)),
        (Some(color(8, 0, 0, 1)), color(8, 2, 1, 1)),
        (Some(color(10, 7, 6, 2)), color(10, 7, 6, 2)),
        (Some(color(3, 1, 1, 1)), color(3, 1, 1, 1)),
        (Some(color(5, 0, 0, 0)), color(5, 1, 1, 2)),
    ] {
        let mut bench = encoder(",size=64x48");
        if let Some(color) = told {
            let mut wanted = bench.device.format(Flow::Output);
            wanted.color = color;
            assert_eq!(bench.set_format(Flow::Output, &wanted).color, color);
        }
        bench.begin(2, 2);
        let packets = bytes_of(bench.encode(&scenes(64, 48, 2)));
        assert_eq!(colours_of(&packets), seen, "{told:?}");
    }
}

#[test]
fn other_colours_begin_another_stream() {
    let mut bench = small("");
    let first = bytes_of(bench.encode(&scenes(64, 48, 2)));
    for flow in [Flow::Output, Flow::Capture] {
        bench.stop(flow);
        bench.make(flow, 0);
    }
    let mut wanted = bench.device.format(Flow::Output);
    wanted.color = Colorimetry {
        colorspace: 10,
        ..Colorimetry::default()
    };
    bench.set_format(Flow::Output, &wanted);
    bench.begin(2, 2);
    let second = bytes_of(bench.encode(&scenes(64, 48, 1)));
    assert!(starts_a_stream(&second[0]));
    assert_eq!(colours_of(&first).colorspace, 3);
    assert_eq!(colours_of(&second).colorspace, 10);
}

#[test]
fn capture_follows_output() {
    let mut bench = encoder("");
    let mut wanted = bench.device.format(Flow::Output);
    (wanted.width, wanted.height) = (1920, 1080);
    wanted.color.colorspace = 1;
    wanted.color.ycbcr_enc = 1;
    let output = bench.set_format(Flow::Output, &wanted);
    assert_eq!((output.width, output.height), (1920, 1080));
    let capture = bench.device.format(Flow::Capture);
    assert_eq!((capture.width, capture.height), (1920, 1088));
    assert_eq!(capture.color, output.color);
    // The program cannot set the picture size at CAPTURE, but it can set the buffers' length.
    let mut other = capture;
    (other.width, other.height) = (320, 240);
    other.planes[0].sizeimage = 4_000_000;
    let set = bench.set_format(Flow::Capture, &other);
    assert_eq!((set.width, set.height), (1920, 1088));
    assert_eq!(set.planes[0].sizeimage, 4_000_000);
    (wanted.width, wanted.height) = (640, 480);
    bench.set_format(Flow::Output, &wanted);
    let set = bench.device.format(Flow::Capture);
    assert_eq!(set.planes[0].sizeimage, 4_000_000, "the wish is kept");
}

#[test]
fn formats_do_not_change_under_buffers() {
    let mut bench = encoder("");
    let (now, mut other) = (
        bench.device.format(Flow::Output),
        bench.device.format(Flow::Output),
    );
    other.width = 320;
    let other = bench.device.try_format(Flow::Output, &other);
    let set = |bench: &mut Bench<Encoder<u32>>, flow, format| {
        bench
            .device
            .set_format(flow, &format, true)
            .map_err(DriverError::errno)
    };
    assert_eq!(set(&mut bench, Flow::Output, other), Err(16));
    assert_eq!(set(&mut bench, Flow::Output, now), Ok(()));
    let mut longer = bench.device.format(Flow::Capture);
    assert_eq!(set(&mut bench, Flow::Capture, longer), Ok(()));
    longer.planes[0].sizeimage += 4096;
    assert_eq!(set(&mut bench, Flow::Capture, longer), Err(16));
}

#[test]
fn crop_rectangles_are_even_and_inside() {
    let mut bench = encoder(",size=1920x1088");
    let rect = |left, top, width, height| Rect {
        left,
        top,
        width,
        height,
    };
    let mut set = |wanted, flags| {
        let (flow, target) = (Flow::Output, SelectionTarget::Crop);
        let set = bench.device.set_selection(flow, target, wanted, flags);
        set.map_err(DriverError::errno)
    };
    let none = SelectionFlags::empty();
    let visible = rect(0, 0, 1920, 1080);
    assert_eq!(set(visible, none), Ok(visible));
    assert_eq!(set(rect(-5, 3, 33, 35), none), Ok(rect(0, 2, 32, 34)));
    assert_eq!(
        set(rect(0, 0, 33, 35), SelectionFlags::GE),
        Ok(rect(0, 0, 34, 36))
    );
    assert_eq!(set(rect(0, 0, 8, 35), SelectionFlags::LE), Err(34));
    assert_eq!(set(rect(0, 0, 5000, 35), SelectionFlags::GE), Err(34));
    let far = rect(i32::MAX, i32::MAX, 100, 100);
    assert_eq!(set(far, none), Ok(rect(1820, 988, 100, 100)));
    assert_eq!(
        set(rect(i32::MIN, 0, u32::MAX, 0), none),
        Ok(rect(0, 0, 1920, 16))
    );
    let targets = [SelectionTarget::CropDefault, SelectionTarget::CropBounds];
    for target in targets {
        let whole = bench.device.selection(Flow::Output, target);
        assert_eq!(whole, Some(rect(0, 0, 1920, 1088)));
    }
    assert_eq!(bench.device.selection(Flow::Capture, targets[0]), None);
    assert_eq!(
        bench
            .device
            .selection(Flow::Output, SelectionTarget::Compose),
        None
    );
    let wanted = bench.device.format(Flow::Output);
    bench.set_format(Flow::Output, &wanted);
    let reset = bench.device.selection(Flow::Output, SelectionTarget::Crop);
    assert_eq!(reset, Some(rect(0, 0, 1920, 1088)));
    bench.begin(2, 2);
    let (flow, target) = (Flow::Output, SelectionTarget::Crop);
    let busy = bench.device.set_selection(flow, target, visible, none);
    assert_eq!(busy.map_err(DriverError::errno), Err(16));
}

#[test]
fn lines_of_1080_are_not_padded_in_the_stream() {
    let mut bench = encoder(",size=128x88");
    let visible = Rect::whole(128, 72);
    let (flow, target) = (Flow::Output, SelectionTarget::Crop);
    let flags = SelectionFlags::empty();
    bench
        .device
        .set_selection(flow, target, visible, flags)
        .unwrap();
    assert_eq!(bench.device.format(Flow::Capture).height, 80);
    bench.begin(2, 2);
    let scene = Scene::moving(128, 88, 3);
    let packets = bytes_of(bench.encode(std::slice::from_ref(&scene)));
    let seen = decoded(Kind::H264Decoder, &packets);
    assert_eq!((seen[0].width, seen[0].height), (128, 72));
    assert!(seen[0].psnr(&scene.part(0, 0, 128, 72)) > 35.0);
}

#[test]
fn intervals_are_those_of_the_library() {
    let mut bench = encoder(",fps=24");
    let now = |bench: &Bench<Encoder<u32>>| bench.device.interval(Flow::Output);
    assert_eq!(now(&bench), Some(Fraction::new(1, 24)));
    for (wanted, expected) in [
        ((1001, 30_000), (1001, 30_000)),
        ((1, 500), (1, 60)),
        ((7, 2), (1, 1)),
        ((u32::MAX, u32::MAX), (1, 1)),
        ((100_000_000, 3_000_000_000), (25_000_000, 750_000_000)),
        ((0, 25), (1, 24)),
        ((1, 0), (1, 24)),
    ] {
        let wanted = Fraction::new(wanted.0, wanted.1);
        bench.device.set_interval(Flow::Output, wanted);
        let expected = Some(Fraction::new(expected.0, expected.1));
        assert_eq!(now(&bench), expected);
        assert_eq!(bench.device.interval(Flow::Capture), expected, "it follows");
    }
    bench
        .device
        .set_interval(Flow::Capture, Fraction::new(1, 50));
    assert_eq!(
        bench.device.interval(Flow::Capture),
        Some(Fraction::new(1, 50))
    );
    assert_eq!(now(&bench), Some(Fraction::new(1, 24)), "it does not");
}

#[test]
fn profile_and_level_are_in_the_stream() {
    for (profile, level, expected) in [
        (0, 8, (66, 30)),
        (1, 11, (66, 40)),
        (2, 14, (77, 50)),
        // The wanted level is too low for 2 Mbit/s.
        (1, 1, (66, 20)),
        (4, 9, (100, 31)),
    ] {
        let mut bench = encoder(",size=64x48");
        bench.set(cid::MPEG_VIDEO_H264_PROFILE, profile).unwrap();
        bench.set(cid::MPEG_VIDEO_H264_LEVEL, level).unwrap();
        bench.begin(2, 2);
        let packets = bench.encode(&scenes(64, 48, 1));
        let [idc, constraints, level] = sps(&packets[0].0);
        assert_eq!((idc, level), expected);
        assert!(idc != 66 || constraints & 0x40 != 0, "constrained baseline");
        assert_eq!(
            bench.set(cid::MPEG_VIDEO_H264_PROFILE, 2),
            Err(16),
            "while streaming"
        );
        assert_eq!(
            bench.set(cid::MPEG_VIDEO_H264_LEVEL, 2),
            Err(16),
            "while streaming"
        );
    }
}

#[test]
fn more_bits_are_spent_where_more_are_allowed() {
    let scenes: Vec<Scene> = (0..12)
        .map(|n| {
            let noise = Scene::noise(176 + n, 144, 64);
            noise.part(n & !1, 0, 160, 144)
        })
        .collect();
    let spent = |bitrate| {
        let mut bench = encoder(",size=160x144");
        bench.set(cid::MPEG_VIDEO_BITRATE, bitrate).unwrap();
        bench.begin(2, 2);
        let packets = bench.encode(&scenes);
        packets.iter().map(|(bytes, ..)| bytes.len()).sum::<usize>()
    };
    let (little, much) = (spent(100_000), spent(4_000_000));
    assert!(much > 3 * little, "{little} and {much} bytes");
}

#[test]
fn bits_are_spent_by_the_second() {
    let scenes: Vec<Scene> = (0..30)
        .map(|n| Scene::noise(160 + n, 144, 64).part(0, 0, 160, 144))
        .collect();
    let spent = |frames| {
        let mut bench = encoder(",size=160x144");
        let interval = Fraction::new(1, frames);
        bench.device.set_interval(Flow::Capture, interval);
        bench.set(cid::MPEG_VIDEO_BITRATE, 500_000).unwrap();
        bench.begin(2, 2);
        let packets = bench.encode(&scenes);
        packets.iter().map(|(bytes, ..)| bytes.len()).sum::<usize>()
    };
    let (few, many) = (spent(10), spent(60));
    assert!(few > 2 * many, "{few} and {many} bytes");
}

#[test]
fn the_bitrate_changes_within_a_stream() {
    let scenes: Vec<Scene> = (0..10)
        .map(|n| Scene::noise(160 + n, 144, 64).part(0, 0, 160, 144))
        .collect();
    let mut bench = encoder(",size=160x144");
    bench.set(cid::MPEG_VIDEO_GOP_SIZE, 0).unwrap();
    bench.set(cid::MPEG_VIDEO_BITRATE, 200_000).unwrap();
    bench.begin(2, 2);
    let before = bench.encode(&scenes);
    bench.set(cid::MPEG_VIDEO_BITRATE, 1_900_000).unwrap();
    let after = bench.encode(&scenes);
    assert_eq!(after[0].1, PREDICTED, "no new stream");
    let spent = |packets: &[(Vec<u8>, u32, u64)]| -> usize {
        packets[2..].iter().map(|(bytes, ..)| bytes.len()).sum()
    };
    let (little, much) = (spent(&before), spent(&after));
    assert!(2 * much > 3 * little, "{little} and {much} bytes");
    let mut packets = bytes_of(before);
    packets.extend(bytes_of(after));
    assert_eq!(decoded(Kind::H264Decoder, &packets).len(), 20);
}

#[test]
fn formats_and_sizes() {
    let bench = encoder("");
    let codes = |flow| -> Vec<FourCc> {
        let formats = bench.device.formats(flow).iter();
        formats.map(|pixel| pixel.fourcc).collect()
    };
    assert_eq!(
        codes(Flow::Output),
        [FourCc::NV12, FourCc::NV12M, FourCc::YUV420]
    );
    assert_eq!(codes(Flow::Capture), [FourCc::H264]);
    let mut tiny = bench.device.format(Flow::Output);
    (tiny.width, tiny.height) = (1, 1);
    let tiny = bench.device.try_format(Flow::Output, &tiny);
    assert_eq!((tiny.width, tiny.height), (16, 16));
    assert_eq!(bench.device.queue_policy(Flow::Output).min_reqbufs, 2);
}
