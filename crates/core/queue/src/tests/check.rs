//! Checks of rules that always hold, and helpers that make calls.

use super::Bench;
use super::fake::{FakeMem, Kind, done};
use super::std::collections::BTreeSet;
use super::std::vec::Vec;
use crate::{
    BufferInfo, BufferState, Completion, Error, MAX_PLANES, Memory, PlaneRequest, PlaneSource,
    QueueBuffer,
};

/// Makes a QBUF of an MMAP buffer whose planes are full.
pub(crate) fn mmap_buffer(index: u32, planes: usize) -> QueueBuffer<FakeMem> {
    let mut request = QueueBuffer::new(index, Memory::Mmap);
    for _ in 0..planes {
        request.push_plane(PlaneRequest::mmap(0)).ok().unwrap();
    }
    request
}

impl Bench {
    /// Makes a QBUF of full planes with the queue's memory model. For DMABUF, each plane gets a new dma-buf
    /// of the right size.
    pub(crate) fn request(&mut self, index: u32) -> QueueBuffer<FakeMem> {
        let memory = self.queue.memory().unwrap_or(Memory::Mmap);
        let sizes = match self.queue.buffer(index) {
            Ok(buffer) => buffer.planes.iter().map(|p| p.setup_bytes).collect(),
            Err(_) => self.driver.sizes.clone(),
        };
        let mut request = QueueBuffer::new(index, memory);
        for (n, bytes) in (0_u64..).zip(sizes) {
            let source = match memory {
                Memory::Mmap => PlaneSource::Mmap,
                Memory::UserPtr => PlaneSource::UserPtr {
                    user: self.mem.get().address_space,
                    addr: 0x1_0000 * (1 + n + 8 * u64::from(index)),
                },
                Memory::DmaBuf => {
                    let object = self.mem.get().new_object(bytes);
                    PlaneSource::DmaBuf {
                        buf: Some(self.mem.get().reference(object)),
                        fd: 40,
                    }
                }
            };
            let plane = PlaneRequest {
                payload_bytes: 0,
                length_bytes: bytes,
                data_offset: 0,
                source,
            };
            request.push_plane(plane).ok().unwrap();
        }
        request
    }

    /// Makes a QBUF of one plane in a dma-buf.
    pub(crate) fn dmabuf(
        &mut self,
        index: u32,
        object: Option<u32>,
        length_bytes: u64,
        payload_bytes: u64,
    ) -> QueueBuffer<FakeMem> {
        let mut request = QueueBuffer::new(index, Memory::DmaBuf);
        let buf = object.map(|o| self.mem.get().reference(o));
        let source = PlaneSource::DmaBuf {
            buf,
            fd: object.map_or(-1, |_| 40),
        };
        let plane = PlaneRequest {
            payload_bytes,
            length_bytes,
            data_offset: 0,
            source,
        };
        request.push_plane(plane).ok().unwrap();
        request
    }

    pub(crate) fn qbuf_as(&mut self, request: QueueBuffer<FakeMem>) -> Result<BufferInfo, Error> {
        let result = self.session().qbuf(request);
        self.check();
        result
    }

    pub(crate) fn qbuf(&mut self, index: u32) -> Result<BufferInfo, Error> {
        let request = self.request(index);
        self.qbuf_as(request)
    }

    pub(crate) fn prepare_as(
        &mut self,
        request: QueueBuffer<FakeMem>,
    ) -> Result<BufferInfo, Error> {
        let result = self.session().prepare_buf(request);
        self.check();
        result
    }

    pub(crate) fn prepare(&mut self, index: u32) -> Result<BufferInfo, Error> {
        let request = self.request(index);
        self.prepare_as(request)
    }

    pub(crate) fn dqbuf(&mut self) -> Result<BufferInfo, Error> {
        self.dqbuf_room(MAX_PLANES)
    }

    pub(crate) fn dqbuf_room(&mut self, room: usize) -> Result<BufferInfo, Error> {
        let result = self.session().dqbuf_up_to(room);
        self.check();
        result
    }

    pub(crate) fn streamon(&mut self) -> Result<(), Error> {
        let result = self.session().streamon();
        self.check();
        result
    }

    pub(crate) fn streamoff(&mut self) -> Result<(), Error> {
        let result = self.session().streamoff();
        self.check();
        result
    }

    pub(crate) fn remove(&mut self, first: u32, count: u32) -> Result<(), Error> {
        let result = self.session().remove_bufs(first, count);
        self.check();
        result
    }

    pub(crate) fn query(&mut self, index: u32) -> Result<BufferInfo, Error> {
        self.session().querybuf(index)
    }

    /// Completes the oldest token with this completion.
    pub(crate) fn complete(&mut self, completion: Completion) -> Result<(), Error> {
        let token = self.driver.tokens.remove(0);
        let result = self.session().complete(token, completion);
        self.check();
        result
    }

    /// Completes the oldest token without an error.
    pub(crate) fn frame(&mut self) {
        self.complete(done()).unwrap();
    }

    /// Checks the rules that always hold: each buffer is in exactly one place, the memory of its planes
    /// belongs to the party that owns the buffer, and the queue knows all memory.
    pub(crate) fn check(&self) {
        let queue = &self.queue;
        let queued: Vec<u32> = queue.queued.iter().copied().collect();
        let done: Vec<u32> = queue.done.iter().copied().collect();
        for list in [&queued, &done] {
            assert_eq!(
                list.iter().collect::<BTreeSet<_>>().len(),
                list.len(),
                "listed twice"
            );
        }
        let mut counted = 0;
        let mut planes = 0;
        let mut references = 0;
        let (mut out, mut active) = (0, 0);
        for (index, buffer) in (0_u32..).zip(&queue.buffers) {
            let Some(buffer) = buffer else {
                assert!(
                    !queued.contains(&index) && !done.contains(&index),
                    "removed, listed"
                );
                continue;
            };
            counted += 1;
            let live = self
                .driver
                .tokens
                .iter()
                .filter(|t| t.index() == index && t.epoch == queue.ownership.epoch())
                .filter(|t| !t.is_stale())
                .count();
            let dropped = queue.ownership.was_dropped(index, buffer.generation);
            let places = (
                queued.contains(&index),
                done.contains(&index),
                live,
                dropped,
            );
            match buffer.state {
                BufferState::Dequeued | BufferState::InRequest => {
                    assert_eq!(places, (false, false, 0, false), "{index}");
                }
                BufferState::Queued => assert_eq!(places, (true, false, 0, false), "{index}"),
                BufferState::Active => {
                    assert!(
                        !places.0 && !places.1 && (live == 1) != dropped,
                        "{index}: {places:?}"
                    );
                }
                BufferState::Done | BufferState::Error => {
                    assert_eq!(places, (false, true, 0, false), "{index}");
                }
            }
            let with_device =
                buffer.prepared && !matches!(buffer.state, BufferState::Done | BufferState::Error);
            assert_eq!(buffer.synced, with_device, "{index}: synced");
            let in_request = buffer.state == BufferState::InRequest;
            assert_eq!(
                buffer.in_request.len(),
                usize::from(in_request),
                "{index}: in a request"
            );
            for plane in buffer
                .in_request
                .iter()
                .flat_map(|entry| &entry.wanted.planes)
                .flatten()
            {
                let held = matches!(plane.source, PlaneSource::DmaBuf { buf: Some(_), .. });
                references += usize::from(held);
            }
            if buffer.state != BufferState::Dequeued && !in_request {
                out += 1;
                active += u32::from(buffer.state == BufferState::Active);
                assert!(buffer.prepared, "{index} queued without being prepared");
            }
            let had = buffer.planes.iter().filter(|p| p.memory.is_some()).count();
            assert!(
                had == 0 || had == buffer.planes.len(),
                "{index}: some planes have memory"
            );
            assert_eq!(buffer.initialised, had != 0, "{index}: initialised");
            assert_eq!(
                self.driver.initialised.get(&index).copied().unwrap_or(0),
                i32::from(had != 0)
            );
            assert_eq!(
                self.driver.prepared.get(&index).copied().unwrap_or(0),
                i32::from(buffer.prepared)
            );
            planes += had;
            references += buffer.planes.iter().filter(|p| p.dmabuf.is_some()).count();
        }
        assert_eq!(counted, queue.num_buffers());
        assert_eq!(out, queue.queued_count());
        assert_eq!(active, queue.active_count());
        assert_eq!(planes, self.mem.live_planes(), "planes without an owner");
        let foreign = self.foreign_references;
        assert_eq!(
            references + foreign,
            self.mem.live_references(),
            "dma-buf references"
        );
        let owned = self
            .mem
            .get()
            .planes
            .values()
            .filter(|p| p.device_owned)
            .count();
        let synced: usize = queue
            .buffers
            .iter()
            .flatten()
            .filter(|b| b.synced)
            .map(|b| b.planes.len())
            .sum();
        assert_eq!(owned, synced, "planes the device has");
        let accessed = self
            .mem
            .get()
            .planes
            .values()
            .filter(|p| p.accessed)
            .count();
        let given: usize = queue
            .buffers
            .iter()
            .flatten()
            .filter(|b| b.state == BufferState::Active && !queue.accesses_failed)
            .map(|b| b.planes.len())
            .sum();
        assert_eq!(accessed, given, "fences of planes the driver has");
        for plane in self.mem.get().planes.values() {
            assert_eq!(plane.direction, queue.config.direction());
            if let Kind::Attached { mapped, .. } = plane.kind {
                assert!(mapped, "attached and not mapped between calls");
            }
        }
        assert_eq!(
            queue.memory().is_some(),
            queue.has_buffers() || queue.is_streaming()
        );
        assert_eq!(
            self.mem.get().violations,
            Vec::<super::std::string::String>::new()
        );
    }
}
