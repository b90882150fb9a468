//! Closing and locking device files, compared with a kernel.

use crate::common::runs_files;

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

/// A process's files are released before `wait` reports its end.
#[test]
fn a_killed_owner_that_was_waited_for_owns_nothing() {
    runs_files("close-killed");
}

/// POSIX locks on a node conflict only with locks of programs. Opens of one node exclude each other
/// by flock, since a device has one inode. Unlike on a real device, POSIX locks of two opens do not
/// exclude each other.
#[test]
fn locks_are_the_programs() {
    runs_files("locks");
}

/// Locks on an exported buffer are granted, and the buffer keeps working.
#[test]
fn locks_of_buffers_lose_none() {
    runs_files("locks-buffers");
}
