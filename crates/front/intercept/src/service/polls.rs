//! Serves poll, ppoll, select and pselect6, with device files and other files mixed.

use crate::descriptors::{Target, Watched};
use crate::kernel::{Borrowed, CharacterDevice, MayBlock, OpenFile, filesystems, nr, procs, raw};
use crate::memory::Foreign;
use crate::process::{Notif, Reply};
use crate::service::{Call, Served, Server, Verdict};
use crate::tree::word;
use crate::waiting::{
    Asker, Entry, FD_SETSIZE, Kind, MAX_POLLED, MAX_SELECTED, On, Polling, SETS, SHORT, Source,
    UNASKED, Waiting, poll_ours,
};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use vb3_frontend::Errno;

/// The calls that this module serves.
pub(crate) const CALLS: [i64; 4] = [nr::POLL, libc::SYS_ppoll, nr::SELECT, libc::SYS_pselect6];

fn pollfds(list: &[u8]) -> impl Iterator<Item = (i32, i16)> {
    list.as_chunks::<8>().0.iter().map(|b| {
        let fd = i32::from_ne_bytes([b[0], b[1], b[2], b[3]]);
        (fd, i16::from_ne_bytes([b[4], b[5]]))
    })
}

/// Looks at the files of a poll or select before the lock is taken, and copies the call's time and mask. Returns
/// false if none of the files can be a device's or a buffer, so that the kernel makes the call.
pub(crate) fn look_ahead(may: &MayBlock, n: &Call<'_>) -> bool {
    let Some(numbers) = numbers(may, n) else {
        return true;
    };
    let is_reserved = |fd: &i32| n.host.range.has(*fd);
    let is_long = numbers.len() > SHORT;
    if !numbers.iter().any(is_reserved) {
        if is_long && !n.host.outside.load(Ordering::Relaxed) {
            find_received(n, numbers.iter().copied());
        }
        let searches = !is_long || n.host.outside.load(Ordering::Relaxed);
        let may_be_ours = |fd: &i32| procs::may_be_of_ours(n.tid, *fd) == Some(true);
        if !searches || !numbers.iter().any(may_be_ours) {
            return false;
        }
    }
    gather_wait(may, n);
    // The table knows most reserved numbers.
    let others = numbers.into_iter().filter(|fd| !is_reserved(fd));
    others.for_each(|fd| look_at(n, fd));
    true
}

/// Returns the descriptors of a poll or select; `None` for other calls, and for a list that cannot be read.
fn numbers(may: &MayBlock, n: &Call<'_>) -> Option<Vec<i32>> {
    match n.nr {
        // If the kernel restarts a poll by restart_syscall, this call has the arguments of the poll.
        nr::POLL | libc::SYS_ppoll | libc::SYS_restart_syscall => {
            let count = n.uint(1) as usize;
            if count > MAX_POLLED {
                return None;
            }
            let mut bytes = vec![0u8; count * 8];
            if n.read(n.arg(0), &mut bytes).is_err() {
                n.copy_in(may, n.arg(0), &mut bytes).ok()?;
            }
            let all = pollfds(&bytes).map(|(fd, _)| fd);
            Some(all.filter(|&fd| fd >= 0).collect())
        }
        nr::SELECT | libc::SYS_pselect6 => {
            let count = Sets::count(n).ok()?;
            let parts = [1, 2, 3].map(|at| (n.arg(at), Sets::bytes(count)));
            n.gather(may, parts.into_iter().filter(|(addr, _)| *addr != 0));
            Some(Sets::read(n, count).ok()?.numbers().collect())
        }
        _ => None,
    }
}

/// Stores what a descriptor of a poll names, for the step under the lock.
pub(crate) fn look_at(n: &Call<'_>, fd: i32) {
    let found = n.look(fd).map(|look| (look.id, foreign(n, fd, look)));
    n.gathered.data().found.insert(fd, found);
}

/// Returns how a file is polled if it is not the supervisor's.
fn foreign(n: &Call<'_>, fd: i32, look: OpenFile) -> Foreign {
    if let Some(file) = look.fd {
        return polled(file, look.mode, look.id.dev);
    }
    if look.is_always_ready() {
        return Foreign::Ready;
    }
    if let Some(pipe) = look.reopened_pipe() {
        return Foreign::Other(Arc::new(pipe.into()));
    }
    let lent = n.gathered.lent_already(fd);
    lent.map_or(Foreign::Unknown, |file| {
        let (dev, mode) = raw::known(file.as_fd()).map_or((0, 0), |(id, mode)| (id.dev, mode));
        polled(file, mode, dev)
    })
}

/// Copies the time and the mask of a ppoll, so that the step under the lock need not be repeated to get them.
fn gather_wait(may: &MayBlock, n: &Call<'_>) {
    if n.nr == libc::SYS_ppoll {
        let parts = [(n.arg(2), 16), (n.arg(3), 8)];
        n.gather(may, parts.into_iter().filter(|(addr, _)| *addr != 0));
    }
}

/// Searches for a device's or a buffer's descriptor that the program received over a socket, and records its number.
/// The search costs a system call for each number, so a thread's searches are limited to a small part of its time.
fn find_received(call: &Call<'_>, mut numbers: impl Iterator<Item = i32>) {
    let Ok(thread) = call.thread() else { return };
    thread.search_sometimes(|| {
        let found =
            numbers.find(|&fd| fd >= 0 && procs::may_be_of_ours(thread.tid, fd) == Some(true));
        found.into_iter().for_each(|fd| call.host.note_number(fd));
    });
}

/// The events of a file that is always ready.
const READY: i16 = libc::POLLIN | libc::POLLOUT | libc::POLLRDNORM | libc::POLLWRNORM;

impl Server<'_> {
    /// Polls with the timeout `left` if given, else with the call's own; `Some(None)` is infinite.
    pub(crate) fn poll(&mut self, n: &Call<'_>, left: Option<Option<Duration>>) -> Served {
        let count = n.uint(1) as usize;
        // The kernel refuses a list that is longer than the process's descriptor limit.
        let is_refused = || raw::descriptor_limit(n.tid).is_ok_and(|limit| count as u64 > limit);
        if count > SHORT && is_refused() {
            return Ok(Verdict::native());
        }
        if count > MAX_POLLED {
            return Err(Reply::Fail(libc::ENOMEM));
        }
        let mut bytes = vec![0u8; count * 8];
        n.read(n.arg(0), &mut bytes).map_err(|_| Reply::Native)?;
        let mut entries = Vec::with_capacity(count);
        for (fd, events) in pollfds(&bytes) {
            let source = if fd < 0 {
                Source::Skip
            } else {
                self.source(n, fd)
            };
            entries.push(Entry {
                fd,
                events,
                ends_at: events | UNASKED,
                source,
                revents: 0,
            });
        }
        if n.gathered.lacks() {
            return Err(Errno::NOT_GATHERED.into());
        }
        if !has_ours(&entries) {
            return Ok(Verdict::native());
        }
        let (time, mask) = match n.nr {
            libc::SYS_ppoll => (time(n)?, mask(n, n.arg(3), n.arg(4))?),
            _ => (time(n)?, None),
        };
        self.poll_entries(n, entries, None, (left.unwrap_or(time), mask))
    }

    fn source(&self, call: &Call<'_>, fd: i32) -> Source {
        if let Some(id) = self.table.numbers.get(call.notif.tid, fd)
            && let Some(file) = Watched::of(self.target(id))
        {
            return Source::Ours(file, None);
        }
        let mut data = call.notif.gathered.data();
        let (id, foreign) = match data.found.get(&fd) {
            Some(Ok((id, foreign))) => (*id, foreign.clone()),
            Some(Err(Errno(libc::EBADF))) => return Source::Bad,
            Some(Err(_)) => return Source::Foreign(Foreign::Unknown),
            None => {
                // The call is repeated after a look without the lock.
                data.to_look.push(fd);
                return Source::Skip;
            }
        };
        drop(data);
        let target = self.target(id);
        match Watched::of(target) {
            Some(file) => Source::Ours(file, None),
            None if matches!(target, Target::Node(_)) => Source::Bad,
            None => Source::Foreign(foreign),
        }
    }

    /// Checks the entries once. If none is ready, waits for a time, or without limit if `None`, with the given
    /// signals blocked.
    fn poll_entries(
        &mut self,
        n: &Call<'_>,
        entries: Vec<Entry>,
        set_len: Option<usize>,
        (time, mask): (Option<Duration>, Option<u64>),
    ) -> Served {
        borrow(n, &entries)?;
        let mut polling = Polling {
            entries,
            set_len,
            needs_look: false,
        };
        // The files that have ended may be among those of this poll, so it begins anew.
        if self.may_show_closes(&polling) && self.collect() {
            return Ok(Verdict::Behind);
        }
        if !polling.take_slow(n) {
            return Err(Errno::NOT_GATHERED.into());
        }
        let ready = self.look_once(&mut polling.entries, Asker::Program, n.tid);
        if ready > 0 {
            // Other calls that wait for these devices are retried, so that they tell the backend again that they
            // wait.
            for file in polling.ours() {
                if let Watched::Device(file) = file {
                    self.pending.mark(On::File(file));
                }
            }
        }
        if time == Some(Duration::ZERO) {
            // The kernel does not write a time of zero back.
            return Ok(Verdict::Reply(poll_result(n, &polling, None)));
        }
        // A timeout that the clock cannot represent is infinite.
        let deadline = time.and_then(|time| Instant::now().checked_add(time));
        if ready > 0 {
            return Ok(Verdict::Reply(poll_result(n, &polling, deadline)));
        }
        let slot = self.pending.next_slot();
        for entry in &mut polling.entries {
            if let Source::Ours(Watched::Buffer(_), hold @ None) = &mut entry.source {
                *hold = n.hold(entry.fd);
            }
            if let Source::Ours(Watched::Device(file), _) = entry.source {
                self.backend.poll_waits(file, entry.events);
            }
            if let Source::Foreign(Foreign::Other(fd)) = &entry.source {
                let added = self.host.events.add_changes(fd.as_fd(), entry.events, slot);
                polling.needs_look |= added.is_err();
            }
            // A slow file is not added: the kernel would poll it with the supervisor's epoll set locked. A
            // signalfd cannot wake the supervisor.
            let is_not_added = matches!(
                entry.source,
                Source::Foreign(Foreign::Slow(_) | Foreign::Signals(_))
            );
            polling.needs_look |= is_not_added;
        }
        let mut waiting = Waiting::new(n, Kind::Poll(polling), None);
        waiting.deadline = deadline;
        waiting.signals.mask = mask;
        Ok(Verdict::Wait(Box::new(waiting)))
    }

    /// Returns whether earlier closes can change what this poll finds.
    fn may_show_closes(&self, polling: &Polling) -> bool {
        polling.ours().any(|file| match file {
            Watched::Device(file) => self.backend.needs_fresh_closes(file, None, &[]),
            Watched::Buffer(_) => true,
        })
    }

    /// Sets each entry's `revents` to its present events for a thread. Returns the number of ready entries.
    fn look_once(&mut self, entries: &mut [Entry], by: Asker, tid: u32) -> usize {
        let others = entries.iter().filter_map(|entry| match &entry.source {
            Source::Foreign(Foreign::Other(fd)) => Some((fd.as_fd(), entry.events)),
            _ => None,
        });
        // The kernel polls the other files, all in one call.
        let others = raw::poll_all_now(others);
        let mut others = others.into_iter();
        let mut ready = 0;
        for entry in entries {
            entry.revents = match &entry.source {
                Source::Ours(file, _) => poll_ours(self.backend, *file, entry.events, by),
                Source::Foreign(file) => match file {
                    Foreign::Ready => entry.events & READY,
                    Foreign::Other(_) => others.next().unwrap_or(0),
                    Foreign::Slow(_) => entry.revents,
                    Foreign::Signals(wanted) if raw::pending_signals(tid) & wanted != 0 => {
                        libc::POLLIN
                    }
                    Foreign::Signals(_) | Foreign::Unknown => 0,
                },
                Source::Bad => libc::POLLNVAL,
                Source::Skip => 0,
            };
            entry.revents &= entry.ends_at;
            ready += usize::from(entry.revents != 0);
        }
        ready
    }

    /// Checks a waiting poll again. Returns the answer if an entry is ready or the time is over.
    pub(crate) fn poll_again(
        &mut self,
        n: &Call<'_>,
        polling: &mut Polling,
        deadline: Option<Instant>,
    ) -> Option<Reply> {
        if !polling.take_slow(n) {
            return None;
        }
        let ready = self.look_once(&mut polling.entries, Asker::Supervisor, n.tid);
        let late = deadline.is_some_and(|deadline| deadline <= Instant::now());
        (ready > 0 || late).then(|| poll_result(n, polling, deadline))
    }
}

fn has_ours(entries: &[Entry]) -> bool {
    entries.iter().any(|e| matches!(e.source, Source::Ours(..)))
}

/// Writes the results of a poll or select to the program. Returns the call's answer.
fn poll_result(n: &Call<'_>, polling: &Polling, deadline: Option<Instant>) -> Reply {
    let written = match polling.set_len {
        None => write_pollfds(n, n.arg(0), &polling.entries),
        Some(set_len) => write_sets(n, set_len, &polling.entries),
    };
    write_remaining(n, deadline);
    written.map_or_else(Reply::from, |count| Reply::Value(count as i64))
}

/// Returns how to poll a borrowed file with this mode, on the file system `dev`. The poll of a regular file, a
/// directory, an epoll set or a device that a program serves may block.
fn polled(file: Borrowed, mode: libc::mode_t, dev: u64) -> Foreign {
    let is_slow = match mode & libc::S_IFMT {
        libc::S_IFREG | libc::S_IFDIR if filesystems::has_no_poll(dev) => {
            file.close();
            return Foreign::Ready;
        }
        libc::S_IFREG | libc::S_IFDIR => true,
        libc::S_IFCHR => match raw::character_device(file.as_fd()) {
            CharacterDevice::Memory => {
                file.close();
                return Foreign::Ready;
            }
            device => device == CharacterDevice::Cuse,
        },
        libc::S_IFSOCK | libc::S_IFIFO => return Foreign::Other(Arc::new(file)),
        _ => {
            let link = raw::link_of(&file);
            if link.as_deref() == Some(raw::SIGNALFD)
                && let Some(signals) = raw::signals_of(file.as_fd())
            {
                return Foreign::Signals(signals);
            }
            link.as_deref() == Some(raw::EPOLL_SET)
        }
    };
    match is_slow {
        true => Foreign::Slow(Arc::new(file)),
        false => Foreign::Other(Arc::new(file)),
    }
}

/// Fails if the supervisor can poll some files only after the calling thread has sent their descriptors. The thread
/// then sends the descriptors and repeats the call.
fn borrow(call: &Call<'_>, entries: &[Entry]) -> Result<(), Errno> {
    let mut missing = Ok(());
    let unknown = entries
        .iter()
        .filter(|entry| matches!(entry.source, Source::Foreign(Foreign::Unknown)));
    for entry in unknown {
        match call.lent(entry.fd) {
            Ok(_) | Err(Errno(libc::EPERM)) => {}
            Err(e) => missing = Err(e),
        }
    }
    missing
}

/// Writes only the entries' `revents`, each with one write. Returns the number of ready entries.
fn write_pollfds(call: &Call<'_>, addr: u64, entries: &[Entry]) -> Result<usize, Errno> {
    let mut ready = 0;
    for (i, entry) in entries.iter().enumerate() {
        ready += usize::from(entry.revents != 0);
        let at = addr.checked_add(i as u64 * 8 + 6);
        let revents = entry.revents.to_ne_bytes();
        call.gathered
            .write(at.ok_or(Errno(libc::EFAULT))?, &revents);
    }
    Ok(ready)
}

/// Writes a select's three result sets. Returns the number of bits set in them.
fn write_sets(n: &Call<'_>, set_len: usize, entries: &[Entry]) -> Result<usize, Errno> {
    let mut count = 0;
    for (addr, (asked, reported)) in [n.arg(1), n.arg(2), n.arg(3)].into_iter().zip(SETS) {
        let mut set = vec![0u8; set_len];
        for entry in entries {
            let fd = entry.fd.unsigned_abs() as usize;
            if entry.events & asked != 0
                && entry.revents & reported != 0
                && let Some(byte) = set.get_mut(fd / 8)
            {
                *byte |= 1 << (fd % 8);
                count += 1;
            }
        }
        if addr != 0 {
            n.gathered.write(addr, &set);
        }
    }
    Ok(count)
}

/// Returns the address of a call's timeout, and whether this is a timeval (else a timespec). `None` without a
/// timeout in memory.
fn time_at(n: &Notif) -> Option<(u64, bool)> {
    let (addr, micros) = match n.nr {
        libc::SYS_ppoll => (n.arg(2), false),
        nr::SELECT => (n.arg(4), true),
        libc::SYS_pselect6 => (n.arg(4), false),
        _ => return None,
    };
    (addr != 0).then_some((addr, micros))
}

/// Writes the remaining time to the program, if this kind of call returns it.
///
/// Source: Linux 7.2 fs/select.c `poll_select_finish`.
pub(crate) fn write_remaining(n: &Notif, deadline: Option<Instant>) {
    if let (Some((addr, micros)), Some(deadline)) = (time_at(n), deadline) {
        let left = deadline.saturating_duration_since(Instant::now());
        let part = match micros {
            true => left.subsec_micros(),
            false => left.subsec_nanos(),
        };
        let words = [left.as_secs(), part.into()].map(u64::to_ne_bytes);
        n.gathered.try_write(addr, words.concat());
    }
}

/// Reads how long a call waits; `None` without a limit. Fails with EFAULT or EINVAL.
fn time(n: &Call<'_>) -> Result<Option<Duration>, Errno> {
    let Some((addr, micros)) = time_at(n) else {
        let millis = u64::try_from(n.int(2)).ok();
        return Ok(millis
            .filter(|_| n.nr == nr::POLL)
            .map(Duration::from_millis));
    };
    let bytes: [u8; 16] = n.read_bytes(addr)?;
    let [secs, part] = [0, 8].map(|at| word(&bytes, at));
    // The kernel accepts more microseconds than a second has.
    let parts = if micros { u32::MAX } else { 1_000_000_000 };
    if secs.cast_signed() < 0 || part >= parts.into() {
        return Err(Errno(libc::EINVAL));
    }
    let part = match micros {
        true => Duration::from_micros(part),
        false => Duration::from_nanos(part),
    };
    Ok(Duration::from_secs(secs).checked_add(part))
}

/// Reads a signal mask; returns `None` if the pointer is null. Fails with EFAULT, and EINVAL if `size` is not
/// that of the kernel's signal set.
fn mask(call: &Call<'_>, addr: u64, size: u64) -> Result<Option<u64>, Errno> {
    if addr == 0 {
        return Ok(None);
    }
    if size != 8 {
        return Err(Errno(libc::EINVAL));
    }
    Ok(Some(u64::from_ne_bytes(call.read_bytes(addr)?)))
}

/// The three sets of a select, and the number of their bits that count.
struct Sets {
    count: usize,
    sets: [Vec<u8>; 3],
}

impl Sets {
    /// Returns how many bits count. Those beyond the thread's descriptor table are neither read nor written.
    fn count(n: &Notif) -> Result<usize, Reply> {
        let count = usize::try_from(n.int(0)).map_err(|_| Reply::Fail(libc::EINVAL))?;
        Ok(match count {
            0..=FD_SETSIZE => count,
            _ => count.min(table_size(n.tid)?),
        })
    }

    const fn bytes(count: usize) -> usize {
        count.div_ceil(64) * 8
    }

    fn read(n: &Call<'_>, count: usize) -> Result<Self, Reply> {
        let mut sets = [const { Vec::new() }; 3];
        for (set, addr) in sets.iter_mut().zip([n.arg(1), n.arg(2), n.arg(3)]) {
            *set = vec![0u8; Self::bytes(count)];
            if addr != 0 {
                n.read(addr, set).map_err(|_| Reply::Native)?;
            }
        }
        Ok(Self { count, sets })
    }

    /// Returns the events that a descriptor is asked for, and those that end the call.
    fn events(&self, fd: usize) -> (i16, i16) {
        let has = |set: &Vec<u8>| set.get(fd / 8).is_some_and(|b| b & (1 << (fd % 8)) != 0);
        let of_sets = self.sets.iter().zip(SETS).filter(|(set, _)| has(set));
        of_sets.fold((0, 0), |(events, ends_at), (_, (asked, reported))| {
            (events | asked, ends_at | reported)
        })
    }

    /// Lists the descriptors in the sets, in ascending order.
    fn numbers(&self) -> impl Iterator<Item = i32> {
        let all = (0..self.count).filter(|&fd| self.events(fd).0 != 0);
        all.filter_map(|fd| i32::try_from(fd).ok())
    }
}

impl Server<'_> {
    pub(crate) fn select(&mut self, n: &Call<'_>) -> Served {
        let sets = Sets::read(n, Sets::count(n)?)?;
        let numbers: Vec<i32> = sets.numbers().collect();
        let mut count = sets.count;
        let mut entries = Vec::new();
        for fd in numbers {
            let number = fd.unsigned_abs() as usize;
            let source = self.source(n, fd);
            if matches!(source, Source::Bad) {
                count = count.min(table_size(n.tid)?);
                if number < count {
                    return Err(Reply::Fail(libc::EBADF));
                }
                break;
            }
            let (events, ends_at) = sets.events(number);
            entries.push(Entry {
                fd,
                events,
                ends_at,
                source,
                revents: 0,
            });
        }
        if n.gathered.lacks() {
            return Err(Errno::NOT_GATHERED.into());
        }
        if !has_ours(&entries) {
            return Ok(Verdict::native());
        }
        let mask = match n.nr {
            libc::SYS_pselect6 if n.arg(5) != 0 => {
                let read = |at| n.read_bytes(at).map(u64::from_ne_bytes);
                mask(n, read(n.arg(5))?, read(n.arg(5).wrapping_add(8))?)?
            }
            _ => None,
        };
        let set_len = Some(Sets::bytes(count));
        self.poll_entries(n, entries, set_len, (time(n)?, mask))
    }
}

/// Returns the size of a thread's descriptor table, in descriptors.
///
/// Source: Linux 7.2 fs/select.c `core_sys_select`, fs/proc/array.c `task_state`.
fn table_size(tid: u32) -> Result<usize, Errno> {
    let size = procs::status(tid, "FDSize:")?.min(MAX_SELECTED as u64);
    // CAST: at most `MAX_SELECTED`.
    Ok(size as usize)
}
