//! Measured tables, as docs/data/NAME.toml stores them.
//!
//! A file holds the table's header and the runs that measured its rows, the newest first. A new run
//! replaces the rows of the same names.

use crate::table::{self, Table};
use crate::{sh, tidy};
use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use std::path::Path;
use std::process::Command;

/// The directory, below the root.
pub(super) const DIR: &str = "docs/data";

/// The option of commands that measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Save {
    /// Store the table in docs/data; `cargo xtask docs` then copies it into its page
    #[arg(long, global = true)]
    save: bool,
}

impl Save {
    pub(crate) fn is_wanted(&self) -> bool {
        self.save
    }

    /// Measures and prints a table, and stores it if asked to.
    ///
    /// # Errors
    /// It cannot be measured or stored, or the tree differs from its commit.
    pub(crate) fn table(&self, name: &str, measure: impl FnOnce() -> Result<Table>) -> Result<()> {
        let run = self.save.then(Run::here).transpose()?;
        let (header, rows) = measure()?;
        println!("{}", table::format(&header, &rows));
        let Some(run) = run else { return Ok(()) };
        let path = sh::root().join(DIR);
        let path = path.join(format!("{}.toml", name.replace(' ', "-")));
        let mut all = match path.exists() {
            true => Measured::read(&path)?,
            false => Measured::default(),
        };
        all.add(&header, Run { rows, ..run });
        std::fs::write(&path, all.text()).with_context(|| format!("cannot write {path:?}"))
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

/// Rows that were measured together.
#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Run {
    date: String,
    commit: String,
    machine: String,
    command: String,
    /// Sentences for the page, written by hand.
    #[serde(default)]
    note: String,
    rows: Vec<Vec<String>>,
}

impl Run {
    /// A run of this command on this machine, still without rows.
    fn here() -> Result<Self> {
        let root = sh::root();
        refuse_changes(&root)?;
        let said = |program: &str, words: &[&str]| -> Result<String> {
            let out = sh::quietly(Command::new(program).args(words).current_dir(&root))?;
            Ok(String::from_utf8_lossy(&out).trim().to_owned())
        };
        let words = std::env::args_os().skip(1).filter(|word| word != "--save");
        Ok(Self {
            date: said("date", &["-u", "+%F"])?,
            commit: said("git", &["rev-parse", "--short=7", "HEAD"])?,
            machine: machine()?,
            command: sh::shown(Command::new("cargo").arg("xtask").args(words)),
            ..Self::default()
        })
    }
}

/// This machine's processors, kernel and memory.
fn machine() -> Result<String> {
    let read = |path: &str| std::fs::read_to_string(path).with_context(|| format!("no {path}"));
    let value = |text: &str, key| {
        let line = text.lines().find(|line: &&str| line.starts_with(key))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let kernel = read("/proc/sys/kernel/osrelease")?;
    let memory = value(&read("/proc/meminfo")?, "MemTotal").unwrap_or_default();
    let memory: u64 = memory.trim_end_matches(" kB").parse()?;
    let model = value(&read("/proc/cpuinfo")?, "model name");
    Ok(format!(
        "{} processors ({}), Linux {}, {} GiB",
        std::thread::available_parallelism()?,
        model.unwrap_or(std::env::consts::ARCH.to_owned()),
        kernel.trim().split('-').next().unwrap_or_default(),
        (memory >> 20) + 1,
    ))
}

/// Refuses a tree that differs from its commit: the figures would name the wrong one.
fn refuse_changes(root: &Path) -> Result<()> {
    let mut git = Command::new("git");
    git.args(["status", "--porcelain", "--", ".", ":!docs"]);
    let changes = sh::quietly(git.current_dir(root))?;
    let changes = String::from_utf8_lossy(&changes);
    let first = changes.lines().next().unwrap_or_default().trim();
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
            anyhow::bail!("{path}: {cells} cells for {columns} columns: {row:?}");
        }
        Ok(table)
    }

    /// Adds a run. It replaces older rows of the same names, or all if the columns are others.
    fn add(&mut self, header: &[&str], run: Run) {
        if self.header != header {
            self.run.clear();
            self.header = header.iter().map(|&cell| cell.to_owned()).collect();
        }
        let is_new = |old: &Vec<String>| run.rows.iter().any(|new| name(new) == name(old));
        for old in &mut self.run {
            old.rows.retain(|row| !is_new(row));
        }
        self.run.retain(|old| !old.rows.is_empty());
        self.run.insert(0, run);
    }

    /// The file's text: a line for each row.
    fn text(&self) -> String {
        let mut text = format!("header = {}\n", serde_json::json!(self.header));
        for run in &self.run {
            let Run {
                date,
                commit,
                machine,
                command,
                note,
                rows,
            } = run;
            text += "\n[[run]]\n";
            let keys = ["date", "commit", "machine", "command", "note"];
            for (key, value) in keys.iter().zip([date, commit, machine, command, note]) {
                text += &format!("{key} = {}\n", serde_json::json!(value));
            }
            let rows = rows
                .iter()
                .map(|row| format!("    {},\n", serde_json::json!(row)));
            text += &format!("rows = [\n{}]\n", rows.collect::<String>());
        }
        text
    }

    /// The table and its origin, as a page shows them; rows of several runs name their commits.
    pub(super) fn markdown(&self) -> String {
        let mut header: Vec<&str> = self.header.iter().map(String::as_str).collect();
        let commit = |run: &Run| (self.run.len() > 1).then(|| format!("`{}`", run.commit));
        header.extend((self.run.len() > 1).then_some("commit"));
        let rows = self.run.iter().flat_map(|run| {
            let rows = run.rows.iter().cloned();
            rows.map(|row| row.into_iter().chain(commit(run)).collect())
        });
        let mut text = table::markdown(&header, &rows.collect::<Vec<_>>()) + "\n";
        for run in &self.run {
            let Run {
                date,
                commit,
                machine,
                command,
                note,
                ..
            } = run;
            text +=
                &format!("\nMeasured on {date} at commit `{commit}` by `{command}`, on {machine}.");
            if !note.is_empty() {
                text += &format!("\n{note}");
            }
        }
        text
    }
}

/// The name of a row: its first cell, without the version of a kernel.
fn name(row: &[String]) -> Option<&str> {
    row.first()?.split(" (Linux").next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(commit: &str, names: &[&str]) -> Run {
        let row = |name: &&str| vec![(*name).to_owned(), "1 | \"2\"".to_owned()];
        let (commit, rows) = (commit.to_owned(), names.iter().map(row).collect());
        Run {
            commit,
            rows,
            ..Run::default()
        }
    }

    #[test]
    fn new_rows_replace_those_of_the_same_name() {
        let mut table = Measured::default();
        table.add(&["a", "b"], run("c1", &["x", "y (Linux 6.1)"]));
        table.add(&["a", "b"], run("c2", &["y (Linux 6.2)"]));
        assert_eq!(
            table.run,
            [run("c2", &["y (Linux 6.2)"]), run("c1", &["x"])]
        );
        assert!(table.markdown().contains("\n| x | 1 \\| \"2\" | `c1` |\n"));
        assert_eq!(toml::from_str::<Measured>(&table.text()).unwrap(), table);
        table.add(&["a", "b"], run("c3", &["x", "y"]));
        assert_eq!(table.run, [run("c3", &["x", "y"])]);
        assert!(table.markdown().contains("\n| x | 1 \\| \"2\" |\n"));
        table.add(&["a", "c"], run("c4", &["x"]));
        assert_eq!(table.run, [run("c4", &["x"])]);
    }

    #[test]
    fn malformed_data_name_the_file_and_the_line() {
        let dir = sh::target().join(format!("docs-test-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("bench.toml");
        let said = |text: &str| {
            std::fs::write(&path, text).unwrap();
            format!("{:#}", Measured::read(&path).unwrap_err())
        };
        let (syntax, key) = (
            said("header = []\nrun = [\n"),
            said("header = []\n\nrows = 1\n"),
        );
        let cells = Measured {
            header: Vec::new(),
            run: vec![run("", &["x"])],
        };
        let cells = said(&cells.text());
        std::fs::remove_dir_all(&dir).unwrap();
        assert!(
            syntax.contains("bench.toml") && syntax.contains("line 2"),
            "{syntax}"
        );
        assert!(
            key.contains("bench.toml") && key.contains("line 3"),
            "{key}"
        );
        assert!(
            cells.contains("bench.toml: 2 cells for 0 columns: [\"x\""),
            "{cells}"
        );
    }

    #[test]
    fn a_tree_with_changes_outside_docs_is_refused() {
        let dir = std::env::temp_dir().join(format!("docs-tree-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("docs")).unwrap();
        let init = sh::quietly(Command::new("git").arg("init").current_dir(&dir));
        std::fs::write(dir.join("docs/page.md"), "").unwrap();
        let clean = refuse_changes(&dir);
        std::fs::write(dir.join("code.rs"), "").unwrap();
        let dirty = refuse_changes(&dir);
        std::fs::remove_dir_all(&dir).unwrap();
        init.and(clean).unwrap();
        let said = dirty.unwrap_err().to_string();
        assert!(said.contains("(?? code.rs): commit first"), "{said}");
    }

    #[test]
    fn a_machine_has_processors_kernel_and_memory() {
        let said = machine().unwrap();
        assert!(
            said.contains(" processors (") && said.contains("Linux "),
            "{said}"
        );
    }
}
