//! Serves open, openat, openat2, creat, readlink and readlinkat.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use crate::descriptors::{CheckScope, Given, files};
use crate::kernel::{MayBlock, lock, may_block, nr, procs, raw};
use crate::process::Reply;
use crate::service::places::{Place, path_args};
use crate::service::{Call, Served, Server, Supervisor, Verdict};
use crate::tree::{Links, PathTarget, word};
use rustix::fs::ResolveFlags;
use vb3_frontend::{Errno, NodeId};

/// Size in bytes of the kernel's `struct open_how`: flags, mode and `resolve`. The kernel accepts a longer
/// structure if its rest is 0.
const OPEN_HOW: u64 = 24;
/// Flags of open that the new open file keeps (as F_GETFL returns them).
const KEPT: i32 = libc::O_ACCMODE | libc::O_NONBLOCK | libc::O_APPEND | libc::O_ASYNC;
/// Interval of checks whether the calls of ended threads are over, and maximum number of checks.
const ENDED_CHECK_INTERVAL: Duration = Duration::from_millis(1);
const MAX_ENDED_CHECKS: u32 = 100;

impl Supervisor<'_> {
    pub(crate) fn open(&self, may: &mut MayBlock, n: &Call<'_>) -> Served {
        let plain = |flags| (flags, ResolveFlags::empty());
        let (flags, how) = match n.nr {
            nr::CREAT => plain(libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC),
            libc::SYS_openat2 => options_of(may, n)?,
            nr::OPEN => plain(n.int(1)),
            _ => plain(n.int(2)),
        };
        let (dir, path, _) = path_args(n);
        let args = (dir, path, Links::of(flags, libc::O_NOFOLLOW));
        match self.target_by(may, n, args, how).try_into()? {
            Place::Sys(path) => {
                let cloexec = flags & libc::O_CLOEXEC != 0;
                let link = libc::O_PATH | libc::O_NOFOLLOW;
                if flags & link == link
                    && let Some(fd) = self.in_tree(|tree| tree.link_file(&path))
                {
                    return self.publish(n, fd?, cloexec);
                }
                let writes = flags & libc::O_ACCMODE != libc::O_RDONLY;
                if writes && flags & libc::O_PATH == 0 {
                    // A missing file must give its own errno, because programs try several names, such as those
                    // of dma-heaps.
                    let is_there = may_block::stat(may, &path, 0);
                    return Err(Reply::Fail(match is_there {
                        Err(e) if flags & libc::O_CREAT == 0 => e.0,
                        _ => libc::EACCES,
                    }));
                }
                let fd = open_plain(may, &path, flags)?;
                let listener = &self.host.listener;
                let number = listener.add_fd(n.id, fd.as_fd(), None, cloexec)?;
                Ok(Verdict::value(number.into()))
            }
            Place::Node(node) => self.open_node(may, n, node, flags),
        }
    }

    /// Waits until no thread of the supervisor works on a call of an ended thread. Such a call holds the memory of the
    /// ended process while it copies, and with it the device files that the process has mapped; and a file, while it
    /// identifies or maps it. If a program has waited for the end of the process, it may expect that the files are
    /// closed.
    fn await_ended(&self, may: &MayBlock) {
        let has_ended = |id| !self.host.listener.is_valid(id);
        for _ in 0..MAX_ENDED_CHECKS {
            if !self.pool.works_for_ended(has_ended) {
                return;
            }
            may_block::sleep(may, ENDED_CHECK_INTERVAL);
        }
    }

    fn open_node(&self, may: &mut MayBlock, n: &Call<'_>, node: usize, flags: i32) -> Served {
        let cloexec = flags & libc::O_CLOEXEC != 0;
        if flags & libc::O_DIRECTORY != 0 {
            return Err(Reply::Fail(libc::ENOTDIR));
        }
        if flags & libc::O_PATH != 0 {
            let fd = raw::reopen(self.reference(may, node)?.as_fd(), libc::O_RDONLY)?;
            // The number is reserved for devices, so that the filter reports fstat.
            return self.publish(n, fd, cloexec);
        }
        if flags & (libc::O_CREAT | libc::O_EXCL) == libc::O_CREAT | libc::O_EXCL {
            return Err(Reply::Fail(libc::EEXIST));
        }
        // Source: Linux 7.2 fs/open.c `do_dentry_open`.
        if flags & libc::O_DIRECT != 0 {
            return Err(Reply::Fail(libc::EINVAL));
        }
        let spec = self.nodes.get(node).ok_or(Errno(libc::ENODEV))?;
        let memfd = files::empty_node(spec)?;
        // Handles earlier closes first: a device that was closed before this open must be free.
        self.await_ended(may);
        let scope = CheckScope::Since(n.gathered.came());
        self.step(may, |server| server.process_ends(scope));
        self.host.read_locks(may);
        let opened = self.step(may, |server| {
            let call = Call::new(&self.host, n);
            server.open(&call, (node, spec.id), memfd.as_fd(), flags)
        });
        // If this fails, dropping the descriptor ends the device file.
        self.publish(n, opened?, cloexec)
    }

    /// Returns the memfd that stands for a node behind descriptors opened with O_PATH.
    pub(crate) fn reference(&self, may: &mut MayBlock, node: usize) -> Result<&OwnedFd, Errno> {
        let missing = Errno(libc::ENODEV);
        let (cell, spec) = (self.references.get(node), self.nodes.get(node));
        let (cell, spec) = (cell.ok_or(missing)?, spec.ok_or(missing)?);
        if cell.get().is_none() {
            let fd = files::empty_node(spec)?;
            let (id, _) = raw::known(fd.as_fd())?;
            let mut server = self.server(may);
            if cell.set(fd).is_ok() {
                server.add_reference(id, node);
            }
        }
        cell.get().ok_or(missing)
    }

    /// Installs a descriptor at a reserved number: the last step of an open. The supervisor must hold no
    /// other reference to the file, since the program may close its descriptor immediately.
    pub(crate) fn publish(&self, n: &Call<'_>, fd: OwnedFd, cloexec: bool) -> Served {
        let number = self.host.install(n, fd.as_fd(), cloexec)?;
        Ok(Verdict::value(number.into()))
    }

    pub(crate) fn readlink(&self, may: &mut MayBlock, n: &Call<'_>) -> Served {
        let (dir, path, _) = path_args(n);
        let (out, len) = match n.nr {
            nr::READLINK => (n.arg(1), n.int(2)),
            _ => (n.arg(2), n.int(3)),
        };
        let target = match self.target(may, n) {
            PathTarget::Native => match self.link_named(may, n, dir, path) {
                Some(link) => may_block::readlink(may, &link)?,
                None => return Ok(Verdict::native()),
            },
            PathTarget::Node(_) => return Err(Reply::Fail(libc::EINVAL)),
            PathTarget::Fails(e) => return Err(e.into()),
            PathTarget::Sys(path) => may_block::readlink(may, &path)?,
            PathTarget::DescriptorLink(node) => {
                use std::os::unix::ffi::OsStrExt;
                let node = self.nodes.get(node).ok_or(Errno(libc::ENOENT))?;
                node.path.as_os_str().as_bytes().to_vec()
            }
        };
        // The kernel refuses values below 1.
        let len = usize::try_from(len).ok().filter(|&len| len > 0);
        let cut = target.len().min(len.ok_or(Errno(libc::EINVAL))?);
        n.copy_out(may, out, target.get(..cut).unwrap_or_default())?;
        Ok(Verdict::value(cut as i64))
    }

    /// Returns the generated link behind a descriptor, if the path at `addr` is empty.
    fn link_named(&self, may: &MayBlock, call: &Call<'_>, fd: i32, addr: u64) -> Option<Vec<u8>> {
        let [first] = call.copy_in_bytes(may, addr).ok()?;
        let is_named = first == 0u8 && fd >= 0;
        let id = is_named.then(|| procs::identify(call.tid, fd).ok())???;
        self.link_of(id)
    }
}

impl Server<'_> {
    /// Opens a node's device file. Returns a new open file of `memfd`, which stands for the device file.
    fn open(
        &mut self,
        n: &Call<'_>,
        (node, id): (usize, NodeId),
        memfd: BorrowedFd<'_>,
        flags: i32,
    ) -> Result<OwnedFd, Errno> {
        self.collect_all(CheckScope::Since(n.gathered.came()));
        let file = self.backend.open(id, flags, n.origin())?;
        let mut kept = flags & KEPT;
        if flags & libc::O_ACCMODE == libc::O_ACCMODE {
            kept = kept & !libc::O_ACCMODE | libc::O_RDWR;
        }
        let made = lock(&self.host.held).make(memfd, kept, Given::File(file));
        let (fd, inode, _) = made.inspect_err(|_| self.backend.release(file))?;
        self.add_file(file, inode, Some(node), kept);
        self.sync_wake_fds();
        self.refresh(file);
        Ok(fd)
    }
}

/// Returns the flags of an openat2, and its `resolve`. Fails with `Native` if the kernel refuses the options, and
/// with EFAULT.
fn options_of(may: &MayBlock, n: &Call<'_>) -> Result<(i32, ResolveFlags), Reply> {
    let size = n.arg(3);
    if !(OPEN_HOW..=crate::kernel::page_size()).contains(&size) {
        return Err(Reply::Native);
    }
    // CAST: at most a page.
    let mut how = vec![0; size as usize];
    n.copy_in(may, n.arg(2), &mut how)?;
    if !raw::accepts_options(&how) {
        return Err(Reply::Native);
    }
    let resolve = ResolveFlags::from_bits_retain(word(&how, 16));
    // CAST: the kernel refuses flags in the high half.
    Ok((word(&how, 0) as i32, resolve))
}

/// Opens a generated file. The kernel does not let the supervisor install an O_PATH descriptor, so the
/// program gets a readable descriptor instead; for a symbolic link, a descriptor of the link's target.
fn open_plain(may: &MayBlock, path: &[u8], flags: i32) -> Result<OwnedFd, Errno> {
    let flags = flags & !(libc::O_CREAT | libc::O_TRUNC);
    if flags & libc::O_PATH != 0 {
        let kept = flags & !(libc::O_PATH | libc::O_NOFOLLOW | libc::O_ACCMODE);
        return may_block::open(may, path, kept | libc::O_RDONLY | libc::O_NONBLOCK);
    }
    may_block::open(may, path, flags)
}
