//! Making buffers and their planes.

use crate::buffer::{Buffer, Plane};
use crate::driver::PlaneSizes;
use crate::{Driver, Error, Memory, PlaneLocation, Queue, Requests};
use alloc::vec::Vec;
use core::ops::Range;
use vb3_plane::{AllocArgs, Constraint, MemOps, PlaneError, Reason};

/// How far making buffers got.
pub(crate) struct Made {
    pub(crate) first: u32,
    pub(crate) count: u32,
    pub(crate) cause: Option<Reason>,
}

impl Made {
    pub(crate) fn range(&self) -> Range<u32> {
        self.first..self.first.saturating_add(self.count)
    }

    pub(crate) fn shortfall(&self, wanted: u32) -> Error {
        Error::NoMemory {
            wanted: u64::from(wanted),
            found: u64::from(self.count),
            cause: self.cause,
        }
    }
}

impl<M: MemOps> Queue<M> {
    /// Where `wanted` buffers go: the first hole for all, otherwise the first largest one.
    fn find_room(&self, wanted: u32) -> (u32, u32) {
        let (mut best_first, mut best) = (0, 0);
        let (mut first, mut run) = (0_u32, 0_u32);
        for index in 0..self.config.max_num_buffers {
            let place = usize::try_from(index)
                .ok()
                .and_then(|i| self.buffers.get(i));
            if place.is_some_and(Option::is_some) {
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

    /// Makes up to `wanted` buffers, next to each other.
    pub(crate) fn make_buffers<D>(
        &mut self,
        mem: &mut M,
        driver: &mut D,
        wanted: u32,
        sizes: &PlaneSizes,
    ) -> Made
    where
        D: Driver<Cookie = M::Cookie> + ?Sized,
    {
        self.shortfall = None;
        let (first, room) = self.find_room(wanted);
        let mut made = Made {
            first,
            count: 0,
            cause: None,
        };
        for index in first..first.saturating_add(room) {
            if self.reserve_place(index).is_none() {
                break;
            }
            match self.make_buffer(mem, driver, index, sizes) {
                Ok(buffer) => {
                    if let Some(place) = usize::try_from(index)
                        .ok()
                        .and_then(|i| self.buffers.get_mut(i))
                    {
                        *place = Some(buffer);
                        self.num_buffers = self.num_buffers.saturating_add(1);
                        made.count = made.count.saturating_add(1);
                    }
                }
                Err(e) => {
                    made.cause = e.reason();
                    self.shortfall = made.cause;
                    break;
                }
            }
        }
        made
    }

    /// Makes sure that a buffer at `index` has a place in every list; `None` without memory.
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
        if self.config.requests != Requests::None {
            let list = &mut self.unbound;
            list.try_reserve(buffers.saturating_sub(list.len())).ok()?;
        }
        Some(())
    }

    fn make_buffer<D>(
        &self,
        mem: &mut M,
        driver: &mut D,
        index: u32,
        sizes: &PlaneSizes,
    ) -> Result<Buffer<M>, Error>
    where
        D: Driver<Cookie = M::Cookie> + ?Sized,
    {
        let memory = self.memory.unwrap_or(Memory::Mmap);
        let sizes = sizes.as_slice();
        let mut planes = Vec::new();
        planes
            .try_reserve_exact(sizes.len())
            .map_err(|_| Error::NoMemory {
                wanted: sizes.len() as u64,
                found: 0,
                cause: None,
            })?;
        let mut buffer = Buffer::new(planes);
        for (i, size) in sizes.iter().enumerate() {
            match self.make_plane(mem, memory, index, i, *size) {
                Ok(plane) => buffer.planes.push(plane),
                Err(e) => {
                    buffer.put_planes(mem);
                    return Err(e);
                }
            }
        }
        if memory == Memory::Mmap {
            if let Err(e) = driver.buf_init(index) {
                buffer.put_planes(mem);
                return Err(e.into());
            }
            buffer.initialised = true;
        }
        Ok(buffer)
    }

    fn make_plane(
        &self,
        mem: &mut M,
        memory: Memory,
        index: u32,
        plane: usize,
        size: u64,
    ) -> Result<Plane<M>, Error> {
        let location = match memory {
            Memory::UserPtr => return Ok(Plane::new(size, PlaneLocation::UserPtr(0), None)),
            Memory::DmaBuf => return Ok(Plane::new(size, PlaneLocation::Fd(0), None)),
            Memory::Mmap => PlaneLocation::Cookie(self.cookie_of(index, plane)),
        };
        let most = self.config.max_plane_bytes;
        if size > most {
            let reason = Reason {
                constraint: Constraint::SizeLimit,
                wanted: size,
                found: most,
            };
            return Err(PlaneError::NoMemory(Some(reason)).into());
        }
        let args = AllocArgs {
            len_bytes: size,
            direction: self.config.direction(),
            coherency: self.coherency,
        };
        let allocated = mem.alloc(self.config.device, args)?;
        Ok(Plane::new(size, location, Some(allocated)))
    }
}
