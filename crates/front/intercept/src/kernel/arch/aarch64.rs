//! The arm64 architecture.

/// `AUDIT_ARCH_AARCH64`. 32-bit programs have another value.
pub(crate) const AUDIT_ARCH: u32 = 0xc000_00b7;

/// `AUDIT_ARCH_ARM` and its numbers of open and openat. The seccomp filter reports these calls, so that a
/// message to the user can name the 32-bit program, which is not supported.
pub(crate) const OTHER_OPENS: (u32, [u32; 2]) = (0x4000_0028, [5, 322]);

/// First call number of another architecture with the same `AUDIT_ARCH`: arm64 has none.
pub(crate) const FOREIGN_CALLS: Option<u32> = None;

/// The instruction `svc #0`.
pub(super) const CALL: [u8; 4] = [0x01, 0x00, 0x00, 0xd4];

/// Whether a call's result is in the register of its first argument. Here it is: the kernel saves the
/// argument elsewhere.
pub(crate) const FIRST_IS_RESULT: bool = true;

const NUMBER: usize = 8;

/// System calls that only some architectures have. Those that arm64 lacks get distinct numbers that no
/// call uses.
pub(crate) mod nr {
    pub(crate) const OPEN: libc::c_long = -1001;
    pub(crate) const CREAT: libc::c_long = -1002;
    pub(crate) const STAT: libc::c_long = -1003;
    pub(crate) const LSTAT: libc::c_long = -1004;
    pub(crate) const ACCESS: libc::c_long = -1005;
    pub(crate) const READLINK: libc::c_long = -1006;
    pub(crate) const POLL: libc::c_long = -1007;
    pub(crate) const SELECT: libc::c_long = -1008;
    pub(crate) const DUP2: libc::c_long = -1009;
    pub(crate) const CHMOD: libc::c_long = -1010;
    pub(crate) const CHOWN: libc::c_long = -1011;
    pub(crate) const LCHOWN: libc::c_long = -1012;
}

type Regs = libc::user_regs_struct;

pub(super) fn arg_mut(regs: &mut Regs, i: usize) -> Option<&mut u64> {
    regs.regs.get_mut(..6)?.get_mut(i)
}

pub(super) fn result(regs: &Regs) -> u64 {
    regs.regs[0]
}

/// Does nothing: the kernel restarts the call only if its result, in x0, is a restart code (ERESTARTSYS).
pub(super) fn forget_call(_: &mut Regs) {}

/// Does nothing. The kernel restores the call's first argument and the program counter before the ptrace stop
/// for a signal. So the thread is already at the instruction that repeats the call.
///
/// Source: Linux 7.2 arch/arm64/kernel/signal.c `do_signal`.
pub(super) fn again(_: &mut Regs) {}

pub(super) fn set_call(regs: &mut Regs, nr: libc::c_long) {
    regs.regs[NUMBER] = nr.cast_unsigned();
}
