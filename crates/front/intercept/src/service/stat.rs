//! Serves the stat family, access and statfs.

#![expect(
    clippy::disallowed_methods,
    reason = "the functions borrow a MayBlock token"
)]

use rustix::fs::{Access, AtFlags, CWD, StatxFlags, accessat};

use crate::descriptors::files;
use crate::kernel::{MayBlock, may_block, nr, procs, raw};
use crate::process::Reply;
use crate::service::places::{Place, path_args};
use crate::service::{Call, Served, Supervisor, Verdict};
use crate::tree::PathTarget;
use vb3_frontend::{Errno, FdIdentity, NodeKind};

/// The mode of a generated file that stands for a device: programs can read it.
const DEVICE_FILE: u32 = libc::S_IFCHR | 0o444;

/// Returns the bytes of a plain structure that the kernel has filled.
fn bytes_of<T>(value: &T) -> &[u8] {
    // SAFETY: only used with structures of the kernel's interface. The kernel or `zeroed` has
    // initialised all their bytes, padding included.
    unsafe { core::slice::from_raw_parts(core::ptr::from_ref(value).cast(), size_of::<T>()) }
}

impl Supervisor<'_> {
    pub(crate) fn stat(&self, may: &mut MayBlock, n: &Call<'_>) -> Served {
        let (dir, path, _) = path_args(n);
        let (out, mut flags) = match n.nr {
            libc::SYS_statx => (n.arg(4), n.int(2)),
            libc::SYS_newfstatat => (n.arg(2), n.int(3)),
            nr::LSTAT => (n.arg(1), libc::AT_SYMLINK_NOFOLLOW),
            _ => (n.arg(1), 0),
        };
        let is_empty = |path| path == 0 || n.copy_in_bytes(may, path) == Ok([0]);
        let by_fd = flags & libc::AT_EMPTY_PATH != 0 && is_empty(path);
        let target = if n.nr == libc::SYS_fstat || by_fd {
            // A descriptor that was opened on a link refers to the link, not to its target.
            flags |= libc::AT_SYMLINK_NOFOLLOW;
            self.place_of_fd(may, n, dir)
        } else {
            self.target(may, n)
        };
        match target.try_into()? {
            Place::Node(node) => {
                let stat = self.node_stat(may, node);
                match n.nr {
                    libc::SYS_statx => n.copy_out(may, out, bytes_of(&to_statx(&stat)))?,
                    _ => n.copy_out(may, out, bytes_of(&stat))?,
                }
            }
            Place::Sys(path) if n.nr == libc::SYS_statx => {
                let mut statx = statx(may, &path, flags, n.int(3))?;
                if let Some((major, minor)) = self.number_of(&path) {
                    // CAST: file type and permission bits fit 16.
                    statx.stx_mode = DEVICE_FILE as u16;
                    statx.stx_size = 0;
                    (statx.stx_rdev_major, statx.stx_rdev_minor) = (major, minor);
                }
                n.copy_out(may, out, bytes_of(&statx))?;
            }
            Place::Sys(path) => {
                let flags = flags & libc::AT_SYMLINK_NOFOLLOW;
                let mut stat = may_block::stat(may, &path, flags)?;
                if let Some((major, minor)) = self.number_of(&path) {
                    stat.st_mode = DEVICE_FILE;
                    stat.st_rdev = libc::makedev(major, minor);
                    stat.st_size = 0;
                }
                n.copy_out(may, out, bytes_of(&stat))?;
            }
        }
        Ok(Verdict::value(0))
    }

    fn place_of_fd(&self, may: &mut MayBlock, call: &Call<'_>, fd: i32) -> PathTarget {
        if fd < 0 {
            return PathTarget::Native;
        }
        let Ok(Some(id)) = procs::identify(call.tid, fd) else {
            return PathTarget::Native;
        };
        match self.server(may).table.node_behind(id) {
            Some(node) => PathTarget::Node(node),
            None => self.link_of(id).map_or(PathTarget::Native, PathTarget::Sys),
        }
    }

    /// Returns the device number (major, minor) that a generated file shows, if it stands for a device.
    fn number_of(&self, real: &[u8]) -> Option<(u32, u32)> {
        self.in_tree(|tree| tree.file_number(std::str::from_utf8(tree.known_as(real)?).ok()?))
    }

    /// Returns the path of the generated link with this identity, if there is one.
    pub(crate) fn link_of(&self, id: FdIdentity) -> Option<Vec<u8>> {
        self.in_tree(|tree| tree.link_of(id))
    }

    fn node_stat(&self, may: &MayBlock, node: usize) -> libc::stat {
        // SAFETY: a structure of plain integers.
        let mut stat: libc::stat = unsafe { core::mem::zeroed() };
        let Some(node) = self.nodes.get(node) else {
            return stat;
        };
        let dev = may_block::stat(may, c"/dev", 0).map_or(6, |dev| dev.st_dev);
        stat.st_dev = dev;
        stat.st_ino = files::inode(node);
        stat.st_mode = match node.kind {
            NodeKind::File => libc::S_IFREG | 0o666,
            _ => libc::S_IFCHR | 0o666,
        };
        stat.st_nlink = 1;
        stat.st_rdev = libc::makedev(node.major(), node.minor);
        stat.st_blksize = 4096;
        (stat.st_atime, stat.st_mtime, stat.st_ctime) = (self.started, self.started, self.started);
        stat
    }

    pub(crate) fn access(&self, may: &mut MayBlock, n: &Call<'_>) -> Served {
        let mode = n.int(if n.nr == nr::ACCESS { 1 } else { 2 });
        match self.place(may, n)? {
            Place::Node(_) => match mode {
                mode if mode & !7 != 0 => Err(Reply::Fail(libc::EINVAL)),
                mode if mode & libc::X_OK != 0 => Err(Reply::Fail(libc::EACCES)),
                _ => Ok(Verdict::value(0)),
            },
            Place::Sys(path) => {
                if mode & libc::W_OK != 0 {
                    return Err(Reply::Fail(libc::EACCES));
                }
                let mode = Access::from_bits_retain(mode.cast_unsigned());
                let access = accessat(CWD, &path, mode, AtFlags::empty());
                access.map_err(raw::err)?;
                Ok(Verdict::value(0))
            }
        }
    }

    /// Serves statfs and fstatfs. A file generated under /sys reports sysfs, since device libraries check
    /// this. Other generated files report the file system of /run.
    pub(crate) fn statfs(&self, may: &mut MayBlock, n: &Call<'_>) -> Served {
        let place = (n.nr == libc::SYS_statfs).then(|| self.place(may, n));
        let known = self.in_tree(|tree| match place {
            Some(Ok(Place::Sys(real))) => tree.known_as(&real).map(<[u8]>::to_vec),
            Some(Ok(Place::Node(_))) => Some(b"/dev/".to_vec()),
            Some(_) => None,
            None => {
                let look = n.look(n.int(0)).ok()?;
                tree.place_of(look.id, look.fd.as_ref())
            }
        });
        let known = known.ok_or(Reply::Native)?;
        let system = if known.starts_with(b"/sys/") {
            c"/sys"
        } else {
            c"/run"
        };
        let statfs = rustix::fs::statfs(system).map_err(|_| Reply::Native)?;
        n.copy_out(may, n.arg(1), bytes_of(&statfs))?;
        Ok(Verdict::value(0))
    }
}

fn statx(_: &MayBlock, path: &[u8], flags: i32, mask: i32) -> Result<rustix::fs::Statx, Errno> {
    let keep = flags & libc::AT_SYMLINK_NOFOLLOW;
    let flags = AtFlags::from_bits_retain(keep.cast_unsigned());
    let mask = StatxFlags::from_bits_retain(mask.cast_unsigned());
    rustix::fs::statx(CWD, path, flags, mask).map_err(raw::err)
}

fn to_statx(stat: &libc::stat) -> libc::statx {
    // SAFETY: a structure of plain integers.
    let mut out: libc::statx = unsafe { core::mem::zeroed() };
    out.stx_mask = libc::STATX_BASIC_STATS;
    out.stx_blksize = 4096;
    out.stx_nlink = 1;
    // CAST: file type and permission bits fit 16.
    out.stx_mode = stat.st_mode as u16;
    out.stx_ino = stat.st_ino;
    out.stx_atime.tv_sec = stat.st_atime;
    out.stx_mtime.tv_sec = stat.st_mtime;
    out.stx_ctime.tv_sec = stat.st_ctime;
    (out.stx_rdev_major, out.stx_rdev_minor) =
        (libc::major(stat.st_rdev), libc::minor(stat.st_rdev));
    (out.stx_dev_major, out.stx_dev_minor) = (libc::major(stat.st_dev), libc::minor(stat.st_dev));
    out
}
