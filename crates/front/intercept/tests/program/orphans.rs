//! Tests children of the supervisor: orphans of programs, and its own.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

use crate::toy::Toy;
use crate::{one_run, run_shell};
use vb3_intercept::{Options, Program};

/// Returns an ended child with an exit status, which ran under a filter that allows every call.
fn ended_under_a_filter(status: i32) -> Child {
    fn enter() -> io::Result<()> {
        let mut allow = libc::sock_filter {
            code: 6,
            jt: 0,
            jf: 0,
            k: libc::SECCOMP_RET_ALLOW,
        };
        let filter = libc::sock_fprog {
            len: 1,
            filter: &raw mut allow,
        };
        // SAFETY: numbers, then a filter of one live instruction.
        let set = unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
                | libc::prctl(
                    libc::PR_SET_SECCOMP,
                    libc::SECCOMP_MODE_FILTER,
                    &raw const filter,
                )
        };
        (set == 0)
            .then_some(())
            .ok_or_else(io::Error::last_os_error)
    }
    let mut command = Command::new("sh");
    command.args(["-c", &format!("exit {status}")]);
    // SAFETY: two system calls.
    unsafe { command.pre_exec(enter) };
    let child = command.spawn().expect("sh starts");
    let exited = libc::WEXITED | libc::WNOWAIT;
    // SAFETY: waits for our child, and does not reap it.
    unsafe { libc::waitid(libc::P_PID, child.id(), std::ptr::null_mut(), exited) };
    child
}

#[test]
fn a_child_of_the_backend_is_left_to_it() {
    let _one = one_run();
    let mut own = ended_under_a_filter(3);
    let mut other = ended_under_a_filter(4);
    let mut toy = Toy::new();
    toy.children.push(own.id());
    let options = Options {
        notes: None,
        keep_signals: true,
        leftover: vb3_intercept::Leftover::Wait,
    };
    let program = Program::new("sh").args(["-c", "true; ls / > /dev/null; true"]);
    let report = vb3_intercept::run(&program, &mut toy, options).expect("the program starts");
    assert_eq!(report.status, 0);
    let status = own.wait().expect("its status is there");
    assert_eq!(status.code(), Some(3));
    // The other child was reaped like an orphan, since the backend did not claim it.
    let taken = other.wait().expect_err("it is gone").raw_os_error();
    assert_eq!(taken, Some(libc::ECHILD));
}

/// The middle process never waits for its child, and ends before the program does.
const ORPHANS: &str = "
for n in 1 2 3; do
    sh -c 'true & exec ls /' > /dev/null
done
left() {
    for child in $(cat /proc/$PPID/task/*/children); do
        grep -s '^State:.Z' /proc/$child/status
    done
}
i=0
while [ -n \"$(left)\" ]; do
    i=$((i + 1))
    [ $i -lt 6000 ] || exit 9
    sleep 0.05
done
";

#[test]
fn orphans_are_reaped_while_the_program_runs() {
    let (report, toy, _) = run_shell(ORPHANS);
    assert_eq!(report.status, 0);
    toy.assert_nothing_held();
}
