//! How long a call on a camera waits while another device's frames are copied.

use super::{build_client, measure};
use crate::table::Table;
use crate::{setup, sh};
use anyhow::Result;
use std::process::Command;

/// Sizes of the other device's frames, NV12 at 30 a second.
const SIZES: [(u32, u32); 2] = [(1920, 1080), (3840, 2160)];

/// How another device moves frames.
struct Workload {
    says: &'static str,
    /// SPEC of the device, without the size.
    device: &'static str,
    /// Command that moves the frames; empty if only the reference runs.
    command: &'static str,
}

const CAMERA: &str = "camera=pattern,format=NV12,fps=30";

const WORKLOADS: [Workload; 6] = [
    Workload {
        says: "nothing",
        device: CAMERA,
        command: "true",
    },
    Workload {
        says: "camera, mapped buffers",
        device: CAMERA,
        command: "v4l2-ctl -d /dev/video0 --stream-mmap=4 --stream-poll --stream-count=100",
    },
    Workload {
        says: "camera, user pointers",
        device: CAMERA,
        command: "v4l2-ctl -d /dev/video0 --stream-user=4 --stream-poll --stream-count=100",
    },
    Workload {
        says: "camera, read()",
        device: CAMERA,
        command: "dd if=/dev/video0 of=/dev/null iflag=fullblock count=100 bs=$BYTES",
    },
    Workload {
        says: "display",
        device: "display,format=NV12,fps=30",
        command: "v4l2-ctl -d /dev/video0 --stream-out-mmap=4 --stream-count=100",
    },
    Workload {
        says: "converter",
        device: "convert,format=NV12",
        command: "v4l2-ctl -d /dev/video0 -x width=$WIDTH,height=$HEIGHT,pixelformat=NV12 \
                  -v width=$WIDTH,height=$HEIGHT,pixelformat=YU12 --stream-out-mmap=4 \
                  --stream-mmap=4 --stream-count=100",
    },
];

/// Seconds of calls for each; the frames last as long.
const SECONDS: &str = "3";

/// Measures a row for each workload.
///
/// # Errors
/// A part cannot be built or run.
pub(super) fn run(machine: &str) -> Result<Table> {
    setup::install(setup::ALL)?;
    let vb3 = sh::release_vb3()?;
    let client = build_client("beside")?;
    let mut rows = Vec::new();
    for workload in &WORKLOADS {
        let mut row = vec![workload.says.to_owned()];
        for (width, height) in SIZES {
            let script = format!(
                "({}) >/dev/null 2>&1 & {} /dev/video1 {SECONDS}; wait",
                workload.command,
                client.display()
            );
            let device = format!("{},size={width}x{height}", workload.device);
            let mut command = Command::new(&vb3);
            command.args(["run", "--machine", machine, "--device", &device]);
            command.args(["--device", "camera=pattern", "--", "sh", "-c", &script]);
            command.env("BYTES", (width * height * 3 / 2).to_string());
            command.env("WIDTH", width.to_string());
            command.env("HEIGHT", height.to_string());
            let run = measure(&mut command)?;
            for key in ["p99_ns", "max_ns"] {
                row.push(run.time(key)?);
            }
        }
        rows.push(row);
    }
    println!("A call that changes nothing, on another camera every 0.2 ms; machine {machine}.");
    let header = [
        "frames moved by",
        "1920x1080: 99th percentile",
        "longest",
        "3840x2160: 99th percentile",
        "longest",
    ];
    Ok((header.into(), rows))
}
