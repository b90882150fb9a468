//! Tries the packages in fresh roots, without anything that they could depend on by mistake.

use super::{Release, root};
use crate::guest::{self, Guest};
use crate::sh;
use anyhow::{Context as _, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The page whose commands are run.
pub(super) const PAGE: &str = include_str!("../../../docs/ci.md");

/// The page that a newcomer follows.
const README: &str = include_str!("../../../README.md");

/// What README's examples need besides `vb3`, and the clip that they play.
const NEWCOMER: &str = "
apt-get install --quiet --yes --no-install-recommends ffmpeg v4l-utils gstreamer1.0-tools \\
    gstreamer1.0-plugins-base gstreamer1.0-plugins-good
ffmpeg -v error -f lavfi -i testsrc2=size=320x240:rate=25:duration=3 -c:v libx264 clip.mp4
";

/// Checks in a root of Debian, after the page's commands.
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

/// Checks that the decoder uses libavcodec, and that it is gone after the package's removal.
const CODEC_CHECKS: &str = "
vb3 devices | grep --quiet 'libavcodec.*hevc'
vb3 doctor | grep --quiet 'ok  vb3-codec .*libavcodec'
apt-get remove --quiet --yes vb3-codec
vb3 doctor | grep --quiet -e '--  vb3-codec'
vb3 doctor | grep --quiet 'install the package vb3-codec'
";

/// Installs the wheel in a root with only Python, and checks module, plugin entry and program.
const WHEEL_ALONE: &str = "
python3 -m venv alone
alone/bin/pip install --quiet --no-index ./vb3-*.whl
alone/bin/python -c 'import vb3; assert vb3.binary().startswith(\"/work/alone/\"), vb3.binary()'
alone/bin/vb3 run -- alone/bin/vb3 --version
";

/// Runs the module's tests in an environment with pytest.
/// Runs one again without its swap of the picture: it must then fail.
const WHEEL_TESTS: &str = "
tests/bin/python -m pytest --durations=0 -p no:cacheprovider test_*.py
sed 's/run.video0.play(red)/pass/' test_swap.py > broken.py
! cmp test_swap.py broken.py
! tests/bin/python -m pytest -p no:cacheprovider broken.py > broken.txt
grep 'did not show the picture' broken.txt
grep 'vb3 run 0: stderr' broken.txt
";

/// Packages that the wheel's tests use.
const WHEEL_PACKAGES: &str = "ffmpeg,python3-pytest,python3-venv";

/// Runs the plugin's tests, except test_swap.py: its calls wait 60 s at most, too short for emulation.
const GUEST_WHEEL_TESTS: &str = "
tests/bin/python -m pytest -p no:cacheprovider test_vb3.py
";

/// Longest time of a trial in a guest, whose processor is emulated.
const GUEST_LIMIT: Duration = Duration::from_secs(1800);

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

/// Returns the commands in a page's blocks marked `console run`, each with its continuation lines.
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
            // This line is the output of a command.
            _ => {}
        }
    }
    commands
}

/// Returns the lines of a page's block whose info string begins like this.
pub(super) fn block<'a>(page: &'a str, info: &str) -> Result<&'a str> {
    let after = page.split_once(&format!("```{info}\n"));
    let lines = after.and_then(|(_, after)| after.split_once("```"));
    Ok(lines
        .with_context(|| format!("docs/ci.md has no block {info:?}"))?
        .0)
}

/// Tries the binary alone, and the package on each Debian.
pub(super) fn everywhere(release: &Release, binary: &Path, package: &Path) -> Result<()> {
    alone(release, binary)?;
    println!("tried alone in an empty directory: it runs itself, and needs nothing else");
    for (version, suite) in root::SUITES {
        let root = debian(release, suite, "essential", &[package])?;
        let lines = block(PAGE, "sh skip=run-by-dist")?;
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
    share_network(&root)?;
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

/// Gives apt in a root the same access to its mirror as this system has.
pub(super) fn share_network(root: &Path) -> Result<()> {
    for file in ["resolv.conf", "hosts"] {
        let from = Path::new("/etc").join(file);
        if from.exists() {
            fs::copy(from, root.join("etc").join(file))?;
        }
    }
    Ok(())
}

/// Tries the wheel and its module's tests on each Debian.
pub(super) fn wheel(release: &Release, wheel: &Path) -> Result<()> {
    let options = [
        "--variant=apt".to_owned(),
        format!("--include={WHEEL_PACKAGES}"),
    ];
    let script = wheel_checks(WHEEL_TESTS)?;
    for (version, suite) in root::SUITES {
        let root = root::fresh(release, suite, "python", &options)?;
        put(&root, &[wheel])?;
        put_tests(&root)?;
        let said = root::inside(&root, &[], &["bash", "-exc", &script])
            .with_context(|| format!("the wheel does not work on Debian {version}"))?;
        let said = String::from_utf8_lossy(&said);
        let times = said.lines().filter(|line| line.contains(" call "));
        println!("tried the wheel on Debian {version}: installed, and its tests pass");
        times.for_each(|line| println!("  {line}"));
        fs::remove_dir_all(&root)?;
    }
    Ok(())
}

/// Returns the commands that install the wheel in /work and run tests there.
fn wheel_checks(tests: &str) -> Result<String> {
    let lines = block(PAGE, "sh skip=run-by-dist-with-pytest")?;
    Ok(format!(
        "cd /work; export HOME=/work; {WHEEL_ALONE}{lines}{tests}"
    ))
}

/// Copies the module's tests to a root's directory /work.
fn put_tests(root: &Path) -> Result<()> {
    for test in fs::read_dir(sh::root().join("python/tests"))? {
        put(root, &[&test?.path()])?;
    }
    Ok(())
}

/// Tries arm64's binary and wheel in a virtual machine.
pub(super) fn arm64(release: &Release, binary: &Path, wheel: Option<&Path>) -> Result<()> {
    let kind = guest::ALL.iter().find(|kind| kind.name == "arm64");
    let guest = Guest::get(*kind.context("there is no guest of arm64")?)?;
    let out = release.dir.join("arm64-guest");
    sh::fresh(&out)?;
    fs::copy(binary, out.join("vb3"))?;
    let mut script = GUEST_CHECKS.to_owned();
    if let Some(wheel) = wheel {
        put(&out, &[wheel])?;
        put_tests(&out)?;
        fs::write(out.join("wheel.sh"), wheel_checks(GUEST_WHEEL_TESTS)?)?;
        script.push_str("cp -r /out/work /; bash -ex /out/wheel.sh\n");
    }
    fs::write(out.join("run.sh"), script)?;
    guest.run(&out, GUEST_LIMIT)?;
    if fs::read_to_string(out.join("status"))?.trim() != "0" {
        bail!("the arm64 files do not work: see {}", out.display());
    }
    let wheel = wheel.map_or("", |_| "; the wheel installed, and its plugin's tests pass");
    println!(
        "tried on arm64, Linux {}: a camera's frame read by dd{wheel}",
        guest.version()
    );
    fs::remove_dir_all(&out)?;
    Ok(())
}

fn alone(release: &Release, binary: &Path) -> Result<()> {
    let root = release.dir.join("empty");
    sh::fresh(&root)?;
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

/// Makes a fresh root of Debian, of a variant of mmdebstrap, and puts the packages into it.
pub(super) fn debian(
    release: &Release,
    suite: &str,
    variant: &str,
    packages: &[&Path],
) -> Result<PathBuf> {
    let root = root::fresh(release, suite, variant, &[format!("--variant={variant}")])?;
    put(&root, packages)?;
    Ok(root)
}

/// Copies files to a root's directory /work.
fn put(root: &Path, files: &[&Path]) -> Result<()> {
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
    fn the_page_has_lines_to_run() {
        let lines = block(PAGE, "sh skip=run-by-dist").expect("lines");
        assert!(lines.contains("dpkg --install") && lines.contains("dd if=/dev/video0"));
        assert!(!lines.contains("```"));
        let lines = block(PAGE, "sh skip=run-by-dist-with-pytest").expect("lines");
        assert!(lines.contains("pip install"));
    }
}
