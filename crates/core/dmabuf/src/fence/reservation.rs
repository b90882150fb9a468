//! Reservations: the accesses of devices to one memory, and the fences that were imported for it.
//!
//! A device's access gets a fence only when a program asks for a sync file of the memory. So two devices share a list
//! and a lock only if they use the same memory, or if a program asks for sync files.

use super::table::is_later;
use super::{FenceId, Fences, SyncFile, Usage};
use crate::Error;
use alloc::vec::Vec;

/// The access of a device that has the memory now.
#[derive(Debug)]
struct Access<T> {
    number: u64,
    owner: T,
    usage: Usage,
    /// The access's fence; `None` until the first sync file of the access is made. The reservation has one reference
    /// to the fence.
    fence: Option<FenceId>,
}

/// A fence that a program or another driver added to a memory.
#[derive(Clone, Copy, Debug)]
struct Import {
    fence: FenceId,
    usage: Usage,
}

/// The accesses to one memory.
#[derive(Debug)]
pub(crate) struct Reservation<T> {
    accesses: Vec<Access<T>>,
    /// Queues wait for these fences only. The reservation has one reference to each.
    imported: Vec<Import>,
}

impl<T: Copy + PartialEq> Reservation<T> {
    pub(crate) const EMPTY: Self = Self {
        accesses: Vec::new(),
        imported: Vec::new(),
    };

    /// Maximum number of accesses, and of imported fences.
    pub(crate) const LIMIT: usize = 1024;

    /// Begins an access by a device. `number` is called after all that can fail, and returns the access's number.
    pub(crate) fn begin(
        &mut self,
        owner: T,
        usage: Usage,
        number: impl FnOnce() -> u64,
    ) -> Result<u64, Error> {
        room(&mut self.accesses, 1)?;
        let number = number();
        self.accesses.push(Access {
            number,
            owner,
            usage,
            fence: None,
        });
        Ok(number)
    }

    /// Ends an access. Returns its fence, if it has one, whose reference the caller drops; `None` if the access
    /// has ended before.
    pub(crate) fn end(&mut self, number: u64) -> Option<Option<FenceId>> {
        let at = self.accesses.iter().position(|a| a.number == number)?;
        Some(self.accesses.remove(at).fence)
    }

    /// Ends all accesses, as [`end`](Self::end).
    pub(crate) fn end_all(&mut self) -> impl Iterator<Item = Option<FenceId>> {
        self.accesses.drain(..).map(|access| access.fence)
    }

    /// Returns the devices whose accesses conflict with one of kind `usage`, and what they do.
    pub(crate) fn conflicts(&self, usage: Usage) -> impl Iterator<Item = (T, Usage)> {
        let all = self.accesses.iter().map(|a| (a.owner, a.usage));
        all.filter(move |(_, other)| usage.waits_for(*other))
    }

    /// Returns the number of imported fences, including ended ones that no call has removed yet.
    pub(crate) fn imported(&self) -> usize {
        self.imported.len()
    }

    /// Returns the pending imported fences that an access of kind `usage` must wait for, with their owners.
    pub(crate) fn held_back_by(
        &self,
        fences: &Fences<T>,
        usage: Usage,
    ) -> impl Iterator<Item = (FenceId, T)> {
        let all = self
            .imported
            .iter()
            .filter(move |i| usage.waits_for(i.usage));
        all.filter_map(|i| Some((i.fence, fences.table.pending(i.fence)?.owner)))
    }

    /// Returns the parties that must end the accesses and imported fences.
    pub(crate) fn owners(&self, fences: &Fences<T>) -> impl Iterator<Item = T> {
        let imported = self.held_back_by(fences, Usage::Write);
        let own = self.accesses.iter().map(|access| access.owner);
        own.chain(imported.map(|(_, owner)| owner))
    }

    /// Makes a sync file of the fences that an access of kind `usage` must wait for.
    pub(crate) fn export(
        &mut self,
        fences: &mut Fences<T>,
        usage: Usage,
        now_ns: u64,
    ) -> Result<SyncFile, Error> {
        let most = self.accesses.len().saturating_add(self.imported.len());
        let mut found = fences.room(most)?;
        let conflicts = self.accesses.iter_mut();
        for access in conflicts.filter(|access| usage.waits_for(access.usage)) {
            let fence = match access.fence {
                Some(fence) => fence,
                None => fences.of_access(access.owner)?,
            };
            access.fence = Some(fence);
            found.push(fence);
        }
        found.extend(self.held_back_by(fences, usage).map(|(fence, _)| fence));
        fences.sync_file_of(found, now_ns)
    }

    /// Adds the pending fences of `list`, which other parties end, so that queues wait for them. Also drops the
    /// imported fences that have ended since an earlier call. An error adds nothing.
    pub(crate) fn import(
        &mut self,
        fences: &mut Fences<T>,
        list: &[FenceId],
        usage: Usage,
    ) -> Result<(), Error> {
        let table = &mut fences.table;
        self.imported.retain(|import| {
            let is_pending = table.pending(import.fence).is_some();
            if !is_pending {
                table.put(import.fence);
            }
            is_pending
        });
        room(&mut self.imported, list.len())?;
        for &fence in list {
            let Some(new) = table.pending(fence) else {
                continue;
            };
            table.hold(fence)?;
            // Replaces an earlier fence of the same context: it ends before the new one, so no waiter needs it.
            let is_replaced = |old: &&mut Import| {
                let of_table = table.get(old.fence);
                let is_earlier = of_table.is_some_and(|old| {
                    old.context == new.context && is_later(new.seqno, old.seqno)
                });
                old.fence == fence || old.usage >= usage && is_earlier
            };
            match self.imported.iter_mut().find(is_replaced) {
                Some(old) => {
                    let usage = old.usage.min(usage);
                    let old = core::mem::replace(old, Import { fence, usage });
                    table.put(old.fence);
                }
                None => self.imported.push(Import { fence, usage }),
            }
        }
        Ok(())
    }

    /// Drops the imported fences, because the memory no longer exists.
    pub(crate) fn forget(&mut self, fences: &mut Fences<T>) {
        for import in self.imported.drain(..) {
            fences.table.put(import.fence);
        }
    }
}

/// Makes room for `more` entries of a list of a reservation.
fn room<E>(list: &mut Vec<E>, more: usize) -> Result<(), Error> {
    let full = Error::table_full(list.len());
    if list.len().saturating_add(more) > Reservation::<()>::LIMIT {
        return Err(full);
    }
    list.try_reserve(more).map_err(|_| full)
}
