//! Changes of programs' epoll sets, made without the one lock that guards all devices.
//!
//! During a program's epoll_wait, the kernel holds the set's lock while it polls the set's files and while it
//! writes events to the program's memory. Both may take long, since a program may implement the file (FUSE) or the
//! page (userfaultfd). `epoll_ctl` and a read of the set's `fdinfo` wait for the set's lock. So separate threads
//! make the changes of each set in order. The thread that serves a program's `epoll_ctl` makes this change itself,
//! unless another thread is changing the set. A program's call is answered only after the changes that the call
//! caused in all sets. These include sets of other processes, since a process can have got any set by fork or over
//! a socket. This wait is limited, since the caller may be the very thread that implements the file or the page. If
//! an answer has waited until the limit, later answers do not wait for this set, until none of its changes is
//! pending. The limit is lower for a process that is not the set's last user, so that this process loses no frame
//! by a set that another process blocks. But neither limit ends the wait for a thread that merely lacks a CPU.

use std::collections::{HashMap, VecDeque};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::epoll::{EventData, EventFlags};
use vb3_frontend::Errno;

use super::objects::{Object, Objects, Switch};
use super::{EXCLUSIVE, ONESHOT, Op, WAYS};
use crate::descriptors::{
    CONDITIONS, EDGES, KnownSets, ObjectsInSets, SetId, UNASKED, Watched, sets,
};
use crate::kernel::{MayBlock, Workers, blocked_waits, lock, may_block, own_tid, raw};

const MAX_THREADS: usize = 64;
/// Longest time that an answer waits for changes.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(1);
/// Longest time that an answer waits for changes of a set whose last user is another process, if the thread that makes
/// them waits too.
const OTHERS_TIMEOUT: Duration = Duration::from_millis(20);

/// Longest time that an answer waits for a thread that makes changes and lacks a CPU.
const NO_CPU_TIMEOUT: Duration = Duration::from_secs(10);

/// An entry of a set: its file, and the descriptor number under which the program added it.
pub(super) type Key = (Watched, i32);

/// The conditions that an entry reports. `is_edge` says whether the device has woken its waiters or the program has
/// just set the entry: only then does an entry with EPOLLET report another event.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shown {
    pub(super) now: i16,
    pub(super) is_edge: bool,
}

impl Shown {
    const fn edge(now: i16) -> Self {
        Self { now, is_edge: true }
    }
}

#[derive(Debug)]
pub(super) enum Change {
    /// Makes the program's own `epoll_ctl` with these events and data. The entry then reports the conditions in the
    /// third field. Sends the result to the thread that answers the call.
    Control(Op, (u32, u64), i16, SyncSender<Result<(), Errno>>),
    /// Sets the conditions that the entry reports.
    Show(Shown),
    /// Removes the entry from its set; `Show` adds it again.
    Park,
    /// Removes the entry from its set, and forgets it.
    Forget,
    /// Blocks the thread in a read until a test closes the other end.
    #[cfg(test)]
    Hold(std::io::PipeReader),
    /// Delays the thread, as if it lacked a CPU.
    #[cfg(test)]
    Delay(Duration),
}

/// A program's set, with the entries that only the threads of this module change.
#[derive(Debug)]
pub(super) struct SetFile {
    pub(super) id: SetId,
    pub(super) fd: Arc<OwnedFd>,
    /// The process that made the last `epoll_ctl`.
    pub(super) user: AtomicU32,
    objects: Arc<Objects>,
    numbers: Arc<ObjectsInSets>,
    entries: Mutex<HashMap<Key, Standing>>,
}

/// An entry of a set, with the object (a socket or file of the supervisor) that stands in for its device.
#[derive(Debug)]
struct Standing {
    events: u32,
    data: u64,
    object: OwnedFd,
    which: Object,
    switch: Option<Switch>,
    /// The conditions that the entry was last told to report, as bits of epoll's event mask.
    shown: u32,
    /// Whether the entry can still report: false once the only event of EPOLLONESHOT was delivered.
    is_armed: bool,
    /// Whether the object is in the set.
    is_in: bool,
    /// Whether the set had no event when the object was removed from it. The last event of this entry, which has
    /// EPOLLET, was then delivered.
    is_quiet: bool,
    numbers: Arc<ObjectsInSets>,
}

impl Standing {
    /// Makes an object of this entry's own readable, or not.
    fn turn(&mut self, is_on: bool) {
        if let Some(switch) = &mut self.switch {
            switch.set(&self.object, is_on);
        }
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        lock(&self.numbers).remove(&self.object.as_raw_fd());
    }
}

impl SetFile {
    pub(super) fn new(
        id: SetId,
        fd: Arc<OwnedFd>,
        objects: &Arc<Objects>,
        known: &KnownSets,
    ) -> Self {
        Self {
            id,
            fd,
            user: AtomicU32::default(),
            objects: Arc::clone(objects),
            numbers: known.objects(),
            entries: Mutex::default(),
        }
    }

    fn make(&self, may: &MayBlock, key: Key, change: Change) {
        let mut entries = lock(&self.entries);
        match change {
            Change::Control(op, asked, now, done) => {
                let made = self.control(may, &mut entries, key, op, asked, now);
                // The receiver is missing if no thread waits for the result any more.
                done.send(made).ok();
            }
            Change::Show(shown) => {
                if let Some(entry) = entries.get_mut(&key) {
                    // Ignores errors: the set exists, and had this entry before.
                    self.follow(may, entry, shown).ok();
                }
            }
            Change::Park => {
                if let Some(entry) = entries.get_mut(&key) {
                    // When the entry is removed, the kernel forgets whether the entry is armed. So this is recorded
                    // first.
                    self.note_disarmed(may, entry);
                    self.take_out(may, entry).ok();
                }
            }
            Change::Forget => {
                if let Some(mut entry) = entries.remove(&key) {
                    self.take_out(may, &mut entry).ok();
                }
            }
            #[cfg(test)]
            Change::Hold(mut until) => drop(std::io::Read::read(&mut until, &mut [0])),
            #[cfg(test)]
            Change::Delay(time) => std::thread::park_timeout(time),
        }
    }

    fn control(
        &self,
        may: &MayBlock,
        entries: &mut HashMap<Key, Standing>,
        key: Key,
        op: Op,
        (events, data): (u32, u64),
        now: i16,
    ) -> Result<(), Errno> {
        match (op, entries.get_mut(&key)) {
            (Op::Add, _) => {
                let which = Object::of(u32::from(now.cast_unsigned()), events);
                let (object, switch) = self.object(which)?;
                let mut entry = Standing {
                    events,
                    data,
                    object,
                    which,
                    switch,
                    shown: 0,
                    is_armed: true,
                    is_in: false,
                    is_quiet: false,
                    numbers: Arc::clone(&self.numbers),
                };
                self.show(may, &mut entry, Shown::edge(now))?;
                entries.insert(key, entry);
                Ok(())
            }
            (Op::Modify, Some(entry)) => {
                (entry.events, entry.data, entry.is_armed) = (events, data, true);
                self.show(may, entry, Shown::edge(now))
            }
            (Op::Delete, Some(entry)) => {
                self.take_out(may, entry)?;
                entries.remove(&key);
                Ok(())
            }
            // There is no such entry. If the descriptor is no epoll set, the kernel's error (EINVAL) comes
            // before ENOENT.
            (Op::Modify | Op::Delete, None) => {
                match may_block::epoll_ctl(may, &self.fd, op, &self.objects.ready, None) {
                    Err(e) => Err(e),
                    Ok(()) => Err(Errno(libc::ENOENT)),
                }
            }
        }
    }

    /// Returns an object for a new entry, and records its number.
    fn object(&self, which: Object) -> Result<(OwnedFd, Option<Switch>), Errno> {
        let (object, switch) = self.objects.one(which)?;
        let (id, _) = raw::known(object.as_fd())?;
        lock(&self.numbers).insert(object.as_raw_fd(), (self.id, id.ino));
        Ok((object, switch))
    }

    /// Sets the reported conditions, unless the only event of EPOLLONESHOT was delivered.
    fn follow(&self, may: &MayBlock, entry: &mut Standing, mut shown: Shown) -> Result<(), Errno> {
        self.note_disarmed(may, entry);
        shown.is_edge |= entry.events & EDGES == 0;
        match entry.is_armed {
            true => self.show(may, entry, shown),
            false => Ok(()),
        }
    }

    /// Records whether the only event of EPOLLONESHOT was delivered.
    fn note_disarmed(&self, may: &MayBlock, entry: &mut Standing) {
        let may_be_over = entry.events & ONESHOT != 0 && entry.shown != 0 && entry.is_in;
        if entry.is_armed && may_be_over {
            // From now on, no event can be delivered.
            entry.turn(false);
            entry.is_armed = !sets::is_disarmed(may, &self.fd, &entry.object);
        }
    }

    /// Sets the reported conditions. Takes another object if the present one does not meet these conditions,
    /// for example POLLERR. Adds the entry to the set if it was removed. Without an edge, the entry reports only
    /// an event that was not delivered yet.
    fn show(&self, may: &MayBlock, entry: &mut Standing, shown: Shown) -> Result<(), Errno> {
        let Shown { now, is_edge } = shown;
        let mask = u32::from(now.cast_unsigned()) & CONDITIONS;
        let which = Object::of(mask, entry.events);
        if !is_edge && entry.is_in && (which, mask) == (entry.which, entry.shown) {
            entry.turn(mask & !UNASKED != 0);
            return Ok(());
        }
        if which != entry.which || entry.events & EXCLUSIVE != 0 {
            self.take_out(may, entry)?;
        }
        if which != entry.which {
            let (object, switch) = self.object(which)?;
            lock(&self.numbers).remove(&entry.object.as_raw_fd());
            (entry.object, entry.switch, entry.which) = (object, switch, which);
        }
        let (op, is_over) = match entry.is_in {
            true => (Op::Modify, false),
            false => (Op::Add, !is_edge && entry.is_quiet),
        };
        let told = if is_over { 0 } else { mask & !UNASKED };
        let events = told | entry.events & WAYS;
        let event = (
            EventData::new_u64(entry.data),
            EventFlags::from_bits_retain(events),
        );
        may_block::epoll_ctl(may, &self.fd, op, &entry.object, Some(event))?;
        (entry.is_in, entry.shown) = (true, mask);
        entry.turn(told != 0);
        Ok(())
    }

    fn take_out(&self, may: &MayBlock, entry: &mut Standing) -> Result<(), Errno> {
        if core::mem::take(&mut entry.is_in) {
            entry.is_quiet = entry.events & EDGES != 0
                && may_block::poll(may, &[(&self.fd, libc::POLLIN)]) == [0];
            may_block::epoll_ctl(may, &self.fd, Op::Delete, &entry.object, None)?;
        }
        Ok(())
    }
}

/// Identifies a series of changes of one set, from the first one until none is pending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Series {
    set: SetId,
    number: u64,
}

/// The pending changes of one set.
#[derive(Debug)]
struct Work {
    series: Series,
    file: Arc<SetFile>,
    changes: VecDeque<(Key, Change)>,
    /// Whether a thread makes these changes, or will.
    is_taken: bool,
    /// The thread that makes these changes.
    by: Option<u32>,
    /// Whether a thread waits for the end of the series.
    is_waited_for: bool,
    /// Whether an answer to a call has waited for these changes until the timeout. Later answers do not wait.
    is_late: bool,
    /// Whether an answer to a process that is not the set's last user has waited until the shorter timeout. Later
    /// answers to processes other than the last user do not wait.
    is_late_for_others: bool,
}

#[derive(Debug, Default)]
struct Queue {
    /// The sets with changes that are pending or in progress.
    works: HashMap<SetId, Work>,
    next: u64,
}

impl Queue {
    /// Adds a change. A `Show` or `Park` replaces the entry's last pending change if that is also a `Show` or
    /// `Park`, so that a blocked set's queue does not grow.
    fn add(&mut self, file: &Arc<SetFile>, key: Key, change: Change) -> &mut Work {
        let work = self.works.entry(file.id).or_insert_with(|| {
            self.next += 1;
            Work {
                series: Series {
                    set: file.id,
                    number: self.next,
                },
                file: Arc::clone(file),
                changes: VecDeque::new(),
                is_taken: false,
                by: None,
                is_waited_for: false,
                is_late: false,
                is_late_for_others: false,
            }
        });
        let mut of_entry = work.changes.iter_mut().rev().filter(|(of, _)| *of == key);
        match (of_entry.next(), &change) {
            (Some((_, Change::Show(last))), Change::Show(shown)) => {
                last.is_edge |= shown.is_edge;
                last.now = shown.now;
            }
            (
                Some((_, last @ (Change::Show(..) | Change::Park))),
                Change::Show(..) | Change::Park,
            ) => *last = change,
            _ => work.changes.push_back((key, change)),
        }
        work
    }

    /// Returns the changes of this series; `None` if they are made.
    fn find(&mut self, series: Series) -> Option<&mut Work> {
        let work = self.works.get_mut(&series.set);
        work.filter(|work| work.series == series)
    }

    /// Returns whether the answer to a call must still wait for a series.
    fn is_awaited(&mut self, series: Series) -> bool {
        self.find(series).is_some_and(|work| !work.is_late)
    }
}

#[derive(Debug, Default)]
pub(super) struct Shared {
    queue: Mutex<Queue>,
    /// Signalled at the end of a series that a thread waits for.
    made: Condvar,
    /// Whether changes wait because the system has refused their thread.
    is_refused: AtomicBool,
}

impl Shared {
    /// Makes a set's changes, unless another thread does.
    pub(super) fn help(&self, set: SetId, may: &MayBlock) {
        let mut queue = lock(&self.queue);
        let work = queue.works.get_mut(&set);
        let is_free = work.is_some_and(|work| !core::mem::replace(&mut work.is_taken, true));
        drop(queue);
        if is_free {
            self.work_on(set, may);
        }
    }

    fn work_on(&self, set: SetId, may: &MayBlock) {
        let mut queue = lock(&self.queue);
        while let Some(work) = queue.works.get_mut(&set) {
            work.by = Some(own_tid());
            let Some((key, change)) = work.changes.pop_front() else {
                if work.is_waited_for {
                    self.made.notify_all();
                }
                queue.works.remove(&set);
                return;
            };
            let file = Arc::clone(&work.file);
            drop(queue);
            file.make(may, key, change);
            drop(file);
            queue = lock(&self.queue);
        }
    }
}

/// The pending changes, and the threads that make them. Its drop makes the changes and ends the threads, which
/// hold descriptors of sets.
pub(super) struct Changes(pub(super) Arc<Shared>, Workers);

impl Default for Changes {
    fn default() -> Self {
        Self(Arc::default(), Workers::new("vb3-sets", MAX_THREADS))
    }
}

impl Changes {
    /// Adds a change, and starts a thread for it if none is idle. A program's `epoll_ctl` needs no thread: its
    /// caller makes the change by [`Shared::help`]. Returns the change's series.
    pub(super) fn add(&self, file: &Arc<SetFile>, key: Key, change: Change) -> Series {
        let is_call = matches!(change, Change::Control(..));
        let mut queue = lock(&self.0.queue);
        let work = queue.add(file, key, change);
        if !work.is_taken && !is_call {
            self.take(work);
        }
        work.series
    }

    /// Lets a thread make a set's changes.
    fn take(&self, work: &mut Work) {
        let (shared, set) = (Arc::clone(&self.0), work.file.id);
        work.is_taken = self.1.add(usize::MAX, move |may| shared.work_on(set, may));
        if !work.is_taken {
            self.0.is_refused.store(true, Ordering::Relaxed);
        }
    }

    /// Returns whether [`retry`](Self::retry) must be called soon.
    pub(super) fn is_refused(&self) -> bool {
        self.0.is_refused.load(Ordering::Relaxed)
    }

    /// Tries again to start threads, if the system has refused one.
    pub(super) fn retry(&self) {
        if self.0.is_refused.swap(false, Ordering::Relaxed) {
            let mut queue = lock(&self.0.queue);
            let works = queue.works.values_mut();
            works
                .filter(|work| !work.is_taken)
                .for_each(|work| self.take(work));
        }
    }

    /// Keeps only the series that an answer must still wait for.
    pub(super) fn keep_awaited(&self, all: &mut Vec<Series>) {
        if !all.is_empty() {
            let mut queue = lock(&self.0.queue);
            all.retain(|series| queue.is_awaited(*series));
        }
    }

    pub(super) fn waiter(&self, all: Vec<Series>) -> Changed {
        Changed(Some((Arc::clone(&self.0), all)))
    }
}

/// Changes that a program's call caused, and that must be made before the call is answered.
#[derive(Clone, Debug, Default)]
pub(crate) struct Changed(Option<(Arc<Shared>, Vec<Series>)>);

impl Changed {
    /// Returns whether the call's answer must still wait for some of these changes.
    pub(crate) fn is_awaited(&self) -> bool {
        self.0.as_ref().is_some_and(|(shared, all)| {
            let mut queue = lock(&shared.queue);
            all.iter().any(|series| queue.is_awaited(*series))
        })
    }

    /// Waits until these changes are made, before a call of process `pid` is answered. The time is limited, since a
    /// program may hold a set's lock.
    pub(crate) fn wait(self, _: &MayBlock, pid: impl FnOnce() -> u32) {
        let Some((shared, mut all)) = self.0 else {
            return;
        };
        let (start, pid) = (Instant::now(), pid());
        let mut queue = lock(&shared.queue);
        // The last series usually ends last.
        while let Some(last) = all.last() {
            let Some(work) = queue.find(*last) else {
                all.pop();
                continue;
            };
            let (is_late, limit) = match work.file.user.load(Ordering::Relaxed) == pid {
                true => (&mut work.is_late, CHANGE_TIMEOUT),
                false => (&mut work.is_late_for_others, OTHERS_TIMEOUT),
            };
            let passed = start.elapsed();
            let mut left = limit.saturating_sub(passed);
            if left.is_zero() {
                let (is_blocked, most) = match work.by {
                    Some(by) => (blocked_waits(by).is_some(), NO_CPU_TIMEOUT),
                    None => (false, CHANGE_TIMEOUT),
                };
                left = if is_blocked || passed >= most {
                    left
                } else {
                    limit
                };
            }
            *is_late |= left.is_zero();
            if *is_late || work.is_late {
                all.pop();
                continue;
            }
            work.is_waited_for = true;
            let waited = shared.made.wait_timeout(queue, left);
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

#[cfg(test)]
mod tests {
    use vb3_frontend::FileId;

    use super::super::tests::a_set;
    use super::*;

    const FILE: Key = (Watched::Device(FileId(1)), 3);
    const OTHER: Key = (Watched::Device(FileId(1)), 4);

    /// Makes the queue and two sets, which process 7 uses.
    fn two_sets() -> (Changes, [Arc<SetFile>; 2]) {
        let objects = Arc::new(Objects::new().expect("objects"));
        let set = |id| {
            let fd = Arc::new(a_set());
            let set = SetFile::new(SetId(id), fd, &objects, &KnownSets::default());
            set.user.store(7, Ordering::Relaxed);
            Arc::new(set)
        };
        (Changes::default(), [set(1), set(2)])
    }

    fn control(op: Op, now: i16) -> (Change, std::sync::mpsc::Receiver<Result<(), Errno>>) {
        let (done, made) = std::sync::mpsc::sync_channel(1);
        let asked = (libc::EPOLLIN.cast_unsigned(), 7);
        (Change::Control(op, asked, now, done), made)
    }

    fn is_ready(set: &SetFile) -> bool {
        raw::poll_now(set.fd.as_fd(), libc::POLLIN) != 0
    }

    #[test]
    fn a_held_set_delays_no_other() {
        let may = MayBlock::of_this_thread();
        let (changes, [held, free]) = two_sets();
        let (until, go) = std::io::pipe().expect("a pipe");
        changes.add(&held, FILE, Change::Hold(until));
        let (add, held_made) = control(Op::Add, 0);
        let late = changes.add(&held, FILE, add);
        // Another thread is changing this set.
        changes.0.help(held.id, &may);
        let (add, made) = control(Op::Add, 0);
        changes.add(&free, FILE, add);
        changes.0.help(free.id, &may);
        assert_eq!(made.recv(), Ok(Ok(())));
        let shown = changes.add(&free, FILE, Change::Show(Shown::edge(libc::POLLIN)));
        changes.waiter(vec![shown]).wait(&may, || 7);
        assert!(is_ready(&free));
        // The first answer waits for the blocked set until the timeout. Later answers do not wait. An answer to
        // another process does not end the wait of the set's user.
        changes.waiter(vec![late]).wait(&may, || 8);
        assert!(changes.waiter(vec![late]).is_awaited());
        changes.waiter(vec![late]).wait(&may, || 7);
        assert!(!changes.waiter(vec![late]).is_awaited());
        changes.add(&held, FILE, Change::Show(Shown::edge(libc::POLLIN)));
        drop(go);
        assert_eq!(held_made.recv(), Ok(Ok(())));
        changes.waiter(vec![late]).wait(&may, || 7);
    }

    /// The state changes while another thread takes events. Each arming has data of its own.
    #[test]
    fn a_oneshot_entry_reports_once_for_each_arming() {
        const ROUNDS: u64 = 3000;
        let may = MayBlock::of_this_thread();
        let (_changes, [set, _]) = two_sets();
        let is_over = AtomicBool::new(false);
        let taken = std::thread::scope(|scope| {
            let taker = scope.spawn(|| {
                let mut taken = HashMap::<u64, u32>::new();
                let mut events = [libc::epoll_event { events: 0, u64: 0 }; 4];
                while !is_over.load(Ordering::Relaxed) {
                    let soon = rustix::event::Timespec::default();
                    let found = raw::epoll_wait(set.fd.as_fd(), &mut events, Some(&soon));
                    for event in found.unwrap_or_default() {
                        *taken.entry(event.u64).or_default() += 1;
                    }
                }
                taken
            });
            for round in 0..ROUNDS {
                let op = if round == 0 { Op::Add } else { Op::Modify };
                let (done, made) = std::sync::mpsc::sync_channel(1);
                let events = libc::EPOLLIN.cast_unsigned() | ONESHOT;
                set.make(&may, FILE, Change::Control(op, (events, round), 0, done));
                assert_eq!(made.recv(), Ok(Ok(())));
                for now in [libc::POLLIN, 0, libc::POLLIN, 0, libc::POLLIN] {
                    set.make(&may, FILE, Change::Show(Shown::edge(now)));
                }
            }
            is_over.store(true, Ordering::Relaxed);
            taker.join().expect("it takes events")
        });
        assert!(
            !taken.is_empty() && taken.values().all(|times| *times == 1),
            "{taken:?}"
        );
    }

    #[test]
    fn an_answer_to_another_process_waits_for_a_cpu() {
        let may = MayBlock::of_this_thread();
        let (changes, [set, _]) = two_sets();
        let (add, _made) = control(Op::Add, 0);
        changes.add(&set, FILE, add);
        changes.0.help(set.id, &may);
        changes.add(&set, FILE, Change::Delay(3 * OTHERS_TIMEOUT));
        let shown = changes.add(&set, FILE, Change::Show(Shown::edge(libc::POLLIN)));
        changes.waiter(vec![shown]).wait(&may, || 8);
        assert!(is_ready(&set));
    }

    #[test]
    fn an_epoll_ctl_needs_no_thread() {
        let may = MayBlock::of_this_thread();
        let (changes, [set, _]) = two_sets();
        let (add, made) = control(Op::Add, libc::POLLIN);
        changes.add(&set, FILE, add);
        assert!(made.try_recv().is_err(), "nobody makes it");
        changes.0.help(set.id, &may);
        assert_eq!(made.try_recv(), Ok(Ok(())));
        assert!(is_ready(&set));
        // There is nothing left to help with.
        changes.0.help(set.id, &may);
    }

    #[test]
    fn changes_of_a_held_set_are_bounded() {
        let (changes, [held, _]) = two_sets();
        let (until, go) = std::io::pipe().expect("a pipe");
        changes.add(&held, FILE, Change::Hold(until));
        for n in 0..1000 {
            changes.add(&held, FILE, Change::Show(Shown::edge(n % 2)));
            changes.add(&held, OTHER, Change::Park);
        }
        let queue = lock(&changes.0.queue);
        let waiting = queue.works.get(&held.id).map(|work| work.changes.len());
        drop(queue);
        assert!(waiting.is_some_and(|n| n <= 3), "{waiting:?}");
        drop(go);
    }

    #[test]
    fn end_waits_for_pending_changes() {
        let (changes, [held, _]) = two_sets();
        let (until, go) = std::io::pipe().expect("a pipe");
        changes.add(&held, FILE, Change::Hold(until));
        drop(go);
        drop(changes);
        assert_eq!(Arc::strong_count(&held), 1, "no thread holds the set");
    }

    #[test]
    fn refused_thread_is_started_later() {
        let may = MayBlock::of_this_thread();
        let (mut changes, [set, _]) = two_sets();
        let (add, made) = control(Op::Add, 0);
        changes.add(&set, FILE, add);
        changes.0.help(set.id, &may);
        assert_eq!(made.recv(), Ok(Ok(())));
        // No thread is allowed, as if the system had refused the first one.
        changes.1 = Workers::new("none", 0);
        let shown = changes.add(&set, FILE, Change::Show(Shown::edge(libc::POLLIN)));
        changes.retry();
        assert!(changes.is_refused() && !is_ready(&set));
        changes.1 = Workers::new("one", 1);
        changes.retry();
        changes.waiter(vec![shown]).wait(&may, || 7);
        assert!(!changes.is_refused() && is_ready(&set));
    }

    #[test]
    fn ends_are_awaited_until_they_are_made() {
        let may = MayBlock::of_this_thread();
        let (changes, [set, _]) = two_sets();
        let (until, go) = std::io::pipe().expect("a pipe");
        changes.add(&set, FILE, Change::Hold(until));
        let mut ends = vec![changes.add(&set, FILE, Change::Forget)];
        for _ in 0..2 {
            changes.keep_awaited(&mut ends);
            assert_eq!(ends.len(), 1);
        }
        drop(go);
        changes.waiter(ends.clone()).wait(&may, || 7);
        changes.keep_awaited(&mut ends);
        assert_eq!(ends, []);
    }
}
