use std::fs::File;
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::os::fd::AsRawFd;

use super::*;
use crate::process::launch::{await_child, fork};

/// The descriptor that the child's handler writes to.
static OUT: std::sync::atomic::AtomicI32 = std::sync::atomic::AtomicI32::new(-1);

extern "C" fn on_signal(_: i32) {
    let out = OUT.load(std::sync::atomic::Ordering::Relaxed);
    // SAFETY: one live byte.
    unsafe { libc::write(out, c"h".as_ptr().cast(), 1) };
}

/// Runs the child: it handles SIGUSR1, reports that it is ready, and waits in a read.
fn waits(mut input: PipeReader, mut out: PipeWriter) -> Option<()> {
    OUT.store(out.as_raw_fd(), std::sync::atomic::Ordering::Relaxed);
    // SAFETY: a structure of integers, for which zero is valid, and a handler that only writes.
    unsafe {
        let mut action: libc::sigaction = core::mem::zeroed();
        action.sa_sigaction = on_signal as extern "C" fn(i32) as usize;
        libc::sigaction(libc::SIGUSR1, &raw const action, core::ptr::null_mut());
    }
    out.write_all(b"s").ok()?;
    input.read_exact(&mut [0]).ok()?;
    out.write_all(b"r").ok()
}

/// Waits until a child is in this call. The caller knows that the child will soon make it.
fn await_call(child: libc::pid_t, nr: libc::c_long) {
    let makes = || {
        let call = raw::proc_string(&format!("/proc/{child}/syscall"));
        call.split(' ').next() == Some(&nr.to_string())
    };
    while !makes() {
        std::thread::yield_now();
    }
}

/// A thread that is made to close a descriptor first stops at its due signal. The kernel delivers the signal
/// after the descriptor is closed, and the call restarts.
#[test]
fn a_due_signal_leaves_no_descriptor_behind() {
    let _alone = crate::kernel::alone();
    let may = MayBlock::of_this_thread();
    let (input, mut to) = std::io::pipe().expect("a pipe");
    let (mut from, out) = std::io::pipe().expect("a pipe");
    let given = File::open("/dev/null").expect("it is there");
    // SAFETY: the child makes only system calls.
    let child = unsafe { fork(|| assert!(waits(input, out).is_some())) }.expect("a child");
    let mut byte = [0];
    let mut heard = || {
        from.read_exact(&mut byte).expect("it writes");
        byte[0]
    };
    assert_eq!(heard(), b's');
    await_call(child, libc::SYS_read);
    let options = usize::try_from(libc::PTRACE_O_TRACESYSGOOD).expect("a bit");
    ptrace(libc::PTRACE_SEIZE, child, 0, options).expect("seized");
    raw::kill(child.cast_unsigned(), libc::SIGUSR1);
    let stopped = Stopped {
        tid: child,
        done: false,
        ended: None,
        mask: None,
        due: 0,
    };
    let link = format!("/proc/{child}/fd/{}", given.as_raw_fd());
    let is_open = || raw::readlink(&link).is_ok();
    assert!(is_open());
    let ended = stopped.close(&may, &[given.as_raw_fd()]);
    assert_eq!(ended, None);
    assert!(!is_open());
    assert_eq!(heard(), b'h');
    to.write_all(b"x").expect("it reads");
    assert_eq!(heard(), b'r');
    await_child(child);
}

/// Runs the child: it waits in a pselect6 for input.
fn selects(input: &PipeReader, mut out: PipeWriter) -> Option<()> {
    let (fd, none) = (input.as_raw_fd(), core::ptr::null_mut());
    // SAFETY: live structures; zero is the empty set.
    let count = unsafe {
        let mut set: libc::fd_set = core::mem::zeroed();
        libc::FD_SET(fd, &raw mut set);
        libc::pselect(fd + 1, &raw mut set, none, none, none.cast(), none.cast())
    };
    out.write_all(&[u8::try_from(count).ok()?]).ok()
}

/// `run_without` runs the child's pselect6 without descriptors. No signal ends that call, so an interrupt does, and
/// the thread repeats the original call with its own arguments.
#[test]
fn interrupted_pselect_gets_its_arguments_back() {
    let _alone = crate::kernel::alone();
    let may = MayBlock::of_this_thread();
    let (input, mut to) = std::io::pipe().expect("a pipe");
    let (mut from, out) = std::io::pipe().expect("a pipe");
    // SAFETY: the child makes only system calls.
    let child = unsafe { fork(|| assert!(selects(&input, out).is_some())) }.expect("a child");
    await_call(child, libc::SYS_pselect6);
    let stopped = seize(child.cast_unsigned()).expect("seized");
    let ended = stopped.run_without(&may, 0);
    assert_eq!(ended, None);
    to.write_all(b"x").expect("it reads");
    let mut count = [0];
    from.read_exact(&mut count).expect("it writes");
    assert_eq!(count, [1]);
    await_child(child);
}
