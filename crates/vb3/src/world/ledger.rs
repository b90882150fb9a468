//! Who has held each buffer over the run, for the report.
//!
//! The holders of a buffer are looked at when a handle or an attachment has come or gone. Fences come
//! with every frame: they are taken down only as they stand at such a moment.

use super::shares::HeldBy;
use super::{World, summary};
use crate::report::{BufferReport, HolderReport, MAX_BUFFERS};
use std::collections::BTreeMap;
use vb3_dmabuf::fence::Owner;
use vb3_dmabuf::{HolderKind, MemoryId, Store as _, UserKind};

/// Most buffers followed at one time.
const MAX_FOLLOWED: usize = 256;
/// Most holders kept of one buffer.
const MAX_HOLDERS: usize = 64;

/// One holder, as it is told apart from others.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Holder {
    kind: &'static str,
    device: String,
    process: u32,
}

impl Holder {
    fn of(kind: &'static str, device: String) -> Self {
        Self {
            kind,
            device,
            process: 0,
        }
    }
}

/// A buffer that is there.
#[derive(Debug)]
struct Row {
    told: BufferReport,
    /// For each of its holders, since when it holds the buffer.
    since: Vec<Option<u64>>,
}

impl Row {
    /// Takes in who holds the buffer now.
    fn look(&mut self, now: &[Holder], now_ns: u64) {
        let is = |told: &HolderReport, holder: &Holder| {
            (&*told.kind, &*told.device, told.process)
                == (holder.kind, &*holder.device, holder.process)
        };
        for (told, since) in self.told.holders.iter_mut().zip(&mut self.since) {
            told.at_end = now.iter().any(|holder| is(told, holder));
            match (told.at_end, *since) {
                (true, None) => *since = Some(now_ns),
                (false, Some(from)) => {
                    told.longest_ns = told.longest_ns.max(now_ns.saturating_sub(from));
                    *since = None;
                }
                _ => {}
            }
        }
        for holder in now {
            if self.told.holders.iter().any(|told| is(told, holder)) {
                continue;
            }
            if self.since.len() >= MAX_HOLDERS {
                self.told.holders_left_out += 1;
                continue;
            }
            self.since.push(Some(now_ns));
            self.told.holders.push(HolderReport {
                kind: holder.kind.to_owned(),
                device: holder.device.clone(),
                process: holder.process,
                name: super::buffers::process_name(holder.process),
                longest_ns: 0,
                at_end: true,
            });
        }
    }

    /// What there is to tell now.
    fn tell(&self, now_ns: u64) -> BufferReport {
        let mut told = self.told.clone();
        for (holder, since) in told.holders.iter_mut().zip(&self.since) {
            let held = since.map_or(0, |from| now_ns.saturating_sub(from));
            holder.longest_ns = holder.longest_ns.max(held);
        }
        told
    }
}

/// All buffers of a run and who held them.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// Handles and attachments that had come and gone at the last look.
    changes: u64,
    live: BTreeMap<MemoryId, Row>,
    gone: Vec<BufferReport>,
    left_out: u64,
    /// Most that were there at one time and not followed.
    most_unfollowed: u64,
}

impl Ledger {
    /// The buffers of the run, and how many are left out.
    pub(super) fn tell(&self, now_ns: u64) -> (Vec<BufferReport>, u64) {
        let live = self.live.values().map(|row| row.tell(now_ns));
        (
            self.gone.iter().cloned().chain(live).collect(),
            self.left_out + self.most_unfollowed,
        )
    }

    fn end(&mut self, row: Row, now_ns: u64) {
        let mut row = row;
        row.look(&[], now_ns);
        if self.gone.len() < MAX_BUFFERS - MAX_FOLLOWED {
            self.gone.push(row.told);
        } else {
            self.left_out += 1;
        }
    }
}

impl World {
    /// Takes down who holds which buffer, if that has changed.
    pub(super) fn follow_holders(&mut self) {
        let changes = self.memory.buffers().changes();
        if core::mem::replace(&mut self.ledger.changes, changes) == changes {
            return;
        }
        let now_ns = self.clock.now_ns();
        let given = self.shares.borrow().all_holders();
        let mut ledger = core::mem::take(&mut self.ledger);
        let is_gone = |id: &MemoryId| self.memory.buffers().memory(*id).is_none();
        let gone: Vec<MemoryId> = ledger.live.keys().copied().filter(is_gone).collect();
        for id in gone {
            if let Some(row) = ledger.live.remove(&id) {
                ledger.end(row, now_ns);
            }
        }
        let all: Vec<MemoryId> = self.memory.buffers().memories().map(|(id, _)| id).collect();
        let mut unfollowed = 0;
        for id in all {
            if !ledger.live.contains_key(&id) {
                if ledger.live.len() >= MAX_FOLLOWED {
                    unfollowed += 1;
                    continue;
                }
                let since = Vec::new();
                let told = self.new_row(id);
                ledger.live.insert(id, Row { told, since });
            }
            let holders = self.holders_of(id, given.get(&id).map_or(&[], Vec::as_slice));
            let memory = self.memory.buffers().memory(id);
            if let (Some(row), Some(memory)) = (ledger.live.get_mut(&id), memory) {
                row.look(&holders, now_ns);
                let is_owned = holders.iter().any(|holder| holder.kind == "queue");
                row.told.orphaned |= memory.device().is_some() && !is_owned;
                row.told.revoked |= memory.is_revoked();
            }
        }
        ledger.most_unfollowed = ledger.most_unfollowed.max(unfollowed);
        self.ledger = ledger;
    }

    fn new_row(&self, id: MemoryId) -> BufferReport {
        let place = summary::place(&self.nodes, id.get()).unwrap_or_default();
        let memory = self.memory.buffers().memory(id);
        BufferReport {
            number: id.to_string(),
            device: place.device,
            queue: place.queue.to_owned(),
            buffer: place.buffer,
            plane: place.plane,
            bytes: memory.map_or(0, |memory| memory.len_bytes()),
            ..BufferReport::default()
        }
    }

    /// Who holds a buffer, each once. `given` is what programs have of it.
    fn holders_of(&self, id: MemoryId, given: &[HeldBy]) -> Vec<Holder> {
        let Some(memory) = self.memory.buffers().memory(id) else {
            return Vec::new();
        };
        let own = memory.holders().filter_map(|holder| match holder.kind {
            HolderKind::User(UserKind::Plane) => Some(Holder::of("queue", String::new())),
            HolderKind::Vmap => Some(Holder::of("cpu-mapping", String::new())),
            _ => None,
        });
        let given = given.iter().map(|held| {
            let (kind, process) = match *held {
                HeldBy::Mapping(pid) => ("mapping", pid),
                HeldBy::Descriptor(pid) => ("descriptor", pid),
            };
            let device = String::new();
            Holder {
                kind,
                device,
                process,
            }
        });
        let list = memory.attachments();
        let keys = std::iter::successors(list.next(None), |key| list.next(Some(*key)));
        let attached = keys.filter_map(|key| Some(list.get(key)?.device()));
        let attached = attached.map(|dev| Holder::of("attachment", self.name_of(dev)));
        let fences = self.memory.fences().owners(id);
        let fences = fences.filter_map(|owner| match owner {
            Owner::Device(dev) => Some(Holder::of("fence", self.name_of(dev))),
            Owner::Program(_) | Owner::Driver => None,
        });
        let mut all: Vec<Holder> = own.chain(given).chain(attached).chain(fences).collect();
        all.sort_unstable();
        all.dedup();
        all
    }
}
