//! Open files and masters.

use crate::host::BufferId;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Bytes of events that may be outstanding for one file.
pub(crate) const EVENT_BYTES: usize = 4096;

/// What a file has asked for by SET_CLIENT_CAP.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Caps {
    pub(crate) universal: bool,
    pub(crate) atomic: bool,
    pub(crate) writeback: bool,
}

/// An open file of the card.
#[derive(Debug, Default)]
pub(crate) struct File {
    pub(crate) pid: u32,
    pub(crate) master: u32,
    pub(crate) is_master: bool,
    pub(crate) was_master: bool,
    pub(crate) is_authenticated: bool,
    pub(crate) magic: u32,
    /// Whether a master has accepted the magic, which is good for one use.
    pub(crate) is_magic_used: bool,
    pub(crate) caps: Caps,
    pub(crate) handles: BTreeMap<u32, BufferId>,
    pub(crate) by_buffer: BTreeMap<BufferId, u32>,
    pub(crate) events: VecDeque<[u8; 32]>,
    /// Bytes of events that may still be promised.
    pub(crate) event_room: usize,
}

/// A master: a session that may set modes; or a lessee, which may set the modes of some objects.
#[derive(Debug, Default)]
pub(crate) struct Master {
    /// The master that leased objects to this one.
    pub(crate) lessor: Option<u32>,
    /// The leased objects; `None` for an owner, which has all.
    pub(crate) lease: Option<BTreeSet<u32>>,
    /// The number of this lessee, and of the latest lessee of this owner.
    pub(crate) lessee: u32,
    /// Whether SET_VERSION made the device's name visible.
    pub(crate) has_unique: bool,
}
