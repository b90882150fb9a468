//! `cargo xtask sim`: runs the simulation, and shows that it finds planted errors.

use crate::{sh, table};
use anyhow::{Context as _, Result, bail};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Arguments of `sim`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Break the stack by each patch of `crates/sim/planted`, and expect that a seed fails
    #[arg(long)]
    planted: bool,
    /// Arguments of `vb3-sim`; with `--planted`, names of patches
    #[arg(
        value_name = "ARGS",
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    rest: Vec<String>,
}

/// Number of seeds that are run with each patch. The first failing seed ends the run.
const SEEDS: &str = "10000";

/// Maximum length of a failure's description in the table.
const MAX_CHARS: usize = 100;

/// Runs seeds, or the patches with planted errors.
///
/// # Errors
/// A seed fails, a planted error is not found, or a build fails.
pub(crate) fn run(args: &Args) -> Result<()> {
    if args.planted {
        return planted(&args.rest);
    }
    let mut command = sh::cargo();
    command.args(["run", "--release", "-q", "-p", "vb3-sim", "--"]);
    sh::run(command.args(&args.rest))
}

/// A git worktree that is removed when this is dropped.
struct Tree(PathBuf);

impl Tree {
    fn new(path: PathBuf) -> Result<Self> {
        let tree = Self(path);
        tree.remove();
        let mut add = git(&sh::root());
        add.args(["worktree", "add", "-q", "--detach"]);
        sh::quietly(add.arg(&tree.0).arg("HEAD"))?;
        Ok(tree)
    }

    fn remove(&self) {
        // This fails if the worktree does not exist.
        let mut remove = git(&sh::root());
        remove.args(["worktree", "remove", "--force"]).arg(&self.0);
        let _ = remove.stderr(Stdio::null()).status();
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        self.remove();
    }
}

fn git(tree: &Path) -> Command {
    let mut git = Command::new("git");
    git.arg("-C").arg(tree);
    git
}

/// Returns the patches with the given names, or all patches.
fn patches(names: &[String]) -> Result<Vec<PathBuf>> {
    let dir = sh::root().join("crates/sim/planted");
    let mut all = Vec::new();
    for entry in std::fs::read_dir(&dir).with_context(|| dir.display().to_string())? {
        let path = entry?.path();
        let is_named = names.is_empty() || names.contains(&stem(&path));
        if is_named && path.extension().is_some_and(|ext| ext == "patch") {
            all.push(path);
        }
    }
    all.sort();
    if all.is_empty() {
        bail!("{} has no such patch", dir.display());
    }
    Ok(all)
}

fn stem(path: &Path) -> String {
    path.file_stem()
        .map_or_else(String::new, |stem| stem.to_string_lossy().into_owned())
}

/// Applies each patch to the last commit's tree, and runs seeds with it.
fn planted(names: &[String]) -> Result<()> {
    let patches = patches(names)?;
    let tree = Tree::new(sh::target().join("sim-planted"))?;
    let sound = sh::target().join("vb3-sim-sound");
    std::fs::copy(build(&tree.0)?, &sound)?;
    let mut rows = Vec::new();
    let mut missed = 0;
    for patch in &patches {
        sh::quietly(git(&tree.0).args(["apply", "-C1"]).arg(patch))?;
        let failure = failure(&build(&tree.0)?, &["--seeds", SEEDS])?;
        sh::quietly(git(&tree.0).args(["checkout", "-q", "."]))?;
        if let Some(line) = &failure {
            expect_sound(&sound, line)?;
        }
        missed += usize::from(failure.is_none());
        let found = failure.unwrap_or_else(|| "nothing".to_owned());
        let found: String = found.chars().take(MAX_CHARS).collect();
        eprintln!("{}: {found}", stem(patch));
        rows.push(vec![stem(patch), found]);
    }
    println!("{}", table::format(&["planted error", "found by"], &rows));
    if missed > 0 {
        bail!("{missed} planted errors were not found in {SEEDS} seeds");
    }
    Ok(())
}

/// Builds a tree's simulation, and returns the program's path.
///
/// Everything is built inside the tree. Cargo gives the packages of all trees the same names: in a shared
/// directory, it would use a library with a planted error for the sound one.
fn build(tree: &Path) -> Result<PathBuf> {
    let target = tree.join("target");
    let mut build = sh::cargo();
    build.args(["build", "-q", "-p", "vb3-sim"]);
    build.env("CARGO_TARGET_DIR", &target);
    sh::quietly(build.current_dir(tree))?;
    Ok(target.join("debug/vb3-sim"))
}

/// Runs seeds, and returns the message of the first failing one.
fn failure(program: &Path, args: &[&str]) -> Result<Option<String>> {
    let mut command = Command::new(program);
    let out = command.args(args).arg("--brief").stdin(Stdio::null());
    let out = out.output()?;
    let said = String::from_utf8_lossy(&out.stdout);
    match out.status.code() {
        Some(0) => Ok(None),
        Some(1) => Ok(said.lines().next().map(str::to_owned)),
        _ => bail!("vb3-sim failed: {}", out.status),
    }
}

/// Checks that the seed of a failure passes without the planted error.
fn expect_sound(program: &Path, line: &str) -> Result<()> {
    let seed = line.split(' ').nth(1).unwrap_or_default();
    match failure(program, &["--seeds", "1", "--from", seed])? {
        Some(line) => bail!("without a planted error, {line}"),
        None => Ok(()),
    }
}
