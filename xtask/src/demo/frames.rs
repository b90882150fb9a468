//! The clip that the demo shows, and ffmpeg's comparisons and pictures of recorded frames.

use crate::sh::{self, cmd};
use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Number of frames in a row of the contact sheet.
const SHOTS: usize = 6;
/// Maximum number of frames of the clip that may be missing in one place.
const MAX_GAP: usize = 50;

/// The clip.
pub(super) struct Clip {
    pub(super) path: PathBuf,
    pub(super) width: u32,
    pub(super) height: u32,
    /// Number of frames, and the seconds that they take.
    pub(super) rate: (u32, u32),
    /// A hash of every frame, in order.
    pub(super) hashes: Vec<String>,
    is_h264: bool,
}

impl Clip {
    /// Reads the clip's size and rate, and decodes it once to get the hashes of the frames.
    pub(super) fn read(path: PathBuf, frames: u32) -> Result<Self> {
        let probed = sh::quietly(cmd!(
            "ffprobe -v error -select_streams v:0 -of json
                 -show_entries stream=width,height,avg_frame_rate,codec_name {path}"
        ));
        let probed = probed
            .with_context(|| format!("{} is not a clip that ffmpeg can read", path.display()))?;
        let probed: Value = serde_json::from_slice(&probed).context("ffprobe's answer")?;
        let stream = &probed["streams"][0];
        let size = |key: &str, max: u64| {
            let size = stream[key].as_u64().unwrap_or(0).min(max);
            u32::try_from(size).unwrap_or(0) & !1
        };
        let (width, height) = (size("width", 4096), size("height", 2304));
        let has_size = width >= 2 && height >= 2;
        ensure!(has_size, "the clip has no video of a known size");
        let rate = stream["avg_frame_rate"].as_str().and_then(rate);
        let rate = rate.unwrap_or((30, 1));
        let (n, d) = rate;
        // As the camera does, converts to the colours that V4L2 assumes.
        let filter =
            format!("fps={n}/{d},scale={width}:{height}:out_color_matrix=bt601:out_range=tv");
        let hashes = hashes(&path, &filter, Some(u64::from(frames) * 2 + 50))?;
        ensure!(!hashes.is_empty(), "the clip has no frames");
        let is_h264 = stream["codec_name"] == "h264";
        Ok(Self {
            path,
            width,
            height,
            rate,
            hashes,
            is_h264,
        })
    }

    /// Returns a file with the clip's first frames as H.264, for the decoder.
    pub(super) fn as_h264(&self, dir: &Path) -> Result<PathBuf> {
        let (path, count) = (dir.join("line.mp4"), self.hashes.len().to_string());
        let encoder = match self.is_h264 {
            true => "-c:v copy",
            false => "-c:v libx264 -preset veryfast -bf 0 -pix_fmt yuv420p",
        };
        let (encoder, clip) = (encoder.split(' '), &self.path);
        sh::quietly(cmd!(
            "ffmpeg -nostdin -v error -y -i {clip} -map 0:v:0 -frames:v {count} {encoder...} {path}"
        ))?;
        Ok(path)
    }
}

fn rate(text: &str) -> Option<(u32, u32)> {
    let (n, d) = text.split_once('/')?;
    let (n, d): (u32, u32) = (n.parse().ok()?, d.parse().ok()?);
    let is_sensible = d > 0 && (d..=d.checked_mul(120)?).contains(&n);
    is_sensible.then_some((n, d))
}

/// Filters a file's frames, converts them to NV12, and returns a hash of each.
pub(super) fn hashes(path: &Path, filter: &str, most: Option<u64>) -> Result<Vec<String>> {
    let most = most.map(|most| most.to_string());
    let most = most.iter().flat_map(|most| ["-frames:v", most]);
    let said = sh::text(cmd!(
        "ffmpeg -nostdin -v error -i {path} -map 0:v:0 -fps_mode passthrough -vf {filter} {most...}
             -pix_fmt nv12 -f framemd5 -"
    ))?;
    let lines = said.lines().filter(|line| !line.starts_with('#'));
    let hash = |line: &str| Some(line.rsplit(',').next()?.trim().to_owned());
    Ok(lines.filter_map(hash).collect())
}

/// Compares shown frames with a clip's frames. After its last frame, the clip begins again.
/// Returns how many shown frames are out of order, and how many of the clip's frames are missing.
pub(super) fn compare(clip: &[String], shown: &[String]) -> (usize, usize) {
    let (mut next, mut wrong, mut skipped) = (0, 0, 0);
    for hash in shown {
        let mut gaps = 0..MAX_GAP.min(clip.len());
        match gaps.find(|gap| clip.get((next + gap) % clip.len()) == Some(hash)) {
            Some(gap) => {
                next = (next + gap + 1) % clip.len();
                skipped += gap;
            }
            None => wrong += 1,
        }
    }
    (wrong, skipped)
}

/// Returns the lowest PSNR in decibels of a recorded frame, compared with the frame of the scaled `model`.
pub(super) fn lowest_psnr(
    recorded: &Path,
    model: &Path,
    (width, height): (u32, u32),
) -> Result<f64> {
    let numbered = "settb=1/25,setpts=N";
    let graph = format!(
        "[0:v]{numbered},format=yuv420p[shown];\
         [1:v]scale={width}:{height}:flags=bilinear,{numbered},format=yuv420p[model];\
         [shown][model]psnr=stats_file=-"
    );
    let said = sh::text(cmd!(
        "ffmpeg -nostdin -v error -i {recorded} -i {model} -lavfi {graph} -fps_mode passthrough -f null -"
    ))?;
    let words = said.split_whitespace();
    let values = words.filter_map(|word| word.strip_prefix("psnr_avg:")?.parse().ok());
    let worst = values.reduce(f64::min);
    worst.context("ffmpeg compared no frames")
}

/// Draws a row of frames for each recording, with its label.
pub(super) fn draw<'a>(sheet: &Path, rows: impl Iterator<Item = (String, &'a Path)>) -> Result<()> {
    let mut ffmpeg = cmd!("ffmpeg -nostdin -v error -y");
    let (mut graph, mut names) = (String::new(), String::new());
    for (row, (label, recorded)) in rows.enumerate() {
        let every = (hashes(recorded, "null", None)?.len() / SHOTS).max(1);
        ffmpeg.arg("-i").arg(recorded);
        graph += &format!(
            "[{row}:v]select='not(mod(n,{every}))',scale=150:-2,\
             tile={SHOTS}x1:padding=4:margin=4:color=0x202020,\
             pad=iw:ih+10:0:10:0x202020,\
             drawtext=text='{label}':x=4:y=2:fontsize=11:fontcolor=0xe0e0e0[{row}];"
        );
        names += &format!("[{row}]");
    }
    let inputs = names.matches('[').count();
    graph += &format!("{names}vstack=inputs={inputs}");
    sh::quietly(ffmpeg.args(["-lavfi", &graph, "-frames:v", "1"]).arg(sheet))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_may_be_missing_but_not_come_again() {
        let names =
            |of: &mut dyn Iterator<Item = u32>| of.map(|n| n.to_string()).collect::<Vec<_>>();
        let clip = names(&mut (0..200));
        let with = |shown: &[u32]| compare(&clip, &names(&mut shown.iter().copied()));
        assert_eq!(with(&[0, 2, 3]), (0, 1));
        assert_eq!(with(&[40, 90, 140, 190, 5]), (0, 40 + 49 * 3 + 14));
        assert_eq!(with(&[0, 1, 1, 2]), (1, 0), "a frame from before");
        assert_eq!(with(&[0, 999, 1]), (1, 0));
        assert_eq!(compare(&[], &clip), (200, 0));
    }

    #[test]
    fn rates_are_fractions_within_reason() {
        assert_eq!(rate("30000/1001"), Some((30000, 1001)));
        for wrong in ["0/0", "1/2", "121/1", "25", "x/1", ""] {
            assert_eq!(rate(wrong), None, "{wrong}");
        }
    }
}
