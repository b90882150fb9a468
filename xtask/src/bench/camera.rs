//! Measures CPU time and memory of one more camera, compared with ffmpeg that writes frames to a pipe.

use super::{Run, Vb3, client, measure};
use crate::sh::cmd;
use crate::table::{self, Table};
use anyhow::Result;

const CAMERA: &str = "camera=pattern,format=NV12,size=1920x1080,fps=30";
/// Numbers of cameras in the two runs. The difference of their costs excludes the start of `vb3`.
const COUNTS: [usize; 2] = [1, 5];
/// Number of frames of each camera: five seconds.
const FRAMES: &str = "150";

/// The source that ffmpeg plays: colour bars, which ffmpeg paints only once.
const BARS: &str = "smptebars=size=1920x1080:rate=30";

/// CPU time as a fraction of the run's time, and memory in KiB.
#[derive(Clone, Copy)]
struct Cost {
    program: f64,
    rest: f64,
    kib: f64,
}

impl Cost {
    fn of(run: &Run) -> Result<Self> {
        let wall = run.value("wall_ns")? as f64;
        Ok(Self {
            program: run.value("client_cpu_ns")? as f64 / wall,
            rest: run.value("supervisor_cpu_ns")? as f64 / wall,
            kib: run.value("peak_kib")? as f64,
        })
    }

    fn row(self, what: &str) -> Vec<String> {
        let percent = |part: f64| format!("{:.1} %", part * 100.0);
        let all = self.program + self.rest;
        let memory = format!("{:.1} MiB", self.kib / 1024.0);
        let per_core = format!("{:.0}", 1.0 / all.max(0.001));
        table::row([
            what,
            &percent(all),
            &percent(self.program),
            &memory,
            &per_core,
        ])
    }
}

pub(super) fn run() -> Result<Table> {
    let vb3 = Vb3::new(&["ffmpeg"])?;
    let client = client("bench")?;
    let of = |count: usize| {
        let mut run = vb3.with(&vec![CAMERA; count]);
        run.arg(&client)
            .args(["cameras", &count.to_string(), FRAMES]);
        Cost::of(&measure(&mut run)?)
    };
    let [few, many] = COUNTS;
    let (one, all) = (of(few)?, of(many)?);
    let more = (many - few) as f64;
    let each = Cost {
        program: (all.program - one.program) / more,
        rest: (all.rest - one.rest) / more,
        kib: (all.kib - one.kib) / more,
    };
    let ffmpeg = format!(
        "exec ffmpeg -nostdin -v error -re -f lavfi -i {BARS} -frames:v {FRAMES} -pix_fmt yuv420p -f rawvideo pipe:1"
    );
    let piped = Cost::of(&measure(&mut cmd!("{client} piped {ffmpeg}"))?)?;
    println!("What you would pay per camera, 1920x1080 at 30 fps:");
    let header = [
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
    Ok((table::row(header), rows))
}
