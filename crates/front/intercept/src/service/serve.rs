//! The state that the one lock of all devices protects: the devices, and programs' files and buffers.

use std::collections::VecDeque;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::descriptors::{Cause, CheckScope, Given, Table, Target, Watched};
use crate::error::Error;
use crate::kernel::{Borrowed, lock};
use crate::note::Note;
use crate::process::{Forward, Notif, Reply, reap};
use crate::program::ExitReport;
use crate::service::host::Event;
use crate::service::leftover::Undecided;
use crate::service::{Call, Ending, Events, Host, WakeSet, polls};
use crate::tree::Monitors;
use crate::waiting::{Changed, Control, Epolls, On, Pending, Waiting};
use vb3_frontend::{Backend, FdIdentity, FileId, Hotplug};

/// Interval of checks for ends of processes after the program's end.
const LEFTOVER_INTERVAL: Duration = Duration::from_millis(100);
/// Maximum number of ends of files and buffers that one step handles.
const MAX_ENDS_PER_STEP: usize = 128;
/// Maximum number of pieces of pictures (together 4 MiB) between two checks for events.
const MAX_PIECES: usize = 8;
/// Interval of attempts to start a refused thread.
pub(crate) const RETRY_INTERVAL: Duration = Duration::from_millis(10);
/// Work may be this late if that saves waking the clock.
const SLACK: Duration = Duration::from_micros(50);

pub(crate) enum Verdict {
    Reply(Reply),
    /// The call needs no further work: it was answered, or waits in the table of waiting calls ([`Pending`]).
    Answered,
    Wait(Box<Waiting>),
    /// Files have ended whose end the call must see, more files were closed than one step handles, or the list of locks
    /// must be read first. The supervisor then makes the call's step again.
    Behind,
    /// The call changes an epoll set, which may block on the program's files.
    InSet(Box<Control>),
    /// The call copies a descriptor. After the call's changes of epoll sets are made, the supervisor installs this
    /// copy at the given number, with FD_CLOEXEC if the flag is true.
    Copied(Borrowed, (CopyAt, bool)),
}

/// The number of a copied descriptor.
#[derive(Clone, Copy)]
pub(crate) enum CopyAt {
    Number(u32),
    /// The next free reserved number. If there is none, the kernel makes the copy.
    Reserved,
    /// The first free reserved number from this one on.
    From(u32),
}

/// The result of a call's handler. An error is an answer that ends the call early: a failure, or
/// [`Reply::Native`] for a call that does not concern the devices.
pub(crate) type Served = Result<Verdict, Reply>;

/// Work for a call, which any thread can do.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) notif: Notif,
    pub(crate) how: How,
    /// Changes of epoll sets that must precede the work.
    pub(crate) after: Changed,
}

impl Job {
    pub(crate) fn new(notif: Notif, how: How) -> Self {
        let after = Changed::default();
        Self { notif, how, after }
    }

    /// Returns the work for a call that was just received.
    pub(crate) fn serve(notif: Notif) -> Self {
        Self::new(notif, How::Serve)
    }
}

#[derive(Debug)]
pub(crate) enum How {
    Serve,
    /// Writes the call's stored data to the program, and answers with this result.
    Reply(Reply),
    /// Gathers missing memory of the program, and retries the call in this slot.
    Again(u32),
    /// Stops the thread, so that the kernel looks for signals. The first field is the slot. If only the call's own
    /// mask admits the signal, the thread then makes the call without descriptors. For this case, the second field
    /// is the index of the argument that has the number of descriptors.
    Interrupt(u32, Option<usize>),
    /// Continues the read or write in this slot. One piece was moved, and more remain.
    Part(u32),
}

impl Verdict {
    pub(crate) const fn native() -> Self {
        Self::Reply(Reply::Native)
    }

    pub(crate) const fn value(value: i64) -> Self {
        Self::Reply(Reply::Value(value))
    }
}

/// The state of a run under the lock of all devices.
pub(crate) struct Server<'a> {
    pub(crate) host: Arc<Host>,
    pub(crate) backend: &'a mut dyn Backend,
    pub(crate) pending: Pending,
    pub(crate) epolls: Epolls,
    pub(crate) table: Table,
    pub(crate) wakes: WakeSet,
    pub(crate) main: (u32, OwnedFd),
    pub(crate) ended: Option<ExitReport>,
    pub(crate) forward: Option<Forward>,
    pub(crate) undecided: Undecided,
    pub(crate) swept: Instant,
    /// Answers to send when the lock is free.
    pub(crate) answers: Vec<Job>,
    /// When the clock wakes by itself; `None` for never.
    pub(crate) wakes_at: Option<Instant>,
    /// Whether no thread is left that could make a call.
    pub(crate) hung_up: bool,
    pub(crate) ending: Ending,
    /// Ended files and buffers whose end the backend does not know yet.
    pub(crate) gone: VecDeque<Given>,
    /// Device files without a descriptor that calls still wait for. As on Linux, a file ends only after these calls.
    pub(crate) kept: Vec<FileId>,
    pub(crate) monitors: Monitors,
    /// Whether the supervisor's epoll set has said, since the clock's last pass, that a descriptor may have been closed.
    pub(crate) may_have_closed: bool,
    /// Added and removed nodes, until programs see the change.
    pub(crate) hotplug: Vec<Hotplug>,
    /// An empty vector, kept for its allocation: the next step's changed files go there.
    pub(crate) changed: Vec<FileId>,
}

impl Server<'_> {
    /// Adds the sources that exist from the start to the supervisor's epoll set.
    pub(crate) fn watch_all(&self) -> Result<(), Error> {
        let add = |fd, events: i32, event| {
            let added = self.host.events.add(fd, events.cast_unsigned(), event);
            added.map_err(Error::of("epoll_ctl"))
        };
        add(self.main.1.as_fd(), libc::EPOLLIN, Event::Main)?;
        let alarm = self.host.alarm.as_fd();
        add(alarm, libc::EPOLLIN | libc::EPOLLET, Event::Alarm)?;
        // Without EPOLLIN: calls wake the thread that receives them, not the clock thread.
        add(self.host.listener.as_fd(), 0, Event::Hangup)?;
        let held = lock(&self.host.held);
        if let Some(fd) = held.event_fd() {
            add(fd, libc::EPOLLIN, Event::Held)?;
        }
        if let Some(forward) = &self.forward {
            add(forward.event_fd(), libc::EPOLLIN, Event::Signal)?;
        }
        if let Some(e) = held.refused {
            self.host.note(Note::NoInotify(e));
        }
        Ok(())
    }

    /// Returns the time of the next work that no event announces.
    fn due(&self) -> Option<Instant> {
        let now = Instant::now();
        let soonest = [
            self.backend.next_tick(),
            self.pending.next_look(now),
            self.table.numbers.next_due(),
            lock(&self.host.held).look_again(),
            self.ended.map(|_| LEFTOVER_INTERVAL),
            (self.undecided.front()).map(|(_, until)| until.saturating_duration_since(now)),
            (!self.gone.is_empty() || self.kept.iter().any(|file| !self.pending.is_on(*file)))
                .then_some(Duration::ZERO),
            self.epolls.is_refused().then_some(RETRY_INTERVAL),
        ]
        .into_iter()
        .flatten()
        .min();
        soonest.and_then(|soonest| now.checked_add(soonest))
    }

    /// Returns the time until which the clock may sleep. The clock wakes after `look_again` in any case, so
    /// work that is due after this time needs no separate wake.
    pub(crate) fn plan(&mut self, look_again: Option<Duration>) -> Option<Instant> {
        let look_again = look_again.and_then(|pause| Instant::now().checked_add(pause));
        self.wakes_at = self.due().into_iter().chain(look_again).min();
        self.wakes_at
    }

    /// Returns whether work is due before the clock wakes by itself. For the same due time, the next call
    /// returns false.
    pub(crate) fn is_due_sooner(&mut self) -> bool {
        if !self.hotplug.is_empty() || !self.ending.to_pass.is_empty() {
            return true;
        }
        let due = self.due();
        due.is_some_and(|due| cuts_short(&mut self.wakes_at, due))
    }

    /// Handles everything that no call causes: events, closed files, ticks and timeouts. Returns true when
    /// all processes of the program have ended. `events` are those of the supervisor's epoll set. `is_wanted` returns
    /// whether a call waits for the lock.
    pub(crate) fn pass(&mut self, events: Vec<Event>, is_wanted: &dyn Fn() -> bool) -> bool {
        self.handle_events(events);
        self.pass_signals();
        self.epolls.retry();
        let look = match core::mem::take(&mut self.may_have_closed) {
            true => CheckScope::Due,
            false => CheckScope::NoneClosed,
        };
        self.collect_at_most(MAX_ENDS_PER_STEP, look);
        self.after_close(None);
        if self.has_tick() {
            self.tick();
            self.move_pieces(is_wanted);
        }
        self.pending_due();
        self.retry_changed();
        if self.ended.is_some() && self.swept.elapsed() >= LEFTOVER_INTERVAL {
            self.swept = Instant::now();
            self.sweep();
        }
        if self.hung_up && self.ended.is_none() {
            // The program has ended, and its end is about to be reported.
            self.await_main();
        }
        self.hung_up && self.ended.is_some()
    }

    pub(crate) fn call(&mut self, n: &Call<'_>) -> Verdict {
        n.gathered.begin();
        // If a file was closed or a process ended before the call, the call must see the effect. This
        // function looks for closes itself: epoll_wait may report none while the clock polls the same set.
        // The end of a thread matters if its waiting call keeps a file open.
        if !self.pending.slots.is_empty() {
            self.take_events();
        }
        let needs_fresh_closes = self.needs_fresh_closes(n);
        let is_poll = polls::CALLS.contains(&n.nr);
        // A poll knows its files only later, and then makes this check itself.
        if needs_fresh_closes && !is_poll {
            self.collect_at_most(MAX_ENDS_PER_STEP, self.look_of(n));
            if self.is_behind() {
                return Verdict::Behind;
            }
        }
        // A thread that calls again no longer waits for its last call.
        self.give_up_thread(n.tid);
        self.after_close(Some(n.tid));
        // A due tick precedes the call. So a display without a clock has shown all queued frames when the
        // program stops it.
        self.tick_if_due();
        let mut verdict = self.dispatched(n);
        // Without fresh closes, these results are right, too.
        let is_right = matches!(
            verdict,
            Verdict::Reply(Reply::Value(_) | Reply::Fail(libc::EAGAIN)) | Verdict::Wait(_)
        );
        if !needs_fresh_closes && !is_right && !n.gathered.lacks() && self.collect() {
            // The call may have failed only because of a file whose end was not handled.
            if self.is_behind() {
                return Verdict::Behind;
            }
            verdict = self.dispatched(n);
        }
        if n.gathered.lacks() {
            return Verdict::Answered;
        }
        let verdict = match verdict {
            Verdict::Wait(waiting) => {
                let is_under_way = waiting.is_under_way();
                let is_followed = self.host.procs.tells_end_of(n.tid);
                match self.pending.insert(*waiting, is_followed) {
                    Ok(slot) => {
                        if is_under_way {
                            self.answer(n, How::Part(slot));
                        }
                        Verdict::Answered
                    }
                    Err(waiting) => {
                        self.abandon(&waiting);
                        Verdict::Reply(Reply::Fail(libc::ENOMEM))
                    }
                }
            }
            verdict => verdict,
        };
        self.retry_changed();
        verdict
    }

    /// Returns which files are checked for their end before a call.
    fn look_of(&self, n: &Notif) -> CheckScope {
        match n.nr == libc::SYS_ioctl && self.backend.takes_memory(n.uint(1)) {
            true => CheckScope::Since(n.gathered.came()),
            false => CheckScope::Due,
        }
    }

    fn dispatched(&mut self, n: &Call<'_>) -> Verdict {
        self.dispatch(n).unwrap_or_else(Verdict::Reply)
    }

    /// Returns whether a closed file whose end is not handled yet may matter to this call. Most calls skip
    /// the check: it costs a system call, and programs open and close thousands of buffers a second.
    fn needs_fresh_closes(&self, n: &Notif) -> bool {
        if n.nr != libc::SYS_ioctl {
            return true;
        }
        let known = self.table.numbers.get(n.tid, n.int(0));
        match known.and_then(|id| self.table.find(id)) {
            Some(Target::Device(file)) => {
                let request = n.uint(1);
                let data = n.gathered.data();
                let argument = data.have.bytes(n.arg(2), (request >> 16 & 0x3fff) as usize);
                let argument = argument.and_then(Result::ok).unwrap_or_default();
                self.backend
                    .needs_fresh_closes(file, Some(request), argument)
            }
            _ => true,
        }
    }

    /// Queues the answer to a call that waited. It is sent when the lock is free.
    pub(crate) fn answer(&mut self, n: &Notif, how: How) {
        self.answers.push(Job::new(n.clone(), how));
    }

    /// Handles pending events of the supervisor's epoll set. Returns their number.
    pub(crate) fn take_events(&mut self) -> usize {
        let events = self.host.events.take();
        let count = events.len();
        if events.contains(&Event::Alarm) {
            // It was meant for the clock.
            self.host.wake_clock();
        }
        self.handle_events(events);
        count
    }

    fn handle_events(&mut self, events: Vec<Event>) {
        let count = events.len();
        self.may_have_closed |= count == Events::AT_ONCE;
        let mut tick = false;
        for event in events {
            match event {
                Event::Thread(tid) => self.thread_ended(tid),
                Event::Main => self.await_main(),
                Event::Signal => self.take_signals(),
                Event::Wake(number) => {
                    if let Some(id) = self.wakes.note_readable(number) {
                        self.backend.woken(id);
                    }
                    tick = true;
                }
                Event::Poll(slot) => self.retry(slot),
                Event::Held => self.may_have_closed = true,
                Event::Alarm => {}
                Event::Hangup => {
                    // The program's end wakes the clock next. Until then, this event would only repeat.
                    self.hung_up = true;
                    let listener = self.host.listener.as_fd().as_raw_fd();
                    self.host.events.remove(listener);
                }
            }
        }
        if tick {
            self.tick();
        }
    }

    /// Handles all ends of processes and files up to now. If a program has waited for a process's end, the
    /// process's pidfd has an event by now. `scope` says which files are checked.
    pub(crate) fn process_ends(&mut self, scope: CheckScope) {
        // Some events stay pending and are returned again, so the number of rounds is limited.
        let most = self.pending.slots.len() + self.host.procs.count();
        for _ in 0..=most / Events::AT_ONCE {
            if self.take_events() < Events::AT_ONCE {
                break;
            }
        }
        // A waiting call keeps files open, even after its thread has ended. The end of the threads in `unfollowed`
        // is not reported, so the kernel is asked about their calls. It is not asked about other calls: for each
        // query, the kernel searches all waiting calls.
        self.give_up_invalid(self.pending.unfollowed.iter().copied().collect());
        self.collect_all(scope);
    }

    /// Handles the ends of all files that a check finds, also by the list of locks if it was read.
    pub(crate) fn collect_all(&mut self, scope: CheckScope) {
        self.collect_at_most(usize::MAX, scope);
    }

    fn thread_ended(&mut self, tid: u32) {
        let threads = self.host.procs.threads_of(tid);
        let Some(thread) = self.host.procs.forget(tid) else {
            return;
        };
        for tid in threads {
            self.give_up_ended_thread(tid);
        }
        // An orphan is now the supervisor's child and must be reaped. For any other process, this fails.
        if thread.tid == thread.tgid && tid != self.main.0 {
            reap::try_reap(&thread.pidfd);
        }
        // The supervisor becomes the parent of the process's children. If it does not catch SIGCHLD, it
        // reaps ended children here.
        if thread.tid == thread.tgid && self.forward.is_none() {
            self.sweep();
        }
    }

    /// Reaps ended orphans of programs, except the main program and the backend's own children.
    pub(crate) fn sweep(&self) {
        let main = self.ended.is_none().then_some(self.main.0);
        reap::sweep(|pid| Some(pid) == main || self.backend.is_own_child(pid));
    }

    fn await_main(&mut self) {
        if self.ended.is_none()
            && let Some(ended) = reap::try_reap(&self.main.1)
        {
            self.main_ended(ended);
        }
    }

    pub(crate) fn main_ended(&mut self, ended: ExitReport) {
        if self.ended.is_none() {
            self.ended = Some(ended);
            self.host.events.remove(self.main.1.as_raw_fd());
            self.give_up_invalid(self.pending.all());
        }
    }

    /// Handles a limited number of ended files and buffers, and notifies the backend. Returns whether there
    /// were any, or the list of locks must first be read.
    pub(crate) fn collect(&mut self) -> bool {
        self.collect_at_most(MAX_ENDS_PER_STEP, CheckScope::Due)
    }

    fn collect_at_most(&mut self, most: usize, look: CheckScope) -> bool {
        let mut gone = Vec::new();
        let mut held = lock(&self.host.held);
        held.collect(look, &mut gone);
        let is_behind = held.is_behind();
        drop(held);
        self.gone.extend(gone);
        self.end_kept();
        let found = is_behind || !self.gone.is_empty();
        let now = most.min(self.gone.len());
        let now = self.gone.drain(..now).collect();
        self.release_ended(now);
        found
    }

    /// Lets the files end that no waiting call keeps any more.
    fn end_kept(&mut self) {
        let pending = &self.pending;
        let over = self.kept.extract_if(.., |file| !pending.is_on(*file));
        self.gone.extend(over.map(Given::File));
    }

    /// Returns whether [`collect`](Self::collect) has left ended files, or needs the list of locks.
    pub(crate) fn is_behind(&self) -> bool {
        !self.gone.is_empty() || lock(&self.host.held).is_behind()
    }

    fn release_ended(&mut self, gone: Vec<Given>) {
        if gone.is_empty() {
            return;
        }
        for given in gone {
            match given {
                Given::Buffer(tag) => self.backend.tag_ended(tag),
                Given::Mapping(file, tag) => {
                    self.backend.tag_ended(tag);
                    self.release_file(file);
                }
                Given::File(file) if self.pending.is_on(file) => self.kept.push(file),
                Given::File(file) => {
                    let (members, had_locks) = self.table.last_closed(file);
                    self.epolls.forget(Watched::Device(file), members);
                    if had_locks {
                        self.retry_on(On::Locks);
                    }
                    self.release_file(file);
                }
            }
        }
        for id in self.table.buffers() {
            if !self.backend.is_buffer(id) {
                let members = self.table.buffer_ended(id);
                self.epolls.forget(Watched::Buffer(id), members);
            }
        }
        if self.table.has_no_files() && lock(&self.host.held).is_empty() {
            self.host.holds.store(false, Ordering::Release);
        }
        self.backend_changed();
        self.retry_changed();
    }

    fn release_file(&mut self, file: FileId) {
        if self.table.release_file(file) {
            self.backend.release(file);
            self.sync_wake_fds();
        }
    }

    pub(crate) fn tick_if_due(&mut self) {
        if self.backend.is_due() {
            self.tick();
        }
    }

    fn has_tick(&self) -> bool {
        self.backend.next_tick().is_some_and(|due| due.is_zero())
    }

    /// Moves further pieces of unfinished pictures while no call waits for the lock or an answer.
    fn move_pieces(&mut self, is_wanted: &dyn Fn() -> bool) {
        let mut moved = false;
        for _ in 0..MAX_PIECES {
            // `is_due` means that the tick has other work than a piece. With simulated time, it always has.
            let is_alone = self.answers.is_empty() && !self.backend.is_due() && !is_wanted();
            if !is_alone || !self.has_tick() {
                break;
            }
            self.backend.continue_work(is_wanted);
            self.backend_changed();
            self.retry_changed();
            moved = true;
        }
        if moved {
            self.sync_wake_fds();
            self.retry_on(On::Buffers);
        }
    }

    fn tick(&mut self) {
        self.backend.tick();
        self.sync_wake_fds();
        self.backend_changed();
        self.retry_changed();
        self.retry_on(On::Buffers);
    }

    /// Updates the backend's wake descriptors in the supervisor's epoll set.
    pub(crate) fn sync_wake_fds(&mut self) {
        let listed = self.backend.wake_fds();
        self.wakes.sync(&self.host.events, &listed);
    }

    /// Updates programs' epoll sets before a call on `file` is answered.
    pub(crate) fn refresh(&mut self, file: FileId) {
        self.backend_changed();
        self.show(Watched::Device(file), Cause::Call);
    }

    pub(crate) fn backend_changed(&mut self) {
        self.hotplug.extend(self.backend.take_hotplug());
        if self.backend.take_buffers_changed() {
            self.pending.mark(On::Buffers);
            for id in self.table.buffers() {
                self.show(Watched::Buffer(id), Cause::Call);
            }
        }
        let mut changed = std::mem::take(&mut self.changed);
        self.backend.take_changed(&mut changed);
        for file in changed.drain(..) {
            self.pending.mark(On::File(file));
            self.show(Watched::Device(file), Cause::Wake);
        }
        self.changed = changed;
    }

    fn show(&mut self, file: Watched, cause: Cause) {
        let table = &mut self.table;
        self.epolls.update(table, file, cause, self.backend);
    }

    /// Returns the device file, node or buffer with this identity, or `Target::Other`.
    pub(crate) fn target(&self, id: FdIdentity) -> Target {
        self.table.find(id).unwrap_or_else(|| {
            if self.backend.is_buffer(id) {
                Target::Buffer(id)
            } else {
                Target::Other
            }
        })
    }

    /// Records a device file that a program gets.
    pub(crate) fn add_file(
        &mut self,
        file: FileId,
        inode: FdIdentity,
        node: Option<usize>,
        flags: i32,
    ) {
        self.table.add_file(file, inode, node, flags);
        self.host.holds.store(true, Ordering::Release);
    }

    /// Records a node that programs get by opens with O_PATH.
    pub(crate) fn add_reference(&mut self, inode: FdIdentity, node: usize) {
        self.table.add_reference(inode, node);
        self.host.holds.store(true, Ordering::Release);
    }

    /// Ends all remaining files and calls. A remaining file was passed to a process
    /// outside the run, or its end was not noticed yet.
    pub(crate) fn finish(&mut self) {
        for slot in self.pending.all() {
            self.give_up(slot);
        }
        self.end_kept();
        let mut gone: Vec<Given> = self.gone.drain(..).collect();
        lock(&self.host.held).collect(CheckScope::All, &mut gone);
        self.release_ended(gone);
        let rest = lock(&self.host.held).take_all();
        self.release_ended(rest);
    }
}

/// Returns whether the clock must be woken, because it would sleep past `due`. If so, records that it wakes at
/// `due`, so that the next call for the same time returns false.
fn cuts_short(wakes_at: &mut Option<Instant>, due: Instant) -> bool {
    let sooner = wakes_at.is_none_or(|at| due + SLACK < at);
    if sooner {
        *wakes_at = Some(due);
    }
    sooner
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn nobody_wakes_the_clock_for_what_it_will_see() {
        let now = Instant::now();
        let mut wakes_at = Some(now + 4 * MS);
        assert!(!cuts_short(&mut wakes_at, now + 5 * MS));
        assert!(cuts_short(&mut wakes_at, now + 2 * MS));
        assert!(!cuts_short(&mut wakes_at, now + 2 * MS), "it was woken");
        assert!(!cuts_short(&mut Some(now + MS), now + 4 * MS));
    }

    #[test]
    fn anything_wakes_a_clock_that_sleeps_for_ever() {
        assert!(cuts_short(&mut None, Instant::now() + 1000 * MS));
    }
}
