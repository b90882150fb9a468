//! Users, revocation and quarantine of memory that the host manages itself.

use super::attach::AttachKind;
use crate::{Attachment, Cx, Error, Observer, Shared, Store, UserKind};
use vb3_dma::{DmaOps, SyncFor};

impl<O: DmaOps> Attachment<O> {
    /// Whether the memory must stay where it is for this device: it uses it now, or it has it
    /// mapped and does not follow moves.
    pub fn is_pinned(&self) -> bool {
        self.held.is_some() && (self.active > 0 || self.kind != AttachKind::Dynamic)
    }
}

impl<O: DmaOps, L: Store<Attachment<O>>> Shared<O, L> {
    /// How many handles name the memory: its queue's plane, mappings in programs, exports.
    pub fn num_users(&self) -> u32 {
        self.state.num_users()
    }

    /// Whether anything but the queue's plane uses the memory.
    pub fn is_shared(&self) -> bool {
        self.num_users() > self.state.users(UserKind::Plane).count || !self.list.is_empty()
    }

    /// Counts one more handle.
    ///
    /// # Errors
    /// `TableFull` (ENOMEM) when the count is at its end.
    pub fn add_user(&mut self, kind: UserKind, now_ns: u64) -> Result<(), Error> {
        let users = self.state.users_mut(kind);
        let Some(count) = users.count.checked_add(1) else {
            return Err(Error::TableFull {
                entries: u64::from(users.count),
            });
        };
        if users.count == 0 {
            users.since_ns = now_ns;
        }
        users.count = count;
        if kind == UserKind::Mapping {
            self.state.exposed();
        }
        Ok(())
    }

    /// Counts one handle less; true when that was the last of all kinds and the memory is to be
    /// [released](Self::release). A handle that was not counted changes nothing.
    pub fn drop_user<W: Observer<O>>(&mut self, cx: &Cx<'_, O, W>, kind: UserKind) -> bool {
        if kind == UserKind::Mapping && self.state.users(kind).count == 1 {
            self.report_unread(cx);
        }
        let users = self.state.users_mut(kind);
        let Some(count) = users.count.checked_sub(1) else {
            return false;
        };
        users.count = count;
        self.num_users() == 0
    }

    /// Maps for the CPU. Counted; only the first call maps.
    ///
    /// # Errors
    /// `Revoked` (ENODEV); `Unplaced` (EINVAL); what the DMA layer says.
    pub fn vmap(&mut self, ops: &O, now_ns: u64) -> Result<&O::Vmap, Error> {
        if self.state.revoked {
            return Err(Error::Revoked);
        }
        if !self.state.is_placed() {
            return Err(Error::Unplaced);
        }
        let count = self.state.vmaps.count.checked_add(1).ok_or(Error::Busy)?;
        let vmap = match self.state.vmap.take() {
            Some(vmap) => vmap,
            None => {
                self.state.vmaps.since_ns = now_ns;
                ops.vmap_alloc(&self.alloc)?
            }
        };
        self.state.vmaps.count = count;
        Ok(self.state.vmap.insert(vmap))
    }

    /// The CPU mapping, while there is one.
    pub fn vmapped(&self) -> Option<&O::Vmap> {
        self.state.vmap.as_ref()
    }

    /// Undoes one [`vmap`](Self::vmap); the last one unmaps.
    pub fn vunmap(&mut self, ops: &O) {
        self.state.vmaps.count = self.state.vmaps.count.saturating_sub(1);
        if self.state.vmaps.count == 0 {
            if let Some(vmap) = self.state.vmap.take() {
                ops.vunmap(vmap);
            }
        }
    }

    /// A number of the host, which returns in [`crate::MissingSync`].
    pub fn set_tag(&mut self, tag: u64) {
        self.state.tag = tag;
    }

    /// Attaches the device that the memory was allocated for. As [`attach`](Self::attach), but
    /// each use begins with [`attached_owner_to_device`](Self::attached_owner_to_device).
    ///
    /// # Errors
    /// As [`attach`](Self::attach).
    pub fn attach_owner<W: Observer<O>>(
        &mut self,
        cx: &Cx<'_, O, W>,
        dev: O::Device,
    ) -> Result<L::Key, Error> {
        self.attach_as(cx, dev, AttachKind::Owner)
    }

    /// Attaches a device that follows moves: before each use, the caller checks whether it is still
    /// mapped, and maps it again if not. From each [`hand_to_device`](Self::hand_to_device)
    /// to its [`take_from_device`](Self::take_from_device) the memory is pinned for it.
    ///
    /// # Errors
    /// As [`attach`](Self::attach).
    ///
    /// Source: Linux 7.2 `dma_buf_dynamic_attach`, differs: instead of `move_notify`, the mapping
    /// is found gone.
    pub fn attach_dynamic<W: Observer<O>>(
        &mut self,
        cx: &Cx<'_, O, W>,
        dev: O::Device,
    ) -> Result<L::Key, Error> {
        self.attach_as(cx, dev, AttachKind::Dynamic)
    }

    /// Whether an unmap failed, so that a device may still reach the memory although it is mapped
    /// for it no more. See the crate's head for what follows.
    pub fn is_quarantined(&self) -> bool {
        self.state.quarantined
    }

    /// Takes the memory back from all attached devices: behind an IOMMU their accesses fault from
    /// now on, and later attaching, mapping and exporting fail. Devices without an IOMMU, the owner's
    /// addresses and handles of the CPU keep their access; the exporter ends it. The exporter zeroes
    /// the memory before, so that copies for devices that bounce are zeroed, too.
    ///
    /// # Errors
    /// `Quarantined` (EIO) if an unmap failed, now or before: a device may still reach the
    /// memory. Mapping it again fails also then.
    ///
    /// Source: Linux 6.19 drivers/vfio/pci/vfio_pci_dmabuf.c `vfio_pci_dma_buf_move`, where attach
    /// and map fail with ENODEV afterwards. Differs: importers need not follow moves.
    pub fn revoke<W: Observer<O>>(&mut self, cx: &Cx<'_, O, W>) -> Result<(), Error> {
        self.state.revoked = true;
        let mut at = self.list.next(None);
        while let Some(key) = at {
            let held = self.list.get_mut(key).and_then(|a| a.held.as_mut());
            if let Some(held) = held.filter(|held| cx.ops.bounces(&held.mapping)) {
                // The copy shows the device what the memory is now, and is not copied back.
                cx.ops.sync(&held.mapping, held.direction, SyncFor::Device);
                held.maybe_written = false;
            }
            self.drop_mapping(cx, key);
            at = self.list.next(Some(key));
        }
        // No later read may see what a device wrote there.
        self.state.synced();
        if self.state.quarantined {
            return Err(Error::Quarantined);
        }
        Ok(())
    }

    /// Whether the memory was revoked.
    pub fn is_revoked(&self) -> bool {
        self.state.revoked
    }
}
