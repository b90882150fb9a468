//! Browsers that a test drives: the recipes of docs/ci.md, each in both shapes. The whole test is in a run, or the
//! test starts a run in which only the browser is.
//!
//! The drivers are no packages of Debian, so these tests only run if `target/clients` has them:
//! `npm install --prefix target/clients/node puppeteer-core`,
//! `pip install --target target/clients/python selenium`, and geckodriver in `target/clients/bin`.

use crate::clients::others;
use crate::common::{finish, lacks, tempdir};
use crate::surroundings::command;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Returns whether a file of a driver is missing, and says so.
fn lacks_driver(path: &Path) -> bool {
    if !path.exists() {
        vb3_skip::elsewhere(format_args!("{} is not installed", path.display()));
    }
    !path.exists()
}

fn tree() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..")
}

/// Runs a test program alone, and under `vb3 run`. Asserts that it succeeds and prints `said`.
fn in_both_shapes(dir: &Path, words: &[&str], env: &[(&str, OsString)], said: &str) {
    let vb3 = env!("CARGO_BIN_EXE_vb3");
    let within = [&[vb3, "run", "-d", "camera", "--"][..], words].concat();
    for words in [words, &within] {
        let mut test: Command = command(words[0], dir);
        test.args(&words[1..]).env("VB3_BINARY", vb3);
        test.envs(env.iter().cloned());
        let (status, out, err) = finish(&mut test, dir);
        assert!(status == 0 && out.contains(said), "{words:?}: {out}\n{err}");
    }
}

#[test]
#[ignore = "full: a browser driven by a package of npm"]
fn puppeteer_follows_the_camera_in_both_shapes() {
    let modules = others().join("node/node_modules");
    if lacks("chromium") || lacks("node") || lacks_driver(&modules.join("puppeteer-core")) {
        return;
    }
    let dir = tempdir();
    let script = dir.path().join("puppeteer.mjs");
    std::fs::copy(tree().join("examples/browser/puppeteer.mjs"), script).unwrap();
    std::os::unix::fs::symlink(modules, dir.path().join("node_modules")).unwrap();
    let said = "The page follows the camera.";
    in_both_shapes(dir.path(), &["node", "puppeteer.mjs"], &[], said);
}

#[test]
#[ignore = "full: a browser driven by packages of pip"]
fn firefox_follows_the_camera_in_both_shapes() {
    let (bin, python) = (others().join("bin"), others().join("python"));
    let drivers = [bin.join("geckodriver"), python.join("selenium")];
    if lacks("firefox-esr")
        || lacks(crate::python::PYTEST)
        || drivers.iter().any(|d| lacks_driver(d))
    {
        return;
    }
    let dir = tempdir();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths([bin].into_iter().chain(std::env::split_paths(&path))).unwrap();
    let modules = std::env::join_paths([tree().join("python/src"), python]).unwrap();
    let env = [
        ("PATH", path),
        ("PYTHONPATH", modules),
        ("PYTEST_PLUGINS", "vb3.pytest_plugin".into()),
        ("PYTHONDONTWRITEBYTECODE", "1".into()),
    ];
    let test = tree().join("python/examples/test_firefox.py");
    let words = [
        "/usr/bin/python3",
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "-q",
    ];
    let words = [&words[..], &[test.to_str().unwrap()]].concat();
    in_both_shapes(dir.path(), &words, &env, "1 passed");
}
