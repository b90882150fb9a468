//! State of shared memory that the host manages itself (feature `managed`).

use crate::{Error, UserKind};

/// A device's write that no sync for the CPU has followed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wrote<D> {
    pub(crate) device: D,
    /// A program has had the memory mapped since the write.
    pub(crate) exposed: bool,
}

/// Whether memory is placed, and whether another place could be better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PlaceState {
    /// Not placed yet.
    Nowhere,
    /// Placed; the devices attached now need no other place.
    Settled,
    /// Placed, but devices have attached since, and another place may suit them.
    Outgrown,
}

/// Handles, place, revocation and unseen writes of a memory.
#[derive(Debug)]
pub(crate) struct State<D, V> {
    pub(crate) revoked: bool,
    /// An unmap failed, so a device may still reach the memory.
    pub(crate) quarantined: bool,
    pub(crate) place: PlaceState,
    pub(crate) wrote: Option<Wrote<D>>,
    /// Number of the CPU's write accesses that have begun and not ended.
    pub(crate) open_writes: u32,
    pub(crate) tag: u64,
    /// The CPU's mapping for drivers, and the number of its users.
    pub(crate) vmap: Option<(V, u32)>,
    /// Number of handles of each kind.
    pub(crate) users: [u32; 3],
}

impl<D, V> Default for State<D, V> {
    fn default() -> Self {
        Self {
            revoked: false,
            quarantined: false,
            place: PlaceState::Settled,
            wrote: None,
            open_writes: 0,
            tag: 0,
            vmap: None,
            users: [0; 3],
        }
    }
}

impl<D, V> State<D, V> {
    pub(crate) const fn users(&self, kind: UserKind) -> u32 {
        self.users[kind as usize]
    }

    pub(crate) const fn users_mut(&mut self, kind: UserKind) -> &mut u32 {
        &mut self.users[kind as usize]
    }
}

/// Methods for code that works with and without the feature `managed`. `unmanaged.rs` has the same methods.
impl<D, V> State<D, V> {
    pub(crate) fn check_revoked(&self) -> Result<(), Error> {
        (!self.revoked).then_some(()).ok_or(Error::Revoked)
    }

    pub(crate) fn check_quarantined(&self) -> Result<(), Error> {
        (!self.quarantined).then_some(()).ok_or(Error::Quarantined)
    }

    pub(crate) fn quarantine(&mut self) {
        self.quarantined = true;
    }

    pub(crate) fn is_placed(&self) -> bool {
        self.place != PlaceState::Nowhere
    }

    /// Records that a device was attached: another place may suit all devices better.
    pub(crate) fn attached(&mut self) {
        if self.place == PlaceState::Settled {
            self.place = PlaceState::Outgrown;
        }
    }

    /// Returns whether a device's write is missing from the CPU's view.
    pub(crate) const fn has_unread(&self) -> bool {
        self.wrote.is_some()
    }

    /// Records that the CPU's view shows all that devices wrote.
    pub(crate) fn synced(&mut self) {
        self.wrote = None;
    }

    /// Records that a write access by the CPU begins.
    pub(crate) fn begin_write(&mut self) {
        self.open_writes = self.open_writes.saturating_add(1);
    }

    /// Records that a write access by the CPU ends.
    pub(crate) fn end_write(&mut self) {
        self.open_writes = self.open_writes.saturating_sub(1);
    }
}
