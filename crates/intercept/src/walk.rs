//! Whether looking up a path may wait for a file system that somebody serves.
//!
//! What the kernel has in its cache it finds at once. What it has not, it asks the file system for: one
//! of the kernel's own answers for itself, any other may never.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, StatxFlags};
use rustix::fs::{FileType, openat2, readlinkat, statx};
use rustix::io::Errno;

use crate::path::base_link;
use crate::raw;

/// Names looked up for one path, at most.
const STEPS: usize = 4096;
/// File systems that wait for no other machine and no program. An overlay over one that does is taken
/// for one that does not: it is the root of most containers.
const OWN: [&str; 16] = [
    "bdev", "btrfs", "cgroup2", "devpts", "devtmpfs", "ext2", "ext3", "ext4", "f2fs", "overlay",
    "proc", "ramfs", "squashfs", "sysfs", "tmpfs", "xfs",
];

/// Whether what a path of thread `tid` names may have to be waited for. True where that is not known.
pub(crate) fn may_wait(tid: u32, dir: i32, path: &[u8]) -> bool {
    sees_what_we_see(tid).and_then(|()| {
        let base = match path.first() {
            None => return Some(false),
            Some(b'/') => None,
            Some(_) => Some(base_of(tid, dir)?),
        };
        let mut whole = base.unwrap_or_default();
        whole.push(b'/');
        whole.extend_from_slice(path);
        Some(!is_at_hand(&whole)?)
    }) != Some(false)
}

/// That its root and mounts are ours: without asking either for anything.
fn sees_what_we_see(tid: u32) -> Option<()> {
    let link = |path: &str| raw::readlink(&raw::c_path(path).ok()?).ok();
    let theirs = link(&format!("/proc/{tid}/ns/mnt"))?;
    let same = Some(theirs) == link("/proc/self/ns/mnt")
        && link(&format!("/proc/{tid}/root")) == link("/proc/self/root");
    same.then_some(())
}

/// Where a relative path starts, if that is a directory that answers for itself.
fn base_of(tid: u32, dir: i32) -> Option<Vec<u8>> {
    let base = raw::readlink(&raw::c_path(&base_link(tid, dir)).ok()?).ok()?;
    let fd = lookup(rustix::fs::CWD, &base, ResolveFlags::CACHED).ok()?;
    is_the_kernels_own(fd.as_fd()).then_some(base)
}

fn lookup(dir: BorrowedFd<'_>, path: &[u8], how: ResolveFlags) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat2(dir, path, flags, Mode::empty(), how)
}

/// Whether the way along an absolute path needs nobody's answer; none where that is not known.
fn is_at_hand(path: &[u8]) -> Option<bool> {
    let root = || lookup(rustix::fs::CWD, b"/", ResolveFlags::CACHED).ok();
    let mut dir = root()?;
    let parts = |path: &[u8]| -> Vec<Vec<u8>> {
        let parts = path.split(|&b| b == b'/').filter(|part| !part.is_empty());
        parts.rev().map(<[u8]>::to_vec).collect()
    };
    let mut left = parts(path);
    for _ in 0..STEPS {
        let Some(name) = left.pop() else {
            return Some(true);
        };
        let fd = match lookup(dir.as_fd(), &name, ResolveFlags::CACHED) {
            Ok(fd) => fd,
            Err(Errno::AGAIN) if !is_the_kernels_own(dir.as_fd()) => return Some(false),
            Err(Errno::AGAIN) => match lookup(dir.as_fd(), &name, ResolveFlags::empty()) {
                Ok(fd) => fd,
                Err(_) => return Some(true),
            },
            // There is no such name, and the kernel knows.
            Err(_) => return Some(true),
        };
        if kind_of(fd.as_fd())? != FileType::Symlink {
            dir = fd;
            continue;
        }
        if !is_the_kernels_own(fd.as_fd()) {
            return Some(false);
        }
        let target = readlinkat(&fd, "", Vec::new()).ok()?.into_bytes();
        if target.first() == Some(&b'/') {
            dir = root()?;
        }
        left.extend(parts(&target));
    }
    None
}

fn kind_of(fd: BorrowedFd<'_>) -> Option<FileType> {
    let stat = statx(fd, "", here(), StatxFlags::TYPE).ok()?;
    Some(FileType::from_raw_mode(stat.stx_mode.into()))
}

/// About the file itself, as the kernel knows it.
fn here() -> AtFlags {
    AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC
}

/// Whether a file lies on a file system that waits for no other machine and no program.
fn is_the_kernels_own(fd: BorrowedFd<'_>) -> bool {
    const MNT_ID: StatxFlags = StatxFlags::MNT_ID;
    let Ok(stat) = statx(fd, "", here(), MNT_ID) else {
        return false;
    };
    stat.stx_mask & MNT_ID.bits() != 0 && Mounts::now().is_own(stat.stx_mnt_id)
}

/// What is mounted: the lines of a mountinfo file.
pub(crate) struct Mounts(String);

impl Mounts {
    pub(crate) fn now() -> Self {
        Self::of(std::fs::read_to_string("/proc/thread-self/mountinfo").unwrap_or_default())
    }

    pub(crate) const fn of(mountinfo: String) -> Self {
        Self(mountinfo)
    }

    /// Whether a mount, by its number, is of a file system that waits for nobody.
    fn is_own(&self, id: u64) -> bool {
        let number = id.to_string();
        self.has_own(|line| line.split(' ').next() == Some(&number))
    }

    /// Whether a device is of such a file system.
    pub(crate) fn is_own_device(&self, dev: u64) -> bool {
        let dev = format!("{}:{}", libc::major(dev), libc::minor(dev));
        self.has_own(|line| line.split(' ').nth(2) == Some(&dev))
    }

    fn has_own(&self, is_it: impl FnMut(&&str) -> bool) -> bool {
        let kind = || {
            let line = self.0.lines().find(is_it)?;
            line.split_once(" - ")?.1.split(' ').next()
        };
        kind().is_some_and(|kind| OWN.contains(&kind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn paths_on_the_kernels_own_file_systems_are_at_hand() {
        let own = std::process::id();
        let fresh = format!("/proc/{own}/task/{own}/syscall");
        for path in ["/", "/proc/self/status", "/proc/1/nothing/here", &fresh] {
            assert!(!may_wait(own, libc::AT_FDCWD, path.as_bytes()), "{path}");
        }
        let here = std::env::current_exe().expect("own path");
        let known = is_at_hand(here.as_os_str().as_bytes());
        assert!(known.is_some(), "{}", here.display());
        assert!(!may_wait(own, libc::AT_FDCWD, b""));
        assert!(may_wait(own, i32::MAX, b"relative/to/nothing"));
        assert!(may_wait(u32::MAX, libc::AT_FDCWD, b"/"), "nobody's path");
    }

    #[test]
    fn a_mounts_file_system_is_found_by_its_number() {
        let mounts = "21 28 0:20 / /sys rw,nosuid shared:7 - sysfs sysfs rw\n\
                      97 28 0:53 / /mnt/my\\040dir rw - fuse.sshfs me@there: rw\n";
        let mounts = Mounts::of(mounts.to_owned());
        assert_eq!(
            [21, 97, 2].map(|id| mounts.is_own(id)),
            [true, false, false]
        );
        let dev = [
            libc::makedev(0, 20),
            libc::makedev(0, 53),
            libc::makedev(0, 2),
        ];
        assert_eq!(
            dev.map(|dev| mounts.is_own_device(dev)),
            [true, false, false]
        );
    }
}
