//! Tracks user memory while devices use it.
//!
//! A kernel pins pages at QBUF: if the program later unmaps, moves or replaces them, the device
//! still writes to the same pages. A process cannot pin another process's pages. Instead, a thread of the
//! program makes a userfaultfd during its QBUF. The userfaultfd reports which watched ranges are
//! unmapped, moved or dropped, and blocks a program's munmap or mremap until the report is read. From
//! then on devices reach moved memory at its new address, and cannot reach removed memory.
//!
//! The userfaultfd never protects a page, so the program has no additional faults. One race
//! remains: between the kernel's unmapping and the read of the report, another thread may map the
//! same addresses, and a device may write there.
//!
//! Source: Linux 6.12 mm/userfaultfd.c, mm/mremap.c, Documentation/admin-guide/mm/userfaultfd.rst.

mod fault;
mod ranges;

use std::cell::Cell;
use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::kernel::{Mapping, lock, page_size, vma};
use crate::memory::copies::ProcFiles;
pub(crate) use fault::{CREATE_FLAGS, Fault};
use ranges::Ranges;
use vb3_frontend::{Access, Errno, FdIdentity, ProcessMemory};

/// Maximum number of tracked processes. Devices access the memory of further processes by address.
const MAX_PROCESSES: usize = 1024;
/// Maximum number of bytes copied while the ranges are locked. A program that unmaps waits for the copy.
const CHUNK: u64 = 256 << 10;

/// How the memory of a process is tracked.
#[derive(Debug)]
pub(crate) enum Known {
    /// The process is not tracked yet: one of its threads must make a userfaultfd.
    Nothing,
    Followed(Arc<Space>),
    /// The process cannot be tracked: devices access its memory by address.
    Refused,
}

/// Processes with memory that the kernel refuses to watch, until the user is notified.
type Refusals = Mutex<Vec<(u32, Errno)>>;

/// The processes whose memory devices use.
#[derive(Debug, Default)]
pub(crate) struct Pins {
    spaces: Mutex<HashMap<u32, Option<Arc<Space>>>>,
    refusals: Arc<Refusals>,
}

impl Pins {
    /// Returns how a process is tracked. Forgets an address space that an exec has ended.
    pub(crate) fn of(&self, pid: u32) -> Known {
        let mut spaces = lock(&self.spaces);
        match spaces.get(&pid) {
            None if spaces.len() >= MAX_PROCESSES => Known::Refused,
            None => Known::Nothing,
            Some(None) => Known::Refused,
            Some(Some(space)) if space.fault.is_alive() => Known::Followed(Arc::clone(space)),
            Some(Some(_)) => {
                spaces.remove(&pid);
                Known::Nothing
            }
        }
    }

    /// Starts to track a process with the userfaultfd that one of its threads made, or records a failure. When
    /// the userfaultfd, which `watch` gets, is readable, the caller must call [`read`](Self::read). Returns why
    /// the process cannot be tracked, once per process.
    pub(crate) fn add(
        &self,
        pid: u32,
        made: Result<OwnedFd, Errno>,
        watch: impl FnOnce(BorrowedFd<'_>) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        let space = made.and_then(Fault::new).and_then(|fault| {
            watch(fault.fd().as_fd())?;
            Ok(Arc::new(Space {
                fault,
                ranges: Mutex::default(),
                refusals: Arc::clone(&self.refusals),
                is_refused: AtomicBool::new(false),
            }))
        });
        let mut spaces = lock(&self.spaces);
        spaces.retain(|_, space| space.as_ref().is_none_or(|space| space.fault.is_alive()));
        // Another thread of the process may have made a userfaultfd first.
        let followed = matches!(spaces.get(&pid), Some(Some(_)));
        let failed = space.as_ref().err().copied();
        if !followed && (spaces.len() < MAX_PROCESSES || spaces.contains_key(&pid)) {
            spaces.insert(pid, space.ok());
        }
        failed.filter(|_| !followed).map_or(Ok(()), Err)
    }

    pub(crate) fn forget(&self, pid: u32) {
        lock(&self.spaces).remove(&pid);
    }

    /// Takes the processes with memory that the kernel refuses to watch, each once, with the errno.
    pub(crate) fn take_refusals(&self) -> Vec<(u32, Errno)> {
        core::mem::take(&mut *lock(&self.refusals))
    }

    /// Applies the reports of a process, which waits in munmap or mremap until they are read.
    pub(crate) fn read(&self, pid: u32) {
        if let Some(Some(space)) = lock(&self.spaces).get(&pid) {
            drop(space.current());
        }
    }
}

/// A tracked address space: its userfaultfd, and the watched ranges.
#[derive(Debug)]
pub(crate) struct Space {
    fault: Fault,
    ranges: Mutex<Ranges>,
    refusals: Arc<Refusals>,
    /// Whether `refusals` has or had this space's process.
    is_refused: AtomicBool,
}

impl Space {
    /// Reads the reports so far, applies them to the ranges, and returns these.
    fn current(&self) -> MutexGuard<'_, Ranges> {
        let mut ranges = lock(&self.ranges);
        while let Some(event) = self.fault.next() {
            ranges.apply(event);
        }
        ranges
    }

    /// Watches the pages of `page` bytes that contain a range. Fails with EINVAL for memory of a file, or if
    /// the memory's pages are larger; EBUSY if the program's own userfaultfd watches the memory.
    fn watch(self: &Arc<Self>, addr: u64, len: u64, page: u64) -> Result<Watched, Errno> {
        let mut ranges = self.current();
        let (start, end) = ranges::pages(addr, len, page).ok_or(Errno(libc::EINVAL))?;
        self.fault.register(start, end)?;
        Ok(Watched {
            space: Arc::clone(self),
            id: ranges.insert(addr, len, page),
        })
    }

    /// Records that the kernel refuses to watch memory of process `pid`.
    fn note_refusal(&self, pid: u32, e: Errno) {
        if !self.is_refused.swap(true, Ordering::Relaxed) {
            lock(&self.refusals).push((pid, e));
        }
    }

    /// Returns whether one watched range contains all of these bytes at their original addresses.
    pub(crate) fn has(&self, addr: u64, len: u64) -> bool {
        self.current().has(addr, len)
    }

    fn release(&self, id: u64) {
        let mut ranges = self.current();
        for (start, end) in ranges.remove(id) {
            self.fault.unregister(start, end);
        }
    }
}

/// A range of a program's memory that is tracked while this value exists.
#[derive(Debug)]
struct Watched {
    space: Arc<Space>,
    id: u64,
}

impl Watched {
    /// Calls `act` for each piece of the `len` bytes that were at `addr` when the watch began. `act` gets
    /// the piece's current address, or `None` if it is unmapped, and its position in the `len` bytes.
    fn each(
        &self,
        addr: u64,
        len: usize,
        mut act: impl FnMut(Option<u64>, std::ops::Range<usize>) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        let mut done = 0usize;
        while done < len {
            let at = addr.checked_add(done as u64).ok_or(Errno(libc::EFAULT))?;
            let most = CHUNK.min((len - done) as u64);
            let ranges = self.space.current();
            let (now, bytes) = ranges.find(self.id, at, most);
            let end = done + usize::try_from(bytes.max(1)).map_err(|_| Errno(libc::EFAULT))?;
            act(now, done..end.min(len))?;
            done = end;
        }
        Ok(())
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.space.release(self.id);
    }
}

/// The memory of a process, or one watched part of it.
#[derive(Debug)]
pub(crate) struct UserMemory {
    files: Arc<ProcFiles>,
    /// `None` if the process is not tracked.
    space: Option<Arc<Space>>,
    /// The part, or `None` for all of the memory.
    part: Option<Watched>,
}

impl UserMemory {
    pub(crate) fn new(files: impl Into<Arc<ProcFiles>>, space: Option<Arc<Space>>) -> Self {
        Self {
            files: files.into(),
            space,
            part: None,
        }
    }
}

impl ProcessMemory for UserMemory {
    fn pid(&self) -> u32 {
        self.files.pid
    }

    fn read(&self, addr: u64, out: &mut [u8]) -> Result<(), Errno> {
        let Some(part) = &self.part else {
            return self.files.read(addr, out);
        };
        part.each(addr, out.len(), |now, piece| {
            let now = now.ok_or(Errno(libc::EFAULT))?;
            self.files.read(now, out.get_mut(piece).unwrap_or_default())
        })
    }

    fn write(&self, addr: u64, data: &[u8]) -> Result<(), Errno> {
        let Some(part) = &self.part else {
            return self.files.write(addr, data);
        };
        part.each(addr, data.len(), |now, piece| match now {
            Some(now) => self.files.write(now, data.get(piece).unwrap_or_default()),
            // A kernel would write to the pinned page, which no program can see any more.
            None => Ok(()),
        })
    }

    fn probe(&self, addr: u64, len: u64, access: Access) -> Result<u64, Errno> {
        vma::covered(&self.files.maps, addr, len, |map| {
            map.allows(access) && !self.files.is_device(map)
        })
    }

    fn file_at(&self, addr: u64, len: u64) -> Option<FdIdentity> {
        let file = Cell::new(None);
        let is_same = |map: &Mapping<'_>| {
            let id = map.file;
            id.ino != 0 && file.replace(Some(id)).is_none_or(|before| before == id)
        };
        let covered = vma::covered(&self.files.maps, addr, len, is_same).ok()?;
        file.get().filter(|_| covered == len)
    }

    fn maps_file(&self, id: FdIdentity) -> bool {
        let mut is_mapped = false;
        // Reads the list as text, which is cheaper than one query per mapping.
        let visited = vma::visit_text(self.files.maps.as_fd(), 0, |map| {
            is_mapped = map.file == id;
            !is_mapped
        });
        visited.is_ok() && is_mapped
    }

    fn pin(&self, addr: u64, len: u64) -> Option<Arc<dyn ProcessMemory>> {
        let (files, space) = (Arc::clone(&self.files), self.space.as_ref()?);
        let watched = space.watch(addr, len, page_size()).or_else(|e| match e {
            // The kernel watches only whole pages of hugetlb memory.
            Errno(libc::EINVAL) => {
                space.watch(addr, len, vma::page_size_at(files.maps.as_fd(), addr)?)
            }
            e => Err(e),
        });
        let watched = watched.inspect_err(|e| space.note_refusal(files.pid, *e));
        let (space, part) = (None, Some(watched.ok()?));
        Some(Arc::new(Self { files, space, part }))
    }

    fn is_where_it_was(&self) -> bool {
        let part = self.part.as_ref();
        part.is_none_or(|part| part.space.current().is_whole(part.id))
    }
}
