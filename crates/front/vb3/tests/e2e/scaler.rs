//! The camera with a scaler: v4l2-ctl's capture of a clip, compared with ffmpeg's scaled pictures.

use crate::common::{Run, ffmpeg_in, lacks};
use crate::convert::{SIZE, expect_no_copy, filtered, pictures, psnr};

/// Captures pictures of a size from a clip of NV12 pictures.
fn capture(machine: &str, pictures: &[u8], size: (usize, usize), set: &[&str]) -> Option<Vec<u8>> {
    if lacks("ffmpeg") || lacks("v4l2-ctl") {
        return None;
    }
    let (width, height) = SIZE;
    let run = Run::on(machine).device("capture-convert=clip.mkv,pace=free,format=NV12");
    std::fs::write(run.file("clip.raw"), pictures).unwrap();
    // Without loss.
    let words = format!(
        "-f rawvideo -pix_fmt nv12 -s {width}x{height} -i clip.raw -pix_fmt yuv420p -c:v ffv1 \
         clip.mkv"
    );
    ffmpeg_in(run.dir.path(), words.split(' '));
    let count = pictures.len() / (width * height * 3 / 2);
    let (width, height) = size;
    let format = format!("width={width},height={height},pixelformat=NV12");
    let outcome = run
        .program(["v4l2-ctl", "-d", "/dev/video0", "--set-fmt-video", &format])
        .and(set)
        .and(["--stream-mmap", "--stream-to", "out.raw"])
        .and([format!("--stream-count={count}")])
        .run();
    outcome.expect_success();
    expect_no_copy(&outcome);
    Some(outcome.read("out.raw"))
}

#[test]
fn the_sensors_picture_is_scaled() {
    let Some(pictures) = pictures("nv12") else {
        return;
    };
    for (width, height) in [SIZE, (160, 120), (640, 480)] {
        let Some(made) = capture("soc-cma", &pictures, (width, height), &[]) else {
            return;
        };
        if (width, height) == SIZE {
            assert!(made == pictures);
            continue;
        }
        let filter = format!("scale={width}:{height}:flags=bilinear");
        let wanted = filtered(&pictures, "nv12", &filter, "nv12");
        let likeness = psnr(&made, &wanted);
        assert!(likeness > 30.0, "{width}x{height}: {likeness:.1} dB");
    }
}

fn a_crop_is_exact_on_every_machine(machines: &[&str]) {
    let Some(pictures) = pictures("nv12") else {
        return;
    };
    let crop = [
        "--set-selection",
        "target=crop,left=32,top=16,width=160,height=120",
    ];
    let wanted = filtered(&pictures, "nv12", "crop=160:120:32:16", "nv12");
    for &machine in machines {
        let Some(made) = capture(machine, &pictures, (160, 120), &crop) else {
            return;
        };
        assert!(made == wanted, "{machine}");
    }
}

crate::common::on_machines! {
    a_crop_is_exact_on_every_machine
}
