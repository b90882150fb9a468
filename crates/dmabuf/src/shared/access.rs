//! Hand-over between CPU and devices: who syncs, and what was left out.

use crate::{Attachment, Backing, Cx, Error, MissingSync, Observer, Shared, Store, SyncKind};
use vb3_dma::{Coherency, Constraint, Direction, DmaOps, Reason, SyncFor};

/// The part of `wanted` that a mapping made for `allowed` takes part in.
#[must_use]
pub const fn intersect(wanted: Direction, allowed: Direction) -> Option<Direction> {
    match (wanted, allowed) {
        (Direction::Bidirectional, other) | (other, Direction::Bidirectional) => Some(other),
        (Direction::ToDevice, Direction::ToDevice) => Some(Direction::ToDevice),
        (Direction::FromDevice, Direction::FromDevice) => Some(Direction::FromDevice),
        (Direction::ToDevice, Direction::FromDevice)
        | (Direction::FromDevice, Direction::ToDevice) => None,
    }
}

/// The direction in which a mapping that does not bounce takes part in a sync. What the CPU wrote
/// leaves its cache whatever the mapping allows: a later sync for the CPU would drop it.
const fn part_of(wanted: Direction, allowed: Direction, sync: SyncFor) -> Option<Direction> {
    match (intersect(wanted, allowed), sync) {
        (None, SyncFor::Device) if wanted.device_reads() => Some(allowed),
        (part, _) => part,
    }
}

/// A device's write that no sync for the CPU has followed.
#[derive(Clone, Copy, Debug)]
struct Wrote<D> {
    device: D,
    at_ns: u64,
    /// A program has had the memory mapped since.
    exposed: bool,
}

/// The state of the CPU's view.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CpuState<D> {
    wrote: Option<Wrote<D>>,
    /// Write accesses begun and not ended.
    open_writes: u32,
}

impl<D> Default for CpuState<D> {
    fn default() -> Self {
        Self {
            wrote: None,
            open_writes: 0,
        }
    }
}

impl<D> CpuState<D> {
    /// A program has mapped the memory.
    pub(crate) fn mapped(&mut self) {
        if let Some(wrote) = self.wrote.as_mut() {
            wrote.exposed = true;
        }
    }

    /// Whether a device wrote what the CPU's view does not show yet.
    pub(crate) const fn has_unread(&self) -> bool {
        self.wrote.is_some()
    }

    /// The CPU's view is what the devices wrote.
    pub(crate) fn synced(&mut self) {
        self.wrote = None;
    }
}

impl<O: DmaOps, L: Store<Attachment<O>>> Shared<O, L> {
    /// Begins an access by the CPU: brings its view up to date for all that devices wrote.
    /// `FromDevice` is a CPU that reads, `ToDevice` one that writes. A CPU that writes keeps the bytes
    /// around those, so it also needs what devices wrote.
    ///
    /// Source: Linux 7.2 `dma_buf_begin_cpu_access` and the system heap's exporter, differs: each
    /// mapping is synced in the part of the direction that it allows, what a device wrote is brought
    /// in also for a CPU that only writes, and a bounced copy that its device did not write to stays.
    pub fn begin_cpu_access<W: Observer<O>>(&mut self, cx: &Cx<'_, O, W>, direction: Direction) {
        if direction.device_reads() {
            self.cpu.open_writes = self.cpu.open_writes.saturating_add(1);
        }
        let direction = match self.cpu.has_unread() {
            true => Direction::Bidirectional,
            false => direction,
        };
        self.sync_all(cx, direction, SyncFor::Cpu, None);
    }

    /// Ends an access by the CPU: makes what it wrote visible to all mapped devices.
    ///
    /// Without a begin before it, it still syncs.
    pub fn end_cpu_access<W: Observer<O>>(&mut self, cx: &Cx<'_, O, W>, direction: Direction) {
        if direction.device_reads() {
            self.cpu.open_writes = self.cpu.open_writes.saturating_sub(1);
        }
        self.sync_all(cx, direction, SyncFor::Device, None);
    }

    /// The owner's device is about to use the memory. With `sync`, does the necessary
    /// maintenance between it and the CPU; returns whether there was any.
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

    /// The owner's device has finished this use of the memory. With `sync`, does the necessary
    /// maintenance; returns whether there was any.
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

    /// The owner's device is about to use memory that it reaches by an attachment (dma-sg:
    /// scattered memory is mapped for the owner's device as for any other). With `sync`, does the
    /// necessary maintenance between it and the CPU; the copy of a bounced mapping is made in any
    /// case. Returns whether there was any work.
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
        self.hand_to_device(cx, key)?;
        let held = self
            .list
            .get(key)
            .and_then(|a| Some((a.dev, a.held.as_ref()?)));
        let Some((dev, held)) = held.filter(|(_, held)| sync && !cx.ops.bounces(&held.mapping))
        else {
            return Ok(false);
        };
        let done = cx.ops.sync(&held.mapping, held.direction, SyncFor::Device);
        if done {
            cx.observer.synced(dev, SyncFor::Device);
        }
        Ok(done)
    }

    /// The owner's device, attached, has finished this use of the memory. With `sync`, updates the
    /// CPU's view; the copy of a bounced mapping is copied back in any case. Returns whether there was
    /// any work.
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
        let held = self
            .list
            .get(key)
            .and_then(|a| Some((a.dev, a.held.as_ref()?)));
        let Some((dev, held)) = held.filter(|(_, held)| sync && !cx.ops.bounces(&held.mapping))
        else {
            return false;
        };
        let done = cx.ops.sync(&held.mapping, held.direction, SyncFor::Cpu);
        if done {
            cx.observer.synced(dev, SyncFor::Cpu);
        }
        if held.direction.device_writes() {
            self.cpu.synced();
        }
        done
    }

    /// Hands the mapping of an attached device to it for one use. The memory stays where it is until
    /// [`take_from_device`](Self::take_from_device) has ended each use.
    ///
    /// Only a bounced mapping needs work: it is copied again from the memory, after an update of
    /// the CPU's view (the CPU copies). See the crate's head for the reason.
    ///
    /// # Errors
    /// `Revoked`; `Invalid` for what is not attached or not mapped; `Busy` (EBUSY) beyond 2^32 - 1
    /// uses; `Dma` (ENXIO) when the copy could not be made.
    pub fn hand_to_device<W: Observer<O>>(
        &mut self,
        cx: &Cx<'_, O, W>,
        key: L::Key,
    ) -> Result<(), Error> {
        if self.revoked {
            return Err(Error::Revoked);
        }
        let attachment = self.list.get_mut(key).ok_or(Error::Invalid)?;
        let held = attachment.held.as_ref().ok_or(Error::Invalid)?;
        let (dev, direction) = (attachment.dev, held.direction);
        attachment.active = attachment.active.checked_add(1).ok_or(Error::Busy)?;
        if !cx.ops.bounces(&held.mapping) {
            self.report_unread(cx);
            self.report_unwritten(cx, dev, direction);
            return Ok(());
        }
        if self.cpu.wrote.is_some() {
            self.sync_all(cx, Direction::FromDevice, SyncFor::Cpu, Some(key));
        }
        let Some(held) = self.list.get_mut(key).and_then(|a| a.held.as_mut()) else {
            return Err(Error::Invalid);
        };
        held.maybe_written = direction.device_writes();
        if cx.ops.sync(&held.mapping, direction, SyncFor::Device) {
            cx.observer.synced(dev, SyncFor::Device);
        } else if direction.device_reads() {
            // A copy is always due there: the device would read what was in the slots before.
            if let Some(attachment) = self.list.get_mut(key) {
                attachment.active = attachment.active.saturating_sub(1);
            }
            let len_bytes = self.spec.len_bytes;
            return Err(Error::Dma(vb3_dma::Error::NoSuchMemory(Reason {
                constraint: Constraint::BouncePool,
                wanted: len_bytes,
                found: 0,
            })));
        }
        Ok(())
    }

    /// Ends one use of a mapping by its device.
    ///
    /// Copies what the device wrote to a bounced copy to the memory, then to the other devices. The
    /// CPU's view of what the device wrote to the memory itself stays old until
    /// [`begin_cpu_access`](Self::begin_cpu_access).
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

    /// Records that a device wrote to the memory and no sync for the CPU has followed.
    fn note_write<W: Observer<O>>(&mut self, cx: &Cx<'_, O, W>, device: O::Device) {
        if !self.is_cached(cx.ops) || cx.ops.coherency(device) == Coherency::Coherent {
            return;
        }
        self.cpu.wrote = Some(Wrote {
            device,
            at_ns: cx.now_ns,
            exposed: self.user_count(crate::UserKind::Mapping).count > 0,
        });
    }

    /// Syncs between the CPU and the device the memory was made for.
    fn sync_own<W: Observer<O>>(
        &mut self,
        cx: &Cx<'_, O, W>,
        direction: Direction,
        sync: SyncFor,
    ) -> bool {
        let Backing::NonCoherent(dev) = self.spec.backing else {
            return false;
        };
        let Some(part) = part_of(direction, self.spec.direction, sync) else {
            return false;
        };
        let done = cx.ops.sync_alloc(&self.alloc, part, sync);
        if done {
            cx.observer.synced(dev, sync);
        }
        if sync == SyncFor::Cpu && part.device_writes() {
            self.cpu.synced();
        }
        done
    }

    /// Syncs one kind of mapping (bounced or not) of all attachments but `except`.
    fn sync_attached<W: Observer<O>>(
        &mut self,
        cx: &Cx<'_, O, W>,
        direction: Direction,
        sync: SyncFor,
        except: Option<L::Key>,
        bounced: bool,
    ) {
        let mut at = self.list.next(None);
        while let Some(key) = at {
            at = self.list.next(Some(key));
            if except == Some(key) {
                continue;
            }
            let Some(attachment) = self.list.get_mut(key) else {
                continue;
            };
            let Some(held) = attachment.held.as_mut() else {
                continue;
            };
            let part = match bounced {
                true => intersect(direction, held.direction),
                false => part_of(direction, held.direction, sync),
            };
            let Some(part) = part.filter(|_| cx.ops.bounces(&held.mapping) == bounced) else {
                continue;
            };
            if bounced && sync == SyncFor::Cpu && !held.maybe_written {
                continue;
            }
            if cx.ops.sync(&held.mapping, part, sync) {
                cx.observer.synced(attachment.dev, sync);
            }
        }
    }

    /// Syncs all mappings but that of `except`, and brings the CPU's view up to date where it is
    /// for the CPU. Bounced bytes are copied last: invalidating after it would undo the copy.
    pub(crate) fn sync_all<W: Observer<O>>(
        &mut self,
        cx: &Cx<'_, O, W>,
        direction: Direction,
        sync: SyncFor,
        except: Option<L::Key>,
    ) {
        self.sync_own(cx, direction, sync);
        for bounced in [false, true] {
            self.sync_attached(cx, direction, sync, except, bounced);
        }
        if sync == SyncFor::Cpu && direction.device_writes() {
            self.cpu.synced();
        }
    }

    /// The syncs for the CPU that are missing now: a device wrote, a program has the memory
    /// mapped or had it since, and nothing brought the CPU's view up to date.
    pub fn missing_sync(&self) -> Option<MissingSync<O::Device>> {
        let wrote = self.cpu.wrote?;
        wrote.exposed.then_some(MissingSync {
            tag: self.tag,
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
        if let Some(wrote) = self.cpu.wrote.as_mut() {
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

    /// Reports a missing sync for the device that is about to read.
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
        // After a device's write, differing bytes may all be the device's.
        let by_cpu = self.cpu.wrote.is_none() && stale_bytes.is_some_and(|bytes| bytes > 0);
        if stale_bytes != Some(0) && (by_cpu || self.cpu.open_writes > 0) {
            cx.observer.missing_sync(MissingSync {
                tag: self.tag,
                sync: SyncKind::EndWrite,
                device,
                at_ns: cx.now_ns,
                stale_bytes,
            });
        }
    }
}
