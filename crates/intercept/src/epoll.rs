//! Device files in a program's own epoll sets.
//!
//! The kernel cannot watch a device file of ours. The supervisor puts objects of its own into the
//! program's set instead, with the program's data: an eventfd each for readable and writable, a
//! socket with urgent data for POLLPRI, a pipe without a reader for POLLERR. epoll_wait stays the
//! kernel's own. The objects follow the file's state before the call that changed it is answered.
//!
//! Where the kernel tells of all conditions of a file in one event, this tells of them one after
//! the other. What is urgent is told first: a program that takes one event at a time must hear of
//! the end of a stream before it takes the last buffer.
//! When the objects are closed, the kernel takes them out of whatever set they are in.

use std::collections::HashMap;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use crate::files::Target;
use crate::host::Call;
use crate::listener::Notif;
use crate::note::Note;
use crate::poll::device_poll;
use crate::raw;
use crate::serve::{Server, Verdict};
use vb3_host::{Backend, Caller, Errno, FileId};

/// Registrations of one file, at most.
const MOST: usize = 256;

const IN: u32 = libc::EPOLLIN.cast_unsigned();
const OUT: u32 = libc::EPOLLOUT.cast_unsigned();
const PRI: u32 = libc::EPOLLPRI.cast_unsigned();
/// Bits that are no conditions but ways of reporting.
const WAYS: u32 = (libc::EPOLLET | libc::EPOLLONESHOT | libc::EPOLLEXCLUSIVE).cast_unsigned()
    | libc::EPOLLWAKEUP.cast_unsigned();

/// One condition of a file, as something the kernel can watch.
#[derive(Debug)]
enum Object {
    /// Readable when the counter is not 0.
    Readable(OwnedFd),
    /// Writable when the counter is not at its end.
    Writable(OwnedFd),
    /// Urgent data when the peer has sent a byte out of band.
    Urgent(OwnedFd, OwnedFd),
    /// In error when the reader is closed.
    Error(OwnedFd, Option<OwnedFd>),
}

/// A counter at which an eventfd is not writable.
const FULL: u64 = u64::MAX - 1;

impl Object {
    fn eventfd(start: u64) -> Result<OwnedFd, Errno> {
        // SAFETY: takes integers only.
        let fd = raw::owned(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
        if start > 0 {
            put(&fd, start);
        }
        Ok(fd)
    }

    fn readable() -> Result<Self, Errno> {
        Self::eventfd(0).map(Self::Readable)
    }

    fn writable() -> Result<Self, Errno> {
        Self::eventfd(FULL).map(Self::Writable)
    }

    fn urgent() -> Result<Self, Errno> {
        let mut fds = [-1; 2];
        let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: room for two descriptors.
        raw::check(unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, fds.as_mut_ptr()) })?;
        Ok(Self::Urgent(raw::owned(fds[0])?, raw::owned(fds[1])?))
    }

    fn error() -> Result<Self, Errno> {
        let mut fds = [-1; 2];
        // SAFETY: room for two descriptors.
        raw::check(unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC | libc::O_NONBLOCK) })?;
        let (reader, writer) = (raw::owned(fds[0])?, raw::owned(fds[1])?);
        Ok(Self::Error(writer, Some(reader)))
    }

    /// What goes into the program's set, and the conditions it is watched for.
    fn watched(&self) -> (BorrowedFd<'_>, u32) {
        match self {
            Self::Readable(fd) => (fd.as_fd(), IN),
            Self::Writable(fd) => (fd.as_fd(), OUT),
            Self::Urgent(fd, _) => (fd.as_fd(), PRI),
            Self::Error(fd, _) => (fd.as_fd(), 0),
        }
    }

    fn bit(&self) -> i16 {
        match self {
            Self::Readable(_) => libc::POLLIN,
            Self::Writable(_) => libc::POLLOUT,
            Self::Urgent(..) => libc::POLLPRI,
            Self::Error(..) => libc::POLLERR,
        }
    }

    /// Makes the condition hold or not. Where it holds already, an edge is made again.
    fn set(&mut self, on: bool) {
        match self {
            Self::Readable(fd) if on => put(fd, 1),
            Self::Readable(fd) => take(fd),
            Self::Writable(fd) if on => {
                put(fd, 1);
                take(fd);
            }
            Self::Writable(fd) => {
                take(fd);
                put(fd, FULL);
            }
            Self::Urgent(watched, peer) => {
                let mut byte = 0u8;
                // SAFETY: one byte, live; neither end blocks.
                unsafe {
                    libc::recv(
                        watched.as_raw_fd(),
                        (&raw mut byte).cast(),
                        1,
                        libc::MSG_OOB | libc::MSG_DONTWAIT,
                    );
                    if on {
                        let flags = libc::MSG_OOB | libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
                        libc::send(peer.as_raw_fd(), (&raw const byte).cast(), 1, flags);
                    }
                }
            }
            Self::Error(_, reader) if on => *reader = None,
            Self::Error(writer, reader) => {
                if reader.is_none() {
                    // A reader of the same pipe, anew.
                    *reader = raw::reopen(writer.as_fd(), libc::O_RDONLY | libc::O_NONBLOCK).ok();
                }
            }
        }
    }
}

fn put(fd: &OwnedFd, value: u64) {
    let bytes = value.to_ne_bytes();
    // SAFETY: eight live bytes; the descriptor does not block.
    unsafe { libc::write(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) };
}

fn take(fd: &OwnedFd) {
    raw::read(fd.as_fd(), &mut [0; 8]).ok();
}

/// One file in one set.
#[derive(Debug)]
struct Registration {
    /// The program's numbers for the set and the file.
    name: (u32, i32),
    fd: i32,
    /// The set.
    set: OwnedFd,
    events: u32,
    data: u64,
    objects: Vec<Object>,
    /// Conditions that hold, as the objects show them.
    shown: i16,
}

/// What is to be done with the objects of a registration.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Op {
    Add = 1,
    Delete = 2,
    Modify = 3,
}

impl Registration {
    fn new(name: (u32, i32), fd: i32, set: OwnedFd, events: u32, data: u64) -> Self {
        Self {
            name,
            fd,
            set,
            events,
            data,
            objects: Vec::new(),
            shown: 0,
        }
    }

    /// Makes the objects that the conditions asked for need.
    fn equip(&mut self) -> Result<(), Errno> {
        let asked = normal(self.events) | libc::POLLERR;
        type Maker = fn() -> Result<Object, Errno>;
        let makers: [(i16, Maker); 4] = [
            (libc::POLLIN, Object::readable),
            (libc::POLLOUT, Object::writable),
            (libc::POLLPRI, Object::urgent),
            (libc::POLLERR, Object::error),
        ];
        for (bit, make) in makers {
            if asked & bit != 0 && !self.objects.iter().any(|object| object.bit() == bit) {
                self.objects.push(make()?);
            }
        }
        Ok(())
    }

    /// Does something to all objects in a set; back to nothing if one fails.
    fn apply(&self, set: BorrowedFd<'_>, op: Op) -> Result<(), Errno> {
        let asked = normal(self.events);
        for (i, object) in self.objects.iter().enumerate() {
            let (fd, conditions) = object.watched();
            let wanted = if asked & object.bit() != 0 {
                conditions
            } else {
                0
            };
            let done = control(set, op, fd, wanted | self.events & WAYS, self.data);
            // An object made for a condition asked for later is not in the set yet.
            let done = match done {
                Err(Errno(libc::ENOENT)) if op == Op::Modify && i > 0 => {
                    control(set, Op::Add, fd, wanted | self.events & WAYS, self.data)
                }
                done => done,
            };
            if let Err(e) = done
                && op != Op::Delete
            {
                if op == Op::Add {
                    for object in self.objects.iter().take(i) {
                        control(set, Op::Delete, object.watched().0, 0, 0).ok();
                    }
                }
                return Err(e);
            }
        }
        Ok(())
    }

    /// Whether this registration is in this set.
    fn is_in(&self, set: BorrowedFd<'_>) -> bool {
        let Some((fd, _)) = self.objects.first().map(Object::watched) else {
            return false;
        };
        match control(set, Op::Add, fd, 0, 0) {
            Err(Errno(libc::EEXIST)) => true,
            Err(_) => false,
            Ok(()) => {
                control(set, Op::Delete, fd, 0, 0).ok();
                false
            }
        }
    }

    fn show(&mut self, now: i16) {
        let edges = self.events & libc::EPOLLET.cast_unsigned() != 0;
        let urgent = now & !self.shown & libc::POLLPRI != 0;
        for first in [true, false] {
            let pass = |object: &&mut Object| (object.bit() == libc::POLLPRI) == first;
            for object in self.objects.iter_mut().filter(pass) {
                let (was, is) = (self.shown & object.bit() != 0, now & object.bit() != 0);
                if was != is || (is && edges) {
                    object.set(is);
                }
            }
        }
        self.shown = now;
        // To put one that was disarmed in the set again would arm it.
        if urgent && self.events & libc::EPOLLONESHOT.cast_unsigned() == 0 {
            self.requeue();
        }
    }

    /// Puts what is not urgent behind what is in the set's list: an object that was told of last
    /// time stays at its head, ready or not, until somebody waits.
    fn requeue(&self) {
        let asked = normal(self.events);
        for object in &self.objects {
            let (fd, conditions) = object.watched();
            if asked & object.bit() & (libc::POLLIN | libc::POLLOUT) == 0
                || control(self.set.as_fd(), Op::Delete, fd, 0, 0).is_err()
            {
                continue;
            }
            let events = conditions | self.events & WAYS;
            // It was there a moment ago, and there is room for it.
            control(self.set.as_fd(), Op::Add, fd, events, self.data).ok();
        }
    }
}

/// The conditions of a poll in an epoll mask.
fn normal(events: u32) -> i16 {
    let mut out = 0;
    if events & (IN | libc::EPOLLRDNORM.cast_unsigned()) != 0 {
        out |= libc::POLLIN;
    }
    if events & (OUT | libc::EPOLLWRNORM.cast_unsigned()) != 0 {
        out |= libc::POLLOUT;
    }
    if events & PRI != 0 {
        out |= libc::POLLPRI;
    }
    out
}

fn control(
    set: BorrowedFd<'_>,
    op: Op,
    fd: BorrowedFd<'_>,
    events: u32,
    data: u64,
) -> Result<(), Errno> {
    let mut event = libc::epoll_event { events, u64: data };
    // SAFETY: `event` is live.
    raw::check(unsafe {
        libc::epoll_ctl(set.as_raw_fd(), op as i32, fd.as_raw_fd(), &raw mut event)
    })?;
    Ok(())
}

/// All registrations.
#[derive(Debug, Default)]
pub(crate) struct Epolls {
    by_file: HashMap<FileId, Vec<Registration>>,
}

impl Epolls {
    /// Shows a file's state in the sets it is in.
    pub(crate) fn update(&mut self, file: FileId, backend: &mut dyn Backend) {
        let Some(all) = self.by_file.get_mut(&file) else {
            return;
        };
        for registration in all {
            let now = device_poll(backend, file, normal(registration.events));
            // Whatever ends a stream shows as an error, too.
            let now = if now & libc::POLLHUP != 0 {
                now | libc::POLLERR
            } else {
                now
            };
            registration.show(now);
        }
    }

    /// A file is no more: neither are its registrations.
    pub(crate) fn forget(&mut self, file: FileId) {
        self.by_file.remove(&file);
    }
}

impl Server<'_> {
    pub(crate) fn epoll_ctl(&mut self, n: &Notif) -> Result<Verdict, Errno> {
        let Some(Target::Device(file)) = self.named(n, 2) else {
            return Ok(Verdict::native());
        };
        let op = match n.int(1) {
            libc::EPOLL_CTL_ADD => Op::Add,
            libc::EPOLL_CTL_DEL => Op::Delete,
            libc::EPOLL_CTL_MOD => Op::Modify,
            _ => return Err(Errno(libc::EINVAL)),
        };
        let call = Call::new(&self.host, n);
        let (events, data) = if op == Op::Delete {
            (0, 0)
        } else {
            let mut bytes = [0; size_of::<libc::epoll_event>()];
            call.read(n.arg(3), &mut bytes)?;
            let (events, _) = bytes.split_at(4);
            // Where it lies depends on the architecture: packed on x86-64 alone.
            let (_, data) = bytes.split_at(core::mem::offset_of!(libc::epoll_event, u64));
            let events = events.try_into().map_or(0, u32::from_ne_bytes);
            (events, data.try_into().map_or(0, u64::from_ne_bytes))
        };
        let Some(set) = call.look(n.int(0))?.fd else {
            if let Some(e) = self.host.procs.borrow_refused_once() {
                self.host.note(Note::NoBorrow { errno: e.0 });
            }
            return Err(Errno(libc::EPERM));
        };
        let name = (call.pid(), n.int(0));
        let all = self.epolls.by_file.entry(file).or_default();
        let found = all
            .iter()
            .position(|r| r.fd == n.int(2) && r.is_in(set.as_fd()));
        match (op, found.and_then(|i| all.get_mut(i).map(|r| (i, r)))) {
            (Op::Add, Some(_)) => return Err(Errno(libc::EEXIST)),
            (Op::Modify | Op::Delete, None) => return Err(Errno(libc::ENOENT)),
            (Op::Add, None) => {
                // The number names another set by now: the old one is gone.
                all.retain(|r| r.name != name || r.is_in(set.as_fd()));
                if all.len() >= MOST {
                    return Err(Errno(libc::ENOSPC));
                }
                let mut new = Registration::new(name, n.int(2), set, events, data);
                new.equip()?;
                new.apply(new.set.as_fd(), op)?;
                all.push(new);
            }
            (Op::Modify, Some((_, registration))) => {
                (registration.events, registration.data) = (events, data);
                registration.equip()?;
                registration.apply(set.as_fd(), op)?;
            }
            (Op::Delete, Some((i, registration))) => {
                registration.apply(set.as_fd(), op)?;
                all.swap_remove(i);
            }
        }
        self.refresh(file);
        Ok(Verdict::value(0))
    }
}
