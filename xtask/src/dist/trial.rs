//! Tries the built packages in fresh roots of Debian, without anything that they could need by mistake.
//! `trials.toml` has the trials.

use super::{VERSION, root};
use crate::arch::Arch;
use crate::guest::{self, Guest};
use crate::sh::{self, cmd};
use crate::tidy;
use anyhow::{Context as _, Result, ensure};
use fs_err as fs;
use serde::Deserialize;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The pages whose recipes the trials run, and functions that find the recipes.
const PAGES: [&str; 4] = [
    "docs/ci.md",
    "README.md",
    "action.yml",
    "xtask/src/dist/pages.sh",
];

/// Longest time of a trial in a guest, whose processor is emulated.
const GUEST_LIMIT: Duration = Duration::from_secs(1800);

/// The trials, as `trials.toml` lists and explains them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Trials {
    roots: HashMap<String, Vec<String>>,
    trial: Vec<Trial>,
    guest: Scripts,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Trial {
    of: String,
    name: String,
    done: String,
    suites: Option<Vec<String>>,
    root: String,
    /// Whether the trial builds this tree with this system's Rust.
    #[serde(default)]
    builds: bool,
    script: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Scripts {
    binary: String,
    wheel: String,
}

impl Trials {
    fn read() -> Result<Self> {
        toml::from_str(include_str!("trials.toml")).context("trials.toml")
    }
}

/// Makes each trial whose field `of` has this value, on these releases of Debian, with these files.
pub(super) fn run(of: &str, suites: &[&str], files: &[PathBuf]) -> Result<()> {
    let Trials { roots, trial, .. } = Trials::read()?;
    for trial in trial.iter().filter(|trial| trial.of == of) {
        let is_wanted = |suite: &str| {
            let suites = trial.suites.as_ref();
            suites.is_none_or(|suites| suites.iter().any(|one| one == suite))
        };
        for suite in suites.iter().filter(|suite| is_wanted(suite)) {
            let (name, began) = (&trial.name, Instant::now());
            let options = roots.get(&trial.root);
            let options = options.context("a kind of root without options")?;
            let root = root::fresh(suite, &trial.root, options)?;
            put(&root, files)?;
            // apt in the root gets the same access to its mirror as this system has.
            for file in ["resolv.conf", "hosts"] {
                let from = Path::new("/etc").join(file);
                if from.exists() {
                    fs::copy(from, root.join("etc").join(file))?;
                }
            }
            let rust = trial.builds.then(|| root::rust("build")).transpose()?;
            let (shared, rust) = rust
                .map(|(shared, set)| (shared.to_vec(), set))
                .unwrap_or_default();
            let script = rust + &in_work(&trial.script);
            let said = root::inside(&root, &shared, &["bash", "-exc", &script])
                .with_context(|| format!("{name} does not work on Debian {suite}"))?;
            fs::remove_dir_all(&root)?;
            let (done, seconds) = (&trial.done, began.elapsed().as_secs());
            println!("tried {name} on Debian {suite}: {done} ({seconds} s)");
            // pytest prints these lines about durations.
            let said = String::from_utf8_lossy(&said);
            let times = said.lines().filter(|line| line.contains("s call "));
            times.for_each(|line| println!("  {line}"));
        }
    }
    Ok(())
}

/// Returns a trial's script, which runs in /work.
fn in_work(script: &str) -> String {
    format!("cd /work; export HOME=/work VERSION={VERSION}; . ./pages.sh\n{script}")
}

/// Tries the binary in a directory without any other file.
pub(super) fn alone(binary: &Path) -> Result<()> {
    let root = super::dir().join("empty");
    sh::fresh(&root)?;
    fs::copy(binary, root.join("vb3"))?;
    let said = root::inside(&root, &[], &["/vb3", "run", "--", "/vb3", "--version"])
        .context("the binary does not work alone")?;
    let said = String::from_utf8_lossy(&said);
    ensure!(
        said.trim() == format!("vb3 {VERSION}"),
        "alone it says {said:?}"
    );
    fs::remove_dir_all(&root)?;
    println!("tried alone in an empty directory: it runs itself, and needs nothing else");
    Ok(())
}

/// Returns the paths of the wheel and of the tests of its Python module.
pub(super) fn with_tests(wheel: &Path) -> Result<Vec<PathBuf>> {
    let mut files = tidy::files(&sh::root().join("python/tests"), "py")?;
    files.push(wheel.to_owned());
    Ok(files)
}

/// Tries arm64's binary and wheel in a virtual machine.
pub(super) fn arm64(binary: &Path, wheel: &Path) -> Result<()> {
    let scripts = Trials::read()?.guest;
    let kind = guest::ALL.iter().find(|kind| kind.arch == Arch::Arm64);
    let guest = Guest::get(*kind.context("there is no guest of arm64")?)?;
    let out = super::dir().join("arm64-guest");
    sh::fresh(&out)?;
    fs::copy(binary, out.join("vb3"))?;
    put(&out, &with_tests(wheel)?)?;
    fs::write(out.join("wheel.sh"), in_work(&scripts.wheel))?;
    fs::write(out.join("run.sh"), scripts.binary)?;
    let works = guest.run(&out, GUEST_LIMIT)?;
    ensure!(works, "the arm64 files do not work: see {}", out.display());
    println!(
        "tried on arm64, Linux {}: a camera's frame read by dd; the wheel installed, and its plugin's tests pass",
        guest.version()
    );
    Ok(fs::remove_dir_all(&out)?)
}

/// Copies files and the pages to a root's directory /work.
fn put(root: &Path, files: &[PathBuf]) -> Result<()> {
    let work = root.join("work");
    fs::create_dir_all(&work)?;
    let pages = PAGES.map(|page| sh::root().join(page));
    for file in files.iter().chain(&pages) {
        sh::quietly(cmd!("cp {file} {work}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_have_recipes_to_run() {
        let dir = std::env::temp_dir().join(format!("pages-{}", std::process::id()));
        put(&dir, &[]).unwrap();
        let said = |function: &str| {
            let script = format!(". ./pages.sh; {function}");
            sh::text(cmd!("sh -ec {script}").current_dir(dir.join("work")))
        };
        for (function, part) in [
            ("readme", "vb3 run --machine"),
            ("daily", "cargo install --locked"),
            ("action", "vb3\" doctor"),
            ("gitlab", "\ndpkg --install"),
            ("docker", "\"vb3\" \"run\" \"--\" ./run-my-tests"),
            ("block 'sh skip=run-by-dist'", "dd if=/dev/video0"),
            ("run echo 'echo it runs'", "it runs"),
        ] {
            let text = said(function).unwrap();
            assert!(text.contains(part) && !text.contains("```"), "{text}");
        }
        assert!(said("run block gone; true").is_err());
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn trials_have_roots() {
        let Trials { roots, trial, .. } = Trials::read().unwrap();
        assert!(trial.iter().all(|trial| roots.contains_key(&trial.root)));
        // `sh -e` does not end at a line that begins with `!`.
        let mut lines = trial.iter().flat_map(|trial| trial.script.lines());
        assert!(lines.all(|line| !line.starts_with("! ") || line.ends_with(" || exit 1")));
    }

    #[test]
    fn the_action_installs_this_version() {
        let action = fs::read_to_string(sh::root().join("action.yml")).unwrap();
        let default = format!("default: {VERSION}\n");
        assert!(action.contains(&default), "action.yml lacks {default}");
    }
}
