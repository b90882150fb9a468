//! The threads that serve calls: the receiver, the threads that may stall, and their number.
//!
//! One thread at a time receives calls and serves them itself, so that a call costs no change of
//! thread. The clock checks the receiver's progress. If the receiver stalls, it stays with its call,
//! and another thread receives. Other threads send the answers that the clock finds.
//!
//! At most [`MAX_THREADS`] threads exist. A process whose calls stall gets at most a quarter of the
//! free ones, so that other processes' calls proceed. Its further calls wait until a stalled call ends.
//! When every thread stalls, all further calls wait for a free one.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::PoisonError;
use std::time::Duration;

use super::serve::Answer;
use super::watch::Watch;
use crate::kernel::{AtomicU32, AtomicU64, AtomicUsize, Condvar, Instant, Mutex, Ordering, lock};
use crate::note::Note;
use crate::process::Notif;

/// Maximum number of threads at one time. Idle threads end after [`IDLE_TIMEOUT`].
const MAX_THREADS: usize = 1024;
/// Interval of checks of the receiver while calls arrive.
pub(crate) const RECEIVER_INTERVAL: Duration = Duration::from_millis(4);
/// Interval of checks of stalled threads.
const STALLED_INTERVAL: Duration = Duration::from_millis(100);
/// Duration of a stall that deserves a remark. A busy disk can take a second.
const REMARK_AFTER: Duration = Duration::from_secs(3);
/// Checks further apart than this do not count: the supervisor was stopped, or got no CPU.
const MAX_CHECK_GAP: Duration = Duration::from_millis(400);
/// How long an idle thread waits for work before it ends.
const IDLE_TIMEOUT: Duration = Duration::from_secs(1);

/// A thread's task.
#[derive(Debug)]
pub(crate) enum Job {
    /// Serve a call that was received.
    Call(Notif),
    /// Answer a call that was applied.
    Answer(Answer),
}

impl Job {
    pub(crate) fn notif(&self) -> &Notif {
        match self {
            Self::Call(n) => n,
            Self::Answer(answer) => &answer.notif,
        }
    }
}

/// A thread's role, until it asks again.
#[derive(Debug)]
pub(crate) enum Part {
    /// To receive calls.
    Receive(Term),
    /// To do this job.
    Work(Work, Job),
    /// To end.
    End,
}

/// The period of one receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Term(u64);

/// Bits that count a receiver's steps.
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

/// A job of a thread other than the receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Work(u64);

/// Whether and how a call may be served now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    Serve,
    /// Serve it. The clock must start a thread that receives.
    ServeShort,
    /// Too many calls of its process stall, so the call waits.
    HeldBack,
}

#[derive(Debug)]
struct At {
    pid: u32,
    nr: i64,
    since: Instant,
}

impl At {
    /// Returns whether it takes so long that it counts as stalled.
    fn stalls(&self) -> bool {
        self.since.elapsed() >= REMARK_AFTER
    }
}

#[derive(Debug, Default)]
struct Inner {
    /// Maximum number of threads.
    most: usize,
    threads: usize,
    idle: usize,
    receiver_wanted: bool,
    jobs: VecDeque<(u32, Job)>,
    /// The jobs of all threads but the receiver.
    at: HashMap<u64, At>,
    next: u64,
    /// Jobs of receivers that have lost their role.
    left: HashMap<u64, Work>,
    held_back: HashMap<u32, VecDeque<Job>>,
    named: HashSet<u32>,
    /// Whether the user got the remark that all threads stall.
    said_full: bool,
    /// The receiver's state at the last check that found a change, and its time.
    seen: u64,
    seen_at: Option<Instant>,
    /// The time of the last check.
    looked: Option<Instant>,
    closing: bool,
}

impl Inner {
    fn busy(&self, pid: u32) -> usize {
        self.at.values().filter(|at| at.pid == pid).count()
    }

    fn may_begin(&self, pid: u32) -> bool {
        let left = self.most.saturating_sub(self.at.len());
        self.busy(pid) < (left / 4).max(1)
    }

    fn begin(&mut self, pid: u32, nr: i64) -> Work {
        self.next += 1;
        let since = Instant::now();
        self.at.insert(self.next, At { pid, nr, since });
        Work(self.next)
    }

    /// Takes the oldest waiting call of a process, after one of its calls has ended.
    fn next_after(&mut self, pid: u32) -> Option<(u32, Job)> {
        let held = self.held_back.get_mut(&pid);
        let own = held.and_then(VecDeque::pop_front);
        if self.held_back.get(&pid).is_some_and(VecDeque::is_empty) {
            self.held_back.remove(&pid);
        }
        own.map(|job| (pid, job))
    }
}

/// The pool; see the module's comment.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    inner: Mutex<Inner>,
    work: Condvar,
    closed: Condvar,
    /// The receiver's progress, and whether the clock checks it.
    watch: Watch,
    /// The caller that the receiver serves.
    tid: AtomicU32,
    nr: AtomicU64,
    /// Number of busy threads besides the receiver.
    busy: AtomicUsize,
}

impl Pool {
    pub(crate) fn new() -> Self {
        Self::of_at_most(MAX_THREADS)
    }

    /// Returns a pool with at most `most` threads.
    pub(crate) fn of_at_most(most: usize) -> Self {
        let pool = Self::default();
        let mut inner = lock(&pool.inner);
        inner.most = most;
        inner.receiver_wanted = true;
        drop(inner);
        pool
    }

    /// Waits for a thread's next task, and returns it.
    pub(crate) fn next(&self) -> Part {
        let mut inner = lock(&self.inner);
        loop {
            if inner.closing {
                inner.threads -= 1;
                return Part::End;
            }
            if core::mem::take(&mut inner.receiver_wanted) {
                return Part::Receive(Term::of(self.watch.state.load(Ordering::Acquire)));
            }
            if let Some((pid, job)) = inner.jobs.pop_front() {
                let work = inner.begin(pid, job.notif().nr);
                self.busy.store(inner.at.len(), Ordering::Release);
                return Part::Work(work, job);
            }
            inner.idle += 1;
            let (again, timeout) = self
                .work
                .wait_timeout(inner, IDLE_TIMEOUT)
                .unwrap_or_else(PoisonError::into_inner);
            inner = again;
            inner.idle -= 1;
            let nothing = inner.jobs.is_empty() && !inner.receiver_wanted;
            if timeout.timed_out() && nothing && inner.idle > 0 {
                inner.threads -= 1;
                return Part::End;
            }
        }
    }

    /// Ends a thread's job. Returns the next job that has waited for it.
    pub(crate) fn done(&self, work: Work) -> Option<(Work, Job)> {
        let mut inner = lock(&self.inner);
        let at = inner.at.remove(&work.0);
        let next = at.and_then(|at| {
            let (pid, job) = inner.next_after(at.pid)?;
            Some((inner.begin(pid, job.notif().nr), job))
        });
        self.busy.store(inner.at.len(), Ordering::Release);
        if !inner.jobs.is_empty() {
            self.work.notify_one();
        }
        next
    }

    /// Returns whether a thread is still the receiver.
    pub(crate) fn receives(&self, term: Term) -> bool {
        Term::of(self.watch.state.load(Ordering::Acquire)) == term
    }

    /// Records that the receiver begins a call. Returns true if the caller must wake the clock to check
    /// it.
    pub(crate) fn step_in(&self, n: &Notif) -> bool {
        self.tid.store(n.tid, Ordering::Relaxed);
        self.nr.store(n.nr.cast_unsigned(), Ordering::Relaxed);
        self.watch.step_in()
    }

    /// Records that the receiver has served its call. If it has lost its role meanwhile, returns its
    /// job.
    pub(crate) fn step_out(&self, term: Term) -> Option<Work> {
        let at = self.watch.state.load(Ordering::Acquire);
        let next = |at| (Term::of(at) == term).then(|| at + 1);
        let (done, seen) = (Ordering::AcqRel, Ordering::Acquire);
        if next(at).is_some() && self.watch.state.fetch_update(done, seen, next).is_ok() {
            return None;
        }
        lock(&self.inner).left.remove(&term.0)
    }

    /// Returns whether any thread stalls, or serves a call besides the receiver.
    pub(crate) fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Acquire) > 0
    }

    /// Decides how the receiver may serve a call. If another call of the process is being served, this
    /// one may stall, so another thread becomes the receiver. If too many calls of the process stall,
    /// the call waits.
    pub(crate) fn admit(&self, pid: u32, n: &Notif) -> Admission {
        let mut inner = lock(&self.inner);
        if inner.busy(pid) == 0 {
            return Admission::Serve;
        }
        if !inner.may_begin(pid) {
            let held = inner.held_back.entry(pid).or_default();
            held.push_back(Job::Call(n.clone()));
            return Admission::HeldBack;
        }
        let state = self.watch.state.load(Ordering::Acquire);
        self.pass_on(&mut inner, state, pid, n.nr);
        if inner.idle == 0 {
            Admission::ServeShort
        } else {
            Admission::Serve
        }
    }

    /// Makes another thread the receiver, unless the present one has moved on from `state`.
    fn pass_on(&self, inner: &mut Inner, state: u64, pid: u32, nr: i64) {
        let next = Term::of(state).next();
        let (done, seen) = (Ordering::AcqRel, Ordering::Acquire);
        if self
            .watch
            .state
            .compare_exchange(state, next, done, seen)
            .is_err()
        {
            return;
        }
        let work = inner.begin(pid, nr);
        inner.left.insert(Term::of(state).0, work);
        inner.receiver_wanted = true;
        self.busy.store(inner.at.len(), Ordering::Release);
        self.work.notify_one();
    }

    /// Queues a job for any thread; returns whether the caller must start one for it.
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

    /// Checks for the clock whether the receiver has moved on since the last check. `pid_of` returns a
    /// thread's process. Returns the time until the next check, and remarks for the user.
    pub(crate) fn look(&self, pid_of: impl Fn(u32) -> u32) -> (Option<Duration>, Vec<Note>) {
        let mut inner = lock(&self.inner);
        inner.forgive(Instant::now());
        let state = self.watch.state.load(Ordering::Acquire);
        let moved = state != inner.seen;
        if moved {
            (inner.seen, inner.seen_at) = (state, Some(Instant::now()));
        }
        let is_at_a_call = state % 2 == 1;
        let since = inner.seen_at.map_or(Duration::ZERO, |at| at.elapsed());
        if is_at_a_call && since >= RECEIVER_INTERVAL {
            let pid = pid_of(self.tid.load(Ordering::Relaxed));
            let nr = self.nr.load(Ordering::Relaxed).cast_signed();
            self.pass_on(&mut inner, state, pid, nr);
        }
        let remarks = inner.remarks();
        let active = is_at_a_call || since < RECEIVER_INTERVAL * 8 || inner.receiver_wanted;
        if active {
            self.watch.keep();
        }
        let again = if active || !self.watch.rest(state) {
            Some(RECEIVER_INTERVAL)
        } else {
            (!inner.at.is_empty()).then_some(STALLED_INTERVAL)
        };
        (again, remarks)
    }

    /// Records that a remark of the last check could not be queued; the next check repeats it.
    pub(crate) fn unsaid(&self, remark: &Note) {
        if matches!(remark, Note::NobodyServes { .. }) {
            lock(&self.inner).said_full = false;
        }
    }

    /// Returns how many threads to start so that one is always free. They count as started.
    pub(crate) fn wanted(&self) -> usize {
        let mut inner = lock(&self.inner);
        let work = inner.jobs.len() + usize::from(inner.receiver_wanted);
        let room = inner.most.saturating_sub(inner.threads);
        let wanted = (work + 1).saturating_sub(inner.idle).min(room);
        inner.threads += wanted;
        wanted
    }

    /// Records that `count` threads could not be started; returns the number of threads.
    pub(crate) fn unstarted(&self, count: usize) -> usize {
        let mut inner = lock(&self.inner);
        inner.threads -= count;
        inner.threads
    }

    /// Returns whether a thread is wanted and none is free for it.
    pub(crate) fn is_short(&self) -> bool {
        let inner = lock(&self.inner);
        inner.receiver_wanted && inner.idle == 0
    }

    /// Tells all threads to end after their present jobs.
    pub(crate) fn close(&self) {
        lock(&self.inner).closing = true;
        self.work.notify_all();
        self.closed.notify_all();
    }

    /// Waits until all threads must end, for at most `timeout`.
    pub(crate) fn await_close(&self, timeout: Duration) {
        let inner = lock(&self.inner);
        if !inner.closing {
            drop(self.closed.wait_timeout(inner, timeout));
        }
    }

    /// Returns whether all threads must end.
    pub(crate) fn is_closing(&self) -> bool {
        lock(&self.inner).closing
    }
}

impl Inner {
    /// Excludes time without checks from the calls' stalls.
    fn forgive(&mut self, now: Instant) {
        let lost = self.looked.map_or(Duration::ZERO, |looked| now - looked);
        self.looked = Some(now);
        if lost > MAX_CHECK_GAP {
            for at in self.at.values_mut() {
                at.since = (at.since + lost).min(now);
            }
        }
    }

    /// Collects remarks. Those that concern all programs come first, because the queue is short.
    fn remarks(&mut self) -> Vec<Note> {
        let mut late: Vec<&At> = self.at.values().filter(|at| at.stalls()).collect();
        late.sort_by_key(|at| at.since);
        let mut remarks = Vec::new();
        if let Some(&&At { pid, nr, .. }) = late.first()
            && !self.said_full
            && self.is_full()
        {
            self.said_full = true;
            let calls = self.at.len();
            remarks.push(Note::NobodyServes { calls, pid, nr });
        }
        for &&At { pid, nr, .. } in &late {
            if self.named.len() < 4096 && self.named.insert(pid) {
                let held_back = self.held_back.get(&pid).map_or(0, VecDeque::len);
                // Calls that have just begun may end at once, so they do not count.
                let stalled = late.iter().filter(|at| at.pid == pid).count();
                let calls = stalled + held_back;
                remarks.push(Note::Stalled { pid, nr, calls });
            }
        }
        remarks
    }

    /// Returns whether every possible thread stalls with a call.
    fn is_full(&self) -> bool {
        self.receiver_wanted && self.at.len() >= self.most && self.at.values().all(At::stalls)
    }
}
