//! Measures the cost of many objects at once, which grows linearly if none costs more than the first.

use super::{build_client, measure, verdict};
use crate::table::Table;
use crate::{setup, sh};
use anyhow::Result;
use std::process::Command;

/// Arguments of `bench scale`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Machine to measure on
    #[arg(long, value_name = "NAME", default_value = "pc")]
    machine: String,
    /// What to have many of; all if nothing is named
    #[arg(value_name = "WHAT", value_parser = clap::builder::PossibleValuesParser::new(KINDS.iter().map(|kind| kind.name)))]
    what: Vec<String>,
}

/// A kind of object that may exist many times.
struct Kind {
    name: &'static str,
    /// Description for messages.
    says: &'static str,
    most: u32,
}

const fn kind(name: &'static str, says: &'static str, most: u32) -> Kind {
    Kind { name, says, most }
}

const KINDS: &[Kind] = &[
    kind("dqbuf", "1,000 threads in DQBUF, one queue each", 1_000),
    kind("poll", "1,000 threads in poll of one file", 1_000),
    kind("exports", "10,000 exported buffers", 10_000),
    kind("pollfds", "5,000 entries of one poll", 5_000),
    kind("sets", "2,000 epoll sets with one file", 2_000),
    kind("processes", "300 waiting processes, one file each", 300),
];

/// Each kind is measured twice: with its largest number of objects, and with this fraction of it.
const PART: u32 = 8;

/// Measures a row for each kind. A cell has the values of both numbers of objects.
///
/// # Errors
/// A part cannot be built or run.
pub(super) fn run(args: &Args) -> Result<Table> {
    setup::install(&setup::some(&["gcc", "libc6-dev"]))?;
    let vb3 = sh::release_vb3()?;
    let client = build_client("scale")?;
    let wanted = |kind: &&Kind| args.what.is_empty() || args.what.iter().any(|w| w == kind.name);
    let mut rows = Vec::new();
    for kind in KINDS.iter().filter(wanted) {
        let measure = |count: u32| {
            let mut command = Command::new(&vb3);
            command.args(["run", "--machine", &args.machine, "--device", "convert"]);
            command.args(["--device", "camera=pattern,fps=60,size=640x480", "--"]);
            measure(command.arg(&client).arg(kind.name).arg(count.to_string()))
        };
        let (few, all) = (measure(kind.most / PART)?, measure(kind.most)?);
        // For a poll, one object is an entry of the call.
        let cost = if kind.name == "pollfds" {
            "call_ns"
        } else {
            "add_cpu_ns"
        };
        let cost = all.value(cost)? as f64 / few.value(cost)?.max(1) as f64;
        let both = |key| Ok::<_, anyhow::Error>(format!("{}, {}", few.time(key)?, all.time(key)?));
        let (wake, end) = (both("wake_ns")?, both("end_ns")?);
        println!(
            "{}: a frame is reported after {wake}; one less takes {end}",
            kind.says
        );
        let (lost, frames) = (all.value("camera_lost")?, all.value("camera_frames")?);
        rows.push(vec![
            kind.says.to_owned(),
            both("add_ns")?,
            both("add_cpu_ns")?,
            both("call_ns")?,
            format!("{lost} of {frames}, {}", all.time("camera_longest_ns")?),
            verdict(cost, Some(1.0)),
        ]);
    }
    println!(
        "A call changes nothing (of `pollfds`: one entry of the poll, as what is heard of). The \
         camera streams 640x480 beside it all. CPU time is the client's and vb3's, with what the \
         camera takes of vb3 meanwhile."
    );
    let header = [
        "items",
        "one more",
        "its CPU time",
        "another call",
        "camera lost, longest gap",
        "aim",
    ];
    Ok((header.into(), rows))
}
