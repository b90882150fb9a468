//! Tests JPEG in both directions.

use super::bench::{Bench, device};
use super::{Scene, decoded};
use crate::hosted::HostedDevice as _;
use crate::m2m::{Decoder, Encoder};
use vb3_codec::{Kind, Launch};
use vb3_v4l2::{
    Command, ControlValue, DriverEvent, Flow, Format, FourCc, Rect, SelectionTarget, VideoDriver,
    cid,
};

const KEY: u32 = 0x8;
const CHANGED: DriverEvent = DriverEvent::SourceChange {
    port: 0,
    changes: 1,
};

fn file(scene: &Scene, quality: i64, options: &str) -> Vec<u8> {
    let spec = format!("jpegenc,size={}x{}{options}", scene.width, scene.height);
    let mut bench = Bench::new(device(&spec, Launch::in_thread(), Encoder::new));
    let value = ControlValue::Number(quality);
    bench
        .device
        .set_control(cid::JPEG_COMPRESSION_QUALITY, &value)
        .unwrap();
    bench.begin(2, 2);
    let planes = scene.laid_out(&bench.device.format(Flow::Output));
    let planes: Vec<&[u8]> = planes.iter().map(Vec::as_slice).collect();
    bench.send(0, &planes, 77);
    let (info, bytes) = bench.receive();
    assert!(!info.error);
    assert_eq!((info.frame_flags, info.timestamp_ns), (KEY, 77));
    assert!(bench.try_take(Flow::Output).is_ok(), "comes with its file");
    bytes
}

#[test]
fn files_hold_the_pictures() {
    let scene = Scene::moving(66, 50, 9);
    for options in ["", ",format=NV12M", ",format=YUV420,stride=64"] {
        let file = file(&scene, 95, options);
        let seen = decoded(Kind::JpegDecoder, &[file]);
        let alike = seen[0].psnr(&scene);
        assert!(alike > 35.0, "{alike} dB with {options:?}");
    }
}

#[test]
fn better_files_are_larger() {
    let scene = Scene::noise(64, 64, 255);
    let (poor, good) = (file(&scene, 5, ""), file(&scene, 98, ""));
    assert!(
        good.len() > 3 * poor.len(),
        "{} and {}",
        poor.len(),
        good.len()
    );
}

#[test]
fn jpeg_has_its_own_colours() {
    let bench: Bench<Encoder<u32>> =
        Bench::new(device("jpegenc", Launch::in_thread(), Encoder::new));
    let mut wanted = bench.device.format(Flow::Output);
    wanted.color.colorspace = 3;
    wanted.color.quantization = 2;
    let color = bench.device.try_format(Flow::Output, &wanted).color;
    assert_eq!((color.colorspace, color.xfer_func), (8, 2));
    assert_eq!((color.ycbcr_enc, color.quantization), (1, 1));
    let color = bench.device.format(Flow::Capture).color;
    assert_eq!((color.colorspace, color.quantization), (7, 0));
    assert!(bench.device.interval(Flow::Output).is_none());
    let bench: Bench<Decoder<u32>> =
        Bench::new(device("jpegdec", Launch::in_thread(), Decoder::new));
    let color = bench.device.format(Flow::Capture).color;
    assert_eq!((color.colorspace, color.ycbcr_enc), (8, 1));
}

fn decoder(options: &str) -> Bench<Decoder<u32>> {
    let spec = format!("jpegdec,size=64x48{options}");
    let mut bench = Bench::new(device(&spec, Launch::in_thread(), Decoder::new));
    bench.make(Flow::Output, 4);
    bench.start(Flow::Output);
    bench
}

impl Bench<Decoder<u32>> {
    fn expect_change(&mut self) {
        self.until("a source change", |bench| bench.events.contains(&CHANGED));
        self.events.clear();
    }

    fn begin_capture(&mut self, count: u32) {
        self.make(Flow::Capture, count);
        self.start(Flow::Capture);
        (0..count).for_each(|index| self.queue_empty(index));
    }

    /// Checks that the next decoded picture equals the library's result for `file`.
    fn expect_picture(&mut self, file: &[u8], timestamp_ns: u64) -> u32 {
        let format = self.device.format(Flow::Capture);
        self.expect_picture_as(&format, file, timestamp_ns)
    }

    fn expect_picture_as(&mut self, format: &Format, file: &[u8], timestamp_ns: u64) -> u32 {
        let [expected] = &decoded(Kind::JpegDecoder, &[file.to_vec()])[..] else {
            panic!("one picture");
        };
        let info = self.take(Flow::Capture);
        assert!(!info.error);
        assert_eq!(info.timestamp_ns, timestamp_ns);
        let laid_out = expected.laid_out(format);
        for (plane, expected) in (0..).zip(&laid_out) {
            let seen = self.plane(Flow::Capture, info.index, plane).clone();
            let same = |(at, byte): (usize, &u8)| seen[at] == *byte || *byte == super::PADDING;
            assert!(expected.iter().enumerate().all(same), "plane {plane}");
        }
        info.index
    }
}

#[test]
fn each_file_gives_its_picture() {
    for options in ["", ",format=NV12M", ",format=YUV420", ",stride=128"] {
        let mut bench = decoder(options);
        let files: Vec<Vec<u8>> = (0..3)
            .map(|n| file(&Scene::moving(64, 48, n), 90, ""))
            .collect();
        for (index, file) in (0..).zip(&files) {
            bench.send(index, &[file], 10 + u64::from(index));
        }
        bench.expect_change();
        bench.begin_capture(3);
        for (stamp, file) in (10..).zip(&files) {
            bench.expect_picture(file, stamp);
        }
    }
}

#[test]
fn a_file_without_a_picture_is_an_error_and_no_more() {
    let good = file(&Scene::moving(64, 48, 1), 90, "");
    let mut bench = decoder("");
    bench.send(0, &[&good], 1);
    bench.expect_change();
    bench.begin_capture(4);
    bench.send(1, &[b"this is no JPEG file at all"], 2);
    bench.send(2, &[&good[..20]], 3);
    bench.send(3, &[&good], 4);
    bench.expect_picture(&good, 1);
    for stamp in [2, 3] {
        let info = bench.take(Flow::Capture);
        assert!(info.error, "file {stamp}");
        assert_eq!(info.timestamp_ns, stamp);
        assert_eq!(info.planes[0].unwrap().payload_bytes, 0);
    }
    bench.expect_picture(&good, 4);
    let outcomes: Vec<bool> = (0..4)
        .map(|_| bench.try_take(Flow::Output).unwrap().error)
        .collect();
    assert_eq!(outcomes, [false, true, true, false]);
    assert_eq!(bench.device.statistics().dropped, 2);
    let failure = bench.device.failure().expect("the report has the reason");
    assert!(failure.sentence().contains("JPEG"), "{failure}");
}

#[test]
fn a_file_that_is_cut_short_is_marked() {
    let good = file(&Scene::noise(64, 48, 255), 90, "");
    let mut bench = decoder("");
    bench.send(0, &[&good], 1);
    bench.expect_change();
    bench.begin_capture(2);
    bench.expect_picture(&good, 1);
    bench.send(1, &[&good[..good.len() / 2]], 2);
    let info = bench.take(Flow::Capture);
    assert!(info.error);
    assert_eq!(info.timestamp_ns, 2);
}

#[test]
fn the_size_changes_from_file_to_file() {
    let small = file(&Scene::moving(64, 48, 1), 90, "");
    let large = file(&Scene::moving(96, 80, 2), 90, "");
    let mut bench = decoder("");
    bench.send(0, &[&small], 1);
    bench.send(1, &[&large], 2);
    bench.expect_change();
    bench.begin_capture(2);
    let format = bench.device.format(Flow::Capture);
    let index = bench.expect_picture_as(&format, &small, 1);
    bench.queue_empty(index);
    let (info, bytes) = bench.receive();
    assert!(info.last && bytes.is_empty());
    bench.expect_change();
    bench.stop(Flow::Capture);
    bench.make(Flow::Capture, 0);
    let format = bench.device.format(Flow::Capture);
    assert_eq!((format.width, format.height), (96, 80));
    bench.begin_capture(2);
    bench.expect_picture(&large, 2);
    bench.command(Command::Stop).unwrap();
    let (info, bytes) = bench.receive();
    assert!(info.last && bytes.is_empty());
}

#[test]
fn pictures_of_odd_sizes_have_one_more_line() {
    // Another encoder makes this file, since the device's takes only even sizes.
    let file = odd(35, 21);
    for options in ["", ",format=YUV420", ",format=NV12M,stride=64"] {
        let mut bench = decoder(options);
        bench.send(0, &[&file], 1);
        bench.expect_change();
        bench.begin_capture(2);
        let format = bench.device.format(Flow::Capture);
        assert_eq!((format.width, format.height), (36, 22));
        let shown = bench
            .device
            .selection(Flow::Capture, SelectionTarget::Compose);
        assert_eq!(shown, Some(Rect::whole(35, 21)));
        let info = bench.take(Flow::Capture);
        assert!(!info.error);
        let expected = &decoded(Kind::JpegDecoder, std::slice::from_ref(&file))[0];
        let line = format.planes[0].bytesperline as usize;
        let luma = bench.plane(Flow::Capture, info.index, 0).clone();
        for (y, expected) in expected.planes[0].chunks_exact(35).enumerate() {
            let seen = &luma[y * line..];
            assert_eq!(seen[..35], *expected, "line {y}");
            assert_eq!(seen[35], expected[34], "line {y}: the column more");
        }
        assert_eq!(
            luma[20 * line..20 * line + 36],
            luma[21 * line..21 * line + 36]
        );
        if format.fourcc == FourCc::YUV420 {
            let u = &luma[line * 22..];
            assert_eq!(u[..18], expected.planes[1][..18]);
        }
    }
}

/// Makes a file of an odd size with the codec library.
fn odd(width: u32, height: u32) -> Vec<u8> {
    use rustix::event::{PollFd, PollFlags, poll};
    use vb3_codec::{Config, Event, Job, Planes, Subsampling, Worker};
    let scene = Scene::moving(width, height, 4);
    let mut worker = Worker::spawn(Kind::JpegEncoder, &Launch::in_thread()).unwrap();
    let config = Config::JpegEncoder {
        width,
        height,
        quality: 90,
        sampling: Subsampling::Yuv420,
        has_limited_range: false,
    };
    worker.submit(Job::Configure(config)).unwrap();
    let half = width.div_ceil(2) as usize;
    let picture = Planes {
        width,
        height,
        data: [&scene.planes[0], &scene.planes[1], &scene.planes[2]],
        strides: [width as usize, half, half],
    };
    worker
        .submit(Job::Encode {
            tag: 1,
            picture,
            force_key: false,
        })
        .unwrap();
    loop {
        match worker.poll() {
            Some(Event::Packet { data, .. }) => return data.bytes().to_vec(),
            Some(other) => panic!("{other:?}"),
            None => {
                let fd = worker.wake_fd();
                poll(&mut [PollFd::new(&fd, PollFlags::IN)], None).unwrap();
            }
        }
    }
}
