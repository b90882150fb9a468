//! Builds libcamera's own tests from source, and runs them without a camera and in `vb3 run`.

use crate::sh::{self, cmd};
use crate::vm::lab;
use crate::{setup, table};
use anyhow::{Context as _, Result, ensure};
use fs_err as fs;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Longest time of a test, in seconds. One test streams in all formats of a webcam for two minutes.
const LIMIT: &str = "600";
/// Exit status of a test that does not find its device.
const SKIPPED: i32 = 77;

/// Where the tests run: a name, and the simulated device, if any.
const PLACES: [(&str, Option<&str>); 3] = [
    ("no camera", None),
    ("vimc", Some("vimc")),
    ("webcam", Some("camera=pattern")),
];

/// A test, as meson lists it.
#[derive(Debug, Deserialize)]
struct Test {
    name: String,
    suite: Vec<String>,
    cmd: Vec<String>,
    env: BTreeMap<String, String>,
}

impl Test {
    /// Returns the test's path: the name of its directory, then its own name.
    fn path(&self) -> String {
        let suite = self.suite.last().map_or("", String::as_str);
        let directory = suite.rsplit(':').next().unwrap_or(suite);
        format!("{directory}/{}", self.name)
    }

    /// Runs the test, and returns its result in a word.
    fn run(&self, built: &Path, device: Option<&str>, vb3: &Path) -> Result<&'static str> {
        let mut command = match device {
            Some(device) => cmd!("timeout {LIMIT} {vb3} run --quiet --device {device} --"),
            None => cmd!("timeout {LIMIT}"),
        };
        command.args(&self.cmd).envs(&self.env);
        command.current_dir(built.join("build"));
        at_home(&mut command, built);
        let out = command.stdin(Stdio::null()).output();
        let out = out.with_context(|| format!("cannot run {}", self.path()))?;
        Ok(match out.status.code() {
            Some(0) => "pass",
            Some(SKIPPED) => "skip",
            _ => {
                let said = String::from_utf8_lossy(&out.stderr);
                eprintln!("{} fails ({}):\n{said}", self.path(), out.status);
                "FAIL"
            }
        })
    }
}

/// Selects Debian's Python, and a list of GStreamer's plugins that is kept.
fn at_home(command: &mut Command, built: &Path) {
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("/usr/bin:{path}"));
    command.env("GST_REGISTRY", built.join("registry.bin"));
}

/// Runs each test in each place. Prints the tests that do not pass everywhere.
///
/// # Errors
/// A test fails, or passes only without a camera; or the build fails.
pub(super) fn run() -> Result<()> {
    setup::install(&["libcamera"])?;
    let built = built()?;
    let vb3 = sh::release_vb3()?;
    let tests: Vec<Test> = serde_json::from_str(&fs::read_to_string(built.join("tests.json"))?)?;
    // Makes the list first: a test that lists the installed plugin cannot load its own one.
    let mut list = cmd!("gst-inspect-1.0 fakesink");
    at_home(&mut list, &built);
    sh::quietly(&mut list)?;
    let mut rows = Vec::new();
    for test in &tests {
        let mut row = vec![test.path()];
        for (_, device) in PLACES {
            row.push(test.run(&built, device, &vb3)?.to_owned());
        }
        rows.push(row);
    }
    let all = rows.len();
    let wrong = rows.iter().filter(|row| is_wrong(row)).count();
    rows.retain(|row| row.iter().skip(1).any(|result| result != "pass"));
    let header = ["test", PLACES[0].0, PLACES[1].0, PLACES[2].0];
    println!("{}", table::format(&header, &rows));
    println!("{} of {all} tests pass in each place", all - rows.len());
    ensure!(all > 0 && wrong == 0, "{wrong} of {all} tests went wrong");
    Ok(())
}

/// Returns whether a test failed, or passed only without a camera.
fn is_wrong(row: &[String]) -> bool {
    let results = row.get(1..).unwrap_or_default();
    let native = results.first().is_some_and(|result| result == "pass");
    results.iter().any(|result| result == "FAIL")
        || native && results.iter().any(|result| result != "pass")
}

/// Returns the directory of the build. Makes it if it is not kept.
fn built() -> Result<PathBuf> {
    const SCRIPT: &str = "make-libcamera-tests.sh";
    let suite =
        sh::text(Command::new("sh").args(["-c", ". /etc/os-release; echo $VERSION_CODENAME"]))?;
    let out = sh::cache("lab")?.join(format!("libcamera-tests-{suite}-{}", lab::key(SCRIPT)?));
    if !out.join("tests.json").exists() {
        let words = [suite.as_ref(), out.as_ref()];
        lab::make("building libcamera with its tests", 30, SCRIPT, &words)?;
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_that_get_worse_are_wrong() {
        let row = |results: [&str; 3]| {
            let cells = std::iter::once("a/b").chain(results);
            is_wrong(&cells.map(str::to_owned).collect::<Vec<_>>())
        };
        assert!(!row(["pass", "pass", "pass"]) && !row(["skip", "pass", "skip"]));
        assert!(row(["pass", "skip", "pass"]) && row(["skip", "FAIL", "pass"]));
    }

    #[test]
    fn tests_are_read_from_mesons_list() {
        let text = r#"[{"cmd":["/b/test/camera/capture"],"env":{"A":"b"},"name":"capture",
            "workdir":null,"timeout":30,"suite":["libcamera:camera"]}]"#;
        let tests: Vec<Test> = serde_json::from_str(text).expect("a list");
        assert_eq!(tests[0].path(), "camera/capture");
        assert_eq!(tests[0].env["A"], "b");
    }
}
