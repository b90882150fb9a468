//! Tries the built packages in fresh roots of Debian, without anything that they could need by mistake.
//! `trials.toml` has the trials.

use super::{Release, root};
use crate::arch::Arch;
use crate::guest::{self, Guest};
use crate::sh;
use anyhow::{Context as _, Result, ensure};
use fs_err as fs;
use serde::Deserialize;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The page on CI, whose commands the trials run.
const PAGE: &str = include_str!("../../../docs/ci.md");

/// The page that a newcomer follows.
const README: &str = include_str!("../../../README.md");

const ACTION: &str = include_str!("../../../action.yml");

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
    script: String,
}

/// Scripts for a guest.
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
pub(super) fn run(release: &Release, of: &str, suites: &[&str], files: &[PathBuf]) -> Result<()> {
    let Trials { roots, trial, .. } = Trials::read()?;
    for trial in trial.iter().filter(|trial| trial.of == of) {
        let is_wanted = |suite: &str| {
            let suites = trial.suites.as_ref();
            suites.is_none_or(|suites| suites.iter().any(|one| one == suite))
        };
        for suite in suites.iter().filter(|suite| is_wanted(suite)) {
            let (name, began) = (&trial.name, Instant::now());
            let options = roots
                .get(&trial.root)
                .context("a kind of root without options")?;
            let root = root::fresh(release, suite, &trial.root, options)?;
            put(&root, files)?;
            // apt in the root gets the same access to its mirror as this system has.
            for file in ["resolv.conf", "hosts"] {
                let from = Path::new("/etc").join(file);
                if from.exists() {
                    fs::copy(from, root.join("etc").join(file))?;
                }
            }
            let script = in_work(&trial.script, release)?;
            let said = root::inside(&root, &[], &["bash", "-exc", &script])
                .with_context(|| format!("{name} does not work on Debian {suite}"))?;
            fs::remove_dir_all(&root)?;
            let seconds = began.elapsed().as_secs();
            println!(
                "tried {name} on Debian {suite}: {} ({seconds} s)",
                trial.done
            );
            // pytest prints these lines about durations.
            let said = String::from_utf8_lossy(&said);
            let times = said.lines().filter(|line| line.contains("s call "));
            times.for_each(|line| println!("  {line}"));
        }
    }
    Ok(())
}

/// Returns a trial's script, which runs in /work.
fn in_work(script: &str, release: &Release) -> Result<String> {
    let mut text = script.replace("@version@", &release.version);
    for (place, recipe) in [
        ("@readme@", commands(README).join("\n")),
        ("@action@", action()?),
        ("@gitlab@", gitlab()?),
        ("@docker@", docker()?),
    ] {
        text = text.replace(place, &recipe);
    }
    if let Some(info) = between(&text, "@ci ", "@") {
        text = text.replace(&format!("@ci {info}@"), block(info)?);
    }
    Ok(format!("cd /work; export HOME=/work; {text}"))
}

/// Returns the commands in a page's blocks marked `console run`, each with its continuation lines.
fn commands(page: &str) -> Vec<String> {
    let blocks = page.split("```console run\n").skip(1);
    let lines = blocks.flat_map(|block| block.split("```").next().unwrap_or_default().lines());
    let mut commands: Vec<String> = Vec::new();
    for line in lines {
        match (line.strip_prefix("$ "), commands.last_mut()) {
            (Some(first), _) => commands.push(first.to_owned()),
            (None, Some(command)) if command.ends_with('\\') => {
                command.extend(["\n", line]);
            }
            // This line is the output of a command.
            _ => {}
        }
    }
    commands
}

/// Returns the text between two others.
fn between<'a>(text: &'a str, begin: &str, end: &str) -> Option<&'a str> {
    Some(text.split_once(begin)?.1.split_once(end)?.0)
}

/// Returns the lines of the block in [`PAGE`] that has this info string.
fn block(info: &str) -> Result<&'static str> {
    let lines = between(PAGE, &format!("```{info}\n"), "```");
    lines.with_context(|| format!("docs/ci.md has no block {info:?}"))
}

/// Returns the lines after `begin` that have this indentation, without it.
fn indented(text: &str, begin: &str, indentation: &str) -> Result<String> {
    let lines = text
        .split_once(begin)
        .with_context(|| format!("no {begin:?} in:\n{text}"))?
        .1;
    let inner = |line| match line {
        "" => Some(line),
        line => line.strip_prefix(indentation),
    };
    Ok(lines
        .lines()
        .map_while(inner)
        .collect::<Vec<_>>()
        .join("\n"))
}

/// Returns the script in action.yml's step.
fn action() -> Result<String> {
    indented(ACTION, "run: |\n", "        ")
}

/// Returns the commands of the GitLab job, with a further one that makes the job's clip.
fn gitlab() -> Result<String> {
    let job = block("yaml skip=run-by-dist-as-gitlab")?;
    let commands = indented(job, "  script:\n", "    - ")?;
    Ok(commands.replacen("dpkg", "make_clip; dpkg", 1))
}

/// Returns the Docker file as a script, which ends with the user's test.
fn docker() -> Result<String> {
    let mut script = String::new();
    for line in block("dockerfile skip=run-by-dist-as-docker")?.lines() {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        script += &match word {
            "COPY" => format!("cp {rest}\n"),
            "RUN" => format!("{rest}\n"),
            "ENTRYPOINT" => {
                let words: Vec<String> = serde_json::from_str(rest).context("ENTRYPOINT")?;
                format!("{} ./run-my-tests\n", words.join(" "))
            }
            _ => continue,
        };
    }
    Ok(script)
}

/// Tries the binary in a directory without any other file.
pub(super) fn alone(release: &Release, binary: &Path) -> Result<()> {
    let root = release.dir.join("empty");
    sh::fresh(&root)?;
    fs::copy(binary, root.join("vb3"))?;
    let said = root::inside(&root, &[], &["/vb3", "run", "--", "/vb3", "--version"])
        .context("the binary does not work alone")?;
    let said = String::from_utf8_lossy(&said);
    ensure!(
        said.trim() == format!("vb3 {}", release.version),
        "alone it says {said:?}"
    );
    fs::remove_dir_all(&root)?;
    println!("tried alone in an empty directory: it runs itself, and needs nothing else");
    Ok(())
}

/// Returns the paths of the wheel and of the tests of its Python module.
pub(super) fn with_tests(wheel: &Path) -> Result<Vec<PathBuf>> {
    let mut files = vec![wheel.to_owned()];
    for test in fs::read_dir(sh::root().join("python/tests"))? {
        files.push(test?.path());
    }
    Ok(files)
}

/// Tries arm64's binary and wheel in a virtual machine.
pub(super) fn arm64(release: &Release, binary: &Path, wheel: &Path) -> Result<()> {
    let Scripts {
        binary: script,
        wheel: checks,
    } = Trials::read()?.guest;
    let kind = guest::ALL.iter().find(|kind| kind.arch == Arch::Arm64);
    let guest = Guest::get(*kind.context("there is no guest of arm64")?)?;
    let out = release.dir.join("arm64-guest");
    sh::fresh(&out)?;
    fs::copy(binary, out.join("vb3"))?;
    put(&out, &with_tests(wheel)?)?;
    fs::write(out.join("wheel.sh"), in_work(&checks, release)?)?;
    fs::write(out.join("run.sh"), script)?;
    let works = guest.run(&out, GUEST_LIMIT)?;
    ensure!(works, "the arm64 files do not work: see {}", out.display());
    println!(
        "tried on arm64, Linux {}: a camera's frame read by dd; the wheel installed, and its plugin's tests pass",
        guest.version()
    );
    Ok(fs::remove_dir_all(&out)?)
}

/// Copies files to a root's directory /work.
fn put(root: &Path, files: &[PathBuf]) -> Result<()> {
    let work = root.join("work");
    fs::create_dir_all(&work)?;
    for file in files.iter().filter(|file| file.is_file()) {
        fs::copy(
            file,
            work.join(file.file_name().context("the file has a name")?),
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readme_has_commands_to_run() {
        let commands = commands(README);
        assert!(commands.len() > 3, "{commands:?}");
        let whole = |line: &String| line.starts_with("vb3 ") && !line.ends_with('\\');
        assert!(commands.iter().all(whole), "{commands:?}");
    }

    #[test]
    fn pages_have_lines_to_run() {
        let lines = block("sh skip=run-by-dist").unwrap();
        assert!(lines.contains("dpkg --install") && lines.contains("dd if=/dev/video0"));
        assert!(!lines.contains("```"));
        assert!(action().unwrap().contains("vb3\" doctor"));
        assert!(gitlab().unwrap().lines().count() > 3);
        assert!(docker().unwrap().contains("vb3 run -- ./run-my-tests"));
    }

    #[test]
    fn scripts_have_no_placeholders_left() {
        let release = Release {
            version: "1.2.3".to_owned(),
            dir: PathBuf::new(),
        };
        let Trials {
            roots,
            trial,
            guest,
        } = Trials::read().unwrap();
        assert!(trial.iter().all(|trial| roots.contains_key(&trial.root)));
        let scripts = trial.into_iter().map(|trial| trial.script);
        for script in scripts.chain([guest.binary, guest.wheel]) {
            let script = in_work(&script, &release).unwrap();
            let is_place =
                |word: &str| word.len() > 2 && word.starts_with('@') && word.ends_with('@');
            assert!(!script.contains("@ci "), "{script}");
            assert!(!script.split_whitespace().any(is_place), "{script}");
        }
        assert!(in_work("@ci nothing@", &release).is_err());
    }
}
