//! Buffers that are taken back while programs and devices hold them: `vb3 ctl revoke`.
//!
//! Nothing is taken from those who hold the buffer but its bytes: descriptors, mappings and attachments
//! stay theirs to let go. Devices' mappings end, and what they do at addresses that they still have
//! faults in the machine's bus. Programs that have it mapped find zeroes, and memory of no device where
//! they write, as below a graphics device that was unplugged. The memory counts as used until the last
//! holder has let go.
//!
//! Source: Linux 6.19 drivers/vfio/pci/vfio_pci_dmabuf.c (attach and map fail with ENODEV), 6.12
//! drivers/gpu/drm/ttm/ttm_bo_vm.c `ttm_bo_vm_dummy_page`. Differs: that page is the process's own; here
//! programs that have the same buffer mapped go on seeing what each other write to it.

use super::World;
use super::memory::Memory;
use vb3_dmabuf::{HolderKind, MemoryId, UserKind};
use vb3_queue::Queue;

impl World {
    /// Revokes the buffer of a number in the list of buffers.
    pub(super) fn revoke_by_name(&mut self, name: &str) -> Result<String, String> {
        let all = self.memory.buffers().memories();
        let all = all.map(|(id, memory)| (id, memory.is_revoked()));
        let named: Vec<(MemoryId, bool)> = all.filter(|(id, _)| id.to_string() == name).collect();
        let &[(id, is_revoked)] = &named[..] else {
            return Err(format!(
                "\"{name}\" is no buffer of this run; `vb3 ctl buffers` lists them with their \
                 numbers"
            ));
        };
        if is_revoked {
            return Err(format!("buffer {name} is revoked already"));
        }
        self.set_now();
        if !self.revoke(id) {
            return Err(format!(
                "buffer {name} is a program's or another driver's memory, which only they can take \
                 back"
            ));
        }
        self.look_around();
        Ok(String::new())
    }

    /// Unplugs a device and revokes what it has exported.
    pub(super) fn unplug_and_revoke(&mut self, device: &str) -> Result<String, String> {
        self.set_now();
        let at = self.plug_by_name(device, false)?;
        let dma = self.nodes.get(at).map(|node| node.dma);
        // Its queues are gone, and with them all that nobody else holds.
        let exported = self.memory.buffers().memories().filter(|(_, memory)| {
            let mut holders = memory.holders();
            let is_export = |kind| kind == HolderKind::User(UserKind::Export);
            memory.device() == dma && holders.any(|holder| is_export(holder.kind))
        });
        let exported: Vec<MemoryId> = exported.map(|(id, _)| id).collect();
        for id in exported {
            // Memory that a device exports is the machine's.
            self.revoke(id);
        }
        self.look_around();
        Ok(String::new())
    }

    /// What a person should know of it.
    pub(super) fn revoked_remark(&self) -> Option<String> {
        let buffers = match self.revoked {
            0 => return None,
            1 => "one buffer was".to_owned(),
            count => format!("{count} buffers were"),
        };
        Some(format!(
            "{buffers} revoked: devices reached them no more, and programs found zeroes there"
        ))
    }

    /// Takes a buffer's memory back from devices and programs; `false`, and nothing changed, for memory
    /// that is not the machine's own.
    pub(super) fn revoke(&mut self, id: MemoryId) -> bool {
        let Some(memory) = self.memory.buffers().memory(id) else {
            return false;
        };
        let (pages, segments) = (memory.alloc().pages(), memory.alloc().segments());
        let machine = self.memory.ops().platform();
        let Some(own) = machine.own_memory(pages, segments) else {
            return false;
        };
        machine.wipe(own);
        // A mapping that could not be taken away leads nowhere afterwards.
        let _ = self.memory.revoke(id);
        self.memory.ops().platform().withdraw(own);
        self.revoked = self.revoked.saturating_add(1);
        self.fail_queues_without_buffers();
        true
    }

    /// A stream all of whose own buffers were revoked can go on no more: it ends with an error, as below
    /// a driver that gives up. Who polls it would wait for ever.
    fn fail_queues_without_buffers(&mut self) {
        let is_lost = |memory: &Memory, queue: &Queue<Memory>| {
            let is_left = |plane: &vb3_plane::Plane<_>| {
                let shared = plane.memory().and_then(|id| memory.buffers().memory(id));
                shared.is_none_or(|shared| !shared.is_revoked())
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
