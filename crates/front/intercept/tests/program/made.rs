//! Tests files that the backend makes and no program opens by a path.

use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::FileTypeExt;

use crate::toy::{COUNT, MAKE, OPENS, STATE};
use crate::{alone, call, device, inside};

fn make(file: &File) -> File {
    let fd = call(file, MAKE, 0).expect("made").cast_signed();
    // SAFETY: the descriptor is new and ours.
    unsafe { File::from_raw_fd(fd) }
}

fn polled(file: &File, events: i16) -> i16 {
    let mut fd = libc::pollfd {
        fd: file.as_raw_fd(),
        events,
        revents: 0,
    };
    // SAFETY: one live structure.
    assert!(unsafe { libc::poll(&raw mut fd, 1, 0) } >= 0);
    fd.revents
}

inside! {
    fn a_made_file_is_a_device_file_but_for_its_path() {
        let file = device();
        let made = make(&file);
        assert_eq!(call(&file, OPENS, 0), Ok(2));
        assert_eq!(call(&made, COUNT, 0), Ok(1));
        assert_eq!(polled(&made, libc::POLLIN), 0);
        call(&made, STATE, 1).expect("ready");
        assert_eq!(polled(&made, libc::POLLIN), libc::POLLIN);
        assert_eq!(polled(&file, libc::POLLIN), 0, "of its own");
        let kind = made.metadata().expect("stat").file_type();
        assert!(!kind.is_char_device(), "no node");
        // SAFETY: takes one integer.
        let flags = unsafe { libc::fcntl(made.as_raw_fd(), libc::F_GETFD) };
        assert_eq!(flags, libc::FD_CLOEXEC);
    }

    fn a_made_file_goes_with_its_last_descriptor() {
        let file = device();
        let made = make(&file);
        let copy = made.try_clone().expect("dup");
        drop(made);
        assert_eq!(call(&copy, OPENS, 0), Ok(2));
        drop(copy);
        assert_eq!(call(&file, OPENS, 0), Ok(1));
        // It outlives the file that made it.
        let made = make(&file);
        drop(file);
        assert_eq!(call(&made, OPENS, 0), Ok(1));
    }

    fn a_made_file_is_shared_with_children() {
        let file = device();
        let made = make(&file);
        alone(|| {
            assert_eq!(call(&made, COUNT, 0), Ok(1));
            drop(make(&file));
        });
        assert_eq!(call(&made, COUNT, 0), Ok(2));
        assert_eq!(call(&made, OPENS, 0), Ok(2));
    }

    fn a_made_file_without_a_number_is_not_made() {
        let file = device();
        let limit = libc::rlimit {
            rlim_cur: 3,
            rlim_max: 3,
        };
        // SAFETY: the structure is live.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }, 0);
        assert_eq!(call(&file, MAKE, 0), Err(libc::EMFILE));
        assert_eq!(call(&file, OPENS, 0), Ok(1));
    }
}
