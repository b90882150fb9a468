//! Users, revocation and quarantine of memory that the host manages itself.

use crate::{Attachment, Cx, Error, Observer, Shared, Store, UserKind};
use vb3_dma::{DmaOps, SyncFor};

impl<O: DmaOps> Attachment<O> {
    /// Returns whether this attachment pins the memory: its device uses the memory now, or does not follow moves
    /// and has the memory mapped.
    pub fn is_pinned(&self) -> bool {
        self.held.is_some() && (self.active > 0 || !self.is_dynamic)
    }
}

impl<O: DmaOps, L: Store<Attachment<O>>> Shared<O, L> {
    /// Returns the number of handles: its queue's plane, mappings in programs, exports.
    pub fn num_users(&self) -> u32 {
        self.state
            .users
            .iter()
            .copied()
            .fold(0, u32::saturating_add)
    }

    /// Returns the number of handles of one kind.
    pub fn users(&self, kind: UserKind) -> u32 {
        self.state.users(kind)
    }

    /// Returns whether anything but the queue's plane uses the memory. `own` is the number of the plane's attachments.
    pub fn is_shared(&self, own: usize) -> bool {
        self.num_users() > self.users(UserKind::Plane) || self.list.len() > own
    }

    /// Counts one more handle.
    ///
    /// # Errors
    /// `TableFull` (ENOMEM) when the count is at its maximum.
    pub fn add_user(&mut self, kind: UserKind) -> Result<(), Error> {
        let users = self.state.users_mut(kind);
        *users = users.checked_add(1).ok_or(Error::table_full(*users))?;
        if let Some(wrote) = self.state.wrote.as_mut() {
            wrote.exposed |= kind == UserKind::Mapping;
        }
        Ok(())
    }

    /// Removes one handle from the count. Returns true if that was the last of all kinds: the host must
    /// then [release](Self::release) the memory. Does nothing if no handle of this kind is counted.
    pub fn drop_user<W: Observer<O>>(&mut self, cx: &Cx<'_, O, W>, kind: UserKind) -> bool {
        if kind == UserKind::Mapping && self.users(kind) == 1 {
            self.report_unread(cx);
        }
        let users = self.state.users_mut(kind);
        let Some(left) = users.checked_sub(1) else {
            return false;
        };
        *users = left;
        self.num_users() == 0
    }

    /// Maps the memory for the CPU. Only the first call makes a mapping; each call needs its own `vunmap`.
    ///
    /// # Errors
    /// `Revoked` (ENODEV); `Unplaced` (EINVAL); the DMA layer's errors.
    pub fn vmap(&mut self, ops: &O) -> Result<&O::Vmap, Error> {
        self.state.check_revoked()?;
        if !self.state.is_placed() {
            return Err(Error::Unplaced);
        }
        let vmap = &mut self.state.vmap;
        if vmap.is_none() {
            *vmap = Some((ops.vmap(&self.memory)?, 0));
        }
        let (vmap, users) = vmap.as_mut().ok_or(Error::Invalid)?;
        *users = users.checked_add(1).ok_or(Error::Busy)?;
        Ok(vmap)
    }

    /// Returns the CPU mapping; `None` while there is none.
    pub fn vmapped(&self) -> Option<&O::Vmap> {
        self.state.vmap.as_ref().map(|(vmap, _)| vmap)
    }

    /// Undoes one [`vmap`](Self::vmap); the last call removes the mapping.
    pub fn vunmap(&mut self, ops: &O) {
        let last = self.state.vmap.take_if(|(_, users)| {
            *users = users.saturating_sub(1);
            *users == 0
        });
        if let Some((vmap, _)) = last {
            ops.vunmap(vmap);
        }
    }

    /// Sets a number that the host chooses, for reports ([`Observer::missing_sync`]).
    pub fn set_tag(&mut self, tag: u64) {
        self.state.tag = tag;
    }

    /// Returns whether an unmap failed, so that a device may still reach the memory. The crate's documentation
    /// lists the consequences.
    pub fn is_quarantined(&self) -> bool {
        self.state.quarantined
    }

    /// Takes the memory back from all attached devices. Accesses by devices behind an IOMMU fault from now
    /// on, and later attaching, mapping and exporting fail. Three parties keep their access until the
    /// exporter ends it: devices without an IOMMU, the device that the memory was allocated for, and the
    /// CPU's handles. The exporter must zero the memory before this call, so that copies for devices that
    /// bounce are zeroed, too.
    ///
    /// # Errors
    /// `Quarantined` (EIO) if an unmap failed, now or before: a device may still reach the memory. Later
    /// mappings fail in this case, too.
    ///
    /// Source: Linux 6.19 drivers/vfio/pci/vfio_pci_dmabuf.c `vfio_pci_dma_buf_move`, where attach
    /// and map fail with ENODEV afterwards. Differs: importers need not follow moves.
    pub fn revoke<W: Observer<O>>(&mut self, cx: &Cx<'_, O, W>) -> Result<(), Error> {
        self.state.revoked = true;
        let mut at = self.list.next(None);
        while let Some(key) = at {
            let held = self.list.get_mut(key).and_then(|a| a.held.as_mut());
            if let Some(held) = held.filter(|held| cx.ops.bounces(&held.mapping)) {
                // The sync renews the bounced copy from the memory. The copy is then dropped without being
                // copied back. A failed copy leaves the device its own old bytes.
                let _ = cx.ops.sync(&held.mapping, held.direction, SyncFor::Device);
                held.maybe_written = false;
            }
            self.drop_mapping(cx, key);
            at = self.list.next(Some(key));
        }
        if cx.ops.flush().is_err() {
            self.state.quarantine();
        }
        // The CPU must not get bytes that devices wrote, so no sync is missing any more.
        self.state.synced();
        self.state.check_quarantined()
    }

    /// Returns whether the memory was revoked.
    pub fn is_revoked(&self) -> bool {
        self.state.revoked
    }
}
