//! Closes and locks of device files, compared with those of a kernel.

use std::path::Path;
use std::process::Command;

use crate::common::{Run, compiled, runs_files, size_option};

/// The close that ends a file also removes it from all epoll sets, so no later event reports it.
/// Measured with pipes on the same kernel.
#[test]
fn a_closed_file_has_left_its_epoll_sets() {
    runs_files("close-epoll");
}

/// Only the close of the last descriptor of a file removes it from epoll sets.
#[test]
fn a_file_with_a_copy_stays_in_its_epoll_sets() {
    runs_files("close-copies");
}

/// Two processes share one descriptor table, and one of them closes.
#[test]
fn a_close_in_a_shared_table_is_the_last_one() {
    runs_files("close-shared");
}

/// A process's files are released before `wait` reports its end.
#[test]
fn a_killed_owner_that_was_waited_for_owns_nothing() {
    runs_files("close-killed");
}

/// Locks on a node conflict only with locks of programs, not with the supervisor's.
#[test]
fn locks_are_the_programs() {
    runs_files("locks");
}

/// Record locks of several processes. The program makes the same checks on an ordinary file without vb3.
#[test]
fn record_locks_are_a_kernels() {
    let Some(program) = compiled("locks.c") else {
        return;
    };
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("locks-{}", std::process::id()));
    std::fs::write(&file, "").unwrap();
    let kernels = Command::new(&program).arg(&file).output().unwrap();
    std::fs::remove_file(&file).unwrap();
    assert!(kernels.status.success(), "{kernels:?}");
    let outcome = Run::on("pc")
        .device(format!("camera=pattern,{}", size_option()))
        .program([program.as_os_str()])
        .and(["/dev/video0"])
        .run();
    outcome.expect_success();
}

/// Locks on an exported buffer are granted, and the buffer keeps working.
#[test]
fn locks_of_buffers_lose_none() {
    runs_files("locks-buffers");
}
