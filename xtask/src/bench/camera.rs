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

/// CPU time of the client program and of the frames' source (the supervisor `vb3`, or ffmpeg), as fractions of the
/// run's time; and memory of the source in KiB.
type Cost = [f64; 3];

fn cost(run: &Run) -> Result<Cost> {
    let keys = ["wall_ns", "client_cpu_ns", "supervisor_cpu_ns", "peak_kib"];
    let [wall, program, rest, kib] = keys.map(|key| run.value(key).map(|value| value as f64));
    let wall = wall?;
    Ok([program? / wall, rest? / wall, kib?])
}

fn row(what: &str, [program, rest, kib]: Cost) -> Vec<String> {
    let percent = |part: f64| format!("{:.1} %", part * 100.0);
    let all = program + rest;
    let memory = format!("{:.1} MiB", kib / 1024.0);
    let per_core = format!("{:.0}", 1.0 / all.max(0.001));
    let (all, program) = (percent(all), percent(program));
    table::row([what, &all, &program, &memory, &per_core])
}

pub(super) fn run() -> Result<Table> {
    let vb3 = Vb3::new(&["ffmpeg"])?;
    let client = client("bench")?;
    let of = |count: usize| {
        let mut run = vb3.with(&vec![CAMERA; count]);
        run.arg(&client)
            .args(["cameras", &count.to_string(), FRAMES]);
        cost(&measure(&mut run)?)
    };
    let [few, many] = COUNTS;
    let (one, all) = (of(few)?, of(many)?);
    let more = (many - few) as f64;
    let each = std::array::from_fn(|part| (all[part] - one[part]) / more);
    let ffmpeg = format!(
        "exec ffmpeg -nostdin -v error -re -f lavfi -i {BARS} -frames:v {FRAMES} -pix_fmt yuv420p -f rawvideo pipe:1"
    );
    let piped = cost(&measure(&mut cmd!("{client} piped {ffmpeg}"))?)?;
    println!("What you would pay per camera, 1920x1080 at 30 fps:");
    let header = [
        "a camera by",
        "CPU of a core",
        "of it, the program",
        "memory",
        "cameras per core",
    ];
    let rows = vec![
        row("vb3, one of several", each),
        row("vb3, a run with one", one),
        row("ffmpeg, writing to a pipe", piped),
    ];
    Ok((table::row(header), rows))
}
