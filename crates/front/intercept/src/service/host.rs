//! The supervisor's state apart from the backend (the devices): the listener, programs' threads, and the open
//! files given to programs. `Call` is one call, as the backend sees it.

use std::cell::OnceCell;
use std::collections::HashSet;
use std::mem::{Discriminant, MaybeUninit, discriminant};
use std::ops::Deref;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, epoll};

use crate::descriptors::{Held, LockTable, Table};
use crate::kernel::{Borrowed, MayBlock, OpenFile, Procs, RunLock, Thread, lock, procs, raw};
use crate::memory::{Copier, Ready, maps_file, user_range};
use crate::note::Note;
use crate::process::{FdRange, Guard, Listener, Notif, Powers, STANDARD, reap};
use crate::service::polls::look_at;
use crate::tree::word;
use vb3_frontend::{CallId, Descriptor, Detail, Errno, FdIdentity, NumberAt, Origin};

/// A reserved number (see [`FdRange`]) is used only if at least this many numbers below it are free. Files that the
/// program opens between the search for the number and its use get these lower numbers, as long as the files are
/// fewer than this.
const ROOM: u32 = 64;

/// The source of an event in the supervisor's epoll set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Thread(u32),
    /// A description given to a program may have ended.
    Held,
    Signal,
    /// The backend's wake descriptor with this number is readable.
    Wake(u32),
    Hangup,
    /// A descriptor of a waiting poll has changed.
    Poll(u32),
    Main,
    /// The clock must look for work. Each write to the alarm (an eventfd) causes one such event.
    Alarm,
}

impl Event {
    const fn encode(self) -> u64 {
        match self {
            Self::Thread(tid) => 1 << 32 | tid as u64,
            Self::Held => 2 << 32,
            Self::Signal => 3 << 32,
            Self::Wake(number) => 4 << 32 | number as u64,
            Self::Poll(slot) => 5 << 32 | slot as u64,
            Self::Main => 6 << 32,
            Self::Alarm => 7 << 32,
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
            4 => Self::Wake(value),
            5 => Self::Poll(value),
            6 => Self::Main,
            7 => Self::Alarm,
            8 => Self::Hangup,
            _ => return None,
        })
    }
}

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

    /// Watches a file for the waiting call in a slot. Each change is reported once (EPOLLET); the retry then looks
    /// at the file's present state. Without EPOLLET, a state that lasts but does not end the call would be reported
    /// again and again: a hang-up for a select that only asks for writing, or any event while the call is paused.
    pub(crate) fn add_changes(
        &self,
        fd: BorrowedFd<'_>,
        events: i16,
        slot: u32,
    ) -> Result<(), Errno> {
        let events = u32::from(events.cast_unsigned()) | libc::EPOLLET.cast_unsigned();
        self.add(fd, events, Event::Poll(slot))
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

    /// Waits for events or the timeout. Returns at most [`AT_ONCE`](Self::AT_ONCE) events. Fails with the errors of
    /// epoll_pwait2 and ppoll; EINTR counts as no event.
    #[expect(
        clippy::disallowed_methods,
        reason = "polls the supervisor's own descriptors"
    )]
    pub(crate) fn wait(&self, timeout: Option<Duration>) -> Result<Vec<Event>, Errno> {
        // A timeout that a timespec cannot represent is treated as infinite.
        let timeout = timeout.and_then(|time| Timespec::try_from(time).ok());
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; Self::AT_ONCE];
        match raw::epoll_wait(self.0.as_fd(), &mut events, timeout.as_ref()) {
            Ok(events) => {
                let words = events.iter().map(|event| event.u64);
                Ok(words.filter_map(Event::decode).collect())
            }
            Err(Errno(libc::EINTR)) => Ok(Vec::new()),
            // Seccomp profiles of some containers do not know this call.
            Err(Errno(libc::ENOSYS | libc::EPERM)) => {
                let mut set = [PollFd::new(&self.0, PollFlags::IN)];
                match rustix::event::poll(&mut set, timeout.as_ref()) {
                    Ok(_) => Ok(self.take()),
                    Err(rustix::io::Errno::INTR) => Ok(Vec::new()),
                    Err(e) => Err(raw::err(e)),
                }
            }
            Err(e) => Err(e),
        }
    }

    /// Maximum number of events per call of [`take`](Self::take).
    pub(crate) const AT_ONCE: usize = 64;

    /// Returns pending events, at most [`AT_ONCE`](Self::AT_ONCE).
    pub(crate) fn take(&self) -> Vec<Event> {
        let mut events = [const { MaybeUninit::uninit() }; Self::AT_ONCE];
        let taken = epoll::wait(&self.0, &mut events, Some(&Timespec::default()));
        let taken = taken.map_or(&mut [][..], |(events, _)| events);
        let all = taken.iter().map(|event| event.data.u64());
        all.filter_map(Event::decode).collect()
    }
}

pub(crate) struct Host {
    pub(crate) listener: Listener,
    pub(crate) powers: Powers,
    pub(crate) events: Events,
    pub(crate) procs: Procs,
    pub(crate) guard: Guard,
    pub(crate) held: Arc<Mutex<Held>>,
    pub(crate) range: FdRange,
    /// Whether programs may hold a device file, a buffer, or a node that was opened with O_PATH. Changes only under
    /// the lock of all devices.
    pub(crate) holds: AtomicBool,
    /// Whether a device or a buffer may have a descriptor outside the reserved numbers.
    pub(crate) outside: AtomicBool,
    /// Number of calls that have closed reserved numbers.
    pub(crate) closes: AtomicU64,
    /// Notes for the user who runs the program. A separate thread prints them, once there are any.
    pub(crate) notes: SyncSender<Note>,
    pub(crate) has_notes: AtomicBool,
    /// The kinds of notes that are queued only once.
    pub(crate) noted: Mutex<HashSet<Discriminant<Note>>>,
    pub(crate) alarm: OwnedFd,
}

impl Host {
    pub(crate) fn memory_of<'m>(&self, may: &'m MayBlock, tid: u32) -> Copier<'m> {
        Copier::new(may, self.powers.memory(), tid)
    }

    /// Reads the list of all locks if a check of programs' files needs it. This takes milliseconds if
    /// there are thousands of locks.
    pub(crate) fn read_locks(&self, _: &MayBlock) {
        if lock(&self.held).wants_locks() {
            let locks = LockTable::read();
            lock(&self.held).take_locks(locks);
        }
    }

    /// Returns the thread with this id. From now on, its end is reported. Fails with ESRCH if there is none.
    pub(crate) fn thread(&self, tid: u32) -> Result<Arc<Thread>, Errno> {
        let on_reuse = || self.guard.renew(tid);
        let known = self.procs.thread(tid, on_reuse, |pidfd, tid| {
            self.events
                .add(pidfd, libc::EPOLLIN.cast_unsigned(), Event::Thread(tid))
        });
        known.map_err(|_| Errno(libc::ESRCH))
    }

    /// Checks that the supervisor may make a thread execute calls. Fails with EPERM if the thread has its own
    /// seccomp filter, which may kill the thread for these calls. Fails with the errno of ptrace if the system
    /// refuses ptrace.
    pub(crate) fn may_direct(&self, tid: u32) -> Result<(), Errno> {
        self.powers.ptrace?;
        let is_filtered = reap::has_filter_of_its_own(tid);
        (!is_filtered).then_some(()).ok_or(Errno(libc::EPERM))
    }

    /// Returns the process id of a thread, or `tid` if the thread is unknown.
    pub(crate) fn pid_of(&self, tid: u32) -> u32 {
        self.thread(tid).map_or(tid, |thread| thread.tgid)
    }

    pub(crate) fn note(&self, note: Note) {
        // If the queue is full, this note is lost: there are more notes than a user can read.
        self.try_note(note);
    }

    /// Queues a note, unless there was one of this kind.
    pub(crate) fn note_once(&self, note: Note) {
        if lock(&self.noted).insert(discriminant(&note)) {
            self.note(note);
        }
    }

    /// Queues a note; returns false if the queue is full.
    pub(crate) fn try_note(&self, note: Note) -> bool {
        let is_queued = self.notes.try_send(note).is_ok();
        if !self.has_notes.swap(true, Ordering::AcqRel) {
            self.wake_clock();
        }
        is_queued
    }

    /// Returns whether no program holds any of the supervisor's files.
    pub(crate) fn holds_nothing(&self) -> bool {
        !self.holds.load(Ordering::Acquire)
    }

    pub(crate) fn wake_clock(&self) {
        // The write fails only if the eventfd is full, and a full eventfd wakes the clock, too.
        rustix::io::write(&self.alarm, &1u64.to_ne_bytes()).ok();
    }

    /// Installs a descriptor in the caller, at a reserved number if one is free.
    ///
    /// After the choice of a number, another thread may open a file, which gets the lowest free number. If that
    /// were the chosen one, the installation would replace the thread's file. So the chosen number has at least
    /// [`ROOM`] free numbers below it. If no reserved number has so many free numbers below it, the kernel chooses
    /// the number.
    ///
    /// # Errors
    /// EMFILE; EFAULT if the number could not be written back; ENOENT if the thread no longer waits.
    pub(crate) fn install(
        &self,
        call: &Call<'_>,
        fd: BorrowedFd<'_>,
        cloexec: bool,
    ) -> Result<i32, Errno> {
        let id = call.notif.id;
        let thread = call.thread()?;
        let _one = lock(&thread.installing);
        if let Some(at) = self.free_number(call) {
            match self.listener.add_fd(id, fd, Some(at), cloexec) {
                Err(Errno(libc::EBADF | libc::EMFILE)) => {}
                done => return done,
            }
        }
        let number = self.listener.add_fd(id, fd, None, cloexec)?;
        self.note_number(number);
        Ok(number)
    }

    /// Records the number of a device's or a buffer's descriptor. Once a number is not reserved, the supervisor
    /// must expect any number to be a device's (`outside`).
    pub(crate) fn note_number(&self, number: i32) {
        if !self.range.has(number) {
            self.outside.store(true, Ordering::Relaxed);
        }
    }

    /// Returns the reserved number for the next descriptor. `None` if no reserved number is free and has
    /// enough free numbers below it.
    pub(crate) fn free_number(&self, call: &Call<'_>) -> Option<u32> {
        let thread = call.thread().ok()?;
        let closes = self.closes.load(Ordering::Relaxed);
        if thread.has_none_free(closes) {
            return None;
        }
        let FdRange { start, end } = self.range;
        let taken = procs::open_descriptors(thread.tid)?;
        let safe = taken.saturating_add(ROOM.min(start / 2));
        // The search goes down from the last number found and wraps within the upper half, so it rarely
        // meets a used number. It uses the lower half only if the upper half is full. So even if this
        // thread is delayed for long, the program must fill all lower numbers before it gets this one.
        let middle = start + (end - start) / 2;
        let last = end.saturating_sub(1);
        let first = match thread.next_fd.load(Ordering::Relaxed) {
            0 => last,
            hint => hint.clamp(middle, last),
        };
        let upper = (middle..=first).rev().chain((first + 1..end).rev());
        let at = upper
            .chain((start..middle).rev())
            .find(|&fd| fd >= safe && Procs::is_free(&thread, fd));
        let Some(at) = at else {
            thread.note_none_free(closes);
            return None;
        };
        let next = if at > middle { at - 1 } else { last };
        thread.next_fd.store(next, Ordering::Relaxed);
        Some(at)
    }
}

/// Returns the description of a descriptor for the devices, if they need only the identity of its file. A file that
/// cannot be the supervisor's gets an identity that no file has.
pub(crate) fn name_of(id: Option<FdIdentity>) -> Descriptor {
    let none = FdIdentity { dev: 0, ino: 0 };
    Descriptor::named(id.unwrap_or(none), None)
}

pub(crate) struct Call<'a> {
    pub(crate) host: &'a Host,
    pub(crate) notif: &'a Notif,
    thread: OnceCell<Arc<Thread>>,
    /// The known descriptors, for [`identify`](Self::identify).
    table: Option<&'a Table>,
}

impl Deref for Call<'_> {
    type Target = Notif;

    fn deref(&self) -> &Notif {
        self.notif
    }
}

impl<'a> Call<'a> {
    pub(crate) fn new(host: &'a Host, notif: &'a Notif) -> Self {
        Self {
            host,
            notif,
            thread: OnceCell::new(),
            table: None,
        }
    }

    /// As [`new`](Self::new), but descriptors that the table knows are identified without a system call.
    pub(crate) fn with_table(host: &'a Host, notif: &'a Notif, table: &'a Table) -> Self {
        Self {
            table: Some(table),
            ..Self::new(host, notif)
        }
    }

    pub(crate) fn thread(&self) -> Result<Arc<Thread>, Errno> {
        if let Some(thread) = self.thread.get() {
            return Ok(Arc::clone(thread));
        }
        let thread = self.host.thread(self.notif.tid)?;
        Ok(Arc::clone(self.thread.get_or_init(|| thread)))
    }

    pub(crate) fn look(&self, fd: i32) -> Result<OpenFile, Errno> {
        let thread = self.thread()?;
        match self.host.procs.look(&thread, fd) {
            // The known thread may have ended, and a new thread may have its id.
            Err(Errno(libc::EBADF)) if thread.has_ended() => {
                self.host.procs.forget(thread.tid);
                self.host.guard.renew(thread.tid);
                let fresh = self.host.thread(self.notif.tid)?;
                self.host.procs.look(&fresh, fd)
            }
            found => found,
        }
    }

    /// Returns a duplicate of the caller's descriptor of a buffer, or `None` if it cannot be borrowed.
    pub(crate) fn hold(&self, fd: i32) -> Option<OwnedFd> {
        self.look(fd).ok()?.fd?.into_memory()
    }

    /// Returns a duplicate of the caller's descriptor. Fails with EBADF, and the errors of
    /// [`lent`](Self::lent).
    pub(crate) fn borrow(&self, fd: i32) -> Result<Borrowed, Errno> {
        self.look(fd)?.fd.map_or_else(|| self.lent(fd), Ok)
    }

    /// Reads a NUL-terminated string of at most `max` bytes. Returns it without the NUL. Fails with EFAULT,
    /// ENAMETOOLONG.
    pub(crate) fn read_str(&self, may: &MayBlock, addr: u64, max: usize) -> Result<Vec<u8>, Errno> {
        let done = self.host.memory_of(may, self.tid).copy_in_str(addr, max);
        done.map_err(|e| self.unreadable(e))
    }

    /// Converts EPERM to EFAULT, with one note that the supervisor cannot access the program's memory.
    fn unreadable(&self, e: Errno) -> Errno {
        if e != Errno(libc::EPERM) {
            return e;
        }
        self.host.note(Note::Unreadable(self.pid()));
        Errno(libc::EFAULT)
    }

    /// Finds out the name of the caller's process, for reports.
    pub(crate) fn note_label(&self) {
        if let Ok(thread) = self.thread() {
            thread.note_label(|| reap::name_of(thread.tgid));
        }
    }

    /// Copies in the `expected` memory, and the memory and descriptors that an earlier step of this call lacked.
    /// May wait for the program. Returns whether the thread must first send descriptors.
    pub(crate) fn gather(
        &self,
        may: &MayBlock,
        expected: impl IntoIterator<Item = (u64, usize)>,
    ) -> bool {
        let memory = self.host.memory_of(may, self.tid);
        if let Err(e) = self.gathered.gather(may, memory, expected) {
            self.unreadable(e);
        }
        let (to_look, sets, need) = self.gathered.other_needs();
        let has_looked = !(to_look.is_empty() && need.descriptors.is_empty()) || sets.is_some();
        if let Some(sets) = sets {
            self.seek_set(may, sets);
        }
        to_look.into_iter().for_each(|fd| look_at(self, fd));
        for (fd, of) in need.descriptors {
            let known = self.describe(fd, of);
            // The thread must first send the descriptor.
            if !matches!(known, Err(Errno::NOT_GATHERED)) {
                let mut data = self.gathered.data();
                data.have.add_descriptor(fd, of, known);
                data.need.descriptors.retain(|asked| *asked != (fd, of));
            }
        }
        for (addr, len) in need.ranges {
            let range = user_range(memory, self.pid(), &self.host.held, (addr, len));
            let mut data = self.gathered.data();
            data.have.add_range(addr, len, range);
            data.need.ranges.retain(|asked| *asked != (addr, len));
        }
        has_looked && !self.gathered.wanted().is_empty()
    }

    /// Returns whether the last step lacked something, so that the call must be repeated. If it lacked nothing, drops
    /// the files of a poll that were looked up without the lock, and that no waiting call holds: when the call is
    /// answered, the supervisor must no longer hold copies of the program's files.
    pub(crate) fn must_repeat<T>(&self, run: &RunLock<T>) -> bool {
        let Some(found) = self.gathered.end_step() else {
            return true;
        };
        if !found.is_empty() {
            run.apart(|| drop(found));
        }
        false
    }

    /// Looks at a descriptor of the program. Fails with EBADF, and the errors of [`lent`](Self::lent).
    fn describe(&self, fd: i32, of: Detail) -> Result<Descriptor, Errno> {
        if of == Detail::Name {
            return Ok(name_of(procs::identify(self.tid, fd)?));
        }
        let look = self.look(fd)?;
        let known = Descriptor::named(look.id, None);
        let file = look.fd.map_or_else(|| self.lent(fd), Ok)?;
        let Some(file) = file.into_memory() else {
            return Ok(known);
        };
        Ok(Descriptor {
            tag: lock(&self.host.held).tag_of(file.as_fd()),
            is_mapped: !raw::is_memfd(file.as_fd()) && maps_file(self.pid(), look.id),
            fd: Some(Arc::new(file)),
            ..known
        })
    }

    /// Returns a duplicate of a descriptor that the thread has sent, if [`look`](Self::look) has none. Fails with
    /// EPERM if the thread cannot be asked to send it: the program's own filter may kill the thread for the
    /// necessary calls. Until the thread has sent the descriptor, fails with NOT_GATHERED, which programs never
    /// see.
    pub(crate) fn lent(&self, fd: i32) -> Result<Borrowed, Errno> {
        if self.host.may_direct(self.notif.tid).is_err() {
            self.notif.gathered.lend(Vec::new());
        }
        let lent = self.notif.gathered.lent(fd);
        if lent.as_ref().err() == Some(&Errno(libc::EPERM)) {
            self.note_refusal();
        }
        lent
    }

    /// Makes the descriptors of a successful call. Returns their numbers, and the one that the call returns, if it
    /// is one of these. A file that gets no descriptor ends here, and its end is reported.
    pub(crate) fn install_all(
        &self,
        may: &MayBlock,
        installs: Vec<Ready>,
    ) -> Result<(Vec<i32>, Option<i32>), Errno> {
        let (mut numbers, mut result) = (Vec::new(), None);
        for ready in installs {
            let number = self.host.install(self, ready.fd.as_fd(), ready.cloexec)?;
            numbers.push(number);
            if ready.is_device {
                self.note_ordinary(number);
            }
            match ready.number {
                NumberAt::Result => result = Some(number),
                NumberAt::Address(at) => self.copy_out(may, at, &number.to_ne_bytes())?,
            }
        }
        Ok((numbers, result))
    }

    /// Queues one note if a device has got a number that is not reserved.
    pub(crate) fn note_ordinary(&self, fd: i32) {
        let number = fd.cast_unsigned();
        if number >= STANDARD && !self.host.range.has(fd) {
            let pid = self.pid();
            self.host.note_once(Note::OrdinaryNumber { pid, number });
        }
    }

    /// Queues one note if the system refuses to let the supervisor borrow descriptors.
    pub(crate) fn note_refusal(&self) {
        if let Some(e) = self.host.procs.no_borrow {
            self.host.note_once(Note::NoPidfdGetfd(e));
        }
    }

    pub(crate) fn copy_in(&self, may: &MayBlock, addr: u64, out: &mut [u8]) -> Result<(), Errno> {
        let done = self.host.memory_of(may, self.tid).copy_in(addr, out);
        done.map_err(|e| self.unreadable(e))
    }

    /// Copies a value of plain integers from the program's memory. Fails with EFAULT.
    pub(crate) fn copy_in_bytes<const N: usize>(
        &self,
        may: &MayBlock,
        addr: u64,
    ) -> Result<[u8; N], Errno> {
        let mut out = [0; N];
        self.copy_in(may, addr, &mut out)?;
        Ok(out)
    }

    pub(crate) fn copy_out(&self, may: &MayBlock, addr: u64, data: &[u8]) -> Result<(), Errno> {
        let done = self.host.memory_of(may, self.tid).copy_out(addr, data);
        done.map_err(|e| self.unreadable(e))
    }

    /// Reads an array of `struct iovec`: addresses and lengths. The caller limits `count`.
    pub(crate) fn read_vector(&self, addr: u64, count: u64) -> Result<Vec<(u64, u64)>, Errno> {
        let mut bytes = vec![0; count as usize * 16];
        self.read(addr, &mut bytes)?;
        let segments = bytes.chunks_exact(16).map(|v| (word(v, 0), word(v, 8)));
        Ok(segments.collect())
    }

    /// Reads a value of plain integers from the gathered memory.
    pub(crate) fn read_bytes<const N: usize>(&self, addr: u64) -> Result<[u8; N], Errno> {
        let mut out = [0; N];
        self.read(addr, &mut out)?;
        Ok(out)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.thread().map_or(self.notif.tid, |thread| thread.tgid)
    }

    pub(crate) fn origin(&self) -> Origin {
        let thread = self.thread();
        let label = thread.ok().and_then(|thread| thread.label());
        let origin = Origin::process(self.pid(), self.notif.tid);
        origin.named(label.unwrap_or_default())
    }

    pub(crate) fn call(&self) -> CallId {
        CallId(self.notif.id)
    }

    /// Reads from the gathered memory. Fails with EFAULT, and NOT_GATHERED.
    pub(crate) fn read(&self, addr: u64, out: &mut [u8]) -> Result<(), Errno> {
        self.notif.gathered.read(addr, out)
    }

    /// Returns the file behind a descriptor; `None` if it cannot be the supervisor's. Fails with EBADF.
    pub(crate) fn identify(&self, fd: i32) -> Result<Option<FdIdentity>, Errno> {
        let look = || procs::identify(self.notif.tid, fd);
        let Some(table) = self.table else {
            return look();
        };
        // An entry must not outlive its thread: another process may get the thread's id.
        let tid = self.notif.tid;
        let may_be_kept = || self.host.range.has(fd) && self.host.procs.tells_end_of(tid);
        let by = (tid, || self.pid());
        table.numbers.identify(by, fd, may_be_kept, look)
    }
}
