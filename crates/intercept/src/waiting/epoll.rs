//! Device files and buffers in a program's own epoll sets.
//!
//! The kernel cannot watch a device file or a dma-buf of ours: they are memfds to it, which it
//! refuses. The supervisor puts an object of its own into the program's set instead, with the program's data: a socket that is always readable, writable and
//! has urgent data. What is reported of it is the mask that the supervisor gives the entry: the
//! conditions that hold on the device, of those that the program asked for. One entry is one event,
//! as the kernel's own, and epoll_wait stays the kernel's. POLLERR cannot be masked: while it
//! holds, an object that is in error besides stands in the socket's place; while POLLHUP does, one
//! that is in error and hung up.
//!
//! A mask is set anew when what holds changes; for edges, only when the device wakes those who
//! wait for it, since setting it anew is an edge. Buffers have no edges: a dma-buf's poll that finds
//! something ready wakes its own waiters, so that what holds is reported at every wait. A mask follows
//! the file's state before the call that changed it is answered. An entry leaves its set before the last descriptor of its file is
//! closed.
//!
//! A buffer that was exported several times is one file here and several to a program. Where it
//! closes one of them while it has another, the entry stays until that is closed, too.

mod info;
mod sweep;

use std::collections::HashMap;
use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::event::epoll;
use rustix::pipe::PipeFlags;
use vb3_host::{Backend, Errno, FdIdentity};

use crate::descriptors::Watched;
use crate::kernel::raw;
use crate::waiting::poll::{Asker, buffer_poll, device_poll};
use info::ObjectsInSets;
pub(crate) use sweep::Sweep;

const ERR: u32 = libc::EPOLLERR.cast_unsigned();
const HUP: u32 = libc::EPOLLHUP.cast_unsigned();
/// Conditions that the kernel reports whatever the mask.
const UNASKED: u32 = ERR | HUP;
const ONESHOT: u32 = libc::EPOLLONESHOT.cast_unsigned();
const EDGES: u32 = libc::EPOLLET.cast_unsigned();
const EXCLUSIVE: u32 = libc::EPOLLEXCLUSIVE.cast_unsigned();
/// Bits that are no conditions but ways of reporting.
const WAYS: u32 = EDGES | ONESHOT | EXCLUSIVE | libc::EPOLLWAKEUP.cast_unsigned();
/// Conditions that poll knows.
const CONDITIONS: u32 = 0x03ff;
/// What may stand beside EPOLLEXCLUSIVE.
///
/// Source: Linux 7.2 fs/eventpoll.c `EPOLLEXCLUSIVE_OK_BITS`.
const BESIDE_EXCLUSIVE: u32 = EXCLUSIVE
    | EDGES
    | ERR
    | (libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLHUP).cast_unsigned()
    | libc::EPOLLWAKEUP.cast_unsigned();

/// Files that poll as readable, writable, urgent and in error as long as nobody reads them.
const IN_ERROR: [&CStr; 3] = [
    c"/sys/kernel/uevent_seqnum",
    c"/sys/devices/system/cpu/online",
    c"/proc/pressure/cpu",
];

/// What the kernel watches in a device's place.
#[derive(Debug)]
struct Objects {
    /// Always readable, writable and urgent.
    ready: OwnedFd,
    /// The socket's other end, which has sent the urgent byte.
    _peer: OwnedFd,
    /// All that and in error; in error and writable where there is nothing better.
    error: OwnedFd,
    /// All that, in error and hung up.
    hung_up: OwnedFd,
}

/// Which of the objects stands in a device's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Object {
    Ready,
    Error,
    HungUp,
}

impl Object {
    /// The one that shows these conditions.
    const fn of(mask: u32) -> Self {
        if mask & HUP != 0 {
            Self::HungUp
        } else if mask & ERR != 0 {
            Self::Error
        } else {
            Self::Ready
        }
    }
}

/// Two sockets; the first has urgent data.
fn urgent_pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    let mut fds = [-1; 2];
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: room for two descriptors.
    raw::check(unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, fds.as_mut_ptr()) })?;
    let (ready, peer) = (raw::owned(fds[0])?, raw::owned(fds[1])?);
    send(&peer, libc::MSG_OOB)?;
    Ok((ready, peer))
}

/// Sends one byte.
fn send(socket: &OwnedFd, flags: i32) -> Result<(), Errno> {
    let flags = flags | libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: one live byte.
    let sent = unsafe { libc::send(socket.as_raw_fd(), c"!".as_ptr().cast(), 1, flags) };
    if sent == 1 { Ok(()) } else { Err(raw::errno()) }
}

/// A socket whose other end was closed before it had read everything: it has hung up and is in
/// error.
///
/// Source: Linux 7.2 net/unix/af_unix.c `unix_release_sock`.
fn reset_socket() -> Result<OwnedFd, Errno> {
    let (socket, peer) = urgent_pair()?;
    send(&socket, 0)?;
    drop(peer);
    Ok(socket)
}

impl Objects {
    fn new() -> Result<Self, Errno> {
        let (ready, peer) = urgent_pair()?;
        let file = IN_ERROR.iter().find_map(|path| {
            let fd = raw::open(path, libc::O_RDONLY).ok()?;
            let all = libc::POLLIN | libc::POLLOUT | libc::POLLPRI | libc::POLLERR;
            (raw::poll_now(fd.as_fd(), all) & all == all).then_some(fd)
        });
        let error = match file {
            Some(file) => file,
            None => broken_pipe()?,
        };
        Ok(Self {
            ready,
            _peer: peer,
            error,
            hung_up: reset_socket()?,
        })
    }

    fn inodes(&self) -> [u64; 3] {
        let all = [&self.ready, &self.error, &self.hung_up];
        all.map(|object| raw::known(object.as_fd()).map_or(0, |(id, _)| id.ino))
    }

    /// A descriptor of its own for one entry.
    fn one(&self, object: Object) -> Result<OwnedFd, Errno> {
        let of = match object {
            Object::Ready => &self.ready,
            Object::Error => &self.error,
            Object::HungUp => &self.hung_up,
        };
        of.try_clone()
            .map_err(|e| Errno(e.raw_os_error().unwrap_or(libc::EMFILE)))
    }
}

/// The writing end of a pipe that nobody reads.
fn broken_pipe() -> Result<OwnedFd, Errno> {
    let flags = PipeFlags::CLOEXEC | PipeFlags::NONBLOCK;
    let (_, writer) = rustix::pipe::pipe_with(flags).map_err(raw::err)?;
    Ok(writer)
}

/// Names a program's epoll set here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct SetId(u64);

/// A program's epoll set.
#[derive(Debug)]
struct Set {
    fd: Arc<OwnedFd>,
    entries: usize,
    /// With which change it was used last.
    used: u64,
}

/// One descriptor of a file in one set.
#[derive(Debug)]
struct Entry {
    events: u32,
    data: u64,
    object: OwnedFd,
    /// Which object it is.
    which: Object,
    /// The conditions in the entry's mask.
    shown: u32,
    /// EPOLLONESHOT has not been used up.
    armed: bool,
}

/// What is to be done with an entry of a set.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    Add = 1,
    Delete = 2,
    Modify = 3,
}

/// Why an entry is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// A call was made that may have changed what holds.
    Call,
    /// The device woke those who wait for it.
    Wake,
}

impl Entry {
    fn asked(&self) -> i16 {
        // CAST: the conditions of poll have the same bits.
        (self.events & CONDITIONS) as i16
    }

    /// Adds the entry to its set, showing `now`.
    fn add(&mut self, set: BorrowedFd<'_>, objects: &Objects, now: i16) -> Result<(), Errno> {
        let mask = u32::from(now.cast_unsigned()) & CONDITIONS;
        let which = Object::of(mask);
        if which != self.which {
            self.object = objects.one(which)?;
            self.which = which;
        }
        let events = mask & !UNASKED | self.events & WAYS;
        control(set, Op::Add, self.object.as_fd(), events, self.data)?;
        self.shown = mask;
        Ok(())
    }

    /// Shows `now` in an entry that stands in its set.
    fn set(&mut self, set: BorrowedFd<'_>, objects: &Objects, now: i16) -> Result<(), Errno> {
        let mask = u32::from(now.cast_unsigned()) & CONDITIONS;
        if Object::of(mask) != self.which || self.events & EXCLUSIVE != 0 {
            control(set, Op::Delete, self.object.as_fd(), 0, 0)?;
            return self.add(set, objects, now);
        }
        let events = mask & !UNASKED | self.events & WAYS;
        control(set, Op::Modify, self.object.as_fd(), events, self.data)?;
        self.shown = mask;
        Ok(())
    }

    /// Follows the device: see the module.
    fn follow(&mut self, set: BorrowedFd<'_>, objects: &Objects, now: i16, cause: Cause) {
        let mask = u32::from(now.cast_unsigned()) & CONDITIONS;
        let due = if self.events & EDGES == 0 || mask & UNASKED != self.shown & UNASKED {
            mask != self.shown
        } else if cause == Cause::Wake {
            mask != 0
        } else {
            // What holds no longer is not reported; what holds still was reported before.
            mask == 0 && self.shown != 0
        };
        if !due || !self.armed {
            return;
        }
        if self.events & ONESHOT != 0 && self.shown != 0 && is_used_up(set, self.object.as_fd()) {
            self.armed = false;
            return;
        }
        // The set is there and has room for what it had before.
        self.set(set, objects, now).ok();
    }
}

/// Whether the kernel has disarmed an entry of a set because its one event was delivered.
fn is_used_up(set: BorrowedFd<'_>, object: BorrowedFd<'_>) -> bool {
    let Ok(stat) = raw::fstat(object) else {
        return false;
    };
    let text = raw::proc_string(&format!("/proc/self/fdinfo/{}", set.as_raw_fd()));
    let wanted = object.as_raw_fd().to_string();
    // The program's own entries may have the same number: they are of other files.
    let inode = format!("ino:{:x}", stat.st_ino);
    text.lines().any(|line| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let is_it = words.starts_with(&["tfd:", &wanted]) && words.contains(&inode.as_str());
        let events = words
            .get(3)
            .and_then(|events| u32::from_str_radix(events, 16).ok());
        // An armed entry has EPOLLERR and EPOLLHUP always.
        is_it && events.is_some_and(|events| events & ERR == 0)
    })
}

fn control(
    set: BorrowedFd<'_>,
    op: Op,
    fd: BorrowedFd<'_>,
    events: u32,
    data: u64,
) -> Result<(), Errno> {
    let data = epoll::EventData::new_u64(data);
    let events = epoll::EventFlags::from_bits_retain(events);
    let done = match op {
        Op::Add => epoll::add(set, fd, data, events),
        Op::Delete => epoll::delete(set, fd),
        Op::Modify => epoll::modify(set, fd, data, events),
    };
    done.map_err(raw::err)
}

/// The ways of reporting that a file does not have.
///
/// Source: Linux 7.2 drivers/dma-buf/dma-buf.c `dma_buf_poll`, which calls `dma_buf_poll_cb` itself
/// where no fence is pending; measured on 6.12 and 7.2.
const fn unknown_ways(file: Watched) -> u32 {
    match file {
        Watched::Device(_) => 0,
        Watched::Buffer(_) => EDGES,
    }
}

/// What holds on a file, of what an entry asks for.
fn holds(backend: &mut dyn Backend, file: Watched, asked: i16, by: Asker) -> i16 {
    let now = match file {
        Watched::Device(file) => device_poll(backend, file, asked, by),
        Watched::Buffer(id) => buffer_poll(backend, id, asked),
    };
    // What has hung up shows as an error, too.
    if now & libc::POLLHUP != 0 {
        now | libc::POLLERR
    } else {
        now
    }
}

/// The entries of device files in programs' sets.
#[derive(Debug, Default)]
pub(crate) struct Epolls {
    objects: Option<Objects>,
    sets: HashMap<SetId, Set>,
    /// The sets in the kernel's order of files, for looking one up.
    order: Vec<SetId>,
    /// Under which process and number a set was used last.
    names: HashMap<(u32, i32), SetId>,
    /// By set and the program's number for the file.
    by_file: HashMap<Watched, HashMap<(SetId, i32), Entry>>,
    /// Entries out of their sets because their file is about to be closed.
    parked: HashMap<Watched, HashMap<(SetId, i32), Entry>>,
    next: u64,
    /// Changes of sets so far.
    changes: u64,
    sweep_at: usize,
    /// Somebody looks which sets are gone.
    is_swept: bool,
}

impl Epolls {
    /// Whether a file stands in a set.
    pub(crate) fn has(&self, file: Watched) -> bool {
        self.by_file.contains_key(&file)
    }

    /// Whether no file stands in any set.
    pub(crate) fn is_empty(&self) -> bool {
        self.by_file.is_empty()
    }

    /// Shows the states of buffers in the sets they are in.
    pub(crate) fn update_buffers(&mut self, backend: &mut dyn Backend) {
        let Some(objects) = &self.objects else {
            return;
        };
        for (file, entries) in &mut self.by_file {
            let Watched::Buffer(_) = file else {
                continue;
            };
            for ((set, _), entry) in entries {
                let Some(set) = self.sets.get(set) else {
                    continue;
                };
                let now = holds(backend, *file, entry.asked(), Asker::Supervisor);
                entry.follow(set.fd.as_fd(), objects, now, Cause::Call);
            }
        }
    }

    /// Shows a file's state in the sets it is in.
    pub(crate) fn update(&mut self, file: Watched, cause: Cause, backend: &mut dyn Backend) {
        let (Some(entries), Some(objects)) = (self.by_file.get_mut(&file), &self.objects) else {
            return;
        };
        // Most entries ask for the same, and are many where many sets watch a file.
        let mut known: Option<(i16, i16)> = None;
        for ((set, _), entry) in entries {
            let Some(set) = self.sets.get(set) else {
                continue;
            };
            let asked = entry.asked();
            let now = match known {
                Some((of, now)) if of == asked => now,
                _ => holds(backend, file, asked, Asker::Supervisor),
            };
            known = Some((asked, now));
            entry.follow(set.fd.as_fd(), objects, now, cause);
        }
    }

    /// The buffers that stand in a set.
    pub(crate) fn buffers(&self) -> Vec<FdIdentity> {
        let known = self.by_file.keys().chain(self.parked.keys());
        let buffers = known.filter_map(|file| match file {
            Watched::Buffer(id) => Some(*id),
            Watched::Device(_) => None,
        });
        buffers.collect()
    }

    /// A file is no more: neither are its entries.
    pub(crate) fn forget(&mut self, file: Watched) {
        for entries in [self.by_file.remove(&file), self.parked.remove(&file)] {
            for ((set, _), entry) in entries.unwrap_or_default() {
                self.take_out(set, &entry);
            }
        }
    }

    /// Takes an entry out of its set, and lets go of a set that has none left.
    fn take_out(&mut self, id: SetId, entry: &Entry) {
        let Some(set) = self.sets.get_mut(&id) else {
            return;
        };
        // A parked entry is out already.
        control(set.fd.as_fd(), Op::Delete, entry.object.as_fd(), 0, 0).ok();
        set.entries = set.entries.saturating_sub(1);
        if set.entries == 0 {
            self.sets.remove(&id);
            self.order.retain(|&known| known != id);
            self.names.retain(|_, known| *known != id);
        }
    }

    /// Takes a file's entries out of their sets: its last descriptor is about to be closed.
    pub(crate) fn park(&mut self, file: Watched) {
        let Some(entries) = self.by_file.remove(&file) else {
            return;
        };
        for ((set, _), entry) in &entries {
            if let Some(set) = self.sets.get(set) {
                control(set.fd.as_fd(), Op::Delete, entry.object.as_fd(), 0, 0).ok();
            }
        }
        self.parked.insert(file, entries);
    }

    /// Puts a file's entries back: a descriptor of it is left after all.
    pub(crate) fn unpark(&mut self, file: Watched, backend: &mut dyn Backend) {
        let (Some(mut entries), Some(objects)) = (self.parked.remove(&file), &self.objects) else {
            return;
        };
        for ((set, _), entry) in &mut entries {
            if let Some(set) = self.sets.get(set) {
                let now = holds(backend, file, entry.asked(), Asker::Supervisor);
                entry.add(set.fd.as_fd(), objects, now).ok();
            }
        }
        self.by_file.entry(file).or_default().extend(entries);
    }

    /// Which set a descriptor of ours names; a new one if it is not known.
    fn identify(&mut self, fd: OwnedFd, name: (u32, i32)) -> SetId {
        if let Some(&known) = self.names.get(&name)
            && self.is_same(known, fd.as_fd())
        {
            return known;
        }
        let at = match self.find(fd.as_fd()) {
            Ok(known) => {
                self.names.insert(name, known);
                return known;
            }
            Err(at) => at,
        };
        self.next += 1;
        let id = SetId(self.next);
        self.order.insert(at.min(self.order.len()), id);
        let set = Set {
            fd: Arc::new(fd),
            entries: 0,
            used: self.changes,
        };
        self.sets.insert(id, set);
        self.names.insert(name, id);
        id
    }

    fn is_same(&self, id: SetId, fd: BorrowedFd<'_>) -> bool {
        let Some(set) = self.sets.get(&id) else {
            return false;
        };
        match raw::compare_files(fd, set.fd.as_fd()) {
            Ok(order) => order.is_eq(),
            Err(_) => {
                self.objects_in_sets()
                    .set_of(std::process::id(), fd.as_raw_fd())
                    == Some(id)
            }
        }
    }

    /// The objects that stand in sets: for kernels that compare no files.
    fn objects_in_sets(&self) -> ObjectsInSets {
        let all = self.by_file.values().flatten();
        let numbers = all.map(|((set, _), entry)| (entry.object.as_raw_fd(), *set));
        ObjectsInSets {
            numbers: numbers.collect(),
            inodes: self.objects.as_ref().map_or([0; 3], Objects::inodes),
        }
    }

    /// The set behind `fd`, or where it belongs in the order.
    fn find(&self, fd: BorrowedFd<'_>) -> Result<SetId, usize> {
        let (mut low, mut high) = (0, self.order.len());
        while low < high {
            let middle = low + (high - low) / 2;
            let Some((&id, set)) = self
                .order
                .get(middle)
                .and_then(|id| Some((id, self.sets.get(id)?)))
            else {
                return Err(low);
            };
            match raw::compare_files(set.fd.as_fd(), fd) {
                Ok(core::cmp::Ordering::Equal) => return Ok(id),
                Ok(core::cmp::Ordering::Less) => low = middle + 1,
                Ok(core::cmp::Ordering::Greater) => high = middle,
                Err(_) => {
                    let known = self.objects_in_sets();
                    let set = known.set_of(std::process::id(), fd.as_raw_fd());
                    return set.ok_or(self.order.len());
                }
            }
        }
        Err(low)
    }

    pub(crate) fn change(
        &mut self,
        (file, number): (Watched, i32),
        (set, name): (OwnedFd, (u32, i32)),
        op: Op,
        (events, data): (u32, u64),
        backend: &mut dyn Backend,
    ) -> Result<(), Errno> {
        let wrong = op == Op::Modify || events & !BESIDE_EXCLUSIVE != 0;
        if op != Op::Delete && events & EXCLUSIVE != 0 && wrong {
            return Err(Errno(libc::EINVAL));
        }
        self.changes += 1;
        let id = self.identify(set, name);
        if let Some(set) = self.sets.get_mut(&id) {
            set.used = self.changes;
        }
        let events = events & !unknown_ways(file);
        let done = self.change_in(id, (file, number), op, (events, data), backend);
        if self.sets.get(&id).is_some_and(|set| set.entries == 0) {
            self.sets.remove(&id);
            self.order.retain(|&known| known != id);
            self.names.remove(&name);
        }
        done
    }

    fn change_in(
        &mut self,
        id: SetId,
        (file, number): (Watched, i32),
        op: Op,
        (events, data): (u32, u64),
        backend: &mut dyn Backend,
    ) -> Result<(), Errno> {
        if self.objects.is_none() {
            self.objects = Some(Objects::new()?);
        }
        let (Some(objects), Some(set)) = (&self.objects, self.sets.get_mut(&id)) else {
            return Err(Errno(libc::EINVAL));
        };
        let fd = set.fd.as_fd();
        let known = self
            .by_file
            .get_mut(&file)
            .and_then(|entries| entries.get_mut(&(id, number)));
        match (op, known) {
            (Op::Add, Some(_)) => return Err(Errno(libc::EEXIST)),
            (Op::Modify | Op::Delete, None) => {
                // Not there; or no set at all, as the kernel will say.
                return Err(match control(fd, op, objects.ready.as_fd(), 0, 0) {
                    Err(e) => e,
                    Ok(()) => Errno(libc::ENOENT),
                });
            }
            (Op::Add, None) => {
                let mut entry = Entry {
                    events,
                    data,
                    object: objects.one(Object::Ready)?,
                    which: Object::Ready,
                    shown: 0,
                    armed: true,
                };
                let now = holds(backend, file, entry.asked(), Asker::Program);
                entry.add(fd, objects, now)?;
                set.entries += 1;
                let entries = self.by_file.entry(file).or_default();
                entries.insert((id, number), entry);
            }
            (Op::Modify, Some(entry)) => {
                if entry.events & EXCLUSIVE != 0 {
                    return Err(Errno(libc::EINVAL));
                }
                (entry.events, entry.data, entry.armed) = (events, data, true);
                let now = holds(backend, file, entry.asked(), Asker::Program);
                entry.set(fd, objects, now)?;
            }
            (Op::Delete, Some(entry)) => {
                control(fd, op, entry.object.as_fd(), 0, 0)?;
                set.entries = set.entries.saturating_sub(1);
                if let Some(entries) = self.by_file.get_mut(&file) {
                    entries.remove(&(id, number));
                    if entries.is_empty() {
                        self.by_file.remove(&file);
                    }
                }
            }
        }
        Ok(())
    }
}
