//! The sockets of runs: many runs that start at once, many clients, a stopped run, and no free descriptors.

use crate::common::{slowness, tempdir};
use crate::surroundings::command;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Number of runs that start at once.
const RUNS: usize = 40;

fn vb3(dir: &Path) -> Command {
    let mut vb3 = command(env!("CARGO_BIN_EXE_vb3"), dir);
    vb3.env("XDG_RUNTIME_DIR", dir).env_remove("VB3_CONTROL");
    vb3.stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    vb3
}

/// A run whose program waits for a line of input.
struct Held {
    child: Child,
    socket: PathBuf,
}

impl Held {
    fn start(mut run: Command) -> Self {
        let mut child = run.stdin(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        let stdout = child.stdout.as_mut().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        let socket = PathBuf::from(line.trim_end());
        Self { child, socket }
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

fn held(dir: &Path) -> Held {
    let mut run = vb3(dir);
    run.args(["run", "--", "sh", "-c", "echo $VB3_CONTROL; read line"]);
    Held::start(run)
}

#[test]
fn runs_that_start_at_once_keep_their_sockets() {
    let dir = tempdir();
    let stopped = held(dir.path());
    stopped.signal(rustix::process::Signal::STOP);
    for _ in 0..3 {
        let runs = (0..RUNS).map(|_| {
            let mut run = vb3(dir.path());
            run.args(["run", "--", env!("CARGO_BIN_EXE_vb3"), "ctl", "state"]);
            run.spawn().unwrap()
        });
        for run in runs.collect::<Vec<_>>() {
            let output = run.wait_with_output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{said}");
        }
    }
    stopped.signal(rustix::process::Signal::CONT);
}

#[test]
fn many_clients_at_once_are_answered() {
    let dir = tempdir();
    let run = held(dir.path());
    let clients = (0..120).map(|_| {
        let mut client = vb3(dir.path());
        client.args(["ctl", "state"]).spawn().unwrap()
    });
    for client in clients.collect::<Vec<_>>() {
        let output = client.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
    }
    drop(run);
}

#[test]
fn a_run_without_free_descriptors_says_so() {
    let dir = tempdir();
    let limited = "ulimit -n 100; exec \"$0\" run -- sh -c 'echo $VB3_CONTROL; read line'";
    let mut run = command("sh", dir.path());
    run.env("XDG_RUNTIME_DIR", dir.path())
        .stdout(Stdio::piped());
    run.args(["-c", limited, env!("CARGO_BIN_EXE_vb3")]);
    let run = Held::start(run);
    let clients = (0..120).map(|_| UnixStream::connect(&run.socket).unwrap());
    let clients: Vec<UnixStream> = clients.collect();
    let mut last = clients.last().unwrap();
    last.set_read_timeout(Some(Duration::from_secs(60) * slowness()))
        .unwrap();
    let mut line = String::new();
    BufReader::new(last).read_line(&mut line).unwrap();
    assert!(line.contains("no free descriptor"), "{line}");
    let mut first = &clients[0];
    first.write_all(b"{\"do\":\"state\"}\n").unwrap();
    line.clear();
    BufReader::new(first).read_line(&mut line).unwrap();
    assert!(line.contains("\"ok\":true"), "{line}");
    last.flush().unwrap();
}

#[test]
fn ctl_tells_which_run_and_why_it_failed() {
    let dir = tempdir();
    let ctl = |words: &[&str]| {
        let output = vb3(dir.path()).arg("ctl").args(words).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), said)
    };
    let (status, said) = ctl(&["state"]);
    assert!(
        status == Some(2) && said.contains("no run of this user"),
        "{said}"
    );
    let first = held(dir.path());
    let pid = first.child.id().to_string();
    let (status, said) = ctl(&["state"]);
    let named = format!("the active run is {pid} (sh -c echo $VB3_CONTROL; read line)");
    assert!(status == Some(0) && said.contains(&named), "{said}");
    let (status, said) = ctl(&["--run", &pid, "state"]);
    assert!(status == Some(0) && said.is_empty(), "{said}");
    let (status, said) = ctl(&["plug", "video0"]);
    assert!(status == Some(1) && said.contains("device: "), "{said}");
    let (status, said) = ctl(&["--run", "4194305", "state"]);
    assert!(
        status == Some(2) && said.contains("there is no run 4194305; "),
        "{said}"
    );
    let second = held(dir.path());
    let (status, said) = ctl(&["state"]);
    assert!(
        status == Some(2) && said.contains("2 runs are active: "),
        "{said}"
    );
    drop(second);
}
