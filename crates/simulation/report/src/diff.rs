//! `vb3 diff`: one sentence for each difference between two runs.

use crate::report::{DeviceReport, Held, QueueReport, Report};
use crate::sentence::{self, bytes};
use crate::why;
use anyhow::Result;
use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;

/// Formats a counter's value.
type Show = fn(u64) -> String;

/// A counter of a report: its name, a function that reads it, and one that formats it.
type Counter<T> = (&'static str, fn(&T) -> u64, Show);

fn plain(count: u64) -> String {
    count.to_string()
}

/// Counters of a queue. `span_ns` and `span_frames` are left out, because times always differ.
const QUEUE: &[Counter<QueueReport>] = &[
    ("frames", |q| q.frames, plain),
    ("frames without a buffer", |q| q.dropped, plain),
    ("frames lost", |q| q.lost, plain),
    ("copied", |q| q.bytes_copied, bytes),
    ("copied by the codec", |q| q.bytes_copied_by_codec, bytes),
    ("bounced", |q| q.bytes_bounced, bytes),
    ("moved", |q| q.bytes_moved, bytes),
    ("cache syncs for the device", |q| q.syncs_for_device, plain),
    ("cache syncs for the CPU", |q| q.syncs_for_cpu, plain),
    ("DMA mappings made", |q| q.maps, plain),
    ("DMA mappings released", |q| q.unmaps, plain),
    ("peak buffer memory", |q| q.peak_bytes, bytes),
];

/// Counters of a run.
const RUN: &[Counter<Report>] = &[
    ("events of the script", Report::scripted, plain),
    (
        "steps that never happened",
        |r| r.script_missed.len() as u64,
        plain,
    ),
    ("calls refused", Report::refused, plain),
    ("cache syncs missing", Report::unsynced, plain),
    ("early accesses", Report::early, plain),
    ("failures of devices", Report::failed, plain),
    ("peak memory", |r| r.memory.peak_bytes, bytes),
    (
        "peak contiguous memory",
        |r| r.memory.peak_contiguous_bytes,
        bytes,
    ),
];

/// Prints the differences. Returns 0 if there are none, else 1.
///
/// # Errors
/// A report cannot be read, or `out` cannot be written.
pub fn print((before, after): (&Path, &Path), is_json: bool, out: &mut dyn Write) -> Result<u8> {
    let (before, after) = (why::load(before)?, why::load(after)?);
    let said = differences(&before, &after);
    if is_json {
        let line = serde_json::json!({ "version": 1, "differences": said });
        writeln!(out, "{line:#}")?;
        return Ok(u8::from(!said.is_empty()));
    }
    if said.is_empty() {
        writeln!(out, "The runs differ only in times.")?;
    }
    for sentence in &said {
        writeln!(out, "{sentence}")?;
    }
    Ok(u8::from(!said.is_empty()))
}

/// Returns a sentence for each difference. Possible causes come before their effects.
fn differences(before: &Report, after: &Report) -> Vec<String> {
    let mut said = setup(before, after);
    said.extend(counters("the run", RUN, before, after));
    said.extend(devices(&before.devices, &after.devices));
    said.extend(problems_and_notes(before, after));
    said.extend(changed(
        "still held at the end",
        held(&before.held),
        held(&after.held),
    ));
    said
}

/// Compares program, machine, clock, script, seed, devices and exit status.
fn setup(before: &Report, after: &Report) -> Vec<String> {
    let words = |report: &Report| report.program.join(" ");
    let specs = |report: &Report| report.setup.devices.join(" ");
    let mut said = Vec::new();
    said.extend(changed("program", words(before), words(after)));
    let machines = changed("machine", before.machine.clone(), after.machine.clone());
    if machines.is_none() && before.setup.profile != after.setup.profile {
        said.push(format!(
            "machine {}: its profile has changed",
            before.machine
        ));
    }
    said.extend(machines);
    let clock = |report: &Report| match &*report.setup.clock {
        "" => "real".to_owned(),
        other => other.to_owned(),
    };
    said.extend(changed("clock", clock(before), clock(after)));
    if before.setup.script != after.setup.script {
        said.push("the scripts differ".to_owned());
    }
    said.extend(changed("seed", before.seed, after.seed));
    said.extend(changed("devices", specs(before), specs(after)));
    said.extend(changed(
        "exit status",
        before.exit_status,
        after.exit_status,
    ));
    said
}

fn changed<T: PartialEq + std::fmt::Display>(what: &str, before: T, after: T) -> Option<String> {
    (before != after).then(|| format!("{what}: {before} before, {after} after"))
}

fn counters<T>(whose: &str, counters: &[Counter<T>], before: &T, after: &T) -> Vec<String> {
    let differ = counters.iter().filter_map(|(what, count, show)| {
        let (before, after) = (count(before), count(after));
        (before != after).then(|| {
            let (by, way) = match after.checked_sub(before) {
                Some(more) => (more, "more"),
                None => (before - after, "less"),
            };
            let (before, after, by) = (show(before), show(after), show(by));
            format!("{whose}: {what}: {before} before, {after} after ({by} {way})")
        })
    });
    differ.collect()
}

fn devices(before: &[DeviceReport], after: &[DeviceReport]) -> Vec<String> {
    let nodes: BTreeSet<&str> = before
        .iter()
        .chain(after)
        .map(|device| device.node.as_str())
        .collect();
    let mut said = Vec::new();
    for node in nodes {
        let of = |all: &'_ [DeviceReport]| all.iter().find(|device| device.node == node).cloned();
        match (of(before), of(after)) {
            (Some(before), Some(after)) => said.extend(device(&before, &after)),
            (Some(gone), None) => {
                said.push(format!("{node}: {} before, no device after", gone.kind))
            }
            (None, Some(new)) => said.push(format!("{node}: no device before, {} after", new.kind)),
            (None, None) => {}
        }
    }
    said
}

fn device(before: &DeviceReport, after: &DeviceReport) -> Vec<String> {
    let node = &before.node;
    let mut said = Vec::new();
    let name = |what| format!("{node}: {what}");
    said.extend(changed(&name("kind"), &before.kind, &after.kind));
    let allocators = (&before.allocator, &after.allocator);
    said.extend(changed(&name("allocator"), allocators.0, allocators.1));
    // Queues are compared by their position, since devices of one kind list them in the same order.
    let none = QueueReport::default();
    let count = before.queues.len().max(after.queues.len());
    for at in 0..count {
        let (old, new) = (before.queues.get(at), after.queues.get(at));
        let Some(named) = old.or(new) else { continue };
        let whose = format!("{node} {}", named.queue);
        let (old, new) = (old.unwrap_or(&none), new.unwrap_or(&none));
        let memory = |queue: &QueueReport| match queue.memory.as_str() {
            "" => "none".to_owned(),
            memory => memory.to_owned(),
        };
        said.extend(changed(
            &format!("{whose}: memory"),
            memory(old),
            memory(new),
        ));
        said.extend(counters(&whose, QUEUE, old, new));
    }
    said
}

/// Compares the problems and notes of two runs. How often each occurred is not compared.
fn problems_and_notes(before: &Report, after: &Report) -> Vec<String> {
    let (old, new) = (sentences(before), sentences(after));
    let gone = old
        .difference(&new)
        .map(|said| format!("only before: {said}"));
    let come = new
        .difference(&old)
        .map(|said| format!("only after: {said}"));
    gone.chain(come).collect()
}

fn sentences(report: &Report) -> BTreeSet<String> {
    let refused = report.refusals.iter().cloned().map(|mut refusal| {
        refusal.times = 1;
        sentence::refusal(&refusal, &[]).what
    });
    let missing = report.missing_syncs.iter().cloned().map(|mut missing| {
        missing.times = 1;
        sentence::missing_sync(&missing).what
    });
    let early = report.early_accesses.iter().cloned().map(|mut early| {
        // Process numbers differ from run to run.
        (early.times, early.process) = (1, 0);
        sentence::early_access(&early).what
    });
    let failed = report.failures.iter().cloned().map(|mut failure| {
        failure.times = 1;
        sentence::failure(&failure)
    });
    let missed = report.script_missed.iter();
    let missed = missed.map(|missed| sentence::missed_step(&report.setup.script_file, missed));
    let all = refused.chain(missing).chain(early).chain(failed);
    all.chain(missed)
        .chain(report.notes.iter().cloned())
        .collect()
}

fn held(held: &Held) -> String {
    sentence::held_counts(held).unwrap_or_else(|| "nothing".to_owned())
}

#[cfg(test)]
mod tests;
