//! A device as vhost-user sees it: queues, guest RAM, configuration and shared memory.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use rustix::fd::{AsFd, BorrowedFd};
use uuid::Uuid;
use vhost::vhost_user::message::{
    VhostUserMMap, VhostUserMMapFlags, VhostUserProtocolFeatures, VhostUserShMemConfig,
    VhostUserSharedMsg,
};
use vhost::vhost_user::{Backend as ToVmm, VhostUserFrontendReqHandler as _};
use vhost_user_backend::{VhostUserBackend, VringRwLock, VringT as _};
use virtio_bindings::bindings::virtio_config::VIRTIO_F_VERSION_1;
use virtio_bindings::bindings::virtio_ring::VIRTIO_RING_F_INDIRECT_DESC;
use virtio_queue::{DescriptorChain, Error as QueueError, Queue, QueueOwnedT as _, QueueT as _};
use vm_memory::{GuestAddressSpace as _, GuestMemoryAtomic, GuestMemoryLoadGuard, GuestMemoryMmap};
use vmm_sys_util::epoll::EventSet;

use crate::device::{Device, Machine, Region};
use crate::protocol::{CONFIG_BYTES, response};
use crate::remarks::Remarks;
use crate::shared::{Bell, Shared, lock};
use crate::window::WINDOW_BYTES;
use vb3_frontend::{Errno, Map};

/// Number of queues: commands, then events.
const QUEUES: usize = 2;
/// Index of the queue of commands.
pub(crate) const COMMANDS: u16 = 0;
/// The token of the device's bell in the epoll set of the *worker*: here, the thread of the library
/// `vhost_user_backend` that serves the queues. The library itself uses the tokens 0 to [`QUEUES`].
pub(crate) const BELL: u64 = QUEUES as u64 + 1;
/// Number of descriptors in a queue, and of commands after which the worker looks at other events.
pub(crate) const QUEUE_SIZE: usize = 256;
/// Longest command in bytes. The guest's driver sends less than 64 KiB.
const MAX_COMMAND: usize = 1 << 20;
/// `VHOST_USER_F_PROTOCOL_FEATURES`.
const PROTOCOL_FEATURES: u64 = 1 << 30;
/// The feature EVENT_IDX is not offered. It would save notifications, but a driver makes one command at a time, so
/// no notification can be saved.
pub(crate) const FEATURES: u64 =
    PROTOCOL_FEATURES | 1 << VIRTIO_F_VERSION_1 | 1 << VIRTIO_RING_F_INDIRECT_DESC;

pub(crate) type Ram = GuestMemoryAtomic<GuestMemoryMmap>;
pub(crate) type Vring = VringRwLock<Ram>;
type Chain = DescriptorChain<GuestMemoryLoadGuard<GuestMemoryMmap>>;

/// A device.
pub(crate) struct Backend {
    config: [u8; CONFIG_BYTES],
    shared: Arc<Shared>,
    /// The worker may wait for the VMM while it holds this lock. So other threads take this lock only after the
    /// worker has ended.
    device: Mutex<Device>,
    /// No thread waits for anything while it holds one of the locks below.
    ram: Mutex<Option<Ram>>,
    to_vmm: Mutex<Option<ToVmm>>,
    is_reset: AtomicBool,
    /// Whether the worker's thread must end. The library's own event for this (`exit_event`) leaks a descriptor.
    is_over: AtomicBool,
    /// Whether the queue of commands may hold more commands, although the driver has not notified the device again.
    is_more: AtomicBool,
    /// Whether the VMM has accepted features.
    pub(crate) is_accepted: AtomicBool,
    bell: Arc<Bell>,
    pub(crate) remarks: Remarks,
}

impl Backend {
    pub(crate) fn new(device: Device, bell: Arc<Bell>) -> Result<Self, Errno> {
        Ok(Self {
            config: device.config()?,
            shared: Arc::clone(&device.shared),
            device: Mutex::new(device),
            ram: Mutex::new(None),
            to_vmm: Mutex::new(None),
            is_reset: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
            is_more: AtomicBool::new(false),
            is_accepted: AtomicBool::new(false),
            bell,
            remarks: Remarks::new().map_err(|_| Errno::ENFILE)?,
        })
    }

    /// Begins to serve a VMM (false), or ends its worker (true).
    pub(crate) fn set_over(&self, is_over: bool) {
        self.is_over.store(is_over, Ordering::Release);
        self.bell.ring();
    }

    /// Releases everything that the VMM held. Its worker has ended.
    pub(crate) fn disconnected(&self) {
        *lock(&self.to_vmm) = None;
        *lock(&self.ram) = None;
        self.is_accepted.store(false, Ordering::Relaxed);
        lock(&self.device).reset(&self.region());
    }

    fn region(&self) -> SharedRegion<'_> {
        SharedRegion {
            to_vmm: lock(&self.to_vmm).clone(),
            remarks: &self.remarks,
        }
    }

    /// Carries out commands in the queue. A command's events come before its answer, so that a program that changes
    /// a control finds the event when the change returns.
    fn commands(&self, vring: &Vring, events: &Vring, ram: &Ram) -> Result<(), QueueError> {
        let region = self.region();
        let mut count = 0;
        loop {
            // No lock of a queue is held while a command is carried out.
            let chain = next_chain(vring.get_mut().get_queue_mut(), ram)?;
            let Some(chain) = chain else { break };
            let head = chain.head_index();
            let memory = ram.memory();
            let machine = Machine {
                memory: &memory,
                region: &region,
                remarks: &self.remarks,
            };
            let answer = match read(chain.clone(), &memory) {
                Ok(sent) => lock(&self.device).command(&sent, machine),
                Err(errno) => Some(response(Err(errno))),
            };
            self.events(events, ram)?;
            let used = answer.map_or(0, |answer| write(chain, &memory, &answer));
            vring.add_used(head, used)?;
            count += 1;
            if count == QUEUE_SIZE {
                // A driver may send commands without end. This thread must also handle a reset, so it carries out
                // the further commands later.
                self.is_more.store(true, Ordering::Relaxed);
                self.bell.ring();
                break;
            }
        }
        let _ = vring.signal_used_queue();
        Ok(())
    }

    /// Fills the guest's event buffers with the device's finished buffers and V4L2 events. Those for which the guest
    /// has no event buffer stay in the device.
    fn events(&self, vring: &Vring, ram: &Ram) -> Result<(), QueueError> {
        let mut device = lock(&self.device);
        let mut is_any = false;
        for _ in 0..QUEUE_SIZE {
            let memory = ram.memory();
            let mut state = vring.get_mut();
            if !state.is_enabled() || !state.get_queue().ready() {
                break;
            }
            let queue = state.get_queue_mut();
            let Some(chain) = next_chain(queue, ram)? else {
                break;
            };
            let Some(event) = device.next_event(&memory) else {
                queue.go_to_previous_position();
                break;
            };
            let head = chain.head_index();
            let used = write(chain, &memory, &event);
            state.add_used(head, used)?;
            is_any = true;
        }
        if is_any {
            let _ = vring.signal_used_queue();
        }
        Ok(())
    }
}

fn next_chain(queue: &mut Queue, ram: &Ram) -> Result<Option<Chain>, QueueError> {
    Ok(queue.iter(ram.memory())?.next())
}

/// Copies a chain's readable part, once.
fn read(chain: Chain, memory: &GuestMemoryMmap) -> Result<Vec<u8>, Errno> {
    let mut reader = chain.reader(memory).map_err(|_| Errno::EFAULT)?;
    if reader.available_bytes() > MAX_COMMAND {
        return Err(Errno::EINVAL);
    }
    let mut sent = Vec::new();
    reader.read_to_end(&mut sent).map_err(|_| Errno::EFAULT)?;
    Ok(sent)
}

/// Writes an answer to a chain's writable part. If this part is too short for the answer, writes a refusal, cut to fit.
/// Returns the number of bytes.
fn write(chain: Chain, memory: &GuestMemoryMmap, answer: &[u8]) -> u32 {
    let Ok(mut writer) = chain.writer(memory) else {
        return 0;
    };
    let room = writer.available_bytes();
    let refusal = response(Err(Errno::EINVAL));
    let answer = if room >= answer.len() {
        answer
    } else {
        &refusal[..room.min(refusal.len())]
    };
    let written = writer.write_all(answer);
    written.map_or(0, |()| u32::try_from(answer.len()).unwrap_or(0))
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
        FEATURES
    }

    fn acked_features(&self, features: u64) {
        self.is_accepted.store(true, Ordering::Relaxed);
        if features & 1 << VIRTIO_F_VERSION_1 == 0 {
            let text = "the guest's driver does not accept VIRTIO_F_VERSION_1, and media devices have no older layout";
            self.remarks.add(text.into());
        }
    }

    fn protocol_features(&self) -> VhostUserProtocolFeatures {
        VhostUserProtocolFeatures::MQ
            | VhostUserProtocolFeatures::CONFIG
            | VhostUserProtocolFeatures::REPLY_ACK
            | VhostUserProtocolFeatures::BACKEND_REQ
            | VhostUserProtocolFeatures::BACKEND_SEND_FD
            | VhostUserProtocolFeatures::CONFIGURE_MEM_SLOTS
            | VhostUserProtocolFeatures::RESET_DEVICE
            | VhostUserProtocolFeatures::SHMEM
            | VhostUserProtocolFeatures::SHARED_OBJECT
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

    fn get_shared_object(&self, wanted: VhostUserSharedMsg) -> io::Result<File> {
        let found = self.shared.step(|step| step.object(wanted.uuid));
        let found = found.unwrap_or(Err(Errno::ENODEV));
        let fd = found.ok().and_then(|known| known.fd);
        let fd = fd.ok_or(io::ErrorKind::NotFound)?;
        Ok(fd.try_clone()?.into())
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
        if self.is_over.load(Ordering::Acquire) {
            return Err(io::ErrorKind::NotConnected.into());
        }
        if self.is_reset.swap(false, Ordering::Acquire) {
            lock(&self.device).reset(&self.region());
        }
        let ram = lock(&self.ram).clone();
        let (Some(ram), [commands, events, ..]) = (ram, vrings) else {
            return Ok(());
        };
        let mut done = Ok(());
        if self.is_more.swap(false, Ordering::Relaxed) || event == COMMANDS {
            done = self.commands(commands, events, &ram);
        }
        if let Err(e) = done.and_then(|()| self.events(events, &ram)) {
            // An error here would end the worker, and a reset could not mend the queue.
            let text =
                format!("the guest's queue is broken until its driver resets the device: {e}");
            self.remarks.add(text);
        }
        Ok(())
    }
}

/// The VMM's end of the shared memory region.
struct SharedRegion<'a> {
    to_vmm: Option<ToVmm>,
    remarks: &'a Remarks,
}

impl SharedRegion<'_> {
    fn map_file(&self, message: &VhostUserMMap, fd: BorrowedFd<'_>) -> Result<(), String> {
        let page = rustix::param::page_size() as u64;
        let (offset, len) = (message.fd_offset, message.len);
        let size = rustix::fs::fstat(fd).map_or(0, |stat| stat.st_size.unsigned_abs());
        if [offset, len].iter().any(|n| !n.is_multiple_of(page)) || size < offset + len {
            let whole = "VMMs map whole pages only";
            return Err(format!(
                "the buffer's file has {size} bytes, and its part begins at {offset}: {whole}"
            ));
        }
        let to_vmm = self.to_vmm.as_ref();
        let to_vmm = to_vmm.ok_or("it has given no channel for requests (BACKEND_REQ)")?;
        let mapped = to_vmm.shmem_map(message, &fd);
        mapped.map(|_| ()).map_err(|e| e.to_string())
    }
}

impl Region for SharedRegion<'_> {
    fn map(&self, at: u64, len: u64, map: &Map, is_writable: bool) -> Result<(), Errno> {
        let message = message(at, len, map.offset, is_writable);
        self.map_file(&message, map.fd.as_fd()).map_err(|reason| {
            let what = format!("{len} bytes at offset {at:#x} of the shared memory region");
            let size = "the device asks for a region of 4 GiB";
            self.remarks
                .add(format!("the VMM does not map {what}: {reason} ({size})"));
            Errno::ENOMEM
        })
    }

    fn unmap(&self, at: u64, len: u64) {
        if let Some(to_vmm) = &self.to_vmm {
            // A VMM that has gone has unmapped everything.
            let _ = to_vmm.shmem_unmap(&message(at, len, 0, false));
        }
    }

    fn set_shared(&self, uuid: Uuid, is_shared: bool) {
        if let Some(to_vmm) = &self.to_vmm {
            // Without this feature of the VMM, only devices of the run can use the buffer.
            let _ = match is_shared {
                true => to_vmm.shared_object_add(&VhostUserSharedMsg { uuid }),
                false => to_vmm.shared_object_remove(&VhostUserSharedMsg { uuid }),
            };
        }
    }
}

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
