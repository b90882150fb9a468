//! Lists buffers and their holders for `vb3 ctl buffers`.

use crate::Run;
use crate::holders::HeldBy;
use crate::memory::Shared;
use crate::summary;
use crate::users::UserPages;
use serde::{Deserialize, Serialize};
use std::fmt;
use vb3_dma::{Direction, DmaOps as _};
use vb3_dmabuf::fence::Owner;
use vb3_dmabuf::{Attachment, MemoryId, UserKind};
use vb3_machine::Device;
use vb3_report::sentence::bytes;

/// Longest list in bytes: what a socket accepts in one write. Buffers beyond it are only counted.
const MAX_LIST: usize = 64 << 10;
/// Bytes of an entry's field names, punctuation, id and length, at most.
const ENTRY_BYTES: usize = 128;

/// The buffers of a run, as `vb3 ctl buffers` lists them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BufferList {
    /// The buffers with their holders.
    pub buffers: Vec<ListedBuffer>,
    /// Number of further buffers, for which the list has no room.
    pub left_out: u64,
}

/// A buffer and its holders.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedBuffer {
    /// The buffer's number, by which it can be revoked.
    pub id: String,
    /// The device, queue, index and plane of the buffer, or who has left it.
    pub name: String,
    /// Length in bytes.
    pub bytes: u64,
    /// Where the buffer lies: its address, its number of runs of pages, `not placed yet` or `revoked`.
    pub place: String,
    /// The holders of the buffer, such as `its queue` or `/dev/video0, attached`.
    pub holders: Vec<String>,
}

impl ListedBuffer {
    /// Returns the greatest number of bytes that the buffer takes in an answer.
    fn answer_bytes(&self) -> usize {
        let holders = self.holders.iter().map(|holder| holder.len() + 3);
        ENTRY_BYTES + self.name.len() + self.place.len() + holders.sum::<usize>()
    }
}

impl fmt::Display for BufferList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for buffer in &self.buffers {
            let (id, name, place) = (&buffer.id, &buffer.name, &buffer.place);
            writeln!(f, "{id} {name}: {} {place}", bytes(buffer.bytes))?;
            for holder in &buffer.holders {
                writeln!(f, "  {holder}")?;
            }
        }
        match self.left_out {
            0 => Ok(()),
            count => writeln!(f, "{count} more"),
        }
    }
}

impl Run {
    /// Lists all buffers with their holders.
    #[must_use]
    pub fn list_buffers(&self) -> BufferList {
        let mut list = BufferList::default();
        let mut len = 0;
        let users = self.user_pages();
        let given = self.all_holders(&users);
        let shared = self.memory.buffers().memories().filter_map(|id| {
            let given = given.get(&id).map_or(&[][..], Vec::as_slice);
            self.buffer_entry(id, given)
        });
        let own = users.iter().filter(|user| user.memory.is_none());
        for entry in shared.chain(own.map(|user| self.user_entry(user))) {
            let longer = len + entry.answer_bytes();
            if longer > MAX_LIST {
                list.left_out += 1;
            } else {
                len = longer;
                list.buffers.push(entry);
            }
        }
        list
    }

    /// Names the first process that has a buffer of a device; empty if none has one.
    pub(super) fn user_of_buffers(&self, device: &str) -> String {
        let is_of_device = |id: &MemoryId| {
            let place = summary::place(&self.nodes, id.get());
            place.is_some_and(|place| place.device == device)
        };
        let all = self.all_holders(&self.user_pages());
        let mut held = all.iter().filter(|(id, _)| is_of_device(id));
        match held.find_map(|(_, held)| held.first()) {
            Some(
                HeldBy::Mapping(client) | HeldBy::Descriptor(client) | HeldBy::Pages(client, _),
            ) => client.to_string(),
            None => String::new(),
        }
    }

    fn user_entry(&self, user: &UserPages) -> ListedBuffer {
        let place = self.user_place(user.id);
        let last = user.addr.saturating_add(user.len_bytes).saturating_sub(1);
        ListedBuffer {
            id: format!("u{:?}", user.id),
            name: place_name(&place),
            bytes: user.len_bytes,
            place: format!("of {} at {:#x} to {last:#x}", user.client, user.addr),
            holders: vec!["its queue".to_owned()],
        }
    }

    fn buffer_entry(&self, id: MemoryId, given: &[HeldBy]) -> Option<ListedBuffer> {
        let name = self.buffer_name(id);
        let buffers = self.memory.buffers();
        let mut entry = buffers.inspect(id, |memory| ListedBuffer {
            id: id.to_string(),
            name,
            bytes: memory.len_bytes(),
            place: match memory.is_revoked() {
                true => "revoked".to_owned(),
                false => where_it_lies(memory, self.memory.ops().page_size()),
            },
            holders: self.holder_texts(memory, given),
        })?;
        buffers.fence_owners(id, |owner| {
            if let Owner::Device(dev) = owner {
                let fence = format!("a fence of {}", self.name_of(dev));
                entry.holders.push(fence);
            }
        });
        Some(entry)
    }

    /// Returns the holders of a buffer.
    fn holder_texts(&self, memory: &Shared, given: &[HeldBy]) -> Vec<String> {
        let mut list = Vec::new();
        // Processes and devices follow below, with one line each.
        if memory.users(UserKind::Plane) > 0 {
            list.push("its queue".to_owned());
        }
        if memory.vmapped().is_some() {
            list.push("a driver, by the CPU".to_owned());
        }
        list.extend(given.iter().map(|held| match *held {
            HeldBy::Mapping(client) => format!("a mapping in {client}"),
            HeldBy::Descriptor(client) => format!("a descriptor given to {client}"),
            HeldBy::Pages(client, dev) => {
                format!("pages of {client}, pinned by {}", self.name_of(dev))
            }
        }));
        for (_, attachment) in memory.attachments().iter() {
            let name = self.name_of(attachment.device());
            list.push(format!("{name}, {}", state(attachment)));
        }
        list
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
