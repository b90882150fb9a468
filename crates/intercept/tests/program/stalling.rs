//! A program whose calls stall in its own memory: others go on, and it is named.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::toy::COUNT;
use crate::{call, device, errno, is_inside, itself, one_run, run_noting};
use vb3_intercept::Note;

/// More calls than the supervisor has threads.
const CALLS: usize = 300;
/// Calls of the program beside it.
const OWN: usize = 200;
/// Statuses of the one whose calls stall: it failed; it has no userfaultfd.
const FAILED: i32 = 101;
const REFUSED: i32 = 77;
/// How long what must happen may take on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// Memory whose pages nobody fills while this exists; a page of zeros afterwards.
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

/// Whether it is so within a minute.
fn becomes(mut is_so: impl FnMut() -> bool) -> bool {
    let began = Instant::now();
    while !is_so() {
        if began.elapsed() > PATIENCE {
            return false;
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
    true
}

/// How many threads of a process are in an ioctl.
fn in_ioctl(process: libc::pid_t) -> usize {
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

/// A program of its own, whose calls stall until there is something in `end`.
fn begin_stalling(end: &impl AsRawFd) -> libc::pid_t {
    // SAFETY: the harness's other thread sleeps and holds no lock.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let stall = std::panic::AssertUnwindSafe(|| stall(end.as_raw_fd()));
        let status = std::panic::catch_unwind(stall).unwrap_or(FAILED);
        // SAFETY: ends the child.
        unsafe { libc::_exit(status) };
    }
    child
}

/// Gives 0, or what of it cannot be.
fn stall(end: i32) -> i32 {
    let Ok(Unfilled { at, faults }) = Unfilled::new() else {
        return REFUSED;
    };
    let file = device();
    let file = &file;
    std::thread::scope(|scope| {
        let call = move || {
            // SAFETY: the toy's request takes a pointer to one u32.
            let done = unsafe { libc::ioctl(file.as_raw_fd(), COUNT, at) };
            assert_eq!(done, 0, "{}", errno());
        };
        for _ in 0..CALLS {
            scope.spawn(call);
        }
        // From here on it makes no call that is noticed. Should nobody end it, this does.
        // SAFETY: a number; one byte into a live buffer.
        unsafe {
            libc::alarm(2 * PATIENCE.as_secs() as u32);
            libc::read(end, [0u8; 1].as_mut_ptr().cast(), 1);
        }
        // Fills the page.
        drop(faults);
    });
    0
}

#[test]
fn calls_of_others_go_on_while_one_program_fills_the_pool() {
    let _one = one_run();
    let said = format!(
        "{}/stalled-{}",
        env!("CARGO_TARGET_TMPDIR"),
        std::process::id()
    );
    let name = "stalling::goes_on_beside_a_full_pool";
    let mut notes = Vec::new();
    let (report, toy) = run_noting(&itself(name).env("VB3_SAID", &said), &mut |note| {
        if matches!(note, Note::Stalled { .. }) {
            File::create(&said).expect("a file");
        }
        notes.push(note);
    });
    // Not there where nothing was said.
    std::fs::remove_file(&said).ok();
    assert_eq!(report.status, 0, "{name} failed inside");
    toy.assert_nothing_held();
    if toy.count == 0 {
        eprintln!("skipped: userfaultfd is refused here");
        return;
    }
    assert_eq!(toy.count as usize, CALLS + OWN);
    let stalled = notes.iter().filter_map(|note| match *note {
        Note::Stalled { nr, calls, .. } => Some((nr, calls)),
        _ => None,
    });
    let stalled: Vec<_> = stalled.collect();
    let [(libc::SYS_ioctl, calls)] = stalled[..] else {
        panic!("one program stalls in ioctl: {notes:?}");
    };
    // One may be counted twice while it is being held back.
    assert!((1..=CALLS + 1).contains(&calls), "{calls}");
}

#[test]
#[ignore = "a program for the test above"]
fn goes_on_beside_a_full_pool() {
    if !is_inside() {
        return;
    }
    let (end, mut ends) = std::io::pipe().expect("pipe");
    let other = begin_stalling(&end);
    let mut status = 0;
    // SAFETY: our own child.
    let mut ended = |how| unsafe { libc::waitpid(other, &raw mut status, how) } == other;
    let stalls = becomes(|| in_ioctl(other) == CALLS || ended(libc::WNOHANG));
    if stalls && in_ioctl(other) == CALLS {
        let file = device();
        for _ in 0..OWN {
            call(&file, COUNT, 0).expect("counted");
        }
        let said = std::env::var_os("VB3_SAID").expect("set by the test");
        assert!(
            becomes(|| Path::new(&said).exists()),
            "the stall is not named"
        );
        assert_eq!(in_ioctl(other), CALLS, "all stall still");
        ends.write_all(b"x").expect("room");
        assert!(ended(0), "{}", errno());
    }
    let status = libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status));
    assert!(matches!(status, Some(0 | REFUSED)), "{status:?}");
}
