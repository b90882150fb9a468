//! Device files and dma-bufs in a program's epoll sets.
//!
//! The kernel cannot watch a device file or a dma-buf of the supervisor: both are memfds, which epoll refuses.
//! Instead the supervisor adds a substitute object to the program's set: a socket that is always readable and
//! writable and has urgent data. The entry has the data (`epoll_data`) that the program gave. The supervisor sets
//! the entry's mask to those requested conditions that the device currently meets, and the kernel reports this mask.
//! So each device has one entry, which reports one event with all its conditions, as on Linux. The kernel itself
//! serves the program's epoll_wait. A mask cannot hide POLLERR. So while the device is in error, and only then, an
//! object that is in error replaces the socket. For POLLHUP there is a third object.
//!
//! With EPOLLONESHOT, the kernel disarms an entry when it delivers an event, and a change of the mask would arm it
//! again. So an entry that can only be readable has a socket of its own. Before a change, the supervisor makes this
//! socket unreadable, so that no event can be delivered any more, and then looks whether one was. For an entry that
//! reports other conditions, too, an event may come between the look and the change, and then comes twice.
//!
//! The mask changes with the device's state. With EPOLLET the mask changes only when the device wakes
//! its waiters, since each change is an edge. For buffers, EPOLLET has no effect: a dma-buf that polls
//! as ready wakes its own waiters, so every wait reports its state. The masks are decided under the
//! lock of all devices. [Threads](changes) then change the sets without that lock.
//!
//! Before a close that may end a file, its entries leave their sets. If the file stays, for example in a socket's
//! queue, they return. If the set had an event when the entries left, an entry with EPOLLET may report its state
//! once more.
//!
//! A dma-buf that was exported several times is one file to the supervisor and several files to a
//! program. If the program closes one of these files, the entry stays until all of them are closed.

mod changes;
mod objects;
mod sweep;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{self, Receiver};

use vb3_frontend::{Backend, Errno};

use crate::descriptors::{
    CONDITIONS, Cause, EDGES, ERR, KnownSets, Member, Members, SetId, Sought, Table, Watched,
};
use crate::kernel::{EpollOp as Op, MayBlock};
use crate::waiting::poll::{Asker, poll_ours};
pub(crate) use changes::Changed;
use changes::{Change, Changes, Key, Series, SetFile, Shared, Shown};
use objects::Objects;

const ONESHOT: u32 = libc::EPOLLONESHOT.cast_unsigned();
const EXCLUSIVE: u32 = libc::EPOLLEXCLUSIVE.cast_unsigned();
/// Bits of an entry's events that select how conditions are reported.
const WAYS: u32 = EDGES | ONESHOT | EXCLUSIVE | libc::EPOLLWAKEUP.cast_unsigned();
/// Bits that are allowed with EPOLLEXCLUSIVE.
///
/// Source: Linux 7.2 fs/eventpoll.c `EPOLLEXCLUSIVE_OK_BITS`.
const BESIDE_EXCLUSIVE: u32 = EXCLUSIVE
    | EDGES
    | ERR
    | (libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLHUP).cast_unsigned()
    | libc::EPOLLWAKEUP.cast_unsigned();

#[derive(Debug)]
struct Set {
    file: Arc<SetFile>,
    entries: usize,
    /// The number of the last `epoll_ctl` on this set.
    used: u64,
}

/// Returns the bits of `WAYS` that have no effect for a file.
///
/// Source: Linux 7.2 drivers/dma-buf/dma-buf.c `dma_buf_poll`, which calls `dma_buf_poll_cb` itself
/// if no fence is pending; measured on 6.12 and 7.2.
const fn unknown_ways(file: Watched) -> u32 {
    match file {
        Watched::Device(_) => 0,
        Watched::Buffer(_) => EDGES,
    }
}

/// Returns which of the conditions in `asked` a file meets. If a device file meets none, the backend records
/// that the program waits.
fn holds(backend: &mut dyn Backend, file: Watched, asked: i16, by: Asker) -> i16 {
    let now = poll_ours(backend, file, asked, by);
    if let (0, Watched::Device(file)) = (now, file) {
        backend.poll_waits(file, asked);
    }
    // The object for POLLHUP is also in error, so the mask has both.
    if now & libc::POLLHUP != 0 {
        now | libc::POLLERR
    } else {
        now
    }
}

/// A program's `epoll_ctl` in progress.
#[derive(Debug)]
pub(crate) struct Control {
    set: SetId,
    key: Key,
    op: Op,
    made: Receiver<Result<(), Errno>>,
    queue: Arc<Shared>,
}

impl Control {
    /// Makes the change, or waits for the thread that does. Like the kernel's epoll_ctl, waits while a program
    /// holds the set's lock.
    pub(crate) fn make(&self, may: &MayBlock) -> Result<(), Errno> {
        self.queue.help(self.set, may);
        self.made.recv().unwrap_or(Err(Errno(libc::ENOMEM)))
    }
}

/// Programs' sets that have entries of device files or buffers. The table of files has the entries themselves.
#[derive(Default)]
pub(crate) struct Epolls {
    objects: Option<Arc<Objects>>,
    sets: HashMap<SetId, Set>,
    known: KnownSets,
    next: u64,
    changes: u64,
    sweep_at: usize,
    /// The changes of sets that threads have yet to make.
    queue: Changes,
    /// Changes of sets that were queued since the last call of [`take_caused`](Self::take_caused), except removals
    /// of ended files.
    caused: Vec<Series>,
    /// Pending changes that remove ended files from sets. They stay in this list until they are made, and all
    /// answers wait for them: if a file ends with its process, no call of this process could wait.
    ends: Vec<Series>,
}

impl Epolls {
    /// Returns whether no set has entries.
    pub(crate) fn is_empty(&self) -> bool {
        self.sets.is_empty()
    }

    /// Returns whether the system has refused a thread that changes sets. Then [`retry`](Self::retry) must be called
    /// soon.
    pub(crate) fn is_refused(&self) -> bool {
        self.queue.is_refused()
    }

    /// Tries again to start the threads that change sets, if the system has refused one.
    pub(crate) fn retry(&self) {
        self.queue.retry();
    }

    /// Returns a waiter for the changes since the last call, and for all removals of ended files.
    pub(crate) fn take_caused(&mut self) -> Changed {
        self.queue.keep_awaited(&mut self.ends);
        let mut caused = core::mem::take(&mut self.caused);
        caused.extend(&self.ends);
        match caused.is_empty() {
            true => Changed::default(),
            false => self.queue.waiter(caused),
        }
    }

    fn cause(&mut self, set: SetId, key: Key, change: Change) {
        let Some(set) = self.sets.get(&set) else {
            return;
        };
        let is_end = matches!(change, Change::Forget);
        let series = self.queue.add(&set.file, key, change);
        let list = match is_end {
            true => &mut self.ends,
            false => &mut self.caused,
        };
        list.push(series);
    }

    /// Updates the masks of a file's entries in all sets.
    pub(crate) fn update(
        &mut self,
        table: &mut Table,
        file: Watched,
        cause: Cause,
        backend: &mut dyn Backend,
    ) {
        // A file's entries mostly ask for the same conditions, so the latest result is used again.
        let mut known: Option<(i16, i16)> = None;
        for ((set, number), entry) in table.members(file) {
            if entry.is_parked {
                entry.was_woken |= cause == Cause::Wake;
                continue;
            }
            let asked = entry.asked();
            let now = match known {
                Some((of, now)) if of == asked => now,
                _ => holds(backend, file, asked, Asker::Supervisor),
            };
            known = Some((asked, now));
            if let Some(is_edge) = entry.follow(now, cause) {
                self.cause(*set, (file, *number), Change::Show(Shown { now, is_edge }));
            }
        }
    }

    /// Removes the former entries of an ended file from their sets.
    pub(crate) fn forget(&mut self, file: Watched, entries: Members) {
        for (set, number) in entries.into_keys() {
            self.cause(set, (file, number), Change::Forget);
            self.count_down(set);
        }
    }

    /// Decrements a set's count of entries. Drops the set if it has no entry left.
    fn count_down(&mut self, id: SetId) {
        let Some(set) = self.sets.get_mut(&id) else {
            return;
        };
        set.entries = set.entries.saturating_sub(1);
        if set.entries == 0 {
            self.drop_sets(|of| of == id);
        }
    }

    fn drop_sets(&mut self, is_gone: impl Fn(SetId) -> bool) {
        self.sets.retain(|id, _| !is_gone(*id));
        self.known.retain(|id| !is_gone(id));
    }

    /// Removes a file's entries from their sets, because its last descriptor is about to be closed.
    pub(crate) fn park(&mut self, table: &mut Table, file: Watched) {
        for ((set, number), entry) in table.members(file) {
            if !core::mem::replace(&mut entry.is_parked, true) {
                self.cause(*set, (file, *number), Change::Park);
            }
        }
    }

    /// Adds a file's entries again, because a descriptor of it remains.
    pub(crate) fn unpark(&mut self, table: &mut Table, file: Watched, backend: &mut dyn Backend) {
        let entries = table.members(file).filter(|(_, entry)| entry.is_parked);
        for ((set, number), entry) in entries {
            let now = holds(backend, file, entry.asked(), Asker::Supervisor);
            entry.shown = u32::from(now.cast_unsigned()) & CONDITIONS;
            entry.is_parked = false;
            let is_edge = core::mem::take(&mut entry.was_woken);
            self.cause(*set, (file, *number), Change::Show(Shown { now, is_edge }));
        }
    }

    /// Returns the sets that are known now.
    pub(crate) fn known(&self) -> KnownSets {
        self.known.clone()
    }

    /// Returns whether the result of a search still holds.
    fn holds_still(&self, sought: &Sought) -> bool {
        match &sought.at {
            Ok(id) => self.sets.contains_key(id),
            Err((_, among)) => self.known.is(among),
        }
    }

    /// Returns the set that was sought, or adds a new set. Fails with NOT_GATHERED if the set must be sought again,
    /// since other calls have changed the known sets.
    fn identify(&mut self, sought: Sought) -> Result<SetId, Errno> {
        if !self.holds_still(&sought) {
            return Err(Errno::NOT_GATHERED);
        }
        let at = match sought.at {
            Ok(known) => return Ok(known),
            Err((at, _)) => at,
        };
        let objects = match &self.objects {
            Some(objects) => Arc::clone(objects),
            None => Arc::clone(self.objects.insert(Arc::new(Objects::new()?))),
        };
        self.next += 1;
        let id = SetId(self.next);
        let fd = self.known.add(at, id, sought.fd);
        let set = Set {
            file: Arc::new(SetFile::new(id, fd, &objects, &self.known)),
            entries: 0,
            used: self.changes,
        };
        self.sets.insert(id, set);
        Ok(id)
    }

    /// Begins a program's `epoll_ctl`. The tuple is the set, and the calling process. Returns EINVAL, EEXIST, the errors
    /// of descriptors, and NOT_GATHERED if the set must be sought again.
    pub(crate) fn change(
        &mut self,
        table: &mut Table,
        key: Key,
        (set, pid): (Sought, u32),
        op: Op,
        (events, data): (u32, u64),
        backend: &mut dyn Backend,
    ) -> Result<Control, Errno> {
        let wrong = op == Op::Modify || events & !BESIDE_EXCLUSIVE != 0;
        if op != Op::Delete && events & EXCLUSIVE != 0 && wrong {
            return Err(Errno(libc::EINVAL));
        }
        self.changes += 1;
        let events = events & !unknown_ways(key.0);
        let id = self.identify(set)?;
        let now = self.change_in(table, (id, key), op, events, backend)?;
        let (done, made) = mpsc::sync_channel(1);
        if let Some(set) = self.sets.get_mut(&id) {
            set.used = self.changes;
            set.file.user.store(pid, Relaxed);
            let change = Change::Control(op, (events, data), now, done);
            // Not recorded with `cause`: the call waits for its result anyway.
            self.queue.add(&set.file, key, change);
        }
        Ok(Control {
            set: id,
            key,
            op,
            made,
            queue: Arc::clone(&self.queue.0),
        })
    }

    /// Records the entry of an `epoll_ctl`. Returns the conditions that the entry must report.
    fn change_in(
        &mut self,
        table: &mut Table,
        (id, (file, number)): (SetId, Key),
        op: Op,
        events: u32,
        backend: &mut dyn Backend,
    ) -> Result<i16, Errno> {
        let Some(set) = self.sets.get_mut(&id) else {
            return Err(Errno(libc::EINVAL));
        };
        let known = table.member(file, (id, number));
        let known = known.filter(|entry| !entry.is_parked);
        let mut entry = Member {
            events,
            ..Member::default()
        };
        let now = match (op, known) {
            (Op::Add, Some(_)) => return Err(Errno(libc::EEXIST)),
            (Op::Modify, Some(entry)) if entry.events & EXCLUSIVE != 0 => {
                return Err(Errno(libc::EINVAL));
            }
            (Op::Add, None) | (Op::Modify, Some(_)) => {
                holds(backend, file, entry.asked(), Asker::Program)
            }
            (Op::Modify, None) | (Op::Delete, _) => return Ok(0),
        };
        entry.shown = u32::from(now.cast_unsigned()) & CONDITIONS;
        let is_new = table.add_member(file, (id, number), entry);
        set.entries += usize::from(is_new);
        Ok(now)
    }

    /// Ends a program's `epoll_ctl` with its result. Forgets an entry that was deleted or not added.
    pub(crate) fn end_change(
        &mut self,
        table: &mut Table,
        control: &Control,
        made: Result<(), Errno>,
    ) {
        let (id, (file, number)) = (control.set, control.key);
        let is_gone = match control.op {
            Op::Add => made.is_err(),
            Op::Delete => made.is_ok(),
            Op::Modify => false,
        };
        if is_gone && table.remove_member(file, (id, number)) {
            return self.count_down(id);
        }
        // The descriptor is no epoll set, or the set has no entry of the supervisor.
        if self.sets.get(&id).is_some_and(|set| set.entries == 0) {
            self.drop_sets(|of| of == id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::os::fd::OwnedFd;

    /// Makes an empty epoll set.
    pub(super) fn a_set() -> OwnedFd {
        let flags = rustix::event::epoll::CreateFlags::CLOEXEC;
        rustix::event::epoll::create(flags).expect("a set")
    }

    /// Two threads add files to one set, which nobody knows yet.
    #[test]
    fn a_set_that_another_call_has_added_is_sought_again() {
        let may = MayBlock::of_this_thread();
        let mut epolls = Epolls::default();
        let (set, other) = (a_set(), a_set());
        let seek = |epolls: &Epolls, set: &OwnedFd| {
            let copy = set.try_clone().expect("a copy");
            epolls.known().seek(&may, copy)
        };
        let (first, second) = (seek(&epolls, &set), seek(&epolls, &set));
        let id = epolls.identify(first).expect("a new set");
        assert_eq!(epolls.identify(second), Err(Errno::NOT_GATHERED));
        let sought = seek(&epolls, &set);
        if sought.at.is_err() {
            vb3_skip::skip("this kernel compares no files");
            return;
        }
        // A known set is found even if others have come meanwhile.
        let sought_other = seek(&epolls, &other);
        let another = epolls.identify(sought_other).expect("another set");
        assert_ne!(id, another);
        assert_eq!(epolls.identify(sought), Ok(id));
        let sought = seek(&epolls, &set);
        epolls.drop_sets(|of| of == id);
        assert_eq!(epolls.identify(sought), Err(Errno::NOT_GATHERED));
    }
}
