//! Measures the cost of many objects at once. It grows linearly if each object costs as much as the
//! first.

use super::{build_client, time};
use crate::{setup, sh, table};
use anyhow::{Context as _, Result};
use std::collections::HashMap;
use std::path::Path;
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

/// Something that there may be many of.
struct Kind {
    name: &'static str,
    /// In words.
    says: &'static str,
    most: u32,
}

const fn kind(name: &'static str, says: &'static str, most: u32) -> Kind {
    Kind { name, says, most }
}

const KINDS: &[Kind] = &[
    kind("dqbuf", "threads in DQBUF, a queue each", 1_000),
    kind("poll", "threads in poll of one file", 1_000),
    kind("exports", "EXPBUFs held", 10_000),
    kind("pollfds", "entries of one poll", 5_000),
    kind("sets", "epoll sets with one file", 2_000),
    kind("processes", "processes that wait, a file each", 300),
];

/// Parts of the most that there may be: each run has twice as many as the one before.
const PARTS: [u32; 4] = [8, 4, 2, 1];

/// Measures and prints a table: a row for each count.
///
/// # Errors
/// A part cannot be built or run.
pub(crate) fn run(args: &Args) -> Result<()> {
    setup::install(setup::ALL)?;
    let vb3 = sh::release_vb3()?;
    let client = build_client("scale")?;
    let wanted = |kind: &&Kind| args.what.is_empty() || args.what.iter().any(|w| w == kind.name);
    let mut rows = Vec::new();
    for kind in KINDS.iter().filter(wanted) {
        for (at, part) in PARTS.into_iter().enumerate() {
            let says = if at == 0 { kind.says } else { "" };
            let values = measure(&vb3, &client, &args.machine, (kind.name, kind.most / part))?;
            rows.push(row(says, kind.most / part, &values)?);
        }
    }
    let head = [
        "what",
        "count",
        "one more",
        "its CPU time",
        "a call",
        "a picture is heard of",
        "one less",
        "camera at 60 fps lost",
        "longest without",
    ];
    println!("{}", table::format(&head, &rows));
    println!(
        "A call changes nothing (of `pollfds`: one entry of the poll, as what is heard of). The \
         camera streams 640x480 beside it all. CPU time is the client's and vb3's, with what the \
         camera takes of vb3 meanwhile."
    );
    Ok(())
}

fn row(says: &str, count: u32, values: &HashMap<String, u64>) -> Result<Vec<String>> {
    let value = |key: &str| {
        let found = values.get(key).copied();
        found.with_context(|| format!("the client gave no {key}"))
    };
    let lost = format!("{} of {}", value("camera_lost")?, value("camera_frames")?);
    Ok(vec![
        says.to_owned(),
        count.to_string(),
        time(value("add_ns")?),
        time(value("add_cpu_ns")?),
        time(value("call_ns")?),
        time(value("wake_ns")?),
        time(value("end_ns")?),
        lost,
        time(value("camera_longest_ns")?),
    ])
}

fn measure(
    vb3: &Path,
    client: &Path,
    machine: &str,
    (name, count): (&str, u32),
) -> Result<HashMap<String, u64>> {
    let mut command = Command::new(vb3);
    command.args(["run", "--machine", machine, "--device", "convert"]);
    command.args(["--device", "camera=pattern,fps=60,size=640x480", "--"]);
    command.arg(client).arg(name).arg(count.to_string());
    eprintln!("+ {}", sh::shown(&command));
    let out = sh::quietly(&mut command)?;
    let text = String::from_utf8(out).context("the client's output is not UTF-8")?;
    Ok(super::values(&text))
}
