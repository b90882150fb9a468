//! Differences between architectures: the architecture value that the seccomp filter checks, some system
//! calls, registers, and the length of the system call instruction.
//!
//! Structures with other layouts (`stat`, `epoll_event`) come from libc. The page size is known at
//! run time ([`page_size`]).

use crate::kernel::raw::check;
use vb3_frontend::Errno;

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(target_arch = "aarch64")]
use aarch64 as this;
#[cfg(target_arch = "x86_64")]
use x86_64 as this;

#[cfg(not(all(
    target_os = "linux",
    target_endian = "little",
    target_pointer_width = "64",
    any(target_arch = "x86_64", target_arch = "aarch64")
)))]
compile_error!(
    "intercept knows the system calls and registers of 64-bit x86 and Arm, little endian, under \
     Linux; another processor needs a module beside `arch/x86_64.rs`"
);

pub(crate) use this::{AUDIT_ARCH, FOREIGN_CALLS, OTHER_OPENS, nr};

/// fchmodat2. libc has its number for some architectures only.
pub(crate) const FCHMODAT2: libc::c_long = 452;

/// The set of general registers in PTRACE_GETREGSET and PTRACE_SETREGSET.
const GENERAL: usize = libc::NT_PRSTATUS as usize;

/// Returns the page size in bytes: 4 KiB on x86-64; 4, 16 or 64 KiB on arm64, as the kernel was built.
pub(crate) fn page_size() -> u64 {
    rustix::param::page_size() as u64
}

/// The general registers of a stopped thread.
#[derive(Clone, Copy)]
pub(crate) struct Regs(libc::user_regs_struct);

impl Regs {
    /// Reads the registers. Returns `None` if the thread is not stopped or not traced by this thread.
    pub(crate) fn of(tid: libc::pid_t) -> Option<Self> {
        // SAFETY: a structure of plain integers.
        let mut regs: libc::user_regs_struct = unsafe { core::mem::zeroed() };
        transfer(libc::PTRACE_GETREGSET, tid, &mut regs)?;
        Some(Self(regs))
    }

    /// Writes the registers. Returns `None` if the thread is not stopped or not traced by this thread.
    pub(crate) fn give(&self, tid: libc::pid_t) -> Option<()> {
        let mut regs = self.0;
        transfer(libc::PTRACE_SETREGSET, tid, &mut regs)
    }

    /// Returns argument `i`, 0 to 5, of the call that the thread is about to enter.
    pub(crate) fn arg(&self, i: usize) -> u64 {
        let mut regs = self.0;
        this::arg_mut(&mut regs, i).map_or(0, |arg| *arg)
    }

    /// Sets argument `i`, 0 to 5, of the call that the thread is about to enter.
    pub(crate) fn set_arg(&mut self, i: usize, value: u64) {
        if let Some(arg) = this::arg_mut(&mut self.0, i) {
            *arg = value;
        }
    }

    /// Restores an argument to its value at the call's entry. For use at the call's exit, before the kernel
    /// decides whether to restart the call.
    pub(crate) fn put_back(&mut self, entry: &Self, i: usize) {
        if i > 0 || !this::FIRST_IS_RESULT {
            self.set_arg(i, entry.arg(i));
        }
    }

    /// Returns the result of the call that the thread is about to leave.
    pub(crate) fn result(&self) -> Result<u64, Errno> {
        let value = this::result(&self.0);
        match value.cast_signed() {
            // CAST: an errno is small.
            error @ -4095..0 => Err(Errno((-error) as i32)),
            _ => Ok(value),
        }
    }

    /// Prevents the kernel from restarting the call that the thread is about to leave.
    pub(crate) fn forget_call(&mut self) {
        this::forget_call(&mut self.0);
    }

    /// Returns registers with which the thread repeats its interrupted call, after other calls. For use at
    /// the ptrace stop before the kernel restarts the call.
    pub(crate) fn again(&self) -> Self {
        let mut regs = *self;
        this::again(&mut regs.0);
        regs
    }

    /// Returns registers with which the thread makes another call by its last call's instruction.
    pub(crate) fn make_call(&self, nr: libc::c_long, args: [u64; 6]) -> Self {
        let mut regs = *self;
        this::set_call(&mut regs.0, nr);
        for (i, value) in args.into_iter().enumerate() {
            regs.set_arg(i, value);
        }
        regs
    }
}

fn transfer(
    request: libc::c_uint,
    tid: libc::pid_t,
    regs: &mut libc::user_regs_struct,
) -> Option<()> {
    let mut iov = libc::iovec {
        iov_base: core::ptr::from_mut(regs).cast(),
        iov_len: size_of::<libc::user_regs_struct>(),
    };
    // SAFETY: the vector names one live structure and its full length.
    let done = check(unsafe { libc::ptrace(request, tid, GENERAL, &raw mut iov) });
    done.ok().map(drop)
}
