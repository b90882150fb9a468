//! Devices attached to shared memory.

use crate::{Cx, Error, Observer, Shared, Store};
use vb3_dma::{Attrs, Coherency, Direction, DmaOps, DmaSegment, SyncFor};

/// A mapping of shared memory for one device.
#[derive(Debug)]
pub(crate) struct HeldMapping<M> {
    pub(crate) mapping: M,
    pub(crate) direction: Direction,
    pub(crate) maps: u32,
    /// The device may have written to the bounced copy since the last copy back.
    pub(crate) maybe_written: bool,
}

/// A device attached to shared memory.
#[derive(Debug)]
pub struct Attachment<O: DmaOps> {
    pub(crate) dev: O::Device,
    pub(crate) since_ns: u64,
    pub(crate) held: Option<HeldMapping<O::Mapping>>,
    /// Whether the device follows moves ([`Shared::attach_dynamic`]).
    pub(crate) is_dynamic: bool,
    /// Uses by the device that have not ended.
    pub(crate) active: u32,
    /// Set if imports made this attachment. All planes that import the same dma-buf for the same device and the same
    /// direction share it.
    #[cfg(feature = "alloc")]
    pub(crate) import: Option<super::imports::Import>,
}

impl<O: DmaOps> Attachment<O> {
    /// Returns the device.
    pub fn device(&self) -> O::Device {
        self.dev
    }

    /// Returns the direction of the mapping; `None` while the device is not mapped.
    pub fn direction(&self) -> Option<Direction> {
        self.held.as_ref().map(|held| held.direction)
    }

    /// Returns when the device was attached, by the host's clock.
    pub fn since_ns(&self) -> u64 {
        self.since_ns
    }
}

impl<O: DmaOps, L: Store<Attachment<O>>> Shared<O, L> {
    /// Describes the memory to the DMA layer, so that no later call fails for lack of a scatter table
    /// ([`DmaOps::describe`]). Exception: memory that has no place yet cannot be described. `place` describes it
    /// later. If that fails, so may the next [`map`](Self::map), which tries again.
    ///
    /// # Errors
    /// `Revoked` (ENODEV); `Quarantined` (EIO); `NoMemory` (ENOMEM) or `NoSuchMemory` (ENXIO) from
    /// the DMA layer.
    pub fn prepare_export<W: Observer<O>>(&mut self, cx: &Cx<'_, O, W>) -> Result<(), Error> {
        self.check_usable()?;
        if self.state.is_placed() {
            cx.ops.describe(&mut self.memory)?;
        }
        Ok(())
    }

    /// Attaches a device without mapping the memory. The device may access the memory at any time from the map to the
    /// unmap, and the memory is pinned meanwhile.
    ///
    /// # Errors
    /// `Revoked`; `Quarantined`; `TableFull` (ENOMEM) when the host's list is full; the DMA layer's error if
    /// it cannot describe the memory.
    pub fn attach<W: Observer<O>>(
        &mut self,
        cx: &Cx<'_, O, W>,
        dev: O::Device,
    ) -> Result<L::Key, Error> {
        self.insert(cx, dev, false)
    }

    /// Attaches a device that *follows moves*: the memory may move while the device has it mapped. The move removes the
    /// mapping, and the device must be mapped again.
    ///
    /// The device may access the memory from each [`hand_to_device`](Self::hand_to_device) to its
    /// [`take_from_device`](Self::take_from_device), and the memory is pinned only during each use. Before a use, the
    /// caller checks whether the device is still mapped, and maps it again if not.
    ///
    /// # Errors
    /// As [`attach`](Self::attach).
    ///
    /// Source: Linux 7.2 `dma_buf_dynamic_attach`, differs: there is no `move_notify`. The importer finds before its
    /// next use that its mapping is gone.
    #[cfg(feature = "managed")]
    pub fn attach_dynamic<W: Observer<O>>(
        &mut self,
        cx: &Cx<'_, O, W>,
        dev: O::Device,
    ) -> Result<L::Key, Error> {
        self.insert(cx, dev, true)
    }

    fn insert<W: Observer<O>>(
        &mut self,
        cx: &Cx<'_, O, W>,
        dev: O::Device,
        is_dynamic: bool,
    ) -> Result<L::Key, Error> {
        self.prepare_export(cx)?;
        self.state.attached();
        let attachment = Attachment {
            dev,
            since_ns: cx.now_ns,
            held: None,
            is_dynamic,
            active: 0,
            #[cfg(feature = "alloc")]
            import: None,
        };
        let inserted = self.list.insert(attachment);
        inserted.map_err(|_refused| Error::table_full(self.list.len()))
    }

    /// Maps the memory for an attached device, with the necessary cache maintenance and copies. Each map
    /// needs its own [`unmap`](Self::unmap).
    ///
    /// A second map shares the first one's mapping if that allows the direction. It never replaces the
    /// mapping, because the first caller may be using its addresses.
    ///
    /// # Errors
    /// `Busy` (EBUSY) while mapped in a direction that excludes `direction`; `Revoked`; `Quarantined` (EIO)
    /// after an unmap failed, unless the device still has a mapping; `Invalid` for a device that is not
    /// attached; `Unplaced` for memory that has no place yet; the DMA layer's errors.
    pub fn map<W: Observer<O>>(
        &mut self,
        cx: &Cx<'_, O, W>,
        key: L::Key,
        direction: Direction,
    ) -> Result<(), Error> {
        self.state.check_revoked()?;
        if !self.state.is_placed() {
            return Err(Error::Unplaced);
        }
        let attachment = self.list.get_mut(key).ok_or(Error::Invalid)?;
        if let Some(held) = attachment.held.as_mut() {
            if held.direction != direction && held.direction != Direction::Bidirectional {
                return Err(Error::Busy);
            }
            held.maps = held.maps.checked_add(1).ok_or(Error::Busy)?;
            return Ok(());
        }
        let dev = attachment.dev;
        self.prepare_export(cx)?;
        let mut mapping = self.map_memory(cx, dev, direction)?;
        if self.state.has_unread() && cx.ops.bounces(&mapping) {
            // The bounce copy was made from the CPU's view, which lacks a device's write. So the view is
            // updated and the memory mapped again.
            self.end_mapping(cx, dev, mapping, Attrs::SKIP_CPU_SYNC)?;
            self.sync_all(cx, Direction::FromDevice, SyncFor::Cpu, Some(key))?;
            mapping = self.map_memory(cx, dev, direction)?;
        }
        cx.observer.mapped(dev);
        let attachment = self.list.get_mut(key).ok_or(Error::Invalid)?;
        attachment.held = Some(HeldMapping {
            mapping,
            direction,
            maps: 1,
            maybe_written: direction.device_writes() && !attachment.is_dynamic,
        });
        Ok(())
    }

    /// Returns segment `index` of an attachment's mapping as its device sees it.
    pub fn segment(&self, ops: &O, key: L::Key, index: usize) -> Option<DmaSegment> {
        ops.segment(self.mapping(key)?, index)
    }

    /// Returns an attachment's mapping; `None` while the device is not mapped.
    pub fn mapping(&self, key: L::Key) -> Option<&O::Mapping> {
        Some(&self.held(key)?.1.mapping)
    }

    /// Returns an attachment's device and mapping; `None` while the device is not mapped.
    pub(super) fn held(&self, key: L::Key) -> Option<(O::Device, &HeldMapping<O::Mapping>)> {
        let attachment = self.list.get(key)?;
        Some((attachment.dev, attachment.held.as_ref()?))
    }

    /// Undoes one [`map`](Self::map); the last call removes the mapping. Without a mapping, it does nothing.
    /// If the DMA layer's unmap fails, the memory [is quarantined](Self::is_quarantined).
    pub fn unmap<W: Observer<O>>(&mut self, cx: &Cx<'_, O, W>, key: L::Key) {
        let Some(held) = self.list.get_mut(key).and_then(|a| a.held.as_mut()) else {
            return;
        };
        held.maps = held.maps.saturating_sub(1);
        if held.maps == 0 {
            self.drop_mapping(cx, key);
        }
    }

    /// Removes an attachment's mapping and returns the memory to the CPU.
    pub(crate) fn drop_mapping<W: Observer<O>>(&mut self, cx: &Cx<'_, O, W>, key: L::Key) {
        let Some(attachment) = self.list.get_mut(key) else {
            return;
        };
        attachment.active = 0;
        let Some(held) = attachment.held.take() else {
            return;
        };
        let bounced = cx.ops.bounces(&held.mapping);
        // A bounced copy that its device cannot have changed must not overwrite what others have since
        // written to the memory.
        let attrs = if bounced && !held.maybe_written {
            Attrs::SKIP_CPU_SYNC
        } else {
            Attrs::empty()
        };
        let dev = attachment.dev;
        // The memory's state records the failure.
        let _quarantined = self.end_mapping(cx, dev, held.mapping, attrs);
        cx.observer.unmapped(dev);
        if bounced && held.maybe_written {
            // The unmap has copied what the device wrote to the memory, so the copies and caches of the other
            // devices are updated, too. If that fails for one of them, its next use repeats the copy or reports the
            // error.
            let _ = self.sync_all(cx, Direction::ToDevice, SyncFor::Device, None);
        } else if !bounced
            && held.direction.device_writes()
            && cx.ops.coherency(dev) == Coherency::NonCoherent
        {
            // The unmap invalidated the CPU's caches.
            self.state.synced();
        }
    }

    /// Maps the memory for a device. Quarantines the memory if a failed mapping could not be undone.
    fn map_memory<W: Observer<O>>(
        &mut self,
        cx: &Cx<'_, O, W>,
        dev: O::Device,
        direction: Direction,
    ) -> Result<O::Mapping, Error> {
        let mapped = cx.ops.map(dev, &self.memory, direction, Attrs::empty());
        mapped.map_err(|err| match err {
            vb3_dma::Error::StillReachable(_) => self.set_quarantined(cx, dev),
            _ => err.into(),
        })
    }

    /// Removes a mapping. Quarantines the memory if that fails, because the device may still reach it.
    fn end_mapping<W: Observer<O>>(
        &mut self,
        cx: &Cx<'_, O, W>,
        dev: O::Device,
        mapping: O::Mapping,
        attrs: Attrs,
    ) -> Result<(), Error> {
        let ended = cx.ops.try_unmap(mapping, attrs);
        ended.map_err(|_| self.set_quarantined(cx, dev))
    }

    /// Quarantines the memory, which a device may still reach.
    fn set_quarantined<W: Observer<O>>(&mut self, cx: &Cx<'_, O, W>, dev: O::Device) -> Error {
        self.state.quarantine();
        cx.observer.quarantined(dev, self.spec.len_bytes);
        Error::Quarantined
    }

    /// Fails for memory that was revoked or is quarantined.
    pub(crate) fn check_usable(&self) -> Result<(), Error> {
        self.state.check_revoked()?;
        self.state.check_quarantined()
    }

    /// Detaches a device, and removes its mapping if it still has one. Returns false if `key` names no attachment.
    pub fn detach<W: Observer<O>>(&mut self, cx: &Cx<'_, O, W>, key: L::Key) -> bool {
        self.drop_mapping(cx, key);
        self.list.remove(key)
    }

    /// Returns the keys of the attached devices.
    pub(super) fn keys(&self) -> impl Iterator<Item = L::Key> {
        let list = &self.list;
        core::iter::successors(list.next(None), |key| list.next(Some(*key)))
    }

    /// Returns the attached devices.
    #[cfg(feature = "managed")]
    pub(crate) fn attached(&self) -> impl Iterator<Item = &Attachment<O>> {
        self.keys().filter_map(|key| self.list.get(key))
    }
}
