//! Acquires, keeps and releases the memory of a buffer's planes (USERPTR and DMABUF).

use crate::buffer::{Buffer, Plane};
use crate::config::MAX_PLANES;
use crate::session::DynDriver;
use crate::{Error, Invalid, Memory, PlaneLocation, PlaneRequest, PlaneSource, QueueBuffer};
use vb3_plane::{Direction, MemOps, PlaneError};

impl<M: MemOps> Buffer<M> {
    /// Gives each plane the memory and length that `request` names, for transfers in `direction`.
    ///
    /// Does nothing if every plane already has that memory. Calls `buf_cleanup` before memory is
    /// replaced and `buf_init` after. After an error, the caller releases what the buffer has.
    pub(crate) fn acquire(
        &mut self,
        mem: &M,
        driver: &mut DynDriver<'_, M>,
        direction: Direction,
        request: &QueueBuffer<M>,
    ) -> Result<(), Error> {
        let stale: [bool; MAX_PLANES] =
            core::array::from_fn(|i| match (self.planes.get(i), request.planes.get(i)) {
                (Some(plane), Some(Some(wanted))) => !plane.has(mem, wanted),
                _ => false,
            });
        if !stale.contains(&true) {
            return Ok(());
        }
        self.cleanup(driver, request.index);
        if request.memory == Memory::DmaBuf {
            self.put_planes(mem);
        } else {
            for (plane, stale) in self.planes.iter_mut().zip(stale) {
                if stale {
                    plane.put(mem);
                }
            }
        }
        self.take_planes(mem, direction, request)?;
        driver.buf_init(request.index)?;
        self.initialised = true;
        Ok(())
    }

    /// Acquires memory for all planes without memory.
    fn take_planes(
        &mut self,
        mem: &M,
        direction: Direction,
        request: &QueueBuffer<M>,
    ) -> Result<(), Error> {
        let wanted = request.planes.iter().flatten();
        for (number, (plane, wanted)) in (0_u32..).zip(self.planes.iter_mut().zip(wanted)) {
            if plane.memory.is_none() {
                plane.take(mem, direction, number, wanted)?;
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
    /// Returns whether the plane already has the wanted memory and length.
    fn has(&self, mem: &M, wanted: &PlaneRequest<M>) -> bool {
        let Some(memory) = &self.memory else {
            return false;
        };
        let same_length = self.info.length_bytes == wanted.length_bytes;
        match (&wanted.source, &self.dmabuf) {
            (PlaneSource::Mmap, _) => true,
            (PlaneSource::UserPtr { user, addr }, _) => {
                self.info.cookie == PlaneLocation::UserPtr(*addr)
                    && same_length
                    && mem.is_current(memory, user, *addr)
            }
            (PlaneSource::DmaBuf { buf: Some(new), .. }, Some(old)) => {
                same_length && mem.same_dmabuf(new, old)
            }
            (PlaneSource::DmaBuf { .. }, _) => false,
        }
    }

    /// Acquires the wanted memory, and for a dma-buf also a reference that the plane owns. The caller guarantees that
    /// the plane has no memory.
    fn take(
        &mut self,
        mem: &M,
        direction: Direction,
        number: u32,
        wanted: &PlaneRequest<M>,
    ) -> Result<(), Error> {
        let (device, length) = (self.device, wanted.length_bytes);
        match &wanted.source {
            PlaneSource::Mmap => return Err(PlaneError::Invalid(None).into()),
            PlaneSource::UserPtr { user, addr } => {
                let memory = mem.get_userptr(device, user, *addr, length, direction)?;
                self.memory = Some(memory);
                self.info.cookie = PlaneLocation::UserPtr(*addr);
            }
            PlaneSource::DmaBuf { buf, fd } => {
                let (plane, fd) = (number, *fd);
                let named = buf.as_ref().ok_or(Invalid::NoDmaBuf { plane, fd })?;
                self.dmabuf = Some(mem.clone_dmabuf(named)?);
                // Attaches each plane separately, even if several name the same dma-buf, so that each
                // plane's length is checked.
                self.memory = Some(mem.attach_dmabuf(device, named, length, direction)?);
                self.info.cookie = PlaneLocation::Fd(fd);
            }
        }
        self.info.length_bytes = length;
        Ok(())
    }
}
