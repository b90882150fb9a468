//! The converter, under v4l2-ctl and GStreamer, compared with ffmpeg's filters.

use crate::common::{Run, RunOutput, ffmpeg, lacks};
use crate::compliance::expect_compliant;

pub(crate) const SIZE: (usize, usize) = (320, 240);
pub(crate) const COUNT: usize = 4;

/// Makes moving pictures in one of ffmpeg's pixel formats.
pub(crate) fn pictures(format: &str) -> Option<Vec<u8>> {
    if lacks("ffmpeg") {
        return None;
    }
    let (width, height) = SIZE;
    let source = format!("testsrc2=size={width}x{height}:rate=25");
    let count = COUNT.to_string();
    let from = ["-f", "lavfi", "-i", &source, "-frames:v", &count];
    Some(through(&from, "null", format))
}

/// Applies one of ffmpeg's filters to pictures.
pub(crate) fn filtered(pictures: &[u8], format: &str, filter: &str, to: &str) -> Vec<u8> {
    let dir = crate::common::tempdir();
    let file = dir.path().join("in.raw");
    std::fs::write(&file, pictures).unwrap();
    let size = format!("{}x{}", SIZE.0, SIZE.1);
    let file = file.to_str().unwrap();
    let from = [
        "-f", "rawvideo", "-pix_fmt", format, "-s", &size, "-i", file,
    ];
    through(&from, filter, to)
}

fn through(from: &[&str], filter: &str, to: &str) -> Vec<u8> {
    let to = ["-vf", filter, "-pix_fmt", to, "-f", "rawvideo", "-"];
    let pictures = ffmpeg(from.iter().chain(&to));
    assert!(!pictures.is_empty());
    pictures
}

/// Returns the signal-to-noise ratio of two pictures, in dB; infinite if they are equal.
pub(crate) fn psnr(a: &[u8], b: &[u8]) -> f64 {
    assert_eq!(a.len(), b.len());
    let square = |(a, b): (&u8, &u8)| f64::from(a.abs_diff(*b)).powi(2);
    let sum: f64 = a.iter().zip(b).map(square).sum();
    10.0 * (255.0 * 255.0 * a.len() as f64 / sum).log10()
}

/// One conversion by v4l2-ctl: formats and sizes at OUTPUT and CAPTURE, and further settings.
struct Ctl<'a> {
    machine: &'a str,
    output: &'a str,
    capture: &'a str,
    size: (usize, usize),
    set: &'a [&'a str],
}

impl Default for Ctl<'_> {
    fn default() -> Self {
        Self {
            machine: "pc",
            output: "NV12",
            capture: "NV12",
            size: SIZE,
            set: &[],
        }
    }
}

impl Ctl<'_> {
    fn run(&self, pictures: &[u8]) -> Option<Vec<u8>> {
        if lacks("v4l2-ctl") {
            return None;
        }
        let format = |(width, height): (usize, usize), pixel: &str| {
            format!("width={width},height={height},pixelformat={pixel}")
        };
        let run = Run::on(self.machine).device("convert");
        std::fs::write(run.file("in.raw"), pictures).unwrap();
        let outcome = run
            .program(["v4l2-ctl", "-d", "/dev/video0"])
            .and(["--set-fmt-video-out", &format(SIZE, self.output)])
            .and(["--set-fmt-video", &format(self.size, self.capture)])
            .and(self.set)
            .and(["--stream-mmap", "--stream-out-mmap"])
            .and(["--stream-from", "in.raw", "--stream-to", "out.raw"])
            .run();
        outcome.expect_success();
        expect_no_copy(&outcome);
        Some(outcome.read("out.raw"))
    }
}

pub(crate) fn expect_no_copy(outcome: &RunOutput) {
    assert_eq!(outcome.report.total(|queue| queue.bytes_copied), 0);
    assert!(
        outcome.report.refusals.is_empty(),
        "{:?}",
        outcome.report.refusals
    );
}

#[test]
fn flips_and_turns_are_exact() {
    let Some(pictures) = pictures("nv12") else {
        return;
    };
    let turned = (SIZE.1, SIZE.0);
    for (control, filter, size) in [
        ("horizontal_flip=1", "hflip", SIZE),
        ("vertical_flip=1", "vflip", SIZE),
        ("rotate=90", "transpose=1", turned),
        ("rotate=180", "hflip,vflip", SIZE),
        ("rotate=270", "transpose=2", turned),
    ] {
        let ctl = Ctl {
            size,
            set: &["--set-ctrl", control],
            ..Ctl::default()
        };
        let Some(made) = ctl.run(&pictures) else {
            return;
        };
        let wanted = filtered(&pictures, "nv12", filter, "nv12");
        assert!(made == wanted, "{control}");
        assert_ne!(made, pictures, "{control}");
    }
}

fn a_crop_is_exact_on_every_machine(machines: &[&str]) {
    // v4l2-ctl reads whole pictures only if vicodec does not have their format.
    let (Some(planar), Some(pictures)) = (pictures("nv12"), pictures("nv12")) else {
        return;
    };
    let wanted = filtered(&pictures, "nv12", "crop=160:120:32:16", "nv12");
    for &machine in machines {
        let ctl = Ctl {
            machine,
            output: "NM12",
            size: (160, 120),
            set: &[
                "--set-selection-output",
                "target=crop,left=32,top=16,width=160,height=120",
            ],
            ..Ctl::default()
        };
        let Some(made) = ctl.run(&planar) else {
            return;
        };
        assert!(made == wanted, "{machine}");
    }
}

#[test]
fn v4l2_ctls_own_way_to_crop_works() {
    // v4l2-ctl 1.22 reads pictures of the crop's size, and puts each into the corner of a larger picture. v4l2-ctl
    // 1.30 reads whole pictures.
    let Some(pictures) = pictures("nv12") else {
        return;
    };
    let cropped = filtered(&pictures, "nv12", "crop=160:120:0:0", "nv12");
    let ctl = Ctl {
        size: (160, 120),
        set: &[
            "--set-selection-output",
            "target=crop,left=0,top=0,width=160,height=120",
        ],
        ..Ctl::default()
    };
    let made = [&cropped, &pictures].map(|read| ctl.run(read));
    if made.iter().all(Option::is_some) {
        assert!(made.contains(&Some(cropped)));
    }
}

#[test]
fn a_composed_picture_lies_where_it_was_put() {
    let Some(pictures) = pictures("nv12") else {
        return;
    };
    let (width, height) = (640, 480);
    // v4l2-ctl writes whole pictures only if vicodec does not have their format.
    let ctl = Ctl {
        capture: "NM12",
        size: (width, height),
        set: &[
            "--set-selection",
            "target=compose,left=64,top=32,width=320,height=240",
        ],
        ..Ctl::default()
    };
    let Some(made) = ctl.run(&pictures) else {
        return;
    };
    let bytes = width * height * 3 / 2;
    assert_eq!(made.len(), bytes * COUNT);
    for (made, sent) in made
        .chunks_exact(bytes)
        .zip(pictures.chunks_exact(SIZE.0 * SIZE.1 * 3 / 2))
    {
        for y in 0..height * 3 / 2 {
            // Lines of chroma follow those of luma.
            let from = match y {
                _ if y < height => y.checked_sub(32).filter(|y| *y < SIZE.1),
                _ => (y - height)
                    .checked_sub(16)
                    .filter(|y| *y < SIZE.1 / 2)
                    .map(|y| y + SIZE.1),
            };
            let line = &made[y * width..][..width];
            match from {
                Some(from) => {
                    assert!(line[64..384] == sent[from * SIZE.0..][..SIZE.0], "line {y}");
                    assert!(line[..64].iter().chain(&line[384..]).all(|byte| *byte == 0));
                }
                None => assert!(line.iter().all(|byte| *byte == 0), "line {y}"),
            }
        }
    }
}

#[test]
fn scaled_pictures_look_like_ffmpegs() {
    let Some(pictures) = pictures("nv12") else {
        return;
    };
    for (width, height) in [(160, 120), (640, 480), (200, 90)] {
        let ctl = Ctl {
            size: (width, height),
            ..Ctl::default()
        };
        let Some(made) = ctl.run(&pictures) else {
            return;
        };
        let filter = format!("scale={width}:{height}:flags=bilinear");
        let wanted = filtered(&pictures, "nv12", &filter, "nv12");
        let likeness = psnr(&made, &wanted);
        eprintln!("{width}x{height}: {likeness:.1} dB");
        assert!(likeness > 30.0, "{width}x{height}: {likeness:.1} dB");
    }
}

#[test]
fn other_formats_are_ffmpegs_too() {
    let Some(pictures) = pictures("nv12") else {
        return;
    };
    let bt709 = "scale=in_color_matrix=bt709:in_range=limited";
    let both = format!("{bt709}:out_color_matrix=bt709:out_range=limited");
    for (capture, format, filter, least) in [
        ("NM12", "nv12", "null", f64::INFINITY),
        ("YU12", "yuv420p", "null", f64::INFINITY),
        ("YUYV", "yuyv422", &both, 30.0),
        ("RGB3", "rgb24", bt709, 30.0),
    ] {
        let ctl = Ctl {
            capture,
            ..Ctl::default()
        };
        let Some(made) = ctl.run(&pictures) else {
            return;
        };
        let wanted = filtered(&pictures, "nv12", filter, format);
        let likeness = psnr(&made, &wanted);
        eprintln!("{capture}: {likeness:.1} dB");
        assert!(likeness >= least, "{capture}: {likeness:.1} dB");
    }
}

/// One conversion by GStreamer's v4l2convert.
fn gstreamer(pictures: &[u8], options: &str, caps: &str) -> Option<Vec<u8>> {
    if lacks("gst-launch-1.0") {
        return None;
    }
    let run = Run::on("soc-noncoherent").device("convert");
    std::fs::write(run.file("in.raw"), pictures).unwrap();
    let line = format!(
        "gst-launch-1.0 -q filesrc location=in.raw ! rawvideoparse format=nv12 width={} height={} \
         ! v4l2convert {options} ! {caps} ! filesink location=out.raw",
        SIZE.0, SIZE.1
    );
    let outcome = run.program(["sh", "-c", &line]).run();
    outcome.expect_success();
    assert!(outcome.device("/dev/video0").queues[0].frames > 0);
    Some(outcome.read("out.raw"))
}

#[test]
fn gstreamer_flips_and_turns() {
    let Some(pictures) = pictures("nv12") else {
        return;
    };
    let turned = (SIZE.1, SIZE.0);
    for (control, filter, (width, height)) in [
        ("horizontal_flip=1", "hflip", SIZE),
        ("vertical_flip=1", "vflip", SIZE),
        ("rotate=90", "transpose=1", turned),
    ] {
        // GStreamer does not know what the controls change.
        let options = format!("disable-passthrough=true extra-controls=c,{control}");
        let caps = format!("video/x-raw,format=NV12,width={width},height={height}");
        let Some(made) = gstreamer(&pictures, &options, &caps) else {
            return;
        };
        let wanted = filtered(&pictures, "nv12", filter, "nv12");
        assert!(made == wanted, "{control}");
    }
}

#[test]
fn gstreamer_scales_and_converts() {
    let Some(pictures) = pictures("nv12") else {
        return;
    };
    for (size, format, pixels) in [("160x120", "NV12", "nv12"), ("320x240", "YUY2", "yuyv422")] {
        let (width, height) = size.split_once('x').unwrap();
        let caps = format!("video/x-raw,format={format},width={width},height={height}");
        let Some(made) = gstreamer(&pictures, "", &caps) else {
            return;
        };
        let filter = format!("scale={width}:{height}:flags=bilinear");
        let wanted = filtered(&pictures, "nv12", &filter, pixels);
        let likeness = psnr(&made, &wanted);
        eprintln!("{size} {format}: {likeness:.1} dB");
        assert!(likeness > 30.0, "{size} {format}: {likeness:.1} dB");
    }
}

const CONVERTER: &str = "convert,size=320x240";

fn complies_on_every_machine(machines: &[&str]) {
    for &machine in machines {
        expect_compliant(machine, &[CONVERTER], &[]);
    }
}

fn complies_with_the_displays_dmabufs(machines: &[&str]) {
    let display = "display=null,mplane=on,format=NV12,size=320x240";
    for &machine in machines {
        expect_compliant(machine, &[CONVERTER, display], &["-e", "/dev/video1"]);
    }
}

crate::common::tiers! {
    complies_with_the_displays_dmabufs(&["soc-noncoherent"], &["soc-cma"])
}

crate::common::on_machines! {
    a_crop_is_exact_on_every_machine
    complies_on_every_machine
}
