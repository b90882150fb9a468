//! Signal settings that a program inherits from the process that starts it.
//!
//! The supervisor changes ignored signals and its signal mask for itself. Programs get the settings
//! that the supervisor was started with.

use core::mem::MaybeUninit;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::process::signal::CAUGHT;

/// Whether each signal of `OWN` was ignored at the start of the process. At that time, Rust's runtime
/// had not ignored SIGPIPE yet, and no run had ignored SIGXFSZ.
static WAS_IGNORED: [AtomicBool; 3] = [const { AtomicBool::new(false) }; 3];

/// Signals for which the supervisor changes the inherited setting.
const OWN: [libc::c_int; 3] = [libc::SIGPIPE, libc::SIGCHLD, libc::SIGXFSZ];

/// Makes the C runtime call `look` before main.
#[used]
// SAFETY: the C runtime calls the functions in this section once, before main.
#[unsafe(link_section = ".init_array")]
static LOOK: extern "C" fn() = look;

extern "C" fn look() {
    for (was_ignored, signal) in WAS_IGNORED.iter().zip(OWN) {
        was_ignored.store(is_ignored(signal), Ordering::Relaxed);
    }
}

fn is_ignored(signal: libc::c_int) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: room for one structure, which is read only after the kernel has filled it.
    unsafe {
        libc::sigaction(signal, core::ptr::null(), action.as_mut_ptr()) == 0
            && action.assume_init().sa_sigaction == libc::SIG_IGN
    }
}

fn set(signal: libc::c_int, ignored: bool) {
    let action = if ignored {
        libc::SIG_IGN
    } else {
        libc::SIG_DFL
    };
    // SAFETY: neither action is a function.
    unsafe { libc::signal(signal, action) };
}

/// The inherited settings of a run. Dropping them restores the supervisor's mask. SIGXFSZ stays
/// ignored, so that later writes fail instead of ending the process.
pub(crate) struct Inherited {
    mask: libc::sigset_t,
}

impl Inherited {
    /// Saves the mask and applies the supervisor's settings: it is notified when children end, gets
    /// an error instead of SIGXFSZ, and receives the signals in `caught`.
    pub(crate) fn take(caught: &[libc::c_int]) -> Self {
        set(libc::SIGXFSZ, true);
        if is_ignored(libc::SIGCHLD) {
            set(libc::SIGCHLD, false);
        }
        // SAFETY: live sets of this thread.
        let mask = unsafe {
            let (mut wanted, mut mask) = (core::mem::zeroed(), core::mem::zeroed());
            libc::sigemptyset(&raw mut wanted);
            for &signal in caught {
                libc::sigaddset(&raw mut wanted, signal);
            }
            libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const wanted, &raw mut mask);
            mask
        };
        Self { mask }
    }

    /// Applies the settings in a child, before execve. From now on a signal ends the child, as it ends the program;
    /// the supervisor's handler would discard the signal. Async-signal-safe.
    pub(crate) fn set(&self) {
        for (was_ignored, signal) in WAS_IGNORED.iter().zip(OWN) {
            set(signal, was_ignored.load(Ordering::Relaxed));
        }
        for signal in CAUGHT {
            if !is_ignored(signal) {
                set(signal, false);
            }
        }
        self.restore_mask();
    }

    /// Restores the mask of the calling thread. Async-signal-safe.
    fn restore_mask(&self) {
        let none = core::ptr::null_mut();
        // SAFETY: a live set.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.mask, none) };
    }
}

impl Drop for Inherited {
    fn drop(&mut self) {
        self.restore_mask();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::alone;
    use crate::process::Forward;
    use crate::process::launch::fork;

    #[test]
    fn supervisors_handlers_do_not_run_in_a_child() {
        let _alone = alone();
        let child = Inherited::take(&CAUGHT);
        let _forward = Forward::begin().expect("a pipe");
        let mut status = 0;
        // SAFETY: async-signal-safe calls; our own child.
        unsafe {
            let pid = fork(|| {
                child.set();
                libc::raise(libc::SIGUSR1);
            });
            libc::waitpid(pid.expect("a process"), &raw mut status, 0);
        }
        assert!(libc::WIFSIGNALED(status), "{status}");
        assert_eq!(libc::WTERMSIG(status), libc::SIGUSR1);
    }
}
