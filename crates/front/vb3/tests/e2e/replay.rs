//! `vb3 replay` and `vb3 diff`: repeating a run, and comparing two.

use crate::common::{finish, lacks, vb3};
use std::fs;
use std::path::Path;

const CLIENT: [&str; 5] = [
    "v4l2-ctl",
    "--stream-mmap=3",
    "--stream-count=12",
    "--stream-to=shot.raw",
    "--set-fmt-video=width=64,height=64,pixelformat=YUYV",
];

/// Runs `vb3` in a directory. Returns status, stdout and stderr.
fn run(dir: &Path, words: &[&str]) -> (i32, String, String) {
    let mut command = vb3(dir);
    finish(command.args(words), dir)
}

fn record(dir: &Path, report: &str, options: &[&str]) {
    let mut words = vec!["run", "--report", report];
    words.extend(options);
    words.push("--");
    words.extend(CLIENT);
    let (status, _, said) = run(dir, &words);
    assert_eq!(status, 0, "{said}");
}

#[test]
fn a_replayed_run_is_the_same_run() {
    if lacks("v4l2-ctl") {
        return;
    }
    let (there, here) = (crate::common::tempdir(), crate::common::tempdir());
    // The profile no longer exists at the replay, and the seed is not the default.
    let (status, profile, _) = run(there.path(), &["machines", "soc-cma"]);
    assert_eq!(status, 0);
    let own = profile.replace("\"soc-cma\"", "\"mine\"");
    assert_ne!(own, profile);
    fs::write(there.path().join("mine.toml"), own).unwrap();
    let camera = "camera=pattern,profile=sensor,pace=free";
    let options = ["-m", "mine.toml", "--seed", "9", "-d", camera];
    record(there.path(), "first.json", &options);
    let shot = fs::read(there.path().join("shot.raw")).unwrap();
    fs::remove_file(there.path().join("mine.toml")).unwrap();
    fs::remove_file(there.path().join("shot.raw")).unwrap();
    let first = there.path().join("first.json");
    let first = first.to_str().unwrap();
    let replay = ["replay", first, "--report", "second.json"];
    let (status, _, said) = run(here.path(), &replay);
    assert_eq!(status, 0, "{said}");
    // The program ran in its former directory; the report is in the current one.
    assert!(fs::read(there.path().join("shot.raw")).unwrap() == shot);
    let (status, _, said) = run(here.path(), &["replay", first, "--trace", first]);
    assert_eq!(status, 125, "{said}");
    assert!(said.contains("are one file"), "{said}");
    let (status, said, _) = run(here.path(), &["diff", first, "second.json"]);
    assert_eq!((status, &*said), (0, "The runs differ only in times.\n"));
}

#[test]
fn the_last_run_is_replayed_without_a_name() {
    let dir = crate::common::tempdir();
    let (status, said, _) = run(dir.path(), &["run", "--", "echo", "once"]);
    assert_eq!((status, &*said), (0, "once\n"));
    let (status, said, stderr) = run(dir.path(), &["replay"]);
    assert_eq!((status, &*said), (0, "once\n"), "{stderr}");
}

#[test]
fn diff_lists_differences_and_sets_the_status() {
    if lacks("v4l2-ctl") {
        return;
    }
    let dir = crate::common::tempdir();
    let camera = "camera=pattern,profile=sensor,pace=free";
    record(dir.path(), "pc.json", &["-d", camera]);
    let bounced = ["-m", "vm-bounce", "-d", camera, "-d", "display=null"];
    record(dir.path(), "bounce.json", &bounced);
    let (status, said, _) = run(dir.path(), &["diff", "pc.json", "bounce.json"]);
    assert_eq!(status, 1, "{said}");
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[0], "machine: pc before, vm-bounce after", "{said}");
    assert!(
        lines[1].ends_with(&format!("{camera} display=null after")),
        "{said}"
    );
    let new = "/dev/video1: no device before, display after";
    assert!(lines.contains(&new), "{said}");
}

#[test]
fn invalid_reports_are_refused_in_a_sentence() {
    let dir = crate::common::tempdir();
    fs::write(
        dir.path().join("old.json"),
        "{\"format\": 1, \"program\": [\"true\"]}",
    )
    .unwrap();
    fs::write(dir.path().join("not.json"), "no JSON").unwrap();
    for (words, wanted) in [
        (&["replay", "old.json"][..], "older vb3"),
        (&["replay", "not.json"], "not.json is not a report: it is"),
        (&["replay", "none.json"], "there is no report none.json"),
        (
            &["diff", "old.json", "none.json"],
            "there is no report none.json",
        ),
    ] {
        let (status, out, said) = run(dir.path(), words);
        assert_eq!((status, &*out), (125, ""), "{words:?}");
        assert!(said.contains(wanted) && said.lines().count() == 1, "{said}");
    }
}
