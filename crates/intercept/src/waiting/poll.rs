//! poll, ppoll, select and pselect6 with any mix of device files and other files.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::kernel::Borrowed;
use crate::process::Notif;
use vb3_host::{Backend, Caller, Errno, FdIdentity, FileId};

/// Maximum number of descriptors in one poll. A longer list fails with ENOMEM.
pub(crate) const MAX_POLLED: usize = 1 << 16;
/// For lists up to this length, every descriptor's file is looked up. Longer lists are looked up only if they
/// contain a number that may be a device's.
pub(crate) const SHORT: usize = 64;
/// Bits that poll reports without a request.
pub(crate) const UNASKED: i16 = libc::POLLERR | libc::POLLHUP | libc::POLLNVAL;

/// The file behind one entry of the list.
#[derive(Debug)]
pub(crate) enum Source {
    /// A device file. A poll that waits holds it open, even if its descriptor is closed.
    Device(FileId, Option<OwnedFd>),
    /// A buffer of the backend. A poll that waits holds it open, too.
    Buffer(FdIdentity, Option<OwnedFd>),
    Ready,
    /// A borrowed file of another kind, which the kernel polls.
    Other(Borrowed),
    /// A borrowed regular file, directory, epoll set or CUSE device. It is polled without the lock: a program may
    /// serve the file (FUSE, CUSE), and an epoll_wait may hold the set's own lock for long.
    Slow(Arc<Borrowed>),
    /// A signalfd with these signals. The kernel would poll it for the supervisor's own signals.
    Signals(u64),
    /// A file that could not be borrowed. The calling thread must send the descriptor; if it cannot, the entry
    /// is never ready.
    Unknown,
    /// A number without an open file: POLLNVAL.
    Bad,
    /// A negative number, which poll skips.
    Skip,
}

#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) fd: i32,
    pub(crate) events: i16,
    /// The events that end the call. select does not end at an error or hang-up that no set reports.
    pub(crate) ends_at: i16,
    pub(crate) source: Source,
    pub(crate) revents: i16,
}

/// The form in which a call's results are written.
#[derive(Debug)]
pub(crate) enum Form {
    /// To an array of pollfd at this address.
    Poll(u64),
    Select(Sets),
}

/// A poll or select in progress.
#[derive(Debug)]
pub(crate) struct Polling {
    pub(crate) entries: Vec<Entry>,
    pub(crate) form: Form,
    /// Address for the remaining time, and whether its fraction is in microseconds (else nanoseconds).
    pub(crate) remaining: Option<(u64, bool)>,
    /// Whether the call must be retried at intervals, since some files are not in the supervisor's epoll set.
    pub(crate) needs_look: bool,
}

impl Polling {
    /// Returns the polled device files, each once.
    pub(crate) fn files(&self) -> BTreeSet<FileId> {
        let files = self.entries.iter().filter_map(|entry| match &entry.source {
            Source::Device(file, _) => Some(*file),
            _ => None,
        });
        files.collect()
    }

    pub(crate) fn has_buffers(&self) -> bool {
        let mut sources = self.entries.iter().map(|entry| &entry.source);
        sources.any(|source| matches!(source, Source::Buffer(..)))
    }

    pub(crate) fn borrowed(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.entries.iter().filter_map(|entry| match &entry.source {
            Source::Other(fd) => Some(fd.as_fd()),
            _ => None,
        })
    }

    /// Takes the poll results of slow files. If some are missing, returns false: the files are then polled
    /// without the lock before the call is tried again.
    pub(crate) fn take_slow(&mut self, n: &Notif) -> bool {
        let slow = self.entries.iter().filter_map(|entry| match &entry.source {
            Source::Slow(file) => Some(((entry.fd, entry.events), file)),
            _ => None,
        });
        let Some(found) = n.gathered.take_polled(slow) else {
            return false;
        };
        for entry in &mut self.entries {
            if let Source::Slow(_) = &entry.source {
                let known = found.get(&(entry.fd, entry.events));
                entry.revents = known.copied().unwrap_or(0);
            }
        }
        true
    }

    /// Writes the remaining time to the program, if this kind of call returns it.
    pub(crate) fn write_remaining(&self, n: &Notif, deadline: Option<Instant>) {
        if let (Some((addr, micros)), Some(deadline)) = (self.remaining, deadline) {
            let left = deadline.saturating_duration_since(Instant::now());
            let part = match micros {
                true => left.subsec_micros(),
                false => left.subsec_nanos(),
            };
            let words = [left.as_secs(), part.into()].map(u64::to_ne_bytes);
            // Source: Linux 7.2 fs/select.c `poll_select_finish`.
            n.gathered.data().attempts.push((addr, words.concat()));
        }
    }
}

/// How a poll or select waits.
#[derive(Default)]
pub(crate) struct Wait {
    /// How long the call waits at most; `None` for no limit.
    pub(crate) time: Option<Duration>,
    pub(crate) remaining: Option<(u64, bool)>,
    pub(crate) mask: Option<u64>,
}

/// The party that polls a device file.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Asker {
    /// A program's call: the device may start streaming because of it.
    Program,
    /// The supervisor, for a waiting call or an epoll set.
    Supervisor,
}

impl Asker {
    pub(crate) fn ask(self, backend: &mut dyn Backend, file: FileId, events: i16) -> i16 {
        match self {
            Self::Program => backend.poll(file, events),
            Self::Supervisor => backend.peek(file, events),
        }
    }
}

/// Returns a device file's poll events, with the matching normal-data bits (POLLRDNORM, POLLWRNORM). If a
/// program polls and no event is ready, the backend records that the program waits.
pub(crate) fn device_poll(backend: &mut dyn Backend, file: FileId, events: i16, by: Asker) -> i16 {
    let found = ready_bits(events, |events| by.ask(backend, file, events));
    if found == 0 {
        backend.poll_waits(file, events);
    }
    found
}

/// Returns a buffer's poll events, with the matching normal-data bits.
pub(crate) fn buffer_poll(backend: &mut dyn Backend, id: FdIdentity, events: i16) -> i16 {
    ready_bits(events, |events| backend.buffer_poll(id, events))
}

/// Polls without normal-data bits, which devices do not know, and adds the matching bits.
pub(crate) fn ready_bits(events: i16, poll: impl FnOnce(i16) -> i16) -> i16 {
    let mut asked = events & !(libc::POLLRDNORM | libc::POLLWRNORM);
    if events & libc::POLLRDNORM != 0 {
        asked |= libc::POLLIN;
    }
    if events & libc::POLLWRNORM != 0 {
        asked |= libc::POLLOUT;
    }
    let mut now = poll(asked);
    if now & libc::POLLIN != 0 {
        now |= libc::POLLRDNORM;
    }
    if now & libc::POLLOUT != 0 {
        now |= libc::POLLWRNORM;
    }
    now & (events | UNASKED)
}

/// Returns whether a list contains a device file or a buffer, for which the kernel would answer wrongly.
pub(crate) fn concerns_us(entries: &[Entry]) -> bool {
    let mut entries = entries.iter();
    entries.any(|e| matches!(e.source, Source::Device(..) | Source::Buffer(..)))
}

/// Maximum number of descriptors in a set: the kernel's NR_OPEN.
pub(crate) const MAX_SELECTED: usize = 1 << 20;
/// Bits in a program's usual `fd_set`.
pub(crate) const FD_SETSIZE: usize = 1024;

const IN: i16 = libc::POLLIN | libc::POLLRDNORM | libc::POLLRDBAND;
const OUT: i16 = libc::POLLOUT | libc::POLLWRNORM | libc::POLLWRBAND;
/// The events that each of the three sets asks for, which no other set does, and those that it reports.
pub(crate) const SETS: [(i16, i16); 3] = [
    (IN, IN | libc::POLLHUP | libc::POLLERR),
    (OUT, OUT | libc::POLLERR),
    (libc::POLLPRI, libc::POLLPRI),
];

/// The sets' addresses and length.
#[derive(Debug)]
pub(crate) struct Sets {
    pub(crate) addrs: [u64; 3],
    pub(crate) bytes: usize,
}

impl Sets {
    /// Writes the three result sets. Returns the number of bits set in them.
    pub(crate) fn write(&self, call: &impl Caller, entries: &[Entry]) -> Result<usize, Errno> {
        let mut count = 0;
        for (&addr, (asked, reported)) in self.addrs.iter().zip(SETS) {
            let mut set = vec![0u8; self.bytes];
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
                call.write(addr, &set)?;
            }
        }
        Ok(count)
    }
}
