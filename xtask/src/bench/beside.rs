//! Measures how long a call on a camera waits, and how far apart the camera's frames are, while another device works.

use super::{Vb3, client, measure};
use crate::table::{self, Table};
use crate::{demo, sh};
use anyhow::{Result, ensure};
use fs_err as fs;
use serde_json::Value;

/// Sizes of the other device's frames, 30 per second.
const SIZES: [(u32, u32); 2] = [(1920, 1080), (3840, 2160)];

const CAMERA: &str = "camera=pattern,format=NV12,fps=30";
const CAPTURE: &str = "v4l2-ctl -d /dev/video0 --stream-mmap=4 --stream-poll --stream-count=100";

/// Workloads: a description, the SPEC of the device that works (without its size), the command, and the minimum
/// number of frames that the device must have moved.
const WORKLOADS: &[(&str, &str, &str, u64)] = &[
    ("nothing", CAMERA, "true", 0),
    ("camera, mapped buffers", CAMERA, CAPTURE, FRAMES),
    (
        "camera, user pointers",
        CAMERA,
        "v4l2-ctl -d /dev/video0 --stream-user=4 --stream-poll --stream-count=100",
        FRAMES,
    ),
    (
        "camera, read()",
        "camera=pattern,identity=plain,format=NV12,fps=30",
        "dd if=/dev/video0 of=/dev/null iflag=fullblock count=100 bs=$BYTES",
        FRAMES,
    ),
    (
        "camera, JPEG",
        "camera=pattern,format=MJPG,fps=30",
        CAPTURE,
        20,
    ),
    (
        "camera with a scaler",
        "capture-convert=pattern,format=NV12,fps=30",
        CAPTURE,
        20,
    ),
    (
        "camera, a clip with brightness",
        "camera=$CLIP,format=NV12,fps=30",
        "v4l2-ctl -d /dev/video0 -c brightness=100 --stream-mmap=4 --stream-poll --stream-count=60",
        20,
    ),
    (
        "vimc",
        "vimc",
        "media-ctl -d /dev/media0 -l '\"Debayer A\":1->\"Scaler\":0[0]'
         media-ctl -d /dev/media0 -l '\"RGB/YUV Input\":0->\"Scaler\":0[1]'
         for pad in 'RGB/YUV Input' Scaler; do
             media-ctl -d /dev/media0 -V \"\\\"$pad\\\":0 [fmt:RGB888_1X24/${WIDTH}x$HEIGHT]\"; done
         v4l2-ctl -d /dev/video2 -v width=$WIDTH,height=$HEIGHT,pixelformat=RGB3 --stream-mmap=4 \
                  --stream-poll --stream-count=60",
        20,
    ),
    (
        "sensor",
        "sensor",
        "media-ctl -d /dev/media0 -l '\"msm_csiphy0\":1->\"msm_csid0\":0[1]'
         media-ctl -d /dev/media0 -l '\"msm_csid0\":1->\"msm_vfe0_rdi0\":0[1]'
         v4l2-ctl -d /dev/video0 --stream-mmap=4 --stream-poll --stream-count=40",
        10,
    ),
    (
        "display",
        "display,format=NV12,fps=30",
        "v4l2-ctl -d /dev/video0 --stream-out-mmap=4 --stream-count=100",
        FRAMES,
    ),
    (
        "converter",
        "convert,format=NV12",
        "v4l2-ctl -d /dev/video0 -x width=$WIDTH,height=$HEIGHT,pixelformat=NV12 \
                  -v width=$WIDTH,height=$HEIGHT,pixelformat=YU12 --stream-out-mmap=4 \
                  --stream-mmap=4 --stream-count=100",
        FRAMES,
    ),
    (
        "JPEG encoder",
        "jpegenc,format=NV12",
        "v4l2-ctl -d /dev/video0 -x width=$WIDTH,height=$HEIGHT,pixelformat=NV12 --stream-out-mmap=4 \
                  --stream-mmap=4 --stream-count=60",
        20,
    ),
];

/// Devices whose sizes are set by media-ctl. The sensor has 3280x2464.
const GRAPHS: [&str; 2] = ["vimc", "sensor"];

/// Seconds for which calls are measured with each workload. The workload's frames last as long.
const SECONDS: &str = "3";

/// Minimum number of frames for workloads that keep up. The display's workload has 100 frames, but some of them are
/// not shown when the stream stops.
const FRAMES: u64 = 90;

pub(super) fn run() -> Result<Table> {
    let mut vb3 = Vb3::new(&["v4l-utils"])?;
    let client = client("bench")?;
    let file = sh::target().join("bench/report.json");
    vb3.options = table::row(["--report", &file.to_string_lossy()]);
    let mut rows = Vec::new();
    let (client, clip) = (client.display(), demo::clip()?);
    for (says, device, command, least) in WORKLOADS {
        let mut row = vec![(*says).to_owned()];
        for (width, height) in SIZES {
            let bytes = width * height * 3 / 2;
            let script = format!(
                "WIDTH={width} HEIGHT={height} BYTES={bytes}; \
                 ({command}) >/dev/null 2>&1 & load=$!; \
                 {client} calls /dev/video9 {SECONDS} && wait $load"
            );
            let mut device = device.replace("$CLIP", &clip.to_string_lossy());
            if !GRAPHS.contains(&device.as_str()) {
                device = format!("{device},size={width}x{height}");
            }
            let mut run = vb3.with(&[&device, "camera=pattern,fps=60,node=video9"]);
            let run = measure(run.args(["sh", "-c", &script]))?;
            // v4l2-ctl succeeds even if it streams nothing.
            let mut report: Value = serde_json::from_slice(&fs::read(&file)?)?;
            if let Some(devices) = report["devices"].as_array_mut() {
                devices.retain(|device| device["node"] != "/dev/video9");
            }
            let queues = demo::queues(&report).into_iter();
            let moved = queues.filter_map(|queue| queue["frames"].as_u64());
            let frames = moved.max().unwrap_or(0);
            ensure!(frames >= *least, "{says}: {frames} frames moved");
            let times = ["p99_ns", "max_ns", "gap_ns"].map(|key| run.time(key));
            let times: Result<Vec<String>> = times.into_iter().collect();
            row.push(times?.join(", "));
        }
        rows.push(row);
    }
    println!(
        "A call that changes nothing, on another camera every 0.2 ms: 99th percentile, longest; and the \
         longest time between two frames of that camera, which sends 60 per second."
    );
    let header = ["pictures moved by", "1920x1080", "3840x2160"];
    Ok((table::row(header), rows))
}
