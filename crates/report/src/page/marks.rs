//! Faults and unplugs on the plots of a stream.

use crate::report::Report;
use crate::timeline::Timeline;
use maud::{Markup, html};

/// Most marks on a plot.
const MOST_MARKS: usize = 300;

/// Something that happened to a device.
pub(super) struct Mark {
    /// Seconds since the run began.
    pub(super) at: f64,
    /// What, in a word or two.
    pub(super) label: String,
    /// The device came or went.
    pub(super) is_plug: bool,
}

/// What happened to a device, in order: what the script did to it or to the machine, and when it
/// came and went.
pub(super) fn marks(report: &Report, timeline: &Timeline, device: &str) -> Vec<Mark> {
    // Programs see a device go later than the script says so.
    let faults = report.script.iter().filter(|event| {
        let is_here = event.device.is_empty() || event.device == device;
        is_here && !matches!(&*event.action, "plug" | "unplug")
    });
    let faults = faults.map(|event| Mark {
        at: event.at_ns as f64 / 1e9,
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
    let mut all: Vec<Mark> = plugs.chain(faults).take(MOST_MARKS).collect();
    all.sort_by(|a, b| a.at.total_cmp(&b.at));
    all
}

/// Says what the lines on the plots are.
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
