//! poll, ppoll, select, pselect6, with device files and others mixed.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::kernel::Borrowed;
use crate::process::Notif;
use crate::waiting::select::Sets;
use vb3_host::{Backend, Caller, FdIdentity, FileId};

/// Descriptors in one poll, at most; a longer list is refused as for want of memory.
pub(crate) const MAX_POLLED: usize = 1 << 16;
/// Lists up to this length are looked at descriptor by descriptor, whatever their numbers are.
pub(crate) const SHORT: usize = 64;
/// Bits that poll reports unasked.
pub(crate) const UNASKED: i16 = libc::POLLERR | libc::POLLHUP | libc::POLLNVAL;

/// Keeps a file open while it is polled, whoever closes its descriptor.
#[derive(Debug)]
pub(crate) struct Hold {
    pub(crate) _fd: Option<OwnedFd>,
}

/// What is polled at one place of the list.
#[derive(Debug)]
pub(crate) enum Source {
    /// A device file.
    Device(
        FileId,
        #[expect(dead_code, reason = "its drop releases the hold")] Hold,
    ),
    /// A buffer of the backend.
    Buffer(
        FdIdentity,
        #[expect(dead_code, reason = "its drop releases the hold")] Hold,
    ),
    /// A file that is always ready.
    Ready,
    /// Another file, borrowed, which the kernel itself answers for.
    Other(Borrowed),
    /// A file of a file system, by its number: a program may serve that. It is polled without the lock.
    Slow(i32, Arc<Borrowed>),
    /// Another file, by its number, that is to be lent, or else is never ready.
    Unknown(i32),
    /// No file.
    Bad,
    /// A negative number: skipped.
    Skip,
}

/// One descriptor polled.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) events: i16,
    pub(crate) source: Source,
    pub(crate) revents: i16,
}

/// How results are written.
#[derive(Debug)]
pub(crate) enum Form {
    /// An array of pollfd at this address.
    Poll(u64),
    /// Three bit sets.
    Select(Sets),
}

/// A poll of any kind.
#[derive(Debug)]
pub(crate) struct Polling {
    pub(crate) entries: Vec<Entry>,
    pub(crate) form: Form,
    /// Where the remaining time is written, and whether in microseconds.
    pub(crate) remaining: Option<(u64, bool)>,
    /// Some descriptors are not in the supervisor's epoll set.
    pub(crate) needs_look: bool,
    /// A thread polls the slow files: it tries the call again.
    pub(crate) is_asked: bool,
}

impl Polling {
    /// The device files in it, each once.
    pub(crate) fn files(&self) -> Vec<FileId> {
        let files = self.entries.iter().filter_map(|entry| match &entry.source {
            Source::Device(file, _) => Some(*file),
            _ => None,
        });
        let mut files: Vec<FileId> = files.collect();
        files.sort_unstable();
        files.dedup();
        files
    }

    /// Whether a buffer is in it.
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

    /// Takes what poll said of the slow files; false, and has them polled without the lock, where
    /// that is to be asked first. The call gets that far again when it is known.
    pub(crate) fn take_slow(&mut self, n: &Notif) -> bool {
        let slow = self.entries.iter().filter_map(|entry| match &entry.source {
            Source::Slow(number, file) => Some(((*number, entry.events), file)),
            _ => None,
        });
        let Some(found) = n.gathered.take_polled(slow) else {
            self.is_asked = true;
            return false;
        };
        for entry in &mut self.entries {
            if let Source::Slow(number, _) = &entry.source {
                let known = found.get(&(*number, entry.events));
                entry.revents = known.copied().unwrap_or(0);
            }
        }
        true
    }

    pub(crate) fn needs_look(&self) -> bool {
        self.needs_look
    }

    /// Writes the time left, for a call that tells it.
    pub(crate) fn write_remaining(&self, call: &impl Caller, deadline: Option<Instant>) {
        if let (Some((addr, micros)), Some(deadline)) = (self.remaining, deadline) {
            let left = deadline.saturating_duration_since(Instant::now());
            let part = if micros {
                left.subsec_micros()
            } else {
                left.subsec_nanos()
            };
            let mut bytes = [0u8; 16];
            let (secs, rest) = bytes.split_at_mut(8);
            secs.copy_from_slice(&left.as_secs().to_ne_bytes());
            rest.copy_from_slice(&u64::from(part).to_ne_bytes());
            // As the kernel: a time that cannot be written back is no error.
            call.write(addr, &bytes).ok();
        }
    }
}

/// A wait's time, as the call gives it.
pub(crate) struct Wait {
    /// None for ever.
    pub(crate) time: Option<Duration>,
    pub(crate) remaining: Option<(u64, bool)>,
    pub(crate) mask: Option<u64>,
}

/// Who asks what holds on a device file.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Asker {
    /// A program by a call, which may start something.
    Program,
    /// The supervisor by itself.
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

/// What holds on a device file, with the normal-data bits beside theirs; a program waits until
/// anything does.
pub(crate) fn device_poll(backend: &mut dyn Backend, file: FileId, events: i16, by: Asker) -> i16 {
    let found = ready_bits(events, |events| by.ask(backend, file, events));
    if found == 0 {
        backend.poll_waits(file, events);
    }
    found
}

/// What holds on a buffer, with the normal-data bits beside theirs.
pub(crate) fn buffer_poll(backend: &mut dyn Backend, id: FdIdentity, events: i16) -> i16 {
    ready_bits(events, |events| backend.buffer_poll(id, events))
}

/// What `poll` says of the bits that devices know, with the normal-data bits beside theirs.
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

/// Whether a list has anything that the kernel would answer wrongly.
pub(crate) fn concerns_us(entries: &[Entry]) -> bool {
    entries
        .iter()
        .any(|e| matches!(e.source, Source::Device(..) | Source::Buffer(..)))
}
