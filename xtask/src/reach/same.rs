//! The same run on two machines.
//! On a virtual clock, with a script, the report, trace and pictures must be equal byte by byte.

use crate::sh;
use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// Files that a run writes.
const FILES: [&str; 3] = [REPORT, "same.jsonl", "same.raw"];
const REPORT: &str = "same.json";

/// Bytes of one of the run's pictures.
const FRAME: usize = 64 * 48 * 2;

/// The faults that the script injects into the run.
const SCRIPT: &str = "\
[[step]]
device = \"/dev/video0\"
frame = 3
every = 2
count = 2
lose = true
[[step]]
device = \"/dev/video0\"
frame = 20
late = \"15ms\"
[[step]]
device = \"/dev/video0\"
time = \"500ms\"
signal = \"lost\"
[[step]]
device = \"/dev/video0\"
time = \"900ms\"
signal = \"found\"
";

/// Puts the files that the run needs into a directory.
pub(super) fn prepare(dir: &Path) -> Result<()> {
    let script = dir.join("same.toml");
    std::fs::write(&script, SCRIPT).with_context(|| format!("cannot write {}", script.display()))
}

/// Returns a shell command that makes the run in a prepared directory.
/// The program is dd, which makes the same calls in every version. v4l2-ctl does not.
pub(super) fn command(vb3: &Path, dir: &str) -> String {
    let [report, trace, pictures] = FILES;
    format!(
        "cd {dir} && {vb3} run --clock virtual --machine pc --script same.toml \
         -d camera=pattern,format=YUYV,size=64x48,fps=60 --report {report} \
         --trace {trace} --trace-format json \
         -- dd if=/dev/video0 of={pictures} bs={FRAME} count=100 iflag=fullblock status=none",
        vb3 = vb3.display()
    )
}

/// Makes the same run here, and compares its files with those of another machine in `there`.
///
/// # Errors
/// A file differs, or one of the two runs wrote no files.
pub(super) fn compare(vb3: &Path, there: &Path) -> Result<()> {
    let here = there.join("here");
    std::fs::create_dir_all(&here).with_context(|| format!("cannot make {}", here.display()))?;
    prepare(&here)?;
    let dir = here.to_str().context("the path is not UTF-8")?;
    sh::quietly(Command::new("sh").arg("-c").arg(command(vb3, dir)))?;
    for name in FILES {
        let read = |dir: &Path| {
            let path = dir.join(name);
            std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
        };
        let (mut own, mut other) = (read(&here)?, read(there)?);
        if name == REPORT {
            (own, other) = (without_place(&own)?, without_place(&other)?);
        }
        if own.is_empty() || own != other {
            bail!("{name}: {}", first_difference(&own, &other));
        }
    }
    Ok(())
}

/// Returns a report without the run's directory and the notes, which depend on the machine.
fn without_place(report: &[u8]) -> Result<Vec<u8>> {
    let mut report: Value = serde_json::from_slice(report).context("the report is not JSON")?;
    let setup = report.get_mut("setup").and_then(Value::as_object_mut);
    let directory = setup.and_then(|setup| setup.remove("directory"));
    directory.context("a report that names no directory")?;
    let notes = report.as_object_mut().and_then(|all| all.remove("notes"));
    notes.context("a report without notes")?;
    Ok(serde_json::to_vec_pretty(&report)?)
}

/// Returns the first line that differs, for text. Otherwise, returns the lengths in bytes.
fn first_difference(own: &[u8], other: &[u8]) -> String {
    let text = |bytes| std::str::from_utf8(bytes).unwrap_or_default();
    let mut lines = text(own).lines().zip(text(other).lines()).enumerate();
    match lines.find(|(_, (own, other))| own != other) {
        Some((number, (own, other))) => {
            format!("line {} is {own} here and {other} there", number + 1)
        }
        None => format!("{} bytes here and {} there", own.len(), other.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::first_difference;

    #[test]
    fn the_first_difference_is_said() {
        let said = first_difference(b"a\nb\nc\n", b"a\nd\ne\n");
        assert_eq!(said, "line 2 is b here and d there");
        assert_eq!(first_difference(b"a\n", b""), "2 bytes here and 0 there");
        assert_eq!(
            first_difference(&[0xff; 3], &[0xff; 2]),
            "3 bytes here and 2 there"
        );
    }
}
