//! arm64.

/// `AUDIT_ARCH_AARCH64`: programs of 32 bits carry another.
pub(crate) const AUDIT_ARCH: u32 = 0xc000_00b7;

/// `AUDIT_ARCH_ARM` and its open and openat: 32-bit programs are notified of these to be named.
pub(crate) const OTHER_OPENS: Option<(u32, [u32; 2])> = Some((0x4000_0028, [5, 322]));

/// Numbers from here on are calls of another architecture under the same name: there are none.
pub(crate) const FOREIGN_CALLS: Option<u32> = None;

/// Length of the `svc` instruction.
const INSTRUCTION: u64 = 4;

/// The instruction `svc #0`.
pub(super) const CALL: [u8; 4] = [0x01, 0x00, 0x00, 0xd4];
/// Where it may lie.
pub(super) const CALL_ALIGN: usize = 4;

/// Whether a call's result lies where its first argument lay, which the kernel keeps elsewhere.
pub(crate) const FIRST_IS_RESULT: bool = true;

/// The register that holds a call's number.
const NUMBER: usize = 8;

/// System calls that not every architecture has. Those that are not here have numbers that no
/// call carries, each its own.
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
}

type Regs = libc::user_regs_struct;

pub(super) fn arg(regs: &Regs, i: usize) -> Option<&u64> {
    regs.regs.get(..6)?.get(i)
}

pub(super) fn arg_mut(regs: &mut Regs, i: usize) -> Option<&mut u64> {
    regs.regs.get_mut(..6)?.get_mut(i)
}

pub(super) fn result(regs: &Regs) -> u64 {
    regs.regs[0]
}

/// The kernel restarts a call only where the first register says so.
pub(super) fn forget_call(_: &mut Regs) {}

/// The kernel has put first argument and program counter back before the stop.
///
/// Source: Linux 7.2 arch/arm64/kernel/signal.c `do_signal`.
pub(super) fn again(_: &mut Regs) {}

pub(super) fn go_to(regs: &mut Regs, instruction: u64) {
    regs.pc = instruction;
}

pub(super) fn set_call(regs: &mut Regs, nr: libc::c_long) {
    regs.regs[NUMBER] = nr.cast_unsigned();
}

pub(super) fn back_to_instruction(regs: &mut Regs) {
    regs.pc = regs.pc.wrapping_sub(INSTRUCTION);
}
