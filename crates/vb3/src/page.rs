//! The report as a page: one file that needs no network and no script, with what was refused as
//! sentences, what went through each queue, and when.

mod buffers;
mod plots;
mod sheet;
#[cfg(test)]
mod tests;

use crate::report::{DeviceReport, Held, QueueReport, Report};
use crate::sentence::{self, bytes};
use crate::timeline::{Stream, Timeline};
use anyhow::{Context as _, Result};
use maud::{DOCTYPE, Markup, html};
use std::path::Path;
use std::time::Duration;
use vb3_devices::sink::Thumbnail;

/// Small pictures of devices, by their nodes.
pub type Shots = [(String, Vec<Thumbnail>)];

/// How many pictures of each device are shown.
pub const SHOTS: usize = 6;

const STYLE: &str = "\
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:0 auto;padding:1rem;color:#1a1a1a;\
background:#fff}\
h1{font-size:1.4rem}h2{font-size:1.15rem;margin-top:2rem;border-bottom:1px solid #ccc}\
code{background:#f0f0f0;padding:.1em .3em;overflow-wrap:anywhere}\
.scroll{overflow-x:auto}table{border-collapse:collapse}\
th,td{padding:.25rem .7rem;text-align:right;border-bottom:1px solid #ddd;white-space:nowrap}\
th:first-child,td:first-child{text-align:left}\
figure{margin:1rem 0;overflow-x:auto}\
svg{width:100%;min-width:36rem;height:auto;display:block}\
.sheet{display:flex;flex-wrap:wrap;gap:.5rem}.sheet figure{margin:0}\
.sheet img{display:block;max-width:100%}\
.bad{border-left:.4rem solid #b00020;padding-left:.8rem}\
.good{border-left:.4rem solid #1b7a3d;padding-left:.8rem}";

/// Whether a report of this name is a page.
#[must_use]
pub fn is_page(path: &Path) -> bool {
    path.extension()
        .is_some_and(|ext| ext.eq_ignore_ascii_case("html") || ext.eq_ignore_ascii_case("htm"))
}

/// Writes the page.
///
/// # Errors
/// The file cannot be written.
pub fn write(report: &Report, timeline: &Timeline, shots: &Shots, path: &Path) -> Result<()> {
    let page = page(report, timeline, shots).into_string();
    std::fs::write(path, page).with_context(|| format!("cannot write {}", path.display()))
}

fn page(report: &Report, timeline: &Timeline, shots: &Shots) -> Markup {
    let program = report.program.join(" ");
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "vb3: " (program) }
                style { (maud::PreEscaped(STYLE)) }
            }
            body {
                h1 { code { (program) } }
                p {
                    "On machine " b { (report.machine) } ", seed " (report.seed) ": exit status "
                    b { (report.exit_status) } " after "
                    (seconds(Duration::from_millis(report.duration_ms))) "."
                }
                (told(report))
                (script(report))
                h2 { "The way of the frames" }
                (plots::way(report))
                h2 { "Queues" }
                (queues(&report.devices))
                (sheet::sheet(shots))
                (streams(timeline))
                (buffers::buffers(report))
                h2 { "Machine" }
                (machine(report))
            }
        }
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.3} s", time.as_secs_f64())
}

/// What was refused and missed, and what to do; or that nothing was.
fn told(report: &Report) -> Markup {
    let programs = sentence::known(&report.program);
    let refused = report
        .refusals
        .iter()
        .map(|refusal| sentence::refusal(refusal, &programs));
    let missing = report.missing_syncs.iter().map(sentence::missing_sync);
    let early = report.early_accesses.iter().map(sentence::early_access);
    let said: Vec<_> = refused.chain(missing).chain(early).collect();
    let held = sentence::held(&report.held);
    let left_out =
        report.refusals_left_out + report.missing_syncs_left_out + report.early_accesses_left_out;
    let quiet = said.is_empty() && report.failures.is_empty() && held.is_none();
    html! {
        @if quiet {
            p.good { "Nothing was refused, no cache sync was missing, and everything was given back." }
        }
        @for said in &said {
            div.bad { p { "✗ " (said.what) } @if !said.hint.is_empty() { p { "→ " (said.hint) } } }
        }
        @if left_out > 0 {
            p.bad { "… and " (left_out) " more." }
        }
        @for failure in &report.failures {
            p.bad { "✗ " (sentence::failure(failure)) }
        }
        @if let Some(held) = held {
            p.bad { "✗ " (held) }
        }
        @for note in &report.notes {
            p { (note) }
        }
    }
}

/// What the script did.
fn script(report: &Report) -> Markup {
    html! {
        @if !report.setup.script.is_empty() {
            h2 { "Script" }
            @if report.script.is_empty() {
                p { "Nothing of it happened." }
            }
            ul {
                @for said in sentence::script(&report.setup.script_file, &report.script) {
                    li { (said) "." }
                }
            }
            @if report.script_left_out > 0 {
                p { "… and " (report.script_left_out) " more." }
            }
            details {
                summary { "The script itself" }
                pre { (report.setup.script) }
            }
        }
    }
}

fn queues(devices: &[DeviceReport]) -> Markup {
    let rows = || {
        let all = devices.iter();
        all.flat_map(|device| device.queues.iter().map(move |queue| (device, queue)))
    };
    html! {
        div.scroll {
            table {
                tr {
                    th { "device" } th { "queue" } th { "memory" } th { "frames" } th { "per second" }
                    th { "dropped" } th { "copied" } th { "copied by the codec" } th { "bounced" } th { "moved" } th { "syncs (device, CPU)" }
                    th { "mapped, unmapped" } th { "most memory" }
                }
                @for (device, queue) in rows() {
                    tr {
                        td { (device.node) " " (device.kind) }
                        td { (queue.queue) }
                        td { (queue.memory) }
                        td { (queue.frames) }
                        td { (rate(queue)) }
                        td { (queue.dropped) }
                        td { (bytes(queue.bytes_copied)) }
                        td { (bytes(queue.bytes_copied_by_codec)) }
                        td { (bytes(queue.bytes_bounced)) }
                        td { (bytes(queue.bytes_moved)) }
                        td { (queue.syncs_for_device) ", " (queue.syncs_for_cpu) }
                        td { (queue.maps) ", " (queue.unmaps) }
                        td { (bytes(queue.peak_bytes)) }
                    }
                }
            }
        }
    }
}

/// Frames a second of the longest stream.
fn rate(queue: &QueueReport) -> String {
    if queue.frames < 2 || queue.span_ns == 0 {
        return String::new();
    }
    // CAST: shown with two digits.
    let rate = (queue.frames - 1) as f64 / Duration::from_nanos(queue.span_ns).as_secs_f64();
    format!("{rate:.2}")
}

fn streams(timeline: &Timeline) -> Markup {
    html! {
        @for stream in &timeline.streams {
            h2 { (stream.device) " " (stream.queue) }
            p { (summary(stream)) }
            (plots::intervals(stream))
            @if !stream.stays.is_empty() {
                (plots::depth(stream))
                (plots::stays(stream))
            }
        }
        @if timeline.left_out > 0 {
            p { (timeline.left_out) " calls found no room in these plots." }
        }
    }
}

/// The numbers behind the plots, for who cannot see them.
fn summary(stream: &Stream) -> String {
    let mut gaps: Vec<Duration> = stream
        .frames
        .windows(2)
        .filter_map(|pair| pair.last()?.checked_sub(*pair.first()?))
        .collect();
    gaps.sort_unstable();
    let frames = stream.frames.len();
    let deepest = stream.depth().into_iter().map(|(_, depth)| depth).max();
    let mut said = format!("{frames} frames reached or left the program");
    if let (Some(middle), Some(longest)) = (gaps.get(gaps.len() / 2), gaps.last()) {
        said += &format!(
            ", half of them within {:.2} ms of the one before, the slowest after {:.2} ms",
            middle.as_secs_f64() * 1e3,
            longest.as_secs_f64() * 1e3
        );
    }
    if let Some(deepest) = deepest {
        said += &format!("; the device had at most {deepest} buffers");
    }
    said + "."
}

fn machine(report: &Report) -> Markup {
    let memory = &report.memory;
    html! {
        p {
            "At most " (bytes(memory.peak_bytes)) " of memory at one time, "
            (bytes(memory.peak_contiguous_bytes)) " of it contiguous. "
            @if report.held == Held::default() { "Nothing is held." }
        }
        details {
            summary { "Profile and devices" }
            p { @for spec in &report.setup.devices { code { (spec) } " " } }
            pre { (report.setup.profile) }
        }
    }
}
