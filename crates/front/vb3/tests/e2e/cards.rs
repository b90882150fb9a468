//! Display cards: kmssink, modetest and drm_info on `/dev/dri/card0`.

use crate::common::{Run, RunOutput, ffmpeg_in, lacks, lacks_libavcodec, tiers};

/// Width and height of the film, which is the size of the card's preferred mode.
const SIZE: (usize, usize) = (1280, 720);
const FRAMES: usize = 20;

/// Returns the pictures of a y4m recording in 4:2:0.
fn pictures(y4m: &[u8]) -> Vec<Vec<u8>> {
    let bytes = SIZE.0 * SIZE.1 * 3 / 2;
    let header = y4m.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let frames = y4m[header..].chunks_exact(bytes + b"FRAME\n".len());
    frames
        .map(|frame| frame[b"FRAME\n".len()..].to_vec())
        .collect()
}

/// Plays a film through decoder and converter to the card, as in the pipeline of issue 001 of the seeds.
fn play(machine: &str) -> Option<RunOutput> {
    if lacks("gst-launch-1.0") || lacks("ffmpeg") || lacks_libavcodec() {
        return None;
    }
    let run = Run::on(machine)
        .device("h264dec")
        .device("convert")
        .device("kms=shown.y4m")
        .real_time("GStreamer has its own clock");
    let film = format!("testsrc2=size={}x{}:rate=30", SIZE.0, SIZE.1);
    let frames = FRAMES.to_string();
    let source = [
        "-f",
        "lavfi",
        "-i",
        &film,
        "-frames:v",
        &frames,
        "-pix_fmt",
        "yuv420p",
    ];
    let codec = ["-c:v", "libx264", "-preset", "ultrafast", "in.mp4"];
    ffmpeg_in(run.dir.path(), source.iter().chain(&codec));
    let outcome = run
        .program([
            "gst-launch-1.0",
            "-q",
            "filesrc",
            "location=in.mp4",
            "!",
            "qtdemux",
            "!",
        ])
        .and([
            "h264parse",
            "!",
            "v4l2h264dec",
            "capture-io-mode=dmabuf",
            "!",
            "v4l2convert",
        ])
        .and([
            "output-io-mode=dmabuf-import",
            "capture-io-mode=dmabuf",
            "!",
            "kmssink",
        ])
        .and(["force-modesetting=true", "sync=false"])
        .patience(120)
        .run();
    outcome.expect_success();
    Some(outcome)
}

fn film_reaches_the_card_without_a_copy(machines: &[&str]) {
    for machine in machines {
        let Some(outcome) = play(machine) else {
            return;
        };
        let dir = outcome.dir.path();
        let words = [
            "-i", "in.mp4", "-f", "rawvideo", "-pix_fmt", "yuv420p", "film.yuv",
        ];
        ffmpeg_in(dir, words);
        let film = outcome.read("film.yuv");
        let film: Vec<&[u8]> = film.chunks_exact(SIZE.0 * SIZE.1 * 3 / 2).collect();
        assert_eq!(film.len(), FRAMES);
        let mut shown = pictures(&outcome.read("shown.y4m"));
        // The picture of kmssink's mode set is first: an empty buffer. kmssink may show the first frame again.
        let first = shown.remove(0);
        assert_ne!(first, film[0], "{machine}");
        shown.dedup();
        assert_eq!(shown.len(), FRAMES, "{machine}");
        assert!(
            shown.iter().zip(film).all(|(shown, film)| shown == film),
            "{machine}"
        );
        let card = outcome.queue("/dev/dri/card0");
        assert_eq!(
            (card.bytes_copied, card.bytes_bounced, card.lost),
            (0, 0, 0),
            "{machine}"
        );
        assert!(
            outcome.report.refusals.is_empty(),
            "{machine}: {:?}",
            outcome.report.refusals
        );
    }
}

tiers! {
    film_reaches_the_card_without_a_copy(&["soc-cma"], &["pc", "soc-noncoherent", "soc-iommu"])
}

#[test]
fn refused_import_names_heap_and_copying_program() {
    if lacks("gst-launch-1.0") {
        return;
    }
    let outcome = Run::on("soc-cma")
        .device("camera=pattern,size=1280x720,alloc=sg,identity=plain")
        .device("kms")
        .real_time("GStreamer has its own clock")
        .program([
            "gst-launch-1.0",
            "-q",
            "v4l2src",
            "num-buffers=5",
            "io-mode=dmabuf",
            "!",
        ])
        .and([
            "video/x-raw,format=YUY2",
            "!",
            "kmssink",
            "force-modesetting=true",
            "sync=false",
        ])
        .run();
    outcome.expect_success();
    let refusals = &outcome.report.refusals;
    let refusal = refusals
        .iter()
        .find(|refusal| refusal.call == "PRIME_FD_TO_HANDLE")
        .unwrap();
    assert_eq!((&*refusal.constraint, refusal.errno), ("contiguous", 22));
    let heap = refusal.remedy.as_ref().map(|remedy| remedy.heap.as_str());
    assert_eq!(heap, Some("default_cma_region"));
    let notes = outcome.report.notes.join("\n");
    assert!(notes.contains("gst-launch-1.0 copied"), "{notes}");
    assert!(
        notes.contains("/dev/dri/card0 refused to import"),
        "{notes}"
    );
}

#[test]
fn drm_info_and_modetest_list_the_card() {
    if lacks("drm_info") || lacks("modetest") {
        return;
    }
    let info = Run::on("pc")
        .device("kms,driver=vkms")
        .program(["drm_info"])
        .run();
    info.expect_success();
    for line in [
        "Driver: vkms",
        "Device: platform vkms",
        "DRM_CAP_PRIME = 3",
        "Object ID: 38",
    ] {
        assert!(info.stdout.contains(line), "{line}: {}", info.stdout);
    }
    let list = Run::on("pc")
        .device("kms")
        .program(["modetest", "-M", "rockchip"])
        .run();
    list.expect_success();
    for line in ["#0 1280x720 60.00", "1 DPMS", "IN_FORMATS"] {
        let is_there = list.stdout.contains(line.trim_start_matches("1 "));
        assert!(is_there, "{line}: {}", list.stdout);
    }
}

#[test]
fn udev_and_sysfs_show_the_card() {
    let outcome = Run::on("pc")
        .device("kms")
        .program(["sh", "-c"])
        .and([
            "cat /sys/class/drm/card0-Virtual-1/status /sys/class/drm/card0/dev \
               /run/udev/data/c226:0 && readlink -f /dev/dri/by-path/*",
        ])
        .run();
    outcome.expect_success();
    let lines: Vec<&str> = outcome.stdout.lines().collect();
    assert_eq!(lines[..2], ["connected", "226:0"]);
    for line in [
        "G:master-of-seat",
        "Q:uaccess",
        "E:ID_PATH=platform-rockchip-000",
        "/dev/dri/card0",
    ] {
        assert!(lines.contains(&line), "{line}: {lines:?}");
    }
}
