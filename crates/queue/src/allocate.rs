//! Making and removing buffers: REQBUFS, CREATE_BUFS, REMOVE_BUFS.

use crate::driver::PlaneSizes;
use crate::make::Made;
use crate::{BufferState, Busy, Driver, Error, Invalid, Memory, Queue};
use core::ops::Range;
use vb3_plane::{Coherency, MemOps};

/// What REQBUFS made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allocated {
    /// How many buffers there are now.
    pub count: u32,
    /// What their memory is like: the wish, if the queue grants such wishes.
    pub coherency: Coherency,
}

/// What CREATE_BUFS made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Created {
    /// Index of the first new buffer; with a count of zero, how many buffers there are.
    pub first_index: u32,
    /// How many new buffers there are.
    pub count: u32,
    /// What their memory is like.
    pub coherency: Coherency,
}

impl<M: MemOps> Queue<M> {
    /// Replaces all buffers by `count` new ones; 0 only frees (REQBUFS). The number made lies
    /// between what the driver needs at least and the queue's limit. Memory that programs have
    /// mapped or exported lives on without the queue.
    ///
    /// # Errors
    /// * EINVAL: [`Invalid::ModelNotOffered`], [`Invalid::NoPlanes`].
    /// * EBUSY: file I/O is active, the queue streams, somebody waits in DQBUF.
    /// * What the driver's `queue_setup` says.
    /// * [`Error::NoMemory`] (ENOMEM): none or too few could be made. There are no buffers then.
    pub fn reqbufs<D>(
        &mut self,
        mem: &mut M,
        driver: &mut D,
        memory: Memory,
        count: u32,
        coherency: Coherency,
    ) -> Result<Allocated, Error>
    where
        D: Driver<Cookie = M::Cookie> + ?Sized,
    {
        self.reap(mem);
        self.check_model(mem, memory)?;
        self.check_no_fileio()?;
        self.core_reqbufs(mem, driver, memory, count, coherency)
    }

    pub(crate) fn core_reqbufs<D>(
        &mut self,
        mem: &mut M,
        driver: &mut D,
        memory: Memory,
        count: u32,
        coherency: Coherency,
    ) -> Result<Allocated, Error>
    where
        D: Driver<Cookie = M::Cookie> + ?Sized,
    {
        if self.streaming {
            return Err(Busy::Streaming.into());
        }
        if self.waiting_in_dqbuf && count > 0 {
            return Err(Busy::Waiting.into());
        }
        let coherency = self.granted(memory, coherency);
        self.free_all(mem, driver);
        if count == 0 {
            return Ok(Allocated {
                count: 0,
                coherency,
            });
        }
        self.memory = Some(memory);
        self.coherency = coherency;
        let made = self.request(mem, driver, count);
        match made {
            Ok(count) => {
                self.waiting_for_buffers = !self.config.is_output();
                Ok(Allocated { count, coherency })
            }
            Err(e) => {
                self.free_all(mem, driver);
                Err(e)
            }
        }
    }

    /// Makes `count` buffers in an empty queue, or more or fewer as the driver needs and the
    /// memory allows.
    fn request<D>(&mut self, mem: &mut M, driver: &mut D, count: u32) -> Result<u32, Error>
    where
        D: Driver<Cookie = M::Cookie> + ?Sized,
    {
        let least = self.config.min_reqbufs_allocation;
        let max = self.config.max_num_buffers;
        let sizes = driver.queue_setup(None)?;
        if sizes.as_slice().is_empty() {
            return Err(Invalid::NoPlanes.into());
        }
        let wanted = driver.buffer_count(count.max(least).min(max))?.min(max);
        let made = self.make_buffers(mem, driver, wanted, &sizes);
        if made.count == 0 || made.count < least {
            return Err(made.shortfall(wanted.max(least)));
        }
        if made.count < wanted && driver.buffer_count(made.count)? > made.count {
            return Err(made.shortfall(wanted));
        }
        Ok(made.count)
    }

    /// Adds `count` buffers with planes of `sizes` bytes (CREATE_BUFS). A count of zero only
    /// asks whether `memory` would do. First-fit: a hole for all of them if there is one,
    /// otherwise for as many as possible.
    ///
    /// A streaming queue keeps its memory model, even when all its buffers have been removed.
    ///
    /// # Errors
    /// * EINVAL: [`Invalid::ModelNotOffered`], [`Invalid::PlaneSizes`],
    ///   [`Invalid::ModelMismatch`], [`Invalid::CoherencyMismatch`].
    /// * EBUSY: file I/O is active, somebody waits in DQBUF and there are no buffers,
    ///   [`Busy::ModelFixed`]. Not with a count of zero.
    /// * [`Error::QueueFull`] (ENOBUFS).
    /// * What the driver's `queue_setup` says (EINVAL for sizes below the format's).
    /// * [`Error::NoMemory`] (ENOMEM): none, or fewer than the driver needs.
    pub fn create_bufs<D>(
        &mut self,
        mem: &mut M,
        driver: &mut D,
        memory: Memory,
        count: u32,
        coherency: Coherency,
        sizes: &[u64],
    ) -> Result<Created, Error>
    where
        D: Driver<Cookie = M::Cookie> + ?Sized,
    {
        self.reap(mem);
        self.check_model(mem, memory)?;
        let coherency = self.granted(memory, coherency);
        if count == 0 {
            return Ok(Created {
                first_index: self.num_buffers,
                count: 0,
                coherency,
            });
        }
        let sizes = PlaneSizes::new(sizes).ok_or(Invalid::PlaneSizes)?;
        self.check_no_fileio()?;
        let max = self.config.max_num_buffers;
        if self.num_buffers >= max {
            return Err(Error::QueueFull { max });
        }
        if !self.has_buffers() && self.waiting_in_dqbuf {
            return Err(Busy::Waiting.into());
        }
        self.check_same_model(memory, coherency)?;
        let first_ones = !self.has_buffers();
        self.memory = Some(memory);
        self.coherency = coherency;
        let wanted = count.min(max.saturating_sub(self.num_buffers));
        let made = self.create(mem, driver, wanted, &sizes);
        if made.is_ok() && first_ones {
            self.waiting_for_buffers = !self.config.is_output();
        }
        self.settle_model();
        made.map(|made| Created {
            first_index: made.first,
            count: made.count,
            coherency,
        })
    }

    fn create<D>(
        &mut self,
        mem: &mut M,
        driver: &mut D,
        wanted: u32,
        sizes: &PlaneSizes,
    ) -> Result<Made, Error>
    where
        D: Driver<Cookie = M::Cookie> + ?Sized,
    {
        let sizes = driver.queue_setup(Some(sizes))?;
        if sizes.as_slice().is_empty() {
            return Err(Invalid::NoPlanes.into());
        }
        let room = self.config.max_num_buffers.saturating_sub(self.num_buffers);
        let wanted = driver.buffer_count(wanted)?.min(room);
        let made = self.make_buffers(mem, driver, wanted, &sizes);
        if made.count == 0 {
            return Err(made.shortfall(wanted));
        }
        if made.count < wanted {
            // Whatever the driver says here, memory is what is missing.
            let enough = driver
                .buffer_count(made.count)
                .is_ok_and(|n| n <= made.count);
            // Fewer because of a hole are as good as any.
            if !enough {
                self.free_range(mem, driver, made.range());
                return Err(made.shortfall(wanted));
            }
        }
        Ok(made)
    }

    /// Removes `count` buffers from `first` on, all or none (REMOVE_BUFS). Allowed while
    /// streaming. Prepared buffers are finished first.
    ///
    /// # Errors
    /// * EINVAL: [`Invalid::Range`].
    /// * EBUSY: file I/O is active, [`Busy::BufferOwned`].
    pub fn remove_bufs<D>(
        &mut self,
        mem: &mut M,
        driver: &mut D,
        first: u32,
        count: u32,
    ) -> Result<(), Error>
    where
        D: Driver<Cookie = M::Cookie> + ?Sized,
    {
        self.reap(mem);
        if count == 0 {
            return Ok(());
        }
        self.check_no_fileio()?;
        let bad = Error::from(Invalid::Range {
            first,
            count,
            buffers: self.num_buffers,
        });
        let end = first.checked_add(count).ok_or(bad)?;
        if count > self.num_buffers || end > self.config.max_num_buffers {
            return Err(bad);
        }
        for index in first..end {
            let buffer = self.buffer(index).map_err(|_| bad)?;
            if buffer.state != BufferState::Dequeued {
                return Err(Busy::BufferOwned { index }.into());
            }
        }
        self.free_range(mem, driver, first..end);
        self.settle_model();
        Ok(())
    }

    /// Ends all use of the queue, as when the file that owns it is closed: stops streaming and
    /// file I/O and frees all buffers. The queue can be used again.
    pub fn release<D>(&mut self, mem: &mut M, driver: &mut D)
    where
        D: Driver<Cookie = M::Cookie> + ?Sized,
    {
        self.fileio = None;
        self.waiting_in_dqbuf = false;
        self.free_all(mem, driver);
    }

    /// Cancels and frees everything.
    pub(crate) fn free_all<D>(&mut self, mem: &mut M, driver: &mut D)
    where
        D: Driver<Cookie = M::Cookie> + ?Sized,
    {
        self.cancel(mem, driver);
        self.free_range(mem, driver, 0..self.config.max_num_buffers);
        self.settle_model();
    }

    /// Frees the buffers there are in `range`. They are with the program.
    fn free_range<D>(&mut self, mem: &mut M, driver: &mut D, range: Range<u32>)
    where
        D: Driver<Cookie = M::Cookie> + ?Sized,
    {
        for index in range {
            let Ok(place) = usize::try_from(index) else {
                break;
            };
            let Some(place) = self.buffers.get_mut(place) else {
                break;
            };
            if let Some(mut buffer) = place.take() {
                self.num_buffers = self.num_buffers.saturating_sub(1);
                buffer.unprepare(mem, driver, index);
                buffer.lose_memory(mem, driver, index);
            }
        }
        if self.num_buffers == 0 {
            self.buffers.clear();
        }
    }

    /// Forgets the memory model where nothing depends on it any more.
    pub(crate) fn settle_model(&mut self) {
        if !self.has_buffers() && !self.streaming {
            self.memory = None;
            self.coherency = Coherency::Coherent;
        }
    }

    fn check_model(&self, mem: &M, memory: Memory) -> Result<(), Error> {
        let offered = self.config.io_modes.contains(memory.io_mode())
            && (memory != Memory::UserPtr || mem.supports_userptr());
        if offered {
            Ok(())
        } else {
            Err(Invalid::ModelNotOffered { wanted: memory }.into())
        }
    }

    fn check_same_model(&self, memory: Memory, coherency: Coherency) -> Result<(), Error> {
        match self.memory {
            Some(found) if found != memory && !self.has_buffers() => Err(Busy::ModelFixed {
                wanted: memory,
                found,
            }
            .into()),
            Some(found) if found != memory => Err(Invalid::ModelMismatch {
                wanted: memory,
                found: Some(found),
            }
            .into()),
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
