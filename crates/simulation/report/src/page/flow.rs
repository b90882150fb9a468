//! The path of the frames: devices, the program, and the traffic between them.

use crate::report::{DeviceReport, QueueReport, Refusal, Report};
use crate::sentence::{bytes, errno_name};
use maud::{Markup, html};

/// Maximum number of hops drawn.
const MAX_HOPS: usize = 32;

/// One step of a frame's path: a queue of a device, or a node without queues, with the refused calls.
struct Hop<'a> {
    node: &'a str,
    kind: &'a str,
    queue: Option<&'a QueueReport>,
    refusals: Vec<&'a Refusal>,
    faults: usize,
}

impl Hop<'_> {
    /// Returns whether frames go to the program.
    fn is_in(&self) -> bool {
        self.queue
            .is_some_and(|queue| queue.queue.contains("capture"))
    }
}

/// Returns the queues to draw: those with frames.
/// If none has frames, the first queue is drawn to show the device's refusals and faults.
fn drawn(device: &DeviceReport, is_hit: bool) -> Vec<&QueueReport> {
    let used = |queue: &&QueueReport| queue.frames > 0 || queue.lost > 0;
    let queues: Vec<&QueueReport> = device.queues.iter().filter(used).collect();
    match queues.is_empty() && is_hit {
        true => device.queues.iter().take(1).collect(),
        false => queues,
    }
}

fn hops(report: &Report) -> Vec<Hop<'_>> {
    let refused = |node: &str| {
        let all = report.refusals.iter();
        all.filter(|refusal| refusal.device == node)
            .collect::<Vec<_>>()
    };
    let mut hops = Vec::new();
    for device in &report.devices {
        let events = report.script.iter();
        let mut faults = events.filter(|event| event.device == device.node).count();
        let mut refusals = refused(&device.node);
        for queue in drawn(device, faults > 0 || !refusals.is_empty()) {
            hops.push(Hop {
                node: &device.node,
                kind: &device.kind,
                queue: Some(queue),
                // The first queue shows all of the device's refusals and faults.
                refusals: std::mem::take(&mut refusals),
                faults: std::mem::take(&mut faults),
            });
        }
    }
    for refusal in &report.refusals {
        let is_known = hops.iter().any(|hop| hop.node == refusal.device);
        if !is_known {
            hops.push(Hop {
                node: &refusal.device,
                kind: "",
                queue: None,
                refusals: refused(&refusal.device),
                faults: 0,
            });
        }
    }
    hops.truncate(MAX_HOPS);
    hops
}

/// Draws the devices to the left of the program, and the hops between them.
pub(super) fn flow(report: &Report) -> Markup {
    let hops = hops(report);
    if hops.is_empty() {
        return html! { p { "No frame went through a device." } };
    }
    html! {
        div.flow {
            div.box.program style=(format!("grid-column:3;grid-row:1/span {}", hops.len())) { "the program" }
            @for (row, hop) in (1..).zip(&hops) {
                (drawn_hop(row, hop))
            }
        }
    }
}

fn drawn_hop(row: usize, hop: &Hop<'_>) -> Markup {
    let way = if hop.is_in() { "in" } else { "out" };
    let refused = if hop.refusals.is_empty() {
        ""
    } else {
        "refused"
    };
    let kind = hop.queue.map_or("", |queue| &queue.queue);
    html! {
        div.box style=(format!("grid-column:1;grid-row:{row}")) {
            b { (hop.node) } " " (hop.kind)
            small { (kind) }
        }
        div class={ "wire " (way) " " (refused) } style=(format!("grid-column:2;grid-row:{row}")) {
            span.way { @if hop.is_in() { "to the program: " } @else { "from the program: " } }
            @if let Some(queue) = hop.queue { (moved(queue)) }
            span.line aria-hidden="true" {}
            @for refusal in &hop.refusals {
                div.wrong { "✗ " (refused_call(refusal)) }
            }
            @if let Some(lost) = hop.queue.map(|queue| queue.lost).filter(|lost| *lost > 0) {
                div.wrong { "✗ " (lost) " lost" }
            }
            @if hop.faults > 0 {
                div.wrong { "⚡ " (hop.faults) " faults injected" }
            }
        }
    }
}

/// Describes the traffic of a hop.
fn moved(queue: &QueueReport) -> String {
    let memory = match &*queue.memory {
        "" => String::new(),
        memory => format!(" by {memory}"),
    };
    let format = match &*queue.format {
        "" => String::new(),
        format => format!(" of {format}"),
    };
    let unless_none = |count, what| match count {
        0 => String::new(),
        count => format!(", {} {what}", bytes(count)),
    };
    format!(
        "{} frames{format}{memory}, {} copied{}{}{}",
        queue.frames,
        bytes(queue.bytes_copied),
        unless_none(queue.bytes_copied_by_codec, "by the codec"),
        unless_none(queue.bytes_bounced, "bounced"),
        unless_none(queue.bytes_moved, "moved")
    )
}

fn refused_call(refusal: &Refusal) -> String {
    let Refusal {
        call, errno, times, ..
    } = refusal;
    let why = match errno {
        0 => "fewer buffers than requested".to_owned(),
        errno => errno_name(*errno),
    };
    match times {
        0 | 1 => format!("{call} refused: {why}"),
        times => format!("{call} refused {times} times: {why}"),
    }
}
