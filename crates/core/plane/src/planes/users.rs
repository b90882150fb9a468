//! Planes in programs' own memory (USERPTR), and the programs that own it.

use super::{Kind, Plane, Planes};
use crate::{PlaneError, UserMemory};
use core::ops::Range;
use vb3_dma::{DmaOps, Locks};
use vb3_dmabuf::{Observer, SlabKey};

/// A pinned range of a program.
pub(super) struct Pinned<O: DmaOps> {
    pub(super) memory: UserMemory<O>,
    pub(super) user: O::User,
    pub(super) device: O::Device,
    pub(super) addresses: Range<u64>,
}

impl<D> Plane<D> {
    /// Returns the key of a USERPTR plane's pinned range ([`Planes::user_ranges`]); `None` for other planes.
    #[must_use]
    pub const fn user(&self) -> Option<SlabKey> {
        match self.kind {
            Kind::User(key) => Some(key),
            _ => None,
        }
    }
}

impl<O: DmaOps, H: Observer<O>, L: Locks> Planes<O, H, L> {
    /// Stores a pinned range.
    pub(super) fn keep_user(&self, pinned: Pinned<O>) -> Result<SlabKey, PlaneError> {
        match self.users.insert(pinned) {
            Ok(key) => {
                self.buffers.note_change_elsewhere();
                Ok(key)
            }
            Err(refused) => {
                refused.memory.put(&self.cx());
                Err(PlaneError::NoMemory(None))
            }
        }
    }

    pub(super) fn put_user(&self, key: SlabKey) {
        if let Some(pinned) = self.users.remove(key) {
            self.buffers.note_change_elsewhere();
            pinned.memory.put(&self.cx());
        }
    }

    /// Calls `act` with exclusive access to pinned memory; `None` if it was released.
    pub(super) fn with_user<R>(
        &self,
        key: SlabKey,
        act: impl FnOnce(&UserMemory<O>) -> R,
    ) -> Option<R> {
        self.users.with(key, |pinned| act(&pinned.memory))
    }

    /// Calls `each` with each pinned range: its key, its program, the device that uses it, and its addresses in the
    /// program. `each` must not call the planes, because the range is locked while `each` runs.
    pub fn user_ranges(&self, mut each: impl FnMut(SlabKey, &O::User, O::Device, Range<u64>)) {
        for key in self.users.keys() {
            self.users.with(key, |pinned| {
                each(key, &pinned.user, pinned.device, pinned.addresses.clone());
            });
        }
    }
}
