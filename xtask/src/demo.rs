//! The demo. An unmodified program streams a real clip without a copy, on several machines: from a
//! camera to a display, and from a decoder through a converter to a display.

mod camera;
mod clip;
mod decoder;
mod report;
mod run;

use crate::pictures::{self, Rgb, Row};
use crate::{setup, sh, table};
use anyhow::{Context as _, Result, ensure};
use clip::Clip;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Pictures in a row of the contact sheet, and their width in pixels.
const SHOTS: u32 = 6;
const SHOT_WIDTH: usize = 200;

/// Arguments of `demo`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Show this file instead of Big Buck Bunny
    #[arg(long, value_name = "FILE")]
    clip: Option<PathBuf>,
    /// Machine to run on; may be repeated
    #[arg(long, value_name = "NAME", default_values = ["pc", "soc-cma", "soc-noncoherent"])]
    machine: Vec<String>,
    /// Machine that runs the decoder's line as well; may be repeated
    #[arg(long, value_name = "NAME", default_values = ["soc-sram"])]
    decoder_machine: Vec<String>,
    /// Frames to stream from the camera on each machine
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    frames: u32,
    /// Keep the display's recording (y4m) in the directory of the contact sheet
    #[arg(long)]
    keep: bool,
}

/// Result of a machine.
struct Shown {
    row: Vec<String>,
    shots: Vec<Rgb>,
    skipped: usize,
    faults: Vec<String>,
}

/// What all machines did.
#[derive(Default)]
struct DemoOutcome {
    rows: Vec<Vec<String>>,
    sheet: Vec<Row>,
    skipped: usize,
    faults: Vec<String>,
}

impl DemoOutcome {
    fn add(&mut self, pipeline: &str, machine: &str, shown: Shown) {
        let mut row = vec![pipeline.to_owned(), machine.to_owned()];
        row.extend(shown.row);
        self.rows.push(row);
        self.sheet.push(Row {
            label: format!("{machine}: {pipeline}"),
            pictures: shown.shots,
        });
        self.skipped += shown.skipped;
        let faults = shown.faults.iter();
        self.faults
            .extend(faults.map(|fault| format!("{pipeline} on {machine}: {fault}")));
    }
}

/// Runs the demo.
///
/// # Errors
/// Something is missing, or the display did not show what it should.
pub(crate) fn run(args: &Args) -> Result<()> {
    setup::install(setup::DEMO)?;
    let path = match &args.clip {
        Some(path) => path
            .canonicalize()
            .with_context(|| format!("no clip at {}", path.display()))?,
        None => crate::clip::fetch()?,
    };
    let vb3 = sh::release_vb3()?;
    let start = Instant::now();
    let dir = sh::target().join("demo");
    std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let clip = clip::decode(path, args.frames)?;
    eprintln!(
        "{}: {}x{}, {} fps, {} frames",
        clip.path.display(),
        clip.width,
        clip.height,
        ratio(clip.rate),
        clip.digests.len()
    );
    let mut outcome = DemoOutcome::default();
    for machine in &args.machine {
        let shown = camera::stream(&vb3, &dir, machine, &clip, args.frames)
            .with_context(|| format!("on machine {machine}"))?;
        outcome.add("camera > display", machine, shown);
    }
    let frames = u32::try_from(clip.digests.len()).unwrap_or(u32::MAX);
    let h264 = clip::as_h264(&clip, &dir, frames)?;
    for machine in args.machine.iter().chain(&args.decoder_machine) {
        let shown = decoder::stream(&vb3, &dir, machine, &clip, &h264)
            .with_context(|| format!("on machine {machine}"))?;
        outcome.add("decoder > converter > display", machine, shown);
    }
    conclude(&dir, &outcome, args.keep)?;
    eprintln!("done in {:.1} s", start.elapsed().as_secs_f32());
    Ok(())
}

/// Prints the table, draws the contact sheet, and says what was wrong.
fn conclude(dir: &Path, outcome: &DemoOutcome, keep: bool) -> Result<()> {
    let sheet = dir.join("contact-sheet.png");
    pictures::write_sheet(&sheet, &outcome.sheet)?;
    let mut header = vec!["pipeline", "machine"];
    header.extend(report::COLUMNS);
    println!("{}", table::format(&header, &outcome.rows));
    println!("contact sheet: {}", sheet.display());
    if outcome.skipped > 0 {
        eprintln!(
            "note: {} frames of the clip found no buffer in time and were not sent",
            outcome.skipped
        );
    }
    if !keep {
        for entry in dir.read_dir()?.flatten() {
            if entry.path().extension().is_some_and(|e| e == "y4m") {
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }
    for fault in &outcome.faults {
        eprintln!("FAULT: {fault}");
    }
    ensure!(
        outcome.faults.is_empty(),
        "{} faults; the reports are in {}",
        outcome.faults.len(),
        dir.display()
    );
    println!(
        "every frame of the camera was shown bit by bit and in order, every decoded frame is as ffmpeg makes it"
    );
    Ok(())
}

fn ratio((frames, seconds): (u32, u32)) -> f64 {
    f64::from(frames) / f64::from(seconds.max(1))
}

/// A command line whose words hold no blanks.
fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}
