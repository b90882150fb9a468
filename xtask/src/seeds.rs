//! `cargo xtask nightly "planted errors"`: shows that the simulation finds errors.

use crate::sh::{self, cmd};
use crate::{table, tidy};
use anyhow::{Result, bail, ensure};
use fs_err as fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// Number of seeds that are run with each patch. The first failing seed ends the run.
const SEEDS: &str = "10000";

/// Maximum length of a failure's description in the table.
const MAX_CHARS: usize = 100;

fn stem(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default();
    stem.to_string_lossy().into_owned()
}

/// Applies each patch of `crates/testing/seeds/planted` to the last commit's tree, and expects that a seed fails.
pub(crate) fn planted() -> Result<()> {
    let patches = tidy::files(&sh::root().join("crates/testing/seeds/planted"), "patch")?;
    let place = &sh::target().join("seeds-planted");
    let sound = sh::target().join("vb3-seeds-sound");
    sh::fresh(place)?;
    let extract = "git archive HEAD | tar -x -C \"$1\"";
    sh::quietly(cmd!("sh -euc {extract} sh {place}").current_dir(sh::root()))?;
    // The tree lies inside this repository, but git must apply the patch to the tree, not to the repository.
    let apply = |how: &[&str], patch: &Path| {
        let mut git = cmd!("git apply -C1 {how...} {patch}");
        git.env("GIT_CEILING_DIRECTORIES", sh::target());
        sh::quietly(git.current_dir(place))
    };
    fs::copy(build(place)?, &sound)?;
    let (mut rows, mut missed) = (Vec::new(), 0);
    for patch in &patches {
        apply(&[], patch)?;
        let failure = failure(&build(place)?, &["--seeds", SEEDS])?;
        apply(&["--reverse"], patch)?;
        match &failure {
            Some(line) => expect_sound(&sound, line)?,
            None => missed += 1,
        }
        let found = failure.unwrap_or_else(|| "nothing".to_owned());
        let found: String = found.chars().take(MAX_CHARS).collect();
        eprintln!("{}: {found}", stem(patch));
        rows.push(vec![stem(patch), found]);
    }
    fs::remove_dir_all(place)?;
    println!("{}", table::format(&["planted error", "found by"], &rows));
    ensure!(
        missed == 0,
        "{missed} planted errors were not found in {SEEDS} seeds"
    );
    Ok(())
}

/// Builds a tree's simulation, and returns the program's path.
///
/// Everything is built inside the tree. Cargo gives the packages of all trees the same names. In a shared
/// directory, it would take a library with a planted error for the sound library.
fn build(tree: &Path) -> Result<PathBuf> {
    let target = tree.join("target");
    let mut build = sh::cargo("build -q -p vb3-seeds");
    sh::quietly(build.env("CARGO_TARGET_DIR", &target).current_dir(tree))?;
    Ok(target.join("debug/vb3-seeds"))
}

/// Runs seeds, and returns the message of the first failing one.
fn failure(program: &Path, args: &[&str]) -> Result<Option<String>> {
    let out = cmd!("{program} {args...} --brief")
        .stdin(Stdio::null())
        .output()?;
    let said = String::from_utf8_lossy(&out.stdout);
    match out.status.code() {
        Some(0) => Ok(None),
        Some(1) => Ok(said.lines().next().map(str::to_owned)),
        _ => bail!("vb3-seeds failed: {}", out.status),
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
