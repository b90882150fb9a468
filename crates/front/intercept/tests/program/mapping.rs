//! Tests mmap of devices and of exported buffers.

use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd};

use crate::toy::{BUFFER_DOUBLE, COUNT, EXPORT, GIVEN, IMPORT, LEN, OPENS, PROBE, cookie, pattern};
use crate::{call, device, errno, inside};

/// A mapping, unmapped when dropped.
struct Mapping(*mut u8, usize);

impl Mapping {
    fn new(file: &impl AsRawFd, offset: u64, len: usize) -> Result<Self, i32> {
        let both = libc::PROT_READ | libc::PROT_WRITE;
        Self::with(file, offset, len, both, libc::MAP_SHARED)
    }

    fn with(
        file: &impl AsRawFd,
        offset: u64,
        len: usize,
        prot: i32,
        flags: i32,
    ) -> Result<Self, i32> {
        let none = std::ptr::null_mut();
        // SAFETY: a new mapping at an address that the kernel chooses.
        let at = unsafe { libc::mmap(none, len, prot, flags, file.as_raw_fd(), offset as i64) };
        if at == libc::MAP_FAILED {
            Err(errno())
        } else {
            Ok(Self(at.cast(), len))
        }
    }

    fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: mapped as long as this value exists, and used by one thread at a time.
        unsafe { std::slice::from_raw_parts_mut(self.0, self.1) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: our own mapping.
        unsafe { libc::munmap(self.0.cast(), self.1) };
    }
}

fn export(file: &File, n: u32) -> File {
    let fd = call(file, EXPORT, n).expect("exported");
    // SAFETY: a descriptor that was just returned to us.
    unsafe { File::from_raw_fd(fd as i32) }
}

inside! {
    fn a_mapping_shows_its_buffer_and_leaves_no_trace() {
        let file = device();
        let first_free = File::open("/dev/null").expect("null").as_raw_fd();
        for round in 0..100 {
            for n in 0..3 {
                let mut map = Mapping::new(&file, cookie(n), LEN).expect("mapped");
                assert!(map.bytes().iter().all(|&b| b == pattern(n)), "round {round}");
            }
        }
        assert_eq!(File::open("/dev/null").expect("null").as_raw_fd(), first_free);
        assert_eq!(call(&file, GIVEN, 0), Ok(0));
    }

    fn a_mapping_and_an_export_are_the_same_memory() {
        let file = device();
        let mut map = Mapping::new(&file, cookie(1), LEN).expect("mapped");
        let export = export(&file, 1);
        let mut other = Mapping::new(&export, 0, LEN).expect("mapped");
        map.bytes()[5000] = 7;
        assert_eq!(other.bytes()[5000], 7);
        other.bytes()[5001] = 8;
        assert_eq!(map.bytes()[5001], 8);
        assert_eq!(call(&file, GIVEN, 0), Ok(2));
        drop(map);
        assert_eq!(call(&file, GIVEN, 0), Ok(1));
        drop(export);
        assert_eq!(call(&file, GIVEN, 0), Ok(1));
        drop(other);
        assert_eq!(call(&file, GIVEN, 0), Ok(0));
    }

    fn refused_mappings_have_the_kernels_errno() {
        let file = device();
        let prot = libc::PROT_READ | libc::PROT_WRITE;
        let refused = |offset, len, prot, flags| {
            Mapping::with(&file, offset, len, prot, flags).err().unwrap_or(0)
        };
        assert_eq!(refused(cookie(3), LEN, prot, libc::MAP_SHARED), libc::EINVAL);
        assert_eq!(refused(cookie(0), LEN, prot, libc::MAP_PRIVATE), libc::EINVAL);
        assert_eq!(refused(cookie(0), LEN + 1, prot, libc::MAP_SHARED), libc::EINVAL);
        assert_eq!(refused(5, LEN, prot, libc::MAP_SHARED), libc::EINVAL);
        assert_eq!(refused(0, 0, prot, libc::MAP_SHARED), libc::EINVAL);
        let read_only = File::open("/dev/video90").expect("opens");
        let map = Mapping::with(&read_only, 0, LEN, prot, libc::MAP_SHARED);
        assert_eq!(map.err(), Some(libc::EACCES));
        let mut map =
            Mapping::with(&read_only, 0, LEN, libc::PROT_READ, libc::MAP_SHARED).expect("mapped");
        // SAFETY: our own mapping; refused.
        assert_eq!(unsafe { libc::mprotect(map.0.cast(), LEN, prot) }, -1);
        assert_eq!(map.bytes()[0], pattern(0));
        drop(map);
        // The kernel refuses the rewritten call, and nothing may stay behind.
        let odd = std::ptr::without_provenance_mut(8);
        // SAFETY: a fixed address that is refused.
        let at = unsafe {
            libc::mmap(odd, LEN, prot, libc::MAP_SHARED | libc::MAP_FIXED, file.as_raw_fd(), 0)
        };
        assert_eq!((at, errno()), (libc::MAP_FAILED, libc::EINVAL));
        assert_eq!(call(&file, GIVEN, 0), Ok(0));
        assert_eq!(call(&file, COUNT, 0), Ok(1));
    }

    fn a_mapping_keeps_its_file_open() {
        let file = device();
        let other = device();
        let map = Mapping::new(&other, cookie(0), LEN).expect("mapped");
        drop(other);
        assert_eq!(call(&file, OPENS, 0), Ok(2));
        drop(map);
        assert_eq!(call(&file, OPENS, 0), Ok(1));
    }

    fn registers_survive_the_rewrite() {
        let file = device();
        let (mut rdi, mut rsi, mut rdx): (u64, u64, u64) = (0, LEN as u64, 3);
        let (mut r8, mut r9, mut r10): (u64, u64, u64) = (file.as_raw_fd() as u64, cookie(2), 1);
        let mut rax = libc::SYS_mmap as u64;
        // SAFETY: mmap by the plain instruction, with its registers declared.
        unsafe {
            std::arch::asm!(
                "syscall",
                inout("rax") rax, inout("rdi") rdi, inout("rsi") rsi, inout("rdx") rdx,
                inout("r8") r8, inout("r9") r9, inout("r10") r10,
                out("rcx") _, out("r11") _,
            );
        }
        assert_eq!((rdi, rsi, rdx), (0, LEN as u64, 3));
        assert_eq!((r8, r9, r10), (file.as_raw_fd() as u64, cookie(2), 1));
        let mut map = Mapping(std::ptr::with_exposed_provenance_mut(rax as usize), LEN);
        assert_eq!(map.bytes()[LEN - 1], pattern(2));
    }

    fn threads_map_at_the_same_time() {
        let file = device();
        std::thread::scope(|scope| {
            for n in 0..3u64 {
                let file = &file;
                scope.spawn(move || {
                    for _ in 0..60 {
                        let mut map = Mapping::new(file, cookie(n), LEN).expect("mapped");
                        assert!(map.bytes().iter().all(|&b| b == pattern(n)));
                    }
                });
            }
        });
        assert_eq!(call(&file, GIVEN, 0), Ok(0));
    }

    fn an_exported_buffer_behaves_as_a_dma_buf() {
        let file = device();
        let export = export(&file, 2);
        let fd = export.as_raw_fd();
        assert!(fd >= 100, "from the reserved numbers: {fd}");
        // SAFETY: plain calls on our own descriptor.
        unsafe {
            assert_eq!(libc::lseek(fd, 0, libc::SEEK_END), LEN as i64);
            assert_eq!(libc::lseek(fd, 0, libc::SEEK_SET), 0);
            for (offset, whence) in [(1, libc::SEEK_SET), (0, libc::SEEK_CUR), (1, libc::SEEK_END)] {
                assert_eq!((libc::lseek(fd, offset, whence), errno()), (-1, libc::EINVAL));
            }
            let mut byte = 0u8;
            assert_eq!(libc::read(fd, (&raw mut byte).cast(), 1), -1);
            assert_eq!(errno(), libc::EINVAL);
            assert_eq!(libc::write(fd, (&raw const byte).cast(), 1), -1);
            assert_eq!(errno(), libc::EINVAL);
            assert_eq!((libc::ftruncate(fd, 0), errno()), (-1, libc::EINVAL));
        }
        assert_eq!(Mapping::new(&export, 0, LEN + 1).err(), Some(libc::EINVAL));
        assert_eq!(Mapping::new(&export, 8192, LEN).err(), Some(libc::EINVAL));
        assert_eq!(call(&export, BUFFER_DOUBLE, 21), Ok(42));
        assert_eq!(call(&export, BUFFER_DOUBLE + 1, 21), Err(libc::ENOTTY));
        assert_eq!(call(&export, COUNT, 21), Err(libc::ENOTTY));
        assert_eq!(call(&file, IMPORT, fd.cast_unsigned()), Ok(LEN as u32));
        assert_eq!(call(&file, IMPORT, 0), Err(libc::EINVAL));
        assert_eq!(call(&file, IMPORT, u32::MAX), Err(libc::EBADF));
    }

    fn user_pointers_into_buffers_are_no_ordinary_memory() {
        let file = device();
        let probe = |at: *mut u8| {
            let at = at.expose_provenance() as u64;
            // SAFETY: the request takes a pointer to an address.
            unsafe { libc::ioctl(file.as_raw_fd(), PROBE, &raw const at) }
        };
        let mut heap = vec![0u8; LEN];
        assert_eq!(probe(heap.as_mut_ptr()), LEN as i32);
        let map = Mapping::new(&file, cookie(0), LEN).expect("mapped");
        assert_eq!(probe(map.0), 0);
        let export = export(&file, 1);
        let exported = Mapping::new(&export, 0, LEN).expect("mapped");
        assert_eq!(probe(exported.0), 0);
        assert_eq!(probe(std::ptr::null_mut()), 0);
    }
}
