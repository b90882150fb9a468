//! Tests opens, and the properties of a descriptor.

use std::ffi::{CStr, CString};
use std::fs::{self, File, OpenOptions};
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, symlink};

use crate::toy::{COUNT, EXPORT, EXPORT_WHEN_FULL, GIVEN, OPENS, QUERYCAP};
use crate::{call, device, errno, inside};

fn open_error(flags: i32) -> i32 {
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open("/dev/video90");
    opened.expect_err("refused").raw_os_error().unwrap_or(0)
}

/// A temporary directory of the test.
struct Dir(std::path::PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("vb3-{name}-{}", std::process::id()));
        fs::create_dir(&path).expect("a directory");
        Self(path)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

inside! {
    fn a_device_opens_and_answers() {
        let file = device();
        let mut cap = [0u8; 104];
        // SAFETY: the request takes 104 bytes.
        assert_eq!(unsafe { libc::ioctl(file.as_raw_fd(), QUERYCAP, cap.as_mut_ptr()) }, 0);
        assert_eq!(&cap[..4], b"toy\0");
        assert_eq!(call(&file, COUNT, 0), Ok(1));
        assert_eq!(call(&file, COUNT, 0), Ok(2));
        // SAFETY: a bad pointer is refused, not followed.
        assert_eq!(unsafe { libc::ioctl(file.as_raw_fd(), COUNT, 8usize) }, -1);
        assert_eq!(errno(), libc::EFAULT);
    }

    fn every_open_is_a_file_of_its_own() {
        let files = [device(), device(), device()];
        assert_eq!(call(&files[0], OPENS, 0), Ok(3));
        let copy = files[2].try_clone().expect("dup");
        assert_eq!(call(&copy, OPENS, 0), Ok(3));
        drop(files);
        assert_eq!(call(&copy, OPENS, 0), Ok(1));
    }

    fn many_opens_overflow_the_reserved_numbers() {
        let files: Vec<File> = (0..150).map(|_| device()).collect();
        assert_eq!(call(&files[149], OPENS, 0), Ok(150));
        // 150 exports and 150 files: more than the 256 reserved numbers.
        let exports: Vec<u32> =
            (0..150).map(|_| call(&files[0], EXPORT, 0).expect("exported")).collect();
        assert!(exports.iter().any(|&fd| fd < 200), "the overflow goes to low numbers");
        // SAFETY: descriptors that were just returned to us.
        exports.iter().for_each(|&fd| drop(unsafe { File::from_raw_fd(fd as i32) }));
    }

    fn a_full_table_is_emfile() {
        let one = device();
        let limit = libc::rlimit { rlim_cur: 40, rlim_max: 1024 };
        // SAFETY: the structure is live.
        unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) };
        let mut fill = Vec::new();
        while let Ok(file) = File::open("/dev/null") {
            fill.push(file);
        }
        assert_eq!(open_error(0), libc::EMFILE);
        assert_eq!(call(&one, EXPORT, 0), Err(libc::EMFILE));
        drop(fill);
        assert_eq!(call(&one, OPENS, 0), Ok(1));
    }

    fn an_export_of_a_full_supervisor_is_emfile() {
        let one = device();
        assert_eq!(call(&one, EXPORT_WHEN_FULL, 0), Err(libc::EMFILE));
        let exported = call(&one, EXPORT, 0).expect("there is room again");
        assert_eq!(call(&one, GIVEN, 0), Ok(1));
        // SAFETY: a descriptor that was just returned to us.
        drop(unsafe { File::from_raw_fd(exported.cast_signed()) });
        assert_eq!(call(&one, GIVEN, 0), Ok(0));
    }

    fn flags_are_kept_and_checked() {
        let open = |flags| OpenOptions::new().read(true).custom_flags(flags).open("/dev/video90");
        let get = |file: &File, what| {
            // SAFETY: takes integers.
            unsafe { libc::fcntl(file.as_raw_fd(), what) }
        };
        let file = open(libc::O_NONBLOCK).expect("opens");
        assert_ne!(get(&file, libc::F_GETFL) & libc::O_NONBLOCK, 0);
        assert_eq!(get(&file, libc::F_GETFL) & libc::O_ACCMODE, libc::O_RDONLY);
        assert_eq!(get(&file, libc::F_GETFD), libc::FD_CLOEXEC);
        for flags in [libc::O_DIRECTORY, libc::O_PATH | libc::O_DIRECTORY] {
            assert_eq!(open_error(flags), libc::ENOTDIR);
        }
        let exclusive = OpenOptions::new().write(true).create_new(true).open("/dev/video90");
        assert_eq!(exclusive.expect_err("there").raw_os_error(), Some(libc::EEXIST));
        let path = open(libc::O_PATH).expect("a reference");
        assert!(path.metadata().expect("stat").file_type().is_char_device());
        assert_eq!(call(&path, COUNT, 0), Err(libc::EBADF));
        assert_eq!(call(&file, OPENS, 0), Ok(1));
    }

    fn a_reference_refuses_calls_without_other_files() {
        let mut flags = OpenOptions::new();
        let path = flags.read(true).custom_flags(libc::O_PATH).open("/dev/video90");
        let path = path.expect("a reference");
        assert_eq!(call(&path, COUNT, 0), Err(libc::EBADF));
        let mut byte = [0u8];
        // SAFETY: a live buffer of one byte.
        let read = unsafe { libc::read(path.as_raw_fd(), byte.as_mut_ptr().cast(), 1) };
        assert_eq!((read, errno()), (-1, libc::EBADF));
    }

    fn a_nodes_file_system_is_known() {
        // SAFETY: a structure of plain integers.
        let mut found: libc::statfs = unsafe { std::mem::zeroed() };
        // SAFETY: a NUL-terminated path and a live structure.
        let done = unsafe { libc::statfs(c"/dev/video90".as_ptr(), &raw mut found) };
        assert!(done == 0 && found.f_bsize > 0, "{}", errno());
    }

    fn a_busy_device_is_free_as_soon_as_it_is_closed() {
        let open = || File::open("/dev/video91");
        for _ in 0..300 {
            let first = open().expect("free");
            assert_eq!(open().expect_err("taken").raw_os_error(), Some(libc::EBUSY));
            drop(first);
        }
        for _ in 0..20 {
            // SAFETY: the child makes system calls only.
            let child = unsafe { libc::fork() };
            if child == 0 {
                // SAFETY: a NUL-terminated path; the child ends with the file open.
                unsafe {
                    libc::_exit(i32::from(libc::open(c"/dev/video91".as_ptr(), 0) < 0));
                }
            }
            let mut status = 0;
            // SAFETY: our child.
            unsafe { libc::waitpid(child, &mut status, 0) };
            assert_eq!(status, 0);
            drop(open().expect("free once the child is reaped"));
        }
    }

    fn the_node_is_found_by_every_path() {
        let dir = Dir::new("paths");
        symlink("/dev/video90", dir.0.join("camera")).expect("link");
        symlink("camera", dir.0.join("again")).expect("link");
        symlink("/dev", dir.0.join("devices")).expect("link");
        let file = device();
        let paths = [
            "/dev/./video90".to_owned(),
            "//dev//video90".to_owned(),
            "/dev/../dev/video90".to_owned(),
            format!("{}/camera", dir.0.display()),
            format!("{}/again", dir.0.display()),
            format!("{}/devices/video90", dir.0.display()),
            format!("/proc/self/fd/{}", file.as_raw_fd()),
            format!("/dev/fd/{}", file.as_raw_fd()),
            format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd()),
        ];
        for path in &paths {
            let meta = fs::metadata(path).expect(path);
            assert!(meta.file_type().is_char_device(), "{path}");
            assert_eq!(call(&File::open(path).expect(path), OPENS, 0), Ok(2), "{path}");
        }
        std::env::set_current_dir("/dev").expect("cd");
        assert_eq!(call(&File::open("video90").expect("relative"), OPENS, 0), Ok(2));
        std::env::set_current_dir(&dir.0).expect("cd");
        assert_eq!(call(&File::open("camera").expect("relative link"), OPENS, 0), Ok(2));
        let dev = File::open("/dev").expect("/dev");
        // SAFETY: a NUL-terminated path.
        let fd = unsafe { libc::openat(dev.as_raw_fd(), c"video90".as_ptr(), libc::O_RDWR) };
        // SAFETY: a descriptor of our own.
        let below = unsafe { File::from_raw_fd(fd) };
        assert_eq!(call(&below, OPENS, 0), Ok(2));
        let no_follow = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NOFOLLOW)
            .open(dir.0.join("camera"));
        assert_eq!(no_follow.expect_err("a link").raw_os_error(), Some(libc::ELOOP));
        assert!(File::open("/dev/video900").is_err());
    }

    /// Source: Linux 7.2 fs/open.c `build_open_flags`, fs/namei.c `path_init`.
    fn openat2_checks_all_options() {
        const RDWR: u64 = libc::O_RDWR as u64;
        let dev = File::open("/dev").expect("/dev");
        let open = |path: &CStr, how: &[u64]| {
            let (at, size) = (how.as_ptr(), size_of_val(how));
            // SAFETY: a NUL-terminated path; `size` bytes are live.
            let fd = unsafe {
                libc::syscall(libc::SYS_openat2, dev.as_raw_fd(), path.as_ptr(), at, size)
            };
            // SAFETY: a new descriptor of our own.
            (fd >= 0).then(|| unsafe { File::from_raw_fd(fd as i32) }).ok_or_else(errno)
        };
        let error = |path, how: &[u64]| open(path, how).err();
        let node = c"/dev/video90";
        for how in [&[RDWR, 0, 0][..], &[RDWR, 0, libc::RESOLVE_NO_SYMLINKS, 0]] {
            assert_eq!(call(&open(node, how).expect("opens"), OPENS, 0), Ok(1));
        }
        let below = open(c"video90", &[RDWR, 0, libc::RESOLVE_BENEATH]).expect("opens");
        assert_eq!(call(&below, OPENS, 0), Ok(1));
        assert_eq!(error(node, &[RDWR, 0]), Some(libc::EINVAL), "a short structure");
        assert_eq!(error(node, &[RDWR, 0, 0, 1]), Some(libc::E2BIG), "an unknown field");
        assert_eq!(error(node, &[RDWR | 1 << 32, 0, 0]), Some(libc::EINVAL));
        assert_eq!(error(node, &[RDWR, 0o600, 0]), Some(libc::EINVAL), "a mode without O_CREAT");
        assert_eq!(error(node, &[RDWR, 0, 1 << 20]), Some(libc::EINVAL));
        for path in [node, c"../dev/video90"] {
            assert_eq!(error(path, &[RDWR, 0, libc::RESOLVE_BENEATH]), Some(libc::EXDEV));
        }
        assert_eq!(error(node, &[RDWR, 0, libc::RESOLVE_IN_ROOT]), Some(libc::ENOENT));
        let itself = CString::new(format!("/proc/self/fd/{}", below.as_raw_fd())).expect("a path");
        let no_links = [RDWR, 0, libc::RESOLVE_NO_SYMLINKS];
        assert_eq!(error(&itself, &no_links), Some(libc::ELOOP));
        assert_eq!(error(c"/sys/class/video4linux/video90", &[0, 0, no_links[2]]), Some(libc::ELOOP));
    }

    /// Compares each way to the device with the same way to /dev/null, which the kernel serves.
    fn openat2_forbids_ways_as_the_kernel_does() {
        let folder = Dir::new("ways");
        symlink("/dev", folder.0.join("devices")).expect("link");
        let (device, null) = (device(), File::open("/dev/null").expect("null"));
        let wants = |dir: &File, path: &str, resolve: u64| {
            let (path, how) = (CString::new(path).expect("a path"), [0, 0, resolve]);
            // SAFETY: a NUL-terminated path, and a live structure.
            let fd = unsafe { libc::syscall(libc::SYS_openat2, dir.as_raw_fd(), path.as_ptr(), how.as_ptr(), 24) };
            // SAFETY: a new descriptor of our own.
            (fd >= 0).then(|| unsafe { File::from_raw_fd(fd as i32) }).ok_or_else(errno)
        };
        let dirs = ["/", "/dev", folder.0.to_str().expect("utf-8")].map(|dir| File::open(dir).expect(dir));
        let ways = [
            "/dev/NAME", "dev/NAME", "NAME", "./NAME", "../dev/NAME", "shm/../NAME", "shm/../../dev/NAME",
            "devices/NAME", "link-NAME", "again-NAME", "/proc/self/fd/FD", "/dev/fd/FD", "proc/self/fd/FD",
        ];
        let resolve = [
            libc::RESOLVE_NO_XDEV, libc::RESOLVE_NO_MAGICLINKS, libc::RESOLVE_NO_SYMLINKS, libc::RESOLVE_BENEATH,
            libc::RESOLVE_IN_ROOT, libc::RESOLVE_NO_XDEV | libc::RESOLVE_IN_ROOT,
        ];
        for name in ["null", "video90"] {
            symlink(format!("/dev/{name}"), folder.0.join(format!("link-{name}"))).expect("link");
            symlink(format!("link-{name}"), folder.0.join(format!("again-{name}"))).expect("link");
        }
        let mut opened = 0;
        for (dir, way, resolve) in dirs.iter().flat_map(|dir| ways.map(|way| (dir, way)))
            .flat_map(|(dir, way)| resolve.map(|resolve| (dir, way, resolve)))
        {
            let path = |name, file: &File| way.replace("NAME", name).replace("FD", &file.as_raw_fd().to_string());
            let wanted = wants(dir, &path("null", &null), resolve).map(drop);
            let found = wants(dir, &path("video90", &device), resolve);
            if let Ok(file) = &found {
                assert_eq!(call(file, OPENS, 0), Ok(2), "{dir:?} {way} {resolve}");
                opened += 1;
            }
            assert_eq!(found.map(drop), wanted, "{dir:?} {way} {resolve}");
        }
        assert!(opened > 20, "only {opened} ways are open");
        let sys = File::open("/sys").expect("/sys");
        let class = File::open("/sys/class").expect("/sys/class");
        let error = |dir, path, resolve| wants(dir, path, resolve).err();
        let (real, by_link) = ("devices/virtual/video4linux/video90/name", "class/video4linux/video90/name");
        for (path, resolve) in [
            (real, libc::RESOLVE_NO_XDEV | libc::RESOLVE_NO_SYMLINKS),
            (by_link, libc::RESOLVE_NO_XDEV | libc::RESOLVE_BENEATH),
        ] {
            assert_eq!(error(&sys, path, resolve), None, "{path}");
        }
        assert_eq!(error(&sys, by_link, libc::RESOLVE_NO_SYMLINKS), Some(libc::ELOOP));
        assert_eq!(error(&class, "video4linux/video90/name", libc::RESOLVE_BENEATH), Some(libc::EXDEV));
        assert_eq!(error(&sys, "/sys/dev/char/81:90/dev", libc::RESOLVE_NO_XDEV), Some(libc::EXDEV));
    }

    fn a_device_looks_like_one() {
        let file = device();
        for meta in [file.metadata().expect("fstat"), fs::metadata("/dev/video90").expect("stat")] {
            assert!(meta.file_type().is_char_device());
            assert_eq!(meta.rdev(), libc::makedev(81, 90));
            assert_eq!(meta.mode() & 0o777, 0o666);
        }
        let link = format!("/proc/self/fd/{}", file.as_raw_fd());
        assert_eq!(fs::read_link(link).expect("link").to_str(), Some("/dev/video90"));
        assert_eq!(fs::read_link("/dev/video90").expect_err("no link").raw_os_error(), Some(libc::EINVAL));
        // SAFETY: NUL-terminated paths.
        unsafe {
            assert_eq!(libc::access(c"/dev/video90".as_ptr(), libc::R_OK | libc::W_OK), 0);
            assert_eq!(libc::access(c"/dev/video90".as_ptr(), libc::X_OK), -1);
            assert_eq!(libc::lseek(file.as_raw_fd(), 0, libc::SEEK_CUR), -1);
            assert_eq!(errno(), libc::ESPIPE);
            assert_eq!(libc::isatty(file.as_raw_fd()), 0);
            assert_eq!(errno(), libc::ENOTTY);
            let mut on: libc::c_int = 1;
            assert_eq!(libc::ioctl(file.as_raw_fd(), libc::FIONBIO, &raw mut on), 0);
            let flags = libc::fcntl(file.as_raw_fd(), libc::F_GETFL);
            assert_ne!(flags & libc::O_NONBLOCK, 0);
        }
    }

    fn the_device_is_listed() {
        let names = |dir: &str| -> Vec<String> {
            let entries = fs::read_dir(dir).expect(dir);
            entries.map(|e| e.expect(dir).file_name().to_string_lossy().into_owned()).collect()
        };
        let dev = names("/dev");
        for name in ["video90", "video91", "null"] {
            assert_eq!(dev.iter().filter(|&known| known == name).count(), 1, "{name}");
        }
        assert!(names("/sys/class").contains(&"video4linux".to_owned()));
        let mut class = names("/sys/class/video4linux");
        class.sort();
        assert_eq!(class, ["video90", "video91"]);
        let read = |path: &str| fs::read_to_string(path).expect(path);
        assert_eq!(read("/sys/class/video4linux/video90/name"), "Toy\n");
        assert_eq!(read("/sys/dev/char/81:91/dev"), "81:91\n");
        let real = fs::canonicalize("/sys/dev/char/81:90").expect("real path");
        assert_eq!(real.to_str(), Some("/sys/devices/virtual/video4linux/video90"));
        assert!(fs::metadata("/sys/class/video4linux/video92").is_err());
        assert!(fs::metadata("/sys/class/video4linux/../video4linux/video90/..").is_ok());
        assert!(fs::metadata("/sys/class/video4linux/..").expect("out").is_dir());
        assert!(File::create("/sys/class/video4linux/video90/name").is_err());
        std::env::set_current_dir("/sys/class/video4linux").expect("cd");
        let (mut class, mut above) = (names("/sys/class"), names(".."));
        class.sort();
        above.sort();
        assert_eq!(above, class);
        std::env::set_current_dir("..").expect("cd");
        assert_eq!(std::env::current_dir().expect("cwd").to_str(), Some("/sys/class"));
    }
}
