//! Reservations: the fences of one memory.

use super::table::{FenceTable, is_later};
use super::{FenceId, FenceInfo, Fences, Timeline, Usage};
use crate::{Error, MemoryId};
use alloc::vec::Vec;

/// Maximum number of early accesses (before a fence had ended) that are kept for `take_early`.
const MAX_EARLY: usize = 1024;

/// A fence in a reservation. The reservation has one reference to the fence.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) fence: FenceId,
    usage: Usage,
    /// True if the fence was made when a device got the memory. False for an imported fence: queues wait for
    /// imported fences only.
    of_device: bool,
}

#[derive(Debug)]
pub(super) struct Reservation {
    memory: MemoryId,
    entries: Vec<Entry>,
}

/// Entries of a reservation, with the fences that they name and the number of imported ones.
type Room<'a, T> = (&'a mut Vec<Entry>, &'a mut FenceTable<T>, &'a mut usize);

fn find(all: &[Reservation], memory: MemoryId) -> Result<usize, usize> {
    all.binary_search_by_key(&memory, |r| r.memory)
}

fn entries(all: &[Reservation], memory: MemoryId) -> &[Entry] {
    let found = find(all, memory).ok().and_then(|at| all.get(at));
    found.map_or(&[], |r| &r.entries)
}

/// An access to memory while another device used it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Early<T> {
    /// The memory.
    pub memory: MemoryId,
    /// The party that accessed it: a device that was given the memory, or a program that announced the access.
    pub by: T,
    /// That party's access: a read or a write.
    pub usage: Usage,
    /// The device that used the memory.
    pub owner: T,
    /// That device's access: a read or a write.
    pub owner_usage: Usage,
    /// Number of such accesses since the previous [`Fences::take_early`].
    pub times: u64,
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
        self.note_access(memory, timeline.owner, usage);
        let (entries, table, _) = self.make_room(memory, 1)?;
        let fence = table.begin(timeline)?;
        // The timeline has one reference to the fence, the reservation another.
        table.hold(fence)?;
        entries.push(Entry {
            fence,
            usage,
            of_device: true,
        });
        Ok(fence)
    }

    /// Ends the fences of all devices that have the memory. Imported fences stay pending until their
    /// owner ends them.
    pub fn end_accesses(&mut self, memory: MemoryId, outcome: Result<(), i32>, now_ns: u64) {
        let entries = entries(&self.reservations, memory).iter();
        for entry in entries.filter(|entry| entry.of_device) {
            self.table.end(entry.fence, outcome, now_ns);
        }
    }

    /// Adds fences of other parties, such as those of a sync file, to a memory's fences, so that queues wait
    /// for them. Fences that have ended are left out.
    ///
    /// # Errors
    /// `TableFull` (ENOMEM): nothing has been added.
    pub fn import(
        &mut self,
        memory: MemoryId,
        fences: &[FenceId],
        usage: Usage,
    ) -> Result<(), Error> {
        let (entries, table, imported) = self.make_room(memory, fences.len())?;
        for &fence in fences {
            let Some(new) = table.get(fence).filter(|_| table.is_pending(fence)) else {
                continue;
            };
            table.hold(fence)?;
            // Replaces an earlier imported fence of the same context: it ends before the new one, so no
            // waiter needs it. A device's fence stays, because a program cannot replace it.
            let is_replaced = |e: &&mut Entry| {
                let is_earlier = |old: FenceInfo<T>| {
                    old.context == new.context && is_later(new.seqno, old.seqno)
                };
                !e.of_device
                    && (e.fence == fence
                        || e.usage >= usage && table.get(e.fence).is_some_and(is_earlier))
            };
            let mut entry = Entry {
                fence,
                usage,
                of_device: false,
            };
            match entries.iter_mut().find(is_replaced) {
                Some(old) => {
                    entry.usage = old.usage.min(usage);
                    table.put(old.fence);
                    *old = entry;
                }
                None => {
                    *imported = imported.saturating_add(1);
                    entries.push(entry);
                }
            }
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
            .filter_map(|entry| Some((entry.fence, self.table.get(entry.fence)?.owner)))
    }

    /// Returns the pending fences that an access of kind `usage` must wait for.
    pub(super) fn conflicts(&self, memory: MemoryId, usage: Usage) -> impl Iterator<Item = &Entry> {
        let entries = entries(&self.reservations, memory).iter();
        entries.filter(move |e| usage.waits_for(e.usage) && self.table.is_pending(e.fence))
    }

    /// Returns the parties that must end the memory's pending fences.
    pub fn owners(&self, memory: MemoryId) -> impl Iterator<Item = T> {
        let entries = entries(&self.reservations, memory).iter();
        let pending = entries.filter(|e| self.table.is_pending(e.fence));
        pending.filter_map(|e| Some(self.table.get(e.fence)?.owner))
    }

    /// Records an access as early for each device that uses the memory now and with which the access conflicts.
    pub fn note_access(&mut self, memory: MemoryId, by: T, usage: Usage) {
        let mut early = core::mem::take(&mut self.early);
        for entry in self.conflicts(memory, usage).filter(|e| e.of_device) {
            let Some(fence) = self.table.get(entry.fence) else {
                continue;
            };
            let new = Early {
                memory,
                by,
                usage,
                owner: fence.owner,
                owner_usage: entry.usage,
                times: 1,
            };
            let same = early.iter_mut().find(|e| Early { times: 1, ..**e } == new);
            if let Some(same) = same {
                same.times = same.times.saturating_add(1);
            } else if early.len() < MAX_EARLY && early.try_reserve(1).is_ok() {
                early.push(new);
            }
        }
        self.early = early;
    }

    /// Returns the early accesses recorded since the last call.
    pub fn take_early(&mut self) -> Vec<Early<T>> {
        core::mem::take(&mut self.early)
    }

    /// Removes the reservation of a memory that no longer exists. Its fences stay pending.
    pub fn forget_memory(&mut self, memory: MemoryId) {
        if let Ok(at) = find(&self.reservations, memory) {
            for entry in self.reservations.remove(at).entries {
                self.imported = self.imported.saturating_sub((!entry.of_device).into());
                self.table.put(entry.fence);
            }
        }
    }

    /// Returns whether any fence that a program imported is pending.
    #[must_use]
    pub fn has_imports(&self) -> bool {
        let mut all = self.reservations.iter().flat_map(|r| &r.entries);
        all.any(|entry| !entry.of_device && self.table.is_pending(entry.fence))
    }

    /// Removes ended fences from a reservation, and makes room for `more` fences. Returns the reservation's
    /// entries, the table and the number of imported fences.
    fn make_room(&mut self, memory: MemoryId, more: usize) -> Result<Room<'_, T>, Error> {
        let (all, table) = (&mut self.reservations, &mut self.table);
        let imported = &mut self.imported;
        let full = table.full();
        let found = find(all, memory);
        if let Err(at) = found {
            all.try_reserve(1).map_err(|_| full)?;
            let entries = Vec::new();
            all.insert(at, Reservation { memory, entries });
        }
        let (Ok(at) | Err(at)) = found;
        let entries = &mut all.get_mut(at).ok_or(full)?.entries;
        entries.retain(|entry| {
            let pending = table.is_pending(entry.fence);
            if !pending {
                *imported = imported.saturating_sub((!entry.of_device).into());
                table.put(entry.fence);
            }
            pending
        });
        if entries.len().saturating_add(more) > Self::RESERVATION_LIMIT {
            return Err(full);
        }
        entries.try_reserve(more).map_err(|_| full)?;
        Ok((entries, table, imported))
    }
}
