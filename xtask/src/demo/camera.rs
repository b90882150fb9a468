//! Camera to display: the frames that a camera plays are shown bit by bit.

use super::report;
use super::run::{Run, in_spec};
use super::{Clip, SHOT_WIDTH, SHOTS, Shown, ratio, words};
use crate::pictures::{Frame, Y4m};
use anyhow::Result;
use serde_json::Value;
use std::path::Path;
use std::time::Duration;

/// Streams the clip on one machine, and looks at what came of it.
pub(super) fn stream(
    vb3: &Path,
    dir: &Path,
    machine: &str,
    clip: &Clip,
    frames: u32,
) -> Result<Shown> {
    let mut run = Run::new(dir, "camera", machine);
    run.frames = frames;
    run.frame_len = u64::from(clip.width) * u64::from(clip.height) * 3 / 2;
    run.time = Duration::from_secs_f64(f64::from(frames) / ratio(clip.rate));
    let (n, d) = clip.rate;
    let (width, height) = (clip.width, clip.height);
    let devices = [
        format!(
            "camera={},format=NV12,size={width}x{height},fps={n}/{d}",
            in_spec(&clip.path)
        ),
        format!("display={},format=NV12,fps={n}/{d}", in_spec(&run.recorded)),
    ];
    // Without show-preroll-frame=false the sink shows the first frame twice: once in the pause
    // before playing.
    let program = words(&format!(
        "gst-launch-1.0 -q v4l2src device=/dev/video0 io-mode=dmabuf num-buffers={frames} \
         ! video/x-raw,format=NV12,width={width},height={height},framerate={n}/{d} \
         ! v4l2sink show-preroll-frame=false device=/dev/video1 io-mode=dmabuf-import"
    ));
    let report = run.go(vb3, &devices, &program)?;
    examine(&run, &report, clip)
}

/// Compares what the display recorded with the clip, and sums the report up.
fn examine(run: &Run, report: &Value, clip: &Clip) -> Result<Shown> {
    let mut faults = report::faults(report);
    let mut y4m = Y4m::open(&run.recorded)?;
    let mut frame = Frame::default();
    let mut shots = Vec::new();
    let mut place = ClipPosition::default();
    let mut count = 0_u32;
    let mut wrong = 0_u32;
    while y4m.next(&mut frame)? {
        if !place.advance(&clip.digests, frame.digest()) {
            wrong += 1;
        }
        let due = u32::try_from(shots.len()).unwrap_or(SHOTS) * run.frames / SHOTS;
        if shots.len() < SHOTS as usize && count >= due {
            shots.push(y4m.thumbnail(&frame, SHOT_WIDTH));
        }
        count += 1;
    }
    if wrong != 0 {
        faults.push(format!("{wrong} frames are not the clip's next ones"));
    }
    if count != run.frames {
        faults.push(format!("{} frames were sent and {count} shown", run.frames));
    }
    let verdict = if wrong == 0 { "bit by bit" } else { "no" };
    Ok(Shown {
        row: report::row(report, count, verdict.to_owned()),
        shots,
        skipped: place.skipped,
        faults,
    })
}

/// Position of the display in the clip, which restarts at its end.
#[derive(Default)]
struct ClipPosition {
    next: usize,
    skipped: usize,
}

impl ClipPosition {
    /// Finds a frame at the present place or a little further on.
    fn advance(&mut self, digests: &[u64], digest: u64) -> bool {
        /// Maximum number of frames that may be missing in one place.
        const REACH: usize = 50;
        let reach = REACH.min(digests.len());
        let Some(skip) = (0..reach)
            .find(|skip| digests.get((self.next + skip) % digests.len()) == Some(&digest))
        else {
            return false;
        };
        self.next = (self.next + skip + 1) % digests.len();
        self.skipped += skip;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn place_allows_gaps_and_restart_but_no_step_back() {
        let clip = [1, 2, 3, 4];
        let mut place = ClipPosition::default();
        assert!(place.advance(&clip, 1) && place.advance(&clip, 3) && place.advance(&clip, 4));
        assert_eq!(place.skipped, 1);
        assert!(place.advance(&clip, 1));
        assert!(!place.advance(&clip, 9));
        let long: Vec<u64> = (0..200).collect();
        let mut place = ClipPosition {
            next: 100,
            skipped: 0,
        };
        assert!(!place.advance(&long, 99), "a frame from before is a fault");
    }
}
