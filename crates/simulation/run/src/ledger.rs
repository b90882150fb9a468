//! Records who held each buffer over the run, for the report.
//!
//! The ledger looks at a buffer's holders when a handle or an attachment was added or removed. Fences
//! change with every frame, so the ledger only records the fences that exist at such a moment.

use crate::holders::HeldBy;
use crate::users::UserPages;
use crate::{Run, summary};
use std::collections::{BTreeMap, BTreeSet};
use vb3_dmabuf::fence::Owner;
use vb3_dmabuf::{MemoryId, SlabKey, UserKind};
use vb3_frontend::Client;
use vb3_report::{BufferReport, HolderReport, MAX_BUFFERS};

/// Maximum number of buffers recorded at one time.
const MAX_FOLLOWED: usize = 256;
/// Maximum number of holders recorded per buffer.
const MAX_HOLDERS: usize = 64;

/// One holder, with everything that distinguishes it from others.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Holder {
    kind: &'static str,
    device: String,
    client: Option<Client>,
}

impl Holder {
    fn of(kind: &'static str, device: String) -> Self {
        Self {
            kind,
            device,
            client: None,
        }
    }

    /// Returns the process for the report, or 0 without one.
    fn process(&self) -> u32 {
        self.client.map_or(0, |client| client.pid())
    }

    /// Returns the name for the report: that of the process, or of the guest's session.
    fn name(&self) -> String {
        let Some(client) = self.client else {
            return String::new();
        };
        match client.owner {
            vb3_frontend::Owner::Process(_) => client.label.to_string(),
            vb3_frontend::Owner::Session(_) => client.to_string(),
        }
    }
}

/// The buffer that a row describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Named {
    /// Memory that can be shared.
    Shared(MemoryId),
    /// A program's own memory.
    User(SlabKey),
}

/// The row of a buffer that still exists.
#[derive(Debug)]
struct Row {
    /// How many rows were made before this one.
    number: u64,
    told: BufferReport,
    /// When each current holder began to hold the buffer.
    since: Vec<Option<u64>>,
}

impl Row {
    /// Updates the row with the current holders.
    fn look(&mut self, now: &[Holder], now_ns: u64) {
        let is = |told: &HolderReport, holder: &Holder| {
            (&*told.kind, &*told.device, told.process)
                == (holder.kind, &*holder.device, holder.process())
                && told.name == holder.name()
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
        let mut left_out = 0;
        for holder in now {
            if self.told.holders.iter().any(|told| is(told, holder)) {
                continue;
            }
            if self.since.len() >= MAX_HOLDERS {
                left_out += 1;
                continue;
            }
            self.since.push(Some(now_ns));
            self.told.holders.push(HolderReport {
                kind: holder.kind.to_owned(),
                device: holder.device.clone(),
                process: holder.process(),
                name: holder.name(),
                longest_ns: 0,
                at_end: true,
            });
        }
        self.told.holders_left_out = self.told.holders_left_out.max(left_out);
    }

    /// Returns the report's entry as of `now_ns`.
    fn tell(&self, now_ns: u64) -> BufferReport {
        let mut told = self.told.clone();
        for (holder, since) in told.holders.iter_mut().zip(&self.since) {
            let held = since.map_or(0, |from| now_ns.saturating_sub(from));
            holder.longest_ns = holder.longest_ns.max(held);
        }
        told
    }
}

/// All buffers of a run and their holders.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// Count of handle and attachment changes at the last look.
    changes: u64,
    live: BTreeMap<Named, Row>,
    /// Rows of freed buffers, with their numbers.
    gone: Vec<(u64, BufferReport)>,
    /// Rows made so far.
    made: u64,
    left_out: u64,
    /// Largest number of buffers without a row that existed at one time.
    most_unfollowed: u64,
    /// Number of rows for programs' own memory. `unfollowed_users` counts the ranges of such memory without a
    /// row.
    users: usize,
    unfollowed_users: usize,
    /// Buffers that had fences at the last look.
    fenced: BTreeSet<MemoryId>,
    #[cfg(test)]
    looks: u64,
}

impl Ledger {
    /// Returns the buffers in the order of their rows' creation, and how many have no row. The kernel chooses
    /// when buffers end, so an order by these ends would differ between runs.
    pub(super) fn tell(&self, now_ns: u64) -> (Vec<BufferReport>, u64) {
        let live = self.live.values();
        let live = live.map(|row| (row.number, row.tell(now_ns)));
        let mut rows: Vec<_> = self.gone.iter().cloned().chain(live).collect();
        rows.sort_by_key(|(number, _)| *number);
        let rows = rows.into_iter().map(|(_, row)| row).collect();
        (rows, self.left_out + self.most_unfollowed)
    }

    /// Returns how often the ledger has looked at the holders of a buffer.
    #[cfg(test)]
    pub(super) const fn looks(&self) -> u64 {
        self.looks
    }

    /// Returns the ids of the rows of shareable memory.
    fn shared(&self) -> impl Iterator<Item = MemoryId> {
        self.live.keys().filter_map(|row| match row {
            Named::Shared(id) => Some(*id),
            Named::User(_) => None,
        })
    }

    /// Returns a buffer's row. Makes it from `told` if it is new; `None` if there are too many rows.
    fn follow(&mut self, id: Named, told: impl FnOnce() -> BufferReport) -> Option<&mut Row> {
        if !self.live.contains_key(&id) {
            if self.live.len() >= MAX_FOLLOWED {
                return None;
            }
            let row = Row {
                number: self.made,
                told: told(),
                since: Vec::new(),
            };
            self.made += 1;
            self.live.insert(id, row);
        }
        self.live.get_mut(&id)
    }

    fn end(&mut self, row: Row, now_ns: u64) {
        let mut row = row;
        row.look(&[], now_ns);
        if self.gone.len() < MAX_BUFFERS - MAX_FOLLOWED {
            self.gone.push((row.number, row.told));
        } else {
            self.left_out += 1;
        }
    }
}

impl Run {
    /// Records who holds which buffer, if that has changed. Unchanged buffers cost nothing.
    pub(super) fn follow_holders(&mut self) {
        let touched = self.shares.get_mut().take_touched();
        let changes = self.memory.buffers().changes();
        let unchanged = core::mem::replace(&mut self.history.ledger.changes, changes) == changes;
        if unchanged && touched.is_empty() {
            return;
        }
        let now_ns = self.clock.now_ns();
        let changed = self.memory.buffers().take_changed();
        let mut ledger = core::mem::take(&mut self.history.ledger);
        // A dma-buf may have been made of a program's own memory. The memory's own row then ends.
        if changed.is_none() || ledger.users > 0 {
            self.follow_users(&mut ledger, now_ns);
        }
        let looked_at: BTreeSet<MemoryId> = match changed {
            Some(changed) => changed.into_iter().chain(touched).collect(),
            None => {
                let all = self.memory.buffers().memories();
                all.chain(ledger.shared()).collect()
            }
        };
        let users = self.user_pages();
        // No notification reports the end of a fence, so buffers that had fences are looked at again.
        let fenced = core::mem::take(&mut ledger.fenced);
        for id in looked_at.union(&fenced).copied() {
            self.follow(&mut ledger, id, &users, now_ns);
        }
        let there = self.memory.buffers().memory_count();
        let followed = ledger.live.len() - ledger.users;
        let unfollowed = there.saturating_sub(followed) + ledger.unfollowed_users;
        ledger.most_unfollowed = ledger.most_unfollowed.max(unfollowed as u64);
        self.history.ledger = ledger;
    }

    /// Records the holders of shareable memory.
    fn follow(&self, ledger: &mut Ledger, id: MemoryId, users: &[UserPages], now_ns: u64) {
        let buffers = self.memory.buffers();
        let facts = buffers.inspect(id, |m| (m.device().is_some(), m.is_revoked()));
        let Some((is_ours, is_revoked)) = facts else {
            if let Some(row) = ledger.live.remove(&Named::Shared(id)) {
                ledger.end(row, now_ns);
            }
            return;
        };
        let Some(row) = ledger.follow(Named::Shared(id), || self.new_row(id)) else {
            return;
        };
        let of = users.iter().filter(|user| user.memory == Some(id));
        let mut given = self.shares.borrow().holders(id);
        given.extend(of.map(|user| HeldBy::Pages(user.client, user.device)));
        let holders = self.holders_of(id, &given);
        row.look(&holders, now_ns);
        let is = |kind| holders.iter().any(|holder| holder.kind == kind);
        row.told.orphaned |= is_ours && !is("queue");
        row.told.revoked |= is_revoked;
        if is("fence") {
            ledger.fenced.insert(id);
        }
        #[cfg(test)]
        {
            ledger.looks += 1;
        }
    }

    /// Records the holders of programs' own memory.
    fn follow_users(&mut self, ledger: &mut Ledger, now_ns: u64) {
        self.find_user_files();
        let users = self.user_pages();
        let own = users.iter().filter(|user| user.memory.is_none());
        let own: BTreeMap<SlabKey, &UserPages> = own.map(|user| (user.id, user)).collect();
        let is_gone = |row: &Named| matches!(row, Named::User(id) if !own.contains_key(id));
        let gone: Vec<Named> = ledger.live.keys().copied().filter(is_gone).collect();
        for id in gone {
            if let Some(row) = ledger.live.remove(&id) {
                ledger.end(row, now_ns);
            }
        }
        (ledger.users, ledger.unfollowed_users) = (0, 0);
        for (id, user) in own {
            match ledger.follow(Named::User(id), || self.new_user_row(user)) {
                Some(row) => {
                    row.look(&user_holders(user), now_ns);
                    ledger.users += 1;
                }
                None => ledger.unfollowed_users += 1,
            }
        }
    }

    fn new_row(&self, id: MemoryId) -> BufferReport {
        let place = summary::place(&self.nodes, id.get()).unwrap_or_default();
        let len_bytes = self
            .memory
            .buffers()
            .inspect(id, |memory| memory.len_bytes());
        BufferReport {
            number: id.to_string(),
            device: place.device,
            queue: place.queue.to_owned(),
            buffer: place.buffer,
            plane: place.plane,
            bytes: len_bytes.unwrap_or(0),
            ..BufferReport::default()
        }
    }

    fn new_user_row(&self, user: &UserPages) -> BufferReport {
        let place = self.user_place(user.id);
        BufferReport {
            number: format!("u{:?}", user.id),
            device: place.device,
            queue: place.queue.to_owned(),
            buffer: place.buffer,
            plane: place.plane,
            bytes: user.len_bytes,
            address: user.addr,
            ..BufferReport::default()
        }
    }

    /// Returns the holders of a buffer, each once. `given` has the handles that programs hold.
    fn holders_of(&self, id: MemoryId, given: &BTreeSet<HeldBy>) -> Vec<Holder> {
        let own = self.memory.buffers().inspect(id, |memory| {
            let queue = (memory.users(UserKind::Plane) > 0).then_some("queue");
            let mapping = memory.vmapped().map(|_| "cpu-mapping");
            let own = queue.into_iter().chain(mapping);
            let own = own.map(|kind| Holder::of(kind, String::new()));
            let attached = memory.attachments().iter();
            let attached = attached.map(|(_, attachment)| attachment.device());
            let attached = attached.map(|dev| Holder::of("attachment", self.name_of(dev)));
            own.chain(attached).collect::<Vec<Holder>>()
        });
        let Some(mut all) = own else {
            return Vec::new();
        };
        let given = given.iter().map(|held| {
            let (kind, client, device) = match *held {
                HeldBy::Mapping(client) => ("mapping", client, String::new()),
                HeldBy::Descriptor(client) => ("descriptor", client, String::new()),
                HeldBy::Pages(client, dev) => ("user-pages", client, self.name_of(dev)),
            };
            Holder {
                kind,
                device,
                client: Some(client),
            }
        });
        all.extend(given);
        self.memory.buffers().fence_owners(id, |owner| match owner {
            Owner::Device(dev) => all.push(Holder::of("fence", self.name_of(dev))),
            Owner::Program(_) | Owner::Driver => {}
        });
        all.sort_unstable();
        all.dedup();
        all
    }
}

/// Returns the holders of a program's own memory.
fn user_holders(user: &UserPages) -> [Holder; 2] {
    let queue = Holder::of("queue", String::new());
    let pages = Holder {
        client: Some(user.client),
        ..Holder::of("user-pages", String::new())
    };
    [queue, pages]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holders_beyond_the_limit_count_once() {
        let mut row = Row {
            number: 0,
            told: BufferReport::default(),
            since: Vec::new(),
        };
        let holder = |n: usize| Holder::of("device", format!("/dev/video{n}"));
        let all: Vec<Holder> = (0..MAX_HOLDERS + 2).map(holder).collect();
        (0..3).for_each(|now_ns| row.look(&all, now_ns));
        assert_eq!(row.told.holders_left_out, 2);
    }
}
