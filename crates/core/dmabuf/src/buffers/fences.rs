//! The fences of the registry's memories.

use super::{Buffers, Registered};
use crate::fence::{ECANCELED, FenceId, Fences, Owner, Reservation, SyncFile, Usage};
use crate::{Error, MemoryId, Observer};
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use vb3_dma::{DmaOps, Locks};

impl<O: DmaOps, W: Observer<O>, L: Locks> Buffers<O, W, L> {
    /// Locks the fences of all sync files and timelines, and calls `act` with them and with the time.
    pub fn with_fences<R>(&self, act: impl FnOnce(&mut Fences<Owner<O::Device>>, u64) -> R) -> R {
        let now_ns = self.now_ns.load(Relaxed);
        L::with(&self.fences, |fences| act(fences, now_ns))
    }

    /// Returns two counts: the fences that have begun, and the fences that have ended. Each access of a device counts
    /// as one fence, even if no program asks for its fence. A fence ends when its work ends, with or without an error,
    /// or when its last reference is lost. The counts are equal when no fence is pending. A waiter checks its fences
    /// again when the counts have changed.
    #[must_use]
    pub fn fence_counts(&self) -> (u64, u64) {
        let (begun, ended) = self.with_fences(|fences, _| fences.counts());
        let (accesses, plain) = &self.accesses;
        let sum = |a: u64, b: u64| a.saturating_add(b);
        (
            sum(begun, accesses.load(Acquire)),
            sum(ended, plain.load(Acquire)),
        )
    }

    /// Begins an access by a device, and returns the access's number for [`end_access`](Self::end_access). Locks only
    /// the memory. If the device did not wait for accesses of other devices, reports an [early
    /// access](Observer::early_access) for each.
    ///
    /// # Errors
    /// `Invalid` (EINVAL) for a memory that does not exist, `TableFull` (ENOMEM): the access continues without a fence.
    pub fn begin_access(
        &self,
        memory: MemoryId,
        by: Owner<O::Device>,
        usage: Usage,
    ) -> Result<u64, Error> {
        self.with_reservation(memory, |reservation| {
            self.report_early(memory, (by, usage), reservation);
            // A host never begins 2^64 accesses.
            reservation.begin(by, usage, || self.accesses.0.fetch_add(1, Release))
        })
        .unwrap_or(Err(Error::Invalid))
    }

    /// Ends an access with success, or with an errno. Does nothing if the access has ended before, because the
    /// memory was revoked.
    pub fn end_access(&self, memory: MemoryId, access: u64, outcome: Result<(), i32>) {
        self.with_reservation(memory, |reservation| {
            if let Some(fence) = reservation.end(access) {
                self.count_ended(fence, outcome);
            }
        });
    }

    /// Reports an access by a program as [early](Observer::early_access) for each device that uses the memory now and
    /// with which the access conflicts.
    pub fn note_access(&self, memory: MemoryId, by: Owner<O::Device>, usage: Usage) {
        self.with_reservation(memory, |reservation| {
            self.report_early(memory, (by, usage), reservation);
        });
    }

    fn report_early(
        &self,
        memory: MemoryId,
        by: (Owner<O::Device>, Usage),
        reservation: &Reservation<Owner<O::Device>>,
    ) {
        for during in reservation.conflicts(by.1) {
            self.observer.early_access(memory, by, during);
        }
    }

    /// Ends the fence of an access, or counts an access without a fence.
    pub(super) fn count_ended(&self, fence: Option<FenceId>, outcome: Result<(), i32>) {
        match fence {
            Some(fence) => {
                self.with_fences(|fences, now_ns| fences.end_access(fence, outcome, now_ns));
            }
            None => {
                self.accesses.1.fetch_add(1, Release);
            }
        }
    }

    /// Returns whether an access of kind `usage` conflicts with any access of a device or any pending imported fence.
    pub fn is_busy(&self, memory: MemoryId, usage: Usage) -> bool {
        let is_accessed = |reservation: &mut Reservation<_>| {
            reservation.conflicts(usage).next().is_some() || self.is_waiting(reservation, usage)
        };
        self.with_reservation(memory, is_accessed).unwrap_or(false)
    }

    /// Returns whether a device's access must wait for fences that a program imported. Takes no lock unless there are
    /// such fences, of any memory.
    pub fn is_held_back(&self, memory: MemoryId, usage: Usage) -> bool {
        let is_waiting = |reservation: &mut Reservation<_>| self.is_waiting(reservation, usage);
        self.imported_fences.load(Acquire) > 0
            && self.with_reservation(memory, is_waiting).unwrap_or(false)
    }

    fn is_waiting(&self, reservation: &Reservation<Owner<O::Device>>, usage: Usage) -> bool {
        reservation.imported() > 0
            && self.with_fences(|fences, _| {
                let mut pending = reservation.held_back_by(fences, usage);
                pending.next().is_some()
            })
    }

    /// Returns whether any imported fence is pending.
    pub fn has_imports(&self) -> bool {
        let is_waiting = |id| self.is_held_back(id, Usage::Write);
        self.imported_fences.load(Acquire) > 0 && self.memories().any(is_waiting)
    }

    /// Calls `each` with the pending imported fences that an access of kind `usage` must wait for, and with their
    /// owners. `each` must not call the registry, because the memory and all fences are locked while `each` runs.
    pub fn held_back_by(
        &self,
        memory: MemoryId,
        usage: Usage,
        mut each: impl FnMut(FenceId, Owner<O::Device>),
    ) {
        self.with_both(memory, |reservation, fences, _| {
            let pending = reservation.held_back_by(fences, usage);
            pending.for_each(|(fence, owner)| each(fence, owner));
        });
    }

    /// Calls `each` with the parties that must end the memory's pending fences. `each` must not call the registry,
    /// because the memory and all fences are locked while `each` runs.
    pub fn fence_owners(&self, memory: MemoryId, each: impl FnMut(Owner<O::Device>)) {
        self.with_both(memory, |reservation, fences, _| {
            reservation.owners(fences).for_each(each);
        });
    }

    /// Makes a sync file of the fences that an access of kind `usage` to a memory must wait for now
    /// (`DMA_BUF_IOCTL_EXPORT_SYNC_FILE`).
    ///
    /// # Errors
    /// `Invalid` (EINVAL) for a memory that does not exist, `TableFull` (ENOMEM).
    pub fn export_fences(&self, memory: MemoryId, usage: Usage) -> Result<SyncFile, Error> {
        self.with_both(memory, |reservation, fences, now_ns| {
            reservation.export(fences, usage, now_ns)
        })
        .unwrap_or(Err(Error::Invalid))
    }

    /// Adds fences of other parties, such as those of a sync file, to a memory's fences, so that queues wait
    /// for them (`DMA_BUF_IOCTL_IMPORT_SYNC_FILE`). Fences that have ended are left out.
    ///
    /// # Errors
    /// `Invalid` (EINVAL) for a memory that does not exist, `TableFull` (ENOMEM): nothing has been added.
    pub fn import_fences(
        &self,
        memory: MemoryId,
        list: &[FenceId],
        usage: Usage,
    ) -> Result<(), Error> {
        self.with_both(memory, |reservation, fences, _| {
            let before = reservation.imported();
            let imported = reservation.import(fences, list, usage);
            self.imported_fences
                .fetch_add(reservation.imported().wrapping_sub(before), Release);
            imported
        })
        .unwrap_or(Err(Error::Invalid))
    }

    /// Ends the accesses to a memory that was freed, and forgets its imported fences.
    pub(super) fn end_fences(&self, reservation: &mut Reservation<Owner<O::Device>>) {
        for fence in reservation.end_all() {
            self.count_ended(fence, Err(ECANCELED));
        }
        if reservation.imported() > 0 {
            self.imported_fences
                .fetch_sub(reservation.imported(), Release);
            self.with_fences(|fences, _| reservation.forget(fences));
        }
    }

    fn with_reservation<R>(
        &self,
        memory: MemoryId,
        act: impl FnOnce(&mut Reservation<Owner<O::Device>>) -> R,
    ) -> Option<R> {
        let act = |entry: &mut Registered<O>| act(&mut entry.reservation);
        self.memories.with(memory.0, act)
    }

    fn with_both<R>(
        &self,
        memory: MemoryId,
        act: impl FnOnce(&mut Reservation<Owner<O::Device>>, &mut Fences<Owner<O::Device>>, u64) -> R,
    ) -> Option<R> {
        self.with_reservation(memory, |reservation| {
            self.with_fences(|fences, now_ns| act(reservation, fences, now_ns))
        })
    }
}
