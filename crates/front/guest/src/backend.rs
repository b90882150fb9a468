//! A device as vhost-user sees it: queues, guest RAM, configuration and shared memory.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fd::AsFd as _;
use vhost::vhost_user::message::{
    VhostUserMMap, VhostUserMMapFlags, VhostUserProtocolFeatures, VhostUserShMemConfig,
};
use vhost::vhost_user::{Backend as ToVmm, VhostUserFrontendReqHandler as _};
use vhost_user_backend::{VhostUserBackend, VringRwLock, VringT as _};
use virtio_bindings::bindings::virtio_config::VIRTIO_F_VERSION_1;
use virtio_bindings::bindings::virtio_ring::VIRTIO_RING_F_INDIRECT_DESC;
use virtio_queue::{QueueOwnedT as _, QueueT as _, Reader, Writer};
use vm_memory::{
    Bytes as _, GuestAddress, GuestAddressSpace as _, GuestMemoryAtomic, GuestMemoryMmap,
};
use vmm_sys_util::epoll::EventSet;
use vmm_sys_util::event::{
    EventConsumer, EventFlag, EventNotifier, new_event_consumer_and_notifier,
};

use crate::device::{Device, Machine, Region};
use crate::memory::GuestMemory;
use crate::owner::{Bell, Handle};
use crate::protocol::{CONFIG_BYTES, response};
use crate::window::WINDOW_BYTES;
use vb3_frontend::{Errno, Map};

/// Number of queues: commands, then events.
const QUEUES: usize = 2;
/// Index of the queue of commands.
const COMMANDS: usize = 0;
/// The token of the device's bell in the worker's epoll set. The library uses 0 to [`QUEUES`].
pub(crate) const BELL: u64 = QUEUES as u64 + 1;
/// Number of descriptors in a queue.
const QUEUE_SIZE: usize = 256;
/// Longest command in bytes. The guest's driver sends less than 64 KiB.
const MAX_COMMAND: usize = 1 << 20;
/// `VHOST_USER_F_PROTOCOL_FEATURES`.
const PROTOCOL_FEATURES: u64 = 1 << 30;

type Ram = GuestMemoryAtomic<GuestMemoryMmap>;

/// A device.
pub(crate) struct Backend {
    config: [u8; CONFIG_BYTES],
    /// Only the worker's thread locks it, which may wait for the VMM while it does.
    device: Mutex<Device<Handle>>,
    /// The locks below are never held while anything waits.
    ram: Mutex<Option<Ram>>,
    to_vmm: Mutex<Option<ToVmm>>,
    is_reset: AtomicBool,
    bell: Arc<Bell>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Backend {
    pub(crate) fn new(config: [u8; CONFIG_BYTES], device: Device<Handle>, bell: Arc<Bell>) -> Self {
        Self {
            config,
            device: Mutex::new(device),
            ram: Mutex::new(None),
            to_vmm: Mutex::new(None),
            is_reset: AtomicBool::new(false),
            bell,
        }
    }

    /// Releases everything that the VMM held. Its worker has ended.
    pub(crate) fn disconnected(&self) {
        *lock(&self.to_vmm) = None;
        *lock(&self.ram) = None;
        lock(&self.device).reset();
    }

    /// Carries out all commands in the queue. A command's events come before its answer, so that a program that
    /// changes a control finds the event when the change returns.
    fn commands(
        &self,
        vring: &VringRwLock<Ram>,
        events: &VringRwLock<Ram>,
        ram: &Ram,
    ) -> Result<(), virtio_queue::Error> {
        let region = SharedRegion(lock(&self.to_vmm).clone());
        loop {
            let memory = ram.memory();
            let chain = vring.get_mut().get_queue_mut().pop_descriptor_chain(memory);
            let Some(chain) = chain else { break };
            let (head, memory) = (chain.head_index(), ram.memory());
            let machine = Machine {
                memory: &RamOf(&memory),
                region: &region,
            };
            let answer = match read_command(&memory, chain.clone()) {
                Ok(sent) => lock(&self.device).command(&sent, machine),
                Err(errno) => Some(response(Err(errno))),
            };
            self.events(events, ram)?;
            let used = answer.map_or(0, |answer| write_answer(&memory, chain, &answer));
            vring.add_used(head, used)?;
        }
        let _ = vring.signal_used_queue();
        Ok(())
    }

    /// Fills the guest's event buffers. Without a buffer, what a device has ready stays there.
    fn events(&self, vring: &VringRwLock<Ram>, ram: &Ram) -> Result<(), virtio_queue::Error> {
        let mut device = lock(&self.device);
        let mut is_any = false;
        loop {
            let memory = ram.memory();
            let mut state = vring.get_mut();
            let queue = state.get_queue_mut();
            if !queue.ready() {
                break;
            }
            let Some(chain) = queue.pop_descriptor_chain(memory.clone()) else {
                break;
            };
            let Some(event) = device.next_event(&RamOf(&memory)) else {
                queue.go_to_previous_position();
                break;
            };
            let head = chain.head_index();
            let used = write_answer(&memory, chain, &event);
            state.add_used(head, used)?;
            is_any = true;
        }
        if is_any {
            let _ = vring.signal_used_queue();
        }
        Ok(())
    }
}

type Chain = virtio_queue::DescriptorChain<vm_memory::GuestMemoryLoadGuard<GuestMemoryMmap>>;

/// Copies the readable part of a chain, once.
fn read_command(memory: &GuestMemoryMmap, chain: Chain) -> Result<Vec<u8>, Errno> {
    use std::io::Read as _;
    let mut reader = Reader::new(memory, chain).map_err(|_| Errno::EFAULT)?;
    let len = reader.available_bytes();
    if len > MAX_COMMAND {
        return Err(Errno::EINVAL);
    }
    let mut sent = vec![0; len];
    reader.read_exact(&mut sent).map_err(|_| Errno::EFAULT)?;
    Ok(sent)
}

/// Writes an answer to the writable part of a chain. If it is too long, writes only a refusal. Returns the number
/// of bytes.
fn write_answer(memory: &GuestMemoryMmap, chain: Chain, answer: &[u8]) -> u32 {
    use std::io::Write as _;
    let Ok(mut writer) = Writer::new(memory, chain) else {
        return 0;
    };
    let refusal = response(Err(Errno::EINVAL));
    let answer = match writer.available_bytes() {
        room if room >= answer.len() => answer,
        room if room >= refusal.len() => &refusal,
        _ => return 0,
    };
    match writer.write_all(answer) {
        Ok(()) => u32::try_from(answer.len()).unwrap_or(0),
        Err(_) => 0,
    }
}

impl VhostUserBackend for Backend {
    type Bitmap = ();
    type Vring = VringRwLock<Ram>;

    fn num_queues(&self) -> usize {
        QUEUES
    }

    fn max_queue_size(&self) -> usize {
        QUEUE_SIZE
    }

    fn features(&self) -> u64 {
        // Without EVENT_IDX: a driver makes one command at a time, so there is no notification to spare.
        PROTOCOL_FEATURES | 1 << VIRTIO_F_VERSION_1 | 1 << VIRTIO_RING_F_INDIRECT_DESC
    }

    fn protocol_features(&self) -> VhostUserProtocolFeatures {
        VhostUserProtocolFeatures::MQ
            | VhostUserProtocolFeatures::CONFIG
            | VhostUserProtocolFeatures::REPLY_ACK
            | VhostUserProtocolFeatures::BACKEND_REQ
            | VhostUserProtocolFeatures::BACKEND_SEND_FD
            | VhostUserProtocolFeatures::RESET_DEVICE
            | VhostUserProtocolFeatures::SHMEM
    }

    /// The worker resets the device before its next command: this thread must not wait for it.
    fn reset_device(&self) {
        self.is_reset.store(true, Ordering::Release);
        self.bell.ring();
    }

    fn set_event_idx(&self, _enabled: bool) {}

    fn get_config(&self, offset: u32, size: u32) -> Vec<u8> {
        let range = offset as usize..(offset as usize).saturating_add(size as usize);
        self.config.get(range).unwrap_or_default().to_vec()
    }

    fn update_memory(&self, ram: Ram) -> io::Result<()> {
        *lock(&self.ram) = Some(ram);
        Ok(())
    }

    fn set_backend_req_fd(&self, to_vmm: ToVmm) {
        *lock(&self.to_vmm) = Some(to_vmm);
    }

    fn get_shmem_config(&self) -> io::Result<VhostUserShMemConfig> {
        Ok(VhostUserShMemConfig::new(1, &[WINDOW_BYTES]))
    }

    fn exit_event(&self, _thread: usize) -> Option<(EventConsumer, EventNotifier)> {
        new_event_consumer_and_notifier(EventFlag::CLOEXEC | EventFlag::NONBLOCK).ok()
    }

    fn handle_event(
        &self,
        event: u16,
        _set: EventSet,
        vrings: &[VringRwLock<Ram>],
        _thread: usize,
    ) -> io::Result<()> {
        if u64::from(event) == BELL {
            self.bell.silence();
        }
        if self.is_reset.swap(false, Ordering::Acquire) {
            lock(&self.device).reset();
        }
        let ram = lock(&self.ram).clone();
        let (Some(ram), [commands, events, ..]) = (ram, vrings) else {
            return Ok(());
        };
        if usize::from(event) == COMMANDS {
            let done = self.commands(commands, events, &ram);
            done.map_err(io::Error::other)?;
        }
        self.events(events, &ram).map_err(io::Error::other)
    }
}

/// The guest's RAM.
struct RamOf<'a>(&'a GuestMemoryMmap);

impl GuestMemory for RamOf<'_> {
    fn read(&self, at: u64, out: &mut [u8]) -> Result<(), Errno> {
        let read = self.0.read_slice(out, GuestAddress(at));
        read.map_err(|_| Errno::EFAULT)
    }

    fn write(&self, at: u64, data: &[u8]) -> Result<(), Errno> {
        let written = self.0.write_slice(data, GuestAddress(at));
        written.map_err(|_| Errno::EFAULT)
    }
}

/// The VMM's end of the shared memory region.
struct SharedRegion(Option<ToVmm>);

impl SharedRegion {
    fn message(at: u64, len: u64, fd_offset: u64, is_writable: bool) -> VhostUserMMap {
        let flags = match is_writable {
            true => VhostUserMMapFlags::WRITABLE,
            false => VhostUserMMapFlags::empty(),
        };
        VhostUserMMap {
            shmid: 0,
            padding: [0; 7],
            fd_offset,
            shm_offset: at,
            len,
            flags: flags.bits(),
        }
    }
}

impl Region for SharedRegion {
    fn map(&self, at: u64, len: u64, map: &Map, is_writable: bool) -> Result<(), Errno> {
        let to_vmm = self.0.as_ref().ok_or(Errno::ENOMEM)?;
        let message = Self::message(at, len, map.offset, is_writable);
        let mapped = to_vmm.shmem_map(&message, &map.fd.as_fd());
        mapped.map(|_| ()).map_err(|_| Errno::ENOMEM)
    }

    fn unmap(&self, at: u64, len: u64) {
        if let Some(to_vmm) = &self.0 {
            // A VMM that has gone has unmapped everything.
            let _ = to_vmm.shmem_unmap(&Self::message(at, len, 0, false));
        }
    }
}
