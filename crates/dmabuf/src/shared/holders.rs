//! Who holds a memory.

use crate::{Attachment, Shared, Store, UserKind};
use vb3_dma::{Direction, DmaOps};

/// In what way memory is held.
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

/// One line of the list of holders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Holder<D> {
    /// In what way.
    pub kind: HolderKind,
    /// How many of this kind (1 for attachments).
    pub count: u32,
    /// The device, for attachments and for the plane's queue.
    pub device: Option<D>,
    /// When the oldest of this kind began, host's clock.
    pub since_ns: u64,
}

/// Iterates over the holders of a [`Shared`] memory: handles first, then devices.
pub struct Holders<'a, O: DmaOps, L: Store<Attachment<O>>> {
    shared: &'a Shared<O, L>,
    step: u8,
    last: Option<L::Key>,
}

impl<'a, O: DmaOps, L: Store<Attachment<O>>> Holders<'a, O, L> {
    pub(crate) fn new(shared: &'a Shared<O, L>) -> Self {
        Self {
            shared,
            step: 0,
            last: None,
        }
    }

    fn vmap(&self) -> Option<Holder<O::Device>> {
        let users = self.shared.state.vmaps();
        (users.count > 0).then_some(Holder {
            kind: HolderKind::Vmap,
            count: users.count,
            device: None,
            since_ns: users.since_ns,
        })
    }

    fn handle(&self, kind: UserKind) -> Option<Holder<O::Device>> {
        let users = self.shared.state.users(kind);
        (users.count > 0).then_some(Holder {
            kind: HolderKind::User(kind),
            count: users.count,
            device: match kind {
                UserKind::Plane => self.shared.device(),
                UserKind::Mapping | UserKind::Export => None,
            },
            since_ns: users.since_ns,
        })
    }
}

impl<O: DmaOps, L: Store<Attachment<O>>> Iterator for Holders<'_, O, L> {
    type Item = Holder<O::Device>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.step < 4 {
            let found = match self.step {
                0 => self.handle(UserKind::Plane),
                1 => self.handle(UserKind::Mapping),
                2 => self.handle(UserKind::Export),
                _ => self.vmap(),
            };
            self.step += 1;
            if found.is_some() {
                return found;
            }
        }
        let key = self.shared.attachments().next(self.last)?;
        self.last = Some(key);
        let attachment = self.shared.attachments().get(key)?;
        Some(Holder {
            kind: match attachment.direction() {
                Some(direction) => HolderKind::Mapped(direction),
                None => HolderKind::Attached,
            },
            count: 1,
            device: Some(attachment.device()),
            since_ns: attachment.since_ns(),
        })
    }
}
