//! Explains the events and the missed steps of a script in sentences.

use super::all_of;
use crate::report::{MissedStep, ScriptEvent};

/// Returns a step's location in the form that editors understand: `FILE:LINE`.
/// Line 0 stands for a command of `vb3 ctl`.
fn place(file: &str, line: u64) -> String {
    if line == 0 {
        return "vb3 ctl".to_owned();
    }
    let name = std::path::Path::new(file).file_name();
    let name = name.map_or_else(|| "script".into(), |name| name.to_string_lossy());
    format!("{name}:{line}")
}

/// Says which step never happened, and which event the step waited for. `file` is the script's name.
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

/// Returns a sentence for each step that acted. `file` is the script's name.
#[must_use]
pub fn script(file: &str, events: &[ScriptEvent]) -> Vec<String> {
    /// Maximum number of frames or calls that a sentence names.
    const MAX_NAMED: usize = 6;
    let same = |a: &ScriptEvent, b: &ScriptEvent| {
        (a.line, &a.value, &a.action, &a.device) == (b.line, &b.value, &b.action, &b.device)
    };
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
        let more = named.len().saturating_sub(MAX_NAMED);
        named.truncate(MAX_NAMED);
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

/// Describes one event, or several equal ones.
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
        "twice" => frame("came twice, instead of the next frame"),
        "torn" => frame("came torn: the second half is from the previous frame"),
        "error" => frame("came with V4L2_BUF_FLAG_ERROR"),
        "short" => frame(&format!(
            "came short: bytesused of each plane is at most {value}"
        )),
        "lose" => frame("did not come"),
        "corrupt" => frame(&format!("came corrupt: {value} are inverted")),
        "source" => format!("the source of {device} has changed to {value}"),
        "signal" if value == "lost" => format!("the signal of {device} was lost"),
        "signal" if value == "back" => format!("the signal of {device} came back"),
        "signal" => format!("the signal of {device} has changed to {value}"),
        "unplug" | "plug" if !value.is_empty() => format!("{} of {device}: {value}", event.action),
        "unplug" => format!("{device} was unplugged"),
        "plug" => format!("{device} was plugged in"),
        "occupy_cma" => format!("contiguous memory: {value}"),
        "free_cma" => format!("{value} of contiguous memory were released"),
        "iommu_fault" => format!("the next memory access of {device} causes an IOMMU fault"),
        "stop_clock" => format!("the devices' clock stopped for {value}"),
        other => format!("{other} {value}"),
    }
}
