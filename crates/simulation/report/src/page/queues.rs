//! The table of queues. Empty columns are left out, and idle queues are folded.

use crate::report::{DeviceReport, QueueReport};
use crate::sentence::bytes;
use maud::{Markup, html};
use std::time::Duration;

/// A column: its title, and a function for its cells. A cell may be empty.
type Column = (&'static str, fn(&QueueReport) -> String);

fn unless_zero(count: u64, show: fn(u64) -> String) -> String {
    match count {
        0 => String::new(),
        count => show(count),
    }
}

fn plain(count: u64) -> String {
    count.to_string()
}

fn pair(first: u64, second: u64) -> String {
    match (first, second) {
        (0, 0) => String::new(),
        (first, second) => format!("{first}, {second}"),
    }
}

const COLUMNS: &[Column] = &[
    ("format", |q| q.format.clone()),
    ("memory", |q| q.memory.clone()),
    ("frames", |q| q.frames.to_string()),
    ("per second", rate),
    ("lost", |q| unless_zero(q.lost, plain)),
    ("taken back", |q| unless_zero(q.taken_back, plain)),
    ("without a buffer", |q| unless_zero(q.dropped, plain)),
    ("copied", |q| bytes(q.bytes_copied)),
    ("copied by the codec", |q| {
        unless_zero(q.bytes_copied_by_codec, bytes)
    }),
    ("bounced", |q| unless_zero(q.bytes_bounced, bytes)),
    ("moved", |q| unless_zero(q.bytes_moved, bytes)),
    ("syncs (device, CPU)", |q| {
        pair(q.syncs_for_device, q.syncs_for_cpu)
    }),
    ("mapped, unmapped", |q| pair(q.maps, q.unmaps)),
    ("peak memory", |q| unless_zero(q.peak_bytes, bytes)),
];

/// Returns the frames per second of the longest stream.
fn rate(queue: &QueueReport) -> String {
    if queue.span_frames == 0 || queue.span_ns == 0 {
        return String::new();
    }
    // CAST: displayed with two digits.
    let rate = queue.span_frames as f64 / Duration::from_nanos(queue.span_ns).as_secs_f64();
    format!("{rate:.2}")
}

fn unused(queues: usize) -> String {
    match queues {
        1 => "1 queue was not used".to_owned(),
        queues => format!("{queues} queues were not used"),
    }
}

/// Returns whether a queue was never used.
fn is_idle(queue: &QueueReport) -> bool {
    let named = QueueReport {
        queue: queue.queue.clone(),
        ..QueueReport::default()
    };
    *queue == named
}

pub(super) fn queues(devices: &[DeviceReport]) -> Markup {
    let all = devices.iter();
    let all = all.flat_map(|device| device.queues.iter().map(move |queue| (device, queue)));
    let (idle, busy): (Vec<_>, Vec<_>) = all.partition(|(_, queue)| is_idle(queue));
    let is_used = |(_, cell): &&Column| busy.iter().any(|(_, queue)| !cell(queue).is_empty());
    let columns: Vec<&Column> = COLUMNS.iter().filter(is_used).collect();
    html! {
        @if busy.is_empty() {
            p { "No queue was used." }
        } @else {
            div.scroll tabindex="0" role="region" aria-label="Queues" {
                table.stack {
                    tr.head { th { "device" } th.text { "queue" } @for (title, _) in &columns { th { (title) } } }
                    @for (device, queue) in &busy {
                        tr {
                            td data-label="device" { (device.node) " " (device.kind) }
                            td.text data-label="queue" { (queue.queue) }
                            @for (title, cell) in &columns {
                                td class=[(*title == "lost" && queue.lost > 0).then_some("wrong")] data-label=(title) { (cell(queue)) }
                            }
                        }
                    }
                }
            }
        }
        @if !idle.is_empty() {
            details {
                summary { (unused(idle.len())) }
                ul { @for (device, queue) in &idle { li { (device.node) " " (device.kind) ", " (queue.queue) } } }
            }
        }
    }
}
