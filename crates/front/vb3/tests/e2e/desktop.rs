//! Desktop programs with a camera; each shows the pattern's pictures.

use crate::common::{Run, SIZE, expect_pattern, lacks, size_option};
use serde_json::Value;
use std::path::Path;
use vb3_picture::{Background, Frame, Picture, Size, read_number, render};
use vb3_v4l2::pixfmt;

fn camera() -> Run {
    Run::on("pc")
        .real_time("desktop programs keep their own time")
        .device(format!("camera=pattern,format=YUYV,{}", size_option()))
}

/// Levels that a program shows for black and white.
#[derive(Clone, Copy)]
pub(crate) enum Range {
    /// 0 and 255.
    Full,
    /// 16 and 235, as in the camera's Y'.
    Studio,
}

/// Asserts that bytes are a picture of the pattern that a program converted to R'G'B'. Returns its
/// number.
pub(crate) fn expect_shown(rgb: &[u8], range: Range) -> u32 {
    let size = Size::new(SIZE.0, SIZE.1).unwrap();
    let frame = Frame::from_bytes(&pixfmt::RGB24, size, rgb.to_vec()).unwrap();
    let (number, bits) = read_number(&frame);
    assert_eq!(bits, 32);
    let sent = render(
        &pixfmt::RGB24,
        size,
        number,
        Background::Bars,
        &Picture::default(),
    );
    let sent = sent.bytes().iter().map(|&byte| match range {
        Range::Full => byte,
        Range::Studio => (16 + u32::from(byte) * 219 / 255) as u8,
    });
    // Colours of neighbours mix if a program halves the lines of chroma.
    let near = sent.zip(rgb);
    let near = near.filter(|(a, b)| a.abs_diff(**b) <= 12).count();
    assert!(
        near * 100 >= rgb.len() * 95,
        "{near} of {} bytes are as sent in picture {number}",
        rgb.len()
    );
    number
}

#[test]
fn pipewire_offers_the_camera_by_default() {
    let programs = ["pipewire", "wireplumber", "pw-cli", "dbus-run-session"];
    if programs.into_iter().any(lacks) || lacks("gst-inspect-1.0") {
        return;
    }
    let dir = crate::common::tempdir();
    let mut exists = crate::surroundings::command("gst-inspect-1.0", dir.path());
    // Does not use --exists, which requires a plugin as new as GStreamer.
    let exists = exists.arg("pipewiresrc").output().unwrap();
    if !exists.status.success() && lacks("gstreamer1.0-pipewire") {
        return;
    }
    let script = "exec dbus-run-session -- sh -c '
            pipewire >pipewire.txt 2>&1 &
            while [ ! -S $XDG_RUNTIME_DIR/pipewire-0 ]; do sleep 0.05; done
            wireplumber >wireplumber.txt 2>&1 &
            while ! pw-cli ls Node | grep -q Video/Source; do sleep 0.05; done
            gst-launch-1.0 -q pipewiresrc num-buffers=5 ! videoconvert \\
                ! video/x-raw,format=YUY2 ! filesink location=frames.raw'";
    let outcome = camera()
        .options(["--leftover=kill"])
        .program(["sh", "-c", script])
        .run();
    // pipewiresrc maps each new buffer once with DMA_BUF_IOCTL_SYNC, when the camera already owns
    // it.
    outcome.expect_end();
    let early = &outcome.report.early_accesses;
    let is_that =
        |row: &vb3_report::EarlyAccess| row.call == "DMA_BUF_IOCTL_SYNC" && row.times == 1;
    assert!(early.iter().all(is_that), "{early:?}");
    let numbers = expect_pattern(&pixfmt::YUYV, &outcome.read("frames.raw"));
    assert_eq!(numbers.len(), 5);
}

#[test]
fn browser_page_shows_camera_through_replug() {
    let python = "/usr/bin/python3";
    if lacks("chromium") || lacks(python) {
        return;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/browser.py");
    let outcome = camera()
        .options(["--leftover=kill"])
        .program([Path::new(python), &script])
        .and(["chromium", "3", env!("CARGO_BIN_EXE_vb3")])
        .run();
    outcome.expect_success();
    let lines = outcome.stdout.lines();
    let said: Vec<Value> = lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let (frames, events): (Vec<&Value>, Vec<&Value>) =
        said.iter().partition(|what| what["event"] == "frame");
    assert_eq!(frames.len(), 3, "{}", outcome.stdout);
    for frame in frames {
        // Some versions of Chromium add the ids of USB cameras; 156 does not.
        let label = frame["label"].as_str().unwrap();
        let name = label.strip_suffix(" (1d6b:0102)").unwrap_or(label);
        assert_eq!(name, "Test Pattern Camera");
    }
    let numbers = [0, 1, 2].map(|n| outcome.read(&format!("{n}.rgb")));
    let numbers = numbers.map(|rgb| expect_shown(&rgb, Range::Full));
    assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
    let has = |event: &Value| events.contains(&event);
    assert!(has(&serde_json::json!({"event": "ended"})), "{events:?}");
    for cameras in [0, 1] {
        let event = serde_json::json!({"event": "devices", "cameras": cameras});
        assert!(has(&event), "{events:?}");
    }
}
