//! Tests that the supervisor knows a number's file after every call that can change it.

use std::ffi::CString;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::toy::{COUNT, FRAME, STATE};
use crate::{alone, call, device, errno, inside};

/// Waits until two threads reach this point, or fails if one does not.
fn meet(steps: &AtomicU32, at: u32) {
    steps.fetch_add(1, Ordering::SeqCst);
    let began = Instant::now();
    while steps.load(Ordering::SeqCst) < 2 * at {
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "the other has failed"
        );
        std::thread::yield_now();
    }
}

/// Opens a device. The caller closes the number, and an exec keeps it open.
fn number() -> i32 {
    let path = c"/dev/video90";
    // SAFETY: the path is NUL-terminated.
    let fd = unsafe { libc::open(path.as_ptr(), libc::O_RDWR) };
    assert!(fd >= 0);
    fd
}

fn close(fd: i32) {
    // SAFETY: the number is this test's.
    assert_eq!(unsafe { libc::close(fd) }, 0);
}

struct Number(i32);

impl AsRawFd for Number {
    fn as_raw_fd(&self) -> i32 {
        self.0
    }
}

/// Lets the supervisor see the number's file.
fn use_it(fd: i32) {
    for _ in 0..3 {
        call(&Number(fd), COUNT, 0).expect("counted");
    }
}

inside! {
    fn a_number_closed_by_another_thread_names_nothing() {
        for _ in 0..100 {
            let fd = number();
            use_it(fd);
            std::thread::spawn(move || { use_it(fd); close(fd); }).join().expect("closed");
            assert_eq!(call(&Number(fd), COUNT, 0), Err(libc::EBADF));
        }
    }

    fn a_replaced_number_names_the_other_file() {
        let (fd, other) = (number(), device());
        use_it(fd);
        // SAFETY: the numbers are this test's.
        assert_eq!(unsafe { libc::dup2(other.as_raw_fd(), fd) }, fd);
        call(&Number(fd), STATE, 1).expect("set");
        let mut entry = libc::pollfd { fd: other.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one live pollfd.
        assert_eq!(unsafe { libc::poll(&raw mut entry, 1, 0) }, 1);
        let (reader, _writer) = std::io::pipe().expect("pipe");
        // SAFETY: the numbers are this test's.
        assert_eq!(unsafe { libc::dup3(reader.as_raw_fd(), fd, libc::O_CLOEXEC) }, fd);
        assert_eq!(call(&Number(fd), COUNT, 0), Err(libc::ENOTTY));
        close(fd);
        // SAFETY: takes integers.
        let copy = unsafe { libc::fcntl(other.as_raw_fd(), libc::F_DUPFD, fd) };
        assert!(copy >= fd);
        use_it(copy);
        // SAFETY: takes integers.
        assert_eq!(unsafe { libc::syscall(libc::SYS_close_range, copy, u32::MAX, 0) }, 0);
        assert_eq!(call(&Number(copy), COUNT, 0), Err(libc::EBADF));
        // The calls above have closed it.
        let _: i32 = std::os::fd::IntoRawFd::into_raw_fd(other);
    }

    /// A memfd would accept seeks, seals and leases.
    fn a_copy_is_a_device_in_every_call() {
        let file = device();
        // SAFETY: takes integers.
        let copies = unsafe {
            [
                libc::dup(file.as_raw_fd()),
                libc::fcntl(file.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 10),
            ]
        };
        for copy in copies {
            assert!(copy >= 10, "{copy}");
            use_it(copy);
            // SAFETY: takes integers.
            let refused = unsafe {
                [
                    (libc::lseek(copy, 0, libc::SEEK_SET) as i32, errno()),
                    (libc::fcntl(copy, libc::F_GET_SEALS), errno()),
                    (libc::fcntl(copy, libc::F_SETLEASE, libc::F_RDLCK), errno()),
                ]
            };
            let wanted = [libc::ESPIPE, libc::EINVAL, libc::EINVAL].map(|errno| (-1, errno));
            assert_eq!(refused, wanted);
        }
        // SAFETY: takes integers.
        assert_eq!(unsafe { libc::fcntl(copies[1], libc::F_GETFD) }, libc::FD_CLOEXEC);
        // A program that closes its standard input wants the copy to replace it.
        close(0);
        // SAFETY: takes integers.
        assert_eq!(unsafe { libc::dup(file.as_raw_fd()) }, 0);
        use_it(0);
    }

    /// Numbers as in a shell's `exec 7<>` and `PROGRAM <&7`, and number 3, which a program passes to a child.
    fn dup_to_chosen_number_is_a_device() {
        let file = device();
        for number in [0, 1, 2, 3, 10] {
            // SAFETY: takes integers. The harness writes to these numbers.
            let saved = unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 20) };
            // SAFETY: takes integers; none but the standard ones is in use.
            assert_eq!(unsafe { libc::dup2(file.as_raw_fd(), number) }, number);
            let seen = std::panic::catch_unwind(|| calls_on_a_copy(number));
            // SAFETY: takes integers.
            unsafe {
                if saved < 0 { libc::close(number) } else { libc::dup2(saved, number) };
                libc::close(saved);
            }
            let (seen, wanted) = (seen.expect("made the calls"), answers_of_a_copy(number));
            assert_eq!(seen, wanted, "on {number}");
        }
    }

    /// Threads share a descriptor table until one of them unshares it.
    fn tables_that_are_shared_and_not() {
        let (fd, kept) = (number(), number());
        use_it(fd);
        use_it(kept);
        let step = AtomicU32::new(0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                use_it(fd);
                // SAFETY: takes flags.
                assert_eq!(unsafe { libc::unshare(libc::CLONE_FILES) }, 0);
                use_it(fd);
                meet(&step, 1);
                // `fd` is closed in the other thread and still open here. Then `kept` is closed only here.
                meet(&step, 2);
                use_it(fd);
                close(kept);
                assert_eq!(call(&Number(kept), COUNT, 0), Err(libc::EBADF));
                meet(&step, 3);
            });
            meet(&step, 1);
            close(fd);
            meet(&step, 2);
            assert_eq!(call(&Number(fd), COUNT, 0), Err(libc::EBADF));
            meet(&step, 3);
            use_it(kept);
        });
    }

    /// Another process closes numbers, which it shares or not. After the first close, the supervisor knows which.
    fn another_process_closes_numbers() {
        for shares in [true, false] {
            alone(|| {
                let all = [number(), number(), number()];
                all.into_iter().for_each(use_it);
                let flags = libc::SIGCHLD | if shares { libc::CLONE_FILES } else { 0 };
                // SAFETY: as fork, but for the table; the child makes system calls and ends.
                let child = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) };
                if child == 0 {
                    let mut value = 0u32;
                    // SAFETY: live numbers, and the end of the child.
                    unsafe {
                        for fd in all {
                            libc::ioctl(fd, COUNT, &raw mut value);
                            libc::close(fd);
                        }
                        libc::_exit(0);
                    }
                }
                // SAFETY: our own child.
                unsafe { libc::waitpid(child as i32, std::ptr::null_mut(), 0) };
                for fd in all {
                    match shares {
                        true => assert_eq!(call(&Number(fd), COUNT, 0), Err(libc::EBADF)),
                        false => use_it(fd),
                    }
                }
            });
        }
    }

    /// While a device's descriptor is being installed, other threads' opens get lower numbers.
    fn numbers_are_far_from_those_that_the_program_gets() {
        for _ in 0..300 {
            let fd = number();
            assert!(fd >= 896, "{fd}");
            close(fd);
        }
        // Many numbers at one time also fill the rest of the range.
        let held: std::collections::BTreeSet<i32> = (0..200).map(|_| number()).collect();
        assert_eq!(held.len(), 200);
        assert!(held.iter().all(|fd| (768..1024).contains(fd)), "{held:?}");
        held.into_iter().for_each(close);
    }

    /// The program's own limit may be among the numbers for devices.
    fn copies_above_the_limit_get_the_errno_of_fcntl() {
        let file = std::fs::File::open("/dev/null").expect("opens");
        let _device = device();
        let limit = libc::rlimit { rlim_cur: 900, rlim_max: 1024 };
        // SAFETY: the structure is live.
        unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
        let copy = |from: i32| {
            // SAFETY: takes integers.
            let copy = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_DUPFD, from) };
            if copy < 0 { Err(errno()) } else { Ok(copy) }
        };
        assert_eq!(copy(899), Ok(899));
        assert_eq!(copy(899), Err(libc::EMFILE));
        assert_eq!([900, 950].map(copy), [Err(libc::EINVAL); 2]);
    }

    fn closes_and_calls_race() {
        let fd = std::sync::atomic::AtomicI32::new(number());
        let over = std::sync::atomic::AtomicBool::new(false);
        let order = std::sync::atomic::Ordering::SeqCst;
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !over.load(order) {
                        // A call on a number that changes between a device and nothing.
                        let done = call(&Number(fd.load(order)), COUNT, 0);
                        assert!(matches!(done, Ok(_) | Err(libc::EBADF)), "{done:?}");
                    }
                });
            }
            for _ in 0..1000 {
                let gone = fd.load(order);
                close(gone);
                assert_eq!(call(&Number(gone), COUNT, 0), Err(libc::EBADF));
                fd.store(number(), order);
                use_it(fd.load(order));
            }
            over.store(true, order);
        });
    }

    fn an_exec_closes_what_is_marked_for_it() {
        alone(|| exec(&Marked::new()));
    }

    fn an_exec_by_another_thread_closes_it_too() {
        alone(|| {
            let marked = Marked::new();
            std::thread::scope(|scope| scope.spawn(|| exec(&marked)).join()).expect("not reached");
        });
    }
}

/// A call, its result, and the errno if the result is −1.
type Made = (&'static str, i64, i32);

/// Makes every kind of call on a copy of the device's descriptor.
fn calls_on_a_copy(number: i32) -> Vec<Made> {
    use_it(number);
    let mut entry = libc::pollfd {
        fd: number,
        events: libc::POLLIN,
        revents: 0,
    };
    call(&Number(number), STATE, 1).expect("set");
    let mut bytes = [0u8; 64];
    let at = bytes.as_mut_ptr().cast::<libc::c_void>();
    let part = libc::iovec {
        iov_base: at,
        iov_len: 64,
    };
    let (_reader, writer) = std::io::pipe().expect("pipe");
    let pipe = writer.as_raw_fd();
    // SAFETY: all zeros is a valid stat.
    let mut facts: libc::stat = unsafe { std::mem::zeroed() };
    let mut made = Vec::new();
    let mut note =
        |name, result: i64| made.push((name, result, if result < 0 { errno() } else { 0 }));
    // SAFETY: live numbers, buffers and structures.
    unsafe {
        note("poll", libc::poll(&raw mut entry, 1, 0).into());
        note("read", libc::read(number, at, 64) as i64);
        note("readv", libc::readv(number, &raw const part, 1) as i64);
        note("pread", libc::pread(number, at, 64, 0) as i64);
        note("write", libc::write(number, at, 1) as i64);
        note("writev", libc::writev(number, &raw const part, 1) as i64);
        note(
            "sendfile",
            libc::sendfile(pipe, number, std::ptr::null_mut(), 8) as i64,
        );
        note(
            "splice",
            libc::splice(
                number,
                std::ptr::null_mut(),
                pipe,
                std::ptr::null_mut(),
                8,
                0,
            ) as i64,
        );
        note(
            "flock",
            libc::flock(number, libc::LOCK_EX | libc::LOCK_NB).into(),
        );
        note("lockf", libc::lockf(number, libc::F_TLOCK, 0).into());
        note("fallocate", libc::fallocate(number, 0, 0, 1).into());
        note("ftruncate", libc::ftruncate(number, 0).into());
        note("seals", libc::fcntl(number, libc::F_GET_SEALS).into());
        note(
            "lease",
            libc::fcntl(number, libc::F_SETLEASE, libc::F_RDLCK).into(),
        );
        note("fsync", libc::fsync(number).into());
        note("fstat", libc::fstat(number, &raw mut facts).into());
        note("kind", i64::from(facts.st_mode & libc::S_IFMT));
        let map = libc::mmap(
            std::ptr::null_mut(),
            1,
            libc::PROT_READ,
            libc::MAP_SHARED,
            number,
            0,
        );
        note("mmap", -i64::from(map == libc::MAP_FAILED));
        libc::munmap(map, 1);
        note("lseek", libc::lseek(number, 0, libc::SEEK_CUR));
    }
    made
}

/// Returns the results that the device gives, or the kernel for calls that it answers alone.
fn answers_of_a_copy(number: i32) -> Vec<Made> {
    let (standard, refused) = (number < 3, (-1, libc::EINVAL));
    let frame = (FRAME.len() as i64, 0);
    let seen = |device, kernel| if standard { device } else { kernel };
    [
        ("poll", (1, 0)),
        ("read", seen(frame, refused)),
        ("readv", seen(frame, refused)),
        ("pread", seen(frame, (0, 0))),
        ("write", refused),
        ("writev", refused),
        ("sendfile", refused),
        ("splice", refused),
        ("flock", (0, 0)),
        ("lockf", (0, 0)),
        ("fallocate", (-1, libc::ENODEV)),
        ("ftruncate", refused),
        ("seals", refused),
        ("lease", refused),
        ("fsync", seen(refused, (0, 0))),
        ("fstat", (0, 0)),
        (
            "kind",
            (
                i64::from(if standard {
                    libc::S_IFCHR
                } else {
                    libc::S_IFREG
                }),
                0,
            ),
        ),
        ("mmap", (0, 0)),
        ("lseek", seen((-1, libc::ESPIPE), (i64::MAX, 0))),
    ]
    .map(|(name, (result, errno))| (name, result, errno))
    .to_vec()
}

/// Two numbers of one open file, so that it stays open. An exec closes the second.
struct Marked {
    open: i32,
    marked: i32,
}

impl Marked {
    fn new() -> Self {
        let open = number();
        // SAFETY: takes integers.
        let marked = unsafe { libc::fcntl(open, libc::F_DUPFD_CLOEXEC, open) };
        assert!(marked > open, "{}", errno());
        use_it(open);
        use_it(marked);
        Self { open, marked }
    }
}

/// Executes this program again, as [`after_exec`].
fn exec(Marked { open, marked }: &Marked) {
    use_it(*marked);
    let name = std::env::current_exe().expect("own path");
    let name = CString::new(name.as_os_str().as_bytes()).expect("no NUL");
    let numbers = CString::new(format!("VB3_NUMBERS={open} {marked}")).expect("no NUL");
    let argv = [name.as_ptr(), std::ptr::null()];
    let envp = [numbers.as_ptr(), std::ptr::null()];
    // SAFETY: terminated lists of terminated strings.
    unsafe { libc::execve(name.as_ptr(), argv.as_ptr(), envp.as_ptr()) };
    panic!("execve: {}", errno());
}

/// Runs before `main`, since the test harness makes threads whose numbers are unknown.
#[used]
// SAFETY: the C library calls the functions in this section; this one takes no arguments.
#[unsafe(link_section = ".init_array")]
static AFTER_EXEC: extern "C" fn() = after_exec;

/// Runs after the exec: the second number is closed, and the first is not.
extern "C" fn after_exec() {
    let Ok(numbers) = std::env::var("VB3_NUMBERS") else {
        return;
    };
    let mut numbers = numbers
        .split(' ')
        .map(|n| n.parse().map_or(Number(-1), Number));
    let mut next = || call(&numbers.next().unwrap_or(Number(-1)), COUNT, 0);
    let is_right = next().is_ok() && next() == Err(libc::EBADF);
    std::process::exit(i32::from(!is_right));
}
