//! Calls that wait.

use std::collections::HashMap;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use crate::host::{Call, Host};
use crate::listener::{ERESTARTNOHAND, ERESTARTNOINTR, ERESTARTSYS, Notif, Reply};
use crate::poll::Polling;
use crate::rewrite::{self, Arg};
use crate::serve::Server;
use crate::signal::{Signals, Verdict as Interrupt};
use crate::transfer::Transfer;
use vb3_host::{CallId, FdIdentity, FileId};

/// How often waiting threads are looked at for signals.
const LOOK: Duration = Duration::from_millis(4);
/// Calls that wait at one time, at most; there is at most one for each thread.
const MOST: usize = 4096;

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
}

/// A call that waits.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) notif: Notif,
    pub(crate) kind: Kind,
    pub(crate) deadline: Option<Instant>,
    pub(crate) signals: Signals,
    /// The file stays open while the call runs, whoever closes the descriptor.
    _hold: Option<OwnedFd>,
}

impl Waiting {
    pub(crate) fn new(n: &Notif, kind: Kind, hold: Option<OwnedFd>) -> Self {
        Self {
            notif: *n,
            kind,
            deadline: None,
            signals: Signals::new(n.tid),
            _hold: hold,
        }
    }

    fn concerns(&self, file: FileId) -> bool {
        match &self.kind {
            Kind::Ioctl { file: own, .. } => *own == file,
            Kind::BufferIoctl { .. } => false,
            Kind::Transfer(transfer) => transfer.file == file,
            Kind::Poll(polling) => polling.concerns(file),
        }
    }

    /// The file whose backend knows of this call.
    fn file(&self) -> Option<FileId> {
        match &self.kind {
            Kind::Ioctl { file, .. } => Some(*file),
            Kind::Transfer(transfer) => Some(transfer.file),
            Kind::BufferIoctl { .. } | Kind::Poll(_) => None,
        }
    }
}

/// All calls that wait.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    slots: HashMap<u32, Waiting>,
    by_tid: HashMap<u32, u32>,
    next: u32,
    /// Files that may have changed since the waiting calls were tried.
    changed: Vec<FileId>,
    next_look: Option<Instant>,
}

impl Pending {
    /// Adds a call; gives it back when there are too many.
    pub(crate) fn insert(&mut self, waiting: Waiting) -> Result<u32, Box<Waiting>> {
        if self.slots.len() >= MOST {
            return Err(Box::new(waiting));
        }
        self.next = self.next.wrapping_add(1);
        let slot = self.next;
        self.by_tid.insert(waiting.notif.tid, slot);
        self.slots.insert(slot, waiting);
        self.next_look.get_or_insert_with(|| Instant::now() + LOOK);
        Ok(slot)
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
        if self.slots.is_empty() {
            self.next_look = None;
        }
        Some(waiting)
    }

    /// Notes that a file may have changed.
    pub(crate) fn mark(&mut self, file: FileId) {
        if !self.slots.is_empty() && !self.changed.contains(&file) {
            self.changed.push(file);
        }
    }

    /// The time until a deadline passes or signals are to be looked for.
    pub(crate) fn next_look(&self, now: Instant) -> Option<Duration> {
        let next = self
            .slots
            .values()
            .filter_map(|waiting| waiting.deadline)
            .min();
        let next = next.into_iter().chain(self.next_look).min()?;
        Some(next.saturating_duration_since(now))
    }

    fn slots_of(&self, wanted: impl Fn(&Waiting) -> bool) -> Vec<u32> {
        let mut slots: Vec<u32> = self
            .slots
            .iter()
            .filter(|(_, w)| wanted(w))
            .map(|(&slot, _)| slot)
            .collect();
        // Oldest first, so that waiters are served in the order they came.
        slots.sort_unstable();
        slots
    }
}

impl Server<'_> {
    /// Tries calls once more that wait for files that have changed.
    pub(crate) fn retry_changed(&mut self) {
        // Each round answers a call or ends: as many rounds as calls.
        for _ in 0..=MOST {
            if self.pending.changed.is_empty() {
                return;
            }
            let changed = core::mem::take(&mut self.pending.changed);
            let slots = self
                .pending
                .slots_of(|w| changed.iter().any(|&file| w.concerns(file)));
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
        if !self.pending.slots.is_empty() {
            let slots = self
                .pending
                .slots_of(|w| matches!(w.kind, Kind::BufferIoctl { .. }));
            slots.into_iter().for_each(|slot| self.retry(slot));
        }
    }

    /// Tries one waiting call once more, and answers it if it is done.
    pub(crate) fn retry(&mut self, slot: u32) {
        let Some(mut waiting) = self.pending.slots.remove(&slot) else {
            return;
        };
        if !self.host.listener.is_valid(waiting.notif.id) {
            self.pending.slots.insert(slot, waiting);
            self.give_up(slot);
            return;
        }
        let n = waiting.notif;
        let done = match &mut waiting.kind {
            Kind::Ioctl { file, request, arg } => self.ioctl_again(&n, (*file, *request, *arg)),
            Kind::BufferIoctl { id, request, arg } => {
                let call = Call::new(&self.host, &n);
                crate::dispatch::reply(self.backend.buffer_ioctl(*id, *request, *arg, &call))
            }
            Kind::Transfer(transfer) => self.transfer_again(&n, transfer),
            Kind::Poll(polling) => self.poll_again(&n, polling, waiting.deadline),
        };
        self.pending.slots.insert(slot, waiting);
        if let Some(reply) = done {
            // Out of the epoll set and the table before the thread can call again.
            if let Some(waiting) = self.pending.remove(slot) {
                unregister(&self.host, &waiting);
            }
            self.host.listener.answer(n.id, reply);
        }
    }

    /// Ends waits whose time has come or whose thread has a signal to handle.
    pub(crate) fn pending_due(&mut self) {
        if self.pending.slots.is_empty() {
            return;
        }
        let now = Instant::now();
        let late = self
            .pending
            .slots_of(|w| w.deadline.is_some_and(|deadline| deadline <= now));
        late.into_iter().for_each(|slot| self.retry(slot));
        if self.pending.next_look.is_none_or(|look| look > now) {
            return;
        }
        for slot in self.pending.slots_of(|_| true) {
            self.look_for_signals(slot);
        }
        if !self.pending.slots.is_empty() {
            self.pending.next_look = Some(now + LOOK);
        }
    }

    fn look_for_signals(&mut self, slot: u32) {
        let Some(waiting) = self.pending.slots.get_mut(&slot) else {
            return;
        };
        if !self.host.listener.is_valid(waiting.notif.id) {
            return self.give_up(slot);
        }
        if let Kind::Poll(polling) = &waiting.kind
            && polling.needs_look()
        {
            return self.retry(slot);
        }
        if !self.wait_killable {
            return;
        }
        let polls = matches!(waiting.kind, Kind::Poll(_));
        let code = match waiting.signals.look() {
            Interrupt::None => return,
            Interrupt::Certain if polls => ERESTARTNOHAND,
            Interrupt::Certain => ERESTARTSYS,
            Interrupt::Ambiguous => libc::EINTR,
            Interrupt::Masked => return self.interrupt_masked(slot),
        };
        let id = waiting.notif.id;
        if let Kind::Poll(polling) = &waiting.kind {
            // A restarted call goes on with the time that is left.
            polling.write_remaining(&Call::new(&self.host, &waiting.notif), waiting.deadline);
        }
        self.give_up(slot);
        self.host.listener.answer(id, Reply::Fail(code));
    }

    /// Ends a ppoll or pselect6 for a signal that only its own mask lets in: the kernel runs the
    /// call itself, without descriptors, finds the signal, and runs the handler as it should.
    fn interrupt_masked(&mut self, slot: u32) {
        let Some(waiting) = self.pending.slots.get(&slot) else {
            return;
        };
        let n = waiting.notif;
        let count = if n.nr == libc::SYS_pselect6 {
            Arg::First
        } else {
            Arg::Second
        };
        let stopped = rewrite::seize(n.tid);
        let Ok(stopped) = stopped else { return };
        self.give_up(slot);
        if self
            .host
            .listener
            .send(n.id, Reply::Fail(ERESTARTNOINTR))
            .is_ok()
        {
            // What fails here is a thread that has ended or a debugger's affair.
            let left = stopped.run_with(count, 0);
            self.left(n.tid, left);
        } else {
            self.left(n.tid, stopped.let_go());
        }
    }

    /// Drops a waiting call without an answer.
    fn give_up(&mut self, slot: u32) {
        if let Some(waiting) = self.pending.remove(slot) {
            unregister(&self.host, &waiting);
            self.abandon(&waiting);
        }
    }

    /// Tells the backend that a call no longer waits.
    pub(crate) fn abandon(&mut self, waiting: &Waiting) {
        if let Some(file) = waiting.file() {
            self.backend.abandon(file, CallId(waiting.notif.id));
        }
    }

    /// A thread that calls anew has given up the call it waited in.
    pub(crate) fn give_up_thread(&mut self, tid: u32) {
        if let Some(slot) = self.pending.by_tid.get(&tid).copied() {
            self.give_up(slot);
        }
    }

    /// Gives up calls whose threads no longer wait.
    pub(crate) fn give_up_ended(&mut self) {
        let listener = &self.host.listener;
        for slot in self.pending.slots_of(|w| !listener.is_valid(w.notif.id)) {
            self.give_up(slot);
        }
    }

    /// Gives up calls on a file that is no more.
    pub(crate) fn give_up_file(&mut self, file: FileId) {
        for slot in self.pending.slots_of(|w| w.file() == Some(file)) {
            let id = self.pending.slots.get(&slot).map(|w| w.notif.id);
            self.give_up(slot);
            if let Some(id) = id {
                self.host.listener.answer(id, Reply::Fail(libc::EBADF));
            }
        }
    }

    /// Gives up everything.
    pub(crate) fn give_up_all(&mut self) {
        for slot in self.pending.slots_of(|_| true) {
            self.give_up(slot);
        }
    }
}

/// Takes a poll's borrowed descriptors out of the supervisor's epoll set.
fn unregister(host: &Host, waiting: &Waiting) {
    if let Kind::Poll(polling) = &waiting.kind {
        polling
            .borrowed()
            .for_each(|fd| host.events.remove(fd.as_raw_fd()));
    }
}
