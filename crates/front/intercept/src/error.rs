//! Errors of a run.

use vb3_frontend::Errno;

/// Why a program could not be run, or why the run ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The program was not found in the search path (exit status 127 in a shell).
    #[error(
        "the program was not found; give its path, or a name in a directory of PATH, and check \
         that the interpreter in its #! line exists"
    )]
    NotFound,
    /// The program was found but could not be executed (exit status 126 in a shell).
    #[error(
        "the program cannot be executed: {}; it must be an executable file for this computer",
        Errno(*errno)
    )]
    Exec {
        /// The errno of execve.
        errno: i32,
    },
    /// An argument, a variable or the program's name contains a NUL byte.
    #[error(
        "an argument, an environment variable or the program's name contains a NUL byte, with which \
         no program can be started; remove the byte"
    )]
    Nul,
    /// The kernel lacks a required feature.
    #[error("{}", feature.missing(Errno(*errno)))]
    Kernel {
        /// The missing feature.
        feature: Feature,
        /// The kernel's errno.
        errno: i32,
    },
    /// A system call of the supervisor failed.
    #[error("{call} failed: {}{}", Errno(*errno), remedy(call, *errno))]
    System {
        /// The call.
        call: &'static str,
        /// Its errno.
        errno: i32,
    },
}

/// A feature that the supervisor needs from the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Feature {
    /// seccomp filters with a listener (Linux 5.0).
    Listener,
    /// Calls that no signal interrupts while the supervisor answers them (Linux 5.19).
    Waits,
    /// Installing descriptors in a program (Linux 5.9).
    Install,
    /// Files of /proc.
    Proc,
    /// Access to programs' memory with process_vm_readv or /proc/PID/mem.
    Memory,
    /// A listener is installed already, and filters with a listener do not nest.
    Nested,
}

impl Error {
    /// Returns the error for a refused filter: `Nested` for EBUSY, which means that another supervisor
    /// listens, and `Waits` for EINVAL, since the kernel does not know an option.
    pub(crate) const fn of_filter(e: Errno) -> Self {
        let feature = match e {
            Errno(libc::EBUSY) => Feature::Nested,
            Errno(libc::EINVAL) => Feature::Waits,
            _ => Feature::Listener,
        };
        Self::Kernel {
            feature,
            errno: e.0,
        }
    }

    pub(crate) const fn of(call: &'static str) -> impl Fn(Errno) -> Self {
        move |Errno(errno)| Self::System { call, errno }
    }

    /// Returns the errno behind the error.
    #[must_use]
    pub const fn errno(self) -> i32 {
        match self {
            Self::NotFound => libc::ENOENT,
            Self::Nul => libc::EINVAL,
            Self::Exec { errno } | Self::Kernel { errno, .. } | Self::System { errno, .. } => errno,
        }
    }

    /// Returns the exit status that a shell uses for such an error.
    #[must_use]
    pub const fn exit_status(self) -> i32 {
        match self {
            Self::NotFound => 127,
            Self::Exec { .. } => 126,
            Self::Nul | Self::Kernel { .. } | Self::System { .. } => 125,
        }
    }
}

impl Feature {
    /// Returns the message for a refusal with this errno.
    fn missing(self, errno: Errno) -> String {
        match self {
            Self::Listener => format!(
                "this kernel offers no seccomp user notification (Linux 5.19 or newer, \
                 not forbidden by a container's profile): {errno}"
            ),
            Self::Waits => {
                "this kernel is too old: a signal can cancel a call that is being answered, so \
                 that a buffer could be queued twice or stay unmapped (Linux 5.19 or newer); or it \
                 is gVisor, which has no seccomp listeners: use another runtime, such as runc"
                    .to_owned()
            }
            Self::Install => format!(
                "no descriptor can be installed in the program: the ioctl SECCOMP_IOCTL_NOTIF_ADDFD is \
                 refused: {errno} (let the seccomp profile of the container or service allow this ioctl; in a \
                 container, --security-opt seccomp=unconfined)"
            ),
            Self::Proc => {
                format!("/proc cannot be read: {errno} (mount it: mount -t proc proc /proc)")
            }
            Self::Memory => format!(
                "the memory of programs cannot be accessed: process_vm_readv and \
                 /proc/PID/mem are refused: {errno} (in a container, --cap-add SYS_PTRACE; \
                 elsewhere, kernel.yama.ptrace_scope must be 0 or 1)"
            ),
            Self::Nested => {
                "a seccomp listener is installed already, and a process has only one: `vb3 run` \
                 cannot start inside another run, in a container whose engine listens, or in WSL2 \
                 with networkingMode=mirrored (%UserProfile%\\.wslconfig: choose nat)"
                    .to_owned()
            }
        }
    }
}

/// Returns the end of the message about a failed call: what to do, if that is known.
fn remedy(call: &str, errno: i32) -> &'static str {
    match (call, errno) {
        (_, libc::EMFILE | libc::ENFILE) => " (raise the limit of descriptors: ulimit -n 1024)",
        (
            "fork" | "start of a thread" | "start of the child",
            libc::EAGAIN | libc::EPERM | libc::ECHILD,
        ) => {
            " (raise the limit of processes: ulimit -u, the container's pids limit; or let the container's \
             profile allow clone3)"
        }
        _ => "",
    }
}
