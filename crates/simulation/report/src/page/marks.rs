//! Marks for faults, plugs and unplugs on a stream's plots.

use crate::report::Report;
use crate::timeline::Timeline;
use maud::{Markup, html};

/// Maximum number of marks on a plot.
const MAX_MARKS: usize = 300;

/// A fault, or a plug or unplug event, of a device.
pub(super) struct Mark {
    /// Seconds since the run began.
    pub(super) at: f64,
    /// Label of one or two words.
    pub(super) label: String,
    /// Whether the device was plugged in or unplugged.
    pub(super) is_plug: bool,
}

/// Returns the marks of a device in order of time.
/// They are its plugs and unplugs, and the script's events on this device and on the machine.
pub(super) fn marks(report: &Report, timeline: &Timeline, device: &str) -> Vec<Mark> {
    // The script's plug events are left out, because the time line also has them. There, the time is when
    // programs saw the change.
    let faults = report.script.iter().filter(|event| {
        let is_here = event.device.is_empty() || event.device == device;
        is_here && !matches!(&*event.action, "plug" | "unplug")
    });
    // The script's times are those of the devices' clock. With `fast=N`, the plots use the system's clock,
    // on which 1 s is N seconds of the devices' clock.
    let rate = report.setup.clock.strip_prefix("fast=");
    let rate: f64 = rate.and_then(|rate| rate.parse().ok()).unwrap_or(1.0);
    let faults = faults.map(|event| Mark {
        at: event.at_ns as f64 / 1e9 / rate,
        label: event.action.replace('_', " "),
        is_plug: false,
    });
    let plugs = timeline.plugs.iter().filter(|plug| plug.device == device);
    let plugs = plugs.map(|plug| Mark {
        at: plug.at.as_secs_f64(),
        label: if plug.comes {
            "plugged in"
        } else {
            "unplugged"
        }
        .to_owned(),
        is_plug: true,
    });
    let mut all: Vec<Mark> = plugs.chain(faults).take(MAX_MARKS).collect();
    all.sort_by(|a, b| a.at.total_cmp(&b.at));
    all
}

/// Returns an explanation of the marks, which are lines on the plots.
pub(super) fn legend(marks: &[Mark]) -> Markup {
    let mut kinds: Vec<(&str, usize)> = Vec::new();
    for mark in marks {
        match kinds.iter_mut().find(|(label, _)| *label == mark.label) {
            Some((_, times)) => *times += 1,
            None => kinds.push((&mark.label, 1)),
        }
    }
    html! {
        @if !kinds.is_empty() {
            p {
                span.label.wrong { "⚡ Red lines" }
                @for (at, (label, times)) in kinds.iter().enumerate() {
                    @if at > 0 { ", " }
                    (label) @if *times > 1 { " ×" (times) }
                }
                "."
            }
        }
    }
}
