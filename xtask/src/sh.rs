//! Running other programs, and the directories of this project.

use anyhow::{Context as _, Result, bail, ensure};
use fs_err as fs;
use serde_json::Value;
use std::borrow::BorrowMut;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Makes a command from a line. In the line, `{path}` is one argument, and `{words...}` are several.
macro_rules! cmd {
    ($line:literal) => {{
        // Its commands run in the current directory.
        let shell = xshell::Shell::new().expect("the current directory exists");
        std::process::Command::from(xshell::cmd!(shell, $line))
    }};
}
pub(crate) use cmd;

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map_or_else(PathBuf::new, Path::to_path_buf)
}

pub(crate) fn target() -> PathBuf {
    let dir = std::env::var_os("CARGO_TARGET_DIR");
    root().join(dir.unwrap_or_else(|| "target".into()))
}

/// Makes a directory for downloads, and returns its path. The directory is outside the source tree, so it stays when
/// the tree is removed.
pub(crate) fn cache(part: &str) -> Result<PathBuf> {
    let base = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let base = base.or_else(|| Some(std::env::home_dir()?.join(".cache")));
    let base = base.context("neither XDG_CACHE_HOME nor HOME is set; there is no cache to use")?;
    let dir = base.join("videobuf3").join(part);
    fs::create_dir_all(&dir)?;
    Ok(dir)
}

/// Returns a command as one would type it.
pub(crate) fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words = words.map(|word| word.to_string_lossy().into_owned());
    let words: Vec<String> = words.collect();
    shlex::try_join(words.iter().map(String::as_str)).unwrap_or_else(|_| words.join(" "))
}

/// Prints a command, and runs it. Its output is shown.
pub(crate) fn run(mut command: impl BorrowMut<Command>) -> Result<()> {
    let command = command.borrow_mut();
    let text = shown(command);
    eprintln!("+ {text}");
    let status = command.status();
    let status = status.with_context(|| format!("cannot run {text}"))?;
    ensure!(status.success(), "{text} failed: {status}");
    Ok(())
}

/// Runs a command without output. If it fails, its output is part of the error.
pub(crate) fn quietly(mut command: impl BorrowMut<Command>) -> Result<Vec<u8>> {
    let command = command.borrow_mut();
    let text = shown(command);
    let out = command.stdin(Stdio::null()).output();
    let out = out.with_context(|| format!("cannot run {text}"))?;
    if !out.status.success() {
        let said = String::from_utf8_lossy(&out.stderr);
        bail!("{text} failed: {}\n{}", out.status, said.trim_end());
    }
    Ok(out.stdout)
}

/// Runs a command like [`quietly`]. Returns what it printed, trimmed.
pub(crate) fn text(mut command: impl BorrowMut<Command>) -> Result<String> {
    let command = command.borrow_mut();
    let text = String::from_utf8(quietly(&mut *command)?);
    let text = text.with_context(|| format!("{} printed no UTF-8", shown(command)))?;
    Ok(text.trim().to_owned())
}

/// Returns a command that runs cargo in the root of the tree. No word of `line` may contain a blank.
pub(crate) fn cargo(line: &str) -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root()).args(line.split_whitespace());
    cargo
}

pub(crate) fn has(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).is_file()))
}

/// Installs a tool of cargo once.
pub(crate) fn cargo_tool(name: &str) -> Result<()> {
    match has(name) {
        true => Ok(()),
        false => run(cargo("install --locked").arg(name)),
    }
}

/// Returns whether rustc has the libraries of a target.
pub(crate) fn has_target(target: &str) -> bool {
    let dir = text(cmd!("rustc --print target-libdir --target {target}"));
    dir.is_ok_and(|dir| Path::new(&dir).is_dir())
}

/// Calls `cargo metadata` with the words of `line`, and returns the packages that it describes.
pub(crate) fn packages(line: &str) -> Result<Vec<Value>> {
    let out = quietly(cargo("metadata --format-version=1").args(line.split_whitespace()))?;
    let mut metadata: Value = serde_json::from_slice(&out).context("cargo metadata")?;
    serde_json::from_value(metadata["packages"].take()).context("cargo metadata")
}

/// Calls `cargo metadata` with the words of `line`, and returns a package's field, which must be a text.
pub(crate) fn field(line: &str, package: &str, field: &str) -> Result<String> {
    let packages = packages(line)?;
    let found = packages.iter().find(|found| found["name"] == package);
    let text = found.and_then(|found| found[field].as_str());
    text.map(str::to_owned)
        .with_context(|| format!("cargo knows no {field} of {package}"))
}

/// Makes a directory, or empties it if it exists.
pub(crate) fn fresh(dir: &Path) -> Result<()> {
    if dir.exists() {
        fs::remove_dir_all(dir)?;
    }
    Ok(fs::create_dir_all(dir)?)
}

pub(crate) fn copy_files(from: &Path, to: &Path) -> Result<()> {
    quietly(cmd!("cp -rT {from} {to}")).map(drop)
}

/// Prints the faults that a task has found.
pub(crate) fn expect_none(task: &str, faults: &[String]) -> Result<()> {
    for fault in faults {
        eprintln!("{task}: {fault}");
    }
    ensure!(faults.is_empty(), "{} faults", faults.len());
    Ok(())
}

/// Builds vb3 and vb3-codec with optimisation. Returns the path of vb3.
pub(crate) fn release_vb3() -> Result<PathBuf> {
    run(&mut cargo("build --release --package vb3"))?;
    Ok(target().join("release/vb3"))
}
