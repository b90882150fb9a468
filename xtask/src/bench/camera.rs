//! Measures CPU time and memory of one more camera, compared with ffmpeg that writes frames to a pipe.

use super::{Run, build_client, measure};
use crate::table::Table;
use crate::{setup, sh};
use anyhow::Result;
use std::process::Command;

/// Numbers of cameras to compare. Their difference excludes the costs of the start and of the machine.
const COUNTS: [u32; 2] = [1, 5];
/// Number of frames of each camera: five seconds.
const FRAMES: u32 = 150;

/// The source that ffmpeg plays: bars that it paints once.
const BARS: &str = "smptebars=size=1920x1080:rate=30";

/// CPU time as a fraction of the run's time, and memory.
#[derive(Clone, Copy)]
struct Cost {
    program: f64,
    rest: f64,
    kib: f64,
}

impl Cost {
    fn of(run: &Run) -> Result<Self> {
        let part =
            |key| Ok::<_, anyhow::Error>(run.value(key)? as f64 / run.value("wall_ns")? as f64);
        Ok(Self {
            program: part("client_cpu_ns")?,
            rest: part("supervisor_cpu_ns")?,
            kib: run.value("peak_kib")? as f64,
        })
    }

    fn row(self, what: &str) -> Vec<String> {
        let percent = |part: f64| format!("{:.1} %", part * 100.0);
        let all = self.program + self.rest;
        vec![
            what.to_owned(),
            percent(all),
            percent(self.program),
            format!("{:.1} MiB", self.kib / 1024.0),
            format!("{:.0}", 1.0 / all.max(0.001)),
        ]
    }
}

/// Measures a row for each way to provide a camera.
///
/// # Errors
/// A part cannot be built or run.
pub(super) fn run(machine: &str) -> Result<Table> {
    setup::install(&setup::some(&["ffmpeg", "gcc", "libc6-dev"]))?;
    let vb3 = sh::release_vb3()?;
    let client = build_client("bench")?;
    let of = |count: u32| {
        let mut command = Command::new(&vb3);
        command.args(["run", "--machine", machine]);
        for _ in 0..count {
            let spec = "camera=pattern,format=NV12,size=1920x1080,fps=30";
            command.args(["--device", spec]);
        }
        let words = ["cameras".to_owned(), count.to_string(), FRAMES.to_string()];
        Cost::of(&measure(command.arg("--").arg(&client).args(words))?)
    };
    let [few, many] = COUNTS;
    let (one, all) = (of(few)?, of(many)?);
    let more = f64::from(many - few);
    let each = Cost {
        program: (all.program - one.program) / more,
        rest: (all.rest - one.rest) / more,
        kib: (all.kib - one.kib) / more,
    };
    let ffmpeg = format!(
        "exec ffmpeg -nostdin -v error -re -f lavfi -i {BARS} -frames:v {FRAMES} -pix_fmt yuv420p -f rawvideo pipe:1"
    );
    let piped = Cost::of(&measure(Command::new(&client).args(["piped", &ffmpeg]))?)?;
    println!("What you would pay per camera, 1920x1080 at 30 fps, machine {machine}:");
    let header = vec![
        "a camera by",
        "CPU of a core",
        "of it, the program",
        "memory",
        "cameras per core",
    ];
    let rows = vec![
        each.row("vb3, one of several"),
        one.row("vb3, a run with one"),
        piped.row("ffmpeg, writing to a pipe"),
    ];
    Ok((header, rows))
}
