//! The data of a program that a front end has gathered for one call, and the data that a step still needs.

use std::cell::RefCell;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use crate::{Errno, FdIdentity, FileId, Tag, Write};

/// Maximum number of bytes that are gathered for one call.
pub const MAX_GATHERED: u64 = 256 << 20;

/// How much a step must know about a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Detail {
    /// Which file the descriptor refers to ([`Descriptor::id`] and [`Descriptor::file`]).
    Name,
    /// Also its open file description: [`Descriptor::tag`], [`Descriptor::fd`] and [`Descriptor::is_mapped`].
    Description,
}

/// A descriptor of the program.
#[derive(Clone, Debug)]
pub struct Descriptor {
    /// Identity of its file.
    pub id: FdIdentity,
    /// The devices' file behind it, if it is one.
    pub file: Option<FileId>,
    /// Tag of the open file description, if it was installed for [`Made::Memory`](crate::Made::Memory).
    pub tag: Option<Tag>,
    /// A duplicate, if the file is a memfd or a dma-buf. Calls on these two kinds of files never wait for a
    /// program.
    pub fd: Option<Arc<OwnedFd>>,
    /// Whether the program has mapped the file.
    pub is_mapped: bool,
}

impl Descriptor {
    /// Returns a descriptor whose file is known, but not its open file description.
    #[must_use]
    pub const fn named(id: FdIdentity, file: Option<FileId>) -> Self {
        Self {
            id,
            file,
            tag: None,
            fd: None,
            is_mapped: false,
        }
    }
}

/// Memory that a program offers to a device (USERPTR), as it was when the call was gathered.
#[derive(Clone, Debug, Default)]
pub struct UserRange {
    /// Number of bytes, counted from the start of the range, that a device may read. The count ends at the first
    /// byte that is unreadable or that the program has mapped from a device.
    pub readable: u64,
    /// Number of bytes, counted in the same way, that a device may write.
    pub writable: u64,
    /// The file that the program has mapped there, if a single file covers the whole range.
    pub file: Option<FdIdentity>,
    /// The first [`readable`](Self::readable) bytes of the range, or fewer if the range is too long to be
    /// copied.
    pub bytes: Arc<Vec<u8>>,
}

/// A copy of a part of a program's memory.
#[derive(Debug)]
struct Part {
    addr: u64,
    bytes: Vec<u8>,
    /// Whether the byte after the part cannot be read.
    ends: bool,
}

impl Part {
    /// Returns these bytes, or EFAULT if one of them cannot be read. `None` if the part does not contain enough
    /// to know either.
    fn get(&self, addr: u64, len: usize) -> Option<Result<&[u8], Errno>> {
        let at = usize::try_from(addr.checked_sub(self.addr)?).ok()?;
        if let Some(bytes) = self.bytes.get(at..at.checked_add(len)?) {
            return Some(Ok(bytes));
        }
        (self.ends && at <= self.bytes.len()).then_some(Err(Errno::EFAULT))
    }
}

/// Data of the program that makes a call, gathered before the step.
///
/// A front end for processes fills this with copies of a process's memory and descriptors, a front end for guests
/// with what a guest has put into a virtqueue's descriptor chain, and a simulation with the data of its simulated
/// program.
#[derive(Debug, Default)]
pub struct Gathered {
    parts: Vec<Part>,
    /// An empty vector, kept for its allocation: the next part's bytes go there.
    bytes: Vec<u8>,
    /// An empty vector, kept for its allocation: the next step's writes go there.
    writes: RefCell<Vec<Write>>,
    descriptors: Vec<(i32, Detail, Result<Descriptor, Errno>)>,
    ranges: Vec<((u64, u64), UserRange)>,
}

impl Gathered {
    /// Forgets everything that was gathered for a call, but keeps the allocations for another call's data.
    pub fn clear(&mut self) {
        if let Some(part) = self.parts.pop() {
            self.bytes = part.bytes;
            self.bytes.clear();
        }
        self.parts.clear();
        self.descriptors.clear();
        self.ranges.clear();
    }

    /// Returns an empty vector to fill for [`add_bytes`](Self::add_bytes). If an earlier call's vector is kept, it is
    /// that vector, so that no new allocation is needed.
    pub fn take_room(&mut self) -> Vec<u8> {
        core::mem::take(&mut self.bytes)
    }

    /// Gives back the vector of a step's writes once these writes are made, so that the next step uses its
    /// allocation.
    pub fn give_room(&mut self, writes: Vec<Write>) {
        *self.writes.get_mut() = writes;
    }

    pub(crate) fn writes_room(&self) -> Vec<Write> {
        let mut room = self.writes.take();
        room.clear();
        room
    }

    /// Adds the memory at `addr`. `ends` says that the byte after this memory cannot be read.
    pub fn add_bytes(&mut self, addr: u64, bytes: Vec<u8>, ends: bool) {
        self.parts.push(Part { addr, bytes, ends });
    }

    /// Adds the data of descriptor `fd`: its file or, for [`Detail::Description`], all fields.
    pub fn add_descriptor(&mut self, fd: i32, of: Detail, known: Result<Descriptor, Errno>) {
        self.descriptors.push((fd, of, known));
    }

    /// Adds the `len_bytes` bytes at `addr`, which the program offers to a device.
    pub fn add_range(&mut self, addr: u64, len_bytes: u64, range: UserRange) {
        self.ranges.push(((addr, len_bytes), range));
    }

    /// Returns `len` bytes at `addr`, or EFAULT if one of them cannot be read; `None` if they were not gathered.
    #[must_use]
    pub fn bytes(&self, addr: u64, len: usize) -> Option<Result<&[u8], Errno>> {
        if len == 0 {
            return Some(Ok(&[]));
        }
        self.parts.iter().find_map(|part| part.get(addr, len))
    }

    /// Returns the data of descriptor `fd`; `None` if less than `of` was gathered.
    ///
    /// # Errors
    /// EBADF, or the error that kept the front end from examining the descriptor.
    #[must_use]
    pub fn descriptor(&self, fd: i32, of: Detail) -> Option<&Result<Descriptor, Errno>> {
        let mut all = self.descriptors.iter();
        all.find(|(number, known, _)| *number == fd && *known >= of)
            .map(|(_, _, known)| known)
    }

    /// Returns the memory that the program offers to a device; `None` if it was not gathered.
    #[must_use]
    pub fn range(&self, addr: u64, len_bytes: u64) -> Option<&UserRange> {
        let mut all = self.ranges.iter();
        all.find(|(at, _)| *at == (addr, len_bytes))
            .map(|(_, range)| range)
    }

    /// Fills in the devices' files behind descriptors whose file is not known yet.
    pub fn name_files(&mut self, of: impl Fn(FdIdentity) -> Option<FileId>) {
        for (_, _, known) in &mut self.descriptors {
            if let Ok(known) = known
                && known.file.is_none()
            {
                known.file = of(known.id);
            }
        }
    }

    /// Forgets the memory, after a piece of a read() or write() has been moved.
    pub fn forget_bytes(&mut self) {
        self.parts.clear();
    }

    /// Returns whether this contains everything that `need` names.
    #[must_use]
    pub fn has(&self, need: &Need) -> bool {
        let len = |len| usize::try_from(len).unwrap_or(usize::MAX);
        (need.bytes.iter()).all(|&(addr, bytes)| self.bytes(addr, len(bytes)).is_some())
            && (need.descriptors.iter()).all(|&(fd, of)| self.descriptor(fd, of).is_some())
            && (need.ranges.iter()).all(|&(addr, len)| self.range(addr, len).is_some())
    }
}

/// The data that a step lacks. The front end gathers it without the lock of the devices, and makes the step
/// again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Need {
    /// Ranges of the program's memory: address and length in bytes.
    pub bytes: Vec<(u64, u64)>,
    /// Descriptors of the program.
    pub descriptors: Vec<(i32, Detail)>,
    /// Memory that the program offers to a device: address and length in bytes.
    pub ranges: Vec<(u64, u64)>,
}

impl Need {
    /// Returns whether nothing is lacking.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.descriptors.is_empty() && self.ranges.is_empty()
    }
}
