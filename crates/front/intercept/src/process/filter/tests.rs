use super::*;

/// Runs the filter on one call's data, as the kernel does.
fn verdict(arch: u32, nr: libc::c_long, args: [u64; 6]) -> u32 {
    run(arch, nr, args).0
}

/// Returns the verdict, and how many instructions ran before the first argument was loaded.
fn run(arch: u32, nr: libc::c_long, args: [u64; 6]) -> (u32, usize) {
    let mut words = vec![word(nr), arch, 0, 0];
    for arg in args {
        words.extend([arg as u32, (arg >> 32) as u32]);
    }
    let code = program(FdRange {
        start: 768,
        end: 1024,
    });
    assert!(code.len() <= 4096);
    let (mut a, mut at, mut count, mut has_arguments) = (0u32, 0usize, 0, false);
    for _ in 0..code.len() {
        let i = code[at];
        at += 1;
        has_arguments |= i.code == LD && i.k > ARCH;
        count += usize::from(!has_arguments);
        let jump = |yes: bool| usize::from(if yes { i.jt } else { i.jf });
        match i.code {
            LD => a = words[i.k as usize / 4],
            RSH => a >>= i.k,
            AND => a &= i.k,
            JA => at += i.k as usize,
            JEQ => at += jump(a == i.k),
            JGE => at += jump(a >= i.k),
            JSET => at += jump(a & i.k != 0),
            RET => return (i.k, count),
            code => panic!("instruction {code:#x}"),
        }
    }
    panic!("no verdict");
}

fn call(nr: libc::c_long, args: &[u64]) -> u32 {
    let mut all = [0; 6];
    all[..args.len()].copy_from_slice(args);
    verdict(AUDIT_ARCH, nr, all)
}

#[test]
fn only_opens_of_32_bit_programs_are_noticed() {
    let (other, [open, openat]) = OTHER_OPENS;
    for nr in [open, openat] {
        assert_eq!(verdict(other, nr.into(), [0; 6]), NOTIFY, "{nr}");
    }
    for nr in [0, 3, libc::SYS_openat, libc::SYS_close] {
        assert_eq!(verdict(other, nr, [800; 6]), ALLOW, "{nr}");
    }
}

#[test]
fn every_call_gets_the_intended_verdict() {
    let at_fdcwd = (-100i64) as u64;
    let rows: &[(&str, libc::c_long, &[u64], u32)] = &[
        ("socket", libc::SYS_socket, &[1, 1, 0], ALLOW),
        ("socket of routes", libc::SYS_socket, &[16, 3, 0], ALLOW),
        (
            "socket of events",
            libc::SYS_socket,
            &[16, 0x80803, 15],
            NOTIFY,
        ),
        ("recvmsg", libc::SYS_recvmsg, &[7], ALLOW),
        (
            "recvmsg of a kept number",
            libc::SYS_recvmsg,
            &[1023],
            NOTIFY,
        ),
        ("setsockopt", libc::SYS_setsockopt, &[1023, 1], ALLOW),
        (
            "setsockopt of netlink",
            libc::SYS_setsockopt,
            &[1023, 270],
            NOTIFY,
        ),
        (
            "setsockopt of another",
            libc::SYS_setsockopt,
            &[7, 270],
            ALLOW,
        ),
        ("getpid", libc::SYS_getpid, &[], ALLOW),
        ("execve", libc::SYS_execve, &[], NOTIFY),
        ("execveat", libc::SYS_execveat, &[3], NOTIFY),
        (
            "our own execve",
            libc::SYS_execve,
            &[0, 0, 0, 0, 0, u64::from(PASS) << 32],
            ALLOW,
        ),
        ("close 5", libc::SYS_close, &[5], ALLOW),
        ("close 800", libc::SYS_close, &[800], NOTIFY),
        ("dup 800", libc::SYS_dup, &[800], NOTIFY),
        ("dup 8", libc::SYS_dup, &[8], ALLOW),
        ("dup2 onto 800", libc::SYS_dup2, &[5, 800], NOTIFY),
        ("dup3 of 800", libc::SYS_dup3, &[800, 5], NOTIFY),
        ("dup2 low", libc::SYS_dup2, &[5, 6], ALLOW),
        ("close_range below", libc::SYS_close_range, &[3, 767], ALLOW),
        (
            "close_range above",
            libc::SYS_close_range,
            &[1024, 4096],
            ALLOW,
        ),
        (
            "close_range over",
            libc::SYS_close_range,
            &[3, 0xffff_ffff],
            NOTIFY,
        ),
        ("close_range in", libc::SYS_close_range, &[800, 801], NOTIFY),
        ("fcntl of 800", libc::SYS_fcntl, &[800, 3], NOTIFY),
        ("fcntl of 5", libc::SYS_fcntl, &[5, 3], ALLOW),
        ("F_DUPFD low", libc::SYS_fcntl, &[5, 0, 10], ALLOW),
        ("F_DUPFD high", libc::SYS_fcntl, &[5, 0, 800], NOTIFY),
        ("F_DUPFD above", libc::SYS_fcntl, &[5, 0, 1024], ALLOW),
        ("F_DUPFD_CLOEXEC", libc::SYS_fcntl, &[5, 1030, 768], NOTIFY),
        ("F_SETFL 800", libc::SYS_fcntl, &[5, 4, 800], ALLOW),
        ("sendfile from 800", libc::SYS_sendfile, &[1, 800], NOTIFY),
        ("splice to 800", libc::SYS_splice, &[1, 0, 800], NOTIFY),
        ("splice offset 800", libc::SYS_splice, &[1, 800, 5], ALLOW),
        ("fallocate 5", libc::SYS_fallocate, &[5], NOTIFY),
        ("ftruncate 5", libc::SYS_ftruncate, &[5], NOTIFY),
        ("flock 5", libc::SYS_flock, &[5], ALLOW),
        ("fsync 1", libc::SYS_fsync, &[1], NOTIFY),
        ("fsync 5", libc::SYS_fsync, &[5], ALLOW),
        ("F_SETLEASE 5", libc::SYS_fcntl, &[5, 1024], NOTIFY),
        ("F_ADD_SEALS 5", libc::SYS_fcntl, &[5, 1033], NOTIFY),
        ("F_GET_SEALS 5", libc::SYS_fcntl, &[5, 1034], NOTIFY),
        ("restart", libc::SYS_restart_syscall, &[], NOTIFY),
        ("io_uring_setup", libc::SYS_io_uring_setup, &[], NOTIFY),
        ("openat", libc::SYS_openat, &[at_fdcwd], NOTIFY),
        ("fstatfs", libc::SYS_fstatfs, &[5], NOTIFY),
        ("ioctl V", libc::SYS_ioctl, &[3, 0x8068_5600], NOTIFY),
        (
            "ioctl V, sign extended",
            libc::SYS_ioctl,
            &[3, 0xffff_ffff_c0cc_5604],
            NOTIFY,
        ),
        ("ioctl b", libc::SYS_ioctl, &[3, 0x4008_6200], NOTIFY),
        ("ioctl |", libc::SYS_ioctl, &[3, 0xc100_7c00], NOTIFY),
        ("heap", libc::SYS_ioctl, &[5, 0xc018_4800], NOTIFY),
        ("udmabuf", libc::SYS_ioctl, &[5, 0x4018_7542], NOTIFY),
        ("timeline", libc::SYS_ioctl, &[5, 0xc028_5700], NOTIFY),
        (
            "HIDIOCGRDESCSIZE",
            libc::SYS_ioctl,
            &[5, 0x8004_4801],
            ALLOW,
        ),
        ("WDIOC_KEEPALIVE", libc::SYS_ioctl, &[5, 0x8004_5705], ALLOW),
        ("TCGETS low", libc::SYS_ioctl, &[3, 0x5401], ALLOW),
        ("TCGETS in range", libc::SYS_ioctl, &[768, 0x5401], NOTIFY),
        ("TCGETS above", libc::SYS_ioctl, &[1024, 0x5401], ALLOW),
        ("FIONBIO low", libc::SYS_ioctl, &[3, 0x5421], ALLOW),
        ("FIONBIO in range", libc::SYS_ioctl, &[800, 0x5421], NOTIFY),
        ("read 0", libc::SYS_read, &[0], NOTIFY),
        ("read 2", libc::SYS_read, &[2], NOTIFY),
        ("read 3", libc::SYS_read, &[3], ALLOW),
        ("read 767", libc::SYS_read, &[767], ALLOW),
        ("read 1023", libc::SYS_read, &[1023], NOTIFY),
        ("line to 1", libc::SYS_write, &[1, 0, 65], ALLOW),
        ("text to 1", libc::SYS_write, &[1, 0, 4095], ALLOW),
        (
            "piece of a frame to 1",
            libc::SYS_write,
            &[1, 0, 64],
            NOTIFY,
        ),
        ("large write to 1", libc::SYS_write, &[1, 0, 4097], NOTIFY),
        ("large write to 2", libc::SYS_write, &[2, 0, 32768], ALLOW),
        ("write 900", libc::SYS_write, &[900, 0, 1], NOTIFY),
        ("writev 1", libc::SYS_writev, &[1], ALLOW),
        ("write 0", libc::SYS_write, &[0], ALLOW),
        ("writev 900", libc::SYS_writev, &[900], NOTIFY),
        ("lseek 900", libc::SYS_lseek, &[900], NOTIFY),
        ("lseek 2", libc::SYS_lseek, &[2], NOTIFY),
        ("lseek 9", libc::SYS_lseek, &[9], ALLOW),
        ("fstat 768", libc::SYS_fstat, &[768], NOTIFY),
        ("pread64 5", libc::SYS_pread64, &[5], ALLOW),
        (
            "mmap anonymous",
            libc::SYS_mmap,
            &[0, 1, 3, 0x21, 800],
            ALLOW,
        ),
        ("mmap private", libc::SYS_mmap, &[0, 1, 3, 2, 5], ALLOW),
        ("mmap stdin", libc::SYS_mmap, &[0, 1, 3, 2, 0], NOTIFY),
        (
            "mmap private in range",
            libc::SYS_mmap,
            &[0, 1, 3, 2, 800],
            NOTIFY,
        ),
        ("mmap shared", libc::SYS_mmap, &[0, 1, 3, 1, 5], NOTIFY),
        ("mmap validate", libc::SYS_mmap, &[0, 1, 3, 3, 5], NOTIFY),
        (
            "mmap ours",
            libc::SYS_mmap,
            &[0, 1, 3, 1, 5 | u64::from(PASS) << 32],
            ALLOW,
        ),
        ("poll none", nr::POLL, &[0, 0], ALLOW),
        ("poll one", nr::POLL, &[0, 1], NOTIFY),
        ("select none", nr::SELECT, &[0], ALLOW),
        ("pselect some", libc::SYS_pselect6, &[4], NOTIFY),
        (
            "our own pselect",
            libc::SYS_pselect6,
            &[4, u64::from(PASS) << 32],
            ALLOW,
        ),
        (
            "fstatat path",
            libc::SYS_newfstatat,
            &[at_fdcwd, 0, 0, 0],
            NOTIFY,
        ),
        (
            "fstatat low",
            libc::SYS_newfstatat,
            &[5, 0, 0, 0x1000],
            ALLOW,
        ),
        (
            "fstatat stdin",
            libc::SYS_newfstatat,
            &[0, 0, 0, 0x1000],
            NOTIFY,
        ),
        (
            "fstatat in range",
            libc::SYS_newfstatat,
            &[800, 0, 0, 0x1000],
            NOTIFY,
        ),
        (
            "fstatat cwd",
            libc::SYS_newfstatat,
            &[at_fdcwd, 0, 0, 0x1000],
            NOTIFY,
        ),
        (
            "fstatat at dir",
            libc::SYS_newfstatat,
            &[5, 0, 0, 0x100],
            NOTIFY,
        ),
    ];
    for &(name, nr, args, want) in rows {
        assert_eq!(call(nr, args), want, "{name}");
    }
}

/// When the kernel installs a filter, it runs it for each number, up to the first argument.
#[test]
fn search_for_a_number_is_short() {
    let counts = (0..460).map(|nr| run(AUDIT_ARCH, nr, [5; 6]).1);
    let most = counts.max().unwrap();
    assert!(most < 32, "{most}");
}

#[test]
fn other_architectures_pass() {
    assert_eq!(verdict(0x4000_0003, libc::SYS_openat, [0; 6]), ALLOW);
    assert_eq!(call(libc::SYS_openat | 0x4000_0000, &[]), ALLOW);
}

#[test]
fn the_range_fits_the_limit() {
    assert_eq!(
        FdRange::below(1 << 20),
        FdRange {
            start: 768,
            end: 1024
        }
    );
    assert_eq!(
        FdRange::below(1024),
        FdRange {
            start: 768,
            end: 1024
        }
    );
    assert_eq!(
        FdRange::below(256),
        FdRange {
            start: 128,
            end: 256
        }
    );
    let small = FdRange::below(3);
    assert!(small.start >= 4 && small.start < small.end);
}
