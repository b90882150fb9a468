//! Making and removing buffers: REQBUFS, CREATE_BUFS, REMOVE_BUFS.

use crate::driver::PlaneSizes;
use crate::make::NewBuffers;
use crate::{BufferState, Busy, Error, Invalid, Memory, Queue, Session};
use core::ops::Range;
use vb3_plane::{Coherency, MemOps};

impl<M: MemOps> Session<'_, M> {
    /// Replaces all buffers by `count` new ones in coherent memory of the queue. Returns their indices.
    ///
    /// # Errors
    /// As [`reqbufs`](Self::reqbufs).
    pub fn reqbufs_mmap(&mut self, count: u32) -> Result<Range<u32>, Error> {
        let made = self.reqbufs(Memory::Mmap, count, Coherency::Coherent);
        made.map(|(indices, _)| indices)
    }

    /// Replaces all buffers by `count` new ones (REQBUFS); `count` 0 only frees the old ones. Returns the indices of
    /// the new buffers, and the coherency of their memory: as requested if the queue allows cache hints, else
    /// coherent. The number of buffers can differ from `count`: the driver has a minimum, the queue has a limit, and
    /// memory may be short. Memory that programs have mapped or exported remains valid after its buffer is freed.
    ///
    /// # Errors
    /// The old buffers remain after these errors:
    /// * EINVAL: [`Invalid::ModelNotOffered`].
    /// * EBUSY: file I/O is active, the queue streams, or a caller waits in DQBUF and `count` is not 0.
    ///
    /// The queue has no buffers after these errors:
    /// * The error of the driver's `queue_setup` or `buffer_count`.
    /// * [`Error::NoMemory`] (ENOMEM): memory suffices only for fewer buffers than the driver needs. With
    ///   [`Config::admission`](crate::Config::admission): only for fewer buffers than requested.
    pub fn reqbufs(
        &mut self,
        memory: Memory,
        count: u32,
        coherency: Coherency,
    ) -> Result<(Range<u32>, Coherency), Error> {
        self.reap();
        self.queue.check_model(self.mem, memory)?;
        self.queue.check_no_fileio()?;
        self.core_reqbufs(memory, count, coherency)
    }

    pub(crate) fn core_reqbufs(
        &mut self,
        memory: Memory,
        count: u32,
        coherency: Coherency,
    ) -> Result<(Range<u32>, Coherency), Error> {
        if self.queue.streaming {
            return Err(Busy::Streaming.into());
        }
        if self.queue.is_waiting() && count > 0 {
            return Err(Busy::Waiting.into());
        }
        let coherency = self.queue.granted(memory, coherency);
        self.free_all();
        if count > 0 {
            self.queue.memory = Some(memory);
            self.queue.coherency = coherency;
            self.make(count, None).inspect_err(|_| self.free_all())?;
            self.queue.waiting_for_buffers = !self.queue.config.is_output();
        }
        Ok((0..self.queue.num_buffers, coherency))
    }

    /// Makes buffers for REQBUFS, or with sizes of `create` for CREATE_BUFS. Their number differs from `count` if
    /// the driver needs more or memory is short.
    fn make(&mut self, count: u32, create: Option<&PlaneSizes>) -> Result<Range<u32>, Error> {
        let config = &self.queue.config;
        let least = match create {
            None => config.min_reqbufs_allocation,
            Some(_) => 0,
        };
        let free = config
            .max_num_buffers
            .saturating_sub(self.queue.num_buffers);
        let sizes = self.driver.queue_setup(create)?;
        let offered = count.max(least).min(free);
        let wanted = self.driver.buffer_count(offered)?.min(free);
        let NewBuffers { range, room, cause } = self.make_buffers(wanted, &sizes);
        // CAST: at most `max_num_buffers`.
        let made = range.len() as u32;
        let mut suffices = made != 0 && made >= least;
        if suffices && made < wanted {
            // The driver decides whether fewer suffice, even if memory sufficed and only the gap of indices was too
            // short.
            suffices = match self.driver.buffer_count(made) {
                Err(e) if create.is_none() => return Err(e.into()),
                // In CREATE_BUFS, an error means that the driver needs more buffers.
                needed => needed.is_ok_and(|needed| needed <= made),
            };
        }
        if !suffices {
            self.free_range(range);
            return Err(Error::NoMemory {
                wanted: wanted.max(least).into(),
                found: room.into(),
                cause,
            });
        }
        Ok(range)
    }

    /// Adds `count` buffers with planes of `sizes` bytes (CREATE_BUFS). Returns their indices, and the coherency of
    /// their memory as [`reqbufs`](Self::reqbufs) does. The indices are consecutive, in the first sufficient gap
    /// between existing buffers. If no gap suffices, the call makes fewer buffers, in the longest gap. With `count` 0,
    /// only checks whether the queue offers `memory`; the empty range then begins at the number of buffers.
    ///
    /// A streaming queue keeps its memory model, even when all its buffers have been removed.
    ///
    /// # Errors
    /// With `count` 0, only [`Invalid::ModelNotOffered`] (EINVAL). Otherwise also:
    /// * EINVAL: [`Invalid::PlaneSizes`], [`Invalid::ModelMismatch`], [`Invalid::CoherencyMismatch`].
    /// * EBUSY: file I/O is active, a caller waits in DQBUF of a queue without buffers, or
    ///   [`Busy::ModelFixed`].
    /// * [`Error::QueueFull`] (ENOBUFS).
    /// * The error of the driver's `queue_setup` (EINVAL for sizes below the format's) or
    ///   `buffer_count`.
    /// * [`Error::NoMemory`] (ENOMEM): no buffer could be made, or fewer than the driver needs. With
    ///   [`Config::admission`](crate::Config::admission): fewer than the queue has room for.
    pub fn create_bufs(
        &mut self,
        memory: Memory,
        count: u32,
        coherency: Coherency,
        sizes: &[u64],
    ) -> Result<(Range<u32>, Coherency), Error> {
        self.reap();
        self.queue.check_model(self.mem, memory)?;
        let coherency = self.queue.granted(memory, coherency);
        if count == 0 {
            let end = self.queue.num_buffers;
            return Ok((end..end, coherency));
        }
        self.queue.check_no_fileio()?;
        let sizes = PlaneSizes::new(sizes).ok_or(Invalid::PlaneSizes)?;
        let max = self.queue.config.max_num_buffers;
        if self.queue.num_buffers >= max {
            return Err(Error::QueueFull { max });
        }
        let first_ones = !self.queue.has_buffers();
        if first_ones && self.queue.is_waiting() {
            return Err(Busy::Waiting.into());
        }
        self.queue.check_same_model(memory, coherency)?;
        self.queue.memory = Some(memory);
        self.queue.coherency = coherency;
        let made = self.make(count, Some(&sizes));
        if made.is_ok() && first_ones {
            self.queue.waiting_for_buffers = !self.queue.config.is_output();
        }
        self.queue.reset_unused_model();
        Ok((made?, coherency))
    }

    /// Removes `count` buffers from index `first` on, all or none (REMOVE_BUFS). May be called while
    /// streaming. Undoes the preparation of prepared buffers.
    ///
    /// # Errors
    /// * EINVAL: [`Invalid::Range`].
    /// * EBUSY: file I/O is active, or [`Busy::BufferOwned`].
    pub fn remove_bufs(&mut self, first: u32, count: u32) -> Result<(), Error> {
        self.reap();
        if count == 0 {
            return Ok(());
        }
        self.queue.check_no_fileio()?;
        let bad = Error::from(Invalid::Range {
            first,
            count,
            buffers: self.queue.num_buffers,
        });
        let end = first.checked_add(count).ok_or(bad)?;
        if count > self.queue.num_buffers || end > self.queue.config.max_num_buffers {
            return Err(bad);
        }
        for index in first..end {
            let buffer = self.queue.buffer(index).map_err(|_| bad)?;
            if buffer.state != BufferState::Dequeued {
                return Err(Busy::BufferOwned { index }.into());
            }
        }
        self.free_range(first..end);
        self.queue.reset_unused_model();
        Ok(())
    }

    /// Stops streaming and file I/O and frees all buffers, as when the owning file is closed. The
    /// queue can be used again.
    pub fn release(&mut self) {
        self.reap();
        self.queue.fileio = None;
        self.queue.ownership.end_waits();
        self.free_all();
    }

    /// Cancels streaming and frees all buffers.
    pub(crate) fn free_all(&mut self) {
        self.cancel();
        self.free_range(0..self.queue.config.max_num_buffers);
        self.queue.reset_unused_model();
    }

    /// Frees the buffers with an index in `range`. The caller guarantees that the program owns all of them.
    pub(crate) fn free_range(&mut self, range: Range<u32>) {
        for index in range {
            let Some(place) = self.queue.place_mut(index) else {
                break;
            };
            if let Some(mut buffer) = place.take() {
                self.queue.num_buffers = self.queue.num_buffers.saturating_sub(1);
                buffer.unprepare(self.mem, self.driver, index);
                buffer.lose_memory(self.mem, self.driver, index);
            }
        }
        if self.queue.num_buffers == 0 {
            self.queue.buffers.clear();
            if self.queue.memory == Some(Memory::DmaBuf) {
                let config = &self.queue.config;
                let devices = config.alloc_devs.iter().flatten().chain([&config.device]);
                devices.for_each(|&device| self.mem.end_imports(device));
            }
        }
    }
}

impl<M: MemOps> Queue<M> {
    /// Resets the memory model of a queue that has no buffers and does not stream.
    pub(crate) fn reset_unused_model(&mut self) {
        if !self.has_buffers() && !self.streaming {
            self.memory = None;
            self.coherency = Coherency::Coherent;
        }
    }

    fn check_model(&self, mem: &M, memory: Memory) -> Result<(), Error> {
        let offered = self.config.io_modes.contains(memory.io_mode())
            && (memory != Memory::UserPtr || mem.supports_userptr());
        if !offered {
            return Err(Invalid::ModelNotOffered { wanted: memory }.into());
        }
        Ok(())
    }

    fn check_same_model(&self, wanted: Memory, coherency: Coherency) -> Result<(), Error> {
        match self.memory {
            Some(found) if found != wanted && !self.has_buffers() => {
                Err(Busy::ModelFixed { wanted, found }.into())
            }
            found if found.is_some_and(|found| found != wanted) => {
                Err(Invalid::ModelMismatch { wanted, found }.into())
            }
            Some(_) if self.coherency != coherency => Err(Invalid::CoherencyMismatch.into()),
            _ => Ok(()),
        }
    }

    fn granted(&self, memory: Memory, wish: Coherency) -> Coherency {
        if self.allows_hints(memory) {
            wish
        } else {
            Coherency::Coherent
        }
    }
}
