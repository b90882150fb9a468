mod gate;

use super::*;
use rustix::event::{PollFd, PollFlags, poll};
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;
use vb3_picture::{Background, Color, Picture, Quantization, read_number, render};
use vb3_v4l2::{FourCc, Fraction, pixfmt};

const RATE: Fraction = Fraction::new(1, 25);

fn shape(layout: &'static PixelFormat) -> Shape {
    Shape {
        format: layout,
        size: Size::nearest(34, 18),
        interval: RATE,
        color: Color::default(),
    }
}

fn picture(shape: Shape, number: u32) -> Frame {
    let mut frame = render(
        shape.format,
        shape.size,
        number,
        Background::Bars,
        &Picture::default(),
    );
    // Each sample differs from its neighbours, so that exchanged samples are noticed.
    for (at, byte) in frame.bytes_mut().iter_mut().enumerate().skip(64) {
        *byte = byte.wrapping_add((at * 37 % 251) as u8);
        // The lower 6 of 16 bits are not part of the sample.
        if shape.format.bits > 8 && at % 2 == 0 {
            *byte &= 0xc0;
        }
    }
    frame
}

/// Shows a picture as a display does: waits for room first.
fn show(sink: &mut Sink, frame: Frame) {
    loop {
        sink.acknowledge();
        if sink.has_room() {
            sink.show(frame);
            return;
        }
        let fd = sink
            .wake_fd()
            .expect("a sink without room has a descriptor");
        let mut fds = [PollFd::new(&fd, PollFlags::IN)];
        let limit = rustix::event::Timespec {
            tv_sec: 60,
            tv_nsec: 0,
        };
        assert_eq!(
            poll(&mut fds, Some(&limit)),
            Ok(1),
            "no wake-up within a minute"
        );
    }
}

fn record(spec: &SinkSpec, shape: Shape, count: u32) -> Counters {
    let mut sink = Sink::open(spec).expect("a sink");
    sink.begin(shape).expect("a layout it takes");
    for number in 0..count {
        let mut frame = sink.take_frame(shape.format, shape.size);
        frame.clone_from(&picture(shape, number));
        show(&mut sink, frame);
    }
    sink.finish()
}

/// Decodes a file with ffmpeg to raw samples; `None` without ffmpeg.
fn decode(path: &Path, pixel: &str) -> Option<Vec<u8>> {
    let output = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-i"])
        .arg(path)
        .args(["-f", "rawvideo", "-pix_fmt", pixel, "-"])
        .output();
    match output {
        Ok(output) => {
            assert!(
                output.stderr.is_empty(),
                "{}",
                String::from_utf8_lossy(&output.stderr)
            );
            Some(output.stdout)
        }
        Err(e) => {
            vb3_skip::skip(format_args!("ffmpeg does not start ({e})"));
            None
        }
    }
}

/// Returns the bytes of an NV16 picture with separate planes of U and V.
fn planes_of(frame: &Frame) -> Vec<u8> {
    let chroma = frame.component(1).chunks_exact(2);
    let luma = frame.component(0).iter().copied();
    let (u, v) = (
        chroma.clone().map(|pair| pair[0]),
        chroma.map(|pair| pair[1]),
    );
    luma.chain(u).chain(v).collect()
}

#[test]
fn ffmpeg_reads_y4m_byte_for_byte() {
    let directory = TempDir::new().expect("a directory");
    for (layout, chroma, name) in [
        (&pixfmt::NV12, "420jpeg", "nv12"),
        (&pixfmt::NV21, "420jpeg", "nv21"),
        (&pixfmt::YUV420, "420jpeg", "yuv420p"),
        (&pixfmt::YUYV, "422", "yuyv422"),
        (&pixfmt::UYVY, "422", "uyvy422"),
        (&pixfmt::NV16, "422", "yuv422p"),
        (&pixfmt::P010, "420p10", "p010le"),
        (&pixfmt::GREY, "mono", "gray"),
    ] {
        let path = directory.path().join(format!("{name}.y4m"));
        let done = record(&SinkSpec::Y4m(path.clone()), shape(layout), 20);
        assert_eq!((done.shown, done.written, done.lost), (20, 20, 0));
        let file = std::fs::read(&path).expect("the recording");
        let header = format!("YUV4MPEG2 W34 H18 F25:1 Ip A1:1 C{chroma} XCOLORRANGE=LIMITED\n");
        assert!(file.starts_with(header.as_bytes()));
        let picture_bytes = "FRAME\n".len() + vb3_picture::bytes(layout, shape(layout).size);
        assert_eq!(file.len(), header.len() + 20 * picture_bytes);
        let Some(decoded) = decode(&path, name) else {
            continue;
        };
        let shown: Vec<u8> = (0..20)
            .flat_map(|n| match layout.fourcc {
                // swscale does not write this format.
                FourCc::NV16 => planes_of(&picture(shape(layout), n)),
                _ => picture(shape(layout), n).bytes().to_vec(),
            })
            .collect();
        assert!(decoded == shown, "{layout:?}");
    }
}

#[test]
fn another_range_begins_another_y4m() {
    let directory = TempDir::new().expect("a directory");
    let path = directory.path().join("a.y4m");
    let mut sink = Sink::open(&SinkSpec::Y4m(path)).expect("a sink");
    for range in [Quantization::Limited, Quantization::Full] {
        let mut shape = shape(&pixfmt::NV12);
        shape.color.range = range;
        sink.begin(shape).expect("a layout it takes");
        show(&mut sink, picture(shape, 1));
    }
    assert_eq!(sink.finish().written, 2);
    for (name, range) in [("a.y4m", "LIMITED"), ("a.2.y4m", "FULL")] {
        let file = std::fs::read(directory.path().join(name)).expect("a file");
        let end = file.iter().position(|byte| *byte == b'\n');
        let header = String::from_utf8_lossy(&file[..end.expect("a line")]);
        assert!(
            header.ends_with(&format!("XCOLORRANGE={range}")),
            "{header}"
        );
    }
}

#[test]
fn y4m_refuses_rgb() {
    let directory = TempDir::new().expect("a directory");
    let mut sink = Sink::open(&SinkSpec::Y4m(directory.path().join("a.y4m"))).expect("a sink");
    assert!(!sink.kind.accepts(&pixfmt::RGB24));
    let failure = sink.begin(shape(&pixfmt::RGB24)).expect_err("no RGB");
    assert!(failure.sentence().contains("png"), "{failure}");
}

#[test]
fn raw_files_hold_the_bytes_shown() {
    let directory = TempDir::new().expect("a directory");
    for layout in [&pixfmt::YUYV, &pixfmt::NV12, &pixfmt::RGB24] {
        let path = directory.path().join("a.raw");
        record(&SinkSpec::Raw(path.clone()), shape(layout), 3);
        let shown: Vec<u8> = (0..3)
            .flat_map(|n| picture(shape(layout), n).bytes().to_vec())
            .collect();
        assert!(
            std::fs::read(&path).expect("the recording") == shown,
            "{layout:?}"
        );
    }
}

#[test]
fn png_files_hold_the_picture_as_rgb() {
    let directory = TempDir::new().expect("a directory");
    for layout in [&pixfmt::RGB24, &pixfmt::NV12, &pixfmt::YUYV] {
        let name = directory.path().join("made/for/it/%03d.png");
        let name = name.to_str().expect("a name in UTF-8");
        let done = record(&SinkSpec::Png(name.to_owned()), shape(layout), 3);
        assert_eq!((done.written, done.lost), (3, 0));
        for number in 0..3 {
            let path = directory
                .path()
                .join(format!("made/for/it/{number:03}.png"));
            let file = std::io::BufReader::new(std::fs::File::open(path).expect("a file"));
            let mut reader = ::png::Decoder::new(file).read_info().expect("a PNG");
            let mut rgb = vec![0; reader.output_buffer_size().expect("a small picture")];
            let info = reader.next_frame(&mut rgb).expect("a picture");
            assert_eq!((info.width, info.height), (34, 18));
            assert_eq!(info.color_type, ::png::ColorType::Rgb);
            assert!(
                rgb == picture(shape(layout), number).to_rgb(),
                "{layout:?} {number}"
            );
        }
    }
}

#[test]
fn a_png_that_cannot_be_opened_stays() {
    let directory = TempDir::new().expect("a directory");
    let link = directory.path().join("0.png");
    std::os::unix::fs::symlink("no/such/place", &link).expect("a link");
    let name = directory.path().join("%d.png");
    let name = name.to_str().expect("a name in UTF-8").to_owned();
    let done = record(&SinkSpec::Png(name), shape(&pixfmt::RGB24), 2);
    assert_eq!((done.written, done.lost), (1, 1));
    assert!(link.is_symlink(), "it is not deleted");
}

#[test]
fn another_shape_begins_another_file() {
    let directory = TempDir::new().expect("a directory");
    let path = directory.path().join("a.y4m");
    let mut sink = Sink::open(&SinkSpec::Y4m(path.clone())).expect("a sink");
    let (first, second) = (shape(&pixfmt::NV12), shape(&pixfmt::YUYV));
    for shape in [first, first, second, first] {
        sink.begin(shape).expect("a layout it takes");
        show(&mut sink, picture(shape, 1));
    }
    assert_eq!(sink.finish().written, 4);
    let frames = |name: &str| {
        let file = std::fs::read(directory.path().join(name)).expect(name);
        file.windows(6)
            .filter(|window| window == b"FRAME\n")
            .count()
    };
    assert_eq!(["a.y4m", "a.2.y4m", "a.3.y4m"].map(frames), [2, 1, 1]);
    assert!(!directory.path().join("a.4.y4m").exists());
}

#[test]
fn paths_that_cannot_be_written_are_one_sentence() {
    let directory = TempDir::new().expect("a directory");
    let nowhere = directory.path().join("missing/a.y4m");
    for spec in [SinkSpec::Y4m(nowhere.clone()), SinkSpec::Raw(nowhere)] {
        let failure = Sink::open(&spec).expect_err("no such directory");
        assert!(
            failure.sentence().starts_with("cannot create "),
            "{failure}"
        );
        assert!(
            failure.sentence().contains("No such file or directory"),
            "{failure}"
        );
    }
    let file = directory.path().join("file");
    std::fs::write(&file, "").expect("a file");
    let below = format!("{}/%d.png", file.display());
    let failure = Sink::open(&SinkSpec::Png(below)).expect_err("a file is no directory");
    assert!(
        failure
            .sentence()
            .starts_with("cannot create the directory"),
        "{failure}"
    );
}

#[test]
fn a_full_disk_loses_frames_and_says_so() {
    if !Path::new("/dev/full").exists() {
        vb3_skip::skip("there is no /dev/full here");
        return;
    }
    let done = record(&SinkSpec::Raw("/dev/full".into()), shape(&pixfmt::NV12), 6);
    assert_eq!((done.shown, done.written, done.lost), (6, 0, 6));
    let failure = done.failure.expect("a reason");
    assert!(
        failure.sentence().contains("No space left on device"),
        "{failure}"
    );
}

#[test]
fn a_file_that_cannot_begin_loses_its_frames() {
    let directory = TempDir::new().expect("a directory");
    let path = directory.path().join("a.raw");
    std::fs::create_dir(directory.path().join("a.2.raw")).expect("a directory");
    let mut sink = Sink::open(&SinkSpec::Raw(path.clone())).expect("a sink");
    let (first, second) = (shape(&pixfmt::NV12), shape(&pixfmt::YUYV));
    sink.begin(first).expect("a layout it takes");
    show(&mut sink, picture(first, 1));
    sink.begin(second).expect("a layout it takes");
    show(&mut sink, picture(second, 1));
    show(&mut sink, picture(second, 2));
    let done = sink.finish();
    assert_eq!((done.written, done.lost), (1, 2));
    let failure = done.failure.expect("a reason");
    assert!(failure.sentence().contains("a.2.raw"), "{failure}");
    let file = std::fs::read(path).expect("the first file");
    assert_eq!(file, picture(first, 1).bytes());
}

#[test]
fn checksums_are_those_of_ffmpeg() {
    let shape = shape(&pixfmt::NV12);
    let directory = TempDir::new().expect("a directory");
    let path = directory.path().join("a.yuv");
    let mut sink = Sink::open(&SinkSpec::Raw(path.clone())).expect("a sink");
    sink.begin(shape).expect("a layout it takes");
    let mut ours = Vec::new();
    for number in 0..5 {
        ours.push(picture(shape, number).checksum());
        show(&mut sink, picture(shape, number));
    }
    sink.finish();
    let output = Command::new("ffmpeg")
        .args([
            "-nostdin", "-v", "error", "-f", "rawvideo", "-pix_fmt", "nv12", "-s", "34x18", "-i",
        ])
        .arg(&path)
        .args(["-c", "copy", "-f", "framehash", "-hash", "crc32", "-"])
        .output();
    let Ok(output) = output else {
        vb3_skip::skip("ffmpeg does not start");
        return;
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let sums: Vec<u32> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| u32::from_str_radix(line.rsplit(',').next()?.trim(), 16).ok())
        .collect();
    assert_eq!(sums.len(), 5, "{text}");
    assert_eq!(ours, sums);
}

#[test]
fn small_pictures_are_few_and_evenly_spread() {
    let shape = Shape {
        size: Size::nearest(640, 32),
        ..shape(&pixfmt::YUYV)
    };
    let mut sink = Sink::open(&SinkSpec::Null).expect("no file");
    sink.keep_thumbnails();
    sink.begin(shape).expect("a layout it takes");
    let mut frame = render(
        shape.format,
        shape.size,
        0,
        Background::Bars,
        &Picture::default(),
    );
    for _ in 0..100 {
        sink.show(frame);
        frame = sink.take_frame(shape.format, shape.size);
    }
    let all = sink.thumbnails(usize::MAX);
    let numbers: Vec<u64> = all.iter().map(|thumb| thumb.number).collect();
    assert_eq!(numbers, (0..100).step_by(4).collect::<Vec<u64>>());
    assert!(
        all.iter()
            .all(|thumb| (thumb.width, thumb.height) == (320, 16))
    );
    assert!(all.iter().all(|thumb| thumb.rgb.len() == 320 * 16 * 3));
    let some: Vec<u64> = sink
        .thumbnails(3)
        .iter()
        .map(|thumb| thumb.number)
        .collect();
    assert_eq!(some, [0, 48, 96]);
    assert_eq!(sink.thumbnails(1).len(), 1);
    assert!(sink.thumbnails(0).is_empty());
}

#[test]
fn the_last_picture_stays_at_hand() {
    let shape = shape(&pixfmt::RGB24);
    let mut sink = Sink::open(&SinkSpec::Null).expect("no file");
    sink.begin(shape).expect("a layout it takes");
    for number in 0..4 {
        let shown = sink.show(render(
            shape.format,
            shape.size,
            number,
            Background::Grey,
            &Picture::default(),
        ));
        let spare = sink.take_frame(&pixfmt::YUYV, Size::nearest(4, 4));
        assert_eq!(spare.bytes().len(), 32);
        assert_eq!(read_number(&shown).0, number);
        let memory = spare.bytes().as_ptr();
        sink.put_back(Some(spare));
        sink.put_back(None);
        let spare = sink.take_frame(&pixfmt::YUYV, Size::nearest(4, 4));
        assert_eq!(spare.bytes().as_ptr(), memory, "used again");
        sink.put_back(Some(spare));
    }
    assert_eq!(
        sink.counters(),
        Counters {
            shown: 4,
            written: 4,
            lost: 0,
            failure: None
        }
    );
}

#[test]
fn a_slow_recorder_pushes_back_and_loses_nothing() {
    let (mut sink, gate) = Sink::gated();
    let shape = shape(&pixfmt::NV12);
    sink.begin(shape).expect("a layout it takes");
    let mut shown = 0;
    while sink.has_room() {
        sink.show(picture(shape, 0));
        shown += 1;
        assert!(shown < 100, "there is always room");
    }
    let readable = |sink: &Sink, wait| {
        let fd = sink.wake_fd().expect("a descriptor");
        let limit = rustix::event::Timespec {
            tv_sec: wait,
            tv_nsec: 0,
        };
        poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&limit))
    };
    // The thread may have taken a picture since the last check. Then the descriptor is readable.
    let taken = readable(&sink, 0) == Ok(1);
    assert!(!taken || sink.has_room());
    gate.allow(1);
    assert_eq!(readable(&sink, 60), Ok(1), "no wake-up within a minute");
    sink.acknowledge();
    assert!(sink.has_room());
    gate.allow(u32::MAX / 2);
    let done = sink.finish();
    assert_eq!((done.shown, done.written, done.lost), (shown, shown, 0));
}

#[test]
fn a_picture_is_saved_to_a_regular_file_only() {
    let directory = TempDir::new().expect("a directory");
    let shape = shape(&pixfmt::RGB24);
    let frame = picture(shape, 3);
    let path = directory.path().join("picture");
    std::fs::write(&path, [7; 100_000]).expect("a longer file");
    assert_eq!(save(&frame, &path, FileFormat::Raw), Ok(()));
    let written = std::fs::read(&path).expect("the file");
    assert!(written == frame.bytes(), "the longer file is replaced");
    let path = directory.path().join("new.png");
    assert_eq!(save(&frame, &path, FileFormat::Png), Ok(()));
    assert!(png_pixels(&path) == frame.to_rgb());
    let pipe = directory.path().join("pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, Mode::RWXU).expect("a pipe");
    // A reader, without which the pipe cannot be opened for writing.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK;
    let reader = open(&pipe, flags, Mode::empty()).expect("a reader");
    for (path, reason) in [
        (pipe.as_path(), "it is not a regular file"),
        (Path::new("/dev/null"), "it is not a regular file"),
        (directory.path(), "Is a directory"),
    ] {
        let failure = save(&frame, path, FileFormat::Raw).expect_err("no file");
        assert!(failure.to_string().contains(reason), "{failure}");
    }
    drop(reader);
}

/// Returns the red, green and blue bytes in a PNG file.
fn png_pixels(path: &Path) -> Vec<u8> {
    let file = std::io::BufReader::new(File::open(path).expect("a file"));
    let mut reader = ::png::Decoder::new(file).read_info().expect("a PNG");
    let mut bytes = vec![0; reader.output_buffer_size().expect("a small picture")];
    reader.next_frame(&mut bytes).expect("a picture");
    bytes
}

#[test]
fn a_thumbnail_has_some_of_the_pixels() {
    let size = Size::nearest(64, 32);
    let frame = render(
        &pixfmt::RGB24,
        size,
        3,
        Background::Bars,
        &Picture::default(),
    );
    let whole = thumb::Thumbnail::of(&frame, 9);
    assert_eq!((whole.number, whole.width, whole.height), (9, 64, 32));
    assert!(whole.rgb == frame.bytes());
    // Every fourth pixel of every fourth line.
    let small = whole.within(20);
    assert_eq!((small.number, small.width, small.height), (9, 16, 8));
    for (at, pixel) in small.rgb.chunks_exact(3).enumerate() {
        let from = (at / 16 * 4 * 64 + at % 16 * 4) * 3;
        assert_eq!(pixel, &frame.bytes()[from..from + 3], "{at}");
    }
    assert!(whole.within(64) == whole && whole.within(0).rgb.len() == 3);
    let directory = TempDir::new().expect("a directory");
    let path = directory.path().join("small.png");
    std::fs::write(&path, small.png()).expect("a file");
    assert!(png_pixels(&path) == small.rgb);
}
