//! `vb3 why`: explains the problems of the last run in a table and sentences.

use crate::report::{FORMAT, Report};
use crate::sentence::{self, Sentence};
use anyhow::{Context as _, Result, anyhow, bail};
use std::ffi::OsString;
use std::fs::File;
use std::io::{Read as _, Write};
use std::path::{Path, PathBuf};

/// Maximum size of a report, in bytes. A run's report has a few MiB at most.
const MAX_REPORT: u64 = 256 << 20;

/// Returns the path of the last run's report: `$XDG_STATE_HOME/vb3/last.json`, or
/// `~/.local/state/vb3/last.json`. `None` without a home directory.
#[must_use]
pub fn last_report_path() -> Option<PathBuf> {
    state_path(std::env::var_os("XDG_STATE_HOME"), std::env::var_os("HOME"))
}

fn state_path(state: Option<OsString>, home: Option<OsString>) -> Option<PathBuf> {
    let absolute = |dir: OsString| Some(PathBuf::from(dir)).filter(|dir| dir.is_absolute());
    let state = state.and_then(absolute).or_else(|| {
        home.and_then(absolute)
            .map(|home| home.join(".local/state"))
    })?;
    Some(state.join("vb3").join("last.json"))
}

/// Stores a report for `vb3 why`.
///
/// # Errors
/// The directory or file cannot be written.
pub fn keep(report: &Report, path: &Path) -> Result<()> {
    if let Some(dir) = path.parent() {
        make_private(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    }
    let half = path.with_extension(format!("json.{}", std::process::id()));
    let replaced =
        || replace(&half, path).with_context(|| format!("cannot write {}", path.display()));
    report
        .write(&half)
        .and_then(|()| replaced())
        .inspect_err(|_| {
            // Removes the incomplete file.
            let _ = std::fs::remove_file(&half);
        })
}

/// Makes a directory that only this user can read. Its parents get the usual mode.
fn make_private(dir: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
    if let Some(parent) = dir.parent() {
        std::fs::create_dir_all(parent)?;
    }
    match std::fs::DirBuilder::new().mode(0o700).create(dir) {
        // An earlier version made a directory that others can read.
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
            std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700))
        }
        made => made,
    }
}

/// Replaces a file by another in one step, so no reader sees half of it.
///
/// It exchanges the two files and deletes the old one. With a plain rename, ext4 and btrfs would first write
/// the new file's data to the disk. That would take milliseconds at the end of each run.
fn replace(new: &Path, old: &Path) -> std::io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    if renameat_with(CWD, new, CWD, old, RenameFlags::EXCHANGE).is_ok() {
        return std::fs::remove_file(new);
    }
    // There is no old file, or the file system cannot exchange files.
    std::fs::rename(new, old)
}

/// Reads a report.
///
/// # Errors
/// The file is missing, damaged, or not a report. The message says which, and what to do.
pub fn load(path: &Path) -> Result<Report> {
    let shown = path.display();
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_REPORT + 1).read_to_end(&mut bytes));
    match read {
        Ok(len) if len as u64 > MAX_REPORT => {
            bail!(
                "{shown} has more than {}, too much for a report",
                sentence::bytes(MAX_REPORT)
            )
        }
        Ok(_) => {}
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => bail!(
            "there is no report {shown}{}; `vb3 run -- PROGRAM` keeps one for `vb3 why`, and \
             --report FILE.json writes one",
            guess(path)
        ),
        Err(e) => return Err(e).with_context(|| format!("cannot read {shown}")),
    }
    if bytes.trim_ascii_start().starts_with(b"<") {
        bail!(
            "{shown} is an HTML page, not a JSON report{}; --report FILE.json writes \
             one",
            guess(path)
        );
    }
    parse(&bytes).with_context(|| format!("{shown} is not a report{}", guess(path)))
}

/// Parses a report.
///
/// # Errors
/// The text is not a report. The message says what is wrong and what is allowed.
fn parse(bytes: &[u8]) -> Result<Report> {
    const WRITES: &str = "`vb3 run --report FILE.json -- PROGRAM` writes a report";
    if bytes.trim_ascii().is_empty() {
        bail!("it is empty: the run has not ended or was killed; {WRITES}");
    }
    let value: serde_json::Value =
        serde_json::from_slice(bytes).map_err(|e| match e.classify() {
            serde_json::error::Category::Eof => anyhow!(
                "it is cut off at line {}, after {} bytes; {WRITES}",
                e.line(),
                bytes.len()
            ),
            _ => anyhow!(
                "it is not JSON at line {}, column {}; {WRITES}",
                e.line(),
                e.column()
            ),
        })?;
    match value.get("format").and_then(serde_json::Value::as_u64) {
        Some(format) if format == u64::from(FORMAT) => {}
        Some(format) => bail!(
            "it has format {format}, and this vb3 ({}) reads format {FORMAT}",
            env!("CARGO_PKG_VERSION")
        ),
        None => bail!("it is JSON without the field \"format\" that reports have; {WRITES}"),
    }
    serde_json::from_value(value).map_err(|e| anyhow!("a field is wrong: {e}; {WRITES}"))
}

/// If there is a file of that name with the ending `.json`, returns a suggestion to use it.
fn guess(path: &Path) -> String {
    let other = path.with_extension("json");
    match other != path && other.is_file() {
        true => format!(" (did you mean {}?)", other.display()),
        false => String::new(),
    }
}

/// Reads the report at `path`, or the last run's.
///
/// # Errors
/// As [`load`]; or no report was stored.
pub fn load_or_last(path: Option<&Path>) -> Result<Report> {
    match path {
        Some(path) => load(path),
        None => load(
            &last_report_path()
                .context("neither XDG_STATE_HOME nor HOME is set, so no report was kept")?,
        ),
    }
}

/// If the last run ended in the user's directory and less than this number of seconds ago, `vb3 why` assumes that the
/// user means this run, and does not say which run it explains.
const RECENT: u64 = 600;

/// Says when and where the last run ended; `None` if it ended recently and in this directory.
///
/// The user would otherwise take a run from another terminal for the last one in this terminal.
#[must_use]
pub fn when_and_where(report: &Report) -> Option<String> {
    let kept = last_report_path()?.metadata().ok()?.modified().ok()?;
    let seconds = kept.elapsed().unwrap_or_default().as_secs();
    let here = std::env::current_dir().unwrap_or_default();
    if seconds < RECENT && Path::new(&report.setup.directory) == here {
        return None;
    }
    let ago = match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    };
    Some(format!(
        "this is the last run, {ago} ago in {}",
        report.setup.directory
    ))
}

/// Prints the table of devices, the verdict, and each problem with its remedy.
///
/// # Errors
/// `out` cannot be written.
pub fn print(report: &Report, out: &mut dyn Write) -> std::io::Result<()> {
    let Report {
        machine,
        seed,
        exit_status,
        program,
        setup,
        ..
    } = report;
    if !report.error.is_empty() {
        writeln!(out, "{}", sentence::verdict(report).text)?;
        return writeln!(out, "\n{}", program.join(" "));
    }
    table(report, out)?;
    writeln!(out, "\n{}", sentence::verdict(report).text)?;
    writeln!(out, "\n{}", program.join(" "))?;
    writeln!(
        out,
        "  on machine {machine}, seed {seed}: exit status {exit_status}"
    )?;
    let file = &setup.script_file;
    for said in sentence::script(file, &report.script) {
        writeln!(out, "\n{said}.")?;
    }
    left_out(report.script_left_out, "events of the script", out)?;
    for missed in &report.script_missed {
        writeln!(out, "\n{}.", sentence::missed_step(file, missed))?;
    }
    let programs = sentence::known(program);
    let refusals = report.refusals.iter();
    for said in refusals.map(|refusal| sentence::refusal(refusal, &programs)) {
        write_problem(&said, out)?;
    }
    left_out(report.refusals_left_out, "refusals", out)?;
    for said in report.missing_syncs.iter().map(sentence::missing_sync) {
        write_problem(&said, out)?;
    }
    left_out(report.missing_syncs_left_out, "missing syncs", out)?;
    for said in report.early_accesses.iter().map(sentence::early_access) {
        write_problem(&said, out)?;
    }
    left_out(report.early_accesses_left_out, "early accesses", out)?;
    for failure in &report.failures {
        writeln!(out, "\n{}", sentence::failure(failure))?;
    }
    left_out(report.failures_left_out, "failures", out)?;
    for note in &report.notes {
        writeln!(out, "\nnote: {note}")?;
    }
    let names: Vec<String> = report.problem_names().into_iter().collect();
    if !names.is_empty() {
        writeln!(
            out,
            "\n`vb3 run --strict --allow {}` allows these.",
            names.join(",")
        )?;
    }
    Ok(())
}

/// Prints the devices in columns: text left-aligned, numbers right-aligned.
fn table(report: &Report, out: &mut dyn Write) -> std::io::Result<()> {
    let table = sentence::table(report);
    let width = |column: usize| table.lines.iter().map(|line| line[column].len()).max();
    let widths: [usize; 6] = std::array::from_fn(|column| width(column).unwrap_or(0));
    for line in &table.lines {
        let cells = line.iter().zip(widths).enumerate();
        let cells = cells.map(|(column, (cell, width))| match column {
            0 | 1 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        writeln!(out, "{}", cells.collect::<Vec<_>>().join("  "))?;
    }
    if !table.unused.is_empty() {
        writeln!(out, "not used: {}", table.unused.join(", "))?;
    }
    Ok(())
}

/// Prints how many entries are missing because of the report's limit.
fn left_out(count: u64, what: &str, out: &mut dyn Write) -> std::io::Result<()> {
    match count {
        0 => Ok(()),
        more => writeln!(out, "\n{more} further {what} are not listed."),
    }
}

fn write_problem(said: &Sentence, out: &mut dyn Write) -> std::io::Result<()> {
    writeln!(out, "\n{}.\n  hint: {}.", said.what, said.hint)
}

#[cfg(test)]
mod tests;
