//! ffmpeg's comparisons and pictures of recorded frames.

use crate::sh::{self, cmd};
use anyhow::{Context as _, Result};
use std::path::{Path, PathBuf};

/// Number of frames in a row of the contact sheet.
const SHOTS: usize = 6;
/// Maximum number of frames of the clip that may be missing in one place.
const MAX_GAP: usize = 50;

/// Filters a file's frames, converts them to NV12, and returns a hash of each.
pub(super) fn hashes(path: &Path, filter: &str) -> Result<Vec<String>> {
    let said = sh::text(cmd!(
        "ffmpeg -nostdin -v error -i {path} -map 0:v:0 -fps_mode passthrough -vf {filter}
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
pub(super) fn draw(sheet: &Path, rows: &[(String, PathBuf)]) -> Result<()> {
    let mut ffmpeg = cmd!("ffmpeg -nostdin -v error -y");
    let (mut graph, mut names) = (String::new(), String::new());
    for (row, (label, recorded)) in rows.iter().enumerate() {
        let every = (hashes(recorded, "null")?.len() / SHOTS).max(1);
        ffmpeg.arg("-i").arg(recorded);
        graph += &format!(
            "[{row}:v]select='not(mod(n,{every}))',scale=150:-2,\
             tile={SHOTS}x1:padding=4:margin=4:color=0x202020,\
             pad=iw:ih+10:0:10:0x202020,\
             drawtext=text='{label}':x=4:y=2:fontsize=11:fontcolor=0xe0e0e0[{row}];"
        );
        names += &format!("[{row}]");
    }
    graph += &format!("{names}vstack=inputs={}", rows.len());
    sh::quietly(ffmpeg.args(["-lavfi", &graph, "-frames:v", "1"]).arg(sheet))?;
    Ok(())
}
