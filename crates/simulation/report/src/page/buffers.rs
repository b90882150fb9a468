//! The page's table of buffers and their holders.

use crate::report::{BufferReport, HolderReport, Report};
use crate::sentence::bytes;
use maud::{Markup, html};

/// Makes a table of all buffers; empty if the run had none.
pub(super) fn buffers(report: &Report) -> Markup {
    html! {
        @if !report.buffers.is_empty() {
            h2 { "Buffers" }
            details {
                summary { (report.buffers.len()) " buffers and their holders" }
                table {
                    tr { th { "number" } th { "buffer" } th { "size" } th { "held by" } }
                    @for buffer in &report.buffers {
                        tr {
                            td { (buffer.number) }
                            td { (name(buffer)) }
                            td { (bytes(buffer.bytes)) }
                            td {
                                @for holder in &buffer.holders {
                                    div { (held(holder)) }
                                }
                                @if buffer.holders_left_out > 0 {
                                    div { "… and " (buffer.holders_left_out) " more" }
                                }
                            }
                        }
                    }
                }
                @if report.buffers_left_out > 0 {
                    p { "… and " (report.buffers_left_out) " more." }
                }
            }
        }
    }
}

fn name(buffer: &BufferReport) -> String {
    let mut name = if buffer.device.is_empty() {
        "from a heap or another driver".to_owned()
    } else {
        format!(
            "{} {} buffer {} plane {}",
            buffer.device, buffer.queue, buffer.buffer, buffer.plane
        )
    };
    if buffer.orphaned {
        name += ", orphaned";
    }
    if buffer.revoked {
        name += ", revoked";
    }
    name
}

fn held(holder: &HolderReport) -> String {
    // A guest's session has no process.
    let (by, name) = match holder.process {
        0 => (holder.name.clone(), ""),
        process => (format!("process {process}"), &*holder.name),
    };
    let mut who = match &*holder.kind {
        "queue" => "its queue".to_owned(),
        "cpu-mapping" => "a driver's CPU mapping".to_owned(),
        "attachment" => format!("an attachment of {}", holder.device),
        "fence" => format!("a fence of {}", holder.device),
        "mapping" => format!("a mapping in {by}"),
        "user-pages" if holder.device.is_empty() => format!("memory of {by}"),
        "user-pages" => format!("{}, which pinned pages of {by}", holder.device),
        kind => format!("a {kind} given to {by}"),
    };
    if !name.is_empty() {
        who += &format!(" ({name})");
    }
    who += &format!(", for {:.3} s", holder.longest_ns as f64 / 1e9);
    if holder.at_end {
        who += ", until the end";
    }
    who
}
