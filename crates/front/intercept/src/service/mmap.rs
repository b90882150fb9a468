//! mmap of a device file: the buffer's own memory is mapped instead.
//!
//! Each buffer is a memfd. A program maps the buffer through the device file, at an offset that selects the
//! buffer. So the supervisor rewrites the call. It stops the thread, installs the memfd's descriptor in it,
//! and changes the registers with the call's descriptor and offset. After the call it makes the thread close
//! the descriptor, and restores the registers.

use std::os::fd::{AsFd, OwnedFd};

use crate::descriptors::{Given, Target};
use crate::kernel::{MayBlock, arch, lock, procs};
use crate::note::Note;
use crate::process::{ERESTARTNOINTR, Notif, PASS, Reply, Stopped, rewrite};
use crate::service::{Call, Served, Server, Supervisor, Verdict};
use vb3_frontend::{Errno, FileId, Mmap};

impl Server<'_> {
    /// Returns the device file that a call maps, and its open flags. Fails if the call maps no device.
    fn mapped_file(&mut self, n: &Call<'_>, args: &Mmap) -> Result<(FileId, i32), Reply> {
        let call = Call::with_table(&self.host, n, &self.table);
        let id = call.identify(n.int(4)).ok().flatten();
        let (id, origin) = (id.ok_or(Reply::Native)?, n.origin());
        match self.target(id) {
            Target::Other => {
                if self.backend.is_foreign(id) {
                    self.backend.buffer_mapped(id, origin)?;
                }
                Err(Reply::Native)
            }
            Target::Node(_) => Err(Reply::Fail(libc::EBADF)),
            Target::Buffer(id) => {
                let end = args.offset.checked_add(args.len);
                let len = self.backend.buffer_len(id);
                let len = len.next_multiple_of(arch::page_size());
                if end.ok_or(Errno(libc::EOVERFLOW))? > len {
                    return Err(Reply::Fail(libc::EINVAL));
                }
                self.backend.buffer_mapped(id, origin)?;
                Err(Reply::Native)
            }
            Target::Device(file) => Ok((file, self.flags_of(n, (file, n.int(4)))?)),
        }
    }

    /// Returns a new open file of the memory that the device maps, and the offset in this memory.
    fn map(
        &mut self,
        n: &Call<'_>,
        file: FileId,
        args: &Mmap,
        mode: i32,
    ) -> Result<(OwnedFd, u64), Errno> {
        // Another thread may have closed the file since the last step.
        if self.table.device(file).is_none() {
            return Err(Errno(libc::EBADF));
        }
        let asked = self.backend.mmap(file, args, n.origin());
        self.refresh(file);
        let map = asked?;
        let given = Given::Mapping(file, map.tag);
        let made = lock(&self.host.held).make(map.fd.as_fd(), mode, given);
        let (fd, ..) = made.inspect_err(|_| self.backend.tag_ended(map.tag))?;
        self.table.add_mapping(file);
        Ok((fd, map.offset))
    }
}

impl Supervisor<'_> {
    pub(crate) fn mmap(&self, may: &mut MayBlock, n: &Call<'_>) -> Served {
        if self.host.holds_nothing() {
            return Ok(Verdict::native());
        }
        let fd = n.int(4);
        if !self.host.range.has(fd) && procs::may_be_of_ours(n.tid, fd) == Some(false) {
            return Ok(Verdict::native());
        }
        let args = Mmap {
            len: n.arg(1),
            prot: n.int(2),
            flags: n.int(3),
            offset: n.arg(5),
        };
        let (file, flags) = self.step(may, |server| server.mapped_file(n, &args))?;
        check(&args, flags)?;
        let stopped = match rewrite::seize(n.tid) {
            Ok(stopped) => stopped,
            Err(errno) => {
                let tid = n.tid;
                self.host.note(Note::MapRefused { tid, errno });
                return Err(Reply::Fail(libc::EPERM));
            }
        };
        let mode = flags & libc::O_ACCMODE;
        let asked = self.step(may, |server| server.map(n, file, &args, mode));
        // On a failure, dropping `fd` ends the open file, and its end is reported. In the kernel, the calling
        // thread itself installs the descriptor, so `add_fd` may wait for the thread.
        let mut offset = 0;
        let installed = asked.and_then(|(fd, at)| {
            offset = at;
            self.host.listener.add_fd(n.id, fd.as_fd(), None, true)
        });
        let is_lost = self.call_instead(may, n, stopped, installed, |fd| {
            let file = fd | u64::from(PASS) << 32;
            let args = [n.arg(0), n.arg(1), n.arg(2), n.arg(3), file, offset];
            (libc::SYS_mmap, args)
        });
        if is_lost {
            self.host.note(Note::MapLost(n.tid));
        }
        Ok(Verdict::Answered)
    }

    /// Makes a seized thread execute `call` instead of its own, with a descriptor that was installed for it.
    /// If the descriptor could not be installed, the thread's call fails. Returns true if the thread did not
    /// reach an expected stop.
    pub(crate) fn call_instead(
        &self,
        may: &mut MayBlock,
        n: &Notif,
        stopped: Stopped,
        installed: Result<i32, Errno>,
        call: impl FnOnce(u64) -> (libc::c_long, [u64; 6]),
    ) -> bool {
        let listener = &self.host.listener;
        let mut is_lost = false;
        let ended = match installed {
            Err(e) => {
                // The thread stops only after the answer.
                listener.answer(n.id, e.into());
                stopped.release(may)
            }
            Ok(fd) if listener.send(n.id, Reply::Fail(ERESTARTNOINTR)).is_err() => {
                stopped.close(may, &[fd])
            }
            Ok(fd) => {
                let (done, ended) = stopped.replace(may, call(fd.cast_unsigned().into()), fd);
                is_lost = done.is_none();
                ended
            }
        };
        self.left(may, n.tid, ended);
        is_lost
    }
}

/// Makes the checks that the kernel makes before it calls the driver.
///
/// Source: Linux 7.2 mm/mmap.c `do_mmap`.
fn check(args: &Mmap, flags: i32) -> Result<(), Errno> {
    let shared = args.flags & libc::MAP_SHARED != 0;
    let access = flags & libc::O_ACCMODE;
    if args.len == 0 || !args.offset.is_multiple_of(arch::page_size()) {
        return Err(Errno(libc::EINVAL));
    }
    if args.len > 1 << 47 {
        return Err(Errno(libc::ENOMEM));
    }
    if access == libc::O_WRONLY
        || (shared && args.prot & libc::PROT_WRITE != 0 && access == libc::O_RDONLY)
    {
        return Err(Errno(libc::EACCES));
    }
    Ok(())
}
