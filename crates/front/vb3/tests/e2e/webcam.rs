//! Webcam programs: lists of sizes and rates, JPEG files, pipelines without caps.

use crate::common::{Run, RunOutput, lacks};
use vb3_picture::{Background, Frame, Picture, Size, read_number, render};
use vb3_v4l2::pixfmt;

fn size() -> Size {
    Size::new(320, 240).unwrap()
}

fn gstreamer_without_caps_on_every_machine(machines: &[&str]) {
    if lacks("gst-launch-1.0") {
        return;
    }
    for &machine in machines {
        let outcome = Run::on(machine)
            .device("camera=pattern")
            .program(["gst-launch-1.0", "-q", "v4l2src", "num-buffers=8"])
            .and(["!", "fakesink"])
            .run();
        outcome.expect_success();
        assert!(outcome.queue("/dev/video0").frames >= 8, "{machine}");
    }
}

/// Reads the numbers of the pattern's frames after JPEG coding, from RGB24.
fn numbers(bytes: &[u8]) -> Vec<u32> {
    let frames = bytes.chunks_exact(vb3_picture::bytes(&pixfmt::RGB24, size()));
    let number = |data: &[u8]| {
        let frame = Frame::from_bytes(&pixfmt::RGB24, size(), data.to_vec()).unwrap();
        let (number, bits) = read_number(&frame);
        assert_eq!(bits, 32);
        let sent = render(
            &pixfmt::RGB24,
            size(),
            number,
            Background::Bars,
            &Picture::default(),
        );
        let samples = sent.bytes().iter().zip(data);
        let error: u64 = samples.map(|(a, b)| u64::from(a.abs_diff(*b)).pow(2)).sum();
        let mean = error / data.len() as u64;
        assert!(mean < 40, "frame {number}: mean square error {mean}");
        number
    };
    frames.map(number).collect()
}

fn expect_numbers(outcome: &RunOutput, count: usize) {
    outcome.expect_success();
    let numbers = numbers(&outcome.read("frames.rgb"));
    assert_eq!(numbers.len(), count);
    assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
}

#[test]
fn ffmpeg_and_gstreamer_take_motion_jpeg() {
    if lacks("ffmpeg") || lacks("gst-launch-1.0") {
        return;
    }
    let outcome = Run::on("pc")
        .device("camera=pattern")
        .program([
            "ffmpeg",
            "-v",
            "error",
            "-f",
            "v4l2",
            "-input_format",
            "mjpeg",
        ])
        .and([
            "-video_size",
            "320x240",
            "-i",
            "/dev/video0",
            "-frames:v",
            "6",
        ])
        .and(["-fps_mode", "passthrough", "-pix_fmt", "rgb24"])
        .and(["-f", "rawvideo", "frames.rgb"])
        .run();
    expect_numbers(&outcome, 6);
    let outcome = Run::on("soc-iommu")
        .device("camera=pattern")
        .program(["gst-launch-1.0", "-q", "v4l2src", "num-buffers=6", "!"])
        .and([
            "image/jpeg,width=320,height=240,framerate=30/1",
            "!",
            "jpegdec",
            "!",
        ])
        .and(["videoconvert", "!", "video/x-raw,format=RGB", "!"])
        .and(["filesink", "location=frames.rgb"])
        .run();
    expect_numbers(&outcome, 6);
}

#[test]
fn sizes_and_rates_are_listed_one_by_one() {
    if lacks("v4l2-ctl") || lacks("ffmpeg") {
        return;
    }
    let outcome = Run::on("pc")
        .device("camera=pattern,sizes=640x480:320x240,rates=30:15,formats=YUYV:MJPG")
        .program(["v4l2-ctl", "-d", "/dev/video0", "--list-formats-ext"])
        .run();
    outcome.expect_success();
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let lines: Vec<String> = outcome.stdout.lines().map(words).collect();
    let count = |wanted: &str| lines.iter().filter(|line| line.as_str() == wanted).count();
    for (wanted, times) in [
        ("[0]: 'YUYV' (YUYV 4:2:2)", 1),
        ("[1]: 'MJPG' (Motion-JPEG, compressed)", 1),
        ("Size: Discrete 640x480", 2),
        ("Size: Discrete 320x240", 2),
        ("Interval: Discrete 0.033s (30.000 fps)", 4),
        ("Interval: Discrete 0.067s (15.000 fps)", 4),
    ] {
        assert_eq!(count(wanted), times, "{wanted}: {}", outcome.stdout);
    }
    assert!(!outcome.stdout.contains("[2]"), "{}", outcome.stdout);
    let notes = &outcome.report.notes;
    assert_eq!(notes[..], ["/dev/video0 was listed but not used"]);

    let outcome = Run::on("pc")
        .device("camera=pattern,sizes=640x480:320x240,formats=YUYV:MJPG")
        .program([
            "ffmpeg",
            "-hide_banner",
            "-f",
            "v4l2",
            "-list_formats",
            "all",
        ])
        .and(["-i", "/dev/video0"])
        .run();
    for format in ["yuyv422", "mjpeg"] {
        let line = outcome.stderr.lines().find(|line| line.contains(format));
        let line = line.unwrap_or_else(|| panic!("no {format}: {}", outcome.stderr));
        assert!(line.ends_with(": 640x480 320x240"), "{line}");
    }
}

#[test]
fn listing_causes_no_event_for_a_used_device() {
    if lacks("v4l2-ctl") {
        return;
    }
    let list = |n: u32| format!("v4l2-ctl -d {n} --list-formats-ext >listed");
    let both = format!("{}; {}", list(0), list(1));
    let used = format!("{both}; v4l2-ctl -d 2 --stream-out-mmap --stream-count=2");
    for (script, notes) in [
        (
            both,
            &["/dev/video0, /dev/video1 were listed but not used"][..],
        ),
        (used, &[]),
    ] {
        let mut run = Run::on("pc");
        for device in ["camera=pattern", "convert", "display=null,pace=free"] {
            run = run.device(device);
        }
        let outcome = run.program(["sh", "-c", &script]).run();
        outcome.expect_success();
        assert_eq!(outcome.report.notes, notes);
    }
}

/// Returns the sampling factors of a file's components, from its first SOF segment.
fn sampling(file: &[u8]) -> Vec<u8> {
    let mut at = 2;
    loop {
        let (marker, len) = (
            file[at + 1],
            usize::from(file[at + 2]) << 8 | usize::from(file[at + 3]),
        );
        if marker == 0xc0 {
            let count = usize::from(file[at + 9]);
            return (0..count).map(|n| file[at + 11 + 3 * n]).collect();
        }
        at += 2 + len;
    }
}

/// UVC webcams have this sampling, and guvcview relies on it.
#[test]
fn motion_jpeg_has_chroma_in_every_line() {
    if lacks("v4l2-ctl") || lacks("ffprobe") {
        return;
    }
    let outcome = Run::on("pc")
        .device("camera=pattern,format=MJPG,size=320x240")
        .program(["v4l2-ctl", "-d", "/dev/video0", "--stream-mmap=4"])
        .and(["--stream-count=1", "--stream-to=frame.jpg"])
        .run();
    outcome.expect_success();
    assert_eq!(sampling(&outcome.read("frame.jpg")), [0x21, 0x11, 0x11]);
    let mut ffprobe = std::process::Command::new("ffprobe");
    ffprobe.args([
        "-v",
        "error",
        "-show_entries",
        "stream=pix_fmt",
        "frame.jpg",
    ]);
    let said = ffprobe.current_dir(outcome.dir.path()).output().unwrap();
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.contains("pix_fmt=yuvj422p"), "{said}");
}

/// Programs that take the first known format would choose a grey one.
#[test]
fn a_webcam_offers_yuyv_and_mjpg() {
    if lacks("v4l2-ctl") {
        return;
    }
    for (options, wanted) in [
        ("", vec!["'YUYV'", "'MJPG'"]),
        (",format=NV12", vec!["'NV12'"]),
        (",formats=GREY:YUYV", vec!["'GREY'", "'YUYV'"]),
    ] {
        let outcome = Run::on("pc")
            .device(format!("camera=pattern{options}"))
            .program(["v4l2-ctl", "-d", "/dev/video0", "--list-formats"])
            .run();
        outcome.expect_success();
        let words = outcome.stdout.split_whitespace();
        let found: Vec<&str> = words.filter(|word| word.starts_with('\'')).collect();
        assert_eq!(found[found.len() - wanted.len()..], wanted, "{options}");
        let lines = outcome.stdout.lines().filter(|line| line.contains("]: '"));
        assert_eq!(lines.count(), wanted.len(), "{options}: {}", outcome.stdout);
    }
}

crate::common::on_machines! {
    gstreamer_without_caps_on_every_machine
}
