//! Closing device files, and locking them, as a kernel does.

use crate::common::runs_files;

/// A kernel takes an entry out of its epoll sets within the close that ends its file: nothing of
/// it is reported afterwards. Measured with pipes on the same kernel.
#[test]
fn a_closed_file_has_left_its_epoll_sets() {
    runs_files("close-epoll");
}

/// It takes the entry out with the last descriptor of the file, whichever that is.
#[test]
fn a_file_with_a_copy_stays_in_its_epoll_sets() {
    runs_files("close-copies");
}

/// A process's files are released before its end is told to whoever waits for it.
#[test]
fn a_killed_owner_that_was_waited_for_owns_nothing() {
    runs_files("close-killed");
}

/// POSIX locks on a node find none but the programs' own; opens of one node exclude each other by
/// flock, since a device has one inode. POSIX locks of two opens do not exclude each other here,
/// as they do on a device.
#[test]
fn locks_are_the_programs() {
    runs_files("locks");
}

/// Locks of an exported buffer are granted, and the buffer stays what it is.
#[test]
fn locks_of_buffers_lose_none() {
    runs_files("locks-buffers");
}
