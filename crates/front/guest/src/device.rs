//! A device of the guest: its sessions, commands and events.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::hidden;
use crate::memory::QueuedMemory;
use crate::payload::{Guest, MAX_USERS, Payload};
use crate::protocol::{
    BUFFER_BYTES, Command, EVENT_BYTES, EVENT_PLANES, PLANE_BYTES, buffer_event, config, response,
    v4l2_event,
};
use crate::remarks::Remarks;
use crate::session::{Queued, Session, field, is_multiplanar, number};
use crate::shared::Shared;
use crate::window::{Mapping, Window};
use uuid::Uuid;
use vb3_frontend::{
    Call, CallId, Effects, Errno, FileId, Gathered, Made, Map, Mmap, NodeId, On, Op, Origin,
    Outcome, Tag,
};
use vb3_v4l2::sys;
use vm_memory::GuestMemoryMmap;

/// Maximum number of sessions of one device.
const MAX_SESSIONS: usize = 256;
/// Maximum number of rounds of a call, each of which gathers at least one thing that the devices need: the
/// structure, the array, or a piece of user memory. The last round carries out the call. One more round is to spare.
const MAX_ROUNDS: usize = MAX_USERS + 4;
/// Maximum number of buffers' offsets that the sessions of a device keep.
const MAX_OFFSETS: usize = 64 << 10;
/// Maximum number of dma-bufs that the sessions of a device have exported. Each is a descriptor of this process.
const MAX_OBJECTS: usize = 128;

/// The address of the array of planes if this module itself dequeues a buffer. The structure has the addresses from
/// 0 on; this address is neither in the structure nor directly behind it.
const PLANES_AT: u32 = 1 << 16;

const PROT_READ: i32 = 1;
const PROT_WRITE: i32 = 2;
const MAP_SHARED: i32 = 1;

/// The region in which the guest sees mapped buffers.
pub(crate) trait Region {
    /// Shows `len` bytes of a file at an offset of the region.
    ///
    /// # Errors
    /// The VMM's errno.
    fn map(&self, at: u64, len: u64, map: &Map, is_writable: bool) -> Result<(), Errno>;
    /// Hides the `len` bytes at offset `at` of the region again.
    fn unmap(&self, at: u64, len: u64);
    /// Tells the VMM whether the device has this dma-buf, so that other devices can ask for it.
    fn set_shared(&self, uuid: Uuid, is_shared: bool);
}

/// What a command uses besides the device: the guest's RAM, its shared memory region, and remarks to the user.
#[derive(Clone, Copy)]
pub(crate) struct Machine<'a> {
    pub(crate) memory: &'a GuestMemoryMmap,
    pub(crate) region: &'a dyn Region,
    pub(crate) remarks: &'a Remarks,
}

/// What guests are offered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Dma-bufs by UUID, as the virtio specification has them. Do not set this for a guest with the driver of
    /// `chromeos/virtio-media`: this driver would offer dma-bufs to programs, but does not send UUIDs.
    pub dma_bufs: bool,
}

/// A device.
pub(crate) struct Device {
    pub(crate) shared: Arc<Shared>,
    node: NodeId,
    options: Options,
    sessions: BTreeMap<u32, Session>,
    window: Window,
    queued: QueuedMemory,
    /// The session whose events come first next time.
    turn: u32,
}

/// Numbers calls of all devices.
static CALLS: AtomicU64 = AtomicU64::new(1);

impl Device {
    pub(crate) const fn new(shared: Arc<Shared>, node: NodeId, options: Options) -> Self {
        Self {
            shared,
            node,
            options,
            sessions: BTreeMap::new(),
            window: Window::new(),
            queued: QueuedMemory::new(),
            turn: 0,
        }
    }

    /// Returns the configuration space, with what a QUERYCAP call on the device returns.
    ///
    /// # Errors
    /// The device's errno.
    pub(crate) fn config(&self) -> Result<[u8; crate::protocol::CONFIG_BYTES], Errno> {
        let (file, id) = self.open_file()?;
        let (none, size) = (GuestMemoryMmap::new(), size_of::<sys::v4l2_capability>());
        let mut payload = Payload::new(&[], size, false)?;
        let done = self.ioctl(file, id, sys::VIDIOC_QUERYCAP, &mut payload, &none);
        self.release(file);
        done?;
        let caps = field!(payload.structure(), v4l2_capability.device_caps);
        let card = std::mem::offset_of!(sys::v4l2_capability, card);
        let card = payload.structure().get(card..card + 32).unwrap_or_default();
        let card = card.split(|byte| *byte == 0).next().unwrap_or_default();
        Ok(config(caps & !hidden::DEVICE_CAPS, card))
    }

    /// Carries out a command. Returns its response, if it has one.
    pub(crate) fn command(&mut self, sent: &[u8], machine: Machine<'_>) -> Option<Vec<u8>> {
        let done = match Command::parse(sent) {
            Ok((Command::Open, _)) => self.open(machine.remarks),
            Ok((Command::Close { session }, _)) => {
                self.close(session, machine.region);
                return None;
            }
            Ok((Command::Ioctl { session, code }, payload)) => {
                return Some(self.answer(session, code, payload, machine));
            }
            Ok((
                Command::Mmap {
                    session,
                    is_writable,
                    offset,
                },
                _,
            )) => self.mmap(session, is_writable, offset, machine),
            Ok((Command::Munmap { addr }, _)) => self.munmap(addr, machine.region),
            Err(errno) => Err(errno),
        };
        let (status, rest) = match done {
            Ok(rest) => (Ok(()), rest),
            Err(errno) => (Err(errno), Vec::new()),
        };
        let mut bytes = response(status);
        bytes.extend(rest);
        Some(bytes)
    }

    fn open_file(&self) -> Result<(FileId, u32), Errno> {
        let opened = self.shared.step(|step| step.open(self.node));
        opened.unwrap_or(Err(Errno::ENODEV))
    }

    fn release(&self, file: FileId) {
        self.shared.step(|step| step.release(file));
    }

    fn tag_ended(&self, tag: Tag) {
        self.shared.step(|step| step.tag_ended(tag));
    }

    fn open(&mut self, remarks: &Remarks) -> Result<Vec<u8>, Errno> {
        if self.sessions.len() == MAX_SESSIONS {
            remarks.add(format!("refused to open more than {MAX_SESSIONS} sessions"));
            return Err(Errno::ENFILE);
        }
        let (file, id) = self.open_file()?;
        self.sessions.insert(id, Session::new(file));
        Ok([id.to_le_bytes(), [0; 4]].concat())
    }

    fn open_session(&mut self, id: u32) -> Result<&mut Session, Errno> {
        let session = self.sessions.get_mut(&id);
        session.filter(|s| !s.is_closed).ok_or(Errno::EINVAL)
    }

    fn close(&mut self, id: u32, region: &dyn Region) {
        if let Ok(session) = self.open_session(id) {
            session.is_closed = true;
            self.queued.remove((id, 0, 0), (id, u32::MAX, u32::MAX));
            self.release_unused(id, region);
        }
    }

    /// Releases a closed session without mappings.
    fn release_unused(&mut self, id: u32, region: &dyn Region) {
        let is_unused = self.sessions.get(&id).is_some_and(|s| s.is_closed);
        if is_unused
            && !self.window.has_any_of(id)
            && let Some(session) = self.sessions.remove(&id)
        {
            self.end(session, region);
        }
    }

    fn end(&self, session: Session, region: &dyn Region) {
        for uuid in session.exported {
            region.set_shared(uuid, false);
        }
        self.release(session.file);
    }

    fn mmap(
        &mut self,
        id: u32,
        is_writable: bool,
        offset: u32,
        machine: Machine<'_>,
    ) -> Result<Vec<u8>, Errno> {
        let session = self.open_session(id)?;
        let (file, len) = (session.file, session.lengths.get(&offset).copied());
        let (_, len) = len.ok_or(Errno::EINVAL)?;
        let len = u64::from(len);
        let (at, pages) = self.window.place(len).inspect_err(|_| {
            let text =
                format!("the shared memory region has no place for a mapping of {len} bytes");
            machine.remarks.add(text);
        })?;
        let args = Mmap {
            offset: offset.into(),
            len: pages,
            prot: PROT_READ | if is_writable { PROT_WRITE } else { 0 },
            flags: MAP_SHARED,
        };
        let mapped = self
            .shared
            .step(|step| step.mmap(file, args, Origin::session(id)));
        let map = mapped.unwrap_or(Err(Errno::ENODEV))?;
        let tag = map.tag;
        if let Err(errno) = machine.region.map(at, pages, &map, is_writable) {
            self.tag_ended(tag);
            return Err(errno);
        }
        self.window.insert(
            at,
            Mapping {
                len: pages,
                tag,
                session: id,
            },
        );
        Ok([at.to_le_bytes(), len.to_le_bytes()].concat())
    }

    fn munmap(&mut self, at: u64, region: &dyn Region) -> Result<Vec<u8>, Errno> {
        let mapping = self.window.remove(at).ok_or(Errno::EINVAL)?;
        region.unmap(at, mapping.len);
        self.tag_ended(mapping.tag);
        self.release_unused(mapping.session, region);
        Ok(Vec::new())
    }

    /// Ends everything: the guest or its driver was reset, or the VMM has gone. The VMM unmaps by itself.
    pub(crate) fn reset(&mut self, region: &dyn Region) {
        self.queued = QueuedMemory::new();
        for mapping in self.window.take_all() {
            self.tag_ended(mapping.tag);
        }
        for session in std::mem::take(&mut self.sessions).into_values() {
            self.end(session, region);
        }
    }

    /// Makes an ioctl of the guest, and returns the response.
    fn answer(&mut self, id: u32, code: u32, sent: &[u8], machine: Machine<'_>) -> Vec<u8> {
        let (status, payload) = match self.guests_ioctl(id, code, sent, machine) {
            Ok(payload) => (Ok(()), payload),
            Err((errno, payload)) => (Err(errno), payload),
        };
        let mut bytes = response(status);
        bytes.extend(payload);
        bytes
    }

    /// # Errors
    /// The errno, and the payload if it says what was wrong.
    fn guests_ioctl(
        &mut self,
        id: u32,
        code: u32,
        sent: &[u8],
        machine: Machine<'_>,
    ) -> Result<Vec<u8>, (Errno, Vec<u8>)> {
        let plain = |errno| (errno, Vec::new());
        let request = vb3_v4l2::ioctl_of_code(code).ok_or(Errno::ENOTTY);
        let request = request.map_err(plain)?;
        let file = self.open_session(id).map_err(plain)?.file;
        let size = vb3_v4l2::decode::size(request);
        let (is_read, is_written) = (request >> 30 & 1 != 0, request >> 31 != 0);
        let mut payload = Payload::new(sent, size, is_read).map_err(plain)?;
        let dma_bufs = self.options.dma_bufs;
        hidden::check(request, payload.structure(), dma_bufs).map_err(plain)?;
        if request == sys::VIDIOC_EXPBUF {
            self.check_objects(machine.remarks).map_err(plain)?;
        }
        let done = self.ioctl(file, id, request, &mut payload, machine.memory);
        if done.is_ok() {
            hidden::hide(request, payload.structure_mut(), dma_bufs);
            self.note(id, request, &mut payload, machine.region);
        }
        let is_controls = matches!(
            request,
            sys::VIDIOC_G_EXT_CTRLS | sys::VIDIOC_S_EXT_CTRLS | sys::VIDIOC_TRY_EXT_CTRLS
        );
        let back = match is_written && (done.is_ok() || is_controls) {
            true => payload.into_bytes(),
            false => Vec::new(),
        };
        match done {
            Ok(()) => Ok(back),
            Err(errno) => Err((errno, back)),
        }
    }

    /// Refuses to export more dma-bufs than a device may have.
    fn check_objects(&self, remarks: &Remarks) -> Result<(), Errno> {
        let exported: usize = self.sessions.values().map(|s| s.exported.len()).sum();
        if exported >= MAX_OBJECTS {
            remarks.add(format!("refused to export more than {MAX_OBJECTS} buffers"));
            return Err(Errno::ENFILE);
        }
        Ok(())
    }

    /// Notes the result of a successful ioctl.
    fn note(&mut self, id: u32, request: u32, payload: &mut Payload<'_>, region: &dyn Region) {
        let users = std::mem::take(&mut payload.users);
        let kept: usize = self.sessions.values().map(|s| s.lengths.len()).sum();
        let room = MAX_OFFSETS.saturating_sub(kept);
        let placeholders = std::mem::take(&mut payload.placeholders);
        let structure = payload.structure();
        let type_ = field!(structure, v4l2_buffer.type_);
        let index = field!(structure, v4l2_buffer.index);
        if let Some(session) = self.sessions.get_mut(&id) {
            session.note(request, structure, payload.array(), room);
            match request {
                sys::VIDIOC_EXPBUF => {
                    let uuids = payload.objects.iter();
                    session.exported.extend(uuids.clone());
                    uuids.for_each(|uuid| region.set_shared(*uuid, true));
                }
                sys::VIDIOC_QBUF => {
                    session.placeholders.insert((type_, index), placeholders);
                }
                _ => {}
            }
        }
        let type_ = match request {
            sys::VIDIOC_QBUF => {
                return self.queued.insert((id, type_, index), users);
            }
            sys::VIDIOC_STREAMOFF => number(structure, 0),
            sys::VIDIOC_REQBUFS => field!(structure, v4l2_requestbuffers.type_),
            _ => return,
        };
        self.queued.remove((id, type_, 0), (id, type_, u32::MAX));
    }

    /// Makes an ioctl that must not wait.
    fn ioctl(
        &self,
        file: FileId,
        id: u32,
        request: u32,
        payload: &mut Payload<'_>,
        memory: &GuestMemoryMmap,
    ) -> Result<(), Errno> {
        payload.take_arrays(request)?;
        let done = self.gather(file, id, request, payload, memory);
        payload.restore(request);
        done
    }

    /// Gathers what the steps of an ioctl need, and carries out its effects.
    fn gather(
        &self,
        file: FileId,
        id: u32,
        request: u32,
        payload: &mut Payload<'_>,
        memory: &GuestMemoryMmap,
    ) -> Result<(), Errno> {
        let find = |uuid| {
            let found = self.shared.step(|step| step.object(uuid));
            found.unwrap_or(Err(Errno::EBADF))
        };
        let guest = Guest {
            memory,
            queued: &self.queued,
            session: id,
            find: &find,
        };
        let call = CallId(CALLS.fetch_add(1, Ordering::Relaxed));
        let mut have = Gathered::default();
        for _ in 0..MAX_ROUNDS {
            let ioctl = Call {
                id: call,
                origin: Origin::session(id),
                on: On::File(file),
                op: Op::Ioctl { request, arg: 0 },
                nonblocking: true,
                have: &have,
            };
            let outcome = self.shared.step(|step| step.devices.call(&ioctl));
            let outcome = outcome.ok_or(Errno::ENODEV)?;
            let (done, effects) = match outcome {
                Outcome::Need(need) => {
                    payload.gather(&need, &mut have, guest);
                    continue;
                }
                Outcome::Done(done, effects) => (done, effects),
                Outcome::Wait | Outcome::Part(..) => return Err(Errno::EAGAIN),
            };
            let written = self.carry_out(effects, payload, guest, (file, call));
            return done.and(written);
        }
        Err(Errno::EFAULT)
    }

    fn carry_out(
        &self,
        effects: Effects,
        payload: &mut Payload<'_>,
        guest: Guest<'_>,
        by: (FileId, CallId),
    ) -> Result<(), Errno> {
        let mut done = Ok(());
        for write in &effects.writes {
            let written = payload.write(write.addr, &write.bytes, guest);
            if write.is_needed {
                done = done.and(written);
            }
        }
        for install in effects.installs {
            match (install.made, payload.objects.first_mut()) {
                (Made::Memory { fd, tag }, Some(object)) if done.is_ok() => {
                    let exported = self.shared.step(|step| step.export(by, fd, tag));
                    done = exported.map(|uuid| *object = uuid).ok_or(Errno::ENODEV);
                    continue;
                }
                // A guest gets no descriptors.
                (Made::Memory { tag, .. }, _) => self.tag_ended(tag),
                (Made::File { file, .. }, _) => self.release(file),
            }
            done = done.and(Err(Errno::EINVAL));
        }
        done
    }

    /// Returns the next event for the guest, if there is one. Sessions take turns.
    pub(crate) fn next_event(&mut self, memory: &GuestMemoryMmap) -> Option<Vec<u8>> {
        let after = self.sessions.range(self.turn..).map(|(id, _)| *id);
        let before = self.sessions.range(..self.turn).map(|(id, _)| *id);
        let ids: Vec<u32> = after.chain(before).collect();
        ids.into_iter().find_map(|id| {
            let event = self.event_of(id, memory)?;
            self.turn = id.wrapping_add(1);
            Some(event)
        })
    }

    fn event_of(&mut self, id: u32, memory: &GuestMemoryMmap) -> Option<Vec<u8>> {
        let session = self.open_session(id).ok()?;
        let (file, is_subscribed) = (session.file, session.is_subscribed);
        let queues = session.queued.iter();
        let queues = queues.filter(|(_, queued)| queued.is_streaming && queued.count > 0);
        let queues: Vec<(u32, Queued)> = queues.map(|(t, q)| (*t, *q)).collect();
        let dequeued = queues.iter().find_map(|&(type_, queued)| {
            let done = self.dequeue(file, id, (type_, queued.memory), memory)?;
            Some((type_, done))
        });
        if let Some((type_, (index, event))) = dequeued {
            self.queued.remove((id, type_, index), (id, type_, index));
            if let Some(queued) = self.open_session(id).ok()?.queued.get_mut(&type_) {
                queued.count -= 1;
            }
            return Some(event);
        }
        let mut payload = Payload::new(&[], EVENT_BYTES, false).ok()?;
        let told =
            is_subscribed.then(|| self.ioctl(file, id, sys::VIDIOC_DQEVENT, &mut payload, memory));
        if let Some(Ok(())) = told {
            return Some(v4l2_event(id, payload.structure().try_into().ok()?));
        }
        if is_subscribed || !queues.is_empty() {
            self.shared.step(|step| step.waits(file));
        }
        None
    }

    /// Dequeues a buffer. Returns its index and the event.
    fn dequeue(
        &self,
        file: FileId,
        id: u32,
        (type_, kind): (u32, u32),
        memory: &GuestMemoryMmap,
    ) -> Option<(u32, Vec<u8>)> {
        let mut sent = [0; BUFFER_BYTES + EVENT_PLANES * PLANE_BYTES];
        let mut set = |at: usize, value: u32| {
            sent[at..at + 4].copy_from_slice(&value.to_ne_bytes());
        };
        set(std::mem::offset_of!(sys::v4l2_buffer, type_), type_);
        set(std::mem::offset_of!(sys::v4l2_buffer, memory), kind);
        if is_multiplanar(type_) {
            set(std::mem::offset_of!(sys::v4l2_buffer, m), PLANES_AT);
            set(
                std::mem::offset_of!(sys::v4l2_buffer, length),
                EVENT_PLANES as u32,
            );
        }
        let mut payload = Payload::new(&sent, BUFFER_BYTES, true).ok()?;
        let done = self.ioctl(file, id, sys::VIDIOC_DQBUF, &mut payload, memory);
        done.ok()?;
        let index = field!(payload.structure(), v4l2_buffer.index);
        let session = self.sessions.get(&id)?;
        let placeholders = session.placeholders.get(&(type_, index));
        payload.placeholders = placeholders.cloned().unwrap_or_default();
        payload.restore(sys::VIDIOC_DQBUF);
        let mut buffer: [u8; BUFFER_BYTES] = payload.structure().try_into().ok()?;
        if is_multiplanar(type_) {
            let at = std::mem::offset_of!(sys::v4l2_buffer, m);
            buffer[at..at + 8].fill(0);
        }
        Some((index, buffer_event(id, &buffer, payload.array())))
    }
}

#[cfg(test)]
mod tests;
