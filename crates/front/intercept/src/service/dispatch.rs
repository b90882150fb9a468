//! Selects the handler of each call. Contains the handlers of ioctl and lseek.

use crate::descriptors::{Given, Target, Watched, files};
use crate::kernel::{lock, nr, procs, raw};
use crate::memory::Ready;
use crate::note::Note;
use crate::process::{Notif, Reply};
use crate::service::host::name_of;
use crate::service::transfers::Moves;
use crate::service::{Call, Host, Served, Server, Verdict};
use crate::tree::monitor;
use crate::waiting::{Kind, Waiting};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use vb3_frontend::{CallOutcome, Detail, Effects, Errno, FileId, Made, Need, On, Op, Outcome};

/// ioctls that every descriptor supports. They clear and set the descriptor's close-on-exec flag.
const FIONCLEX: u32 = 0x5450;
const FIOCLEX: u32 = 0x5451;
/// Sets or clears O_NONBLOCK.
const FIONBIO: u32 = 0x5421;
/// `VIDIOC_STREAMOFF`.
const STREAMOFF: u32 = 0x4004_5613;

/// Returns whether the call's descriptor shows that its file is not the supervisor's.
/// This check borrows no file, since closing a borrowed file could take long.
pub(crate) fn is_of_another(host: &Host, n: &Notif) -> bool {
    let by_descriptor = matches!(
        n.nr,
        libc::SYS_ioctl
            | libc::SYS_lseek
            | libc::SYS_fsync
            | libc::SYS_fdatasync
            | libc::SYS_fallocate
            | libc::SYS_ftruncate
    );
    let fd = n.int(0);
    (by_descriptor || Moves::of(n.nr).is_some())
        && !host.range.has(fd)
        && (fd < 0 || procs::may_be_of_ours(n.tid, fd) == Some(false))
}

impl Server<'_> {
    /// Calls the handler of a call on a descriptor. `Supervisor` handles calls on paths.
    pub(crate) fn dispatch(&mut self, n: &Call<'_>) -> Served {
        match n.nr {
            libc::SYS_ioctl => self.ioctl(n),
            nr::POLL | libc::SYS_ppoll => self.poll(n, None),
            nr::SELECT | libc::SYS_pselect6 => self.select(n),
            libc::SYS_epoll_ctl => self.epoll_ctl(n),
            libc::SYS_close | libc::SYS_close_range => Ok(self.close(n)),
            nr::DUP2 | libc::SYS_dup3 => self.dup_onto(n),
            libc::SYS_dup => Ok(self.dup(n)),
            libc::SYS_fcntl => self.fcntl(n),
            libc::SYS_fsync
            | libc::SYS_fdatasync
            | libc::SYS_fallocate
            | libc::SYS_ftruncate
            | libc::SYS_sendfile
            | libc::SYS_splice
            | libc::SYS_copy_file_range => self.not_for_devices(n),
            libc::SYS_restart_syscall => self.restart(n),
            // Programs then use system calls instead, which the supervisor can answer.
            libc::SYS_io_uring_setup => {
                self.host.note_once(Note::NoIoUring);
                Err(Reply::Fail(libc::ENOSYS))
            }
            libc::SYS_execve | libc::SYS_execveat => Ok(self.exec(n)),
            number if monitor::CALLS.contains(&number) => self.monitor_call(n),
            libc::SYS_lseek => self.lseek(n),
            number => match Moves::of(number) {
                Some(moves) => self.transfer(n, moves),
                None => Err(Reply::Native),
            },
        }
    }

    fn ioctl(&mut self, n: &Call<'_>) -> Served {
        let fd = n.int(0);
        let (request, arg) = (n.uint(1), n.arg(2));
        if matches!(request, FIOCLEX | FIONCLEX) {
            return Ok(Verdict::native());
        }
        // If there is no such descriptor, the kernel executes the call, and refuses it.
        let id = Call::with_table(&self.host, n, &self.table)
            .identify(fd)
            .map_err(|_| Reply::Native)?;
        let Some(id) = id else {
            return Ok(Verdict::native());
        };
        let kind = (request >> 8) as u8;
        let target = self.target(id);
        if request == FIONBIO {
            self.table.flags_change(target);
            return Ok(Verdict::native());
        }
        if Watched::of(target).is_some() {
            self.host.note_number(fd);
        }
        let is_known = match target {
            Target::Other => {
                if kind == b'b' && self.backend.is_foreign(id) {
                    self.make_step(n, On::Foreign(id), Op::Ioctl { request, arg }, false);
                }
                return Ok(Verdict::native());
            }
            Target::Node(_) => return Err(Reply::Fail(libc::EBADF)),
            Target::Device(_) => matches!(kind, b'V' | b'|' | b'H' | b'u' | b'>' | b'W' | b'd'),
            Target::Buffer(_) => kind == b'b',
        };
        let Some(on) = Watched::of(target).filter(|_| is_known) else {
            return Err(Reply::Fail(libc::ENOTTY));
        };
        let op = Op::Ioctl { request, arg };
        let mut done = self.make_step(n, made_on(on), op, false);
        // These wait on O_NONBLOCK files, too: DRM's ioctls for vblanks, and STREAMOFF for the device.
        let always = kind == b'd' || request == STREAMOFF;
        if let (CallOutcome::Wait, Watched::Device(file), false) = (done, on, always) {
            let flags = self.flags_of(n, (file, fd));
            let flags = flags.inspect_err(|_| self.backend.abandon(file, n.call()))?;
            if flags & libc::O_NONBLOCK != 0 {
                done = self.make_step(n, made_on(on), op, true);
            }
        }
        match on {
            Watched::Device(file) => self.refresh(file),
            Watched::Buffer(_) => self.backend_changed(),
        }
        Ok(verdict(done, || {
            let hold = matches!(on, Watched::Buffer(_)).then(|| n.hold(fd));
            Waiting::new(n, Kind::Ioctl(on, request, arg), hold.flatten())
        }))
    }

    /// Returns the O_* flags of the caller's descriptor of a device file.
    ///
    /// The flags of the file's open count as long as no program can have changed them unnoticed: the filter reports
    /// such calls only on reserved numbers.
    pub(crate) fn flags_of(&self, n: &Call<'_>, (file, fd): (FileId, i32)) -> Result<i32, Errno> {
        let is_told = self.host.range.has(fd) && !self.host.outside.load(Ordering::Relaxed);
        let known = self.table.device(file).and_then(|of| of.flags);
        match known.filter(|_| is_told) {
            Some(flags) => Ok(flags),
            None => n.look(fd)?.flags(),
        }
    }

    /// Serves execve and execveat. The kernel closes the descriptors with FD_CLOEXEC.
    fn exec(&mut self, n: &Call<'_>) -> Verdict {
        let process = n.pid();
        let threads = self.host.procs.threads_of(process);
        self.table.numbers.exec(n.tid, process, &threads);
        self.host.procs.forget_label(process);
        Verdict::native()
    }

    /// Serves lseek. A device has no position; a buffer returns its size, as dma-bufs do.
    ///
    /// Source: Linux 7.2 drivers/dma-buf/dma-buf.c `dma_buf_llseek`.
    fn lseek(&mut self, n: &Call<'_>) -> Served {
        let target = self.named(n, 0).ok_or(Reply::Native)?;
        match (target, n.int(2), n.arg(1)) {
            (Target::Device(_), ..) => Err(Reply::Fail(libc::ESPIPE)),
            (Target::Buffer(_), libc::SEEK_SET, 0) => Ok(Verdict::value(0)),
            (Target::Buffer(id), libc::SEEK_END, 0) => {
                let len = i64::try_from(self.backend.buffer_len(id));
                Ok(Verdict::value(len.map_err(|_| Errno(libc::EOVERFLOW))?))
            }
            (Target::Buffer(_), ..) => Err(Reply::Fail(libc::EINVAL)),
            (Target::Node(_) | Target::Other, ..) => Ok(Verdict::native()),
        }
    }

    /// Returns whether the descriptor in an argument refers to a device or a buffer.
    pub(crate) fn is_ours(&self, n: &Call<'_>, arg: usize) -> bool {
        self.named(n, arg).and_then(Watched::of).is_some()
    }

    /// Returns the file that the descriptor in an argument refers to, if it is open.
    pub(crate) fn named(&self, n: &Call<'_>, arg: usize) -> Option<Target> {
        let call = Call::with_table(&self.host, n, &self.table);
        let id = call.identify(n.int(arg)).ok()?;
        Some(id.map_or(Target::Other, |id| self.target(id)))
    }

    pub(crate) fn ioctl_again(
        &mut self,
        n: &Call<'_>,
        (on, request, arg): (Watched, u32, u64),
    ) -> Option<Reply> {
        let done = self.make_step(n, made_on(on), Op::Ioctl { request, arg }, false);
        if let Watched::Device(file) = on {
            self.refresh(file);
        }
        reply(done)
    }

    /// Makes a step of the devices with what was gathered, and stores its effects until the call is answered. If
    /// something is missing, fails with NOT_GATHERED, and [`Gathered::lacks`](crate::memory::Gathered::lacks)
    /// holds.
    pub(crate) fn make_step(
        &mut self,
        n: &Call<'_>,
        on: On,
        op: Op,
        nonblocking: bool,
    ) -> CallOutcome {
        loop {
            let mut data = n.gathered.data();
            let table = &self.table;
            data.have.name_files(|id| match table.find(id) {
                Some(Target::Device(file)) => Some(file),
                _ => None,
            });
            let outcome = self.backend.call(&vb3_frontend::Call {
                id: n.call(),
                origin: n.origin(),
                on,
                op,
                nonblocking,
                have: &data.have,
            });
            drop(data);
            return match outcome {
                Outcome::Need(mut need) => {
                    if self.name_reserved(n, &mut need) && need.is_empty() {
                        continue;
                    }
                    match n.gathered.ask(need) {
                        true => CallOutcome::Fail(Errno::NOT_GATHERED),
                        false => CallOutcome::Fail(Errno(libc::ENOMEM)),
                    }
                }
                Outcome::Wait => CallOutcome::Wait,
                Outcome::Part(bytes, effects) => match self.keep_effects(n, effects) {
                    Ok(()) => CallOutcome::Part(bytes),
                    Err(e) => CallOutcome::Fail(e),
                },
                Outcome::Done(done, effects) => {
                    // Also a failed call may say which part of its argument was wrong.
                    let kept = self.keep_effects(n, effects);
                    match done.and_then(|value| kept.map(|()| value)) {
                        Ok(value) => CallOutcome::Done(value),
                        Err(e) => CallOutcome::Fail(e),
                    }
                }
            };
        }
    }

    /// Names the files behind descriptors with reserved numbers, since these files are the supervisor's own, so
    /// that this waits for no program. Returns whether there were any.
    fn name_reserved(&self, n: &Call<'_>, need: &mut Need) -> bool {
        let call = Call::with_table(&self.host, n, &self.table);
        let mut any = false;
        need.descriptors.retain(|&(fd, of)| {
            if of != Detail::Name || !self.host.range.has(fd) {
                return true;
            }
            any = true;
            let known = call.identify(fd).map(name_of);
            n.gathered.data().have.add_descriptor(fd, of, known);
            false
        });
        any
    }

    /// Stores effects until the call is answered. Fails if a file to install cannot be made.
    fn keep_effects(&mut self, n: &Call<'_>, effects: Effects) -> Result<(), Errno> {
        if effects.is_empty() {
            return Ok(());
        }
        let mut data = n.gathered.data();
        match data.writes.is_empty() {
            true => data.writes = effects.writes,
            false => data.writes.extend(effects.writes),
        }
        let mut done = Ok(());
        for install in effects.installs {
            let is_device = matches!(install.made, Made::File { .. });
            match self.made(install.made, done.is_err()) {
                Ok(fd) => data.installs.push(Ready {
                    fd,
                    cloexec: install.cloexec,
                    number: install.number,
                    is_device,
                }),
                Err(e) => done = done.and(Err(e)),
            }
        }
        if let Err(e) = done {
            data.installs.clear();
            self.backend.installed(n.call(), Err(e));
        }
        done
    }

    /// Makes the file behind a new descriptor. From now on, its end is reported. `is_over` says that an earlier
    /// file of this call could not be made, so that the call fails. Then, or if this file cannot be made, the
    /// devices are told that the file has ended.
    fn made(&mut self, made: Made, is_over: bool) -> Result<OwnedFd, Errno> {
        let host = Arc::clone(&self.host);
        let make = |fd: BorrowedFd<'_>, flags, given| {
            let over = is_over.then_some(Err(Errno(libc::ENOMEM)));
            over.unwrap_or_else(|| lock(&host.held).make(fd, flags, given))
        };
        match made {
            Made::Memory { fd, .. } if !raw::is_memfd(fd.as_fd()) => Ok(fd),
            Made::Memory { fd, tag } => {
                let flags = raw::status_flags(fd.as_fd());
                let kept = flags.map(|flags| flags & (libc::O_ACCMODE | libc::O_NONBLOCK));
                let made = kept.and_then(|kept| make(fd.as_fd(), kept, Given::Buffer(tag)));
                let (fd, ..) = made.inspect_err(|_| self.backend.tag_ended(tag))?;
                Ok(fd)
            }
            Made::File { file, name } => {
                let memfd = files::empty_file(name);
                let given = Given::File(file);
                let made = memfd.and_then(|memfd| make(memfd.as_fd(), libc::O_RDWR, given));
                let (fd, id, _) = made.inspect_err(|_| self.backend.release(file))?;
                let node = self.backend.node_of(file);
                let node = node.and_then(|node| {
                    let mut nodes = self.backend.nodes().into_iter();
                    nodes.position(|of| of.id == node)
                });
                self.add_file(file, id, node, libc::O_RDWR);
                Ok(fd)
            }
        }
    }
}

const fn made_on(on: Watched) -> On {
    match on {
        Watched::Device(file) => On::File(file),
        Watched::Buffer(id) => On::Buffer(id),
    }
}

/// Returns the answer in an outcome, or `None` if the call waits or is not finished.
pub(crate) fn reply(outcome: CallOutcome) -> Option<Reply> {
    match outcome {
        CallOutcome::Done(value) => Some(Reply::Value(value)),
        CallOutcome::Fail(e) => Some(e.into()),
        CallOutcome::Wait | CallOutcome::Part(_) => None,
    }
}

/// Converts an outcome to a verdict. `wait` makes the table entry of a call that waits or is not finished.
pub(crate) fn verdict(outcome: CallOutcome, wait: impl FnOnce() -> Waiting) -> Verdict {
    match reply(outcome) {
        Some(reply) => Verdict::Reply(reply),
        None => Verdict::Wait(Box::new(wait())),
    }
}
