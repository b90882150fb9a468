//! Lists buffers and their holders for `vb3 ctl buffers`.

use crate::Run;
use crate::holders::HeldBy;
use crate::memory::Shared;
use crate::summary;
use crate::users::UserPages;
use std::fmt::Write as _;
use vb3_dma::{Direction, DmaOps as _};
use vb3_dmabuf::fence::Owner;
use vb3_dmabuf::{Attachment, HolderKind, MemoryId, UserKind};
use vb3_machine::Device;
use vb3_report::sentence::bytes;

/// Longest list in bytes: what a socket accepts in one write. Buffers beyond it are only counted.
const MAX_LIST: usize = 64 << 10;

impl Run {
    /// Returns all buffers with their holders, as `vb3 ctl buffers` prints them. A buffer's first line has no
    /// indent.
    #[must_use]
    pub fn list_buffers(&self) -> String {
        let mut list = String::new();
        let mut left_out = 0u64;
        let users = self.user_pages();
        let given = self.all_holders(&users);
        let shared = self.memory.buffers().memories().map(|id| {
            let given = given.get(&id).map_or(&[][..], Vec::as_slice);
            self.buffer_entry(id, given).unwrap_or_default()
        });
        let own = users.iter().filter(|user| user.memory.is_none());
        for entry in shared.chain(own.map(|user| self.user_entry(user))) {
            if list.len() + entry.len() > MAX_LIST {
                left_out += 1;
            } else {
                list += &entry;
            }
        }
        if left_out > 0 {
            let _ = writeln!(list, "{left_out} more");
        }
        list
    }

    fn user_entry(&self, user: &UserPages) -> String {
        let place = self.user_place(user.id);
        let end = user.addr.saturating_add(user.len_bytes);
        format!(
            "{} {}: {} of {} at {:#x} to {:#x}\n  its queue\n",
            user.id,
            place_name(&place),
            bytes(user.len_bytes),
            user.client,
            user.addr,
            end.saturating_sub(1)
        )
    }

    fn buffer_entry(&self, id: MemoryId, given: &[HeldBy]) -> Option<String> {
        let name = self.buffer_name(id);
        self.memory.buffers().inspect(id, |memory| {
            let entry = format!("{id} {name}: {}", bytes(memory.len_bytes()));
            self.holder_lines(entry, memory, (id, given))
        })
    }

    /// Appends the place and the holders of a buffer to its entry.
    fn holder_lines(
        &self,
        mut entry: String,
        memory: &Shared,
        (id, given): (MemoryId, &[HeldBy]),
    ) -> String {
        let place = match memory.is_revoked() {
            true => "revoked".to_owned(),
            false => where_it_lies(memory, self.memory.ops().page_size()),
        };
        let _ = writeln!(entry, " {place}");
        for holder in memory.holders() {
            // Processes and devices follow below, with one line each.
            let what = match holder.kind {
                HolderKind::User(UserKind::Plane) => "its queue",
                HolderKind::Vmap => "a driver, by the CPU",
                HolderKind::User(UserKind::Mapping | UserKind::Export)
                | HolderKind::Attached
                | HolderKind::Mapped(_) => continue,
            };
            let _ = writeln!(entry, "  {what}");
        }
        for held in given {
            let (what, client, user) = match *held {
                HeldBy::Mapping(client) => ("a mapping in", client, None),
                HeldBy::Descriptor(client) => ("a descriptor given to", client, None),
                HeldBy::Pages(client, dev) => ("pages of", client, Some(dev)),
            };
            let _ = write!(entry, "  {what} {client}");
            let user = user.map(|dev| format!(", pinned by {}", self.name_of(dev)));
            let _ = writeln!(entry, "{}", user.unwrap_or_default());
        }
        for (_, attachment) in memory.attachments().iter() {
            let name = self.name_of(attachment.device());
            let _ = writeln!(entry, "  {name}, {}", state(attachment));
        }
        self.memory.with_fences(|fences, _| {
            for owner in fences.owners(id) {
                if let Owner::Device(dev) = owner {
                    let _ = writeln!(entry, "  a fence of {}", self.name_of(dev));
                }
            }
        });
        entry
    }

    /// Returns the name of the buffer that uses this memory.
    pub(super) fn buffer_name(&self, id: MemoryId) -> String {
        if let Some(place) = summary::place(&self.nodes, id.get()) {
            return place_name(&place);
        }
        let device = self.memory.buffers().inspect(id, |memory| memory.device());
        match device.flatten() {
            Some(dev) => format!("left by {}", self.name_of(dev)),
            None => "of a heap or another driver".to_owned(),
        }
    }

    pub(super) fn name_of(&self, dev: Device) -> String {
        let node = self.nodes.iter().find(|node| node.dma == dev);
        node.map_or_else(|| "a device".to_owned(), |node| node.path.clone())
    }
}

fn place_name(place: &summary::PlaneName) -> String {
    format!(
        "{} {} buffer {} plane {}",
        place.device, place.queue, place.buffer, place.plane
    )
}

/// Returns a device's use of a buffer: attached, or mapped with a direction.
fn state(attachment: &Attachment<vb3_dma::Mapper<vb3_machine::Machine>>) -> &'static str {
    match (attachment.direction(), attachment.is_pinned()) {
        (None, _) => "attached",
        (Some(_), true) => "in use",
        (Some(Direction::ToDevice), false) => "mapped for reading",
        (Some(Direction::FromDevice), false) => "mapped for writing",
        (Some(Direction::Bidirectional), false) => "mapped for reading and writing",
    }
}

/// Describes where memory lies: its address, or its numbers of runs and of pages (`page` bytes each).
fn where_it_lies(shared: &Shared, page: u64) -> String {
    match shared.memory().segments() {
        [] => "not placed yet".to_owned(),
        [run] => format!("at {:#x}", run.addr.get()),
        runs => format!(
            "in {} runs of {} pages",
            runs.len(),
            shared.len_bytes().div_ceil(page)
        ),
    }
}
