//! Measures how long a call on a camera waits while another device's frames are copied.

use super::{Vb3, client, measure};
use crate::table::{self, Table};
use crate::{demo, sh};
use anyhow::{Result, ensure};
use fs_err as fs;
use serde_json::Value;

/// Sizes of the other device's frames. The frames are NV12, 30 per second.
const SIZES: [(u32, u32); 2] = [(1920, 1080), (3840, 2160)];

const CAMERA: &str = "camera=pattern,format=NV12,fps=30";

/// Workloads: a description, the SPEC of the device that moves frames (without its size), and the command.
const WORKLOADS: [(&str, &str, &str); 6] = [
    ("nothing", CAMERA, "true"),
    (
        "camera, mapped buffers",
        CAMERA,
        "v4l2-ctl -d /dev/video0 --stream-mmap=4 --stream-poll --stream-count=100",
    ),
    (
        "camera, user pointers",
        CAMERA,
        "v4l2-ctl -d /dev/video0 --stream-user=4 --stream-poll --stream-count=100",
    ),
    (
        "camera, read()",
        CAMERA,
        "dd if=/dev/video0 of=/dev/null iflag=fullblock count=100 bs=$BYTES",
    ),
    (
        "display",
        "display,format=NV12,fps=30",
        "v4l2-ctl -d /dev/video0 --stream-out-mmap=4 --stream-count=100",
    ),
    (
        "converter",
        "convert,format=NV12",
        "v4l2-ctl -d /dev/video0 -x width=$WIDTH,height=$HEIGHT,pixelformat=NV12 \
                  -v width=$WIDTH,height=$HEIGHT,pixelformat=YU12 --stream-out-mmap=4 \
                  --stream-mmap=4 --stream-count=100",
    ),
];

/// Seconds for which calls are measured with each workload. The workload's frames last as long.
const SECONDS: &str = "3";

/// Minimum number of frames that a workload must have moved. When the display stops, some of its 100 are not shown.
const FRAMES: u64 = 90;

pub(super) fn run() -> Result<Table> {
    let mut vb3 = Vb3::new(&["v4l-utils"])?;
    let client = client("bench")?;
    let file = sh::target().join("bench/report.json");
    vb3.options = table::row(["--report", &file.to_string_lossy()]);
    let mut rows = Vec::new();
    let client = client.display();
    for (says, device, command) in WORKLOADS {
        let mut row = vec![says.to_owned()];
        for (width, height) in SIZES {
            let bytes = width * height * 3 / 2;
            let script = format!(
                "WIDTH={width} HEIGHT={height} BYTES={bytes}; \
                 ({command}) >/dev/null 2>&1 & load=$!; \
                 {client} calls /dev/video1 {SECONDS} && wait $load"
            );
            let device = format!("{device},size={width}x{height}");
            let mut run = vb3.with(&[&device, "camera=pattern"]);
            let run = measure(run.args(["sh", "-c", &script]))?;
            // v4l2-ctl succeeds even if it streams nothing.
            let report: Value = serde_json::from_slice(&fs::read(&file)?)?;
            let queues = demo::queues(&report).into_iter();
            let frames = queues.filter_map(|queue| queue["frames"].as_u64()).max();
            let (frames, is_idle) = (frames.unwrap_or(0), command == "true");
            ensure!(is_idle || frames >= FRAMES, "{says}: {frames} frames moved");
            let (most, longest) = (run.time("p99_ns")?, run.time("max_ns")?);
            row.push(format!("{most}, {longest}"));
        }
        rows.push(row);
    }
    println!(
        "A call that changes nothing, on another camera every 0.2 ms: 99th percentile, longest."
    );
    let header = ["frames moved by", "1920x1080", "3840x2160"];
    Ok((table::row(header), rows))
}
