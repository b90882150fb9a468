//! The encoders, and JPEG in both directions, under unmodified programs. The decoded output must
//! resemble the input.

use crate::common::{Run, RunOutput, ffmpeg_in, lacks, lacks_libavcodec};
use crate::compliance::expect_compliant;
use std::process::Command;

pub(crate) const WIDTH: usize = 320;
pub(crate) const HEIGHT: usize = 240;
pub(crate) const PICTURE: usize = WIDTH * HEIGHT * 3 / 2;
pub(crate) const COUNT: usize = 20;
/// GStreamer with the test's own registry, so that it lists no devices of other runs.
const GST: &str = "gst-launch-1.0 -q";
/// Minimum signal-to-noise ratio in decibels at which two pictures are taken to be alike.
const ALIKE: f64 = 32.0;

/// Returns ffprobe's output for a file: a line for each packet or frame.
pub(crate) fn probe(outcome: &RunOutput, file: &str, words: &str) -> Vec<String> {
    let out = Command::new("ffprobe")
        .current_dir(outcome.dir.path())
        .args(["-v", "error", "-of", "csv=p=0"])
        .args(words.split(' '))
        .arg(file)
        .output()
        .unwrap();
    assert!(out.status.success(), "ffprobe {words} {file}");
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    text.lines()
        .map(|line| line.trim_end_matches(',').to_owned())
        .collect()
}

/// Writes moving pictures to `source.yuv`, as I420.
pub(crate) fn source(run: &Run) -> Vec<u8> {
    let size = format!("testsrc2=size={WIDTH}x{HEIGHT}:rate=30");
    let words = format!("-f lavfi -i {size} -frames:v {COUNT} -pix_fmt yuv420p -f rawvideo");
    ffmpeg_in(run.dir.path(), format!("{words} source.yuv").split(' '));
    std::fs::read(run.file("source.yuv")).unwrap()
}

pub(crate) fn decoded(outcome: &RunOutput, file: &str) -> Vec<u8> {
    let words = format!("-i {file} -fps_mode passthrough -pix_fmt yuv420p -f rawvideo seen.yuv");
    ffmpeg_in(outcome.dir.path(), words.split(' '));
    outcome.read("seen.yuv")
}

/// Asserts that both lists have the same number of pictures, and that each pair is alike.
pub(crate) fn expect_alike(sent: &[u8], seen: &[u8], picture: usize) {
    assert_eq!(seen.len(), sent.len(), "bytes of pictures");
    let pairs = sent.chunks_exact(picture).zip(seen.chunks_exact(picture));
    for (number, (sent, seen)) in pairs.enumerate() {
        let error = |(a, b): (&u8, &u8)| (f64::from(*a) - f64::from(*b)).powi(2);
        let sum: f64 = sent.iter().zip(seen).map(error).sum();
        let psnr = 10.0 * (255.0 * 255.0 * picture as f64 / sum.max(1e-9)).log10();
        assert!(psnr > ALIKE, "picture {number}: {psnr} dB");
    }
}

fn all_there(programs: &[&str]) -> bool {
    !lacks_libavcodec() && programs.iter().all(|program| !lacks(program))
}

macro_rules! on_machine {
    ($($module:ident $machine:literal $(#[$full:meta])?)*) => {$(
        mod $module {
            use super::{expect_compliant, lacks_libavcodec};

            #[test]
            $(#[$full])?
            fn h264enc() {
                if !lacks_libavcodec() {
                    expect_compliant($machine, &["h264enc,size=320x240"], &[]);
                }
            }

            #[test]
            $(#[$full])?
            fn jpegenc() {
                expect_compliant($machine, &["jpegenc,size=320x240"], &[]);
            }

            #[test]
            $(#[$full])?
            fn jpegdec() {
                expect_compliant($machine, &["jpegdec,size=320x240"], &[]);
            }
        }
    )*};
}

on_machine! {
    pc "pc"
    pc_untrusted "pc-untrusted" #[ignore = "full: runs on a further machine"]
    soc_64k "soc-64k" #[ignore = "full: runs on a further machine"]
    soc_boundary "soc-boundary" #[ignore = "full: runs on a further machine"]
    soc_cma "soc-cma" #[ignore = "full: runs on a further machine"]
    soc_iommu "soc-iommu" #[ignore = "full: runs on a further machine"]
    soc_noncoherent "soc-noncoherent"
    soc_sram "soc-sram" #[ignore = "full: runs on a further machine"]
    vm_bounce "vm-bounce" #[ignore = "full: runs on a further machine"]
}

/// Encodes a file with v4l2-ctl. Returns the input and the run.
fn by_v4l2_ctl(machine: &str, options: &str, fourcc: &str) -> Option<(Vec<u8>, RunOutput)> {
    if !all_there(&["v4l2-ctl", "ffmpeg"]) {
        return None;
    }
    let run = Run::on(machine).device(format!("h264enc{options}"));
    let mut sent = source(&run);
    if fourcc != "YU12" {
        let words = format!(
            "-f rawvideo -pix_fmt yuv420p -s {WIDTH}x{HEIGHT} -i source.yuv -pix_fmt nv12 -f rawvideo \
             source.nv12"
        );
        ffmpeg_in(run.dir.path(), words.split(' '));
        std::fs::rename(run.file("source.nv12"), run.file("source.yuv")).unwrap();
    }
    sent.truncate(COUNT * PICTURE);
    let outcome = run
        .program(["v4l2-ctl", "-d", "/dev/video0"])
        .and([format!(
            "--set-fmt-video-out=width={WIDTH},height={HEIGHT},pixelformat={fourcc}"
        )])
        .and(["--set-ctrl=video_bitrate=4000000,video_gop_size=5"])
        .and(["--stream-out-mmap", "--stream-from=source.yuv"])
        .and(["--stream-mmap", "--stream-to=seen.h264"])
        .run();
    outcome.expect_success();
    Some((sent, outcome))
}

#[test]
fn colours_that_a_program_tells_are_in_the_stream() {
    if !all_there(&["v4l2-ctl", "ffmpeg", "ffprobe"]) {
        return;
    }
    for (told, said) in [
        ("", "tv,bt709,bt709,bt709"),
        (
            ",colorspace=bt2020,xfer=smpte2084,ycbcr=bt2020,quantization=full-range",
            "pc,bt2020nc,smpte2084,bt2020",
        ),
        (
            ",colorspace=smpte170m,quantization=lim-range",
            "tv,smpte170m,smpte170m,smpte170m",
        ),
    ] {
        let run = Run::on("pc").device("h264enc");
        source(&run);
        let outcome = run
            .program(["v4l2-ctl", "-d", "/dev/video0"])
            .and([format!(
                "--set-fmt-video-out=width={WIDTH},height={HEIGHT},pixelformat=YU12{told}"
            )])
            .and(["--stream-out-mmap", "--stream-from=source.yuv"])
            .and(["--stream-mmap", "--stream-to=seen.h264"])
            .run();
        outcome.expect_success();
        let entries = "color_range,color_space,color_transfer,color_primaries";
        let words = format!("-show_entries stream={entries}");
        assert_eq!(probe(&outcome, "seen.h264", &words), [said], "{told}");
    }
}

#[test]
#[ignore = "full: every layout"]
fn v4l2_ctl_encodes_every_layout() {
    for (fourcc, options) in [
        ("YU12", ""),
        ("NV12", ""),
        ("NM12", ""),
        ("YU12", ",stride=32"),
    ] {
        let Some((sent, outcome)) = by_v4l2_ctl("pc", options, fourcc) else {
            return;
        };
        expect_alike(&sent, &decoded(&outcome, "seen.h264"), PICTURE);
    }
}

fn every_machine_gives_the_same_stream(machines: &[&str]) {
    let mut streams = Vec::new();
    for &machine in machines {
        let Some((_, outcome)) = by_v4l2_ctl(machine, "", "NV12") else {
            return;
        };
        streams.push((machine, outcome.read("seen.h264")));
    }
    for (machine, stream) in &streams {
        assert!(stream == &streams[0].1, "{machine}");
    }
}

#[test]
fn key_frames_come_as_often_as_the_control_says() {
    let Some((_, outcome)) = by_v4l2_ctl("pc", "", "YU12") else {
        return;
    };
    let kinds = probe(&outcome, "seen.h264", "-show_entries frame=pict_type");
    let expected: Vec<&str> = (0..COUNT)
        .map(|n| if n % 5 == 0 { "I" } else { "P" })
        .collect();
    assert_eq!(kinds, expected);
}

#[test]
fn only_the_visible_lines_are_encoded() {
    if !all_there(&["v4l2-ctl", "ffmpeg", "ffprobe"]) {
        return;
    }
    // 232 visible lines of 240, as a picture of 1080 lines often lies in a buffer of 1088.
    let run = Run::on("pc").device("h264enc");
    source(&run);
    let outcome = run
        .program(["v4l2-ctl", "-d", "/dev/video0"])
        .and([format!(
            "--set-fmt-video-out=width={WIDTH},height={HEIGHT},pixelformat=YU12"
        )])
        .and(["--set-selection-output=target=crop,top=0,left=0,width=320,height=232"])
        .and(["--stream-out-mmap", "--stream-from=source.yuv"])
        .and(["--stream-mmap", "--stream-to=seen.h264"])
        .run();
    outcome.expect_success();
    let sizes = probe(&outcome, "seen.h264", "-show_entries stream=width,height");
    assert_eq!(sizes, ["320,232"]);
}

fn ffmpeg_encodes(machines: &[&str]) {
    if !all_there(&["ffmpeg", "ffprobe"]) {
        return;
    }
    for &machine in machines {
        let run = Run::on(machine).device("h264enc");
        let sent = source(&run);
        let outcome = run
            .program(["ffmpeg", "-nostdin", "-v", "error", "-f", "rawvideo"])
            .and(["-pix_fmt", "yuv420p", "-r", "30", "-s"])
            .and([format!("{WIDTH}x{HEIGHT}")])
            .and([
                "-i",
                "source.yuv",
                "-c:v",
                "h264_v4l2m2m",
                "-b:v",
                "4M",
                "seen.mp4",
            ])
            .run();
        outcome.expect_success();
        expect_alike(&sent, &decoded(&outcome, "seen.mp4"), PICTURE);
        let words = "-select_streams v -show_entries packet=pts_time";
        let stamps = probe(&outcome, "seen.mp4", words);
        assert_eq!(stamps.len(), COUNT);
        for (number, stamp) in stamps.iter().enumerate() {
            let late = stamp.parse::<f64>().unwrap() - number as f64 / 30.0;
            assert!(late.abs() < 0.001, "picture {number} at {stamp}");
        }
    }
}

/// Runs a pipeline that writes its input to `sent.raw` and its decoded output to `seen.raw`.
fn pipeline(machine: &str, device: &str, caps: &str, codec: &str) -> Option<RunOutput> {
    if !all_there(&["gst-launch-1.0"]) {
        return None;
    }
    let words = format!(
        "{GST} videotestsrc num-buffers={COUNT} pattern=ball \
         ! video/x-raw,width={WIDTH},height={HEIGHT},framerate=30/1,{caps} ! tee name=t \
         ! queue ! filesink location=sent.raw t. ! queue ! {codec} \
         ! filesink location=seen.raw"
    );
    let outcome = Run::on(machine)
        .device(device)
        .program(words.split_whitespace())
        .run();
    outcome.expect_success();
    let (sent, seen) = (outcome.read("sent.raw"), outcome.read("seen.raw"));
    assert_eq!(sent.len(), COUNT * PICTURE);
    expect_alike(&sent, &seen, PICTURE);
    Some(outcome)
}

fn gstreamer_encodes_h264(machines: &[&str]) {
    for &machine in machines {
        let caps = "format=NV12";
        let codec = "v4l2h264enc ! video/x-h264,level=(string)4 ! h264parse ! avdec_h264 \
                     ! videoconvert ! video/x-raw,format=NV12";
        if pipeline(machine, "h264enc", caps, codec).is_none() {
            return;
        }
    }
}

#[test]
fn gstreamer_encodes_with_the_controls_it_sets() {
    let caps = "format=I420";
    let codec = "v4l2h264enc extra-controls=c,video_bitrate=6000000,video_gop_size=4 \
                 ! video/x-h264,profile=main,level=(string)4.1 ! h264parse ! tee name=k \
                 ! queue ! filesink location=seen.h264 k. ! queue ! avdec_h264";
    let Some(outcome) = pipeline("pc", "h264enc", caps, codec) else {
        return;
    };
    if lacks("ffprobe") {
        return;
    }
    let said = probe(&outcome, "seen.h264", "-show_entries stream=profile,level");
    assert_eq!(said, ["Main,41"]);
    let kinds = probe(&outcome, "seen.h264", "-show_entries frame=pict_type");
    assert_eq!(kinds[..5], ["I", "P", "P", "P", "I"]);
}

/// Asserts that GStreamer's encoder continues if pictures change their size in mid-stream, by
/// decoding its stream. GStreamer 1.22 drains the device first. It would stop if the encoder
/// returned the last packet together with the LAST flag.
pub(crate) fn expect_change_of_size(device: &str, codec: &str) {
    let sizes = [(640, 480), (320, 240)];
    let sources = sizes.map(|(width, height)| {
        format!(
            "videotestsrc num-buffers=5 ! video/x-raw,format=NV12,width={width},height={height} ! c."
        )
    });
    let [first, second] = &sources;
    let words =
        format!("{GST} concat name=c ! {codec} ! filesink location=seen.raw {first} {second}");
    let outcome = Run::on("pc")
        .device(device)
        .program(words.split_whitespace())
        .run();
    outcome.expect_success();
    let wanted: usize = sizes.iter().map(|(w, h)| 5 * w * h * 3 / 2).sum();
    let seen = outcome.read("seen.raw").len();
    assert_eq!(
        seen, wanted,
        "{device}: bytes of five pictures of each size"
    );
}

#[test]
fn gstreamer_changes_the_size_of_h264() {
    if all_there(&["gst-launch-1.0"]) {
        let codec = "v4l2h264enc ! video/x-h264,level=(string)4 ! h264parse ! avdec_h264";
        expect_change_of_size("h264enc", codec);
    }
}

#[test]
fn gstreamer_changes_the_size_of_jpeg() {
    if all_there(&["gst-launch-1.0"]) {
        let codec = "v4l2jpegenc ! jpegdec ! video/x-raw,format=I420";
        expect_change_of_size("jpegenc", codec);
    }
}

fn gstreamer_encodes_jpeg(machines: &[&str]) {
    for &machine in machines {
        let codec = "v4l2jpegenc ! jpegdec ! video/x-raw,format=I420";
        if pipeline(machine, "jpegenc", "format=I420", codec).is_none() {
            return;
        }
    }
}

fn gstreamer_decodes_jpeg(machines: &[&str]) {
    for &machine in machines {
        let codec =
            "jpegenc quality=95 ! jpegparse ! v4l2jpegdec ! videoconvert ! video/x-raw,format=I420";
        if pipeline(machine, "jpegdec", "format=I420", codec).is_none() {
            return;
        }
    }
}

#[test]
fn jpeg_there_and_back() {
    if !all_there(&["gst-launch-1.0"]) {
        return;
    }
    let words = format!(
        "{GST} videotestsrc num-buffers={COUNT} pattern=ball \
         ! video/x-raw,width={WIDTH},height={HEIGHT},framerate=30/1,format=NV12 ! tee name=t \
         ! queue ! filesink location=sent.raw t. ! queue ! v4l2jpegenc ! v4l2jpegdec \
         ! video/x-raw,format=NV12 ! filesink location=seen.raw"
    );
    let outcome = Run::on("soc-noncoherent")
        .device("jpegenc")
        .device("jpegdec")
        .program(words.split_whitespace())
        .run();
    outcome.expect_success();
    expect_alike(
        &outcome.read("sent.raw"),
        &outcome.read("seen.raw"),
        PICTURE,
    );
}

crate::common::tiers! {
    ffmpeg_encodes(&["pc"], &["soc-cma", "soc-noncoherent"])
}

crate::common::on_machines! {
    every_machine_gives_the_same_stream
    gstreamer_encodes_h264
    gstreamer_encodes_jpeg
    gstreamer_decodes_jpeg
}
