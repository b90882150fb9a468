//! Decoder to converter to display, every hop by dma-buf: the frames shown are compared with what
//! ffmpeg makes of the same stream.

use super::report;
use super::run::{Run, in_spec};
use super::{Clip, SHOT_WIDTH, SHOTS, Shown, words};
use crate::pictures::{Frame, Y4m};
use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use std::io::Read as _;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

/// Width of the converter's pictures: half of the demo clip's.
const WIDTH: u32 = 640;
/// Fewest decibels between a frame and its model. Two good scalers differ by less.
const MIN_PSNR_DB: f64 = 40.0;

/// Runs the line on one machine, and looks at what came of it.
pub(super) fn stream(
    vb3: &Path,
    dir: &Path,
    machine: &str,
    clip: &Clip,
    h264: &Path,
) -> Result<Shown> {
    let (width, height) = (WIDTH, (clip.height * WIDTH / clip.width).max(2) & !1);
    let mut run = Run::new(dir, "decoder", machine);
    run.frames = u32::try_from(clip.digests.len()).unwrap_or(u32::MAX);
    run.frame_len = u64::from(width) * u64::from(height) * 3 / 2;
    let display = format!("display={},mplane=on,pace=free", in_spec(&run.recorded));
    let devices = ["h264dec".to_owned(), "convert".to_owned(), display];
    let mut program = words(&format!(
        "gst-launch-1.0 -q filesrc FILE ! qtdemux ! h264parse \
         ! v4l2h264dec capture-io-mode=dmabuf \
         ! v4l2convert output-io-mode=dmabuf-import capture-io-mode=dmabuf \
         ! video/x-raw,format=NV12,width={width},height={height} \
         ! v4l2sink device=/dev/video2 io-mode=dmabuf-import sync=false show-preroll-frame=false"
    ));
    for word in program.iter_mut().filter(|word| *word == "FILE") {
        *word = format!("location={}", h264.display());
    }
    let report = run.go(vb3, &devices, &program)?;
    let model = Model::new(h264, width, height)?;
    examine(&run, &report, model)
}

/// The same stream, decoded and scaled by ffmpeg.
struct Model {
    ffmpeg: Child,
    out: ChildStdout,
    frame: Vec<u8>,
}

impl Model {
    fn new(h264: &Path, width: u32, height: u32) -> Result<Self> {
        let mut ffmpeg = Command::new("ffmpeg")
            .args(["-nostdin", "-v", "error", "-i"])
            .arg(h264)
            .args(["-map", "0:v:0", "-vf"])
            .arg(format!("scale={width}:{height}:flags=bilinear"))
            .args(["-fps_mode", "passthrough"])
            .args(["-f", "rawvideo", "-pix_fmt", "yuv420p", "-"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot run ffmpeg")?;
        let out = ffmpeg.stdout.take().context("ffmpeg has no output")?;
        let frame = vec![0; width as usize * height as usize * 3 / 2];
        Ok(Self { ffmpeg, out, frame })
    }

    /// The next frame; `None` at the end.
    fn next(&mut self) -> Option<&[u8]> {
        self.out.read_exact(&mut self.frame).ok()?;
        Some(&self.frame)
    }

    /// Frames that were left.
    fn finish(mut self) -> Result<u32> {
        let mut left = 0;
        while self.next().is_some() {
            left += 1;
        }
        let status = self.ffmpeg.wait()?;
        ensure!(status.success(), "ffmpeg failed: {status}");
        Ok(left)
    }
}

/// Compares what the display recorded with the model, and sums the report up.
fn examine(run: &Run, report: &Value, mut model: Model) -> Result<Shown> {
    let mut faults = report::faults(report);
    let mut y4m = Y4m::open(&run.recorded)?;
    let mut frame = Frame::default();
    let mut shots = Vec::new();
    let mut count = 0_u32;
    let mut worst = f64::INFINITY;
    while y4m.next(&mut frame)? {
        match model.next() {
            Some(wanted) => worst = worst.min(psnr(&frame.0, wanted)),
            None => faults.push(format!("frame {count} is one too many")),
        }
        let due = u32::try_from(shots.len()).unwrap_or(SHOTS) * run.frames / SHOTS;
        if shots.len() < SHOTS as usize && count >= due {
            shots.push(y4m.thumbnail(&frame, SHOT_WIDTH));
        }
        count += 1;
    }
    let missing = model.finish()?;
    if missing != 0 {
        faults.push(format!("{missing} frames were not shown"));
    }
    if worst < MIN_PSNR_DB {
        faults.push(format!("a frame is only {worst:.1} dB near to ffmpeg's"));
    }
    Ok(Shown {
        row: report::row(report, count, format!("{worst:.1} dB at least")),
        shots,
        skipped: 0,
        faults,
    })
}

/// How near two pictures are, in decibels; endless for equal ones.
fn psnr(a: &[u8], b: &[u8]) -> f64 {
    if a.len() != b.len() {
        return 0.0;
    }
    let square = |(a, b): (&u8, &u8)| u64::from(a.abs_diff(*b)).pow(2);
    let sum: u64 = a.iter().zip(b).map(square).sum();
    // Exact: sums and lengths are far below 2^52.
    #[expect(
        clippy::cast_precision_loss,
        reason = "sum and length are below 2^52, so both are exact"
    )]
    let mean = sum as f64 / a.len().max(1) as f64;
    10.0 * (255.0_f64 * 255.0 / mean).log10()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearness_is_in_decibels() {
        assert!(psnr(&[1, 2, 3], &[1, 2, 3]).is_infinite());
        assert!((psnr(&[0; 100], &[1; 100]) - 48.13).abs() < 0.01);
        assert!(psnr(&[0; 4], &[255; 4]).abs() < 1e-9);
        assert!(psnr(&[0; 4], &[0; 5]).abs() < 1e-9, "of another size");
    }
}
