//! Tests poll, ppoll, select and pselect6.

use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use crate::lifetime::{pass, take};
use crate::signals::signal_when;
use crate::stalling::becomes;
use crate::toy::{ARM, ASKED, OPENS, STATE};
use crate::waiting::is_in_poll;
use crate::{alone, call, device, errno, inside};

fn poll(fds: &mut [(i32, i16, i16)], timeout: i32) -> i32 {
    let mut list: Vec<libc::pollfd> = fds
        .iter()
        .map(|&(fd, events, _)| libc::pollfd {
            fd,
            events,
            revents: 0x55,
        })
        .collect();
    // SAFETY: the array and its length are live.
    let n = unsafe { libc::poll(list.as_mut_ptr(), list.len() as u64, timeout) };
    fds.iter_mut()
        .zip(&list)
        .for_each(|(fd, polled)| fd.2 = polled.revents);
    n
}

fn set(fds: &[i32]) -> libc::fd_set {
    // SAFETY: zero is the empty set; the numbers are below 1024.
    unsafe {
        let mut set = std::mem::zeroed();
        fds.iter().for_each(|&fd| libc::FD_SET(fd, &mut set));
        set
    }
}

const IN: i16 = libc::POLLIN;
const OUT: i16 = libc::POLLOUT;

inside! {
    /// A sandboxed program dies of an unexpected call.
    fn a_poll_makes_no_calls_that_a_filter_forbids() {
        const TRAP: u32 = 0x0003_0000;
        let file = device();
        call(&file, STATE, IN as u32).expect("set");
        let (reader, _writer) = std::io::pipe().expect("a pipe");
        crate::filter_itself(libc::SYS_sendmsg, TRAP);
        let mut list = [(file.as_raw_fd(), IN, 0), (reader.as_raw_fd(), IN, 0)];
        assert_eq!(poll(&mut list, 60_000), 1);
        assert_eq!(list[0].2, IN);
        // SAFETY: an eventfd without a write.
        let event = unsafe { libc::eventfd(0, 0) };
        let mut list = [(file.as_raw_fd(), IN, 0), (event, IN, 0)];
        assert_eq!(poll(&mut list, 60_000), 1);
    }

    fn the_state_is_reported_at_once() {
        let file = device();
        let fd = file.as_raw_fd();
        for (state, events, want) in [
            (0, IN | OUT, 0),
            (IN, IN, IN),
            (IN, OUT, 0),
            (IN | OUT, IN | OUT, IN | OUT),
            (libc::POLLPRI, IN | libc::POLLPRI, libc::POLLPRI),
            (libc::POLLERR, 0, libc::POLLERR),
            (IN, IN | libc::POLLRDNORM, IN | libc::POLLRDNORM),
            (IN, libc::POLLRDNORM, libc::POLLRDNORM),
        ] {
            call(&file, STATE, state as u32).expect("set");
            let mut list = [(fd, events, 0)];
            assert_eq!(poll(&mut list, 0), i32::from(want != 0), "{state:#x} {events:#x}");
            assert_eq!(list[0].2, want, "{state:#x} {events:#x}");
        }
        let mut list = [(fd, IN, 0), (-1, IN, 0), (500, IN, 0)];
        assert_eq!(poll(&mut list, 1000), 2);
        assert_eq!(list, [(fd, IN, IN), (-1, IN, 0), (500, IN, libc::POLLNVAL)]);
    }

    fn a_poll_wakes_when_the_device_is_ready() {
        let file = device();
        let began = Instant::now();
        call(&file, ARM, 40).expect("armed");
        let mut list = [(file.as_raw_fd(), IN, 0)];
        assert_eq!(poll(&mut list, 60_000), 1);
        assert_eq!(list[0].2, IN);
        assert!(began.elapsed() >= Duration::from_millis(40));
    }

    fn a_poll_times_out() {
        let file = device();
        let began = Instant::now();
        assert_eq!(poll(&mut [(file.as_raw_fd(), IN, 0)], 50), 0);
        assert!(began.elapsed() >= Duration::from_millis(50));
    }

    fn other_files_count_in_the_same_poll() {
        alone(|| {
        let file = device();
        let (mut reader, mut writer) = std::io::pipe().expect("a pipe");
        let own = std::process::id();
        let sender = std::thread::spawn(move || {
            assert!(becomes(|| is_in_poll(own)), "it does not poll");
            writer.write_all(b"x").expect("sent");
            writer
        });
        let mut list = [(file.as_raw_fd(), IN, 0), (reader.as_raw_fd(), IN, 0)];
        assert_eq!(poll(&mut list, 60_000), 1);
        assert_eq!((list[0].2, list[1].2), (0, IN));
        let writer = sender.join().expect("joined");
        let mut byte = [0];
        reader.read_exact(&mut byte).expect("read");
        call(&file, ARM, 20).expect("armed");
        assert_eq!(poll(&mut list, 60_000), 1);
        assert_eq!((list[0].2, list[1].2), (IN, 0));
        drop(writer);
        assert_eq!(poll(&mut list, 60_000), 2);
        assert_eq!(list[1].2, libc::POLLHUP);
        });
    }

    fn a_signalfd_reports_the_programs_signals() {
        alone(|| {
        let file = device();
        // SAFETY: live sets; a signal to ourselves, which is blocked.
        let signals = unsafe {
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::sigaddset(&raw mut set, libc::SIGTERM);
            libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
            libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC)
        };
        assert!(signals >= 0, "errno {}", errno());
        let mut list = [(file.as_raw_fd(), IN, 0), (signals, IN, 0)];
        assert_eq!(poll(&mut list, 0), 0);
        let own = std::process::id();
        signal_when(libc::SIGTERM, || is_in_poll(own));
        assert_eq!(poll(&mut list, 3_600_000), 1);
        assert_eq!((list[0].2, list[1].2), (0, IN));
        assert_eq!(poll(&mut list, 0), 1, "the signal is still pending");
        });
    }

    fn another_thread_changes_the_state() {
        alone(|| {
        let file = device();
        let own = std::process::id();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                assert!(becomes(|| is_in_poll(own)), "it does not poll");
                call(&file, STATE, OUT as u32).expect("set");
            });
            let mut list = [(file.as_raw_fd(), OUT, 0)];
            // A call changes the state, and every waiter on the file checks again.
            assert_eq!(poll(&mut list, 60_000), 1);
            assert_eq!(list[0].2, OUT);
        });
        });
    }

    fn a_poll_keeps_the_file_open() {
        alone(|| {
        let (file, fd) = (device(), device());
        let (reader, mut writer) = std::io::pipe().expect("a pipe");
        let mut list = [(fd.as_raw_fd(), IN, 0), (reader.as_raw_fd(), IN, 0)];
        let own = std::process::id();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                assert!(becomes(|| is_in_poll(own)), "it does not poll");
                // Calls are served in order, so the supervisor has the poll before this call's answer.
                assert_eq!(call(&file, OPENS, 0), Ok(2));
                drop(fd);
                assert_eq!(call(&file, OPENS, 0), Ok(2));
                writer.write_all(b"x").expect("sent");
            });
            assert_eq!(poll(&mut list, -1), 1);
        });
        assert_eq!(list[1].2, IN);
        assert_eq!(call(&device(), OPENS, 0), Ok(1));
        });
    }

    /// Such a descriptor has the lowest free number, and no call has shown its file.
    fn long_poll_recognises_a_received_descriptor() {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().expect("a pair");
        pass(ours.as_raw_fd(), device().as_raw_fd());
        let file = take(theirs.as_raw_fd());
        let (reader, _writer) = std::io::pipe().expect("a pipe");
        let mut list = vec![(reader.as_raw_fd(), IN, 0); 80];
        list[70] = (file.as_raw_fd(), IN, 0);
        assert_eq!((poll(&mut list, 0), list[70].2), (0, 0));
        call(&file, STATE, IN as u32).expect("set");
        assert_eq!((poll(&mut list, 60_000), list[70].2), (1, IN));
    }

    fn ppoll_writes_the_time_left() {
        let file = device();
        call(&file, ARM, 20).expect("armed");
        let mut list = [libc::pollfd { fd: file.as_raw_fd(), events: IN, revents: 0 }];
        let mut time = libc::timespec { tv_sec: 5, tv_nsec: 0 };
        // SAFETY: the raw call, whose time the kernel changes; all live.
        let n = unsafe {
            libc::syscall(libc::SYS_ppoll, list.as_mut_ptr(), 1, &raw mut time, 0, 8)
        };
        assert_eq!(n, 1);
        assert!(time.tv_sec == 4, "{}.{}", time.tv_sec, time.tv_nsec);
        time = libc::timespec { tv_sec: 0, tv_nsec: 1_000_000_000 };
        // SAFETY: as above.
        let n = unsafe {
            libc::syscall(libc::SYS_ppoll, list.as_mut_ptr(), 1, &raw mut time, 0, 8)
        };
        assert_eq!((n, errno()), (-1, libc::EINVAL));
    }

    /// The pipe hangs up, which does not end a select that asks for writing.
    fn lasting_hang_up_does_not_keep_the_clock_awake() {
        let file = device();
        let (hung_up, _) = std::io::pipe().expect("a pipe");
        let (fd, pipe) = (file.as_raw_fd(), hung_up.as_raw_fd());
        let asked_beside = |writable: &[i32]| {
            call(&file, STATE, 0).expect("set");
            call(&file, ARM, 200).expect("armed");
            let before = call(&file, ASKED, 0).expect("counted");
            let (mut read, mut write) = (set(&[fd]), set(writable));
            let none = std::ptr::null_mut();
            // SAFETY: live sets.
            let n = unsafe { libc::select(1024, &mut read, &mut write, none, none.cast()) };
            assert_eq!(n, 1, "{}", errno());
            call(&file, ASKED, 0).expect("counted") - before
        };
        let alone = asked_beside(&[]);
        let beside = asked_beside(&[pipe]);
        assert!(beside < 2 * alone + 100, "{alone} alone, {beside} beside the pipe");
    }

    fn select_reports_in_its_sets() {
        let file = device();
        let fd = file.as_raw_fd();
        let (reader, writer) = std::io::pipe().expect("a pipe");
        let (r, w) = (reader.as_raw_fd(), writer.as_raw_fd());
        call(&file, STATE, libc::POLLPRI as u32).expect("set");
        let (mut read, mut write, mut except) = (set(&[fd, r]), set(&[fd, w]), set(&[fd]));
        let mut time = libc::timeval { tv_sec: 3, tv_usec: 0 };
        // SAFETY: live sets and time.
        unsafe {
            let n = libc::select(fd + 1, &mut read, &mut write, &mut except, &mut time);
            assert_eq!(n, 2);
            assert!(!libc::FD_ISSET(fd, &read) && !libc::FD_ISSET(r, &read));
            assert!(!libc::FD_ISSET(fd, &write) && libc::FD_ISSET(w, &write));
            assert!(libc::FD_ISSET(fd, &except));
            assert!(time.tv_sec == 2 || time.tv_sec == 3);
        }
        call(&file, STATE, 0).expect("set");
        call(&file, ARM, 20).expect("armed");
        let mut read = set(&[fd, r]);
        let none = std::ptr::null_mut();
        // SAFETY: as above.
        unsafe {
            assert_eq!(libc::select(fd + 1, &mut read, none, none, std::ptr::null_mut()), 1);
            assert!(libc::FD_ISSET(fd, &read) && !libc::FD_ISSET(r, &read));
            time = libc::timeval { tv_sec: 0, tv_usec: 30_000 };
            read = set(&[r, 500]);
            write = set(&[fd]);
            assert_eq!(libc::select(fd + 1, &mut read, &mut write, none, &mut time), -1);
            assert_eq!(errno(), libc::EBADF);
            assert_eq!(libc::select(fd + 1, none, &mut write, none, &mut time), 0);
            assert!(!libc::FD_ISSET(fd, &write));
            assert_eq!((time.tv_sec, time.tv_usec), (0, 0));
        }
    }
}
