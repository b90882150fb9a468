//! The entries of device files and buffers in programs' epoll sets.

use std::collections::HashMap;

pub(crate) const ERR: u32 = libc::EPOLLERR.cast_unsigned();
pub(crate) const HUP: u32 = libc::EPOLLHUP.cast_unsigned();
/// Conditions that the kernel reports even if the mask does not contain them.
pub(crate) const UNASKED: u32 = ERR | HUP;
pub(crate) const EDGES: u32 = libc::EPOLLET.cast_unsigned();
/// Bits of an entry's events that are conditions. They equal the bits of poll.
pub(crate) const CONDITIONS: u32 = 0x03ff;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SetId(pub(crate) u64);

/// A file's entries, by set and the program's descriptor number of the file.
pub(crate) type Members = HashMap<(SetId, i32), Member>;

/// One descriptor of a file in one set.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Member {
    pub(crate) events: u32,
    /// The conditions that the entry must report at present.
    pub(crate) shown: u32,
    /// Whether the entry is out of its set, because its file is about to be closed.
    pub(crate) is_parked: bool,
    /// Whether the device has woken its waiters while the entry was out of its set.
    pub(crate) was_woken: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// A call may have changed the file's state.
    Call,
    Wake,
}

impl Member {
    pub(crate) fn asked(self) -> i16 {
        // CAST: the conditions of poll have the same bits.
        (self.events & CONDITIONS) as i16
    }

    /// Updates the entry with the file's state. Returns `None` if the mask in the set need not change. Otherwise,
    /// returns whether the change is an edge.
    pub(crate) fn follow(&mut self, now: i16, cause: Cause) -> Option<bool> {
        let mask = u32::from(now.cast_unsigned()) & CONDITIONS;
        let is_edge = cause == Cause::Wake;
        let due = if self.events & EDGES == 0 || mask & UNASKED != self.shown & UNASKED {
            mask != self.shown
        } else if is_edge {
            mask != 0
        } else {
            // A call causes no edge: conditions in the mask were reported before.
            mask == 0 && self.shown != 0
        };
        if due {
            self.shown = mask;
        }
        due.then_some(is_edge)
    }
}
