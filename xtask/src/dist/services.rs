//! Tries the recipes for CI services, in fresh roots of Debian.
//! They are the lines of action.yml, and the GitLab and Docker blocks in docs/ci.md.

use super::trial::{PAGE, block, debian, share_network};
use super::{Release, root};
use anyhow::{Context as _, Result};
use std::fs;
use std::path::Path;

const ACTION: &str = include_str!("../../../action.yml");
/// The test that a user of the recipes would have, and its clip.
const TESTS: &str = "
printf '#!/bin/sh\\nexec dd if=/dev/video0 of=frame.yuv bs=153600 count=1 iflag=fullblock\\n' > run-my-tests
chmod +x run-my-tests
make_clip() { ffmpeg -v error -f lavfi -i testsrc2=size=320x240:rate=25:duration=1 -pix_fmt yuv420p clip.mp4; }
";

/// Returns the script in action.yml's step.
fn action() -> Result<String> {
    let (_, lines) = ACTION
        .split_once("run: |\n")
        .context("action.yml has no script")?;
    let lines = lines
        .lines()
        .map_while(|line| match line.strip_prefix("        ") {
            None if line.is_empty() => Some(""),
            line => line,
        });
    Ok(lines.collect::<Vec<_>>().join("\n"))
}

/// Returns the commands of the GitLab job.
fn gitlab() -> Result<Vec<&'static str>> {
    let job = block(PAGE, "yaml skip=run-by-dist-as-gitlab")?;
    let (_, lines) = job
        .split_once("  script:\n")
        .context("the GitLab job has no script")?;
    Ok(lines
        .lines()
        .map_while(|line| line.strip_prefix("    - "))
        .collect())
}

/// Returns the Docker file as a script, which ends with the user's test.
fn docker() -> Result<String> {
    let mut script = String::new();
    for line in block(PAGE, "dockerfile skip=run-by-dist-as-docker")?.lines() {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "COPY" => script.push_str(&format!("cp {rest}\n")),
            "RUN" => script.push_str(&format!("{rest}\n")),
            "ENTRYPOINT" => {
                let words: Vec<String> = serde_json::from_str(rest).context("ENTRYPOINT")?;
                script.push_str(&format!("{} ./run-my-tests\n", words.join(" ")));
            }
            _ => {}
        }
    }
    Ok(script)
}

/// Tries each recipe on Debian 13, and the action also on Debian 12.
pub(super) fn everywhere(release: &Release, package: &Path, tarball: &Path) -> Result<()> {
    let version = &release.version;
    let action = format!(
        "apt-get update --quiet; apt-get install --quiet --yes --no-install-recommends curl ca-certificates
         export FROM=file:///work VERSION={version} RUNNER_TEMP=/work/temp GITHUB_PATH=/work/path
         mkdir temp; bash -exc \"$ACTION\"; PATH=$(cat path):$PATH; vb3 run -- ./run-my-tests"
    );
    let gitlab = gitlab()?.join("\n").replacen("dpkg", "make_clip; dpkg", 1);
    let recipes = [
        ("bookworm", "the action", &action),
        ("trixie", "the action", &action),
        ("trixie", "the GitLab job", &gitlab),
        ("trixie", "the Docker file", &docker()?),
    ];
    let step = self::action()?;
    for (suite, name, lines) in recipes {
        let root = debian(release, suite, "apt", &[package, tarball])?;
        share_network(&root)?;
        let script = format!("cd /work; export HOME=/work; {TESTS}{lines}\ntest -s frame.yuv");
        let action = format!("ACTION={step}");
        root::inside(&root, &[], &["env", &action, "bash", "-exc", &script])
            .with_context(|| format!("{name} does not work on {suite}"))?;
        println!("tried {name} on {suite}");
        fs::remove_dir_all(&root)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recipes_have_lines_to_run() {
        assert!(action().expect("a script").contains("vb3\" doctor"));
        assert!(gitlab().expect("a job").len() > 3);
        assert!(
            docker()
                .expect("a script")
                .contains("vb3 run -- ./run-my-tests")
        );
    }
}
