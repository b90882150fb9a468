//! Programs' own memory that devices have pinned. This memory is not among the buffers that
//! programs share as dma-bufs.

use crate::holders::HeldBy;
use crate::{Run, summary};
use std::collections::BTreeMap;
use vb3_dmabuf::{MemoryId, SlabKey};
use vb3_frontend::{Client, FdIdentity};
use vb3_machine::Device;

/// Memory of one process that one device has pinned.
#[derive(Clone, Debug)]
pub(super) struct UserPages {
    pub(super) id: SlabKey,
    pub(super) client: Client,
    pub(super) device: Device,
    pub(super) addr: u64,
    pub(super) len_bytes: u64,
    /// The buffer that these pages belong to, if a dma-buf was made of their file.
    pub(super) memory: Option<MemoryId>,
}

impl Run {
    /// Determines the file behind each new pinned range of a program's memory, once per range.
    pub(super) fn find_user_files(&mut self) {
        let known = core::mem::take(&mut self.history.user_files);
        let all = self.memory.user_ranges().map(|(id, range)| {
            let look = || {
                let (dev, ino) = range.user.file_at(range.addr, range.len_bytes)?;
                Some(FdIdentity { dev, ino })
            };
            (id, known.get(&id).copied().unwrap_or_else(look))
        });
        self.history.user_files = all.collect();
    }

    /// Returns all pinned memory of programs, with the files that the last `find_user_files` found.
    pub(super) fn user_pages(&self) -> Vec<UserPages> {
        let shares = self.shares.borrow();
        let all = self.memory.user_ranges().map(|(id, range)| {
            let file = self.history.user_files.get(&id).copied().flatten();
            let buf = file.and_then(|file| shares.buf(file));
            UserPages {
                id,
                client: shares.staging.client(range.user.id()),
                device: range.device,
                addr: range.addr,
                len_bytes: range.len_bytes,
                memory: buf.and_then(|buf| self.memory.buffers().memory_of(buf).ok()),
            }
        });
        all.collect()
    }

    /// Returns each memory's holders, sorted. A process appears once per kind of handle.
    pub(super) fn all_holders(&self, users: &[UserPages]) -> BTreeMap<MemoryId, Vec<HeldBy>> {
        let mut all: BTreeMap<MemoryId, Vec<HeldBy>> = BTreeMap::new();
        for (memory, held) in self.shares.borrow().held() {
            all.entry(memory).or_default().push(held);
        }
        for user in users {
            if let Some(memory) = user.memory {
                let held = HeldBy::Pages(user.client, user.device);
                all.entry(memory).or_default().push(held);
            }
        }
        all.values_mut().for_each(|held| held.sort_unstable());
        all
    }

    /// Returns the plane that a process's pinned pages belong to, or an empty name.
    pub(super) fn user_place(&self, id: SlabKey) -> summary::PlaneName {
        summary::user_place(&self.nodes, id).unwrap_or_default()
    }
}
