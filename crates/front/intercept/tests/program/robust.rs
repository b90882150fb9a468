//! Tests malicious programs, and many calls at one time.

use std::os::fd::AsRawFd;

use crate::stalling::{becomes, in_ioctl};
use crate::toy::{COUNT, WAIT};
use crate::{call, device, inside};

/// A small random generator with the same numbers in every run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

inside! {
    fn threads_in_a_storm_get_their_own_answers() {
        let file = device();
        let total: u32 = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        let file = device();
                        let mut last = 0;
                        for _ in 0..1000 {
                            let now = call(&file, COUNT, 0).expect("counted");
                            assert!(now > last);
                            last = now;
                        }
                        1000
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().expect("joined")).sum()
        });
        assert_eq!(call(&file, COUNT, 0), Ok(total + 1));
    }

    fn random_calls_with_random_arguments_do_no_harm() {
        let file = device();
        let mut n = Numbers(0x1234_5678_9abc_def1);
        let nrs = [
            libc::SYS_ioctl, libc::SYS_mmap, libc::SYS_poll, libc::SYS_ppoll, libc::SYS_select,
            libc::SYS_pselect6, libc::SYS_epoll_ctl, libc::SYS_readv, libc::SYS_writev,
            libc::SYS_lseek, libc::SYS_openat, libc::SYS_openat2, libc::SYS_newfstatat,
            libc::SYS_statx, libc::SYS_readlinkat, libc::SYS_getdents64, libc::SYS_preadv,
            libc::SYS_faccessat2, libc::SYS_fstatfs,
        ];
        // Has room for writes at the highest of the random pointers.
        let memory = vec![0xffu8; 1 << 18];
        for _ in 0..10_000 {
            let nr = nrs[n.next() as usize % nrs.len()];
            let mut args = [0u64; 6];
            for arg in &mut args {
                *arg = match n.next() % 6 {
                    0 => file.as_raw_fd() as u64,
                    1 => memory.as_ptr().addr() as u64 + n.next() % (1 << 16),
                    2 => n.next() % 5000,
                    3 => u64::MAX - n.next() % 8192,
                    4 => 0,
                    _ => n.next(),
                };
            }
            match nr {
                libc::SYS_ioctl => {
                    args[0] = file.as_raw_fd() as u64;
                    args[1] = args[1] & !0xff00 | 0x5600;
                }
                // No endless waits, and no mapping over our own memory.
                libc::SYS_poll => args[2] %= 2,
                libc::SYS_ppoll => args[2] = memory.as_ptr().addr() as u64,
                libc::SYS_select | libc::SYS_pselect6 => args[4] = memory.as_ptr().addr() as u64,
                libc::SYS_mmap => args[3] &= !0x10,
                _ => {}
            }
            // SAFETY: random calls; outputs go to our memory or are refused. At worst a random
            // pointer hits the vector.
            let ret = unsafe {
                libc::syscall(nr, args[0], args[1], args[2], args[3], args[4], args[5])
            };
            if ret >= 0 && nr == libc::SYS_mmap {
                // SAFETY: the mapping that was just made.
                unsafe { libc::munmap(ret as *mut _, args[1] as usize) };
            }
        }
        assert!(call(&file, COUNT, 0).is_ok());
    }

    fn many_threads_wait_at_once() {
        let file = device();
        std::thread::scope(|scope| {
            for n in 0..60u32 {
                let file = &file;
                scope.spawn(move || assert_eq!(call(file, WAIT, 20 + n), Ok(20 + n)));
            }
        });
        assert_eq!(call(&file, COUNT, 0), Ok(61));
    }

    fn a_thread_that_ends_the_process_ends_all_waits() {
        // SAFETY: the child starts a thread and ends.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let file = device();
            std::thread::spawn(move || {
                let own = std::process::id().cast_signed();
                assert!(becomes(|| in_ioctl(own) == 1), "it does not wait");
                // SAFETY: ends the child while its other thread waits.
                unsafe { libc::_exit(5) };
            });
            call(&file, WAIT, 60_000).ok();
        }
        let mut status = 0;
        // SAFETY: our own child.
        unsafe { libc::waitpid(child, &raw mut status, 0) };
        assert_eq!(libc::WEXITSTATUS(status), 5);
        assert_eq!(call(&device(), crate::toy::OPENS, 0), Ok(1));
    }
}
