//! poll and epoll as a kernel does them.

use crate::common::{compiled, finish, runs_files};
use crate::surroundings::command;

/// All conditions of an entry are one event, and EPOLLONESHOT disarms with it. Measured with
/// sockets on the same kernel.
#[test]
fn one_entry_is_one_event() {
    runs_files("epoll-one");
}

/// An edge is a wake-up of those who wait for the file; QUERYCAP wakes nobody.
#[test]
fn a_call_that_wakes_nobody_is_no_edge() {
    runs_files("epoll-edges");
}

/// A look of the supervisor's own starts neither read() nor write(): formats stay free to change.
#[test]
fn epoll_entry_leaves_formats_free() {
    runs_files("epoll-resize");
}

/// The number of sets is bounded by memory alone, and those of ended processes are gone.
#[test]
fn a_file_stands_in_hundreds_of_sets() {
    runs_files("epoll-sets");
}

/// poll keeps its deadline over SIGSTOP and SIGCONT (`restart_syscall`); ppoll goes on with the time
/// that was left as the stop came. Measured with pipes on the same kernel: 2.20 s and 4.00 s.
#[test]
fn a_stopped_poll_ends_in_time() {
    runs_files("poll-stopped");
}

/// The number of descriptors in a poll is bounded by RLIMIT_NOFILE alone.
#[test]
fn a_poll_of_five_thousand_waits() {
    runs_files("poll-many");
}

/// Bits beyond the descriptor table are neither read nor written.
#[test]
fn select_stays_within_the_table() {
    runs_files("select-large");
}

/// Where files cannot be compared (kcmp, in containers), no set sees events of another's, and sets
/// that were closed take no descriptors.
#[test]
fn epoll_sets_are_told_apart_without_kcmp() {
    let (Some(refuse), Some(files)) = (compiled("refuse.c"), compiled("files.c")) else {
        return;
    };
    for word in ["epoll-apart", "epoll-closed"] {
        let dir = crate::common::tempdir();
        let script = "ulimit -n 1500; exec \"$@\"";
        let mut command = command("sh", dir.path());
        command
            .args(["-c", script, "sh"])
            .arg(&refuse)
            .args([
                "kcmp",
                env!("CARGO_BIN_EXE_vb3"),
                "run",
                "--device",
                "camera=pattern",
                "--",
            ])
            .arg(&files)
            .args([word, "/dev/video0"]);
        let (status, stdout, stderr) = finish(&mut command, dir.path());
        assert_eq!(status, 0, "{word}: {stdout}{stderr}");
    }
}
