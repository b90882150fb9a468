//! Tests device files in the program's epoll sets.

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

use crate::toy::{ARM, COUNT, OPENS, QUIET, STATE};
use crate::{call, device, errno, inside};

struct Set(OwnedFd);

impl Set {
    fn new() -> Self {
        // SAFETY: takes flags; the new descriptor is ours.
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

    /// Returns all reported conditions together, and each event's data.
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
    /// Waits for one event, like a program that takes one at a time.
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
        assert_eq!(set.wait(60_000), (1, vec![7]));
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
        assert_eq!(set.wait(60_000), (1, vec![7]));
    }

    fn all_conditions_of_a_file_are_one_event() {
        let (file, set) = (device(), Set::new());
        set.control(ADD, &file, libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLPRI, 7).expect("added");
        call(&file, STATE, 1).expect("set");
        assert_eq!(set.wait_one(), 1);
        call(&file, STATE, 1 | 2).expect("set");
        assert_eq!(set.wait(0), (3, vec![7]));
        call(&file, STATE, 1 | 2 | 4 | 8).expect("set");
        assert_eq!(set.wait(0), (15, vec![7]));
        call(&file, STATE, 4).expect("set");
        assert_eq!(set.wait(0), (4, vec![7]));
    }

    /// A kernel disarms the entry with its first event until the program arms it again.
    fn one_shot_is_one_event() {
        let (file, set) = (device(), Set::new());
        let all = libc::EPOLLIN | libc::EPOLLPRI | libc::EPOLLONESHOT;
        set.control(ADD, &file, all, 7).expect("added");
        call(&file, STATE, 1 | 2).expect("set");
        assert_eq!(set.wait(0), (3, vec![7]));
        for state in [1, 2, 0, 3, 8, 0, 1] {
            call(&file, STATE, state).expect("set");
            assert_eq!(set.wait(0), (0, vec![]), "after {state}");
        }
        set.control(MOD, &file, all, 8).expect("armed");
        assert_eq!(set.wait(0), (1, vec![8]));
        set.control(MOD, &file, all, 9).expect("armed");
        // A condition that ended before the wait is no event, and does not disarm the entry.
        call(&file, STATE, 0).expect("set");
        assert_eq!(set.wait(0), (0, vec![]));
        call(&file, STATE, 2).expect("set");
        assert_eq!(set.wait(0), (2, vec![9]));
        assert_eq!(set.wait(0), (0, vec![]));
    }

    fn a_call_that_wakes_nobody_is_no_edge() {
        let (file, set) = (device(), Set::new());
        set.control(ADD, &file, libc::EPOLLIN | libc::EPOLLET, 7).expect("added");
        call(&file, STATE, 1).expect("set");
        assert_eq!(set.wait(0), (1, vec![7]));
        for _ in 0..3 {
            call(&file, COUNT, 0).expect("counted");
            assert_eq!(set.wait(0), (0, vec![]));
        }
        // A wake while it is readable is an edge, as with a second buffer.
        call(&file, STATE, 1).expect("set");
        assert_eq!(set.wait(0), (1, vec![7]));
    }

    /// STREAMON ends an output's POLLERR, makes it writable, and wakes no waiter.
    fn end_of_an_error_is_no_edge() {
        let (file, set) = (device(), Set::new());
        call(&file, STATE, 8).expect("set");
        set.control(ADD, &file, libc::EPOLLOUT | libc::EPOLLET, 7).expect("added");
        assert_eq!(set.wait(0), (8, vec![7]));
        call(&file, QUIET, 4).expect("set");
        assert_eq!(set.wait(0), (0, vec![]));
        call(&file, STATE, 4).expect("set");
        assert_eq!(set.wait(0), (4, vec![7]));
        // An event that was not delivered yet reports the state of the moment.
        call(&file, STATE, 8).expect("set");
        call(&file, QUIET, 4).expect("set");
        assert_eq!(set.wait(0), (4, vec![7]));
        assert_eq!(set.wait(0), (0, vec![]));
    }

    /// Source: Linux 7.2 fs/eventpoll.c `do_epoll_ctl`.
    fn exclusive_entries_cannot_be_changed() {
        let (file, set) = (device(), Set::new());
        let wrong = libc::EPOLLPRI | libc::EPOLLEXCLUSIVE;
        assert_eq!(set.control(ADD, &file, wrong, 7), Err(libc::EINVAL));
        let exclusive = libc::EPOLLIN | libc::EPOLLEXCLUSIVE;
        set.control(ADD, &file, exclusive, 7).expect("added");
        assert_eq!(set.control(MOD, &file, libc::EPOLLIN, 7), Err(libc::EINVAL));
        assert_eq!(set.control(MOD, &file, exclusive, 7), Err(libc::EINVAL));
        for state in [1, 0, 8, 1] {
            call(&file, STATE, state).expect("set");
            assert_eq!(set.wait(0).0, state);
        }
    }

    fn a_closed_file_leaves_its_sets() {
        let (set, other) = (Set::new(), device());
        set.control(ADD, &other, libc::EPOLLIN, 2).expect("added");
        call(&other, STATE, 1).expect("set");
        for _ in 0..50 {
            let file = device();
            set.control(ADD, &file, libc::EPOLLIN, 1).expect("added");
            call(&file, STATE, 1).expect("set");
            assert_eq!(set.wait(0).1.len(), 2);
            drop(file);
            assert_eq!(set.wait(0), (1, vec![2]));
        }
    }

    /// An entry belongs to the open file and ends with its last descriptor.
    fn a_file_with_another_descriptor_stays_in_its_sets() {
        let (set, file) = (Set::new(), device());
        set.control(ADD, &file, libc::EPOLLIN, 1).expect("added");
        call(&file, STATE, 1).expect("set");
        let copy = file.try_clone().expect("dup");
        drop(file);
        assert_eq!(set.wait(0), (1, vec![1]));
        // SAFETY: the child waits to be killed, with copies of all descriptors.
        let child = unsafe { libc::fork() };
        if child == 0 {
            loop {
                // SAFETY: takes nothing.
                unsafe { libc::pause() };
            }
        }
        drop(copy);
        assert_eq!(set.wait(0), (1, vec![1]));
        // SAFETY: our own child.
        unsafe {
            libc::kill(child, libc::SIGKILL);
            libc::waitpid(child, std::ptr::null_mut(), 0);
        }
        call(&device(), COUNT, 0).expect("counted");
        assert_eq!(set.wait(0), (0, vec![]));
    }

    /// After daemon(), the process that uses the set has never called epoll_ctl.
    fn an_inherited_set_follows_every_call() {
        let (set, file) = (Set::new(), device());
        set.control(ADD, &file, libc::EPOLLIN, 7).expect("added");
        let (mut closed, closes) = std::io::pipe().expect("a pipe");
        // SAFETY: the harness's other thread sleeps and holds no lock.
        let child = unsafe { libc::fork() };
        if child == 0 {
            drop(closes);
            let follows = move || {
                for _ in 0..500 {
                    for (state, found) in [(1, vec![7]), (0, vec![])] {
                        call(&file, STATE, state).expect("set");
                        assert_eq!(set.wait(0).1, found);
                    }
                }
                call(&file, STATE, 1).expect("set");
                // From now on, this process has the only descriptor.
                assert_eq!(std::io::Read::read(&mut closed, &mut [0]).expect("the end"), 0);
                drop(file);
                assert_eq!(set.wait(0).1, vec![]);
            };
            let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(follows));
            // SAFETY: ends the child.
            unsafe { libc::_exit(i32::from(done.is_err())) };
        }
        drop((file, closes));
        let mut status = 0;
        // SAFETY: our own child.
        unsafe { libc::waitpid(child, &raw mut status, 0) };
        assert_eq!(status, 0);
    }

    /// A descriptor in a socket's queue keeps the file, and the entry stays as it was.
    fn delivered_event_is_over_even_after_a_close() {
        for way in [libc::EPOLLONESHOT, libc::EPOLLET] {
            let (set, file, other) = (Set::new(), device(), device());
            set.control(ADD, &file, libc::EPOLLIN | way, 7).expect("added");
            call(&file, STATE, 1).expect("set");
            assert_eq!(set.wait(0), (1, vec![7]));
            let (sender, _receiver) = std::os::unix::net::UnixStream::pair().expect("sockets");
            let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut rights = SendAncillaryBuffer::new(&mut space);
            let fds = [file.as_fd()];
            assert!(rights.push(SendAncillaryMessage::ScmRights(&fds)));
            let text = [std::io::IoSlice::new(b"x")];
            sendmsg(&sender, &text, &mut rights, SendFlags::empty()).expect("sent");
            drop(file);
            assert_eq!(call(&other, OPENS, 0), Ok(2));
            assert_eq!(set.wait(0), (0, vec![]));
        }
    }

    fn a_number_that_is_replaced_leaves_its_sets() {
        let (set, file) = (Set::new(), device());
        set.control(ADD, &file, libc::EPOLLIN, 1).expect("added");
        call(&file, STATE, 1).expect("set");
        assert_eq!(set.wait(0), (1, vec![1]));
        let (reader, mut writer) = std::io::pipe().expect("pipe");
        // SAFETY: takes integers; the number is ours.
        assert!(unsafe { libc::dup2(reader.as_raw_fd(), file.as_raw_fd()) } >= 0);
        assert_eq!(set.wait(0), (0, vec![]));
        // Now the number is the pipe's.
        std::io::Write::write_all(&mut writer, b"x").expect("room");
        let mut byte = [0];
        std::io::Read::read_exact(&mut &file, &mut byte).expect("a byte");
        assert_eq!(&byte, b"x");
        assert_eq!(call(&device(), OPENS, 0), Ok(1));
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

    fn a_thousand_sets_at_a_time() {
        let limit = libc::rlimit { rlim_cur: 4096, rlim_max: 4096 };
        // SAFETY: the structure is live.
        unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
        let file = device();
        call(&file, STATE, 1).expect("set");
        let sets: Vec<Set> = (0..1000).map(|_| Set::new()).collect();
        for (set, n) in sets.iter().zip(0..) {
            set.control(ADD, &file, libc::EPOLLIN, n).expect("added");
        }
        for (set, n) in sets.iter().zip(0..) {
            assert_eq!(set.wait(0), (1, vec![n]));
            assert_eq!(set.control(ADD, &file, libc::EPOLLIN, n), Err(libc::EEXIST));
        }
    }
}
