//! The threads that serve calls: who receives, who may stall, and how many.
//!
//! One thread at a time receives calls and serves them itself, so that a call costs no change of
//! thread. The clock looks whether it gets on; where it does not, it is left alone with its call
//! and another thread receives. What the clock itself finds done is answered by the other threads.
//!
//! At most [`MAX_THREADS`] threads exist. A process whose calls stall gets a quarter of the free ones at
//! most, so that other processes' calls go on. Its further calls are held back until a stalled call
//! ends. When every thread stalls, all further calls wait until one of them is free.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::PoisonError;
use std::time::Duration;

use super::serve::Answer;
use super::watch::Watch;
use crate::kernel::lock;
use crate::kernel::{AtomicU32, AtomicU64, AtomicUsize, Condvar, Instant, Mutex, Ordering};
use crate::note::Note;
use crate::process::Notif;

/// Most threads at one time. Idle threads end after [`CHANGE_TIMEOUT`].
const MAX_THREADS: usize = 1024;
/// How often the receiver is looked at while calls come.
pub(crate) const LOOK: Duration = Duration::from_millis(4);
/// How often stalled threads are looked at.
const LOOK_STALLED: Duration = Duration::from_millis(100);
/// A call that stalls for so long is worth a remark.
const REMARK: Duration = Duration::from_secs(1);
/// Looks further apart than this were lost: the supervisor itself was stopped, or got no CPU.
const LOST: Duration = Duration::from_millis(400);
/// How long a thread waits for work before it goes.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(1);

/// What a thread is to do.
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

/// A thread's part, until it asks again.
#[derive(Debug)]
pub(crate) enum Part {
    /// To receive calls.
    Receive(Term),
    /// To do this.
    Work(Work, Job),
    /// To end.
    End,
}

/// The time for which a thread is the receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Term(u64);

/// Bits of a receiver's steps.
const STEPS: u32 = 40;

impl Term {
    fn of(state: u64) -> Self {
        Self(state >> STEPS)
    }

    /// The state at the start of the next term.
    fn next(self) -> u64 {
        self.0.wrapping_add(1) << STEPS
    }
}

/// Something a thread is at that is not the receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Work(u64);

/// Whether a call may be served now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    Serve,
    /// It may be served, and the clock is to start a thread that receives.
    ServeShort,
    /// Its process has too many that stall.
    HeldBack,
}

#[derive(Debug)]
struct At {
    pid: u32,
    nr: i64,
    since: Instant,
}

impl At {
    /// Whether it takes so long that it stalls.
    fn stalls(&self) -> bool {
        self.since.elapsed() >= REMARK
    }
}

#[derive(Debug, Default)]
struct Inner {
    /// Most threads.
    most: usize,
    threads: usize,
    idle: usize,
    receiver_wanted: bool,
    jobs: VecDeque<(u32, Job)>,
    /// What threads are at, the receiver aside.
    at: HashMap<u64, At>,
    next: u64,
    /// What a receiver is at that has lost its part.
    left: HashMap<u64, Work>,
    held_back: HashMap<u32, VecDeque<Job>>,
    named: HashSet<u32>,
    /// The remark that all threads stall was made.
    said_full: bool,
    /// The receiver's state at the last look that found another one than before, and when.
    seen: u64,
    seen_at: Option<Instant>,
    /// The last look.
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

    /// Takes the oldest call that was held back of a process, one of whose calls has ended.
    fn next_after(&mut self, pid: u32) -> Option<(u32, Job)> {
        let held = self.held_back.get_mut(&pid);
        let own = held.and_then(VecDeque::pop_front);
        if self.held_back.get(&pid).is_some_and(VecDeque::is_empty) {
            self.held_back.remove(&pid);
        }
        own.map(|job| (pid, job))
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    inner: Mutex<Inner>,
    work: Condvar,
    /// How far the receiver is, and whether the clock looks at it.
    watch: Watch,
    /// Whose call it is at.
    tid: AtomicU32,
    nr: AtomicU64,
    /// Threads at work that are not the receiver.
    busy: AtomicUsize,
}

impl Pool {
    pub(crate) fn new() -> Self {
        Self::of_at_most(MAX_THREADS)
    }

    /// Returns a pool of at most `most` threads.
    pub(crate) fn of_at_most(most: usize) -> Self {
        let pool = Self::default();
        let mut inner = lock(&pool.inner);
        inner.most = most;
        inner.receiver_wanted = true;
        drop(inner);
        pool
    }

    /// What a thread is to do next; waits for it.
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
                .wait_timeout(inner, CHANGE_TIMEOUT)
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

    /// What a thread has been at is over. Gives what has waited for that.
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

    /// Whether a thread is the receiver still.
    pub(crate) fn receives(&self, term: Term) -> bool {
        Term::of(self.watch.state.load(Ordering::Acquire)) == term
    }

    /// The receiver is at a call from now on. True if the clock is to be woken, to look at it.
    pub(crate) fn step_in(&self, n: &Notif) -> bool {
        self.tid.store(n.tid, Ordering::Relaxed);
        self.nr.store(n.nr.cast_unsigned(), Ordering::Relaxed);
        self.watch.step_in()
    }

    /// The receiver's call is served. Where it has lost its part meanwhile: what it was at.
    pub(crate) fn step_out(&self, term: Term) -> Option<Work> {
        let at = self.watch.state.load(Ordering::Acquire);
        let next = |at| (Term::of(at) == term).then(|| at + 1);
        let (done, seen) = (Ordering::AcqRel, Ordering::Acquire);
        if next(at).is_some() && self.watch.state.fetch_update(done, seen, next).is_ok() {
            return None;
        }
        lock(&self.inner).left.remove(&term.0)
    }

    /// Whether any thread stalls, or is at a call beside the receiver.
    pub(crate) fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Acquire) > 0
    }

    /// Before the receiver serves a call: where another call of the process is being served it may
    /// stall, and someone else receives. Holds the call back where too many of them stall.
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

    /// Someone else becomes the receiver, if the one that is has not moved on from `state`.
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

    /// Gives a job to some thread; whether one is to be started for it.
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

    /// The clock's look: has the receiver got on since the last one? `pid_of` finds a thread's
    /// process. Gives when to look again, and what is worth a remark.
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
        if is_at_a_call && since >= LOOK {
            let pid = pid_of(self.tid.load(Ordering::Relaxed));
            let nr = self.nr.load(Ordering::Relaxed).cast_signed();
            self.pass_on(&mut inner, state, pid, nr);
        }
        let remarks = inner.remarks();
        let active = is_at_a_call || since < LOOK * 8 || inner.receiver_wanted;
        if active {
            self.watch.keep();
        }
        let again = if active || !self.watch.rest(state) {
            Some(LOOK)
        } else {
            (!inner.at.is_empty()).then_some(LOOK_STALLED)
        };
        (again, remarks)
    }

    /// A remark of the last look could not be said: the next one makes it anew.
    pub(crate) fn unsaid(&self, remark: &Note) {
        if matches!(remark, Note::NobodyServes { .. }) {
            lock(&self.inner).said_full = false;
        }
    }

    /// How many threads are to be started, so that one is always free. They count as started.
    pub(crate) fn wanted(&self) -> usize {
        let mut inner = lock(&self.inner);
        let work = inner.jobs.len() + usize::from(inner.receiver_wanted);
        let room = inner.most.saturating_sub(inner.threads);
        let wanted = (work + 1).saturating_sub(inner.idle).min(room);
        inner.threads += wanted;
        wanted
    }

    /// So many threads could not be started after all; how many there are.
    pub(crate) fn unstarted(&self, count: usize) -> usize {
        let mut inner = lock(&self.inner);
        inner.threads -= count;
        inner.threads
    }

    /// Whether a thread is wanted and none is free to take the part.
    pub(crate) fn is_short(&self) -> bool {
        let inner = lock(&self.inner);
        inner.receiver_wanted && inner.idle == 0
    }

    /// All threads end when they are done with what they are at.
    pub(crate) fn close(&self) {
        lock(&self.inner).closing = true;
        self.work.notify_all();
    }

    /// Whether all threads are to end.
    pub(crate) fn is_closing(&self) -> bool {
        lock(&self.inner).closing
    }
}

impl Inner {
    /// Time in which nobody looked is not what calls have stalled for.
    fn forgive(&mut self, now: Instant) {
        let lost = self.looked.map_or(Duration::ZERO, |looked| now - looked);
        self.looked = Some(now);
        if lost > LOST {
            for at in self.at.values_mut() {
                at.since = (at.since + lost).min(now);
            }
        }
    }

    /// What concerns all programs comes first: who says it takes only so much at a time.
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
                // One that has just begun may be over at once.
                let stalled = late.iter().filter(|at| at.pid == pid).count();
                let calls = stalled + held_back;
                remarks.push(Note::Stalled { pid, nr, calls });
            }
        }
        remarks
    }

    /// Whether every thread there may be stands still with a call.
    fn is_full(&self) -> bool {
        self.receiver_wanted && self.at.len() >= self.most && self.at.values().all(At::stalls)
    }
}
