//! A loopback with the identity v4l2loopback: programs written for that driver.

use crate::common::{Run, RunOutput, lacks, recording, size_option};
use vb3_v4l2::pixfmt;

const PYTHON: &str = "/usr/bin/python3";
const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/programs/virtualcam.py");
const SYSFS: &str = "/sys/devices/virtual/video4linux/video0";
/// Number of frames in the recording.
const COUNT: u32 = 40;

/// Runs a shell script on the node, after functions for it. `pattern.raw` has a recording.
fn script(options: &str, text: &str) -> RunOutput {
    let device = format!("loopback,identity=v4l2loopback,{}{options}", size_option());
    let run = Run::on("pc").device(device);
    std::fs::write(run.file("pattern.raw"), recording(&pixfmt::YUYV, COUNT)).unwrap();
    // A reader that comes before the writer gets EIO, as with the driver.
    let written =
        format!("written() {{ until grep -q capture {SYSFS}/state; do sleep 0.05; done; }}");
    run.program(["sh", "-c", &format!("{written}; {text}")])
        .run()
}

fn reader(name: &str) -> String {
    format!("v4l2-ctl -d /dev/video0 --stream-mmap=4 --stream-count=6 --stream-to={name}")
}

/// pyvirtualcam and OBS write with write(); OBS starts its stream before. Two programs read.
#[test]
fn virtual_cameras_of_pyvirtualcam_and_obs() {
    if lacks(PYTHON) || lacks("v4l2-ctl") || lacks("ffmpeg") {
        return;
    }
    let (width, height) = crate::common::SIZE;
    for (style, options) in [("pyvirtualcam", ""), ("obs", ",exclusive-caps=on")] {
        let outcome = script(
            options,
            &format!(
                "{PYTHON} {PROGRAM} {style} {width} {height} 100000 25 & writer=$!; written; \
                 {} & one=$!; ffmpeg -v error -f v4l2 -i /dev/video0 -frames:v 6 \
                 -fps_mode passthrough -c copy -f rawvideo two.raw; two=$?; wait $one; one=$?; \
                 cat {SYSFS}/format; kill $writer; wait $writer; exit $((one + two))",
                reader("one.raw")
            ),
        );
        outcome.expect_success();
        let format = format!("YUYV:{width}x{height}@");
        assert!(outcome.stdout.contains(&format), "{}", outcome.stdout);
        assert!(
            outcome.stdout.contains("/dev/video0\n"),
            "{}",
            outcome.stdout
        );
        for file in ["one.raw", "two.raw"] {
            let frame = (width * height * 2) as usize;
            let got = outcome.read(file);
            assert_eq!(got.len(), 6 * frame, "{style}: {file}");
            let mut frames = got.chunks(frame);
            let is_whole = |frame: &[u8]| frame.iter().all(|byte| *byte == frame[0]);
            assert!(frames.all(is_whole), "{style}: {file}");
        }
    }
}

/// Each program writes to the node, and another one reads from it.
#[test]
fn usual_programs_write_and_read() {
    if lacks("ffmpeg") || lacks("v4l2-ctl") || lacks("gst-launch-1.0") {
        return;
    }
    let (width, height) = crate::common::SIZE;
    let caps = format!("rawvideoparse format=yuy2 width={width} height={height} framerate=25/1");
    let ffmpeg = format!(
        "ffmpeg -v error -re -stream_loop -1 -f rawvideo -pix_fmt yuyv422 -s {width}x{height} \
         -r 25 -i pattern.raw -c copy -f v4l2 /dev/video0"
    );
    let gstreamer = format!(
        "gst-launch-1.0 -q multifilesrc location=pattern.raw loop=true ! {caps} ! \
         capssetter caps=video/x-raw,colorimetry=bt601 ! \
         v4l2sink device=/dev/video0 sync=true show-preroll-frame=false"
    );
    let v4l2_ctl = "v4l2-ctl -d /dev/video0 --stream-out-mmap=4 --stream-from=pattern.raw \
                    --stream-loop"
        .to_owned();
    let to_ffmpeg = "ffmpeg -v error -f v4l2 -i /dev/video0 -frames:v 6 -fps_mode passthrough \
                     -c copy -f rawvideo got.raw"
        .to_owned();
    let to_gstreamer = "gst-launch-1.0 -q v4l2src device=/dev/video0 num-buffers=6 ! \
                        filesink location=got.raw"
        .to_owned();
    // v4l2-ctl starts the CAPTURE queue of a node that has both.
    for (writer, reader, options) in [
        (ffmpeg, to_gstreamer, ",fps=25"),
        (gstreamer, reader("got.raw"), ",fps=25"),
        (v4l2_ctl, to_ffmpeg, ",fps=25,exclusive-caps=on"),
    ] {
        let text = format!(
            "{writer} & writer=$!; written; {reader}; got=$?; kill $writer; wait $writer; exit $got"
        );
        let outcome = script(options, &text);
        outcome.expect_success();
        let (got, sent) = (outcome.read("got.raw"), recording(&pixfmt::YUYV, COUNT));
        let frame = (width * height * 2) as usize;
        assert_eq!(got.len(), 6 * frame, "{writer}");
        let is_sent = |got| sent.chunks(frame).any(|sent| sent == got);
        assert!(got.chunks(frame).all(is_sent), "{writer}");
    }
}

/// The commands of v4l2loopback-ctl: set-fps, set-caps and set-timeout-image.
#[test]
fn commands_of_v4l2loopback_ctl() {
    if lacks("v4l2-ctl") || lacks("gst-launch-1.0") {
        return;
    }
    let caps = "video/x-raw,format=UYVY,width=64,height=48";
    let text = format!(
        "set -e; d=/dev/video0; test -z \"$(cat {SYSFS}/format)\"; \
         v4l2-ctl -d $d -c keep_format=1 -c sustain_framerate=1; \
         gst-launch-1.0 -q videotestsrc num-buffers=1 ! {caps} ! v4l2sink device=$d; \
         echo @50/2 | tee {SYSFS}/format; cat {SYSFS}/format; \
         v4l2-ctl -d $d -c timeout_image_io=1; \
         gst-launch-1.0 -q videotestsrc pattern=white num-buffers=1 ! v4l2sink device=$d \
         show-preroll-frame=false; \
         v4l2-ctl -d $d -c timeout=200 -C timeout,keep_format,sustain_framerate; \
         v4l2-ctl -d $d --stream-mmap=4 --stream-count=3 --stream-to=got.raw; \
         v4l2-ctl -d $d --set-fmt-video-out=width=32,height=24; \
         cat {SYSFS}/format {SYSFS}/max_openers; ! echo 25 | tee {SYSFS}/format"
    );
    let outcome = script("", &text);
    outcome.expect_success();
    let said = &outcome.stdout;
    for wanted in [
        "timeout: 200",
        "keep_format: 1",
        "sustain_framerate: 1",
        "UYVY:64x48@50/2\n",
        "UYVY:64x48@25\n10\n",
    ] {
        assert!(said.contains(wanted), "{wanted}: {said}");
    }
    // UYVY of white.
    let got = outcome.read("got.raw");
    assert_eq!(got.len(), 3 * 64 * 48 * 2);
    assert!(got.chunks(2).all(|bytes| bytes == [128, 235]));
}

/// A picture in another size and format is scaled; clips move.
#[test]
fn a_file_stands_in_for_the_writer() {
    if lacks("ffmpeg") || lacks("v4l2-ctl") {
        return;
    }
    let run = Run::on("pc").device("loopback,size=64x48,format=GREY,placeholder=white.png");
    let picture = std::process::Command::new("ffmpeg")
        .args(["-v", "error", "-f", "lavfi", "-i", "color=white:s=320x180"])
        .args(["-frames:v", "1"])
        .arg(run.file("white.png"))
        .status();
    assert!(picture.unwrap().success());
    let text = "v4l2-ctl -d /dev/video1 --stream-mmap=4 --stream-count=3 --stream-to=got.raw; \
                v4l2-ctl -d /dev/video0 --set-fmt-video-out=width=32,height=24,pixelformat=GREY; \
                v4l2-ctl -d /dev/video1 --stream-mmap=4 --stream-count=2 --stream-to=small.raw";
    let outcome = run.program(["sh", "-c", text]).run();
    outcome.expect_success();
    for (file, len) in [("got.raw", 3 * 64 * 48), ("small.raw", 2 * 32 * 24)] {
        let got = outcome.read(file);
        assert_eq!(got.len(), len, "{file}");
        assert!(
            got.iter().all(|byte| *byte >= 234),
            "{file}: {:?}",
            got.first()
        );
    }
}
