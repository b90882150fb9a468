//! Buffers that are taken back while programs and devices hold them: `vb3 ctl revoke`.
//!
//! Nothing is taken from those who hold the buffer but its bytes: descriptors, mappings and attachments
//! stay theirs to let go. Devices' mappings end, and what they do at addresses that they still have
//! faults in the machine's bus. Programs that have it mapped find zeroes, and memory of no device where
//! they write, as below a graphics device that was unplugged; or, where that is asked for, they fault
//! (SIGBUS), as on memory of a device that was handed to a virtual machine. The memory counts as used
//! until the last holder has let go.
//!
//! Zeroes are there at once, in any case: the pages leave the file that programs map. That they fault is
//! the front end's to bring about (`Backend::take_revoked`), process by process; the order is answered
//! when that is done.
//!
//! Source: Linux 6.19 drivers/vfio/pci/vfio_pci_dmabuf.c (attach and map fail with ENODEV), 6.12
//! drivers/gpu/drm/ttm/ttm_bo_vm.c `ttm_bo_vm_dummy_page`. Differs: that page is the process's own; here
//! programs that have the same buffer mapped go on seeing what each other write to it.

use crate::World;
use crate::memory::{Memory, Shared};
use crate::unseen::Unseen;
use std::collections::BTreeSet;
use std::str::FromStr;
use vb3_dmabuf::{HolderKind, MemoryId, UserKind};
use vb3_host::FdIdentity;
use vb3_queue::Queue;

/// What programs find in mappings of a buffer that was taken back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mappings {
    /// Zeroes. Writes go to memory of no device.
    #[default]
    Zero,
    /// Nothing: an access gets SIGBUS.
    Fault,
}

impl FromStr for Mappings {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "zero" => Ok(Self::Zero),
            "fault" => Ok(Self::Fault),
            _ => Err("zero or fault".to_owned()),
        }
    }
}

/// What was taken back.
#[derive(Debug, Default)]
pub(super) struct Revoked {
    /// What programs find, where an order does not say.
    mappings: Mappings,
    /// Buffers where programs found zeroes.
    pub(super) zeroed: u64,
    /// Buffers where they got SIGBUS.
    faulting: u64,
    /// Files on which programs are to fault, and do not yet.
    pub(super) unseen: Unseen<FdIdentity>,
    /// Memory that programs may not map again, as far as it is still there.
    closed: BTreeSet<MemoryId>,
}

impl Revoked {
    /// What a person should know of it.
    pub(super) fn remarks(&self) -> impl Iterator<Item = String> {
        let found = [
            (self.zeroed, "programs found zeroes there"),
            (self.faulting, "programs that touched it got SIGBUS"),
        ];
        let found = found.into_iter().filter(|(count, _)| *count > 0);
        found.map(|(count, what)| {
            let (buffers, memory) = match count {
                1 => ("one buffer was".to_owned(), "the revoked buffer"),
                count => (format!("{count} buffers were"), "their memory"),
            };
            format!("{buffers} revoked: devices could no longer reach {memory}, and {what}")
        })
    }
}

/// An order's device or buffer, and what programs are to find there if it says.
fn split(order: &str) -> (&str, Option<Mappings>) {
    let split = order.rsplit_once(' ');
    let found = split.and_then(|(name, word)| Some((name, word.parse().ok()?)));
    found.map_or((order, None), |(name, mappings)| (name, Some(mappings)))
}

impl World {
    /// What programs find in buffers that are revoked, where an order does not say.
    pub fn set_mappings(&mut self, mappings: Mappings) {
        self.revoked.mappings = mappings;
    }

    /// Revokes the buffer of a number in the list of buffers.
    pub(super) fn revoke_by_name(&mut self, order: &str) -> Result<String, String> {
        let (name, mappings) = split(order);
        let buffers = self.memory.buffers();
        let named = buffers.memories().find(|id| id.to_string() == name);
        let state = named.and_then(|id| Some((id, buffers.inspect(id, |m| m.is_revoked())?)));
        let Some((id, is_revoked)) = state else {
            return Err(format!(
                "\"{name}\" is no buffer of this run; `vb3 ctl buffers` lists them with their \
                 numbers"
            ));
        };
        if is_revoked {
            return Err(format!("buffer {name} is revoked already"));
        }
        self.set_now();
        if !self.revoke(id, mappings) {
            return Err(format!(
                "buffer {name} is a program's or another driver's memory, which only they can take \
                 back"
            ));
        }
        self.look_around();
        Ok(String::new())
    }

    /// Unplugs a device and revokes what it has exported.
    pub(super) fn unplug_and_revoke(&mut self, order: &str) -> Result<String, String> {
        let (device, mappings) = split(order);
        self.set_now();
        let at = self.plug_by_name(device, false)?;
        let dma = self.nodes.get(at).map(|node| node.dma);
        // Its queues are gone, and with them all that nobody else holds.
        let buffers = self.memory.buffers();
        let is_exported = |memory: &Shared| {
            let mut holders = memory.holders();
            let is_export = |kind| kind == HolderKind::User(UserKind::Export);
            memory.device() == dma && holders.any(|holder| is_export(holder.kind))
        };
        let exported = buffers.memories();
        let exported: Vec<MemoryId> = exported
            .filter(|id| buffers.inspect(*id, is_exported) == Some(true))
            .collect();
        for id in exported {
            // Memory that a device exports is the machine's.
            self.revoke(id, mappings);
        }
        self.look_around();
        Ok(String::new())
    }

    /// Takes a buffer's memory back from devices and programs, which find there what is said, or what
    /// they find in this run; `false`, and nothing changed, for memory that is not the machine's own.
    pub(super) fn revoke(&mut self, id: MemoryId, mappings: Option<Mappings>) -> bool {
        let machine = self.memory.ops().platform();
        let own = self.memory.buffers().inspect(id, |memory| {
            machine.own_memory(memory.alloc().pages(), memory.alloc().segments())
        });
        let Some(own) = own.flatten() else {
            return false;
        };
        machine.wipe(own);
        // A mapping that could not be taken away leads nowhere afterwards.
        let _ = self.memory.revoke(id);
        self.memory.ops().platform().withdraw(own);
        match mappings.unwrap_or(self.revoked.mappings) {
            Mappings::Zero => self.revoked.zeroed += 1,
            Mappings::Fault => {
                let own_file = self.memory.ops().platform().identity_of(own);
                let own_file = own_file.map(|(dev, ino)| FdIdentity { dev, ino });
                self.fault(id, own_file);
            }
        }
        self.fail_queues_without_buffers();
        true
    }

    /// Lets programs fault on all files that show memory.
    fn fault(&mut self, id: MemoryId, own_file: Option<FdIdentity>) {
        let revoked = &mut self.revoked;
        revoked.faulting += 1;
        let buffers = self.memory.buffers();
        (revoked.closed).retain(|id| buffers.inspect(*id, |_| ()).is_some());
        revoked.closed.insert(id);
        let shown = self.shares.get_mut().files_of(&self.memory, id);
        revoked.unseen.extend(shown.into_iter().chain(own_file));
    }

    /// Whether programs fault on a file's memory.
    pub(super) fn faults(&self, file: FdIdentity) -> bool {
        let buf = self.shares.borrow().buf(file);
        let info = buf.and_then(|buf| self.memory.buf(buf));
        info.is_some_and(|info| self.revoked.closed.contains(&info.memory))
    }

    /// A stream all of whose own buffers were revoked can go on no more: it ends with an error, as below
    /// a driver that gives up. Who polls it would wait for ever.
    fn fail_queues_without_buffers(&mut self) {
        let is_lost = |memory: &Memory, queue: &Queue<Memory>| {
            let is_left = |plane: &vb3_plane::Plane<_>| {
                let id = plane.memory();
                let is_revoked = id.and_then(|id| memory.buffers().inspect(id, |m| m.is_revoked()));
                is_revoked != Some(true)
            };
            queue.is_streaming()
                && queue.memory() == Some(vb3_queue::Memory::Mmap)
                && queue.find_plane(is_left).is_none()
        };
        for node in &mut self.nodes {
            node.video.fail_queues(&mut self.memory, is_lost);
        }
    }
}
