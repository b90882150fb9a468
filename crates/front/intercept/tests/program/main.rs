//! Runs programs under the front end, with a toy backend.
//!
//! Each test runs this test binary again as a program, with one of the functions in `inside` modules. These
//! functions do nothing unless they are run that way. After a failed check, the program's exit status is not
//! 0.

#![allow(clippy::disallowed_methods, reason = "tests may block")]

mod epoll;
mod lifetime;
mod made;
mod mapping;
mod numbers;
mod opening;
mod orphans;
mod polling;
mod robust;
mod roots;
mod shell;
mod signals;
mod stalling;
mod toy;
mod transfer;
mod waiting;

use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;
use std::sync::{Mutex, PoisonError};

use toy::Toy;
use vb3_intercept::{ExitReport, Note, Options, Program};

/// Serialises runs in this process, since a fork for another run would copy descriptors that this
/// one has just closed.
fn one_run() -> impl Drop {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs a program with the toy's devices.
fn run_program(program: &Program) -> (ExitReport, Toy, Vec<Note>) {
    let _one = one_run();
    run_alone(program)
}

fn run_alone(program: &Program) -> (ExitReport, Toy, Vec<Note>) {
    let mut notes = Vec::new();
    let (report, toy) = run_noting(program, &mut |note| notes.push(note));
    (report, toy, notes)
}

/// Runs a program, and calls `note` with each note.
fn run_noting(program: &Program, note: &mut (dyn FnMut(Note) + Send)) -> (ExitReport, Toy) {
    let mut toy = Toy::new();
    let options = Options {
        notes: Some(note),
        keep_signals: true,
        leftover: vb3_intercept::Leftover::Wait,
    };
    let report = vb3_intercept::run(program, &mut toy, options).expect("the program starts");
    (report, toy)
}

/// Runs one of the functions in an `inside` module. It must succeed and leave nothing behind.
fn run_inside(name: &str) -> (ExitReport, Toy, Vec<Note>) {
    let ran = run_program(&itself(name));
    assert_eq!(ran.0.status, 0, "{name} failed inside");
    ran.1.assert_nothing_held();
    ran
}

fn itself(name: &str) -> Program {
    Program::new(std::env::current_exe().expect("own path"))
        .args([
            name,
            "--exact",
            "--ignored",
            "--nocapture",
            "--test-threads=1",
        ])
        .env("VB3_INSIDE", "1")
}

/// Runs a shell command.
fn run_shell(command: &str) -> (ExitReport, Toy, Vec<Note>) {
    run_program(&Program::new("sh").args(["-c", command]))
}

/// Returns whether this process is a program under the front end.
fn is_inside() -> bool {
    std::env::var_os("VB3_INSIDE").is_some()
}

/// Opens the toy's first device.
fn device() -> File {
    OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/video90")
        .expect("the device opens")
}

/// Runs `body` in a process with one thread, since the test harness has two.
fn alone(body: impl FnOnce()) {
    // SAFETY: the harness's other thread sleeps and holds no lock.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
        // SAFETY: ends the child.
        unsafe { libc::_exit(if done.is_ok() { 0 } else { 101 }) };
    }
    let mut status = 0;
    // SAFETY: our own child.
    unsafe { libc::waitpid(child, &raw mut status, 0) };
    assert_eq!(status, 0, "the single-threaded body failed");
}

/// Puts the calling thread under a seccomp filter of its own, which answers call `nr` with `becomes`.
fn filter_itself(nr: i64, becomes: u32) {
    let op = |code, k, jt, jf| libc::sock_filter { code, jt, jf, k };
    let mut code = [
        op(0x20, 0, 0, 0),
        op(0x15, nr as u32, 0, 1),
        op(0x06, becomes, 0, 0),
        op(0x06, 0x7fff_0000, 0, 0),
    ];
    let prog = libc::sock_fprog {
        len: 4,
        filter: code.as_mut_ptr(),
    };
    // SAFETY: the program is live; the kernel copies it.
    unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        assert_eq!(libc::prctl(libc::PR_SET_SECCOMP, 2, &raw const prog), 0);
    }
}

/// Calls an ioctl with a number as input and output. Returns the number, or the errno.
fn call(file: &impl AsRawFd, request: u64, value: u32) -> Result<u32, i32> {
    let mut value = value;
    // SAFETY: the toy's requests take a pointer to one u32.
    let ret = unsafe { libc::ioctl(file.as_raw_fd(), request, &raw mut value) };
    if ret < 0 { Err(errno()) } else { Ok(value) }
}

fn errno() -> i32 {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

/// Defines tests whose bodies run in a program under the front end.
macro_rules! inside {
    ($($(#[$attr:meta])* fn $name:ident() $body:block)+) => {
        $(
            $(#[$attr])*
            #[test]
            fn $name() {
                crate::run_inside(concat!(module_path!(), "::inside::", stringify!($name)).split_once("::").map_or("", |(_, rest)| rest));
            }
        )+
        mod inside {
            use super::*;
            $(
                #[test]
                #[ignore = "the test of the same name runs it as a program"]
                fn $name() {
                    if crate::is_inside() $body
                }
            )+
        }
    };
}
pub(crate) use inside;
