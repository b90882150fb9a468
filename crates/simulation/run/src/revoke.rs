//! Revokes buffers while programs and devices hold them: `vb3 ctl revoke`.
//!
//! Only the buffer's memory is revoked. Holders keep their descriptors, mappings and attachments until they
//! release them, and the memory stays allocated until the last holder does. Devices' mappings end: an access
//! at an old address faults on the machine's bus. Programs with a mapping read zeroes at once, since the file
//! that they map loses its pages, and their writes reach no device, as after a graphics device was unplugged.
//!
//! Source: Linux 6.19 drivers/vfio/pci/vfio_pci_dmabuf.c (attach and map fail with ENODEV), 6.12
//! drivers/gpu/drm/ttm/ttm_bo_vm.c `ttm_bo_vm_dummy_page`. Differs: that page belongs to one
//! process; here programs that map the same buffer still see each other's writes.

use crate::Run;
use crate::memory::{RunMemory, Shared};
use vb3_dmabuf::{MemoryId, UserKind};
use vb3_queue::Queue;

/// Returns the report's note on revoked buffers; `None` if there are none.
pub(super) fn remark(count: u64) -> Option<String> {
    let (buffers, memory) = match count {
        0 => return None,
        1 => ("one buffer was".to_owned(), "the revoked buffer"),
        count => (format!("{count} buffers were"), "their memory"),
    };
    Some(format!(
        "{buffers} revoked: devices could no longer reach {memory}, and programs found zeroes there"
    ))
}

impl Run {
    /// Revokes the buffer with this number in the list of buffers.
    pub(super) fn revoke_by_name(&mut self, name: &str) -> Result<(), String> {
        let buffers = self.memory.buffers();
        let named = buffers.memories().find(|id| id.to_string() == name);
        let state = named.and_then(|id| Some((id, buffers.inspect(id, |m| m.is_revoked())?)));
        let Some((id, is_revoked)) = state else {
            return Err(format!(
                "\"{name}\" is not a buffer of this run; `vb3 ctl buffers` lists them with their \
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
        self.after_call();
        Ok(())
    }

    /// Unplugs a device and revokes its exported buffers.
    pub(super) fn unplug_and_revoke(&mut self, device: &str) -> Result<(), String> {
        if self.card_named(device).is_some() {
            return Err(format!(
                "unplugging the monitors of {device} takes no buffers; leave out the revocation"
            ));
        }
        self.set_now();
        let at = self.plug_by_name(device, false)?;
        let dma = self.nodes.get(at).map(|node| node.dma);
        // The device's queues are gone. Their buffers without other holders are gone, too.
        let buffers = self.memory.buffers();
        let is_exported =
            |memory: &Shared| memory.device() == dma && memory.users(UserKind::Export) > 0;
        let exported = buffers.memories();
        let exported: Vec<MemoryId> = exported
            .filter(|id| buffers.inspect(*id, is_exported) == Some(true))
            .collect();
        for id in exported {
            // The memory that a device exports belongs to the machine, so `revoke` does not return false.
            self.revoke(id);
        }
        self.after_call();
        Ok(())
    }

    /// Revokes a buffer's memory. Returns `false`, and changes nothing, for memory that does not belong to the
    /// machine.
    pub(super) fn revoke(&mut self, id: MemoryId) -> bool {
        let machine = self.memory.ops().platform();
        let own = self.memory.buffers().inspect(id, |memory| {
            machine.own_memory(memory.memory().pages(), memory.memory().segments())
        });
        let Some(own) = own.flatten() else {
            return false;
        };
        // Later, the devices' addresses of this memory may be given to other memory. So no device may keep
        // using them.
        let now_ns = self.clock.now_ns();
        for node in self.nodes.iter_mut() {
            let is_lost = |_: &RunMemory, plane: &vb3_plane::Plane<_>| {
                plane.memory().is_none() && plane.used_memory() == Some(id)
            };
            node.video.withdraw(&mut self.memory, now_ns, is_lost);
        }
        let machine = self.memory.ops().platform();
        machine.wipe(own);
        // If a mapping could not be removed, devices' accesses through it fault after `withdraw`.
        let _ = self.memory.revoke(id);
        self.memory.ops().platform().withdraw(own);
        self.history.revoked += 1;
        self.fail_queues_without_buffers();
        true
    }

    /// Ends a stream with an error if all its own buffers were revoked, as a driver that gives up does.
    /// Otherwise a program that polls the stream would wait for ever.
    fn fail_queues_without_buffers(&mut self) {
        let is_lost = |memory: &RunMemory, queue: &Queue<RunMemory>| {
            let is_left = |plane: &vb3_plane::Plane<_>| {
                let id = plane.memory();
                let is_revoked = id.and_then(|id| memory.buffers().inspect(id, |m| m.is_revoked()));
                is_revoked != Some(true)
            };
            queue.is_streaming()
                && queue.memory() == Some(vb3_queue::Memory::Mmap)
                && queue.find_plane(is_left).is_none()
        };
        let now_ns = self.clock.now_ns();
        for node in self.nodes.iter_mut() {
            node.video.fail_queues(&mut self.memory, now_ns, is_lost);
        }
    }
}
