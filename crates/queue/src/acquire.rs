//! Acquires, keeps and releases the memory of a buffer's planes (USERPTR and DMABUF).

use crate::buffer::{Buffer, Plane};
use crate::config::MAX_PLANES;
use crate::session::DynDriver;
use crate::{Error, Invalid, Memory, PlaneLocation, PlaneSource, QueueBuffer};
use vb3_plane::{Direction, MemOps, PlaneError};

/// The buffer that acquires memory, and its queue's device and direction.
#[derive(Clone, Copy)]
pub(crate) struct Target<Dev> {
    pub(crate) device: Dev,
    pub(crate) direction: Direction,
    pub(crate) index: u32,
}

impl<M: MemOps> Buffer<M> {
    /// Gives each plane the memory that `request` names, with the plane's length from `lengths` (bytes).
    ///
    /// Does nothing if every plane already has that memory. Calls `buf_cleanup` before memory is
    /// replaced and `buf_init` after. After an error the buffer has either its old memory or none.
    pub(crate) fn acquire(
        &mut self,
        mem: &M,
        driver: &mut DynDriver<'_, M>,
        target: Target<M::Device>,
        request: &mut QueueBuffer<M>,
        lengths: &[u64; MAX_PLANES],
    ) -> Result<(), Error> {
        let stale = self.stale_planes(mem, request, lengths);
        if !stale.contains(&true) {
            return Ok(());
        }
        self.cleanup(driver, target.index);
        match request.memory {
            Memory::Mmap => return Err(PlaneError::Invalid(None).into()),
            Memory::UserPtr => {
                for (plane, stale) in self.planes.iter_mut().zip(stale) {
                    if stale {
                        plane.put(mem);
                    }
                }
            }
            Memory::DmaBuf => self.put_planes(mem),
        }
        let taken = self.take_planes(mem, target, request, lengths);
        let taken = taken.and_then(|()| driver.buf_init(target.index).map_err(Error::from));
        match taken {
            Ok(()) => {
                self.initialised = true;
                Ok(())
            }
            Err(e) => {
                self.put_planes(mem);
                Err(e)
            }
        }
    }

    /// Returns, for each plane, whether its memory differs from the memory that `request` names.
    fn stale_planes(
        &self,
        mem: &M,
        request: &QueueBuffer<M>,
        lengths: &[u64; MAX_PLANES],
    ) -> [bool; MAX_PLANES] {
        core::array::from_fn(|i| match (self.planes.get(i), request.planes.get(i)) {
            (Some(plane), Some(Some(wanted))) => {
                let length = lengths.get(i).copied().unwrap_or(0);
                !plane.has(mem, &wanted.source, length)
            }
            _ => false,
        })
    }

    /// Acquires memory for all planes without memory.
    fn take_planes(
        &mut self,
        mem: &M,
        target: Target<M::Device>,
        request: &mut QueueBuffer<M>,
        lengths: &[u64; MAX_PLANES],
    ) -> Result<(), Error> {
        let wanted = request.planes.iter_mut().flatten().zip(lengths);
        for (i, (plane, (wanted, length))) in self.planes.iter_mut().zip(wanted).enumerate() {
            if plane.memory.is_none() {
                plane.take(mem, target, i, &mut wanted.source, *length)?;
            }
        }
        // An exporter may place memory at its first map, for the devices attached by then. So all planes are
        // attached before any is mapped.
        for plane in &mut self.planes {
            if let (Some(memory), Some(_)) = (&mut plane.memory, &plane.dmabuf) {
                mem.map_dmabuf(memory)?;
            }
        }
        Ok(())
    }

    /// Calls `buf_cleanup` if `buf_init` has succeeded.
    fn cleanup(&mut self, driver: &mut DynDriver<'_, M>, index: u32) {
        if core::mem::take(&mut self.initialised) {
            driver.buf_cleanup(index);
        }
    }

    /// Releases the memory of all planes, after the driver's `buf_cleanup`.
    pub(crate) fn lose_memory(&mut self, mem: &M, driver: &mut DynDriver<'_, M>, index: u32) {
        self.cleanup(driver, index);
        self.put_planes(mem);
    }
}

impl<M: MemOps> Plane<M> {
    /// Returns whether the plane already has the memory that `source` names.
    fn has(&self, mem: &M, source: &PlaneSource<M>, length: u64) -> bool {
        let Some(memory) = &self.memory else {
            return false;
        };
        match source {
            PlaneSource::Mmap => true,
            PlaneSource::UserPtr { user, addr } => {
                self.location == PlaneLocation::UserPtr(*addr)
                    && self.length_bytes == length
                    && mem.is_current(memory, user, *addr)
            }
            PlaneSource::DmaBuf { buf, .. } => match (buf, &self.dmabuf) {
                (Some(new), Some(old)) => self.length_bytes == length && mem.same_dmabuf(new, old),
                _ => false,
            },
        }
    }

    /// Acquires the memory that `source` names. The caller guarantees that the plane has no memory.
    fn take(
        &mut self,
        mem: &M,
        target: Target<M::Device>,
        number: usize,
        source: &mut PlaneSource<M>,
        length: u64,
    ) -> Result<(), Error> {
        let Target {
            device, direction, ..
        } = target;
        match source {
            PlaneSource::Mmap => return Err(PlaneError::Invalid(None).into()),
            PlaneSource::UserPtr { user, addr } => {
                let memory = mem.get_userptr(device, user, *addr, length, direction)?;
                self.memory = Some(memory);
                self.location = PlaneLocation::UserPtr(*addr);
            }
            PlaneSource::DmaBuf { buf, fd } => {
                // CAST: a plane's number is below MAX_PLANES.
                let missing = Invalid::NoDmaBuf {
                    plane: number as u32,
                    fd: *fd,
                };
                let named = buf.as_ref().ok_or(missing)?;
                // Attaches each plane separately, even if several name the same dma-buf, so that each
                // plane's length is checked.
                self.memory = Some(mem.attach_dmabuf(device, named, length, direction)?);
                self.dmabuf = buf.take();
                self.location = PlaneLocation::Fd(*fd);
            }
        }
        self.length_bytes = length;
        Ok(())
    }

    /// Stores the descriptor number of this call. It can be new although the dma-buf is the same.
    pub(crate) fn rename(&mut self, source: &PlaneSource<M>) {
        if let (PlaneLocation::Fd(known), PlaneSource::DmaBuf { fd, .. }) =
            (&mut self.location, source)
        {
            *known = *fd;
        }
    }
}
