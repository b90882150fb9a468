//! What every part of the front end uses while a backend is at work: the listener, the threads,
//! the descriptions given out, and one call seen from the backend's side.

use std::cell::OnceCell;
use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, epoll};

use crate::descriptors::UnderWay;
use crate::descriptors::files;
use crate::descriptors::{Given, Held, LockTable};
use crate::kernel::Borrowed;
use crate::kernel::MayBlock;
use crate::kernel::lock;
use crate::kernel::raw;
use crate::kernel::{Look, Procs, Thread, procs};
use crate::memory::{DeviceMemory, ProcFiles};
use crate::memory::{Known, Pinnable, Pins, Space};
use crate::note::Note;
use crate::process::FdRange;
use crate::process::Guard;
use crate::process::Powers;
use crate::process::reap;
use crate::process::{Listener, Notif};
use vb3_host::{CallId, Caller, Errno, FdIdentity, FileId, ProcessMemory, Tag};

/// Numbers below the kept ones that must be free for one of those to be given out: more than
/// a program can open while one call is answered.
const ROOM: u32 = 64;

/// What an event of the supervisor's own epoll set is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A thread or process has ended.
    Thread(u32),
    /// Something given may be gone.
    Held,
    /// A signal came.
    Signal,
    /// The backend has something to do.
    Wake,
    /// No thread is left that could call.
    Hangup,
    /// A descriptor that a waiting poll is interested in.
    Poll(u32),
    /// The program itself has ended.
    Main,
}

impl Event {
    const fn encode(self) -> u64 {
        match self {
            Self::Thread(tid) => 1 << 32 | tid as u64,
            Self::Held => 2 << 32,
            Self::Signal => 3 << 32,
            Self::Wake => 4 << 32,
            Self::Poll(slot) => 5 << 32 | slot as u64,
            Self::Main => 6 << 32,
            Self::Hangup => 8 << 32,
        }
    }

    fn decode(word: u64) -> Option<Self> {
        // CAST: the low half.
        let value = word as u32;
        Some(match word >> 32 {
            1 => Self::Thread(value),
            2 => Self::Held,
            3 => Self::Signal,
            4 => Self::Wake,
            5 => Self::Poll(value),
            6 => Self::Main,
            8 => Self::Hangup,
            _ => return None,
        })
    }
}

/// The supervisor's own epoll set.
#[derive(Debug)]
pub(crate) struct Events(OwnedFd);

impl Events {
    pub(crate) fn new() -> Result<Self, Errno> {
        let set = epoll::create(epoll::CreateFlags::CLOEXEC);
        set.map(Self).map_err(raw::err)
    }

    #[expect(clippy::disallowed_methods, reason = "a set of our own")]
    pub(crate) fn add(&self, fd: BorrowedFd<'_>, events: u32, event: Event) -> Result<(), Errno> {
        let data = epoll::EventData::new_u64(event.encode());
        let events = epoll::EventFlags::from_bits_retain(events);
        epoll::add(&self.0, fd, data, events).map_err(raw::err)
    }

    pub(crate) fn remove(&self, fd: i32) {
        // SAFETY: takes integers; the event is not read for this operation.
        unsafe {
            libc::epoll_ctl(
                self.0.as_raw_fd(),
                libc::EPOLL_CTL_DEL,
                fd,
                core::ptr::null_mut(),
            )
        };
    }

    /// Waits until something has happened, the time is over, or the alarm (an eventfd) is set,
    /// which is reset.
    ///
    /// # Errors
    /// What ppoll says, EINTR aside.
    #[expect(
        clippy::disallowed_methods,
        reason = "polls the supervisor's own descriptors"
    )]
    pub(crate) fn wait(
        &self,
        timeout: Option<Duration>,
        alarm: BorrowedFd<'_>,
    ) -> Result<(), Errno> {
        let wanted = |fd| PollFd::from_borrowed_fd(fd, PollFlags::IN);
        let mut fds = [self.0.as_fd(), alarm].map(wanted);
        // What is longer than a clock can hold is for ever.
        let timeout = timeout.and_then(|time| Timespec::try_from(time).ok());
        match rustix::event::poll(&mut fds, timeout.as_ref()) {
            Ok(0) | Err(rustix::io::Errno::INTR) => return Ok(()),
            waited => waited.map_err(raw::err)?,
        };
        if fds.last().is_some_and(|alarm| !alarm.revents().is_empty()) {
            raw::read(alarm, &mut [0; 8])?;
        }
        Ok(())
    }

    /// Events taken at a time, at most.
    pub(crate) const AT_ONCE: usize = 64;

    /// What has happened, at most [`AT_ONCE`](Self::AT_ONCE).
    pub(crate) fn take(&self, out: &mut Vec<Event>) {
        let mut events = [const { MaybeUninit::uninit() }; Self::AT_ONCE];
        let Ok((events, _)) = epoll::wait(&self.0, &mut events, Some(&Timespec::default())) else {
            return;
        };
        out.extend(events.iter().filter_map(|e| Event::decode(e.data.u64())));
    }
}

impl AsFd for Events {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// See the module.
pub(crate) struct Host {
    pub(crate) listener: Listener,
    pub(crate) powers: Powers,
    pub(crate) events: Events,
    pub(crate) procs: Procs,
    /// Ends the programs where the supervisor is killed; none where there was no process for it.
    pub(crate) guard: Option<Guard>,
    pub(crate) held: Mutex<Held>,
    /// Files that the backend has made in the call that is being answered.
    pub(crate) made: Mutex<Vec<(FileId, FdIdentity)>>,
    pub(crate) device_memory: DeviceMemory,
    /// Calls that hold programs' files beside the lock.
    pub(crate) under_way: UnderWay,
    /// Programs whose own memory devices use.
    pub(crate) pins: Pins,
    pub(crate) range: FdRange,
    /// A device has a descriptor outside the kept numbers.
    pub(crate) outside: AtomicBool,
    /// How many calls have closed kept numbers.
    pub(crate) closes: AtomicU64,
    /// Remarks for the person who runs the program, said by a thread of their own.
    pub(crate) notes: SyncSender<Note>,
}

impl Host {
    /// Whether a descriptor can be of a device: all that programs have asked us about outside the
    /// kept numbers were not.
    pub(crate) fn may_be_device(&self, fd: i32) -> bool {
        self.outside.load(Ordering::Relaxed) || self.range.has(fd)
    }

    /// Reads the list of all locks where a look at what programs hold waits for it. It takes
    /// milliseconds where there are thousands.
    pub(crate) fn read_locks(&self, _: &MayBlock) {
        if lock(&self.held).wants_locks() {
            let locks = LockTable::timed();
            lock(&self.held).take_locks(locks);
        }
    }

    /// The thread with this id.
    pub(crate) fn thread(&self, tid: u32) -> Result<Arc<Thread>, Errno> {
        let known = self.procs.thread(tid, |pidfd, tid| {
            self.events
                .add(pidfd, libc::EPOLLIN.cast_unsigned(), Event::Thread(tid))
        });
        known.map_err(|_| Errno(libc::ESRCH))
    }

    /// Who has a thread's descriptor table: its process, or itself alone.
    pub(crate) fn task(&self, tid: u32) -> u32 {
        let process = self.thread(tid).map_or(tid, |thread| thread.tgid);
        if tid != process && raw::share_table(tid, process) == Some(false) {
            return tid;
        }
        // Its end will be told.
        self.thread(process).ok();
        process
    }

    /// Remembers a remark for the person who runs the program.
    pub(crate) fn note(&self, note: Note) {
        // Too many at a time are too many to read.
        self.try_note(note);
    }

    /// The same; false where too many wait to be said.
    pub(crate) fn try_note(&self, note: Note) -> bool {
        self.notes.try_send(note).is_ok()
    }

    /// Follows what a process does to memory that devices use, or says once that it cannot.
    pub(crate) fn follow(&self, pid: u32, made: Result<OwnedFd, Errno>) {
        if let Err(e) = self.pins.add(pid, made) {
            self.note(Note::NoPins { pid, errno: e.0 });
        }
    }

    /// Installs a descriptor in the caller, at a kept number if there is one to be had.
    ///
    /// The kernel installs at a given number by replacing what is there, and another thread of the
    /// program may open a file at a number that was free a moment ago. It gets the lowest free one:
    /// this one only after all below it, of which [`ROOM`] and more are free. Where no number is so
    /// far from what is taken, the kernel chooses for us.
    ///
    /// # Errors
    /// EMFILE; EFAULT where its number could not be written back; ENOENT where the thread no longer
    /// waits.
    pub(crate) fn install(
        &self,
        call: &Call<'_>,
        fd: BorrowedFd<'_>,
        cloexec: bool,
    ) -> Result<i32, Errno> {
        if call.notif.gathered.installs_none() {
            return Err(Errno(libc::EFAULT));
        }
        let id = call.notif.id;
        let thread = call.thread()?;
        let _one = lock(&thread.installing);
        if let Some(at) = self.free_number(call) {
            match self.listener.add_fd(id, fd, Some(at), cloexec, false) {
                Err(Errno(libc::EBADF | libc::EMFILE)) => {}
                done => return done,
            }
        }
        let number = self.listener.add_fd(id, fd, None, cloexec, false)?;
        self.note_number(number);
        Ok(number)
    }

    /// Notes a number of a device's descriptor: from the first outside those kept on, any can be.
    pub(crate) fn note_number(&self, number: i32) {
        if !self.range.has(number) {
            self.outside.store(true, Ordering::Relaxed);
        }
    }

    /// The kept number that the next descriptor gets; `None` if none is far enough from what is taken.
    pub(crate) fn free_number(&self, call: &Call<'_>) -> Option<u32> {
        let thread = call.thread().ok()?;
        let closes = self.closes.load(Ordering::Relaxed);
        if thread.has_none_free(closes) {
            return None;
        }
        let FdRange { start, end } = self.range;
        let taken = procs::open_descriptors(thread.tid)?;
        let safe = taken.saturating_add(ROOM.min(start / 2));
        // In turn from the top down, so that what is taken is seldom asked for again, and below the
        // middle only where the upper half is full: however long this thread is kept from going on,
        // the program has all numbers below to fill first.
        let middle = start + (end - start) / 2;
        let last = end.saturating_sub(1);
        let first = match thread.next_fd.load(Ordering::Relaxed) {
            0 => last,
            hint => hint.clamp(middle, last),
        };
        let upper = (middle..=first).rev().chain((first + 1..end).rev());
        let at = upper
            .chain((start..middle).rev())
            .find(|&fd| fd >= safe && self.procs.is_free(&thread, fd));
        let Some(at) = at else {
            thread.note_none_free(closes);
            return None;
        };
        let next = if at > middle { at - 1 } else { last };
        thread.next_fd.store(next, Ordering::Relaxed);
        Some(at)
    }
}

/// One call of a program, as the backend sees it.
pub(crate) struct Call<'a> {
    pub(crate) host: &'a Host,
    pub(crate) notif: &'a Notif,
    thread: OnceCell<Arc<Thread>>,
}

impl<'a> Call<'a> {
    pub(crate) fn new(host: &'a Host, notif: &'a Notif) -> Self {
        Self {
            host,
            notif,
            thread: OnceCell::new(),
        }
    }

    /// The calling thread.
    pub(crate) fn thread(&self) -> Result<Arc<Thread>, Errno> {
        if let Some(thread) = self.thread.get() {
            return Ok(Arc::clone(thread));
        }
        let thread = self.host.thread(self.notif.tid)?;
        Ok(Arc::clone(self.thread.get_or_init(|| thread)))
    }

    /// What a descriptor of the caller names.
    pub(crate) fn look(&self, fd: i32) -> Result<Look, Errno> {
        let thread = self.thread()?;
        match self.host.procs.look(&thread, fd) {
            // The thread may have ended and its number been taken anew.
            Err(Errno(libc::EBADF)) if thread.has_ended() => {
                self.host.procs.forget(thread.tid);
                let fresh = self.host.thread(self.notif.tid)?;
                self.host.procs.look(&fresh, fd)
            }
            found => found,
        }
    }

    /// A NUL-terminated string of at most `max` bytes, without the NUL.
    ///
    /// # Errors
    /// EFAULT, ENAMETOOLONG.
    pub(crate) fn read_str(&self, may: &MayBlock, addr: u64, max: usize) -> Result<Vec<u8>, Errno> {
        let (way, tid) = (self.host.powers.memory(), self.notif.tid);
        let done = way.copy_in_str(may, tid, addr, max);
        done.map_err(|e| self.unreadable(e))
    }

    /// Says, once, that a program's memory is closed to us; the program sees EFAULT.
    fn unreadable(&self, e: Errno) -> Errno {
        if e != Errno(libc::EPERM) {
            return e;
        }
        self.host.note(Note::Unreadable { pid: self.pid() });
        Errno(libc::EFAULT)
    }

    /// Copies in what the call will read or has missed. May wait for the program.
    pub(crate) fn gather(&self, may: &MayBlock, expected: Option<(u64, usize)>) {
        let (way, tid) = (self.host.powers.memory(), self.notif.tid);
        if let Err(e) = self.notif.gathered.gather(may, way, tid, expected) {
            self.unreadable(e);
        }
    }

    /// A duplicate of a descriptor, where there is none by [`look`](Self::look): the thread sends
    /// it, and makes its call anew.
    ///
    /// # Errors
    /// EPERM where it cannot be asked: a filter of the program's own may end it for the calls that it
    /// would make. Until it has sent it, an error that no program sees.
    pub(crate) fn lent(&self, fd: i32) -> Result<OwnedFd, Errno> {
        if self.host.powers.ptrace.is_err() || reap::has_filter_of_its_own(self.notif.tid) {
            self.notif.gathered.lend(Vec::new());
        }
        let lent = self.notif.gathered.lent(fd);
        if lent.as_ref().err() == Some(&Errno(libc::EPERM)) {
            self.note_refusal();
        }
        lent
    }

    /// Where what the process does to its memory is followed; `None` where it cannot be.
    ///
    /// # Errors
    /// The thread is to make what that takes, and its call anew.
    fn space(&self, pid: u32) -> Result<Option<Arc<Space>>, Errno> {
        match self.host.pins.of(pid) {
            Known::Followed(space) => Ok(Some(space)),
            Known::Refused => Ok(None),
            Known::Nothing => {
                let may = self.host.powers.ptrace.and_then(|()| {
                    let filtered = reap::has_filter_of_its_own(self.notif.tid);
                    if filtered {
                        Err(Errno(libc::EPERM))
                    } else {
                        Ok(())
                    }
                });
                let Err(e) = may else {
                    return Err(self.notif.gathered.want_watch());
                };
                self.host.follow(pid, Err(e));
                Ok(None)
            }
        }
    }

    /// Says once that descriptors are not lent here, if so.
    pub(crate) fn note_refusal(&self) {
        if let Some(e) = self.host.procs.borrow_refused_once() {
            self.host.note(Note::NoBorrow { errno: e.0 });
        }
    }

    /// Copies from the program's memory.
    ///
    /// # Errors
    /// EFAULT.
    pub(crate) fn copy_in(&self, may: &MayBlock, addr: u64, out: &mut [u8]) -> Result<(), Errno> {
        let way = self.host.powers.memory();
        let done = way.copy_in(may, self.notif.tid, addr, out);
        done.map_err(|e| self.unreadable(e))
    }

    /// Copies a value of plain integers from the program's memory.
    ///
    /// # Errors
    /// EFAULT.
    pub(crate) fn copy_in_bytes<const N: usize>(
        &self,
        may: &MayBlock,
        addr: u64,
    ) -> Result<[u8; N], Errno> {
        let mut out = [0; N];
        self.copy_in(may, addr, &mut out)?;
        Ok(out)
    }

    /// Copies to the program's memory.
    ///
    /// # Errors
    /// EFAULT.
    pub(crate) fn copy_out(&self, may: &MayBlock, addr: u64, data: &[u8]) -> Result<(), Errno> {
        let way = self.host.powers.memory();
        let done = way.copy_out(may, self.notif.tid, addr, data);
        done.map_err(|e| self.unreadable(e))
    }

    /// Reads a value of plain integers from what was gathered.
    pub(crate) fn read_bytes<const N: usize>(&self, addr: u64) -> Result<[u8; N], Errno> {
        let mut out = [0; N];
        self.read(addr, &mut out)?;
        Ok(out)
    }
}

impl Caller for Call<'_> {
    fn pid(&self) -> u32 {
        self.thread().map_or(self.notif.tid, |thread| thread.tgid)
    }

    fn tid(&self) -> u32 {
        self.notif.tid
    }

    fn call(&self) -> CallId {
        CallId(self.notif.id)
    }

    fn prepare_read(&self, addr: u64, len_bytes: u64) -> Result<(), Errno> {
        self.notif.gathered.prepare(addr, len_bytes)
    }

    fn read(&self, addr: u64, out: &mut [u8]) -> Result<(), Errno> {
        self.notif.gathered.read(addr, out)
    }

    fn write(&self, addr: u64, data: &[u8]) -> Result<(), Errno> {
        self.notif.gathered.write(addr, data);
        Ok(())
    }

    fn identify(&self, fd: i32) -> Result<FdIdentity, Errno> {
        self.look(fd).map(|look| look.id)
    }

    fn borrow_fd(&self, fd: i32) -> Result<OwnedFd, Errno> {
        let fd_of_ours = self.look(fd)?.fd.and_then(Borrowed::into_owned);
        fd_of_ours.map_or_else(|| self.lent(fd), Ok)
    }

    fn install(&self, fd: BorrowedFd<'_>, cloexec: bool, tag: Tag) -> Result<i32, Errno> {
        let id = raw::identity(&raw::fstat(fd)?);
        lock(&self.host.device_memory).insert(id);
        let flags = raw::status_flags(fd)?;
        let kept = flags & (libc::O_ACCMODE | libc::O_NONBLOCK);
        let made = lock(&self.host.held).make(fd, kept, Given::Buffer(tag));
        let Ok((made, id, byte)) = made else {
            return self.host.install(self, fd, cloexec);
        };
        let installed = self.host.install(self, made.as_fd(), cloexec);
        if installed.is_err() {
            lock(&self.host.held).forget(id, byte);
        }
        installed
    }

    fn install_file(
        &self,
        file: FileId,
        name: &CStr,
        cloexec: bool,
    ) -> Result<(i32, FdIdentity), Errno> {
        let memfd = files::empty_file(name)?;
        let given = Given::File(file);
        let made = lock(&self.host.held).make(memfd.as_fd(), libc::O_RDWR, given);
        let (made, id, byte) = made?;
        match self.host.install(self, made.as_fd(), cloexec) {
            Ok(fd) => {
                lock(&self.host.made).push((file, id));
                Ok((fd, id))
            }
            Err(e) => {
                lock(&self.host.held).forget(id, byte);
                Err(e)
            }
        }
    }

    fn memory(&self) -> Result<Arc<dyn ProcessMemory>, Errno> {
        let pid = self.thread().map_err(|_| Errno(libc::EFAULT))?.tgid;
        let files = ProcFiles::open(pid, Arc::clone(&self.host.device_memory));
        Ok(Arc::new(files.map_err(|_| Errno(libc::EFAULT))?))
    }

    fn memory_to_pin(&self, addr: u64, len_bytes: u64) -> Result<Arc<dyn ProcessMemory>, Errno> {
        let pid = self.thread().map_err(|_| Errno(libc::EFAULT))?.tgid;
        let space = self.space(pid)?;
        if !space
            .as_ref()
            .is_some_and(|space| space.has(addr, len_bytes))
        {
            self.notif.gathered.touch(addr, len_bytes)?;
        }
        let Some(space) = space else {
            return self.memory();
        };
        let files = ProcFiles::open(pid, Arc::clone(&self.host.device_memory));
        let files = files.map_err(|_| Errno(libc::EFAULT))?;
        Ok(Arc::new(Pinnable::new(files, space)))
    }
}
