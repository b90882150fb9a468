//! Makes buffers and their planes.

use crate::buffer::{Buffer, Plane};
use crate::driver::PlaneSizes;
use crate::{Error, Memory, PlaneLocation, Queue, Session};
use alloc::vec::Vec;
use core::ops::Range;
use vb3_plane::{AllocArgs, Constraint, MemOps, PlaneError, Reason};

/// The buffers that one call made, with consecutive indices.
pub(crate) struct NewBuffers {
    pub(crate) first: u32,
    pub(crate) count: u32,
    /// Number of buffers that fit in memory; set if admission freed them because not all fit.
    room: Option<u32>,
    pub(crate) cause: Option<Reason>,
}

impl NewBuffers {
    pub(crate) fn range(&self) -> Range<u32> {
        self.first..self.first.saturating_add(self.count)
    }

    pub(crate) fn shortfall(&self, wanted: u32) -> Error {
        Error::NoMemory {
            wanted: u64::from(wanted),
            found: u64::from(self.room.unwrap_or(self.count)),
            cause: self.cause,
        }
    }
}

impl<M: MemOps> Session<'_, M> {
    /// Makes up to `wanted` buffers with consecutive indices. With admission, makes all for which the queue
    /// has free indices, or none.
    pub(crate) fn make_buffers(&mut self, wanted: u32, sizes: &PlaneSizes) -> NewBuffers {
        self.queue.shortfall = None;
        let (first, free) = self.queue.find_hole(wanted);
        let mut made = NewBuffers {
            first,
            count: 0,
            room: None,
            cause: None,
        };
        for index in first..first.saturating_add(free) {
            if self.queue.reserve_place(index).is_none() {
                break;
            }
            match self.make_buffer(index, sizes) {
                Ok(buffer) => {
                    if let Some(place) = self.queue.place_mut(index) {
                        *place = Some(buffer);
                        self.queue.num_buffers = self.queue.num_buffers.saturating_add(1);
                        made.count = made.count.saturating_add(1);
                    }
                }
                Err(e) => {
                    made.cause = e.reason();
                    break;
                }
            }
        }
        if self.queue.config.admission {
            self.admit(&mut made, free);
        }
        self.queue.shortfall = made.cause;
        made
    }

    /// Frees all buffers of a call, unless all were made and placed where their devices reach them. Reserved
    /// but unplaced memory does not count as available.
    fn admit(&mut self, made: &mut NewBuffers, wanted: u32) {
        let placed = made.range().try_fold(0_u32, |placed, index| {
            let buffer = self.queue.buffer_mut(index);
            let mut memories = buffer.into_iter().flat_map(Buffer::memories_mut);
            match memories.try_for_each(|memory| self.mem.place(memory)) {
                Ok(()) => Ok(placed.saturating_add(1)),
                Err(e) => Err((placed, e.reason())),
            }
        });
        let room = match placed {
            Ok(all) if all >= wanted => return,
            Ok(room) => room,
            Err((room, reason)) => {
                made.cause = reason;
                room
            }
        };
        self.free_range(made.range());
        *made = NewBuffers {
            count: 0,
            room: Some(room),
            ..*made
        };
    }

    fn make_buffer(&mut self, index: u32, sizes: &PlaneSizes) -> Result<Buffer<M>, Error> {
        let memory = self.queue.memory.unwrap_or(Memory::Mmap);
        let mut planes = Vec::new();
        let count = sizes.as_slice().len();
        let reserved = planes.try_reserve_exact(count);
        reserved.map_err(|_| Error::no_memory(count as u64))?;
        let mut buffer = Buffer::new(planes);
        for plane in 0..count {
            match self.make_plane(memory, index, plane, sizes) {
                Ok(plane) => buffer.planes.push(plane),
                Err(e) => {
                    buffer.put_planes(self.mem);
                    return Err(e);
                }
            }
        }
        if memory == Memory::Mmap {
            if let Err(e) = self.driver.buf_init(index) {
                buffer.put_planes(self.mem);
                return Err(e.into());
            }
            buffer.initialised = true;
        }
        Ok(buffer)
    }

    fn make_plane(
        &mut self,
        memory: Memory,
        index: u32,
        plane: usize,
        sizes: &PlaneSizes,
    ) -> Result<Plane<M>, Error> {
        let size = sizes.as_slice().get(plane).copied().unwrap_or(0);
        let device = self.queue.config.alloc_dev(sizes.alloc_dev(plane));
        let device = device.unwrap_or(self.queue.config.device);
        let location = match memory {
            Memory::UserPtr => PlaneLocation::UserPtr(0),
            Memory::DmaBuf => PlaneLocation::Fd(0),
            Memory::Mmap => PlaneLocation::Cookie(self.queue.cookie_of(index, plane)),
        };
        if memory != Memory::Mmap {
            return Ok(Plane::new(device, size, location, None));
        }
        let most = self.queue.config.max_plane_bytes;
        if size > most {
            let reason = Reason::new(Constraint::SizeLimit, size, most);
            return Err(PlaneError::NoMemory(Some(reason)).into());
        }
        let args = AllocArgs {
            len_bytes: size,
            direction: self.queue.config.direction(),
            coherency: self.queue.coherency,
        };
        let allocated = self.mem.alloc(device, args)?;
        Ok(Plane::new(device, size, location, Some(allocated)))
    }
}

impl<M: MemOps> Queue<M> {
    /// Returns first index and length of the gap for `wanted` buffers: the first sufficient gap, or else the
    /// first of the longest.
    fn find_hole(&self, wanted: u32) -> (u32, u32) {
        let (mut best_first, mut best) = (0, 0);
        let (mut first, mut run) = (0_u32, 0_u32);
        for index in 0..self.config.max_num_buffers {
            if self.buffer(index).is_ok() {
                run = 0;
                continue;
            }
            if run == 0 {
                first = index;
            }
            run = run.saturating_add(1);
            if run > best {
                (best_first, best) = (first, run);
            }
            if best >= wanted {
                break;
            }
        }
        (best_first, best.min(wanted))
    }

    /// Reserves capacity in every list for a buffer at `index`; `None` if memory runs out.
    fn reserve_place(&mut self, index: u32) -> Option<()> {
        let count = usize::try_from(index).ok()?.checked_add(1)?;
        if let Some(more) = count.checked_sub(self.buffers.len()) {
            self.buffers.try_reserve(more).ok()?;
            self.buffers.extend((0..more).map(|_| None));
        }
        let buffers = usize::try_from(self.num_buffers).ok()?.checked_add(1)?;
        for list in [&mut self.queued, &mut self.done] {
            list.try_reserve(buffers.saturating_sub(list.len())).ok()?;
        }
        Some(())
    }
}
