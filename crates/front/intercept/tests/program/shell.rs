//! Tests unmodified tools.

use crate::{run_program, run_shell};
use vb3_frontend::Errno;
use vb3_intercept::{Note, Program};

fn has(tool: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(tool).exists()))
}

#[test]
fn ls_shows_the_device() {
    let (report, toy, _) = run_shell(
        "ls -l /dev/video90 2>&1 | grep -q '^crw-rw-rw- .* 81, *90 .* /dev/video90$' &&
         ls /sys/class/video4linux/video90/ | grep -q uevent && test -c /dev/video91 &&
         test -z \"$(ls -la /dev/video90 /sys/class/video4linux 2>&1 >/dev/null)\"",
    );
    assert_eq!(report.status, 0);
    assert_eq!(toy.opened, 0);
}

#[test]
fn v4l2_ctl_finds_the_device() {
    if !has("v4l2-ctl") {
        vb3_skip::skip("v4l2-ctl is not installed");
        return;
    }
    let (report, toy, _) = run_shell(
        "v4l2-ctl -d /dev/video90 -D | grep -q 'Driver name *: toy' &&
         v4l2-ctl --list-devices | tr -d '\\n' | grep -q 'virtual:toy.*/dev/video90.*/dev/video91'",
    );
    assert_eq!(report.status, 0);
    toy.assert_nothing_held();
}

/// Runs a test's function as a program under strace. It must succeed. Returns `None` if strace is missing.
fn run_under_strace(name: &str) -> Option<Vec<Note>> {
    if !has("strace") {
        vb3_skip::skip("strace is not installed");
        return None;
    }
    let program = Program::new("strace")
        .args(["-f", "-o", "/dev/null"])
        .arg(std::env::current_exe().expect("own path"))
        .args([name, "--exact", "--ignored", "--test-threads=1"])
        .env("VB3_INSIDE", "1");
    let (report, toy, notes) = run_program(&program);
    assert_eq!(report.status, 0, "{name} failed");
    toy.assert_nothing_held();
    Some(notes)
}

#[test]
fn under_strace_a_mapping_is_refused_and_said() {
    let Some(notes) = run_under_strace("shell::traced::maps") else {
        return;
    };
    assert!(notes.iter().any(|note| matches!(
        note,
        Note::MapRefused {
            errno: Errno::EPERM,
            ..
        }
    )));
}

/// strace keeps the supervisor from stopping the threads.
#[test]
fn under_strace_sa_restart_restarts_waits() {
    for name in [
        "sa_restart_restarts_a_threads_wait",
        "signal_for_another_thread_restarts_no_wait",
    ] {
        run_under_strace(&format!("signals::inside::{name}"));
    }
}

mod traced {
    #[test]
    #[ignore = "another test runs it as a program"]
    fn maps() {
        if !crate::is_inside() {
            return;
        }
        use std::os::fd::AsRawFd;
        let file = crate::device();
        let none = std::ptr::null_mut();
        // SAFETY: a new mapping, refused.
        let at = unsafe { libc::mmap(none, 4096, 3, libc::MAP_SHARED, file.as_raw_fd(), 0) };
        assert_eq!((at, crate::errno()), (libc::MAP_FAILED, libc::EPERM));
    }
}

/// A program goes on while any thread lives. The kernel then shows its process as a zombie.
#[test]
fn signals_reach_a_program_without_its_first_thread() {
    if !has("python3") {
        vb3_skip::skip("python3 is not installed");
        return;
    }
    let program = format!(
        "import ctypes, os, signal, threading, time
def end():
    while ' Z ' not in open('/proc/self/stat').read():
        time.sleep(0.01)
    os.kill(os.getppid(), signal.SIGTERM)
    time.sleep(3600)
threading.Thread(target=end).start()
ctypes.CDLL(None).syscall({}, 0)",
        libc::SYS_exit
    );
    let program = Program::new("python3").args(["-c", &program]);
    let _one = crate::one_run();
    let mut toy = crate::toy::Toy::new();
    let report = vb3_intercept::run(&program, &mut toy, vb3_intercept::Options::default());
    assert_eq!(report.map(|report| report.signal), Ok(Some(libc::SIGTERM)));
}
