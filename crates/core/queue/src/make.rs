//! Makes buffers and their planes.

use crate::buffer::{Buffer, Plane};
use crate::driver::PlaneSizes;
use crate::{Error, Memory, PlaneLocation, Queue, Session};
use core::ops::Range;
use vb3_plane::{Constraint, MemOps, PlaneError, Reason};

/// Maximum length of a plane in bytes. Longer planes are refused without an allocation.
const MAX_PLANE_BYTES: u64 = 0xffff_f000;

/// The buffers that one call made, with consecutive indices.
pub(crate) struct NewBuffers {
    pub(crate) range: Range<u32>,
    /// Number of buffers that fit in memory; more than were made if admission freed them because not all fit.
    pub(crate) room: u32,
    pub(crate) cause: Option<Reason>,
}

impl<M: MemOps> Session<'_, M> {
    /// Makes up to `wanted` buffers with consecutive indices. With admission, makes all for which the queue
    /// has free indices, or none.
    pub(crate) fn make_buffers(&mut self, wanted: u32, sizes: &PlaneSizes) -> NewBuffers {
        self.queue.shortfall = None;
        let hole = self.queue.find_hole(wanted);
        let failed = hole.clone().find_map(|index| {
            let error = self.make_buffer(index, sizes).err()?;
            Some((index, error.reason()))
        });
        let (end, cause) = failed.unwrap_or((hole.end, None));
        let mut made = NewBuffers {
            range: hole.start..end,
            room: end.saturating_sub(hole.start),
            cause,
        };
        if self.queue.config.admission {
            self.admit(&mut made, hole);
        }
        self.queue.shortfall = made.cause;
        made
    }

    /// Frees all buffers of a call, unless all were made and placed where their devices reach them. Reserved
    /// but unplaced memory does not count as available.
    fn admit(&mut self, made: &mut NewBuffers, wanted: Range<u32>) {
        let failed = made.range.clone().find_map(|index| {
            let buffer = self.queue.buffer_mut(index);
            let mut memories = buffer.into_iter().flat_map(Buffer::memories_mut);
            let error = memories.find_map(|memory| self.mem.place(memory).err())?;
            Some((index, error.reason()))
        });
        if let Some((index, cause)) = failed {
            made.room = index.saturating_sub(wanted.start);
            made.cause = cause;
        }
        if failed.is_some() || made.range != wanted {
            self.free_range(made.range.clone());
            made.range.end = made.range.start;
        }
    }

    fn make_buffer(&mut self, index: u32, sizes: &PlaneSizes) -> Result<(), Error> {
        let reserved = self.queue.reserve_place(index);
        reserved.ok_or(Error::no_memory(1))?;
        let mut buffer = Buffer::new();
        let filled = self.add_planes(&mut buffer, index, sizes.as_slice());
        filled.inspect_err(|_| buffer.put_planes(self.mem))?;
        if let Some(place) = self.queue.place_mut(index) {
            *place = Some(buffer);
            self.queue.num_buffers = self.queue.num_buffers.saturating_add(1);
        }
        Ok(())
    }

    fn add_planes(
        &mut self,
        buffer: &mut Buffer<M>,
        index: u32,
        sizes: &[u64],
    ) -> Result<(), Error> {
        let memory = self.queue.memory.unwrap_or(Memory::Mmap);
        let reserved = buffer.planes.try_reserve_exact(sizes.len());
        reserved.map_err(|_| Error::no_memory(sizes.len() as u64))?;
        let config = &self.queue.config;
        for ((plane, &bytes), own) in sizes.iter().enumerate().zip(config.alloc_devs) {
            let device = own.unwrap_or(config.device);
            let (location, memory) = match memory {
                Memory::UserPtr => (PlaneLocation::UserPtr(0), None),
                Memory::DmaBuf => (PlaneLocation::Fd(0), None),
                Memory::Mmap => {
                    let cookie = self.queue.cookie_of(index, plane);
                    (
                        PlaneLocation::Cookie(cookie),
                        Some(self.alloc(device, bytes)?),
                    )
                }
            };
            buffer
                .planes
                .push(Plane::new(device, bytes, location, memory));
        }
        if memory == Memory::Mmap {
            self.driver.buf_init(index)?;
            buffer.initialised = true;
        }
        Ok(())
    }

    fn alloc(&self, device: M::Device, len_bytes: u64) -> Result<M::Plane, PlaneError> {
        if len_bytes > MAX_PLANE_BYTES {
            let reason = Reason::new(Constraint::SizeLimit, len_bytes, MAX_PLANE_BYTES);
            return Err(PlaneError::NoMemory(Some(reason)));
        }
        let (direction, coherency) = (self.queue.config.direction(), self.queue.coherency);
        self.mem.alloc(device, len_bytes, direction, coherency)
    }
}

impl<M: MemOps> Queue<M> {
    /// Returns the indices for `wanted` buffers: those of the first sufficient gap, or else of the first of the
    /// longest gaps.
    fn find_hole(&self, wanted: u32) -> Range<u32> {
        let (mut first, mut best) = (0, 0..0);
        for (index, end) in (0..).zip(1..=self.config.max_num_buffers) {
            // CAST: a gap is not longer than the queue.
            if best.len() as u32 == wanted {
                break;
            }
            if self.buffer(index).is_ok() {
                first = end;
            } else if (first..end).len() > best.len() {
                best = first..end;
            }
        }
        best
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
