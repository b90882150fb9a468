//! poll, ppoll, select and pselect6 with any mix of device files and other files.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::descriptors::Watched;
use crate::memory::Foreign;
use crate::process::Notif;
use vb3_frontend::Backend;

/// Maximum number of descriptors in one poll. A longer list fails with ENOMEM.
pub(crate) const MAX_POLLED: usize = 1 << 16;
/// Descriptors in lists up to this length are always looked up, without the lock. Longer lists are looked up only if
/// they contain a number that may be a device's.
pub(crate) const SHORT: usize = 64;
/// Bits that poll reports without a request.
pub(crate) const UNASKED: i16 = libc::POLLERR | libc::POLLHUP | libc::POLLNVAL;

/// The file behind one entry of the list.
#[derive(Debug)]
pub(crate) enum Source {
    /// A device file or a buffer. A poll that waits holds a buffer open, even if its descriptor is closed.
    Ours(Watched, Option<OwnedFd>),
    /// Another file.
    Foreign(Foreign),
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

#[derive(Debug)]
pub(crate) struct Polling {
    pub(crate) entries: Vec<Entry>,
    /// Length in bytes of a select's sets; `None` for a poll.
    pub(crate) set_len: Option<usize>,
    /// Whether the call must be retried at intervals, since some files are not in the supervisor's epoll set.
    pub(crate) needs_look: bool,
}

impl Polling {
    pub(crate) fn ours(&self) -> impl Iterator<Item = Watched> {
        self.entries.iter().filter_map(|entry| match entry.source {
            Source::Ours(file, _) => Some(file),
            _ => None,
        })
    }

    pub(crate) fn borrowed(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.entries.iter().filter_map(|entry| match &entry.source {
            Source::Foreign(Foreign::Other(fd)) => Some(fd.as_fd()),
            _ => None,
        })
    }

    /// Takes the poll results of slow files. If some are missing, returns false: the files are then polled
    /// without the lock before the call is tried again.
    pub(crate) fn take_slow(&mut self, n: &Notif) -> bool {
        let slow = self.entries.iter().filter_map(|entry| match &entry.source {
            Source::Foreign(Foreign::Slow(file)) => Some(((entry.fd, entry.events), file)),
            _ => None,
        });
        let Some(found) = n.gathered.take_polled(slow) else {
            return false;
        };
        for entry in &mut self.entries {
            if let Source::Foreign(Foreign::Slow(_)) = &entry.source {
                let known = found.get(&(entry.fd, entry.events));
                entry.revents = known.copied().unwrap_or(0);
            }
        }
        true
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Asker {
    /// A program's call: the device may start streaming because of it.
    Program,
    /// The supervisor, for a waiting call or an epoll set.
    Supervisor,
}

const BOTH: i16 = libc::POLLIN | libc::POLLOUT;
const BOTH_NORMAL: i16 = libc::POLLRDNORM | libc::POLLWRNORM;
/// POLLRDNORM and POLLWRNORM are POLLIN and POLLOUT, shifted by this number of bits.
const NORMAL: u32 = 6;
const _: () = assert!(BOTH << NORMAL == BOTH_NORMAL, "another order of bits");

/// Returns a file's poll events. Devices do not know POLLRDNORM and POLLWRNORM.
pub(crate) fn poll_ours(backend: &mut dyn Backend, file: Watched, events: i16, by: Asker) -> i16 {
    let asked = events & !BOTH_NORMAL | events >> NORMAL & BOTH;
    let now = match (file, by) {
        (Watched::Device(file), Asker::Program) => backend.poll(file, asked),
        (Watched::Device(file), Asker::Supervisor) => backend.peek(file, asked),
        (Watched::Buffer(id), _) => backend.buffer_poll(id, asked),
    };
    (now | (now & BOTH) << NORMAL) & (events | UNASKED)
}

/// Maximum number of descriptors in a set: the kernel's NR_OPEN.
pub(crate) const MAX_SELECTED: usize = 1 << 20;
/// Bits in a program's usual `fd_set`.
pub(crate) const FD_SETSIZE: usize = 1024;

const IN: i16 = libc::POLLIN | libc::POLLRDNORM | libc::POLLRDBAND;
const OUT: i16 = libc::POLLOUT | libc::POLLWRNORM | libc::POLLWRBAND;
/// For each of the three sets of select: the events that the set asks for, which no other set asks for, and the
/// events that the set reports.
pub(crate) const SETS: [(i16, i16); 3] = [
    (IN, IN | libc::POLLHUP | libc::POLLERR),
    (OUT, OUT | libc::POLLERR),
    (libc::POLLPRI, libc::POLLPRI),
];
