//! The templates in `templates/` add a kind of device, a sensor, a graph, a codec and a pixel format, as the README
//! says.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The name of each template, and the files that it touches: new files, those in which it adds a row, and those that
/// name a new file.
const TEMPLATES: &[(&str, &[&str])] = &[
    (
        "device",
        &[
            "simulation/devices/src/lib.rs",
            "simulation/devices/src/registry.rs",
            "simulation/devices/src/ticker.rs",
        ],
    ),
    (
        "sensor",
        &[
            "simulation/devices/src/graph/sensor/gc0310.rs",
            "simulation/devices/src/graph/sensor/mod.rs",
        ],
    ),
    (
        "graph",
        &[
            "simulation/devices/src/graph/mod.rs",
            "simulation/devices/src/graph/pair.rs",
            "simulation/devices/src/registry.rs",
        ],
    ),
    (
        "codec",
        &[
            "simulation/codec/src/job.rs",
            "simulation/codec/src/table.rs",
            "simulation/codec/src/units.rs",
            "simulation/codec/src/units/mjpeg.rs",
        ],
    ),
    ("format", &["api/v4l2/src/pixfmt/table.rs"]),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..")
}

fn patch(name: &str) -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.join(format!("templates/{name}.patch"))
}

#[test]
fn templates_add_one_file_and_one_row() {
    for (name, touched) in TEMPLATES {
        let mut git = Command::new("git");
        git.args(["apply", "-C1", "--check"]).arg(patch(name));
        let Ok(out) = git.current_dir(root()).output() else {
            return vb3_skip::skip("git does not start");
        };
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success(), "{name}: {said}");
        let text = std::fs::read_to_string(patch(name)).expect(name);
        let files = (text.lines()).filter_map(|line| line.strip_prefix("+++ b/crates/"));
        let mut files: Vec<&str> = files.collect();
        files.sort_unstable();
        assert_eq!(files, *touched, "{name}");
    }
}

/// Copies the files that git knows.
fn copy_tree(to: &Path) {
    let mut git = Command::new("git");
    let listed = git.args(["ls-files", "-z"]).current_dir(root()).output();
    let listed = listed.expect("git starts").stdout;
    for name in listed.split(|byte| *byte == 0) {
        let name = std::str::from_utf8(name).expect("a name");
        let (from, to) = (root().join(name), to.join(name));
        if from.is_file() {
            std::fs::create_dir_all(to.parent().expect("a directory")).expect("room");
            std::fs::copy(from, to).expect("room");
        }
    }
}

#[test]
#[ignore = "full: builds four crates again"]
fn templates_build_and_pass_their_tests() {
    let dir = tempfile::tempdir().expect("room");
    copy_tree(dir.path());
    for (name, ..) in TEMPLATES {
        let mut git = Command::new("git");
        git.args(["apply", "-C1"]).arg(patch(name));
        let applied = git.current_dir(dir.path()).status().expect("git starts");
        assert!(applied.success(), "{name}");
    }
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["test", "--offline", "-p", "vb3-devices", "-p", "vb3-codec"]);
    cargo.args(["-p", "vb3-v4l2", "-p", "vb3-picture", "--lib", "--"]);
    // Of the tests of existing code, those that look at all rows of a table.
    cargo.args([
        "template", "ticker", "registry", "pixfmt", "formats", "alike",
    ]);
    cargo.env("CARGO_TARGET_DIR", root().join("target/templates"));
    let out = cargo
        .current_dir(dir.path())
        .output()
        .expect("cargo starts");
    let said = String::from_utf8_lossy(&out.stdout);
    let failed = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{said}{failed}");
    for test in [
        "a_ticker_has_the_format_that_was_chosen",
        "the_template_is_a_model",
        "the_template_has_a_video_node_and_a_subdevice",
        "the_template_has_its_word",
        "the_template_format_has_its_name",
        "every_row_is_complete",
        "whole_pictures_and_single_pixels_convert_alike",
    ] {
        assert!(said.contains(&format!("{test} ... ok")), "{test}: {said}");
    }
}
