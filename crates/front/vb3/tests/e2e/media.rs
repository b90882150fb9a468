//! ffmpeg, OpenCV, and static programs that make raw system calls: C and Go.

use crate::common::{
    Run, RunOutput, SIZE, compiled, expect_pattern, lacks, pattern, recording, size_option,
};
use std::path::Path;
use vb3_v4l2::{PixelFormat, pixfmt};

const COUNT: u32 = 12;

fn expect_frames(
    outcome: &RunOutput,
    layout: &'static PixelFormat,
    file: &str,
    at_least: u32,
) -> Vec<u32> {
    outcome.expect_success();
    let numbers = expect_pattern(layout, &outcome.read(file));
    assert!(
        numbers.len() >= at_least as usize,
        "{numbers:?}\n{}",
        outcome.stderr
    );
    numbers
}

#[test]
fn ffmpeg_captures() {
    if lacks("ffmpeg") {
        return;
    }
    for (name, layout) in [("nv12", &pixfmt::NV12), ("yuyv422", &pixfmt::YUYV)] {
        let outcome = Run::on("soc-noncoherent")
            .device(format!(
                "camera=pattern,formats=YUYV:NV12,{}",
                size_option()
            ))
            .program([
                "ffmpeg",
                "-nostdin",
                "-v",
                "error",
                "-f",
                "v4l2",
                "-input_format",
                name,
            ])
            .and([
                "-video_size",
                &format!("{}x{}", SIZE.0, SIZE.1),
                "-i",
                "/dev/video0",
            ])
            .and(["-frames:v", &COUNT.to_string(), "-fps_mode", "passthrough"])
            .and([
                "-c:v",
                "rawvideo",
                "-pix_fmt",
                name,
                "-f",
                "rawvideo",
                "frames.raw",
            ])
            .run();
        let numbers = expect_frames(&outcome, layout, "frames.raw", COUNT);
        assert_eq!(numbers.len(), COUNT as usize);
    }
}

#[test]
fn ffmpeg_shows_by_write() {
    if lacks("ffmpeg") {
        return;
    }
    let run = Run::on("pc").device(format!(
        "display=shown.raw,format=YUYV,pace=free,{}",
        size_option()
    ));
    std::fs::write(run.file("frames.raw"), recording(&pixfmt::YUYV, COUNT)).unwrap();
    let outcome = run
        .program([
            "ffmpeg", "-nostdin", "-v", "error", "-f", "rawvideo", "-pix_fmt", "yuyv422",
        ])
        .and(["-s", &format!("{}x{}", SIZE.0, SIZE.1), "-i", "frames.raw"])
        .and([
            "-fps_mode",
            "passthrough",
            "-c:v",
            "rawvideo",
            "-pix_fmt",
            "yuyv422",
        ])
        .and(["-f", "v4l2", "/dev/video0"])
        .run();
    expect_frames(&outcome, &pixfmt::YUYV, "shown.raw", COUNT - 4);
    assert!(
        outcome.queue("/dev/video0").bytes_copied > 0,
        "write() copies"
    );
}

#[test]
fn ffmpeg_sees_the_controls() {
    if lacks("ffmpeg") || lacks("v4l2-ctl") {
        return;
    }
    // The picture is mirrored.
    let outcome = Run::on("pc")
        .device(format!(
            "camera=pattern,format=YUYV,pace=free,{}",
            size_option()
        ))
        .program([
            "v4l2-ctl",
            "-d",
            "/dev/video0",
            "--set-ctrl=horizontal_flip=1,brightness=200",
        ])
        .and([
            "--stream-mmap=4",
            "--stream-count=1",
            "--stream-to=frames.raw",
        ])
        .run();
    outcome.expect_success();
    assert_ne!(
        outcome.read("frames.raw"),
        pattern(&pixfmt::YUYV, 0).bytes()
    );
}

#[test]
fn opencv_captures() {
    let python = "/usr/bin/python3";
    if lacks(python) || (!has_opencv() && lacks("python3-opencv")) {
        return;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/opencv.py");
    let outcome = Run::on("soc-cma")
        .device(format!("camera=pattern,format=YUYV,{}", size_option()))
        .program([Path::new(python), &script])
        .and([COUNT.to_string(), "frames.raw".to_owned()])
        .and([SIZE.0.to_string(), SIZE.1.to_string()])
        .run();
    expect_frames(&outcome, &pixfmt::YUYV, "frames.raw", COUNT);
}

/// Returns whether Debian's Python interpreter finds cv2.
pub(crate) fn has_opencv() -> bool {
    let cv2 = |name: &std::ffi::OsStr| name.to_string_lossy().starts_with("cv2");
    let files = Path::new("/usr/lib/python3/dist-packages").read_dir();
    files.is_ok_and(|mut files| files.any(|file| file.is_ok_and(|file| cv2(&file.file_name()))))
}

#[test]
fn static_c_program_captures() {
    let Some(program) = compiled("capture.c") else {
        return;
    };
    for memory in ["mmap", "read"] {
        let outcome = Run::on("soc-noncoherent")
            .device(format!(
                "camera=pattern,identity=plain,format=YUYV,pace=free,{}",
                size_option()
            ))
            .program([program.as_os_str()])
            .and([memory, &COUNT.to_string(), "frames.raw"])
            .run();
        let numbers = expect_frames(&outcome, &pixfmt::YUYV, "frames.raw", COUNT);
        assert_eq!(numbers.len(), COUNT as usize, "{memory}");
    }
}

#[test]
fn two_programs_share_the_devices() {
    let Some(program) = compiled("capture.c") else {
        return;
    };
    let capture =
        |node: &str, file: &str| format!("{} mmap {COUNT} {file} {node}", program.display());
    let outcome = Run::on("pc")
        .device(format!("camera=pattern,format=YUYV,{}", size_option()))
        .device(format!("camera=pattern,format=YUYV,{}", size_option()))
        .program(["sh", "-c"])
        .and([format!(
            "{} & a=$!; {}; b=$?; wait $a && exit $b",
            capture("/dev/video0", "a.raw"),
            capture("/dev/video1", "b.raw")
        )])
        .run();
    expect_frames(&outcome, &pixfmt::YUYV, "a.raw", COUNT);
    expect_frames(&outcome, &pixfmt::YUYV, "b.raw", COUNT);
}

#[test]
fn a_buffer_goes_from_process_to_process() {
    let Some(program) = compiled("pass.c") else {
        return;
    };
    let outcome = Run::on("pc")
        .device(format!(
            "camera=pattern,format=NV12,pace=free,{}",
            size_option()
        ))
        .device(format!(
            "display=shown.raw,format=NV12,pace=free,{}",
            size_option()
        ))
        .program([program.as_os_str()])
        .run();
    expect_frames(&outcome, &pixfmt::NV12, "shown.raw", 8);
    assert_eq!(outcome.report.total(|q| q.bytes_copied), 0);
    assert_eq!(outcome.queue("/dev/video1").memory, "dmabuf");
}
