//! Reports are for their user alone, and belong to the run that made them.

use crate::common::{finish, tempdir, vb3};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

fn run(dir: &Path, words: &[&str]) -> (i32, String, String) {
    finish(vb3(dir).args(words), dir)
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

#[test]
fn only_the_user_reads_reports_and_traces() {
    let dir = tempdir();
    let files = ["r.json", "r.html", "trace.txt"];
    let options = [
        "--report", files[0], "--report", files[1], "--trace", files[2],
    ];
    let program = ["--", "sh", "-c", ": rtsp://me:secret@host/a"];
    let (status, _, said) = run(dir.path(), &[&["run"], &options[..], &program].concat());
    assert_eq!(status, 0, "{said}");
    for file in files {
        assert_eq!(mode(&dir.path().join(file)), 0o600, "{file}");
    }
    let mut find = std::process::Command::new("find");
    let find = find.args([dir.path(), Path::new("-name"), Path::new("last.json")]);
    let found = finish(find, dir.path()).1;
    let [kept] = found.lines().collect::<Vec<_>>()[..] else {
        panic!("{found}")
    };
    let kept = Path::new(kept).to_owned();
    assert_eq!((mode(&kept), mode(kept.parent().unwrap())), (0o600, 0o700));
    for file in [
        &dir.path().join(files[0]),
        &dir.path().join(files[1]),
        &kept,
    ] {
        let text = std::fs::read_to_string(file).unwrap();
        assert!(text.contains("rtsp://***@host/a") && !text.contains("secret"));
    }
    let (status, _, said) = run(dir.path(), &["replay"]);
    assert!(
        status == 125 && said.contains("a password was removed"),
        "{said}"
    );
}

#[test]
fn a_run_that_does_not_begin_overwrites_nothing() {
    let dir = tempdir();
    let run = |words: &[&str]| run(dir.path(), words);
    let (status, _, said) = run(&["run", "--report", "r.json", "--", "true"]);
    assert_eq!(status, 0, "{said}");
    let mut why = vb3(dir.path());
    let (status, _, said) = finish(why.arg("why").current_dir("/"), dir.path());
    assert!(
        status == 0 && said.contains("this is the last run, "),
        "{said}"
    );
    let before = std::fs::read(dir.path().join("r.json")).unwrap();
    for (words, status, reason) in [
        (
            &["run", "--report", "r.json", "--", "./typo"][..],
            127,
            "./typo: ",
        ),
        (
            &["run", "--report", "r.json", "-d", "camra", "--", "true"][..],
            125,
            "camra",
        ),
    ] {
        let (found, _, said) = run(words);
        assert_eq!(found, status, "{said}");
        assert_eq!(std::fs::read(dir.path().join("r.json")).unwrap(), before);
        let (_, said, _) = run(&["why"]);
        let expected = "The run did not begin: ";
        assert!(said.contains(expected) && said.contains(reason), "{said}");
        let (status, _, said) = run(&["replay"]);
        assert!(status == 125 && said.contains("did not begin"), "{said}");
    }
}
