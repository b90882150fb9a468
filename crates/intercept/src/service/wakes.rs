//! The epoll set of the backend's wake descriptors.

use crate::service::host::{Event, Events};
use std::collections::HashMap;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use vb3_host::{Errno, WakeFd};

/// The set, and the files in it. It is readable when one of them is.
#[derive(Debug)]
pub(crate) struct WakeSet {
    events: Events,
    /// The file at each number. The kernel has removed closed ones from the set.
    known: HashMap<i32, u64>,
    /// Whether the set was readable since the last [`sync`](Self::sync).
    was_readable: bool,
}

impl AsFd for WakeSet {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.events.as_fd()
    }
}

impl WakeSet {
    pub(crate) fn new() -> Result<Self, Errno> {
        Ok(Self {
            events: Events::new()?,
            known: HashMap::new(),
            was_readable: false,
        })
    }

    /// Records that the set is readable.
    pub(crate) const fn note_readable(&mut self) {
        self.was_readable = true;
    }

    /// Adds new files. Files that the backend no longer lists stay until the set is readable, because most
    /// are listed again soon.
    pub(crate) fn sync(&mut self, listed: &[WakeFd<'_>]) {
        for WakeFd { fd, id } in listed {
            if self.known.insert(fd.as_raw_fd(), *id) != Some(*id) {
                let events = libc::EPOLLIN.cast_unsigned();
                // Ignores EEXIST: until its exec, a child may keep a closed file in the set.
                self.events.add(*fd, events, Event::Wake).ok();
            }
        }
        if std::mem::take(&mut self.was_readable) {
            self.known.retain(|number, _| {
                let is_listed = listed.iter().any(|wake| wake.fd.as_raw_fd() == *number);
                if !is_listed {
                    self.events.remove(*number);
                }
                is_listed
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::raw;
    use rustix::event::{EventfdFlags, eventfd};
    use std::os::fd::OwnedFd;

    fn readable() -> OwnedFd {
        eventfd(1, EventfdFlags::empty()).expect("an eventfd")
    }

    fn wake(fd: &OwnedFd, id: u64) -> WakeFd<'_> {
        WakeFd { fd: fd.as_fd(), id }
    }

    fn is_readable(set: &WakeSet) -> bool {
        raw::poll_now(set.as_fd(), libc::POLLIN) != 0
    }

    #[test]
    fn new_file_with_an_old_number_wakes() {
        let _alone = crate::process::alone();
        let mut set = WakeSet::new().expect("a set");
        let first = readable();
        let number = first.as_raw_fd();
        set.sync(&[wake(&first, 1)]);
        drop(first);
        assert!(!is_readable(&set));
        let second = readable();
        assert_eq!(second.as_raw_fd(), number);
        set.sync(&[wake(&second, 2)]);
        assert!(is_readable(&set));
    }

    #[test]
    fn known_file_is_not_added_again() {
        let (mut set, file) = (WakeSet::new().expect("a set"), readable());
        set.sync(&[wake(&file, 1)]);
        set.events.remove(file.as_raw_fd());
        set.sync(&[wake(&file, 1)]);
        assert!(!is_readable(&set), "another call was made");
    }

    #[test]
    fn unlisted_file_wakes_once_at_most() {
        let (mut set, file) = (WakeSet::new().expect("a set"), readable());
        set.sync(&[wake(&file, 1)]);
        set.sync(&[]);
        assert!(is_readable(&set));
        set.note_readable();
        set.sync(&[]);
        assert!(!is_readable(&set));
        set.sync(&[wake(&file, 1)]);
        assert!(is_readable(&set), "it is added again");
    }
}
