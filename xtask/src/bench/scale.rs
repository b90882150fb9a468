//! Measures whether the cost of many objects grows linearly: whether no object costs more than the first.

use super::{Vb3, client, measure, verdict};
use crate::table::{self, Table};
use anyhow::Result;

/// Kinds of objects: the name, a description for messages, and the largest number of them.
const KINDS: &[(&str, &str, u32)] = &[
    ("dqbuf", "1,000 threads in DQBUF, one queue each", 1_000),
    ("poll", "1,000 threads in poll of one file", 1_000),
    ("exports", "10,000 exported buffers", 10_000),
    ("pollfds", "5,000 entries of one poll", 5_000),
    ("sets", "2,000 epoll sets with one file", 2_000),
    ("processes", "300 waiting processes, one file each", 300),
];

/// Each kind is measured twice: with its largest number of objects, and with this fraction of it.
const PART: u32 = 8;

/// Measures a row for each kind. A cell has two values, one for each number of objects.
pub(super) fn run() -> Result<Table> {
    let vb3 = Vb3::new(&[])?;
    let client = client("scale")?;
    let mut rows = Vec::new();
    for &(name, says, most) in KINDS {
        let measure = |count: u32| {
            let mut run = vb3.with(&["convert", "camera=pattern,fps=60,size=640x480"]);
            measure(run.arg(&client).args([name, &count.to_string()]))
        };
        let (few, all) = (measure(most / PART)?, measure(most)?);
        // An object of `pollfds` is an entry of the measured call, so the call's time per entry counts.
        let cost = match name {
            "pollfds" => "call_ns",
            _ => "add_cpu_ns",
        };
        let cost = all.value(cost)? as f64 / few.value(cost)?.max(1) as f64;
        let both = |key| Ok::<_, anyhow::Error>(format!("{}, {}", few.time(key)?, all.time(key)?));
        let (wake, end) = (both("wake_ns")?, both("end_ns")?);
        println!("{says}: a frame is reported after {wake}; to remove one takes {end}");
        let (lost, frames) = (all.value("camera_lost")?, all.value("camera_frames")?);
        rows.push(vec![
            says.to_owned(),
            both("add_ns")?,
            both("add_cpu_ns")?,
            both("call_ns")?,
            format!("{lost} of {frames}, {}", all.time("camera_longest_ns")?),
            verdict(cost, Some(1.0)),
        ]);
    }
    println!(
        "Another call is QUERYCAP; for `pollfds`, one entry of the poll. A camera streams 640x480 \
         meanwhile. CPU time is the client's and vb3's; vb3's includes the camera's."
    );
    let header = [
        "items",
        "one more",
        "its CPU time",
        "another call",
        "camera lost, longest gap",
        "aim",
    ];
    Ok((table::row(header), rows))
}
