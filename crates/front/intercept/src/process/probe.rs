//! Finds out what this system lets a supervisor do, by trying it on a child.
//!
//! The kernel's version does not tell enough: seccomp profiles of containers, Yama and missing capabilities
//! can each forbid something. So the supervisor tries each operation once, at its start, on the program's
//! process before its execve.

use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::error::{Error, Feature};
use crate::kernel::{MayBlock, may_block, raw};
use crate::memory::{Copier, CopyMethod};
use crate::note::Note;
use crate::process::launch::Child;
use crate::process::{Inherited, Notif, Reply, launch, rewrite};
use crate::program::Program;
use vb3_frontend::Errno;

const CALL_TIMEOUT: Duration = Duration::from_secs(2);

/// `Ok` if the system permits an operation, otherwise the errno of the refusal.
pub type Power = Result<(), Errno>;

const UNTRIED: Power = Err(Powers::NOT_TRIED);

/// The supervisor's powers on this system.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Powers {
    /// Reading files of `/proc`.
    pub proc: Power,
    /// Receiving a child's calls, which only a fatal signal interrupts while they wait for an answer (Linux
    /// 5.19; EINVAL before); EBUSY inside another supervisor.
    pub listener: Power,
    /// Waking a caller on its own CPU (Linux 6.6).
    pub sync_wake_up: Power,
    /// Installing descriptors in the caller (Linux 5.9).
    pub add_fd: Power,
    /// Access to memory with process_vm_readv and process_vm_writev.
    pub process_vm: Power,
    /// Access to memory through `/proc/PID/mem`, after a look-up of the pages' permissions.
    pub proc_mem: Power,
    /// Duplicating the child's descriptors with pidfd_getfd (Linux 5.6).
    pub getfd: Power,
    /// Stopping the child with ptrace.
    pub ptrace: Power,
    /// Comparing descriptors with kcmp. Without kcmp, the supervisor compares epoll sets by the
    /// kernel's list of their entries, which takes longer.
    pub kcmp: Power,
}

/// A value that the child has at the same address. The probe tries access to memory on this value.
static MARK: AtomicU64 = AtomicU64::new(0x7662_3370_726f_6265);

/// Tries all powers on a new child process.
#[must_use]
pub fn probe() -> Powers {
    let mut powers = Powers::untried();
    let inherited = Inherited::take(&[]);
    // The child never runs a program: a directory cannot be executed.
    match launch::start(&Program::new("/"), launch::limits(), &inherited) {
        Ok(child) => {
            powers.try_on(&MayBlock::of_this_thread(), &child, true);
            launch::reap(child.pid);
        }
        Err(e) => powers.listener = Err(Errno(e.errno())),
    }
    powers
}

impl Powers {
    /// The errno of a power that was not tried because an earlier one is missing.
    pub const NOT_TRIED: Errno = Errno(libc::ENODATA);

    /// Returns powers that are all permitted.
    #[must_use]
    pub fn all() -> Self {
        Self::each(Ok(()))
    }

    /// Returns powers that were not tried, except reading `/proc`.
    pub(crate) fn untried() -> Self {
        Self {
            proc: own_proc(),
            ..Self::each(UNTRIED)
        }
    }

    fn each(power: Power) -> Self {
        Self {
            proc: power,
            listener: power,
            sync_wake_up: power,
            add_fd: power,
            process_vm: power,
            proc_mem: power,
            getfd: power,
            ptrace: power,
            kcmp: power,
        }
    }

    /// Tries powers on a child that waits in its first call: all of them, or only those that a run uses.
    /// Answers the call, if the system permits this.
    pub(crate) fn try_on(&mut self, may: &MayBlock, child: &Child<'_>, wants_all: bool) {
        self.sync_wake_up = child.sync.then_some(()).ok_or(Errno(libc::EINVAL));
        let call = match call_of(child) {
            Ok(call) => call,
            Err(e) => {
                self.listener = Err(e);
                return;
            }
        };
        self.listener = Ok(());
        let addr = (&raw const MARK).expose_provenance() as u64;
        let word = MARK.load(Ordering::Relaxed);
        let copy = |method| Copier::new(may, method, child.pid).try_on(addr, word);
        self.process_vm = copy(CopyMethod::Calls);
        if wants_all || self.process_vm.is_err() {
            self.proc_mem = copy(CopyMethod::Files);
        }
        let listener = &child.listener;
        let installed = listener.add_fd(call.id, listener.as_fd(), None, true);
        self.add_fd = installed.map(drop);
        // If nothing was installed, uses the child's end of the socket.
        let theirs = installed.unwrap_or(child.their_socket);
        self.getfd = raw::pidfd_getfd(child.pidfd.as_fd(), theirs).map(drop);
        self.kcmp = may_block::compare_files(may, listener.as_fd(), (child.pid, theirs)).map(drop);
        // The child stops when its call is over.
        let seized = rewrite::seize(child.pid);
        let sent = listener.send(call.id, Reply::Value(theirs.into()));
        self.listener = sent;
        self.ptrace = seized.map(|stopped| {
            // If the answer failed, `suffice` fails, and the child is killed.
            if sent.is_ok() {
                stopped.release(may);
            }
        });
        if self.ptrace.is_err() && self.getfd.is_err() {
            self.try_memory_of_another(may);
        }
    }

    /// Tries access to the memory of a child that has memory of its own. The kernel lets a process access the
    /// memory that it shares with another one without asking Yama or checking capabilities. Yama and the
    /// capabilities also decide about ptrace and pidfd_getfd, so this test is needed only if the kernel refuses
    /// both of these.
    ///
    /// Source: Linux 7.2 kernel/fork.c `may_access_mm`.
    fn try_memory_of_another(&mut self, may: &MayBlock) {
        // SAFETY: the child makes one async-signal-safe call, on no memory.
        let child = unsafe {
            launch::fork(|| {
                libc::pause();
            })
        };
        let Ok(pid) = child.map(libc::pid_t::cast_unsigned) else {
            return;
        };
        let addr = (&raw const MARK).expose_provenance() as u64;
        let word = MARK.load(Ordering::Relaxed);
        let copy = |method| Copier::new(may, method, pid).try_on(addr, word);
        self.process_vm = self.process_vm.and_then(|()| copy(CopyMethod::Calls));
        if self.process_vm.is_err() && matches!(self.proc_mem, Ok(()) | UNTRIED) {
            self.proc_mem = copy(CopyMethod::Files);
        }
        launch::reap(pid);
    }

    /// Returns how the supervisor accesses programs' memory: with process_vm calls if permitted.
    pub(crate) fn memory(&self) -> CopyMethod {
        match self.process_vm {
            Err(_) if self.proc_mem.is_ok() => CopyMethod::Files,
            _ => CopyMethod::Calls,
        }
    }

    /// Checks that this system permits everything that a run cannot do without.
    ///
    /// # Errors
    /// Returns [`Error::Kernel`] with the missing power.
    pub fn suffice(&self) -> Result<(), Error> {
        let without = |feature| {
            move |e: Errno| Error::Kernel {
                feature,
                errno: e.0,
            }
        };
        self.proc.map_err(without(Feature::Proc))?;
        self.listener.map_err(Error::of_filter)?;
        self.add_fd.map_err(without(Feature::Install))?;
        if let (Err(e), Err(_)) = (self.process_vm, self.proc_mem) {
            return Err(without(Feature::Memory)(e));
        }
        Ok(())
    }

    /// Returns a note for the user about each limit that the missing powers cause.
    #[must_use]
    pub fn notes(&self) -> Vec<Note> {
        let mut notes = Vec::new();
        let mut add = |power: Power, note: fn(Errno) -> Note| notes.extend(power.err().map(note));
        add(self.sync_wake_up, |_| Note::NoSyncWakeUp);
        add(self.ptrace, Note::NoPtrace);
        if self.ptrace.is_err() {
            add(self.getfd, Note::NoPidfdGetfd);
        }
        notes
    }
}

/// Checks that /proc lists the processes of this process's own PID namespace. Otherwise the files of a program's
/// descriptors would be those of another process. Fails with ENOENT.
fn own_proc() -> Power {
    let own = raw::readlink("/proc/self")?;
    let is_own = own == std::process::id().to_string().as_bytes();
    is_own.then_some(()).ok_or(Errno(libc::ENOENT))
}

/// Receives the child's call. Continues to wait after a signal. Returns ETIMEDOUT if no call comes within
/// `CALL_TIMEOUT`.
fn call_of(child: &Child<'_>) -> Result<Notif, Errno> {
    let until = Instant::now() + CALL_TIMEOUT;
    while child.listener.look(Some(CALL_TIMEOUT)) == 0 {
        if Instant::now() >= until {
            return Err(Errno(libc::ETIMEDOUT));
        }
    }
    child.listener.recv(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Powers {
        Powers::all()
    }

    const REFUSED: Power = Err(Errno(libc::EPERM));

    /// Returns the notes for these powers as one text.
    fn said(powers: &Powers) -> String {
        let notes: Vec<_> = powers.notes().iter().map(ToString::to_string).collect();
        match powers.suffice() {
            Err(e) => e.to_string(),
            Ok(()) => notes.join("; "),
        }
    }

    #[test]
    fn what_is_tried_here_works_or_says_why() {
        let _alone = crate::kernel::alone();
        let powers = probe();
        for power in [powers.proc, powers.listener, powers.add_fd] {
            assert_eq!(power, Ok(()), "{powers:?}");
        }
        // With a working listener, every power has been tried.
        let text = format!("{powers:?}");
        let untried = format!("{:?}", UNTRIED);
        assert!(!text.contains(&untried), "{text}");
    }

    /// Set for the process in which the next test runs itself again.
    const REFUSES: &str = "VB3_TEST_PROBE_REFUSED";

    /// A process that may not be traced, as with Yama's ptrace_scope of 2 or 3: it has changed its user.
    #[test]
    fn memory_of_untraceable_programs_is_refused() {
        if std::env::var_os(REFUSES).is_some() {
            // SAFETY: these take integers.
            unsafe {
                libc::setresuid(65534, 65534, 65534);
                libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0);
            }
            let powers = probe();
            let feature = powers.suffice().expect_err("no memory").to_string();
            assert!(feature.contains("ptrace_scope"), "{feature} {powers:?}");
            return;
        }
        let _alone = crate::kernel::alone();
        let own = std::env::current_exe().expect("this program");
        let name = "process::probe::tests::memory_of_untraceable_programs_is_refused";
        let again = std::process::Command::new(own)
            .args(["--exact", name, "--nocapture"])
            .env(REFUSES, "1")
            .output()
            .expect("it runs");
        let said = String::from_utf8_lossy(&again.stderr);
        assert!(again.status.success(), "{said}");
    }

    #[test]
    fn missing_feature_note_says_what_to_change() {
        assert_eq!(said(&all()), "");
        let rows: &[(&str, Powers, &[&str])] = &[
            (
                "no /proc",
                Powers {
                    proc: Err(Errno(libc::ENOENT)),
                    ..all()
                },
                &["/proc", "mount"],
            ),
            (
                "a profile",
                Powers {
                    listener: Err(Errno(libc::EPERM)),
                    ..all()
                },
                &["user notification", "Linux 5.19"],
            ),
            (
                "in a run",
                Powers {
                    listener: Err(Errno(libc::EBUSY)),
                    ..all()
                },
                &["inside another"],
            ),
            (
                "Linux 5.15",
                Powers {
                    listener: Err(Errno(libc::EINVAL)),
                    ..all()
                },
                &["too old", "5.19"],
            ),
            (
                "no ADDFD",
                Powers {
                    add_fd: REFUSED,
                    ..all()
                },
                &["SECCOMP_IOCTL_NOTIF_ADDFD", "not permitted", "profile"],
            ),
            (
                "no memory",
                Powers {
                    process_vm: REFUSED,
                    proc_mem: REFUSED,
                    ..all()
                },
                &["--cap-add SYS_PTRACE", "ptrace_scope"],
            ),
            (
                "no ptrace",
                Powers {
                    ptrace: REFUSED,
                    ..all()
                },
                &["read()", "user pointers"],
            ),
            (
                "no ptrace, no getfd",
                Powers {
                    ptrace: REFUSED,
                    getfd: REFUSED,
                    ..all()
                },
                &["epoll", "--cap-add SYS_PTRACE"],
            ),
        ];
        for (name, powers, wanted) in rows {
            let text = said(powers);
            assert!(!text.contains('\n'), "{name}: {text}");
            for word in *wanted {
                assert!(text.contains(word), "{name}: no {word} in: {text}");
            }
        }
    }

    #[test]
    fn a_default_container_profile_loses_nothing() {
        let docker = Powers {
            process_vm: REFUSED,
            getfd: REFUSED,
            kcmp: REFUSED,
            ..all()
        };
        assert_eq!(docker.suffice(), Ok(()));
        assert_eq!(docker.memory(), CopyMethod::Files);
        assert_eq!(docker.notes(), []);
    }
}
