//! The table of waiting calls, and when their threads are checked for signals.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use crate::descriptors::{LockCall, Watched};
use crate::kernel::Borrowed;
use crate::process::{LOOK, LOOK_OFTEN, Leader, Notif, Signals};
use crate::waiting::{Polling, Transfer};
use vb3_frontend::FileId;

/// When the supervisor is awake and makes the checks that are due, it also makes checks that become due within this
/// time. This saves a wake-up.
pub(crate) const EARLY: Duration = Duration::from_micros(400);
/// For this time after a signal has interrupted a thread's call, the thread's next calls are checked often.
const RECENTLY: Duration = Duration::from_millis(200);
/// A thread is checked at most once in this time multiplied by the number of waiting calls. This is about
/// twenty times the cost of a check, so that all checks together take a twentieth of a CPU.
const A_LOOK: Duration = Duration::from_micros(100);
/// Maximum number of calls that wait at one time, at most one per thread.
pub(crate) const MAX_WAITING: usize = 1 << 16;

#[derive(Debug)]
pub(crate) enum Kind {
    /// An ioctl: its file, request and argument.
    Ioctl(Watched, u32, u64),
    Transfer(Transfer),
    Poll(Polling),
    /// recvmsg or recvfrom on this monitor socket.
    Receive(Borrowed),
    /// fcntl with F_SETLKW.
    Lock(LockCall),
}

/// What calls wait for, besides their descriptors in the supervisor's epoll set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum On {
    File(FileId),
    /// Any buffer: an ioctl on it, or a poll.
    Buffers,
    Locks,
}

impl From<Watched> for On {
    fn from(file: Watched) -> Self {
        match file {
            Watched::Device(file) => Self::File(file),
            Watched::Buffer(_) => Self::Buffers,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) notif: Notif,
    pub(crate) kind: Kind,
    pub(crate) deadline: Option<Instant>,
    pub(crate) signals: Signals,
    /// When the call's thread is next checked for signals.
    pub(crate) look: Option<Instant>,
    /// Whether a thread gathers data for the call, and will then retry it.
    pub(crate) is_paused: bool,
    /// Whether the supervisor is about to end this wait because a signal has come: it must stop the thread first, and
    /// this stop is queued or under way.
    pub(crate) is_stopping: bool,
    /// Keeps a buffer's file open while the call runs, even if the descriptor is closed. A device's file needs none:
    /// its end is handled only after the calls that wait for it.
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
            is_paused: false,
            is_stopping: false,
            _hold: hold,
        }
    }

    fn on(&self) -> HashSet<On> {
        match &self.kind {
            Kind::Poll(polling) => polling.ours().map(On::from).collect(),
            Kind::Ioctl(file, ..) => [On::from(*file)].into(),
            Kind::Transfer(transfer) => [On::File(transfer.file)].into(),
            Kind::Receive(_) => HashSet::new(),
            Kind::Lock(lock) => [On::Locks, On::File(lock.file)].into(),
        }
    }

    /// Returns whether the call is a read or write that has moved a piece of its bytes. Such a call then moves the
    /// other pieces without waiting for the device.
    pub(crate) fn is_under_way(&self) -> bool {
        matches!(&self.kind, Kind::Transfer(transfer) if transfer.is_under_way())
    }

    pub(crate) fn needs_look(&self) -> bool {
        matches!(&self.kind, Kind::Poll(polling) if polling.needs_look)
    }

    /// Returns the time until the next check of the call's thread for signals.
    pub(crate) fn look_interval(&self) -> Duration {
        let interval = self.signals.look_interval();
        match self.needs_look() {
            true => interval.min(LOOK),
            false => interval,
        }
    }

    /// Returns the device file of an ioctl or a transfer. The backend must learn if such a call is abandoned.
    pub(crate) fn file(&self) -> Option<FileId> {
        match &self.kind {
            Kind::Ioctl(Watched::Device(file), ..) => Some(*file),
            Kind::Transfer(transfer) => Some(transfer.file),
            Kind::Ioctl(..) | Kind::Poll(_) | Kind::Receive(_) | Kind::Lock(_) => None,
        }
    }
}

/// All waiting calls, by slot, with indices.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    pub(crate) slots: HashMap<u32, Waiting>,
    pub(crate) by_tid: HashMap<u32, u32>,
    on: HashMap<On, BTreeSet<u32>>,
    /// Slots of calls whose thread can end without a report to the supervisor. The supervisor asks the kernel
    /// repeatedly whether these calls still exist.
    pub(crate) unfollowed: BTreeSet<u32>,
    pub(crate) deadlines: BTreeSet<(Instant, u32)>,
    /// When each call's thread is next checked for signals.
    pub(crate) looks: BTreeSet<(Instant, u32)>,
    pub(crate) next: u32,
    /// What may have changed since the calls on it were last tried.
    pub(crate) changed: Vec<On>,
    /// When a signal last interrupted a call, by thread.
    pub(crate) interrupted: HashMap<u32, Instant>,
    /// Threads that had no handler for an unblocked signal when their last waiting call was checked. Their next
    /// calls are checked seldom. Contains only threads whose end is reported to the supervisor, so that no entry
    /// outlives its thread.
    unhandled: HashSet<u32>,
    /// The tracers of threads, as the last checks found them.
    tracers: HashMap<u32, u64>,
    pub(crate) leader: Leader,
    /// Interrupted polls, by thread: number, arguments and deadline. restart_syscall continues them.
    pub(crate) suspended: HashMap<u32, (i64, [u64; 6], Option<Instant>)>,
}

impl Pending {
    /// Adds a call, and returns its slot. Returns the call as error if there are too many. `followed` says
    /// whether the end of the call's thread is reported.
    pub(crate) fn insert(
        &mut self,
        mut waiting: Waiting,
        followed: bool,
    ) -> Result<u32, Box<Waiting>> {
        if self.slots.len() >= MAX_WAITING {
            return Err(Box::new(waiting));
        }
        let signals = &mut waiting.signals;
        signals.handles &= !self.unhandled.remove(&waiting.notif.tid) || signals.mask.is_some();
        self.next = self.next.wrapping_add(1);
        let slot = self.next;
        self.by_tid.insert(waiting.notif.tid, slot);
        if !followed {
            self.unfollowed.insert(slot);
        }
        for on in waiting.on() {
            self.on.entry(on).or_default().insert(slot);
        }
        self.deadlines.extend(waiting.deadline.map(|at| (at, slot)));
        let pause = waiting.look_interval();
        self.slots.insert(slot, waiting);
        self.plan_look(slot, pause);
        Ok(slot)
    }

    /// Returns the slot that the next call added will have.
    pub(crate) fn next_slot(&self) -> u32 {
        self.next.wrapping_add(1)
    }

    pub(crate) fn remove(&mut self, slot: u32) -> Option<Waiting> {
        let waiting = self.slots.remove(&slot)?;
        if self.by_tid.get(&waiting.notif.tid) == Some(&slot) {
            self.by_tid.remove(&waiting.notif.tid);
        }
        for on in waiting.on() {
            if let Some(slots) = self.on.get_mut(&on) {
                slots.remove(&slot);
                if slots.is_empty() {
                    self.on.remove(&on);
                }
            }
        }
        let is_unhandled = !waiting.signals.handles && waiting.signals.mask.is_none();
        if !self.unfollowed.remove(&slot) && is_unhandled && self.unhandled.len() < MAX_WAITING {
            self.unhandled.insert(waiting.notif.tid);
        }
        if let Some(at) = waiting.deadline {
            self.deadlines.remove(&(at, slot));
        }
        if let Some(at) = waiting.look {
            self.looks.remove(&(at, slot));
        }
        Some(waiting)
    }

    /// Suspends a call's deadline while a thread gathers data for the call. Until [`resume`](Self::resume), neither
    /// a timeout nor a retry answers the call.
    pub(crate) fn pause(&mut self, slot: u32) {
        if let Some(waiting) = self.slots.get_mut(&slot) {
            waiting.is_paused = true;
            if let Some(at) = waiting.deadline {
                self.deadlines.remove(&(at, slot));
            }
        }
    }

    /// Restores the deadline of a paused call.
    pub(crate) fn resume(&mut self, slot: u32) {
        if let Some(waiting) = self.slots.get_mut(&slot) {
            waiting.is_paused = false;
            self.deadlines.extend(waiting.deadline.map(|at| (at, slot)));
        }
    }

    /// Plans the next check of a call's thread after `pause`. The check comes sooner if a signal recently
    /// interrupted the thread, and later if all checks together would take too much time.
    pub(crate) fn plan_look(&mut self, slot: u32, pause: Duration) {
        let count = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
        let Some(waiting) = self.slots.get_mut(&slot) else {
            return;
        };
        let now = Instant::now();
        let interrupted = self.interrupted.get(&waiting.notif.tid);
        let recent = interrupted.is_some_and(|at| now - *at < RECENTLY);
        let pause = if recent { LOOK_OFTEN } else { pause };
        let at = now + pause.max(A_LOOK.saturating_mul(count));
        if let Some(before) = waiting.look.replace(at) {
            self.looks.remove(&(before, slot));
        }
        self.looks.insert((at, slot));
    }

    pub(crate) fn forget(&mut self, tid: u32) {
        self.unhandled.remove(&tid);
        self.tracers.remove(&tid);
        self.interrupted.remove(&tid);
        self.suspended.remove(&tid);
    }

    /// Records a thread's tracer, 0 for none. Returns whether a tracer has attached since the last check.
    pub(crate) fn note_tracer(&mut self, tid: u32, tracer: u64) -> bool {
        match tracer {
            0 => {
                self.tracers.remove(&tid);
                false
            }
            _ if self.tracers.len() >= MAX_WAITING => false,
            _ => self.tracers.insert(tid, tracer) != Some(tracer),
        }
    }

    pub(crate) fn note_interrupted(&mut self, tid: u32) {
        let now = Instant::now();
        if self.interrupted.len() >= MAX_WAITING {
            self.interrupted.retain(|_, at| now - *at < RECENTLY);
        }
        self.interrupted.insert(tid, now);
    }

    /// Records that a file, buffers or locks may have changed, if calls wait for them.
    pub(crate) fn mark(&mut self, on: On) {
        if self.on.contains_key(&on) && !self.changed.contains(&on) {
            self.changed.push(on);
        }
    }

    /// Returns the time until the next deadline or check.
    pub(crate) fn next_look(&self, now: Instant) -> Option<Duration> {
        let first = [self.deadlines.first(), self.looks.first()];
        let next = first.into_iter().flatten().map(|(at, _)| *at).min()?;
        Some(next.saturating_duration_since(now))
    }

    /// Returns whether calls wait for a device file.
    pub(crate) fn is_on(&self, file: FileId) -> bool {
        self.on.contains_key(&On::File(file))
    }

    /// Returns the slots of calls that wait for one of these, the oldest first.
    pub(crate) fn slots_on(&self, on: &[On]) -> Vec<u32> {
        let slots = on.iter().filter_map(|on| self.on.get(on));
        let slots: BTreeSet<u32> = slots.flatten().copied().collect();
        slots.into_iter().collect()
    }

    /// Returns the slots in a list whose time is `now` or earlier.
    pub(crate) fn due(list: &BTreeSet<(Instant, u32)>, now: Instant) -> Vec<u32> {
        let due = list.iter().take_while(|(at, _)| *at <= now);
        due.map(|(_, slot)| *slot).collect()
    }

    pub(crate) fn all(&self) -> Vec<u32> {
        self.slots.keys().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    /// Makes a poll of no file, whose time is over.
    fn late_poll() -> Waiting {
        let n = Notif {
            id: 1,
            tid: std::process::id(),
            arch: 0,
            nr: libc::SYS_ppoll,
            args: [0; 6],
            gathered: Arc::default(),
        };
        let polling = Polling {
            entries: Vec::new(),
            set_len: None,
            needs_look: false,
        };
        let mut waiting = Waiting::new(&n, Kind::Poll(polling), None);
        waiting.deadline = Some(Instant::now());
        waiting
    }

    #[test]
    fn next_call_is_checked_as_often_as_the_last() {
        let mut pending = Pending::default();
        let mut handles = |mask, next_mask| {
            let mut waiting = late_poll();
            (waiting.signals.handles, waiting.signals.mask) = (false, mask);
            let slot = pending.insert(waiting, true).expect("room");
            pending.remove(slot).expect("it waits");
            let mut waiting = late_poll();
            waiting.signals.mask = next_mask;
            let slot = pending.insert(waiting, true).expect("room");
            let next = pending.remove(slot).expect("it waits");
            pending.forget(next.notif.tid);
            next.signals.handles
        };
        assert!(!handles(None, None));
        assert!(handles(None, Some(0)) && handles(Some(0), None));
    }

    #[test]
    fn passed_deadline_of_paused_call_wakes_nobody() {
        let mut pending = Pending::default();
        let slot = pending.insert(late_poll(), true).expect("room");
        let is_due = |pending: &Pending| {
            let due = Pending::due(&pending.deadlines, Instant::now());
            due == [slot]
        };
        assert!(is_due(&pending));
        pending.pause(slot);
        assert!(!is_due(&pending) && pending.deadlines.is_empty());
        pending.resume(slot);
        assert!(is_due(&pending));
        pending.pause(slot);
        pending.remove(slot).expect("it waits");
        pending.resume(slot);
        assert!(pending.deadlines.is_empty() && pending.slots.is_empty());
    }
}
