//! VP8, VP9 and HEVC: streams with features that random ones lack, and wrong or random controls.

use super::lacks_player;
use crate::common::{Run, RunOutput, compiled, ffmpeg, lacks_libavcodec, patiently};

/// Asserts that GStreamer gets ffmpeg's pictures of a file.
fn expect_exact(machine: &str, device: &str, (file, stream): (&str, &[u8]), elements: &str) {
    let run = Run::on(machine).device(device);
    let path = run.file(file);
    std::fs::write(&path, stream).unwrap();
    let words = ["-i", path.to_str().unwrap(), "-fps_mode", "passthrough"];
    let raw = ["-pix_fmt", "nv12", "-f", "rawvideo", "-"];
    let wanted = ffmpeg(words.into_iter().chain(raw));
    assert!(!wanted.is_empty(), "ffmpeg gives no pictures");
    let line = format!(
        "gst-launch-1.0 -q filesrc location={file} ! {elements} ! video/x-raw,format=NV12 \
         ! filesink buffer-mode=unbuffered location=pictures.raw"
    );
    let outcome = run.program(patiently(&line)).run();
    outcome.expect_success();
    let found = outcome.read("pictures.raw");
    assert_eq!(found.len(), wanted.len(), "{machine}: {device}");
    assert!(found == wanted, "{machine}: {device}");
    assert_eq!(outcome.report.total(|queue| queue.dropped), 0);
}

fn encoded(size: &str, words: &str) -> Vec<u8> {
    let source = format!("testsrc2=size={size}:rate=25");
    let head = [
        "-f",
        "lavfi",
        "-i",
        &source,
        "-frames:v",
        "16",
        "-pix_fmt",
        "yuv420p",
    ];
    ffmpeg(head.into_iter().chain(words.split(' ')).chain(["-"]))
}

/// Custom scaling lists. None is symmetric, so that a mistaken exchange of rows and columns is seen.
fn scaling_lists() -> String {
    let sizes = [("4X4", 16), ("8X8", 64), ("16X16", 64), ("32X32", 64)];
    let mut text = String::new();
    // x265 reads them in this order only.
    for (size, count) in sizes {
        for (m, prediction) in ["INTRA", "INTER"].into_iter().enumerate() {
            for (n, kind) in ["LUMA", "CHROMAU", "CHROMAV"].into_iter().enumerate() {
                if size == "32X32" && n > 0 {
                    continue;
                }
                let value = |at: usize| (8 + (at * (7 + n) + m * 5) % 53).to_string();
                let values: Vec<String> = (0..count).map(value).collect();
                text += &format!("{prediction}{size}_{kind} =\n{}\n", values.join(", "));
                if count == 64 && size != "8X8" {
                    text += &format!("{prediction}{size}_{kind}_DC =\n{}\n", 9 + n + m);
                }
            }
        }
    }
    text
}

#[test]
#[ignore = "full: four machines"]
fn hevc_tools_are_exact_by_requests() {
    if lacks_player() {
        return;
    }
    let dir = crate::common::tempdir();
    let lists = dir.path().join("lists");
    std::fs::write(&lists, scaling_lists()).unwrap();
    let tools = [
        (
            "soc-cma",
            "200x136",
            format!("scaling-list={}", lists.display()),
        ),
        (
            "soc-noncoherent",
            "176x144",
            "lossless=1:bframes=3:b-pyramid=1".to_owned(),
        ),
        (
            "vm-bounce",
            "176x144",
            "temporal-layers=1:bframes=3:ref=4:ctu=16".to_owned(),
        ),
        (
            "pc",
            "264x136",
            "keyint=8:open-gop=1:bframes=5:tskip=1".to_owned(),
        ),
    ];
    for (machine, size, x265) in tools {
        let words = format!("-c:v libx265 -x265-params log-level=0:frame-threads=1:{x265} -f hevc");
        let stream = ("stream.hevc", &*encoded(size, &words));
        let elements = "h265parse ! v4l2slh265dec";
        expect_exact(machine, "hevcdec-stateless", stream, elements);
    }
}

/// Hidden frames go to CAPTURE buffers, too.
#[test]
fn hidden_vpx_frames_are_references() {
    if lacks_player() {
        return;
    }
    for (machine, codec, library) in [
        ("soc-cma", "vp8", "libvpx"),
        ("soc-noncoherent", "vp9", "libvpx-vp9"),
    ] {
        let words = format!("-c:v {library} -auto-alt-ref 1 -lag-in-frames 12 -b:v 200k -f ivf");
        let stream = encoded("176x144", &words);
        let demux = if codec == "vp8" { "" } else { "! vp9parse" };
        let elements = format!("ivfparse {demux} ! v4l2sl{codec}dec");
        let device = format!("{codec}dec-stateless");
        expect_exact(machine, &device, ("stream.ivf", &stream), &elements);
    }
}

/// Runs the client with these arguments, and a file of frames.
fn client(codec: &str, words: &[&str]) -> Option<RunOutput> {
    if super::lacks("ffmpeg") || lacks_libavcodec() {
        return None;
    }
    let program = compiled("stateless_frames.c")?;
    let run = Run::on("pc").device(format!("{codec}dec-stateless"));
    let library = if codec == "vp9" {
        "libvpx-vp9"
    } else {
        "libvpx"
    };
    let encoder = format!("-c:v {library} -auto-alt-ref 0 -lag-in-frames 0 -f ivf");
    std::fs::write(run.file("frames.ivf"), encoded("64x48", &encoder)).unwrap();
    let run = run.program([program.as_os_str()]);
    let outcome = run
        .and(["/dev/video0", "/dev/media0", codec])
        .and(words)
        .run();
    outcome.expect_success();
    Some(outcome)
}

#[test]
fn wrong_frame_controls_fail_as_on_linux() {
    let rows = [
        ("vp8", "plain vp8 ok\n3 partitions EINVAL\n"),
        ("vp9", "plain vp9 ok\n2^7 tiles EINVAL\n10-bit vp9 EINVAL\n"),
        (
            "hevc",
            "plain hevc ok\n10-bit hevc EINVAL\n17 references EINVAL\n",
        ),
    ];
    for (codec, wanted) in rows {
        let Some(outcome) = client(codec, &["calls"]) else {
            return;
        };
        let said = &outcome.stdout;
        assert!(said.contains(wanted), "{codec}: {said}");
        // A control of another codec does not exist.
        let rest = said.replace(wanted, "");
        assert!(!rest.contains(" ok\n"), "{codec}: {said}");
    }
}

const FRAMES: &str = "\
64x48
requests=1 hold=1
frame 0: 1
frame 1: 1
missing reference: 0
truncated: 0
other kind: 0
wide: 0
noise: 0
frame 2: 1
";

/// Each wrong frame returns with the error flag and a reason. The next good one is decoded.
#[test]
fn wrong_frames_are_flagged_and_explained() {
    for codec in ["vp8", "vp9"] {
        let Some(outcome) = client(codec, &["frames", "frames.ivf"]) else {
            return;
        };
        assert_eq!(outcome.stdout, FRAMES, "{codec}");
        let why = outcome.why();
        for reason in [
            "reference picture with timestamp 77000 ns",
            "by the control, and the buffer has 3",
            "frame's header says no key frame",
            "pictures of 80x48",
        ] {
            let reason = match codec {
                "vp8" => reason.replace("by the control, and", "by its header and control, and"),
                _ => reason.to_owned(),
            };
            assert!(why.contains(&reason), "{codec}: {reason}:\n{why}");
        }
    }
}

#[test]
#[ignore = "full: a storm"]
fn random_frame_controls_do_no_harm() {
    for (codec, seed) in (1..=8).flat_map(|seed| ["vp8", "vp9", "hevc"].map(|codec| (codec, seed)))
    {
        let seed = seed.to_string();
        let Some(outcome) = client(codec, &["random", "frames.ivf", &seed, "200"]) else {
            return;
        };
        let said = &outcome.stdout;
        assert!(said.contains("some flawed: 1\n"), "{codec} {seed}: {said}");
        let good = said
            .lines()
            .filter(|line| line.starts_with("frame ") && line.ends_with(": 1"));
        let wanted = if codec == "hevc" { 0 } else { 3 };
        assert_eq!(good.count(), wanted, "{codec} {seed}: {said}");
    }
}
