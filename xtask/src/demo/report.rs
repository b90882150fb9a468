//! Sums up a run's report as a row of the demo's table.

use serde_json::Value;
use std::time::Duration;

pub(super) fn queues(report: &Value) -> impl Iterator<Item = &Value> {
    let devices = report["devices"].as_array().into_iter().flatten();
    devices.flat_map(|device| device["queues"].as_array().into_iter().flatten())
}

pub(super) fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

pub(super) fn number(value: &Value, key: &str) -> u64 {
    value[key].as_u64().unwrap_or(0)
}

pub(super) fn total(report: &Value, key: &str) -> u64 {
    queues(report).map(|queue| number(queue, key)).sum()
}

pub(super) fn refusals(report: &Value) -> u64 {
    let listed = report["refusals"].as_array().into_iter().flatten();
    let listed: u64 = listed.map(|refusal| number(refusal, "times")).sum();
    listed + number(report, "refusals_left_out")
}

pub(super) fn fps(frames: u32, span_ns: u64) -> String {
    if span_ns == 0 || frames < 2 {
        return "-".to_owned();
    }
    format!(
        "{:.2}",
        f64::from(frames - 1) / Duration::from_nanos(span_ns).as_secs_f64()
    )
}

pub(super) fn mebibytes(bytes: Option<u64>) -> String {
    bytes.map_or_else(
        || "-".to_owned(),
        |bytes| format!("{}.{} MiB", bytes >> 20, ((bytes & 0xf_ffff) * 10) >> 20),
    )
}

/// The columns of the table after the pipeline and the machine.
pub(super) const COLUMNS: [&str; 8] = [
    "frames",
    "fps",
    "bytes copied",
    "bytes bounced",
    "cache syncs",
    "peak contiguous",
    "refusals",
    "shown as it should be",
];

/// A row of the table: `frames` were shown, and are as good as `verdict` says.
pub(super) fn row(report: &Value, frames: u32, verdict: String) -> Vec<String> {
    let sum = |key: &str| total(report, key);
    let display = display(report);
    let span = display.map_or(0, |queue| number(queue, "span_ns"));
    let peak = report.pointer("/memory/peak_contiguous_bytes");
    vec![
        frames.to_string(),
        fps(frames, span),
        sum("bytes_copied").to_string(),
        sum("bytes_bounced").to_string(),
        (sum("syncs_for_device") + sum("syncs_for_cpu")).to_string(),
        mebibytes(peak.and_then(Value::as_u64)),
        refusals(report).to_string(),
        verdict,
    ]
}

/// The queue of the display: the last device's.
fn display(report: &Value) -> Option<&Value> {
    let outputs = queues(report).filter(|queue| text(queue, "queue").contains("output"));
    outputs.last()
}

/// Returns violations of the rules for all machines: no copies, dma-bufs at the display, nothing
/// held.
pub(super) fn faults(report: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    let copied = total(report, "bytes_copied");
    if copied != 0 {
        faults.push(format!("{copied} bytes were copied"));
    }
    if display(report).is_none_or(|queue| text(queue, "memory") != "dmabuf") {
        faults.push("the display was not fed by dma-buf".to_owned());
    }
    let held = report["held"].as_object();
    if held.is_none_or(|held| held.values().any(|n| n.as_u64() != Some(0))) {
        faults.push("something was still held at the end".to_owned());
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn report_is_summed_over_queues() {
        let report = json!({
            "devices": [
                {"queues": [{"bytes_copied": 1, "queue": "video-capture"}]},
                {"queues": [{"bytes_copied": 2}]}
            ],
            "refusals": [{"times": 3}],
            "refusals_left_out": 4
        });
        assert_eq!(total(&report, "bytes_copied"), 3);
        assert_eq!(refusals(&report), 7);
        assert_eq!(mebibytes(Some(3 << 19)), "1.5 MiB");
        assert_eq!(fps(101, 4_000_000_000), "25.00");
    }
}
