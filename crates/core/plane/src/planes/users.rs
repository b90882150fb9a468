//! Planes in programs' own memory (USERPTR), and the programs that own it.

use super::{Kind, Plane, Planes};
use crate::{PlaneError, UserMemory};
use vb3_dma::{DmaOps, Locks};
use vb3_dmabuf::{Observer, SlabKey};

/// A pinned range, and its description.
pub(super) struct Pinned<O: DmaOps> {
    pub(super) memory: UserMemory<O>,
    pub(super) range: UserRange<O::User, O::Device>,
}

/// Description of program memory that a device uses as a plane.
#[derive(Clone, Debug)]
pub struct UserRange<U, D> {
    /// The program's memory.
    pub user: U,
    /// The device.
    pub device: D,
    /// Address of the range's first byte in the program.
    pub addr: u64,
    /// The range's length in bytes.
    pub len_bytes: u64,
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

    /// Returns all pinned ranges with their keys.
    pub fn user_ranges(
        &self,
    ) -> impl Iterator<Item = (SlabKey, UserRange<O::User, O::Device>)> + '_ {
        self.users.keys().filter_map(|key| {
            let range = self.users.with(key, |pinned| pinned.range.clone())?;
            Some((key, range))
        })
    }
}
