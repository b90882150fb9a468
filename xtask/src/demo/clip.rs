//! The clip that the demo shows: its size, its rate, and every frame of it.

use super::ratio;
use crate::pictures::Frame;
use crate::sh;
use anyhow::{Context as _, Result, ensure};
use indicatif::ProgressBar;
use serde_json::Value;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The clip that the demo shows.
pub(super) struct Clip {
    pub(super) path: PathBuf,
    pub(super) width: u32,
    pub(super) height: u32,
    /// Frames, and the seconds they take.
    pub(super) rate: (u32, u32),
    /// A digest of every frame, in order.
    pub(super) digests: Vec<u64>,
    /// Whether its stream is H.264.
    is_h264: bool,
}

/// Learns the clip's size and rate, and decodes it once to know what must be shown.
pub(super) fn decode(path: PathBuf, frames: u32) -> Result<Clip> {
    let probed = sh::quietly(
        Command::new("ffprobe")
            .args(["-v", "error", "-select_streams", "v:0", "-of", "json"])
            .arg("-show_entries")
            .arg("stream=width,height,avg_frame_rate,codec_name")
            .arg(&path),
    )
    .with_context(|| format!("{} is not a clip that ffmpeg can read", path.display()))?;
    let probed: Value = serde_json::from_slice(&probed).context("ffprobe's answer is not JSON")?;
    let stream = &probed["streams"][0];
    ensure!(!stream.is_null(), "the clip has no video in it");
    let size = |key: &str, max: u64| {
        let size = stream[key].as_u64().unwrap_or(0).min(max);
        u32::try_from(size).unwrap_or(0) & !1
    };
    let (width, height) = (size("width", 4096), size("height", 2304));
    ensure!(width >= 2 && height >= 2, "the clip's size is not known");
    let rate = stream["avg_frame_rate"].as_str().unwrap_or_default();
    let rate = rate.split_once('/');
    let rate = rate.and_then(|(n, d)| Some((n.parse().ok()?, d.parse().ok()?)));
    let rate = rate.filter(|rate| (1.0..=120.0).contains(&ratio(*rate)));
    let rate = rate.unwrap_or((30, 1));
    let is_h264 = stream["codec_name"] == "h264";
    let bar =
        ProgressBar::new_spinner().with_message("decoding the clip, to know what must be shown");
    let mut ffmpeg = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-i"])
        .arg(&path)
        // As the camera does it: the colours that V4L2 takes for granted.
        .args(["-map", "0:v:0", "-vf"])
        .arg(format!(
            "fps={}/{},scale={width}:{height}:out_color_matrix=bt601:out_range=tv",
            rate.0, rate.1
        ))
        .args(["-frames:v", &(u64::from(frames) * 2 + 50).to_string()])
        .args(["-f", "rawvideo", "-pix_fmt", "nv12", "-"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run ffmpeg")?;
    let mut out = ffmpeg.stdout.take().context("ffmpeg has no output")?;
    let mut digests = Vec::new();
    let mut nv12 = vec![0; width as usize * height as usize * 3 / 2];
    let mut frame = Frame::default();
    while out.read_exact(&mut nv12).is_ok() {
        frame.set_nv12(&nv12, width as usize * height as usize);
        digests.push(frame.digest());
        bar.tick();
    }
    drop(out);
    let status = ffmpeg.wait()?;
    bar.finish_and_clear();
    ensure!(
        status.success(),
        "ffmpeg cannot decode {}: {status}",
        path.display()
    );
    ensure!(!digests.is_empty(), "the clip has no frames");
    Ok(Clip {
        path,
        width,
        height,
        rate,
        digests,
        is_h264,
    })
}

/// The first frames of the clip as H.264 in an MP4 file, which is what the decoder's line takes.
pub(super) fn as_h264(clip: &Clip, dir: &Path, frames: u32) -> Result<PathBuf> {
    let path = dir.join("line.mp4");
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg
        .args(["-nostdin", "-v", "error", "-y", "-i"])
        .arg(&clip.path);
    ffmpeg.args(["-map", "0:v:0", "-frames:v", &frames.to_string()]);
    if clip.is_h264 {
        ffmpeg.args(["-c:v", "copy"]);
    } else {
        eprintln!("the clip is not H.264: encoding it for the decoder");
        ffmpeg.args([
            "-c:v", "libx264", "-preset", "veryfast", "-bf", "0", "-pix_fmt", "yuv420p",
        ]);
    }
    sh::quietly(ffmpeg.arg(&path))
        .with_context(|| format!("ffmpeg makes no H.264 of {}", clip.path.display()))?;
    Ok(path)
}
