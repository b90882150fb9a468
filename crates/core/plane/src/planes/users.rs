//! Planes in programs' own memory (USERPTR), and the programs that own it.

use super::{Kind, Plane, Planes};
use crate::{PlaneError, UserMemory};
use core::fmt;
use vb3_dma::{DmaOps, Locks};
use vb3_dmabuf::{Observer, SlabKey};

/// Identifies a pinned range of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserId(pub(super) SlabKey);

/// Formats the identifier for people: `u3.1`.
impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "u{:?}", self.0)
    }
}

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
    /// Returns the pinned range of a USERPTR plane; `None` for other planes.
    #[must_use]
    pub const fn user(&self) -> Option<UserId> {
        match self.kind {
            Kind::User(key) => Some(UserId(key)),
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

    /// Returns all pinned ranges.
    pub fn user_ranges(
        &self,
    ) -> impl Iterator<Item = (UserId, UserRange<O::User, O::Device>)> + '_ {
        self.users.keys().filter_map(|key| {
            let range = self.users.with(key, |pinned| pinned.range.clone())?;
            Some((UserId(key), range))
        })
    }
}
