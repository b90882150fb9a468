//! The seccomp filter: which system calls the kernel reports to the supervisor.
//!
//! Calls that never concern a device pass without running the filter, since the kernel caches which
//! calls are always allowed. For other calls the filter checks the integer arguments: device
//! descriptors have numbers in a reserved [`FdRange`].

use crate::kernel::{AUDIT_ARCH, FCHMODAT2, FOREIGN_CALLS, OTHER_OPENS, nr};

/// Descriptor numbers reserved for devices and buffers: `start..end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FdRange {
    pub(crate) start: u32,
    pub(crate) end: u32,
}

impl FdRange {
    pub(crate) fn has(self, fd: i32) -> bool {
        u32::try_from(fd).is_ok_and(|fd| (self.start..self.end).contains(&fd))
    }

    /// Returns the range of at most 256 numbers below the descriptor limit and below 1024 (for select).
    pub(crate) fn below(limit: u64) -> Self {
        let end = u32::try_from(limit.min(1024)).unwrap_or(1024).max(8);
        Self {
            start: end.saturating_sub(256).max(end / 2).max(4),
            end,
        }
    }
}

/// Marks a call that the supervisor makes a thread execute. The filter allows such a call. The mark is
/// the upper half of an argument that the kernel ignores: mmap's descriptor, a sixth argument of execve, or
/// the first set of a pselect6 without descriptors. No program's set has such an address.
pub(crate) const PASS: u32 = 0x7662_3364;

/// Writes of this many bytes or more to standard output are reported, because a shell may have
/// redirected standard output to a device.
///
/// A shorter write is reported if its length is a multiple of [`FRAME_UNIT`]. Pieces of raw frames have
/// such lengths, and lines of text rarely do. A filter cannot see whether the descriptor is a device,
/// and a report has two costs. It takes microseconds. A signal that arrives before the supervisor
/// receives the report ends the write with EINTR. Programs do not expect that from a file or a pipe with
/// room, and would lose text. If standard output is a device, an unreported write fails with EINVAL.
const LARGE_WRITE: u32 = 4 << 10;

/// Lengths of raw frames and their pieces are multiples of this number of bytes, a power of 2.
const FRAME_UNIT: u32 = 64;

/// First number above standard input, output and error.
pub(crate) const STANDARD: u32 = 3;

/// Ioctls of dma-heaps, udmabuf and sw_sync. Other devices use the same type bytes at descriptors of
/// any number, so the filter compares the whole request.
const MEMORY_IOCTLS: [u32; 6] = [
    0xc018_4800, // DMA_HEAP_IOCTL_ALLOC
    0x4018_7542, // UDMABUF_CREATE
    0x4008_7543, // UDMABUF_CREATE_LIST
    0xc028_5700, // SW_SYNC_IOC_CREATE_FENCE
    0x4004_5701, // SW_SYNC_IOC_INC
    0xc010_5702, // SW_SYNC_GET_DEADLINE
];

/// The flag with which C libraries make fstat: `newfstatat(fd, "", _, AT_EMPTY_PATH)`.
const AT_EMPTY_PATH: u32 = libc::AT_EMPTY_PATH.cast_unsigned();

const LD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
const RSH: u16 = 0x74; // BPF_ALU | BPF_RSH | BPF_K
const AND: u16 = 0x54; // BPF_ALU | BPF_AND | BPF_K
const JA: u16 = 0x05;
const JEQ: u16 = 0x15;
const JGE: u16 = 0x35;
const JSET: u16 = 0x45;
const RET: u16 = 0x06;

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const NOTIFY: u32 = libc::SECCOMP_RET_USER_NOTIF;

/// Offsets in `struct seccomp_data`, little endian.
const NR: u32 = 0;
const ARCH: u32 = 4;
const fn low(arg: u32) -> u32 {
    16 + arg * 8
}
const fn high(arg: u32) -> u32 {
    low(arg) + 4
}

/// A step of the filter after the call's number has matched. Every list of steps ends with `End`. Comparisons of
/// the loaded word have a value and a verdict, which the filter returns if the comparison holds.
enum Test {
    Load(u32),
    Equal(u32, u32),
    Unless(u32, u32),
    NoneOf([i32; 2], u32),
    AtLeast(u32, u32),
    Below(u32, u32),
    AnyBit(u32, u32),
    /// Reports the call if the word is in the range of device descriptors.
    InRange,
    /// Loads an argument, and reports the call if it is in the range of device descriptors.
    Kept(u32),
    /// Keeps only the request's type byte in the accumulator.
    TypeByte,
    /// Returns the verdict in all other cases.
    End(u32),
}

fn op(code: u16, k: u32, jt: u8, jf: u8) -> libc::sock_filter {
    libc::sock_filter { code, jt, jf, k }
}

fn emit(out: &mut Vec<libc::sock_filter>, test: &Test, range: FdRange) {
    let (code, k, wanted, verdict) = match *test {
        Test::Equal(k, verdict) => (JEQ, k, true, verdict),
        Test::Unless(k, verdict) => (JEQ, k, false, verdict),
        Test::AtLeast(k, verdict) => (JGE, k, true, verdict),
        Test::Below(k, verdict) => (JGE, k, false, verdict),
        Test::AnyBit(k, verdict) => (JSET, k, true, verdict),
        Test::NoneOf([a, b], verdict) => {
            out.push(op(JEQ, a.cast_unsigned(), 2, 0));
            (JEQ, b.cast_unsigned(), false, verdict)
        }
        Test::InRange => {
            out.push(op(JGE, range.start, 0, 2));
            (JGE, range.end, false, NOTIFY)
        }
        Test::Kept(arg) => {
            emit(out, &Test::Load(low(arg)), range);
            return emit(out, &Test::InRange, range);
        }
        Test::Load(at) => return out.push(op(LD, at, 0, 0)),
        Test::TypeByte => return out.extend([op(RSH, 8, 0, 0), op(AND, 0xff, 0, 0)]),
        Test::End(verdict) => return out.push(op(RET, verdict, 0, 0)),
    };
    let (jt, jf) = if wanted { (0, 1) } else { (1, 0) };
    out.extend([op(code, k, jt, jf), op(RET, verdict, 0, 0)]);
}

/// Converts a call's number to the 32 bits that the filter compares.
fn word(nr: libc::c_long) -> u32 {
    u32::try_from(nr).unwrap_or(u32::MAX)
}

/// Maximum number of call numbers that the search compares one by one.
const LEAF: usize = 12;

/// Emits a binary search for the call's number among `cases`, which are sorted numbers and the ends of their
/// bodies in `reversed`. A filter jumps only forwards, so instructions are emitted from the last to the first.
///
/// To compare all numbers one by one would cost more: when a filter is installed, the kernel runs it once for each
/// of about 450 system calls, to find those that are always allowed.
fn search(reversed: &mut Vec<libc::sock_filter>, cases: &[(u32, usize)]) {
    // CAST: a filter has at most 4096 instructions.
    let jump =
        |reversed: &mut Vec<_>, end| reversed.push(op(JA, (reversed.len() - end) as u32, 0, 0));
    if cases.len() > LEAF {
        let (low, high) = cases.split_at(cases.len() / 2);
        search(reversed, high);
        let right = reversed.len();
        search(reversed, low);
        jump(reversed, right);
        return reversed.push(op(JGE, high[0].0, 0, 1));
    }
    reversed.push(op(RET, ALLOW, 0, 0));
    let mut cases = cases.to_vec();
    cases.sort_by_key(|&(_, body)| body);
    for same in cases.chunk_by(|a, b| a.1 == b.1) {
        jump(reversed, same[0].1);
        for (left, (nr, _)) in (0..).zip(same) {
            // A match skips the group's remaining numbers.
            reversed.push(op(JEQ, *nr, left, u8::from(left == 0)));
        }
    }
}

/// Returns the filter for the programs of a run, whose devices get descriptors in `range`.
pub(crate) fn program(range: FdRange) -> Vec<libc::sock_filter> {
    use Test::{AnyBit, AtLeast, Below, End, Equal, InRange, Kept, Load, NoneOf, TypeByte, Unless};
    let mut out = vec![op(LD, ARCH, 0, 0)];
    let (other, [open, openat]) = OTHER_OPENS;
    out.extend([
        op(JEQ, other, 0, 4),
        op(LD, NR, 0, 0),
        op(JEQ, open, 1, 0),
        op(JEQ, openat, 0, 2),
        op(RET, NOTIFY, 0, 0),
        op(JEQ, AUDIT_ARCH, 1, 0),
        op(RET, ALLOW, 0, 0),
        op(LD, NR, 0, 0),
    ]);
    if let Some(first) = FOREIGN_CALLS {
        out.extend([op(JGE, first, 0, 1), op(RET, ALLOW, 0, 0)]);
    }
    let (mut reversed, mut cases) = (Vec::new(), Vec::new());
    let mut block = |nrs: &[libc::c_long], tests: &[Test]| {
        let mut body = Vec::new();
        for test in tests {
            emit(&mut body, test, range);
        }
        reversed.extend(body.into_iter().rev());
        // Negative numbers stand for calls that this architecture does not have.
        let nrs = nrs.iter().filter(|&&nr| nr >= 0);
        cases.extend(nrs.map(|&nr| (word(nr), reversed.len())));
    };
    let mut ioctl = vec![
        Load(low(1)),
        Equal(0x5452, ALLOW), // FIOASYNC
        TypeByte,
        Equal(b'V'.into(), NOTIFY),
        Equal(b'b'.into(), NOTIFY),
        Equal(b'|'.into(), NOTIFY),
        Equal(b'>'.into(), NOTIFY),
        Equal(b'd'.into(), NOTIFY),
        Load(low(1)),
    ];
    ioctl.extend(MEMORY_IOCTLS.map(|request| Equal(request, NOTIFY)));
    ioctl.extend([Kept(0), End(ALLOW)]);
    block(&[libc::SYS_ioctl], &ioctl);
    block(
        &[
            libc::SYS_read,
            libc::SYS_readv,
            libc::SYS_pread64,
            libc::SYS_pwrite64,
            libc::SYS_preadv,
            libc::SYS_preadv2,
            libc::SYS_pwritev,
            libc::SYS_pwritev2,
            libc::SYS_lseek,
            libc::SYS_fstat,
            libc::SYS_fsync,
            libc::SYS_fdatasync,
        ],
        &[Load(low(0)), Below(STANDARD, NOTIFY), InRange, End(ALLOW)],
    );
    block(
        &[libc::SYS_write],
        &[
            Kept(0),
            Unless(1, ALLOW),
            Load(low(2)),
            AtLeast(LARGE_WRITE, NOTIFY),
            AnyBit(FRAME_UNIT - 1, ALLOW),
            End(NOTIFY),
        ],
    );
    // close and dup end or copy a device's descriptor. The socket calls may be on a program's uevent
    // socket, which the supervisor has made.
    block(
        &[
            libc::SYS_writev,
            libc::SYS_close,
            libc::SYS_dup,
            libc::SYS_recvmsg,
            libc::SYS_recvfrom,
            libc::SYS_sendmsg,
            libc::SYS_sendto,
            libc::SYS_bind,
            libc::SYS_getsockname,
        ],
        &[Kept(0), End(ALLOW)],
    );
    // These calls are so rare that they are reported for every descriptor number.
    block(&[libc::SYS_fallocate, libc::SYS_ftruncate], &[End(NOTIFY)]);
    block(
        &[libc::SYS_fcntl],
        &[
            Kept(0),
            Load(low(1)),
            // Commands that work on a memfd, and that a device refuses.
            Equal(libc::F_SETLEASE.cast_unsigned(), NOTIFY),
            Equal(libc::F_ADD_SEALS.cast_unsigned(), NOTIFY),
            Equal(libc::F_GET_SEALS.cast_unsigned(), NOTIFY),
            // The copy may get a number of the reserved range.
            NoneOf([libc::F_DUPFD, libc::F_DUPFD_CLOEXEC], ALLOW),
            Load(low(2)),
            Below(range.start, ALLOW),
            AtLeast(range.end, ALLOW),
            End(NOTIFY),
        ],
    );
    block(
        &[nr::DUP2, libc::SYS_dup3, libc::SYS_sendfile],
        &[Kept(0), Kept(1), End(ALLOW)],
    );
    block(
        &[libc::SYS_splice, libc::SYS_copy_file_range],
        &[Kept(0), Kept(2), End(ALLOW)],
    );
    block(
        &[libc::SYS_close_range],
        &[
            Load(low(0)),
            AtLeast(range.end, ALLOW),
            Load(low(1)),
            Below(range.start, ALLOW),
            End(NOTIFY),
        ],
    );
    block(
        &[libc::SYS_mmap],
        &[
            Load(high(4)),
            Equal(PASS, ALLOW),
            Load(low(3)),
            AnyBit(0x20, ALLOW),  // MAP_ANONYMOUS
            AnyBit(0x01, NOTIFY), // MAP_SHARED, MAP_SHARED_VALIDATE
            Load(low(4)),
            Below(STANDARD, NOTIFY),
            InRange,
            End(ALLOW),
        ],
    );
    // An execve closes descriptors that have FD_CLOEXEC.
    block(
        &[libc::SYS_execve, libc::SYS_execveat],
        &[Load(high(5)), Equal(PASS, ALLOW), End(NOTIFY)],
    );
    block(
        &[nr::POLL, libc::SYS_ppoll],
        &[Load(low(1)), Equal(0, ALLOW), End(NOTIFY)],
    );
    block(
        &[nr::SELECT, libc::SYS_pselect6],
        &[
            Load(high(1)),
            Equal(PASS, ALLOW),
            Load(low(0)),
            Equal(0, ALLOW),
            End(NOTIFY),
        ],
    );
    block(
        &[libc::SYS_newfstatat],
        &[
            Load(low(3)),
            // With these flags, the path may be non-empty, so the supervisor must check it.
            Equal(AT_EMPTY_PATH | 0x100, NOTIFY),
            Load(low(0)),
            Below(STANDARD, NOTIFY),
            InRange,
            Equal(libc::AT_FDCWD.cast_unsigned(), NOTIFY),
            Load(low(3)),
            Equal(AT_EMPTY_PATH, ALLOW),
            End(NOTIFY),
        ],
    );
    block(
        &[
            libc::SYS_openat,
            nr::OPEN,
            libc::SYS_openat2,
            nr::CREAT,
            nr::STAT,
            nr::LSTAT,
            libc::SYS_statx,
            nr::ACCESS,
            libc::SYS_faccessat,
            libc::SYS_faccessat2,
            nr::READLINK,
            libc::SYS_readlinkat,
            libc::SYS_getdents64,
            libc::SYS_epoll_ctl,
            libc::SYS_statfs,
            libc::SYS_fstatfs,
            libc::SYS_getxattr,
            libc::SYS_lgetxattr,
            libc::SYS_listxattr,
            libc::SYS_llistxattr,
            nr::CHMOD,
            nr::CHOWN,
            nr::LCHOWN,
            libc::SYS_fchmodat,
            FCHMODAT2,
            libc::SYS_fchownat,
            libc::SYS_utimensat,
            libc::SYS_inotify_add_watch,
            libc::SYS_chdir,
            libc::SYS_getcwd,
            libc::SYS_restart_syscall,
            libc::SYS_io_uring_setup,
        ],
        &[End(NOTIFY)],
    );
    // Netlink sockets, on which the kernel announces devices, and their options.
    block(
        &[libc::SYS_socket],
        &[
            Load(low(0)),
            Unless(libc::AF_NETLINK.cast_unsigned(), ALLOW),
            Load(low(2)),
            Unless(libc::NETLINK_KOBJECT_UEVENT.cast_unsigned(), ALLOW),
            End(NOTIFY),
        ],
    );
    block(
        &[libc::SYS_setsockopt],
        &[
            Load(low(1)),
            Unless(libc::SOL_NETLINK.cast_unsigned(), ALLOW),
            Kept(0),
            End(ALLOW),
        ],
    );
    cases.sort_unstable();
    search(&mut reversed, &cases);
    out.extend(reversed.into_iter().rev());
    out
}

#[cfg(test)]
mod tests;
