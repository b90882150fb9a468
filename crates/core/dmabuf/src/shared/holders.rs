//! The list of a memory's users: handles, attached devices and drivers' CPU mappings.

use crate::{Attachment, Shared, Store, UserKind};
use vb3_dma::{Direction, DmaOps};

/// How a user holds a memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HolderKind {
    /// A handle: a queue's plane, program mappings or exported dma-bufs.
    User(UserKind),
    /// A device that is attached but not mapped.
    Attached,
    /// A device that is attached and mapped.
    Mapped(Direction),
    /// CPU mappings made for drivers.
    Vmap,
}

/// One line of the list of a memory's users.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Holder<D> {
    /// How the memory is held.
    pub kind: HolderKind,
    /// Number of users of this kind (1 for attachments).
    pub count: u32,
    /// The device, for attachments and for the plane's queue.
    pub device: Option<D>,
    /// When the oldest user of this kind began, by the host's clock.
    pub since_ns: u64,
}

impl<O: DmaOps, L: Store<Attachment<O>>> Shared<O, L> {
    /// Lists the memory's users, handles first, then devices.
    pub fn holders(&self) -> impl Iterator<Item = Holder<O::Device>> {
        let kinds = [UserKind::Plane, UserKind::Mapping, UserKind::Export];
        let handles = kinds.map(|kind| (HolderKind::User(kind), self.state.users(kind)));
        let vmap = self.state.vmap.iter();
        let vmap = vmap.map(|(_, users)| (HolderKind::Vmap, *users));
        let handles = handles.into_iter().chain(vmap);
        let held = handles.filter(|(_, users)| users.count > 0);
        let owner = self.device();
        let held = held.map(move |(kind, users)| Holder {
            kind,
            count: users.count,
            device: owner.filter(|_| kind == HolderKind::User(UserKind::Plane)),
            since_ns: users.since_ns,
        });
        held.chain(self.attached().map(|attachment| Holder {
            kind: match attachment.direction() {
                Some(direction) => HolderKind::Mapped(direction),
                None => HolderKind::Attached,
            },
            count: 1,
            device: Some(attachment.device()),
            since_ns: attachment.since_ns(),
        }))
    }
}
