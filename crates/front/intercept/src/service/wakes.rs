//! The backend's wake descriptors in the supervisor's epoll set.

use crate::service::host::{Event, Events};
use std::collections::HashMap;
use std::os::fd::AsRawFd;
use vb3_frontend::{Errno, WakeFd};

#[derive(Debug, Default)]
pub(crate) struct WakeSet {
    /// The file at each number. The kernel has removed closed files from the set.
    known: HashMap<u32, Known>,
    /// Numbers that were readable although the backend did not list them.
    unwanted: Vec<u32>,
}

#[derive(Debug)]
struct Known {
    id: u64,
    is_listed: bool,
}

impl WakeSet {
    /// Records that the descriptor with this number is readable. Returns its id.
    pub(crate) fn note_readable(&mut self, number: u32) -> Option<u64> {
        let known = self.known.get(&number)?;
        if !known.is_listed {
            self.unwanted.push(number);
        }
        Some(known.id)
    }

    /// Adds new files to the set. Files that the backend no longer lists stay until they are readable again,
    /// because most are listed again soon.
    pub(crate) fn sync(&mut self, set: &Events, listed: &[WakeFd<'_>]) {
        let number = |wake: &WakeFd<'_>| wake.fd.as_raw_fd().cast_unsigned();
        for known in self.known.values_mut() {
            known.is_listed = false;
        }
        for wake in listed {
            let (number, id) = (number(wake), wake.id);
            let known = self.known.get_mut(&number);
            if let Some(known) = known.filter(|known| known.id == id) {
                known.is_listed = true;
                continue;
            }
            let known = Known {
                id,
                is_listed: true,
            };
            let events = libc::EPOLLIN.cast_unsigned();
            match set.add(wake.fd, events, Event::Wake(number)) {
                Ok(()) | Err(Errno(libc::EEXIST)) => self.known.insert(number, known),
                // The next call of `sync` tries again.
                Err(_) => self.known.remove(&number),
            };
        }
        for number in self.unwanted.drain(..) {
            let known = self.known.get(&number);
            if known.is_some_and(|known| !known.is_listed) {
                self.known.remove(&number);
                set.remove(number.cast_signed());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{EventfdFlags, eventfd};
    use std::os::fd::{AsFd as _, OwnedFd};

    fn readable() -> OwnedFd {
        eventfd(1, EventfdFlags::empty()).expect("an eventfd")
    }

    fn wake(fd: &OwnedFd, id: u64) -> WakeFd<'_> {
        WakeFd { fd: fd.as_fd(), id }
    }

    /// Returns the ids of the readable files.
    fn ready(wakes: &mut WakeSet, set: &Events) -> Vec<Option<u64>> {
        let ids = set.take().into_iter().map(|event| match event {
            Event::Wake(number) => wakes.note_readable(number),
            other => panic!("{other:?}"),
        });
        ids.collect()
    }

    #[test]
    fn new_file_with_an_old_number_wakes() {
        let (mut wakes, set) = (WakeSet::default(), Events::new().expect("a set"));
        let mut file = readable();
        wakes.sync(&set, &[wake(&file, 1)]);
        assert_eq!(ready(&mut wakes, &set), [Some(1)]);
        // The first file is closed, and the second has its number.
        rustix::io::dup2(readable(), &mut file).expect("a free number");
        assert_eq!(ready(&mut wakes, &set), []);
        wakes.sync(&set, &[wake(&file, 2)]);
        assert_eq!(ready(&mut wakes, &set), [Some(2)]);
    }

    #[test]
    fn known_file_is_not_added_again() {
        let (mut wakes, set) = (WakeSet::default(), Events::new().expect("a set"));
        let file = readable();
        wakes.sync(&set, &[wake(&file, 1)]);
        set.remove(file.as_raw_fd());
        wakes.sync(&set, &[wake(&file, 1)]);
        assert_eq!(ready(&mut wakes, &set), [], "another call was made");
    }

    #[test]
    fn file_that_is_listed_again_soon_stays() {
        let (mut wakes, set) = (WakeSet::default(), Events::new().expect("a set"));
        let file = readable();
        wakes.sync(&set, &[wake(&file, 1)]);
        assert_eq!(ready(&mut wakes, &set), [Some(1)]);
        wakes.sync(&set, &[]);
        let is_readable = !ready(&mut wakes, &set).is_empty();
        assert!(is_readable, "it was removed");
    }

    #[test]
    fn unlisted_file_wakes_once_at_most() {
        let (mut wakes, set) = (WakeSet::default(), Events::new().expect("a set"));
        let file = readable();
        wakes.sync(&set, &[wake(&file, 1)]);
        wakes.sync(&set, &[]);
        assert_eq!(ready(&mut wakes, &set), [Some(1)]);
        wakes.sync(&set, &[]);
        assert_eq!(ready(&mut wakes, &set), []);
        wakes.sync(&set, &[wake(&file, 1)]);
        assert_eq!(ready(&mut wakes, &set), [Some(1)], "it is added again");
    }
}
