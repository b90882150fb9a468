//! Calls that wait.

use std::collections::{BTreeSet, HashMap};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use crate::arch::nr;
use crate::host::{Call, Host};
use crate::listener::{ERESTART_RESTARTBLOCK, ERESTARTNOHAND, ERESTARTSYS, Notif, Reply};
use crate::monitor::Receive;
use crate::poll::Polling;
use crate::rewrite::Arg;
use crate::serve::{How, Server, Verdict};
use crate::signal::{Pace, Signals, Verdict as Interrupt};
use crate::transfer::Transfer;
use vb3_host::{CallId, Errno, FdIdentity, FileId};

/// How often a waiting thread is looked at for signals.
const LOOK: Duration = Duration::from_millis(4);
/// How often where signals come.
const LOOK_OFTEN: Duration = Duration::from_micros(500);
/// For how long after one.
const RECENTLY: Duration = Duration::from_millis(200);
/// How often a thread that handles none, and can only be stopped or end with a core dump.
const LOOK_SELDOM: Duration = Duration::from_millis(50);
/// What one look may take of the time: about twenty times what it costs.
const A_LOOK: Duration = Duration::from_micros(100);
/// Calls that wait at one time, at most; there is at most one for each thread.
const MOST: usize = 1 << 16;

/// What waits.
#[derive(Debug)]
pub(crate) enum Kind {
    Ioctl {
        file: FileId,
        request: u32,
        arg: u64,
    },
    BufferIoctl {
        id: FdIdentity,
        request: u32,
        arg: u64,
    },
    Transfer(Transfer),
    Poll(Polling),
    /// recvmsg, recvfrom on a monitor's socket.
    Receive(Receive),
    /// flock.
    Lock {
        file: FileId,
        op: i32,
    },
}

/// A call that waits.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) notif: Notif,
    pub(crate) kind: Kind,
    pub(crate) deadline: Option<Instant>,
    pub(crate) signals: Signals,
    /// When it is looked at for signals next.
    look: Option<Instant>,
    /// The file stays open while the call runs, whoever closes the descriptor.
    _hold: Option<OwnedFd>,
}

impl Waiting {
    pub(crate) fn new(n: &Notif, kind: Kind, hold: Option<OwnedFd>) -> Self {
        Self {
            notif: n.clone(),
            kind,
            deadline: None,
            signals: Signals::new(n.tid),
            look: None,
            _hold: hold,
        }
    }

    /// The files that it waits for.
    fn files(&self) -> Vec<FileId> {
        match &self.kind {
            Kind::Poll(polling) => polling.files(),
            _ => self.file().into_iter().collect(),
        }
    }

    /// Whether a piece of it was moved: it is the supervisor's then to go on with, and waits for nothing.
    pub(crate) fn is_under_way(&self) -> bool {
        matches!(&self.kind, Kind::Transfer(transfer) if transfer.is_under_way())
    }

    /// The file whose backend knows of this call.
    fn file(&self) -> Option<FileId> {
        match &self.kind {
            Kind::Ioctl { file, .. } => Some(*file),
            Kind::Transfer(transfer) => Some(transfer.file),
            Kind::BufferIoctl { .. } | Kind::Poll(_) | Kind::Receive(_) | Kind::Lock { .. } => None,
        }
    }
}

/// What has become of a call that was made once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tried {
    /// It is answered, has gone, or still waits.
    Over,
    /// Something is to be gathered first.
    Lacks,
    /// A piece of it was moved.
    Part,
}

/// All calls that wait.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    slots: HashMap<u32, Waiting>,
    by_tid: HashMap<u32, u32>,
    by_file: HashMap<FileId, BTreeSet<u32>>,
    /// Calls on buffers, and polls of them.
    on_buffers: BTreeSet<u32>,
    on_locks: BTreeSet<u32>,
    /// Calls of threads of whose end nothing tells.
    unfollowed: BTreeSet<u32>,
    deadlines: BTreeSet<(Instant, u32)>,
    /// When each is looked at for signals next.
    looks: BTreeSet<(Instant, u32)>,
    next: u32,
    /// Files that may have changed since the waiting calls were tried.
    changed: Vec<FileId>,
    /// Buffers may have.
    buffers_changed: bool,
    /// Threads that a signal has interrupted, and when.
    interrupted: HashMap<u32, Instant>,
    /// Polls that a stop has interrupted, which go on until the same time.
    suspended: HashMap<u32, (i64, Option<Instant>)>,
}

impl Pending {
    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Adds a call; gives it back when there are too many. `followed`: the end of its thread will be
    /// told.
    pub(crate) fn insert(&mut self, waiting: Waiting, followed: bool) -> Result<u32, Box<Waiting>> {
        if self.slots.len() >= MOST {
            return Err(Box::new(waiting));
        }
        self.next = self.next.wrapping_add(1);
        let slot = self.next;
        self.by_tid.insert(waiting.notif.tid, slot);
        if !followed {
            self.unfollowed.insert(slot);
        }
        for file in waiting.files() {
            self.by_file.entry(file).or_default().insert(slot);
        }
        match waiting.kind {
            Kind::BufferIoctl { .. } => drop(self.on_buffers.insert(slot)),
            Kind::Poll(ref polling) if polling.has_buffers() => {
                self.on_buffers.insert(slot);
            }
            Kind::Lock { .. } => drop(self.on_locks.insert(slot)),
            _ => {}
        }
        self.deadlines.extend(waiting.deadline.map(|at| (at, slot)));
        let tid = waiting.notif.tid;
        self.slots.insert(slot, waiting);
        self.plan_look(slot, tid, LOOK);
        Ok(slot)
    }

    /// A call that waits, or is under way.
    pub(crate) fn get(&self, slot: u32) -> Option<&Waiting> {
        self.slots.get(&slot)
    }

    /// The number that the next call added will have.
    pub(crate) fn next_slot(&self) -> u32 {
        self.next.wrapping_add(1)
    }

    fn remove(&mut self, slot: u32) -> Option<Waiting> {
        let waiting = self.slots.remove(&slot)?;
        if self.by_tid.get(&waiting.notif.tid) == Some(&slot) {
            self.by_tid.remove(&waiting.notif.tid);
        }
        for file in waiting.files() {
            if let Some(slots) = self.by_file.get_mut(&file) {
                slots.remove(&slot);
                if slots.is_empty() {
                    self.by_file.remove(&file);
                }
            }
        }
        self.on_buffers.remove(&slot);
        self.on_locks.remove(&slot);
        self.unfollowed.remove(&slot);
        if let Some(at) = waiting.deadline {
            self.deadlines.remove(&(at, slot));
        }
        if let Some(at) = waiting.look {
            self.looks.remove(&(at, slot));
        }
        Some(waiting)
    }

    /// Plans the next look at a call: after `pause`, sooner where signals come, later where so
    /// many wait that looking at all of them would take more than a small part of the time.
    fn plan_look(&mut self, slot: u32, tid: u32, pause: Duration) {
        let now = Instant::now();
        let recent = self
            .interrupted
            .get(&tid)
            .is_some_and(|at| now - *at < RECENTLY);
        let pause = if recent { LOOK_OFTEN } else { pause };
        let count = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
        let at = now + pause.max(A_LOOK.saturating_mul(count));
        if let Some(waiting) = self.slots.get_mut(&slot)
            && let Some(before) = waiting.look.replace(at)
        {
            self.looks.remove(&(before, slot));
        }
        self.looks.insert((at, slot));
    }

    fn note_interrupted(&mut self, tid: u32) {
        let now = Instant::now();
        if self.interrupted.len() >= MOST {
            self.interrupted.retain(|_, at| now - *at < RECENTLY);
        }
        self.interrupted.insert(tid, now);
    }

    /// Notes that a file may have changed.
    pub(crate) fn mark(&mut self, file: FileId) {
        if self.by_file.contains_key(&file) && !self.changed.contains(&file) {
            self.changed.push(file);
        }
    }

    /// Notes that buffers may have changed.
    pub(crate) fn mark_buffers(&mut self) {
        self.buffers_changed = !self.on_buffers.is_empty();
    }

    /// The time until a deadline passes or signals are to be looked for.
    pub(crate) fn next_look(&self, now: Instant) -> Option<Duration> {
        let first = [self.deadlines.first(), self.looks.first()];
        let next = first.into_iter().flatten().map(|(at, _)| *at).min()?;
        Some(next.saturating_duration_since(now))
    }

    /// The calls on these files, oldest first, so that they are served in the order they came.
    fn slots_on(&self, files: &[FileId]) -> Vec<u32> {
        let on = files.iter().filter_map(|file| self.by_file.get(file));
        let slots: BTreeSet<u32> = on.flatten().copied().collect();
        slots.into_iter().collect()
    }

    /// Those in a list of times that have come.
    fn due(list: &BTreeSet<(Instant, u32)>, now: Instant) -> Vec<u32> {
        let due = list.iter().take_while(|(at, _)| *at <= now);
        due.map(|(_, slot)| *slot).collect()
    }

    fn all(&self) -> Vec<u32> {
        self.slots.keys().copied().collect()
    }
}

impl Server<'_> {
    /// Tries calls once more that wait for files or buffers that have changed.
    pub(crate) fn retry_changed(&mut self) {
        if core::mem::take(&mut self.pending.buffers_changed) {
            self.retry_buffers();
        }
        // Each round answers a call or ends: as many rounds as calls.
        for _ in 0..=MOST {
            if self.pending.changed.is_empty() {
                return;
            }
            let changed = core::mem::take(&mut self.pending.changed);
            let slots = self.pending.slots_on(&changed);
            let before = self.pending.slots.len();
            slots.into_iter().for_each(|slot| self.retry(slot));
            if self.pending.slots.len() == before {
                self.pending.changed.clear();
                return;
            }
        }
    }

    /// Tries waiting calls on buffers once more.
    pub(crate) fn retry_buffers(&mut self) {
        let slots: Vec<u32> = self.pending.on_buffers.iter().copied().collect();
        slots.into_iter().for_each(|slot| self.retry(slot));
    }

    /// Tries waiting locks once more, in the order they came.
    pub(crate) fn retry_locks(&mut self) {
        let slots: Vec<u32> = self.pending.on_locks.iter().copied().collect();
        slots.into_iter().for_each(|slot| self.retry(slot));
    }

    /// Tries one waiting call once more, and answers it if it is done.
    pub(crate) fn retry(&mut self, slot: u32) {
        let Some(waiting) = self.pending.slots.get(&slot) else {
            return;
        };
        // Who copies its last piece goes on with it, and so does who polls its files.
        let is_asked = matches!(&waiting.kind, Kind::Poll(polling) if polling.is_asked);
        if is_asked || waiting.is_under_way() {
            return;
        }
        let n = waiting.notif.clone();
        match self.try_once(slot) {
            Tried::Over => {}
            Tried::Lacks => self.answer(&n, How::Again(slot)),
            Tried::Part => self.answer(&n, How::Part(slot)),
        }
    }

    /// The same after what it lacked was gathered.
    pub(crate) fn retry_gathered(&mut self, slot: u32) {
        let waiting = self.pending.slots.get_mut(&slot);
        if let Some(Kind::Poll(polling)) = waiting.map(|waiting| &mut waiting.kind) {
            polling.is_asked = false;
        }
        self.retry(slot);
    }

    /// Makes a call once more; answers it if it is done, and gives what is left to do.
    pub(crate) fn try_once(&mut self, slot: u32) -> Tried {
        let Some(mut waiting) = self.pending.slots.remove(&slot) else {
            return Tried::Over;
        };
        // A poll takes nothing from a thread that is still there: the answer finds out itself.
        let takes = !matches!(waiting.kind, Kind::Poll(_));
        if takes && !self.host.listener.is_valid(waiting.notif.id) {
            self.pending.slots.insert(slot, waiting);
            self.give_up(slot);
            return Tried::Over;
        }
        let n = waiting.notif.clone();
        n.gathered.begin();
        let done = match &mut waiting.kind {
            Kind::Ioctl { file, request, arg } => self.ioctl_again(&n, (*file, *request, *arg)),
            Kind::BufferIoctl { id, request, arg } => {
                let call = Call::new(&self.host, &n);
                crate::dispatch::reply(self.backend.buffer_ioctl(*id, *request, *arg, &call))
            }
            Kind::Transfer(transfer) => self.transfer_again(&n, transfer),
            Kind::Poll(polling) => self.poll_again(&n, polling, waiting.deadline),
            Kind::Receive(receive) => self.receive_again(&n, receive),
            Kind::Lock { file, op } => self.lock_again(*file, *op),
        };
        let is_under_way = waiting.is_under_way();
        self.pending.slots.insert(slot, waiting);
        if n.gathered.lacks() {
            if !takes && !self.host.listener.is_valid(n.id) {
                self.give_up(slot);
                return Tried::Over;
            }
            return Tried::Lacks;
        }
        if is_under_way {
            return Tried::Part;
        }
        if let Some(reply) = done {
            // Out of the epoll set and the table before the thread can call again.
            if let Some(waiting) = self.pending.remove(slot) {
                unregister(&self.host, &waiting);
            }
            self.answer(&n, How::Reply(reply));
        }
        Tried::Over
    }

    /// Ends waits whose time has come or whose thread has a signal to handle.
    pub(crate) fn pending_due(&mut self) {
        if self.pending.slots.is_empty() {
            return;
        }
        let now = Instant::now();
        for slot in Pending::due(&self.pending.deadlines, now) {
            self.retry(slot);
        }
        for slot in Pending::due(&self.pending.looks, now) {
            self.look_for_signals(slot);
        }
    }

    fn look_for_signals(&mut self, slot: u32) {
        let Some(waiting) = self.pending.slots.get(&slot) else {
            return;
        };
        let tid = waiting.notif.tid;
        // Where only a thread's end takes its call away, and that will be told, nothing is asked: the
        // kernel looks for a call among all that wait.
        let told = self.wait_killable && !self.pending.unfollowed.contains(&slot);
        if !told && !self.host.listener.is_valid(waiting.notif.id) {
            self.give_up(slot);
            return;
        }
        if waiting.is_under_way() {
            // It is over soon, whatever signals come, as a kernel's copy is.
            return self.pending.plan_look(slot, tid, LOOK);
        }
        if let Kind::Poll(polling) = &waiting.kind
            && polling.needs_look()
        {
            self.retry(slot);
        }
        let Some(waiting) = self.pending.slots.get_mut(&slot) else {
            return;
        };
        let found = if self.wait_killable {
            waiting.signals.look()
        } else {
            Interrupt::None
        };
        let needs_look = matches!(&waiting.kind, Kind::Poll(polling) if polling.needs_look());
        let polls = matches!(waiting.kind, Kind::Poll(_));
        let pause = match waiting.signals.pace() {
            Pace::Soon => LOOK_OFTEN,
            Pace::Seldom if !needs_look => LOOK_SELDOM,
            Pace::Seldom | Pace::Often => LOOK,
        };
        self.pending.plan_look(slot, tid, pause);
        let code = match found {
            Interrupt::None => return,
            Interrupt::Certain if polls => self.restart_of_poll(slot),
            Interrupt::Certain => ERESTARTSYS,
            Interrupt::Ambiguous => libc::EINTR,
            Interrupt::Masked => return self.interrupt_masked(slot),
        };
        self.pending.note_interrupted(tid);
        let Some(waiting) = self.pending.slots.get(&slot) else {
            return;
        };
        let n = waiting.notif.clone();
        n.gathered.begin();
        if let Kind::Poll(polling) = &waiting.kind {
            // A restarted call goes on with the time that is left.
            polling.write_remaining(&Call::new(&self.host, &n), waiting.deadline);
        }
        self.give_up(slot);
        self.answer(&n, How::Reply(Reply::Fail(code)));
    }

    /// How the kernel is to go on with a poll if no handler runs. Its time is in a register for
    /// poll alone, and cannot be written back: the kernel makes another call then, of which we
    /// are notified.
    ///
    /// Source: Linux 7.2 fs/select.c `do_restart_poll`.
    fn restart_of_poll(&mut self, slot: u32) -> i32 {
        let Some(waiting) = self.pending.slots.get(&slot) else {
            return ERESTARTNOHAND;
        };
        let n = &waiting.notif;
        if n.nr != nr::POLL {
            return ERESTARTNOHAND;
        }
        self.pending
            .suspended
            .insert(n.tid, (n.nr, waiting.deadline));
        ERESTART_RESTARTBLOCK
    }

    /// restart_syscall: a poll that was stopped goes on, until the time it had.
    pub(crate) fn restart(&mut self, n: &Notif) -> Result<Verdict, Errno> {
        let Some(&(nr, deadline)) = self.pending.suspended.get(&n.tid) else {
            return Ok(Verdict::native());
        };
        let mut again = n.clone();
        again.nr = nr;
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let done = self.poll_for(&again, Some(left));
        // Where something is to be gathered first, it is asked for once more.
        if !n.gathered.lacks() {
            self.pending.suspended.remove(&n.tid);
        }
        done
    }

    /// Has a ppoll or pselect6 ended for a signal that only its own mask lets in.
    fn interrupt_masked(&mut self, slot: u32) {
        let Some(waiting) = self.pending.slots.get(&slot) else {
            return;
        };
        let n = waiting.notif.clone();
        let count = if n.nr == libc::SYS_pselect6 {
            Arg::First
        } else {
            Arg::Second
        };
        self.answer(&n, How::Interrupt(slot, count));
    }

    /// Drops a waiting call without an answer; whether it was there.
    pub(crate) fn give_up(&mut self, slot: u32) -> bool {
        let Some(waiting) = self.pending.remove(slot) else {
            return false;
        };
        unregister(&self.host, &waiting);
        self.abandon(&waiting);
        true
    }

    /// Tells the backend that a call no longer waits, or is no longer under way.
    pub(crate) fn abandon(&mut self, waiting: &Waiting) {
        if let Some(file) = waiting.file() {
            self.backend.abandon(file, CallId(waiting.notif.id));
            if waiting.is_under_way() {
                self.pending.mark(file);
            }
        }
    }

    /// A thread that calls anew has given up the call it waited in.
    pub(crate) fn give_up_thread(&mut self, tid: u32) {
        if let Some(slot) = self.pending.by_tid.get(&tid).copied() {
            self.give_up(slot);
        }
    }

    /// The same with all that is kept of a thread: it has ended.
    pub(crate) fn give_up_ended_thread(&mut self, tid: u32) {
        self.kept.ended(tid);
        self.give_up_thread(tid);
        self.pending.interrupted.remove(&tid);
        self.pending.suspended.remove(&tid);
    }

    /// Gives up calls whose threads no longer wait.
    pub(crate) fn give_up_ended(&mut self) {
        let listener = &self.host.listener;
        let mut slots = self.pending.all();
        slots.retain(|slot| {
            let waiting = self.pending.slots.get(slot);
            waiting.is_some_and(|w| !listener.is_valid(w.notif.id))
        });
        for slot in slots {
            self.give_up(slot);
        }
    }

    /// Gives up calls of threads that have ended without a word: they keep files open. Only these
    /// are asked for: the kernel looks for a call among all that wait.
    pub(crate) fn give_up_unfollowed(&mut self) {
        let slots: Vec<u32> = self.pending.unfollowed.iter().copied().collect();
        for slot in slots {
            let waiting = self.pending.slots.get(&slot);
            if waiting.is_some_and(|w| !self.host.listener.is_valid(w.notif.id)) {
                self.give_up(slot);
            }
        }
    }

    /// Gives up calls on a file that is no more.
    pub(crate) fn give_up_file(&mut self, file: FileId) {
        for slot in self.pending.slots_on(&[file]) {
            let waiting = self.pending.slots.get(&slot);
            let Some(waiting) = waiting.filter(|w| w.file() == Some(file)) else {
                continue;
            };
            let notif = Some(waiting.notif.clone());
            self.give_up(slot);
            if let Some(n) = notif {
                self.answer(&n, How::Reply(Reply::Fail(libc::EBADF)));
            }
        }
    }

    /// Gives up everything.
    pub(crate) fn give_up_all(&mut self) {
        for slot in self.pending.all() {
            self.give_up(slot);
        }
    }
}

/// Takes a poll's borrowed descriptors out of the supervisor's epoll set.
fn unregister(host: &Host, waiting: &Waiting) {
    match &waiting.kind {
        Kind::Poll(polling) => polling
            .borrowed()
            .for_each(|fd| host.events.remove(fd.as_raw_fd())),
        Kind::Receive(receive) => host.events.remove(receive.socket().as_raw_fd()),
        _ => {}
    }
}
