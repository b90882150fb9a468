//! A bounded table on the heap. The key of a removed entry never finds a later entry.

use crate::Store;
use alloc::vec::Vec;
use core::fmt;

/// Names an entry of a [`Slab`]. Never zero as a number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlabKey {
    pub(crate) generation: u32,
    pub(crate) index: u32,
}

impl SlabKey {
    /// Returns the key as a number, for logs and maps of the host.
    #[must_use]
    pub const fn get(self) -> u64 {
        ((self.generation as u64) << 32) | self.index as u64
    }
}

impl fmt::Debug for SlabKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.index, self.generation)
    }
}

/// A position in a table. Its generation changes with each value, so older keys do not match.
#[derive(Debug)]
pub(crate) struct Slot<T> {
    pub(crate) generation: u32,
    pub(crate) value: Option<T>,
}

impl<T> Slot<T> {
    pub(crate) const EMPTY: Self = Self {
        generation: 1,
        value: None,
    };

    /// Returns the key of the value in this slot.
    pub(crate) const fn key(&self, index: u32) -> SlabKey {
        let generation = self.generation;
        SlabKey { generation, index }
    }

    /// Returns the value of a key, whose index is that of this slot.
    pub(crate) fn get_mut(&mut self, key: SlabKey) -> Option<&mut T> {
        let is_it = self.generation == key.generation;
        self.value.as_mut().filter(|_| is_it)
    }

    /// Takes the value of a key out of the slot if `decide` returns true for it.
    pub(crate) fn take_if(
        &mut self,
        key: SlabKey,
        decide: impl FnOnce(&mut T) -> bool,
    ) -> Option<T> {
        if !self.get_mut(key).is_some_and(decide) {
            return None;
        }
        self.generation = self.generation.checked_add(1).unwrap_or(1);
        self.value.take()
    }
}

/// A bounded table on the heap. If growing fails, inserting returns the value; it does not panic.
#[derive(Debug)]
pub struct Slab<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
    limit: u32,
}

impl<T> Slab<T> {
    /// Makes an empty table for at most `limit` entries.
    #[must_use]
    pub const fn new(limit: u32) -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            limit,
        }
    }

    /// Returns all entries with their keys.
    pub fn iter(&self) -> impl Iterator<Item = (SlabKey, &T)> {
        self.slots
            .iter()
            .zip(0u32..)
            .filter_map(|(slot, index)| Some((slot.key(index), slot.value.as_ref()?)))
    }

    /// Returns the index of a free slot, and adds a slot if none is free. `None` if that is impossible.
    fn vacancy(&mut self) -> Option<u32> {
        if let Some(index) = self.free.pop() {
            return Some(index);
        }
        let index = u32::try_from(self.slots.len()).ok()?;
        if index >= self.limit {
            return None;
        }
        self.slots.try_reserve(1).ok()?;
        // Reserves an entry in the free list for every slot, so that removing cannot fail.
        self.free
            .try_reserve(self.slots.len().saturating_add(1))
            .ok()?;
        self.slots.push(Slot::EMPTY);
        Some(index)
    }
}

impl<T> Store<T> for Slab<T> {
    type Key = SlabKey;

    fn insert(&mut self, value: T) -> Result<SlabKey, T> {
        let vacancy = self.vacancy();
        let found = vacancy.and_then(|index| Some((index, self.slots.get_mut(index as usize)?)));
        let Some((index, slot)) = found else {
            return Err(value);
        };
        slot.value = Some(value);
        Ok(slot.key(index))
    }

    fn get(&self, key: SlabKey) -> Option<&T> {
        let slot = self.slots.get(key.index as usize)?;
        slot.value
            .as_ref()
            .filter(|_| slot.generation == key.generation)
    }

    fn get_mut(&mut self, key: SlabKey) -> Option<&mut T> {
        self.slots.get_mut(key.index as usize)?.get_mut(key)
    }

    fn remove(&mut self, key: SlabKey) -> bool {
        let slot = self.slots.get_mut(key.index as usize);
        let removed = slot.and_then(|slot| slot.take_if(key, |_| true));
        if removed.is_some() {
            self.free.push(key.index);
        }
        removed.is_some()
    }

    fn len(&self) -> usize {
        self.slots.len().saturating_sub(self.free.len())
    }

    fn next(&self, after: Option<SlabKey>) -> Option<SlabKey> {
        let from = after.map_or(0, |key| (key.index as usize).saturating_add(1));
        let rest = self.slots.get(from..)?;
        let step = rest.iter().position(|slot| slot.value.is_some())?;
        let index = u32::try_from(from.checked_add(step)?).ok()?;
        Some(rest.get(step)?.key(index))
    }
}
