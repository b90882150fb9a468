//! Inherited signals and limits, and runs whose supervisor or files fail.

use crate::common::{compiled, finish, vb3};
use crate::lifecycle::{Lasting, lives, wait_for};
use crate::surroundings::command;
use rustix::process::Signal;
use std::fs;
use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::SystemTime;

/// A program inherits the ignored and blocked signals of the run's parent.
#[test]
fn inherited_signals_reach_the_program() {
    let dir = crate::common::tempdir();
    let signals = |words: &[&str]| {
        let mut command = command("env", dir.path());
        command
            .args(["--ignore-signal=PIPE,CHLD", "--block-signal=USR2,TERM"])
            .args(words)
            .args(["grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status"]);
        let (status, stdout, stderr) = finish(&mut command, dir.path());
        assert_eq!(status, 0, "{stderr}");
        stdout
    };
    let vb3 = env!("CARGO_BIN_EXE_vb3");
    assert_eq!(signals(&[vb3, "run", "--"]), signals(&[]));
}

#[test]
fn user_signals_reach_the_program() {
    let script = "trap 'touch one' USR1; trap 'touch two' USR2; trap 'touch alarm' ALRM
        echo $$ > ready; while :; do sleep 0.05; done";
    let run = Lasting::start(script, &[]);
    run.pid_in("ready");
    for (signal, file) in [
        (Signal::USR1, "one"),
        (Signal::USR2, "two"),
        (Signal::ALARM, "alarm"),
    ] {
        run.send(signal);
        let file = run.dir.path().join(file);
        wait_for("the trap's file", || file.exists().then_some(()));
    }
}

/// Without a supervisor, calls on devices get no answer. A shell that retried them would never end.
#[test]
fn programs_of_a_killed_run_end() {
    let script = "sh -c 'echo $$ > inner; while :; do sleep 0.05; done' &
        setsid -f sh -c 'echo $$ > daemon; while :; do sleep 0.05; done'
        echo $$ > shell; while :; do sleep 0.05; done";
    let run = Lasting::start(script, &[]);
    let pids = ["inner", "daemon", "shell"].map(|name| run.pid_in(name));
    run.send(Signal::KILL);
    wait_for("their end", || {
        (!pids.iter().any(|&pid| lives(pid))).then_some(())
    });
    // The message of their end comes later.
    let said = || fs::read_to_string(run.dir.path().join("stderr")).unwrap();
    let farewell = "the programs of its run are ended";
    wait_for(farewell, || said().contains(farewell).then_some(()));
}

/// A file size limit (SIGXFSZ) ends neither the supervisor nor the program.
#[test]
fn a_file_size_limit_is_an_error() {
    let dir = crate::common::tempdir();
    let mut command = command("sh", dir.path());
    let script = format!(
        "ulimit -f 1; exec {} run -v -- sh -c 'ls /dev/video0; exit 7'",
        env!("CARGO_BIN_EXE_vb3")
    );
    command
        .args(["-c", &script])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let status = command.status().unwrap();
    assert_eq!(status.code(), Some(7), "{status}");
}

#[test]
fn a_closed_or_full_stderr_changes_no_status() {
    let dir = crate::common::tempdir();
    let (reader, closed) = std::io::pipe().unwrap();
    drop(reader);
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    for stderr in [Stdio::from(closed), Stdio::from(full)] {
        let mut command = vb3(dir.path());
        command.args(["run", "-v", "--", "sh", "-c"]);
        command.arg("for n in 1 2 3; do exec 9</dev/video0; done; setsid -f sleep 60; exit 6");
        let status = command.stderr(stderr).status().unwrap();
        assert_eq!(status.code(), Some(6), "{status}");
    }
}

/// A run makes its generated files, threads and processes when a program first needs them.
#[test]
fn program_without_devices_costs_little() {
    let (dir, temp) = (crate::common::tempdir(), crate::common::tempdir());
    let temp_dir = fs::File::open(temp.path()).unwrap();
    let changed = || temp_dir.metadata().unwrap().modified().unwrap();
    temp_dir.set_modified(SystemTime::UNIX_EPOCH).unwrap();
    let run = |words: &[&str]| {
        let mut command = vb3(dir.path());
        command.env("TMPDIR", temp.path());
        command.args(["run", "--control", "control", "--"]);
        command.args(words).stdin(Stdio::piped());
        command.stdout(Stdio::piped()).spawn().unwrap()
    };
    let mut cat = run(&["cat"]);
    let mut stdin = cat.stdin.take().unwrap();
    stdin.write_all(b"x").unwrap();
    cat.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    let entries = |path: &str| {
        let path = format!("/proc/{}/{path}", cat.id());
        let entries = fs::read_dir(path).unwrap().flatten();
        entries.map(|entry| entry.path()).collect::<Vec<_>>()
    };
    let (mut children, mut names) = (String::new(), Vec::new());
    for task in entries("task") {
        children += &fs::read_to_string(task.join("children")).unwrap_or_default();
        names.extend(fs::read_to_string(task.join("comm")));
    }
    let fds = entries("fd").into_iter().flat_map(fs::read_link);
    let is_node = |path: &PathBuf| path.to_string_lossy().starts_with("/memfd:video");
    let nodes: Vec<_> = fds.filter(is_node).collect();
    drop(stdin);
    assert!(cat.wait().unwrap().success());
    assert_eq!(children.split_whitespace().count(), 1, "{children}");
    names.retain(|name| !["vb3", "vb3-call", "vb3-notes"].contains(&name.trim()));
    assert_eq!((names, nodes), (vec![], vec![]));
    assert_eq!(changed(), SystemTime::UNIX_EPOCH, "nothing was generated");
    assert!(run(&["ls", "/dev"]).wait().unwrap().success());
    assert!(changed() > SystemTime::UNIX_EPOCH);
}

#[test]
fn without_threads_vb3_says_why() {
    let Some(refuse) = compiled("refuse.c") else {
        return;
    };
    let dir = crate::common::tempdir();
    let mut command = command(refuse, dir.path());
    command
        .arg("threads")
        .arg(env!("CARGO_BIN_EXE_vb3"))
        .args(["run", "--", "true"]);
    let (status, _, said) = finish(&mut command, dir.path());
    assert_eq!(status, 125, "{said}");
    assert!(
        said.contains("start of a thread") && said.contains("clone3"),
        "{said}"
    );
    assert!(!said.contains("defect"), "{said}");
}

#[test]
fn doctor_knows_that_it_is_inside_a_run() {
    let dir = crate::common::tempdir();
    let mut command = vb3(dir.path());
    command.args(["run", "--", env!("CARGO_BIN_EXE_vb3"), "doctor"]);
    let (_, said, _) = finish(&mut command, dir.path());
    assert!(said.contains("inside another"), "{said}");
    assert!(!said.contains("Linux 5.19"), "{said}");
}
