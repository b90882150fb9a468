//! The x86-64 architecture.

/// `AUDIT_ARCH_X86_64`. 32-bit programs have another value.
pub(crate) const AUDIT_ARCH: u32 = 0xc000_003e;

/// `AUDIT_ARCH_I386` and its numbers of open and openat. The seccomp filter reports these calls, so that a
/// message to the user can name the 32-bit program, which is not supported.
pub(crate) const OTHER_OPENS: (u32, [u32; 2]) = (0x4000_0003, [5, 295]);

/// First call number of another architecture with the same `AUDIT_ARCH` (x32).
pub(crate) const FOREIGN_CALLS: Option<u32> = Some(0x4000_0000);

/// The `syscall` instruction.
pub(super) const CALL: [u8; 2] = [0x0f, 0x05];

/// Whether a call's result is in the register of its first argument. Here it is not.
pub(crate) const FIRST_IS_RESULT: bool = false;

/// Value of `orig_rax` while no call runs. With this value, the kernel restarts no call.
const NO_CALL: u64 = u64::MAX;

/// System calls that only some architectures have.
pub(crate) mod nr {
    pub(crate) const OPEN: libc::c_long = libc::SYS_open;
    pub(crate) const CREAT: libc::c_long = libc::SYS_creat;
    pub(crate) const STAT: libc::c_long = libc::SYS_stat;
    pub(crate) const LSTAT: libc::c_long = libc::SYS_lstat;
    pub(crate) const ACCESS: libc::c_long = libc::SYS_access;
    pub(crate) const READLINK: libc::c_long = libc::SYS_readlink;
    pub(crate) const POLL: libc::c_long = libc::SYS_poll;
    pub(crate) const SELECT: libc::c_long = libc::SYS_select;
    pub(crate) const DUP2: libc::c_long = libc::SYS_dup2;
    pub(crate) const CHMOD: libc::c_long = libc::SYS_chmod;
    pub(crate) const CHOWN: libc::c_long = libc::SYS_chown;
    pub(crate) const LCHOWN: libc::c_long = libc::SYS_lchown;
}

type Regs = libc::user_regs_struct;

pub(super) fn arg_mut(regs: &mut Regs, i: usize) -> Option<&mut u64> {
    [
        &mut regs.rdi,
        &mut regs.rsi,
        &mut regs.rdx,
        &mut regs.r10,
        &mut regs.r8,
        &mut regs.r9,
    ]
    .into_iter()
    .nth(i)
}

pub(super) fn result(regs: &Regs) -> u64 {
    regs.rax
}

pub(super) fn forget_call(regs: &mut Regs) {
    regs.orig_rax = NO_CALL;
}

/// Restores the call number and the instruction pointer.
/// The kernel would restore them only after the ptrace stop.
pub(super) fn again(regs: &mut Regs) {
    regs.rax = regs.orig_rax;
    regs.rip = regs.rip.wrapping_sub(CALL.len() as u64);
    forget_call(regs);
}

pub(super) fn set_call(regs: &mut Regs, nr: libc::c_long) {
    regs.rax = nr.cast_unsigned();
    forget_call(regs);
}

#[cfg(test)]
mod tests {
    use super::super::Regs;

    #[test]
    fn another_call_is_made_by_the_same_instruction() {
        // SAFETY: a structure of plain integers.
        let mut plain: libc::user_regs_struct = unsafe { core::mem::zeroed() };
        (plain.rip, plain.orig_rax) = (0x1002, libc::SYS_mmap.cast_unsigned());
        (plain.rax, plain.r9) = (77, 16);
        let again = Regs(plain).again();
        assert_eq!((again.0.rip, again.0.rax), (0x1000, 9));
        // With another value, the kernel would move the instruction pointer a second time.
        assert_eq!(again.0.orig_rax, u64::MAX);
        let exit = Regs(plain);
        assert_eq!((exit.result(), exit.arg(5), exit.arg(6)), (Ok(77), 16, 0));
        let close = again.make_call(libc::SYS_close, [5, 0, 0, 0, 0, 0]);
        assert_eq!((close.0.rip, close.0.rax, close.arg(0)), (0x1000, 3, 5));
        // With another value, the kernel would restart the call that just ended.
        assert_eq!(close.0.orig_rax, u64::MAX);
        let mut now = close;
        now.put_back(&exit, 5);
        assert_eq!(now.arg(5), 16);
    }
}
