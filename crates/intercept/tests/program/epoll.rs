//! Device files in the program's epoll sets.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use crate::toy::{ARM, STATE};
use crate::{call, device, errno, inside};

struct Set(OwnedFd);

impl Set {
    fn new() -> Self {
        // SAFETY: takes flags; a new descriptor is ours.
        Self(unsafe { OwnedFd::from_raw_fd(libc::epoll_create1(libc::EPOLL_CLOEXEC)) })
    }

    fn control(&self, op: i32, fd: &impl AsRawFd, events: i32, data: u64) -> Result<(), i32> {
        let mut event = libc::epoll_event {
            events: events as u32,
            u64: data,
        };
        // SAFETY: the event is live.
        let n = unsafe { libc::epoll_ctl(self.0.as_raw_fd(), op, fd.as_raw_fd(), &mut event) };
        if n < 0 { Err(errno()) } else { Ok(()) }
    }

    /// The union of the conditions reported, and each event's data.
    fn wait(&self, timeout: i32) -> (u32, Vec<u64>) {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 8];
        // SAFETY: the array and its length are live.
        let n = unsafe { libc::epoll_wait(self.0.as_raw_fd(), events.as_mut_ptr(), 8, timeout) };
        let got = &events[..usize::try_from(n).expect("no error")];
        (
            got.iter().fold(0, |all, e| all | e.events),
            got.iter().map(|e| e.u64).collect(),
        )
    }
}

impl Set {
    /// One event, as a program hears of it that takes one at a time.
    fn wait_one(&self) -> u32 {
        let mut event = libc::epoll_event { events: 0, u64: 0 };
        // SAFETY: one live event.
        let n = unsafe { libc::epoll_wait(self.0.as_raw_fd(), &mut event, 1, 0) };
        if n == 1 { event.events } else { 0 }
    }
}

const ADD: i32 = libc::EPOLL_CTL_ADD;
const DEL: i32 = libc::EPOLL_CTL_DEL;
const MOD: i32 = libc::EPOLL_CTL_MOD;

inside! {
    fn every_condition_follows_the_state() {
        let (file, set) = (device(), Set::new());
        let all = libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLPRI;
        set.control(ADD, &file, all, 0x1234_5678_9abc).expect("added");
        for round in 0..3 {
            for state in [0, 1, 4, 2, 8, 5, 3, 7, 15, 0] {
                call(&file, STATE, state).expect("set");
                let (events, data) = set.wait(0);
                assert_eq!(events, state, "round {round}");
                assert!(data.iter().all(|&data| data == 0x1234_5678_9abc));
            }
        }
    }

    fn only_what_is_asked_for_is_reported() {
        let (file, set) = (device(), Set::new());
        set.control(ADD, &file, libc::EPOLLIN, 1).expect("added");
        call(&file, STATE, 4 | 2).expect("set");
        assert_eq!(set.wait(0), (0, vec![]));
        set.control(MOD, &file, libc::EPOLLIN | libc::EPOLLOUT, 2).expect("changed");
        assert_eq!(set.wait(0), (4, vec![2]));
        set.control(MOD, &file, libc::EPOLLIN, 2).expect("changed");
        assert_eq!(set.wait(0), (0, vec![]));
        assert_eq!(set.control(ADD, &file, libc::EPOLLIN, 1), Err(libc::EEXIST));
        set.control(DEL, &file, 0, 0).expect("removed");
        assert_eq!(set.control(DEL, &file, 0, 0), Err(libc::ENOENT));
        assert_eq!(set.control(MOD, &file, 0, 0), Err(libc::ENOENT));
        call(&file, STATE, 1).expect("set");
        assert_eq!(set.wait(0), (0, vec![]));
    }

    fn a_wait_wakes_when_the_device_is_ready() {
        let (file, set) = (device(), Set::new());
        set.control(ADD, &file, libc::EPOLLIN, 7).expect("added");
        call(&file, ARM, 30).expect("armed");
        assert_eq!(set.wait(10_000), (1, vec![7]));
    }

    fn edges_are_reported_once() {
        let (file, set) = (device(), Set::new());
        set.control(ADD, &file, libc::EPOLLIN | libc::EPOLLET, 7).expect("added");
        call(&file, STATE, 1).expect("set");
        assert_eq!(set.wait(0), (1, vec![7]));
        assert_eq!(set.wait(0), (0, vec![]));
        call(&file, STATE, 0).expect("set");
        assert_eq!(set.wait(0), (0, vec![]));
        call(&file, ARM, 10).expect("armed");
        assert_eq!(set.wait(10_000), (1, vec![7]));
    }

    fn what_is_urgent_is_told_first() {
        let (file, set) = (device(), Set::new());
        set.control(ADD, &file, libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLPRI, 7).expect("added");
        // Readable was told of last, so that it stands first in the set's list.
        call(&file, STATE, 1).expect("set");
        assert_eq!(set.wait_one(), 1);
        call(&file, STATE, 0).expect("set");
        call(&file, STATE, 1 | 2).expect("set");
        assert_eq!(set.wait_one(), 2);
        call(&file, STATE, 1).expect("set");
        assert_eq!(set.wait_one(), 1);
    }

    fn a_closed_file_leaves_its_sets() {
        let (file, set, other) = (device(), Set::new(), device());
        set.control(ADD, &file, libc::EPOLLIN, 1).expect("added");
        set.control(ADD, &other, libc::EPOLLIN, 2).expect("added");
        call(&file, STATE, 1).expect("set");
        call(&other, STATE, 1).expect("set");
        let mut data = set.wait(0).1;
        data.sort_unstable();
        assert_eq!(data, [1, 2]);
        drop(file);
        // The supervisor sees to it before it answers the next call.
        call(&other, STATE, 1).expect("set");
        assert_eq!(set.wait(0), (1, vec![2]));
    }

    fn sets_come_and_go() {
        let file = device();
        call(&file, STATE, 1).expect("set");
        for n in 0..400 {
            let set = Set::new();
            set.control(ADD, &file, libc::EPOLLIN | libc::EPOLLPRI, n).expect("added");
            assert_eq!(set.wait(0), (1, vec![n]));
        }
    }
}
