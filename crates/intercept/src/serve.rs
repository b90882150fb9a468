//! The loop that serves a program.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use crate::closing::Closings;
use crate::epoll::{Cause, Epolls};
use crate::error::Error;
use crate::files::{Files, Target};
use crate::held::Given;
use crate::host::{Event, Events, Host};
use crate::listener::{Notif, Reply};
use crate::listing::Listings;
use crate::lock::lock;
use crate::locks::Locks;
use crate::note::Note;
use crate::pending::{Pending, Waiting};
use crate::program::ExitReport;
use crate::reap::{self, Ended};
use crate::rewrite;
use crate::signal::Forward;
use crate::tree::Tree;
use vb3_host::{Backend, Errno, FdIdentity, FileId};

/// How often ends of processes are looked for once the program itself is gone.
const AFTERWARDS: Duration = Duration::from_millis(100);

/// How often threads are looked for that did not stop in time to be let go.
const STRAYS: Duration = Duration::from_millis(10);

/// What becomes of a notified call.
pub(crate) enum Verdict {
    /// It is answered so.
    Reply(Reply),
    /// It has been answered.
    Answered,
    /// It waits.
    Wait(Box<Waiting>),
}

impl Verdict {
    pub(crate) const fn native() -> Self {
        Self::Reply(Reply::Native)
    }

    pub(crate) const fn value(value: i64) -> Self {
        Self::Reply(Reply::Value(value))
    }
}

/// The supervisor of one program.
pub(crate) struct Server<'a> {
    pub(crate) host: Host,
    pub(crate) backend: &'a mut dyn Backend,
    pub(crate) files: Files,
    pub(crate) pending: Pending,
    pub(crate) epolls: Epolls,
    pub(crate) closings: Closings,
    pub(crate) locks: Locks,
    pub(crate) said_no_io_uring: bool,
    /// The backend's wake descriptors.
    pub(crate) wakes: Events,
    pub(crate) tree: Option<Tree>,
    pub(crate) listings: Listings,
    pub(crate) report: ExitReport,
    pub(crate) main: (u32, OwnedFd),
    pub(crate) ended: Option<Ended>,
    pub(crate) forward: Option<Forward>,
    pub(crate) wait_killable: bool,
    pub(crate) wake_fds: Vec<i32>,
    pub(crate) notes: Option<&'a mut dyn FnMut(Note)>,
    /// Seconds since the epoch: the age of the nodes.
    pub(crate) started: i64,
    /// Threads that did not stop in time to be let go.
    pub(crate) strays: Vec<rewrite::Stray>,
    pub(crate) swept: Instant,
}

impl Server<'_> {
    /// Serves until nothing of the program is left.
    pub(crate) fn serve(&mut self) -> Result<(), Error> {
        self.watch_all()?;
        self.sync_wake_fds();
        loop {
            self.say_notes();
            let timeout = self.timeout();
            let [calls, events] = self.wait(timeout)?;
            if events != 0 {
                self.take_events();
                self.collect();
            } else if self.host.held.borrow().look_again().is_some() {
                self.collect();
            }
            self.after_close(None);
            self.tick_if_due();
            self.pending_due();
            self.free_strays();
            if self.ended.is_some() && self.swept.elapsed() >= AFTERWARDS {
                self.swept = Instant::now();
                self.sweep();
            }
            if calls & libc::POLLIN != 0 {
                self.one_call();
            } else if calls & (libc::POLLHUP | libc::POLLERR) != 0 && self.ended.is_some() {
                break;
            } else if calls & libc::POLLHUP != 0 {
                // The program is between its end and our notice of it.
                self.await_main();
            }
        }
        self.finish();
        Ok(())
    }

    fn watch_all(&self) -> Result<(), Error> {
        let add = |fd, event| {
            self.host
                .events
                .add(fd, libc::EPOLLIN.cast_unsigned(), event)
                .map_err(|Errno(errno)| Error::System {
                    call: "epoll_ctl",
                    errno,
                })
        };
        add(self.main.1.as_fd(), Event::Main)?;
        add(self.wakes.as_fd(), Event::Wake)?;
        let held = self.host.held.borrow();
        if let Some(fd) = held.event_fd() {
            add(fd, Event::Held)?;
        }
        if let Some(forward) = &self.forward {
            add(forward.event_fd(), Event::Signal)?;
        }
        if let Some(e) = held.refused {
            self.host.note(Note::NoInotify { errno: e.0 });
        }
        Ok(())
    }

    /// The time until something is due without an event.
    fn timeout(&self) -> Option<Duration> {
        let now = Instant::now();
        [
            self.backend.next_tick(),
            self.pending.next_look(now),
            self.closings.next_due(),
            self.host.held.borrow().look_again(),
            self.ended.map(|_| AFTERWARDS),
            (!self.strays.is_empty()).then_some(STRAYS),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Waits for a call or an event.
    fn wait(&self, timeout: Option<Duration>) -> Result<[i16; 2], Error> {
        let fd = |fd| libc::pollfd {
            fd,
            events: libc::POLLIN,
            revents: 0,
        };
        let mut fds = [
            fd(self.host.listener.as_fd().as_raw_fd()),
            fd(self.host.events.as_fd().as_raw_fd()),
        ];
        // With all processes gone the listener stays ready; only the rest is worth waiting for.
        let timeout = timeout.map(|t| libc::timespec {
            tv_sec: libc::time_t::try_from(t.as_secs()).unwrap_or(libc::time_t::MAX),
            tv_nsec: t.subsec_nanos().into(),
        });
        let timeout = timeout
            .as_ref()
            .map_or(core::ptr::null(), core::ptr::from_ref);
        // SAFETY: the array, its length and the timeout are live.
        let n = unsafe { libc::ppoll(fds.as_mut_ptr(), 2, timeout, core::ptr::null()) };
        if n < 0 {
            let e = crate::raw::errno();
            if e.0 != libc::EINTR {
                return Err(Error::System {
                    call: "ppoll",
                    errno: e.0,
                });
            }
            return Ok([0; 2]);
        }
        let [calls, events] = fds;
        Ok([calls.revents, events.revents])
    }

    fn one_call(&mut self) {
        let Ok(n) = self.host.listener.recv() else {
            return;
        };
        self.report.notifications += 1;
        // A thread that calls anew no longer waits for its last call.
        self.give_up_thread(n.tid);
        self.after_close(Some(n.tid));
        let verdict = self
            .dispatch(&n)
            .unwrap_or_else(|e| Verdict::Reply(e.into()));
        self.settle(&n, verdict);
        self.retry_changed();
    }

    fn settle(&mut self, n: &Notif, verdict: Verdict) {
        match verdict {
            // An answer nobody waits for any more: the thread was killed.
            Verdict::Reply(reply) => self.host.listener.answer(n.id, reply),
            Verdict::Answered => {}
            Verdict::Wait(waiting) => {
                if let Err(waiting) = self.pending.insert(*waiting) {
                    self.host.listener.answer(n.id, Reply::Fail(libc::ENOMEM));
                    self.abandon(&waiting);
                }
            }
        }
    }

    /// Handles what the supervisor's own epoll set reports.
    pub(crate) fn take_events(&mut self) {
        let mut events = Vec::new();
        self.host.events.take(&mut events);
        let mut tick = false;
        for event in events {
            match event {
                Event::Thread(tid) => self.thread_ended(tid),
                Event::Main => self.await_main(),
                Event::Signal => self.forward_signals(),
                Event::Wake => tick = true,
                Event::Poll(slot) => self.retry(slot),
                Event::Held => {}
            }
        }
        if tick {
            self.tick();
        }
    }

    /// Sees whatever has ended by now that may hold a file of this node.
    pub(crate) fn settle_ends(&mut self, node: usize) {
        self.take_events();
        // Calls of killed threads keep files open, and their end may not be told yet.
        for file in self.files.on_node(node) {
            self.give_up_ended_on(file);
        }
        self.collect();
    }

    fn thread_ended(&mut self, tid: u32) {
        let threads = self.host.procs.threads_of(tid);
        let Some(thread) = self.host.procs.forget(tid) else {
            return;
        };
        threads
            .into_iter()
            .for_each(|tid| self.give_up_ended_thread(tid));
        // A process that was orphaned is ours to reap; another's is not, and the kernel knows.
        if thread.tid == thread.tgid && tid != self.main.0 {
            reap::try_reap(&thread.pidfd);
        }
        // Its children are ours now. Where no signal tells of those, this is when to look.
        if thread.tid == thread.tgid && self.forward.is_none() {
            self.sweep();
        }
    }

    /// Reaps orphans of programs.
    pub(crate) fn sweep(&self) {
        let main = self.ended.is_none().then_some(self.main.0);
        reap::sweep(|pid| {
            Some(pid) == main
                || self.strays.iter().any(|stray| stray.tid() == pid)
                || self.backend.is_own_child(pid)
        });
    }

    /// Lets go of threads that have stopped by now.
    fn free_strays(&mut self) {
        for stray in core::mem::take(&mut self.strays) {
            let tid = stray.tid();
            match stray.free() {
                Ok(ended) => self.note_ended(tid, ended),
                Err(still) => self.strays.push(still),
            }
        }
    }

    fn await_main(&mut self) {
        if self.ended.is_none()
            && let Some(ended) = reap::try_reap(&self.main.1)
        {
            self.main_ended(ended);
        }
    }

    pub(crate) fn main_ended(&mut self, ended: Ended) {
        if self.ended.is_none() {
            self.ended = Some(ended);
            self.host.events.remove(self.main.1.as_raw_fd());
            self.give_up_ended();
        }
    }

    /// Sees what programs have let go of, and tells the backend.
    pub(crate) fn collect(&mut self) {
        let mut gone = Vec::new();
        self.host.held.borrow_mut().collect(false, &mut gone);
        self.let_go(gone);
    }

    fn let_go(&mut self, gone: Vec<Given>) {
        if gone.is_empty() {
            return;
        }
        for given in gone {
            match given {
                Given::Buffer(tag) => self.backend.gone(tag),
                Given::Mapping(file, tag) => {
                    self.backend.gone(tag);
                    if let Some(file) = self.files.get_mut(file) {
                        file.maps = file.maps.saturating_sub(1);
                    }
                    self.release_if_gone(file);
                }
                Given::File(file) => {
                    self.files.close(file);
                    self.epolls.forget(file);
                    if self.locks.forget(file) {
                        self.retry_locks();
                    }
                    self.release_if_gone(file);
                }
            }
        }
        let held = self.host.held.borrow();
        lock(&self.host.device_memory).retain(|&id| held.knows(id));
        drop(held);
        self.backend_changed();
        self.retry_changed();
    }

    fn release_if_gone(&mut self, file: FileId) {
        if self.files.remove_if_gone(file) {
            self.give_up_file(file);
            self.epolls.forget(file);
            self.backend.release(file);
            self.sync_wake_fds();
        }
    }

    fn tick_if_due(&mut self) {
        if self.backend.next_tick().is_some_and(|due| due.is_zero()) {
            self.tick();
        }
    }

    fn tick(&mut self) {
        self.backend.tick();
        self.sync_wake_fds();
        self.backend_changed();
        self.retry_changed();
        self.retry_buffers();
    }

    /// Keeps the backend's wake descriptors in an epoll set of their own: one that was closed has
    /// left it, and its number may be another file's by now.
    pub(crate) fn sync_wake_fds(&mut self) {
        let fds = self.backend.wake_fds();
        if fds.is_empty() && self.wake_fds.is_empty() {
            return;
        }
        for &old in &self.wake_fds {
            if !fds.iter().any(|fd| fd.as_raw_fd() == old) {
                self.wakes.remove(old);
            }
        }
        for fd in &fds {
            // Already there: EEXIST.
            self.wakes
                .add(*fd, libc::EPOLLIN.cast_unsigned(), Event::Wake)
                .ok();
        }
        self.wake_fds = fds.iter().map(AsRawFd::as_raw_fd).collect();
    }

    /// Brings the epoll sets of programs up to date before a call on `file` is answered.
    pub(crate) fn refresh(&mut self, file: FileId) {
        self.backend_changed();
        self.epolls.update(file, Cause::Call, self.backend);
    }

    fn backend_changed(&mut self) {
        for file in self.backend.take_changed() {
            self.pending.mark(file);
            self.epolls.update(file, Cause::Wake, self.backend);
        }
    }

    /// What a file's identity means here.
    pub(crate) fn target(&self, id: FdIdentity) -> Target {
        self.files.find(id).unwrap_or_else(|| {
            if self.backend.is_buffer(id) {
                Target::Buffer(id)
            } else {
                Target::Other
            }
        })
    }

    /// Whether no program holds anything of ours.
    pub(crate) fn holds_nothing(&self) -> bool {
        self.files.is_empty() && self.host.held.borrow().is_empty()
    }

    fn say_notes(&mut self) {
        if self.host.notes.borrow().is_empty() {
            return;
        }
        let notes: Vec<Note> = self.host.notes.borrow_mut().drain(..).collect();
        if let Some(say) = &mut self.notes {
            notes.into_iter().for_each(say);
        }
    }

    /// Nothing of the program is left: what is still held was passed to strangers, or its end
    /// has not been seen yet.
    fn finish(&mut self) {
        self.give_up_all();
        let mut gone = Vec::new();
        self.host.held.borrow_mut().collect(true, &mut gone);
        self.let_go(gone);
        let rest = self.host.held.borrow_mut().take_all();
        self.let_go(rest);
        for file in self.files.all() {
            self.files.close(file);
            self.release_if_gone(file);
        }
        match self.ended {
            Some(Ended::Status(status)) => self.report.status = status,
            Some(Ended::Signal(signal)) => {
                self.report.signal = Some(signal);
                self.report.status = 128 + signal;
            }
            None => {}
        }
        self.say_notes();
    }
}
