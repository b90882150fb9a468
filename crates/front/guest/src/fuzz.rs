//! For fuzzing: serves queues that lie in guest RAM, without a VMM.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use rustix::fd::AsFd as _;
use vhost_user_backend::{VhostUserBackend as _, VringT as _};
use vm_memory::{Bytes as _, GuestAddress, GuestMemoryAtomic, GuestMemoryMmap};
use vmm_sys_util::epoll::EventSet;

use crate::backend::{BELL, Backend, COMMANDS, QUEUE_SIZE, Ram, Vring};
use crate::device::{Device, Options};
use crate::shared::{Bell, Shared};
use vb3_frontend::{Devices, NodeId};

/// Addresses of a queue's table of descriptors, of available and of used chains.
type Places = [u64; 3];

/// Serves a node to a guest until all commands in its queue are carried out. The guest's RAM holds `ram`; the queues of
/// commands and events, of 256 descriptors each, lie in it at these places. There is no shared memory region.
///
/// # Errors
/// The system refuses threads or descriptors, or the device cannot be used.
pub fn serve_ram(
    devices: Arc<Mutex<dyn Devices>>,
    node: NodeId,
    ram: &[u8],
    queues: [Places; 2],
) -> io::Result<()> {
    let memory = GuestMemoryMmap::<()>::from_ranges(&[(GuestAddress(0), ram.len())]);
    let memory = memory.map_err(io::Error::other)?;
    memory
        .write_slice(ram, GuestAddress(0))
        .map_err(io::Error::other)?;
    let memory = GuestMemoryAtomic::new(memory);
    let mut vrings = Vec::new();
    for [table, available, used] in queues {
        let vring = Vring::new(memory.clone(), QUEUE_SIZE as u16).map_err(io::Error::other)?;
        vring
            .set_queue_info(table, available, used)
            .map_err(io::Error::other)?;
        vring.set_queue_ready(true);
        vring.set_enabled(true);
        vrings.push(vring);
    }
    let bell = Arc::new(Bell::new()?);
    let bells = BTreeMap::from([(node, Arc::clone(&bell))]);
    let shared = Arc::new(Shared::new(devices, bells)?);
    let options = Options { dma_bufs: true };
    let backend = Backend::new(Device::new(Arc::clone(&shared), node, options), bell);
    let backend = backend.map_err(|errno| io::Error::other(errno.to_string()))?;
    let stop = Bell::new()?;
    std::thread::scope(|scope| {
        scope.spawn(|| shared.pass_time(stop.as_fd()));
        let served = serve_chains(&backend, memory, &vrings);
        backend.disconnected();
        stop.ring();
        served
    })?;
    shared.end();
    Ok(())
}

/// Carries out the commands in the queues, and sends the buffers and events that have come meanwhile.
fn serve_chains(backend: &Backend, memory: Ram, vrings: &[Vring]) -> io::Result<()> {
    backend.update_memory(memory)?;
    backend.handle_event(COMMANDS, EventSet::IN, vrings, 0)?;
    backend.handle_event(BELL as u16, EventSet::IN, vrings, 0)
}
