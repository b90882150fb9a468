//! Tracks which allocations and tables are alive, and which users they have.

use super::Site;
use alloc::vec::Vec;

/// Identifies an allocation or table. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Id {
    index: usize,
    generation: u64,
}

#[derive(Clone, Copy, Debug)]
struct Object {
    generation: u64,
    is_live: bool,
    users: u32,
    parent: Option<Id>,
    by: Site,
}

/// How an object ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// Correctly.
    Well,
    /// It still had users.
    InUse { users: u32, made_by: Site },
    /// It had ended earlier.
    Already,
}

/// All objects, up to a limit. Objects beyond it are not tracked.
#[derive(Debug)]
pub(super) struct Objects {
    list: Vec<Object>,
    vacant: Vec<usize>,
    capacity: usize,
    generation: u64,
}

impl Objects {
    pub(super) const fn new(capacity: usize) -> Self {
        Self {
            list: Vec::new(),
            vacant: Vec::new(),
            capacity,
            generation: 0,
        }
    }

    /// Tracks a new object, which uses `parent`.
    pub(super) fn add(&mut self, parent: Option<Id>, by: Site) -> Option<Id> {
        self.generation = self.generation.checked_add(1)?;
        let object = Object {
            generation: self.generation,
            is_live: true,
            users: 0,
            parent,
            by,
        };
        let index = match self.vacant.pop() {
            Some(index) => {
                *self.list.get_mut(index)? = object;
                index
            }
            None => {
                let len = self.list.len();
                if len >= self.capacity || self.list.try_reserve(1).is_err() {
                    return None;
                }
                let room = len.saturating_add(1).saturating_sub(self.vacant.len());
                self.vacant.try_reserve(room).ok()?;
                self.list.push(object);
                len
            }
        };
        if let Some(parent) = parent {
            self.acquire(parent);
        }
        Some(Id {
            index,
            generation: self.generation,
        })
    }

    fn get_mut(&mut self, id: Id) -> Option<&mut Object> {
        let object = self.list.get_mut(id.index)?;
        (object.generation == id.generation && object.is_live).then_some(object)
    }

    /// Returns whether an object and its parent are alive.
    pub(super) fn is_alive(&self, id: Id) -> bool {
        let is_live = |id: Id| {
            self.list
                .get(id.index)
                .filter(|object| object.generation == id.generation && object.is_live)
        };
        is_live(id).is_some_and(|object| object.parent.is_none_or(|up| is_live(up).is_some()))
    }

    pub(super) fn acquire(&mut self, id: Id) {
        if let Some(object) = self.get_mut(id) {
            object.users = object.users.saturating_add(1);
        }
    }

    pub(super) fn release(&mut self, id: Id) {
        if let Some(object) = self.get_mut(id) {
            object.users = object.users.saturating_sub(1);
        }
    }

    pub(super) fn end(&mut self, id: Id) -> Ended {
        let Some(object) = self.get_mut(id) else {
            return Ended::Already;
        };
        object.is_live = false;
        let Object {
            users, parent, by, ..
        } = *object;
        self.vacant.push(id.index);
        if let Some(parent) = parent {
            self.release(parent);
        }
        if users > 0 {
            return Ended::InUse { users, made_by: by };
        }
        Ended::Well
    }
}
