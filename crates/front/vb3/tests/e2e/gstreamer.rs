//! gst-launch-1.0 with every io-mode of v4l2src and v4l2sink.

use crate::common::{Run, RunOutput, SIZE, expect_pattern, lacks, recording, size_option};
use vb3_v4l2::pixfmt;

const COUNT: u32 = 12;

fn caps(format: &str) -> String {
    format!(
        "video/x-raw,format={format},width={},height={},framerate=30/1",
        SIZE.0, SIZE.1
    )
}

/// Captures to a file with one io-mode.
fn expect_captured(machine: &str, options: &str, io_mode: &str) -> Option<RunOutput> {
    if lacks("gst-launch-1.0") {
        return None;
    }
    let outcome = Run::on(machine)
        .device(format!("camera=pattern,{}{options}", size_option()))
        .program(["gst-launch-1.0", "-q", "v4l2src", "device=/dev/video0"])
        .and([format!("io-mode={io_mode}"), format!("num-buffers={COUNT}")])
        .and(["!", &caps("YUY2"), "!", "filesink", "location=frames.raw"])
        .run();
    outcome.expect_success();
    let numbers = expect_pattern(&pixfmt::YUYV, &outcome.read("frames.raw"));
    assert_eq!(numbers.len(), COUNT as usize, "{io_mode}");
    Some(outcome)
}

fn src_auto_mmap_and_dmabuf(machines: &[&str]) {
    for &machine in machines {
        for io_mode in ["auto", "mmap", "dmabuf"] {
            let Some(outcome) = expect_captured(machine, "", io_mode) else {
                return;
            };
            assert_eq!(
                outcome.queue("/dev/video0").bytes_copied,
                0,
                "{machine} {io_mode}"
            );
        }
    }
}

#[test]
fn src_rw_copies_and_says_so() {
    let Some(outcome) = expect_captured("pc", ",identity=plain", "rw") else {
        return;
    };
    let frame = u64::from(SIZE.0 * SIZE.1 * 2);
    assert!(outcome.queue("/dev/video0").bytes_copied >= frame * u64::from(COUNT));
}

/// Shows a recording on a display with one io-mode.
fn show(machine: &str, options: &str, io_mode: &str) -> Option<RunOutput> {
    if lacks("gst-launch-1.0") {
        return None;
    }
    let run = Run::on(machine).device(format!(
        "display=shown.raw,format=YUYV,pace=free,{}{options}",
        size_option()
    ));
    std::fs::write(run.file("frames.raw"), recording(&pixfmt::YUYV, COUNT)).unwrap();
    let outcome = run
        .program([
            "gst-launch-1.0",
            "-q",
            "filesrc",
            "location=frames.raw",
            "!",
        ])
        .and(["rawvideoparse", "format=yuy2", "framerate=30/1"])
        .and([format!("width={}", SIZE.0), format!("height={}", SIZE.1)])
        // rawvideoparse does not set colorimetry, and v4l2sink requires it.
        .and(["!", "capssetter", "caps=video/x-raw,colorimetry=bt601"])
        .and([
            "!",
            "v4l2sink",
            "device=/dev/video0",
            "sync=false",
            "show-preroll-frame=false",
        ])
        .and([format!("io-mode={io_mode}")])
        .run();
    outcome.expect_success();
    Some(outcome)
}

fn sink_auto_mmap_and_dmabuf(machines: &[&str]) {
    for &machine in machines {
        for io_mode in ["auto", "mmap", "dmabuf"] {
            let Some(outcome) = show(machine, "", io_mode) else {
                return;
            };
            expect_all_shown(&outcome);
            assert_eq!(
                outcome.queue("/dev/video0").bytes_copied,
                0,
                "{machine} {io_mode}"
            );
        }
    }
}

#[test]
fn sink_rw_ends_well() {
    // GStreamer's v4l2sink takes io-mode=rw and then writes nothing ("implement write()").
    let Some(outcome) = show("pc", "", "rw") else {
        return;
    };
    if outcome.queue("/dev/video0").frames > 0 {
        expect_all_shown(&outcome);
    }
}

#[test]
fn sink_userptr() {
    for (machine, options) in [("soc-iommu", ",userptr=on"), ("pc", ",alloc=vmalloc")] {
        let Some(outcome) = show(machine, options, "userptr") else {
            return;
        };
        expect_all_shown(&outcome);
        assert_eq!(outcome.queue("/dev/video0").memory, "userptr");
    }
}

fn expect_all_shown(outcome: &RunOutput) {
    let numbers = expect_pattern(&pixfmt::YUYV, &outcome.read("shown.raw"));
    assert_eq!(numbers, (0..COUNT).collect::<Vec<_>>());
}

/// Camera to display within one pipeline.
fn expect_passed_on(machine: &str, options: &str, [src, sink]: [&str; 2]) -> Option<RunOutput> {
    if lacks("gst-launch-1.0") {
        return None;
    }
    let outcome = Run::on(machine)
        .device(format!(
            "camera=pattern,format=NV12,{}{options}",
            size_option()
        ))
        .device(format!(
            "display=shown.raw,format=NV12,pace=free,{}{options}",
            size_option()
        ))
        .program(["gst-launch-1.0", "-q", "v4l2src", "device=/dev/video0"])
        .and([format!("io-mode={src}"), format!("num-buffers={COUNT}")])
        .and([
            "!",
            &caps("NV12"),
            "!",
            "v4l2sink",
            "device=/dev/video1",
            "sync=false",
            "show-preroll-frame=false",
        ])
        .and([format!("io-mode={sink}")])
        .run();
    outcome.expect_success();
    let numbers = expect_pattern(&pixfmt::NV12, &outcome.read("shown.raw"));
    assert_eq!(numbers.len(), COUNT as usize, "{machine}: {numbers:?}");
    assert_eq!(outcome.report.total(|q| q.bytes_copied), 0, "{machine}");
    Some(outcome)
}

fn camera_to_display_without_a_copy(machines: &[&str]) {
    for &machine in machines {
        let Some(outcome) = expect_passed_on(machine, "", ["dmabuf", "dmabuf-import"]) else {
            return;
        };
        assert_eq!(outcome.queue("/dev/video1").memory, "dmabuf", "{machine}");
        assert!(
            outcome.report.refusals.is_empty(),
            "{:?}",
            outcome.report.refusals
        );
    }
}

fn display_to_camera_without_a_copy(machines: &[&str]) {
    for &machine in machines {
        let Some(outcome) = expect_passed_on(machine, "", ["dmabuf-import", "dmabuf"]) else {
            return;
        };
        assert_eq!(outcome.queue("/dev/video0").memory, "dmabuf", "{machine}");
    }
}

/// The display shows only the picture, without the padding of its lines, and nothing is copied.
#[test]
fn lines_longer_than_a_pictures() {
    let Some(shown) = show("pc", ",stride=1024", "mmap") else {
        return;
    };
    expect_all_shown(&shown);
    let lines = u64::from(SIZE.1);
    let bytes = shown.queue("/dev/video0").peak_bytes;
    assert_eq!(bytes % (1024 * lines), 0, "{bytes}");
    for machine in ["pc", "soc-noncoherent"] {
        let modes = ["dmabuf", "dmabuf-import"];
        let Some(outcome) = expect_passed_on(machine, ",stride=1024", modes) else {
            return;
        };
        let bytes = outcome.queue("/dev/video0").peak_bytes;
        assert_eq!(bytes % (1024 * lines * 3 / 2), 0, "{machine}: {bytes}");
    }
}

/// I420 pictures as NV12: the same samples in another order.
fn nv12_of_i420(i420: &[u8]) -> Vec<u8> {
    let luma = (SIZE.0 * SIZE.1) as usize;
    let mut nv12 = Vec::with_capacity(i420.len());
    for picture in i420.chunks(luma * 3 / 2) {
        let (y, chroma) = picture.split_at(luma);
        let (u, v) = chroma.split_at(luma / 4);
        nv12.extend_from_slice(y);
        nv12.extend(u.iter().zip(v).flat_map(|(u, v)| [*u, *v]));
    }
    nv12
}

#[test]
fn src_userptr() {
    if lacks("gst-launch-1.0") {
        return;
    }
    for (machine, options) in [("soc-iommu", ",userptr=on"), ("pc", ",alloc=vmalloc")] {
        // v4l2src imports memory from downstream. videoconvert offers memory only if it must
        // convert.
        let outcome = Run::on(machine)
            .device(format!(
                "camera=pattern,format=NV12,{}{options}",
                size_option()
            ))
            .program(["gst-launch-1.0", "-q", "v4l2src", "device=/dev/video0"])
            .and([
                "io-mode=userptr",
                &format!("num-buffers={COUNT}"),
                "!",
                &caps("NV12"),
            ])
            .and(["!", "videoconvert", "!", "video/x-raw,format=I420"])
            .and(["!", "filesink", "location=frames.raw"])
            .run();
        outcome.expect_success();
        let frames = nv12_of_i420(&outcome.read("frames.raw"));
        assert_eq!(expect_pattern(&pixfmt::NV12, &frames).len(), COUNT as usize);
        assert_eq!(outcome.queue("/dev/video0").memory, "userptr");
    }
}

crate::common::on_machines! {
    src_auto_mmap_and_dmabuf
    sink_auto_mmap_and_dmabuf
    camera_to_display_without_a_copy
    display_to_camera_without_a_copy
}
