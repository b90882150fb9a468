//! The decoder as GStreamer and ffmpeg use it, compared with ffmpeg's own decoder.

use crate::common::{Run, RunOutput, gstreamer_version, lacks, lacks_libavcodec, vb3};
use crate::streams::{by_ffmpeg as pictures, decoded, encode_to, encoded};
use std::path::Path;
use std::process::Command;

const KEYS: &str = "bframes=0:keyint=10:scenecut=0";
const B_FRAMES: &str = "bframes=3:keyint=12:scenecut=0";

/// Prepares a run on a decoder with a stream in a file.
fn with(machine: &str, stream: &[u8]) -> Run {
    let run = Run::on(machine)
        .real_time("players keep their own time")
        .device("h264dec");
    std::fs::write(run.file("stream.h264"), stream).unwrap();
    run
}

/// Returns the pictures of ffmpeg's own decoder.
fn wanted(stream: &[u8]) -> Vec<u8> {
    let dir = crate::common::tempdir();
    let file = dir.path().join("stream.h264");
    std::fs::write(&file, stream).unwrap();
    decoded(&file, "null")
}

fn gstreamer(machine: &str, stream: &[u8]) -> Option<RunOutput> {
    if lacks("gst-launch-1.0") {
        return None;
    }
    let line = "gst-launch-1.0 -q filesrc location=stream.h264 ! h264parse ! v4l2h264dec \
                ! video/x-raw,format=NV12 ! filesink location=pictures.raw";
    Some(with(machine, stream).program(["sh", "-c", line]).run())
}

fn by_ffmpeg(machine: &str, stream: &[u8]) -> Option<RunOutput> {
    if lacks("ffmpeg") {
        return None;
    }
    let run = with(machine, stream)
        .program(["ffmpeg", "-nostdin", "-v", "error"])
        .and(["-c:v", "h264_v4l2m2m", "-f", "h264", "-i", "stream.h264"])
        .and(["-fps_mode", "passthrough", "-pix_fmt", "nv12"])
        .and(["-f", "rawvideo", "pictures.raw"]);
    Some(run.run())
}

#[test]
fn both_decode_as_ffmpeg_does() {
    if lacks_libavcodec() {
        return;
    }
    for (machine, size, x264) in [
        ("soc-noncoherent", "176x144", KEYS),
        ("pc", "320x240", B_FRAMES),
    ] {
        let Some(stream) = encoded(size, 30, x264) else {
            return;
        };
        let wanted = wanted(&stream);
        for play in [gstreamer, by_ffmpeg] {
            let Some(outcome) = play(machine, &stream) else {
                return;
            };
            outcome.expect_success();
            assert!(outcome.read("pictures.raw") == wanted, "{size}");
            assert_eq!(outcome.report.total(|q| q.bytes_copied), 0);
        }
    }
}

#[test]
fn gstreamer_follows_changes_of_size() {
    // ffmpeg 5.1's wrapper waits here for ever, for pictures that ffmpeg itself holds.
    let mut stream = Vec::new();
    let mut wanted = Vec::new();
    for (size, count) in [("176x144", 11), ("320x240", 13), ("176x144", 5)] {
        let Some(part) = encoded(size, count, KEYS) else {
            return;
        };
        wanted.extend(pictures(&part, size).iter().flat_map(|p| p.nv12()));
        stream.extend(part);
    }
    let Some(outcome) = gstreamer("soc-cma", &stream) else {
        return;
    };
    outcome.expect_success();
    assert!(outcome.read("pictures.raw") == wanted);
}

#[test]
fn a_truncated_file_gives_what_ffmpeg_gives() {
    if lacks_libavcodec() {
        return;
    }
    let Some(stream) = encoded("176x144", 20, B_FRAMES) else {
        return;
    };
    let cut = &stream[..stream.len() * 3 / 4];
    let wanted = wanted(cut);
    let bytes = 176 * 144 * 3 / 2;
    assert!(!wanted.is_empty() && wanted.len() < 20 * bytes);
    // The last picture is damaged, and its buffer says so (V4L2_BUF_FLAG_ERROR). GStreamer 1.22 delivers such a
    // picture, as ffmpeg does; 1.26 drops it.
    if let Some(outcome) = gstreamer("soc-noncoherent", cut) {
        outcome.expect_success();
        let is_dropped = gstreamer_version() > (1, 22);
        let dropped = if is_dropped { bytes } else { 0 };
        assert!(outcome.read("pictures.raw") == wanted[..wanted.len() - dropped]);
    }
    if let Some(outcome) = by_ffmpeg("soc-noncoherent", cut) {
        outcome.expect_success();
        assert!(outcome.read("pictures.raw") == wanted);
    }
}

#[test]
fn an_empty_file_ends_well() {
    // GStreamer 1.22 waits here for ever, with any decoder.
    let Some(outcome) = by_ffmpeg("pc", &[]) else {
        return;
    };
    // ffmpeg 5 returns 1, ffmpeg 7 returns its EINVAL.
    assert!([1, 234].contains(&outcome.status), "{}", outcome.stderr);
    outcome.expect_nothing_held();
    assert!(outcome.report.refusals.is_empty());
}

/// Returns the time and checksum of each picture.
fn times(command: &mut Command, file: &Path) -> Vec<String> {
    let out = command
        .args(["-i"])
        .arg(file)
        .args(["-an", "-fps_mode", "passthrough", "-pix_fmt", "nv12"])
        .args(["-f", "framemd5", "-"])
        .output()
        .unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(str::to_owned).collect()
}

#[test]
fn ffmpeg_keeps_the_times_of_a_file() {
    if lacks("ffmpeg") || lacks_libavcodec() {
        return;
    }
    let dir = crate::common::tempdir();
    let file = dir.path().join("stream.mp4");
    encode_to(&file, "176x144", 30, B_FRAMES);
    let ours = |name: &str| {
        let mut command = vb3(dir.path());
        command.args(["run", "--device", "h264dec", "--", "ffmpeg"]);
        command.args(["-nostdin", "-v", "error", "-c:v", name]);
        command
    };
    let found = times(&mut ours("h264_v4l2m2m"), &file);
    let wanted = times(&mut ours("h264"), &file);
    assert_eq!(wanted.len(), 30);
    assert_eq!(found, wanted);
}
