//! How long a call on a camera waits while another device's frames are copied.

use super::{build_client, time, values};
use crate::{setup, sh, table};
use anyhow::{Context as _, Result};
use std::path::Path;
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

/// Measures and prints a table: a row for each size and way.
///
/// # Errors
/// A part cannot be built or run.
pub(super) fn run(machine: &str) -> Result<()> {
    setup::install(setup::ALL)?;
    let vb3 = sh::release_vb3()?;
    let client = build_client("beside")?;
    let mut rows = Vec::new();
    for size in SIZES {
        for workload in &WORKLOADS {
            rows.push(measure((&vb3, &client), machine, size, workload)?);
        }
    }
    let head = [
        "frames",
        "moved by",
        "calls",
        "median",
        "99th percentile",
        "longest",
    ];
    println!("{}", table::format(&head, &rows));
    println!("A call that changes nothing, on another camera every 0.2 ms; machine {machine}.");
    Ok(())
}

fn measure(
    (vb3, client): (&Path, &Path),
    machine: &str,
    (width, height): (u32, u32),
    workload: &Workload,
) -> Result<Vec<String>> {
    let size = format!("{width}x{height}");
    let script = format!(
        "({}) >/dev/null 2>&1 & {} /dev/video1 {SECONDS}; wait",
        workload.command,
        client.display()
    );
    let mut run = Command::new(vb3);
    run.args(["run", "--machine", machine, "--device"])
        .arg(format!("{},size={size}", workload.device))
        .args(["--device", "camera=pattern", "--", "sh", "-c", &script])
        .env("BYTES", (width * height * 3 / 2).to_string())
        .env("WIDTH", width.to_string())
        .env("HEIGHT", height.to_string());
    eprintln!("+ {}", sh::shown(&run));
    let out = sh::quietly(&mut run)?;
    let found = values(&String::from_utf8(out).context("the client's output is not UTF-8")?);
    let value = |key: &str| {
        let value = found.get(key).copied();
        value.with_context(|| format!("the client gave no {key}"))
    };
    Ok(vec![
        size,
        workload.says.to_owned(),
        value("calls")?.to_string(),
        time(value("p50_ns")?),
        time(value("p99_ns")?),
        time(value("max_ns")?),
    ])
}
