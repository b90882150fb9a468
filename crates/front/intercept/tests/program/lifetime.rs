//! Tests device files across fork, exec and passing over sockets, and at the death of programs.

use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd};
use std::process::Command;

use vb3_intercept::Program;

use crate::toy::{ALONE, COUNT, EXPORT, GIVEN, LEN, OPENS, WAIT, cookie};
use crate::{call, device, inside, run_program, run_shell};

/// Sends a descriptor over a socket.
pub(crate) fn pass(socket: i32, fd: i32) {
    let mut byte = 0u8;
    let mut iov = libc::iovec {
        iov_base: (&raw mut byte).cast(),
        iov_len: 1,
    };
    let mut control = [0u64; 4];
    // SAFETY: live buffers with their sizes, room for one descriptor.
    unsafe {
        let mut msg: libc::msghdr = std::mem::zeroed();
        msg.msg_iov = &raw mut iov;
        msg.msg_iovlen = 1;
        msg.msg_control = control.as_mut_ptr().cast();
        msg.msg_controllen = libc::CMSG_SPACE(4) as usize;
        let head = libc::CMSG_FIRSTHDR(&raw const msg);
        (*head).cmsg_level = libc::SOL_SOCKET;
        (*head).cmsg_type = libc::SCM_RIGHTS;
        (*head).cmsg_len = libc::CMSG_LEN(4) as usize;
        std::ptr::write_unaligned(libc::CMSG_DATA(head).cast(), fd);
        assert_eq!(libc::sendmsg(socket, &raw const msg, 0), 1);
    }
}

/// Receives a descriptor.
pub(crate) fn take(socket: i32) -> File {
    let mut byte = 0u8;
    let mut iov = libc::iovec {
        iov_base: (&raw mut byte).cast(),
        iov_len: 1,
    };
    let mut control = [0u64; 4];
    // SAFETY: as above; the descriptor is new and ours.
    unsafe {
        let mut msg: libc::msghdr = std::mem::zeroed();
        msg.msg_iov = &raw mut iov;
        msg.msg_iovlen = 1;
        msg.msg_control = control.as_mut_ptr().cast();
        msg.msg_controllen = size_of_val(&control);
        assert_eq!(libc::recvmsg(socket, &raw mut msg, 0), 1);
        let head = libc::CMSG_FIRSTHDR(&raw const msg);
        File::from_raw_fd(std::ptr::read_unaligned(libc::CMSG_DATA(head).cast()))
    }
}

fn wait_for(child: i32) -> i32 {
    let mut status = 0;
    // SAFETY: our own child.
    unsafe { libc::waitpid(child, &raw mut status, 0) };
    status
}

inside! {
    fn a_forked_child_shares_the_file() {
        let file = device();
        // SAFETY: the child makes system calls and ends.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let ok = call(&file, COUNT, 0) == Ok(1) && call(&file, OPENS, 0) == Ok(1);
            // SAFETY: ends the child.
            unsafe { libc::_exit(i32::from(!ok)) };
        }
        assert_eq!(wait_for(child), 0);
        assert_eq!(call(&file, COUNT, 0), Ok(2));
    }

    fn a_file_survives_exec() {
        let file = device();
        // SAFETY: takes integers.
        let low = unsafe { libc::dup(file.as_raw_fd()) };
        drop(file);
        let shell = format!("test $(readlink /proc/self/fd/{low}) = /dev/video90");
        assert!(Command::new("sh").args(["-c", &shell]).status().expect("sh").success());
    }

    fn a_file_passed_on_is_the_same_file() {
        let mut sockets = [0; 2];
        // SAFETY: room for two descriptors.
        unsafe { libc::socketpair(libc::AF_UNIX, libc::SOCK_STREAM, 0, sockets.as_mut_ptr()) };
        // SAFETY: the child makes system calls and ends.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let file = take(sockets[1]);
            let ok = call(&file, COUNT, 0) == Ok(1) && call(&file, OPENS, 0) == Ok(1);
            // SAFETY: ends the child.
            unsafe { libc::_exit(i32::from(!ok)) };
        }
        let file = device();
        pass(sockets[0], file.as_raw_fd());
        drop(file);
        assert_eq!(wait_for(child), 0);
        assert_eq!(call(&device(), OPENS, 0), Ok(1));
    }

    fn nothing_is_left_of_a_killed_child() {
        let file = device();
        for round in 0..20u64 {
            // SAFETY: the child makes system calls until it is killed.
            let child = unsafe { libc::fork() };
            if child == 0 {
                let file = device();
                let fd = file.as_raw_fd();
                let none = std::ptr::null_mut();
                // SAFETY: a mapping that dies with the child.
                unsafe { libc::mmap(none, LEN, 3, libc::MAP_SHARED, fd, cookie(0) as i64) };
                call(&file, EXPORT, 1).expect("exported");
                call(&file, WAIT, 60_000).expect("never");
            }
            while call(&file, GIVEN, 0) != Ok(2) {
                std::thread::yield_now();
            }
            std::thread::sleep(std::time::Duration::from_micros(round * 300));
            // SAFETY: our own child.
            unsafe { libc::kill(child, libc::SIGKILL) };
            assert_eq!(wait_for(child), libc::SIGKILL);
            assert_eq!(call(&file, OPENS, 0), Ok(1), "round {round}");
            assert_eq!(call(&file, GIVEN, 0), Ok(0), "round {round}");
        }
    }

    /// A call that ignores closed files runs before the search for them, and is repeated if it
    /// fails.
    fn what_has_ended_makes_no_call_fail() {
        let file = device();
        for round in 0..50 {
            assert_eq!(call(&file, ALONE, round), Ok(round));
            let other = device();
            // SAFETY: the child keeps its open files until it is killed.
            let child = unsafe { libc::fork() };
            if child == 0 {
                // SAFETY: takes nothing.
                unsafe { libc::pause() };
            }
            drop(other);
            // Our own close does not end the file, since the child still has it.
            for _ in 0..2 {
                assert_eq!(call(&file, ALONE, round), Err(libc::EBUSY));
            }
            // SAFETY: our own child.
            unsafe { libc::kill(child, libc::SIGKILL) };
            assert_eq!(wait_for(child), libc::SIGKILL);
            assert_eq!(call(&file, ALONE, round), Ok(round), "round {round}");
        }
    }
}

#[test]
fn the_exit_status_is_the_programs() {
    assert_eq!(run_shell("exit 7").0.status, 7);
    let (report, ..) = run_shell("kill -TERM $$");
    assert_eq!((report.status, report.signal), (128 + 15, Some(15)));
}

#[test]
fn programs_that_cannot_be_started_are_errors() {
    use vb3_intercept::{Error, Options};
    let _one = crate::one_run();
    let mut toy = crate::toy::Toy::new();
    let mut start = |program: Program| {
        vb3_intercept::run(
            &program,
            &mut toy,
            Options {
                keep_signals: true,
                ..Options::default()
            },
        )
    };
    assert_eq!(start(Program::new("no-such-program")), Err(Error::NotFound));
    assert_eq!(
        start(Program::new("/etc/passwd")),
        Err(Error::Exec {
            errno: libc::EACCES
        })
    );
    assert_eq!(start(Program::new("a\0b")), Err(Error::Nul));
    let there = start(Program::new("sh").args(["-c", "test $X = 1"]).env("X", "1"));
    assert_eq!(there.map(|report| report.status), Ok(0));
}

#[test]
fn daemons_are_served_until_they_end() {
    // The shell ends immediately. Its child opens the device afterwards.
    let (report, toy, _) =
        run_shell("(sleep 0.2; head -c 1 /dev/video90 >/dev/null; sleep 0.1) & exit 3");
    assert_eq!(report.status, 3);
    assert_eq!(toy.opened, 1);
    toy.assert_nothing_held();
}

#[test]
fn two_programs_share_the_devices() {
    let (report, toy, _) = run_shell(
        "exec 7</dev/video91; ! head -c 1 /dev/video91 2>/dev/null && exec 7<&- &&
         head -c 1 /dev/video91 >/dev/null && (head -c 1 /dev/video90 & head -c 1 /dev/video90; wait) >/dev/null",
    );
    assert_eq!(report.status, 0);
    assert_eq!(toy.opened, 4);
    toy.assert_nothing_held();
}

#[test]
fn a_program_that_dies_by_a_signal_leaves_nothing() {
    let (report, toy, _) = run_program(&crate::itself("lifetime::killed::holds_everything"));
    assert_eq!(report.signal, Some(libc::SIGKILL));
    toy.assert_nothing_held();
}

mod killed {
    use super::*;

    #[test]
    #[ignore = "another test runs it as a program"]
    fn holds_everything() {
        if !crate::is_inside() {
            return;
        }
        let file = device();
        call(&file, EXPORT, 1).expect("exported");
        // SAFETY: ends ourselves.
        unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
    }
}

#[test]
fn a_signal_to_the_supervisor_reaches_the_program() {
    let program = Program::new("sh").args([
        "-c",
        "trap 'exit 9' TERM; kill -TERM $PPID; while :; do sleep 0.02; done",
    ]);
    let _one = crate::one_run();
    let mut toy = crate::toy::Toy::new();
    let report = vb3_intercept::run(&program, &mut toy, vb3_intercept::Options::default());
    assert_eq!(report.map(|report| report.status), Ok(9));
}

/// A user's second signal may come just after the program's end, while the caller finishes its files.
#[test]
fn a_signal_after_the_end_does_nothing() {
    let _one = crate::one_run();
    crate::alone(|| {
        let mut toy = crate::toy::Toy::new();
        let options = vb3_intercept::Options::default();
        let report = vb3_intercept::run(&Program::new("true"), &mut toy, options);
        assert_eq!(report.map(|report| report.status), Ok(0));
        // SAFETY: takes an integer.
        unsafe { libc::raise(libc::SIGTERM) };
    });
}

/// The test's own filter refuses pidfd_getfd, as a container's does.
#[test]
fn without_borrowed_descriptors_the_rest_works() {
    let _one = crate::one_run();
    crate::alone(|| {
        crate::filter_itself(libc::SYS_pidfd_getfd, 0x0005_0000 | libc::EPERM as u32);
        for name in [
            "opening::inside::every_open_is_a_file_of_its_own",
            "opening::inside::flags_are_kept_and_checked",
            "opening::inside::a_busy_device_is_free_as_soon_as_it_is_closed",
            "mapping::inside::a_mapping_and_an_export_are_the_same_memory",
            "mapping::inside::an_exported_buffer_behaves_as_a_dma_buf",
            "polling::inside::a_poll_wakes_when_the_device_is_ready",
            "polling::inside::a_poll_makes_no_calls_that_a_filter_forbids",
            "transfer::inside::a_read_waits_for_data",
            "lifetime::inside::a_forked_child_shares_the_file",
        ] {
            let (report, toy, _) = crate::run_alone(&crate::itself(name));
            assert_eq!(report.status, 0, "{name}");
            assert!(toy.opened > 0, "{name} has run");
            toy.assert_nothing_held();
        }
    });
}
