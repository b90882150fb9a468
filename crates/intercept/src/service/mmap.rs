//! mmap of a device file: the buffer's own memory is mapped instead.
//!
//! A buffer is a separate memfd: its exported descriptor shows it at offset 0, but the device file
//! shows it at its cookie. So the supervisor rewrites the call. It installs the buffer's descriptor,
//! stops the thread, and changes its descriptor and offset registers. After the call it closes the
//! descriptor and restores the registers.

use std::os::fd::{AsFd, OwnedFd};

use crate::descriptors::{Given, Target};
use crate::kernel::{Borrowed, MayBlock, arch, lock, procs};
use crate::note::Note;
use crate::process::{ERESTARTNOINTR, Ended, Notif, Reply, Stopped, rewrite};
use crate::service::host::Call;
use crate::service::serve::{Server, Verdict};
use crate::service::supervisor::Supervisor;
use vb3_host::{Caller as _, Errno, FdIdentity, FileId, Mmap};

impl Server<'_> {
    /// Returns the device file of a mapping, or `None` if the kernel makes the mapping.
    fn mapped_file(
        &mut self,
        id: FdIdentity,
        args: &Mmap,
        pid: u32,
    ) -> Result<Option<FileId>, Errno> {
        match self.target(id) {
            Target::Other => {
                if self.backend.is_foreign(id) {
                    self.backend.buffer_mapped(id, pid)?;
                }
                Ok(None)
            }
            Target::Node(_) => Err(Errno(libc::EBADF)),
            Target::Buffer(id) => {
                let end = args
                    .offset
                    .checked_add(args.len)
                    .ok_or(Errno(libc::EOVERFLOW))?;
                let len = self
                    .backend
                    .buffer_len(id)
                    .next_multiple_of(arch::page_size());
                if end > len {
                    return Err(Errno(libc::EINVAL));
                }
                self.backend.buffer_mapped(id, pid)?;
                Ok(None)
            }
            Target::Device(file) => Ok(Some(file)),
        }
    }

    /// Returns the memory that a device maps, as a description for the program, and the offset in it.
    fn map(
        &mut self,
        n: &Notif,
        file: FileId,
        args: &Mmap,
        mode: i32,
    ) -> Result<(OwnedFd, u64), Errno> {
        let call = Call::new(&self.host, n);
        let asked = self.backend.mmap(file, args, &call);
        self.refresh(file);
        let map = asked?;
        let given = Given::Mapping(file, map.tag);
        let made = lock(&self.host.held).make(map.fd.as_fd(), mode, given);
        let (fd, ..) = made.inspect_err(|_| self.backend.tag_ended(map.tag))?;
        self.table.add_mapping(file);
        Ok((fd, map.offset))
    }

    /// Records the end of a traced thread, which its tracer learns first. The thread may have been the
    /// program.
    pub(crate) fn note_ended(&mut self, tid: u32, ended: Option<Ended>) {
        if let Some(ended) = ended
            && tid == self.main.0
        {
            self.main_ended(ended);
        }
    }
}

impl Supervisor<'_> {
    pub(crate) fn mmap(&self, may: &mut MayBlock, n: &Notif) -> Result<Verdict, Errno> {
        if self.holds_nothing(may) {
            return Ok(Verdict::native());
        }
        let fd = n.int(4);
        if !self.host.range.has(fd) && procs::is_of_another(n.tid, fd) {
            return Ok(Verdict::native());
        }
        let call = Call::new(&self.host, n);
        // The thread is released after everything else that this function holds.
        let thread = call.thread().ok();
        let _holding = thread.map(|thread| self.host.under_way.begin(n.id, thread));
        let Ok(look) = call.look(n.int(4)) else {
            return Ok(Verdict::native());
        };
        let args = Mmap {
            len: n.arg(1),
            prot: n.int(2),
            flags: n.int(3),
            offset: n.arg(5),
        };
        let pid = call.pid();
        let file = self.step(may, |server| server.mapped_file(look.id, &args, pid));
        let Some(file) = file? else {
            return Ok(Verdict::native());
        };
        let flags = look.flags()?;
        check(&args, flags)?;
        self.map_device(
            may,
            n,
            (file, look.fd.and_then(Borrowed::into_owned)),
            &args,
            flags & libc::O_ACCMODE,
        )
    }

    fn map_device(
        &self,
        may: &mut MayBlock,
        n: &Notif,
        (file, hold): (FileId, Option<OwnedFd>),
        args: &Mmap,
        mode: i32,
    ) -> Result<Verdict, Errno> {
        let stopped = match rewrite::seize(n.tid) {
            Ok(stopped) => stopped,
            Err(_) if self.stops_first(n) => return Ok(Verdict::Answered),
            Err(e) => {
                self.host.note(Note::MapRefused {
                    tid: n.tid,
                    errno: e.0,
                });
                return Err(Errno(libc::EPERM));
            }
        };
        let asked = self.step(may, |server| server.map(n, file, args, mode));
        // The mapping now keeps the file alive. The program may close the file as soon as it has its
        // answer.
        drop(hold);
        let (fd, offset) = match asked {
            Ok(map) => map,
            Err(e) => return Ok(self.refuse(may, n, stopped, e)),
        };
        // After this point, a failure ends the description, and its end is reported.
        let listener = &self.host.listener;
        let installed = listener.add_fd(n.id, fd.as_fd(), None, true, false);
        drop(fd);
        let remote = match installed {
            Ok(remote) => remote,
            Err(e) => return Ok(self.refuse(may, n, stopped, e)),
        };
        if listener.send(n.id, Reply::Fail(ERESTARTNOINTR)).is_err() {
            self.left(may, n.tid, stopped.close(may, &[remote]));
            return Ok(Verdict::Answered);
        }
        let (result, left) = stopped.map(may, remote, offset);
        match result {
            Some(Ok(_)) => self.server(may).report.maps += 1,
            Some(Err(_)) => {}
            None => self.host.note(Note::MapLost { tid: n.tid }),
        }
        self.left(may, n.tid, left);
        Ok(Verdict::Answered)
    }

    /// Refuses a mapping. The thread stops at its answer, and is released.
    fn refuse(&self, may: &mut MayBlock, n: &Notif, stopped: Stopped, e: Errno) -> Verdict {
        self.host.listener.answer(n.id, Reply::from(e));
        self.left(may, n.tid, stopped.release(may));
        Verdict::Answered
    }
}

/// Makes the checks that precede the driver in the kernel.
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
