//! v4l2-ctl streams by every memory model, in both directions.

use crate::common::{
    Run, RunOutput, SIZE, expect_pattern, ffmpeg_in, lacks, patiently, recording, size_option,
};
use vb3_v4l2::{PixelFormat, pixfmt};

const COUNT: u32 = 12;

fn format_word(option: &str, fourcc: &str) -> String {
    format!(
        "--set-fmt-video{option}=width={},height={},pixelformat={fourcc}",
        SIZE.0, SIZE.1
    )
}

/// Captures pictures on a machine, with one of v4l2-ctl's streaming options.
fn capture(machine: &str, spec: &str, fourcc: &str, stream: &str) -> Option<RunOutput> {
    if lacks("v4l2-ctl") {
        return None;
    }
    let size = size_option();
    let run = Run::on(machine).device(format!("{spec},pace=free,formats={fourcc},{size}"));
    let outcome = run
        .program([
            "v4l2-ctl",
            "-d",
            "/dev/video0",
            &format_word("", fourcc),
            stream,
            &format!("--stream-count={COUNT}"),
            "--stream-to=frames.raw",
        ])
        .run();
    outcome.expect_success();
    Some(outcome)
}

fn expect_captured(
    machine: &str,
    spec: &str,
    layout: &'static PixelFormat,
    fourcc: &str,
    stream: &str,
) {
    let Some(outcome) = capture(machine, spec, fourcc, stream) else {
        return;
    };
    let numbers = expect_pattern(layout, &outcome.read("frames.raw"));
    assert_eq!(numbers, (0..COUNT).collect::<Vec<_>>(), "{machine}");
    assert_eq!(outcome.queue("/dev/video0").bytes_copied, 0);
    assert!(outcome.queue("/dev/video0").frames >= u64::from(COUNT));
}

#[test]
fn mmap_in_every_format() {
    let single = |format: &&PixelFormat| !format.is_compressed() && format.memory_planes == 1;
    for format in pixfmt::TABLE.iter().copied().filter(single) {
        let fourcc = format.fourcc.to_string();
        expect_captured("pc", "camera=pattern", format, &fourcc, "--stream-mmap=4");
    }
}

fn mmap_on_every_machine(machines: &[&str]) {
    for &machine in machines {
        expect_captured(
            machine,
            "camera=pattern",
            &pixfmt::NV12,
            "NV12",
            "--stream-mmap=4",
        );
    }
}

/// With each way of waiting, the program gets all frames of a clip, and ends when the clip ends.
#[test]
fn a_clip_ends() {
    if lacks("ffmpeg") || lacks("v4l2-ctl") {
        return;
    }
    for wait in ["--verbose", "--stream-poll"] {
        let run = Run::on("pc").device("camera=clip.mkv,pace=free,format=YUYV,end=stop");
        let words = format!("-f lavfi -i testsrc2=size=64x48 -frames:v {COUNT} -c:v ffv1 clip.mkv");
        ffmpeg_in(run.dir.path(), words.split(' '));
        // With --stream-poll, v4l2-ctl gives a frame two seconds.
        let line = format!("v4l2-ctl -d /dev/video0 --stream-mmap {wait} --stream-to=frames.raw");
        let outcome = run.program(patiently(&line)).run();
        outcome.expect_nothing_held();
        assert!(
            outcome.stderr.contains("ended after 12 frames"),
            "{}",
            outcome.stderr
        );
        let pictures = outcome.read("frames.raw").len() / (64 * 48 * 2);
        assert_eq!(pictures, COUNT as usize, "{wait}");
    }
}

fn mmap_of_separate_planes(machines: &[&str]) {
    for &machine in machines {
        expect_captured(
            machine,
            "camera=pattern,mplane=on",
            &pixfmt::NV12,
            "NM12",
            "--stream-mmap=4",
        );
    }
}

#[test]
fn userptr() {
    expect_captured(
        "soc-iommu",
        "camera=pattern,userptr=on",
        &pixfmt::YUYV,
        "YUYV",
        "--stream-user=4",
    );
    let Some(outcome) = capture(
        "pc",
        "camera=pattern,alloc=vmalloc",
        "YUYV",
        "--stream-user=4",
    ) else {
        return;
    };
    let numbers = expect_pattern(&pixfmt::YUYV, &outcome.read("frames.raw"));
    assert_eq!(numbers, (0..COUNT).collect::<Vec<_>>());
}

#[test]
fn unaligned_userptr_is_refused_if_not_coherent() {
    // v4l2-ctl's memory is from calloc, 16 bytes after the start of a page.
    let Some(outcome) = capture(
        "soc-noncoherent",
        "camera=pattern,userptr=on",
        "YUYV",
        "--stream-user=4",
    ) else {
        return;
    };
    let [refusal] = &outcome.report.refusals[..] else {
        panic!("{:?}", outcome.report.refusals)
    };
    assert_eq!((refusal.call.as_str(), refusal.errno), ("QBUF", 22));
    assert_eq!(
        (refusal.constraint.as_str(), refusal.wanted),
        ("alignment", 64)
    );
}

/// Shows a recording on a display with one of v4l2-ctl's streaming options.
fn expect_shown(
    machine: &str,
    spec: &str,
    layout: &'static PixelFormat,
    fourcc: &str,
    stream: &str,
) {
    if lacks("v4l2-ctl") {
        return;
    }
    let run = Run::on(machine).device(format!(
        "{},pace=free,{}{}",
        spec.replacen("display", "display=shown.raw", 1),
        size_option(),
        options(spec)
    ));
    let sent = recording(layout, COUNT);
    std::fs::write(run.file("frames.raw"), &sent).unwrap();
    let outcome = run
        .program([
            "v4l2-ctl",
            "-d",
            "/dev/video0",
            &format_word("-out", fourcc),
            stream,
            &format!("--stream-count={COUNT}"),
            "--stream-from=frames.raw",
        ])
        .run();
    outcome.expect_success();
    // Frames that are still queued at the end are never shown.
    let numbers = expect_pattern(layout, &outcome.read("shown.raw"));
    assert!(numbers.len() >= 8, "{numbers:?}");
    assert_eq!(
        numbers,
        (0..).take(numbers.len()).collect::<Vec<_>>(),
        "{machine}"
    );
    assert_eq!(outcome.queue("/dev/video0").bytes_copied, 0);
}

fn options(spec: &str) -> &'static str {
    if spec.ends_with("vmalloc") {
        ",alloc=vmalloc"
    } else {
        ""
    }
}

fn out_mmap(machines: &[&str]) {
    for &machine in machines {
        expect_shown(
            machine,
            "display",
            &pixfmt::NV12,
            "NV12",
            "--stream-out-mmap=4",
        );
    }
    expect_shown(
        "pc",
        "display",
        &pixfmt::YUYV,
        "YUYV",
        "--stream-out-mmap=4",
    );
    expect_shown(
        "pc",
        "display",
        &pixfmt::RGB24,
        "RGB3",
        "--stream-out-mmap=4",
    );
    expect_shown(
        "pc",
        "display,mplane=on",
        &pixfmt::NV12,
        "NM12",
        "--stream-out-mmap=4",
    );
}

#[test]
fn out_userptr() {
    expect_shown(
        "soc-iommu",
        "display",
        &pixfmt::YUYV,
        "YUYV",
        "--stream-out-user=4",
    );
}

/// Passes frames from camera to display with v4l2-ctl: one side allocates, the other imports.
fn expect_passed_on(machine: &str, words: [&str; 2], importer: &str) {
    if lacks("v4l2-ctl") {
        return;
    }
    let options = format!("format=NV12,pace=free,{}", size_option());
    let outcome = Run::on(machine)
        .device(format!("camera=pattern,{options}"))
        .device(format!("display=shown.raw,{options}"))
        .program(["v4l2-ctl", "-d", "/dev/video0", "--out-device=/dev/video1"])
        .and(words)
        .and([format!("--stream-count={COUNT}")])
        .run();
    outcome.expect_success();
    let numbers = expect_pattern(&pixfmt::NV12, &outcome.read("shown.raw"));
    assert!(numbers.len() >= 8, "{machine}: {numbers:?}");
    assert_eq!(outcome.report.total(|q| q.bytes_copied), 0);
    assert_eq!(outcome.queue(importer).memory, "dmabuf");
}

fn dmabuf_exported_by_the_camera(machines: &[&str]) {
    for &machine in machines {
        expect_passed_on(
            machine,
            ["--stream-mmap=4", "--stream-out-dmabuf"],
            "/dev/video1",
        );
    }
}

fn dmabuf_exported_by_the_display(machines: &[&str]) {
    for &machine in machines {
        expect_passed_on(
            machine,
            ["--stream-dmabuf", "--stream-out-mmap=4"],
            "/dev/video0",
        );
    }
}

#[test]
fn all_of_a_device_is_listed() {
    if lacks("v4l2-ctl") {
        return;
    }
    let outcome = Run::on("pc")
        .device("camera=pattern")
        .program(["v4l2-ctl", "-d", "/dev/video0", "--all"])
        .run();
    outcome.expect_success();
    for part in [
        "Video Capture",
        "brightness",
        "Streaming Parameters",
        "YUYV",
    ] {
        assert!(
            outcome.stdout.contains(part),
            "{part} is missing in\n{}",
            outcome.stdout
        );
    }
}

crate::common::on_machines! {
    mmap_on_every_machine
    mmap_of_separate_planes
    out_mmap
    dmabuf_exported_by_the_camera
    dmabuf_exported_by_the_display
}
