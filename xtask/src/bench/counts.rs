//! Counts what a frame costs in the pipeline of devices. Other work of this computer hardly changes the counts.

use super::pipeline;
use crate::sh::{self, cmd};
use crate::table::{self, Table};
use crate::{demo, setup};
use anyhow::{Context as _, Result};
use fs_err as fs;
use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// The machines: coherent with an IOMMU, contiguous memory only, and without coherent caches.
const MACHINES: [&str; 3] = ["pc", "soc-cma", "soc-noncoherent"];

/// The counted events, as perf names them.
const EVENTS: [&str; 4] = [
    "raw_syscalls:sys_enter",
    "context-switches",
    "sched:sched_wakeup",
    "page-faults",
];

const HEADER: [&str; 9] = [
    "program",
    "machine",
    "frames",
    "system calls",
    "switches",
    "wake-ups",
    "page faults",
    "bytes copied",
    "copied by the codec",
];

/// Counts on every machine, while the small program shows the large stream, and while GStreamer shows it.
pub(super) fn run() -> Result<Table> {
    setup::install(&["linux-perf"])?;
    let (mut tools, [large, _]) = pipeline::prepare()?;
    let file = sh::target().join("bench/report.json");
    let mut rows = Vec::new();
    for machine in MACHINES {
        let report = file.to_string_lossy();
        tools.vb3.options = table::row(["--machine", machine, "--report", &report]);
        for (name, command) in [
            ("a small program", tools.small_program(&large)),
            ("GStreamer", tools.gstreamer(&large)),
        ] {
            let mut row = vec![name.to_owned(), machine.to_owned()];
            row.extend(counts(&command, &file)?);
            rows.push(row);
        }
    }
    Ok((table::row(HEADER), rows))
}

/// Runs a command under perf, and returns its number of frames, and what happened for each.
fn counts(command: &Command, report: &Path) -> Result<Vec<String>> {
    let (counts, events) = (sh::target().join("bench/counts"), EVENTS.join(","));
    let mut perf = cmd!("perf stat -x , -o {counts} -e {events} --");
    perf.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        perf.env(name, value.unwrap_or_default());
    }
    // The first run also fills caches, such as GStreamer's list of plugins.
    sh::quietly(&mut perf)?;
    sh::quietly(&mut perf)?;
    let report: Value = serde_json::from_slice(&fs::read(report)?)?;
    let queues = demo::queues(&report);
    let of = |field: &'static str| queues.iter().filter_map(move |queue| queue[field].as_u64());
    let frames = of("frames").max().filter(|frames| *frames > 0);
    let frames = frames.context("no frame was shown")?;
    let each = |count: u64| format!("{:.1}", count as f64 / frames as f64);
    let counts = fs::read_to_string(counts)?;
    let mut cells = vec![frames.to_string()];
    for event in EVENTS {
        let count = count_of(&counts, event);
        let count = count.with_context(|| format!("perf did not count {event}"))?;
        cells.push(each(count));
    }
    cells.extend(["bytes_copied", "bytes_copied_by_codec"].map(|field| each(of(field).sum())));
    Ok(cells)
}

/// Returns an event's count in the output of `perf stat -x ,`.
fn count_of(output: &str, event: &str) -> Option<u64> {
    let mut lines = output.lines().map(|line| line.split(','));
    lines.find_map(|mut cells| {
        let count = cells.next()?.parse().ok()?;
        (cells.nth(1)? == event).then_some(count)
    })
}
