//! Measured tables, as docs/data/NAME.toml stores them.
//!
//! A file holds the table's header and the runs that measured its rows, the newest first. A new run
//! replaces the rows of the same names.

use crate::sh::{self, cmd};
use crate::table::{self, Table};
use crate::tidy;
use anyhow::{Result, bail, ensure};
use fs_err as fs;
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::path::Path;

pub(super) const DIR: &str = "docs/data";

/// The option of commands that measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Save {
    /// Store the table in docs/data; `cargo xtask tidy --write` then copies it into its page
    #[arg(long)]
    pub(crate) save: bool,
}

impl Save {
    pub(crate) fn table(&self, name: &str, measure: impl FnOnce() -> Result<Table>) -> Result<()> {
        let run = self.save.then(Run::here).transpose()?;
        let measured = measure()?;
        table::print(&measured);
        let (header, rows) = measured;
        let Some(run) = run else { return Ok(()) };
        let path = sh::root().join(format!("{DIR}/{}.toml", name.replace(' ', "-")));
        let mut all = match path.exists() {
            true => Measured::read(&path)?,
            false => Measured::default(),
        };
        all.add(&header, Run { rows, ..run });
        Ok(fs::write(&path, all.text()?)?)
    }
}

/// A table and the runs that measured it.
#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub(super) struct Measured {
    header: Vec<String>,
    #[serde(default)]
    run: Vec<Run>,
}

#[derive(Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
struct Run {
    date: String,
    commit: String,
    machine: String,
    command: String,
    /// Sentences for the page, written by hand.
    #[serde(default)]
    note: String,
    #[serde(skip_serializing)]
    rows: Vec<Vec<String>>,
}

impl Run {
    /// Returns a run of this command on this machine, without rows yet.
    fn here() -> Result<Self> {
        refuse_changes(&sh::root())?;
        let said = |script| sh::text(cmd!("sh -c {script}").current_dir(sh::root()));
        let words = std::env::args_os().skip(1).filter(|word| word != "--save");
        let words: Vec<OsString> = words.collect();
        Ok(Self {
            date: said("date -u +%F")?,
            commit: said("git rev-parse --short=7 HEAD")?,
            machine: said(MACHINE)?,
            command: sh::shown(&cmd!("cargo xtask {words...}")),
            ..Self::default()
        })
    }
}

/// Prints this machine's processors, kernel and memory.
const MACHINE: &str = r#"
    model=$(sed -n '/^model name/{s/.*: //p;q}' /proc/cpuinfo)
    kernel=$(uname -r)
    kib=$(sed -n 's/MemTotal: *\([0-9]*\) kB/\1/p' /proc/meminfo)
    echo "$(nproc) processors (${model:-$(uname -m)}), Linux ${kernel%%-*}, $((kib / 1048576 + 1)) GiB"
"#;

/// Fails if the tree differs from its commit, because the figures would name the wrong commit.
fn refuse_changes(root: &Path) -> Result<()> {
    let mut git = cmd!("git status --porcelain -- . :!docs");
    let changes = sh::text(git.current_dir(root))?;
    let first = changes.lines().next().unwrap_or_default();
    ensure!(
        first.is_empty(),
        "--save stores the commit with the figures, and the tree differs from it ({first}): commit first"
    );
    Ok(())
}

impl Measured {
    pub(super) fn read(path: &Path) -> Result<Self> {
        let table: Self = super::read(path)?;
        let mut rows = table.run.iter().flat_map(|run| &run.rows);
        if let Some(row) = rows.find(|row| row.len() != table.header.len()) {
            let (cells, columns) = (row.len(), table.header.len());
            let path = tidy::shown(path);
            bail!("{path}: a row has {cells} cells and the header {columns}: {row:?}");
        }
        Ok(table)
    }

    /// Adds a run. Its rows replace older rows of the same names, or all rows if the columns differ.
    fn add(&mut self, header: &[String], run: Run) {
        if self.header != header {
            self.run.clear();
            self.header = header.to_owned();
        }
        let is_new = |old: &Vec<String>| run.rows.iter().any(|new| name(new) == name(old));
        for old in &mut self.run {
            old.rows.retain(|row| !is_new(row));
        }
        self.run.retain(|old| !old.rows.is_empty());
        self.run.insert(0, run);
    }

    /// Returns the text of the file, with one line for each row.
    fn text(&self) -> Result<String> {
        let mut text = format!("header = {}\n", serde_json::json!(self.header));
        for run in &self.run {
            let line = |row| format!("    {},\n", serde_json::json!(row));
            let rows: String = run.rows.iter().map(line).collect();
            let fields = toml::to_string(run)?;
            text += &format!("\n[[run]]\n{fields}rows = [\n{rows}]\n");
        }
        Ok(text)
    }

    /// Returns the table and its origin, for a page. Rows of a run that have equal verdicts become one row.
    /// If there are several runs, rows name their commits.
    pub(super) fn markdown(&self) -> String {
        let mut header: Vec<&str> = self.header.iter().map(String::as_str).collect();
        let commit = |run: &Run| (self.run.len() > 1).then(|| format!("`{}`", run.commit));
        header.extend((self.run.len() > 1).then_some("commit"));
        let rows = self.run.iter().flat_map(|run| {
            let rows = joined(&run.rows).into_iter();
            rows.map(|row| row.into_iter().chain(commit(run)).collect())
        });
        let mut text = table::markdown(&header, &rows.collect::<Vec<_>>()) + "\n";
        for run in &self.run {
            text += &format!("\nMeasured on {} at `{}` by ", run.date, run.commit);
            text += &format!("`{}`, on {}.\n{}", run.command, run.machine, run.note);
        }
        text.trim_end().to_owned()
    }
}

/// Returns the rows of a run. Rows that differ only in their first cell become one row with all their first
/// cells. Rows with figures stay apart, since figures are equal only by chance.
fn joined(rows: &[Vec<String>]) -> Vec<Vec<String>> {
    let has_figure = |row: &[String]| {
        let mut cells = row.iter().skip(1);
        cells.any(|cell| cell.contains(|c: char| c.is_ascii_digit()))
    };
    let mut joined: Vec<Vec<String>> = Vec::new();
    for row in rows {
        let same = joined.iter_mut().find(|old| old.get(1..) == row.get(1..));
        let same = same.filter(|_| !has_figure(row));
        match (same.and_then(|old| old.first_mut()), row.first()) {
            (Some(names), Some(name)) => *names += &format!(", {name}"),
            _ => joined.push(row.clone()),
        }
    }
    joined
}

/// Returns the name of a row: its first cell, without the version of a kernel.
fn name(row: &[String]) -> Option<&str> {
    row.first()?.split(" (Linux").next()
}
