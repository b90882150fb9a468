//! The same run on two computers.
//! On a virtual clock, with a script, their reports, traces and pictures must be equal byte by byte.

use crate::sh::{self, cmd};
use anyhow::{Context as _, Result, bail};
use fs_err as fs;
use serde_json::Value;
use std::path::Path;

const FILES: [&str; 3] = [REPORT, "same.jsonl", "same.raw"];
const REPORT: &str = "same.json";

/// Length in bytes of each of the run's pictures.
const FRAME: usize = 64 * 48 * 2;

/// The faults that are injected into the run, whose directory has them as same.toml.
pub(super) const SCRIPT: &str = include_str!("same.toml");

/// Returns a shell command that makes the run in a directory with the script.
/// The program is dd: unlike v4l2-ctl, it makes the same calls in every version.
pub(super) fn command(vb3: &Path, dir: &str) -> String {
    let [report, trace, pictures] = FILES;
    format!(
        "cd {dir} && {vb3} run --clock virtual --machine pc --script same.toml \
         -d camera=pattern,identity=plain,format=YUYV,size=64x48,fps=60 --report {report} \
         --trace {trace} --trace-format json \
         -- dd if=/dev/video0 of={pictures} bs={FRAME} count=100 iflag=fullblock status=none",
        vb3 = vb3.display()
    )
}

/// Makes the same run here, and compares its files with those of another computer in `there`.
pub(super) fn compare(vb3: &Path, there: &Path) -> Result<()> {
    let here = there.join("here");
    fs::create_dir_all(&here)?;
    fs::write(here.join("same.toml"), SCRIPT)?;
    let line = command(vb3, here.to_str().context("the path is not UTF-8")?);
    sh::quietly(cmd!("sh -c {line}"))?;
    let read = |dir: &Path, name: &str| match name {
        REPORT => without_place(&fs::read(dir.join(name))?),
        _ => Ok(fs::read(dir.join(name))?),
    };
    for name in FILES {
        let (own, other) = (read(&here, name)?, read(there, name)?);
        if own.is_empty() || own != other {
            let there = there.display();
            bail!("{name}, made here, is empty or differs from that in {there}");
        }
    }
    Ok(())
}

/// Returns a report without the run's directory and the notes, which depend on the machine.
fn without_place(report: &[u8]) -> Result<Vec<u8>> {
    let mut report: Value = serde_json::from_slice(report).context("the report is not JSON")?;
    for (part, name) in [("/setup", "directory"), ("", "notes")] {
        let part = report.pointer_mut(part).and_then(Value::as_object_mut);
        part.and_then(|part| part.remove(name))
            .with_context(|| format!("a report without {name}"))?;
    }
    Ok(serde_json::to_vec_pretty(&report)?)
}
