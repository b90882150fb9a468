//! What a script did and did not do, in sentences.

use super::all_of;
use crate::report::{MissedStep, ScriptEvent};

/// Where a step stands, as editors understand it: `FILE:LINE`.
fn place(file: &str, line: u64) -> String {
    let name = std::path::Path::new(file).file_name();
    let name = name.map_or_else(|| "script".into(), |name| name.to_string_lossy());
    format!("{name}:{line}")
}

/// Says which step never happened, and what did not come. `file` is the script's.
#[must_use]
pub fn missed_step(file: &str, missed: &MissedStep) -> String {
    let MissedStep {
        step,
        line,
        action,
        why,
    } = missed;
    let place = place(file, *line);
    format!("{place}: step {step} ({action}) never happened: {why}")
}

/// Says what a script did: a sentence for each step and what it did. `file` is the script's.
#[must_use]
pub fn script(file: &str, events: &[ScriptEvent]) -> Vec<String> {
    /// Most frames or calls that are named.
    const NAMED: usize = 6;
    let same = |a: &ScriptEvent, b: &ScriptEvent| a.line == b.line && a.value == b.value;
    let mut kinds: Vec<&ScriptEvent> = Vec::new();
    for event in events {
        if !kinds.iter().any(|known| same(known, event)) {
            kinds.push(event);
        }
    }
    let say = |first: &&ScriptEvent| {
        let all: Vec<&ScriptEvent> = events.iter().filter(|event| same(first, event)).collect();
        let numbers = all.iter().filter_map(|event| event.frame.or(event.call));
        let mut named: Vec<String> = numbers.map(|n| n.to_string()).collect();
        let more = named.len().saturating_sub(NAMED);
        named.truncate(NAMED);
        if more > 0 {
            named.push(format!("{more} more"));
        }
        let which = all_of(&named);
        let what = what_happened(first, named.len() > 1, &which);
        let at = first.at_ns as f64 / 1e9;
        format!("{}, at {at:.3} s: {what}", place(file, first.line))
    };
    kinds.iter().map(say).collect()
}

/// What one event, or several alike, were.
fn what_happened(event: &ScriptEvent, several: bool, which: &str) -> String {
    let ScriptEvent { device, value, .. } = event;
    let frames = if several { "frames" } else { "frame" };
    let frame = |what: &str| format!("{frames} {which} of {device} {what}");
    match &*event.action {
        "fail" => {
            let calls = if several { "calls" } else { "call" };
            format!("{calls} {which} on {device} failed: {value}")
        }
        "late" => frame(&format!("came {value} late")),
        "twice" => frame("came a second time, in place of the next"),
        "torn" => frame("came torn: the second half is of the frame before"),
        "error" => frame("came with V4L2_BUF_FLAG_ERROR"),
        "short" => frame(&format!(
            "came short: at most {value} are used of each plane"
        )),
        "lose" => frame("did not come"),
        "corrupt" => frame(&format!("came corrupt: {value} of it are inverted")),
        "source" => format!("the source of {device} has changed to {value}"),
        "signal" => format!("the signal of {device} was {value}"),
        "unplug" | "plug" if !value.is_empty() => format!("{} of {device}: {value}", event.action),
        "unplug" => format!("{device} was unplugged"),
        "plug" => format!("{device} was plugged in"),
        "occupy_cma" => format!("contiguous memory: {value}"),
        "free_cma" => format!("{value} of contiguous memory were given back"),
        "iommu_fault" => format!("the next access of {device} to memory faults in its IOMMU"),
        "stop_clock" => format!("the clock of the devices stood still for {value}"),
        other => format!("{other} {value}"),
    }
}
