//! The Python module and its pytest plugin, from the source tree.

use crate::common::{finish, lacks};
use std::path::Path;
use std::process::Command;

/// A file that exists if pytest is installed as the system's package.
pub(crate) const PYTEST: &str = "/usr/lib/python3/dist-packages/pytest/__init__.py";

/// Prepares Python with the module and the plugin.
pub(crate) fn with_module(python: &mut Command) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../python/src");
    python
        .env("PYTHONPATH", source)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("PYTEST_PLUGINS", "vb3.pytest_plugin")
        .env("VB3_BINARY", env!("CARGO_BIN_EXE_vb3"));
}

#[test]
fn module_and_plugin_pass_their_tests() {
    let python = "/usr/bin/python3";
    if [python, PYTEST, "ffmpeg"].into_iter().any(lacks) {
        return;
    }
    let dir = crate::common::tempdir();
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../python/tests");
    let mut command = crate::surroundings::command(python, dir.path());
    with_module(&mut command);
    command
        .args(["-m", "pytest", "-p", "no:cacheprovider"])
        .arg(tests);
    let (status, stdout, stderr) = finish(&mut command, dir.path());
    assert_eq!(status, 0, "{stdout}\n{stderr}");
}
