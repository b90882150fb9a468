//! Descriptors of devices and buffers, and the program's other descriptors.

use crate::common::{runs_files, slowness};

/// Four threads open a million files, up to the limit, while devices are opened and closed. Each
/// descriptor must be the opened file. An emulated processor opens fewer.
#[test]
fn nothing_of_the_programs_is_replaced() {
    let Some(said) = runs_files("churn") else {
        return;
    };
    let words: Vec<&str> = said.split_whitespace().collect();
    let [_, opens, _, devices, _, full] = words[..] else {
        panic!("{said}")
    };
    let [opens, devices, full] = [opens, devices, full].map(|n| n.parse::<u32>().unwrap());
    assert!(opens >= 100_000 / slowness(), "{said}");
    assert!(devices >= 200 / slowness() && full > 0, "{said}");
}

/// sendfile, splice, copy_file_range, fsync, fallocate and ftruncate fail; so do read and write of a dma-buf.
/// The expected errnos come from the source of Linux 7.2, not from a measurement on a device.
#[test]
fn file_calls_that_devices_and_buffers_refuse() {
    runs_files("refused");
}

/// An exported buffer lives as long as its descriptor, and the process's end releases all.
#[test]
#[ignore = "full: thousands of buffers"]
fn three_thousand_exported_buffers() {
    runs_files("exports");
}

/// `SYNC_IOC_MERGE` and `DMA_BUF_IOCTL_EXPORT_SYNC_FILE` whose structure is on a read-only page.
#[test]
fn untold_sync_files_are_not_made() {
    runs_files("untold");
}

/// A large writev() that the device refuses does not use memory of the supervisor.
#[test]
fn refused_vectors_are_not_copied() {
    runs_files("vectors");
}

/// Uses a path below a node, a reference to a node, and a poll of too many descriptors.
#[test]
fn nodes_are_no_directories() {
    runs_files("nodes");
}

/// O_DIRECT, flags of preadv2, and chmod, chown, touch and inotify by a node's path.
#[test]
fn flags_and_attributes_are_a_kernels() {
    runs_files("flags");
}
