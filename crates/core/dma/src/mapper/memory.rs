//! Counted memory: the layer gives no memory back to the host while a device may reach it.
//!
//! Each allocation and each pin has an entry in the mapper's table. A handle ([`Memory`](super::Memory)), a mapping, a
//! CPU view and an unmapped range that waits for a flush each hold a reference. The last reference gives the memory
//! back to the host. If a caller drops or forgets a handle, mapping or view instead of ending it, its reference stays,
//! so the memory is never used again. The reference of a failed unmap stays, too: that is the quarantine.
//!
//! Memory that the caller lends ([`lend`](Mapper::lend), `map_raw`) has no entry, because the
//! layer cannot keep it from being reused. `stuck` records the parts that a device may still reach.

use super::{Apart, At, Mapper, room, with_room};
use crate::{DmaAddr, Error, Locks, Platform, Segment};
use ::alloc::vec::Vec;
use core::mem::ManuallyDrop;
use core::num::NonZeroU32;
use core::sync::atomic::{AtomicU32, Ordering};

/// Number of parts of the table, each with a lock.
const PARTS: u32 = 8;

/// Names an entry: one more than `index * PARTS + part`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key(NonZeroU32);

impl Key {
    fn new(part: u32, index: usize) -> Option<Self> {
        let number = u32::try_from(index).ok()?.checked_mul(PARTS)?;
        NonZeroU32::new(number.checked_add(part)?.checked_add(1)?).map(Self)
    }

    const fn part(self) -> usize {
        // CAST: less than `PARTS`.
        ((self.0.get() - 1) % PARTS) as usize
    }

    const fn index(self) -> usize {
        // CAST: made from a `usize`.
        ((self.0.get() - 1) / PARTS) as usize
    }
}

/// The memory that the last reference gives back to the host. Dropping this value gives nothing back.
pub(super) enum Origin<P: Platform> {
    /// Pages of the host, and their length in bytes.
    Pages(ManuallyDrop<P::Pages>, u64),
    /// A part of a device's own memory.
    Region(At<P::Device>, DmaAddr, Segment),
    /// Memory of a program, its length in bytes, and whether a device wrote to it.
    Pinned(ManuallyDrop<P::Pinned>, u64, bool),
}

impl<P: Platform> Origin<P> {
    pub(super) const fn pages(pages: P::Pages, len: u64) -> Self {
        Self::Pages(ManuallyDrop::new(pages), len)
    }

    /// Returns the bytes of pages, the number of pins and the length in bytes.
    const fn counts(&self) -> (u64, u64, u64) {
        match self {
            Self::Pages(_, len) => (*len, 0, *len),
            Self::Region(.., run) => (0, 0, run.len),
            Self::Pinned(_, len, _) => (0, 1, *len),
        }
    }
}

struct Entry<P: Platform> {
    /// Number of references; 0 if the entry is vacant.
    refs: u32,
    /// Whether a device may reach the memory forever, because an unmap failed.
    is_stuck: bool,
    /// Index of the next vacant entry.
    next: usize,
    /// Set once the owner has released the memory.
    origin: Option<Origin<P>>,
}

/// A part of the table.
struct Part<P: Platform> {
    entries: Vec<Entry<P>>,
    /// Index of the first vacant entry, or the number of entries.
    vacant: usize,
}

impl<P: Platform> Part<P> {
    fn get(&mut self, key: Key) -> Option<&mut Entry<P>> {
        self.entries.get_mut(key.index())
    }

    /// Takes a vacant entry, and returns its index; `None` if none is vacant and there is no room for a new one.
    fn take(&mut self) -> Option<usize> {
        let index = self.vacant;
        if index == self.entries.len() {
            if index == self.entries.capacity() {
                return None;
            }
            self.entries.push(Entry {
                refs: 0,
                is_stuck: false,
                next: index + 1,
                origin: None,
            });
        }
        let entry = self.entries.get_mut(index)?;
        (entry.refs, self.vacant) = (1, entry.next);
        Some(index)
    }

    /// Drops a reference. Returns the memory that the last one gives back.
    fn put(&mut self, key: Key) -> Option<Origin<P>> {
        let vacant = self.vacant;
        let entry = self.get(key)?;
        entry.refs = entry.refs.checked_sub(1)?;
        if entry.refs > 0 {
            return None;
        }
        entry.next = vacant;
        let origin = entry.origin.take();
        self.vacant = key.index();
        origin
    }
}

/// The table of counted memory.
pub(super) struct Memories<P: Platform, L: Locks> {
    parts: Vec<Apart<L::Lock<Part<P>>>>,
    /// Spreads entries over the parts.
    turn: AtomicU32,
}

impl<P: Platform, L: Locks> Memories<P, L> {
    pub(super) fn new() -> Result<Self, Error> {
        // CAST: 8.
        let mut parts = room(PARTS as usize)?;
        parts.extend((0..PARTS).map(|_| {
            let entries = Vec::new();
            Apart(L::new_lock(Part { entries, vacant: 0 }))
        }));
        let turn = AtomicU32::new(0);
        Ok(Self { parts, turn })
    }

    fn with<R>(&self, key: Key, act: impl FnOnce(&mut Part<P>) -> R) -> Option<R> {
        self.parts.get(key.part()).map(|part| L::with(&part.0, act))
    }

    /// Makes an entry with one reference. Allocates without holding a lock.
    fn insert(&self) -> Result<Key, Error> {
        let number = self.turn.fetch_add(1, Ordering::Relaxed) % PARTS;
        // CAST: less than `PARTS`.
        let part = self.parts.get(number as usize).ok_or(Error::Invalid)?;
        let index = with_room::<L, _, _, _>(&part.0, |part| &mut part.entries, Part::take)?;
        Key::new(number, index).ok_or(Error::Busy)
    }
}

impl<P: Platform, L: Locks> Mapper<P, L> {
    /// Makes an entry for new memory, with one reference.
    pub(super) fn new_entry(&self) -> Result<Key, Error> {
        self.memories.insert()
    }

    /// Takes a reference to memory. Fails with `Busy` beyond 2^32 - 1 references.
    #[inline]
    pub(super) fn hold(&self, memory: Option<Key>) -> Result<(), Error> {
        let Some(key) = memory else { return Ok(()) };
        let held = self.memories.with(key, |part| {
            let entry = part.get(key)?;
            entry.refs = entry.refs.checked_add(1)?;
            Some(())
        });
        held.flatten().ok_or(Error::Busy)
    }

    /// Drops a reference to memory. The last one gives the memory back.
    #[inline]
    pub(super) fn put(&self, memory: Option<Key>) {
        let Some(key) = memory else { return };
        if let Some(origin) = self.memories.with(key, |part| part.put(key)).flatten() {
            self.give(origin);
        }
    }

    /// Drops the owner's reference to memory. The last reference gives `origin` back.
    pub(super) fn give_up(&self, key: Key, origin: Origin<P>) {
        let counts = origin.counts();
        let is_stuck = self.memories.with(key, |part| {
            let entry = part.get(key)?;
            entry.origin = Some(origin);
            Some(entry.is_stuck)
        });
        if is_stuck.flatten() == Some(true) {
            self.count_stuck(counts);
        }
        self.put(Some(key));
    }

    /// Takes a reference that is never dropped, to memory that a device may reach forever.
    #[cold]
    pub(super) fn hold_for_good(&self, key: Key) {
        // This fails only at the greatest number of references, and so many are never all dropped.
        let _ = self.hold(Some(key));
        self.quarantine_memory(key);
    }

    /// Marks memory that a device may reach forever. The caller has a reference that it never drops, which keeps the
    /// memory.
    #[cold]
    pub(super) fn quarantine_memory(&self, key: Key) {
        let released = self.memories.with(key, |part| {
            let entry = part.get(key)?;
            let is_new = !core::mem::replace(&mut entry.is_stuck, true);
            entry.origin.as_ref().filter(|_| is_new).map(Origin::counts)
        });
        if let Some(counts) = released.flatten() {
            self.count_stuck(counts);
        }
    }

    /// Counts memory as quarantined, and no longer as held. Its owner has released it, and the host never gets it back.
    pub(super) fn count_stuck(&self, (page_bytes, pins, len): (u64, u64, u64)) {
        L::with(&self.live, |live| {
            live.page_bytes = live.page_bytes.saturating_sub(page_bytes);
            live.pins = live.pins.saturating_sub(pins);
            live.quarantined_bytes = live.quarantined_bytes.saturating_add(len);
        });
    }

    /// Returns whether the caller has the only reference.
    pub(super) fn is_sole(&self, key: Key) -> bool {
        let refs = self.memories.with(key, |part| Some(part.get(key)?.refs));
        refs.flatten() == Some(1)
    }

    fn give(&self, origin: Origin<P>) {
        match origin {
            Origin::Pages(pages, len) => self.give_pages(ManuallyDrop::into_inner(pages), len),
            Origin::Region(at, addr, run) => {
                self.platform.release_physical(run);
                self.give_to_region(at, addr, run.len);
            }
            Origin::Pinned(pinned, _, wrote) => {
                (self.platform).unpin_user(ManuallyDrop::into_inner(pinned), wrote);
                L::with(&self.live, |live| live.pins -= 1);
            }
        }
    }
}
