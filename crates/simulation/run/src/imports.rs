//! Buffers of other drivers: real dma-bufs of the kernel that programs queue at simulated devices.
//!
//! A buffer becomes memory of the machine when it is first queued. From then on, the host recognises it by
//! its file, so that devices keep their mappings. The host releases the buffer once no queue refers to it and
//! no device has it attached, or once no other process holds it.
//!
//! Only poll shows whether the exporter's fences are pending. The host polls when the buffer is queued, and
//! again while work is pending. Meanwhile queues wait as they do for imported fences.

use crate::holders::{HeldBy, MAX_MAPPERS};
use crate::memory::RunMemory;
use rustix::event::{PollFd, PollFlags, Timespec};
use std::collections::{BTreeSet, HashMap};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use vb3_dma::{Constraint, Reason};
use vb3_dmabuf::fence::{ECANCELED, Owner, Timeline, Usage};
use vb3_dmabuf::{BufId, BufRef, MemoryId, Store as _, Vma};
use vb3_frontend::{Client, Detail, FdIdentity, Step};
use vb3_machine::{Device, Foreign, dmabuf_holders, is_dmabuf};
use vb3_plane::MemOps as _;
use vb3_v4l2::{POLL_IN, POLL_OUT};

/// Maximum number of buffers of other drivers at one time. Each uses a descriptor of this process.
const MAX_IMPORTS: usize = 512;

/// Number of other drivers' buffers that devices may keep mapped for a later use. A program that queues a new buffer
/// for each frame would otherwise keep all of them.
const MAX_KEPT: usize = 64;

/// Maximum number of refusals kept until they are reported.
const MAX_REFUSED: usize = 64;

/// The host's own share in [`dmabuf_holders`]: one descriptor and one mapping.
const OWN_HOLDS: u64 = 2;

/// Unfinished work of a buffer's own driver.
#[derive(Debug)]
struct Pending {
    timeline: Timeline<Owner<Device>>,
    usage: Usage,
}

/// A buffer of another driver.
#[derive(Debug)]
struct Import {
    fd: Arc<OwnedFd>,
    /// The reference that keeps the machine's dma-buf alive between two calls.
    buf: BufRef,
    /// A program's mapping, as far as the host knows.
    mapped: Option<Vma>,
    /// The processes that have mapped the buffer.
    mapped_by: BTreeSet<Client>,
    pending: Option<Pending>,
}

/// The buffers of other drivers that are memory of the machine now.
#[derive(Debug)]
pub(super) struct Imports {
    /// Returns whether a descriptor refers to a dma-buf.
    recognise: fn(BorrowedFd<'_>) -> bool,
    /// Returns POLLIN if no driver writes the dma-buf, and POLLOUT if no driver uses it.
    poll: fn(BorrowedFd<'_>) -> i16,
    all: HashMap<FdIdentity, Import>,
    refused: Vec<Reason>,
}

impl Imports {
    /// Makes an empty set. `recognise` returns whether a descriptor refers to a dma-buf.
    pub(super) fn new(recognise: fn(BorrowedFd<'_>) -> bool) -> Self {
        Self {
            recognise,
            poll,
            all: HashMap::new(),
            refused: Vec::new(),
        }
    }

    /// Replaces poll by another function, for tests.
    #[cfg(test)]
    pub(super) fn polled_by(self, poll: fn(BorrowedFd<'_>) -> i16) -> Self {
        Self { poll, ..self }
    }

    /// Returns whether work of any other driver is pending.
    pub(super) fn has_pending(&self) -> bool {
        self.all.values().any(|import| import.pending.is_some())
    }

    /// Polls a buffer's own driver for pending work.
    fn ask(&mut self, memory: &mut RunMemory, file: FdIdentity) {
        if let Some(import) = self.all.get_mut(&file) {
            import.ask(memory, self.poll);
        }
    }

    /// Ends the fences whose work has finished, as poll shows.
    pub(super) fn ask_again(&mut self, memory: &mut RunMemory) {
        for import in self.all.values_mut() {
            let ready = |usage| (self.poll)(import.fd.as_fd()) & awaited(usage) != 0;
            if import.pending.as_ref().is_some_and(|p| ready(p.usage)) {
                import.end(memory, Ok(()));
                // A device that writes must also wait for readers that came after an earlier writer.
                import.ask(memory, self.poll);
            }
        }
    }

    /// Makes an empty set for dma-bufs of the kernel.
    pub(super) fn of_kernel() -> Self {
        Self::new(is_dmabuf)
    }

    /// Returns the machine's dma-buf for a file.
    pub(super) fn buf(&self, file: FdIdentity) -> Option<BufId> {
        self.all.get(&file).map(|import| import.buf.id())
    }

    /// Returns how many buffers of other drivers there are.
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// Takes the reasons for refused imports since the last call.
    pub(super) fn take_refused(&mut self) -> Vec<Reason> {
        std::mem::take(&mut self.refused)
    }

    /// Returns the machine's dma-buf for a program's descriptor, and imports the buffer if it is new. Returns
    /// `None` for a descriptor that is not a dma-buf or that cannot be imported. A failed import records its
    /// reason.
    pub(super) fn resolve(
        &mut self,
        memory: &mut RunMemory,
        caller: &Step<'_>,
        (number, file): (i32, FdIdentity),
    ) -> Option<BufId> {
        if let Some(known) = self.buf(file) {
            self.ask(memory, file);
            return Some(known);
        }
        let known = caller.descriptor(number, Detail::Description).ok()?;
        let fd = known.fd.as_ref().filter(|_| known.id == file)?;
        if !(self.recognise)(fd.as_fd()) {
            return None;
        }
        match self.take_in(memory, Arc::clone(fd)) {
            Ok(import) => {
                let id = import.buf.id();
                self.all.insert(file, import);
                self.ask(memory, file);
                if known.is_mapped {
                    self.mapped(memory, file, caller.client());
                }
                Some(id)
            }
            Err(reason) => {
                if self.refused.len() < MAX_REFUSED {
                    self.refused.extend(reason);
                }
                None
            }
        }
    }

    fn take_in(&self, memory: &mut RunMemory, fd: Arc<OwnedFd>) -> Result<Import, Option<Reason>> {
        if self.all.len() >= MAX_IMPORTS {
            return Err(Some(Reason {
                constraint: Constraint::Imports,
                wanted: self.all.len() as u64 + 1,
                found: MAX_IMPORTS as u64,
            }));
        }
        let foreign = Foreign::map(Arc::clone(&fd)).map_err(|_| unmappable(&fd))?;
        let len = foreign.len_bytes();
        let ops = memory.ops_mut();
        let pages = ops.platform_mut().import(foreign).map_err(|e| e.reason())?;
        let alloc = ops.adopt(pages).map_err(|e| e.reason())?;
        let buf = memory.buffers().adopt(alloc, len).map_err(|e| e.reason())?;
        Ok(Import {
            fd,
            buf,
            mapped: None,
            mapped_by: BTreeSet::new(),
            pending: None,
        })
    }

    /// Records that a process maps the buffer and may read its memory from now on.
    pub(super) fn mapped(&mut self, memory: &mut RunMemory, file: FdIdentity, client: Client) {
        let Some(import) = self.all.get_mut(&file) else {
            return;
        };
        if import.mapped.is_none() {
            import.mapped = memory.buffers().vma_open_buf(import.buf.id()).ok();
        }
        if import.mapped_by.len() < MAX_MAPPERS {
            import.mapped_by.insert(client);
        }
    }

    /// Returns which process has mapped which buffer.
    pub(super) fn mapped_by(&self) -> impl Iterator<Item = (MemoryId, HeldBy)> {
        let mapped = self.all.values().filter(|import| import.mapped.is_some());
        mapped.flat_map(|import| {
            let by = import.mapped_by.iter();
            by.map(|client| (import.buf.memory(), HeldBy::Mapping(*client)))
        })
    }

    /// Releases imports that no queue uses any more: those that no device has mapped, and the oldest of those
    /// that devices keep mapped for a later use.
    pub(super) fn sweep(&mut self, memory: &mut RunMemory) {
        self.drop_where(memory, |_, is_attached| !is_attached);
        if self.all.len() <= MAX_KEPT {
            return;
        }
        let mut ids: Vec<BufId> = self.all.values().map(|import| import.buf.id()).collect();
        ids.sort_unstable();
        if let Some(&oldest_kept) = ids.iter().nth_back(MAX_KEPT - 1) {
            self.drop_where(memory, |import, _| import.buf.id() < oldest_kept);
        }
    }

    /// Releases imports that no other process holds any more, even if a device still has one mapped
    /// for a later use.
    pub(super) fn look(&mut self, memory: &mut RunMemory) {
        self.drop_where(memory, |import, _| {
            dmabuf_holders(import.fd.as_fd()).is_some_and(|n| n <= OWN_HOLDS)
        });
    }

    /// Drops the imports that `which` selects, unless a queue refers to them. `which` gets an import, and
    /// whether a device is attached to the import.
    fn drop_where(&mut self, memory: &mut RunMemory, which: impl Fn(&Import, bool) -> bool) {
        if self.all.is_empty() {
            return;
        }
        let is_due = |import: &Import| {
            let own = 1 + u32::from(import.mapped.is_some());
            let is_named = memory.buffers().references(import.buf.id()) > own;
            let id = import.buf.memory();
            let is_attached = memory
                .buffers()
                .inspect(id, |m| !m.attachments().is_empty())
                .unwrap_or(false);
            !is_named && which(import, is_attached)
        };
        let (due, kept): (HashMap<_, _>, HashMap<_, _>) = std::mem::take(&mut self.all)
            .into_iter()
            .partition(|(_, import)| is_due(import));
        self.all = kept;
        let mut due: Vec<Import> = due.into_values().collect();
        // The order must not depend on the hash table's order.
        due.sort_by_key(|import| import.buf.id());
        for mut import in due {
            import.end(memory, Err(ECANCELED));
            if let Some(vma) = import.mapped {
                memory.vma_close(vma);
            }
            memory.put_dmabuf(import.buf);
        }
    }
}

impl Import {
    fn ask(&mut self, memory: &mut RunMemory, poll: fn(BorrowedFd<'_>) -> i16) {
        if self.pending.is_some() {
            return;
        }
        let ready = poll(self.fd.as_fd());
        let usage = match (ready & POLL_IN != 0, ready & POLL_OUT != 0) {
            (_, true) => return,
            (true, false) => Usage::Read,
            (false, false) => Usage::Write,
        };
        let buffers = memory.buffers();
        let made = buffers.with_fences(|fences, now_ns| {
            let mut timeline = fences.timeline(Owner::Driver);
            let file = fences.sync_file_at(&mut timeline, 1, now_ns)?;
            Ok((timeline, file))
        });
        // Without room for the fence, no caller can wait for it.
        let Ok::<_, vb3_dmabuf::Error>((timeline, file)) = made else {
            return;
        };
        let imported = buffers.import_fences(self.buf.memory(), file.fences(), usage);
        buffers.with_fences(|fences, now_ns| {
            fences.put_sync_file(file);
            match imported {
                Ok(()) => self.pending = Some(Pending { timeline, usage }),
                Err(_) => fences.close(timeline, Ok(()), now_ns),
            }
        });
    }

    fn end(&mut self, memory: &mut RunMemory, outcome: Result<(), i32>) {
        if let Some(Pending { timeline, .. }) = self.pending.take() {
            memory
                .buffers()
                .with_fences(|fences, now_ns| fences.close(timeline, outcome, now_ns));
        }
    }
}

/// Returns the poll event that shows that work with this usage has ended.
const fn awaited(usage: Usage) -> i16 {
    match usage {
        Usage::Write => POLL_IN,
        Usage::Read => POLL_OUT,
    }
}

/// Returns the poll events of a dma-buf, or all of them if poll fails.
fn poll(fd: BorrowedFd<'_>) -> i16 {
    let both = PollFlags::IN | PollFlags::OUT;
    let mut fds = [PollFd::from_borrowed_fd(fd, both)];
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // A pending signal interrupts even a poll that does not wait.
    let asked = rustix::io::retry_on_intr(|| rustix::event::poll(&mut fds, Some(&now)));
    let [found] = fds;
    let found = asked.map_or(both, |_| found.revents() & both);
    // CAST: only the two lowest bits are set.
    found.bits() as i16
}

/// Returns why a dma-buf that cannot be mapped is refused.
fn unmappable(fd: &OwnedFd) -> Option<Reason> {
    let size = rustix::fs::seek(fd, rustix::fs::SeekFrom::End(0));
    Some(Reason {
        constraint: Constraint::CpuMapping,
        wanted: size.unwrap_or(0),
        found: 0,
    })
}
