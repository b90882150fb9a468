//! Tests signals while calls wait.

use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::stalling::becomes;
use crate::toy::{ABANDONED, ARM, COUNT, FREE, LEN, WAIT, WAITING, cookie, pattern};
use crate::{alone, call, device, errno, inside};

static HANDLED: AtomicU32 = AtomicU32::new(0);

extern "C" fn count(_: i32) {
    HANDLED.fetch_add(1, Ordering::Relaxed);
}

fn handle(signal: i32, flags: i32) {
    // SAFETY: a handler that only counts.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = count as *const () as usize;
        action.sa_flags = flags;
        assert_eq!(
            libc::sigaction(signal, &raw const action, std::ptr::null_mut()),
            0
        );
    }
}

fn timer(first: Duration, then: Duration) {
    let time = |t: Duration| libc::timeval {
        tv_sec: t.as_secs() as i64,
        tv_usec: t.subsec_micros().into(),
    };
    let timer = libc::itimerval {
        it_interval: time(then),
        it_value: time(first),
    };
    // SAFETY: the structure is live.
    unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, std::ptr::null_mut()) };
}

const LATER: Duration = Duration::from_millis(30);

/// Starts a process that sends a signal to this one as soon as a condition holds.
pub(crate) fn signal_when(signal: i32, is_so: impl FnMut() -> bool) {
    // SAFETY: this process has one thread; the child only tests the condition, sends a signal and ends.
    unsafe {
        let parent = libc::getpid();
        if libc::fork() == 0 {
            let ends = if becomes(is_so) {
                libc::kill(parent, signal)
            } else {
                1
            };
            libc::_exit(ends);
        }
    }
}

/// Blocks a signal in this thread.
fn block(signal: i32) {
    // SAFETY: a live set.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigaddset(&raw mut set, signal);
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
    }
}

/// Sends a signal to this process again and again while `call` runs. A signal that comes before the supervisor
/// has received the call makes the kernel restart it. Returns the call's result.
fn interrupted<T>(signal: i32, call: impl FnOnce() -> T) -> T {
    // SAFETY: this process has one thread; the child only sends signals and ends.
    unsafe {
        let parent = libc::getpid();
        let child = libc::fork();
        if child == 0 {
            // Few enough that a call that the kernel restarts each time reaches its timeout.
            for _ in 0..100 {
                libc::usleep(20_000);
                libc::kill(parent, signal);
            }
            libc::_exit(0);
        }
        let result = call();
        libc::kill(child, libc::SIGKILL);
        libc::waitpid(child, std::ptr::null_mut(), 0);
        result
    }
}

fn handled() -> u32 {
    HANDLED.load(Ordering::Relaxed)
}

inside! {
    fn a_signal_ends_a_wait() {
        alone(|| {
        let file = device();
        handle(libc::SIGALRM, 0);
        signal_when(libc::SIGALRM, || call(&file, WAITING, 0) == Ok(1));
        assert_eq!(call(&file, WAIT, 3_600_000), Err(libc::EINTR));
        assert_eq!(handled(), 1);
        assert_eq!(call(&file, ABANDONED, 0), Ok(1));
        assert_eq!(call(&file, COUNT, 0), Ok(1));
        });
    }

    fn with_sa_restart_the_wait_goes_on() {
        alone(|| {
        let file = device();
        handle(libc::SIGALRM, libc::SA_RESTART);
        timer(LATER, Duration::ZERO);
        assert_eq!(call(&file, WAIT, 200), Ok(200));
        assert_eq!(handled(), 1);
        assert_eq!(call(&file, COUNT, 0), Ok(2), "the wait was done once");
        });
    }

    /// Like a kernel, does not restart a receive with a timeout (SO_RCVTIMEO), see signal(7).
    fn receive_with_a_timeout_is_not_restarted() {
        alone(|| {
        handle(libc::SIGALRM, libc::SA_RESTART);
        // SAFETY: a new socket, and live structures.
        unsafe {
            let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC;
            let socket = libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_KOBJECT_UEVENT);
            let time = libc::timeval { tv_sec: 20, tv_usec: 0 };
            let set = libc::setsockopt(socket, libc::SOL_SOCKET, libc::SO_RCVTIMEO, (&raw const time).cast(), 16);
            let mut byte = 0u8;
            // The kernel serves a receive without the sender's address.
            let (mut from, mut len) = ([0u8; 12], 12);
            let received = interrupted(libc::SIGALRM, || {
                let (byte, from) = ((&raw mut byte).cast(), from.as_mut_ptr().cast());
                (libc::recvfrom(socket, byte, 1, 0, from, &raw mut len), errno())
            });
            assert_eq!((set, received), (0, (-1, libc::EINTR)));
            assert!(handled() > 0);
        }
        });
    }

    fn blocked_and_ignored_signals_end_nothing() {
        alone(|| {
        let file = device();
        handle(libc::SIGUSR1, 0);
        block(libc::SIGUSR1);
        // SAFETY: signals to ourselves.
        unsafe {
            libc::kill(libc::getpid(), libc::SIGUSR1);
            libc::signal(libc::SIGALRM, libc::SIG_IGN);
        }
        timer(Duration::from_millis(5), Duration::from_millis(5));
        assert_eq!(call(&file, WAIT, 100), Ok(100));
        assert_eq!((handled(), call(&file, ABANDONED, 0)), (0, Ok(0)));
        });
    }

    fn a_signal_ends_a_poll_even_with_sa_restart() {
        alone(|| {
        let file = device();
        handle(libc::SIGALRM, libc::SA_RESTART);
        let mut fd = libc::pollfd { fd: file.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        let polled = interrupted(libc::SIGALRM, || {
            // SAFETY: one live pollfd.
            let n = unsafe { libc::poll(&raw mut fd, 1, 20_000) };
            (n, errno())
        });
        assert_eq!(polled, (-1, libc::EINTR));
        assert!(handled() > 0);
        });
    }

    fn ppoll_lets_in_what_its_mask_allows() {
        alone(|| {
        let file = device();
        handle(libc::SIGALRM, 0);
        let mut fd = libc::pollfd { fd: file.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        block(libc::SIGALRM);
        // SAFETY: live sets and structures.
        unsafe {
            timer(LATER, Duration::ZERO);
            let limit = libc::timespec { tv_sec: 20, tv_nsec: 0 };
            let none: libc::sigset_t = std::mem::zeroed();
            let n = libc::ppoll(&raw mut fd, 1, &raw const limit, &raw const none);
            assert_eq!((n, errno(), handled()), (-1, libc::EINTR, 1));
            // The thread has its own mask again.
            timer(Duration::from_millis(5), Duration::ZERO);
            assert_eq!(libc::poll(&raw mut fd, 1, 60), 0);
            assert_eq!(handled(), 1);
            let mut read: libc::fd_set = std::mem::zeroed();
            libc::FD_SET(file.as_raw_fd(), &raw mut read);
            let nothing = std::ptr::null_mut();
            let n = libc::pselect(fd.fd + 1, &raw mut read, nothing, nothing, &raw const limit, &raw const none);
            assert_eq!((n, errno(), handled()), (-1, libc::EINTR, 2));
            assert_eq!(call(&file, ARM, 1), Ok(1));
            assert_eq!(libc::ppoll(&raw mut fd, 1, &raw const limit, &raw const none), 1);
        }
        });
    }

    fn in_a_thread_the_threads_own_signal_ends_its_wait() {
        alone(|| {
        let file = device();
        handle(libc::SIGUSR1, 0);
        // SAFETY: our own thread, which runs until it is joined.
        let tid = std::sync::Arc::new(AtomicU32::new(0));
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| {
                // SAFETY: takes nothing.
                tid.store(unsafe { libc::gettid() } as u32, Ordering::SeqCst);
                call(&file, WAIT, 3_600_000)
            });
            assert!(becomes(|| call(&file, WAITING, 0) == Ok(1)), "no call waits");
            // SAFETY: takes integers.
            unsafe {
                libc::syscall(libc::SYS_tgkill, libc::getpid(), tid.load(Ordering::SeqCst), libc::SIGUSR1)
            };
            assert_eq!(waiter.join().expect("joined"), Err(libc::EINTR));
        });
        assert_eq!(handled(), 1);
        });
    }

    /// Like a kernel, restarts the call of the only thread that does not block the signal.
    fn sa_restart_restarts_a_threads_wait() {
        alone(|| {
        let file = device();
        handle(libc::SIGUSR1, libc::SA_RESTART);
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| call(&file, WAIT, 3_600_000));
            block(libc::SIGUSR1);
            assert!(becomes(|| call(&file, WAITING, 0) == Ok(1)), "no call waits");
            // SAFETY: to ourselves.
            unsafe { libc::kill(libc::getpid(), libc::SIGUSR1) };
            assert!(becomes(|| handled() == 1), "no thread takes the signal");
            assert!(becomes(|| call(&file, FREE, 0) == Ok(1)), "the wait goes on");
            assert_eq!(waiter.join().expect("joined"), Ok(3_600_000));
        });
        });
    }

    /// The kernel offers a signal that is sent to a thread's number to this thread first. The first thread,
    /// whose wait the kernel does not interrupt, must not return the kernel's internal number.
    fn signal_for_another_thread_restarts_no_wait() {
        alone(|| {
        let file = device();
        handle(libc::SIGUSR1, libc::SA_RESTART);
        let (waiter, done) = (AtomicU32::new(0), AtomicU32::new(0));
        let wait = || {
            assert_eq!(call(&file, WAIT, 3_600_000), Ok(3_600_000));
            done.fetch_add(1, Ordering::SeqCst);
        };
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // SAFETY: takes nothing.
                waiter.store(unsafe { libc::gettid() } as u32, Ordering::SeqCst);
                wait();
            });
            scope.spawn(|| {
                block(libc::SIGUSR1);
                for round in 1..=20 {
                    assert!(becomes(|| call(&file, WAITING, 0) == Ok(2)), "two calls wait");
                    // SAFETY: a thread of this process.
                    unsafe { libc::kill(waiter.load(Ordering::SeqCst) as i32, libc::SIGUSR1) };
                    assert!(becomes(|| handled() == round), "no thread takes the signal");
                }
                let is_done = || done.load(Ordering::SeqCst) == 2;
                assert!(becomes(|| call(&file, FREE, 0).is_ok() && is_done()), "the waits end");
            });
            wait();
        });
        });
    }

    /// A stop is complete when all threads have stopped. Only then does the parent learn of it.
    fn stop_of_a_process_stops_its_waiting_threads() {
        // SAFETY: the harness's other thread sleeps and holds no lock.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let file = device();
            let done = std::thread::scope(|scope| {
                let waiter = scope.spawn(|| call(&file, WAIT, 3_600_000));
                let waits = becomes(|| call(&file, WAITING, 0) == Ok(1));
                // SAFETY: to ourselves.
                unsafe { libc::kill(libc::getpid(), libc::SIGSTOP) };
                let freed = becomes(|| call(&file, FREE, 0) == Ok(1));
                waits && freed && waiter.join().is_ok_and(|n| n.is_ok())
            });
            // SAFETY: ends the child.
            unsafe { libc::_exit(i32::from(!done)) };
        }
        let mut status = 0;
        let mut wait = |flags| {
            // SAFETY: our own child.
            unsafe { libc::waitpid(child, &raw mut status, libc::WUNTRACED | flags) == child }
        };
        let stopped = becomes(|| wait(libc::WNOHANG));
        // SAFETY: our own child.
        unsafe { libc::kill(child, if stopped { libc::SIGCONT } else { libc::SIGKILL }) };
        assert!(wait(0) && stopped, "the child did not stop");
        assert_eq!(status, 0, "the child failed");
    }

    /// As strace -p does. The call then goes on.
    fn tracer_can_stop_a_waiting_call() {
        let file = device();
        // SAFETY: the harness's other thread sleeps and holds no lock.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let done = call(&file, WAIT, 3_600_000);
            // SAFETY: ends the child.
            unsafe { libc::_exit(i32::from(done != Ok(3_600_000))) };
        }
        assert!(becomes(|| call(&file, WAITING, 0) == Ok(1)), "no call waits");
        let ptrace = |request| {
            // SAFETY: our own child, and no data.
            unsafe { libc::ptrace(request, child, 0, 0) }
        };
        let mut status = 0;
        let mut wait = |flags| {
            // SAFETY: our own child.
            unsafe { libc::waitpid(child, &raw mut status, flags) == child }
        };
        assert_eq!([libc::PTRACE_SEIZE, libc::PTRACE_INTERRUPT].map(ptrace), [0, 0]);
        assert!(becomes(|| wait(libc::WNOHANG)), "the child did not stop");
        assert_eq!(ptrace(libc::PTRACE_DETACH), 0);
        assert!(becomes(|| call(&file, FREE, 0) == Ok(1)), "the wait goes on");
        assert!(wait(0));
        assert_eq!(status, 0, "the child failed");
    }

    /// The kernel restarts a reported call that a signal interrupts: no call may run twice.
    fn ten_thousand_signals_a_second_double_nothing() {
        alone(|| {
        let file = device();
        handle(libc::SIGALRM, libc::SA_RESTART);
        timer(Duration::from_micros(100), Duration::from_micros(100));
        for n in 1..=20_000 {
            assert_eq!(call(&file, COUNT, 0), Ok(n));
        }
        timer(Duration::ZERO, Duration::ZERO);
        assert!(handled() > 100, "only {} signals", handled());
        });
    }

    fn a_stopped_and_continued_program_waits_on() {
        alone(|| {
        let file = device();
        // SAFETY: the child only sends signals and ends.
        let child = unsafe { libc::fork() };
        if child == 0 {
            // SAFETY: our own parent.
            unsafe {
                libc::usleep(30_000);
                libc::kill(libc::getppid(), libc::SIGSTOP);
                libc::usleep(30_000);
                libc::kill(libc::getppid(), libc::SIGCONT);
                libc::_exit(0);
            }
        }
        assert_eq!(call(&file, WAIT, 200), Ok(200));
        assert_eq!(call(&file, COUNT, 0), Ok(2));
        // SAFETY: our own child.
        unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
        });
    }

    fn mappings_under_fire_are_right() {
        alone(|| {
            let file = device();
            handle(libc::SIGALRM, libc::SA_RESTART);
            handle(libc::SIGUSR1, libc::SA_RESTART);
            timer(Duration::from_micros(100), Duration::from_micros(100));
            // SAFETY: the child only sends signals until it is killed.
            let child = unsafe { libc::fork() };
            if child == 0 {
                // SAFETY: our own parent.
                unsafe {
                    let parent = libc::getppid();
                    loop {
                        libc::kill(parent, libc::SIGUSR1);
                        libc::kill(parent, libc::SIGSTOP);
                        libc::kill(parent, libc::SIGCONT);
                        libc::usleep(1000);
                    }
                }
            }
            for n in 0..150 {
                let (len, offset) = (LEN, cookie(n % 3) as i64);
                let fd = file.as_raw_fd();
                // SAFETY: a new mapping, read and removed again.
                unsafe {
                    let at = libc::mmap(std::ptr::null_mut(), len, 3, libc::MAP_SHARED, fd, offset);
                    assert_ne!(at, libc::MAP_FAILED, "{}", errno());
                    let bytes = std::slice::from_raw_parts(at.cast::<u8>(), len);
                    assert!(bytes.iter().all(|&b| b == pattern(n % 3)));
                    libc::munmap(at, len);
                }
            }
            timer(Duration::ZERO, Duration::ZERO);
            // SAFETY: our own child.
            unsafe {
                libc::kill(child, libc::SIGKILL);
                libc::waitpid(child, std::ptr::null_mut(), 0);
                libc::kill(libc::getpid(), libc::SIGCONT);
            }
            assert!(handled() > 10);
            assert_eq!(call(&file, crate::toy::GIVEN, 0), Ok(0));
        });
    }
}
