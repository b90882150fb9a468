//! Running other programs, and the directories of this project.

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Returns the root of the tree.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map_or_else(PathBuf::new, Path::to_path_buf)
}

/// Returns cargo's target directory.
pub(crate) fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => root().join(dir),
        None => root().join("target"),
    }
}

/// Returns the directory for downloads. It is outside the tree, so that it outlives the tree.
///
/// # Errors
/// Neither XDG_CACHE_HOME nor HOME is set.
pub(crate) fn cache() -> Result<PathBuf> {
    let base = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache")));
    let base = base.context("neither XDG_CACHE_HOME nor HOME is set; there is no cache to use")?;
    Ok(base.join("videobuf3"))
}

/// Returns a command as one would type it.
pub(crate) fn shown(command: &Command) -> String {
    let quote = |word: &OsStr| {
        let word = word.to_string_lossy();
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_=/.,:+%@".contains(c);
        if !word.is_empty() && word.chars().all(plain) {
            word.into_owned()
        } else {
            format!("'{}'", word.replace('\'', r"'\''"))
        }
    };
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(quote)
        .collect::<Vec<_>>()
        .join(" ")
}

/// Prints a command, and runs it. Its output is shown.
///
/// # Errors
/// The command cannot be started, or fails.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let text = shown(command);
    eprintln!("+ {text}");
    let status = command
        .status()
        .with_context(|| format!("cannot run {text}"))?;
    if !status.success() {
        bail!("{text} failed: {status}");
    }
    Ok(())
}

/// Runs a command without output. If it fails, its output is part of the error.
///
/// # Errors
/// The command cannot be started, or fails.
pub(crate) fn quietly(command: &mut Command) -> Result<Vec<u8>> {
    let text = shown(command);
    let out = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {text}"))?;
    if !out.status.success() {
        let said = String::from_utf8_lossy(&out.stderr);
        bail!("{text} failed: {}\n{}", out.status, said.trim_end());
    }
    Ok(out.stdout)
}

/// Runs a command without output. Returns what it printed, trimmed.
///
/// # Errors
/// As [`quietly`]; or what it printed is not UTF-8.
pub(crate) fn text(command: &mut Command) -> Result<String> {
    let text = String::from_utf8(quietly(command)?);
    let text = text.with_context(|| format!("{} printed no UTF-8", shown(command)))?;
    Ok(text.trim().to_owned())
}

/// Returns a command that runs cargo in the root of the tree.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root());
    cargo
}

/// Returns whether a program is in the search path.
pub(crate) fn has(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).is_file()))
}

/// Returns whether rustc has the libraries of a target.
pub(crate) fn has_target(target: &str) -> bool {
    let mut rustc = Command::new("rustc");
    rustc.args(["--print", "target-libdir", "--target", target]);
    text(&mut rustc).is_ok_and(|dir| Path::new(&dir).is_dir())
}

/// Returns the packages of the workspace, as cargo describes them.
///
/// # Errors
/// Cargo fails.
pub(crate) fn packages() -> Result<Vec<Value>> {
    let metadata = quietly(cargo().args(["metadata", "--no-deps", "--format-version=1"]))?;
    let metadata: Value = serde_json::from_slice(&metadata).context("cargo metadata")?;
    Ok(metadata["packages"].as_array().cloned().unwrap_or_default())
}

/// Makes a directory, or empties it if it exists.
///
/// # Errors
/// The directory cannot be removed or made.
pub(crate) fn fresh(dir: &Path) -> Result<()> {
    if dir.exists() {
        std::fs::remove_dir_all(dir).with_context(|| format!("cannot empty {}", dir.display()))?;
    }
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))
}

/// Builds vb3 and vb3-codec with optimisation. Returns the path of vb3.
///
/// # Errors
/// The build fails.
pub(crate) fn release_vb3() -> Result<PathBuf> {
    let built = target().join("release").join("vb3");
    if built.exists() {
        quietly(cargo().args(["build", "--release", "--quiet", "--package", "vb3"]))?;
    } else {
        run(cargo().args(["build", "--release", "--package", "vb3"]))?;
    }
    Ok(built)
}
