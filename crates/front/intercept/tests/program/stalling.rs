//! Tests a program whose calls block on its own memory: other programs continue, and a note names
//! it.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, epoll};
use rustix::fs::{CWD, FileType, Mode};

use crate::toy::{ASKED, COUNT};
use crate::{call, device, errno, is_inside, itself, one_run, run_inside, run_noting};
use vb3_intercept::Note;

/// Number of blocking calls of one program: more than the threads that it gets.
const CALLS: usize = 300;
/// Number of programs with one such call each.
const PROGRAMS: usize = 300;
/// Threads of the pool. As many programs, each with a blocking call, use all of them.
const THREADS: usize = 1024;
const CROWD: usize = 1040;
/// Calls of the other program.
const OWN: usize = 200;
/// Blocking calls of one program that use all threads that it gets.
const QUOTA: usize = 205;
/// Number of ppolls beside blocking calls.
const POLLS: usize = 5;
/// Exit statuses of the blocking program: it failed; it has no userfaultfd.
const FAILED: i32 = 101;
const REFUSED: i32 = 77;
/// Time limit for expected events on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Memory whose pages stay unfilled while this exists, and read as zeroes afterwards.
struct Unfilled {
    at: usize,
    faults: OwnedFd,
}

impl Unfilled {
    const LEN: usize = 4096;

    fn new() -> Result<Self, i32> {
        const API: u64 = 0xc018_aa3f;
        const REGISTER: u64 = 0xc020_aa00;
        // SAFETY: new memory, a new descriptor, and structures that the kernel reads and writes.
        unsafe {
            let faults = libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC) as i32;
            if faults < 0 {
                return Err(errno());
            }
            let faults = OwnedFd::from_raw_fd(faults);
            let (prot, flags) = (
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            );
            let at = libc::mmap(std::ptr::null_mut(), Self::LEN, prot, flags, -1, 0);
            assert_ne!(at, libc::MAP_FAILED);
            let mut api = [0xaa_u64, 0, 0];
            let mut missing = [at.addr() as u64, Self::LEN as u64, 1, 0];
            let refused = libc::ioctl(faults.as_raw_fd(), API, api.as_mut_ptr()) < 0
                || libc::ioctl(faults.as_raw_fd(), REGISTER, missing.as_mut_ptr()) < 0;
            if refused {
                return Err(errno());
            }
            Ok(Self {
                at: at.addr(),
                faults,
            })
        }
    }
}

/// Waits until a condition holds, at most a minute. Returns whether it does.
pub(crate) fn becomes(mut is_so: impl FnMut() -> bool) -> bool {
    let began = Instant::now();
    while !is_so() {
        if began.elapsed() > TIMEOUT {
            return false;
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
    true
}

/// Returns how many threads of a process are in an ioctl.
pub(crate) fn in_ioctl(process: libc::pid_t) -> usize {
    let Ok(tasks) = std::fs::read_dir(format!("/proc/{process}/task")) else {
        return 0;
    };
    let ioctl = format!("{} ", libc::SYS_ioctl);
    let calls = tasks.flatten().filter_map(|task| {
        let path = task.path().join("syscall");
        std::fs::read_to_string(path).ok()
    });
    calls.filter(|call| call.starts_with(&ioctl)).count()
}

/// Starts a program with this many blocking calls on a device, until it gets a byte from `end`.
fn begin_stalling(file: &File, end: &impl AsRawFd, calls: usize) -> libc::pid_t {
    // SAFETY: the harness's other thread sleeps and holds no lock.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let stall = std::panic::AssertUnwindSafe(|| stall(file, end.as_raw_fd(), calls));
        let status = std::panic::catch_unwind(stall).unwrap_or(FAILED);
        // SAFETY: ends the child.
        unsafe { libc::_exit(status) };
    }
    child
}

/// Runs the blocking calls. Returns 0, or the status that says why it cannot.
fn stall(file: &File, end: i32, calls: usize) -> i32 {
    let Ok(Unfilled { at, faults }) = Unfilled::new() else {
        return REFUSED;
    };
    // The C library opens files when threads start. Those calls would wait behind the blocking ones.
    let started = &Barrier::new(calls);
    std::thread::scope(|scope| {
        let call = move || {
            started.wait();
            // SAFETY: the toy's request takes a pointer to one u32.
            let done = unsafe { libc::ioctl(file.as_raw_fd(), COUNT, at) };
            assert_eq!(done, 0, "{}", errno());
        };
        for _ in 0..calls {
            scope.spawn(call);
        }
        // SAFETY: a number; one byte into a live buffer. From here on it makes no reported call,
        // and the alarm ends it if the test does not.
        unsafe {
            libc::alarm(TIMEOUT.as_secs() as u32);
            libc::read(end, [0u8; 1].as_mut_ptr().cast(), 1);
        }
        // Closes the userfaultfd, so that the kernel fills the page.
        drop(faults);
    });
    0
}

/// Runs a program that waits at a FIFO for a note of this kind. Returns the counted calls and the
/// notes, or `None` if no call could block.
fn run_beside(name: &str, hears_of: fn(&Note) -> bool) -> Option<(usize, Vec<Note>)> {
    let said = format!(
        "{}/stalled-{}",
        env!("CARGO_TARGET_TMPDIR"),
        std::process::id()
    );
    rustix::fs::mknodat(CWD, &said, FileType::Fifo, Mode::RWXU, 0).expect("a name");
    let mut fifo = open_fifo(said.as_ref());
    let mut notes = Vec::new();
    let (report, toy) = run_noting(&itself(name).env("VB3_SAID", &said), &mut |note| {
        if hears_of(&note) {
            fifo.write_all(b"x").expect("room");
        }
        notes.push(note);
    });
    std::fs::remove_file(&said).expect("ours");
    assert_eq!(report.status, 0, "{name} failed inside");
    toy.assert_nothing_held();
    if toy.count == 0 {
        vb3_skip::skip("userfaultfd is refused here");
        return None;
    }
    Some((toy.count as usize, notes))
}

/// Opens a FIFO without waiting for its other end.
fn open_fifo(path: &Path) -> File {
    let opened = File::options().read(true).write(true).open(path);
    opened.expect("a FIFO")
}

/// Opens the FIFO through which a program learns of a note.
fn said() -> File {
    open_fifo(std::env::var_os("VB3_SAID").expect("set").as_ref())
}

const fn is_of_one(note: &Note) -> bool {
    matches!(note, Note::Stalled { .. })
}

/// Returns the calls in notes about single programs, and how many of each block.
fn stalled(notes: &[Note]) -> Vec<(i64, usize)> {
    let of = |note: &Note| match *note {
        Note::Stalled { nr, calls, .. } => Some((nr, calls)),
        _ => None,
    };
    notes.iter().filter_map(of).collect()
}

#[test]
fn full_pool_does_not_block_other_programs() {
    let _one = one_run();
    let Some((count, notes)) = run_beside("stalling::goes_on_beside_a_full_pool", is_of_one) else {
        return;
    };
    assert_eq!(count, CALLS + OWN);
    let stalled = stalled(&notes);
    let [(libc::SYS_ioctl, calls)] = stalled[..] else {
        panic!("one program stalls in ioctl: {stalled:?}");
    };
    // A call may be counted twice while it is being postponed.
    assert!((1..=CALLS + 1).contains(&calls), "{calls}");
}

#[test]
fn calls_of_others_go_on_while_many_programs_stall() {
    let _one = one_run();
    let name = "stalling::goes_on_beside_stalled_programs";
    let Some((count, notes)) = run_beside(name, is_of_one) else {
        return;
    };
    assert_eq!(count, PROGRAMS + OWN);
    let stalled = stalled(&notes);
    assert!((1..=PROGRAMS).contains(&stalled.len()), "{stalled:?}");
    // A call may be counted twice while it is being postponed.
    let alike = |at: &(i64, usize)| at.0 == libc::SYS_ioctl && (1..=2).contains(&at.1);
    assert!(stalled.iter().all(alike), "{stalled:?}");
}

/// Each thread serves a blocking call. All others wait, and are served once when threads are free.
#[test]
fn calls_wait_while_every_thread_stalls() {
    let _one = one_run();
    let is_of_all = |note: &Note| matches!(note, Note::NobodyServes { .. });
    let Some((count, notes)) = run_beside("stalling::waits_for_a_free_thread", is_of_all) else {
        return;
    };
    assert_eq!(count, CROWD, "each is served once");
    let said: Vec<_> = notes.iter().filter(|note| is_of_all(note)).collect();
    let [Note::NobodyServes { calls, nr, .. }] = said[..] else {
        panic!("{notes:?}");
    };
    assert_eq!((*calls, *nr), (THREADS, libc::SYS_ioctl));
}

/// While the poll of a set blocks, another event of the same call lasts.
#[test]
fn paused_poll_does_not_keep_the_clock_awake() {
    run_inside("stalling::polls_a_locked_set");
}

#[test]
#[ignore = "a test above runs it as a program"]
fn polls_a_locked_set() {
    if !is_inside() {
        return;
    }
    let Ok(Unfilled { at, faults }) = Unfilled::new() else {
        return vb3_skip::skip("userfaultfd is refused here");
    };
    let file = device();
    let (ready, mut makes_ready) = std::io::pipe().expect("pipe");
    let (other, mut makes_other) = std::io::pipe().expect("pipe");
    let set = epoll::create(epoll::CreateFlags::CLOEXEC).expect("a set");
    let data = epoll::EventData::new_u64(0);
    epoll::add(&set, &ready, data, epoll::EventFlags::IN).expect("added");
    // Returns how often the device was asked, and how often the re-polls of the set may have asked it.
    let asked_meanwhile = || {
        let (before, began) = (call(&file, ASKED, 0).expect("counted"), Instant::now());
        std::thread::sleep(Duration::from_millis(100));
        let asked = call(&file, ASKED, 0).expect("counted") - before;
        (
            asked,
            u32::try_from(began.elapsed().as_millis()).unwrap_or(u32::MAX) + 100,
        )
    };
    let (asked, most) = std::thread::scope(|scope| {
        // The kernel holds the set's lock while it writes the event to the unfilled page.
        let set_fd = set.as_raw_fd();
        scope.spawn(move || {
            let event = std::ptr::without_provenance_mut(at);
            // SAFETY: the page has room for one event, and no other code uses it.
            assert_eq!(unsafe { libc::epoll_wait(set_fd, event, 1, -1) }, 1);
        });
        scope.spawn(|| {
            let all = [file.as_fd(), set.as_fd(), other.as_fd()];
            let mut all = all.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
            assert_ne!(rustix::event::poll(&mut all, None), Ok(0));
        });
        // SAFETY: a number; ends the program if no thread faults.
        unsafe { libc::alarm(TIMEOUT.as_secs() as u32) };
        asked_meanwhile();
        makes_ready.write_all(b"x").expect("room");
        // The message of the fault.
        rustix::io::read(&faults, &mut [0u8; 32]).expect("a fault");
        makes_other.write_all(b"x").expect("room");
        let beside = asked_meanwhile();
        drop(faults);
        beside
    });
    assert!(asked < most, "{asked} times, at most {most}");
}

/// A ppoll ends late for a signal that only its mask admits, since all threads for its program stall. The
/// supervisor must not stop the next ppoll, too: no other signal could end that one.
#[test]
fn late_interrupt_does_not_stop_next_poll() {
    crate::run_inside("stalling::polls_beside_its_stalled_calls");
}

#[test]
#[ignore = "the test above runs it as a program"]
fn polls_beside_its_stalled_calls() {
    if !is_inside() {
        return;
    }
    if let Err(errno) = Unfilled::new() {
        vb3_skip::skip(format_args!("userfaultfd is refused (errno {errno})"));
        return;
    }
    let file = device();
    let pipes = [(); 4].map(|()| std::io::pipe().expect("pipe"));
    let [
        (begin, mut begins),
        (one, mut ends_one),
        (rest, mut ends_rest),
        (mut polled, polls),
    ] = pipes;
    // SAFETY: the harness's other thread sleeps and holds no lock.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let pipes = [&begin, &one, &rest].map(AsRawFd::as_raw_fd);
        let poll = || poll_beside_stalled(&file, pipes, polls.as_raw_fd());
        let status = std::panic::catch_unwind(std::panic::AssertUnwindSafe(poll));
        // SAFETY: ends the child.
        unsafe { libc::_exit(status.unwrap_or(FAILED)) };
    }
    drop(polls);
    let call = format!("/proc/{child}/syscall");
    let polls = || {
        let now = std::fs::read_to_string(&call).unwrap_or_default();
        now.starts_with(&format!("{} ", libc::SYS_ppoll))
    };
    // SAFETY: our own child, which handles the signal.
    let signal = || unsafe { libc::kill(child, libc::SIGUSR1) };
    assert!(becomes(polls), "it does not poll");
    begins.write_all(b"x").expect("room");
    assert!(becomes(|| in_ioctl(child) == QUOTA), "it does not stall");
    // With less time, the test tests less: the supervisor receives the calls, and later finds the signal
    // several times.
    std::thread::sleep(Duration::from_millis(200));
    signal();
    std::thread::sleep(Duration::from_millis(50));
    ends_one.write_all(b"x").expect("room");
    // A busy supervisor may give the free thread to another blocking call. Then the test tests less.
    let mut end = libc::pollfd {
        fd: polled.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one live pollfd.
    unsafe { libc::poll(&raw mut end, 1, 5000) };
    ends_rest.write_all(b"x").expect("room");
    let mut read = [0];
    let mut await_end_of_poll = || {
        polled
            .read_exact(&mut read)
            .expect("a signal ends each poll")
    };
    for _ in 1..POLLS {
        await_end_of_poll();
        assert!(becomes(polls), "it does not poll again");
        signal();
    }
    await_end_of_poll();
    await_end(vec![child]);
}

extern "C" fn ignore(_: i32) {}

/// Makes ppolls that signals end, and writes a byte after each. After a byte from `begin`, other calls
/// block: one until a byte from `one`, the rest until a byte from `rest`.
fn poll_beside_stalled(file: &File, [begin, one, rest]: [i32; 3], polled: i32) -> i32 {
    // SAFETY: a handler that does nothing; live structures; zero is the empty set.
    let none: libc::sigset_t = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = ignore as extern "C" fn(i32) as usize;
        libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut());
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigaddset(&raw mut set, libc::SIGUSR1);
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
        std::mem::zeroed()
    };
    std::thread::scope(|scope| {
        let stalls = scope.spawn(|| {
            // SAFETY: one byte into a live buffer.
            unsafe { libc::read(begin, [0u8; 1].as_mut_ptr().cast(), 1) };
            let first = scope.spawn(move || stall(file, one, 1));
            stall(file, rest, QUOTA - 1).max(first.join().expect("it ends"))
        });
        let (fd, events, revents) = (file.as_raw_fd(), libc::POLLIN, 0);
        let mut entry = libc::pollfd {
            fd,
            events,
            revents,
        };
        let (tv_sec, tv_nsec) = (20, 0);
        let limit = libc::timespec { tv_sec, tv_nsec };
        for _ in 0..POLLS {
            // SAFETY: live structures; one live byte.
            unsafe {
                let n = libc::ppoll(&raw mut entry, 1, &raw const limit, &raw const none);
                assert_eq!((n, errno()), (-1, libc::EINTR));
                libc::write(polled, c"x".as_ptr().cast(), 1);
            }
        }
        stalls.join().expect("they end")
    })
}

#[test]
#[ignore = "a test above runs it as a program"]
fn goes_on_beside_a_full_pool() {
    if is_inside() {
        beside(1, CALLS, make_own_calls);
    }
}

#[test]
#[ignore = "a test above runs it as a program"]
fn waits_for_a_free_thread() {
    if !is_inside() {
        return;
    }
    if Unfilled::new().is_err() {
        return;
    }
    let (end, mut ends) = std::io::pipe().expect("pipe");
    let (file, mut said) = (device(), said());
    let others = (0..CROWD).map(|_| begin_stalling(&file, &end, 1));
    let others: Vec<_> = others.collect();
    // SAFETY: a number; ends the program if no note comes. A reported call would wait with the
    // others.
    unsafe { libc::alarm(TIMEOUT.as_secs() as u32) };
    said.read_exact(&mut [0]).expect("the remark");
    ends.write_all(&vec![b'x'; CROWD]).expect("room");
    await_end(others);
}

#[test]
#[ignore = "a test above runs it as a program"]
fn goes_on_beside_stalled_programs() {
    if is_inside() {
        beside(PROGRAMS, 1, make_own_calls);
    }
}

fn make_own_calls(_: &File) {
    let file = device();
    for _ in 0..OWN {
        call(&file, COUNT, 0).expect("counted");
    }
}

/// Calls `act` while other programs have this many blocking calls each.
fn beside(programs: usize, calls: usize, act: impl FnOnce(&File)) {
    let (end, mut ends) = std::io::pipe().expect("pipe");
    let file = device();
    let others: Vec<_> = (0..programs)
        .map(|_| begin_stalling(&file, &end, calls))
        .collect();
    let has_ended = |program| {
        // SAFETY: zero is a valid siginfo_t; our own child, which can still be waited for.
        unsafe {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            let how = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
            libc::waitid(libc::P_PID, program as libc::id_t, &raw mut info, how) == 0
                && info.si_pid() == program
        }
    };
    let stall = || others.iter().all(|other| in_ioctl(*other) == calls);
    let ended = || others.iter().any(|other| has_ended(*other));
    assert!(becomes(|| stall() || ended()), "they do not stall");
    if stall() {
        // SAFETY: a number; ends the program if no note comes.
        unsafe { libc::alarm(TIMEOUT.as_secs() as u32) };
        said().read_exact(&mut [0]).expect("the remark");
        // SAFETY: a number.
        unsafe { libc::alarm(0) };
        act(&file);
        assert!(stall(), "all stall still");
    }
    ends.write_all(&vec![b'x'; others.len()]).expect("room");
    await_end(others);
}

/// Waits for the programs with blocking calls.
fn await_end(others: Vec<libc::pid_t>) {
    for other in others {
        let mut status = 0;
        // SAFETY: our own child.
        let ended = unsafe { libc::waitpid(other, &raw mut status, 0) };
        assert_eq!(ended, other, "{}", errno());
        let status = libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status));
        assert!(matches!(status, Some(0 | REFUSED)), "{status:?}");
    }
}
