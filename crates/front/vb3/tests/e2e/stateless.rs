//! Stateless decoders. H.264: GStreamer's `v4l2slh264dec` gets ffmpeg's own pictures, and wrong
//! or random controls do no harm.

pub(crate) mod av1;
mod fields;
mod frames;

use crate::common::{Run, RunOutput, compiled, ffmpeg, lacks, lacks_libavcodec, patiently};
use crate::streams::by_ffmpeg;
use std::path::Path;

const DEVICE: &str = "h264dec-stateless";

/// Decodes `stream.h264` to `pictures.raw`.
const PLAYER: &str = "gst-launch-1.0 -q filesrc location=stream.h264 ! h264parse ! v4l2slh264dec \
                      ! video/x-raw,format=NV12 ! filesink location=pictures.raw";

fn lacks_player() -> bool {
    lacks("gst-launch-1.0") || lacks("ffmpeg") || lacks_libavcodec()
}

fn played(machine: &str, options: &str, stream: &[u8]) -> RunOutput {
    let device = format!("{DEVICE}{options}");
    let run = Run::on(machine).device(device);
    std::fs::write(run.file("stream.h264"), stream).unwrap();
    let outcome = run.program(patiently(PLAYER)).run();
    outcome.expect_success();
    outcome
}

/// Asserts that GStreamer gets ffmpeg's pictures of a stream. Returns their number.
fn expect_exact(machine: &str, options: &str, stream: &[u8], size: &str) -> usize {
    let pictures = by_ffmpeg(stream, size);
    assert!(!pictures.is_empty(), "ffmpeg gives no pictures");
    let wanted: Vec<u8> = pictures.iter().flat_map(|picture| picture.nv12()).collect();
    expect_pictures(machine, options, stream, &wanted, pictures.len());
    pictures.len()
}

/// Asserts that GStreamer gets exactly the wanted pictures of a stream.
fn expect_pictures(machine: &str, options: &str, stream: &[u8], wanted: &[u8], count: usize) {
    let outcome = played(machine, options, stream);
    let found = outcome.read("pictures.raw");
    let bytes = wanted.len() / count;
    let differs = found
        .chunks(bytes)
        .zip(wanted.chunks(bytes))
        .position(|(a, b)| a != b);
    assert_eq!(differs, None, "{machine}: the first picture that differs");
    assert_eq!(found.len(), wanted.len(), "{machine}: bytes of pictures");
    assert_eq!(outcome.report.total(|queue| queue.dropped), 0);
}

fn encoded(size: &str, profile: &str, x264: &str) -> Vec<u8> {
    let source = format!("testsrc2=size={size}:rate=25");
    let params = format!("threads=1:{x264}");
    let mut words = vec!["-f", "lavfi", "-i", &source, "-frames:v", "20"];
    words.extend(["-pix_fmt", "yuv420p", "-c:v", "libx264", "-preset", "fast"]);
    words.extend(["-profile:v", profile, "-x264-params", &params]);
    words.extend(["-f", "h264", "-"]);
    ffmpeg(words)
}

/// Size, profile and options of streams. Together, the streams have reordered pictures, all kinds of
/// prediction, both entropy coders, several slices, both transforms, scaling lists, open groups, cropping to
/// pairs of lines, and field macroblocks.
const STREAMS: [(&str, &str, &str); 6] = [
    ("320x240", "baseline", "bframes=0:ref=3"),
    (
        "176x144",
        "main",
        "bframes=3:b-adapt=0:b-pyramid=normal:direct=spatial:slices=4",
    ),
    (
        "176x144",
        "main",
        "bframes=5:weightb=1:weightp=2:direct=temporal:ref=8:keyint=8:open-gop=1",
    ),
    (
        "132x90",
        "high",
        "8x8dct=1:cqm=jvt:bframes=2:crf=12:partitions=all",
    ),
    ("132x90", "high", "8x8dct=1:cqm=jvt:cabac=0:slices=3"),
    ("176x144", "high", "tff=1:bframes=2:8x8dct=1"),
];

#[test]
fn gstreamer_gets_ffmpegs_pictures() {
    if lacks_player() {
        return;
    }
    let machines = ["pc", "soc-cma", "soc-noncoherent", "vm-bounce"];
    let machines = machines.into_iter().cycle();
    for ((size, profile, x264), machine) in STREAMS.into_iter().zip(machines) {
        let stream = encoded(size, profile, x264);
        let count = expect_exact(machine, "", &stream, size);
        assert_eq!(count, 20, "{machine}: {x264}");
    }
    // Lines longer than the codec library's.
    let (size, profile, x264) = STREAMS[1];
    expect_exact("pc", ",stride=1024", &encoded(size, profile, x264), size);
}

/// Each field is a separate request, and both go to one buffer.
#[test]
fn two_fields_meet_in_one_buffer() {
    if lacks_player() {
        return;
    }
    let stream = fields::stream(12);
    let count = expect_exact("pc", "", &stream, fields::SIZE);
    assert_eq!(count, 12);
}

/// One stream crops at the left and at the top. Programs must crop themselves. GStreamer 1.22 does not: it
/// uses the top left part.
#[test]
fn the_jvts_streams_are_exact() {
    if lacks_player() {
        return;
    }
    let Some(files) = crate::exact::vectors() else {
        return;
    };
    let mut count = 0;
    for file in &files {
        let name = file.file_name().to_string_lossy().into_owned();
        if name.starts_with("CVFC1") {
            expect_top_left(&file.path());
        } else {
            let stream = std::fs::read(file.path()).unwrap();
            let size = crate::exact::size_of(&file.path());
            let pictures = expect_exact("pc", "", &stream, &size);
            println!("{name}: {pictures} pictures");
        }
        count += 1;
    }
    println!("{count} streams, each exact");
}

/// Compares with the top left of ffmpeg's uncropped pictures.
fn expect_top_left(file: &Path) {
    let size = crate::exact::size_of(file);
    let (width, height) = size.split_once('x').unwrap();
    let (width, height): (usize, usize) = (width.parse().unwrap(), height.parse().unwrap());
    let crop = format!("crop={width}:{height}:0:0");
    let file = file.to_str().unwrap();
    let mut words = vec!["-flags", "+unaligned", "-apply_cropping", "0", "-i", file];
    words.extend(["-fps_mode", "passthrough", "-vf", &crop]);
    words.extend(["-pix_fmt", "nv12", "-f", "rawvideo", "-"]);
    let wanted = ffmpeg(words);
    let stream = std::fs::read(file).unwrap();
    let count = wanted.len() / (width * height * 3 / 2);
    expect_pictures("pc", "", &stream, &wanted, count);
    println!("{file}: the top left of {count} pictures");
}

/// v4l2-compliance streams (`-s`) only without requests. These decoders refuse to stream without requests.
#[test]
fn compliance() {
    if lacks("v4l2-compliance") || lacks_libavcodec() {
        return;
    }
    let devices = [
        (DEVICE, 4),
        ("hevcdec-stateless", 4),
        ("vp8dec-stateless", 1),
        ("vp9dec-stateless", 2),
        ("av1dec-stateless", 4),
    ];
    for (device, compounds) in devices {
        for node in [["-d", "/dev/video0"], ["-m", "/dev/media0"]] {
            let run = Run::on("soc-cma").device(device);
            let outcome = run.program(["v4l2-compliance"]).and(node).run();
            let text = &outcome.stdout;
            let clean = text.trim_end().ends_with("Failed: 0, Warnings: 0");
            assert!(clean, "{device} {node:?}:\n{text}");
            let wanted = format!("Standard Compound Controls: {compounds} ");
            assert!(text.contains(&wanted), "{text}");
            // Tests of requests are among the media device's.
            assert!(node[0] == "-d" || text.contains("test Requests: OK"));
            outcome.expect_success();
        }
    }
}

/// Runs the client with these arguments.
fn client(machine: &str, words: &[&str]) -> Option<RunOutput> {
    if lacks_libavcodec() {
        return None;
    }
    let program = compiled("stateless.c")?;
    let outcome = Run::on(machine)
        .device(DEVICE)
        .program([program.as_os_str()])
        .and(["/dev/video0", "/dev/media0"])
        .and(words)
        .run();
    outcome.expect_success();
    Some(outcome)
}

const CALLS: &str = "\
64x64
requests=1 hold=1
get short ENOSPC 1048
set short EFAULT 1
unmapped EFAULT
plain ok
4:2:2 in High EINVAL
4:2:2 EINVAL
10 bits EINVAL
15 bits EINVAL
without meaning ok 0 0 1
quantiser EINVAL
nal_ref_idc EINVAL
without request EBADR
for pictures EPERM
";

#[test]
fn wrong_calls_fail_as_on_linux() {
    if let Some(outcome) = client("pc", &["calls"]) {
        assert_eq!(outcome.stdout, CALLS);
    }
}

const REFUSED: &str = "\
64x64
requests=1 hold=1
groups errors=11 stamp=7
wide errors=11 stamp=7
other set errors=11 stamp=7
noise errors=11 stamp=7
half errors=11 stamp=7
all 91
";

/// Each refused picture returns with the error flag and a reason. A good picture after them is
/// decoded.
#[test]
fn undecoded_pictures_are_flagged_and_explained() {
    let Some(outcome) = client("soc-noncoherent", &["refused"]) else {
        return;
    };
    assert_eq!(outcome.stdout, REFUSED);
    let why = outcome.why();
    for reason in [
        "2 slice groups",
        "pictures of 160x64",
        "uses picture parameter set 0, and the request has number 3",
        "no slice",
    ] {
        assert!(why.contains(reason), "{reason}:\n{why}");
    }
}

const HOLD: &str = "\
64x64
requests=1 hold=1
held 0: EAGAIN
held 1: 
buffer 0 stamp=10 flags=0
all 60
buffer 1 stamp=11
all 70
buffer -1 error=0
buffer 0 error=1
";

#[test]
fn a_held_buffer_waits_for_the_same_timestamp() {
    if let Some(outcome) = client("pc", &["hold"]) {
        assert_eq!(outcome.stdout, HOLD);
    }
}

#[test]
#[ignore = "full: a storm"]
fn controls_and_slices_at_random_do_no_harm() {
    for seed in ["1", "2", "3"] {
        let Some(outcome) = client("pc", &["random", seed, "300"]) else {
            return;
        };
        let good = outcome.stdout.lines().filter(|line| *line == "all 100");
        assert_eq!(good.count(), 6, "{}", outcome.stdout);
        assert!(outcome.stdout.ends_with("some flawed: 1\n"));
    }
}

#[test]
fn killed_20_times() {
    let (Some(killer), Some(program)) = (compiled("killer.c"), compiled("stateless.c")) else {
        return;
    };
    if lacks_libavcodec() {
        return;
    }
    let words = format!("{} /dev/video0 /dev/media0", program.display());
    let killer = killer.display();
    let script = format!("{killer} 20:200 1 {words} loop >/dev/null && {words} hold");
    let outcome = Run::on("soc-cma")
        .device(DEVICE)
        .program(["sh", "-c", &script])
        .run();
    outcome.expect_success();
    assert_eq!(outcome.stdout, HOLD);
}
