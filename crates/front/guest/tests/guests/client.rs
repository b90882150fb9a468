//! A program that uses devices, in a process or in a guest.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

/// Where a program's memory begins, and its length in bytes.
pub(crate) const BASE: u64 = 0x7f00_0000_0000;
pub(crate) const MEMORY: usize = 24 << 20;
pub(crate) const PAGE: usize = 4096;

/// A mapping of a buffer: the file and the offset in it.
pub(crate) struct Mapped {
    pub(crate) file: File,
    pub(crate) offset: u64,
    pub(crate) id: u64,
}

impl Mapped {
    pub(crate) fn read(&self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.file.read_exact_at(&mut bytes, self.offset).unwrap();
        bytes
    }

    pub(crate) fn write(&self, bytes: &[u8]) {
        self.file.write_all_at(bytes, self.offset).unwrap();
    }
}

/// A program's calls. Errors are errnos.
pub(crate) trait Client {
    fn peek(&self, addr: u64, len: usize) -> Vec<u8>;
    fn poke(&mut self, addr: u64, bytes: &[u8]);
    /// Opens the device with this index.
    fn open(&mut self, device: usize) -> Result<usize, i32>;
    fn close(&mut self, file: usize);
    fn ioctl(&mut self, file: usize, request: u32, addr: u64) -> Result<(), i32>;
    /// Makes a DQBUF or DQEVENT, and waits.
    fn dequeue(&mut self, file: usize, request: u32, addr: u64);
    fn map(&mut self, file: usize, offset: u32, len: u64) -> Result<Mapped, i32>;
    fn unmap(&mut self, mapped: Mapped);
}
