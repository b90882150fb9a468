//! HDMI capture: v4l2-ctl sets timings and EDIDs, and follows the source's mode.

use crate::common::{Run, RunOutput, lacks, patiently};
use std::fs;
use vb3_picture::{Background, Frame, Picture, Size, read_number, render};
use vb3_v4l2::pixfmt::YUYV;

/// Runs a shell script on an HDMI input of 800x600, with steps of `--script`. With --stream-poll, v4l2-ctl gives a
/// frame two seconds.
fn shell(steps: &str, script: &str) -> RunOutput {
    let run = Run::on("pc").device("hdmi=pattern,size=800x600");
    fs::write(run.file("script.toml"), steps).unwrap();
    let run = match steps {
        "" => run,
        _ => run.options(["--script", "script.toml"]),
    };
    let script = format!("VB3={}\n{script}", env!("CARGO_BIN_EXE_vb3"));
    run.options(["--clock", "virtual"])
        .program(patiently(&script))
        .run()
}

fn step(when: &str, signal: &str) -> String {
    format!("[[step]]\ndevice = \"/dev/video0\"\n{when}\nsignal = \"{signal}\"\n")
}

/// Asserts that `bytes` begin with `count` pictures of the pattern. Returns the rest.
fn expect_pictures(mut bytes: &[u8], size: (u32, u32), count: u32) -> &[u8] {
    let size = Size::new(size.0, size.1).unwrap();
    for _ in 0..count {
        let len = vb3_picture::bytes(&YUYV, size);
        let (data, rest) = bytes.split_at(len);
        let frame = Frame::from_bytes(&YUYV, size, data.to_vec()).unwrap();
        let (number, _) = read_number(&frame);
        let sent = render(&YUYV, size, number, Background::Bars, &Picture::default());
        assert!(sent.bytes() == data, "picture {number} of {size}");
        bytes = rest;
    }
    bytes
}

/// v4l2-ctl itself waits for the event, queries and sets the timings, and streams again.
#[test]
fn capture_goes_on_after_the_mode_changes() {
    if lacks("v4l2-ctl") {
        return;
    }
    let steps = step("frame = 4", "640x480p60") + &step("frame = 8", "1280x720p50");
    let outcome = shell(
        &steps,
        "v4l2-ctl --stream-mmap=3 --stream-poll --stream-count=12 --stream-to=- >frames.raw
         v4l2-ctl -V | grep Width; v4l2-ctl -P | grep second; v4l2-ctl --query-dv-timings | grep -c 720",
    );
    outcome.expect_success();
    assert!(
        outcome.stdout.contains("Width/Height      : 1280/720"),
        "{}",
        outcome.stdout
    );
    assert!(
        outcome.stdout.contains("50.000 (50/1)"),
        "{}",
        outcome.stdout
    );
    let frames = outcome.read("frames.raw");
    let rest = expect_pictures(&frames, (800, 600), 4);
    let rest = expect_pictures(rest, (640, 480), 4);
    assert!(expect_pictures(rest, (1280, 720), 4).is_empty());
}

#[test]
fn events_tell_of_modes_and_lost_signals() {
    if lacks("v4l2-ctl") {
        return;
    }
    let steps = step("time = \"1s\"", "640x480p60") + &step("time = \"2s\"", "lost");
    let outcome = shell(
        &steps,
        "v4l2-ctl --wait-for-event=source_change=0 | grep -o 'changes: 1'
         v4l2-ctl --query-dv-timings | grep -o 'Active width: 640'
         v4l2-ctl --wait-for-event=ctrl=power_present | grep -o 'value: 0'
         v4l2-ctl --query-dv-timings 2>&1 | grep -o 'Link has been severed'
         v4l2-ctl -I | grep -o 'no signal'
         $VB3 ctl signal video0 no-lock
         v4l2-ctl --query-dv-timings 2>&1 | grep -o 'No locks available'
         $VB3 ctl signal video0 out-of-range
         v4l2-ctl --query-dv-timings 2>&1 | grep -o 'Numerical result out of range'
         v4l2-ctl --query-dv-timings 2>&1 | grep -o 'Pixelclock: [0-9]*'
         $VB3 ctl signal video0 1920x1080p24
         v4l2-ctl --set-dv-bt-timings=query | grep -o 'timings set'
         v4l2-ctl -P | grep -o '24/1'
         $VB3 ctl signal video0 1920x1080p23 2>&1 | grep -o '1920x1080p24, 1920x1080p25'",
    );
    assert_eq!(
        outcome.stdout,
        "changes: 1\nActive width: 640\nvalue: 0\nLink has been severed\nno signal\n\
         No locks available\nNumerical result out of range\nPixelclock: 1188000000\ntimings set\n\
         24/1\n1920x1080p24, 1920x1080p25\n",
        "{}",
        outcome.stderr
    );
    let why = outcome.why();
    assert!(why.contains("has changed to 1920x1080p24"), "{why}");
}

#[test]
fn only_modes_of_the_receiver_can_be_set() {
    if lacks("v4l2-ctl") {
        return;
    }
    let outcome = shell(
        "",
        "v4l2-ctl --list-dv-timings | grep -c Index
         v4l2-ctl --get-dv-timings-cap | grep -o 'Maximum PClock: .*'
         v4l2-ctl --set-dv-bt-timings=width=1000,height=700,pixelclock=50000000 2>&1 | grep -o 'Invalid arg.*'
         v4l2-ctl --set-dv-bt-timings=index=7 | grep -o 'timings set'
         v4l2-ctl --get-dv-timings | grep -o '60.00 frames'
         timeout 2 v4l2-ctl --stream-mmap --stream-count=1 --stream-to=frame.raw
         v4l2-ctl -V | grep -o '800/600'",
    );
    assert_eq!(
        outcome.stdout,
        "36\nMaximum PClock: 594000000\nInvalid argument\ntimings set\n60.00 frames\n800/600\n",
        "{}",
        outcome.stderr
    );
}

#[test]
fn edid_is_kept_as_it_was_set() {
    if lacks("v4l2-ctl") {
        return;
    }
    let outcome = shell(
        "",
        "v4l2-ctl --get-edid=format=raw,file=first.bin
         v4l2-ctl --set-edid=type=hdmi-4k-600mhz
         v4l2-ctl --get-edid=format=raw,file=other.bin
         wc -c <other.bin; cmp -s first.bin other.bin || echo differs
         v4l2-ctl --set-edid=file=first.bin,format=raw
         v4l2-ctl --get-edid=format=raw,file=again.bin; cmp first.bin again.bin && echo same
         cat first.bin first.bin first.bin >long.bin
         v4l2-ctl --set-edid=file=long.bin,format=raw 2>&1 | grep -o 'list too long'
         v4l2-ctl --clear-edid; v4l2-ctl --query-dv-timings 2>&1 | grep -o 'Link has been severed'
         v4l2-ctl --set-edid=file=first.bin,format=raw
         v4l2-ctl --query-dv-timings | grep -o 'Active width: 800'",
    );
    assert_eq!(
        outcome.stdout,
        "256\ndiffers\nsame\nlist too long\nLink has been severed\nActive width: 800\n",
        "{}",
        outcome.stderr
    );
}
