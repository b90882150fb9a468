//! poll and epoll, compared with a kernel.

use crate::common::{Run, compiled, finish, runs_files};
use crate::surroundings::command;

/// Runs one subtest of `waits.c` on a camera.
fn waits(word: &str) {
    let Some(program) = compiled("waits.c") else {
        return;
    };
    let run = Run::on("pc").device("camera=pattern");
    let run = run.program([program.as_os_str()]);
    run.and([word, "/dev/video0"]).run().expect_success();
}

/// select waits until its timeout if a file only has an error or a hang-up, which none of the call's sets reports.
#[test]
fn select_waits_at_a_hang_up() {
    waits("select-hang-up");
}

/// ppoll returns its result even if the remaining time cannot be written back.
#[test]
fn a_time_may_be_read_only() {
    waits("read-only-time");
}

/// After a handler has ended a poll, vb3 does not take the restart_syscall of another call for one of this poll.
#[test]
fn a_stopped_call_after_a_poll_is_no_poll() {
    waits("restart-of-another");
}

/// All conditions of an entry are one event, and EPOLLONESHOT disarms the entry after this event. Measured
/// with sockets on the same kernel.
#[test]
fn one_entry_is_one_event() {
    runs_files("epoll-one");
}

/// An edge comes when a file's waiters are woken. QUERYCAP wakes no waiters.
#[test]
fn a_call_that_wakes_nobody_is_no_edge() {
    runs_files("epoll-edges");
}

/// A poll by the supervisor itself does not start read() or write() mode, so formats can still
/// change.
#[test]
fn epoll_entry_leaves_formats_free() {
    runs_files("epoll-resize");
}

/// Only memory limits the number of epoll sets, and sets of ended processes disappear.
#[test]
fn a_file_stands_in_hundreds_of_sets() {
    runs_files("epoll-sets");
}

/// poll keeps its deadline over SIGSTOP and SIGCONT (`restart_syscall`). ppoll waits again for the
/// time that remained at the stop. Measured with pipes on the same kernel: 2.20 s and 4.00 s.
#[test]
fn a_stopped_poll_ends_in_time() {
    runs_files("poll-stopped");
}

/// Only RLIMIT_NOFILE limits the number of descriptors in a poll.
#[test]
fn a_poll_of_five_thousand_waits() {
    runs_files("poll-many");
}

/// Bits beyond the descriptor table are neither read nor written.
#[test]
fn select_stays_within_the_table() {
    runs_files("select-large");
}

/// If files cannot be compared (no kcmp, as in containers), no set sees events of another, and
/// closed sets hold no descriptors.
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
