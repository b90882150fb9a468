//! Planes in programs' own memory (USERPTR), and the programs that own it.

use super::{Kind, Plane, Planes};
use crate::{PlaneError, UserMemory};
use alloc::vec::Vec;
use core::fmt;
use vb3_dma::{DmaOps, Lock, Locks};
use vb3_dmabuf::{MemoryId, Observer, SlabKey};

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
    range: UserRange<O>,
}

/// Description of program memory that a device uses as a plane.
pub struct UserRange<O: DmaOps> {
    /// The program's memory.
    pub user: O::User,
    /// The device.
    pub device: O::Device,
    /// Address of the range's first byte in the program.
    pub addr: u64,
    /// The range's length in bytes.
    pub len_bytes: u64,
}

impl<O: DmaOps> Clone for UserRange<O> {
    fn clone(&self) -> Self {
        let user = self.user.clone();
        Self { user, ..*self }
    }
}

impl<O: DmaOps> fmt::Debug for UserRange<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserRange")
            .field("addr", &self.addr)
            .field("len_bytes", &self.len_bytes)
            .finish_non_exhaustive()
    }
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
    pub(super) fn keep_user(
        &self,
        memory: UserMemory<O>,
        user: &O::User,
        (addr, len_bytes): (u64, u64),
    ) -> Result<SlabKey, PlaneError> {
        let range = UserRange {
            user: user.clone(),
            device: memory.device(),
            addr,
            len_bytes,
        };
        match self.users.insert(Pinned { memory, range }) {
            Ok(key) => {
                self.note_user_change();
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
            self.note_user_change();
            pinned.memory.put(&self.cx());
        }
    }

    fn note_user_change(&self) {
        self.facts
            .with(|facts| facts.user_changes = facts.user_changes.wrapping_add(1));
    }

    /// Calls `act` with exclusive access to pinned memory; `None` if it was released.
    pub(super) fn with_user<R>(
        &self,
        key: SlabKey,
        act: impl FnOnce(&UserMemory<O>) -> R,
    ) -> Option<R> {
        self.users.with(key, |pinned| act(&pinned.memory))
    }

    /// Returns the description of a pinned range; `None` if it was released.
    pub fn user_range(&self, id: UserId) -> Option<UserRange<O>> {
        self.users.with(id.0, |pinned| pinned.range.clone())
    }

    /// Returns all pinned ranges.
    pub fn user_ranges(&self) -> impl Iterator<Item = (UserId, UserRange<O>)> + '_ {
        let ids = self.users.keys().map(UserId);
        ids.filter_map(|id| Some((id, self.user_range(id)?)))
    }

    /// Returns a number that grows whenever a memory, handle, attachment or pinned range is added or removed.
    /// A host that lists the users of memory lists them again when the number has changed.
    pub fn changes(&self) -> u64 {
        let users = self.facts.with(|facts| facts.user_changes);
        self.buffers.changes().wrapping_add(users)
    }

    /// Returns the memories whose users changed since the last call (see
    /// [`Buffers::take_changed`](vb3_dmabuf::Buffers::take_changed)). Returns `None` if it is not known which
    /// changed, for example after a range was pinned or unpinned; the host must then look at all.
    pub fn take_changed(&self) -> Option<Vec<MemoryId>> {
        let changed = self.buffers.take_changed();
        let is_same = self.facts.with(|facts| {
            let users = facts.user_changes;
            core::mem::replace(&mut facts.user_changes_seen, users) == users
        });
        changed.filter(|_| is_same)
    }
}
