//! Descriptors of devices and buffers, and those of the program beside them.

use crate::common::{runs_files, slowness};

/// Four threads open a million files up to the limit while devices are opened and closed: each is
/// what was opened. Less of them where the processor is emulated.
#[test]
fn nothing_of_the_programs_is_replaced() {
    let Some(said) = runs_files("churn") else {
        return;
    };
    let mut words = said.split_whitespace();
    let opens: u32 = words.nth(1).unwrap().parse().unwrap();
    assert!(opens >= 1_000_000 / slowness(), "{said}");
}

/// sendfile, splice, copy_file_range, fsync, fallocate, ftruncate; read and write of a dma-buf.
/// The errno are read from Linux 7.2; not measured on a device.
#[test]
fn what_devices_and_buffers_refuse() {
    runs_files("refused");
}

/// What is exported is held as long as its descriptor, and all of it goes with the process.
#[test]
fn three_thousand_exported_buffers() {
    runs_files("exports");
}
