//! Which file systems have files without a poll function of their own.

use std::collections::BTreeMap;
use std::sync::Mutex;

use crate::kernel::{lock, raw};

/// File systems whose regular files and directories have no poll, so that the kernel reports them as ready. In other
/// file systems, the poll of a file may call a program (FUSE) or report changes (/proc).
const WITHOUT_POLL: [&str; 8] = [
    "btrfs", "devtmpfs", "ext2", "ext3", "ext4", "overlay", "tmpfs", "xfs",
];
/// Maximum number of file systems that are remembered.
const MAX_KNOWN: usize = 256;

/// Whether a file system has no poll, by its device number.
static KNOWN: Mutex<BTreeMap<u64, bool>> = Mutex::new(BTreeMap::new());

/// Returns whether no file of a file system has a poll. `dev` is its device number. Reads the list of mounts when the
/// number is first seen. A call of statfs instead could hang, because FUSE passes it to the program that serves the
/// file system.
pub(crate) fn has_no_poll(dev: u64) -> bool {
    if let Some(known) = lock(&KNOWN).get(&dev) {
        return *known;
    }
    // A file system that only the program's own list of mounts contains has an unknown kind.
    let found = is_without(&raw::proc_string("/proc/self/mountinfo"), dev);
    let mut known = lock(&KNOWN);
    if known.len() >= MAX_KNOWN {
        known.clear();
    }
    known.insert(dev, found);
    found
}

/// Finds the file system with a device number in the text of a `mountinfo` file. Returns whether its files have no
/// poll; false if the text does not list the file system.
fn is_without(mounts: &str, dev: u64) -> bool {
    let number = format!("{}:{}", libc::major(dev), libc::minor(dev));
    let mut lines = mounts.lines().filter_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        let is_meant = mount.split(' ').nth(2) == Some(&number);
        is_meant.then(|| kind.split(' ').next())?
    });
    lines
        .next()
        .is_some_and(|kind| WITHOUT_POLL.contains(&kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_found_by_device_number() {
        let mounts = "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
                      23 22 0:20 / /proc rw shared:5 - proc proc rw\n\
                      24 22 0:44 / /mnt rw - fuse.sshfs host: rw\n";
        let is_known = |major, minor| is_without(mounts, libc::makedev(major, minor));
        assert!(is_known(8, 1));
        assert!(!is_known(0, 20) && !is_known(0, 44) && !is_known(8, 2));
    }
}
