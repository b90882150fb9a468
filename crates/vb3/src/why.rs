//! `vb3 why`: the last run's refusals as sentences.

use crate::report::Report;
use crate::sentence::{self, Sentence};
use anyhow::{Context as _, Result};
use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Where the last run's report is kept: `$XDG_STATE_HOME/vb3/last.json`, or
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

/// Keeps a report for `vb3 why`.
///
/// # Errors
/// The directory or file cannot be written.
pub fn keep(report: &Report, path: &Path) -> Result<()> {
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    }
    // A reader sees the old report or the new one, never half of one.
    let half = path.with_extension(format!("json.{}", std::process::id()));
    report.write(&half)?;
    std::fs::rename(&half, path).with_context(|| format!("cannot write {}", path.display()))
}

/// Reads a report.
///
/// # Errors
/// The file is missing, or no report; the text says which file and what to do.
pub fn load(path: &Path) -> Result<Report> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            anyhow::bail!(
                "there is no report at {}; `vb3 run -- PROGRAM` makes one",
                path.display()
            )
        }
        Err(e) => return Err(e).with_context(|| format!("cannot read {}", path.display())),
    };
    serde_json::from_str(&text).with_context(|| format!("{} is no vb3 report", path.display()))
}

/// Reads the report of that name, or the last run's.
///
/// # Errors
/// As [`load`]; no report was kept.
pub fn load_or_last(path: Option<&Path>) -> Result<Report> {
    match path {
        Some(path) => load(path),
        None => load(
            &last_report_path()
                .context("neither XDG_STATE_HOME nor HOME is set, so no report was kept")?,
        ),
    }
}

/// Prints what was refused, missed and kept, and what to do.
///
/// # Errors
/// `out` cannot be written.
pub fn print(report: &Report, out: &mut dyn Write) -> std::io::Result<()> {
    let Report {
        machine,
        seed,
        exit_status,
        program,
        ..
    } = report;
    writeln!(out, "{}", program.join(" "))?;
    writeln!(
        out,
        "  on machine {machine}, seed {seed}: exit status {exit_status}"
    )?;
    let mut quiet = true;
    for said in sentence::script(&report.script) {
        writeln!(out, "\n{said}.")?;
        quiet = false;
    }
    left_out(report.script_left_out, "events of the script", out)?;
    let programs = sentence::known(program);
    let refusals = report.refusals.iter();
    for said in refusals.map(|refusal| sentence::refusal(refusal, &programs)) {
        tell(&said, out)?;
        quiet = false;
    }
    left_out(report.refusals_left_out, "refusals", out)?;
    for said in report.missing_syncs.iter().map(sentence::missing_sync) {
        tell(&said, out)?;
        quiet = false;
    }
    left_out(report.missing_syncs_left_out, "missing syncs", out)?;
    for said in report.early_accesses.iter().map(sentence::early_access) {
        tell(&said, out)?;
        quiet = false;
    }
    left_out(report.early_accesses_left_out, "early accesses", out)?;
    for failure in &report.failures {
        writeln!(out, "\n{}", sentence::failure(failure))?;
        quiet = false;
    }
    left_out(report.failures_left_out, "failures", out)?;
    if let Some(held) = sentence::held(&report.held) {
        writeln!(out, "\n{held}.")?;
        quiet = false;
    }
    for note in &report.notes {
        writeln!(out, "\nnote: {note}")?;
    }
    if quiet {
        writeln!(
            out,
            "\nNothing was refused, no cache sync was missing, nothing is held."
        )?;
    }
    Ok(())
}

/// Says how many of a kind found no room in the report.
fn left_out(count: u64, what: &str, out: &mut dyn Write) -> std::io::Result<()> {
    match count {
        0 => Ok(()),
        more => writeln!(out, "\n{more} further {what} are not listed."),
    }
}

fn tell(said: &Sentence, out: &mut dyn Write) -> std::io::Result<()> {
    writeln!(out, "\n{}.\n  hint: {}.", said.what, said.hint)
}

#[cfg(test)]
mod tests;
