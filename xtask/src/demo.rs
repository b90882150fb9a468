//! The main job, shown: a real clip streamed from a camera to a display by an unmodified program,
//! without a copy, on machines that differ.

use crate::pictures::{self, Frame, Rgb, Y4m};
use crate::{clip, setup, sh, table};
use anyhow::{Context as _, Result, bail, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Pictures in a row of the contact sheet, and their width in pixels.
const SHOTS: u32 = 6;
const SHOT_WIDTH: usize = 200;

/// Longest a machine may take beyond the clip's own time.
const PATIENCE: Duration = Duration::from_secs(20);

/// Arguments of `demo`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Show this file instead of Big Buck Bunny
    #[arg(long, value_name = "FILE")]
    clip: Option<PathBuf>,
    /// Machine to run on; may be repeated
    #[arg(long, value_name = "NAME", default_values = ["pc", "soc-cma", "soc-noncoherent"])]
    machine: Vec<String>,
    /// Frames to stream on each machine
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    frames: u32,
    /// Keep what the display recorded (y4m) beside the contact sheet
    #[arg(long)]
    keep: bool,
}

/// What the demo shows.
struct Clip {
    path: PathBuf,
    width: u32,
    height: u32,
    /// Frames, and the seconds they take.
    rate: (u32, u32),
    /// A digest of every frame, in order.
    digests: Vec<u64>,
}

/// What a machine did.
struct Shown {
    row: Vec<String>,
    shots: Vec<Rgb>,
    skipped: usize,
    faults: Vec<String>,
}

/// Runs the demo.
///
/// # Errors
/// Something is missing, or the display did not show what the camera sent.
pub(crate) fn run(args: &Args) -> Result<()> {
    setup::install(setup::DEMO)?;
    let path = match &args.clip {
        Some(path) => path
            .canonicalize()
            .with_context(|| format!("no clip at {}", path.display()))?,
        None => clip::fetch()?,
    };
    let vb3 = sh::release_vb3()?;
    let start = Instant::now();
    let dir = sh::target().join("demo");
    std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let clip = decode(path, args.frames)?;
    eprintln!(
        "{}: {}x{}, {} fps, {} frames",
        clip.path.display(),
        clip.width,
        clip.height,
        ratio(clip.rate),
        clip.digests.len()
    );
    let mut shown = Vec::new();
    for machine in &args.machine {
        shown.push(
            stream(&vb3, &dir, machine, &clip, args)
                .with_context(|| format!("on machine {machine}"))?,
        );
    }
    let sheet = dir.join("contact-sheet.png");
    pictures::write_sheet(
        &sheet,
        &shown.iter().map(|s| s.shots.clone()).collect::<Vec<_>>(),
    )?;
    let header = [
        "machine",
        "frames",
        "fps",
        "bytes copied",
        "bytes bounced",
        "cache syncs",
        "peak contiguous",
        "refusals",
    ];
    println!(
        "{}",
        table::format(
            &header,
            &shown.iter().map(|s| s.row.clone()).collect::<Vec<_>>()
        )
    );
    println!("contact sheet: {}", sheet.display());
    let skipped: usize = shown.iter().map(|s| s.skipped).sum();
    if skipped > 0 {
        eprintln!("note: {skipped} frames of the clip found no buffer in time and were not sent");
    }
    eprintln!("done in {:.1} s", start.elapsed().as_secs_f32());
    let faults: Vec<&String> = shown.iter().flat_map(|s| &s.faults).collect();
    for fault in &faults {
        eprintln!("FAULT: {fault}");
    }
    ensure!(
        faults.is_empty(),
        "{} faults; the reports are in {}",
        faults.len(),
        dir.display()
    );
    println!("every frame shown is the clip's, bit by bit and in order");
    Ok(())
}

fn ratio((frames, seconds): (u32, u32)) -> f64 {
    f64::from(frames) / f64::from(seconds.max(1))
}

/// Learns the clip's size and rate, and decodes it once to know what must be shown.
fn decode(path: PathBuf, frames: u32) -> Result<Clip> {
    let probed = sh::quietly(
        Command::new("ffprobe")
            .args(["-v", "error", "-select_streams", "v:0", "-of", "json"])
            .args(["-show_entries", "stream=width,height,avg_frame_rate"])
            .arg(&path),
    )
    .with_context(|| format!("{} is no clip that ffmpeg reads", path.display()))?;
    let probed: Value = serde_json::from_slice(&probed).context("ffprobe's answer is no JSON")?;
    let stream = probed
        .pointer("/streams/0")
        .context("the clip has no video in it")?;
    let size = |key: &str, max: u64| {
        let size = stream
            .get(key)
            .and_then(Value::as_u64)
            .unwrap_or(0)
            .min(max);
        u32::try_from(size).unwrap_or(0) & !1
    };
    let (width, height) = (size("width", 4096), size("height", 2304));
    ensure!(width >= 2 && height >= 2, "the clip's size is not known");
    let rate = stream
        .get("avg_frame_rate")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let rate = rate
        .split_once('/')
        .and_then(|(n, d)| Some((n.parse().ok()?, d.parse().ok()?)));
    let rate = rate
        .filter(|rate| (1.0..=120.0).contains(&ratio(*rate)))
        .unwrap_or((30, 1));

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
    })
}

/// A file's name in a SPEC: commas and backslashes are escaped.
fn in_spec(path: &Path) -> String {
    path.to_string_lossy()
        .replace('\\', r"\\")
        .replace(',', r"\,")
}

/// Streams the clip on one machine, and looks at what came of it.
fn stream(vb3: &Path, dir: &Path, machine: &str, clip: &Clip, args: &Args) -> Result<Shown> {
    let recorded = dir.join(format!("{machine}.y4m"));
    let report = dir.join(format!("{machine}.json"));
    let log = dir.join(format!("{machine}.log"));
    for old in [&recorded, &report] {
        let _ = std::fs::remove_file(old);
    }
    let (n, d) = clip.rate;
    let caps = format!(
        "video/x-raw,format=NV12,width={},height={},framerate={n}/{d}",
        clip.width, clip.height
    );
    let camera = format!(
        "camera={},format=NV12,size={}x{},fps={n}/{d},loop=on",
        in_spec(&clip.path),
        clip.width,
        clip.height
    );
    let mut command = Command::new(vb3);
    command
        .args(["run", "--machine", machine, "--device", &camera, "--device"])
        .arg(format!(
            "display={},format=NV12,fps={n}/{d}",
            in_spec(&recorded)
        ))
        .arg("--report")
        .arg(&report)
        .args([
            "--",
            "gst-launch-1.0",
            "-q",
            "v4l2src",
            "device=/dev/video0",
            "io-mode=dmabuf",
        ])
        .arg(format!("num-buffers={}", args.frames))
        .args(["!", &caps, "!"])
        // Otherwise the sink shows the first frame twice: once in the pause before playing.
        .args(["v4l2sink", "show-preroll-frame=false"])
        .args(["device=/dev/video1", "io-mode=dmabuf-import"]);
    eprintln!("+ {}", sh::shown(&command));
    let output =
        std::fs::File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
    let child = command
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .spawn()
        .with_context(|| format!("cannot run {}", vb3.display()))?;
    let time = Duration::from_secs_f64(f64::from(args.frames) / ratio(clip.rate));
    let frame_len = u64::from(clip.width) * u64::from(clip.height) * 3 / 2;
    if let Err(e) = watch(
        child,
        machine,
        args.frames,
        &recorded,
        frame_len,
        time + PATIENCE,
    ) {
        let said = std::fs::read_to_string(&log).unwrap_or_default();
        bail!("{e:#}\n{}", said.trim_end());
    }
    let text =
        std::fs::read(&report).with_context(|| format!("no report at {}", report.display()))?;
    let report: Value = serde_json::from_slice(&text).context("the report is no JSON")?;
    let shown = examine(machine, &recorded, &report, clip, args)?;
    if !args.keep {
        let _ = std::fs::remove_file(&recorded);
    }
    Ok(shown)
}

/// Waits for the program, showing how many frames the display has recorded.
fn watch(
    mut child: Child,
    machine: &str,
    frames: u32,
    recorded: &Path,
    frame_len: u64,
    patience: Duration,
) -> Result<()> {
    let style = ProgressStyle::with_template("  {msg:16} {wide_bar} {pos}/{len} frames")?;
    let bar = ProgressBar::new(u64::from(frames))
        .with_style(style)
        .with_message(machine.to_owned());
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if start.elapsed() > patience {
            // The supervisor ends its program when it ends.
            let _ = child.kill();
            let _ = child.wait();
            bar.finish_and_clear();
            bail!("it has not ended after {} s", patience.as_secs());
        }
        let len = std::fs::metadata(recorded).map_or(0, |file| file.len());
        bar.set_position(len / frame_len.max(1));
        std::thread::sleep(Duration::from_millis(50));
    };
    bar.finish_and_clear();
    ensure!(status.success(), "gst-launch-1.0 failed: {status}");
    Ok(())
}

/// Compares what the display recorded with the clip, and sums the report up.
fn examine(
    machine: &str,
    recorded: &Path,
    report: &Value,
    clip: &Clip,
    args: &Args,
) -> Result<Shown> {
    let mut faults = Vec::new();
    let mut y4m = Y4m::open(recorded)?;
    let mut frame = Frame::default();
    let mut shots = Vec::new();
    let mut place = Place::default();
    let mut count = 0_u32;
    while y4m.next(&mut frame)? {
        if !place.advance(&clip.digests, frame.digest()) && faults.is_empty() {
            faults.push(format!(
                "{machine}: frame {count} is not the clip's next one"
            ));
        }
        let due = u32::try_from(shots.len()).unwrap_or(SHOTS) * args.frames / SHOTS;
        if shots.len() < SHOTS as usize && count >= due {
            shots.push(y4m.thumbnail(&frame, SHOT_WIDTH));
        }
        count += 1;
    }
    if count != args.frames {
        faults.push(format!(
            "{machine}: {} frames were sent and {count} shown",
            args.frames
        ));
    }
    let sum = |key: &str| total(report, key);
    if sum("bytes_copied") != 0 {
        faults.push(format!(
            "{machine}: {} bytes were copied",
            sum("bytes_copied")
        ));
    }
    let display = queues(report).find(|q| text(q, "queue").contains("output"));
    if display.is_none_or(|queue| text(queue, "memory") != "dmabuf") {
        faults.push(format!("{machine}: the display was not fed by dma-buf"));
    }
    let held = report.get("held").and_then(Value::as_object);
    if held.is_none_or(|held| held.values().any(|n| n.as_u64() != Some(0))) {
        faults.push(format!("{machine}: something was still held at the end"));
    }
    let span = display.map_or(0, |queue| number(queue, "span_ns"));
    let row = vec![
        machine.to_owned(),
        count.to_string(),
        fps(count, span),
        sum("bytes_copied").to_string(),
        sum("bytes_bounced").to_string(),
        (sum("syncs_for_device") + sum("syncs_for_cpu")).to_string(),
        mebibytes(
            report
                .pointer("/memory/peak_contiguous_bytes")
                .and_then(Value::as_u64),
        ),
        refusals(report).to_string(),
    ];
    Ok(Shown {
        row,
        shots,
        skipped: place.skipped,
        faults,
    })
}

/// Where in the clip the display is; the clip starts again at its end.
#[derive(Default)]
struct Place {
    next: usize,
    skipped: usize,
}

impl Place {
    /// Finds a frame at the present place or a little further on.
    fn advance(&mut self, digests: &[u64], digest: u64) -> bool {
        /// Most frames that may be missing in one place.
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

fn queues(report: &Value) -> impl Iterator<Item = &Value> {
    report
        .get("devices")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|device| device.get("queues").and_then(Value::as_array))
        .flatten()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn number(value: &Value, key: &str) -> u64 {
    value.get(key).and_then(Value::as_u64).unwrap_or(0)
}

fn total(report: &Value, key: &str) -> u64 {
    queues(report).map(|queue| number(queue, key)).sum()
}

fn refusals(report: &Value) -> u64 {
    let listed = report
        .get("refusals")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    listed.map(|refusal| number(refusal, "times")).sum::<u64>()
        + number(report, "refusals_left_out")
}

fn fps(frames: u32, span_ns: u64) -> String {
    if span_ns == 0 || frames < 2 {
        return "-".to_owned();
    }
    format!(
        "{:.2}",
        f64::from(frames - 1) / Duration::from_nanos(span_ns).as_secs_f64()
    )
}

fn mebibytes(bytes: Option<u64>) -> String {
    bytes.map_or_else(
        || "-".to_owned(),
        |bytes| format!("{}.{} MiB", bytes >> 20, ((bytes & 0xf_ffff) * 10) >> 20),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn place_allows_gaps_and_the_start_again_but_no_step_back() {
        let clip = [1, 2, 3, 4];
        let mut place = Place::default();
        assert!(place.advance(&clip, 1) && place.advance(&clip, 3) && place.advance(&clip, 4));
        assert_eq!(place.skipped, 1);
        assert!(place.advance(&clip, 1));
        assert!(!place.advance(&clip, 9));
        let long: Vec<u64> = (0..200).collect();
        let mut place = Place {
            next: 100,
            skipped: 0,
        };
        assert!(!place.advance(&long, 99), "a frame from before is a fault");
    }

    #[test]
    fn report_is_summed_over_queues() {
        let report = json!({
            "devices": [
                {"queues": [{"bytes_copied": 1, "queue": "video-capture"}]},
                {"queues": [{"bytes_copied": 2}]}
            ],
            "refusals": [{"times": 3}],
            "refusals_left_out": 4
        });
        assert_eq!(total(&report, "bytes_copied"), 3);
        assert_eq!(refusals(&report), 7);
        assert_eq!(mebibytes(Some(3 << 19)), "1.5 MiB");
        assert_eq!(fps(101, 4_000_000_000), "25.00");
    }
}
