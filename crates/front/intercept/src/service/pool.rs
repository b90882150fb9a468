//! The threads that serve calls: the receiver, the threads whose calls may stall, and their number.
//!
//! One thread at a time receives calls and serves them itself, so that a call costs no change of thread. The
//! clock, a separate thread, checks the receiver's progress. If the receiver stalls, it stays with its call,
//! and another thread becomes the receiver. Worker threads send the answers that the clock's ticks cause.
//!
//! At most [`MAX_THREADS`] threads exist. A process whose calls stall gets at most a quarter of the
//! free threads, so that other processes' calls proceed. Its further calls wait until a stalled call
//! ends. When every thread stalls, all further calls wait for a free thread.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::PoisonError;
use std::time::Duration;

use super::serve::Job;
use crate::kernel::{
    AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Condvar, Instant, Mutex, Ordering,
    blocked_waits, cpu_time_if_runnable, lock, own_tid,
};
use crate::note::Note;
use crate::process::Notif;

/// Maximum number of threads at one time. Idle threads end after [`IDLE_TIMEOUT`].
const MAX_THREADS: usize = 1024;
/// Interval of checks of the receiver while calls arrive.
pub(crate) const RECEIVER_INTERVAL: Duration = Duration::from_millis(4);
/// Maximum number of other calls that are looked at before a call is admitted.
const MAX_LOOKS: usize = 4;
/// Interval of checks of stalled threads.
const STALLED_INTERVAL: Duration = Duration::from_millis(100);
/// Interval of checks whether a thread still waits in the same call.
const WAIT_INTERVAL: Duration = Duration::from_millis(500);
/// Duration of one wait after which the user gets a note. A busy disk can take a second.
const REMARK_AFTER: Duration = Duration::from_secs(3);
/// How long an idle thread waits for work before it ends.
const IDLE_TIMEOUT: Duration = Duration::from_secs(1);

/// A thread's role, until it asks for the next one.
#[derive(Debug)]
pub(crate) enum Part {
    Receive(Term),
    Work(Work, Job),
    End,
}

/// The number of a receiver's period: a receiver that sees another number has lost its role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Term(u64);

/// Number of lower bits of the state that count a receiver's steps.
const STEPS: u32 = 40;

impl Term {
    fn of(state: u64) -> Self {
        Self(state >> STEPS)
    }

    /// Returns the state at the start of the next term.
    fn next(self) -> u64 {
        self.0.wrapping_add(1) << STEPS
    }
}

/// The state that the receiver and the clock share without a lock.
///
/// # Invariants
/// While the receiver serves a call, the clock checks the receiver, or is being woken to do so. Both
/// sides swap `watched`: the side that swaps second sees what the other side wrote before its swap.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// The receiver's term, and in the lower bits a count of its steps: odd while it serves a call.
    pub(crate) state: AtomicU64,
    watched: AtomicBool,
}

impl Watch {
    /// Records that the receiver begins a call. Returns true if the caller must wake the clock, which then
    /// checks the receiver.
    pub(crate) fn step_in(&self) -> bool {
        self.state.fetch_add(1, Ordering::AcqRel);
        !self.watched.swap(true, Ordering::AcqRel)
    }

    pub(crate) fn keep(&self) {
        self.watched.store(true, Ordering::Release);
    }

    /// Stops the clock's checks if the state is still `seen`. Returns false if the receiver has moved on:
    /// the clock must then continue its checks.
    pub(crate) fn rest(&self, seen: u64) -> bool {
        self.watched.swap(false, Ordering::AcqRel);
        let rests = self.state.load(Ordering::Acquire) == seen;
        if !rests {
            self.keep();
        }
        rests
    }
}

/// The key in `Inner::at` of a job that a thread other than the receiver does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Work(u64);

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    Serve,
    /// Serve the call, and wake the clock thread: it must start a thread that becomes the receiver.
    ServeShort,
    /// Do not serve the call: too many calls of its process stall, so it waits in the pool.
    HeldBack,
}

#[derive(Debug)]
struct At {
    /// The id of the call.
    id: u64,
    pid: u32,
    nr: i64,
    /// The supervisor's thread that does the job.
    tid: u32,
    /// When a check first saw the thread in its present wait; before the first check, when the job began.
    since: Instant,
    checked: Instant,
    /// The thread's number of waits, if the last check found it blocked outside the supervisor.
    waits: Option<u64>,
    /// Whether the wait takes so long that the user gets a note.
    stalls: bool,
}

impl At {
    /// Checks whether the thread is in the same wait as at the last check. A thread that runs, lacks CPU time
    /// or waits for another thread of the supervisor does not stall.
    fn look(&mut self) {
        if self.stalls || self.checked.elapsed() < WAIT_INTERVAL {
            return;
        }
        self.checked = Instant::now();
        let before = core::mem::replace(&mut self.waits, blocked_waits(self.tid));
        if self.waits.is_some() && before == self.waits {
            self.stalls = self.since.elapsed() >= REMARK_AFTER;
        } else {
            self.since = self.checked;
        }
    }
}

#[derive(Debug, Default)]
struct Inner {
    most: usize,
    threads: usize,
    idle: usize,
    receiver_wanted: bool,
    /// The thread that receives, or did so last.
    receiver: u32,
    jobs: VecDeque<(u32, Job)>,
    /// The present jobs of all threads but the receiver.
    at: HashMap<u64, At>,
    next: u64,
    /// The present jobs of former receivers, by their terms.
    left: HashMap<u64, Work>,
    held_back: HashMap<u32, VecDeque<Job>>,
    /// Processes and system calls that the user got notes about. A call that waited for a busy disk must not
    /// suppress the note about another that waits for ever.
    noted: HashSet<(u32, i64)>,
    /// Whether the user got the note that all threads stall.
    said_full: bool,
    /// The receiver's state at the last check that found a change, and the time of this check.
    seen: u64,
    seen_at: Option<Instant>,
    /// The CPU time that the receiver had had at the first check that found it late in its present call.
    had: Option<Duration>,
    closing: bool,
}

impl Inner {
    fn busy(&self, pid: u32) -> usize {
        self.at.values().filter(|at| at.pid == pid).count()
    }

    /// Returns whether a job of a process waits for something outside the supervisor, and has done so for long. A job
    /// that lacks a CPU does not count: further threads for the process's calls would compete for the same CPUs.
    fn waits_long(&self, pid: u32) -> bool {
        let is_late = |at: &&At| at.pid == pid && at.since.elapsed() >= RECEIVER_INTERVAL;
        let mut late = self.at.values().filter(is_late).take(MAX_LOOKS);
        late.any(|at| blocked_waits(at.tid).is_some())
    }

    /// Returns how many threads are idle, or about to ask for a role, like one that has just started.
    fn free(&self) -> usize {
        let receiver = usize::from(!self.receiver_wanted);
        self.threads.saturating_sub(self.at.len() + receiver)
    }

    fn may_begin(&self, pid: u32) -> bool {
        let left = self.most.saturating_sub(self.at.len());
        self.busy(pid) < (left / 4).max(1)
    }

    /// Records that thread `tid` of the supervisor begins a job: the call `id`, with the system call number `nr`.
    fn begin(&mut self, tid: u32, pid: u32, (id, nr): (u64, i64)) -> Work {
        self.next += 1;
        let since = Instant::now();
        let at = At {
            id,
            pid,
            nr,
            tid,
            since,
            checked: since,
            waits: None,
            stalls: false,
        };
        self.at.insert(self.next, at);
        Work(self.next)
    }

    /// Returns whether the receiver could continue its call, but has had little CPU time for it. Another receiver
    /// would get as little, and both would compete for it.
    fn receiver_lacks_cpu(&mut self) -> bool {
        cpu_time_if_runnable(self.receiver).is_some_and(|now| {
            let had = *self.had.get_or_insert(now);
            now.saturating_sub(had) < RECEIVER_INTERVAL
        })
    }

    /// Takes the oldest job that is held back for a process.
    fn next_after(&mut self, pid: u32) -> Option<(u32, Job)> {
        let held = self.held_back.get_mut(&pid);
        let own = held.and_then(VecDeque::pop_front);
        if self.held_back.get(&pid).is_some_and(VecDeque::is_empty) {
            self.held_back.remove(&pid);
        }
        own.map(|job| (pid, job))
    }
}

#[derive(Debug, Default)]
pub(crate) struct Pool {
    inner: Mutex<Inner>,
    work: Condvar,
    closed: Condvar,
    watch: Watch,
    /// The program's thread whose call the receiver serves, the call's id, and its system call number.
    tid: AtomicU32,
    id: AtomicU64,
    nr: AtomicU64,
    /// Number of busy threads besides the receiver.
    busy: AtomicUsize,
}

impl Pool {
    pub(crate) fn new() -> Self {
        Self::of_at_most(MAX_THREADS)
    }

    pub(crate) fn of_at_most(most: usize) -> Self {
        let pool = Self::default();
        let mut inner = lock(&pool.inner);
        inner.most = most;
        inner.receiver_wanted = true;
        drop(inner);
        pool
    }

    /// Waits for the calling thread's next role, and returns it.
    pub(crate) fn next(&self) -> Part {
        let mut inner = lock(&self.inner);
        loop {
            if inner.closing {
                inner.threads -= 1;
                return Part::End;
            }
            if core::mem::take(&mut inner.receiver_wanted) {
                inner.receiver = own_tid();
                return Part::Receive(Term::of(self.watch.state.load(Ordering::Acquire)));
            }
            if let Some((pid, job)) = inner.jobs.pop_front() {
                let work = inner.begin(own_tid(), pid, (job.notif.id, job.notif.nr));
                self.busy.store(inner.at.len(), Ordering::Release);
                return Part::Work(work, job);
            }
            inner.idle += 1;
            let waited = self.work.wait_timeout(inner, IDLE_TIMEOUT);
            let (again, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            inner = again;
            inner.idle -= 1;
            let nothing = inner.jobs.is_empty() && !inner.receiver_wanted;
            if timeout.timed_out() && nothing && inner.idle > 0 {
                inner.threads -= 1;
                return Part::End;
            }
        }
    }

    /// Records that a job is done. The next job that was held back for its process may now begin.
    pub(crate) fn done(&self, work: Work) {
        let mut inner = lock(&self.inner);
        let at = inner.at.remove(&work.0);
        if let Some(job) = at.and_then(|at| inner.next_after(at.pid)) {
            inner.jobs.push_front(job);
        }
        self.busy.store(inner.at.len(), Ordering::Release);
        if !inner.jobs.is_empty() {
            self.work.notify_one();
        }
    }

    /// Returns whether the thread with this term is still the receiver.
    pub(crate) fn receives(&self, term: Term) -> bool {
        Term::of(self.watch.state.load(Ordering::Acquire)) == term
    }

    /// Records that the receiver begins a call. Returns true if the caller must wake the clock.
    pub(crate) fn step_in(&self, n: &Notif) -> bool {
        self.tid.store(n.tid, Ordering::Relaxed);
        self.id.store(n.id, Ordering::Relaxed);
        self.nr.store(n.nr.cast_unsigned(), Ordering::Relaxed);
        self.watch.step_in()
    }

    /// Records that the receiver has served its call. If another thread has become the receiver meanwhile,
    /// returns the key of the served call's job.
    pub(crate) fn step_out(&self, term: Term) -> Option<Work> {
        let at = self.watch.state.load(Ordering::Acquire);
        let next = |at| (Term::of(at) == term).then(|| at + 1);
        let (done, seen) = (Ordering::AcqRel, Ordering::Acquire);
        if next(at).is_some() && self.watch.state.fetch_update(done, seen, next).is_ok() {
            return None;
        }
        lock(&self.inner).left.remove(&term.0)
    }

    /// Returns whether another thread of the supervisor works on a call whose thread has ended, by `has_ended`. Such a
    /// call may still hold the files and the memory of the ended process. Threads that wait in a system call do not
    /// count: they might wait for long.
    pub(crate) fn works_for_ended(&self, has_ended: impl Fn(u64) -> bool) -> bool {
        let inner = lock(&self.inner);
        let receives = self.watch.state.load(Ordering::Acquire) % 2 == 1;
        let receiver = receives.then(|| (inner.receiver, self.id.load(Ordering::Relaxed)));
        let others = inner.at.values().map(|at| (at.tid, at.id));
        let is_other = |(tid, _): &(u32, u64)| *tid != own_tid();
        let all: Vec<(u32, u64)> = receiver
            .into_iter()
            .chain(others)
            .filter(is_other)
            .collect();
        drop(inner);
        let mut all = all.into_iter();
        all.any(|(tid, id)| has_ended(id) && blocked_waits(tid).is_none())
    }

    /// Returns whether any thread but the receiver has a job, stalled or not.
    pub(crate) fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Acquire) > 0
    }

    /// Decides how the receiver may serve a call. If another thread waits for long in a job of the same process, this
    /// call may stall like that job. So another thread becomes the receiver first. If the process has too many jobs,
    /// the call waits.
    pub(crate) fn admit(&self, term: Term, pid: u32, n: &Notif) -> Admission {
        let mut inner = lock(&self.inner);
        // The clock may have replaced the caller already.
        let state = self.watch.state.load(Ordering::Acquire);
        if Term::of(state) != term || inner.busy(pid) == 0 {
            return Admission::Serve;
        }
        if !inner.may_begin(pid) {
            let held = inner.held_back.entry(pid).or_default();
            held.push_back(Job::serve(n.clone()));
            return Admission::HeldBack;
        }
        if !inner.waits_long(pid) {
            return Admission::Serve;
        }
        self.pass_on(&mut inner, state, pid, (n.id, n.nr));
        if inner.idle == 0 {
            Admission::ServeShort
        } else {
            Admission::Serve
        }
    }

    /// Lets another thread become the receiver, unless the receiver's state is no longer `state`.
    fn pass_on(&self, inner: &mut Inner, state: u64, pid: u32, call: (u64, i64)) {
        let next = Term::of(state).next();
        let (done, seen) = (Ordering::AcqRel, Ordering::Acquire);
        let now = &self.watch.state;
        if now.compare_exchange(state, next, done, seen).is_err() {
            return;
        }
        let work = inner.begin(inner.receiver, pid, call);
        inner.left.insert(Term::of(state).0, work);
        inner.receiver_wanted = true;
        self.busy.store(inner.at.len(), Ordering::Release);
        self.work.notify_one();
    }

    /// Queues a job for any thread. Returns true if too few threads are idle: the clock must start one.
    pub(crate) fn hand_over(&self, pid: u32, job: Job) -> bool {
        let mut inner = lock(&self.inner);
        if inner.may_begin(pid) {
            inner.jobs.push_back((pid, job));
            let is_short = inner.jobs.len() > inner.idle;
            drop(inner);
            self.work.notify_one();
            is_short
        } else {
            inner.held_back.entry(pid).or_default().push_back(job);
            false
        }
    }

    /// Replaces the receiver if its state has not changed for too long. The clock calls this. `expects_calls`
    /// says that the clock has answered calls, so that others follow soon. `pid_of` returns a thread's
    /// process. `note` queues a note for the user, and returns false if it cannot. Returns the time until the
    /// next check.
    pub(crate) fn look(
        &self,
        expects_calls: bool,
        pid_of: impl Fn(u32) -> u32,
        note: impl FnMut(Note) -> bool,
    ) -> Option<Duration> {
        let mut inner = lock(&self.inner);
        let state = self.watch.state.load(Ordering::Acquire);
        let moved = state != inner.seen;
        if moved {
            (inner.seen, inner.seen_at) = (state, Some(Instant::now()));
            inner.had = None;
        }
        let is_at_a_call = state % 2 == 1;
        let since = inner.seen_at.map_or(Duration::ZERO, |at| at.elapsed());
        if is_at_a_call && since >= RECEIVER_INTERVAL && !inner.receiver_lacks_cpu() {
            let pid = pid_of(self.tid.load(Ordering::Relaxed));
            let id = self.id.load(Ordering::Relaxed);
            let nr = self.nr.load(Ordering::Relaxed).cast_signed();
            self.pass_on(&mut inner, state, pid, (id, nr));
        }
        inner.note_stalls(note);
        let active = is_at_a_call || moved || expects_calls || inner.receiver_wanted;
        if active {
            self.watch.keep();
        }
        if active || !self.watch.rest(state) {
            Some(RECEIVER_INTERVAL)
        } else {
            (!inner.at.is_empty()).then_some(STALLED_INTERVAL)
        }
    }

    /// Returns how many threads to start. Counts these threads as started. The first call starts only the
    /// receiver, which is enough for a short program; later calls also start a thread that is idle.
    pub(crate) fn wanted(&self) -> usize {
        let mut inner = lock(&self.inner);
        let work = inner.jobs.len() + usize::from(inner.receiver_wanted);
        let spare = usize::from(inner.threads > 0);
        let room = inner.most.saturating_sub(inner.threads);
        let wanted = (work + spare).saturating_sub(inner.free()).min(room);
        inner.threads += wanted;
        wanted
    }

    /// Records that `count` threads could not be started. Returns the number of existing threads.
    pub(crate) fn unstarted(&self, count: usize) -> usize {
        let mut inner = lock(&self.inner);
        inner.threads -= count;
        inner.threads
    }

    /// Returns whether a receiver is wanted, no thread is free, and another thread may be started.
    pub(crate) fn is_short(&self) -> bool {
        let inner = lock(&self.inner);
        inner.receiver_wanted && inner.free() == 0 && inner.threads < inner.most
    }

    /// Tells all threads to end after their present jobs.
    pub(crate) fn close(&self) {
        lock(&self.inner).closing = true;
        self.work.notify_all();
        self.closed.notify_all();
    }

    pub(crate) fn await_close(&self, timeout: Duration) {
        let inner = lock(&self.inner);
        if !inner.closing {
            drop(self.closed.wait_timeout(inner, timeout));
        }
    }

    pub(crate) fn is_closing(&self) -> bool {
        lock(&self.inner).closing
    }
}

impl Inner {
    /// Queues notes for the user. The one that concerns all programs comes first, because the queue is short. If
    /// it cannot be queued, the next check repeats it.
    fn note_stalls(&mut self, mut note: impl FnMut(Note) -> bool) {
        self.at.values_mut().for_each(At::look);
        let mut late: Vec<&At> = self.at.values().filter(|at| at.stalls).collect();
        late.sort_by_key(|at| at.since);
        if let Some(&&At { pid, nr, .. }) = late.first()
            && !self.said_full
            && self.is_full()
        {
            let calls = self.at.len();
            self.said_full = note(Note::NobodyServes { calls, pid, nr });
        }
        for (earlier, &&At { pid, nr, .. }) in late.iter().enumerate() {
            if self.noted.len() < 4096 && self.noted.insert((pid, nr)) {
                let held_back = self.held_back.get(&pid).map_or(0, VecDeque::len);
                // The note counts neither jobs that have just begun, since they may end immediately, nor calls
                // of the process that stalled earlier, since these had a note.
                let stalled = late.iter().skip(earlier).filter(|at| at.pid == pid);
                let calls = stalled.count() + held_back;
                note(Note::Stalled { pid, nr, calls });
            }
        }
    }

    /// Returns whether the maximum number of threads is reached and each of them stalls.
    fn is_full(&self) -> bool {
        self.receiver_wanted && self.at.len() >= self.most && self.at.values().all(|at| at.stalls)
    }
}
