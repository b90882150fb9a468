//! Programs' own memory that devices have pinned. This memory is not among the buffers that
//! programs share as dma-bufs.

use crate::holders::HeldBy;
use crate::{Run, summary};
use std::collections::BTreeMap;
use std::ops::Range;
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

/// Returns the length of a range of addresses in bytes.
const fn len(addresses: &Range<u64>) -> u64 {
    addresses.end.saturating_sub(addresses.start)
}

impl Run {
    /// Determines the file behind each new pinned range of a program's memory, once per range.
    pub(super) fn find_user_files(&mut self) {
        let files = &mut self.history.user_files;
        let known = core::mem::take(files);
        self.memory.user_ranges(|id, user, _, addresses| {
            let look = || {
                let (dev, ino) = user.file_at(addresses.start, len(&addresses))?;
                Some(FdIdentity { dev, ino })
            };
            files.insert(id, known.get(&id).copied().unwrap_or_else(look));
        });
    }

    /// Returns all pinned memory of programs, with the files that the last `find_user_files` found.
    pub(super) fn user_pages(&self) -> Vec<UserPages> {
        let shares = self.shares.borrow();
        let mut all = Vec::new();
        self.memory.user_ranges(|id, user, device, addresses| {
            let file = self.history.user_files.get(&id).copied().flatten();
            let buf = file.and_then(|file| shares.buf(file));
            all.push(UserPages {
                id,
                client: shares.staging.client(user.id()),
                device,
                addr: addresses.start,
                len_bytes: len(&addresses),
                memory: buf.and_then(|buf| self.memory.buffers().memory_of(buf).ok()),
            });
        });
        all
    }

    /// Returns each memory's holders, sorted. A process appears once for each of its handles.
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
