//! mmap of a device file: the buffer's own memory is mapped instead.
//!
//! A buffer is a memfd of its own, so that its exported descriptor shows it at offset 0, while
//! the device file shows it at its cookie. The call is rewritten in flight: the buffer's
//! descriptor is installed, the thread is stopped, its descriptor and offset registers are
//! changed, the call runs, the descriptor is closed and the registers are put back.

use std::os::fd::AsFd;

use crate::arch;
use crate::files::Target;
use crate::held::Given;
use crate::host::Call;
use crate::listener::{ERESTARTNOINTR, Notif, Reply};
use crate::lock::lock;
use crate::note::Note;
use crate::reap::Ended;
use crate::rewrite::{self, Left, Stopped};
use crate::serve::{Server, Verdict};
use vb3_host::{Errno, FileId, Mmap};

impl Server<'_> {
    pub(crate) fn mmap(&mut self, n: &Notif) -> Result<Verdict, Errno> {
        if self.holds_nothing() {
            return Ok(Verdict::native());
        }
        let call = Call::new(&self.host, n);
        let Ok(look) = call.look(n.int(4)) else {
            return Ok(Verdict::native());
        };
        let args = Mmap {
            len: n.arg(1),
            prot: n.int(2),
            flags: n.int(3),
            offset: n.arg(5),
        };
        match self.target(look.id) {
            Target::Other => {
                if self.backend.is_foreign(look.id) {
                    self.backend.buffer_mapped(look.id);
                }
                Ok(Verdict::native())
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
                self.backend.buffer_mapped(id);
                Ok(Verdict::native())
            }
            Target::Device(file) => {
                let flags = look.flags()?;
                check(&args, flags)?;
                // The file is held until the mapping stands.
                let _hold = look.fd;
                self.map_device(n, file, &args, flags & libc::O_ACCMODE)
            }
        }
    }

    fn map_device(
        &mut self,
        n: &Notif,
        file: FileId,
        args: &Mmap,
        mode: i32,
    ) -> Result<Verdict, Errno> {
        let call = Call::new(&self.host, n);
        let stopped = match rewrite::seize(n.tid) {
            Ok(stopped) => stopped,
            Err(e) => {
                self.host.note(Note::MapRefused {
                    tid: n.tid,
                    errno: e.0,
                });
                return Err(Errno(libc::EPERM));
            }
        };
        let asked = self.backend.mmap(file, args, &call);
        self.refresh(file);
        let map = match asked {
            Ok(map) => map,
            Err(e) => {
                return Ok(self.refuse(n, stopped, e));
            }
        };
        let given = Given::Mapping(file, map.tag);
        let made = self
            .host
            .held
            .borrow_mut()
            .make(map.fd.as_fd(), mode, given);
        let (fd, id) = match made {
            Ok((fd, id, _)) => (fd, id),
            Err(e) => {
                self.backend.gone(map.tag);
                return Ok(self.refuse(n, stopped, e));
            }
        };
        lock(&self.host.device_memory).insert(id);
        if let Some(file) = self.files.get_mut(file) {
            file.maps = file.maps.saturating_add(1);
        }
        // From here on a failure ends the description, and its end is reported.
        let installed = self
            .host
            .listener
            .add_fd(n.id, fd.as_fd(), None, true, false);
        drop(fd);
        let remote = match installed {
            Ok(remote) => remote,
            Err(e) => {
                return Ok(self.refuse(n, stopped, e));
            }
        };
        if self
            .host
            .listener
            .send(n.id, Reply::Fail(ERESTARTNOINTR))
            .is_err()
        {
            self.left(n.tid, stopped.let_go());
            return Ok(Verdict::Answered);
        }
        let (result, left) = stopped.map(remote, map.offset);
        match result {
            Some(value) if !(-4095..0).contains(&value.cast_signed()) => self.report.maps += 1,
            Some(_) => {}
            None => self.host.note(Note::MapLost { tid: n.tid }),
        }
        self.left(n.tid, left);
        Ok(Verdict::Answered)
    }

    /// Refuses a mapping; the thread stops once it has its answer, and is let go.
    fn refuse(&mut self, n: &Notif, stopped: Stopped, e: Errno) -> Verdict {
        self.host.listener.answer(n.id, Reply::from(e));
        self.left(n.tid, stopped.let_go());
        Verdict::Answered
    }

    /// Takes note of how a thread was let go.
    pub(crate) fn left(&mut self, tid: u32, left: Left) {
        match left {
            Left::Free(ended) => self.note_ended(tid, ended),
            Left::Stray(stray) => self.strays.push(stray),
        }
    }

    /// A traced thread's end is told to its tracer first: it may have been the program itself.
    pub(crate) fn note_ended(&mut self, tid: u32, ended: Option<Ended>) {
        if let Some(ended) = ended
            && tid == self.main.0
        {
            self.main_ended(ended);
        }
    }
}

/// What the kernel checks before it asks a driver.
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
