//! A [`Caller`] that copies the structures of ioctls.
//! A front end may write a device's answer to the program only after the call, too late for the trace.

use super::{Fields, decode, forward};
use std::cell::RefCell;
use std::ffi::CStr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use vb3_frontend::{CallId, Caller, Errno, FdIdentity, FileId, ProcessMemory, Tag};
use vb3_v4l2::decode::Array;

/// A copy of a part of the program's memory.
struct Part {
    addr: u64,
    bytes: Vec<u8>,
}

impl Part {
    /// Reads the program's memory. If it cannot be read, returns zeros and `false`.
    ///
    /// # Errors
    /// `NOT_GATHERED`: the front end has not read this memory yet. It repeats the call when it has.
    fn read(caller: &dyn Caller, addr: u64, len: usize) -> Result<(Self, bool), Errno> {
        let mut bytes = vec![0; len];
        let is_there = match caller.read(addr, &mut bytes) {
            Err(Errno::NOT_GATHERED) => return Err(Errno::NOT_GATHERED),
            Err(_) => {
                bytes.fill(0);
                false
            }
            Ok(()) => true,
        };
        Ok((Self { addr, bytes }, is_there))
    }

    fn write(&mut self, addr: u64, data: &[u8]) {
        let from = addr.checked_sub(self.addr);
        let place = from.and_then(|from| self.bytes.get_mut(usize::try_from(from).ok()?..));
        for (to, byte) in place.into_iter().flatten().zip(data) {
            *to = *byte;
        }
    }
}

/// The memory that an ioctl uses: its structure, and the array that the structure points to.
struct Parts {
    structure: Part,
    array: Option<(Array, Part)>,
}

/// Passes on every access, and copies what the device writes to the structure and array of one ioctl.
pub(super) struct Watched<'a> {
    caller: &'a dyn Caller,
    request: u32,
    is_there: bool,
    parts: RefCell<Parts>,
}

impl<'a> Watched<'a> {
    /// Watches the structure at `addr`. Reads the program's bytes if the ioctl passes them to the device.
    ///
    /// # Errors
    /// `NOT_GATHERED`: the front end must first read this memory. It then repeats the call, so the first
    /// attempt must not reach the devices.
    pub(super) fn new(caller: &'a dyn Caller, request: u32, addr: u64) -> Result<Self, Errno> {
        let len = decode::size(request).min(decode::MAX_STRUCTURE);
        let reads = request & super::READS != 0;
        let (structure, is_there) = Part::read(caller, addr, if reads { len } else { 0 })?;
        let array = decode::array(request, &structure.bytes).filter(|_| is_there);
        let array = match array {
            Some(array) => {
                let (part, is_there) = Part::read(caller, array.addr, array.len_bytes)?;
                is_there.then_some((array, part))
            }
            None => None,
        };
        let mut parts = Parts { structure, array };
        parts.structure.bytes.resize(len, 0);
        Ok(Self {
            caller,
            request,
            is_there,
            parts: RefCell::new(parts),
        })
    }

    /// Returns the program's arguments; `None` if its structure cannot be read.
    pub(super) fn arguments(&self) -> Option<Fields> {
        let parts = self.parts.borrow();
        let mut fields = decode::arguments(self.request, &parts.structure.bytes);
        if let Some((array, part)) = &parts.array {
            fields.extend(array.arguments(&part.bytes));
        }
        self.is_there.then_some(fields)
    }

    /// Returns the device's results, after a successful call.
    pub(super) fn results(&self) -> Fields {
        let parts = self.parts.borrow();
        let mut fields = decode::results(self.request, &parts.structure.bytes);
        if let Some((array, part)) = &parts.array {
            fields.extend(array.results(&part.bytes));
        }
        fields
    }
}

impl Caller for Watched<'_> {
    forward! { self.caller =>
        fn pid(&self) -> u32;
        fn tid(&self) -> u32;
        fn call(&self) -> CallId;
        fn lacks(&self) -> bool;
        fn read(&self, addr: u64, out: &mut [u8]) -> Result<(), Errno>;
        fn prepare_read(&self, addr: u64, len_bytes: u64) -> Result<(), Errno>;
        fn identify(&self, fd: i32) -> Result<FdIdentity, Errno>;
        fn borrow_fd(&self, fd: i32) -> Result<OwnedFd, Errno>;
        fn tag_of(&self, fd: i32) -> Result<Option<Tag>, Errno>;
        fn install(&self, fd: BorrowedFd<'_>, cloexec: bool, tag: Tag) -> Result<i32, Errno>;
        fn install_file(&self, file: FileId, name: &CStr, cloexec: bool)
            -> Result<(i32, FdIdentity), Errno>;
        fn memory(&self) -> Result<Arc<dyn ProcessMemory>, Errno>;
        fn memory_to_pin(&self, addr: u64, len_bytes: u64) -> Result<Arc<dyn ProcessMemory>, Errno>;
    }

    fn write(&self, addr: u64, data: &[u8]) -> Result<(), Errno> {
        self.caller.write(addr, data)?;
        let mut parts = self.parts.borrow_mut();
        parts.structure.write(addr, data);
        if let Some((_, part)) = &mut parts.array {
            part.write(addr, data);
        }
        Ok(())
    }
}
