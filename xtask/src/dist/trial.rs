//! Tries the packages in fresh roots, without anything that they could depend on by mistake.

use super::{Release, root};
use crate::guest::{self, Guest};
use crate::sh;
use anyhow::{Context as _, Result, ensure};
use fs_err as fs;
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

/// A kind of root: its name, and mmdebstrap's options.
type Kind = (&'static str, &'static [&'static str]);

const ESSENTIAL: Kind = ("essential", &["--variant=essential"]);
pub(super) const APT: Kind = ("apt", &["--variant=apt"]);
/// A root with the packages that the wheel's tests use.
const PYTHON: Kind = (
    "python",
    &[
        "--variant=apt",
        "--include=ffmpeg,python3-pytest,python3-venv",
    ],
);

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

/// A fresh root of Debian, with files in /work.
pub(super) struct Trial<'a> {
    pub(super) suite: &'a str,
    pub(super) kind: Kind,
    pub(super) files: &'a [&'a Path],
}

impl Trial<'_> {
    /// Runs commands in /work. Returns what they print.
    ///
    /// # Errors
    /// The root cannot be made, or a command fails: then `what` does not work.
    pub(super) fn run(&self, release: &Release, what: &str, script: &str) -> Result<String> {
        let (kind, options) = self.kind;
        let options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
        let root = root::fresh(release, self.suite, kind, &options)?;
        put(&root, self.files)?;
        // apt in the root gets the same access to its mirror as this system has.
        for file in ["resolv.conf", "hosts"] {
            let from = Path::new("/etc").join(file);
            if from.exists() {
                fs::copy(from, root.join("etc").join(file))?;
            }
        }
        let script = format!("cd /work; export HOME=/work; {script}");
        let said = root::inside(&root, &[], &["bash", "-exc", &script])
            .with_context(|| format!("{what} does not work on Debian {}", self.suite))?;
        fs::remove_dir_all(&root)?;
        Ok(String::from_utf8_lossy(&said).into_owned())
    }
}

/// Tries the binary alone, and the package on each Debian.
pub(super) fn package(release: &Release, binary: &Path, package: &Path) -> Result<()> {
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
    for (version, suite) in root::SUITES {
        let lines = block(PAGE, "sh skip=run-by-dist")?;
        let trial = Trial {
            suite,
            kind: ESSENTIAL,
            files: &[package],
        };
        trial.run(release, "the package", &format!("{lines}{CHECKS}"))?;
        println!("tried on Debian {version}: installed, a camera's frame read by dd, removed");
    }
    Ok(())
}

/// Tries README's commands and `vb3-codec` on the Debian that it was built for.
pub(super) fn codec(release: &Release, vb3: &Path, codec: &Path, suite: &str) -> Result<()> {
    let trial = Trial {
        suite,
        kind: APT,
        files: &[vb3, codec],
    };
    let (examples, began) = (commands(README), Instant::now());
    let lines = [
        &[CODEC_INSTALL.to_owned(), NEWCOMER.to_owned()],
        &examples[..],
    ]
    .concat();
    trial.run(
        release,
        "vb3-codec, or a command of README,",
        &(lines.join("\n") + CODEC_CHECKS),
    )?;
    println!(
        "tried README and vb3-codec on Debian {suite}: {} commands, {} s with the installation of all \
         packages; found by vb3, removed",
        examples.len(),
        began.elapsed().as_secs()
    );
    Ok(())
}

/// Tries the wheel and its module's tests on each Debian.
pub(super) fn wheel(release: &Release, wheel: &Path) -> Result<()> {
    let files = with_tests(wheel)?;
    let files: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
    for (version, suite) in root::SUITES {
        let trial = Trial {
            suite,
            kind: PYTHON,
            files: &files,
        };
        let said = trial.run(release, "the wheel", &wheel_checks(WHEEL_TESTS)?)?;
        println!("tried the wheel on Debian {version}: installed, and its tests pass");
        let times = said.lines().filter(|line| line.contains(" call "));
        times.for_each(|line| println!("  {line}"));
    }
    Ok(())
}

/// Returns the commands that install the wheel and run tests.
fn wheel_checks(tests: &str) -> Result<String> {
    let lines = block(PAGE, "sh skip=run-by-dist-with-pytest")?;
    Ok(format!("{WHEEL_ALONE}{lines}{tests}"))
}

/// Returns the wheel and the module's tests.
fn with_tests(wheel: &Path) -> Result<Vec<PathBuf>> {
    let mut files = vec![wheel.to_owned()];
    for test in fs::read_dir(sh::root().join("python/tests"))? {
        files.push(test?.path());
    }
    Ok(files)
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
        let files = with_tests(wheel)?;
        put(
            &out,
            &files.iter().map(PathBuf::as_path).collect::<Vec<_>>(),
        )?;
        let checks = wheel_checks(GUEST_WHEEL_TESTS)?;
        fs::write(
            out.join("wheel.sh"),
            format!("cd /work; export HOME=/work; {checks}"),
        )?;
        script.push_str("cp -r /out/work /; bash -ex /out/wheel.sh\n");
    }
    fs::write(out.join("run.sh"), script)?;
    let works = guest.run(&out, GUEST_LIMIT)?;
    ensure!(works, "the arm64 files do not work: see {}", out.display());
    let wheel = wheel.map_or("", |_| "; the wheel installed, and its plugin's tests pass");
    let version = guest.version();
    println!("tried on arm64, Linux {version}: a camera's frame read by dd{wheel}");
    Ok(fs::remove_dir_all(&out)?)
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
