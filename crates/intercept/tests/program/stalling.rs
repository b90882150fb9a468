//! A program whose calls stall in its own memory: others go on, and it is named.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::toy::COUNT;
use crate::{call, device, errno, is_inside, itself, one_run, run_noting};
use vb3_intercept::Note;

/// Calls of one program that stall: more than threads that it gets.
const CALLS: usize = 300;
/// Programs with one such call each.
const PROGRAMS: usize = 300;
/// Programs, and the calls of each: more than threads may wait, of which none gets more than a quarter
/// of those that are left. Then those with one call each that take the rest.
const CROWD: [(usize, usize); 2] = [(64, 24), (80, 1)];
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
pub(crate) fn becomes(mut is_so: impl FnMut() -> bool) -> bool {
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

/// A program of its own, so many of whose calls on a device stall until it gets a byte from `end`.
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

/// Gives 0, or what of it cannot be.
fn stall(file: &File, end: i32, calls: usize) -> i32 {
    let Ok(Unfilled { at, faults }) = Unfilled::new() else {
        return REFUSED;
    };
    std::thread::scope(|scope| {
        let call = move || {
            // SAFETY: the toy's request takes a pointer to one u32.
            let done = unsafe { libc::ioctl(file.as_raw_fd(), COUNT, at) };
            assert_eq!(done, 0, "{}", errno());
        };
        for _ in 0..calls {
            scope.spawn(call);
        }
        // From here on it makes no call that is noticed. Should nobody end it, this does.
        // SAFETY: a number; one byte into a live buffer.
        unsafe {
            libc::alarm(PATIENCE.as_secs() as u32);
            libc::read(end, [0u8; 1].as_mut_ptr().cast(), 1);
        }
        // Fills the page.
        drop(faults);
    });
    0
}

/// Runs a program that hears by a file of a remark of this kind; `None` where it could make no calls
/// that stall. Gives the calls that were counted, and the remarks.
fn run_beside(name: &str, hears_of: fn(&Note) -> bool) -> Option<(usize, Vec<Note>)> {
    let said = format!(
        "{}/stalled-{}",
        env!("CARGO_TARGET_TMPDIR"),
        std::process::id()
    );
    let mut notes = Vec::new();
    let (report, toy) = run_noting(&itself(name).env("VB3_SAID", &said), &mut |note| {
        if hears_of(&note) {
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
        return None;
    }
    Some((toy.count as usize, notes))
}

const fn is_of_one(note: &Note) -> bool {
    matches!(note, Note::Stalled { .. })
}

/// The calls named in remarks about single programs, and how many of each stall.
fn stalled(notes: &[Note]) -> Vec<(i64, usize)> {
    let of = |note: &Note| match *note {
        Note::Stalled { nr, calls, .. } => Some((nr, calls)),
        _ => None,
    };
    notes.iter().filter_map(of).collect()
}

#[test]
fn calls_of_others_go_on_while_one_program_fills_the_pool() {
    let _one = one_run();
    let Some((count, notes)) = run_beside("stalling::goes_on_beside_a_full_pool", is_of_one) else {
        return;
    };
    assert_eq!(count, CALLS + OWN);
    let stalled = stalled(&notes);
    let [(libc::SYS_ioctl, calls)] = stalled[..] else {
        panic!("one program stalls in ioctl: {stalled:?}");
    };
    // One may be counted twice while it is being held back.
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
    let alike = |at: &(i64, usize)| *at == (libc::SYS_ioctl, 1);
    assert!(stalled.iter().all(alike), "{stalled:?}");
}

/// As many calls stall as threads may wait: those of others go on, new programs start, and only what
/// would have to wait itself is put off until there is room.
#[test]
fn calls_of_others_go_on_while_all_threads_that_may_wait_do() {
    let _one = one_run();
    let is_of_all = |note: &Note| matches!(note, Note::ReserveServes { .. });
    let Some((count, notes)) = run_beside("stalling::goes_on_by_the_reserve", is_of_all) else {
        return;
    };
    let crowd: usize = CROWD.iter().map(|(programs, calls)| programs * calls).sum();
    assert_eq!(count, crowd + OWN + 1, "each is served once");
    let said: Vec<_> = notes.iter().filter(|note| is_of_all(note)).collect();
    let [Note::ReserveServes { calls, nr, .. }] = said[..] else {
        panic!("{notes:?}");
    };
    assert!(
        (1008..=1024).contains(calls) && *nr == libc::SYS_ioctl,
        "{said:?}"
    );
    let nobody = |note: &Note| matches!(note, Note::NobodyServes { .. });
    assert!(!notes.iter().any(nobody), "{notes:?}");
}

#[test]
#[ignore = "a program for a test above"]
fn goes_on_beside_a_full_pool() {
    if is_inside() {
        go_on_beside(&[(1, CALLS)], |_| {});
    }
}

#[test]
#[ignore = "a program for a test above"]
fn goes_on_by_the_reserve() {
    if is_inside() {
        let mut put_off = None;
        go_on_beside(&CROWD, |file| put_off = Some(go_on_by_the_reserve(file)));
        if let Some((put_off, faults)) = put_off {
            drop(faults);
            put_off.join().expect("counted once there was room");
        }
    }
}

/// What goes on; and a call that stalls, which does when its page is filled.
fn go_on_by_the_reserve(file: &File) -> (JoinHandle<()>, OwnedFd) {
    let file = file.try_clone().expect("a descriptor");
    let Unfilled { at, faults } = Unfilled::new().expect("as the others have");
    let put_off = std::thread::spawn(move || {
        // SAFETY: the toy's request takes a pointer to one u32.
        let done = unsafe { libc::ioctl(file.as_raw_fd(), COUNT, at) };
        assert_eq!(done, 0, "{}", errno());
    });
    let own = std::process::id() as libc::pid_t;
    assert!(becomes(|| in_ioctl(own) == 1), "the call is made");
    // Opened, looked up and loaded by a new program, as files that nobody has asked for before are.
    let told = std::process::Command::new("ls").arg("/dev").output();
    let told = String::from_utf8(told.expect("ls starts").stdout).expect("names");
    assert!(told.lines().any(|name| name == "video90"), "{told}");
    let fresh = std::env::temp_dir().join(format!("vb3-fresh-{own}"));
    std::fs::write(&fresh, "new").expect("a new file");
    assert_eq!(std::fs::read(&fresh).expect("its bytes"), b"new");
    std::fs::remove_file(&fresh).expect("ours");
    assert_eq!(in_ioctl(own), 1, "it waits for its page");
    (put_off, faults)
}

#[test]
#[ignore = "a program for a test above"]
fn goes_on_beside_stalled_programs() {
    if is_inside() {
        go_on_beside(&[(PROGRAMS, 1)], |_| {});
    }
}

/// Makes calls, and then more, beside so many programs of which each has so many that stall.
fn go_on_beside(crowd: &[(usize, usize)], more: impl FnOnce(&File)) {
    let (end, mut ends) = std::io::pipe().expect("pipe");
    let file = device();
    let mut others = Vec::new();
    let has_ended = |program| {
        // SAFETY: a zeroed siginfo_t is one; our own child, which stays to be waited for.
        unsafe {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            let how = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
            libc::waitid(libc::P_PID, program as libc::id_t, &raw mut info, how) == 0
                && info.si_pid() == program
        }
    };
    let stall = |others: &[(libc::pid_t, usize)]| {
        let mut others = others.iter();
        others.all(|(other, calls)| in_ioctl(*other) == *calls)
    };
    for &(programs, calls) in crowd {
        others.extend((0..programs).map(|_| (begin_stalling(&file, &end, calls), calls)));
        let ended = || others.iter().any(|(other, _)| has_ended(*other));
        let settled = becomes(|| stall(&others) || ended());
        assert!(settled, "they do not stall");
    }
    if stall(&others) {
        let said = std::env::var_os("VB3_SAID").expect("set by the test");
        let is_said = becomes(|| Path::new(&said).exists());
        assert!(is_said, "the stall is not named");
        let file = device();
        for _ in 0..OWN {
            call(&file, COUNT, 0).expect("counted");
        }
        more(&file);
        assert!(stall(&others), "all stall still");
    }
    ends.write_all(&vec![b'x'; others.len()]).expect("room");
    for (other, _) in others {
        let mut status = 0;
        // SAFETY: our own child.
        let ended = unsafe { libc::waitpid(other, &raw mut status, 0) };
        assert_eq!(ended, other, "{}", errno());
        let status = libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status));
        assert!(matches!(status, Some(0 | REFUSED)), "{status:?}");
    }
}
