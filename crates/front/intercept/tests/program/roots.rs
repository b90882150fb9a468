//! Tests programs with another view of the file system than the supervisor's: after a chroot, and
//! with their own mounts.

use std::ffi::{CStr, CString};
use std::fs::{self, File};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};

use crate::toy::OPENS;
use crate::{alone, call, errno, inside};

fn c(path: &Path) -> CString {
    CString::new(path.to_str().expect("utf-8")).expect("no NUL")
}

/// Gives this process its own mounts. Returns false, and prints the reason, if the system refuses.
fn own_mounts() -> bool {
    // SAFETY: takes flags; this process has one thread.
    let made = unsafe {
        libc::unshare(libc::CLONE_NEWNS) == 0
            || libc::unshare(libc::CLONE_NEWNS | libc::CLONE_NEWUSER) == 0
    };
    if !made {
        vb3_skip::skip(format_args!(
            "unshare of mounts is refused (errno {})",
            errno()
        ));
    }
    made && mount(
        c"none",
        Path::new("/"),
        libc::MS_REC | libc::MS_PRIVATE,
        None,
    )
}

fn mount(from: &CStr, to: &Path, flags: libc::c_ulong, kind: Option<&CStr>) -> bool {
    let kind = kind.map_or(std::ptr::null(), CStr::as_ptr);
    // SAFETY: the paths are NUL-terminated.
    let ret = unsafe { libc::mount(from.as_ptr(), c(to).as_ptr(), kind, flags, std::ptr::null()) };
    assert_eq!(ret, 0, "mount on {}: errno {}", to.display(), errno());
    true
}

/// A link to the device.
struct Link(PathBuf);

impl Link {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("vb3-{name}-{}", std::process::id()));
        symlink("/dev/video90", &path).expect("a link");
        Self(path)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        fs::remove_file(&self.0).expect("the link");
    }
}

/// Makes a directory on a new file system, which has a plain file in the place of the link.
fn jail(link: &Path) -> PathBuf {
    assert!(call(&File::open(link).expect("the device"), OPENS, 0).is_ok());
    let jail = Path::new("/mnt").to_path_buf();
    mount(c"none", &jail, 0, Some(c"tmpfs"));
    let inside = jail.join(link.strip_prefix("/").expect("absolute"));
    fs::create_dir_all(inside.parent().expect("a parent")).expect("directories");
    fs::write(&inside, "plain").expect("a file");
    fs::create_dir(jail.join("dev")).expect("dev");
    jail
}

fn enter(jail: &Path) {
    // SAFETY: the paths are NUL-terminated.
    unsafe {
        assert_eq!(libc::chroot(c(jail).as_ptr()), 0);
        assert_eq!(libc::chdir(c"/".as_ptr()), 0);
    }
}

/// Opens a path one part after the other by O_PATH, as libudev 257 does.
fn walk(path: &str) -> Result<OwnedFd, i32> {
    let flags = libc::O_PATH | libc::O_CLOEXEC;
    let open = |dir: i32, name: &CStr, flags: i32| {
        // SAFETY: the name is NUL-terminated.
        match unsafe { libc::openat(dir, name.as_ptr(), flags) } {
            -1 => Err(errno()),
            // SAFETY: the descriptor is new.
            fd => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        }
    };
    let root = open(libc::AT_FDCWD, c"/", flags | libc::O_DIRECTORY)?;
    path.split('/')
        .filter(|part| !part.is_empty())
        .try_fold(root, |dir, part| {
            open(
                dir.as_raw_fd(),
                &c(Path::new(part)),
                flags | libc::O_NOFOLLOW,
            )
        })
}

fn absent(path: &str) {
    let error = File::open(path).expect_err(path);
    assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{path}");
    assert!(fs::metadata(path).is_err(), "{path}");
}

inside! {
    fn a_chroot_without_devices_has_none() {
        let link = Link::new("jail");
        alone(|| {
            if !own_mounts() {
                return;
            }
            let jail = jail(&link.0);
            enter(&jail);
            assert_eq!(fs::read_to_string(&link.0).expect("a plain file"), "plain");
            absent("/dev/video90");
            absent("dev/video90");
            absent("/sys/class/video4linux/video90/name");
            symlink("/dev/video90", "/cam").expect("a link");
            absent("/cam");
            symlink("/dev", "/devices").expect("a link");
            absent("devices/video90");
            fs::write("/dev/video90", "other").expect("a file of that name");
            assert_eq!(fs::read_to_string("/cam").expect("through the link"), "other");
        });
    }

    fn a_chroot_with_the_systems_devices_has_ours() {
        let link = Link::new("bound");
        alone(|| {
            if !own_mounts() {
                return;
            }
            let jail = jail(&link.0);
            mount(c"/dev", &jail.join("dev"), libc::MS_BIND | libc::MS_REC, None);
            enter(&jail);
            assert_eq!(fs::read_to_string(&link.0).expect("a plain file"), "plain");
            for name in ["cam", "far"] {
                symlink(if name == "cam" { "dev/video90" } else { "/cam" }, name).expect("a link");
            }
            symlink("/dev", "/devices").expect("a link");
            for path in [
                "/dev/video90", "dev/video90", "/cam", "far", "/dev/../dev/video90", "../dev/video90",
                "devices/video90",
            ] {
                let file = File::open(path).expect(path);
                assert!(call(&file, OPENS, 0).is_ok(), "{path}");
            }
        });
    }

    fn a_chroot_walks_to_the_sysfs_of_our_devices() {
        let link = Link::new("walk");
        alone(|| {
            if !own_mounts() {
                return;
            }
            let jail = jail(&link.0);
            for name in ["dev", "sys"] {
                fs::create_dir_all(jail.join(name)).expect(name);
                let from = c(&Path::new("/").join(name));
                mount(&from, &jail.join(name), libc::MS_BIND | libc::MS_REC, None);
            }
            walk("/sys/class/video4linux/video90").expect("before the chroot");
            enter(&jail);
            for path in ["/sys/class/video4linux/video90", "/sys/class/video4linux/../video4linux/video90"] {
                walk(path).expect(path);
            }
            let class = walk("/sys/class/video4linux").expect("the class");
            // SAFETY: the name is NUL-terminated.
            let read = unsafe { libc::openat(class.as_raw_fd(), c"video90/name".as_ptr(), libc::O_RDONLY) };
            assert!(read >= 0, "errno {}", errno());
        });
    }

    /// As `podman run --device /dev/video90` makes it.
    fn a_dev_of_its_own_may_have_a_file_for_the_device() {
        let link = Link::new("made");
        alone(|| {
            if !own_mounts() {
                return;
            }
            let number = fs::metadata("/dev/video90").expect("the device").rdev();
            let jail = jail(&link.0);
            let make = |name: &str, number: u64| {
                let path = c(&jail.join("dev").join(name));
                // SAFETY: the path is NUL-terminated.
                unsafe { libc::mknod(path.as_ptr(), libc::S_IFCHR | 0o666, number) }
            };
            if make("video90", number) != 0 {
                return vb3_skip::skip(format_args!("mknod is refused (errno {})", errno()));
            }
            assert_eq!(make("video91", libc::makedev(1, 3)), 0);
            enter(&jail);
            assert_eq!(fs::metadata("/dev/video90").expect("the device").rdev(), number);
            assert!(call(&File::open("/dev/video90").expect("the device"), OPENS, 0).is_ok());
            let null = File::open("/dev/video91").expect("another device");
            assert!(call(&null, OPENS, 0).is_err());
        });
    }

    fn a_dev_of_its_own_shows_what_is_in_it() {
        alone(|| {
            if !own_mounts() {
                return;
            }
            mount(c"none", Path::new("/dev"), 0, Some(c"tmpfs"));
            absent("/dev/video90");
            assert!(fs::read_dir("/dev").expect("a directory").next().is_none());
        });
    }
}
