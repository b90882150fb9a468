//! Trying what was made where nothing is installed that it could lean on.

use super::{Release, root};
use crate::guest::{self, Guest};
use anyhow::{Context as _, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The page whose lines are run.
const PAGE: &str = include_str!("../../../docs/ci.md");

/// The page that a newcomer follows.
const README: &str = include_str!("../../../README.md");

/// What README's examples use besides `vb3`, and the clip that they play.
const NEWCOMER: &str = "
apt-get install --quiet --yes --no-install-recommends ffmpeg v4l-utils gstreamer1.0-tools \\
    gstreamer1.0-plugins-base gstreamer1.0-plugins-good
ffmpeg -v error -f lavfi -i testsrc2=size=320x240:rate=25:duration=3 -c:v libx264 clip.mp4
";

/// Checks in a root of Debian after the page's commands.
const CHECKS: &str = "
test \"$(stat --format %s frame.yuv)\" = 153600
test \"$(tr --delete '\\000' < frame.yuv | wc --bytes)\" -gt 100000
grep --quiet 'open flags=' trace.txt
test \"$(vb3 run -- vb3 --version)\" = \"$(vb3 --version)\"
test -f /usr/share/bash-completion/completions/vb3
dpkg --status vb3 | grep --quiet 'Suggests: ffmpeg, vb3-codec'
dpkg --listfiles vb3 | grep --quiet /usr/share/man/man1/vb3-run.1.gz
dpkg --remove vb3
test ! -e /usr/bin/vb3
";

/// Installs both packages in a root of Debian.
const CODEC_INSTALL: &str = "
apt-get update --quiet
apt-get install --quiet --yes --no-install-recommends ./vb3_*.deb ./vb3-codec_*.deb
";

/// Checks that the decoder uses libavcodec, and is missing after the package's removal.
const CODEC_CHECKS: &str = "
vb3 devices | grep --quiet 'libavcodec.*hevc'
vb3 doctor | grep --quiet 'ok  vb3-codec .*libavcodec'
apt-get remove --quiet --yes vb3-codec
vb3 doctor | grep --quiet -e '--  vb3-codec'
vb3 doctor | grep --quiet 'install the package vb3-codec'
";

/// Checks of the binary in a guest.
const GUEST_CHECKS: &str = "
set -ex
export HOME=/tmp
cd /tmp
/out/vb3 run --device camera=pattern,size=320x240 -- \\
    dd if=/dev/video0 of=frame.yuv bs=153600 count=1 iflag=fullblock
test \"$(tr --delete '\\000' < frame.yuv | wc --bytes)\" -gt 100000
test \"$(/out/vb3 run -- /out/vb3 --version)\" = \"$(/out/vb3 --version)\"
";

/// The commands of a page's blocks that are marked `console run`, each whole.
fn commands(page: &str) -> Vec<String> {
    let blocks = page.split("```console run\n").skip(1);
    let lines = blocks.flat_map(|block| block.split("```").next().unwrap_or_default().lines());
    let mut commands: Vec<String> = Vec::new();
    for line in lines {
        match (line.strip_prefix("$ "), commands.last_mut()) {
            (Some(first), _) => commands.push(first.to_owned()),
            (None, Some(command)) if command.ends_with('\\') => {
                command.push('\n');
                command.push_str(line);
            }
            // A line of a command's output.
            _ => {}
        }
    }
    commands
}

/// The lines of the page that are run.
fn recipe(page: &str) -> Option<&str> {
    let (_, after) = page.split_once("```sh skip=run-by-dist\n")?;
    after.split_once("```").map(|(lines, _)| lines)
}

/// Tries the binary alone, and the package on each Debian.
pub(super) fn everywhere(release: &Release, binary: &Path, package: &Path) -> Result<()> {
    alone(release, binary)?;
    println!("tried alone in an empty directory: it runs itself, and needs nothing else");
    for (version, suite) in root::SUITES {
        let root = debian(release, suite, "essential", &[package])?;
        let lines = recipe(PAGE).context("docs/ci.md has no lines to run")?;
        let script = format!("cd /work; export HOME=/work; {lines}{CHECKS}");
        root::inside(&root, &[], &["sh", "-exc", &script])
            .with_context(|| format!("the package does not work on Debian {version}"))?;
        println!("tried on Debian {version}: installed, a camera's frame read by dd, removed");
        fs::remove_dir_all(&root)?;
    }
    Ok(())
}

/// Tries `vb3-codec` on the Debian that it was built for.
pub(super) fn codec(release: &Release, vb3: &Path, codec: &Path, suite: &str) -> Result<()> {
    let root = debian(release, suite, "apt", &[vb3, codec])?;
    // apt in the root reaches its mirror as this system does.
    for file in ["resolv.conf", "hosts"] {
        let from = Path::new("/etc").join(file);
        if from.exists() {
            fs::copy(from, root.join("etc").join(file))?;
        }
    }
    let install = format!("cd /work; export HOME=/work; {CODEC_INSTALL}{NEWCOMER}");
    let began = Instant::now();
    let examples = commands(README).join("\n");
    root::inside(
        &root,
        &[],
        &["bash", "-exc", &format!("{install}{examples}")],
    )
    .with_context(|| format!("README's commands do not work on Debian {suite}"))?;
    println!(
        "tried README on Debian {suite}: {} commands, {} s with the installation of all packages",
        commands(README).len(),
        began.elapsed().as_secs()
    );
    let script = format!("cd /work; export HOME=/work; {CODEC_CHECKS}");
    root::inside(&root, &[], &["sh", "-exc", &script])
        .with_context(|| format!("vb3-codec does not work on Debian {suite}"))?;
    println!("tried vb3-codec on Debian {suite}: installed by apt, found by vb3, removed");
    fs::remove_dir_all(&root)?;
    Ok(())
}

/// Tries arm64's binary in a virtual machine.
pub(super) fn arm64(release: &Release, binary: &Path) -> Result<()> {
    let kind = guest::ALL.iter().find(|kind| kind.name == "arm64");
    let guest = Guest::get(*kind.context("there is no guest of arm64")?)?;
    let out = release.dir.join("arm64-guest");
    if out.exists() {
        fs::remove_dir_all(&out)?;
    }
    fs::create_dir_all(&out)?;
    fs::copy(binary, out.join("vb3"))?;
    fs::write(out.join("run.sh"), GUEST_CHECKS)?;
    guest.run(&out, Duration::from_secs(300))?;
    if fs::read_to_string(out.join("status"))?.trim() != "0" {
        bail!("the arm64 binary does not work: see {}", out.display());
    }
    println!(
        "tried on arm64, Linux {}: a camera's frame read by dd",
        guest.version()
    );
    fs::remove_dir_all(&out)?;
    Ok(())
}

fn alone(release: &Release, binary: &Path) -> Result<()> {
    let root = release.dir.join("empty");
    if root.exists() {
        fs::remove_dir_all(&root)?;
    }
    fs::create_dir_all(&root)?;
    fs::copy(binary, root.join("vb3"))?;
    let said = root::inside(&root, &[], &["/vb3", "run", "--", "/vb3", "--version"])
        .context("the binary does not work alone")?;
    let said = String::from_utf8_lossy(&said);
    if said.trim() != format!("vb3 {}", release.version) {
        bail!("alone it says {said:?}");
    }
    fs::remove_dir_all(&root)?;
    Ok(())
}

/// A fresh root of Debian, of one of mmdebstrap's variants, with the packages in it.
fn debian(release: &Release, suite: &str, variant: &str, packages: &[&Path]) -> Result<PathBuf> {
    let root = root::fresh(release, suite, variant, &[format!("--variant={variant}")])?;
    fs::create_dir_all(root.join("work"))?;
    for package in packages {
        let name = package.file_name().context("the package has a name")?;
        fs::copy(package, root.join("work").join(name))?;
    }
    Ok(root)
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
    fn the_page_has_lines_to_run() {
        let lines = recipe(PAGE).expect("lines");
        assert!(lines.contains("dpkg --install") && lines.contains("dd if=/dev/video0"));
        assert!(!lines.contains("```"));
    }
}
