//! The state that all threads of the supervisor share, and the stages of a call: gather, apply, answer.
//!
//! *Gather* finds the caller, the file and its path, and copies the arguments in. *Apply* is one step of the
//! devices, under the lock of all devices (`RunLock`). *Answer* copies results out and installs descriptors.
//! Only *apply* holds the lock. The other stages may wait for the program's pages and file systems.
//!
//! The lock is never held for long:
//!
//! * A device moves at most 512 KiB in a tick. If its picture is unfinished, the next tick is due at once.
//!   A call that waits for the lock runs first. A tick that has run for 0.3 ms starts no other device's work.
//! * read() and write() of more than 640 KiB take one step for each piece (`CallOutcome::Part`). Until the
//!   last step, other reads and writes of the same file wait.
//! * In virtual time, one tick or call does all of its work without such limits.
//! * STREAMOFF of a decoder waits in the table of waiting calls (`waiting::pending`), as DQBUF does, while the
//!   codec's process writes to a buffer.
//! * Not divided into pieces: allocation (1 to 2 ms for 32 buffers of 16 MB, in a debug build), cache maintenance and
//!   bounces at QBUF and DQBUF, slices of stateless decoders, and a loopback's copy for a writer that waits.
//!
//! If more calls arrive than the receiver can serve, each process has its turn (`crowd`).

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::{Builder, Scope};
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::kernel::{AUDIT_ARCH, FCHMODAT2, Locked, MayBlock, RunLock, lock, nr};
use crate::memory::Gathered;
use crate::note::Note;
use crate::process::{ERESTARTNOINTR, Lending, Lent, Notif, Reply, lend, nudge, rewrite};
use crate::program::ExitReport;
use crate::service::crowd::LONG;
use crate::service::pool::{Admission, Part, Term, Work};
use crate::service::serve::{How, Job, RETRY_INTERVAL};
use crate::service::{Call, Crowd, Host, Pool, Server, Verdict, dispatch, locks, polls};
use crate::tree::{Showing, monitor};
use crate::waiting::Changed;
use vb3_frontend::{CallId, Errno, Node};

const STACK: usize = 512 << 10;
/// Interval of the receiver's retries after the programs' last thread has ended, until the clock notices it.
const END_CHECK_INTERVAL: Duration = Duration::from_millis(1);

/// Work that remains after a step of the devices, besides the answer to the step's own call.
#[derive(Default)]
struct Rest {
    /// Answers to other calls that the step has completed.
    answers: Vec<Job>,
    /// Changes of epoll sets that must precede the answer to the step's own call.
    changed: Changed,
    /// Whether this thread must run a tick. The clock is not woken for this tick.
    tick_is_due: bool,
    /// Pairs of threads that may share a descriptor table.
    doubts: BTreeSet<(u32, u32)>,
}

pub(crate) struct Supervisor<'a> {
    pub(crate) host: Arc<Host>,
    pub(crate) run: RunLock<Server<'a>>,
    pub(crate) pool: Pool,
    pub(crate) nodes: Vec<Node>,
    /// Per node, a memfd for descriptors opened with O_PATH. The first open of a node with O_PATH makes the memfd.
    pub(crate) references: Vec<OnceLock<OwnedFd>>,
    pub(crate) main: u32,
    pub(crate) showing: Showing,
    /// Start time in seconds since the epoch: the time stamp of the nodes.
    pub(crate) started: i64,
    pub(crate) received: AtomicU64,
    pub(crate) lent: Lending,
    /// Calls that were received and wait. Only the receiver takes them.
    pub(crate) crowd: Mutex<Crowd>,
    /// Whether a thread reads the list of all file locks now (`LockTable`).
    pub(crate) reads_locks: AtomicBool,
    /// Whether the kernel ends a receive when no thread is left that could make a call (Linux 6.11).
    pub(crate) receive_ends: bool,
}

impl<'a> Supervisor<'a> {
    /// Takes the lock of all devices, and returns the state under it.
    pub(crate) fn server<'m>(&'m self, may: &'m mut MayBlock) -> Locked<'m, Server<'a>> {
        self.run.lock(may)
    }

    /// Makes one step of the devices under the lock, for call `n` if given. Returns the step's result and the
    /// remaining work, which must be done without the lock.
    fn apply<T>(
        &self,
        may: &mut MayBlock,
        n: Option<&Notif>,
        step: impl FnOnce(&mut Server<'a>) -> T,
    ) -> (T, Rest) {
        let mut server = self.server(may);
        let done = step(&mut server);
        let mut answers = core::mem::take(&mut server.answers);
        // All these answers, and the answer to the present call, must wait for the changes of epoll sets.
        let changed = server.epolls.take_caused();
        for answer in &mut answers {
            answer.after = changed.clone();
        }
        let tick_is_due = n.is_some() && server.backend.is_due();
        let wake = !tick_is_due && server.is_due_sooner();
        let doubts = n.map(|_| server.table.numbers.take_doubts());
        drop(server);
        if wake {
            self.host.wake_clock();
        }
        let rest = Rest {
            answers,
            changed,
            tick_is_due,
            doubts: doubts.unwrap_or_default(),
        };
        (done, rest)
    }

    /// Makes one step of the devices, and answers the calls that the step has completed.
    pub(crate) fn step<T>(&self, may: &mut MayBlock, step: impl FnOnce(&mut Server<'a>) -> T) -> T {
        let (done, rest) = self.apply(may, None, step);
        self.answer_all(may, rest.answers);
        done
    }

    /// Serves calls until the program's last process has ended. Calls `show_notes` when there are notes.
    pub(crate) fn run(
        &self,
        may: &mut MayBlock,
        show_notes: &mut dyn FnMut(),
    ) -> Result<(), Error> {
        std::thread::scope(|scope| {
            let served = self.clock(may, scope, show_notes);
            self.pool.close();
            served
        })?;
        // No process of the program is left, so the step's remaining work is dropped.
        self.apply(may, None, Server::finish);
        Ok(())
    }

    /// Runs the clock: ticks, and events that no call causes. Never accesses a program's memory.
    fn clock<'scope>(
        &'scope self,
        may: &mut MayBlock,
        scope: &'scope Scope<'scope, '_>,
        show_notes: &mut dyn FnMut(),
    ) -> Result<(), Error> {
        self.server(may).watch_all()?;
        // Devices that are absent at the start disappear before the first call.
        self.apply(may, None, |server| {
            server.sync_wake_fds();
            server.backend_changed();
        });
        self.show_hotplug(may);
        let mut expects_calls = true;
        loop {
            let is_refused = self.start_workers(scope)?;
            if self.host.has_notes.load(Ordering::Acquire) {
                show_notes();
            }
            let note = |note| self.host.try_note(note);
            let look_again = (self.pool).look(expects_calls, |tid| self.host.pid_of(tid), note);
            if self.pool.is_short() && !is_refused {
                continue;
            }
            let until = self.server(may).plan(look_again);
            let mut timeout = until.map(|until| until.saturating_duration_since(Instant::now()));
            if is_refused {
                timeout =
                    Some(timeout.map_or(RETRY_INTERVAL, |timeout| timeout.min(RETRY_INTERVAL)));
            }
            let events = self.host.events.wait(timeout);
            let events = events.map_err(Error::of("epoll_pwait2"))?;
            self.read_locks_beside(may, scope);
            let is_wanted = || self.run.is_wanted();
            let (over, rest) = self.apply(may, None, |server| server.pass(events, &is_wanted));
            expects_calls = !rest.answers.is_empty();
            for answer in rest.answers {
                let pid = self.host.pid_of(answer.notif.tid);
                // The result is not needed: the clock itself starts missing workers.
                let _ = self.pool.hand_over(pid, answer);
            }
            self.pass_signals_on(may);
            if !over {
                self.look_after_leftovers(may);
            }
            self.show_hotplug(may);
            if over || self.pool.is_closing() {
                return Ok(());
            }
        }
    }

    /// Starts the threads that the pool wants. Returns whether the system refused to start some of them. Fails
    /// if the pool has no thread at all.
    fn start_workers<'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
    ) -> Result<bool, Error> {
        let wanted = self.pool.wanted();
        for started in 0..wanted {
            let name = Builder::new().name("vb3-call".into()).stack_size(STACK);
            let Err(e) = name.spawn_scoped(scope, || self.work()) else {
                continue;
            };
            if self.pool.unstarted(wanted - started) == 0 {
                return Err(Error::System {
                    call: "start of a thread",
                    errno: e.raw_os_error().unwrap_or(libc::EAGAIN),
                });
            }
            return Ok(true);
        }
        Ok(false)
    }

    /// Reads the list of locks in a separate thread if a check waits for it, so that ticks need not wait.
    fn read_locks_beside<'scope>(&'scope self, may: &MayBlock, scope: &'scope Scope<'scope, '_>) {
        let is_wanted = lock(&self.host.held).wants_locks();
        if !is_wanted || self.reads_locks.swap(true, Ordering::AcqRel) {
            return;
        }
        let read = || {
            self.host.read_locks(&MayBlock::of_this_thread());
            self.reads_locks.store(false, Ordering::Release);
            self.host.wake_clock();
        };
        let thread = Builder::new().name("vb3-locks".into()).stack_size(STACK);
        if thread.spawn_scoped(scope, read).is_err() {
            self.host.read_locks(may);
            self.reads_locks.store(false, Ordering::Release);
        }
    }

    /// Drops epoll sets that no program holds, if a search for them is due.
    fn sweep_sets(&self, may: &mut MayBlock) {
        let sweep = self.server(may).epolls.begin_sweep();
        if let Some(sweep) = sweep {
            let gone = sweep.look(may);
            let server = &mut *self.server(may);
            server.epolls.end_sweep(&mut server.table, &sweep, gone);
        }
    }

    fn work(&self) {
        let _guard = EndOnPanic(self);
        let mut may = MayBlock::of_this_thread();
        let may = &mut may;
        loop {
            match self.pool.next() {
                Part::Receive(term) => self.receive(may, term),
                Part::Work(work, job) => self.do_job(may, work, job),
                Part::End => return,
            }
        }
    }

    /// Receives and serves calls until another thread becomes the receiver.
    fn receive(&self, may: &mut MayBlock, term: Term) {
        let mut is_crowded = true;
        // The memory in which the last call's data was. The next call uses this memory again.
        let mut room = None;
        while self.pool.receives(term) {
            let waiting = is_crowded.then(|| lock(&self.crowd).next()).flatten();
            is_crowded = waiting.is_some();
            let n = match waiting.map_or_else(|| self.receive_one(room.take()), Some) {
                Some(n) => n,
                None if self.pool.is_closing() => return,
                None => continue,
            };
            let begun = Instant::now();
            let before = self.received.fetch_add(1, Ordering::Relaxed);
            (self.host.guard).add(n.tid, n.tid == self.main, before + 1);
            if self.pool.step_in(&n) {
                self.host.wake_clock();
            }
            let admitted = if self.pool.is_busy() {
                self.pool.admit(term, self.host.pid_of(n.tid), &n)
            } else {
                Admission::Serve
            };
            if admitted == Admission::ServeShort {
                self.host.wake_clock();
            }
            if admitted != Admission::HeldBack {
                self.serve(may, &n);
            }
            // Closes the files that the thread has sent. If this takes long, the clock replaces the receiver.
            room = Gathered::emptied(n.gathered);
            if let Some(work) = self.pool.step_out(term) {
                return self.pool.done(work);
            }
            if is_crowded || begun.elapsed() >= LONG {
                is_crowded = self.receive_crowd();
            }
        }
    }

    /// Waits for the next call. `room` is the emptied memory of an earlier call's data ([`Gathered::emptied`]), for
    /// the next call's data. Returns `None` if all programs have ended, or if the thread that made the call was
    /// killed meanwhile.
    fn receive_one(&self, room: Option<Arc<Gathered>>) -> Option<Notif> {
        let listener = &self.host.listener;
        // Before Linux 6.11, a receive after the end of the last thread never returns.
        let received = match self.receive_ends || listener.look(None) & libc::POLLIN != 0 {
            true => listener.recv(room),
            false => Err(Errno(libc::ENOENT)),
        };
        match received {
            Ok(n) => return Some(n),
            Err(Errno(libc::ENOENT)) if listener.is_over() && !self.pool.is_closing() => {
                // Waits until the clock notices the end of the last thread.
                self.pool.await_close(END_CHECK_INTERVAL);
            }
            Err(_) => {}
        }
        None
    }

    /// Receives the calls that have arrived, as many as the crowd wants. Returns whether any wait there now.
    fn receive_crowd(&self) -> bool {
        let mut crowd = lock(&self.crowd);
        let begun = Instant::now();
        let has_more = || self.host.listener.look(Some(Duration::ZERO)) & libc::POLLIN != 0;
        while crowd.wants_more(begun.elapsed()) && has_more() {
            if let Some(n) = self.receive_one(None) {
                self.host.guard.announce(n.tid);
                // The process of a thread that is not known yet is found when this call is served. To find it here
                // would delay the calls that have not been taken yet.
                let pid = self.host.procs.process_of(n.tid).unwrap_or(n.tid);
                crowd.add(pid, n.nr, n);
            }
        }
        !crowd.is_empty()
    }

    /// Does a job of the pool, and tells the pool when it is done.
    fn do_job(&self, may: &mut MayBlock, work: Work, job: Job) {
        let How::Reply(reply) = job.how else {
            self.work_on(may, job);
            return self.pool.done(work);
        };
        job.after.wait(may, || self.host.pid_of(job.notif.tid));
        let reply = self.carried_out(may, &job.notif, reply);
        let n = job.notif;
        if n.gathered.has_lent() {
            // Dropping `n` closes the files that the thread has sent, which may take long. So the call is answered
            // first.
            self.host.listener.answer(n.id, reply);
            drop(n);
            return self.pool.done(work);
        }
        // The part that may stall is over. A program calls again as soon as it has its answer.
        // If this thread were still recorded as busy, another thread would have to receive that call.
        self.pool.done(work);
        self.host.listener.answer(n.id, reply);
    }

    /// Asks the calling thread for descriptors that its call lacks. Returns true if its call has been
    /// answered: the thread then repeats the call.
    pub(crate) fn lend(&self, may: &mut MayBlock, n: &Notif) -> bool {
        let mut wanted = n.gathered.wanted();
        if wanted.len() > lend::MAX_LENT {
            n.gathered.lend(Vec::new());
            wanted.clear();
        }
        if wanted.is_empty() {
            return false;
        }
        let keep = |lent: Lent| self.lent.keep(n.tid, lent);
        match lend::ask(may, &self.host.listener, n, &wanted, keep) {
            Ok(ended) => {
                self.left(may, n.tid, ended);
                true
            }
            Err(_) => {
                n.gathered.lend(Vec::new());
                false
            }
        }
    }

    /// Accepts the descriptors that the thread has sent for this call.
    fn take_lent(&self, n: &Notif) {
        if let Some(lent) = self.lent.take(n) {
            n.gathered.lend(lent.fds);
        }
    }

    /// Serves one call from its receipt to its answer, or until it waits.
    fn serve(&self, may: &mut MayBlock, n: &Notif) {
        if n.arch != AUDIT_ARCH {
            self.host.note(Note::OtherCalls(self.host.pid_of(n.tid)));
            return self.host.listener.answer(n.id, Reply::Native);
        }
        self.take_lent(n);
        let n = &Call::new(&self.host, n);
        let served = match n.nr {
            libc::SYS_mmap => self.mmap(may, n),
            nr::OPEN | libc::SYS_openat | libc::SYS_openat2 | nr::CREAT => self.open(may, n),
            nr::STAT | nr::LSTAT | libc::SYS_newfstatat | libc::SYS_statx | libc::SYS_fstat => {
                self.stat(may, n)
            }
            nr::ACCESS | libc::SYS_faccessat | libc::SYS_faccessat2 => self.access(may, n),
            nr::READLINK | libc::SYS_readlinkat => self.readlink(may, n),
            libc::SYS_socket => self.socket(may, n),
            libc::SYS_chdir => self.chdir(may, n),
            libc::SYS_getcwd => self.getcwd(may, n),
            libc::SYS_getdents64 => self.getdents(may, n),
            libc::SYS_statfs | libc::SYS_fstatfs => self.statfs(may, n),
            libc::SYS_getxattr
            | libc::SYS_lgetxattr
            | libc::SYS_listxattr
            | libc::SYS_llistxattr => self.xattr(may, n),
            nr::CHMOD
            | nr::CHOWN
            | nr::LCHOWN
            | libc::SYS_fchmodat
            | FCHMODAT2
            | libc::SYS_fchownat
            | libc::SYS_utimensat => self.change_attributes(may, n),
            libc::SYS_inotify_add_watch => self.add_watch(may, n),
            _ => Ok(self.call(may, n)),
        };
        let verdict = served.unwrap_or_else(Verdict::Reply);
        if let Verdict::Reply(reply) = verdict {
            self.reply(may, n, reply);
        }
    }

    fn call(&self, may: &mut MayBlock, n: &Call<'_>) -> Verdict {
        // These calls matter even if no program holds a file: io_uring_setup, and calls on sockets.
        let always = n.nr == libc::SYS_io_uring_setup || monitor::CALLS.contains(&n.nr);
        if !always && (self.host.holds_nothing() || dispatch::is_of_another(&self.host, n)) {
            return Verdict::native();
        }
        if n.nr == libc::SYS_epoll_ctl {
            self.sweep_sets(may);
        }
        // Other calls hold no buffer.
        if matches!(n.nr, libc::SYS_ioctl | libc::SYS_mmap) {
            n.note_label();
        }
        let mut expected = expected(n);
        let mut has_looked = false;
        loop {
            let gathers = expected.is_some() || n.gathered.lacks();
            // Only the thread itself can send some of the descriptors that the devices need.
            if gathers && self.run.apart(|| n.gather(may, expected.take())) {
                if self.lend(may, n) {
                    return Verdict::Answered;
                }
                self.run.apart(|| n.gather(may, None));
            }
            if !core::mem::replace(&mut has_looked, true) {
                if !self.run.apart(|| polls::look_ahead(may, n)) {
                    return Verdict::native();
                }
                self.look_for_holders(may, n);
            }
            // The step looks up the calling thread again. `n` may know a thread with this id that has ended, and the
            // step may handle this end.
            let step = Call::new(&self.host, n);
            let (verdict, mut rest) = self.apply(may, Some(n), |server| server.call(&step));
            let again = n.must_repeat(&self.run);
            if rest.changed.is_awaited() || matches!(verdict, Verdict::InSet(_)) {
                // Only this call waits for an epoll set, so the calls that it completed are answered now.
                self.see_to_rest(may, &mut rest);
                core::mem::take(&mut rest.changed).wait(may, || self.host.pid_of(n.tid));
            }
            let mut is_over = true;
            let reply = match verdict {
                _ if again => {
                    is_over = self.lend(may, n);
                    None
                }
                Verdict::Behind => {
                    self.host.read_locks(may);
                    is_over = false;
                    None
                }
                Verdict::Reply(reply) => Some(reply),
                Verdict::InSet(control) => Some(self.end_change(may, &control)),
                Verdict::Copied(copy, at) => Some(self.run.apart(|| {
                    let made = self.install_copy(&step, &copy, at);
                    drop(copy);
                    made.map_or_else(|reply| reply, |number| Reply::Value(number.into()))
                })),
                Verdict::Answered | Verdict::Wait(_) => None,
            };
            // This call is answered before the calls that it completed.
            if let Some(reply) = reply {
                self.reply(may, n, reply);
            }
            self.see_to_rest(may, &mut rest);
            if !rest.doubts.is_empty() {
                self.compare_tables(may, &rest.doubts);
            }
            if is_over {
                return Verdict::Answered;
            }
        }
    }

    /// Runs a due tick, and answers the other calls that the step has completed. Leaves `rest.changed`, the changes
    /// of epoll sets for which this call waits.
    fn see_to_rest(&self, may: &mut MayBlock, rest: &mut Rest) {
        let mut answers = core::mem::take(&mut rest.answers);
        // This thread runs the tick, so the program does not wait for the clock's thread.
        if core::mem::take(&mut rest.tick_is_due) {
            let ((), more) = self.apply(may, None, Server::tick_if_due);
            answers.extend(more.answers);
        }
        self.answer_all(may, answers);
    }

    fn reply(&self, may: &mut MayBlock, n: &Notif, reply: Reply) {
        let reply = self.carried_out(may, n, reply);
        self.host.listener.answer(n.id, reply);
    }

    /// Carries out a call's effects: copies results out, and makes descriptors. Returns the answer: the error if
    /// this failed for a successful call.
    fn carried_out(&self, may: &mut MayBlock, n: &Notif, reply: Reply) -> Reply {
        let copied = n.gathered.copy_out(self.host.memory_of(may, n.tid));
        // If the call fails, the program cannot learn the numbers of new descriptors. So none is made: the files in
        // `installs` are dropped, which ends them.
        let installs = core::mem::take(&mut n.gathered.data().installs);
        let Reply::Value(value) = reply else {
            return reply;
        };
        if installs.is_empty() {
            return copied.map_or_else(Reply::from, |()| reply);
        }
        let done = copied.and_then(|()| Call::new(&self.host, n).install_all(may, installs));
        let told = done.as_ref().map(|(numbers, _)| &**numbers);
        let call = CallId(n.id);
        self.server(may)
            .backend
            .installed(call, told.map_err(|e| *e));
        done.map_or_else(Reply::from, |(_, number)| {
            Reply::Value(number.map_or(value, i64::from))
        })
    }

    /// Answers calls that a step has completed, in other threads if an answer may take long.
    pub(crate) fn answer_all(&self, may: &mut MayBlock, answers: Vec<Job>) {
        for answer in answers {
            // While calls stall, this answer may stall, too. Long answers must not occupy the receiver.
            let is_long = matches!(answer.how, How::Part(_)) || answer.after.is_awaited();
            if self.pool.is_busy() || is_long {
                let pid = self.host.pid_of(answer.notif.tid);
                if self.pool.hand_over(pid, answer) {
                    self.host.wake_clock();
                }
            } else {
                self.work_on(may, answer);
            }
        }
    }

    /// Does a job in the calling thread: for a call that waited, this is usually its answer.
    fn work_on(&self, may: &mut MayBlock, job: Job) {
        let n = job.notif;
        job.after.wait(may, || self.host.pid_of(n.tid));
        match job.how {
            How::Serve => self.serve(may, &n),
            How::Reply(reply) => self.reply(may, &n, reply),
            How::Part(slot) => self.move_on(may, &n, slot),
            How::Again(slot) => {
                self.run
                    .apart(|| Call::new(&self.host, &n).gather(may, None));
                self.step(may, |server| server.retry_gathered(slot));
            }
            How::Interrupt(slot, arg) => self.interrupt(may, &n, slot, arg),
        }
    }

    /// Continues a read or write piece by piece until the call is over. Copies each piece from or to the
    /// program without the lock, and lets the devices move the piece under the lock.
    fn move_on(&self, may: &mut MayBlock, n: &Notif, slot: u32) {
        loop {
            let copied = n.gathered.copy_out(self.host.memory_of(may, n.tid));
            if n.gathered.lacks() {
                self.run
                    .apart(|| Call::new(&self.host, n).gather(may, None));
            }
            let next = |server: &mut Server<'a>| server.next_piece(slot, copied);
            let (goes_on, rest) = self.apply(may, None, next);
            let is_own = |job: &Job| job.notif.id == n.id;
            let (own, others): (Vec<_>, _) = rest.answers.into_iter().partition(is_own);
            own.into_iter().for_each(|own| self.work_on(may, own));
            self.answer_all(may, others);
            if !goes_on {
                return;
            }
        }
    }

    /// Ends a call's wait because a signal has arrived. The kernel may have offered this signal to another thread, or
    /// only the mask of a ppoll or pselect6 admits it. If the thread is stopped by ptrace, the kernel looks for
    /// signals when the call ends. `count` is for a ppoll or pselect6: the index of the argument that has the number
    /// of descriptors. The stopped thread then makes the call with no descriptors, so that the kernel finds the
    /// signal and runs the handler.
    fn interrupt(&self, may: &mut MayBlock, n: &Notif, slot: u32, count: Option<usize>) {
        if !self.step(may, |server| server.begin_stop(slot)) {
            return;
        }
        let stopped = rewrite::seize(n.tid).ok();
        let stops = stopped.is_some();
        if !stops && count.is_some() {
            return self.step(may, |server| server.retry_unstopped(slot));
        }
        let given_up = self.step(may, |server| server.give_up_for_signal(slot));
        let restarted = given_up.is_some_and(|(n, code)| {
            let pid = self.host.pid_of(n.tid);
            let code = match count {
                Some(_) => ERESTARTNOINTR,
                // The kernel offers most signals to the first thread first.
                None if stops || nudge(pid, n.tid) || pid == n.tid => code,
                None => libc::EINTR,
            };
            let reply = self.carried_out(may, &n, Reply::Fail(code));
            self.host.listener.send(n.id, reply).is_ok()
        });
        // If the answer fails, the thread has ended or a debugger has it.
        let ended = match (stopped, count) {
            (Some(stopped), Some(count)) if restarted => stopped.run_without(may, count),
            (Some(stopped), _) => stopped.release(may),
            (None, _) => return,
        };
        self.left(may, n.tid, ended);
    }

    /// Records the end of a released thread, if it has ended.
    pub(crate) fn left(&self, may: &mut MayBlock, tid: u32, ended: Option<ExitReport>) {
        // Only the tracer gets the exit status of a thread that ends while it is traced.
        if let Some(ended) = ended
            && tid == self.main
        {
            self.step(may, |server| server.main_ended(ended));
        }
    }
}

/// Ends the run if its thread panics, because no other thread would finish the panicked thread's job.
struct EndOnPanic<'a, 'b>(&'a Supervisor<'b>);

impl Drop for EndOnPanic<'_, '_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.pool.close();
            self.0.host.wake_clock();
        }
    }
}

/// Returns the address and length that the call will read, if they follow from its arguments alone.
fn expected(n: &Notif) -> Option<(u64, usize)> {
    match n.nr {
        libc::SYS_ioctl => {
            let request = n.uint(1);
            let (writes, size) = (request >> 30 & 1 != 0, request >> 16 & 0x3fff);
            writes.then_some((n.arg(2), size as usize))
        }
        nr::POLL | libc::SYS_ppoll => {
            let count = usize::try_from(n.arg(1)).ok()?;
            (count <= 4096).then(|| (n.arg(0), count * 8))
        }
        libc::SYS_epoll_ctl => Some((n.arg(3), 12)),
        libc::SYS_recvmsg => Some((n.arg(1), 56)),
        libc::SYS_fcntl if locks::COMMANDS.contains(&n.int(1)) => {
            Some((n.arg(2), locks::FLOCK_BYTES))
        }
        _ => None,
    }
}
