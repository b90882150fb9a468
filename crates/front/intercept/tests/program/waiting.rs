//! Tests the timeouts, limits, ends and costs of waits.

use std::io::{Read, Write};
use std::os::fd::{AsRawFd, IntoRawFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::stalling::becomes;
use crate::toy::{
    ABANDONED, ARM, EXPORT, FREE, OPENS, POLLED, QUIET, TELL_ENDS, TRIED, WAIT, WAITING, WAKE_FD,
};
use crate::{alone, call, device, errno, inside};

fn entry(file: &impl AsRawFd) -> libc::pollfd {
    libc::pollfd {
        fd: file.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    }
}

fn poll(fds: &mut [libc::pollfd], millis: i32) -> i32 {
    let count = fds.len() as libc::nfds_t;
    // SAFETY: the array and its length are live.
    unsafe { libc::poll(fds.as_mut_ptr(), count, millis) }
}

/// Returns the time of the clock that all processes share.
fn monotonic() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the structure is live.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    let (seconds, nanos) = (time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs());
    Duration::from_secs(seconds) + Duration::from_nanos(nanos)
}

/// Returns whether a process with one thread is in poll, or in ppoll if the architecture has no
/// poll.
pub(crate) fn is_in_poll(process: u32) -> bool {
    const POLL: i64 = 7;
    let call = std::fs::read_to_string(format!("/proc/{process}/syscall"));
    let is = |nr: i64| (call.as_ref()).is_ok_and(|call| call.starts_with(&format!("{nr} ")));
    is(libc::SYS_ppoll) || cfg!(target_arch = "x86_64") && is(POLL)
}

fn is_stopped(process: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"));
    status.is_ok_and(|status| status.contains("State:\tT"))
}

static HANDLED: AtomicU32 = AtomicU32::new(0);

extern "C" fn count(_: i32) {
    HANDLED.fetch_add(1, Ordering::Relaxed);
}

/// Seccomp profiles of older containers refuse the call by which the supervisor waits for events.
#[test]
fn supervisor_waits_without_epoll_pwait2() {
    for errno in [libc::ENOSYS, libc::EPERM] {
        let refused = 0x0005_0000 | errno.cast_unsigned();
        let run = move || {
            crate::filter_itself(libc::SYS_epoll_pwait2, refused);
            crate::run_inside("waiting::inside::a_last_close_is_noticed_without_a_further_call");
            crate::run_inside("waiting::inside::a_poll_of_thousands_waits_for_the_device");
        };
        std::thread::spawn(run).join().expect("the run succeeds");
    }
}

inside! {
    fn others_wait_anew_after_a_poll_or_an_end() {
        let file = device();
        let tried = || call(&file, TRIED, 0).expect("counted");
        let waiting = |wanted| becomes(|| call(&file, WAITING, 0) == Ok(wanted));
        std::thread::scope(|scope| {
            scope.spawn(|| call(&file, WAIT, 1_000_000).expect("freed"));
            assert!(waiting(1));
            call(&file, QUIET, libc::POLLIN as u32).expect("set");
            let before = tried();
            assert_eq!(poll(&mut [entry(&file)], 1000), 1);
            assert!(tried() > before, "after a poll that need not wait");
            // SAFETY: the child makes system calls only.
            let child = unsafe { libc::fork() };
            if child == 0 {
                let _ = call(&file, WAIT, 1_000_000);
                // SAFETY: ends the child.
                unsafe { libc::_exit(0) };
            }
            assert!(waiting(2));
            let before = tried();
            let mut status = 0;
            // SAFETY: our own child.
            unsafe {
                libc::kill(child, libc::SIGKILL);
                libc::waitpid(child, &raw mut status, 0);
            }
            assert!(becomes(|| call(&file, ABANDONED, 0) == Ok(1)));
            assert!(tried() > before, "after a call that was abandoned");
            call(&file, FREE, 0).expect("freed");
        });
    }

    /// The kernel's poll continues after a stop with its original timeout. It ends immediately if
    /// its time was over. A poll that started again would end a whole timeout later.
    fn a_stop_does_not_lengthen_a_poll() {
        const TIMEOUT: Duration = Duration::from_secs(3);
        alone(|| {
            let file = device();
            let (mut told, mut tell) = std::io::pipe().expect("pipe");
            let parent = std::process::id();
            // SAFETY: the child looks at its parent, sends it signals and ends.
            let child = unsafe { libc::fork() };
            if child == 0 {
                let (pid, told) = (parent.cast_signed(), "its parent is there");
                assert!(becomes(|| is_in_poll(parent)), "it does not poll");
                // SAFETY: our own parent.
                unsafe { libc::kill(pid, libc::SIGSTOP) };
                assert!(becomes(|| is_stopped(parent)), "it does not stop");
                // The time of the poll goes by.
                std::thread::sleep(TIMEOUT);
                tell.write_all(&monotonic().as_nanos().to_ne_bytes()).expect(told);
                // SAFETY: as above; ends the child.
                unsafe {
                    libc::kill(pid, libc::SIGCONT);
                    libc::_exit(0);
                }
            }
            let began = monotonic();
            assert_eq!(poll(&mut [entry(&file)], TIMEOUT.as_millis() as i32), 0);
            let ended = monotonic();
            let mut went_on = [0; size_of::<u128>()];
            told.read_exact(&mut went_on).expect("the child says when");
            let went_on = u128::from_ne_bytes(went_on);
            // SAFETY: our own child.
            unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
            assert!(ended >= began + TIMEOUT, "{began:?} to {ended:?}");
            let anew = went_on + TIMEOUT.as_nanos();
            assert!(ended.as_nanos() < anew, "the time began anew at {went_on}, to {ended:?}");
        });
    }

    /// The number of descriptors in a poll is bounded by the limit of descriptors alone.
    fn a_poll_of_thousands_waits_for_the_device() {
        let limit = libc::rlimit { rlim_cur: 8192, rlim_max: 8192 };
        // SAFETY: the structure is live.
        unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
        let (file, (reader, mut writer)) = (device(), std::io::pipe().expect("pipe"));
        let mut fds = vec![entry(&reader); 5000];
        fds[4321] = entry(&file);
        assert_eq!((poll(&mut fds, 30), fds[4321].revents), (0, 0));
        call(&file, ARM, 20).expect("armed");
        assert_eq!((poll(&mut fds, 60_000), fds[4321].revents), (1, libc::POLLIN));
        writer.write_all(b"x").expect("room");
        assert_eq!(poll(&mut fds, 60_000), 5000);
    }

    /// The supervisor knows the flags of an open, and learns of each call that may change them.
    fn o_nonblock_counts_when_it_is_set_later() {
        let file = device();
        let fd = file.as_raw_fd();
        // SAFETY: takes integers.
        let set = |flags: i32| assert_eq!(unsafe { libc::fcntl(fd, libc::F_SETFL, flags) }, 0);
        let wait = || call(&file, WAIT, 1).map(drop);
        assert_eq!(wait(), Ok(()));
        set(libc::O_NONBLOCK);
        assert_eq!(wait(), Err(libc::EAGAIN));
        set(0);
        assert_eq!(wait(), Ok(()));
        let other = device();
        let mut on: libc::c_int = 1;
        // SAFETY: the number is live.
        assert_eq!(unsafe { libc::ioctl(other.as_raw_fd(), libc::FIONBIO, &raw mut on) }, 0);
        assert_eq!(call(&other, WAIT, 1), Err(libc::EAGAIN));
        // A copy at a number whose calls the filter does not report.
        // SAFETY: takes integers.
        let low = unsafe { libc::dup2(device().as_raw_fd(), 700) };
        // SAFETY: as above.
        assert_eq!(unsafe { libc::fcntl(low, libc::F_SETFL, libc::O_NONBLOCK) }, 0);
        assert_eq!(call(&low, WAIT, 1), Err(libc::EAGAIN));
        // SAFETY: as above.
        unsafe { libc::close(low) };
    }

    /// A program that closes its device may make no further call. Then only the supervisor's clock can notice the end.
    fn a_last_close_is_noticed_without_a_further_call() {
        let (file, other) = (device(), device());
        call(&file, TELL_ENDS, 0).expect("it will");
        let before = call(&file, POLLED, 0).expect("counted");
        std::thread::scope(|scope| {
            scope.spawn(|| {
                assert!(becomes(|| call(&file, POLLED, 0) > Ok(before)));
                drop(other);
            });
            assert_eq!(poll(&mut [entry(&file)], 10_000), 1);
        });
    }

    /// As in a kernel, a call holds its file open.
    fn a_closed_file_ends_after_calls_that_wait_for_it() {
        let other = device();
        for is_poll in [false, true] {
            let fd = device().into_raw_fd();
            let polled = call(&fd, POLLED, 0).expect("counted");
            std::thread::scope(|scope| {
                scope.spawn(move || match is_poll {
                    true => assert_eq!(poll(&mut [entry(&fd)], 500), 0),
                    false => assert_eq!(call(&fd, WAIT, 500).map(drop), Ok(())),
                });
                let waits = || match is_poll {
                    true => call(&fd, POLLED, 0) > Ok(polled),
                    false => call(&fd, WAITING, 0) == Ok(1),
                };
                assert!(becomes(waits));
                // SAFETY: our own number.
                unsafe { libc::close(fd) };
                assert_eq!(call(&other, OPENS, 0), Ok(2));
            });
            assert_eq!(call(&other, OPENS, 0), Ok(1));
        }
    }

    /// A closed descriptor of the backend must not end another one's wake-ups.
    fn a_wake_up_is_not_lost_with_another_file() {
        let (file, other) = (device(), device());
        for _ in 0..20 {
            let (reader, mut writer) = std::io::pipe().expect("pipe");
            call(&file, WAKE_FD, 1).expect("made");
            call(&other, ARM, 1).expect("armed");
            assert_eq!(poll(&mut [entry(&other)], 60_000), 1);
            call(&file, WAKE_FD, 0).expect("closed");
            // The next tick comes while the poll waits.
            call(&other, ARM, 5).expect("armed");
            let writes = std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(20));
                writer.write_all(b"x").expect("room");
                writer
            });
            let mut fds = [entry(&reader), entry(&file)];
            assert_eq!((poll(&mut fds, 60_000), fds[0].revents), (1, libc::POLLIN));
            writes.join().expect("written");
        }
    }

    /// Each wait ends at the next signal.
    fn signals_at_one_kilohertz_end_each_wait() {
        alone(|| {
            let file = device();
            // SAFETY: a handler that only counts; live structures.
            unsafe {
                let mut action: libc::sigaction = std::mem::zeroed();
                action.sa_sigaction = count as *const () as usize;
                libc::sigaction(libc::SIGALRM, &raw const action, std::ptr::null_mut());
                let every = libc::timeval { tv_sec: 0, tv_usec: 1000 };
                let timer = libc::itimerval { it_interval: every, it_value: every };
                libc::setitimer(libc::ITIMER_REAL, &raw const timer, std::ptr::null_mut());
            }
            for _ in 0..300 {
                assert_eq!(call(&file, WAIT, 60_000), Err(libc::EINTR));
            }
        });
    }

    /// ppoll unblocks a process-wide signal, but another thread takes it: the wait continues.
    fn signal_to_another_thread_does_not_park_poll() {
        alone(|| {
            let file = std::sync::Arc::new(device());
            // SAFETY: a handler that only counts; live structures.
            unsafe {
                let mut action: libc::sigaction = std::mem::zeroed();
                action.sa_sigaction = count as *const () as usize;
                libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut());
                let mut set: libc::sigset_t = std::mem::zeroed();
                libc::sigaddset(&raw mut set, libc::SIGUSR1);
                libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
            }
            let done = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
            // Takes signals as they come.
            let taker = std::thread::spawn({
                let done = std::sync::Arc::clone(&done);
                move || {
                    while !done.load(Ordering::SeqCst) {
                        // SAFETY: live structures.
                        unsafe {
                            let mut set: libc::sigset_t = std::mem::zeroed();
                            libc::sigaddset(&raw mut set, libc::SIGUSR1);
                            let time = libc::timespec { tv_sec: 0, tv_nsec: 1_000_000 };
                            libc::sigtimedwait(&raw const set, std::ptr::null_mut(), &raw const time);
                        }
                    }
                }
            });
            let sender = std::thread::spawn({
                let done = std::sync::Arc::clone(&done);
                move || {
                    while !done.load(Ordering::SeqCst) {
                        // SAFETY: to ourselves; every thread blocks it.
                        unsafe { libc::kill(libc::getpid(), libc::SIGUSR1) };
                        std::thread::sleep(Duration::from_micros(700));
                    }
                }
            });
            for _ in 0..15 {
                call(&*file, ARM, 30).expect("armed");
                loop {
                    let mut fd = entry(&*file);
                    let limit = libc::timespec { tv_sec: 20, tv_nsec: 0 };
                    // SAFETY: zero is the empty set; live structures.
                    let n = unsafe {
                        let none: libc::sigset_t = std::mem::zeroed();
                        libc::ppoll(&raw mut fd, 1, &raw const limit, &raw const none)
                    };
                    if n == 1 {
                        break;
                    }
                    assert_eq!((n, errno()), (-1, libc::EINTR));
                }
                call(&*file, crate::toy::STATE, 0).expect("set");
            }
            done.store(true, Ordering::SeqCst);
            taker.join().expect("taker");
            sender.join().expect("sender");
        });
    }

    /// Programs then use calls that reach the devices, as in a container that refuses io_uring.
    fn io_uring_is_refused() {
        let mut params = [0u8; 120];
        // SAFETY: the structure is live.
        let ret = unsafe { libc::syscall(libc::SYS_io_uring_setup, 8, params.as_mut_ptr()) };
        assert_eq!((ret, errno()), (-1, libc::ENOSYS));
    }
}

/// Returns the supervisor's processor time for a run of a program in `scale` that makes `count` objects.
fn cost(name: &str, count: u32) -> Duration {
    let used = || {
        // SAFETY: zero is a value of the structure, and the kernel fills it.
        let usage = unsafe {
            let mut usage: libc::rusage = std::mem::zeroed();
            libc::getrusage(libc::RUSAGE_SELF, &raw mut usage);
            usage
        };
        let time = |t: libc::timeval| {
            Duration::from_secs(t.tv_sec.unsigned_abs())
                + Duration::from_micros(t.tv_usec.unsigned_abs())
        };
        time(usage.ru_utime) + time(usage.ru_stime)
    };
    let _one = crate::one_run();
    let program = crate::itself(name).env("VB3_COUNT", count.to_string());
    let before = used();
    let (report, toy, _) = crate::run_alone(&program);
    let took = used().saturating_sub(before);
    assert_eq!(report.status, 0, "{name} {count}");
    toy.assert_nothing_held();
    took
}

/// Checks that `count` objects cost at most `most` times as much as a tenth of them, plus 100 ms.
fn assert_straight(name: &str, count: u32, most: u32) {
    let (few, many) = (cost(name, count / 10), cost(name, count));
    eprintln!("{name}: {} in {few:?}, {count} in {many:?}", count / 10);
    let most = few * most + Duration::from_millis(100);
    assert!(many < most, "{name}: {few:?} for a tenth, {many:?}");
}

#[test]
fn threads_that_wait_cost_a_straight_line() {
    assert_straight("waiting::scale::threads", 1000, 16);
}

#[test]
fn exported_buffers_cost_a_straight_line() {
    // All exports are of one buffer, whose locks the kernel goes through one by one.
    assert_straight("waiting::scale::exports", 3000, 50);
}

#[test]
fn epoll_sets_cost_a_straight_line() {
    assert_straight("waiting::scale::sets", 2000, 16);
}

#[test]
fn polled_descriptors_cost_a_straight_line() {
    assert_straight("waiting::scale::descriptors", 5000, 16);
}

/// Programs for [`cost`]: what they make is held until they end.
mod scale {
    use super::*;

    fn size() -> Option<usize> {
        // The tests need more descriptors than the default limit allows.
        let limit = libc::rlimit {
            rlim_cur: 8192,
            rlim_max: 8192,
        };
        let count = std::env::var("VB3_COUNT").ok()?.parse().ok()?;
        // SAFETY: the structure is live.
        unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
        crate::is_inside().then_some(count)
    }

    #[test]
    #[ignore = "another test runs it as a program"]
    fn threads() {
        let Some(count) = size() else { return };
        let file = device();
        std::thread::scope(|scope| {
            for _ in 0..count {
                let work = || assert_eq!(poll(&mut [entry(&file)], 1500), 0);
                let thread = std::thread::Builder::new().stack_size(64 << 10);
                thread.spawn_scoped(scope, work).expect("thread");
            }
        });
    }

    #[test]
    #[ignore = "another test runs it as a program"]
    fn exports() {
        let Some(count) = size() else { return };
        let file = device();
        for _ in 0..count {
            call(&file, EXPORT, 1).expect("exported");
        }
    }

    #[test]
    #[ignore = "another test runs it as a program"]
    fn sets() {
        let Some(count) = size() else { return };
        let file = device();
        let mut event = libc::epoll_event {
            events: libc::EPOLLIN as u32,
            u64: 7,
        };
        for _ in 0..count {
            // SAFETY: the event is live.
            unsafe {
                let set = libc::epoll_create1(libc::EPOLL_CLOEXEC);
                let add = libc::EPOLL_CTL_ADD;
                assert_eq!(
                    libc::epoll_ctl(set, add, file.as_raw_fd(), &raw mut event),
                    0
                );
            }
        }
    }

    #[test]
    #[ignore = "another test runs it as a program"]
    fn descriptors() {
        let Some(count) = size() else { return };
        let (file, (reader, _writer)) = (device(), std::io::pipe().expect("pipe"));
        let mut fds = vec![entry(&reader); count];
        fds[count / 2] = entry(&file);
        for _ in 0..20 {
            assert_eq!(poll(&mut fds, 1), 0);
        }
    }
}
