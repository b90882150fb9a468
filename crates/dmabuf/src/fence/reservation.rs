//! Reservations: the fences of one memory.

use super::table::is_later;
use super::{FenceId, FenceOutcome, Fences, SyncFile, Timeline, Usage};
use crate::{Error, MemoryId};
use alloc::vec::Vec;

/// Maximum number of early accesses (before a fence had ended) that are kept for `take_early`.
const MAX_EARLY: usize = 1024;

/// A fence in a reservation.
#[derive(Clone, Copy, Debug)]
struct Entry {
    fence: FenceId,
    context: u64,
    seqno: u64,
    usage: Usage,
    /// True if the fence was made when a device got the memory. False for an imported fence: queues wait for
    /// imported fences only.
    of_device: bool,
}

#[derive(Debug)]
struct Reservation {
    memory: MemoryId,
    entries: Vec<Entry>,
}

/// The party that accessed memory before the fences on it had ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EarlyAccess<T> {
    /// A device was given the memory.
    Device(T),
    /// A program, by its process number. The program announced the access.
    Program(u32),
}

/// An access to memory while another device used it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Early<T> {
    /// The memory.
    pub memory: MemoryId,
    /// The party that accessed it.
    pub by: EarlyAccess<T>,
    /// That party's access: a read or a write.
    pub usage: Usage,
    /// The device that used the memory.
    pub owner: T,
    /// That device's access: a read or a write.
    pub owner_usage: Usage,
    /// Number of such accesses since the previous [`Fences::take_early`].
    pub times: u64,
}

/// The reservations of all memories that have one, in the order of their ids.
#[derive(Debug)]
pub(super) struct Reservations<T> {
    all: Vec<Reservation>,
    early: Vec<Early<T>>,
}

impl<T> Reservations<T> {
    pub(super) const fn new() -> Self {
        Self {
            all: Vec::new(),
            early: Vec::new(),
        }
    }

    fn find(&self, memory: MemoryId) -> Result<usize, usize> {
        self.all.binary_search_by_key(&memory, |r| r.memory)
    }

    fn entries(&self, memory: MemoryId) -> &[Entry] {
        let found = self.find(memory).ok().and_then(|at| self.all.get(at));
        found.map_or(&[], |r| &r.entries)
    }

    fn entries_mut(&mut self, memory: MemoryId) -> Option<&mut Vec<Entry>> {
        let at = self.find(memory).ok()?;
        Some(&mut self.all.get_mut(at)?.entries)
    }
}

impl<T: Copy + PartialEq> Fences<T> {
    /// Maximum number of fences in one reservation.
    pub const RESERVATION_LIMIT: usize = 1024;

    /// Begins an access by a device with the next fence of its timeline. Records the pending accesses that
    /// the device did not wait for.
    ///
    /// # Errors
    /// `TableFull` (ENOMEM): the access continues without a fence.
    pub fn begin_access(
        &mut self,
        memory: MemoryId,
        timeline: &mut Timeline<T>,
        usage: Usage,
    ) -> Result<FenceId, Error> {
        let by = EarlyAccess::Device(timeline.owner());
        self.note_access(memory, by, usage);
        self.make_entry_room(memory, 1)?;
        let fence = self.begin(timeline)?;
        // The timeline has one reference to the fence, the reservation another.
        let entry = self.hold_entry(fence, usage, true)?;
        if let Some(entries) = self.reservations.entries_mut(memory) {
            entries.push(entry);
        }
        Ok(fence)
    }

    /// Ends the fences of all devices that have the memory. Imported fences stay pending until their
    /// owner ends them.
    pub fn end_accesses(&mut self, memory: MemoryId, outcome: FenceOutcome, now_ns: u64) {
        let mut at = 0_usize;
        while let Some(&entry) = self.reservations.entries(memory).get(at) {
            at = at.saturating_add(1);
            if entry.of_device {
                self.end(entry.fence, outcome, now_ns);
            }
        }
    }

    /// Adds the fences of a sync file to a memory's fences, so that queues wait for them.
    ///
    /// # Errors
    /// `TableFull` (ENOMEM): nothing has been added.
    pub fn import(&mut self, memory: MemoryId, file: &SyncFile, usage: Usage) -> Result<(), Error> {
        self.make_entry_room(memory, file.len())?;
        for fence in file.fences() {
            if self.is_pending(*fence) {
                self.import_fence(memory, *fence, usage)?;
            }
        }
        Ok(())
    }

    /// Adds a fence of another party to a memory's fences, so that queues wait for it.
    ///
    /// # Errors
    /// `TableFull` (ENOMEM); `Invalid` for a fence that is gone.
    pub fn import_one(
        &mut self,
        memory: MemoryId,
        fence: FenceId,
        usage: Usage,
    ) -> Result<(), Error> {
        self.make_entry_room(memory, 1)?;
        self.import_fence(memory, fence, usage)
    }

    fn import_fence(
        &mut self,
        memory: MemoryId,
        fence: FenceId,
        usage: Usage,
    ) -> Result<(), Error> {
        let new = self.hold_entry(fence, usage, false)?;
        let mut replaced = None;
        if let Some(entries) = self.reservations.entries_mut(memory) {
            // Replaces an earlier imported fence of the same context: it ends before the new one, so no
            // waiter needs it. A device's fence stays, because a program cannot replace it.
            let same = entries.iter_mut().find(|e| {
                !e.of_device
                    && e.context == new.context
                    && (e.fence == fence || e.usage >= usage && is_later(new.seqno, e.seqno))
            });
            match same {
                Some(entry) => {
                    replaced = Some(entry.fence);
                    let usage = entry.usage.min(usage);
                    *entry = Entry { usage, ..new };
                }
                None => entries.push(new),
            }
        }
        if let Some(fence) = replaced {
            self.put(fence);
        }
        Ok(())
    }

    /// Returns whether an access of kind `usage` conflicts with any pending fence, imported or not.
    #[must_use]
    pub fn is_busy(&self, memory: MemoryId, usage: Usage) -> bool {
        self.conflicts(memory, usage).next().is_some()
    }

    /// Returns whether an access of kind `usage` must wait for pending fences that a program imported.
    #[must_use]
    pub fn is_held_back(&self, memory: MemoryId, usage: Usage) -> bool {
        self.conflicts(memory, usage).any(|entry| !entry.of_device)
    }

    /// Returns the pending imported fences that an access of kind `usage` must wait for, with their owners.
    pub fn held_back_by(
        &self,
        memory: MemoryId,
        usage: Usage,
    ) -> impl Iterator<Item = (FenceId, T)> {
        self.conflicts(memory, usage)
            .filter(|entry| !entry.of_device)
            .filter_map(|entry| Some((entry.fence, self.get(entry.fence)?.owner)))
    }

    /// Returns the pending fences that an access of kind `usage` must wait for.
    pub(super) fn waited_for(
        &self,
        memory: MemoryId,
        usage: Usage,
    ) -> impl Iterator<Item = FenceId> {
        self.conflicts(memory, usage).map(|entry| entry.fence)
    }

    fn conflicts(&self, memory: MemoryId, usage: Usage) -> impl Iterator<Item = &Entry> {
        let entries = self.reservations.entries(memory).iter();
        entries.filter(move |e| usage.waits_for(e.usage) && self.is_pending(e.fence))
    }

    /// Returns the parties that must end the memory's pending fences.
    pub fn owners(&self, memory: MemoryId) -> impl Iterator<Item = T> {
        let entries = self.reservations.entries(memory).iter();
        let pending = entries.filter(|e| self.is_pending(e.fence));
        pending.filter_map(|e| Some(self.get(e.fence)?.owner))
    }

    /// Records an access that came too early: it conflicts with devices that use the memory now.
    pub fn note_access(&mut self, memory: MemoryId, by: EarlyAccess<T>, usage: Usage) {
        for index in 0..self.reservations.entries(memory).len() {
            let Some(entry) = self.reservations.entries(memory).get(index) else {
                return;
            };
            let (fence, owner_usage) = (entry.fence, entry.usage);
            let conflicts = entry.of_device && usage.waits_for(owner_usage);
            let owner = self.get(fence).map(|f| f.owner);
            let Some(owner) = owner.filter(|_| conflicts && self.is_pending(fence)) else {
                continue;
            };
            let new = Early {
                memory,
                by,
                usage,
                owner,
                owner_usage,
                times: 1,
            };
            self.add_early(new);
        }
    }

    fn add_early(&mut self, new: Early<T>) {
        let kept = &mut self.reservations.early;
        let same = kept.iter_mut().find(|e| {
            (e.memory, e.by, e.usage) == (new.memory, new.by, new.usage)
                && (e.owner, e.owner_usage) == (new.owner, new.owner_usage)
        });
        if let Some(same) = same {
            same.times = same.times.saturating_add(1);
        } else if kept.len() < MAX_EARLY && kept.try_reserve(1).is_ok() {
            kept.push(new);
        }
    }

    /// Returns the early accesses recorded since the last call.
    pub fn take_early(&mut self) -> Vec<Early<T>> {
        core::mem::take(&mut self.reservations.early)
    }

    /// Removes the reservation of a memory that no longer exists. Its fences stay pending.
    pub fn forget_memory(&mut self, memory: MemoryId) {
        if let Ok(at) = self.reservations.find(memory) {
            let gone = self.reservations.all.remove(at);
            for entry in gone.entries {
                self.put(entry.fence);
            }
        }
    }

    /// Returns whether any fence that a program imported is pending.
    #[must_use]
    pub fn has_imports(&self) -> bool {
        let mut all = self.reservations.all.iter().flat_map(|r| &r.entries);
        all.any(|entry| !entry.of_device && self.is_pending(entry.fence))
    }

    /// Returns the number of memories that have a reservation.
    #[must_use]
    pub fn reservations(&self) -> usize {
        self.reservations.all.len()
    }

    /// Removes ended fences from a reservation, and makes room for `more` fences.
    fn make_entry_room(&mut self, memory: MemoryId, more: usize) -> Result<(), Error> {
        let full = self.full();
        let at = match self.reservations.find(memory) {
            Ok(at) => at,
            Err(at) => {
                let all = &mut self.reservations.all;
                all.try_reserve(1).map_err(|_| full)?;
                let entries = Vec::new();
                all.insert(at, Reservation { memory, entries });
                at
            }
        };
        let Some(reservation) = self.reservations.all.get_mut(at) else {
            return Err(full);
        };
        let mut entries = core::mem::take(&mut reservation.entries);
        entries.retain(|entry| {
            let pending = self.is_pending(entry.fence);
            if !pending {
                self.put(entry.fence);
            }
            pending
        });
        let is_full = entries.len().saturating_add(more) > Self::RESERVATION_LIMIT
            || entries.try_reserve(more).is_err();
        if let Some(reservation) = self.reservations.all.get_mut(at) {
            reservation.entries = entries;
        }
        if is_full { Err(full) } else { Ok(()) }
    }

    /// Takes a reference to a fence, for a reservation.
    ///
    /// # Errors
    /// As [`hold`](Self::hold).
    fn hold_entry(
        &mut self,
        fence: FenceId,
        usage: Usage,
        of_device: bool,
    ) -> Result<Entry, Error> {
        self.hold(fence)?;
        let found = self.get(fence).ok_or(Error::Invalid)?;
        Ok(Entry {
            fence,
            context: found.context,
            seqno: found.seqno,
            usage,
            of_device,
        })
    }
}
