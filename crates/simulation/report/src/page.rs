//! The report as an HTML page: one file without network access or scripts. The verdict comes first,
//! then the devices, problems with remedies, the path of the frames, and time lines.

mod buffers;
mod flow;
mod marks;
mod plots;
mod queues;
mod sheet;
#[cfg(test)]
mod tests;

use crate::report::{Held, Picture, Report, create};
use crate::sentence::{self, bytes};
use crate::timeline::{Stream, Timeline};
use anyhow::{Context as _, Result};
use maud::{DOCTYPE, Markup, html};
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Small pictures of the devices' frames, by device node.
pub type Pictures = [(String, Vec<Picture>)];

const STYLE: &str = include_str!("page/page.css");

/// Returns whether this file name asks for an HTML page.
#[must_use]
pub fn is_page(path: &Path) -> bool {
    path.extension()
        .is_some_and(|ext| ext.eq_ignore_ascii_case("html") || ext.eq_ignore_ascii_case("htm"))
}

/// Writes the page, dated now.
///
/// # Errors
/// The file cannot be written.
pub fn write(report: &Report, timeline: &Timeline, pictures: &Pictures, path: &Path) -> Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let made = utc(now.unwrap_or_default().as_secs());
    let page = page(report, timeline, pictures, &made).into_string();
    let write = || create(path)?.write_all(page.as_bytes());
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// Formats seconds since 1970 as a date and time of the Gregorian calendar.
fn utc(seconds: u64) -> String {
    let (mut days, time) = (seconds / 86_400, seconds % 86_400);
    let is_leap =
        |year: u64| year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
    let mut year = 1970;
    // Every period of 400 years has the same number of days.
    year += days / 146_097 * 400;
    days %= 146_097;
    while days >= 365 + u64::from(is_leap(year)) {
        days -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let february = 28 + u64::from(is_leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    let (hour, minute) = (time / 3600, time / 60 % 60);
    format!(
        "{year}-{month:02}-{:02} {hour:02}:{minute:02} UTC",
        days + 1
    )
}

fn page(report: &Report, timeline: &Timeline, pictures: &Pictures, made: &str) -> Markup {
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
                main {
                    (verdict(report))
                    p {
                        code { (program) } " on machine " b { (report.machine) } ", seed " (report.seed)
                        ", clock " (match &*report.setup.clock { "" => "real", clock => clock })
                        ": exit status " b { (report.exit_status) } " after "
                        (seconds(Duration::from_millis(report.duration_ms))) "."
                    }
                    p { "Devices: " @for spec in &report.setup.devices { code { (spec) } " " } }
                    (devices(report))
                    (problems(report))
                    h2 { "Path of the frames" }
                    (flow::flow(report))
                    (script(report))
                    h2 { "Queues" }
                    (queues::queues(&report.devices))
                    (sheet::sheet(pictures))
                    (streams(report, timeline))
                    (buffers::buffers(report))
                    h2 { "Machine" }
                    (machine(report))
                }
                footer { p { "vb3 " (env!("CARGO_PKG_VERSION")) ", " (made) } }
            }
        }
    }
}

/// The banner with the run's result.
fn verdict(report: &Report) -> Markup {
    let verdict = sentence::verdict(report);
    let (class, word) = match (verdict.is_good, report.is_well() && report.exit_status == 0) {
        (true, _) => ("verdict good", "✓ All well"),
        (false, true) => ("verdict bad", "⚡ Faults injected"),
        (false, false) => ("verdict bad", "✗ Problems"),
    };
    html! {
        div class=(class) { h1 { (word) } p { (verdict.text) } }
    }
}

/// The table of used devices.
fn devices(report: &Report) -> Markup {
    let table = sentence::table(report);
    html! {
        @if let [head, lines @ ..] = table.lines.as_slice() && !lines.is_empty() {
            table {
                tr.head { @for (column, title) in head.iter().enumerate() { th.text[column < 2] { (title) } } }
                @for line in lines {
                    tr {
                        @for (column, cell) in line.iter().enumerate() {
                            td.text[column < 2].wrong[(column == 3 || column == 4) && cell != "0"] { (cell) }
                        }
                    }
                }
            }
        }
        @if !table.unused.is_empty() {
            p { "Not used: " (table.unused.join(", ")) "." }
        }
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.3} s", time.as_secs_f64())
}

/// Problems with their remedies, then notes.
fn problems(report: &Report) -> Markup {
    let programs = sentence::known(&report.program);
    let refused = report
        .refusals
        .iter()
        .map(|r| ("Refused", sentence::refusal(r, &programs)));
    let missing = report
        .missing_syncs
        .iter()
        .map(|m| ("No sync", sentence::missing_sync(m)));
    let early = report
        .early_accesses
        .iter()
        .map(|e| ("Too early", sentence::early_access(e)));
    let file = &report.setup.script_file;
    html! {
        @for missed in &report.script_missed {
            (wrong("Missed step", &sentence::missed_step(file, missed), ""))
        }
        @for (label, said) in refused.chain(missing).chain(early) {
            (wrong(label, &said.what, &said.hint))
        }
        @for failure in &report.failures {
            (wrong("Failed", &sentence::failure(failure), ""))
        }
        @if let Some(held) = sentence::held(&report.held) {
            (wrong("Held", &held, ""))
        }
        @if report.not_listed() > 0 {
            p { "… and " (report.not_listed()) " more." }
        }
        @for note in &report.notes {
            p.note { span.label { "Note" } (text(note)) }
        }
    }
}

/// Shows words between backticks as code.
fn text(said: &str) -> Markup {
    html! {
        @for (number, part) in said.split('`').enumerate() {
            @if number % 2 == 0 { (part) } @else { code { (part) } }
        }
    }
}

fn wrong(label: &str, what: &str, hint: &str) -> Markup {
    html! {
        div.bad-item {
            p { span.label { "✗ " (label) } (text(what)) }
            @if !hint.is_empty() { p { span.label { "→ Try" } (text(hint)) } }
        }
    }
}

/// The script and its events.
fn script(report: &Report) -> Markup {
    html! {
        @if !(report.setup.script.is_empty() && report.script.is_empty()) {
            h2 { "Script" }
            @if report.script.is_empty() {
                p { "No step of it happened." }
            }
            ul {
                @for said in sentence::script(&report.setup.script_file, &report.script) {
                    li { (said) "." }
                }
            }
            @if report.script_left_out > 0 {
                p { "… and " (report.script_left_out) " more." }
            }
            @if !report.setup.script.is_empty() {
                details {
                    summary { "The script itself" }
                    pre { (report.setup.script) }
                }
            }
        }
    }
}

fn streams(report: &Report, timeline: &Timeline) -> Markup {
    html! {
        @for stream in &timeline.streams {
            @let marks = marks::marks(report, timeline, &stream.device);
            h2 { (stream.device) " " (stream.queue) }
            p { (summary(stream)) }
            (marks::legend(&marks))
            (plots::plots(stream, &marks))
        }
        @if timeline.left_out > 0 {
            p { "The plots leave out " (timeline.left_out) " later calls." }
        }
    }
}

/// The plots' main numbers as text, for readers who cannot see the plots.
fn summary(stream: &Stream) -> String {
    let mut gaps: Vec<Duration> = stream
        .frames
        .windows(2)
        .filter_map(|pair| pair.last()?.checked_sub(*pair.first()?))
        .collect();
    gaps.sort_unstable();
    let deepest = stream.depth.iter().map(|(_, depth)| *depth).max();
    let mut said = Vec::new();
    if let (Some(middle), Some(longest)) = (gaps.get(gaps.len() / 2), gaps.last()) {
        said.push(format!(
            "Time from frame to frame: median {:.2} ms, longest {:.2} ms.",
            middle.as_secs_f64() * 1e3,
            longest.as_secs_f64() * 1e3
        ));
    }
    if let Some(deepest) = deepest {
        said.push(format!("The device owned at most {deepest} buffers."));
    }
    said.join(" ")
}

fn machine(report: &Report) -> Markup {
    let memory = &report.memory;
    html! {
        p {
            "At most " (bytes(memory.peak_bytes)) " of memory at one time, "
            (bytes(memory.peak_contiguous_bytes)) " of it in the contiguous area. "
            @if report.held == Held::default() { "Everything was released." }
        }
        details {
            summary { "Profile and devices" }
            p { @for spec in &report.setup.devices { code { (spec) } " " } }
            pre { (report.setup.profile) }
        }
    }
}
