//! A caller whose structure is looked at on its way: a front end may write a device's answer to
//! the program only after the call.

use super::decode;
use std::cell::RefCell;
use std::ffi::CStr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use vb3_host::{CallId, Caller, Errno, FdIdentity, FileId, ProcessMemory, Tag};

/// Hands everything on, and keeps what is written to the structure of one ioctl.
pub(super) struct Watched<'a> {
    caller: &'a dyn Caller,
    at: u64,
    bytes: RefCell<Vec<u8>>,
}

impl<'a> Watched<'a> {
    /// Watches the structure at `at` that a request moves. What the program has there is read
    /// where the request reads it.
    pub(super) fn new(caller: &'a dyn Caller, request: u32, at: u64) -> Self {
        let mut bytes = vec![0; decode::size(request).min(decode::MAX_STRUCTURE)];
        if request & super::READS != 0 && caller.read(at, &mut bytes).is_err() {
            bytes.fill(0);
        }
        Self {
            caller,
            at,
            bytes: RefCell::new(bytes),
        }
    }

    /// The structure as the program finds it after the call.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes.into_inner()
    }
}

impl Caller for Watched<'_> {
    fn pid(&self) -> u32 {
        self.caller.pid()
    }

    fn tid(&self) -> u32 {
        self.caller.tid()
    }

    fn call(&self) -> CallId {
        self.caller.call()
    }

    fn read(&self, addr: u64, out: &mut [u8]) -> Result<(), Errno> {
        self.caller.read(addr, out)
    }

    fn write(&self, addr: u64, data: &[u8]) -> Result<(), Errno> {
        self.caller.write(addr, data)?;
        let mut bytes = self.bytes.borrow_mut();
        let from = addr.checked_sub(self.at);
        let place = from.and_then(|from| bytes.get_mut(usize::try_from(from).ok()?..));
        for (to, byte) in place.into_iter().flatten().zip(data) {
            *to = *byte;
        }
        Ok(())
    }

    fn identify(&self, fd: i32) -> Result<FdIdentity, Errno> {
        self.caller.identify(fd)
    }

    fn borrow_fd(&self, fd: i32) -> Result<OwnedFd, Errno> {
        self.caller.borrow_fd(fd)
    }

    fn install(&self, fd: BorrowedFd<'_>, cloexec: bool, tag: Tag) -> Result<i32, Errno> {
        self.caller.install(fd, cloexec, tag)
    }

    fn install_file(
        &self,
        file: FileId,
        name: &CStr,
        cloexec: bool,
    ) -> Result<(i32, FdIdentity), Errno> {
        self.caller.install_file(file, name, cloexec)
    }

    fn memory(&self) -> Result<Arc<dyn ProcessMemory>, Errno> {
        self.caller.memory()
    }
}
