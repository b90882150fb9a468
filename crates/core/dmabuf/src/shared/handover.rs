//! Passes memory between CPU and devices, for hosts that announce each use. Syncs, and reports missing syncs.

use super::state::Wrote;
use crate::{Attachment, Backing, Cx, Error, Observer, Shared, Store, UserKind};
use vb3_dma::{Caching, Coherency, Direction, DmaOps, SyncFor};

impl<O: DmaOps, L: Store<Attachment<O>>> Shared<O, L> {
    /// Makes the CPU's writes visible to all mapped devices, so that the next
    /// [`begin_cpu_access`](Self::begin_cpu_access) does not drop them.
    ///
    /// # Errors
    /// As [`end_cpu_access`](Self::end_cpu_access).
    ///
    /// # Context
    /// Does not sleep.
    pub fn write_back<W: Observer<O>>(&mut self, cx: &Cx<'_, O, W>) -> Result<(), Error> {
        self.sync_all(cx, Direction::ToDevice, SyncFor::Device, None)
    }

    /// Begins a use by the device that the memory was allocated for, without an attachment. With `sync`, does
    /// the necessary maintenance between that device and the CPU.
    ///
    /// # Context
    /// Does not sleep.
    pub fn owner_to_device<W: Observer<O>>(&mut self, cx: &Cx<'_, O, W>, sync: bool) {
        self.report_unread(cx);
        let Backing::NonCoherent(dev) = self.spec.backing else {
            return;
        };
        if sync {
            self.sync_own(cx, self.spec.direction, SyncFor::Device);
        } else {
            self.report_unwritten(cx, dev, self.spec.direction);
        }
    }

    /// Ends a use by the device that the memory was allocated for. With `sync`, updates the CPU's view.
    ///
    /// # Context
    /// Does not sleep.
    pub fn owner_from_device<W: Observer<O>>(&mut self, cx: &Cx<'_, O, W>, sync: bool) {
        let Backing::NonCoherent(dev) = self.spec.backing else {
            return;
        };
        if self.spec.direction.device_writes() {
            self.note_write(cx, dev);
        }
        if sync {
            self.sync_own(cx, self.spec.direction, SyncFor::Cpu);
        }
    }

    /// Syncs an attachment's mapping with the CPU. Returns whether that took maintenance or a copy.
    fn sync_mapping<W: Observer<O>>(
        &self,
        cx: &Cx<'_, O, W>,
        key: L::Key,
        sync: SyncFor,
    ) -> Result<bool, Error> {
        let Some((dev, held)) = self.held(key) else {
            return Ok(false);
        };
        let done = cx.ops.sync(&held.mapping, held.direction, sync)?;
        if done {
            cx.observer.synced(dev, sync);
        }
        Ok(done)
    }

    /// Begins one use of a mapping by its attached device. The memory is pinned until
    /// [`take_from_device`](Self::take_from_device) has ended each use.
    ///
    /// A bounced mapping always needs work: the CPU's view is updated, and if the device reads, the CPU copies
    /// the memory to the bounce slots again. A mapping that does not bounce is synced only if `sync` is true.
    /// dma-sg needs this for the device that the memory was allocated for. For other devices, the crate's
    /// documentation says why no sync is made.
    ///
    /// # Errors
    /// `Revoked`; `Invalid` for a device that is not attached or not mapped; `Busy` (EBUSY) beyond 2^32 - 1
    /// uses; `Dma` with the error of a bounce copy that could not be made.
    ///
    /// # Context
    /// Does not sleep.
    pub fn hand_to_device<W: Observer<O>>(
        &mut self,
        cx: &Cx<'_, O, W>,
        key: L::Key,
        sync: bool,
    ) -> Result<(), Error> {
        self.state.check_revoked()?;
        let (dev, held) = self.held(key).ok_or(Error::Invalid)?;
        let direction = held.direction;
        if cx.ops.bounces(&held.mapping) {
            if self.state.wrote.is_some() {
                self.sync_all(cx, Direction::FromDevice, SyncFor::Cpu, Some(key))?;
            }
            // Without the copy, the device would read the slots' previous content.
            self.sync_mapping(cx, key, SyncFor::Device)?;
        } else {
            self.report_unread(cx);
            if sync {
                self.sync_mapping(cx, key, SyncFor::Device)?;
            } else {
                self.report_unwritten(cx, dev, direction);
            }
        }
        let attachment = self.list.get_mut(key).ok_or(Error::Invalid)?;
        attachment.active = attachment.active.checked_add(1).ok_or(Error::Busy)?;
        if let Some(held) = attachment.held.as_mut() {
            held.maybe_written = direction.device_writes();
        }
        Ok(())
    }

    /// Ends one use of a mapping by its device.
    ///
    /// Copies a bounced mapping back to the memory, then syncs the memory for the other devices. If the
    /// device wrote directly, `sync` updates the CPU's view; without it, the view stays old until
    /// [`begin_cpu_access`](Self::begin_cpu_access).
    ///
    /// # Errors
    /// `Dma` with the host's errno, such as EFAULT: the device's bytes could not be copied to the memory. The use has
    /// ended.
    ///
    /// # Context
    /// Does not sleep.
    pub fn take_from_device<W: Observer<O>>(
        &mut self,
        cx: &Cx<'_, O, W>,
        key: L::Key,
        sync: bool,
    ) -> Result<(), Error> {
        let Some(attachment) = self.list.get_mut(key) else {
            return Ok(());
        };
        let dev = attachment.dev;
        attachment.active = attachment.active.saturating_sub(1);
        let still_used = attachment.active > 0;
        let held = attachment.held.as_mut();
        let Some(held) = held.filter(|held| held.direction.device_writes()) else {
            return Ok(());
        };
        if cx.ops.bounces(&held.mapping) {
            held.maybe_written = still_used;
            self.sync_mapping(cx, key, SyncFor::Cpu)?;
            // If a copy for another device fails, that device's next use repeats the copy or reports the error.
            let _ = self.sync_all(cx, Direction::ToDevice, SyncFor::Device, Some(key));
        } else {
            self.note_write(cx, dev);
            if sync && self.sync_mapping(cx, key, SyncFor::Cpu)? {
                self.state.synced();
            }
        }
        Ok(())
    }

    /// Returns whether the CPU's view of the memory can differ from the view of `device`.
    fn needs_syncs(&self, ops: &O, device: O::Device) -> bool {
        ops.alloc_caching(&self.memory) == Caching::Cached
            && ops.coherency(device) == Coherency::NonCoherent
    }

    /// Records that a device wrote to the memory and no sync for the CPU has followed.
    fn note_write<W: Observer<O>>(&mut self, cx: &Cx<'_, O, W>, device: O::Device) {
        if self.needs_syncs(cx.ops, device) {
            self.state.wrote = Some(Wrote {
                device,
                exposed: self.users(UserKind::Mapping) > 0,
            });
        }
    }

    /// Reports a missing sync for the CPU if, since a device's last write, a program had the memory mapped and no
    /// sync updated the CPU's view. Reports each write once.
    pub(crate) fn report_unread<W: Observer<O>>(&mut self, cx: &Cx<'_, O, W>) {
        let Some(wrote) = self.state.wrote.as_mut().filter(|wrote| wrote.exposed) else {
            return;
        };
        wrote.exposed = false;
        let stale_bytes = cx.observer.stale_bytes(cx.ops, &self.memory);
        if stale_bytes != Some(0) {
            let (device, tag) = (wrote.device, self.state.tag);
            (cx.observer).missing_sync(device, tag, SyncFor::Cpu, stale_bytes);
        }
    }

    /// Reports a missing sync for the device `device`, which is about to read.
    fn report_unwritten<W: Observer<O>>(
        &mut self,
        cx: &Cx<'_, O, W>,
        device: O::Device,
        direction: Direction,
    ) {
        if !direction.device_reads() || !self.needs_syncs(cx.ops, device) {
            return;
        }
        let stale_bytes = cx.observer.stale_bytes(cx.ops, &self.memory);
        // If a device wrote before, its write may explain all differences.
        let by_cpu = self.state.wrote.is_none() && stale_bytes.is_some_and(|bytes| bytes > 0);
        if stale_bytes != Some(0) && (by_cpu || self.state.open_writes > 0) {
            let (observer, tag) = (cx.observer, self.state.tag);
            observer.missing_sync(device, tag, SyncFor::Device, stale_bytes);
        }
    }
}
