//! Targets of programs' paths (a node, a generated file, or neither), and functions on paths.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::kernel::raw;
use vb3_frontend::Errno;

pub(crate) const HOPS: u32 = 16;
/// Maximum number of bytes of a path, with its NUL (the kernel's PATH_MAX).
pub(crate) const MAX: usize = 4096;
/// Directories below which paths are not checked for links: no links to devices are expected there.
const PLAIN: [&[u8]; 7] = [
    b"/usr/", b"/lib/", b"/lib64/", b"/etc/", b"/bin/", b"/sbin/", b"/opt/",
];

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PathTarget {
    Node(usize),
    /// A node that was unplugged (ENOENT), or that is used as a directory (ENOTDIR).
    Fails(Errno),
    /// A generated file, by its real path.
    Sys(Vec<u8>),
    /// A link /proc/PID/fd/N of a descriptor on a node, by the node's index.
    DescriptorLink(usize),
    /// Any other path, which the kernel resolves.
    Native,
}

/// Whether a final symbolic link is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Links {
    Follow,
    Keep,
}

impl Links {
    /// Returns `Keep` if a call's flags contain the flag `keep`.
    pub(crate) const fn of(flags: i32, keep: i32) -> Self {
        if flags & keep == 0 {
            Self::Follow
        } else {
            Self::Keep
        }
    }
}

/// Normalises an absolute path as text: no `.`, `..`, double slashes or final slash.
pub(crate) fn normalise(path: &[u8]) -> Vec<u8> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|&b| b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    [b"/", parts.join(&b'/').as_slice()].concat()
}

/// Returns whether the generated tree may contain an absolute path. Only the path's text decides; links
/// outside the tree are not resolved.
pub(crate) fn may_be_shown(path: &[u8]) -> bool {
    // A generated path is below /dev, /sys or /run, or it is /proc/devices.
    let is_top = |part: &[u8]| matches!(part, b"dev" | b"sys" | b"run" | b"devices");
    path.split(|&b| b == b'/').any(is_top)
}

pub(crate) fn is_plain(path: &[u8]) -> bool {
    PLAIN.iter().any(|plain| path.starts_with(plain))
}

pub(crate) fn split_last(path: &[u8]) -> (&[u8], &[u8]) {
    let mut parts = path.rsplitn(2, |&b| b == b'/');
    let name = parts.next().unwrap_or_default();
    (parts.next().unwrap_or_default(), name)
}

pub(crate) fn file_name(path: &Path) -> &[u8] {
    path.file_name().unwrap_or_default().as_bytes()
}

/// Returns the path below /proc/TID by which the supervisor reaches the file that a program's path names.
pub(crate) fn through(tid: u32, dir: i32, path: &[u8]) -> Vec<u8> {
    let mut seen = match path.first() {
        Some(b'/') => format!("/proc/{tid}/root"),
        _ => base_link(tid, dir) + "/",
    }
    .into_bytes();
    seen.extend_from_slice(path);
    seen
}

/// Returns the link in /proc to the directory from which a relative path starts.
pub(crate) fn base_link(tid: u32, dir: i32) -> String {
    if dir == libc::AT_FDCWD {
        format!("/proc/{tid}/cwd")
    } else {
        format!("/proc/{tid}/fd/{dir}")
    }
}

pub(crate) fn base_of(tid: u32, dir: i32) -> Option<Vec<u8>> {
    raw::readlink(base_link(tid, dir)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_directories_of_the_system_are_plain() {
        assert!(is_plain(b"/lib/libc.so.6") && is_plain(b"/lib64/ld-linux-x86-64.so.2"));
        assert!(!is_plain(b"/library/camera") && !is_plain(b"/optical/cam0"));
    }

    #[test]
    fn paths_are_tidied_by_text() {
        let rows: &[(&str, &str)] = &[
            ("/dev/video0", "/dev/video0"),
            ("/dev//./video0", "/dev/video0"),
            ("/dev/v4l/by-path/../../video0", "/dev/video0"),
            ("/..", "/"),
            ("/a/b/../../../c/", "/c"),
        ];
        for &(path, want) in rows {
            assert_eq!(normalise(path.as_bytes()), want.as_bytes(), "{path}");
        }
    }
}
