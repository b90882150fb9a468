//! Maps planes into a program, and exports them.

use crate::buffer::Plane;
use crate::config::MAX_PLANES;
use crate::{Error, Invalid, Memory, Queue, QueueType, Session};
use vb3_plane::{Direction, MemOps};

/// Number of the bit that is set in all mmap offsets (cookies) of a mem2mem device's CAPTURE queue.
const M2M_CAPTURE_BIT: u32 = 30;
/// Number of bits of a plane's index in a cookie.
const PLANE_BITS: u32 = 3;
const _: () = assert!(
    MAX_PLANES == 1 << PLANE_BITS,
    "a plane's number fits its bits"
);

/// Returns whether an mmap offset belongs to the CAPTURE queue of a mem2mem device, rather than to
/// its OUTPUT queue.
#[must_use]
pub const fn is_m2m_capture(cookie: u64) -> bool {
    cookie & (1 << M2M_CAPTURE_BIT) != 0
}

impl<M: MemOps> Session<'_, M> {
    /// Describes the plane at an mmap offset, for mapping `len_bytes` from the plane's start. Every caller
    /// may do this, not only the queue's owner. `access` says how the program uses the mapping: `FromDevice` if it can
    /// only read, `ToDevice` if it can only write, `None` if the mapping is private or allows no access.
    ///
    /// # Errors
    /// * EINVAL: [`Invalid::MapAccess`], [`Invalid::NotMmap`], [`Invalid::Cookie`],
    ///   [`Invalid::MapLength`] (longer than the plane in whole pages).
    /// * EBUSY: file I/O is active.
    /// * The error of the memory.
    pub fn mmap(
        &mut self,
        cookie: u64,
        len_bytes: u64,
        access: Option<Direction>,
    ) -> Result<M::Mmap, Error> {
        self.reap();
        let useless = match self.queue.config.queue_type {
            QueueType::Output => Direction::FromDevice,
            QueueType::Capture => Direction::ToDevice,
        };
        if access.is_none_or(|access| access == useless) {
            return Err(Invalid::MapAccess.into());
        }
        if self.queue.memory != Some(Memory::Mmap) || !self.queue.has_buffers() {
            return Err(Invalid::NotMmap.into());
        }
        self.queue.check_no_fileio()?;
        let plane = self.queue.find_cookie(cookie);
        let plane = plane.ok_or(Invalid::Cookie { cookie })?;
        let page = 1_u64 << self.queue.config.page_shift;
        let found = plane.info.length_bytes.checked_next_multiple_of(page);
        let (wanted, found) = (len_bytes, found.unwrap_or(u64::MAX));
        if wanted > found || wanted == 0 {
            return Err(Invalid::MapLength { wanted, found }.into());
        }
        let memory = plane.memory.as_ref().ok_or(Invalid::Cookie { cookie })?;
        Ok(self.mem.mmap(memory, len_bytes)?)
    }

    /// Exports a plane of an MMAP buffer as a new dma-buf.
    ///
    /// # Errors
    /// * EINVAL: [`Invalid::NotMmap`], [`Invalid::Index`], [`Invalid::Planes`].
    /// * EBUSY: file I/O is active.
    /// * The error of [`MemOps::export`].
    pub fn expbuf(&mut self, index: u32, plane: u32) -> Result<M::DmaBuf, Error> {
        self.reap();
        let buffer = self.queue.buffer(index)?;
        if self.queue.memory != Some(Memory::Mmap) {
            return Err(Invalid::NotMmap.into());
        }
        // CAST: `usize` has 32 bits or more.
        let plane = plane as usize;
        let memory = buffer.planes.get(plane).and_then(|p| p.memory.as_ref());
        let memory = memory.ok_or(Invalid::planes(plane, buffer.planes.len()))?;
        self.queue.check_no_fileio()?;
        Ok(self.mem.export(memory)?)
    }
}

impl<M: MemOps> Queue<M> {
    /// Returns the mmap offset of a plane.
    pub(crate) fn cookie_of(&self, index: u32, plane: usize) -> u64 {
        let shift = self.config.page_shift;
        // CAST: a plane's number is below MAX_PLANES.
        let plane = (plane as u64) << shift;
        let base = u64::from(self.config.m2m_capture) << M2M_CAPTURE_BIT;
        base | (u64::from(index) << (shift + PLANE_BITS)) | plane
    }

    /// Returns the plane at an mmap offset.
    fn find_cookie(&self, cookie: u64) -> Option<&Plane<M>> {
        let shift = self.config.page_shift;
        let offset = cookie & !(1 << M2M_CAPTURE_BIT);
        let index = u32::try_from(offset >> (shift + PLANE_BITS)).ok()?;
        let number = usize::try_from((offset >> shift) & (MAX_PLANES as u64 - 1)).ok()?;
        let plane = self.buffer(index).ok()?.planes.get(number)?;
        (self.cookie_of(index, number) == cookie).then_some(plane)
    }
}
