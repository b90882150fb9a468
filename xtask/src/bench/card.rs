//! Measures a display card: a call with few and many framebuffers, and a flip beside a frame of a `display`.

use super::{Vb3, compile, measure, ratios};
use crate::sh;
use crate::table::Table;
use anyhow::Result;

/// Numbers of framebuffers.
const COUNTS: [&str; 2] = ["2", "1000"];
/// Number of pictures.
const FRAMES: u64 = 240;
const CARD: &str = "kms,size=1920x1080";
const DISPLAY: &str = "display,size=1920x1080,format=NV12,fps=60";

/// Returns a script that shows frames on the display, and then prints the CPU time of `vb3` per frame. The kernel
/// counts this CPU time in steps of 10 ms.
fn display_script() -> String {
    let frames = 2 * FRAMES;
    format!(
        "v4l2-ctl -d0 --stream-out-mmap --stream-count={frames} > /dev/null 2>&1
         awk '{{ print \"display_ns\", int(($14 + $15) * 10000000 / {frames}) }}' /proc/$PPID/stat"
    )
}

pub(super) fn run() -> Result<Table> {
    let vb3 = Vb3::new(&["v4l-utils"])?;
    let source = sh::root().join("crates/front/vb3/tests/programs/card.c");
    let client = compile(&source, "card")?;
    let calls = |count: &&str| measure(vb3.with(&["kms"]).arg(&client).args(["calls", *count]));
    let [few, many] = [calls(&COUNTS[0])?, calls(&COUNTS[1])?];
    // This machine has a heap with contiguous memory.
    let machine = ["--machine", "soc-cma"].map(str::to_owned).to_vec();
    let vb3 = Vb3 {
        options: machine,
        ..vb3
    };
    let flips = measure(
        vb3.with(&[CARD])
            .arg(&client)
            .args(["imports", &FRAMES.to_string()]),
    )?;
    let display = measure(vb3.with(&[DISPLAY]).args(["sh", "-c", &display_script()]))?;
    let rows = [
        (
            "GETCRTC with 1,000 framebuffers / with 2",
            many.value("getcrtc_ns")?,
            few.value("getcrtc_ns")?,
            Some(1.0),
        ),
        (
            "ADDFB and RMFB with 1,000 framebuffers / with 2",
            many.value("addfb_rmfb_ns")?,
            few.value("addfb_rmfb_ns")?,
            Some(1.0),
        ),
        (
            "CPU time of a flip to a dma-buf, 1920x1080 at 60 fps / of a frame of `display`",
            flips.value("supervisor_cpu_ns")?,
            display.value("display_ns")?,
            Some(1.0),
        ),
    ];
    let rows = rows.map(|(what, this, over, aim)| (what, (this, over, aim)));
    Ok(ratios(rows))
}
