//! Passes memory between CPU and devices, for hosts that announce each use. Syncs, and reports missing syncs.

use super::state::Wrote;
use crate::{
    Attachment, Backing, Cx, Error, MissingSync, Observer, Shared, Store, SyncKind, UserKind,
};
use vb3_dma::{Caching, Coherency, Constraint, Direction, DmaOps, Reason, SyncFor};

impl<O: DmaOps, L: Store<Attachment<O>>> Shared<O, L> {
    /// Makes the CPU's writes visible to all mapped devices, so that the next
    /// [`begin_cpu_access`](Self::begin_cpu_access) does not drop them.
    ///
    /// # Context
    /// Does not sleep.
    pub fn write_back<W: Observer<O>>(&mut self, cx: &Cx<'_, O, W>) {
        self.sync_all(cx, Direction::ToDevice, SyncFor::Device, None);
    }

    /// Begins a use by the owner's device. With `sync`, does the necessary maintenance between that device
    /// and the CPU. Returns whether maintenance was done.
    ///
    /// # Context
    /// Does not sleep.
    pub fn owner_to_device<W: Observer<O>>(&mut self, cx: &Cx<'_, O, W>, sync: bool) -> bool {
        let Backing::NonCoherent(dev) = self.spec.backing else {
            self.report_unread(cx);
            return false;
        };
        self.report_unread(cx);
        if !sync {
            self.report_unwritten(cx, dev, self.spec.direction);
            return false;
        }
        self.sync_own(cx, self.spec.direction, SyncFor::Device)
    }

    /// Ends a use by the owner's device. With `sync`, does the necessary maintenance. Returns whether
    /// maintenance was done.
    ///
    /// # Context
    /// Does not sleep.
    pub fn owner_from_device<W: Observer<O>>(&mut self, cx: &Cx<'_, O, W>, sync: bool) -> bool {
        let Backing::NonCoherent(dev) = self.spec.backing else {
            return false;
        };
        if self.spec.direction.device_writes() {
            self.note_write(cx, dev);
        }
        sync && self.sync_own(cx, self.spec.direction, SyncFor::Cpu)
    }

    /// Begins a use by the owner's device through an attachment, as dma-sg needs it for scattered memory.
    /// With `sync`, does the necessary maintenance between that device and the CPU. A bounced mapping is
    /// copied in any case. Returns whether maintenance was done.
    ///
    /// # Errors
    /// As [`hand_to_device`](Self::hand_to_device).
    ///
    /// # Context
    /// Does not sleep.
    pub fn attached_owner_to_device<W: Observer<O>>(
        &mut self,
        cx: &Cx<'_, O, W>,
        key: L::Key,
        sync: bool,
    ) -> Result<bool, Error> {
        self.hand(cx, key, sync)?;
        Ok(sync && self.sync_direct(cx, key, SyncFor::Device).is_some())
    }

    /// Ends a use by the owner's device through an attachment. With `sync`, updates the CPU's view. A bounced
    /// mapping is copied back in any case. Returns whether maintenance was done.
    ///
    /// # Context
    /// Does not sleep.
    pub fn attached_owner_from_device<W: Observer<O>>(
        &mut self,
        cx: &Cx<'_, O, W>,
        key: L::Key,
        sync: bool,
    ) -> bool {
        self.take_from_device(cx, key);
        let synced = if sync {
            self.sync_direct(cx, key, SyncFor::Cpu)
        } else {
            None
        };
        if synced.is_some_and(Direction::device_writes) {
            self.state.synced();
        }
        synced.is_some()
    }

    /// Syncs an attachment's mapping unless it bounces. Returns the mapping's direction if maintenance was done.
    fn sync_direct<W: Observer<O>>(
        &self,
        cx: &Cx<'_, O, W>,
        key: L::Key,
        sync: SyncFor,
    ) -> Option<Direction> {
        let (dev, held) = self.held(key)?;
        if cx.ops.bounces(&held.mapping) || !cx.ops.sync(&held.mapping, held.direction, sync) {
            return None;
        }
        cx.observer.synced(dev, sync);
        Some(held.direction)
    }

    /// Begins one use of a mapping by its attached device. The memory is pinned until
    /// [`take_from_device`](Self::take_from_device) has ended each use.
    ///
    /// Only a bounced mapping needs work: the CPU's view is updated, and if the device reads, the CPU copies
    /// the memory to the bounce slots again. The crate's documentation gives the reason.
    ///
    /// # Errors
    /// `Revoked`; `Invalid` for a device that is not attached or not mapped; `Busy` (EBUSY) beyond 2^32 - 1
    /// uses; `Dma` (ENXIO) when the copy could not be made.
    pub fn hand_to_device<W: Observer<O>>(
        &mut self,
        cx: &Cx<'_, O, W>,
        key: L::Key,
    ) -> Result<(), Error> {
        self.hand(cx, key, false)
    }

    /// As [`hand_to_device`](Self::hand_to_device). A sync for the device that follows is not reported as
    /// missing.
    fn hand<W: Observer<O>>(
        &mut self,
        cx: &Cx<'_, O, W>,
        key: L::Key,
        sync_follows: bool,
    ) -> Result<(), Error> {
        if self.state.revoked {
            return Err(Error::Revoked);
        }
        let attachment = self.list.get_mut(key).ok_or(Error::Invalid)?;
        let held = attachment.held.as_ref().ok_or(Error::Invalid)?;
        let (dev, direction) = (attachment.dev, held.direction);
        attachment.active = attachment.active.checked_add(1).ok_or(Error::Busy)?;
        if !cx.ops.bounces(&held.mapping) {
            self.report_unread(cx);
            if !sync_follows {
                self.report_unwritten(cx, dev, direction);
            }
            return Ok(());
        }
        if self.state.wrote.is_some() {
            self.sync_all(cx, Direction::FromDevice, SyncFor::Cpu, Some(key));
        }
        let Some(held) = self.list.get_mut(key).and_then(|a| a.held.as_mut()) else {
            return Err(Error::Invalid);
        };
        let copied = cx.ops.sync(&held.mapping, direction, SyncFor::Device);
        if !copied && direction.device_reads() {
            // Without the copy, the device would read the slots' previous content.
            if let Some(attachment) = self.list.get_mut(key) {
                attachment.active = attachment.active.saturating_sub(1);
            }
            let len_bytes = self.spec.len_bytes;
            return Err(Error::Dma(vb3_dma::Error::NoSuchMemory(Reason::new(
                Constraint::BouncePool,
                len_bytes,
                0,
            ))));
        }
        held.maybe_written = direction.device_writes();
        if copied {
            cx.observer.synced(dev, SyncFor::Device);
        }
        Ok(())
    }

    /// Ends one use of a mapping by its device.
    ///
    /// Copies a bounced mapping back to the memory, then syncs the memory for the other devices. If the
    /// device wrote directly, the CPU's view stays old until [`begin_cpu_access`](Self::begin_cpu_access).
    pub fn take_from_device<W: Observer<O>>(&mut self, cx: &Cx<'_, O, W>, key: L::Key) {
        let Some(attachment) = self.list.get_mut(key) else {
            return;
        };
        let dev = attachment.dev;
        attachment.active = attachment.active.saturating_sub(1);
        let still_used = attachment.active > 0;
        let Some(held) = attachment.held.as_mut() else {
            return;
        };
        let direction = held.direction;
        if !direction.device_writes() {
            return;
        }
        if !cx.ops.bounces(&held.mapping) {
            self.note_write(cx, dev);
            return;
        }
        held.maybe_written = still_used;
        if cx.ops.sync(&held.mapping, direction, SyncFor::Cpu) {
            cx.observer.synced(dev, SyncFor::Cpu);
        }
        self.sync_all(cx, Direction::ToDevice, SyncFor::Device, Some(key));
    }

    /// Whether the CPU accesses this memory through caches.
    pub(crate) fn is_cached(&self, ops: &O) -> bool {
        ops.alloc_caching(&self.alloc) == Caching::Cached
    }

    /// Records that a device wrote to the memory and no sync for the CPU has followed.
    fn note_write<W: Observer<O>>(&mut self, cx: &Cx<'_, O, W>, device: O::Device) {
        if !self.is_cached(cx.ops) || cx.ops.coherency(device) == Coherency::Coherent {
            return;
        }
        self.state.wrote = Some(Wrote {
            device,
            at_ns: cx.now_ns,
            exposed: self.state.users(UserKind::Mapping).count > 0,
        });
    }

    /// Returns the sync for the CPU that is missing now, if any: since a device wrote, a program had the
    /// memory mapped, and no sync updated the CPU's view.
    pub fn missing_sync(&self) -> Option<MissingSync<O::Device>> {
        let wrote = self.state.wrote?;
        wrote.exposed.then_some(MissingSync {
            tag: self.state.tag,
            sync: SyncKind::BeginRead,
            device: wrote.device,
            at_ns: wrote.at_ns,
            stale_bytes: None,
        })
    }

    /// Reports a missing sync for the CPU, once for each write of a device.
    pub(crate) fn report_unread<W: Observer<O>>(&mut self, cx: &Cx<'_, O, W>) {
        let Some(fact) = self.missing_sync() else {
            return;
        };
        if let Some(wrote) = self.state.wrote.as_mut() {
            wrote.exposed = false;
        }
        let stale_bytes = cx.observer.stale_bytes(cx.ops, &self.alloc);
        if stale_bytes != Some(0) {
            cx.observer.missing_sync(MissingSync {
                stale_bytes,
                ..fact
            });
        }
    }

    /// Reports a missing sync for the device `device`, which is about to read.
    fn report_unwritten<W: Observer<O>>(
        &mut self,
        cx: &Cx<'_, O, W>,
        device: O::Device,
        direction: Direction,
    ) {
        let sees_caches = cx.ops.coherency(device) == Coherency::Coherent;
        if !direction.device_reads() || sees_caches || !self.is_cached(cx.ops) {
            return;
        }
        let stale_bytes = cx.observer.stale_bytes(cx.ops, &self.alloc);
        // If a device wrote before, its write may explain all differences.
        let by_cpu = self.state.wrote.is_none() && stale_bytes.is_some_and(|bytes| bytes > 0);
        if stale_bytes != Some(0) && (by_cpu || self.state.open_writes > 0) {
            cx.observer.missing_sync(MissingSync {
                tag: self.state.tag,
                sync: SyncKind::EndWrite,
                device,
                at_ns: cx.now_ns,
                stale_bytes,
            });
        }
    }
}
