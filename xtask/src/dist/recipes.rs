//! Tries the recipes for CI services, in fresh roots of Debian.
//! They are the lines of action.yml, and the GitLab and Docker blocks in docs/ci.md.

use super::Release;
use super::trial::{APT, PAGE, Trial, block};
use anyhow::{Context as _, Result};
use std::path::Path;

const ACTION: &str = include_str!("../../../action.yml");
/// The test that a user of the recipes would have, and its clip.
const TESTS: &str = "
printf '#!/bin/sh\\nexec dd if=/dev/video0 of=frame.yuv bs=153600 count=1 iflag=fullblock\\n' > run-my-tests
chmod +x run-my-tests
make_clip() { ffmpeg -v error -f lavfi -i testsrc2=size=320x240:rate=25:duration=1 -pix_fmt yuv420p clip.mp4; }
";

/// Puts the script of action.yml at the place of `@ACTION@`.
const RUN_ACTION: &str = "
apt-get update --quiet; apt-get install --quiet --yes --no-install-recommends curl ca-certificates
export FROM=file:///work VERSION=@VERSION@ RUNNER_TEMP=/work/temp GITHUB_PATH=/work/path
mkdir temp
cat > action.sh << 'END'
@ACTION@
END
bash -ex action.sh; PATH=$(cat path):$PATH; vb3 run -- ./run-my-tests";

/// Returns the script in action.yml's step.
fn action() -> Result<String> {
    let (_, lines) = ACTION
        .split_once("run: |\n")
        .context("action.yml has no script")?;
    let lines = lines.lines().map(str::trim_end);
    let lines = lines.map_while(|line| {
        line.strip_prefix("        ")
            .or((line.is_empty()).then_some(""))
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

/// Tries each recipe on Debian 13, and the action also on Debian 12.
pub(super) fn try_all(release: &Release, package: &Path, tarball: &Path) -> Result<()> {
    let action = RUN_ACTION.replace("@VERSION@", &release.version);
    let action = action.replace("@ACTION@", &self::action()?);
    let gitlab = gitlab()?.join("\n").replacen("dpkg", "make_clip; dpkg", 1);
    let recipes = [
        ("bookworm", "the action", &action),
        ("trixie", "the action", &action),
        ("trixie", "the GitLab job", &gitlab),
        ("trixie", "the Docker file", &docker()?),
    ];
    for (suite, name, lines) in recipes {
        let trial = Trial {
            suite,
            kind: APT,
            files: &[package, tarball],
        };
        trial.run(release, name, &format!("{TESTS}{lines}\ntest -s frame.yuv"))?;
        println!("tried {name} on {suite}");
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
